// The C interface, and the choice of instruction set when the library is loaded.

#include "kernels.h"

#ifdef _WIN32
#define SNP_EXPORT extern "C" __declspec(dllexport)
#else
#define SNP_EXPORT extern "C" __attribute__((visibility("default")))
#endif

namespace snp {

#define SNP_DECLARE(isa)                                                                  \
  namespace isa {                                                                         \
  void neurons_forward(const NeuronsForward&, int);                                       \
  void neurons_backward(const NeuronsBackward&, int);                                     \
  void recurrent_forward(const NeuronsForward&, int);                                     \
  int64_t recurrent_backward(const NeuronsBackward&, int);                                \
  int64_t count_spikes(const float*, int64_t, int64_t, float, int64_t*, int);             \
  void count_bits(const uint64_t*, int64_t, int64_t, int64_t*);                           \
  int64_t spike_bits(const float*, int64_t, int64_t, int64_t, uint64_t*, int32_t*, int);  \
  int64_t spike_scratch(int64_t, int64_t, int64_t, int);                                  \
  void spike_linear_forward(const SpikeLinear&, int);                                     \
  void spike_linear_backward(const SpikeLinear&, int);                                    \
  int64_t spike_conv_scratch(const SpikeConv&, int);                                      \
  void spike_conv_forward(const SpikeConv&, int);                                         \
  void spike_conv_backward(const SpikeConv&, int);                                        \
  int64_t pooled_conv_scratch(const PooledConv&, int);                                    \
  void pooled_conv_forward(const PooledConv&, int);                                       \
  void pooled_conv_backward(const PooledConv&, int);                                      \
  void spike_train_forward(const SpikeTrain&, int);                                       \
  void spike_train_adjoint(const SpikeTrainAdjoint&, int);                                \
  void spike_rows(const uint64_t*, int64_t, int64_t, float*, int);                        \
  void sum_at_spikes(const uint64_t*, const float*, int64_t, int64_t, int64_t, float*,    \
                     int);                                                                \
  void outer_at_spikes(const SpikeProduct&, int);                                         \
  void product_at_spikes(const SpikeProduct&, int);                                       \
  int64_t step(const StepPlan&, const float*, const int64_t*, int64_t);                   \
  void frames(const Frames&, int);                                                        \
  }
#define SNP_TABLE(isa)                                                                    \
  Table{isa::neurons_forward,    isa::neurons_backward,     isa::recurrent_forward,       \
        isa::recurrent_backward, isa::count_spikes,         isa::count_bits,              \
        isa::spike_bits,         isa::spike_scratch,        isa::spike_linear_forward,    \
        isa::spike_linear_backward, isa::spike_conv_scratch, isa::spike_conv_forward,     \
        isa::spike_conv_backward, isa::pooled_conv_scratch, isa::pooled_conv_forward,     \
        isa::pooled_conv_backward, isa::spike_train_forward,   \
        isa::spike_train_adjoint, isa::spike_rows, isa::sum_at_spikes,                    \
        isa::outer_at_spikes, isa::product_at_spikes, isa::step, isa::frames}

SNP_DECLARE(portable)
#ifdef SNP_HAS_avx2
SNP_DECLARE(avx2)
#endif
#ifdef SNP_HAS_avx512
SNP_DECLARE(avx512)
#endif

namespace {

struct Choice {
  Table table;
  const char* name;
};

Choice choose() {
#ifdef SNP_HAS_avx512
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
    return {SNP_TABLE(avx512), "avx512"};
#endif
#ifdef SNP_HAS_avx2
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return {SNP_TABLE(avx2), "avx2"};
#endif
  return {SNP_TABLE(portable), "portable"};
}

Choice& chosen() {
  static Choice choice = choose();
  return choice;
}

}  // namespace
}  // namespace snp

SNP_EXPORT const char* snp_isa() { return snp::chosen().name; }

// For tests: runs on the named instruction set from here on; returns 0 if it is not there.
SNP_EXPORT int snp_use_isa(int which) {
  using namespace snp;
  switch (which) {
    case 0: chosen() = {SNP_TABLE(portable), "portable"}; return 1;
#ifdef SNP_HAS_avx2
    case 1:
      if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 0;
      chosen() = {SNP_TABLE(avx2), "avx2"};
      return 1;
#endif
#ifdef SNP_HAS_avx512
    case 2:
      if (!__builtin_cpu_supports("avx512f")) return 0;
      chosen() = {SNP_TABLE(avx512), "avx512"};
      return 1;
#endif
    default: return 0;
  }
}

SNP_EXPORT void snp_neurons_forward(const snp::NeuronsForward* args, int threads) {
  snp::chosen().table.neurons_forward(*args, threads);
}

