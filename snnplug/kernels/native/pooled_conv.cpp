// A convolution of mostly zero images and the largest output of each window, in one pass: the outputs
// of an image stay in the cache. Backward, only one output per window has a gradient. Each meets the
// patch of the image below it, with the channels innermost: a few runs of memory, whose sums stay in
// registers.

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "spike_conv.h"
#include "vector.h"

namespace snp {
namespace SNP_ISA {
namespace {

constexpr int64_t kMostPlaces = 256;  // of a window: `which` is a byte

// Vectors whose sums fit the registers; of one row, and from how many rows, at most.
#if defined(__AVX512F__)
constexpr int kMostVectors = 28;
#else
constexpr int kMostVectors = 12;
#endif
constexpr int kMostAcross = kMostVectors / 2;
constexpr int kMostRows = 5;

// Some rows of a patch, and some vectors of each: as many as fit the registers.
struct Piece {
  int64_t row, rows, vector, vectors;
};

// An image of one group, with its padding, with the channels innermost; and the patches of it.
struct Patches {
  int64_t channels;
  int64_t width, size;
  int64_t run;      // values of one row of a patch
  int64_t vectors;  // to read them
  int64_t rows;
  int64_t pitch;  // distance of two rows of a patch in the image
  int64_t held;   // values of a patch on its own
  std::vector<Piece> pieces;

  explicit Patches(const SpikeConv& args)
      : channels(args.in_channels),
        width(args.in_size[1] + 2 * args.padding[1]),
        size(width * (args.in_size[0] + 2 * args.padding[0]) * channels + SNP_LANES),
        run(args.kernel[1] * channels),
        vectors(ceil_div(run, SNP_LANES)),
        rows(args.kernel[0]),
        pitch(args.dilation[0] * width * channels),
        held(rows * vectors * SNP_LANES) {
    const int64_t across = even(vectors, kMostAcross);
    const int64_t down = even(rows, std::min<int64_t>(kMostVectors / across, kMostRows));
    for (int64_t r = 0; r < rows; r += down)
      for (int64_t v = 0; v < vectors; v += across)
        pieces.push_back({r, std::min(down, rows - r), v, std::min(across, vectors - v)});
  }

  // The largest part if `count` is cut into as few as possible of `most`, all about as large.
  static int64_t even(int64_t count, int64_t most) {
    return ceil_div(count, ceil_div(count, most));
  }
};

// Where the patch of a window begins, and where of the places in it.
struct Places {
  std::vector<int32_t> window, within;

