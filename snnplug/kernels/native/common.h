// What the kernels on sparse input share; compiled once per instruction set.
#pragma once

#include <algorithm>
#include <cstdint>

#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(_MSC_VER)
#include <intrin.h>
#elif defined(__SSE2__)
#include <immintrin.h>
#endif

namespace snp {
namespace SNP_ISA {
namespace {

constexpr int64_t kWord = 64;

inline int thread_number() {
#ifdef _OPENMP
  return omp_get_thread_num();
#else
  return 0;
#endif
}

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

#if defined(_MSC_VER) && !defined(__clang__)
inline int lowest(uint64_t word) {
  unsigned long at;
  return _BitScanForward64(&at, word) ? static_cast<int>(at) : 64;
}
inline int ones(uint64_t word) {
  int count = 0;
  for (; word; word &= word - 1) ++count;
  return count;
}
#else
inline int lowest(uint64_t word) { return __builtin_ctzll(word); }
inline int ones(uint64_t word) { return __builtin_popcountll(word); }
#endif

// dst[c][r] = src[r][c], or adds to it.
template <bool add>
inline void transpose_scalar(const float* src, int64_t src_stride, int64_t rows, int64_t cols,
                             float* dst, int64_t dst_stride) {
  for (int64_t c = 0; c < cols; ++c) {
    for (int64_t r = 0; r < rows; ++r) {
      float& out = dst[c * dst_stride + r];
      out = add ? out + src[r * src_stride + c] : src[r * src_stride + c];
    }
  }
}

#if defined(__SSE2__)
template <bool add>
inline void transpose_four(const float* src, int64_t src_stride, float* dst, int64_t dst_stride) {
  __m128 a = _mm_loadu_ps(src), b = _mm_loadu_ps(src + src_stride);
  __m128 c = _mm_loadu_ps(src + 2 * src_stride), d = _mm_loadu_ps(src + 3 * src_stride);
  _MM_TRANSPOSE4_PS(a, b, c, d);
  for (const __m128 row : {a, b, c, d}) {
    _mm_storeu_ps(dst, add ? _mm_add_ps(_mm_loadu_ps(dst), row) : row);
    dst += dst_stride;
  }
}
#endif

template <bool add>
inline void transpose(const float* src, int64_t src_stride, int64_t rows, int64_t cols, float* dst,
                      int64_t dst_stride) {
  constexpr int64_t kStep = 16;
  for (int64_t c0 = 0; c0 < cols; c0 += kStep) {
    const int64_t c1 = std::min(c0 + kStep, cols);
    for (int64_t r0 = 0; r0 < rows; r0 += kStep) {
      int64_t fours = 0, r1 = std::min(r0 + kStep, rows);
#if defined(__SSE2__)
      fours = (r1 - r0) / 4 * 4;
      for (int64_t c = c0; c + 4 <= c1; c += 4)
        for (int64_t r = r0; r < r0 + fours; r += 4)
          transpose_four<add>(src + r * src_stride + c, src_stride, dst + c * dst_stride + r,
                              dst_stride);
      const int64_t across = (c1 - c0) / 4 * 4;
      transpose_scalar<add>(src + r0 * src_stride + c0 + across, src_stride, fours, c1 - c0 - across,
                            dst + (c0 + across) * dst_stride + r0, dst_stride);
#endif
      transpose_scalar<add>(src + (r0 + fours) * src_stride + c0, src_stride, r1 - r0 - fours,
                            c1 - c0, dst + c0 * dst_stride + r0 + fours, dst_stride);
    }
  }
}

// Cuts the scratch memory into arrays on cache lines.
struct Arena {
  char* at;
  template <class T>
  T* take(int64_t count) {
    T* start = reinterpret_cast<T*>(at);
    at += ceil_div(count * static_cast<int64_t>(sizeof(T)), 64) * 64;
    return start;
  }
};

}  // namespace
}  // namespace SNP_ISA
}  // namespace snp
