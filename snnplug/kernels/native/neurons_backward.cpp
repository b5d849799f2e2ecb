// Neurons over a whole sequence, backward: the states of a tile are computed again from the currents,
// then time runs backward over it.

#include <algorithm>
#include <vector>

#include "kernels.h"
#include "neuron.h"
#include "neuron_tile.h"
#include "stream.h"
#include "surrogate.h"

namespace snp {
namespace SNP_ISA {
namespace {

// States of a tile, a row per step; row t of mem and syn is before step t. Without an immediate
// reset `potential` is `mem` one row later.
struct Rows {
  float *mem, *syn, *pre, *potential;
};

template <class M, bool attached, bool learned>
struct Kept {
  static constexpr bool syn = M::second && learned;
  static constexpr bool pre = attached && M::reset == kZero;
  static constexpr int per_step = 1 + M::immediate + syn + pre;

  static Rows cut(float* scratch, int64_t rows, int64_t count) {
    Rows trace{scratch, nullptr, nullptr, scratch + count};
    float* at = scratch + rows * count;
    if constexpr (M::immediate) trace.potential = at, at += rows * count;
    if constexpr (syn) trace.syn = at, at += rows * count;
    if constexpr (pre) trace.pre = at;
    return trace;
  }
};

// Computes the states of a tile.
template <class M, class K>
struct Again : Tile<M> {
  Rows trace;
  const float* fetch;

  template <class V, int rows>
  void run(int64_t t, int64_t from, int64_t to) {
    const int64_t count = this->count;
    this->template advance_some<V, rows>(
        t, from, to, fetch, [&](int r, int64_t j, int64_t, const auto& v, V) {
          const int64_t at = (t + r) * count + j;
          store(trace.mem + at + count, v.mem);
          store_if<M::immediate>(trace.potential + at, v.potential);
          store_if<K::syn>(trace.syn + at + count, v.syn);
          store_if<K::pre>(trace.pre + at, v.pre);
        });
  }
};

constexpr int kAnySurrogate = -1;  // found when the kernel runs

// Some neurons backward, with the states that were computed again.
template <class M, bool attached, bool learned, int surrogate>
struct Backward {
  using K = Kept<M, attached, learned>;
  static constexpr bool in_rows = surrogate == kAnySurrogate;
  const NeuronsBackward& args;
  const Parameters& p;
  const Rows trace;
  int64_t start, count;
  const float* fetch;
  bool past;
  float mem[kTile], syn[kTile], feedback[kTile];
  float d_alpha[kTile], d_beta[kTile], d_threshold[kTile], d_own[kTile], d_graded[kTile];

  Backward(const NeuronsBackward& a, const Parameters& parameters, const Rows& rows, int64_t from,
           int64_t n, const float* to_fetch, bool past_caches)
      : args(a), p(parameters), trace(rows), start(from), count(n), fetch(to_fetch),
        past(past_caches) {
    begin(args.grad_mem ? args.grad_mem + start : nullptr, count, mem);
    if constexpr (M::second) begin(args.grad_syn ? args.grad_syn + start : nullptr, count, syn);
    std::fill_n(feedback, count, 0.0f);
    if constexpr (learned)
      for (float* sum : {d_alpha, d_beta, d_threshold, d_own, d_graded})
        std::fill_n(sum, count, 0.0f);
  }

  // Derivatives at the potentials; the row before the first, or a set of their own, where the
  // gradient flows through the reset.
  template <int rows>
  void take_slopes(int64_t t, int64_t from, int64_t to, float (*slope)[kTile],
                   float (*slope_before)[kTile]) const {
    const auto take = [&](const float* row, float* out) {
      slopes(args.layer, row + from, p.threshold + from, to - from, out + from);
    };
    for (int r = 0; r < rows; ++r) take(trace.potential + (t + r) * count, slope[r + 1]);
    if constexpr (attached && !M::immediate) take(trace.mem + t * count, slope[0]);
    if constexpr (attached && M::immediate)
      for (int r = 0; r < rows; ++r) take(trace.mem + (t + r) * count, slope_before[r]);
  }

