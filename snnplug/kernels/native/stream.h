// Writes that go past the caches: a large output is gone from them before it is read, and a line that
// is written as a whole is not read first.
#pragma once

#include <cstdint>
#include <cstring>

#include "vector.h"

namespace snp {
namespace SNP_ISA {
namespace {

constexpr int64_t kLine = 64;

// Writes one cache line past the caches, without reading it first.
inline void stream_line(void* to, const void* from) {
#if defined(__AVX512F__)
  _mm512_stream_si512(static_cast<__m512i*>(to), _mm512_load_si512(from));
#elif defined(__AVX__)
  for (int k = 0; k < 2; ++k)
    _mm256_stream_si256(static_cast<__m256i*>(to) + k,
                        _mm256_load_si256(static_cast<const __m256i*>(from) + k));
#elif defined(__SSE2__)
  for (int k = 0; k < 4; ++k)
    _mm_stream_si128(static_cast<__m128i*>(to) + k,
                     _mm_load_si128(static_cast<const __m128i*>(from) + k));
#else
  std::memcpy(to, from, kLine);
#endif
}

inline void finish_streams() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

// Writes values past the caches: all of a line one after the other, each on its natural boundary.
inline void stream(float* to, Lanes v) {
#if defined(__AVX512F__)
  _mm512_stream_ps(to, v);
#elif defined(__AVX__)
  _mm256_stream_ps(to, v);
#elif defined(__SSE2__) && defined(__GNUC__)
  _mm_stream_ps(to, v);
#else
  store(to, v);
#endif
}

}  // namespace
}  // namespace SNP_ISA
}  // namespace snp
