// Calls every entry point of the native library, on every instruction set, with 1 to 4 threads and
// many shapes; each array is exactly as long as it may be, on the heap, so that a read or a write
// beside it is seen. tests/kernels/test_sanitizers.py builds and runs it.
//
// For a new kernel: declare its entry point below, write a function that calls it with small shapes
// around its tile and word sizes, and call that function in `kernels`. The test fails while an
// exported name is missing here. A shape that runs in parallel only when large needs one such call.
//
// With the argument "race" or "overflow" it makes that mistake instead: proof that it would be seen.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <new>
#include <random>
#include <thread>
#include <vector>

#include "arrival.h"
#include "kernels.h"
#include "tools.h"

void neurons(int threads);  // neurons.cpp

extern "C" {
const char* snp_isa();
int snp_use_isa(int which);
int64_t snp_count_spikes(const float* values, int64_t rows, int64_t sites, float spike,
                         int64_t* counts, int threads);
void snp_count_bits(const uint64_t* bits, int64_t rows, int64_t words, int64_t* counts);
int64_t snp_spike_bits(const float* x, int64_t rows, int64_t features, int64_t most, uint64_t* bits,
                       int32_t* graded, int threads);
int64_t snp_spike_scratch(int64_t rows, int64_t features, int64_t nonzeros, int threads);
void snp_spike_linear_forward(const snp::SpikeLinear* args, int threads);
void snp_spike_linear_backward(const snp::SpikeLinear* args, int threads);
int64_t snp_spike_conv_scratch(const snp::SpikeConv* args, int threads);
void snp_spike_conv_forward(const snp::SpikeConv* args, int threads);
void snp_spike_conv_backward(const snp::SpikeConv* args, int threads);
int64_t snp_pooled_conv_scratch(const snp::PooledConv* args, int threads);
void snp_pooled_conv_forward(const snp::PooledConv* args, int threads);
void snp_pooled_conv_backward(const snp::PooledConv* args, int threads);
void snp_spike_train_forward(const snp::SpikeTrain* args, int threads);
void snp_spike_train_adjoint(const snp::SpikeTrainAdjoint* args, int threads);
void snp_spike_rows(const uint64_t* bits, int64_t rows, int64_t features, float* values, int threads);
void snp_sum_at_spikes(const uint64_t* bits, const float* values, int64_t steps, int64_t batch,
                       int64_t features, float* sums, int threads);
void snp_outer_at_spikes(const snp::SpikeProduct* args, int threads);
void snp_product_at_spikes(const snp::SpikeProduct* args, int threads);
void snp_step(const snp::StepPlan* plan, const float* input);
int64_t snp_step_events(const snp::StepPlan* plan, const int64_t* events, int64_t count);
int64_t snp_crossings(const snp::Crossings* args);
void snp_frames(const snp::Frames* args, int threads);
void snp_arrive(const snp::Arrival* args, int threads);
int64_t snp_parse_events(snp::EventParse* args);
int64_t snp_filter_events(snp::EventFilter* args);
void* snp_pool_tensor(int64_t count);
void snp_pool_clear();
void snp_pool_limit(int64_t bytes);
int64_t snp_pool_kept();
}

