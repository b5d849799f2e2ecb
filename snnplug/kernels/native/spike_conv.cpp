// A 2-d convolution of mostly zero images. Channels are innermost in the outputs, so that neighbouring
// outputs and the taps they take from an input (stored last column first) are one run of memory. The
// gradient of the weight is the same walk with source and target exchanged.

#include <algorithm>

#include "conv_sums.h"

namespace snp {
namespace SNP_ISA {
namespace {

template <bool graded>
void forward(const SpikeConv& args, int threads) {
  const int64_t outputs = args.groups * args.out_channels;
  const int64_t places = args.out_size[0] * args.out_size[1];
  const Arena arena{static_cast<char*>(args.scratch)};
  each_tile<graded>(
      args, threads, arena, [&](int64_t image, int64_t channel, const Tile& tile, float* sum) {
        if (args.bias) {
          for (int64_t p = 0; p < places; ++p)
            for (int64_t c = 0; c < tile.channels; ++c)
              sum[p * tile.width + c] += args.bias[channel + c];
        }
        transpose<false>(sum, tile.width, places, tile.channels,
                         args.output + (image * outputs + channel) * places, places);
      });
}

template <bool graded>
void backward(const SpikeConv& args, int threads) {
  const Geometry geometry(args);
  Arena arena{static_cast<char*>(args.scratch)};
  const int64_t held = geometry.places * kTile, size = packed_size(args, geometry);
  const int64_t parts = std::min(kParts, args.batch), part = ceil_div(args.batch, parts);
  float* sums = arena.take<float>(parts * size);
  float* grads = arena.take<float>(threads * held);
  const int64_t outputs = args.groups * args.out_channels;
  for (int64_t item = 0; item < args.groups * geometry.tiles; ++item) {
    const int64_t group = item / geometry.tiles;
    const Tile tile(args, item % geometry.tiles);
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t p = 0; p < parts; ++p) {
      float* sum = sums + p * size;
      float* grad = grads + thread_number() * held;
      std::fill_n(sum, size, 0.0f);
      std::fill_n(grad, held, 0.0f);
      for (int64_t image = p * part; image < std::min((p + 1) * part, args.batch); ++image) {
        const int64_t channel = image * outputs + group * args.out_channels + tile.first;
        transpose<false>(args.grad + channel * geometry.places, geometry.places, tile.channels,
                         geometry.places, grad, tile.width);
        walk<graded>(args, geometry, image, group, tile.width,
                     [=](int64_t out, int64_t tap, int64_t count, float value) {
                       add<graded>(sum + tap, grad + out, value, count);
                     });
      }
    }
    for (int64_t p = 1; p < parts; ++p)
      for (int64_t k = 0; k < size; ++k) sums[k] += sums[p * size + k];
    pack<true>(args, geometry, tile, group, args.output, sums);
  }
}

}  // namespace

int64_t spike_conv_scratch(const SpikeConv& args, int threads) {
  const int64_t taps = args.in_channels * args.kernel[0] * args.kernel[1];
  const int64_t places = args.out_size[0] * args.out_size[1];
  const int64_t backward = 4 * kTile * (kParts * taps + threads * places) + 2 * 64;
  return std::max(backward, sums_scratch(args, threads));
}

void spike_conv_forward(const SpikeConv& args, int threads) {
  args.x ? forward<true>(args, threads) : forward<false>(args, threads);
}

void spike_conv_backward(const SpikeConv& args, int threads) {
  args.x ? backward<true>(args, threads) : backward<false>(args, threads);
}

}  // namespace SNP_ISA
}  // namespace snp
