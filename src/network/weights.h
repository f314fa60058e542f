// The weights of layers: how they are read from a file, and lie on a device.
#pragma once

#include <string>
#include <vector>

#include "core/owned.h"
#include "files/safetensors.h"
#include "network/plan.h"

namespace pconv::network {

// An open file, with what stands before every name in it; faults name it.
class WeightFile {
  public:
    WeightFile(const char* path, std::string prefix) : file_(path), prefix_(std::move(prefix)) {}
    // F32, F16 or BF16 of this shape, or a fault.
    std::vector<float> read(const std::string& name, const std::vector<int64_t>& shape);
    // From now on names, shapes and types alone are looked at; what is read is zeros.
    void checkOnly() { check_only_ = true; }
    bool has(const std::string& name) const { return file_.find(prefix_ + name) != nullptr; }

  private:
    SafetensorsReader file_;
    std::string prefix_;
    bool check_only_ = false;
};

struct LayerWeights {
    std::vector<int64_t> shape;
    std::vector<float> weight, bias;
    bool vectors = false;  // F32 whatever the network's type
};

// y * scale + shift is the batch normalization at inference.
struct FoldedNorm {
    std::vector<double> scale, shift;
};
FoldedNorm readBatchNorm(WeightFile& file, const std::string& name, int64_t channels, double eps);

// The convolution's weights of this shape, its batch normalization folded in.
LayerWeights readConvolution(WeightFile& file, const Layer& layer, const std::vector<int64_t>& shape);

// A contiguous tensor on a device.
struct Uploaded {
    OwnedBuffer buffer;
    PconvTensor view{};
    const PconvTensor* get() const { return buffer ? &view : nullptr; }
};
Uploaded upload(PconvDevice device, const std::vector<float>& values, const std::vector<int64_t>& shape,
                DataType type);
// A copy of the caller's.
Uploaded copyOf(PconvDevice device, const PconvTensor& tensor);

}  // namespace pconv::network
