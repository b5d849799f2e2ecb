// Counting spikes in one read of memory, of the values or of the bits that say where they are.

#include <algorithm>
#include <vector>

#include "kernels.h"

namespace snp {
namespace SNP_ISA {
namespace {

constexpr int64_t kBlock = 1 << 14;

// Adds the spikes of a block; returns whether every value is 0 or a spike.
inline bool count_block(const float* values, int64_t count, float spike, int64_t& ones) {
  int32_t found = 0, strange = 0;
#pragma omp simd reduction(+ : found) reduction(| : strange)
  for (int64_t j = 0; j < count; ++j) {
    const float v = values[j];
    const int32_t one = v == spike ? 1 : 0, zero = v == 0.0f ? 1 : 0;
    found += one;
    strange |= (one | zero) ^ 1;
  }
  ones += found;
  return strange == 0;
}

// Rows that are counted in kPlanes bits before they are added to the counts.
constexpr int kPlanes = 8;
constexpr int64_t kRows = (1 << kPlanes) - 1;
constexpr int64_t kWords = 8;  // words of a row that are counted at a time, in registers

// Adds, for each bit of Width neighbouring words, in how many rows it is set. Plane k holds bit k
// of 64 * Width counters; adding a row is a ripple of carries through the planes.
template <int64_t Width>
inline void count_columns(const uint64_t* bits, int64_t rows, int64_t words, int64_t* counts) {
  for (int64_t first = 0; first < rows; first += kRows) {
    uint64_t planes[kPlanes][Width] = {};
    const int64_t last = std::min(rows, first + kRows);
    for (int64_t row = first; row < last; ++row) {
      uint64_t carry[Width];
      std::copy_n(bits + row * words, Width, carry);
      for (auto& plane : planes) {
#pragma omp simd
        for (int64_t w = 0; w < Width; ++w) {
          const uint64_t both = plane[w] & carry[w];
          plane[w] ^= carry[w];
          carry[w] = both;
        }
      }
    }
    for (int64_t w = 0; w < Width; ++w) {
      for (int k = 0; k < kPlanes; ++k) {
        const uint64_t plane = planes[k][w];
        if (plane == 0) continue;
#pragma omp simd
        for (int64_t j = 0; j < 64; ++j) counts[64 * w + j] += ((plane >> j) & 1) << k;
      }
    }
  }
}

}  // namespace

void count_bits(const uint64_t* bits, int64_t rows, int64_t words, int64_t* counts) {
  int64_t w = 0;
  for (; w + kWords <= words; w += kWords) {
    count_columns<kWords>(bits + w, rows, words, counts + 64 * w);
  }
  for (; w < words; ++w) count_columns<1>(bits + w, rows, words, counts + 64 * w);
}

int64_t count_spikes(const float* values, int64_t rows, int64_t sites, float spike, int64_t* counts,
                     int threads) {
  const int64_t total = rows * sites;
  int64_t ones = 0, strange = 0;
  // The first block tells currents from spikes before the rest is read.
  if (!count_block(values, std::min<int64_t>(total, 1024), spike, ones)) return -1;
  ones = 0;
  if (counts == nullptr) {
    const int64_t blocks = (total + kBlock - 1) / kBlock;
#pragma omp parallel for num_threads(threads) reduction(+ : ones, strange) schedule(static)
    for (int64_t k = 0; k < blocks; ++k) {
      const int64_t start = k * kBlock;
      strange += !count_block(values + start, std::min(kBlock, total - start), spike, ones);
    }
    return strange ? -1 : ones;
  }
#pragma omp parallel num_threads(threads) reduction(+ : ones, strange)
  {
    std::vector<int32_t> local(sites, 0);
#pragma omp for schedule(static)
    for (int64_t row = 0; row < rows; ++row) {
      const float* v = values + row * sites;
      int32_t odd = 0;
#pragma omp simd reduction(| : odd)
      for (int64_t j = 0; j < sites; ++j) {
        const int32_t one = v[j] == spike ? 1 : 0, zero = v[j] == 0.0f ? 1 : 0;
        local[j] += one;
        odd |= (one | zero) ^ 1;
      }
      strange += odd;
    }
#pragma omp critical
    for (int64_t j = 0; j < sites; ++j) counts[j] += local[j];
  }
  if (strange) return -1;
  for (int64_t j = 0; j < sites; ++j) ones += counts[j];
  return ones;
}

}  // namespace SNP_ISA
}  // namespace snp
