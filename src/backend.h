// The seam: all that a backend is. The core has validated everything that comes through here, so a backend
// checks nothing again; it throws Error (or std::bad_alloc), which the C boundary turns into a status.
//
//     descriptor -> supports -> make -> submit
//
// All calls on one device come one at a time. Whatever is slow (compiling, planning, allocating) happens in
// make; what is enqueued later neither blocks, allocates nor compiles. Buffers and operators may be destroyed
// while work that uses them is in flight: the backend defers the release.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "error.h"

namespace pconv {

enum class DataType { f32, f16, bf16, u8, bits };
enum class Layout { contiguous, channels_last };
enum class Normalization { window_ratio, mask_sum, weight_magnitude };
enum class Activation { none, relu, leaky_relu, gelu, sigmoid };  // sigmoid: of passes alone
enum class MaskType { none, binary, fractional };
enum class PaddingMode { zeros, reflect, replicate, circular };

// Of an element, or of the word that 32 bits of a row share.
inline size_t sizeOf(DataType type) {
    if (type == DataType::f32 || type == DataType::bits) return 4;
    return type == DataType::u8 ? 1 : 2;
}

using Dims3 = std::array<int64_t, 3>;  // D, H, W

// The window of a mask or a convolution. Fewer than three spatial dimensions have leading ones (kernel 1,
// stride 1, padding 0, dilation 1), so that a backend sees only D, H, W.
struct Window {
    Dims3 input{1, 1, 1};
    Dims3 kernel{1, 1, 1};
    Dims3 stride{1, 1, 1};
    Dims3 padding{0, 0, 0};      // in front
    Dims3 padding_end{0, 0, 0};  // behind; as far as windows reach, `output` says it too
    Dims3 dilation{1, 1, 1};
    Dims3 output{1, 1, 1};
    bool operator==(const Window& other) const {
        return input == other.input && kernel == other.kernel && stride == other.stride &&
               padding == other.padding && padding_end == other.padding_end && dilation == other.dilation &&
               output == other.output;
    }
};

// Elements around the spatial dimensions of a tensor, made from it; never zeros.
struct Padding {
    PaddingMode mode = PaddingMode::reflect;
    Dims3 begin{0, 0, 0};
    Dims3 end{0, 0, 0};
};

inline int64_t volume(const Dims3& dims) {
    return dims[0] * dims[1] * dims[2];
}

// Channels of a convolution's input that are a smaller tensor, each of its elements repeated `factor` times
// in every spatial dimension; no channels: none are.
struct UpsampledChannels {
    int64_t first = 0, channels = 0;
    Dims3 factor{1, 1, 1};
};

// One partial convolution of a fixed shape.
struct PartialConvDesc {
    int spatial_dims = 2;
    int64_t batch = 1, in_channels = 1, out_channels = 1, groups = 1;
    Window window;
    PaddingMode padding_mode = PaddingMode::zeros;  // of what a row is given, always: the core pads otherwise
    DataType data_type = DataType::f32;
    Layout input_layout = Layout::contiguous;
    Layout output_layout = Layout::contiguous;
    MaskType mask_type = MaskType::binary;
    bool multi_channel = false;
    bool group_window = false;  // only ever set with multi_channel: window sums run over the group's channels
    Normalization normalization = Normalization::window_ratio;
    float eps = 1e-8F;
    Activation activation = Activation::none;
    float negative_slope = 0.01F;
    bool fast_math = false;
    bool has_bias = true;
    bool input_is_masked = false;
    bool training = false;        // backward will be called; rows that cannot do it decline
    UpsampledChannels upsampled;  // only where a row said that it fuses them; no mask applies to them

