// Neurons over a whole sequence, each of which hears at most its own spikes. A tile of them stays in
// the first-level cache while time passes over it; nothing but the current is kept for the backward
// pass, which computes the states of a tile again.

#include <algorithm>
#include <vector>

#include "kernels.h"
#include "neuron.h"
#include "surrogate.h"
#include "vector.h"

namespace snp {
namespace SNP_ISA {
namespace {

constexpr int64_t kTile = 128;  // of 64 to 1024 the quickest, with rows fetched two steps ahead
constexpr int64_t kAhead = 2;
constexpr int64_t kScratchBytes = 256 * 1024;  // states of a tile, within the second-level cache

// The parameters of a tile, repeated over the batch.
struct Parameters {
  float alpha[kTile], beta[kTile], threshold[kTile], own[kTile];

  template <class M>
  void load(const Neurons& layer, int64_t start, int64_t count) {
    const auto repeat = [&](const float* values, float* to) {
      for (int64_t j = 0; j < count;) {
        const int64_t feature = (start + j) % layer.features;
        const int64_t run = std::min(count - j, layer.features - feature);
        std::copy_n(values + feature, run, to + j);
        j += run;
      }
    };
    repeat(layer.beta, beta);
    repeat(layer.threshold, threshold);
    if constexpr (M::second) repeat(layer.alpha, alpha);
    if constexpr (M::fed) repeat(layer.own, own);
  }
};

template <class M>
void forward_tile(const NeuronsForward& args, int64_t start, int64_t count) {
  const Neurons& layer = args.layer;
  const float limit = above(layer.inclusive), graded = layer.graded;
  Parameters p;
  p.load<M>(layer, start, count);
  float mem[kTile], syn[kTile], last[kTile];
  std::copy_n(layer.mem0 + start, count, mem);
  if constexpr (M::second) std::copy_n(layer.syn0 + start, count, syn);
  if constexpr (M::fed) std::copy_n(layer.spk0 + start, count, last);
  for (int64_t t = 0; t < layer.steps; ++t) {
    const float* cur = layer.cur + t * layer.width + start;
    float* spk = args.spk + t * layer.width + start;
    if (t + kAhead < layer.steps) {
      prefetch(cur + kAhead * layer.width, count);
      prefetch_output(spk + kAhead * layer.width, count);
    }
#pragma omp simd
    for (int64_t j = 0; j < count; ++j) {
      const Values v = advance<M>(cur[j], M::fed ? last[j] * p.own[j] : 0.0f,
                                  M::second ? syn[j] : 0.0f, mem[j], M::second ? p.alpha[j] : 0.0f,
                                  p.beta[j], p.threshold[j], limit);
      mem[j] = v.mem;
      if constexpr (M::second) syn[j] = v.syn;
      const float height = v.spike * graded;
      if constexpr (M::fed) last[j] = height;
      spk[j] = height;
    }
  }
  std::copy_n(mem, count, args.mem + start);
  if constexpr (M::second) std::copy_n(syn, count, args.syn + start);
}

// States of a tile, a row per step. Without an immediate reset `potential` is `mem` one row later.
struct Rows {
  float *mem, *syn, *pre, *potential;
};

template <class M, bool attached, bool learned>
constexpr int rows_per_step() {
  return 1 + M::immediate + (M::second && learned) + (attached && M::reset == kZero);
}

// Row t of mem and syn holds the state before step t.
template <class M, bool attached, bool learned>
Rows compute_again(const Neurons& layer, const Parameters& p, int64_t start, int64_t count,
                    float* scratch) {
  constexpr bool keep_syn = M::second && learned, keep_pre = attached && M::reset == kZero;
  const float limit = above(layer.inclusive), graded = layer.graded;
  const int64_t rows = layer.steps + 1;
  Rows trace{scratch, nullptr, nullptr, scratch + count};
  float* at = scratch + rows * count;
  if constexpr (M::immediate) trace.potential = at, at += rows * count;
  if constexpr (keep_syn) trace.syn = at, at += rows * count;
  if constexpr (keep_pre) trace.pre = at;
  float syn[kTile], last[kTile];
  std::copy_n(layer.mem0 + start, count, trace.mem);
  if constexpr (M::second) std::copy_n(layer.syn0 + start, count, syn);
  if constexpr (keep_syn) std::copy_n(syn, count, trace.syn);
  if constexpr (M::fed) std::copy_n(layer.spk0 + start, count, last);
  for (int64_t t = 0; t < layer.steps; ++t) {
    const float* cur = layer.cur + t * layer.width + start;
    const float* before = trace.mem + t * count;
    float* after = trace.mem + (t + 1) * count;
    float* syn_after = keep_syn ? trace.syn + (t + 1) * count : nullptr;
    float* pre = keep_pre ? trace.pre + t * count : nullptr;
    float* potential = trace.potential + t * count;
    if (t + kAhead < layer.steps) prefetch(cur + kAhead * layer.width, count);
#pragma omp simd
    for (int64_t j = 0; j < count; ++j) {
      const Values v = advance<M>(
          cur[j], M::fed ? last[j] * p.own[j] : 0.0f, M::second ? syn[j] : 0.0f, before[j],
          M::second ? p.alpha[j] : 0.0f, p.beta[j], p.threshold[j], limit);
      after[j] = v.mem;
      if constexpr (M::immediate) potential[j] = v.potential;
      if constexpr (M::second) syn[j] = v.syn;
      if constexpr (keep_syn) syn_after[j] = v.syn;
      if constexpr (keep_pre) pre[j] = v.pre;
      if constexpr (M::fed) last[j] = v.spike * graded;
    }
  }
  return trace;
}

template <class M, bool attached, bool learned>
void backward_tile(const NeuronsBackward& args, int64_t start, int64_t count, float* scratch) {
  constexpr bool keep_syn = M::second && learned, keep_pre = attached && M::reset == kZero;
  const Neurons& layer = args.layer;
  const float limit = above(layer.inclusive), graded = layer.graded;
  Parameters p;
  p.load<M>(layer, start, count);
  const Rows trace = compute_again<M, attached, learned>(layer, p, start, count, scratch);
  float mem[kTile], syn[kTile], feedback[kTile], slope[2][kTile];
  float d_alpha[kTile], d_beta[kTile], d_threshold[kTile], d_own[kTile], d_graded[kTile];
  std::copy_n(args.grad_mem + start, count, mem);
  if constexpr (M::second) std::copy_n(args.grad_syn + start, count, syn);
  std::fill_n(feedback, count, 0.0f);
  for (float* sum : {d_alpha, d_beta, d_threshold, d_own, d_graded}) std::fill_n(sum, count, 0.0f);
  float *now = slope[0], *earlier = slope[1];
  for (int64_t t = layer.steps - 1; t >= 0; --t) {
    const float* grad_spk = args.grad_spk + t * layer.width + start;
    float* grad_cur = args.grad_cur + t * layer.width + start;
    const float* before = trace.mem + t * count;
    const float* potential = trace.potential + t * count;
    const float* syn_before = keep_syn ? trace.syn + t * count : nullptr;
    const float* pre = keep_pre ? trace.pre + t * count : nullptr;
    // Spikes of the step before, where they are heard.
    const float* last = t > 0      ? trace.potential + (t - 1) * count
                        : M::fed ? layer.spk0 + start
                                 : nullptr;
    if (t >= kAhead) {
      prefetch(grad_spk - kAhead * layer.width, count);
      prefetch_output(grad_cur - kAhead * layer.width, count);
    }
    if (t == layer.steps - 1 || !attached || M::immediate)
      slopes(layer, potential, p.threshold, count, now);
    if constexpr (attached) slopes(layer, before, p.threshold, count, earlier);
#pragma omp simd
    for (int64_t j = 0; j < count; ++j) {
      const float threshold = p.threshold[j];
      const float spk = M::fed ? grad_spk[j] + feedback[j] : grad_spk[j];
      const Gradients g = reverse<M, attached>(
          spk * graded, mem[j], M::second ? syn[j] : 0.0f, before[j],
          keep_syn ? syn_before[j] : 0.0f, keep_pre ? pre[j] : 0.0f, potential[j], now[j],
          attached ? earlier[j] : 0.0f, M::second ? p.alpha[j] : 0.0f, p.beta[j], threshold, limit);
      grad_cur[j] = g.cur;
      mem[j] = g.mem;
      if constexpr (M::second) syn[j] = g.syn;
      if constexpr (M::fed) feedback[j] = g.cur * p.own[j];
      if constexpr (learned) {
        d_beta[j] += g.beta;
        d_threshold[j] += g.threshold;
        d_graded[j] += spk * fires(potential[j], threshold, limit);
        if constexpr (M::second) d_alpha[j] += g.alpha;
        if constexpr (M::fed) {
          const float heard = t > 0 ? fires(last[j], threshold, limit) * graded : last[j];
          d_own[j] += g.cur * heard;
        }
      }
    }
    std::swap(now, earlier);
  }
  std::copy_n(mem, count, args.grad_mem0 + start);
  if constexpr (M::second) std::copy_n(syn, count, args.grad_syn0 + start);
  if constexpr (M::fed) std::copy_n(feedback, count, args.grad_spk0 + start);
  if constexpr (learned) {
    std::copy_n(d_beta, count, args.grad_beta + start);
    std::copy_n(d_threshold, count, args.grad_threshold + start);
    std::copy_n(d_graded, count, args.grad_graded + start);
    if constexpr (M::second) std::copy_n(d_alpha, count, args.grad_alpha + start);
    if constexpr (M::fed) std::copy_n(d_own, count, args.grad_own + start);
  }
}

template <class M, bool attached, bool learned>
void backward(const NeuronsBackward& args, int threads) {
  const Neurons& layer = args.layer;
  const int64_t rows = (layer.steps + 1) * rows_per_step<M, attached, learned>();
  const int64_t fits = kScratchBytes / static_cast<int64_t>(sizeof(float)) / rows;
  const int64_t tile = std::clamp<int64_t>(fits / 16 * 16, 16, kTile);
  const int64_t tiles = (layer.width + tile - 1) / tile;
#pragma omp parallel num_threads(threads)
  {
    std::vector<float> scratch(rows * tile);
#pragma omp for schedule(static)
    for (int64_t k = 0; k < tiles; ++k) {
      const int64_t start = k * tile;
      backward_tile<M, attached, learned>(args, start, std::min(tile, layer.width - start),
                                          scratch.data());
    }
  }
}

}  // namespace

void neurons_forward(const NeuronsForward& args, int threads) {
  const int64_t width = args.layer.width, tiles = (width + kTile - 1) / kTile;
  with_model(args.layer, [&](auto model) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t k = 0; k < tiles; ++k)
      forward_tile<decltype(model)>(args, k * kTile, std::min(kTile, width - k * kTile));
  });
}

void neurons_backward(const NeuronsBackward& args, int threads) {
  with_model(args.layer, [&](auto model) {
    using M = decltype(model);
    with_flag(args.layer.learned, [&](auto learned) {
      if constexpr (M::reset == kNone) {
        backward<M, false, decltype(learned)::value>(args, threads);
      } else {
        with_flag(args.layer.attached, [&](auto attached) {
          backward<M, decltype(attached)::value, decltype(learned)::value>(args, threads);
        });
      }
    });
  });
}

}  // namespace SNP_ISA
}  // namespace snp
