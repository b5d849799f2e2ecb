// A convolution of stride 1 without dilation, an output row at a time: what reaches a few neighbouring
// outputs is summed in registers, column after column of the input. A tile of output channels is so
// narrow that its weights stay in the first-level cache.
#pragma once

#include <array>
#include <utility>

#include "spike_conv.h"
#include "vector.h"

namespace snp {
namespace SNP_ISA {
namespace {

constexpr int64_t kWidest = 7;                   // columns of a kernel whose sums fit the registers
constexpr int64_t kRowTile = 2 * SNP_LANES <= 16 ? 2 * SNP_LANES : SNP_LANES;
constexpr int kRowVectors = kRowTile / SNP_LANES;

// Below so many inputs for an output row and column, finding out that there are none costs more than
// adding to memory: see tests/benchmarks/spike_conv.py.
constexpr double kFewest = 1.0;

inline bool by_rows(const SpikeConv& args, const Geometry& geometry) {
  const bool dense_taps = args.stride[0] == 1 && args.stride[1] == 1 && args.dilation[0] == 1 &&
                          args.dilation[1] == 1;
  if (!dense_taps || args.kernel[1] > std::min(kWidest, args.out_size[1])) return false;
  int64_t spikes = 0;
  for (int64_t w = 0; w < args.batch * geometry.words; ++w) spikes += ones(args.bits[w]);
  const double cells = static_cast<double>(args.batch * args.groups * geometry.plane);
  return static_cast<double>(spikes * args.kernel[0]) >= kFewest * cells;
}

// Where a place of a channel's plane is in the order of columns, and where the taps of its row begin.
struct Cell {
  int32_t at, taps;
};

// The inputs of one group of an image that are not zero, column by column, and in those row by row.
struct Columns {
  int32_t* start;  // (plane + 1)
  int32_t* taps;   // of each, where they begin for the output row 0 of no padding
  float* values;
  int32_t *seen_at, *seen_taps;  // in the order of the image
  float* seen_values;

  static int64_t scratch(const SpikeConv& args) {
    const int64_t plane = args.in_size[0] * args.in_size[1];
    return 4 * (plane + 1 + 6 * args.in_channels * plane) + 7 * 64;
  }

  Columns(const SpikeConv& args, Arena& arena) {
    const int64_t plane = args.in_size[0] * args.in_size[1], inputs = args.in_channels * plane;
    start = arena.take<int32_t>(plane + 1);
    for (int32_t** list : {&taps, &seen_at, &seen_taps}) *list = arena.take<int32_t>(inputs);
    for (float** list : {&values, &seen_values}) *list = arena.take<float>(inputs);
  }
};

inline std::vector<Cell> make_cells(const SpikeConv& args) {
  std::vector<Cell> cells;
  const int64_t row = args.in_channels * args.kernel[1] * kRowTile;
  for (int64_t y = 0; y < args.in_size[0]; ++y)
    for (int64_t x = 0; x < args.in_size[1]; ++x)
      cells.push_back({static_cast<int32_t>(x * args.in_size[0] + y), static_cast<int32_t>(y * row)});
  return cells;
}

template <bool graded>
void list_columns(const SpikeConv& args, const Geometry& geometry, const std::vector<Cell>& cells,
                  int64_t image, int64_t group, const Columns& to) {
  const auto tap = static_cast<int32_t>(args.kernel[1] * kRowTile);
  // start[k + 1] counts the inputs of cell k, then is where they begin, then where they end.
  int32_t* start = to.start;
  int64_t seen = 0;
  std::fill_n(start, geometry.plane + 1, 0);
  each_input(args, geometry, image, group, [&](int64_t channel, int64_t place, int64_t index) {
    const Cell cell = cells[place];
    ++start[cell.at + 1];
    to.seen_at[seen] = cell.at;
    to.seen_taps[seen] = cell.taps + static_cast<int32_t>(channel) * tap;
    if (graded) to.seen_values[seen] = args.x[index];
    ++seen;
  });
  int32_t sum = 0;
  for (int64_t k = 1; k <= geometry.plane; ++k) {
    const int32_t count = start[k];
    start[k] = sum;
    sum += count;
  }
  for (int64_t k = 0; k < seen; ++k) {
    const int32_t at = start[to.seen_at[k] + 1]++;
    to.taps[at] = to.seen_taps[k];
    if (graded) to.values[at] = to.seen_values[k];
  }
}

// packed[row][in channel][column][out channel] of one tile.
inline void pack_rows(const SpikeConv& args, const Tile& tile, int64_t group, float* packed) {
  const int64_t taps = args.kernel[0] * args.kernel[1];
  std::fill_n(packed, args.in_channels * taps * kRowTile, 0.0f);
  for (int64_t o = 0; o < tile.channels; ++o) {
    const float* from =
        args.weight + (group * args.out_channels + tile.first + o) * args.in_channels * taps;
    for (int64_t c = 0; c < args.in_channels; ++c)
      for (int64_t y = 0; y < args.kernel[0]; ++y)
        for (int64_t x = 0; x < args.kernel[1]; ++x)
          packed[((y * args.in_channels + c) * args.kernel[1] + x) * kRowTile + o] =
              from[c * taps + y * args.kernel[1] + x];
  }
}

// Some neighbouring outputs of a row: `total[t]` takes the tap `width - 1 - t` of the present column.
template <int width>
struct Outputs {
  Vector total[width][kRowVectors] = {};

