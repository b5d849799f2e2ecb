// Leaky integrate-and-fire over a whole sequence. A tile of neurons stays in the first-level cache
// while time passes over it; nothing but the current is kept for the backward pass, which computes
// the membranes of a tile again.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels.h"

namespace snp {
namespace SNP_ISA {
namespace {

constexpr int64_t kTile = 256;
constexpr int64_t kScratchBytes = 256 * 1024;  // membranes of a tile, within the second-level cache

template <int kind>
inline float derivative(float x, float p0, float p1) {
  const float distance = std::fabs(x);
  if constexpr (kind == kHardFire) {
    return distance < p0 ? p1 : 0.0f;
  } else if constexpr (kind == kStraightThrough) {
    return 1.0f;
  } else if constexpr (kind == kAtan) {
    const float scaled = p1 * x;
    return p0 / (1.0f + scaled * scaled);
  } else if constexpr (kind == kTriangular) {
    return p0 * std::max(1.0f - distance / p1, 0.0f);
  } else {
    const float root = p0 * distance + 1.0f;
    const float cusp = 1.0f / (root * root);
    return kind == kFastSigmoid || distance < p1 ? cusp : 0.0f;
  }
}

// The parameters of a tile, repeated over the batch.
struct Parameters {
  float beta[kTile], threshold[kTile];

