// pconv for C++17: the C API with ownership and exceptions. Header-only; shapes, units, threads and errors
// are as pconv.h documents them. Objects are movable handles; a failure throws pconv::Error with the C API's
// line.
#ifndef PCONV_PCONV_HPP
#define PCONV_PCONV_HPP

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "pconv/models.h"
#include "pconv/network.h"
#include "pconv/pconv.h"

namespace pconv {
// Versioned, so that nothing here is the library's own class of the same name.
inline namespace v0 {

#if defined(_WIN32)
class Error : public std::runtime_error {
#else
class __attribute__((visibility("default"))) Error : public std::runtime_error {
#endif
  public:
    Error(PconvStatus status, const std::string& line) : std::runtime_error(line), status_(status) {}
    PconvStatus status() const noexcept {
        return status_;
    }

  private:
    PconvStatus status_;
};

namespace detail {

inline void check(PconvStatus status) {
    if (status != PCONV_SUCCESS) throw Error(status, pconvGetLastError());
}

template <typename Handle, void (*release)(Handle)>
class Owner {
  public:
    Owner() = default;
    explicit Owner(Handle handle) : handle_(handle) {}
    Owner(Owner&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    Owner& operator=(Owner&& other) noexcept {
        if (this != &other) {
            release(handle_);
            handle_ = std::exchange(other.handle_, nullptr);
        }
        return *this;
    }
    Owner(const Owner&) = delete;
    Owner& operator=(const Owner&) = delete;
    ~Owner() { release(handle_); }
    // The C handle, still owned by this object.
    Handle get() const noexcept { return handle_; }

  protected:
    Handle handle_ = nullptr;
};

}  // namespace detail

// Of an element, or of a word of bits.
inline size_t sizeOf(PconvDataType type) {
    if (type == PCONV_DATA_TYPE_F32 || type == PCONV_DATA_TYPE_BITS) return 4;
    return type == PCONV_DATA_TYPE_U8 ? 1 : 2;
}

// Settings of a partial convolution; the fields are those of PconvPartialConvDesc, with these defaults.
struct PartialConvDesc : PconvPartialConvDesc {
    explicit PartialConvDesc(int dimensions)
        : PconvPartialConvDesc(pconvDefaultPartialConvDesc(dimensions)) {}

    // The same kernel, stride and dilation in each dimension, with the padding that keeps the size at stride
    // 1: PyTorch's 'same', which has an odd element behind.
    static PartialConvDesc same(int64_t batch, int64_t in_channels, int64_t out_channels,
                                const std::vector<int64_t>& input_size, int64_t kernel, int64_t stride = 1,
                                int64_t dilation = 1) {
        if (input_size.empty() || input_size.size() > PCONV_MAX_SPATIAL_DIMS)
            throw Error(PCONV_ERROR_INVALID_ARGUMENT, "input_size has " + std::to_string(input_size.size()) +
                                                          " entries; expected 1, 2 or 3");
        PartialConvDesc desc(static_cast<int>(input_size.size()));
        desc.batch = batch;
        desc.in_channels = in_channels;
        desc.out_channels = out_channels;
        for (size_t i = 0; i < input_size.size(); ++i) {
            desc.input_size[i] = input_size[i];
            desc.kernel[i] = kernel;
            desc.stride[i] = stride;
            desc.dilation[i] = dilation;
            const int64_t padding = dilation * (kernel - 1);
            desc.padding[i] = padding / 2;
            if (padding % 2 != 0) desc.padding_end[i] = padding - padding / 2;
        }
        return desc;
    }

    std::vector<int64_t> outputSize() const {
        int64_t size[PCONV_MAX_SPATIAL_DIMS];
        detail::check(pconvGetOutputSize(this, size));
        return {size, size + spatial_dims};
    }
};

inline std::vector<PconvDeviceInfo> devices() {
    int32_t count = 0;
    detail::check(pconvGetDeviceCount(&count));
    std::vector<PconvDeviceInfo> infos(static_cast<size_t>(count), pconvDefaultDeviceInfo());
    for (int32_t i = 0; i < count; ++i) detail::check(pconvGetDeviceInfo(i, &infos[static_cast<size_t>(i)]));
    return infos;
}

class Device : public detail::Owner<PconvDevice, pconvReleaseDevice> {
  public:
    // "" as in pconvCreateDevice(NULL): PCONV_DEVICE, else the preferred device.
    explicit Device(const std::string& selector = {}, const PconvDeviceOptions* options = nullptr) {
        detail::check(pconvCreateDevice(selector.empty() ? nullptr : selector.c_str(), options, &handle_));
    }
    // The host's own device; `native` starts from pconvDefaultNativeDevice.
    static Device adopt(const PconvNativeDevice& native, const PconvDeviceOptions* options = nullptr) {
        PconvDevice handle = nullptr;
        detail::check(pconvAdoptDevice(&native, options, &handle));
        return Device(handle);
    }
    PconvDeviceInfo info() const {
        PconvDeviceInfo info = pconvDefaultDeviceInfo();
        detail::check(pconvGetInfoOfDevice(handle_, &info));
        return info;
    }
    std::vector<PconvImplementationInfo> implementations(const PconvPartialConvDesc& desc) const {
        int32_t count = 0;
        detail::check(pconvGetImplementationCount(handle_, &count));
        std::vector<PconvImplementationInfo> rows(static_cast<size_t>(count),
                                                  pconvDefaultImplementationInfo());
        for (int32_t i = 0; i < count; ++i)
            detail::check(pconvGetImplementationInfo(handle_, i, &desc, &rows[static_cast<size_t>(i)]));
        return rows;
    }
    void wait() const { detail::check(pconvWait(handle_)); }

  private:
    explicit Device(PconvDevice handle) : Owner(handle) {}
};

// Time on the device's own clock between two points of its queue.
class Timer : public detail::Owner<PconvTimer, pconvReleaseTimer> {
  public:
    explicit Timer(const Device& device) { detail::check(pconvCreateTimer(device.get(), &handle_)); }
    void start() const { detail::check(pconvStartTimer(handle_)); }
    void stop() const { detail::check(pconvStopTimer(handle_)); }
    double seconds() const {
        double seconds = 0;
        detail::check(pconvGetTimerSeconds(handle_, &seconds));
        return seconds;
    }
};

class Buffer : public detail::Owner<PconvBuffer, pconvReleaseBuffer> {
  public:
    Buffer() = default;
    Buffer(const Device& device, size_t bytes) {
        detail::check(pconvCreateBuffer(device.get(), bytes, &handle_));
    }
    // Uses the caller's memory in place, which must outlive the buffer.
    static Buffer import(const Device& device, void* memory, size_t bytes) {
        Buffer buffer;
        detail::check(pconvImportHostBuffer(device.get(), memory, bytes, &buffer.handle_));
        return buffer;
    }
    // Uses device memory of the host's, by its CUdeviceptr or VkBuffer, which must outlive the buffer.
    static Buffer importNative(const Device& device, uint64_t handle, size_t bytes, size_t offset = 0) {
        Buffer buffer;
        detail::check(pconvImportNativeBuffer(device.get(), handle, offset, bytes, &buffer.handle_));
        return buffer;
    }
    // Uses memory that another device or interface allocated on the same hardware.
    static Buffer importExternal(const Device& device, const PconvExternalMemory& memory, size_t bytes) {
        Buffer buffer;
        detail::check(pconvImportExternalBuffer(device.get(), &memory, bytes, &buffer.handle_));
        return buffer;
    }
    void write(const void* source, size_t bytes, size_t offset = 0) const {
        detail::check(pconvWriteBuffer(handle_, offset, source, bytes));
    }
    void read(void* destination, size_t bytes, size_t offset = 0) const {
        detail::check(pconvReadBuffer(handle_, offset, destination, bytes));
    }
    size_t size() const {
        size_t bytes = 0;
        detail::check(pconvGetBufferSize(handle_, &bytes));
        return bytes;
    }
    void* pointer() const {
        void* memory = nullptr;
        detail::check(pconvGetBufferPointer(handle_, &memory));
        return memory;
    }
};

// A view of a whole buffer, contiguous.
inline PconvTensor view(PconvBuffer buffer, const std::vector<int64_t>& dims,
                        PconvDataType data_type = PCONV_DATA_TYPE_F32, size_t offset = 0) {
    if (dims.empty() || dims.size() > PCONV_MAX_DIMS)
        throw Error(PCONV_ERROR_INVALID_ARGUMENT, "a view has 1 to 5 dimensions");
    PconvTensor tensor{};
    tensor.buffer = buffer;
    tensor.offset = offset;
    tensor.data_type = data_type;
    tensor.rank = static_cast<int32_t>(dims.size());
    for (size_t i = 0; i < dims.size(); ++i) tensor.dims[i] = dims[i];
    return tensor;
}

// A contiguous array with a buffer of its own.
class Tensor {
  public:
    Tensor(const Device& device, const std::vector<int64_t>& dims,
           PconvDataType data_type = PCONV_DATA_TYPE_F32)
        : dims_(dims),
          bytes_(byteCount(dims, data_type)),
          buffer_(device, bytes_),
          view_(pconv::view(buffer_.get(), dims, data_type)) {}

    template <typename T>
    Tensor(const Device& device, const std::vector<int64_t>& dims, const std::vector<T>& values)
        : Tensor(device, dims, typeOf(T{})) {
        write(values);
    }

    template <typename T>
    void write(const std::vector<T>& values) {
        checkBytes(values.size() * sizeof(T));
        buffer_.write(values.data(), bytes_);
    }
    template <typename T>
    std::vector<T> read() const {
        std::vector<T> values(bytes_ / sizeof(T));
        checkBytes(values.size() * sizeof(T));
        buffer_.read(values.data(), bytes_);
        return values;
    }
    const PconvTensor& view() const noexcept { return view_; }
    const std::vector<int64_t>& dims() const noexcept { return dims_; }
    const Buffer& buffer() const noexcept { return buffer_; }

  private:
    static PconvDataType typeOf(float /*unused*/) { return PCONV_DATA_TYPE_F32; }
    static PconvDataType typeOf(uint8_t /*unused*/) { return PCONV_DATA_TYPE_U8; }
    static PconvDataType typeOf(uint32_t /*unused*/) { return PCONV_DATA_TYPE_BITS; }
    static size_t byteCount(const std::vector<int64_t>& dims, PconvDataType data_type) {
        constexpr int64_t kWordBits = 32;
        size_t bytes = sizeOf(data_type);
        for (size_t i = 0; i < dims.size(); ++i) {
            int64_t d = dims[i];
            if (data_type == PCONV_DATA_TYPE_BITS && i + 1 == dims.size())
                d = d / kWordBits + (d % kWordBits != 0 ? 1 : 0);
            if (d < 1 || bytes > PTRDIFF_MAX / static_cast<size_t>(d))
                throw Error(PCONV_ERROR_INVALID_ARGUMENT, "a tensor's dimensions are below 1 or too large");
            bytes *= static_cast<size_t>(d);
        }
        return bytes;
    }
    void checkBytes(size_t bytes) const {
        if (bytes != bytes_)
            throw Error(PCONV_ERROR_INVALID_ARGUMENT, "a tensor of " + std::to_string(bytes_) +
                                                          " bytes was given values of " +
                                                          std::to_string(bytes));
    }
    std::vector<int64_t> dims_;
    size_t bytes_;
    Buffer buffer_;
    PconvTensor view_;
};

// Copies between data types and strides; see pconvConvertTensor.
inline void convert(const PconvTensor& source, const PconvTensor& destination) {
    detail::check(pconvConvertTensor(&source, &destination));
}

// A list of segments, each some planes that serve `multiplicity` channels; see PconvMask.
class Mask {
  public:
    explicit Mask(PconvMaskPolarity polarity = PCONV_MASK_VALID_IS_ONE) : polarity_(polarity) {}
    explicit Mask(const PconvTensor& planes, PconvMaskPolarity polarity = PCONV_MASK_VALID_IS_ONE)
        : Mask(polarity) {
        add(planes);
    }
    Mask& add(const PconvTensor& planes, int64_t multiplicity = 1) {
        segments_.push_back({planes, multiplicity});
        return *this;
    }
    // Points into this object.
    PconvMask get() const noexcept {
        PconvMask mask = pconvDefaultMask();
        mask.polarity = polarity_;
        mask.segment_count = static_cast<int32_t>(segments_.size());
        mask.segments = segments_.data();
        return mask;
    }

  private:
    PconvMaskPolarity polarity_;
    std::vector<PconvMaskSegment> segments_;
};

class MaskUpdate : public detail::Owner<PconvMaskUpdate, pconvReleaseMaskUpdate> {
  public:
    // For PCONV_MASK_TYPE_NONE; computed at once.
    MaskUpdate(const Device& device, const PconvPartialConvDesc& desc) {
        detail::check(pconvCreateMaskUpdate(device.get(), &desc, nullptr, &handle_));
        detail::check(pconvComputeMaskUpdate(handle_, nullptr));
    }
    // Prepared for masks of this form, and computed for this one.
    MaskUpdate(const Device& device, const PconvPartialConvDesc& desc, const Mask& mask) {
        const PconvMask form = mask.get();
        detail::check(pconvCreateMaskUpdate(device.get(), &desc, &form, &handle_));
        compute(mask);
    }
    // For a masked convolution: from its weight, computed for this mask.
    MaskUpdate(const Device& device, const PconvPartialConvDesc& desc, const Mask& mask,
               const PconvTensor& weight) {
        const PconvMask form = mask.get();
        detail::check(pconvCreateMaskUpdate(device.get(), &desc, &form, &handle_));
        setWeights(weight);
        compute(mask);
    }
    void setWeights(const PconvTensor& weight) const {
        detail::check(pconvSetMaskUpdateWeights(handle_, &weight));
    }
    void compute(const Mask& mask) const {
        const PconvMask contents = mask.get();
        detail::check(pconvComputeMaskUpdate(handle_, &contents));
    }
    // Alive as long as this object.
    PconvTensor windowSum() const { return tensors().window_sum; }
    PconvTensor updatedMask() const { return tensors().updated_mask; }
    PconvTensor ratio() const { return tensors().ratio; }

  private:
    struct Tensors {
        PconvTensor window_sum, updated_mask, ratio;
    };
    Tensors tensors() const {
        Tensors t{};
        detail::check(pconvGetMaskUpdateTensors(handle_, &t.window_sum, &t.updated_mask, &t.ratio));
        return t;
    }
};

class PartialConv : public detail::Owner<PconvPartialConv, pconvReleasePartialConv> {
  public:
    PartialConv(const Device& device, const PconvPartialConvDesc& desc) {
        detail::check(pconvCreatePartialConv(device.get(), &desc, &handle_));
    }
    void setWeights(const PconvTensor& weight) const {
        detail::check(pconvSetPartialConvWeights(handle_, &weight, nullptr));
    }
    void setWeights(const PconvTensor& weight, const PconvTensor& bias) const {
        detail::check(pconvSetPartialConvWeights(handle_, &weight, &bias));
    }
    void forward(const MaskUpdate& update, const PconvTensor& input, const PconvTensor& output) const {
        detail::check(pconvForwardPartialConv(handle_, update.get(), &input, &output));
    }
    // Null gradients are not computed; with `accumulate` the others are added to what the tensors hold.
    void backward(const MaskUpdate& update, const PconvTensor& input, const PconvTensor& grad_output,
                  const PconvTensor* grad_input, const PconvTensor* grad_weight, const PconvTensor* grad_bias,
                  bool accumulate = false) const {
        PconvGradients gradients = pconvDefaultGradients();
        gradients.grad_input = grad_input;
        gradients.grad_weight = grad_weight;
        gradients.grad_bias = grad_bias;
        gradients.accumulate = accumulate ? 1 : 0;
        detail::check(pconvBackwardPartialConv(handle_, update.get(), &input, &grad_output, &gradients));
    }
    std::string implementation() const {
        const char* name = nullptr;
        detail::check(pconvGetPartialConvImplementation(handle_, &name));
        return name;
    }
};

// Layers of partial convolutions as one submission; see network.h.
class Network : public detail::Owner<PconvNetwork, pconvReleaseNetwork> {
  public:
    Network(const Device& device, const PconvNetworkDesc& desc) {
        detail::check(pconvCreateNetwork(device.get(), &desc, &handle_));
    }
    // Of a file that describes itself, for pictures of [height, width].
    static Network load(const Device& device, const std::string& path, const std::vector<int64_t>& size,
                        PconvMath math = PCONV_MATH_EXACT) {
        int64_t sizes[PCONV_MAX_SPATIAL_DIMS] = {};
        for (size_t i = 0; i < size.size() && i < PCONV_MAX_SPATIAL_DIMS; ++i) sizes[i] = size[i];
        Network network;
        detail::check(pconvLoadNetworkWithMath(device.get(), path.c_str(), sizes, math, &network.handle_));
        return network;
    }
    // `prefix` stands before every name in the file.
    void loadWeights(const std::string& path, const std::string& prefix = {}) const {
        detail::check(pconvLoadNetworkWeights(handle_, path.c_str(), prefix.c_str()));
    }
    // `bias` is null where the layer has none.
    void setWeights(int32_t layer, const PconvTensor& weight, const PconvTensor* bias) const {
        detail::check(pconvSetNetworkWeights(handle_, layer, &weight, bias));
    }
    void forward(const PconvTensor& input, const PconvTensor& mask, const PconvTensor& output) const {
        detail::check(pconvForwardNetwork(handle_, &input, &mask, &output));
    }
    // With the mask of the call before, or for a network without one.
    void forward(const PconvTensor& input, const PconvTensor& output) const {
        detail::check(pconvForwardNetwork(handle_, &input, nullptr, &output));
    }
    std::vector<int64_t> outputDims() const {
        int64_t dims[PCONV_MAX_DIMS];
        detail::check(pconvGetNetworkOutputDims(handle_, dims));
        return {dims, dims + PCONV_MAX_DIMS};
    }
    // Of a resizable network; a mask is needed again.
    void resize(int64_t batch, const std::vector<int64_t>& size) const {
        int64_t sizes[PCONV_MAX_SPATIAL_DIMS] = {};
        for (size_t i = 0; i < size.size() && i < PCONV_MAX_SPATIAL_DIMS; ++i) sizes[i] = size[i];
        detail::check(pconvResizeNetwork(handle_, batch, sizes));
    }
    std::vector<PconvMaskSegment> outputMask() const {
        int32_t count = 0;
        detail::check(pconvGetNetworkOutputMask(handle_, 0, nullptr, &count));
        std::vector<PconvMaskSegment> segments(static_cast<size_t>(count));
        detail::check(pconvGetNetworkOutputMask(handle_, count, segments.data(), &count));
        return segments;
    }
    std::string implementation(int32_t layer) const {
        const char* name = nullptr;
        detail::check(pconvGetNetworkImplementation(handle_, layer, &name));
        return name;
    }

  private:
    Network() = default;
};

// A network known by name, or described by the file of its weights; see models.h.
class Model : public detail::Owner<PconvModel, pconvReleaseModel> {
  public:
    // By name, such as "pconv_unet".
    explicit Model(const std::string& name, const PconvModelOptions& options = pconvDefaultModelOptions()) {
        detail::check(pconvCreateModel(name.c_str(), &options, &handle_));
    }
    static Model load(const std::string& path) {
        Model model;
        detail::check(pconvLoadModel(path.c_str(), &model.handle_));
        return model;
    }
    PconvModelInfo info() const {
        PconvModelInfo info = pconvDefaultModelInfo();
        detail::check(pconvGetModelInfo(handle_, &info));
        return info;
    }
    // Points into this object; its size is to be set.
    PconvNetworkDesc networkDesc() const {
        PconvNetworkDesc desc = pconvDefaultNetworkDesc(2);
        detail::check(pconvGetModelNetworkDesc(handle_, &desc));
        return desc;
    }
    std::string json() const {
        const char* text = nullptr;
        detail::check(pconvGetModelJson(handle_, &text));
        return text;
    }
    PconvLayerInfo layer(int32_t index, const std::vector<int64_t>& size = {}) const {
        int64_t sizes[PCONV_MAX_SPATIAL_DIMS] = {};
        for (size_t i = 0; i < size.size() && i < PCONV_MAX_SPATIAL_DIMS; ++i) sizes[i] = size[i];
        PconvLayerInfo info = pconvDefaultLayerInfo();
        detail::check(pconvGetModelLayerInfo(handle_, size.empty() ? nullptr : sizes, index, &info));
        return info;
    }

  private:
    Model() = default;
};

class MaskedBatchNorm : public detail::Owner<PconvMaskedBatchNorm, pconvReleaseMaskedBatchNorm> {
  public:
    // Prepared for masks of this form.
    MaskedBatchNorm(const Device& device, const PconvMaskedNormDesc& desc, const Mask& mask) {
        const PconvMask form = mask.get();
        detail::check(pconvCreateMaskedBatchNorm(device.get(), &desc, &form, &handle_));
    }
    // The last four are null where there is none.
    void forward(const Mask& mask, const PconvTensor& input, const PconvTensor& output,
                 const PconvTensor* weight, const PconvTensor* bias, const PconvTensor* running_mean,
                 const PconvTensor* running_var) const {
        const PconvMask contents = mask.get();
        PconvBatchNormParameters parameters = pconvDefaultBatchNormParameters();
        parameters.weight = weight;
        parameters.bias = bias;
        parameters.running_mean = running_mean;
        parameters.running_var = running_var;
        detail::check(pconvForwardMaskedBatchNorm(handle_, &contents, &input, &parameters, &output));
    }
};

class MaskedSpatialMean : public detail::Owner<PconvMaskedSpatialMean, pconvReleaseMaskedSpatialMean> {
  public:
    // Prepared for masks of this form.
    MaskedSpatialMean(const Device& device, const PconvMaskedNormDesc& desc, const Mask& mask) {
        const PconvMask form = mask.get();
        detail::check(pconvCreateMaskedSpatialMean(device.get(), &desc, &form, &handle_));
    }
    // `output_mask` is null where it is not wanted.
    void forward(const Mask& mask, const PconvTensor& input, const PconvTensor& output,
                 const PconvTensor* output_mask = nullptr) const {
        const PconvMask contents = mask.get();
        detail::check(pconvForwardMaskedSpatialMean(handle_, &contents, &input, &output, output_mask));
    }
};

}  // namespace v0
}  // namespace pconv

#endif  // PCONV_PCONV_HPP