    // The masked convolution: y = (conv(x, W) + b) * u with one u per output channel, made from the weights.
    bool maskedConvolution() const { return normalization == Normalization::weight_magnitude; }
    // Channels of window_sum, updated_mask and ratio: 1, groups or out_channels.
    int64_t maskGroups() const {
        if (maskedConvolution()) return mask_type == MaskType::none ? 1 : out_channels;
        return group_window ? groups : 1;
    }
    // Which of them an output channel has.
    int64_t maskGroupOf(int64_t out_channel) const { return out_channel / (out_channels / maskGroups()); }
    // How many channels a window sum counts: 1, in_channels or in_channels / groups.
    int64_t countedChannels() const {
        return !multi_channel ? 1 : group_window ? in_channels / groups : in_channels;
    }
    bool maskInput() const { return mask_type != MaskType::none && !input_is_masked && !maskedConvolution(); }
};

struct MaskSegmentForm {
    int64_t planes = 1;
    int64_t multiplicity = 1;
    bool bits = false;  // as the caller has them; backends are given bytes
};

// The form of a mask: all but its contents. No segments: absent, all valid.
struct MaskForm {
    int64_t batch = 1;  // 1 serves any batch
    bool hole_is_one = false;
    std::vector<MaskSegmentForm> segments;
};

class Buffer {
  public:
    explicit Buffer(size_t size) : size_(size) {}
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    virtual ~Buffer() = default;
    size_t size() const { return size_; }
    // Memory the host can address in place, or null.
    virtual void* hostPointer() { return nullptr; }
    // Where it begins as the device sees it, for its alignment; 0 where that fits every element.
    virtual uintptr_t address() { return reinterpret_cast<uintptr_t>(hostPointer()); }

  private:
    size_t size_;
};

// A view [N, C, D, H, W] (weights: [Cout, Cin/G, D, H, W]) whose dims the descriptor knows. Strides in
// elements.
struct TensorRef {
    std::shared_ptr<Buffer> buffer;
    size_t offset = 0;  // bytes
    DataType data_type = DataType::f32;
    std::array<int64_t, 5> strides{};
};

// Results of the mask side, contiguous [mask batch, maskGroups, O...]; allocated by the core. A masked
// convolution has only updated_mask, f32 unless there is no mask: the others have no buffer, and the ratio is
// 1 everywhere.
struct MaskPlanes {
    TensorRef window_sum;    // f32
    TensorRef updated_mask;  // u8 for binary and absent masks, else f32
    TensorRef ratio;         // f32: what the convolution is multiplied by; 0 where updated_mask is
};

// A mask under a window. Backends derive from it to keep what their convolutions need besides (tile classes
// ...).
class MaskUpdate {
  public:
    MaskUpdate() = default;
    MaskUpdate(const MaskUpdate&) = delete;
    MaskUpdate& operator=(const MaskUpdate&) = delete;
    virtual ~MaskUpdate() = default;
    // Enqueues. `planes` has one view [N or 1, P, D, H, W] a segment, u8 (any non-zero is 1) or f32; W has
    // stride 1. The update keeps the views: convolutions read the mask through it.
    virtual void compute(const std::vector<TensorRef>& planes) = 0;
    // Enqueues; called for masked convolutions with a mask, before compute. The weight is read again by no
    // later compute.
    virtual void setWeights(const TensorRef& /*weight*/) {
        fail(PCONV_ERROR_UNSUPPORTED, "this implementation has no masked convolution");
    }
};

// Null where a gradient is not wanted.
struct Gradients {
    const TensorRef* input = nullptr;
    const TensorRef* weight = nullptr;  // contiguous
    const TensorRef* bias = nullptr;    // contiguous
    bool accumulate = false;            // added to what is there, else it is overwritten unread
};

class PartialConv {
  public:
    PartialConv() = default;
    PartialConv(const PartialConv&) = delete;
    PartialConv& operator=(const PartialConv&) = delete;
    virtual ~PartialConv() = default;
    // Enqueues; contiguous views, `bias` null where there is none.
    virtual void setWeights(const TensorRef& weight, const TensorRef* bias) = 0;
    // Enqueues. `update` came from any row of the same device, with an equal window and mask setting, and has
    // been computed.
    virtual void forward(const MaskUpdate& update, const TensorRef& input, const TensorRef& output) = 0;
    // The same where the descriptor has upsampled channels: `small` holds those, `rest` all others in order.
    virtual void forwardUpsampled(const MaskUpdate& /*update*/, const TensorRef& /*small*/,
                                  const TensorRef& /*rest*/, const TensorRef& /*output*/) {
        fail(PCONV_ERROR_UNSUPPORTED, "this implementation takes no upsampled channels");
    }
    // Enqueues; called only where the descriptor says training, which rows without it decline.
    virtual void backward(const MaskUpdate& /*update*/, const TensorRef& /*input*/,
                          const TensorRef& /*grad_output*/, const Gradients& /*gradients*/) {
        fail(PCONV_ERROR_UNSUPPORTED, "this implementation has no backward pass");
    }
};

class Device;

// A row: one algorithm of one backend. Objects of static lifetime, listed in order of preference.
class Implementation {
  public:
    explicit Implementation(const char* name) : name_(name) {}
    Implementation(const Implementation&) = delete;
    Implementation& operator=(const Implementation&) = delete;
    virtual ~Implementation() = default;
    const char* name() const { return name_; }
    // Whether the row has a backward pass; the core asks before it asks `supports` of a training descriptor.
    virtual bool trains() const { return false; }
    // Whether it has the masked convolution; asked likewise.
    virtual bool masksConvolutions() const { return false; }
    // Where false, `reason` gets one line that names what stands in the way.
    virtual bool supports(const Device& device, const PartialConvDesc& desc, std::string& reason) const = 0;
    // Whether it convolves desc.upsampled faster than the same channels written out; `desc` is one that it
    // supports, with one group, without training.
    virtual bool fusesUpsampling(const PartialConvDesc& /*desc*/) const { return false; }
    // Whether its mask update takes results without a window sum, and its convolution reads none.
    virtual bool leavesOutWindowSum(const PartialConvDesc& /*desc*/) const { return false; }
    virtual std::unique_ptr<MaskUpdate> makeMaskUpdate(Device& device, const PartialConvDesc& desc,
                                                       const MaskForm& form,
                                                       const MaskPlanes& results) const = 0;
    virtual std::unique_ptr<PartialConv> makePartialConv(Device& device,
                                                         const PartialConvDesc& desc) const = 0;

