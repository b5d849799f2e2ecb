// The derivatives of snnplug/surrogate.py, in the order of operations that they have there.
#pragma once

#include <algorithm>
#include <type_traits>

#include "kernels.h"
#include "vector.h"

namespace snp {
namespace SNP_ISA {
namespace {

// exp(-(x / sigma)^2 / 2) * peak
template <class V>
inline V normal(V x, float sigma, float peak) {
  const V z = x / sigma;
  return exp_negative(-0.5f * (z * z)) * peak;
}

// V is float or Lanes.
template <int kind, class V>
inline V derivative(V x, const float* c) {
  const V distance = x < 0.0f ? -x : x;
  if constexpr (kind == kHardFire) {
    return distance < c[0] ? V{} + c[1] : V{};
  } else if constexpr (kind == kStraightThrough) {
    return V{} + 1.0f;
  } else if constexpr (kind == kAtan) {
    const V scaled = c[1] * x;
    return c[0] / (1.0f + scaled * scaled);
  } else if constexpr (kind == kTriangular) {
    const V rest = 1.0f - distance / c[1];
    return c[0] * (rest < 0.0f ? V{} : rest);
  } else if constexpr (kind == kSigmoid) {
    const V power = exp_negative(-c[0] * distance);
    const V tail = power / (1.0f + power);
    return c[0] * tail * (1.0f - tail);
  } else if constexpr (kind == kGaussian) {
    return normal(x, c[0], c[1]);
  } else if constexpr (kind == kMultiGaussian) {
    const V lobes = normal(x - c[0], c[2], c[3]) + normal(x + c[0], c[2], c[3]);
    return (1.0f + c[4]) * normal(x, c[0], c[1]) - c[4] * lobes;
  } else {
    const V root = c[0] * distance + 1.0f;
    const V cusp = 1.0f / (root * root);
    if constexpr (kind == kFastSigmoid) return cusp;
    return distance < c[1] ? cusp : V{};
  }
}

// Calls work(kind) with the surrogate of the layer as a constant.
template <class Work>
inline void with_surrogate(const Neurons& layer, Work work) {
  switch (layer.surrogate) {
    case kHardFire: return work(std::integral_constant<int, kHardFire>{});
    case kStraightThrough: return work(std::integral_constant<int, kStraightThrough>{});
    case kAtan: return work(std::integral_constant<int, kAtan>{});
    case kFastSigmoid: return work(std::integral_constant<int, kFastSigmoid>{});
    case kTriangular: return work(std::integral_constant<int, kTriangular>{});
    case kSigmoid: return work(std::integral_constant<int, kSigmoid>{});
    case kGaussian: return work(std::integral_constant<int, kGaussian>{});
    case kMultiGaussian: return work(std::integral_constant<int, kMultiGaussian>{});
    default: return work(std::integral_constant<int, kSparseFastSigmoid>{});
  }
}

// The derivatives of a row of membranes.
template <int kind>
inline void slopes(const float* mem, const float* threshold, const float* constants, int64_t count,
                   float* out) {
  float c[kConstants];
  std::copy_n(constants, kConstants, c);
#pragma omp simd
  for (int64_t j = 0; j < count; ++j) out[j] = derivative<kind>(mem[j] - threshold[j], c);
}

inline void slopes(const Neurons& layer, const float* mem, const float* threshold, int64_t count,
                   float* out) {
  with_surrogate(layer, [&](auto kind) {
    slopes<decltype(kind)::value>(mem, threshold, layer.constants, count, out);
  });
}

}  // namespace
}  // namespace SNP_ISA
}  // namespace snp
