// Calls the kernels of the neurons, for driver.cpp.

#include <cstdint>
#include <vector>

#include "kernels.h"
#include "tools.h"

extern "C" {
void snp_neurons_forward(const snp::NeuronsForward* args, int threads);
void snp_neurons_backward(const snp::NeuronsBackward* args, int threads);
void snp_recurrent_forward(const snp::NeuronsForward* args, int threads);
int64_t snp_recurrent_backward(const snp::NeuronsBackward* args, int threads);
}

namespace {

// Which kind of neurons: bits of `options` below.
constexpr int kAttached = 1, kImmediate = 2, kLearned = 4, kSecond = 8, kOwn = 16, kOptions = 32;
constexpr int kDense = kOptions;

void layer_of(int64_t steps, int64_t batch, int64_t features, int32_t reset, int32_t surrogate,
             int options, int threads) {
  const int64_t width = batch * features, whole = steps * width;
  const bool second = options & kSecond, own = options & kOwn, learned = options & kLearned;
  const bool dense = options & kDense, heard = own || dense;
  const Array cur = noise(whole), state = noise(width), grad = noise(width);
  const Array grad_spk = noise(whole), decay(features, 0.9f), threshold(features, 0.5f);
  const Array weight = noise(dense ? features * features : 0);
  // Gives the start of an array, of as many values, where there is one.
  std::vector<Array> made;
  made.reserve(20);
  const auto array = [&](bool is, int64_t count) {
    return is ? made.emplace_back(count).data() : nullptr;
  };
  const auto present = [](bool is, const Array& values) { return is ? values.data() : nullptr; };
  snp::Neurons layer{steps,
                     width,
                     features,
                     reset,
                     surrogate,
                     (options & kAttached) != 0,
                     surrogate % 2,
                     (options & kImmediate) != 0 && reset != snp::kNone,
                     learned,
                     1.5f,
                     {0.7f, 1.3f, 0.9f, 0.4f, 0.2f},
                     cur.data(),
                     state.data(),
                     present(second, state),
                     present(heard, state),
                     present(second, decay),
                     decay.data(),
                     threshold.data(),
                     present(own, decay),
                     present(dense, weight),
                     present(dense, decay)};
  const snp::Trace trace{array(dense, whole), array(dense && layer.immediate, whole),
                         array(dense && second && learned, whole),
                         array(dense && layer.attached && reset == snp::kZero, whole)};
  float* scratch = array(dense, features * ((features + 63) / 64 * 64));
  const snp::NeuronsForward forward{layer, array(true, whole), array(second, width),
                                    array(true, width), trace, scratch};
  std::vector<uint64_t> bits(dense ? (steps - 1) * batch * ((features + 63) / 64) : 0);
  dense ? snp_recurrent_forward(&forward, threads) : snp_neurons_forward(&forward, threads);
  if (dense) layer.cur = nullptr;
  const snp::NeuronsBackward backward{layer,
                                      grad_spk.data(),
                                      present(second, grad),
                                      grad.data(),
                                      array(true, whole),
                                      array(heard, width),
                                      array(second, width),
                                      array(true, width),
                                      array(second && learned, width),
                                      array(learned, width),
                                      array(learned, width),
                                      array(own && learned, width),
                                      array(learned, width),
                                      trace,
                                      scratch,
                                      bits.data()};
  if (dense) {
    require(snp_recurrent_backward(&backward, threads) >= 0, "fewer than no spikes");
  } else {
    snp_neurons_backward(&backward, threads);
  }
}

}  // namespace

void neurons(int threads) {
  for (int32_t surrogate = 0; surrogate <= snp::kMultiGaussian; ++surrogate)
    for (int options : {0, kAttached | kLearned})
      layer_of(5, 3, 300, snp::kSubtract, surrogate, options, threads);
  for (int32_t reset = 0; reset <= snp::kZeroMembrane; ++reset)
    for (int options = 0; options < (reset == snp::kZeroMembrane ? kSecond : kOptions); ++options)
      layer_of(7, 3, options % 2 ? 1 : 100, reset, snp::kHardFire, options, threads);
  layer_of(300, 1, 260, snp::kZero, snp::kAtan, kOptions - 1, threads);  // tiles that are cut short
  for (int32_t reset = 0; reset < snp::kZeroMembrane; ++reset)
    for (int options = 0; options < kOwn; ++options)
      layer_of(4, options % 3 * 5 + 1, options % 2 ? 70 : 33, reset, snp::kAtan, options | kDense,
              threads);
}
