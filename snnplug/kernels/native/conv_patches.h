// Patches of an image with the channels innermost, a few runs of memory each, and their products with
// numbers, whose sums stay in registers.
#pragma once

#include <array>
#include <utility>
#include <vector>

#include "spike_conv.h"
#include "vector.h"

namespace snp {
namespace SNP_ISA {
namespace {

// Vectors whose sums fit the registers; of one row, and from how many rows, at most.
#if defined(__AVX512F__)
constexpr int kMostVectors = 28;
#else
constexpr int kMostVectors = 12;
#endif
constexpr int kMostAcross = kMostVectors / 2;
constexpr int kMostRows = 5;

// The largest part if `count` is cut into as few as possible of `most`, all about as large.
inline int64_t even(int64_t count, int64_t most) { return ceil_div(count, ceil_div(count, most)); }

// An image of one group, with its padding, with the channels innermost; and the patches of it.
struct Patches {
  int64_t channels;  // as they lie in memory
  int64_t width, size;
  int64_t run;      // values of one row of a patch
  int64_t vectors;  // to read them
  int64_t rows;
  int64_t pitch;         // distance of two rows of a patch in the image
  int64_t row;           // and of two rows of a patch on its own
  int64_t held;          // values of such a patch
  int64_t across, down;  // vectors and rows whose sums fit the registers

  Patches(const SpikeConv& args, int64_t channels)
      : channels(channels),
        width(args.in_size[1] + 2 * args.padding[1]),
        size(width * (args.in_size[0] + 2 * args.padding[0]) * channels + SNP_LANES),
        run(args.kernel[1] * channels),
        vectors(ceil_div(run, SNP_LANES)),
        rows(args.kernel[0]),
        pitch(args.dilation[0] * width * channels),
        row(vectors * SNP_LANES),
        held(rows * row),
        across(even(vectors, kMostAcross)),
        down(even(rows, std::min<int64_t>(kMostVectors / across, kMostRows))) {}
};

// Patches that are read more often than written. One that begins with a line of the cache is read twice
// as fast, so channels are added where that makes less than twice as many vectors.
inline Patches aligned_patches(const SpikeConv& args) {
  const int64_t whole = ceil_div(args.in_channels, SNP_LANES) * SNP_LANES;
  const Patches tight(args, args.in_channels), wide(args, whole);
  return wide.vectors < 2 * tight.vectors ? wide : tight;
}

// Writes one group of an image into patches.
inline void expand(const SpikeConv& args, const Geometry& geometry, const Patches& patches, int64_t image,
            int64_t group, float* to) {
  std::fill_n(to, patches.size, 0.0f);
  to += (args.padding[0] * patches.width + args.padding[1]) * patches.channels;
  each_input(args, geometry, image, group, [&](int64_t channel, int64_t place, int64_t index) {
    const Pixel at = geometry.pixels[place];
    to[(at.y * patches.width + at.x) * patches.channels + channel] = args.x ? args.x[index] : 1.0f;
  });
}

// A piece of sum += factors[k] * the patch at starts[k], for all k.
template <int rows, int vectors>
void add_patches(const float* from, int64_t pitch, const float* factors, const int32_t* starts,
                 int64_t number, float* sum, int64_t sum_pitch) {
  if (number == 0) return;
  Vector total[rows][vectors];
  SNP_UNROLL
  for (int r = 0; r < rows; ++r) {
    SNP_UNROLL
    for (int v = 0; v < vectors; ++v) total[r][v] = load(sum + r * sum_pitch + v * SNP_LANES);
  }
  const float* const end = factors + number;
  do {
    const float factor = *factors++;
    const float* row = from + *starts++;
    SNP_UNROLL
    for (int r = 0; r < rows; ++r, row += pitch) {
      SNP_UNROLL
      for (int v = 0; v < vectors; ++v)
        total[r][v] = add_product(total[r][v], factor, load(row + v * SNP_LANES));
    }
  } while (factors != end);
  SNP_UNROLL
  for (int r = 0; r < rows; ++r) {
    SNP_UNROLL
    for (int v = 0; v < vectors; ++v) store(sum + r * sum_pitch + v * SNP_LANES, total[r][v]);
  }
}

using AddPatches = void (*)(const float*, int64_t, const float*, const int32_t*, int64_t, float*,
                            int64_t);

template <size_t index>
constexpr AddPatches add_entry() {
  constexpr int rows = index / kMostAcross + 1, vectors = index % kMostAcross + 1;
  if constexpr (rows * vectors <= kMostVectors) {
    return add_patches<rows, vectors>;
  } else {
    return nullptr;
  }
}

template <size_t... indices>
constexpr std::array<AddPatches, sizeof...(indices)> add_table(std::index_sequence<indices...>) {
  return {add_entry<indices>()...};
}

constexpr auto kAddPatches = add_table(std::make_index_sequence<kMostRows * kMostAcross>());

inline AddPatches adder(int64_t rows, int64_t vectors) {
  return kAddPatches[(rows - 1) * kMostAcross + vectors - 1];
}

// Cuts the padding off and puts the channels outermost again.
inline void collect(const SpikeConv& args, const Patches& patches, const float* from, float* to) {
  for (int64_t y = 0; y < args.in_size[0]; ++y) {
    const int64_t row = (y + args.padding[0]) * patches.width + args.padding[1];
    transpose<false>(from + row * patches.channels, patches.channels, args.in_size[1],
                     args.in_channels, to + y * args.in_size[1],
                     args.in_size[0] * args.in_size[1]);
  }
}

}  // namespace
}  // namespace SNP_ISA
}  // namespace snp