  template <class V, int rows>
  void run(int64_t t, int64_t from, int64_t to) {
    const Neurons& layer = args.layer;
    const float limit = above(layer.inclusive), graded = layer.graded;
    const int64_t width = layer.width, first = t * width + start;
    float constants[kConstants];
    std::copy_n(layer.constants, kConstants, constants);
    float slope[in_rows ? rows + 1 : 1][kTile];
    float slope_before[in_rows && M::immediate ? rows : 1][kTile];
    if constexpr (in_rows) take_slopes<rows>(t, from, to, slope, slope_before);
    constexpr int64_t kLanes = sizeof(V) / sizeof(float);
    for (int64_t j = from; j < to; j += kLanes) {
      const V beta = load<V>(p.beta + j), threshold = load<V>(p.threshold + j);
      const V alpha = load_if<M::second, V>(p.alpha + j), own = load_if<M::fed, V>(p.own + j);
      V late = load<V>(mem + j), late_syn = load_if<M::second, V>(syn + j);
      V heard = load_if<M::fed, V>(feedback + j);
      V sum_alpha = load_if<learned && M::second, V>(d_alpha + j);
      V sum_beta = load_if<learned, V>(d_beta + j);
      V sum_threshold = load_if<learned, V>(d_threshold + j);
      V sum_own = load_if<learned && M::fed, V>(d_own + j);
      V sum_graded = load_if<learned, V>(d_graded + j);
      for (int r = rows - 1; r >= 0; --r) {
        const int64_t at = first + r * width + j, row = (t + r) * count + j;
        fetch_line<V>(fetch + at);
        const V potential = load<V>(trace.potential + row);
        V spk = load<V>(args.grad_spk + at);
        if constexpr (M::fed) spk += heard;
        const auto g = reverse<M, attached>(
            spk * graded, late, late_syn, load<V>(trace.mem + row),
            load_if<K::syn, V>(trace.syn + row), load_if<K::pre, V>(trace.pre + row), potential,
            in_rows ? load<V>(slope[in_rows ? r + 1 : 0] + j)
                    : derivative<surrogate>(potential - threshold, constants),
            load_if<attached, V>((M::immediate ? slope_before[in_rows && M::immediate ? r : 0]
                                               : slope[in_rows ? r : 0]) + j),
            alpha, beta, threshold, limit);
        write(args.grad_cur + at, g.cur, past);
        late = g.mem;
        late_syn = g.syn;
        heard = g.cur * own;
        if constexpr (learned) {
          sum_beta += g.beta;
          sum_threshold += g.threshold;
          sum_graded += spk * fires(potential, threshold, limit);
          sum_alpha += g.alpha;
          if constexpr (M::fed) sum_own += g.cur * last_spike<V>(t + r, row, j, threshold, limit);
        }
      }
      store(mem + j, late);
      store_if<M::second>(syn + j, late_syn);
      store_if<M::fed>(feedback + j, heard);
      store_if<learned && M::second>(d_alpha + j, sum_alpha);
      store_if<learned>(d_beta + j, sum_beta);
      store_if<learned>(d_threshold + j, sum_threshold);
      store_if<learned && M::fed>(d_own + j, sum_own);
      store_if<learned>(d_graded + j, sum_graded);
    }
  }

  // What a neuron heard of itself in step t.
  template <class V>
  V last_spike(int64_t t, int64_t row, int64_t j, V threshold, float limit) const {
    if (t == 0) return load<V>(args.layer.spk0 + start + j);
    return fires(load<V>(trace.potential + row - count), threshold, limit) * args.layer.graded;
  }

  void write_last() const {
    std::copy_n(mem, count, args.grad_mem0 + start);
    if constexpr (M::second) std::copy_n(syn, count, args.grad_syn0 + start);
    if constexpr (M::fed) std::copy_n(feedback, count, args.grad_spk0 + start);
    if constexpr (learned) {
      std::copy_n(d_beta, count, args.grad_beta + start);
      std::copy_n(d_threshold, count, args.grad_threshold + start);
      std::copy_n(d_graded, count, args.grad_graded + start);
      if constexpr (M::second) std::copy_n(d_alpha, count, args.grad_alpha + start);
      if constexpr (M::fed) std::copy_n(d_own, count, args.grad_own + start);
    }
  }
};

template <class M, bool attached, bool learned, int surrogate>
void backward_tile(const NeuronsBackward& args, int64_t start, int64_t count, bool past,
                   bool whole, float* scratch) {
  using K = Kept<M, attached, learned>;
  const Neurons& layer = args.layer;
  const int64_t ahead = kAhead * layer.width;
  constexpr int rows = surrogate == kAnySurrogate ? 2 : 4;  // rare ones in less code
  // Whole arrays of a tile are fetched: the gradients for this one, the currents for the next.
  Again<M, K> again{{layer, start, count},
                    K::cut(scratch, layer.steps + 1, count),
                    whole ? args.grad_spk : layer.cur + ahead};
  std::copy_n(layer.mem0 + start, count, again.trace.mem);
  if constexpr (K::syn) std::copy_n(layer.syn0 + start, count, again.trace.syn);
  forward_in_time<rows>(again, layer.steps);
  Backward<M, attached, learned, surrogate> back(
      args, again.p, again.trace, start, count, whole ? layer.cur + count : args.grad_spk - ahead,
      past);
  backward_in_time<rows>(back, layer.steps);
  back.write_last();
}

template <class M, bool attached, bool learned, int surrogate = kAnySurrogate>
void backward(const NeuronsBackward& args, int threads) {
  const Neurons& layer = args.layer;
  const int64_t rows = (layer.steps + 1) * Kept<M, attached, learned>::per_step;
  const int64_t tile = std::clamp<int64_t>(kScratchBytes / bytes_of(rows) / 16 * 16, 16, kTile);
  const int64_t tiles = (layer.width + tile - 1) / tile;
  const bool past = goes_past(layer, args.grad_cur);
  const bool whole = bytes_of(rows * tile) <= kWholeBytes;
#pragma omp parallel num_threads(threads_for(layer, threads))
  {
    std::vector<float> scratch(rows * tile);
#pragma omp for schedule(static)
    for (int64_t k = 0; k < tiles; ++k) {
      const int64_t start = k * tile;
      backward_tile<M, attached, learned, surrogate>(args, start, std::min(tile, layer.width - start), past,
                                          whole, scratch.data());
    }
    finish_streams();
  }
}

}  // namespace

void neurons_backward(const NeuronsBackward& args, int threads) {
  const Neurons& layer = args.layer;
  with_model(layer, [&](auto model) {
    using M = decltype(model);
    // Neurons as most are: with their surrogate compiled in.
    if constexpr (!M::second && !M::fed && !M::immediate)
      if (!layer.learned && !layer.attached)
        return with_surrogate(layer, [&](auto kind) {
          backward<M, false, false, decltype(kind)::value>(args, threads);
        });
    with_flag(layer.learned, [&](auto learned) {
      with_flag(layer.attached && M::reset != kNone, [&](auto attached) {
        backward<M, decltype(attached)::value && M::reset != kNone, decltype(learned)::value>(
            args, threads);
      });
    });
  });
}

}  // namespace SNP_ISA
}  // namespace snp
