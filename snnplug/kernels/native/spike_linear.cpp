// Products with a mostly zero matrix. A bit per value says where it is not zero; forward and weight
// gradient are then the same sum: each target (a row of x, a feature) adds up the source rows (of
// the transposed weight, of the output's gradient) that its bits name, a tile of columns at a time.

#include <algorithm>
#include <atomic>
#include <vector>

#include "common.h"
#include "kernels.h"
#include "vector.h"

namespace snp {
namespace SNP_ISA {
namespace {

constexpr int64_t kTile = 64;     // columns that one pass adds up, in registers
constexpr int64_t kPanel = 4096;  // most sources packed at a time: 1 MiB, whole blocks
constexpr int64_t kGroup = 128;   // targets whose sums are kept while the sources pass
constexpr int64_t kSampled = 61;  // no divisor of usual batch sizes

// Below these a second thread saves less than waiting for it may cost on a busy machine.
constexpr int64_t kParallelValues = 1 << 20;
constexpr int64_t kParallelNonzeros = 1 << 17;
constexpr int64_t kParallelWords = 1 << 16;

// A block of sources is read from the first-level cache by each target of a group in turn. It has
// to give a target several sources, or starting on it costs more than it saves.
constexpr int64_t kBlock = 128;  // 32 KiB
constexpr int64_t kLargeBlock = 256;
constexpr double kWorthwhile = 10;

// The bits of one row; returns how many are set, and sets `graded` if a value is neither 0 nor 1.
inline int64_t row_bits(const float* row, int64_t count, uint64_t* bits, bool& graded) {
  int64_t found = 0;
  uint64_t strange = 0;
  for (int64_t start = 0; start < count; start += kWord) {
    float padded[kWord];
    const float* values = row + start;
    if (count - start < kWord) {
      std::fill_n(std::copy_n(values, count - start, padded), kWord - (count - start), 0.0f);
      values = padded;
    }
    uint64_t word = 0;
    for (int k = 0; k < 4; ++k) {
      const uint32_t nonzero = differ16(values + 16 * k, 0.0f);
      strange |= nonzero & differ16(values + 16 * k, 1.0f);
      word |= static_cast<uint64_t>(nonzero) << (16 * k);
    }
    *bits++ = word;
    found += ones(word);
  }
  graded |= strange != 0;
  return found;
}

// Transposes 64 x 64 bits in place: word r, bit c becomes word c, bit r.
inline void transpose_bits(uint64_t* words) {
  uint64_t mask = 0x00000000ffffffffu;
  for (int width = 32; width != 0; width >>= 1, mask ^= mask << width) {
    for (int start = 0; start < 64; start += 2 * width) {
      for (int k = start; k < start + width; ++k) {
        const uint64_t swap = ((words[k] >> width) ^ words[k + width]) & mask;
        words[k] ^= swap << width;
        words[k + width] ^= swap;
      }
    }
  }
}

constexpr int kVectors = kTile / SNP_LANES;

// For each target and block of sources, the sources that the target adds up.
struct Lists {
  int64_t targets, sources, block;
  int32_t* offset;   // (blocks * targets + 1), block by block
  uint16_t* index;   // within the block
  float* value;      // or null: all are 1
};

// sums[t] += the sources of targets first .. first + count in one block.
template <bool graded>
inline void add_block(const Lists& lists, int64_t block, int64_t first, int64_t count,
                      const float* packed, float* sums) {
  const int32_t* offset = lists.offset + block * lists.targets + first;
  for (int64_t t = 0; t < count; ++t) {
    const int32_t end = offset[t + 1];
    int32_t k = offset[t];
    if (k == end) continue;
    Vector* sum = reinterpret_cast<Vector*>(sums + t * kTile);
    Vector total[kVectors] = {};
    for (; k < end; ++k) {
      const Vector* source = reinterpret_cast<const Vector*>(packed + lists.index[k] * kTile);
      if constexpr (graded) {
        const float value = lists.value[k];
        for (int v = 0; v < kVectors; ++v) total[v] += value * source[v];
      } else {
        for (int v = 0; v < kVectors; ++v) total[v] += source[v];
      }
    }
    for (int v = 0; v < kVectors; ++v) sum[v] += total[v];
  }
}

int64_t block_size(const SpikeLinear& args) {
  const double density = static_cast<double>(args.nonzeros) / (args.rows * args.features);
  for (const int64_t size : {kBlock, kLargeBlock})
    if (density * size >= kWorthwhile) return size;
  return kPanel;
}

// Turns bits (targets, words) into lists; value[source * source_stride + target * target_stride].
Lists make_lists(const SpikeLinear& args, const uint64_t* bits, int64_t targets, int64_t sources,
                 int64_t source_stride, int64_t target_stride, Arena& arena, int threads) {
  Lists lists{targets, sources, block_size(args), nullptr, nullptr, nullptr};
  const int64_t words = ceil_div(sources, kWord), step = lists.block / kWord;
  const int64_t blocks = ceil_div(words, step);
  lists.offset = arena.take<int32_t>(blocks * targets + 1);
  lists.index = arena.take<uint16_t>(args.nonzeros);
  lists.value = args.x ? arena.take<float>(args.nonzeros) : nullptr;
  int32_t* offset = lists.offset;
  int32_t sum = 0;
  for (int64_t b = 0; b < blocks; ++b) {
    for (int64_t t = 0; t < targets; ++t) {
      *offset++ = sum;
      for (int64_t w = b * step; w < std::min(words, (b + 1) * step); ++w)
        sum += ones(bits[t * words + w]);
    }
  }
  *offset = sum;
#pragma omp parallel for num_threads(threads) schedule(static) \
    if (args.nonzeros > kParallelNonzeros)
  for (int64_t t = 0; t < targets; ++t) {
    for (int64_t b = 0; b < blocks; ++b) {
      int32_t k = lists.offset[b * targets + t];
      for (int64_t w = b * step; w < std::min(words, (b + 1) * step); ++w) {
        for (uint64_t word = bits[t * words + w]; word; word &= word - 1) {
          const int64_t at = w * kWord + lowest(word);
          if (lists.value) lists.value[k] = args.x[at * source_stride + t * target_stride];
          lists.index[k++] = static_cast<uint16_t>(at - b * lists.block);
        }
      }
    }
  }
  return lists;
}

// Runs over tiles of columns, and over parts of the targets where tiles are few:
// pack(packed, first source, sources, first column, columns) fills (sources, kTile);
// store(sums, first target, targets, first column, columns, first time?) takes (targets, kTile).
template <bool graded, class Pack, class Store>
void gather(const Lists& lists, int64_t columns, Arena& arena, int threads, Pack pack,
            Store store) {
  const int64_t tiles = ceil_div(columns, kTile);
  const int64_t parts = tiles >= 2 * threads ? 1 : ceil_div(2 * threads, tiles);
  const int64_t part = ceil_div(ceil_div(lists.targets, parts), kGroup) * kGroup;
  const int64_t held = std::min(kPanel, lists.sources);
  float* scratch = arena.take<float>(threads * (held + kGroup) * kTile);
#pragma omp parallel num_threads(threads)
  {
    float* packed = scratch + thread_number() * (held + kGroup) * kTile;
    float* sums = packed + held * kTile;
    int64_t at = -1;  // the tile in `packed`, if it holds all sources
#pragma omp for schedule(dynamic)
    for (int64_t item = 0; item < tiles * parts; ++item) {
      const int64_t tile = item / parts, column = tile * kTile;
      const int64_t width = std::min(kTile, columns - column);
      const int64_t start = item % parts * part, stop = std::min(start + part, lists.targets);
      if (start >= stop) continue;
      for (int64_t source = 0; source < lists.sources; source += kPanel) {
        const int64_t count = std::min(kPanel, lists.sources - source);
        if (at != tile || count < lists.sources) {
          if (width < kTile) std::fill_n(packed, count * kTile, 0.0f);
          pack(packed, source, count, column, width);
          at = tile;
        }
        for (int64_t target = start; target < stop; target += kGroup) {
          const int64_t group = std::min(kGroup, stop - target);
          std::fill_n(sums, group * kTile, 0.0f);
          for (int64_t k = 0; k < count; k += lists.block)
            add_block<graded>(lists, (source + k) / lists.block, target, group, packed + k * kTile,
                              sums);
          store(sums, target, group, column, width, source == 0);
        }
      }
    }
  }
}

template <bool graded>
void forward(const SpikeLinear& args, int threads) {
  Arena arena{static_cast<char*>(args.scratch)};
  const Lists lists = make_lists(args, args.bits, args.rows, args.features, 1, args.features, arena,
                                 threads);
  const auto pack = [&](float* packed, int64_t source, int64_t count, int64_t column,
                        int64_t width) {
    transpose<false>(args.weight + column * args.features + source, args.features, width, count,
                     packed, kTile);
  };
  const auto store = [&](const float* sums, int64_t target, int64_t count, int64_t column,
                         int64_t width, bool first) {
    for (int64_t t = 0; t < count; ++t) {
      const float* sum = sums + t * kTile;
      float* out = args.output + (target + t) * args.columns + column;
      const float* before = !first ? out : args.bias ? args.bias + column : nullptr;
      if (before) {
        for (int64_t c = 0; c < width; ++c) out[c] = before[c] + sum[c];
      } else {
        std::copy_n(sum, width, out);
      }
    }
  };
  gather<graded>(lists, args.columns, arena, threads, pack, store);
}

template <bool graded>
void backward(const SpikeLinear& args, int threads) {
  Arena arena{static_cast<char*>(args.scratch)};
  const int64_t words = ceil_div(args.features, kWord), row_words = ceil_div(args.rows, kWord);
  uint64_t* bits = arena.take<uint64_t>(words * kWord * row_words);
#pragma omp parallel for num_threads(threads) schedule(static) \
    if (words * args.rows > kParallelWords)
  for (int64_t w = 0; w < words; ++w) {
    uint64_t square[kWord];
    for (int64_t r = 0; r < row_words; ++r) {
      const int64_t count = std::min(kWord, args.rows - r * kWord);
      for (int64_t k = 0; k < count; ++k) square[k] = args.bits[(r * kWord + k) * words + w];
      std::fill_n(square + count, kWord - count, 0);
      transpose_bits(square);
      for (int64_t k = 0; k < kWord; ++k) bits[(w * kWord + k) * row_words + r] = square[k];
    }
  }
  const Lists lists =
      make_lists(args, bits, args.features, args.rows, args.features, 1, arena, threads);
  const auto pack = [&](float* packed, int64_t source, int64_t count, int64_t column,
                        int64_t width) {
    for (int64_t r = 0; r < count; ++r)
      std::copy_n(args.grad + (source + r) * args.columns + column, width, packed + r * kTile);
  };
  const auto store = [&](const float* sums, int64_t target, int64_t count, int64_t column,
                         int64_t width, bool first) {
    float* out = args.output + column * args.features + target;
    first ? transpose<false>(sums, kTile, count, width, out, args.features)
          : transpose<true>(sums, kTile, count, width, out, args.features);
  };
  gather<graded>(lists, args.columns, arena, threads, pack, store);
}

}  // namespace

int64_t spike_bits(const float* x, int64_t rows, int64_t features, int64_t most, uint64_t* bits,
                   int32_t* graded, int threads) {
  const int64_t words = ceil_div(features, kWord);
  // A few rows tell a dense matrix before all of it is read.
  int64_t sampled = 0, in_sample = 0;
  bool any = false;
  std::vector<uint64_t> unused(words);
  for (int64_t r = 0; r < rows; r += kSampled, ++sampled)
    in_sample += row_bits(x + r * features, features, unused.data(), any);
  if (in_sample * rows > most * sampled) return -1;
  if (bits == nullptr) return 0;
  std::atomic<int64_t> found{0};
  std::atomic<bool> strange{false};
#pragma omp parallel for num_threads(threads) schedule(static) \
    if (rows * features > kParallelValues)
  for (int64_t start = 0; start < rows; start += kWord) {
    if (found.load(std::memory_order_relaxed) > most) continue;
    int64_t here = 0;
    bool odd = false;
    for (int64_t r = start; r < std::min(start + kWord, rows); ++r)
      here += row_bits(x + r * features, features, bits + r * words, odd);
    found.fetch_add(here, std::memory_order_relaxed);
    if (odd) strange.store(true, std::memory_order_relaxed);
  }
  *graded = strange;
  return found > most ? -1 : found.load();
}

void spike_linear_forward(const SpikeLinear& args, int threads) {
  args.x ? forward<true>(args, threads) : forward<false>(args, threads);
}

void spike_linear_backward(const SpikeLinear& args, int threads) {
  args.x ? backward<true>(args, threads) : backward<false>(args, threads);
}

int64_t spike_scratch(int64_t rows, int64_t features, int64_t nonzeros, int threads) {
  const int64_t row_words = ceil_div(rows, kWord), words = ceil_div(features, kWord);
  const int64_t offsets = std::max(rows * words, features * row_words) + 1;
  const int64_t held = std::min(std::max(rows, features), kPanel) + kGroup;
  return 8 * words * kWord * row_words + 4 * offsets + (2 + 4) * nonzeros +
         4 * threads * held * kTile + 5 * 64;
}

}  // namespace SNP_ISA
}  // namespace snp
