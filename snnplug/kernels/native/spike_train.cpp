// Neurons of the spike-train rules: forward in time with their refractory time, backward from the bits
// of their spikes, and what those rules need of bits.

#include <algorithm>
#include <vector>

#include "feedback.h"
#include "kernels.h"
#include "vector.h"

namespace snp {
namespace SNP_ISA {
namespace {

constexpr int64_t kHalf = 32;
// Features of a sample that pass through time together: their state stays in the first-level cache.
constexpr int64_t kPiece = 1024;

struct Piece {
  int64_t at;     // first neuron, in (batch, features)
  int64_t count;
};

// One step; `heard` is null where the neurons hear no others.
inline void advance(const SpikeTrain& args, int64_t t, Piece piece, const float* heard) {
  const int64_t step = t * args.batch * args.features + piece.at;
  const float* cur = args.cur + step;
  float *syn = args.syn + piece.at, *mem = args.mem + piece.at, *last = args.last + piece.at;
  float *counts = args.counts + piece.at, *potential = args.potential + piece.at;
  float* spk = args.spk + step;
  int32_t* rest = args.rest + piece.at;
  const float decay_mem = args.decay_mem, decay_syn = args.decay_syn, gain = args.gain;
  const float limit = args.limit;
  const int32_t refractory = args.refractory;
#pragma omp simd
  for (int64_t j = 0; j < piece.count; ++j) {
    float p = syn[j] * decay_syn + cur[j];
    if (heard) p += heard[j];
    const int32_t wait = rest[j];
    const float u = wait > 0 ? 0.0f : mem[j] * decay_mem + p * gain;
    const bool fired = u > limit;
    const float spike = fired ? 1.0f : 0.0f;
    syn[j] = p;
    mem[j] = fired ? 0.0f : u;
    rest[j] = fired ? refractory : wait > 0 ? wait - 1 : 0;
    counts[j] += spike;
    potential[j] += fired ? u : 0.0f;
    last[j] = spike;
    spk[j] = spike;
  }
}

// Neurons that hear no others, a piece of a sample at a time.
void forward_alone(const SpikeTrain& args, int threads) {
  const int64_t pieces = ceil_div(args.features, kPiece);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t k = 0; k < args.batch * pieces; ++k) {
    const int64_t first = k % pieces * kPiece;
    const Piece piece{k / pieces * args.features + first,
                      std::min(kPiece, args.features - first)};
    for (int64_t t = 0; t < args.steps; ++t) advance(args, t, piece, nullptr);
  }
}

// Adds to `heard` what the spikes of a sample take from its other neurons.
void inhibit(const float* last, int64_t size, float inhibition, float* heard) {
  float sum = 0;
  for (int64_t j = 0; j < size; ++j) sum += last[j];
  if (sum == 0) return;
  for (int64_t j = 0; j < size; ++j) heard[j] -= inhibition * (sum - last[j]);
}

void forward_share(const SpikeTrain& args, const Packed& weight, Share share) {
  const int64_t size = args.features, stride = padded(size), samples = share.count();
  std::vector<float> heard(samples * stride);
  std::vector<const float*> dense(samples);
  std::vector<float*> dense_out(samples);
  Sources sources(size);
  for (int64_t t = 0; t < args.steps; ++t) {
    const float* last = args.last + share.first * size;
    if (weight.at) {
      listen(weight, nullptr, last, samples, sources, heard.data(), dense.data(),
             dense_out.data());
    } else {
      std::fill(heard.begin(), heard.end(), 0.0f);
    }
    for (int64_t b = 0; b < samples; ++b) {
      float* own = heard.data() + b * stride;
      if (args.inhibition != 0) inhibit(last + b * size, size, args.inhibition, own);
      advance(args, t, {(share.first + b) * size, size}, own);
    }
  }
}

// Calls take(feature) for each spike of a row.
template <class Take>
inline void at_spikes(const uint64_t* bits, int64_t words, Take take) {
  for (int64_t w = 0; w < words; ++w)
    for (uint64_t word = bits[w]; word; word &= word - 1) take(w * kWord + lowest(word));
}

// Half a word of neurons back through time.
void adjoint_half(const SpikeTrainAdjoint& args, int64_t sample, int64_t half) {
  const int64_t words = ceil_div(args.features, kWord), first = half * kHalf;
  const int64_t count = std::min(kHalf, args.features - first);
  const int64_t at = sample * args.features + first, width = args.batch * args.features;
  const auto bits = [&](int64_t t) {
    const uint64_t word = args.bits[(t * args.batch + sample) * words + half / 2];
    return static_cast<uint32_t>(word >> (half % 2 * kHalf));
  };
  float r[kHalf] = {}, q[kHalf] = {};
  std::copy_n(args.r + at, count, r);
  std::copy_n(args.q + at, count, q);
  const float decay_mem = args.decay_mem, decay_syn = args.decay_syn, gain = args.gain;
  for (int64_t t = args.last - 1; t >= args.first; --t) {
    std::copy_n(q, count, args.output + (t - args.first) * width + at);
    const uint32_t fired = bits(t);
    uint32_t held = 0;
    for (int64_t k = 1; k <= std::min<int64_t>(args.refractory, t); ++k) held |= bits(t - k);
#pragma omp simd
    for (int j = 0; j < kHalf; ++j) {
      const float still = held >> j & 1 ? 0.0f : r[j] * decay_mem;
      r[j] = fired >> j & 1 ? 1.0f : still;
      q[j] = q[j] * decay_syn + r[j] * gain;
    }
  }
  std::copy_n(r, count, args.r + at);
  std::copy_n(q, count, args.q + at);
}

}  // namespace

void spike_train_forward(const SpikeTrain& args, int threads) {
  if (args.weight == nullptr && args.inhibition == 0) {
    forward_alone(args, threads);
    return;
  }
  Packed weight{nullptr, args.features};
  if (args.weight) weight = pack(args.weight, args.features, true, args.scratch, threads);
  over_samples(args.batch, threads, [&](Share share) { forward_share(args, weight, share); });
}

void spike_train_adjoint(const SpikeTrainAdjoint& args, int threads) {
  const int64_t halves = ceil_div(args.features, kHalf);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t k = 0; k < args.batch * halves; ++k) adjoint_half(args, k / halves, k % halves);
}

