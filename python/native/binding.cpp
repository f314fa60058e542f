// What the Python package calls by ctypes: flat functions of numbers and addresses over pconv's C API, so
// that one call of an operator is one call here, and no structure is laid out twice. Its only caller is
// python/pconv/_library.py.
//
// Functions return a PconvStatus, pconvGetLastError() has the line, unless they say otherwise.
#include <pconv/inpaint.h>
#include <pconv/pconv.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <list>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "call.h"
#include "planes.h"

using namespace pconv_python;

namespace {

// The order of the numbers that describe a convolution, behind those of ConvNumber; _engine.py writes them.
enum Number {
    kDims = kConvNumbers,
    kBatch,
    kInChannels,
    kSize,
    kDataType = kSize + 3,
    kLayout,
    kMaskType,
    kInputIsMasked,
    kTraining,
    kMath,
    kMaskBatch,
    kMaskPlanes,
    kMultiplicity
};

PconvPartialConvDesc describe(const int64_t* n, double eps) {
    PconvPartialConvDesc desc = pconvDefaultPartialConvDesc(static_cast<int32_t>(n[kDims]));
    describeConv(PCONV_MAX_SPATIAL_DIMS, n, desc);
    desc.batch = n[kBatch];
    desc.in_channels = n[kInChannels];
    for (int d = 0; d < PCONV_MAX_SPATIAL_DIMS; ++d) desc.input_size[d] = n[kSize + d];
    desc.data_type = static_cast<PconvDataType>(n[kDataType]);
    desc.input_layout = desc.output_layout = static_cast<PconvLayout>(n[kLayout]);
    desc.mask_type = static_cast<PconvMaskType>(n[kMaskType]);
    desc.eps = eps;
    desc.input_is_masked = static_cast<int32_t>(n[kInputIsMasked]);
    desc.training = static_cast<int32_t>(n[kTraining]);
    desc.math = static_cast<PconvMath>(n[kMath]);
    return desc;
}

// A dense array: its dims are N, C, S..., its memory in that order or with the channels last.
struct Array {
    PconvTensor view{};
    size_t bytes = 0;

    Array() = default;
    Array(PconvDataType type, const int64_t* dims, int32_t rank, PconvLayout layout) {
        view.data_type = type;
        view.rank = rank;
        int64_t count = 1;
        for (int32_t d = 0; d < rank; ++d) count *= view.dims[d] = dims[d];
        bytes = static_cast<size_t>(count) * sizeOf(type);
        if (layout != PCONV_LAYOUT_CHANNELS_LAST) return;
        int64_t step = dims[1];
        view.strides[1] = 1;
        for (int32_t d = rank - 1; d >= 2; --d) {
            view.strides[d] = step;
            step *= dims[d];
        }
        view.strides[0] = step;
    }
};

// The caller's memory, given to the device for the time of a call.
class Lent {
  public:
    Lent(PconvDevice device, bool host, const Array& array, const void* memory) : tensor_(array.view) {
        auto* address = const_cast<void*>(memory);
        status_ = host ? pconvImportHostBuffer(device, address, array.bytes, &tensor_.buffer)
                       : pconvImportNativeBuffer(device, reinterpret_cast<uintptr_t>(address), 0, array.bytes,
                                                 &tensor_.buffer);
    }
    // No memory: null for pconv.
    explicit Lent(PconvStatus status = PCONV_SUCCESS) : status_(status) {}
    Lent(const Lent&) = delete;
    Lent& operator=(const Lent&) = delete;
    Lent(Lent&& other) noexcept : tensor_(other.tensor_), status_(other.status_) {
        other.tensor_.buffer = nullptr;
    }
    ~Lent() { pconvReleaseBuffer(tensor_.buffer); }
    PconvStatus status() const { return status_; }
    const PconvTensor* tensor() const { return tensor_.buffer != nullptr ? &tensor_ : nullptr; }

  private:
    PconvTensor tensor_{};
    PconvStatus status_;
};

PconvStatus firstFault(std::initializer_list<const Lent*> all) {
    for (const Lent* one : all)
        if (one->status() != PCONV_SUCCESS) return one->status();
    return PCONV_SUCCESS;
}

// Below it, to compare weights takes a fraction of what packing them does.
constexpr size_t kComparedBytes = 1 << 18;

struct Plan {
    PconvDevice device;
    bool host;
    PconvPartialConv conv = nullptr;
    Array input, weight, bias, output;
    std::mutex mutex;                 // weights and the pass that uses them belong together
    std::vector<unsigned char> last;  // weights and biases that are packed; empty where none are kept

    ~Plan() { pconvReleasePartialConv(conv); }

