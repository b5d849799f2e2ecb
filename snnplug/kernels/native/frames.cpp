// Frames of a batch of recordings: each event adds one to its bin and site.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "kernels.h"
#include "stream.h"

namespace snp {
namespace SNP_ISA {
namespace {

// From here on the output does not stay in the caches until it is read.
constexpr int64_t kStreamFrom = 1 << 20;
// Events that are compared with the end of a bin at once.
constexpr int64_t kAtOnce = 8;

// Writes the counts of one bin, clipped, and clears them; returns how many events were clipped.
template <class Count, class Value>
int64_t write_row(Count* counts, int64_t sites, Count most, bool may_clip, bool streams,
                  Value* out) {
  int64_t clipped = 0;
  if (may_clip) {
    uint64_t over = 0;
#pragma omp simd reduction(+ : over)
    for (int64_t s = 0; s < sites; ++s) {
      const Count kept = std::min(counts[s], most);
      over += static_cast<Count>(counts[s] - kept);
      counts[s] = kept;
    }
    clipped = static_cast<int64_t>(over);
  }
  int64_t s = 0;
  if (streams) {
    for (; s < sites && reinterpret_cast<uintptr_t>(out + s) % kLine; ++s)
      out[s] = static_cast<Value>(counts[s]);
    // In blocks, which compilers widen in whole vectors; line by line they do not.
    constexpr int64_t kBlock = 16 * kLine / static_cast<int64_t>(sizeof(Value));
    alignas(kLine) Value block[kBlock];
    for (; s + kBlock <= sites; s += kBlock) {
      for (int64_t k = 0; k < kBlock; ++k) block[k] = static_cast<Value>(counts[s + k]);
      for (int64_t k = 0; k < kBlock; k += kLine / static_cast<int64_t>(sizeof(Value)))
        stream_line(out + s + k, block + k);
    }
  }
  for (; s < sites; ++s) out[s] = static_cast<Value>(counts[s]);
  std::memset(counts, 0, sites * sizeof(Count));
  return clipped;
}

template <class Site>
int64_t largest(const Site* site, int64_t count) {
  Site most = 0;
  for (int64_t j = 0; j < count; ++j) most = std::max(most, site[j]);
  return most;
}

bool is_sorted(const uint32_t* t, int64_t count) {
  int32_t falls = 0;
  for (int64_t j = 1; j < count; ++j) falls |= t[j] < t[j - 1];
  return !falls;
}

template <class Site, class Count, class Value, bool kMapped>
void accumulate(const Frames& f, int64_t b, int64_t first, int64_t last, Count* counts,
                int64_t* fates) {
  const auto* t = reinterpret_cast<const uint32_t*>(f.times[b]);
  const auto* site = reinterpret_cast<const Site*>(f.where[b]);
  const auto* map = kMapped ? reinterpret_cast<const int32_t*>(f.maps[b]) : nullptr;
  Value* out = static_cast<Value*>(f.output) + b * f.sites;
  const int64_t stride = f.batch * f.sites;
  const bool streams = f.steps * stride * static_cast<int64_t>(sizeof(Value)) >= kStreamFrom;
  const auto most = static_cast<Count>(std::min<int64_t>(f.most, static_cast<Count>(-1)));
  int64_t clipped = 0, masked[kMasks] = {};
  for (int64_t k = 0, j = first; k < f.steps; ++k) {
    // The first time of the next bin: u * steps / duration is below k + 1 before it.
    const int64_t next = ((k + 1) * f.duration_us + f.steps - 1) / f.steps + f.start_us;
    const int64_t start = j;
    const auto add = [&](int64_t event) {
      const int64_t s = kMapped ? map[site[event]] : site[event];
      if (!kMapped || s < f.sites)
        ++counts[s];
      else
        ++masked[s - f.sites];
    };
    // In order of time, so the last of several says for all that they are in the bin.
    for (; j + kAtOnce <= last && t[j + kAtOnce - 1] < next; j += kAtOnce)
      for (int64_t k = 0; k < kAtOnce; ++k) add(j + k);
    for (; j < last && t[j] < next; ++j) add(j);
    clipped += write_row(counts, f.sites, most, j - start > f.most, streams, out + k * stride);
  }
  fates[kClipped] = clipped;
  for (int k = 0; k < kMasks; ++k) fates[kMasked + k] = masked[k];
}

// Counts in the output itself, which for bytes stays in the nearer caches until it is done.
template <class Site, bool kMapped>
void accumulate_bytes(const Frames& f, int64_t b, int64_t first, int64_t last, int64_t* fates) {
  const auto* t = reinterpret_cast<const uint32_t*>(f.times[b]);
  const auto* site = reinterpret_cast<const Site*>(f.where[b]);
  const auto* map = kMapped ? reinterpret_cast<const int32_t*>(f.maps[b]) : nullptr;
  uint8_t* row = static_cast<uint8_t*>(f.output) + b * f.sites;
  const auto most = static_cast<uint8_t>(f.most);
  int64_t clipped = 0, masked[kMasks] = {};
  for (int64_t k = 0, j = first; k < f.steps; ++k, row += f.batch * f.sites) {
    const int64_t next = ((k + 1) * f.duration_us + f.steps - 1) / f.steps + f.start_us;
    std::memset(row, 0, f.sites);
    const auto add = [&](int64_t event) {
      const int64_t s = kMapped ? map[site[event]] : site[event];
      if (!kMapped || s < f.sites) {
        const uint8_t before = row[s];
        row[s] = before + (before < most);
        clipped += before >= most;
      } else {
        ++masked[s - f.sites];
      }
    };
    for (; j + kAtOnce <= last && t[j + kAtOnce - 1] < next; j += kAtOnce)
      for (int64_t i = 0; i < kAtOnce; ++i) add(j + i);
    for (; j < last && t[j] < next; ++j) add(j);
  }
  fates[kClipped] = clipped;
  for (int k = 0; k < kMasks; ++k) fates[kMasked + k] = masked[k];
}

template <class Site, class Value>
void frame(const Frames& f, int64_t b, std::vector<uint16_t>& narrow, std::vector<uint32_t>& wide) {
  const auto* t = reinterpret_cast<const uint32_t*>(f.times[b]);
  const auto* site = reinterpret_cast<const Site*>(f.where[b]);
  const int64_t events = f.events[b];
  int64_t fates[kFates] = {};
  fates[kUnsorted] = !is_sorted(t, events);
  fates[kForeign] = events && largest(site, events) >= f.sensor;
  if (!fates[kUnsorted] && !fates[kForeign]) {
    const int64_t end = f.start_us + f.duration_us;
    const int64_t first = std::lower_bound(t, t + events, f.start_us,
                                           [](uint32_t u, int64_t v) { return u < v; }) - t;
    const int64_t last = std::lower_bound(t + first, t + events, end,
                                          [](uint32_t u, int64_t v) { return u < v; }) - t;
    fates[kBefore] = first;
    fates[kAfter] = events - last;
    if (std::is_same<Value, uint8_t>::value) {
      f.maps ? accumulate_bytes<Site, true>(f, b, first, last, fates)
             : accumulate_bytes<Site, false>(f, b, first, last, fates);
    // Sixteen bits hold the counts of most recordings, and half as many bytes have to be read.
    } else if (last - first < 1 << 16) {
      narrow.resize(f.sites);
      f.maps ? accumulate<Site, uint16_t, Value, true>(f, b, first, last, narrow.data(), fates)
             : accumulate<Site, uint16_t, Value, false>(f, b, first, last, narrow.data(), fates);
    } else {
      wide.resize(f.sites);
      f.maps ? accumulate<Site, uint32_t, Value, true>(f, b, first, last, wide.data(), fates)
             : accumulate<Site, uint32_t, Value, false>(f, b, first, last, wide.data(), fates);
    }
    fates[kKept] = last - first - fates[kClipped];
    for (int k = 0; k < kMasks; ++k) fates[kKept] -= fates[kMasked + k];
  }
  std::copy(fates, fates + kFates, f.fates + kFates * b);
}

}  // namespace

void frames(const Frames& f, int threads) {
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    std::vector<uint16_t> narrow;
    std::vector<uint32_t> wide;
#pragma omp for schedule(dynamic)
    for (int64_t b = 0; b < f.batch; ++b) {
      if (f.site_bytes == 2)
        f.is_uint8 ? frame<uint16_t, uint8_t>(f, b, narrow, wide)
                   : frame<uint16_t, float>(f, b, narrow, wide);
      else
        f.is_uint8 ? frame<uint32_t, uint8_t>(f, b, narrow, wide)
                   : frame<uint32_t, float>(f, b, narrow, wide);
    }
    finish_streams();
  }
}

}  // namespace SNP_ISA
}  // namespace snp
