// One time step of a chain of products and neurons, for one sample: what is not zero in the input
// of a product adds rows of its weight, in ascending order, so that a sum does not depend on how
// the input was given. Single-threaded: a step takes less than waking a second thread.

#include <algorithm>

#include "kernels.h"
#include "neuron.h"

namespace snp {
namespace SNP_ISA {
namespace {

constexpr int64_t kRows = 8;  // rows that one pass over the sums adds

// sums += value * row for each of `rows` rows, one after the other.
template <int64_t rows, bool graded>
inline void add_rows(float* sums, const float* const* row, const float* value, int64_t columns) {
#pragma omp simd
  for (int64_t c = 0; c < columns; ++c) {
    float sum = sums[c];
    for (int64_t k = 0; k < rows; ++k) sum += graded ? value[k] * row[k][c] : row[k][c];
    sums[c] = sum;
  }
}

// Adds the rows of the weight that `index` names; value[k] belongs to index[k] if graded.
template <bool graded, class Index>
void gather(const StepOp& op, const Index* index, const float* value, int64_t count, float* sums) {
  const float* row[kRows];
  int64_t k = 0;
  for (; k + kRows <= count; k += kRows) {
    for (int64_t r = 0; r < kRows; ++r) row[r] = op.weight + index[k + r] * op.stride;
    add_rows<kRows, graded>(sums, row, value + k, op.stride);
  }
  for (; k < count; ++k) {
    row[0] = op.weight + index[k] * op.stride;
    add_rows<1, graded>(sums, row, value + k, op.stride);
  }
}

void start(const StepOp& op, float* sums) { std::copy_n(op.bias, op.stride, sums); }

void product(const StepOp& op, const float* x, const StepPlan& plan, float* sums) {
  start(op, sums);
  int64_t count = 0;
  bool graded = false;
  for (int64_t j = 0; j < op.features; ++j) {
    plan.index[count] = static_cast<int32_t>(j);
    plan.value[count] = x[j];
    count += x[j] != 0.0f;
    graded |= x[j] != 0.0f && x[j] != 1.0f;
  }
  graded ? gather<true>(op, plan.index, plan.value, count, sums)
         : gather<false>(op, plan.index, plan.value, count, sums);
}

// snnTorch's order of operations, as in the kernels over a sequence.
template <int reset, bool immediate, bool recurrent>
void fire(const StepOp& op, const float* cur, const float* feedback) {
  const float limit = above(op.inclusive), graded = op.graded;
#pragma omp simd
  for (int64_t j = 0; j < op.columns; ++j) {
    const float threshold = op.threshold[j], beta = op.beta[j], mem = op.mem[j];
    const float fired = reset == kNone ? 0.0f : fires(mem, threshold, limit);
    float u = (reset == kZeroMembrane ? beta * ((1.0f - fired) * mem) : beta * mem) + cur[j];
    if constexpr (recurrent) u = u + feedback[j];
    if constexpr (reset == kSubtract) u = u - fired * threshold;
    if constexpr (reset == kZero) u = u - fired * u;
    const float spike = fires(u, threshold, limit);
    if constexpr (immediate && reset == kSubtract) u = u - (spike - fired) * threshold;
    if constexpr (immediate && (reset == kZero || reset == kZeroMembrane))
      u = u - (spike - fired) * u;
    op.mem[j] = u;
    op.output[j] = spike * graded;
  }
}

template <int reset, bool immediate>
void fire_recurrent(const StepOp& op, const float* cur, const float* feedback) {
  feedback ? fire<reset, immediate, true>(op, cur, feedback)
           : fire<reset, immediate, false>(op, cur, feedback);
}

template <int reset>
void fire_reset(const StepOp& op, const float* cur, const float* feedback) {
  op.immediate ? fire_recurrent<reset, true>(op, cur, feedback)
               : fire_recurrent<reset, false>(op, cur, feedback);
}

void compare(const StepOp& op, const float* cur) {
  const float limit = above(op.inclusive);
#pragma omp simd
  for (int64_t j = 0; j < op.columns; ++j) {
    op.mem[j] = cur[j];
    op.output[j] = fires(cur[j], op.threshold[j], limit) * op.graded;
  }
}

void neurons(const StepOp& op, const float* cur, const StepPlan& plan) {
  if (op.beta == nullptr) return compare(op, cur);
  const float* feedback = nullptr;
  if (op.weight) {
    product(op, op.output, plan, plan.feedback);
    feedback = plan.feedback;
  } else if (op.own) {
    for (int64_t j = 0; j < op.columns; ++j) plan.feedback[j] = op.output[j] * op.own[j];
    feedback = plan.feedback;
  }
  if (op.syn) {
    for (int64_t j = 0; j < op.columns; ++j) {
      const float syn = op.alpha[j] * op.syn[j] + cur[j];
      op.syn[j] = feedback ? syn + feedback[j] : syn;
    }
    cur = op.syn;
    feedback = nullptr;
  }
  switch (op.reset) {
    case kSubtract: return fire_reset<kSubtract>(op, cur, feedback);
    case kZero: return fire_reset<kZero>(op, cur, feedback);
    case kZeroMembrane: return fire_reset<kZeroMembrane>(op, cur, feedback);
    default: return fire_reset<kNone>(op, cur, feedback);
  }
}

}  // namespace

int64_t step(const StepPlan& plan, const float* input, const int64_t* events, int64_t count) {
  const StepOp* op = plan.ops;
  if (input == nullptr) {
    for (int64_t k = 0; k < count; ++k)
      if (events[k] < 0 || events[k] >= op->features) return k;
    start(*op, op->output);
    gather<false>(*op, events, nullptr, count, op->output);
    input = op++->output;
  }
  for (; op < plan.ops + plan.count; ++op) {
    op->mem ? neurons(*op, input, plan) : product(*op, input, plan, op->output);
    input = op->output;
  }
  return -1;
}

}  // namespace SNP_ISA
}  // namespace snp