    Lent lend(const Array& array, const void* memory) const {
        return memory != nullptr ? Lent(device, host, array, memory) : Lent();
    }

    bool compares() const { return host && weight.bytes <= kComparedBytes; }

    // Called with the mutex held. Weights may change in ways that nobody counts: they are packed for each
    // pass, as PyTorch's own convolutions do, unless they are seen to be those that are packed already.
    PconvStatus pack(const void* w, const void* b) {
        const size_t of_bias = b != nullptr ? bias.bytes : 0;
        if (!last.empty() && std::memcmp(last.data(), w, weight.bytes) == 0 &&
            (of_bias == 0 || std::memcmp(last.data() + weight.bytes, b, of_bias) == 0))
            return PCONV_SUCCESS;
        last.clear();
        if (compares()) {
            // What is packed is the copy: another thread may write to the weights meanwhile.
            last.resize(weight.bytes + of_bias);
            std::memcpy(last.data(), w, weight.bytes);
            if (of_bias != 0) std::memcpy(last.data() + weight.bytes, b, of_bias);
            w = last.data();
            if (of_bias != 0) b = last.data() + weight.bytes;
        }
        const Lent weights = lend(weight, w);
        const Lent biases = lend(bias, b);
        PconvStatus status = firstFault({&weights, &biases});
        if (status == PCONV_SUCCESS)
            status = pconvSetPartialConvWeights(conv, weights.tensor(), biases.tensor());
        if (status != PCONV_SUCCESS) last.clear();
        return status;
    }
};

struct Side {
    PconvDevice device;
    bool host;
    PconvMaskType type;
    PconvMaskUpdate update = nullptr;
    std::vector<uint8_t> memory;  // of the planes, where the device is the host
    PconvBuffer buffer = nullptr;
    Array planes, weight;
    int64_t multiplicity;
    bool weighted;

    ~Side() {
        pconvReleaseMaskUpdate(update);
        pconvReleaseBuffer(buffer);
    }

    PconvStatus compute(PconvBuffer lent, const void* w) {
        if (weighted) {
            const Lent weights(device, host, weight, w);
            if (weights.status() != PCONV_SUCCESS) return weights.status();
            const PconvStatus status = pconvSetMaskUpdateWeights(update, weights.tensor());
            if (status != PCONV_SUCCESS) return status;
        }
        if (type == PCONV_MASK_TYPE_NONE) return pconvComputeMaskUpdate(update, nullptr);
        PconvMaskSegment segment{planes.view, multiplicity};
        segment.planes.buffer = lent;
        PconvMask mask = pconvDefaultMask();
        mask.segment_count = 1;
        mask.segments = &segment;
        return pconvComputeMaskUpdate(update, &mask);
    }
};

// The OpenMP threads that a device works on: GOMP_parallel, always of as many threads, since libgomp ends
// those of a team that a smaller one leaves over; in a child process there are none.
struct OpenMpTeam {
    void (*parallel)(void (*work)(void*), void* context, unsigned threads, unsigned flags);
    unsigned threads;
    pid_t process;

    static void run(void* user, int32_t /*wanted*/, void (*work)(void*), void* context) {
        const auto& team = *static_cast<const OpenMpTeam*>(user);
        if (team.process != getpid()) return work(context);
        team.parallel(work, context, team.threads, 0);
    }
};

// Alive as long as any device may be.
void* makeTeam(void* parallel, int32_t threads) {
    static std::mutex mutex;
    static auto& all = *new std::list<OpenMpTeam>;
    const std::lock_guard<std::mutex> lock(mutex);
    all.push_back({reinterpret_cast<decltype(OpenMpTeam::parallel)>(parallel), static_cast<unsigned>(threads),
                   getpid()});
    return &all.back();
}

bool isHost(PconvDevice device) {
    PconvDeviceInfo info = pconvDefaultDeviceInfo();
    return pconvGetInfoOfDevice(device, &info) == PCONV_SUCCESS && info.type == PCONV_DEVICE_TYPE_CPU;
}

}  // namespace

