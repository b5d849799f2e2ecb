// Frames of a batch of recordings: each event adds one to its bin and site.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#include "frame_rows.h"
#include "kernels.h"

namespace snp {
namespace SNP_ISA {
namespace {

// Times that are compared with the end of a bin at once.
constexpr int64_t kAtOnce = 16;
// As long as no count is above this, bytes take so many more events that it is worth the look.
constexpr int64_t kByte = 255, kHighByte = 192;

inline int64_t highest(const uint8_t* counts, int64_t sites) {
  uint8_t most = 0;
  for (int64_t s = 0; s < sites; ++s) most = std::max(most, counts[s]);
  return most;
}

// Clips counts to `most` and returns the sum of what is left.
inline int64_t clip(uint8_t* counts, int64_t sites, uint8_t most) {
  int64_t kept = 0, s = 0;
#if defined(__SSE2__)
#if defined(__AVX512BW__)
  const __m512i limit = _mm512_set1_epi8(static_cast<char>(most));
  __m512i sums = _mm512_setzero_si512();
  for (; s + 64 <= sites; s += 64) {
    const __m512i v = _mm512_min_epu8(_mm512_loadu_si512(counts + s), limit);
    _mm512_storeu_si512(counts + s, v);
    sums = _mm512_add_epi64(sums, _mm512_sad_epu8(v, _mm512_setzero_si512()));
  }
  uint64_t lanes[8];
  _mm512_storeu_si512(lanes, sums);
#else
  const __m128i limit = _mm_set1_epi8(static_cast<char>(most));
  __m128i sums = _mm_setzero_si128();
  for (; s + 16 <= sites; s += 16) {
    auto* at = reinterpret_cast<__m128i*>(counts + s);
    const __m128i v = _mm_min_epu8(_mm_loadu_si128(at), limit);
    _mm_storeu_si128(at, v);
    sums = _mm_add_epi64(sums, _mm_sad_epu8(v, _mm_setzero_si128()));
  }
  uint64_t lanes[2];
  std::memcpy(lanes, &sums, sizeof lanes);
#endif
  for (const uint64_t sum : lanes) kept += static_cast<int64_t>(sum);
#endif
  for (; s < sites; ++s) kept += counts[s] = std::min(counts[s], most);
  return kept;
}

inline int64_t clip(uint32_t* counts, int64_t sites, uint32_t most) {
  int64_t kept = 0;
  for (int64_t s = 0; s < sites; ++s) kept += counts[s] = std::min(counts[s], most);
  return kept;
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

// The first event from `j` on that is not before `next`.
int64_t bin_end(const uint32_t* t, int64_t j, int64_t last, int64_t next) {
  const uint32_t limit = static_cast<uint32_t>(std::min<int64_t>(next, UINT32_MAX));
  // In order of time, so the last of several says for all that they are in the bin.
  while (j + kAtOnce <= last && t[j + kAtOnce - 1] < limit) j += kAtOnce;
  if (j + kAtOnce > last || limit != next) {
    while (j < last && t[j] < next) ++j;
    return j;
  }
  int32_t before = 0;
  for (int64_t k = 0; k < kAtOnce; ++k) before += t[j + k] < limit;
  return j + before;
}

// Adds events to the counts of their sites, and returns how many of them are shown. The others have
// counts of their own behind, zero again afterwards: which events those are is hard to foresee.
template <class Site, class Count, bool kMapped>
int64_t count(const Frames& f, const Site* site, const int32_t* map, int64_t events, Count* counts,
              int64_t* fates) {
  for (int64_t j = 0; j < events; ++j) ++counts[kMapped ? map[site[j]] : site[j]];
  int64_t shown = events;
  for (int64_t k = 0; kMapped && k < kMasks; ++k) {
    const int64_t masked = std::exchange(counts[f.sites + k], Count{0});
    fates[kMasked + k] += masked;
    shown -= masked;
  }
  return shown;
}

// Counts and clips the events of one bin in bytes, which are zero before. False where they do not
// reach: then the counts are in `wide`, and the bytes zero again.
template <class Site, bool kMapped>
bool tally(const Frames& f, const Site* site, const int32_t* map, int64_t events, uint8_t* counts,
           std::vector<uint32_t>& wide, int64_t* fates) {
  int64_t done = 0, shown = 0, top = 0;
  // No count can pass 255 before so many more events as are between it and the highest.
  do {
    const int64_t some = std::min(events - done, kByte - top);
    shown += count<Site, uint8_t, kMapped>(f, site + done, map, some, counts, fates);
    done += some;
    if (done < events) top = highest(counts, f.sites);
  } while (done < events && top < kHighByte);
  if (done == events) {
    if (shown > f.most)
      fates[kClipped] += shown - clip(counts, f.sites, std::min<int64_t>(f.most, kByte));
    return true;
  }
  wide.resize(f.sites + kMasks);
  move(counts, f.sites, wide.data());
  shown += count<Site, uint32_t, kMapped>(f, site + done, map, events - done, wide.data(), fates);
  fates[kClipped] += shown - clip(wide.data(), f.sites, static_cast<uint32_t>(f.most));
  return false;
}

// The frame of one bin of a recording.
template <class Site, class Value, bool kMapped>
void bin(const Frames& f, const Site* site, const int32_t* map, int64_t events, const Row& row,
         Tiles& tiles, Value* out, int64_t* fates) {
  uint8_t* counts = tiles.counts(out);
  if (tally<Site, kMapped>(f, site, map, events, counts, tiles.wide, fates))
    write_row(counts, f.sites, row, tiles, out);
  else
    write_row(tiles.wide.data(), f.sites, row, tiles, out);
}

// Asks for one of `parts` of the events of a recording, which come from a file, page by page.
template <class Site>
void fetch(const Frames& f, int64_t b, int64_t part, int64_t parts) {
#if defined(__GNUC__)
  if (b >= f.batch) return;
  const auto* t = reinterpret_cast<const char*>(f.times[b]);
  const auto* site = reinterpret_cast<const char*>(f.where[b]);
  const int64_t line = kLine / static_cast<int64_t>(sizeof(Site));
  const int64_t lines = (f.events[b] + line - 1) / line;
  for (int64_t k = lines * part / parts; k < lines * (part + 1) / parts; ++k) {
    for (int64_t i = 0; i < static_cast<int64_t>(4 / sizeof(Site)); ++i)
      __builtin_prefetch(t + (4 / sizeof(Site) * k + i) * kLine);
    __builtin_prefetch(site + k * kLine);
  }
#endif
}

template <class Site, class Value, bool kMapped>
void accumulate(const Frames& f, int64_t b, int64_t first, int64_t last, Row row, Tiles& tiles,
                int64_t* fates) {
  const auto* t = reinterpret_cast<const uint32_t*>(f.times[b]);
  const auto* site = reinterpret_cast<const Site*>(f.where[b]);
  const auto* map = kMapped ? reinterpret_cast<const int32_t*>(f.maps[b]) : nullptr;
  Value* out = static_cast<Value*>(f.output) + b * f.sites;
  const int64_t stride = f.batch * f.sites;
  for (int64_t k = 0, j = first; k < f.steps; ++k, out += stride) {
    // The first time of the next bin: u * steps / duration is below k + 1 before it.
    const int64_t next = ((k + 1) * f.duration_us + f.steps - 1) / f.steps + f.start_us;
    const int64_t end = bin_end(t, j, last, next);
    row.bin = k;
    bin<Site, Value, kMapped>(f, site + j, map, end - j, row, tiles, out, fates);
    fetch<Site>(f, b + 1, k, f.steps);
    j = end;
  }
}

template <class Site, class Value>
void frame(const Frames& f, int64_t b, const Row& row, Tiles& tiles) {
  const auto* t = reinterpret_cast<const uint32_t*>(f.times[b]);
  const auto* site = reinterpret_cast<const Site*>(f.where[b]);
  const int64_t events = f.events[b];
  int64_t fates[kFates] = {};
  fates[kUnsorted] = !f.in_order && !is_sorted(t, events);
  // Always: what lies in a file may have changed, and must not be written elsewhere.
  fates[kForeign] = events && largest(site, events) >= f.sensor;
  if (!fates[kUnsorted] && !fates[kForeign]) {
    const int64_t end = f.start_us + f.duration_us;
    const int64_t first = std::lower_bound(t, t + events, f.start_us,
                                           [](uint32_t u, int64_t v) { return u < v; }) - t;
    const int64_t last = std::lower_bound(t + first, t + events, end,
                                          [](uint32_t u, int64_t v) { return u < v; }) - t;
    fates[kBefore] = first;
    fates[kAfter] = events - last;
    f.maps ? accumulate<Site, Value, true>(f, b, first, last, row, tiles, fates)
           : accumulate<Site, Value, false>(f, b, first, last, row, tiles, fates);
    fates[kKept] = last - first - fates[kClipped];
    for (int k = 0; k < kMasks; ++k) fates[kKept] -= fates[kMasked + k];
  }
  std::copy(fates, fates + kFates, f.fates + kFates * b);
}

}  // namespace

void frames(const Frames& f, int threads) {
  const int64_t row_bytes = f.sites * (f.is_uint8 ? 1 : sizeof(float));
  const bool streams = f.streams && row_bytes >= kStreamedRow;
  // So many, one after the other, are worth the two lines that they share with others in each bin.
  const int64_t run = threads > 1 ? std::clamp<int64_t>(f.batch / (2 * threads), 1, 16) : f.batch;
#pragma omp parallel num_threads(threads) if (threads > 1)
  {
    Tiles tiles(f.sites, f.steps, streams);
#pragma omp for schedule(dynamic)
    for (int64_t from = 0; from < f.batch; from += run) {
      const int64_t to = std::min(from + run, f.batch);
      for (int64_t b = from; b < to; ++b) {
        const Row row{0, b == from, b + 1 == to};
        if (f.site_bytes == 2)
          f.is_uint8 ? frame<uint16_t, uint8_t>(f, b, row, tiles)
                     : frame<uint16_t, float>(f, b, row, tiles);
        else
          f.is_uint8 ? frame<uint32_t, uint8_t>(f, b, row, tiles)
                     : frame<uint32_t, float>(f, b, row, tiles);
      }
    }
    finish_streams();
  }
}

}  // namespace SNP_ISA
}  // namespace snp
