// What neurons hear of the spikes of their own layer. A thread takes a few samples through the whole
// sequence and waits for no other.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "dense.h"

namespace snp {
namespace SNP_ISA {
namespace {

// Above this part of spikes a dense product takes less time: it reads a row for several samples.
constexpr double kDense = 0.25;

// The samples of a thread.
struct Share {
  int64_t first, last;
  Share(int64_t batch, int64_t number, int64_t threads)
      : first(batch * number / threads), last(batch * (number + 1) / threads) {}
  int64_t count() const { return last - first; }
};

// The sources of one row that are not zero.
struct Sources {
  std::vector<int32_t> index;
  std::vector<float> value;
  bool graded;

  explicit Sources(int64_t size) : index(size), value(size), graded(false) {}

  int64_t find(const float* x, int64_t count) {
    int64_t found = 0;
    graded = false;
    for (int64_t start = 0; start < count; start += 16) {
      float rest[16];
      const float* values = x + start;
      if (count - start < 16) {
        std::fill_n(std::copy_n(values, count - start, rest), 16 - (count - start), 0.0f);
        values = rest;
      }
      uint32_t mask = differ16(values, 0.0f);
      graded |= (mask & differ16(values, 1.0f)) != 0;
      for (; mask; mask &= mask - 1, ++found) {
        const int at = lowest(mask);
        index[found] = static_cast<int32_t>(start + at);
        value[found] = values[at];
      }
    }
    return found;
  }
};

// feedback[b] = bias + weight * spikes[b]; without a bias from 0.
inline void listen(const Packed& weight, const float* bias, const float* spikes, int64_t samples,
                   Sources& sources, float* feedback, const float** dense, float** dense_out) {
  const int64_t size = weight.size, stride = padded(size);
  int64_t crowded = 0;
  for (int64_t b = 0; b < samples; ++b) {
    const float* x = spikes + b * size;
    float* out = feedback + b * stride;
    const int64_t count = sources.find(x, size);
    if (count > kDense * size) {
      dense[crowded] = x;
      dense_out[crowded++] = out;
      continue;
    }
    const float* value = sources.graded ? sources.value.data() : nullptr;
    for (int64_t k = 0; k < weight.panels(); ++k)
      gather(weight, k, sources.index.data(), value, count, bias, out);
  }
  for (int64_t k = 0; crowded && k < weight.panels(); ++k)
    multiply(weight, k, dense, bias, dense_out, crowded);
}

// Runs work(share) once per thread, on the samples that are its own.
template <class Work>
void over_samples(int64_t batch, int threads, Work work) {
  const int64_t shares = std::min<int64_t>(threads, batch);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t k = 0; k < shares; ++k) work(Share(batch, k, shares));
}

inline Packed pack(const float* weight, int64_t size, bool transposed, float* scratch,
                   int threads) {
  const Packed packed{scratch, size};
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t k = 0; k < packed.panels(); ++k)
    pack_panel(weight, size, k, transposed, scratch);
  return packed;
}

}  // namespace
}  // namespace SNP_ISA
}  // namespace snp