extern "C" {

// ---- Devices
// -----------------------------------------------------------------------------------------------

// `parallel` is null, or GOMP_parallel of the OpenMP runtime that the host's threads belong to; `threads` is
// then how many they are.
PCONV_PYTHON_API int32_t pconvPythonOpenDevice(const char* selector, int32_t threads, void* parallel,
                                               PconvDevice* device) {
    PconvDeviceOptions options = pconvDefaultDeviceOptions();
    options.threads = threads;
    return guarded([&]() -> int32_t {
        if (parallel != nullptr && threads > 1) {
            options.user = makeTeam(parallel, threads);
            options.threads_callback = OpenMpTeam::run;
        }
        return pconvCreateDevice(selector, &options, device);
    });
}

PCONV_PYTHON_API int32_t pconvPythonAdoptCuda(int32_t number, uint64_t stream, PconvDevice* device) {
    PconvNativeDevice native = pconvDefaultNativeDevice();
    native.backend = "cuda";
    native.cuda_device = number;
    native.cuda_stream = reinterpret_cast<void*>(static_cast<uintptr_t>(stream));
    return pconvAdoptDevice(&native, nullptr, device);
}

// `text` gets lines: a line for a device with its fields between tabs, in the order name, backend, type,
// memory in bytes, driver, features; or for a backend its name, how many devices, why there is none.
PCONV_PYTHON_API int32_t pconvPythonDescribeDevice(int32_t index, char* text, size_t capacity) {
    PconvDeviceInfo info = pconvDefaultDeviceInfo();
    const PconvStatus status = pconvGetDeviceInfo(index, &info);
    if (status == PCONV_SUCCESS)
        std::snprintf(text, capacity, "%s\t%s\t%d\t%llu\t%s\t%s", info.name, info.backend,
                      static_cast<int>(info.type), static_cast<unsigned long long>(info.memory_bytes),
                      info.driver, info.features);
    return status;
}

PCONV_PYTHON_API int32_t pconvPythonDescribeBackend(int32_t index, char* text, size_t capacity) {
    PconvBackendInfo info = pconvDefaultBackendInfo();
    const PconvStatus status = pconvGetBackendInfo(index, &info);
    if (status == PCONV_SUCCESS)
        std::snprintf(text, capacity, "%s\t%d\t%s", info.name, info.device_count, info.reason);
    return status;
}

// ---- Convolutions
// -------------------------------------------------------------------------------------------

PCONV_PYTHON_API int32_t pconvPythonCreatePlan(PconvDevice device, const int64_t* n, double eps,
                                               const char* row, Plan** result) {
    return guarded([&]() -> int32_t {
        PconvPartialConvDesc desc = describe(n, eps);
        desc.implementation = row;
        int64_t output_size[PCONV_MAX_SPATIAL_DIMS];
        PconvStatus status = pconvGetOutputSize(&desc, output_size);
        if (status != PCONV_SUCCESS) return status;
        auto plan = std::make_unique<Plan>();
        plan->device = device;
        plan->host = isHost(device);
        const int32_t rank = desc.spatial_dims + 2;
        int64_t input[PCONV_MAX_DIMS] = {desc.batch, desc.in_channels};
        int64_t output[PCONV_MAX_DIMS] = {desc.batch, desc.out_channels};
        int64_t weight[PCONV_MAX_DIMS] = {desc.out_channels, desc.in_channels / desc.groups};
        for (int d = 0; d < desc.spatial_dims; ++d) {
            input[2 + d] = desc.input_size[d];
            output[2 + d] = output_size[d];
            weight[2 + d] = desc.kernel[d];
        }
        plan->input = Array(desc.data_type, input, rank, desc.input_layout);
        plan->output = Array(desc.data_type, output, rank, desc.output_layout);
        plan->weight = Array(desc.data_type, weight, rank, PCONV_LAYOUT_CONTIGUOUS);
        plan->bias = Array(desc.data_type, weight, 1, PCONV_LAYOUT_CONTIGUOUS);
        if (plan->compares()) plan->last.reserve(plan->weight.bytes + plan->bias.bytes);
        status = pconvCreatePartialConv(device, &desc, &plan->conv);
        if (status == PCONV_SUCCESS) *result = plan.release();
        return status;
    });
}

PCONV_PYTHON_API void pconvPythonReleasePlan(Plan* plan) {
    delete plan;
}

PCONV_PYTHON_API const char* pconvPythonImplementation(Plan* plan) {
    const char* name = "";
    pconvGetPartialConvImplementation(plan->conv, &name);
    return name;
}

PCONV_PYTHON_API int32_t pconvPythonForward(Plan* plan, Side* side, const void* x, const void* w,
                                            const void* b, void* y) {
    const Lent input = plan->lend(plan->input, x);
    const Lent output = plan->lend(plan->output, y);
    PconvStatus status = firstFault({&input, &output});
    if (status != PCONV_SUCCESS) return status;
    const std::lock_guard<std::mutex> lock(plan->mutex);
    status = plan->pack(w, b);
    if (status == PCONV_SUCCESS)
        status = pconvForwardPartialConv(plan->conv, side->update, input.tensor(), output.tensor());
    return status;
}

// Gradients that are null are not wanted.
PCONV_PYTHON_API int32_t pconvPythonBackward(Plan* plan, Side* side, const void* x, const void* w,
                                             const void* b, const void* dy, void* dx, void* dw, void* db) {
    const Lent input = plan->lend(plan->input, x);
    const Lent grad_output = plan->lend(plan->output, dy);
    const Lent grad_input = plan->lend(plan->input, dx);
    const Lent grad_weight = plan->lend(plan->weight, dw);
    const Lent grad_bias = plan->lend(plan->bias, db);
    PconvStatus status = firstFault({&input, &grad_output, &grad_input, &grad_weight, &grad_bias});
    if (status != PCONV_SUCCESS) return status;
    PconvGradients gradients = pconvDefaultGradients();
    gradients.grad_input = grad_input.tensor();
    gradients.grad_weight = grad_weight.tensor();
    gradients.grad_bias = grad_bias.tensor();
    const std::lock_guard<std::mutex> lock(plan->mutex);
    status = plan->pack(w, b);
    if (status == PCONV_SUCCESS)
        status = pconvBackwardPartialConv(plan->conv, side->update, input.tensor(), grad_output.tensor(),
                                          &gradients);
    return status;
}

// ---- Mask sides: planes of a mask, and what they give under a window
// ------------------------------------------

PCONV_PYTHON_API int32_t pconvPythonCreateSide(PconvDevice device, const int64_t* n, double eps,
                                               const char* row, Side** result) {
    return guarded([&]() -> int32_t {
        PconvPartialConvDesc desc = describe(n, eps);
        desc.implementation = row;
        auto side = std::make_unique<Side>();
        side->device = device;
        side->host = isHost(device);
        side->type = desc.mask_type;
        side->multiplicity = n[kMultiplicity];
        side->weighted = desc.normalization == PCONV_NORMALIZATION_WEIGHT_MAGNITUDE &&
                         desc.mask_type != PCONV_MASK_TYPE_NONE;
        const int32_t rank = desc.spatial_dims + 2;
        int64_t weight[PCONV_MAX_DIMS] = {desc.out_channels, desc.in_channels / desc.groups};
        int64_t planes[PCONV_MAX_DIMS] = {n[kMaskBatch], n[kMaskPlanes]};
        for (int d = 0; d < desc.spatial_dims; ++d) {
            weight[2 + d] = desc.kernel[d];
            planes[2 + d] = desc.input_size[d];
        }
        side->weight = Array(desc.data_type, weight, rank, PCONV_LAYOUT_CONTIGUOUS);
        if (side->type == PCONV_MASK_TYPE_NONE) {
            const PconvStatus status = pconvCreateMaskUpdate(device, &desc, nullptr, &side->update);
            if (status == PCONV_SUCCESS) *result = side.release();
            return status;
        }
        const PconvDataType type =
            side->type == PCONV_MASK_TYPE_BINARY ? PCONV_DATA_TYPE_U8 : PCONV_DATA_TYPE_F32;
        side->planes = Array(type, planes, rank, PCONV_LAYOUT_CONTIGUOUS);
        Array form = side->planes;
        PconvBuffer form_buffer = nullptr;  // the contents are not read: any memory of that size will do
        PconvStatus status;
        if (side->host) {
            side->memory.resize(side->planes.bytes);
            status = pconvImportHostBuffer(device, side->memory.data(), side->memory.size(), &side->buffer);
            form.view.buffer = side->buffer;
        } else {
            status = pconvCreateBuffer(device, side->planes.bytes, &form_buffer);
            form.view.buffer = form_buffer;
        }
        if (status != PCONV_SUCCESS) return status;
        PconvMaskSegment segment{form.view, side->multiplicity};
        PconvMask mask = pconvDefaultMask();
        mask.segment_count = 1;
        mask.segments = &segment;
        status = pconvCreateMaskUpdate(device, &desc, &mask, &side->update);
        pconvReleaseBuffer(form_buffer);
        if (status == PCONV_SUCCESS) *result = side.release();
        return status;
    });
}

PCONV_PYTHON_API void pconvPythonReleaseSide(Side* side) {
    delete side;
}

// From a mask in host memory, of a PconvDataType and with any strides (NULL: none between its elements).
// Answers kHasFractions where the side is for binary masks and this is none.
PCONV_PYTHON_API int32_t pconvPythonComputeSide(Side* side, const void* mask, int32_t type,
                                                const int64_t* strides, const void* w) {
    if (side->type != PCONV_MASK_TYPE_NONE) {
        const PconvTensor& view = side->planes.view;
        int64_t dense[PCONV_MAX_DIMS];
        int64_t step = 1;
        for (int32_t d = view.rank - 1; d >= 0; --d) {
            dense[d] = step;
            step *= view.dims[d];
        }
        const PlaneSource source{mask, static_cast<MaskSource>(type), view.rank, view.dims,
                                 strides != nullptr ? strides : dense};
        if (side->type == PCONV_MASK_TYPE_BINARY) {
            if (!toBytes(source, side->memory.data())) return kHasFractions;
        } else {
            toFloats(source, reinterpret_cast<float*>(side->memory.data()));
        }
    }
    return side->compute(side->buffer, w);
}

// From planes in the device's own memory, U8 where the side is for binary masks, else F32; they stay in use.
PCONV_PYTHON_API int32_t pconvPythonComputeSideOnDevice(Side* side, const void* planes, const void* w) {
    if (side->type == PCONV_MASK_TYPE_NONE) return side->compute(nullptr, w);
    const Lent lent(side->device, false, side->planes, planes);
    return lent.status() != PCONV_SUCCESS ? lent.status() : side->compute(lent.tensor()->buffer, w);
}

// The updated mask in F32, [N or 1, planes, O...], into memory of the device; on a GPU the window sum, of
// which the updated mask is what lies in [0, 1].
PCONV_PYTHON_API int32_t pconvPythonReadSide(Side* side, void* destination) {
    PconvTensor sum{};
    PconvTensor updated{};
    PconvStatus status = pconvGetMaskUpdateTensors(side->update, &sum, &updated, nullptr);
    if (status != PCONV_SUCCESS) return status;
    const PconvTensor& source = !side->host && sum.buffer != nullptr ? sum : updated;
    int64_t count = 1;
    for (int32_t d = 0; d < source.rank; ++d) count *= source.dims[d];
    if (!side->host) {
        const Array array(PCONV_DATA_TYPE_F32, source.dims, source.rank, PCONV_LAYOUT_CONTIGUOUS);
        const Lent lent(side->device, false, array, destination);
        return lent.status() != PCONV_SUCCESS ? lent.status() : pconvConvertTensor(&source, lent.tensor());
    }
    void* memory = nullptr;
    status = pconvGetBufferPointer(source.buffer, &memory);
    if (status != PCONV_SUCCESS) return status;
    const auto* bytes = static_cast<const uint8_t*>(memory) + source.offset;
    auto* floats = static_cast<float*>(destination);
    if (source.data_type == PCONV_DATA_TYPE_F32) {
        std::memcpy(floats, bytes, static_cast<size_t>(count) * sizeof(float));
    } else {
        for (int64_t i = 0; i < count; ++i) floats[i] = bytes[i] != 0 ? 1.0F : 0.0F;
    }
    return PCONV_SUCCESS;
}

// ---- Inpainting
// ---------------------------------------------------------------------------------------------

struct PconvPythonProgress {
    std::atomic<int32_t> cancelled{0};
    std::atomic<double> done{0.0};
};

PCONV_PYTHON_API PconvPythonProgress* pconvPythonCreateProgress() {
    return new (std::nothrow) PconvPythonProgress;
}

PCONV_PYTHON_API void pconvPythonReleaseProgress(PconvPythonProgress* progress) {
    delete progress;
}

PCONV_PYTHON_API void pconvPythonCancel(PconvPythonProgress* progress) {
    progress->cancelled = 1;
}

PCONV_PYTHON_API double pconvPythonDone(PconvPythonProgress* progress) {
    return progress->done;
}

// `type` is a PconvSampleType; strides in samples and bytes, as in PconvImage. Cancelled from any other
// thread.
PCONV_PYTHON_API int32_t pconvPythonInpaint(PconvDevice device, void* pixels, int64_t width, int64_t height,
                                            int32_t channels, int32_t type, int64_t pixel_stride,
                                            const uint8_t* mask, int32_t valid_is_one,
                                            PconvPythonProgress* progress) {
    PconvImage image = pconvDefaultImage();
    image.pixels = pixels;
    image.width = width;
    image.height = height;
    image.channels = channels;
    image.sample_type = static_cast<PconvSampleType>(type);
    image.pixel_stride = pixel_stride;
    PconvInpaintOptions options = pconvDefaultInpaintOptions();
    options.polarity = valid_is_one != 0 ? PCONV_MASK_VALID_IS_ONE : PCONV_MASK_HOLE_IS_ONE;
    options.user = progress;
    options.progress = [](void* user, double done) -> int {
        auto& state = *static_cast<PconvPythonProgress*>(user);
        state.done = done;
        return state.cancelled;
    };
    return pconvInpaint(device, &image, mask, &options);
}

}  // extern "C"
