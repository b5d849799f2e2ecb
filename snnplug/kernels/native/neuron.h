// One neuron, one time step: forward in snnTorch's order of operations, so that spikes are the same
// to the last bit, and backward. V is float, or Lanes for as many neurons at once.
#pragma once

#include <algorithm>
#include <limits>
#include <type_traits>

#include "kernels.h"

namespace snp {
namespace SNP_ISA {
namespace {

// Begins with the gradient of the state after the last step; without one nothing depends on it.
inline void begin(const float* grad, int64_t count, float* state) {
  grad ? std::copy_n(grad, count, state) : std::fill_n(state, count, 0.0f);
}

// What is known of a layer when its loop is compiled.
template <int reset_, bool immediate_, bool second_, bool fed_>
struct Model {
  static constexpr int reset = reset_;
  static constexpr bool immediate = immediate_;  // a spike resets the membrane in its own step
  static constexpr bool second = second_;        // has a synaptic current
  static constexpr bool fed = fed_;              // hears spikes of the step before
};

template <int reset, bool immediate, bool second, class Work>
inline void with_fed(bool fed, Work work) {
  fed ? work(Model<reset, immediate, second, true>{})
      : work(Model<reset, immediate, second, false>{});
}

template <int reset, bool immediate, class Work>
inline void with_order(const Neurons& layer, Work work) {
  const bool fed = layer.own || layer.weight;
  layer.alpha ? with_fed<reset, immediate, true>(fed, work)
              : with_fed<reset, immediate, false>(fed, work);
}

// Calls work(Model{}) with what the layer is: runtime choices become template arguments.
template <class Work>
inline void with_model(const Neurons& layer, Work work) {
  const bool immediate = layer.immediate;
  switch (layer.reset) {
    case kSubtract:
      return immediate ? with_order<kSubtract, true>(layer, work)
                       : with_order<kSubtract, false>(layer, work);
    case kZero:
      return immediate ? with_order<kZero, true>(layer, work)
                       : with_order<kZero, false>(layer, work);
    case kZeroMembrane:  // of first-order neurons that hear no spikes
      return immediate ? work(Model<kZeroMembrane, true, false, false>{})
                       : work(Model<kZeroMembrane, false, false, false>{});
    default: return with_order<kNone, false>(layer, work);
  }
}

template <class Work>
inline void with_flag(bool flag, Work work) {
  flag ? work(std::true_type{}) : work(std::false_type{});
}

// Fires above the threshold, or from it on: `above` is then the largest number below 0.
template <class V>
inline V fires(V mem, V threshold, float above) {
  return mem - threshold > above ? 1.0f : 0.0f;
}

inline float above(bool inclusive) {
  return inclusive ? -std::numeric_limits<float>::denorm_min() : 0.0f;
}

template <class V>
struct Values {
  V syn;        // synaptic current after the step
  V fired;      // what the membrane before the step says: the reset that is due
  V pre;        // membrane before any reset
  V potential;  // what is compared with the threshold
  V spike;
  V mem;        // membrane after the step
};

template <class M, class V>
inline Values<V> advance(V cur, V feedback, V syn, V mem, V alpha, V beta, V threshold,
                         float limit) {
  Values<V> v{};
  if constexpr (M::reset != kNone) v.fired = fires(mem, threshold, limit);
  if constexpr (M::second) {
    v.syn = alpha * syn + cur;
    if constexpr (M::fed) v.syn = v.syn + feedback;
    v.pre = beta * mem + v.syn;
  } else {
    v.pre = (M::reset == kZeroMembrane ? beta * ((1.0f - v.fired) * mem) : beta * mem) + cur;
    if constexpr (M::fed) v.pre = v.pre + feedback;
  }
  v.potential = v.pre;
  if constexpr (M::reset == kSubtract) v.potential = v.pre - v.fired * threshold;
  if constexpr (M::reset == kZero) v.potential = v.pre - v.fired * v.pre;
  v.spike = fires(v.potential, threshold, limit);
  v.mem = v.potential;
  if constexpr (M::immediate && M::reset == kSubtract)
    v.mem = v.potential - (v.spike - v.fired) * threshold;
  if constexpr (M::immediate && (M::reset == kZero || M::reset == kZeroMembrane))
    v.mem = v.potential - (v.spike - v.fired) * v.potential;
  return v;
}

// Gradients of one step: of the state before it, of its input, and what it adds to parameters.
template <class V>
struct Gradients {
  V syn, mem, cur;  // `cur` is that of the feedback too
  V alpha, beta, threshold;
};

// `spk`, `late` and `late_syn`: gradients of the spike of height 1, of the membrane and of the
// synaptic current after the step. `before` is the membrane before it, `slope` and `slope_before`
// the surrogate's derivatives at `potential` and `before`.
template <class M, bool attached, class V>
inline Gradients<V> reverse(V spk, V late, V late_syn, V before, V syn_before, V pre, V potential,
                            V slope, V slope_before, V alpha, V beta, V threshold, float limit) {
  Gradients<V> g{};
  const V fired = M::reset == kNone ? V{} : fires(before, threshold, limit);
  const V through_spike = spk * slope;
  V grad = late + through_spike;
  g.threshold = -through_spike;
  V weight{};  // what one unit of `fired` adds to the membrane after the step
  if constexpr (M::immediate && M::reset == kSubtract) {
    const V spike = fires(potential, threshold, limit);
    grad -= late * threshold * slope;
    g.threshold += late * (threshold * slope - (spike - fired));
    weight = late * threshold;
  } else if constexpr (M::immediate && (M::reset == kZero || M::reset == kZeroMembrane)) {
    const V spike = fires(potential, threshold, limit);
    grad = late * (1.0f - (spike - fired) - potential * slope) + through_spike;
    g.threshold += late * potential * slope;
    weight = late * potential;
  }
  V kept = before, factor = beta;  // of the membrane before the step in this one
  if constexpr (M::reset == kSubtract) {
    g.threshold -= grad * fired;
    weight -= grad * threshold;
  } else if constexpr (M::reset == kZero) {
    weight -= grad * pre;
    grad = grad * (1.0f - fired);
  } else if constexpr (M::reset == kZeroMembrane) {
    kept = (1.0f - fired) * before;
    factor = beta * (1.0f - fired);
    weight -= grad * beta * before;
  }
  g.beta = grad * kept;
  g.mem = grad * factor;
  g.cur = grad;
  if constexpr (M::second) {
    g.cur = grad + late_syn;
    g.alpha = g.cur * syn_before;
    g.syn = g.cur * alpha;
  }
  if constexpr (attached && M::reset != kNone) {
    const V through_reset = weight * slope_before;
    g.mem += through_reset;
    g.threshold -= through_reset;
  }
  return g;
}

}  // namespace
}  // namespace SNP_ISA
}  // namespace snp
