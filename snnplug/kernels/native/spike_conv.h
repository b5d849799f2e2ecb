// What the convolutions of mostly zero images share: which outputs an input reaches through which taps,
// and the weight in the order in which they meet.
#pragma once

#include <algorithm>
#include <vector>

#include "common.h"
#include "kernels.h"

namespace snp {
namespace SNP_ISA {

int64_t spike_conv_scratch(const SpikeConv& args, int threads);

namespace {

constexpr int64_t kLanes = 16;  // channels are padded to a multiple of this
constexpr int64_t kTile = 64;   // output channels of one pass: 121 places of them fit the L1 cache
// The gradient is summed in this many parts, whatever the number of threads: same bits for any.
constexpr int64_t kParts = 16;

// `count` taps from `tap` on meet the outputs from `out` on.
struct Run {
  int32_t tap, out, count;
};

// For each place of one input axis, the taps that lead to an output; `reversed` counts taps from the
// last, so that with stride and dilation 1 they rise with the outputs and make one run.
struct Axis {
  std::vector<int32_t> start;
  std::vector<Run> runs;
};

inline Axis make_axis(const SpikeConv& args, int axis, bool reversed) {
  Axis made;
  const int64_t kernel = args.kernel[axis], stride = args.stride[axis];
  for (int64_t at = 0; at < args.in_size[axis]; ++at) {
    made.start.push_back(static_cast<int32_t>(made.runs.size()));
    for (int64_t k = kernel - 1; k >= 0; --k) {
      const int64_t reached = at + args.padding[axis] - k * args.dilation[axis];
      if (reached < 0 || reached % stride != 0 || reached / stride >= args.out_size[axis]) continue;
      const auto out = static_cast<int32_t>(reached / stride);
      const auto tap = static_cast<int32_t>(reversed ? kernel - 1 - k : k);
      Run* last = made.runs.size() > static_cast<size_t>(made.start.back()) ? &made.runs.back()
                                                                            : nullptr;
      if (last && last->tap + last->count == tap && last->out + last->count == out) {
        ++last->count;
      } else {
        made.runs.push_back({tap, out, 1});
      }
    }
  }
  made.start.push_back(static_cast<int32_t>(made.runs.size()));
  return made;
}

// A row and a column of an image.
struct Pixel {
  int32_t y, x;
};

struct Geometry {
  int64_t words, plane, taps, places, tiles;
  Axis rows, columns;
  std::vector<Pixel> pixels;
  explicit Geometry(const SpikeConv& args)
      : words(ceil_div(args.groups * args.in_channels * args.in_size[0] * args.in_size[1], kWord)),
        plane(args.in_size[0] * args.in_size[1]),
        taps(args.kernel[0] * args.kernel[1]),
        places(args.out_size[0] * args.out_size[1]),
        tiles(ceil_div(args.out_channels, kTile)),
        rows(make_axis(args, 0, false)),
        columns(make_axis(args, 1, true)) {
    for (int32_t y = 0; y < args.in_size[0]; ++y)
      for (int32_t x = 0; x < args.in_size[1]; ++x) pixels.push_back({y, x});
  }
};

// The output channels of one tile of one group, and to how many they are padded.
struct Tile {
  int64_t first, channels, width;
  Tile(const SpikeConv& args, int64_t tile, int64_t most = kTile, int64_t lanes = kLanes)
      : first(tile * most),
        channels(std::min(most, args.out_channels - first)),
        width(ceil_div(channels, lanes) * lanes) {}
};

template <bool graded>
inline void add(float* __restrict target, const float* __restrict source, float value,
                int64_t count) {
  for (int64_t start = 0; start < count; start += kLanes)
    for (int64_t k = start; k < start + kLanes; ++k)
      target[k] += graded ? value * source[k] : source[k];
}

// Calls meet(channel, place in its plane, index among all) for each input of one group of an image that
// is not zero.
template <class Meet>
inline void each_input(const SpikeConv& args, const Geometry& geometry, int64_t image,
                       int64_t group, Meet meet) {
  const int64_t plane = geometry.plane, inputs = args.in_channels * plane;
  const int64_t begin = group * inputs, end = begin + inputs, first = image * args.groups * inputs;
  const uint64_t* bits = args.bits + image * geometry.words;
  int64_t channel = 0, from = begin;
  for (int64_t w = begin / kWord; w < ceil_div(end, kWord); ++w) {
    for (uint64_t word = bits[w]; word; word &= word - 1) {
      const int64_t at = w * kWord + lowest(word);
      if (at < begin || at >= end) continue;
      for (; at >= from + plane; from += plane) ++channel;
      meet(channel, at - from, first + at);
    }
  }
}

// Calls meet(run of places, run of taps, length, value) for all that one group of an image holds.
template <bool graded, class Meet>
inline void walk(const SpikeConv& args, const Geometry& geometry, int64_t image, int64_t group,
                 int64_t width, Meet meet) {
  const Axis &down = geometry.rows, &across = geometry.columns;
  const int64_t kernel[2] = {args.kernel[0], args.kernel[1]}, out_columns = args.out_size[1];
  each_input(args, geometry, image, group, [&](int64_t channel, int64_t place, int64_t index) {
    const Pixel at = geometry.pixels[place];
    const float value = graded ? args.x[index] : 1.0f;
    for (int32_t r = down.start[at.y]; r < down.start[at.y + 1]; ++r) {
      // Rows rise with falling taps, so they never make longer runs.
      const int64_t tap_row = (channel * kernel[0] + down.runs[r].tap) * kernel[1];
      const int64_t out_row = down.runs[r].out * out_columns;
      for (int32_t c = across.start[at.x]; c < across.start[at.x + 1]; ++c) {
        const Run& run = across.runs[c];
        meet((out_row + run.out) * width, (tap_row + run.tap) * width, run.count * width, value);
      }
    }
  });
}

// packed[in channel][row][column, last first][out channel] of one tile, or back from there.
template <bool back, class Weight>
void pack(const SpikeConv& args, const Geometry& geometry, const Tile& tile, int64_t group,
          Weight* weight, float* packed) {
  const int64_t row = args.kernel[1], per_output = args.in_channels * geometry.taps;
  for (int64_t k = 0; k < per_output; ++k) {
    const int64_t at = k / row * row + (row - 1 - k % row);
    for (int64_t c = 0; c < tile.channels; ++c) {
      Weight& one = weight[(group * args.out_channels + tile.first + c) * per_output + k];
      if constexpr (back) {
        one = packed[at * tile.width + c];
      } else {
        packed[at * tile.width + c] = one;
      }
    }
    if constexpr (!back)
      std::fill(packed + at * tile.width + tile.channels, packed + (at + 1) * tile.width, 0.0f);
  }
}

inline int64_t packed_size(const SpikeConv& args, const Geometry& geometry) {
  return args.in_channels * geometry.taps * kTile;
}

}  // namespace
}  // namespace SNP_ISA
}  // namespace snp