  private:
    const char* name_;
};

// Masked batch normalization or spatial mean over x [N, C, S...]. Masks are multi-channel: one plane for all
// channels is a segment of multiplicity C. Where the mask is 0, x counts as 0 whatever it holds.
struct MaskedNormDesc {
    int spatial_dims = 2;
    int64_t batch = 1, channels = 1;
    Dims3 size{1, 1, 1};
    DataType data_type = DataType::f32;
    Layout layout = Layout::contiguous;
    MaskType mask_type = MaskType::binary;
    MaskForm form;
    float eps = 0;
    bool training = false;  // batch statistics
    float momentum = 0.1F;
};

// f32 vectors [C]; a null buffer where there is none. Running statistics are read, or updated in training.
struct BatchNormParameters {
    TensorRef weight, bias, running_mean, running_var;
};

class MaskedBatchNorm {
  public:
    MaskedBatchNorm() = default;
    MaskedBatchNorm(const MaskedBatchNorm&) = delete;
    MaskedBatchNorm& operator=(const MaskedBatchNorm&) = delete;
    virtual ~MaskedBatchNorm() = default;
    virtual void forward(const std::vector<TensorRef>& planes, const TensorRef& input,
                         const BatchNormParameters& parameters, const TensorRef& output) = 0;
};

class MaskedSpatialMean {
  public:
    MaskedSpatialMean() = default;
    MaskedSpatialMean(const MaskedSpatialMean&) = delete;
    MaskedSpatialMean& operator=(const MaskedSpatialMean&) = delete;
    virtual ~MaskedSpatialMean() = default;
    // output [N, C] contiguous; output_mask [mask batch, C] f32, contiguous, no buffer where it is not
    // wanted.
    virtual void forward(const std::vector<TensorRef>& planes, const TensorRef& input,
                         const TensorRef& output, const TensorRef& output_mask) = 0;
};

// What networks do between convolutions: one pass over tensors of one type, computed in f32.
enum class PassKind {
    pointwise,     // y = activation(x * scale[c] + shift[c] + added), each where it is given
    max_pool,      // the largest element of the window that lies in the input
    average_pool,  // the sum of those over the kernel's volume, or over their number
    interpolate    // linear, between the centres of elements, or with the corners on the corners
};
struct PassDesc {
    PassKind kind = PassKind::pointwise;
    int64_t batch = 1, channels = 1;
    Window window;  // input and output; of pools also kernel, stride and padding, no window outside the input
    Activation activation = Activation::none;  // of pointwise
    float negative_slope = 0.01F;
    bool inside_only = false;  // average_pool: the number of elements inside the input divides
    bool align_corners = false;
};
// No buffer: not given. The vectors are f32 [C]. `output` may be `input` or `added` where the pass is
// pointwise.
struct PassOperands {
    TensorRef input, added, scale, shift, output;
};

// Work kept to be submitted any number of times.
class Recording {
  public:
    Recording() = default;
    Recording(const Recording&) = delete;
    Recording& operator=(const Recording&) = delete;
    virtual ~Recording() = default;
    // Enqueues all of it.
    virtual void submit() = 0;
};

// Time between two points of a device's queue.
class Timer {
  public:
    Timer() = default;
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;
    virtual ~Timer() = default;
    // Enqueue marks; a later pair replaces an earlier one.
    virtual void start() = 0;
    virtual void stop() = 0;
    // Waits for the second mark.
    virtual double seconds() = 0;
};

enum class DeviceType { cpu, discrete_gpu, integrated_gpu, software, other };

struct DeviceInfo {
    std::string name;
    DeviceType type = DeviceType::other;
    std::array<uint8_t, 16> uuid{};
    uint64_t memory_bytes = 0;
    std::string driver;
    std::string features;
    std::array<uint8_t, 8> luid{};  // all zero where there is none, as uuid is
    std::string pci;                // "0000:01:00.0", or empty
};

// Threads of the caller's, as PconvThreadsCallback has them; none where the call is null.
struct HostThreads {
    void (*call)(void* user, int32_t threads, void (*work)(void* context), void* context) = nullptr;
    void* user = nullptr;
};

// What the core gives a device: its limits and the way to be heard. Thread-safe, outlives the device.
class Host {
  public:
    virtual ~Host() = default;
    // To be called before device memory is allocated (throws Error out_of_memory beyond the limit) and after
    // it is freed.
    virtual void allocated(size_t bytes) = 0;
    virtual void released(size_t bytes) noexcept = 0;
    virtual int verbosity() const = 0;
    virtual void message(const std::string& line) const = 0;
    virtual int threads() const = 0;  // 0: the backend's choice
    virtual HostThreads hostThreads() const { return {}; }
};

// Memory of the same hardware that another interface or process allocated.
struct ExternalMemory {
    PconvMemoryHandleType handle_type = PCONV_MEMORY_HANDLE_TYPE_OPAQUE_FD;
    int64_t handle = -1;  // stays the caller's
    uint64_t size = 0;    // of the whole allocation
    uint32_t memory_type = 0;
    bool dedicated = false;
    size_t offset = 0;
};

class Device {
  public:
    Device() = default;
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;
    virtual ~Device() = default;  // waits for work in flight
    virtual const DeviceInfo& info() const = 0;
    virtual const std::vector<const Implementation*>& implementations() const = 0;
    // The rows in the order in which they are asked for this descriptor.
    virtual std::vector<const Implementation*> preferredFor(const PartialConvDesc& /*desc*/) const {
        return implementations();
    }
    virtual std::shared_ptr<Buffer> allocate(size_t bytes) = 0;
    virtual std::shared_ptr<Buffer> importHost(void* memory, size_t bytes) = 0;
    // `handle` is the interface's own for device memory.
    virtual std::shared_ptr<Buffer> importNative(uint64_t /*handle*/, size_t /*offset*/, size_t /*bytes*/) {
        fail(PCONV_ERROR_UNSUPPORTED, "this device has no native memory to import");
    }
    virtual std::shared_ptr<Buffer> importExternal(const ExternalMemory& /*memory*/, size_t /*bytes*/) {
        fail(PCONV_ERROR_UNSUPPORTED, "this device imports no memory of other devices");
    }
    virtual void write(Buffer& buffer, size_t offset, const void* source,
                       size_t bytes) = 0;  // copies `source` at once
    virtual void read(Buffer& buffer, size_t offset, void* destination, size_t bytes) = 0;  // waits
    virtual void wait() = 0;
    // Enqueues a copy of f32, f16 or bf16 elements between views of any strides, rounding to the nearest.
    virtual void convert(const TensorRef& /*source*/, const TensorRef& /*destination*/,
                         const std::array<int64_t, 5>& /*dims*/) {
        fail(PCONV_ERROR_UNSUPPORTED, "this device does not convert tensors");
    }
    // Enqueues planes [N, P, D, H, W] of bits as u8 of 0 and 1. Rows of both begin at multiples of 4 bytes.
    virtual void unpackBits(const TensorRef& /*bits*/, const TensorRef& /*bytes*/,
                            const std::array<int64_t, 5>& /*dims*/) {
        fail(PCONV_ERROR_UNSUPPORTED, "this device takes no masks of bits");
    }
    // Enqueues y[n, c, o] = x[n, c, o / factor]: each element repeated in every spatial dimension. Elements
    // of any type, views of any strides; `dims` are those of the source.
    virtual void upsample(const TensorRef& /*source*/, const TensorRef& /*destination*/,
                          const std::array<int64_t, 5>& /*dims*/, const Dims3& /*factor*/) {
        fail(PCONV_ERROR_UNSUPPORTED, "this device does not upsample");
    }
    // Enqueues views of any strides, of f32, f16 or bf16.
    virtual void pass(const PassDesc& /*desc*/, const PassOperands& /*operands*/) {
        fail(PCONV_ERROR_UNSUPPORTED, "this device has no passes between convolutions");
    }
    // Enqueues a copy of `source` with `padding` around it. Elements of any type but bits, views of any
    // strides; `dims` are those of the source.
    virtual void pad(const TensorRef& /*source*/, const TensorRef& /*destination*/,
                     const std::array<int64_t, 5>& /*dims*/, const Padding& /*padding*/) {
        fail(PCONV_ERROR_UNSUPPORTED, "this device does not pad");
    }
    // Enqueues the transpose: each element of `destination`, of `dims`, becomes the sum of those that pad
    // makes of it, or gets it added, summed in f32 in an order of its own. f32, f16 or bf16.
    virtual void foldPadding(const TensorRef& /*source*/, const TensorRef& /*destination*/,
                             const std::array<int64_t, 5>& /*dims*/, const Padding& /*padding*/,
                             bool /*accumulate*/) {
        fail(PCONV_ERROR_UNSUPPORTED, "this device does not pad");
    }
    // The layout in which its convolutions run fastest one after another.
    virtual Layout preferredLayout() const { return Layout::contiguous; }
    // Keeps what `enqueue` enqueues (mask updates, convolutions, upsampling) in place of running it. What it
    // uses outlives the recording and is given no new weights meanwhile. By default `enqueue` runs at submit.
    virtual std::unique_ptr<Recording> record(std::function<void()> enqueue);
    // Null: the host's clock serves.
    virtual std::unique_ptr<Timer> makeTimer() { return nullptr; }
    virtual std::unique_ptr<MaskedBatchNorm> makeMaskedBatchNorm(const MaskedNormDesc& /*desc*/) {
        fail(PCONV_ERROR_UNSUPPORTED, "this device has no masked batch normalization");
    }
    virtual std::unique_ptr<MaskedSpatialMean> makeMaskedSpatialMean(const MaskedNormDesc& /*desc*/) {
        fail(PCONV_ERROR_UNSUPPORTED, "this device has no masked spatial mean");
    }
};

class RepeatedCalls final : public Recording {
  public:
    explicit RepeatedCalls(std::function<void()> enqueue) : enqueue_(std::move(enqueue)) {}
    void submit() override { enqueue_(); }

