// What the calls of the native library share: arrays, and a check.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <random>
#include <vector>

using Array = std::vector<float>;

inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "driver: %s\n", what);
  std::exit(3);
}

inline Array normal(int64_t count) {
  thread_local std::mt19937 engine(0);
  std::normal_distribution<float> draw;
  Array values(count);
  for (float& v : values) v = draw(engine);
  return values;
}

inline Array spikes(int64_t count, double density, float height) {
  thread_local std::mt19937 engine(1);
  std::bernoulli_distribution fires(density);
  Array values(count);
  for (float& v : values) v = fires(engine) ? height : 0.0f;
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
