// What the kernels take, and the table of one instruction set.
#pragma once

#include <cstdint>

namespace snp {

// Surrogate derivatives; the numbers are those of snnplug/kernels/dynamics.py.
enum Surrogate : int32_t {
  kHardFire = 0,
  kStraightThrough = 1,
  kAtan = 2,
  kFastSigmoid = 3,
  kSparseFastSigmoid = 4,
  kTriangular = 5,
  kSigmoid = 6,
  kGaussian = 7,
  kMultiGaussian = 8,
};

// Most numbers in the equation of a surrogate.
constexpr int kConstants = 5;

// "zero" clears the whole update of a membrane; kZeroMembrane, the "zero" of first-order neurons that
// hear no spikes, clears the membrane and keeps the input of that step.
enum Reset : int32_t { kSubtract = 0, kZero = 1, kNone = 2, kZeroMembrane = 3 };

// A layer of neurons over a sequence. Arrays are (steps, width) or (width) with width = batch *
// features; parameters have one value per feature and are read at index % features.
struct Neurons {
  int64_t steps, width, features;
  int32_t reset, surrogate;
  int32_t attached;   // the gradient flows through the reset
  int32_t inclusive;  // fires at the threshold
  int32_t immediate;  // a spike resets the membrane in its own step, not in the next
  int32_t learned;    // backward: gradients of the parameters are wanted
  float graded;       // height of a spike
  float constants[kConstants];  // of the surrogate
  const float* cur;
  const float* mem0;  // state before the first step
  const float* syn0;  // or null: first order
  const float* spk0;  // or null: hears no spikes
  const float* alpha;  // where there is a syn0
  const float* beta;
  const float* threshold;
  const float* own;     // from each neuron to itself, or null
  const float* weight;  // (features, features) from all to all, or null
  const float* bias;    // (features), or null
};

// What the backward pass of neurons with a dense recurrence needs of each step, (steps, width) each.
struct Trace {
  float* potential;  // what is compared with the threshold
  float* mem;        // after the step, or null where it is the potential
  float* syn;        // after the step, or null where no gradient of alpha is wanted
  float* pre;        // before the reset, or null unless a reset to zero is attached
};

struct NeuronsForward {
  Neurons layer;
  float* spk;  // (steps, width)
  float* syn;  // (width), state after the last step
  float* mem;
  // With a dense recurrence only:
  Trace trace;     // filled, unless `potential` is null
  float* scratch;  // features x features rounded up to 64
};

// Gradients; those of the parameters are per neuron and sample.
struct NeuronsBackward {
  Neurons layer;
  const float *grad_spk, *grad_syn, *grad_mem;  // the last two null where nothing depends on them
  float* grad_cur;  // (steps, width)
  float *grad_spk0, *grad_syn0, *grad_mem0;
  float *grad_alpha, *grad_beta, *grad_threshold, *grad_own, *grad_graded;
  // With a dense recurrence only, which reads no `cur`:
  Trace trace;
  float* scratch;
  uint64_t* bits;  // ((steps - 1) * batch, features / 64 rounded up), of the spikes but the last
};

// A product with a mostly zero matrix x (rows, features), known by its bits (rows, features / 64
// rounded up): bit j % 64 of word j / 64 is set where x is not zero.
struct SpikeLinear {
  int64_t rows, features, columns;
  int64_t nonzeros;
  const uint64_t* bits;
  const float* x;       // or null: every value that is not zero is 1
  const float* weight;  // (columns, features), forward only
  const float* bias;    // (columns), or null
  const float* grad;    // (rows, columns), of the output; backward only
  float* output;        // (rows, columns); backward: (columns, features)
  void* scratch;        // as many bytes as spike_scratch returns
};

// A 2-d convolution of mostly zero images, known by their bits as in SpikeLinear: one row per image.
struct SpikeConv {
  int64_t batch, groups;
  int64_t in_channels, out_channels;  // per group
  int64_t in_size[2], out_size[2], kernel[2], stride[2], padding[2], dilation[2];
  const uint64_t* bits;
  const float* x;       // or null: every value that is not zero is 1
  const float* weight;  // (groups * out_channels, in_channels, *kernel), forward only
  const float* bias;    // (groups * out_channels), or null
  const float* grad;    // of the output; backward only
  float* output;        // (batch, groups * out_channels, *out_size); backward: as the weight
  void* scratch;        // as many bytes as spike_conv_scratch returns
};

// A convolution as in SpikeConv, and the largest output of each window. conv.out_size is as much as
// the windows cover; conv.output, and conv.grad of the backward pass, are of the windows.
struct PooledConv {
  SpikeConv conv;     // backward: the weight too if grad_input is asked for; output may be null
  int64_t window[2], step[2];
  int64_t pooled[2];  // windows down and across
  uint8_t* which;     // (batch, *pooled, groups * out_channels): the place in the window, row by row
  float* grad_input;  // as the images, or null; backward only
};

// One operation of a chain that advances by one time step for one sample. A product has no `mem`.
// Rows of weights are `stride` long, a multiple of 16, the rest of each zero.
struct StepOp {
  int64_t features, columns, stride;
  const float* weight;  // (features, stride), also from the spikes of neurons to themselves; or null
  const float* bias;    // (stride), where there is a weight
  const float* own;     // (columns), from each neuron to itself, or null
  const float* alpha;   // (columns), where there is a `syn`
  const float* beta;    // (columns), or null: the membrane is the current
  const float* threshold;
  float* syn;     // (columns), or null
  float* mem;     // (columns)
  float* output;  // (stride): the currents, or the spikes of this step, which neurons read in the next
  float graded;
  int32_t reset;                 // a Reset
  int32_t inclusive, immediate;  // as in Neurons
};

struct StepPlan {
  int64_t count;
  const StepOp* ops;  // the first one is a product
  int32_t* index;     // (most features)
  float* value;       // (most features)
  float* feedback;    // (largest stride)
};

// What becomes of events on their way into a frame: one column of counts each. The last two say that
// the recording is not in order of time, or has a site beyond the sensor, and could not be framed.
enum Fate : int32_t { kKept = 0, kBefore, kAfter, kClipped, kMasked, kUnsorted = 6, kForeign, kFates };

// Reasons that a map can have to mask a site.
constexpr int kMasks = 2;

// Some steps of neurons with a synaptic current, a hard reset and a refractory time, (batch, features);
// fields as in snnplug/kernels/spike_train.py. The state is changed in place.
struct SpikeTrain {
  int64_t steps, batch, features;
  int32_t refractory;  // steps
  float decay_mem, decay_syn;
  float gain;          // of the membrane from the synaptic current
  float limit;         // that the membrane has to exceed
  float inhibition;    // from a spike to all others of the layer
  const float* cur;    // (steps, batch, features)
  const float* weight;  // (features, features), or null
  float* scratch;       // where there is a weight: features x features rounded up to 64
  float *syn, *mem;
  int32_t* rest;        // refractory steps to go
  float* last;          // spikes of the step before
  float *counts, *potential;  // added to: spikes, and the membrane at them
  float* spk;           // (steps, batch, features)
};

// x[t] of steps first to last of trains that are known by their bits, (all steps, batch, features / 64
// rounded up); r and q (batch, features) are those of step `last` and become those of `first`.
struct SpikeTrainAdjoint {
  int64_t first, last, batch, features;
  int32_t refractory;
  float decay_mem, decay_syn, gain;
  const uint64_t* bits;
  float *r, *q;
  float* output;  // (last - first, batch, features)
};

// Frames of a batch of recordings; fields as in snnplug/kernels/frames.py.
struct Frames {
  int64_t batch, steps, sites, sensor;
  int64_t start_us, duration_us;
  int64_t most;           // a value of the output is clipped to this
  int32_t site_bytes;     // 2 or 4
  int32_t is_uint8;       // else float32
  int32_t in_order;       // times are known to ascend: no need to look
  int32_t streams;        // the output goes past the caches
  const uint64_t* times;  // (batch), addresses of uint32 µs
  const uint64_t* where;  // (batch), addresses of the sites, below `sensor`
  const uint64_t* maps;   // (batch), addresses of int32 (sensor): the site in the frame, or `sites` + r
                          // where reason r masks it; null where it is the same
  const int64_t* events;  // (batch)
  void* output;           // (steps, batch, sites)
  int64_t* fates;         // (batch, kFates)
};

// A recording in the N-MNIST format; fields as in snnplug/kernels/event_parse.py.
struct EventParse {
  const uint8_t* bytes;  // 5 per event
  int64_t events;
  int64_t width, height, polarities;
  int32_t site_bytes;  // 2 or 4
  uint32_t* t;         // room for `events` each
  void* site;
  int64_t bad;  // where -1 is returned: which of the events, overflows not counted, is out of range
};

// Events in order of time; fields as in snnplug/kernels/event_filter.py.
struct EventFilter {
  int64_t events, width, height;
  int64_t refractory_us, background_us;
  int32_t site_bytes;  // 2 or 4
  const uint32_t* t;
  const void* site;
  uint32_t* t_out;  // room for `events` each
  void* site_out;
  int64_t* fired;  // (width * height)
  int64_t* seen;   // ((width + 2) * (height + 2))
  int64_t refractory, isolated;  // how many were dropped
};

// Threshold crossings of levels; fields as in snnplug/kernels/crossings.py.
struct Crossings {
  int64_t pixels, steps;
  const float* level;      // (pixels, steps)
  const float* reference;  // (pixels)
  float on, off;
  double refractory_steps;
  int64_t capacity;        // room for so many events in each of:
  int64_t* pixel;
  double* time;            // in steps
  uint8_t* is_on;
};

// Spikes of senders and values of receivers; fields as in snnplug/kernels/native_spike_train.py.
struct SpikeProduct {
  int64_t steps, batch, features, columns;
  const uint64_t* bits;   // (steps, batch, words of features)
  const float* values;    // (steps, batch, columns)
  const float* weight;    // (columns, features), for the product
  float* output;          // (batch, features, columns) or, for the product, (batch, features)
};

struct Table {
  void (*neurons_forward)(const NeuronsForward&, int threads);
  void (*neurons_backward)(const NeuronsBackward&, int threads);
  void (*recurrent_forward)(const NeuronsForward&, int threads);
  int64_t (*recurrent_backward)(const NeuronsBackward&, int threads);  // returns the bits that are set
  // Returns how many values equal spike if all others are 0, else -1; adds to counts (sites) if given.
  int64_t (*count_spikes)(const float* values, int64_t rows, int64_t sites, float spike,
                          int64_t* counts, int threads);
  // Adds to each of the 64 * words counts in how many rows its bit is set.
  void (*count_bits)(const uint64_t* bits, int64_t rows, int64_t words, int64_t* counts);
  // Returns how many values are not zero, or -1 (and bits without meaning) if more than `most`, or
  // if a few rows have more than their share of it; sets graded if one of them is not 1.
  // Without bits looks at those few rows only, and returns 0 or -1.
  int64_t (*spike_bits)(const float* x, int64_t rows, int64_t features, int64_t most,
                        uint64_t* bits, int32_t* graded, int threads);
  int64_t (*spike_scratch)(int64_t rows, int64_t features, int64_t nonzeros, int threads);
  void (*spike_linear_forward)(const SpikeLinear&, int threads);
  void (*spike_linear_backward)(const SpikeLinear&, int threads);
  int64_t (*spike_conv_scratch)(const SpikeConv&, int threads);
  void (*spike_conv_forward)(const SpikeConv&, int threads);
  void (*spike_conv_backward)(const SpikeConv&, int threads);
  int64_t (*pooled_conv_scratch)(const PooledConv&, int threads);
  void (*pooled_conv_forward)(const PooledConv&, int threads);
  void (*pooled_conv_backward)(const PooledConv&, int threads);
  void (*spike_train_forward)(const SpikeTrain&, int threads);
  void (*spike_train_adjoint)(const SpikeTrainAdjoint&, int threads);
  void (*spike_rows)(const uint64_t* bits, int64_t rows, int64_t features, float* values,
                     int threads);
  // Adds to sums (batch, features) the values (steps, batch, features), or without them 1, where a
  // bit is set.
  void (*sum_at_spikes)(const uint64_t* bits, const float* values, int64_t steps, int64_t batch,
                        int64_t features, float* sums, int threads);
  // Adds to output, at the feature of each spike, the values of its row.
  void (*outer_at_spikes)(const SpikeProduct&, int threads);
  // Adds to output, at the feature of each spike, the values of its row times its weights.
  void (*product_at_spikes)(const SpikeProduct&, int threads);
  // Takes a frame, or without one the addresses of its spikes. Returns -1, or the position of an
  // event outside the frame; nothing has then changed.
  int64_t (*step)(const StepPlan&, const float* input, const int64_t* events, int64_t count);
  void (*frames)(const Frames&, int threads);
};

}  // namespace snp
