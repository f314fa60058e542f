// The passes over tensors of any data type: 16-bit elements go through a piece of f32 that stays in cache.
#pragma once

#include <memory>

#include "cpu/device.h"
#include "cpu/passes/passes.h"

namespace pconv::cpu {

// Room for such pieces, for each thread; none for f32.
class Staging {
  public:
    Staging() = default;
    Staging(CpuDevice& device, DataType type, int64_t most_channels);
    float* of(int thread) const;
    int64_t pixels(int64_t channels) const { return size_ / channels; }

  private:
    std::shared_ptr<Buffer> buffer_;
    int64_t size_ = 0;  // floats
};

// Each with the pass's pointer into the tensor left out: that is `at`. `planes` are the run's, moved on.
void loadTyped(LoadRun run, const void** planes, DataType type, const void* at, const Staging& staging,
               int thread);
void storeTyped(StoreRun run, DataType type, void* at, const Staging& staging, int thread);
void unloadTyped(UnloadRun run, const void** planes, DataType type, void* at, const Staging& staging,
                 int thread);
void sumBiasTyped(BiasRun run, DataType type, const void* at, const Staging& staging, int thread);

}  // namespace pconv::cpu
