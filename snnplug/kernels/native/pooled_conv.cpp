// A convolution of mostly zero images and the largest output of each window, in one pass: the outputs
// of an image stay in the cache.

#include <cstring>

#include "conv_sums.h"
#include "vector.h"

namespace snp {
namespace SNP_ISA {

int64_t pooled_conv_backward_scratch(const PooledConv& args, int threads);

namespace {

// The largest sum of each window of one tile, and its place: the first of equals, and the last that is
// not a number, as torch has it.
void pool(const PooledConv& args, const Tile& tile, const float* sums, const float* bias, float* best,
          uint8_t* where) {
  using Numbers = Bits<Lanes>::type;
  constexpr int64_t lanes = sizeof(Lanes) / sizeof(float);
  const int64_t width = tile.width, channels = tile.channels;
  const int64_t row = args.conv.out_size[1] * width;
  const int64_t outputs = args.conv.groups * args.conv.out_channels;
  const int64_t window[2] = {args.window[0], args.window[1]};
  const int64_t step[2] = {args.step[0] * row, args.step[1] * width};
  const int64_t pooled[2] = {args.pooled[0], args.pooled[1]};
  for (int64_t y = 0; y < pooled[0]; ++y) {
    for (int64_t x = 0; x < pooled[1]; ++x, best += width, where += outputs) {
      uint8_t place[kTile];
      for (int64_t c = 0; c < width; c += lanes) {
        const float* corner = sums + y * step[0] + x * step[1] + c;
        const Lanes add = load<Lanes>(bias + c);
        Lanes top = load<Lanes>(corner) + add;
        Numbers at{};
        uint32_t k = 0;
        for (int64_t r = 0; r < window[0]; ++r) {
          for (int64_t q = 0; q < window[1]; ++q, ++k) {
            const Lanes value = load<Lanes>(corner + r * row + q * width) + add;
            const auto better = (value > top) | (value != value);
            top = better ? value : top;
            at = better ? Numbers{} + k : at;
          }
        }
        store(best + c, top);
        store_bytes(place + c, at);
      }
      std::memcpy(where, place, channels);
    }
  }
}

template <bool graded>
void forward(const PooledConv& args, int threads) {
  const SpikeConv& conv = args.conv;
  const int64_t windows = args.pooled[0] * args.pooled[1], held = windows * kTile;
  const int64_t outputs = conv.groups * conv.out_channels;
  Arena arena{static_cast<char*>(conv.scratch)};
  float* largest = arena.take<float>(threads * held);
  each_tile<graded>(
      conv, threads, arena,
      [&](int64_t image, int64_t channel, const Tile& tile, const float* sums) {
        float* best = largest + thread_number() * held;
        float bias[kTile] = {};
        if (conv.bias) std::copy_n(conv.bias + channel, tile.channels, bias);
        pool(args, tile, sums, bias, best, args.which + image * windows * outputs + channel);
        transpose<false>(best, tile.width, windows, tile.channels,
                         conv.output + (image * outputs + channel) * windows, windows);
      });
}

}  // namespace

int64_t pooled_conv_scratch(const PooledConv& args, int threads) {
  const int64_t held = threads * args.pooled[0] * args.pooled[1] * kTile;
  return std::max(sums_scratch(args.conv, threads) + 4 * held + 64,
                  pooled_conv_backward_scratch(args, threads));
}

void pooled_conv_forward(const PooledConv& args, int threads) {
  args.conv.x ? forward<true>(args, threads) : forward<false>(args, threads);
}

}  // namespace SNP_ISA
}  // namespace snp
