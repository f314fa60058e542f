#include "core/descriptor.h"

#include <cmath>
#include <cstdlib>

#include "core/checked.h"
#include "core/padding.h"

namespace pconv {

namespace {

std::string at(const char* name, int dimension) {
    return std::string(name) + "[" + std::to_string(dimension) + "]";
}

int64_t inRange(int64_t value, int64_t least, const std::string& name) {
    if (value < least || value > kMaxSize)
        invalid(name + " is " + std::to_string(value) + "; expected " + std::to_string(least) + " to " +
                std::to_string(kMaxSize));
    return value;
}

template <typename To, typename From>
To oneOf(const From& value, int count, const char* name) {
    const int64_t number = enumNumber(value);
    if (number < 0 || number >= count)
        invalid(std::string(name) + " is " + std::to_string(number) + "; expected 0 to " +
                std::to_string(count - 1));
    return static_cast<To>(number);
}

DataType parseDataType(const PconvDataType& type) {
    if (enumNumber(type) == PCONV_DATA_TYPE_U8)
        invalid("data_type is PCONV_DATA_TYPE_U8; expected F32, F16 or BF16");
    return oneOf<DataType>(type, 3, "data_type");
}

// What PyTorch asks of its padding functions.
void checkPadding(int64_t padding, int64_t size, PaddingMode mode, const std::string& name) {
    const bool reflect = mode == PaddingMode::reflect;
    if (reflect ? padding >= size : mode == PaddingMode::circular && padding > size)
        invalid(name + " is " + std::to_string(padding) + "; expected " +
                (reflect ? "less than" : "at most") + " the input's " + std::to_string(size) + " to " +
                (reflect ? "reflect" : "wrap around"));
}

Window parseWindow(const PconvPartialConvDesc& desc, PaddingMode mode) {
    Window window;
    const int leading = 3 - desc.spatial_dims;
    for (int i = 0; i < desc.spatial_dims; ++i) {
        const auto d = static_cast<size_t>(leading + i);
        window.input[d] = inRange(desc.input_size[i], 1, at("input_size", i));
        window.kernel[d] = inRange(desc.kernel[i], 1, at("kernel", i));
        window.stride[d] = inRange(desc.stride[i], 1, at("stride", i));
        window.padding[d] = inRange(desc.padding[i], 0, at("padding", i));
        window.dilation[d] = inRange(desc.dilation[i], 1, at("dilation", i));
        const int64_t extent = window.dilation[d] * (window.kernel[d] - 1) + 1;
        window.padding_end[d] = desc.padding_end[i] == PCONV_PADDING_AS_IN_FRONT
                                    ? window.padding[d]
                                    : inRange(desc.padding_end[i], 0, at("padding_end", i));
        checkPadding(window.padding[d], window.input[d], mode, at("padding", i));
        checkPadding(window.padding_end[d], window.input[d], mode, at("padding_end", i));
        const int64_t padded = window.input[d] + window.padding[d] + window.padding_end[d];
        if (extent > padded)
            invalid(at("kernel", i) + " with its dilation spans " + std::to_string(extent) +
                    " elements; expected at most the padded input's " + std::to_string(padded));
        if (mode != PaddingMode::zeros) inRange(padded, 1, "the padded " + at("input_size", i));
        window.output[d] = inRange((padded - extent) / window.stride[d] + 1, 1, at("output_size", i));
    }
    return window;
}

void checkMaskedConvolution(PartialConvDesc& desc) {
    for (const int64_t kernel : desc.window.kernel)
        if (kernel % 2 == 0 && desc.mask_type != MaskType::none)
            invalid("kernel is " + std::to_string(kernel) +
                    "; expected an odd size for a masked convolution");
    if (desc.mask_type != MaskType::none && !desc.multi_channel)
        invalid(
            "mask_mode is single-channel; expected PCONV_MASK_MODE_MULTI_CHANNEL for a masked convolution");
    desc.group_window = false;  // its mask has a channel for each output channel
}

int64_t checkedVolume(const Dims3& dims, const char* what) {
    return checkedProduct(checkedProduct(dims[0], dims[1], what), dims[2], what);
}

// Every tensor must be countable in bytes.
void checkVolumes(const PartialConvDesc& desc) {
    const auto check = [](int64_t outer, int64_t inner, const Dims3& dims, const char* what) {
        checkedProduct(checkedProduct(checkedProduct(outer, inner, what), checkedVolume(dims, what), what),
                       16, what);
    };
    check(desc.batch, desc.in_channels, desc.window.input, "the input");
    if (desc.padding_mode != PaddingMode::zeros)
        check(desc.batch, desc.in_channels, paddedSize(desc.window), "the padded input");
    check(desc.batch, desc.out_channels, desc.window.output, "the output");
    check(desc.out_channels, desc.in_channels / desc.groups, desc.window.kernel, "the weight");
    // Window sums of binary masks are exact in f32 up to 2^24.
    checkedProduct(checkedVolume(desc.window.kernel, "the window"), desc.in_channels, "the window");
}

}  // namespace

PartialConvDesc parsePartialConvDesc(const PconvPartialConvDesc* caller) {
    const PconvPartialConvDesc desc = copyVersioned(caller, pconvDefaultPartialConvDesc(2), "desc");
    if (desc.spatial_dims < 1 || desc.spatial_dims > 3)
        invalid("spatial_dims is " + std::to_string(desc.spatial_dims) + "; expected 1, 2 or 3");
    PartialConvDesc result;
    result.spatial_dims = desc.spatial_dims;
    result.batch = inRange(desc.batch, 1, "batch");
    result.in_channels = inRange(desc.in_channels, 1, "in_channels");
    result.out_channels = inRange(desc.out_channels, 1, "out_channels");
    result.groups = inRange(desc.groups, 1, "groups");
    if (result.in_channels % result.groups != 0 || result.out_channels % result.groups != 0)
        invalid("groups is " + std::to_string(result.groups) + "; expected a divisor of in_channels " +
                std::to_string(result.in_channels) + " and out_channels " +
                std::to_string(result.out_channels));
    result.padding_mode = oneOf<PaddingMode>(desc.padding_mode, 4, "padding_mode");
    result.window = parseWindow(desc, result.padding_mode);
    const Dims3 none{0, 0, 0};
    if (result.window.padding == none && result.window.padding_end == none)
        result.padding_mode = PaddingMode::zeros;
    result.data_type = parseDataType(desc.data_type);
    result.input_layout = oneOf<Layout>(desc.input_layout, 2, "input_layout");
    result.output_layout = oneOf<Layout>(desc.output_layout, 2, "output_layout");
    result.mask_type = oneOf<MaskType>(desc.mask_type, 3, "mask_type");
    result.multi_channel = oneOf<int>(desc.mask_mode, 2, "mask_mode") == PCONV_MASK_MODE_MULTI_CHANNEL;
    const bool group_window =
        oneOf<int>(desc.mask_window, 2, "mask_window") == PCONV_MASK_WINDOW_GROUP_CHANNELS;
    result.group_window = result.multi_channel && group_window;
    result.normalization = oneOf<Normalization>(desc.normalization, 3, "normalization");
    if (result.maskedConvolution()) checkMaskedConvolution(result);
    if (!std::isfinite(desc.eps) || desc.eps < 0) invalid("eps is not a finite number of at least 0");
    result.eps = static_cast<float>(desc.eps);
    if (!std::isfinite(result.eps)) invalid("eps is larger than a float can hold");
    result.activation = oneOf<Activation>(desc.activation, 4, "activation");
    if (!std::isfinite(desc.negative_slope)) invalid("negative_slope is not a finite number");
    result.negative_slope = desc.negative_slope;
    result.fast_math = oneOf<int>(desc.math, 2, "math") == PCONV_MATH_FAST;
    result.has_bias = desc.has_bias != 0;
    result.input_is_masked = desc.input_is_masked != 0;
    result.training = desc.training != 0;
    if (result.training && result.activation != Activation::none)
        invalid("activation is fused into a training convolution; expected PCONV_ACTIVATION_NONE");
    checkVolumes(result);
    return result;
}

std::string pinnedImplementation(const PconvPartialConvDesc& caller) {
    const PconvPartialConvDesc desc = copyVersioned(&caller, pconvDefaultPartialConvDesc(2), "desc");
    if (desc.implementation != nullptr) return desc.implementation;
    const char* pinned = std::getenv("PCONV_IMPL");
    return pinned != nullptr ? pinned : "";
}

MaskForm parseMaskForm(const PartialConvDesc& desc, const PconvMask* caller) {
    MaskForm form;
    if (desc.mask_type == MaskType::none) {
        if (caller != nullptr)
            invalid("mask is given; expected null where mask_type is PCONV_MASK_TYPE_NONE");
        return form;
    }
    const PconvMask mask = copyVersioned(caller, pconvDefaultMask(), "mask");
    form.hole_is_one = oneOf<int>(mask.polarity, 2, "mask->polarity") == PCONV_MASK_HOLE_IS_ONE;
    if (mask.segment_count < 1 || mask.segments == nullptr)
        invalid("mask has no segments; expected at least one");
    if (!desc.multi_channel && mask.segment_count > 1)
        invalid("mask has " + std::to_string(mask.segment_count) +
                " segments; expected one in single-channel mode");
    if (mask.segment_count > desc.in_channels)
        invalid("mask has " + std::to_string(mask.segment_count) +
                " segments; expected at most in_channels, " + std::to_string(desc.in_channels));
    const bool binary = desc.mask_type == MaskType::binary;
    const int rank = desc.spatial_dims + 2;
    int64_t channels = 0;
    for (int i = 0; i < mask.segment_count; ++i) {
        const PconvMaskSegment& segment = mask.segments[i];
        const std::string name = "mask segment " + std::to_string(i);
        const bool bits = binary && enumNumber(segment.planes.data_type) == PCONV_DATA_TYPE_BITS;
        if (!bits &&
            enumNumber(segment.planes.data_type) != (binary ? PCONV_DATA_TYPE_U8 : PCONV_DATA_TYPE_F32))
            invalid(name + " has the wrong data type; expected " +
                    (binary ? "U8 or BITS for a binary mask" : "F32 for a fractional mask"));
        if (segment.planes.rank != rank)
            invalid(name + " has " + std::to_string(segment.planes.rank) + " dimensions; expected " +
                    std::to_string(rank));
        const int64_t batch = segment.planes.dims[0];
        if (batch != 1 && batch != desc.batch)
            invalid(name + " has batch " + std::to_string(batch) + "; expected 1 or " +
                    std::to_string(desc.batch));
        if (i > 0 && batch != form.batch)
            invalid(name + " has batch " + std::to_string(batch) + "; expected that of segment 0, " +
                    std::to_string(form.batch));
        form.batch = batch;
        const int64_t planes = inRange(segment.planes.dims[1], 1, name + " plane count");
        const int64_t multiplicity =
            desc.multi_channel ? inRange(segment.multiplicity, 1, name + " multiplicity") : 1;
        for (int d = 0; d < desc.spatial_dims; ++d) {
            const int64_t expected = desc.window.input[static_cast<size_t>(3 - desc.spatial_dims + d)];
            if (segment.planes.dims[2 + d] != expected)
                invalid(name + " has size " + std::to_string(segment.planes.dims[2 + d]) +
                        " in spatial dimension " + std::to_string(d) + "; expected the input's " +
                        std::to_string(expected));
        }
        channels += checkedProduct(planes, multiplicity, "the mask");
        if (channels > desc.in_channels) break;
        form.segments.push_back({planes, multiplicity, bits});
    }
    if (desc.multi_channel && channels != desc.in_channels)
        invalid("mask planes times multiplicity make " + std::to_string(channels) +
                " channels; expected in_channels, " + std::to_string(desc.in_channels));
    if (!desc.multi_channel && channels != 1)
        invalid("mask has " + std::to_string(channels) + " planes; expected one in single-channel mode");
    return form;
}

bool sameMaskSide(const PartialConvDesc& a, const PartialConvDesc& b) {
    // Its mask is made from the weights.
    const bool of_weights = a.maskedConvolution() && a.mask_type != MaskType::none;
    if (of_weights && (a.out_channels != b.out_channels || a.groups != b.groups)) return false;
    return a.spatial_dims == b.spatial_dims && a.batch == b.batch && a.window == b.window &&
           a.mask_type == b.mask_type && a.multi_channel == b.multi_channel &&
           a.padding_mode == b.padding_mode && a.group_window == b.group_window &&
           (!a.multi_channel || a.in_channels == b.in_channels) &&
           (!a.group_window || a.groups == b.groups) && a.normalization == b.normalization && a.eps == b.eps;
}

}  // namespace pconv
