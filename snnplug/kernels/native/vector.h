// Arithmetic that compilers turn into vector instructions; compiled once per instruction set.
#pragma once

#include <cstdint>
#include <cstring>

namespace snp {
namespace SNP_ISA {
namespace {

// exp(x) for x <= 0, to about one unit in the last place; below float's normal numbers it is 0.
// x = n ln 2 + r with |r| <= ln 2 / 2; the Taylor series of exp(r) ends where its next term,
// r^8 / 8! <= 5.2e-9, is lost in rounding. Only elementary operations: the same bits everywhere.
inline float exp_negative(float x) {
  constexpr float kSmallest = -87.33f;             // exp of it is the smallest normal number
  constexpr float kRound = 12582912.0f;            // 1.5 * 2^23: adding it rounds to an integer
  constexpr float kHigh = 0.693359375f;            // ln 2 in two parts: n times the first is exact
  constexpr float kLow = -2.12194440e-4f;
  const float bounded = x < kSmallest ? kSmallest : x;
  const float shifted = bounded * 1.44269504f + kRound;
  const float n = shifted - kRound;
  const float r = (bounded - n * kHigh) - n * kLow;
  float sum = 1.0f / 5040.0f;
  sum = sum * r + 1.0f / 720.0f;
  sum = sum * r + 1.0f / 120.0f;
  sum = sum * r + 1.0f / 24.0f;
  sum = sum * r + 1.0f / 6.0f;
  sum = sum * r + 0.5f;
  sum = sum * r + 1.0f;
  sum = sum * r + 1.0f;
  // The low bits of `shifted` are n: they become the exponent of 2^n.
  uint32_t bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + 127u) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return x < kSmallest ? 0.0f : sum * power;
}

// A row lies a whole layer's width after the one before: too far for the processor to see it coming.
inline void prefetch(const float* row, int64_t count) {
#if defined(__GNUC__)
  for (int64_t j = 0; j < count; j += 16) __builtin_prefetch(row + j);
#endif
}

}  // namespace
}  // namespace SNP_ISA
}  // namespace snp
