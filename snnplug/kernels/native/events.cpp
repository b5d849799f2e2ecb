// Events of one recording: read from a file's bytes, and freed of noise.

#include <cstdint>
#include <initializer_list>

#include "kernels.h"

#ifdef _WIN32
#define SNP_EXPORT extern "C" __declspec(dllexport)
#else
#define SNP_EXPORT extern "C" __attribute__((visibility("default")))
#endif

namespace {

using snp::EventFilter;
using snp::EventParse;

constexpr int64_t kEventBytes = 5;
constexpr int64_t kOverflowRow = 240, kOverflowUs = 1 << 13;
// Long before any time that can be asked for, and no overflow when subtracted.
constexpr int64_t kNever = -(int64_t{1} << 40);

template <class Site>
int64_t parse(EventParse& p) {
  auto* site = static_cast<Site*>(p.site);
  int64_t kept = 0, overflow = 0, last = 0;
  for (int64_t j = 0; j < p.events; ++j) {
    const uint8_t* raw = p.bytes + kEventBytes * j;
    const int64_t x = raw[0], y = raw[1], polarity = raw[2] >> 7;
    if (y == kOverflowRow) {
      overflow += kOverflowUs;
      continue;
    }
    const int64_t t = ((raw[2] & 127) << 16 | raw[3] << 8 | raw[4]) + overflow;
    if (x >= p.width || y >= p.height || polarity >= p.polarities || t < last || t > UINT32_MAX) {
      p.bad = kept;
      return -1;
    }
    last = t;
    p.t[kept] = static_cast<uint32_t>(t);
    site[kept++] = static_cast<Site>((polarity * p.height + y) * p.width + x);
  }
  return kept;
}

template <class Site>
int64_t filter(EventFilter& f) {
  const auto* site = static_cast<const Site*>(f.site);
  auto* site_out = static_cast<Site*>(f.site_out);
  const int64_t pixels = f.width * f.height;
  // Around `seen` lies a border of one pixel in which nothing happens.
  const int64_t row = f.width + 2, border = f.width + 3;
  for (int64_t k = 0; k < pixels; ++k) f.fired[k] = kNever;
  for (int64_t k = 0; k < row * (f.height + 2); ++k) f.seen[k] = kNever;
  int64_t kept = 0;
  f.refractory = f.isolated = 0;
  for (int64_t j = 0; j < f.events; ++j) {
    const int64_t t = f.t[j], pixel = site[j] % pixels;
    if (t - f.fired[pixel] < f.refractory_us) {
      ++f.refractory;
      continue;
    }
    f.fired[pixel] = t;
    if (f.background_us > 0) {
      int64_t* here = f.seen + pixel / f.width * row + pixel % f.width + border;
      int64_t latest = kNever;
      for (const int64_t around : {-row - 1, -row, -row + 1, int64_t{-1}, int64_t{1}, row - 1, row,
                                   row + 1})
        latest = here[around] > latest ? here[around] : latest;
      *here = t;
      if (t - latest > f.background_us) {
        ++f.isolated;
        continue;
      }
    }
    f.t_out[kept] = f.t[j];
    site_out[kept++] = site[j];
  }
  return kept;
}

}  // namespace

SNP_EXPORT int64_t snp_parse_events(EventParse* args) {
  return args->site_bytes == 2 ? parse<uint16_t>(*args) : parse<uint32_t>(*args);
}

SNP_EXPORT int64_t snp_filter_events(EventFilter* args) {
  return args->site_bytes == 2 ? filter<uint16_t>(*args) : filter<uint32_t>(*args);
}
