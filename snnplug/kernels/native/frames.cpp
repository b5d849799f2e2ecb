// Frames of a batch of recordings: each event adds one to its bin and site.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels.h"

#ifdef _WIN32
#define SNP_EXPORT extern "C" __declspec(dllexport)
#else
#define SNP_EXPORT extern "C" __attribute__((visibility("default")))
#endif

namespace {

using snp::Frames;

template <class Site, class Value>
void frame(const Frames& f, int64_t b) {
  const auto* t = reinterpret_cast<const uint32_t*>(f.times[b]);
  const auto* site = reinterpret_cast<const Site*>(f.where[b]);
  Value* out = static_cast<Value*>(f.output) + b * f.sites;
  const int64_t stride = f.batch * f.sites;
  const Value most = static_cast<Value>(f.most);
  int64_t before = 0, after = 0, clipped = 0, outside = 0;
  // Frames are cleared when time first reaches them: the events then find them in the cache. A
  // division per event is spared as long as its time lies in the bin of the one before.
  int64_t cleared = 0, low = 0, high = 0;
  Value* row = out;
  for (int64_t j = 0; j < f.events[b]; ++j) {
    const int64_t u = static_cast<int64_t>(t[j]) - f.start_us;
    if (u < low || u >= high) {
      if (u < 0) {
        ++before;
        continue;
      }
      if (u >= f.duration_us) {
        ++after;
        continue;
      }
      const int64_t k = u * f.steps / f.duration_us;
      low = (k * f.duration_us + f.steps - 1) / f.steps;
      high = ((k + 1) * f.duration_us + f.steps - 1) / f.steps;
      row = out + k * stride;
      for (; cleared <= k; ++cleared) std::memset(out + cleared * stride, 0, f.sites * sizeof(Value));
    }
    const int64_t s = site[j];
    if (s >= f.sites) {
      ++outside;
      continue;
    }
    const Value value = row[s];
    if (value < most) {
      row[s] = static_cast<Value>(value + 1);
    } else {
      ++clipped;
    }
  }
  const int64_t kept = f.events[b] - before - after - clipped - outside;
  for (; cleared < f.steps; ++cleared) std::memset(out + cleared * stride, 0, f.sites * sizeof(Value));
  const int64_t counts[5] = {kept, before, after, clipped, outside};
  std::copy(counts, counts + 5, f.counts + 5 * b);
}

}  // namespace

SNP_EXPORT void snp_frames(const Frames* frames, int threads) {
  const Frames& f = *frames;
#pragma omp parallel for num_threads(threads) schedule(dynamic) if (threads > 1)
  for (int64_t b = 0; b < f.batch; ++b) {
    if (f.site_bytes == 2)
      f.is_uint8 ? frame<uint16_t, uint8_t>(f, b) : frame<uint16_t, float>(f, b);
    else
      f.is_uint8 ? frame<uint32_t, uint8_t>(f, b) : frame<uint32_t, float>(f, b);
  }
}
