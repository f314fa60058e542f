// The weights of layers: how they are read from a file, and lie on a device.
#pragma once

#include <string>
#include <vector>

#include "core/owned.h"
#include "files/safetensors.h"
#include "network/plan.h"

namespace pconv::network {

// Where tensors are read from by name; faults name it.
class WeightFile {
  public:
    WeightFile() = default;
    WeightFile(const WeightFile&) = delete;
    WeightFile& operator=(const WeightFile&) = delete;
    virtual ~WeightFile() = default;
    // Of this shape, or a fault.
    virtual std::vector<float> read(const std::string& name, const std::vector<int64_t>& shape) = 0;
    // Whether there is one that may be missing.
    virtual bool has(const std::string& name, const std::vector<int64_t>& shape) = 0;
};

// A safetensors file of F32, F16 or BF16, with what stands before every name in it.
class SafetensorsWeights final : public WeightFile {
  public:
    SafetensorsWeights(const char* path, std::string prefix) : file_(path), prefix_(std::move(prefix)) {}
    std::vector<float> read(const std::string& name, const std::vector<int64_t>& shape) override;
    bool has(const std::string& name, const std::vector<int64_t>& shape) override;

  private:
    SafetensorsReader file_;
    std::string prefix_;
};

// What the caller's function gives; where it is only asked, zeros.
class CallersWeights final : public WeightFile {
  public:
    CallersWeights(PconvTensorSource source, void* user, bool ask_only)
        : source_(source), user_(user), ask_only_(ask_only) {}
    std::vector<float> read(const std::string& name, const std::vector<int64_t>& shape) override;
    bool has(const std::string& name, const std::vector<int64_t>& shape) override;

  private:
    PconvTensorSource source_;
    void* user_;
    bool ask_only_;
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