void spike_rows(const uint64_t* bits, int64_t rows, int64_t features, float* values, int threads) {
  const int64_t words = ceil_div(features, kWord);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t w = 0; w < words; ++w) {
      const uint64_t word = bits[r * words + w];
      float* out = values + r * features + w * kWord;
      const int64_t count = std::min(kWord, features - w * kWord);
      for (int64_t j = 0; j < count; ++j) out[j] = static_cast<float>(word >> j & 1);
    }
  }
}

void sum_at_spikes(const uint64_t* bits, const float* values, int64_t steps, int64_t batch,
                   int64_t features, float* sums, int threads) {
  const int64_t words = ceil_div(features, kWord);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t b = 0; b < batch; ++b) {
    float* sum = sums + b * features;
    for (int64_t t = 0; t < steps; ++t) {
      const int64_t row = t * batch + b;
      const float* value = values ? values + row * features : nullptr;
      at_spikes(bits + row * words, words,
                [&](int64_t j) { sum[j] += value ? value[j] : 1.0f; });
    }
  }
}

void outer_at_spikes(const SpikeProduct& args, int threads) {
  const int64_t words = ceil_div(args.features, kWord), columns = args.columns;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t b = 0; b < args.batch; ++b) {
    float* out = args.output + b * args.features * columns;
    for (int64_t t = 0; t < args.steps; ++t) {
      const int64_t row = t * args.batch + b;
      const float* y = args.values + row * columns;
      at_spikes(args.bits + row * words, words, [&](int64_t j) {
        float* to = out + j * columns;
#pragma omp simd
        for (int64_t i = 0; i < columns; ++i) to[i] += y[i];
      });
    }
  }
}

void product_at_spikes(const SpikeProduct& args, int threads) {
  const int64_t words = ceil_div(args.features, kWord), columns = args.columns;
  // Whole vectors, the last with zeros: a row of the weight per sender, and one of the values.
  const int64_t width = ceil_div(columns, SNP_LANES) * SNP_LANES;
  std::vector<float> weight(args.features * width);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t j = 0; j < args.features; ++j)
    for (int64_t i = 0; i < columns; ++i)
      weight[j * width + i] = args.weight[i * args.features + j];
#pragma omp parallel num_threads(threads)
  {
    std::vector<float> y(width);
#pragma omp for schedule(static)
    for (int64_t b = 0; b < args.batch; ++b) {
      float* out = args.output + b * args.features;
      for (int64_t t = 0; t < args.steps; ++t) {
        const int64_t row = t * args.batch + b;
        std::copy_n(args.values + row * columns, columns, y.data());
        at_spikes(args.bits + row * words, words, [&](int64_t j) {
          const float* w = weight.data() + j * width;
          Vector sum[2] = {};
          int64_t i = 0;
          for (; i + 2 * SNP_LANES <= width; i += 2 * SNP_LANES)
            for (int v = 0; v < 2; ++v)
              sum[v] += load(w + i + v * SNP_LANES) * load(y.data() + i + v * SNP_LANES);
          if (i < width) sum[0] += load(w + i) * load(y.data() + i);
          sum[0] += sum[1];
          float lanes[SNP_LANES], total = 0;
          store(lanes, sum[0]);
          for (float lane : lanes) total += lane;
          out[j] += total;
        });
      }
    }
  }
}

}  // namespace SNP_ISA
}  // namespace snp
