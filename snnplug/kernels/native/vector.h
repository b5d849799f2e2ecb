// Arithmetic that compilers turn into vector instructions; compiled once per instruction set.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX__) || defined(__SSE2__)
#include <immintrin.h>
#endif

namespace snp {
namespace SNP_ISA {
namespace {

#if defined(__GNUC__)
#if defined(__AVX512F__)
#define SNP_LANES 16
#elif defined(__AVX__)
#define SNP_LANES 8
#else
#define SNP_LANES 4
#endif
typedef float Vector __attribute__((vector_size(SNP_LANES * 4)));
#else
#define SNP_LANES 4
struct Vector {
  float lane[SNP_LANES];
  Vector& operator+=(const Vector& other) {
    for (int k = 0; k < SNP_LANES; ++k) lane[k] += other.lane[k];
    return *this;
  }
};
inline Vector operator*(Vector a, const Vector& b) {
  for (int k = 0; k < SNP_LANES; ++k) a.lane[k] *= b.lane[k];
  return a;
}
inline Vector operator*(float factor, Vector v) {
  for (float& lane : v.lane) lane *= factor;
  return v;
}
#endif

// Before a loop over values that are kept in registers: unrolled early, or they go through memory.
#if defined(__clang__)
#define SNP_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define SNP_UNROLL _Pragma("GCC unroll 32")
#else
#define SNP_UNROLL
#endif

// As many values as one instruction takes, with all operators of a float.
#if defined(__GNUC__)
typedef Vector Lanes;
#else
typedef float Lanes;
#endif

template <class V>
struct Bits {
  typedef uint32_t type;
};
#if defined(__GNUC__)
template <>
struct Bits<Lanes> {
  typedef uint32_t type __attribute__((vector_size(sizeof(Lanes))));
};
#endif

// exp(x) for x <= 0, to about one unit in the last place; below float's normal numbers it is 0.
// x = n ln 2 + r with |r| <= ln 2 / 2; the Taylor series of exp(r) ends where its next term,
// r^8 / 8! <= 5.2e-9, is lost in rounding. Only elementary operations: the same bits everywhere.
template <class V>
inline V exp_negative(V x) {
  constexpr float kSmallest = -87.33f;             // exp of it is the smallest normal number
  constexpr float kRound = 12582912.0f;            // 1.5 * 2^23: adding it rounds to an integer
  constexpr float kHigh = 0.693359375f;            // ln 2 in two parts: n times the first is exact
  constexpr float kLow = -2.12194440e-4f;
  const V bounded = x < kSmallest ? V{} + kSmallest : x;
  const V shifted = bounded * 1.44269504f + kRound;
  const V n = shifted - kRound;
  const V r = (bounded - n * kHigh) - n * kLow;
  V sum = V{} + 1.0f / 5040.0f;
  sum = sum * r + 1.0f / 720.0f;
  sum = sum * r + 1.0f / 120.0f;
  sum = sum * r + 1.0f / 24.0f;
  sum = sum * r + 1.0f / 6.0f;
  sum = sum * r + 0.5f;
  sum = sum * r + 1.0f;
  sum = sum * r + 1.0f;
  // The low bits of `shifted` are n: they become the exponent of 2^n.
  typename Bits<V>::type bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits + 127u) << 23;
  V power;
  std::memcpy(&power, &bits, sizeof power);
  return x < kSmallest ? V{} : sum * power;
}

// sum + factor * v, rounded once where the instruction set can.
inline Vector add_product(Vector sum, float factor, Vector v) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(_mm512_set1_ps(factor), v, sum);
#elif defined(__FMA__)
  return _mm256_fmadd_ps(_mm256_set1_ps(factor), v, sum);
#else
  sum += factor * v;
  return sum;
#endif
}

template <class V = Vector>
inline V load(const float* from) {
  V v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

template <class V>
inline void store(float* to, V v) {
  std::memcpy(to, &v, sizeof v);
}

// Writes whole numbers below 256 as bytes.
inline void store_bytes(uint8_t* to, Bits<Lanes>::type v) {
#if defined(__GNUC__)
  typedef uint8_t Bytes __attribute__((vector_size(SNP_LANES)));
  const Bytes bytes = __builtin_convertvector(v, Bytes);
  std::memcpy(to, &bytes, sizeof bytes);
#else
  *to = static_cast<uint8_t>(v);
#endif
}

// Which of 16 values differ from `value`; not-a-number does.
inline uint32_t differ16(const float* values, float value) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask(_mm512_loadu_ps(values), _mm512_set1_ps(value), _CMP_NEQ_UQ);
#elif defined(__AVX__)
  uint32_t mask = 0;
  for (int k = 0; k < 2; ++k) {
    const __m256 v = _mm256_loadu_ps(values + 8 * k);
    const __m256 other = _mm256_cmp_ps(v, _mm256_set1_ps(value), _CMP_NEQ_UQ);
    mask |= static_cast<uint32_t>(_mm256_movemask_ps(other)) << (8 * k);
  }
  return mask;
#elif defined(__SSE2__)
  uint32_t mask = 0;
  for (int k = 0; k < 4; ++k) {
    const __m128 other = _mm_cmpneq_ps(_mm_loadu_ps(values + 4 * k), _mm_set1_ps(value));
    mask |= static_cast<uint32_t>(_mm_movemask_ps(other)) << (4 * k);
  }
  return mask;
#else
  uint32_t mask = 0;
  for (int k = 0; k < 16; ++k) mask |= static_cast<uint32_t>(values[k] != value) << k;
  return mask;
#endif
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