  void load(const Lif& lif, int64_t start, int64_t count) {
    int64_t feature = start % lif.features;
    for (int64_t j = 0; j < count; ++j) {
      beta[j] = lif.beta[feature];
      threshold[j] = lif.threshold[feature];
      if (++feature == lif.features) feature = 0;
    }
  }
};

// Fires above the threshold, or from it on: `above` is then the largest number below 0.
inline float fires(float mem, float threshold, float above) {
  return mem - threshold > above ? 1.0f : 0.0f;
}

inline float above(const Lif& lif) {
  return lif.inclusive ? -std::numeric_limits<float>::denorm_min() : 0.0f;
}

// The membrane of a step, before an immediate reset. snnTorch's order of operations: the spikes are
// the same to the last bit.
template <int reset>
inline float integrate(float mem, float cur, float beta, float threshold, float fired) {
  if constexpr (reset == kSubtract) {
    return (beta * mem + cur) - fired * threshold;
  } else if constexpr (reset == kZero) {
    return beta * ((1.0f - fired) * mem) + cur;
  } else {
    return beta * mem + cur;
  }
}

// The membrane after a spike that resets it in its own step; `fired` is what the step before left.
template <int reset, bool immediate>
inline float settle(float mem, float threshold, float spike, float fired) {
  if constexpr (immediate && reset == kSubtract) {
    return mem - (spike - fired) * threshold;
  } else if constexpr (immediate && reset == kZero) {
    return mem - (spike - fired) * mem;
  } else {
    return mem;
  }
}

// A row lies a whole layer's width after the one before: too far for the processor to see it coming.
inline void prefetch(const float* row, int64_t count) {
#if defined(__GNUC__)
  for (int64_t j = 0; j < count; j += 16) __builtin_prefetch(row + j);
#endif
}

template <int reset, bool immediate>
void forward(const LifForward& args, int threads) {
  const Lif& lif = args.lif;
  const float limit = above(lif);
  const int64_t tiles = (lif.width + kTile - 1) / kTile;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const int64_t start = tile * kTile, count = std::min(kTile, lif.width - start);
    Parameters p;
    p.load(lif, start, count);
    float mem[kTile];
    std::copy_n(lif.mem0 + start, count, mem);
    for (int64_t t = 0; t < lif.steps; ++t) {
      const float* cur = lif.cur + t * lif.width + start;
      float* spk = args.spk + t * lif.width + start;
      if (t + 1 < lif.steps) prefetch(cur + lif.width, count);
#pragma omp simd
      for (int64_t j = 0; j < count; ++j) {
        const float threshold = p.threshold[j];
        const float fired = fires(mem[j], threshold, limit);
        const float u = integrate<reset>(mem[j], cur[j], p.beta[j], threshold, fired);
        const float spike = fires(u, threshold, limit);
        mem[j] = settle<reset, immediate>(u, threshold, spike, fired);
        spk[j] = spike * lif.graded;
      }
    }
    std::copy_n(mem, count, args.mem + start);
  }
}

template <int reset, bool immediate, int kind, bool attached>
void backward_tile(const LifBackward& args, int64_t start, int64_t count, float* membranes) {
  const Lif& lif = args.lif;
  const float limit = above(lif), p0 = lif.p0, p1 = lif.p1;
  Parameters p;
  p.load(lif, start, count);
  // Row t holds the membrane before step t.
  std::copy_n(lif.mem0 + start, count, membranes);
  for (int64_t t = 0; t < lif.steps; ++t) {
    const float* cur = lif.cur + t * lif.width + start;
    const float* before = membranes + t * count;
    float* after = membranes + (t + 1) * count;
    if (t + 1 < lif.steps) prefetch(cur + lif.width, count);
#pragma omp simd
    for (int64_t j = 0; j < count; ++j) {
      const float threshold = p.threshold[j];
      const float fired = fires(before[j], threshold, limit);
      const float u = integrate<reset>(before[j], cur[j], p.beta[j], threshold, fired);
      after[j] = settle<reset, immediate>(u, threshold, fires(u, threshold, limit), fired);
    }
  }
  float carry[kTile], d_beta[kTile], d_threshold[kTile], d_graded[kTile];
  for (int64_t j = 0; j < count; ++j) {
    carry[j] = args.grad_mem[start + j];
    d_beta[j] = d_threshold[j] = d_graded[j] = 0.0f;
  }
  for (int64_t t = lif.steps - 1; t >= 0; --t) {
    const float* cur = lif.cur + t * lif.width + start;
    const float* before = membranes + t * count;
    const float* after = membranes + (t + 1) * count;
    const float* grad_spk = args.grad_spk + t * lif.width + start;
    float* grad_cur = args.grad_cur + t * lif.width + start;
    if (t > 0) prefetch(grad_spk - lif.width, count);
#pragma omp simd
    for (int64_t j = 0; j < count; ++j) {
      const float threshold = p.threshold[j], beta = p.beta[j], mem = before[j];
      const float fired = fires(mem, threshold, limit);
      const float u =
          immediate ? integrate<reset>(mem, cur[j], beta, threshold, fired) : after[j];
      const float spike = fires(u, threshold, limit);
      const float slope = derivative<kind>(u - threshold, p0, p1);
      const float through_spike = grad_spk[j] * lif.graded * slope;
      const float late = carry[j];  // of the membrane after the step
      float grad = late + through_spike;
      float to_threshold = -through_spike, to_before = 0.0f;
      // What one unit of `fired` adds to the membrane after the step.
      float weight = 0.0f;
      if constexpr (immediate && reset == kSubtract) {
        grad -= late * threshold * slope;
        to_threshold += late * (threshold * slope - (spike - fired));
        weight = late * threshold;
      } else if constexpr (immediate && reset == kZero) {
        grad = late * (1.0f - (spike - fired) - u * slope) + through_spike;
        to_threshold += late * u * slope;
        weight = late * u;
      }
      grad_cur[j] = grad;
      d_graded[j] += grad_spk[j] * spike;
      if constexpr (reset == kSubtract) {
        d_beta[j] += grad * mem;
        to_threshold -= grad * fired;
        to_before = grad * beta;
        weight -= grad * threshold;
      } else if constexpr (reset == kZero) {
        d_beta[j] += grad * ((1.0f - fired) * mem);
        to_before = grad * beta * (1.0f - fired);
        weight -= grad * beta * mem;
      } else {
        d_beta[j] += grad * mem;
        to_before = grad * beta;
      }
      if constexpr (attached && reset != kNone) {
        const float through_reset = weight * derivative<kind>(mem - threshold, p0, p1);
        to_before += through_reset;
        to_threshold -= through_reset;
      }
      d_threshold[j] += to_threshold;
      carry[j] = to_before;
    }
  }
  std::copy_n(carry, count, args.grad_mem0 + start);
  std::copy_n(d_beta, count, args.grad_beta + start);
  std::copy_n(d_threshold, count, args.grad_threshold + start);
  std::copy_n(d_graded, count, args.grad_graded + start);
}

template <int reset, bool immediate, int kind, bool attached>
void backward(const LifBackward& args, int threads) {
  const Lif& lif = args.lif;
  const int64_t fits = kScratchBytes / static_cast<int64_t>(sizeof(float)) / (lif.steps + 1);
  const int64_t tile = std::clamp<int64_t>(fits / 16 * 16, 16, kTile);
  const int64_t tiles = (lif.width + tile - 1) / tile;
#pragma omp parallel num_threads(threads)
  {
    std::vector<float> membranes((lif.steps + 1) * tile);
#pragma omp for schedule(static)
    for (int64_t k = 0; k < tiles; ++k) {
      const int64_t start = k * tile;
      backward_tile<reset, immediate, kind, attached>(
          args, start, std::min(tile, lif.width - start), membranes.data());
    }
  }
}

// Runtime choices become template arguments one at a time.
template <int reset, bool immediate, int kind>
void backward_attached(const LifBackward& args, int threads) {
  args.lif.attached ? backward<reset, immediate, kind, true>(args, threads)
                    : backward<reset, immediate, kind, false>(args, threads);
}

template <int reset, bool immediate>
void backward_kind(const LifBackward& args, int threads) {
  switch (args.lif.surrogate) {
    case kHardFire: return backward_attached<reset, immediate, kHardFire>(args, threads);
    case kStraightThrough:
      return backward_attached<reset, immediate, kStraightThrough>(args, threads);
    case kAtan: return backward_attached<reset, immediate, kAtan>(args, threads);
    case kFastSigmoid: return backward_attached<reset, immediate, kFastSigmoid>(args, threads);
    case kTriangular: return backward_attached<reset, immediate, kTriangular>(args, threads);
    default: return backward_attached<reset, immediate, kSparseFastSigmoid>(args, threads);
  }
}

}  // namespace

void lif_forward(const LifForward& args, int threads) {
  const bool immediate = args.lif.immediate;
  switch (args.lif.reset) {
    case kSubtract:
      return immediate ? forward<kSubtract, true>(args, threads)
                       : forward<kSubtract, false>(args, threads);
    case kZero:
      return immediate ? forward<kZero, true>(args, threads) : forward<kZero, false>(args, threads);
    default: return forward<kNone, false>(args, threads);
  }
}

void lif_backward(const LifBackward& args, int threads) {
  const bool immediate = args.lif.immediate;
  switch (args.lif.reset) {
    case kSubtract:
      return immediate ? backward_kind<kSubtract, true>(args, threads)
                       : backward_kind<kSubtract, false>(args, threads);
    case kZero:
      return immediate ? backward_kind<kZero, true>(args, threads)
                       : backward_kind<kZero, false>(args, threads);
    default: return backward_kind<kNone, false>(args, threads);
  }
}

}  // namespace SNP_ISA
}  // namespace snp
