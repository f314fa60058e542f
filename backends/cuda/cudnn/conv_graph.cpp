#include "cuda/cudnn/conv_graph.h"

#include <algorithm>

#include "core/half.h"

namespace pconv::cuda {

namespace {

constexpr int64_t kAlignment = 16;

cudnnDataType_t cudnnType(DataType type) {
    switch (type) {
        case DataType::f16:
            return CUDNN_DATA_HALF;
        case DataType::bf16:
            return CUDNN_DATA_BFLOAT16;
        default:
            return CUDNN_DATA_FLOAT;
    }
}

// The last `count` entries.
std::vector<int64_t> tail(const Dims3& dims, int count) {
    return {dims.end() - count, dims.end()};
}

// As much as in front where that gives this output, which more of cuDNN's kernels take; else what windows
// reach.
Dims3 paddingBehind(const Window& w) {
    Dims3 behind = w.padding;
    for (size_t d = 0; d < 3; ++d) {
        const int64_t extent = w.dilation[d] * (w.kernel[d] - 1) + 1;
        const int64_t reach = (w.output[d] - 1) * w.stride[d] + extent - w.input[d] - w.padding[d];
        if ((w.input[d] + 2 * w.padding[d] - extent) / w.stride[d] + 1 != w.output[d])
            behind[d] = std::max<int64_t>(reach, 0);
    }
    return behind;
}

std::string listed(const Dims3& dims) {
    return std::to_string(dims[0]) + "x" + std::to_string(dims[1]) + "x" + std::to_string(dims[2]);
}

}  // namespace

int CudnnConv::spatialDims() const {
    return window.input[0] == 1 && window.kernel[0] == 1 && window.output[0] == 1 && window.padding[0] == 0
               ? 2
               : 3;
}

std::string CudnnConv::key() const {
    static const char* const passes[] = {"forward", "grad_input", "grad_weight"};
    static const char* const types[] = {"f32", "f16", "bf16"};
    std::string text = passes[static_cast<size_t>(pass)];
    text += std::string(" ") + types[static_cast<size_t>(data_type)] + (exact ? " exact" : " fast");
    text += " n" + std::to_string(batch) + " c" + std::to_string(in_channels) + " k" +
            std::to_string(out_channels) + " g" + std::to_string(groups);
    text +=
        " in" + listed(window.input) + " kernel" + listed(window.kernel) + " stride" + listed(window.stride);
    text += " padding" + listed(window.padding) + " dilation" + listed(window.dilation);
    if (paddingBehind(window) != window.padding) text += " behind" + listed(paddingBehind(window));
    if (layout == Layout::contiguous) text += " contiguous";
    if (wide_output) text += " wide";
    if (fused) text += std::string(plain ? " plain" : " fused") + (has_bias ? " bias" : "");
    if (fused && activation == Activation::relu) text += " relu";
    if (fused && activation == Activation::gelu) text += " gelu";
    if (fused && activation == Activation::leaky_relu)
        text += " leaky" + std::to_string(bitsOf(negative_slope));
    return text;
}

std::vector<std::pair<int64_t, size_t>> CudnnConv::tensorBytes() const {
    const auto bytes = [](int64_t rows, int64_t channels, const Dims3& size, DataType type) {
        return static_cast<size_t>(rows * channels * volume(size)) * sizeOf(type);
    };
    std::vector<std::pair<int64_t, size_t>> sizes{
        {kTensorX, bytes(batch, in_channels, window.input, data_type)},
        {kTensorW, bytes(out_channels, in_channels / groups, window.kernel, data_type)},
        {kTensorY, bytes(batch, out_channels, window.output, wide_output ? DataType::f32 : data_type)}};
    if (fused && pass == ConvPass::forward) {
        const size_t plane = bytes(batch, 1, window.output, DataType::f32);
        if (!plain) sizes.emplace_back(kTensorRatio, plane);
        if (has_bias) sizes.emplace_back(kTensorBias, bytes(1, out_channels, {1, 1, 1}, data_type));
        if (!plain && has_bias) sizes.emplace_back(kTensorUpdated, plane);
    }
    if (fused && pass == ConvPass::grad_input)
        sizes.emplace_back(kTensorMask, bytes(batch, 1, window.input, DataType::f32));
    return sizes;
}

// Dense in the graph's layout; `rows` is the batch, or the output channels of a weight.
const CudnnDescriptor& CudnnGraph::tensor(int64_t id, DataType type, int64_t rows, int64_t channels,
                                          const Dims3& size, bool is_virtual) {
    const int spatial = conv_.spatialDims();
    std::vector<int64_t> dims{rows, channels};
    const std::vector<int64_t> inner = tail(size, spatial);
    dims.insert(dims.end(), inner.begin(), inner.end());
    const bool channels_last = conv_.layout == Layout::channels_last;
    std::vector<int64_t> strides(dims.size());
    int64_t stride = channels_last ? channels : 1;
    for (size_t d = dims.size(); d-- > 2;) {
        strides[d] = stride;
        stride *= dims[d];
    }
    strides[1] = channels_last ? 1 : stride;
    strides[0] = channels_last ? stride : stride * channels;
    CudnnDescriptor& descriptor = tensors_.emplace_back(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    descriptor.set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, cudnnType(type))
        .set(CUDNN_ATTR_TENSOR_DIMENSIONS, dims)
        .set(CUDNN_ATTR_TENSOR_STRIDES, strides)
        .set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, id)
        .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, kAlignment);
    if (is_virtual) descriptor.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, true);
    return descriptor.finalize("describing a tensor");
}

