// Counting spikes in one read of memory.

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

}  // namespace

int64_t count_spikes(const float* values, int64_t rows, int64_t sites, float spike, int64_t* counts,
                     int threads) {
  const int64_t total = rows * sites;
  int64_t ones = 0, strange = 0;
  if (counts == nullptr) {
    // The first block tells currents from spikes before the rest is read.
    if (!count_block(values, std::min<int64_t>(total, 1024), spike, ones)) return -1;
    ones = 0;
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