  // Adds what the inputs of a column give to the outputs from `from` up to `to`.
  template <bool graded, int from, int to>
  inline void add(const Columns& inputs, int32_t first, int32_t last, const float* packed,
                  int64_t shift) {
    for (int32_t k = first; k < last; ++k) {
      const float* row = packed + (inputs.taps[k] - shift);
      for (int t = from; t < to; ++t)
        for (int v = 0; v < kRowVectors; ++v) {
          const Vector tap = load(row + (width - 1 - t) * kRowTile + v * SNP_LANES);
          total[t][v] += graded ? inputs.values[k] * tap : tap;
        }
    }
  }

  // Goes on to the next column.
  inline void shift() {
    for (int v = 0; v < kRowVectors; ++v) {
      for (int t = 0; t + 1 < width; ++t) total[t][v] = total[t + 1][v];
      total[width - 1][v] = Vector{};
    }
  }
};

// What a row of outputs meets: the inputs of the rows from `first` up to `last` of each column, whose
// taps begin `shift` sooner than for the output row 0 of no padding.
template <bool graded>
struct Row {
  const SpikeConv& args;
  const Columns& inputs;
  int64_t first, last, shift;
  const float* packed;

  // The column counts from the first of the padding.
  template <int from, int to, int width>
  inline void add(int64_t column, Outputs<width>& outputs) const {
    const int64_t x = column - args.padding[1];
    if (x < 0 || x >= args.in_size[1]) return;
    const int32_t* start = inputs.start + x * args.in_size[0];
    outputs.template add<graded, from, to>(inputs, start[first], start[last], packed, shift);
  }
};

// The first and last columns reach outputs on one side only.
template <bool graded, int width, size_t... columns>
inline void sum_row(const Row<graded>& row, float* sum, std::index_sequence<columns...>) {
  Outputs<width> outputs;
  const auto store_one = [&](int64_t column) {
    for (int v = 0; v < kRowVectors; ++v)
      store(sum + column * kRowTile + v * SNP_LANES, outputs.total[0][v]);
    outputs.shift();
  };
  const int64_t across = row.args.out_size[1];
  ((row.template add<width - 1 - columns, width>(columns, outputs), outputs.shift()), ...);
  int64_t column = width - 1;
  for (; column < across; ++column) {
    row.template add<0, width>(column, outputs);
    store_one(column - (width - 1));
  }
  ((row.template add<0, width - 1 - columns>(column + columns, outputs),
    store_one(column + columns - (width - 1))), ...);
}

template <bool graded, size_t width>
void sum_row_of(const Row<graded>& row, float* sum) {
  sum_row<graded, width>(row, sum, std::make_index_sequence<width - 1>());
}

template <bool graded>
using SumRow = void (*)(const Row<graded>&, float*);

template <bool graded, size_t... widths>
constexpr std::array<SumRow<graded>, sizeof...(widths)> row_table(std::index_sequence<widths...>) {
  return {sum_row_of<graded, widths + 1>...};
}

// Sums the outputs of one tile of an image.
template <bool graded>
void sum_rows(const SpikeConv& args, const Columns& inputs, const float* packed, float* sum) {
  static constexpr auto kTable = row_table<graded>(std::make_index_sequence<kWidest>());
  const SumRow<graded> sum_one = kTable[args.kernel[1] - 1];
  const int64_t row = args.in_channels * args.kernel[1] * kRowTile;
  for (int64_t y = 0; y < args.out_size[0]; ++y) {
    const int64_t top = y - args.padding[0];
    const int64_t first = std::min(std::max<int64_t>(top, 0), args.in_size[0]);
    const int64_t last = std::max(std::min(top + args.kernel[0], args.in_size[0]), first);
    sum_one({args, inputs, first, last, top * row, packed}, sum + y * args.out_size[1] * kRowTile);
  }
}

}  // namespace
}  // namespace SNP_ISA
}  // namespace snp