// What one operation hands to the next, never in memory.
const CudnnDescriptor& CudnnGraph::between() {
    const bool forward = conv_.pass == ConvPass::forward;
    return tensor(next_virtual_++, DataType::f32, conv_.batch,
                  forward ? conv_.out_channels : conv_.in_channels,
                  forward ? conv_.window.output : conv_.window.input, true);
}

void CudnnGraph::addConvolution(const CudnnDescriptor& x, const CudnnDescriptor& w,
                                const CudnnDescriptor& y) {
    const int spatial = conv_.spatialDims();
    CudnnDescriptor& setting = settings_.emplace_back(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    setting.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT)
        .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, CUDNN_CROSS_CORRELATION)
        .set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, static_cast<int64_t>(spatial))
        .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, tail(conv_.window.padding, spatial))
        .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, tail(paddingBehind(conv_.window), spatial))
        .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, tail(conv_.window.dilation, spatial))
        .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, tail(conv_.window.stride, spatial))
        .finalize("describing a convolution");
    const float one = 1;
    const float zero = 0;
    struct Names {
        cudnnBackendDescriptorType_t type;
        cudnnBackendAttributeName_t setting, x, w, y, alpha, beta;
    };
    static const Names names[] = {
        {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
        {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
        {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA}};
    const Names& name = names[static_cast<size_t>(conv_.pass)];
    operations_.emplace_back(name.type)
        .set(name.setting, setting)
        .set(name.x, x)
        .set(name.w, w)
        .set(name.y, y)
        .set(name.alpha, CUDNN_TYPE_FLOAT, one)
        .set(name.beta, CUDNN_TYPE_FLOAT, zero)
        .finalize("describing the convolution's tensors");
}

void CudnnGraph::addPointwise(cudnnPointwiseMode_t mode, const CudnnDescriptor& x, const CudnnDescriptor* b,
                              const CudnnDescriptor& y) {
    CudnnDescriptor& setting = settings_.emplace_back(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    setting.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, mode)
        .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
    if (mode == CUDNN_POINTWISE_RELU_FWD && conv_.activation == Activation::leaky_relu)
        setting.set(CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP_SLOPE, CUDNN_TYPE_DOUBLE,
                    static_cast<double>(conv_.negative_slope));
    setting.finalize("describing an elementwise step");
    CudnnDescriptor& operation = operations_.emplace_back(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, setting)
        .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x)
        .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    if (b != nullptr) operation.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, *b);
    operation.finalize("describing an elementwise step's tensors");
}

CudnnGraph::CudnnGraph(const CudnnConv& conv, const CudnnTarget& target) : conv_(conv) {
    // References into them must hold while they grow.
    tensors_.reserve(16);
    settings_.reserve(8);
    operations_.reserve(8);
    const Window& w = conv.window;
    const auto input = [&](bool virtual_) -> const CudnnDescriptor& {
        return virtual_ ? between()
                        : tensor(kTensorX, conv.data_type, conv.batch, conv.in_channels, w.input, false);
    };
    const auto output = [&](bool virtual_) -> const CudnnDescriptor& {
        return virtual_ ? between()
                        : tensor(kTensorY, conv.wide_output ? DataType::f32 : conv.data_type, conv.batch,
                                 conv.out_channels, w.output, false);
    };
    const CudnnDescriptor& weight =
        tensor(kTensorW, conv.data_type, conv.out_channels, conv.in_channels / conv.groups, w.kernel, false);
    if (!conv.fused) {
        addConvolution(input(false), weight, output(false));
    } else if (conv.pass == ConvPass::forward) {
        const bool activated = conv.activation != Activation::none;
        const CudnnDescriptor* value = &between();
        addConvolution(input(false), weight, *value);
        // Each step writes the output itself where no other follows.
        const auto step = [&](cudnnPointwiseMode_t mode, const CudnnDescriptor* b, bool last) {
            const CudnnDescriptor& result = output(!last);
            addPointwise(mode, *value, b, result);
            value = &result;
        };
        const auto plane = [&](CudnnTensorId id) {
            return &tensor(id, DataType::f32, conv.batch, 1, w.output, false);
        };
        if (!conv.plain) step(CUDNN_POINTWISE_MUL, plane(kTensorRatio), !conv.has_bias && !activated);
        if (conv.has_bias) {
            step(CUDNN_POINTWISE_ADD,
                 &tensor(kTensorBias, conv.data_type, 1, conv.out_channels, {1, 1, 1}, false),
                 conv.plain && !activated);
            if (!conv.plain) step(CUDNN_POINTWISE_MUL, plane(kTensorUpdated), !activated);
        }
        if (activated)
            step(conv.activation == Activation::gelu ? CUDNN_POINTWISE_GELU_FWD : CUDNN_POINTWISE_RELU_FWD,
                 nullptr, true);
    } else {
        const CudnnDescriptor& value = between();
        addConvolution(value, weight, output(false));
        addPointwise(CUDNN_POINTWISE_MUL, value,
                     &tensor(kTensorMask, DataType::f32, conv.batch, 1, w.input, false), input(false));
    }
    std::vector<cudnnBackendDescriptor_t> handles;
    for (const CudnnDescriptor& operation : operations_) handles.push_back(operation.handle());
    graph_ = CudnnDescriptor(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    target.setOnGraph(graph_);
    graph_.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, handles.data(), handles.size())
        .finalize("describing the graph");
}

}  // namespace pconv::cuda
