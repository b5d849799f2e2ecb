// Frames in memory that processes share; fields as in snnplug/kernels/arrival.py.
#pragma once

#include <cstdint>

namespace snp {

struct Arrival {
  int64_t count;
  int32_t widens;        // to float32; else bytes stay bytes
  const uint8_t* bytes;  // (count)
  void* output;          // (count)
  int64_t* held;         // set to 0 once all is read
};

}  // namespace snp
