// What the calls of the native library share: arrays, and a check.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <vector>

using Array = std::vector<float>;

inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "driver: %s\n", what);
  std::exit(3);
}

// Numbers between 0 and 1 of a linear congruential generator (Numerical Recipes, ranqd1): those of
// the standard library take longer than many a kernel when a sanitizer watches each of their steps.
inline float uniform(uint32_t& state) {
  state = state * 1664525u + 1013904223u;
  return static_cast<float>(state >> 8) * 0x1p-24f;
}

// Values about 0 with a variance of 1.
inline Array noise(int64_t count) {
  thread_local uint32_t state = 0;
  Array values(count);
  float* const at = values.data();
  for (int64_t k = 0; k < count; ++k) at[k] = (uniform(state) - 0.5f) * 3.46f;
  return values;
}

inline Array spikes(int64_t count, double density, float height) {
  thread_local uint32_t state = 1;
  Array values(count);
  float* const at = values.data();
  for (int64_t k = 0; k < count; ++k) at[k] = uniform(state) < density ? height : 0.0f;
  return values;
}

// Memory on a cache line, as the pool gives it, and not a byte more than asked for.
struct Scratch {
  explicit Scratch(int64_t bytes) : at(::operator new(bytes, std::align_val_t{64})) {}
  ~Scratch() { ::operator delete(at, std::align_val_t{64}); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  void* const at;
};
