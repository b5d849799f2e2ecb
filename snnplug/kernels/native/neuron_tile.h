// Neurons over a whole sequence, each of which hears at most its own spikes. A tile of them stays in
// the first-level cache while time passes over it. What is left is traffic to memory: states stay in
// registers for a few steps, while one array of a tile is read the next is fetched, and large
// outputs go past the caches.
#pragma once

#include <algorithm>

#include "kernels.h"
#include "neuron.h"
#include "stream.h"

namespace snp {
namespace SNP_ISA {
namespace {

constexpr int64_t kTile = 192;  // of 64 to 1024 the quickest
// States of a tile, a quarter of the second-level cache: its currents and gradients fit in too.
constexpr int64_t kScratchBytes = 256 * 1024;
constexpr int64_t kPastFrom = 4 << 20;  // bytes of an output that goes past the caches
// A tile with no more states is fetched as a whole while another array of it is read; of a longer
// one so many rows ahead. Rows are often a power of two apart and then share few places in a cache.
constexpr int64_t kWholeBytes = 96 * 1024;
constexpr int64_t kAhead = 8;

constexpr int64_t bytes_of(int64_t floats) { return floats * static_cast<int64_t>(sizeof(float)); }

constexpr int64_t kLeastWork = 1 << 14;  // neuron-steps for which another thread is worth waking

inline int threads_for(const Neurons& layer, int threads) {
  const int64_t most = 1 + layer.steps * layer.width / kLeastWork;
  return static_cast<int>(std::min<int64_t>(threads, most));
}

bool goes_past(const Neurons& layer, const float* out) {
  return bytes_of(layer.steps * layer.width) >= kPastFrom && bytes_of(layer.width) % kLine == 0 &&
         reinterpret_cast<uintptr_t>(out) % kLine == 0;
}

// Calls work.run<V, rows>(t, from, to) for all neurons of a tile: in whole vectors, then the rest.
template <int rows, class Work>
void in_lanes(Work& work, int64_t t) {
  constexpr int64_t kLanes = sizeof(Lanes) / sizeof(float);
  const int64_t whole = work.count / kLanes * kLanes;
  work.template run<Lanes, rows>(t, 0, whole);
  if (whole < work.count) work.template run<float, rows>(t, whole, work.count);
}

// Takes all steps of a tile, a few at a time.
template <int rows, class Work>
void forward_in_time(Work& work, int64_t steps) {
  int64_t t = 0;
  for (; t + rows <= steps; t += rows) in_lanes<rows>(work, t);
  for (; t < steps; ++t) in_lanes<1>(work, t);
}

template <int rows, class Work>
void backward_in_time(Work& work, int64_t steps) {
  int64_t t = steps;
  for (; t >= rows; t -= rows) in_lanes<rows>(work, t - rows);
  for (; t > 0; --t) in_lanes<1>(work, t - 1);
}

// The parameters of a tile, repeated over the batch.
struct Parameters {
  float alpha[kTile], beta[kTile], threshold[kTile], own[kTile];

  template <class M>
  void load(const Neurons& layer, int64_t start, int64_t count) {
    const auto repeat = [&](const float* values, float* to) {
      if (layer.features == 1) return void(std::fill_n(to, count, *values));
      for (int64_t j = 0; j < count;) {
        const int64_t feature = (start + j) % layer.features;
        const int64_t run = std::min(count - j, layer.features - feature);
        std::copy_n(values + feature, run, to + j);
        j += run;
      }
    };
    repeat(layer.beta, beta);
    repeat(layer.threshold, threshold);
    if constexpr (M::second) repeat(layer.alpha, alpha);
    if constexpr (M::fed) repeat(layer.own, own);
  }
};

template <bool there, class V>
inline V load_if(const float* from) {
  if constexpr (there) return load<V>(from);
  return V{};
}

template <bool there, class V>
inline void store_if(float* to, V v) {
  if constexpr (there) store(to, v);
}

template <class V>
inline void write(float* to, V v, bool past) {
  if constexpr (sizeof(V) > sizeof(float)) {
    if (past) return stream(to, v);
  }
  store(to, v);
}

template <class V>
inline void fetch_line(const float* from) {
#if defined(__GNUC__)
  if constexpr (sizeof(V) > sizeof(float)) __builtin_prefetch(from, 0, 2);
#endif
}

// Some neurons forward.
template <class M>
struct Tile {
  const Neurons& layer;
  int64_t start, count;
  Parameters p;
  float mem[kTile], syn[kTile], last[kTile];

  Tile(const Neurons& l, int64_t from, int64_t n) : layer(l), start(from), count(n) {
    p.load<M>(layer, start, count);
    std::copy_n(layer.mem0 + start, count, mem);
    if constexpr (M::second) std::copy_n(layer.syn0 + start, count, syn);
    if constexpr (M::fed) std::copy_n(layer.spk0 + start, count, last);
  }

  // Takes `rows` steps of the neurons from `from` to `to`; keep(r, j, values) is told of each.
  // Values `fetch` further than the currents are fetched.
  template <class V, int rows, class Keep>
  void advance_some(int64_t t, int64_t from, int64_t to, const float* fetch, Keep keep) {
    const float limit = above(layer.inclusive), graded = layer.graded;
    const int64_t width = layer.width, first = t * width + start;
    constexpr int64_t kLanes = sizeof(V) / sizeof(float);
    for (int64_t j = from; j < to; j += kLanes) {
      const V beta = load<V>(p.beta + j), threshold = load<V>(p.threshold + j);
      const V alpha = load_if<M::second, V>(p.alpha + j), own = load_if<M::fed, V>(p.own + j);
      V u = load<V>(mem + j), i = load_if<M::second, V>(syn + j);
      V s = load_if<M::fed, V>(last + j);
      for (int r = 0; r < rows; ++r) {
        const int64_t at = first + r * width + j;
        fetch_line<V>(fetch + at);
        const auto v =
            advance<M>(load<V>(layer.cur + at), s * own, i, u, alpha, beta, threshold, limit);
        u = v.mem;
        i = v.syn;
        s = v.spike * graded;
        keep(r, j, at, v, s);
      }
      store(mem + j, u);
      store_if<M::second>(syn + j, i);
      store_if<M::fed>(last + j, s);
    }
  }
};

}  // namespace
}  // namespace SNP_ISA
}  // namespace snp
