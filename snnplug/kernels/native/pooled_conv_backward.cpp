// The gradients of a convolution whose outputs are the largest of their windows. Only one output per
// window has a gradient. Each meets the patch of the image below it.

#include <cmath>

#include "conv_patches.h"

namespace snp {
namespace SNP_ISA {
namespace {

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

// Weights of one group and the gradient of its input. Kernels of a block of output channels meet all
// windows, some of their rows at a time: so many that they stay in the first-level cache.
struct Kernels {
  int64_t down;   // rows at a time
  int64_t parts;  // as many pass
  int64_t block;  // channels
  int64_t pitch;  // distance of two kernels
  int64_t held;   // values of all blocks

  Kernels(const SpikeConv& args, const Patches& patches) {
    constexpr int64_t kCache = 8192;     // 32 KiB
    constexpr int64_t kWorthwhile = 32;  // channels: their sums are read and written for each window
    constexpr int64_t kLatency = 4;      // products in flight that do not wait for one another
    const int64_t all = args.out_channels * patches.row;
    const int64_t least = std::min(patches.down, ceil_div(kLatency, patches.across));
    down = std::max(least, std::min(patches.down, kCache / all));
    parts = ceil_div(patches.rows, down);
    pitch = down * patches.row;
    block = std::min(args.out_channels, std::max(kWorthwhile, kCache / pitch));
    held = ceil_div(args.out_channels, block) * block * parts * pitch;
  }

