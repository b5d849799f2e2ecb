// Neurons that hear the spikes of all others of their layer, one step later. A thread takes a few
// samples through the whole sequence and waits for no other. Forward, only the weights of neurons
// that spiked are added up; a sample in which many did takes the dense product, whose sums have the
// same order. Backward, each step multiplies with the whole weight.

#include <algorithm>
#include <atomic>
#include <vector>

#include "feedback.h"
#include "kernels.h"
#include "neuron.h"
#include "surrogate.h"
#include "vector.h"

namespace snp {
namespace SNP_ISA {
namespace {

template <class M, bool kept>
void forward_sample(const NeuronsForward& args, int64_t t, int64_t at, const float* feedback) {
  const Neurons& layer = args.layer;
  const int64_t step = t * layer.width + at;
  const float limit = above(layer.inclusive), graded = layer.graded;
  const float *cur = layer.cur + step, *beta = layer.beta, *threshold = layer.threshold;
  const float* alpha = layer.alpha;
  float *mem = args.mem + at, *syn = M::second ? args.syn + at : nullptr, *spk = args.spk + step;
  float* potential = kept ? args.trace.potential + step : nullptr;
  float* trace[3] = {args.trace.mem, args.trace.syn, args.trace.pre};
  for (float*& row : trace) row = kept && row ? row + step : nullptr;
  if (t + 1 < layer.steps) prefetch(cur + layer.width, layer.features);
#pragma omp simd
  for (int64_t j = 0; j < layer.features; ++j) {
    const auto v = advance<M>(cur[j], feedback[j], M::second ? syn[j] : 0.0f, mem[j],
                                M::second ? alpha[j] : 0.0f, beta[j], threshold[j], limit);
    mem[j] = v.mem;
    if constexpr (M::second) syn[j] = v.syn;
    if constexpr (kept) {
      potential[j] = v.potential;
      if (trace[0]) trace[0][j] = v.mem;
      if (trace[1]) trace[1][j] = v.syn;
      if (trace[2]) trace[2][j] = v.pre;
    }
    spk[j] = v.spike * graded;
  }
}

template <class M>
void forward_share(const NeuronsForward& args, const Packed& weight, const float* bias,
                   Share share) {
  const Neurons& layer = args.layer;
  const int64_t size = layer.features, stride = padded(size), samples = share.count();
  std::vector<float> feedback(samples * stride);
  std::vector<const float*> dense(samples);
  std::vector<float*> dense_out(samples);
  Sources sources(size);
  for (int64_t t = 0; t < layer.steps; ++t) {
    const float* last = t > 0 ? args.spk + (t - 1) * layer.width : layer.spk0;
    listen(weight, bias, last + share.first * size, samples, sources, feedback.data(), dense.data(),
           dense_out.data());
    for (int64_t b = 0; b < samples; ++b) {
      const int64_t at = (share.first + b) * size;
      const float* heard = feedback.data() + b * stride;
      args.trace.potential ? forward_sample<M, true>(args, t, at, heard)
                           : forward_sample<M, false>(args, t, at, heard);
    }
  }
}

// One step of one sample backward. `feedback` is the gradient of its spikes through those that heard
// them; `mem` and `syn` are gradients of the state, after the step and then before it.
template <class M, bool attached, bool learned>
void backward_sample(const NeuronsBackward& args, int64_t t, int64_t at, const float* feedback,
                     float* mem, float* syn, float* slope, float* slope_before) {
  const Neurons& layer = args.layer;
  const int64_t step = t * layer.width + at, size = layer.features;
  const float limit = above(layer.inclusive), graded = layer.graded;
  const float *alpha = layer.alpha, *beta = layer.beta, *threshold = layer.threshold;
  const float* potential = args.trace.potential + step;
  const float* after = args.trace.mem ? args.trace.mem : args.trace.potential;
  const float* before = t > 0 ? after + step - layer.width : layer.mem0 + at;
  const float* syn_before = nullptr;
  if constexpr (M::second && learned)
    syn_before = t > 0 ? args.trace.syn + step - layer.width : layer.syn0 + at;
  const float* pre = attached && M::reset == kZero ? args.trace.pre + step : nullptr;
  const float* grad_spk = args.grad_spk + step;
  float* grad_cur = args.grad_cur + step;
  if (t > 0) {
    prefetch(grad_spk - layer.width, size);
    prefetch(potential - layer.width, size);
  }
  slopes(layer, potential, threshold, size, slope);
  if constexpr (attached) slopes(layer, before, threshold, size, slope_before);
#pragma omp simd
  for (int64_t j = 0; j < size; ++j) {
    const float spk = grad_spk[j] + feedback[j];
    const auto g = reverse<M, attached>(
        spk * graded, mem[j], M::second ? syn[j] : 0.0f, before[j],
        M::second && learned ? syn_before[j] : 0.0f, attached && M::reset == kZero ? pre[j] : 0.0f,
        potential[j], slope[j], attached ? slope_before[j] : 0.0f, M::second ? alpha[j] : 0.0f,
        beta[j], threshold[j], limit);
    grad_cur[j] = g.cur;
    mem[j] = g.mem;
    if constexpr (M::second) syn[j] = g.syn;
    if constexpr (learned) {
      args.grad_beta[at + j] += g.beta;
      args.grad_threshold[at + j] += g.threshold;
      args.grad_graded[at + j] += spk * fires(potential[j], threshold[j], limit);
      if constexpr (M::second) args.grad_alpha[at + j] += g.alpha;
    }
  }
}

// The spikes of a row as bits; returns how many there are.
int64_t write_bits(const float* potential, const float* threshold, int64_t size, float limit,
                   uint64_t* bits) {
  int64_t found = 0;
  for (int64_t start = 0; start < size; start += kWord) {
    uint64_t word = 0;
    for (int64_t j = start; j < std::min(start + kWord, size); ++j)
      word |= static_cast<uint64_t>(potential[j] - threshold[j] > limit) << (j - start);
    *bits++ = word;
    for (; word; word &= word - 1) ++found;
  }
  return found;
}

template <class M, bool attached, bool learned>
int64_t backward_share(const NeuronsBackward& args, const Packed& weight, Share share) {
  const Neurons& layer = args.layer;
  const int64_t size = layer.features, stride = padded(size), samples = share.count();
  const int64_t batch = layer.width / size, words = ceil_div(size, kWord);
  std::vector<float> feedback(samples * stride), slope(2 * size);
  std::vector<const float*> x(samples);
  std::vector<float*> out(samples);
  int64_t found = 0;
  for (int64_t t = layer.steps - 1; t >= 0; --t) {
    for (int64_t b = 0; b < samples; ++b) {
      const int64_t at = (share.first + b) * size;
      float* syn = M::second ? args.grad_syn0 + at : nullptr;
      out[b] = feedback.data() + b * stride;
      x[b] = args.grad_cur + t * layer.width + at;
      backward_sample<M, attached, learned>(args, t, at, out[b], args.grad_mem0 + at, syn,
                                            slope.data(), slope.data() + size);
      if (args.bits && t + 1 < layer.steps)
        found += write_bits(args.trace.potential + t * layer.width + at, layer.threshold, size,
                            above(layer.inclusive),
                            args.bits + (t * batch + share.first + b) * words);
    }
    for (int64_t k = 0; k < weight.panels(); ++k)
      multiply(weight, k, x.data(), nullptr, out.data(), samples);
  }
  for (int64_t b = 0; b < samples; ++b)
    std::copy_n(feedback.data() + b * stride, size, args.grad_spk0 + (share.first + b) * size);
  return found;
}

}  // namespace

void recurrent_forward(const NeuronsForward& args, int threads) {
  const Neurons& layer = args.layer;
  const Packed weight = pack(layer.weight, layer.features, true, args.scratch, threads);
  std::vector<float> bias(padded(layer.features));
  if (layer.bias) std::copy_n(layer.bias, layer.features, bias.data());
  std::copy_n(layer.mem0, layer.width, args.mem);
  if (layer.alpha) std::copy_n(layer.syn0, layer.width, args.syn);
  with_model(layer, [&](auto model) {
    using M = decltype(model);
    if constexpr (M::fed)
      over_samples(layer.width / layer.features, threads,
                   [&](Share share) { forward_share<M>(args, weight, bias.data(), share); });
  });
}

int64_t recurrent_backward(const NeuronsBackward& args, int threads) {
  const Neurons& layer = args.layer;
  const Packed weight = pack(layer.weight, layer.features, false, args.scratch, threads);
  // The gradients of the first state are those of the state so far while time runs backward.
  begin(args.grad_mem, layer.width, args.grad_mem0);
  if (layer.alpha) begin(args.grad_syn, layer.width, args.grad_syn0);
  if (layer.learned) {
    for (float* sum : {args.grad_beta, args.grad_threshold, args.grad_graded})
      std::fill_n(sum, layer.width, 0.0f);
    if (layer.alpha) std::fill_n(args.grad_alpha, layer.width, 0.0f);
  }
  std::atomic<int64_t> found{0};
  with_model(layer, [&](auto model) {
    using M = decltype(model);
    if constexpr (M::fed) {
      with_flag(layer.learned, [&](auto learned) {
        with_flag(layer.attached && M::reset != kNone, [&](auto attached) {
          over_samples(layer.width / layer.features, threads, [&](Share share) {
            found += backward_share<M, decltype(attached)::value && M::reset != kNone,
                                    decltype(learned)::value>(args, weight, share);
          });
        });
      });
    }
  });
  return found;
}

}  // namespace SNP_ISA
}  // namespace snp
