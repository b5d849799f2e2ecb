// Products of a few rows with a matrix that is packed once and used at every time step.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common.h"
#include "vector.h"

namespace snp {
namespace SNP_ISA {
namespace {

constexpr int64_t kPanelColumns = 64;
constexpr int kPanelVectors = kPanelColumns / SNP_LANES;
// A block of results in registers, of which there are 32 or 16.
constexpr int kBlockVectors = 2;
constexpr int kBlockRows = SNP_LANES == 16 ? 8 : 4;

constexpr int64_t padded(int64_t columns) {
  return ceil_div(columns, kPanelColumns) * kPanelColumns;
}

// A square matrix in panels of 64 columns: the row of a source is contiguous in each.
struct Packed {
  const float* at;
  int64_t size;

  const float* panel(int64_t k) const { return at + k * size * kPanelColumns; }
  int64_t panels() const { return ceil_div(size, kPanelColumns); }
};

// Packs one panel of `matrix` (size, size), or of its transpose: source j is then its column j.
inline void pack_panel(const float* matrix, int64_t size, int64_t k, bool transposed, float* to) {
  const int64_t first = k * kPanelColumns, count = std::min(kPanelColumns, size - first);
  float* panel = to + k * size * kPanelColumns;
  if (count < kPanelColumns) std::fill_n(panel, size * kPanelColumns, 0.0f);
  if (transposed) {
    transpose<false>(matrix + first * size, size, count, size, panel, kPanelColumns);
  } else {
    for (int64_t j = 0; j < size; ++j)
      std::copy_n(matrix + j * size + first, count, panel + j * kPanelColumns);
  }
}

// out[r] = start + sum over sources j of x[r][j] * packed[j], for `rows` rows of one panel.
template <int rows>
inline void multiply_rows(const Packed& packed, int64_t k, const float* const* x,
                          const float* start, float* const* out) {
  for (int64_t first = 0; first < kPanelColumns; first += kBlockVectors * SNP_LANES) {
    const float* source = packed.panel(k) + first;
    Vector sum[rows][kBlockVectors];
    for (int r = 0; r < rows; ++r)
      for (int v = 0; v < kBlockVectors; ++v)
        sum[r][v] = start ? load(start + k * kPanelColumns + first + v * SNP_LANES) : Vector{};
    for (int64_t j = 0; j < packed.size; ++j, source += kPanelColumns) {
      Vector row[kBlockVectors];
      for (int v = 0; v < kBlockVectors; ++v) row[v] = load(source + v * SNP_LANES);
      for (int r = 0; r < rows; ++r)
        for (int v = 0; v < kBlockVectors; ++v) sum[r][v] = add_product(sum[r][v], x[r][j], row[v]);
    }
    for (int r = 0; r < rows; ++r)
      for (int v = 0; v < kBlockVectors; ++v)
        store(out[r] + k * kPanelColumns + first + v * SNP_LANES, sum[r][v]);
  }
}

// The same for any number of rows.
inline void multiply(const Packed& packed, int64_t k, const float* const* x, const float* start,
                     float* const* out, int64_t rows) {
  int64_t r = 0;
  for (; r + kBlockRows <= rows; r += kBlockRows)
    multiply_rows<kBlockRows>(packed, k, x + r, start, out + r);
  for (; r + 2 <= rows; r += 2) multiply_rows<2>(packed, k, x + r, start, out + r);
  if (r < rows) multiply_rows<1>(packed, k, x + r, start, out + r);
}

// The same sums of one row, in the same order, from the sources that are not zero; `value` belongs to
// them, or is null: all are 1.
inline void gather(const Packed& packed, int64_t k, const int32_t* index, const float* value,
                   int64_t count, const float* start, float* out) {
  const float* panel = packed.panel(k);
  Vector sum[kPanelVectors];
  for (int v = 0; v < kPanelVectors; ++v)
    sum[v] = start ? load(start + k * kPanelColumns + v * SNP_LANES) : Vector{};
  for (int64_t n = 0; n < count; ++n) {
    const float* source = panel + index[n] * kPanelColumns;
    for (int v = 0; v < kPanelVectors; ++v) {
      const Vector row = load(source + v * SNP_LANES);
      if (value) {
        sum[v] = add_product(sum[v], value[n], row);
      } else {
        sum[v] += row;
      }
    }
  }
  for (int v = 0; v < kPanelVectors; ++v) store(out + k * kPanelColumns + v * SNP_LANES, sum[v]);
}

}  // namespace
}  // namespace SNP_ISA
}  // namespace snp
