// Neurons over a whole sequence, forward. Nothing but the current is kept for the backward pass.

#include <algorithm>

#include "kernels.h"
#include "neuron.h"
#include "neuron_tile.h"
#include "stream.h"

namespace snp {
namespace SNP_ISA {
namespace {

template <class M>
struct Forward : Tile<M> {
  float* spk;
  const float* fetch;
  bool past;

  template <class V, int rows>
  void run(int64_t t, int64_t from, int64_t to) {
    this->template advance_some<V, rows>(
        t, from, to, fetch, [&](int, int64_t, int64_t at, const auto&, V height) {
          write(spk + at, height, past);
        });
  }
};

template <class M>
void forward_tile(const NeuronsForward& args, int64_t start, int64_t count, bool past) {
  const Neurons& layer = args.layer;
  const bool whole = bytes_of(layer.steps * kTile) <= kWholeBytes;
  Forward<M> tile{
      {layer, start, count}, args.spk, layer.cur + (whole ? kTile : kAhead * layer.width), past};
  forward_in_time<3>(tile, layer.steps);
  std::copy_n(tile.mem, count, args.mem + start);
  if constexpr (M::second) std::copy_n(tile.syn, count, args.syn + start);
}

}  // namespace

void neurons_forward(const NeuronsForward& args, int threads) {
  const int64_t width = args.layer.width, tiles = (width + kTile - 1) / kTile;
  const bool past = goes_past(args.layer, args.spk);
  with_model(args.layer, [&](auto model) {
#pragma omp parallel num_threads(threads_for(args.layer, threads))
    {
#pragma omp for schedule(static)
      for (int64_t k = 0; k < tiles; ++k)
        forward_tile<decltype(model)>(args, k * kTile, std::min(kTile, width - k * kTile), past);
      finish_streams();
    }
  });
}

}  // namespace SNP_ISA
}  // namespace snp
