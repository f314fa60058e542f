// Networks for the Python package: layers as flat numbers, which _network.py writes, and a forward pass that
// copies its tensors to the device and back.
//
// Functions return a PconvStatus, pconvGetLastError() has the line, unless they say otherwise.
#include <pconv/network.h>

#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

#include "call.h"
#include "planes.h"

using namespace pconv_python;

namespace {

// The order of the numbers that describe a network, a layer, and a layer's real numbers and names.
enum NetworkNumber {
    kDims,
    kBatch,
    kChannels,
    kSize,
    kDataType = kSize + 3,
    kMaskType,
    kMaskBatch,
    kMaskPlanes
};
enum LayerNumber {  // behind those of ConvNumber
    kType = kConvNumbers,
    kInput,
    kSecondInput,
    kMoreInputs,
    kPaddingEnd,
    kOutputPadding = kPaddingEnd + 3,
    kFactor = kOutputPadding + 3,
    kBegin = kFactor + 3,
    kPaddingMode = kBegin + 3,
    kActivation,
    kIgnoresMask,
    kInterpolation,
    kInsideOnly,
    kLayerNumbers
};
enum LayerReal { kEps, kBatchNormEps, kNegativeSlope, kLayerReals };
enum LayerName { kName, kBatchNorm, kLayerNames };

PconvLayer describeLayer(int32_t dims, const int64_t* n, const double* reals, const char* const* names) {
    PconvLayer layer = pconvDefaultLayer(dims);
    PconvPartialConvDesc& conv = layer.conv;
    layer.type = static_cast<PconvLayerType>(n[kType]);
    layer.name = names[kName];
    layer.batch_norm = names[kBatchNorm];
    layer.input = static_cast<int32_t>(n[kInput]);
    layer.second_input = static_cast<int32_t>(n[kSecondInput]);
    layer.more_input_count = static_cast<int32_t>(n[kMoreInputs]);
    describeConv(dims, n, conv);
    for (int d = 0; d < dims; ++d) {
        conv.padding_end[d] = n[kPaddingEnd + d];
        layer.output_padding[d] = n[kOutputPadding + d];
        layer.factor[d] = n[kFactor + d];
        layer.begin[d] = n[kBegin + d];
    }
    conv.padding_mode = static_cast<PconvPaddingMode>(n[kPaddingMode]);
    conv.activation = static_cast<PconvActivation>(n[kActivation]);
    if (n[kIgnoresMask] != 0) conv.mask_type = PCONV_MASK_TYPE_NONE;
    layer.interpolation = static_cast<PconvInterpolation>(n[kInterpolation]);
    layer.inside_only = static_cast<int32_t>(n[kInsideOnly]);
    conv.eps = reals[kEps];
    layer.batch_norm_eps = reals[kBatchNormEps];
    conv.negative_slope = static_cast<float>(reals[kNegativeSlope]);
    return layer;
}

PconvTensor viewOf(PconvDataType type, const int64_t* dims, int32_t rank) {
    PconvTensor view{};
    view.data_type = type;
    view.rank = rank;
    for (int32_t d = 0; d < rank; ++d) view.dims[d] = dims[d];
    return view;
}

size_t elementsOf(const PconvTensor& view) {
    size_t count = 1;
    for (int32_t d = 0; d < view.rank; ++d) count *= static_cast<size_t>(view.dims[d]);
    return count;
}

size_t bytesOf(const PconvTensor& view) {
    return elementsOf(view) * sizeOf(view.data_type);
}

}  // namespace

// A network of one shape, with memory of the device for what goes in and comes out.
struct PconvPythonNetwork {
    PconvNetwork network = nullptr;
    PconvTensor input{}, mask{}, output{};
    std::vector<uint8_t> planes;       // of the mask that the device has
    std::vector<uint8_t> next_planes;  // of the one that comes
    bool has_planes = false;
    std::mutex mutex;  // a pass and its copies belong together

    ~PconvPythonNetwork() {
        pconvReleaseNetwork(network);
        pconvReleaseBuffer(input.buffer);
        pconvReleaseBuffer(mask.buffer);
        pconvReleaseBuffer(output.buffer);
    }