SNP_EXPORT void snp_neurons_backward(const snp::NeuronsBackward* args, int threads) {
  snp::chosen().table.neurons_backward(*args, threads);
}

SNP_EXPORT void snp_recurrent_forward(const snp::NeuronsForward* args, int threads) {
  snp::chosen().table.recurrent_forward(*args, threads);
}

SNP_EXPORT int64_t snp_recurrent_backward(const snp::NeuronsBackward* args, int threads) {
  return snp::chosen().table.recurrent_backward(*args, threads);
}

SNP_EXPORT int64_t snp_count_spikes(const float* values, int64_t rows, int64_t sites,
                                    float spike, int64_t* counts, int threads) {
  return snp::chosen().table.count_spikes(values, rows, sites, spike, counts, threads);
}

SNP_EXPORT void snp_count_bits(const uint64_t* bits, int64_t rows, int64_t words, int64_t* counts) {
  snp::chosen().table.count_bits(bits, rows, words, counts);
}

SNP_EXPORT int64_t snp_spike_bits(const float* x, int64_t rows, int64_t features, int64_t most,
                                  uint64_t* bits, int32_t* graded, int threads) {
  return snp::chosen().table.spike_bits(x, rows, features, most, bits, graded, threads);
}

SNP_EXPORT int64_t snp_spike_scratch(int64_t rows, int64_t features, int64_t nonzeros,
                                     int threads) {
  return snp::chosen().table.spike_scratch(rows, features, nonzeros, threads);
}

SNP_EXPORT void snp_spike_linear_forward(const snp::SpikeLinear* args, int threads) {
  snp::chosen().table.spike_linear_forward(*args, threads);
}

SNP_EXPORT void snp_spike_linear_backward(const snp::SpikeLinear* args, int threads) {
  snp::chosen().table.spike_linear_backward(*args, threads);
}

SNP_EXPORT int64_t snp_spike_conv_scratch(const snp::SpikeConv* args, int threads) {
  return snp::chosen().table.spike_conv_scratch(*args, threads);
}

SNP_EXPORT void snp_spike_conv_forward(const snp::SpikeConv* args, int threads) {
  snp::chosen().table.spike_conv_forward(*args, threads);
}

SNP_EXPORT void snp_spike_conv_backward(const snp::SpikeConv* args, int threads) {
  snp::chosen().table.spike_conv_backward(*args, threads);
}

SNP_EXPORT int64_t snp_pooled_conv_scratch(const snp::PooledConv* args, int threads) {
  return snp::chosen().table.pooled_conv_scratch(*args, threads);
}

SNP_EXPORT void snp_pooled_conv_forward(const snp::PooledConv* args, int threads) {
  snp::chosen().table.pooled_conv_forward(*args, threads);
}

SNP_EXPORT void snp_pooled_conv_backward(const snp::PooledConv* args, int threads) {
  snp::chosen().table.pooled_conv_backward(*args, threads);
}

SNP_EXPORT void snp_spike_train_forward(const snp::SpikeTrain* args, int threads) {
  snp::chosen().table.spike_train_forward(*args, threads);
}

SNP_EXPORT void snp_spike_train_adjoint(const snp::SpikeTrainAdjoint* args, int threads) {
  snp::chosen().table.spike_train_adjoint(*args, threads);
}

SNP_EXPORT void snp_spike_rows(const uint64_t* bits, int64_t rows, int64_t features, float* values,
                               int threads) {
  snp::chosen().table.spike_rows(bits, rows, features, values, threads);
}

SNP_EXPORT void snp_sum_at_spikes(const uint64_t* bits, const float* values, int64_t steps,
                                  int64_t batch, int64_t features, float* sums, int threads) {
  snp::chosen().table.sum_at_spikes(bits, values, steps, batch, features, sums, threads);
}

SNP_EXPORT void snp_outer_at_spikes(const snp::SpikeProduct* args, int threads) {
  snp::chosen().table.outer_at_spikes(*args, threads);
}

SNP_EXPORT void snp_product_at_spikes(const snp::SpikeProduct* args, int threads) {
  snp::chosen().table.product_at_spikes(*args, threads);
}

SNP_EXPORT void snp_step(const snp::StepPlan* plan, const float* input) {
  snp::chosen().table.step(*plan, input, nullptr, 0);
}

SNP_EXPORT int64_t snp_step_events(const snp::StepPlan* plan, const int64_t* events,
                                   int64_t count) {
  return snp::chosen().table.step(*plan, nullptr, events, count);
}

SNP_EXPORT void snp_frames(const snp::Frames* args, int threads) {
  snp::chosen().table.frames(*args, threads);
}
