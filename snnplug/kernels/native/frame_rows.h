// Rows of frames: counts of one bin on their way to the output.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels.h"
#include "stream.h"

namespace snp {
namespace SNP_ISA {
namespace {

// Shorter rows have hardly a line to themselves.
constexpr int64_t kStreamedRow = 8 * kLine;

struct alignas(kLine) Line {
  uint8_t bytes[kLine];
};

// What one thread needs. Counts are zero between bins; in bytes they lie in the nearest cache, and few
// recordings need more.
struct Tiles {
  Tiles(int64_t sites, int64_t steps, bool streams)
      : streams(streams), bytes((sites + kMasks) / kLine + 2), shared(streams ? steps : 0) {}

  // Where the counts of a row begin. Those of one line of the output are one vector, also in memory:
  // a vector on two pages waits until all that was streamed has left the processor.
  template <class Value>
  uint8_t* counts(const Value* out) {
    const int64_t begun = reinterpret_cast<uintptr_t>(out) % kLine / sizeof(Value);
    return bytes[0].bytes + begun;
  }

  const bool streams;
  std::vector<Line> bytes;
  std::vector<uint32_t> wide;
  // For each bin the line in which the row of one recording ends and that of the next begins.
  std::vector<Line> shared;
};

// A row among those that one thread writes, one recording after the other.
struct Row {
  int64_t bin;
  bool is_first, is_last;
};

template <class Count, class Value>
inline void move(Count* counts, int64_t many, Value* out) {
  for (int64_t k = 0; k < many; ++k) out[k] = static_cast<Value>(counts[k]);
  std::memset(counts, 0, many * sizeof(Count));
}

// Writes the counts of one bin and clears them.
template <class Count, class Value>
void write_row(Count* counts, int64_t sites, const Row& row, Tiles& tiles, Value* out) {
  if (!tiles.streams) return move(counts, sites, out);
  // A line that is not written as a whole has to be read first, and all that is written later waits
  // for it: what two rows share is kept until the second comes.
  constexpr int64_t kValues = kLine / static_cast<int64_t>(sizeof(Value)), kBlock = 4 * kValues;
  auto* shared = reinterpret_cast<Value*>(tiles.shared[row.bin].bytes);
  const int64_t begun = reinterpret_cast<uintptr_t>(out) % kLine / sizeof(Value);
  int64_t s = (kValues - begun) % kValues;
  if (row.is_first) {
    move(counts, s, out);
  } else if (s) {
    move(counts, s, shared + begun);
    stream_line(out - begun, shared);
  }
  // In blocks, which compilers widen in whole vectors; line by line they do not.
  alignas(kLine) Value block[kBlock];
  for (; s + kBlock <= sites; s += kBlock) {
    move(counts + s, kBlock, block);
    for (int64_t k = 0; k < kBlock; k += kValues) stream_line(out + s + k, block + k);
  }
  for (; s + kValues <= sites; s += kValues) {
    move(counts + s, kValues, block);
    stream_line(out + s, block);
  }
  move(counts + s, sites - s, row.is_last ? out + s : shared);
}

}  // namespace
}  // namespace SNP_ISA
}  // namespace snp