    PconvStatus allocate(PconvDevice device) {
        for (PconvTensor* tensor : {&input, &mask, &output}) {
            if (tensor->rank == 0) continue;
            const PconvStatus status = pconvCreateBuffer(device, bytesOf(*tensor), &tensor->buffer);
            if (status != PCONV_SUCCESS) return status;
        }
        return PCONV_SUCCESS;
    }

    // What the mask side was computed for stays where the same mask comes again.
    int32_t takeMask(const PlaneSource& source, bool& is_new) {
        next_planes.resize(bytesOf(mask));
        if (mask.data_type == PCONV_DATA_TYPE_U8) {
            if (!toBytes(source, next_planes.data())) return kHasFractions;
        } else {
            toFloats(source, reinterpret_cast<float*>(next_planes.data()));
        }
        is_new = !has_planes || planes != next_planes;
        if (!is_new) return PCONV_SUCCESS;
        has_planes = false;
        planes.swap(next_planes);
        return pconvWriteBuffer(mask.buffer, 0, planes.data(), planes.size());
    }
};

extern "C" {

// Layers lie one after another: `numbers`, `reals` and `names` have kLayerNumbers, kLayerReals and
// kLayerNames of each; `more` the further inputs of those that have some, `scales` the factors of those of
// type SCALE, else null. All is read within the call. Weights are asked of `source`, as
// pconvReadNetworkWeights does.
PCONV_PYTHON_API int32_t pconvPythonCreateNetwork(PconvDevice device, const int64_t* shape, int32_t count,
                                                  const int64_t* numbers, const double* reals,
                                                  const char* const* names, const int32_t* more,
                                                  const float* const* scales, PconvTensorSource source,
                                                  PconvPythonNetwork** result) {
    return guarded([&]() -> int32_t {
        const auto dims = static_cast<int32_t>(shape[kDims]);
        std::vector<PconvLayer> layers;
        for (int32_t i = 0; i < count; ++i) {
            PconvLayer layer = describeLayer(dims, numbers + static_cast<ptrdiff_t>(i) * kLayerNumbers,
                                             reals + static_cast<ptrdiff_t>(i) * kLayerReals,
                                             names + static_cast<ptrdiff_t>(i) * kLayerNames);
            layer.more_inputs = more;
            more += layer.more_input_count;
            layer.scale = scales[i];
            layers.push_back(layer);
        }
        PconvNetworkDesc desc = pconvDefaultNetworkDesc(dims);
        desc.batch = shape[kBatch];
        desc.channels = shape[kChannels];
        for (int d = 0; d < dims; ++d) desc.size[d] = shape[kSize + d];
        desc.data_type = static_cast<PconvDataType>(shape[kDataType]);
        desc.mask_type = static_cast<PconvMaskType>(shape[kMaskType]);
        desc.mask_batch = shape[kMaskBatch];
        desc.mask_planes = shape[kMaskPlanes];
        desc.layer_count = count;
        desc.layers = layers.data();
        auto made = std::make_unique<PconvPythonNetwork>();
        PconvStatus status = pconvCreateNetwork(device, &desc, &made->network);
        if (status != PCONV_SUCCESS) return status;
        status = pconvReadNetworkWeights(made->network, source, nullptr);
        if (status != PCONV_SUCCESS) return status;
        int64_t output[PCONV_MAX_DIMS];
        status = pconvGetNetworkOutputDims(made->network, output);
        if (status != PCONV_SUCCESS) return status;
        int64_t input[PCONV_MAX_DIMS] = {desc.batch, desc.channels};
        int64_t planes[PCONV_MAX_DIMS] = {desc.mask_batch, desc.mask_planes};
        for (int d = 0; d < dims; ++d) input[2 + d] = planes[2 + d] = desc.size[d];
        made->input = viewOf(desc.data_type, input, dims + 2);
        made->output = viewOf(desc.data_type, output, dims + 2);
        if (desc.mask_type != PCONV_MASK_TYPE_NONE)
            made->mask =
                viewOf(desc.mask_type == PCONV_MASK_TYPE_BINARY ? PCONV_DATA_TYPE_U8 : PCONV_DATA_TYPE_F32,
                       planes, dims + 2);
        status = made->allocate(device);
        if (status == PCONV_SUCCESS) *result = made.release();
        return status;
    });
}

PCONV_PYTHON_API void pconvPythonReleaseNetwork(PconvPythonNetwork* network) {
    delete network;
}

// [N, C, S...] of the output, entries beyond the rank are 1.
PCONV_PYTHON_API int32_t pconvPythonGetNetworkOutput(PconvPythonNetwork* network, int64_t* dims) {
    return pconvGetNetworkOutputDims(network->network, dims);
}

// One forward pass of dense memory of the host. `mask` is of a MaskSource, with any strides, null where the
// network has none. Answers kHasFractions where the network takes binary masks and this is none. `updated`
// gets the output's mask in F32, [N or 1, C, O...], null where it is not wanted; it is left alone where the
// output is valid everywhere, and `valid` is then 1.
PCONV_PYTHON_API int32_t pconvPythonForwardNetwork(PconvPythonNetwork* network, const void* x,
                                                   const void* mask, int32_t mask_source,
                                                   const int64_t* mask_strides, void* y, float* updated,
                                                   int32_t* valid) {
    return guarded([&]() -> int32_t {
        PconvPythonNetwork& n = *network;
        const std::lock_guard<std::mutex> lock(n.mutex);
        bool is_new = false;
        if (n.mask.buffer != nullptr) {
            const PlaneSource source{mask, static_cast<MaskSource>(mask_source), n.mask.rank, n.mask.dims,
                                     mask_strides};
            const int32_t status = n.takeMask(source, is_new);
            if (status != PCONV_SUCCESS) return status;
        }
        PconvStatus status = pconvWriteBuffer(n.input.buffer, 0, x, bytesOf(n.input));
        if (status != PCONV_SUCCESS) return status;
        status = pconvForwardNetwork(n.network, &n.input, is_new ? &n.mask : nullptr, &n.output);
        if (status != PCONV_SUCCESS) return status;
        n.has_planes = true;
        status = pconvReadBuffer(n.output.buffer, 0, y, bytesOf(n.output));
        if (status != PCONV_SUCCESS || updated == nullptr) return status;
        int32_t count = 0;
        status = pconvGetNetworkOutputMask(n.network, 0, nullptr, &count);
        if (status != PCONV_SUCCESS) return status;
        std::vector<PconvMaskSegment> segments(static_cast<size_t>(count));
        status = pconvGetNetworkOutputMask(n.network, count, segments.data(), &count);
        if (status != PCONV_SUCCESS) return status;
        *valid = count == 0 ? 1 : 0;
        int64_t channel = 0;
        for (const PconvMaskSegment& segment : segments) {
            const PconvTensor& planes = segment.planes;
            std::vector<uint8_t> bytes(bytesOf(planes));
            status = pconvReadBuffer(planes.buffer, planes.offset, bytes.data(), bytes.size());
            if (status != PCONV_SUCCESS) return status;
            const int64_t images = planes.dims[0];
            const size_t pixels = elementsOf(planes) / static_cast<size_t>(images * planes.dims[1]);
            for (int64_t plane = 0; plane < planes.dims[1]; ++plane)
                for (int64_t i = 0; i < segment.multiplicity; ++i, ++channel)
                    for (int64_t image = 0; image < images; ++image) {
                        float* to =
                            updated + static_cast<size_t>(image * n.output.dims[1] + channel) * pixels;
                        const size_t at = static_cast<size_t>(image * planes.dims[1] + plane) * pixels;
                        for (size_t p = 0; p < pixels; ++p) {
                            if (planes.data_type == PCONV_DATA_TYPE_U8)
                                to[p] = bytes[at + p] != 0 ? 1.0F : 0.0F;
                            else
                                std::memcpy(to + p, bytes.data() + (at + p) * sizeof(float), sizeof(float));
                        }
                    }
        }
        return PCONV_SUCCESS;
    });
}

}  // extern "C"
