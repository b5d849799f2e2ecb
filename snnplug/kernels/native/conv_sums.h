// The outputs of a convolution of mostly zero images, tile by tile of output channels, in the cache:
// either each input adds to the outputs that it reaches, or an output row collects its inputs.
#pragma once

#include "conv_rows.h"
#include "spike_conv.h"

namespace snp {
namespace SNP_ISA {
namespace {

inline int64_t sums_scratch(const SpikeConv& args, int threads) {
  const int64_t outputs = args.groups * ceil_div(args.out_channels, kTile) * kTile;
  const int64_t taps = args.in_channels * args.kernel[0] * args.kernel[1];
  const int64_t places = args.out_size[0] * args.out_size[1];
  return 4 * (outputs * taps + threads * places * kTile) + threads * Columns::scratch(args) + 2 * 64;
}

template <bool graded, class Use>
void add_inputs(const SpikeConv& args, const Geometry& geometry, int threads, Arena arena, Use use) {
  const int64_t held = geometry.places * kTile;
  float* packed = arena.take<float>(packed_size(args, geometry));
  float* sums = arena.take<float>(threads * held);
  for (int64_t item = 0; item < args.groups * geometry.tiles; ++item) {
    const int64_t group = item / geometry.tiles;
    const Tile tile(args, item % geometry.tiles);
    pack<false>(args, geometry, tile, group, args.weight, packed);
#pragma omp parallel for num_threads(threads) schedule(dynamic, 8)
    for (int64_t image = 0; image < args.batch; ++image) {
      float* sum = sums + thread_number() * held;
      std::fill_n(sum, geometry.places * tile.width, 0.0f);
      walk<graded>(args, geometry, image, group, tile.width,
                   [=](int64_t out, int64_t tap, int64_t count, float value) {
                     add<graded>(sum + out, packed + tap, value, count);
                   });
      use(image, group * args.out_channels + tile.first, tile, sum);
    }
  }
}

template <bool graded, class Use>
void collect_rows(const SpikeConv& args, const Geometry& geometry, int threads, Arena arena,
                  Use use) {
  const int64_t tiles = ceil_div(args.out_channels, kRowTile);
  const int64_t size = args.in_channels * geometry.taps * kRowTile;
  const int64_t held = geometry.places * kRowTile;
  const std::vector<Cell> cells = make_cells(args);
  float* packed = arena.take<float>(args.groups * tiles * size);
  float* sums = arena.take<float>(threads * held);
  std::vector<Columns> columns;
  for (int k = 0; k < threads; ++k) columns.emplace_back(args, arena);
  for (int64_t item = 0; item < args.groups * tiles; ++item)
    pack_rows(args, Tile(args, item % tiles, kRowTile, kRowTile), item / tiles, packed + item * size);
#pragma omp parallel for num_threads(threads) schedule(dynamic, 8)
  for (int64_t image = 0; image < args.batch; ++image) {
    float* sum = sums + thread_number() * held;
    const Columns& inputs = columns[thread_number()];
    for (int64_t group = 0; group < args.groups; ++group) {
      list_columns<graded>(args, geometry, cells, image, group, inputs);
      for (int64_t t = 0; t < tiles; ++t) {
        const Tile tile(args, t, kRowTile, kRowTile);
        sum_rows<graded>(args, inputs, packed + (group * tiles + t) * size, sum);
        use(image, group * args.out_channels + tile.first, tile, sum);
      }
    }
  }
}

// Calls use(image, first output channel of all groups, tile, sums[place][channel of the tile]) for
// every image and tile. The way depends on what is convolved alone, so sums are the same bits in every
// kernel.
template <bool graded, class Use>
void each_tile(const SpikeConv& args, int threads, Arena arena, Use use) {
  const Geometry geometry(args);
  if (by_rows(args, geometry)) {
    collect_rows<graded>(args, geometry, threads, arena, use);
  } else {
    add_inputs<graded>(args, geometry, threads, arena, use);
  }
}

}  // namespace
}  // namespace SNP_ISA
}  // namespace snp
