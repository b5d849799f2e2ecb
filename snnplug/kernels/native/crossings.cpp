// Events of an event camera: where the level of a pixel has moved by a threshold.

#include <cstdint>

#include "kernels.h"

#ifdef _WIN32
#define SNP_EXPORT extern "C" __declspec(dllexport)
#else
#define SNP_EXPORT extern "C" __attribute__((visibility("default")))
#endif

// Returns how many events there are; those beyond `capacity` are counted and not written. Rounds as
// the reference in crossings.py does: levels in float32, times in float64.
SNP_EXPORT int64_t snp_crossings(const snp::Crossings* crossings) {
  const snp::Crossings& c = *crossings;
  int64_t count = 0;
  for (int64_t p = 0; p < c.pixels; ++p) {
    const float* level = c.level + p * c.steps;
    float reference = c.reference[p];
    double ready = 0.0;
    for (int64_t end = 1; end < c.steps; ++end) {
      if (!(static_cast<float>(end) > static_cast<float>(ready))) continue;
      const float change = level[end] - reference;
      const bool is_on = change >= c.on;
      if (!is_on && !(change <= -c.off)) continue;
      const float start = level[end - 1];
      const float target = reference + (is_on ? c.on : -c.off);
      const double time =
          static_cast<double>(end - 1) + static_cast<double>((target - start) / (level[end] - start));
      if (count < c.capacity) {
        c.pixel[count] = p;
        c.time[count] = time;
        c.is_on[count] = is_on;
      }
      ++count;
      ready = time + c.refractory_steps;
      if (!(ready < static_cast<double>(c.steps - 1))) break;
      const int64_t at = static_cast<int64_t>(ready);
      reference =
          level[at] + static_cast<float>(ready - static_cast<double>(at)) * (level[at + 1] - level[at]);
      end = at;  // the same step may hold the next event
    }
  }
  return count;
}