  // Where a row of the kernel of a channel is.
  int64_t at(const Patches& patches, int64_t channel, int64_t y) const {
    const int64_t part = channel / block * parts + y / down;
    return (part * block + channel % block) * pitch + y % down * patches.row;
  }
};

// packed[at(channel, row) + column, in channel] of each output channel; or back from there.
template <bool back, class Weight, class At>
void pack_patches(const SpikeConv& args, const Patches& patches, At at, Weight* weight,
                  float* packed) {
  for (int64_t o = 0; o < args.groups * args.out_channels; ++o) {
    for (int64_t c = 0; c < args.in_channels; ++c) {
      for (int64_t y = 0; y < patches.rows; ++y) {
        for (int64_t x = 0; x < args.kernel[1]; ++x) {
          float& inside = packed[at(o, y) + x * patches.channels + c];
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

// What one thread works in.
struct Work {
  float *from, *to;  // the image, and its gradient
  float* grads;      // of a block of channels, window by window
  float* factors;
  int32_t *starts, *ends;

  static int64_t listed(const PooledConv& args, const Kernels& kernels) {
    return args.pooled[0] * args.pooled[1] * kernels.block + SNP_LANES;
  }

  static int64_t scratch(const PooledConv& args, const Patches& wide, const Patches& tight,
                         const Kernels& kernels) {
    const int64_t windows = args.pooled[0] * args.pooled[1];
    return 4 * (wide.size + tight.size + 3 * listed(args, kernels) +
                windows * args.window[0] * args.window[1]) +
           6 * 64;
  }

  Work(const PooledConv& args, const Patches& wide, const Patches& tight, const Kernels& kernels,
       Arena& arena) {
    const int64_t windows = args.pooled[0] * args.pooled[1];
    from = arena.take<float>(wide.size);
    to = arena.take<float>(tight.size);
    for (float** list : {&grads, &factors}) *list = arena.take<float>(listed(args, kernels));
    starts = arena.take<int32_t>(listed(args, kernels));
    ends = arena.take<int32_t>(windows * args.window[0] * args.window[1]);
  }
};

// Whether to list those that are not zero costs less than to multiply with all.
inline bool is_mostly_zero(const float* values, int64_t count) {
  int32_t zeros = 0;
  for (int64_t k = 0; k < count; ++k) zeros += values[k] == 0.0f;
  return 4 * static_cast<int64_t>(zeros) > count;
}

// Adds to the weight's gradient what one group of an image gives.
void weight_gradient(const PooledConv& args, const Patches& patches, const Places& places,
                     int64_t image, int64_t group, const Work& work, float* sums) {
  const SpikeConv& conv = args.conv;
  const int64_t windows = args.pooled[0] * args.pooled[1];
  const int64_t outputs = conv.groups * conv.out_channels;
  for (int64_t c = 0; c < conv.out_channels; ++c) {
    const int64_t channel = group * conv.out_channels + c;
    const float* grads = conv.grad + (image * outputs + channel) * windows;
    const uint8_t* which = args.which + image * windows * outputs + channel;
    int64_t number = windows;
    const float* factors = grads;
    if (is_mostly_zero(grads, windows)) {
      factors = work.factors;
      number = 0;
      for (int64_t w = 0; w < windows; ++w) {
        work.factors[number] = grads[w];
        work.starts[number] = places.window[w] + places.within[which[w * outputs]];
        number += grads[w] != 0.0f;
      }
    } else {
      for (int64_t w = 0; w < windows; ++w)
        work.starts[w] = places.window[w] + places.within[which[w * outputs]];
    }
    for (int64_t r = 0; r < patches.rows; r += patches.down) {
      for (int64_t v = 0; v < patches.vectors; v += patches.across) {
        const int64_t at = v * SNP_LANES;
        adder(std::min(patches.down, patches.rows - r),
              std::min(patches.across, patches.vectors - v))(
            work.from + r * patches.pitch + at, patches.pitch, factors, work.starts, number,
            sums + channel * patches.held + r * patches.row + at, patches.row);
      }
    }
  }
}

// Lists the channels that have a gradient by the place of their largest output in a window. Returns the
// new number of all that are listed; ends[place] is that after those of a place.
int64_t list_channels(const uint8_t* which, const float* grads, int64_t channels, int64_t places,
                      int64_t pitch, int64_t listed, const Work& work, int32_t* ends) {
#if defined(__AVX512F__)
  if (places <= SNP_LANES) {
    const __m512i order = _mm512_mullo_epi32(
        _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
        _mm512_set1_epi32(static_cast<int>(pitch)));
    for (int64_t k = 0; k < places; ++k) {
      for (int64_t c = 0; c < channels; c += 16) {
        const __mmask16 valid = static_cast<__mmask16>((1u << std::min<int64_t>(16, channels - c)) - 1);
        const __m512i at = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(valid, which + c));
        const __m512 grad = _mm512_maskz_loadu_ps(valid, grads + c);
        const __mmask16 met = _mm512_mask_cmp_ps_mask(
            _mm512_mask_cmpeq_epi32_mask(valid, at, _mm512_set1_epi32(static_cast<int>(k))), grad,
            _mm512_setzero_ps(), _CMP_NEQ_UQ);
        _mm512_storeu_ps(work.factors + listed, _mm512_maskz_compress_ps(met, grad));
        _mm512_storeu_si512(
            work.starts + listed,
            _mm512_maskz_compress_epi32(
                met, _mm512_add_epi32(order, _mm512_set1_epi32(static_cast<int>(c * pitch)))));
        listed += ones(met);
      }
      ends[k] = static_cast<int32_t>(listed);
    }
    return listed;
  }
#endif
  std::fill_n(ends, places, 0);
  for (int64_t c = 0; c < channels; ++c) ends[which[c]] += grads[c] != 0.0f;
  for (int64_t k = 0; k < places; ++k) {
    const int32_t number = ends[k];
    ends[k] = static_cast<int32_t>(listed);
    listed += number;
  }
  for (int64_t c = 0; c < channels; ++c) {
    if (grads[c] == 0.0f) continue;
    const int32_t at = ends[which[c]]++;
    work.factors[at] = grads[c];
    work.starts[at] = static_cast<int32_t>(c * pitch);
  }
  return listed;
}

inline bool all_finite(const float* values, int64_t count) {
  bool finite = true;
  for (int64_t k = 0; k < count; ++k) finite &= std::isfinite(values[k]);
  return finite;
}

// Adds the products of a block of kernels with what is listed for one place of a window. Vectors reach
// beyond the patch with zeros, which times infinity are not zero: unless all are finite each product is
// taken alone.
inline void add_listed(const Patches& patches, const float* kernels, int64_t rows, int64_t begin,
                       int64_t end, bool finite, const Work& work, float* patch) {
  if (finite) {
    for (int64_t v = 0; v < patches.vectors; v += patches.across) {
      const int64_t at = v * SNP_LANES;
      adder(rows, std::min(patches.across, patches.vectors - v))(
          kernels + at, patches.row, work.factors + begin, work.starts + begin, end - begin,
          patch + at, patches.pitch);
    }
    return;
  }
  for (int64_t i = begin; i < end; ++i)
    for (int64_t y = 0; y < rows; ++y)
      for (int64_t j = 0; j < patches.run; ++j)
        patch[y * patches.pitch + j] +=
            work.factors[i] * kernels[work.starts[i] + y * patches.row + j];
}

// Adds the products of a block of kernels with all that is listed.
void add_kernels(const PooledConv& args, const Patches& patches, const Places& places,
                 const Kernels& kernels, const float* packed, bool finite, const Work& work) {
  const int64_t windows = args.pooled[0] * args.pooled[1];
  const int64_t within = args.window[0] * args.window[1];
  for (int64_t r = 0; r < patches.rows; r += kernels.down, packed += kernels.block * kernels.pitch) {
    const int64_t rows = std::min(kernels.down, patches.rows - r);
    int64_t begin = 0;
    for (int64_t w = 0; w < windows; ++w) {
      for (int64_t k = 0; k < within; ++k) {
        const int64_t end = work.ends[w * within + k];
        add_listed(patches, packed, rows, begin, end, finite, work,
                   work.to + places.window[w] + places.within[k] + r * patches.pitch);
        begin = end;
      }
    }
  }
}

// Writes the gradient of one group of an image to work.to. Channels whose largest output lies at the
// same place of a window are summed first.
void input_gradient(const PooledConv& args, const Patches& patches, const Places& places,
                    const Kernels& kernels, const float* packed, int64_t image, int64_t group,
                    const Work& work) {
  const SpikeConv& conv = args.conv;
  const int64_t windows = args.pooled[0] * args.pooled[1];
  const int64_t within = args.window[0] * args.window[1];
  const int64_t outputs = conv.groups * conv.out_channels;
  std::fill_n(work.to, patches.size, 0.0f);
  for (int64_t start = 0; start < conv.out_channels; start += kernels.block) {
    const int64_t channels = std::min(kernels.block, conv.out_channels - start);
    const int64_t channel = group * conv.out_channels + start;
    const float* grads = conv.grad + (image * outputs + channel) * windows;
    transpose<false>(grads, windows, channels, windows, work.grads, channels);
    int64_t listed = 0;
    for (int64_t w = 0; w < windows; ++w)
      listed = list_channels(args.which + (image * windows + w) * outputs + channel,
                             work.grads + w * channels, channels, within, kernels.pitch, listed,
                             work, work.ends + w * within);
    add_kernels(args, patches, places, kernels,
                packed + group * kernels.held + kernels.at(patches, start, 0),
                all_finite(grads, channels * windows), work);
  }
}

}  // namespace

int64_t pooled_conv_backward_scratch(const PooledConv& args, int threads) {
  const SpikeConv& conv = args.conv;
  const Patches wide = aligned_patches(conv), tight(conv, conv.in_channels);
  const Kernels kernels(conv, tight);
  const int64_t sums = kParts * conv.groups * conv.out_channels * wide.held;
  return 4 * (sums + conv.groups * kernels.held) + 2 * 64 +
         threads * Work::scratch(args, wide, tight, kernels);
}

void pooled_conv_backward(const PooledConv& args, int threads) {
  const SpikeConv& conv = args.conv;
  const Geometry geometry(conv);
  const Patches wide = aligned_patches(conv), tight(conv, conv.in_channels);
  const Places wide_places(args, wide), tight_places(args, tight);
  const Kernels kernels(conv, tight);
  Arena arena{static_cast<char*>(conv.scratch)};
  const int64_t size = conv.groups * conv.out_channels * wide.held;
  const int64_t parts = std::min(kParts, conv.batch), part = ceil_div(conv.batch, parts);
  float* sums = arena.take<float>(parts * size);
  float* packed = arena.take<float>(conv.groups * kernels.held);
  std::vector<Work> works;
  for (int k = 0; k < threads; ++k) works.emplace_back(args, wide, tight, kernels, arena);
  if (args.grad_input) {
    std::fill_n(packed, conv.groups * kernels.held, 0.0f);
    pack_patches<false>(
        conv, tight,
        [&](int64_t o, int64_t y) {
          return o / conv.out_channels * kernels.held + kernels.at(tight, o % conv.out_channels, y);
        },
        conv.weight, packed);
  }
  const int64_t inputs = conv.in_channels * conv.in_size[0] * conv.in_size[1];
#pragma omp parallel for num_threads(threads) schedule(dynamic)
  for (int64_t p = 0; p < parts; ++p) {
    float* sum = sums + p * size;
    const Work& work = works[thread_number()];
    if (conv.output) std::fill_n(sum, size, 0.0f);
    for (int64_t image = p * part; image < std::min((p + 1) * part, conv.batch); ++image) {
      for (int64_t group = 0; group < conv.groups; ++group) {
        if (conv.output) {
          expand(conv, geometry, wide, image, group, work.from);
          weight_gradient(args, wide, wide_places, image, group, work, sum);
        }
        if (args.grad_input) {
          input_gradient(args, tight, tight_places, kernels, packed, image, group, work);
          collect(conv, tight, work.to,
                  args.grad_input + (image * conv.groups + group) * inputs);
        }
      }
    }
  }
  if (!conv.output) return;
  for (int64_t p = 1; p < parts; ++p)
    for (int64_t k = 0; k < size; ++k) sums[k] += sums[p * size + k];
  pack_patches<true>(
      conv, wide, [&](int64_t o, int64_t y) { return o * wide.held + y * wide.row; }, conv.output,
      sums);
}

}  // namespace SNP_ISA
}  // namespace snp
