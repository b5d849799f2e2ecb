// The derivatives of snnplug/surrogate.py, in the order of operations that they have there.
#pragma once

#include <algorithm>
#include <cmath>

#include "kernels.h"
#include "vector.h"

namespace snp {
namespace SNP_ISA {
namespace {

// exp(-(x / sigma)^2 / 2) * peak
inline float normal(float x, float sigma, float peak) {
  const float z = x / sigma;
  return exp_negative(-0.5f * (z * z)) * peak;
}

template <int kind>
inline float derivative(float x, const float* c) {
  const float distance = std::fabs(x);
  if constexpr (kind == kHardFire) {
    return distance < c[0] ? c[1] : 0.0f;
  } else if constexpr (kind == kStraightThrough) {
    return 1.0f;
  } else if constexpr (kind == kAtan) {
    const float scaled = c[1] * x;
    return c[0] / (1.0f + scaled * scaled);
  } else if constexpr (kind == kTriangular) {
    return c[0] * std::max(1.0f - distance / c[1], 0.0f);
  } else if constexpr (kind == kSigmoid) {
    const float power = exp_negative(-c[0] * distance);
    const float tail = power / (1.0f + power);
    return c[0] * tail * (1.0f - tail);
  } else if constexpr (kind == kGaussian) {
    return normal(x, c[0], c[1]);
  } else if constexpr (kind == kMultiGaussian) {
    const float lobes = normal(x - c[0], c[2], c[3]) + normal(x + c[0], c[2], c[3]);
    return (1.0f + c[4]) * normal(x, c[0], c[1]) - c[4] * lobes;
  } else {
    const float root = c[0] * distance + 1.0f;
    const float cusp = 1.0f / (root * root);
    return kind == kFastSigmoid || distance < c[1] ? cusp : 0.0f;
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
  const float* c = layer.constants;
  switch (layer.surrogate) {
    case kHardFire: return slopes<kHardFire>(mem, threshold, c, count, out);
    case kStraightThrough: return slopes<kStraightThrough>(mem, threshold, c, count, out);
    case kAtan: return slopes<kAtan>(mem, threshold, c, count, out);
    case kFastSigmoid: return slopes<kFastSigmoid>(mem, threshold, c, count, out);
    case kTriangular: return slopes<kTriangular>(mem, threshold, c, count, out);
    case kSigmoid: return slopes<kSigmoid>(mem, threshold, c, count, out);
    case kGaussian: return slopes<kGaussian>(mem, threshold, c, count, out);
    case kMultiGaussian: return slopes<kMultiGaussian>(mem, threshold, c, count, out);
    default: return slopes<kSparseFastSigmoid>(mem, threshold, c, count, out);
  }
}

}  // namespace
}  // namespace SNP_ISA
}  // namespace snp
