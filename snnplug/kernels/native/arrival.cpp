// Frames of another process, taken out of the memory that they came in. As fast as memory is on any
// instruction set.

#include "arrival.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>

#define SNP_ISA any
#include "stream.h"

#ifdef _WIN32
#define SNP_EXPORT extern "C" __declspec(dllexport)
#else
#define SNP_EXPORT extern "C" __attribute__((visibility("default")))
#endif

namespace snp {
namespace SNP_ISA {
namespace {

// Whole cache lines of bytes and of floats.
constexpr int64_t kPart = 1 << 16;
constexpr int64_t kFloats = kLine / static_cast<int64_t>(sizeof(float));

void widen(const uint8_t* bytes, int64_t count, float* out) {
  int64_t s = 0;
  for (; s < count && reinterpret_cast<uintptr_t>(out + s) % kLine; ++s) out[s] = bytes[s];
  alignas(kLine) float block[kLine];
  for (; s + kLine <= count; s += kLine) {
    for (int64_t k = 0; k < kLine; ++k) block[k] = bytes[s + k];
    for (int64_t k = 0; k < kLine; k += kFloats) stream_line(out + s + k, block + k);
  }
  for (; s < count; ++s) out[s] = bytes[s];
}

}  // namespace
}  // namespace SNP_ISA
}  // namespace snp

SNP_EXPORT void snp_arrive(const snp::Arrival* args, int threads) {
  using namespace snp::SNP_ISA;
  const snp::Arrival a = *args;
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
#pragma omp for schedule(static)
    for (int64_t at = 0; at < a.count; at += kPart) {
      const int64_t count = std::min(kPart, a.count - at);
      if (a.widens)
        widen(a.bytes + at, count, static_cast<float*>(a.output) + at);
      else
        std::memcpy(static_cast<uint8_t*>(a.output) + at, a.bytes + at, count);
    }
    finish_streams();
  }
  // Not before every byte is read.
  reinterpret_cast<std::atomic<int64_t>*>(a.held)->store(0, std::memory_order_release);
}