  private:
    std::function<void()> enqueue_;
};

inline std::unique_ptr<Recording> Device::record(std::function<void()> enqueue) {
    return std::make_unique<RepeatedCalls>(std::move(enqueue));
}

// The host's own device, by the handles of its interface; those of other backends are null.
struct NativeDevice {
    int cuda_device = 0;
    void* cuda_stream = nullptr;
    void* vulkan_instance = nullptr;
    void* vulkan_physical_device = nullptr;
    void* vulkan_device = nullptr;
    void* vulkan_queue = nullptr;
    uint32_t vulkan_queue_family = 0;
    bool vulkan_16bit_storage = false;
};

// What a module named NAME exports, by the function pconvBackend_NAME.
struct BackendModule {
    const char* version;  // kBackendVersion it was built with; checked before anything else is touched
    const char* name;     // "cpu"
    // Appends the devices present; where there is none, `reason` says why. Does not throw for a missing
    // driver.
    void (*enumerate)(std::vector<DeviceInfo>& devices, std::string& reason);
    std::unique_ptr<Device> (*open)(int index, Host& host);
    // Null where the backend adopts no device of the host's.
    std::unique_ptr<Device> (*adopt)(const NativeDevice& native, Host& host) = nullptr;
    // Whether a process forked from one with open devices may use them, and open others.
    bool survives_fork = false;
};

// Changes with this header; core and modules of one build agree.
inline constexpr char kBackendVersion[] = "pconv-backend-11 " PCONV_BUILD_VERSION;

}  // namespace pconv

#if defined(_WIN32)
#define PCONV_MODULE_EXPORT extern "C" __declspec(dllexport)
#else
#define PCONV_MODULE_EXPORT extern "C" __attribute__((visibility("default")))
#endif

// Written once in each module: PCONV_MODULE_EXPORT const pconv::BackendModule* pconvBackend_NAME() { ... }
