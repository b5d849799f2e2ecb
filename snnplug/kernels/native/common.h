// What the kernels on sparse input share; compiled once per instruction set.
#pragma once

#include <algorithm>
#include <cstdint>

#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(_MSC_VER)
#include <intrin.h>
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
#else
inline int lowest(uint64_t word) { return __builtin_ctzll(word); }
#endif

// dst[c][r] = src[r][c], or adds to it.
template <bool add>
inline void transpose(const float* src, int64_t src_stride, int64_t rows, int64_t cols, float* dst,
                      int64_t dst_stride) {
  constexpr int64_t kStep = 16;
  for (int64_t c0 = 0; c0 < cols; c0 += kStep) {
    const int64_t c1 = std::min(c0 + kStep, cols);
    for (int64_t r0 = 0; r0 < rows; r0 += kStep) {
      const int64_t r1 = std::min(r0 + kStep, rows);
      for (int64_t c = c0; c < c1; ++c) {
        for (int64_t r = r0; r < r1; ++r) {
          float& out = dst[c * dst_stride + r];
          out = add ? out + src[r * src_stride + c] : src[r * src_stride + c];
        }
      }
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