namespace {

void count(int64_t rows, int64_t sites, float height, int threads) {
  Array values = spikes(rows * sites, 0.3, height);
  std::vector<int64_t> counts(sites, 0);
  const int64_t total = snp_count_spikes(values.data(), rows, sites, height, nullptr, threads);
  const int64_t apart = snp_count_spikes(values.data(), rows, sites, height, counts.data(), threads);
  require(total == apart, "the two ways to count disagree");
  if (values.empty()) return;
  const int64_t words = (sites + 63) / 64;
  std::vector<uint64_t> bits(rows * words);
  int32_t graded = 0;
  snp_spike_bits(values.data(), rows, sites, rows * sites, bits.data(), &graded, threads);
  std::vector<int64_t> columns(64 * words, 0);
  snp_count_bits(bits.data(), rows, words, columns.data());
  columns.resize(sites);
  require(columns == counts, "the bits of a column are not its ones");
  values.back() = 0.5f;
  require(snp_count_spikes(values.data(), rows, sites, height, nullptr, threads) < 0, "0.5 is a spike");
}

void spike_linear(int64_t rows, int64_t features, int64_t columns, double density, float height,
                  int threads) {
  const Array x = spikes(rows * features, density, height);
  std::vector<uint64_t> bits(rows * ((features + 63) / 64));
  int32_t graded = 0;
  const int64_t size = rows * features;
  snp_spike_bits(x.data(), rows, features, size, nullptr, nullptr, threads);
  snp_spike_bits(x.data(), rows, features, 1, bits.data(), &graded, threads);
  const int64_t nonzeros =
      snp_spike_bits(x.data(), rows, features, size, bits.data(), &graded, threads);
  require(nonzeros >= 0, "more values are not zero than there are");
  Scratch scratch(snp_spike_scratch(rows, features, nonzeros, threads));
  const Array weight = noise(columns * features), bias = noise(columns);
  const Array grad = noise(rows * columns);
  Array out(rows * columns), d_weight(columns * features);
  for (const float* constant : {static_cast<const float*>(nullptr), bias.data()}) {
    const snp::SpikeLinear forward{rows,       features,    columns,        nonzeros,
                                   bits.data(), graded ? x.data() : nullptr, weight.data(),
                                   constant,   nullptr,     out.data(),     scratch.at};
    snp_spike_linear_forward(&forward, threads);
  }
  const snp::SpikeLinear backward{rows,        features,    columns,         nonzeros,
                                  bits.data(), graded ? x.data() : nullptr, nullptr,
                                  nullptr,     grad.data(), d_weight.data(), scratch.at};
  snp_spike_linear_backward(&backward, threads);
}

struct Geometry {
  int64_t batch, groups, in_channels, out_channels, height, width, kernel, stride, padding, dilation;
};

void pooled_conv(const snp::SpikeConv& conv, const Array& x, const Array& weight, const Array& bias,
                 std::initializer_list<int64_t> out_size, int64_t window, int64_t step,
                 int threads) {
  snp::PooledConv args{conv, {window, window}, {step, step}, {}, nullptr, nullptr};
  int64_t count = conv.batch * conv.groups * conv.out_channels;
  for (int k = 0; k < 2; ++k) {
    args.pooled[k] = (out_size.begin()[k] - window) / step + 1;
    args.conv.out_size[k] = (args.pooled[k] - 1) * step + window;
    count *= args.pooled[k];
  }
  std::vector<uint8_t> which(count);
  Array out(count), d_weight(weight.size()), d_input(x.size());
  Scratch scratch(snp_pooled_conv_scratch(&args, threads));
  args.conv.scratch = scratch.at;
  args.conv.weight = weight.data();
  args.conv.output = out.data();
  args.which = which.data();
  for (const float* constant : {static_cast<const float*>(nullptr), bias.data()}) {
    args.conv.bias = constant;
    snp_pooled_conv_forward(&args, threads);
  }
  const Array grad = noise(count);
  args.conv.bias = nullptr;
  args.conv.grad = grad.data();
  for (const bool to_weight : {false, true}) {
    args.conv.output = to_weight ? d_weight.data() : nullptr;
    for (float* to_input : {static_cast<float*>(nullptr), d_input.data()}) {
      args.grad_input = to_input;
      snp_pooled_conv_backward(&args, threads);
    }
  }
}

void spike_conv(const Geometry& g, double density, float height, int threads) {
  const int64_t planes = g.groups * g.in_channels, targets = g.groups * g.out_channels;
  const int64_t reach = g.dilation * (g.kernel - 1);
  const int64_t out_height = (g.height + 2 * g.padding - reach - 1) / g.stride + 1;
  const int64_t out_width = (g.width + 2 * g.padding - reach - 1) / g.stride + 1;
  const int64_t features = planes * g.height * g.width;
  const Array x = spikes(g.batch * features, density, height);
  std::vector<uint64_t> bits(g.batch * ((features + 63) / 64));
  int32_t graded = 0;
  require(snp_spike_bits(x.data(), g.batch, features, g.batch * features, bits.data(), &graded,
                         threads) >= 0,
          "more values are not zero than there are");
  const Array weight = noise(targets * g.in_channels * g.kernel * g.kernel), bias = noise(targets);
  const Array grad = noise(g.batch * targets * out_height * out_width);
  Array out(grad.size()), d_weight(weight.size());
  snp::SpikeConv args{g.batch,
                      g.groups,
                      g.in_channels,
                      g.out_channels,
                      {g.height, g.width},
                      {out_height, out_width},
                      {g.kernel, g.kernel},
                      {g.stride, g.stride},
                      {g.padding, g.padding},
                      {g.dilation, g.dilation},
                      bits.data(),
                      graded ? x.data() : nullptr,
                      weight.data(),
                      nullptr,
                      nullptr,
                      out.data(),
                      nullptr};
  Scratch scratch(snp_spike_conv_scratch(&args, threads));
  args.scratch = scratch.at;
  for (const float* constant : {static_cast<const float*>(nullptr), bias.data()}) {
    args.bias = constant;
    snp_spike_conv_forward(&args, threads);
  }
  args.weight = args.bias = nullptr;
  args.grad = grad.data();
  args.output = d_weight.data();
  snp_spike_conv_backward(&args, threads);
  // Neighbouring taps have to be neighbours in memory; the large shape would take minutes, and it is
  // in parallel anyway.
  if (g.dilation > 1 || g.batch > 100) return;
  for (const int64_t window : {1, 2, 3}) {
    for (const int64_t step : {1, 2, 3}) {
      if (window > std::min(out_height, out_width)) continue;
      pooled_conv(args, x, weight, bias, {out_height, out_width}, window, step, threads);
    }
  }
}

// A product, and neurons that hear their own spikes through all weights, or one each, or none.
void spike_train(int64_t steps, int64_t batch, int64_t features, bool recurs, float inhibition,
                 int threads) {
  const int64_t width = batch * features, words = (features + 63) / 64;
  const Array cur = noise(steps * width), weight = noise(recurs ? features * features : 0);
  Array syn(width), mem(width), last(width), counts(width), potential(width), spk(steps * width);
  std::vector<int32_t> rest(width);
  const Scratch packed(4 * features * words * 64);
  const snp::SpikeTrain args{steps,
                             batch,
                             features,
                             2,
                             0.9f,
                             0.8f,
                             0.2f,
                             0.1f,
                             inhibition,
                             cur.data(),
                             recurs ? weight.data() : nullptr,
                             static_cast<float*>(packed.at),
                             syn.data(),
                             mem.data(),
                             rest.data(),
                             last.data(),
                             counts.data(),
                             potential.data(),
                             spk.data()};
  snp_spike_train_forward(&args, threads);
  std::vector<uint64_t> bits(steps * batch * words);
  int32_t graded = 0;
  snp_spike_bits(spk.data(), steps * batch, features, steps * width, bits.data(), &graded, threads);
  Array r(width), q(width), output((steps - steps / 2) * width), sums(width), rows(steps * width);
  const snp::SpikeTrainAdjoint back{steps / 2, steps, batch,       features, 2,        0.9f,
                                    0.8f,      0.2f,  bits.data(), r.data(), q.data(), output.data()};
  snp_spike_train_adjoint(&back, threads);
  snp_spike_rows(bits.data(), steps * batch, features, rows.data(), threads);
  require(rows == spk, "bits are not the spikes");
  snp_sum_at_spikes(bits.data(), nullptr, steps, batch, features, sums.data(), threads);
  require(sums == counts, "bits do not count the spikes");
  snp_sum_at_spikes(bits.data(), cur.data(), steps, batch, features, sums.data(), threads);
  for (const int64_t columns : {1, 33, 70}) {
    const Array values = noise(steps * batch * columns), matrix = noise(columns * features);
    Array outer(width * columns), product(width);
    const snp::SpikeProduct all{steps,         batch,         features,      columns,
                                bits.data(),   values.data(), matrix.data(), outer.data()};
    snp_outer_at_spikes(&all, threads);
    snp::SpikeProduct one = all;
    one.output = product.data();
    snp_product_at_spikes(&one, threads);
  }
}

void step(int64_t features, int64_t columns) {
  const int64_t stride = (columns + 15) / 16 * 16, most = std::max(features, columns);
  const Array weight = noise(features * stride), feedback = noise(columns * stride);
  const Array bias = noise(stride), own = noise(columns), beta(columns, 0.9f);
  const Array threshold(columns, 0.5f);
  std::vector<int32_t> index(most);
  Array value(most), sums(stride);
  for (int32_t reset = 0; reset <= snp::kZeroMembrane; ++reset) {
    for (int32_t options = 0; options < 32; ++options) {
      Array cur(stride), syn(columns), mem(columns), spk(stride);
      const bool recurrent = options & 1, itself = options >> 1 & 1, second = options >> 2 & 1;
      const snp::StepOp ops[2] = {
          {features, columns, stride, weight.data(), bias.data(), nullptr, nullptr, nullptr, nullptr,
           nullptr, nullptr, cur.data(), 1.0f, 0, 0, 0},
          {columns, columns, stride, recurrent ? feedback.data() : nullptr,
           recurrent ? bias.data() : nullptr, itself && !recurrent ? own.data() : nullptr,
           second ? beta.data() : nullptr, beta.data(), threshold.data(),
           second ? syn.data() : nullptr, mem.data(), spk.data(), 1.0f, reset, options >> 3 & 1,
           options >> 4 & 1}};
      const snp::StepPlan plan{2, ops, index.data(), value.data(), sums.data()};
      for (const float height : {1.0f, 0.5f}) snp_step(&plan, spikes(features, 0.4, height).data());
      const int64_t events[3] = {0, features - 1, 0};
      require(snp_step_events(&plan, events, 3) < 0, "an event inside was refused");
      const int64_t outside[2] = {0, features};
      require(snp_step_events(&plan, outside, 2) == 1, "an event outside was taken");
    }
  }
}

void frames(int64_t batch, int64_t steps, int64_t sensor, int64_t most, int threads) {
  std::mt19937 engine(2);
  const int64_t sites = sensor / 2 + 1;  // where the sites are mapped
  std::vector<std::vector<uint32_t>> times(batch), wide(batch);
  std::vector<std::vector<uint16_t>> narrow(batch);
  std::vector<uint64_t> time_at(batch), wide_at(batch), narrow_at(batch), map_at(batch);
  std::vector<int64_t> events(batch), fates(batch * snp::kFates);
  std::vector<int32_t> map(sensor);
  for (int32_t& place : map) place = static_cast<int32_t>(engine() % (sites + snp::kMasks));
  for (int64_t b = 0; b < batch; ++b) {
    events[b] = b * b * b * 97;  // one of them has more than 16 bits can count
    for (int64_t k = 0; k < events[b]; ++k) {
      times[b].push_back(engine() % 1200);
      // A few recordings are of another sensor.
      wide[b].push_back(engine() % (sensor + (b % 4 == 3)));
      narrow[b].push_back(static_cast<uint16_t>(wide[b].back()));
    }
    if (b % 5 != 4) std::sort(times[b].begin(), times[b].end());  // else not to be framed
    time_at[b] = reinterpret_cast<uint64_t>(times[b].data());
    wide_at[b] = reinterpret_cast<uint64_t>(wide[b].data());
    narrow_at[b] = reinterpret_cast<uint64_t>(narrow[b].data());
    map_at[b] = reinterpret_cast<uint64_t>(map.data());
  }
  Array floats(steps * batch * sensor);
  std::vector<uint8_t> bytes(floats.size());
  const bool in_order = batch < 4;
  for (int options = 0; options < 16; ++options) {
    const bool small = options & 1, uint8 = options & 2, mapped = options & 4, streams = options & 8;
    const snp::Frames args{batch, steps, mapped ? sites : sensor, sensor, 100, 1000, most,
                           small ? 2 : 4, uint8, in_order, streams, time_at.data(),
                           small ? narrow_at.data() : wide_at.data(), mapped ? map_at.data() : nullptr,
                           events.data(),
                           uint8 ? static_cast<void*>(bytes.data()) : floats.data(), fates.data()};
    snp_frames(&args, threads);
    for (int64_t b = 0; b < batch; ++b) {
      const int64_t* fate = &fates[b * snp::kFates];
      int64_t sum = 0;
      for (int k = snp::kKept; k < snp::kUnsorted; ++k) sum += fate[k];
      require(fate[snp::kUnsorted] || fate[snp::kForeign] || sum == events[b], "events are lost");
    }
  }
}

void arrive(int64_t count, int threads) {
  std::vector<uint8_t> bytes(count, 7), same(count);
  Array floats(count);
  for (const bool widens : {false, true}) {
    int64_t held = 1;
    const snp::Arrival args{count, widens, bytes.data(),
                            widens ? static_cast<void*>(floats.data()) : same.data(), &held};
    snp_arrive(&args, threads);
    require(held == 0 && (count == 0 || (widens ? floats[count - 1] : same[count - 1]) == 7),
            "frames did not arrive");
  }
}

void events(int64_t count, int64_t width, int64_t height) {
  std::mt19937 engine(3);
  std::vector<uint8_t> bytes(count * 5);
  for (uint8_t& b : bytes) b = static_cast<uint8_t>(engine());
  // Low addresses and one time, so that some are whole recordings.
  for (int64_t j = 0; j < count; ++j) {
    bytes[5 * j] %= width;
    bytes[5 * j + 1] = engine() % 9 ? bytes[5 * j + 1] % height : 240;
    for (int k = 2; k < 5; ++k) bytes[5 * j + k] = j == count / 2 && count > 50 ? 255 : 3;
  }
  for (const int32_t size : {2, 4}) {
    std::vector<uint32_t> t(count), t_out(count);
    std::vector<uint8_t> site(count * size), site_out(count * size);
    snp::EventParse parse{bytes.data(), count, width, height, 2, size, t.data(), site.data(), -1};
    const int64_t kept = snp_parse_events(&parse);
    require(kept <= count && (kept >= 0 || parse.bad < count), "an event out of the file");
    if (kept < 0) continue;
    std::vector<int64_t> fired(width * height), seen((width + 2) * (height + 2));
    for (const int64_t background : {0, 5000}) {
      snp::EventFilter filter{kept,         width,         height,           300,
                              background,   size,          t.data(),         site.data(),
                              t_out.data(), site_out.data(), fired.data(), seen.data(), 0, 0};
      const int64_t left = snp_filter_events(&filter);
      require(left + filter.refractory + filter.isolated == kept, "events are lost");
    }
  }
}

// Levels of random walks, with too little room for the events first.
void crossings(int64_t pixels, int64_t steps, double refractory_steps) {
  const Array level = noise(pixels * steps);
  Array reference(pixels);
  for (int64_t p = 0; p < pixels; ++p) reference[p] = level[p * steps] + 0.1f;
  int64_t room = 1, found;
  do {
    std::vector<int64_t> pixel(room);
    std::vector<double> time(room);
    std::vector<uint8_t> is_on(room);
    const snp::Crossings args{pixels,           steps, level.data(), reference.data(), 0.2f, 0.3f,
                              refractory_steps, room,  pixel.data(), time.data(),      is_on.data()};
    found = snp_crossings(&args);
    for (int64_t k = 0; k < std::min(room, found); ++k)
      require(pixel[k] < pixels && time[k] < static_cast<double>(steps), "an event out of range");
    if (found <= room) return;
    room = found;
  } while (true);
}

void kernels(int threads) {
  for (const double refractory : {0.0, 0.4, 3.0})
    for (const int64_t steps : {1, 2, 50}) crossings(9, steps, refractory);
  neurons(threads);
  for (const int64_t rows : {0, 1, 5, 200})
    for (const int64_t sites : {1, 7, 257})
      for (const float height : {1.0f, 1.25f}) count(rows, sites, height, threads);
  for (const int64_t rows : {1, 64, 200})
    for (const int64_t features : {1, 63, 64, 130})
      for (const int64_t columns : {1, 64, 70})
        for (const float height : {1.0f, 0.5f})
          spike_linear(rows, features, columns, 0.2, height, threads);
  spike_linear(128, 4200, 3, 0.01, 1.0f, threads);   // more sources than are packed at a time
  spike_linear(4200, 260, 3, 0.15, 1.0f, threads);   // large enough for every parallel part
  for (const float height : {1.0f, 0.5f}) {
    spike_conv({5, 1, 2, 12, 9, 10, 5, 1, 0, 1}, 0.2, height, threads);
    spike_conv({3, 2, 3, 17, 8, 7, 3, 2, 1, 2}, 0.2, height, threads);
    spike_conv({3, 2, 5, 33, 9, 8, 5, 1, 4, 1}, 0.5, height, threads);  // row by row
    spike_conv({2, 3, 1, 1, 6, 6, 1, 1, 0, 1}, 0.5, height, threads);
  }
  spike_conv({150, 1, 12, 64, 15, 15, 5, 1, 2, 1}, 0.02, 1.0f, threads);  // runs in parallel
  for (const int64_t features : {1, 31, 64, 130})
    for (const bool recurs : {false, true})
      for (const float inhibition : {0.0f, 0.5f})
        spike_train(7, 3, features, recurs, inhibition, threads);
  spike_train(3, 2, 1030, false, 0.0f, threads);  // more than pass through time together
  for (const int64_t features : {1, 17, 130})
    for (const int64_t columns : {1, 16, 33}) step(features, columns);
  for (const int64_t batch : {1, 10}) frames(batch, 7, 30, batch == 1 ? 1 : 255, threads);
  frames(3, 4, 3001, 1, threads);  // rows long enough to go past the caches
  for (const int64_t count : {0, 1, 70000, 400001}) arrive(count, threads);
  for (const int64_t count : {0, 1, 40, 60}) events(count, 17, 9);
}

// Head of a DLManagedTensor, as far as a user of one needs it.
struct Managed {
  float* data;
  struct {
    int32_t type, id, ndim;
    uint8_t code, bits;
    uint16_t lanes;
    int64_t *shape, *strides;
    uint64_t offset;
  } rest;
  void* context;
  void (*deleter)(Managed*);
};

void use_pool(int64_t seed) {
  std::mt19937 engine(static_cast<unsigned>(seed));
  std::vector<Managed*> held;
  for (int k = 0; k < 3000; ++k) {
    // Turns, or each would be done before the next starts and no two would meet.
    if (k % 3 == 0) std::this_thread::yield();
    const int64_t size = 16 * (1 + engine() % 5);
    auto* tensor = static_cast<Managed*>(snp_pool_tensor(size));
    require(tensor != nullptr, "no memory");
    for (int64_t j = 0; j < size; ++j) tensor->data[j] = static_cast<float>(seed);
    held.push_back(tensor);
    if (k % 50 == 49) snp_pool_limit(k % 100 == 99 ? 1 << 20 : 256);
    if (k % 70 == 69) snp_pool_clear();
    require(snp_pool_kept() >= 0, "less than nothing is kept");
    while (held.size() > engine() % 8) {
      require(held.back()->data[0] == static_cast<float>(seed), "two have the same memory");
      held.back()->deleter(held.back());
      held.pop_back();
    }
  }
  for (Managed* tensor : held) tensor->deleter(tensor);
}

template <class Work>
void at_once(int callers, Work work) {
  std::vector<std::thread> threads;
  for (int k = 0; k < callers; ++k) threads.emplace_back(work, k);
  for (std::thread& thread : threads) thread.join();
}

[[gnu::noinline]] void race() {
  int64_t sum = 0;
#pragma omp parallel for num_threads(4) schedule(static)
  for (int64_t k = 0; k < 4000; ++k) sum += k;
  std::printf("%ld\n", static_cast<long>(sum));
}

// Rows of bits that are one word too short, as a kernel that miscounts its words would find them.
[[gnu::noinline]] void overflow() {
  const Array x = spikes(3 * 65, 0.5, 1.0f);
  std::vector<uint64_t> bits(3 * 2 - 1);
  int32_t graded = 0;
  snp_spike_bits(x.data(), 3, 65, 3 * 65, bits.data(), &graded, 1);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "race") == 0) {
    race();
    return 0;
  }
  if (argc > 1 && std::strcmp(argv[1], "overflow") == 0) {
    overflow();
    return 0;
  }
#if defined(__SANITIZE_THREAD__)
  constexpr int kFewest = 2;  // one thread has nobody to race with
#else
  constexpr int kFewest = 1;
#endif
  for (int isa = 0; isa < 3; ++isa) {
    if (!snp_use_isa(isa)) continue;
    for (int threads = kFewest; threads <= 4; ++threads) kernels(threads);
    std::printf("%s\n", snp_isa());
  }
  // Two callers at a time, such as the backward passes of two losses.
  at_once(2, [](int) { count(200, 257, 1.0f, 2); });
  at_once(4, use_pool);
  snp_pool_clear();
}