  Places(const PooledConv& args, const Patches& patches) {
    const SpikeConv& conv = args.conv;
    const int64_t down = conv.stride[0] * patches.width * patches.channels;
    const int64_t across = conv.stride[1] * patches.channels;
    const auto fill = [](std::vector<int32_t>& to, int64_t rows, int64_t columns, int64_t row,
                         int64_t column) {
      for (int64_t y = 0; y < rows; ++y)
        for (int64_t x = 0; x < columns; ++x)
          to.push_back(static_cast<int32_t>(y * row + x * column));
    };
    fill(window, args.pooled[0], args.pooled[1], args.step[0] * down, args.step[1] * across);
    fill(within, args.window[0], args.window[1], down, across);
  }
};

// Writes one group of an image into patches.
void expand(const SpikeConv& args, const Patches& patches, int64_t image, int64_t group,
            float* to) {
  std::fill_n(to, patches.size, 0.0f);
  const int64_t plane = args.in_size[0] * args.in_size[1], inputs = args.in_channels * plane;
  const int64_t begin = group * inputs, end = begin + inputs, all = args.groups * inputs;
  const uint64_t* bits = args.bits + image * ceil_div(all, kWord);
  const auto columns = static_cast<uint32_t>(args.in_size[1]);
  for (int64_t w = begin / kWord; w < ceil_div(end, kWord); ++w) {
    for (uint64_t word = bits[w]; word; word &= word - 1) {
      const int64_t at = w * kWord + lowest(word);
      if (at < begin || at >= end) continue;
      const auto within = static_cast<uint32_t>(at - begin);
      const uint32_t channel = within / static_cast<uint32_t>(plane);
      const uint32_t place = within % static_cast<uint32_t>(plane);
      const int64_t y = place / columns + args.padding[0], x = place % columns + args.padding[1];
      to[(y * patches.width + x) * patches.channels + channel] =
          args.x ? args.x[image * all + at] : 1.0f;
    }
  }
}

// packed[row][column, channel] of each output channel, as the patches; or back from there.
template <bool back, class Weight>
void pack_patches(const SpikeConv& args, const Patches& patches, Weight* weight, float* packed) {
  const int64_t held = patches.held, outputs = args.groups * args.out_channels;
  if (!back) std::fill_n(packed, outputs * held, 0.0f);
  for (int64_t o = 0; o < outputs; ++o) {
    for (int64_t c = 0; c < args.in_channels; ++c) {
      for (int64_t y = 0; y < patches.rows; ++y) {
        for (int64_t x = 0; x < args.kernel[1]; ++x) {
          float& inside =
              packed[o * held + y * patches.vectors * SNP_LANES + x * patches.channels + c];
          Weight& outside =
              weight[((o * args.in_channels + c) * patches.rows + y) * args.kernel[1] + x];
          if constexpr (back) {
            outside = inside;
          } else {
            inside = outside;
          }
        }
      }
    }
  }
}

template <bool graded>
void forward(const PooledConv& args, int threads) {
  const SpikeConv& conv = args.conv;
  const Geometry geometry(conv);
  Arena arena{static_cast<char*>(conv.scratch)};
  const int64_t held = geometry.places * kTile, windows = args.pooled[0] * args.pooled[1];
  float* packed = arena.take<float>(packed_size(conv, geometry));
  float* sums = arena.take<float>(threads * held);
  float* largest = arena.take<float>(threads * windows * kTile);
  int32_t* where = arena.take<int32_t>(threads * windows * kTile);
  const int64_t outputs = conv.groups * conv.out_channels;
  for (int64_t item = 0; item < conv.groups * geometry.tiles; ++item) {
    const int64_t group = item / geometry.tiles;
    const Tile tile(conv, item % geometry.tiles);
    pack<false>(conv, geometry, tile, group, conv.weight, packed);
#pragma omp parallel for num_threads(threads) schedule(dynamic, 8)
    for (int64_t image = 0; image < conv.batch; ++image) {
      float* sum = sums + thread_number() * held;
      float* best = largest + thread_number() * windows * kTile;
      int32_t* place = where + thread_number() * windows * kTile;
      std::fill_n(sum, geometry.places * tile.width, 0.0f);
      walk<graded>(conv, geometry, image, group, tile.width,
                   [=](int64_t out, int64_t tap, int64_t count, float value) {
                     add<graded>(sum + out, packed + tap, value, count);
                   });
      const int64_t channel = group * conv.out_channels + tile.first;
      float bias[kTile] = {};
      if (conv.bias) std::copy_n(conv.bias + channel, tile.channels, bias);
      for (int64_t w = 0; w < windows; ++w) {
        const int64_t y = w / args.pooled[1] * args.step[0], x = w % args.pooled[1] * args.step[1];
        const float* corner = sum + (y * conv.out_size[1] + x) * tile.width;
        float* top = best + w * tile.width;
        int32_t* at = place + w * tile.width;
        for (int64_t c = 0; c < tile.width; ++c) {
          top[c] = conv.bias ? corner[c] + bias[c] : corner[c];
          at[c] = 0;
        }
        for (int64_t k = 1; k < args.window[0] * args.window[1]; ++k) {
          const float* row =
              corner +
              (k / args.window[1] * conv.out_size[1] + k % args.window[1]) * tile.width;
          for (int64_t c = 0; c < tile.width; ++c) {
            const float value = conv.bias ? row[c] + bias[c] : row[c];
            // The first of equals, and the last that is not a number: as torch has it.
            const bool better = value > top[c] || value != value;
            top[c] = better ? value : top[c];
            at[c] = better ? static_cast<int32_t>(k) : at[c];
          }
        }
      }
      const int64_t first = (image * outputs + channel) * windows;
      transpose<false>(best, tile.width, windows, tile.channels, conv.output + first, windows);
      for (int64_t c = 0; c < tile.channels; ++c)
        for (int64_t w = 0; w < windows; ++w)
          args.which[first + c * windows + w] = static_cast<uint8_t>(place[w * tile.width + c]);
    }
  }
}

// A piece of sum += factors[k] * the patch at starts[k], for all k.
template <int rows, int vectors>
void add_patches(const float* from, int64_t pitch, const float* factors, const int32_t* starts,
                 int64_t number, float* sum, int64_t sum_pitch) {
  Vector total[rows][vectors];
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < vectors; ++v)
      total[r][v] = load(sum + r * sum_pitch + v * SNP_LANES);
  for (int64_t k = 0; k < number; ++k) {
    const float factor = factors[k];
    const float* row = from + starts[k];
    for (int r = 0; r < rows; ++r, row += pitch)
      for (int v = 0; v < vectors; ++v)
        total[r][v] = add_product(total[r][v], factor, load(row + v * SNP_LANES));
  }
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < vectors; ++v)
      store(sum + r * sum_pitch + v * SNP_LANES, total[r][v]);
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

inline AddPatches adder(const Piece& piece) {
  return kAddPatches[(piece.rows - 1) * kMostAcross + piece.vectors - 1];
}

// Output channels whose kernels stay in the cache while windows pass.
int64_t block_of(const Patches& patches) {
  constexpr int64_t kHeld = 10240;  // 40 KiB; half of it and twice as much are slower
  return std::max<int64_t>(1, std::min(kHeld / patches.held, int64_t{64}));
}

// Adds to the weight's gradient what one group of an image gives.
void weight_gradient(const PooledConv& args, const Patches& patches, const Places& places,
                     int64_t image, int64_t group, const float* from, float* factors,
                     int32_t* starts, float* sums) {
  const SpikeConv& conv = args.conv;
  const int64_t windows = args.pooled[0] * args.pooled[1];
  for (int64_t c = 0; c < conv.out_channels; ++c) {
    const int64_t channel = group * conv.out_channels + c;
    const int64_t first = (image * conv.groups * conv.out_channels + channel) * windows;
    int64_t number = 0;
    for (int64_t w = 0; w < windows; ++w) {
      const float grad = conv.grad[first + w];
      factors[number] = grad;
      starts[number] = places.window[w] + places.within[args.which[first + w]];
      number += grad != 0.0f;
    }
    for (const Piece& piece : patches.pieces) {
      const int64_t at = piece.vector * SNP_LANES;
      float* sum = sums + channel * patches.held + piece.row * patches.vectors * SNP_LANES + at;
      adder(piece)(from + piece.row * patches.pitch + at, patches.pitch, factors, starts, number,
                   sum, patches.vectors * SNP_LANES);
    }
  }
}

// Adds the gradient of one group of an image to `to`. Channels whose largest output lies at the same
// place of a window are summed first.
void input_gradient(const PooledConv& args, const Patches& patches, const Places& places,
                    const float* packed, int64_t image, int64_t group, float* factors,
                    int32_t* starts, float* to) {
  const SpikeConv& conv = args.conv;
  const int64_t windows = args.pooled[0] * args.pooled[1], block = block_of(patches);
  const int64_t places_in_window = args.window[0] * args.window[1];
  const int64_t held = patches.held, row = patches.vectors * SNP_LANES;
  for (int64_t start = 0; start < conv.out_channels; start += block) {
    const int64_t channels = std::min(block, conv.out_channels - start);
    const int64_t channel = group * conv.out_channels + start;
    const float* kernels = packed + channel * held;
    const int64_t first = (image * conv.groups * conv.out_channels + channel) * windows;
    for (int64_t w = 0; w < windows; ++w) {
      int32_t number[kMostPlaces];
      std::fill_n(number, places_in_window, 0);
      bool finite = true;
      for (int64_t c = 0; c < channels; ++c) {
        const float grad = conv.grad[first + c * windows + w];
        const int64_t k = args.which[first + c * windows + w];
        factors[k * block + number[k]] = grad;
        starts[k * block + number[k]] = static_cast<int32_t>(c * held);
        number[k] += grad != 0.0f;
        finite &= std::isfinite(grad);
      }
      for (int64_t k = 0; k < places_in_window; ++k) {
        if (number[k] == 0) continue;
        const float* factor = factors + k * block;
        const int32_t* kernel = starts + k * block;
        float* patch = to + places.window[w] + places.within[k];
        if (!finite) {
          // Vectors reach beyond the patch with zeros, which times infinity are not zero.
          for (int64_t i = 0; i < number[k]; ++i)
            for (int64_t r = 0; r < patches.rows; ++r)
              for (int64_t j = 0; j < patches.run; ++j)
                patch[r * patches.pitch + j] += factor[i] * kernels[kernel[i] + r * row + j];
          continue;
        }
        for (const Piece& piece : patches.pieces) {
          const int64_t at = piece.vector * SNP_LANES;
          adder(piece)(kernels + piece.row * row + at, row, factor, kernel, number[k],
                       patch + piece.row * patches.pitch + at, patches.pitch);
        }
      }
    }
  }
}

// Cuts the padding off and puts the channels outermost again.
void collect(const SpikeConv& args, const Patches& patches, const float* from, float* to) {
  for (int64_t y = 0; y < args.in_size[0]; ++y) {
    const int64_t row = (y + args.padding[0]) * patches.width + args.padding[1];
    transpose<false>(from + row * patches.channels, patches.channels, args.in_size[1],
                     args.in_channels, to + y * args.in_size[1],
                     args.in_size[0] * args.in_size[1]);
  }
}

int64_t lists_size(const PooledConv& args, const Patches& patches) {
  return std::max(args.pooled[0] * args.pooled[1],
                  args.window[0] * args.window[1] * block_of(patches));
}

}  // namespace

int64_t pooled_conv_scratch(const PooledConv& args, int threads) {
  const SpikeConv& conv = args.conv;
  const Patches patches(conv);
  const int64_t windows = args.pooled[0] * args.pooled[1];
  const int64_t forward = spike_conv_scratch(conv, threads) + 8 * threads * windows * kTile;
  const int64_t weights = conv.groups * conv.out_channels * patches.held;
  const int64_t backward =
      4 * ((kParts + 1) * weights +
           threads * (2 * (patches.size + 16) + 2 * (lists_size(args, patches) + 16)));
  return std::max(forward, backward) + 8 * 64;
}

void pooled_conv_forward(const PooledConv& args, int threads) {
  args.conv.x ? forward<true>(args, threads) : forward<false>(args, threads);
}

void pooled_conv_backward(const PooledConv& args, int threads) {
  const SpikeConv& conv = args.conv;
  const Patches patches(conv);
  const Places places(args, patches);
  Arena arena{static_cast<char*>(conv.scratch)};
  const int64_t size = conv.groups * conv.out_channels * patches.held;
  const int64_t held = ceil_div(patches.size, 16) * 16;
  const int64_t listed = ceil_div(lists_size(args, patches), 16) * 16;
  const int64_t parts = std::min(kParts, conv.batch), part = ceil_div(conv.batch, parts);
  float* sums = arena.take<float>(parts * size);
  float* packed = arena.take<float>(size);
  float* images = arena.take<float>(threads * 2 * held);
  float* factors = arena.take<float>(threads * listed);
  int32_t* starts = arena.take<int32_t>(threads * listed);
  if (args.grad_input) pack_patches<false>(conv, patches, conv.weight, packed);
  const int64_t inputs = conv.in_channels * conv.in_size[0] * conv.in_size[1];
#pragma omp parallel for num_threads(threads) schedule(dynamic)
  for (int64_t p = 0; p < parts; ++p) {
    float* sum = sums + p * size;
    float* from = images + thread_number() * 2 * held;
    float* to = from + held;
    float* factor = factors + thread_number() * listed;
    int32_t* start = starts + thread_number() * listed;
    if (conv.output) std::fill_n(sum, size, 0.0f);
    for (int64_t image = p * part; image < std::min((p + 1) * part, conv.batch); ++image) {
      for (int64_t group = 0; group < conv.groups; ++group) {
        if (conv.output) {
          expand(conv, patches, image, group, from);
          weight_gradient(args, patches, places, image, group, from, factor, start, sum);
        }
        if (args.grad_input) {
          std::fill_n(to, patches.size, 0.0f);
          input_gradient(args, patches, places, packed, image, group, factor, start, to);
          collect(conv, patches, to, args.grad_input + (image * conv.groups + group) * inputs);
        }
      }
    }
  }
  if (!conv.output) return;
  for (int64_t p = 1; p < parts; ++p)
    for (int64_t k = 0; k < size; ++k) sums[k] += sums[p * size + k];
  pack_patches<true>(conv, patches, conv.output, sums);
}

}  // namespace SNP_ISA
}  // namespace snp
