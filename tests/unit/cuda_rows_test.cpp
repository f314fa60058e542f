// The rows of the CUDA device against cpu:reference: every data type, both math modes, both layouts, every
// form of mask, forward and backward. The bound of an element grows with the sum of the magnitudes of its
// products, which the reference makes of the magnitudes of the operands.
#include <array>
#include <cmath>
#include <random>

#include "core/half.h"
#include "support/cuda.h"

namespace pconv::test {
namespace {

enum class MaskKind { none, one_plane, shared_by_batch, fractional, channels, group_window };

struct Setting {
    const char* name;
    int dims;
    int64_t batch, in_channels, out_channels, groups, size, kernel, stride, dilation;
    MaskKind mask;
    bool has_bias;
    PconvActivation activation;
    PconvNormalization normalization;
    int64_t padding = -1;  // half the kernel
    bool hole_is_one = false;
    bool input_is_masked = false;
    double eps = 1e-8;
};

constexpr PconvActivation kNone = PCONV_ACTIVATION_NONE;
constexpr PconvActivation kRelu = PCONV_ACTIVATION_RELU;
constexpr PconvActivation kLeaky = PCONV_ACTIVATION_LEAKY_RELU;
constexpr PconvActivation kGelu = PCONV_ACTIVATION_GELU;
constexpr PconvNormalization kWindow = PCONV_NORMALIZATION_WINDOW_RATIO;
constexpr PconvNormalization kSum = PCONV_NORMALIZATION_MASK_SUM;
constexpr PconvNormalization kMagnitude = PCONV_NORMALIZATION_WEIGHT_MAGNITUDE;

const Setting kSettings[] = {
    {"plain", 2, 2, 8, 8, 1, 7, 3, 1, 1, MaskKind::one_plane, true, kNone, kWindow},
    {"no_bias", 2, 2, 8, 16, 1, 6, 3, 1, 1, MaskKind::one_plane, false, kLeaky, kWindow},
    {"relu_shared_mask", 2, 3, 5, 7, 1, 6, 3, 2, 1, MaskKind::shared_by_batch, true, kRelu, kWindow},
    {"no_mask", 2, 1, 3, 8, 1, 9, 5, 2, 1, MaskKind::none, true, kLeaky, kWindow},
    {"fractional", 2, 2, 8, 8, 1, 6, 3, 1, 2, MaskKind::fractional, true, kLeaky, kWindow},
    {"channels", 2, 2, 8, 6, 2, 6, 3, 1, 1, MaskKind::channels, true, kNone, kWindow},
    {"group_window", 2, 2, 8, 6, 2, 5, 3, 1, 1, MaskKind::group_window, true, kNone, kWindow},
    {"depthwise", 2, 1, 8, 8, 8, 6, 3, 1, 1, MaskKind::one_plane, true, kNone, kWindow},
    {"line", 1, 2, 8, 8, 1, 20, 5, 2, 1, MaskKind::one_plane, true, kNone, kWindow},
    {"volume", 3, 1, 4, 8, 1, 5, 3, 1, 1, MaskKind::one_plane, true, kLeaky, kWindow},
    {"strided_volume", 3, 2, 4, 4, 1, 5, 3, 2, 1, MaskKind::shared_by_batch, true, kNone, kWindow},
    {"mask_sum", 2, 2, 8, 8, 1, 6, 3, 1, 1, MaskKind::one_plane, true, kNone, kSum},
    {"gelu", 2, 2, 8, 8, 1, 7, 3, 1, 1, MaskKind::one_plane, true, kGelu, kWindow},
    {"gelu_channels", 2, 1, 8, 9, 1, 6, 3, 1, 1, MaskKind::channels, false, kGelu, kWindow},
    {"hole_is_one", 2, 2, 8, 8, 1, 7, 3, 1, 1, MaskKind::fractional, true, kRelu, kWindow, -1, true},
    {"masked_already", 2, 2, 8, 8, 1, 7, 3, 1, 1, MaskKind::one_plane, true, kNone, kWindow, -1, false, true},
    {"fractions_masked_already", 2, 2, 8, 8, 1, 7, 3, 1, 1, MaskKind::fractional, true, kNone, kWindow, -1,
     false, true},
    {"masked_conv", 2, 2, 8, 8, 1, 7, 3, 1, 1, MaskKind::one_plane, true, kGelu, kMagnitude},
    {"masked_conv_groups", 2, 2, 8, 6, 2, 7, 3, 2, 1, MaskKind::channels, false, kNone, kMagnitude},
    // The dense convolution.
    {"dense", 2, 2, 8, 8, 1, 7, 3, 1, 1, MaskKind::none, true, kLeaky, kMagnitude},
    {"dense_no_bias", 2, 2, 5, 8, 1, 7, 3, 2, 1, MaskKind::none, false, kRelu, kMagnitude},
    {"dense_alone", 2, 2, 8, 8, 1, 7, 3, 1, 1, MaskKind::none, false, kNone, kMagnitude},
    {"dense_volume", 3, 1, 4, 8, 1, 5, 3, 1, 1, MaskKind::none, true, kNone, kMagnitude},
};

struct Type {
    const char* name;
    PconvDataType type;
    PconvMath math;
    double input_unit;  // the rounding of an operand on its way into a product
    double output_unit;
};
const double kF32 = std::ldexp(1.0, -24);
const Type kTypes[] = {
    {"f32", PCONV_DATA_TYPE_F32, PCONV_MATH_EXACT, 0, kF32},
    {"tf32", PCONV_DATA_TYPE_F32, PCONV_MATH_FAST, std::ldexp(1.0, -11), kF32},
    {"f16", PCONV_DATA_TYPE_F16, PCONV_MATH_EXACT, std::ldexp(1.0, -11), std::ldexp(1.0, -11)},
    {"bf16", PCONV_DATA_TYPE_BF16, PCONV_MATH_EXACT, std::ldexp(1.0, -8), std::ldexp(1.0, -8)},
    {"f16fast", PCONV_DATA_TYPE_F16, PCONV_MATH_FAST, std::ldexp(1.0, -11), std::ldexp(1.0, -11)},
    {"bf16fast", PCONV_DATA_TYPE_BF16, PCONV_MATH_FAST, std::ldexp(1.0, -8), std::ldexp(1.0, -8)},
};

using Values = std::vector<float>;
using Shape = std::vector<int64_t>;

int64_t count(const Shape& shape) {
    int64_t product = 1;
    for (const int64_t d : shape) product *= d;
    return product;
}

float rounded(float value, PconvDataType type) {
    if (type == PCONV_DATA_TYPE_F16) return floatFromF16(f16FromFloat(value));
    if (type == PCONV_DATA_TYPE_BF16) return floatFromBf16(bf16FromFloat(value));
    return value;
}

Values randomValues(const Shape& shape, PconvDataType type, uint32_t seed) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> uniform(-1, 1);
    Values values(static_cast<size_t>(count(shape)));
    for (float& value : values) value = rounded(uniform(random), type);
    return values;
}

Values magnitudes(Values values) {
    for (float& value : values) value = std::abs(value);
    return values;
}

// A tensor in memory of its own, dense in either layout.
struct Placed {
    Placed(PconvDevice device, const Shape& dims, PconvDataType data_type, bool channels_last,
           const Values& values)
        : shape(dims), type(data_type), strides(dims.size()) {
        int64_t stride = channels_last ? dims[1] : 1;
        for (size_t d = dims.size(); d-- > (channels_last ? 2U : 0U);) {
            strides[d] = stride;
            stride *= dims[d];
        }
        if (channels_last) {
            strides[1] = 1;
            strides[0] = stride;
        }
        const size_t unit = type == PCONV_DATA_TYPE_F32 ? 4 : type == PCONV_DATA_TYPE_U8 ? 1 : 2;
        std::vector<unsigned char> bytes(static_cast<size_t>(count(shape)) * unit);
        forEach([&](size_t i, size_t at) {
            if (type == PCONV_DATA_TYPE_F32)
                std::memcpy(&bytes[at * 4], &values[i], 4);
            else if (type == PCONV_DATA_TYPE_U8)
                bytes[at] = values[i] != 0 ? 1 : 0;
            else {
                const uint16_t half =
                    type == PCONV_DATA_TYPE_F16 ? f16FromFloat(values[i]) : bf16FromFloat(values[i]);
                std::memcpy(&bytes[at * 2], &half, 2);
            }
        });
        buffer = makeBuffer(device, bytes);
        view = makeTensor(buffer.get(), type, shape);
        std::copy(strides.begin(), strides.end(), view.strides);
    }

    Values read() const {
        const size_t unit = type == PCONV_DATA_TYPE_F32 ? 4 : 2;
        const auto bytes = readBuffer<unsigned char>(buffer.get(), static_cast<size_t>(count(shape)) * unit);
        Values values(static_cast<size_t>(count(shape)));
        forEach([&](size_t i, size_t at) {
            uint16_t half = 0;
            if (type == PCONV_DATA_TYPE_F32)
                std::memcpy(&values[i], &bytes[at * 4], 4);
            else
                std::memcpy(&half, &bytes[at * 2], 2);
            if (type == PCONV_DATA_TYPE_F16) values[i] = floatFromF16(half);
            if (type == PCONV_DATA_TYPE_BF16) values[i] = floatFromBf16(half);
        });
        return values;
    }

    template <typename Body>
    void forEach(const Body& body) const {
        for (int64_t i = 0; i < count(shape); ++i) {
            int64_t left = i;
            int64_t at = 0;
            for (size_t d = shape.size(); d-- > 0; left /= shape[d]) at += left % shape[d] * strides[d];
            body(static_cast<size_t>(i), static_cast<size_t>(at));
        }
    }

    Shape shape;
    PconvDataType type;
    std::vector<int64_t> strides;
    OwnedBuffer buffer;
    PconvTensor view{};
};

struct Operands {
    Values input, weight, bias, grad_output;
    std::vector<Values> planes;  // as the caller hands them over
    bool hole_is_one;
    Values old_input, old_weight, old_bias;  // what gradients are added to
};

struct Answers {
    Values output, grad_input, grad_weight, grad_bias;
};

struct Shapes {
    Shape input, weight, bias, output;
    std::vector<Shape> planes;
    std::vector<int64_t> multiplicities;
};

PconvPartialConvDesc descOf(const Setting& s, const Type& type, bool training) {
    PconvPartialConvDesc desc = pconvDefaultPartialConvDesc(s.dims);
    desc.batch = s.batch;
    desc.in_channels = s.in_channels;
    desc.out_channels = s.out_channels;
    desc.groups = s.groups;
    for (int d = 0; d < s.dims; ++d) {
        desc.input_size[d] = s.size + d;
        desc.kernel[d] = s.kernel;
        desc.stride[d] = s.stride;
        desc.dilation[d] = s.dilation;
        desc.padding[d] = s.padding >= 0 ? s.padding : s.kernel / 2;
    }
    desc.data_type = type.type;
    desc.math = type.math;
    desc.mask_type = s.mask == MaskKind::none         ? PCONV_MASK_TYPE_NONE
                     : s.mask == MaskKind::fractional ? PCONV_MASK_TYPE_FRACTIONAL
                                                      : PCONV_MASK_TYPE_BINARY;
    const bool multi = s.mask == MaskKind::channels || s.mask == MaskKind::group_window ||
                       (s.mask != MaskKind::none && s.normalization == kMagnitude);
    if (multi) desc.mask_mode = PCONV_MASK_MODE_MULTI_CHANNEL;
    if (s.mask == MaskKind::group_window) desc.mask_window = PCONV_MASK_WINDOW_GROUP_CHANNELS;
    desc.normalization = s.normalization;
    desc.eps = s.eps;
    desc.input_is_masked = s.input_is_masked ? 1 : 0;
    desc.has_bias = s.has_bias ? 1 : 0;
    desc.training = training ? 1 : 0;
    desc.activation = training ? kNone : s.activation;
    desc.negative_slope = 0.2F;
    return desc;
}

Shapes shapesOf(const Setting& s, const PconvPartialConvDesc& desc) {
    int64_t out[PCONV_MAX_SPATIAL_DIMS];
    check(pconvGetOutputSize(&desc, out));
    Shapes shapes{{s.batch, s.in_channels},
                  {s.out_channels, s.in_channels / s.groups},
                  {s.out_channels},
                  {s.batch, s.out_channels},
                  {},
                  {}};
    Shape plane{s.mask == MaskKind::shared_by_batch ? 1 : s.batch, 1};
    for (int d = 0; d < s.dims; ++d) {
        shapes.input.push_back(desc.input_size[d]);
        shapes.weight.push_back(desc.kernel[d]);
        shapes.output.push_back(out[d]);
        plane.push_back(desc.input_size[d]);
    }
    if (s.mask == MaskKind::none) return shapes;
    shapes.planes = {plane};
    shapes.multiplicities = {s.in_channels};
    if (s.mask == MaskKind::channels || s.mask == MaskKind::group_window) {
        // One plane for the first 5 channels, then one for each.
        shapes.multiplicities = {5, 1};
        shapes.planes.push_back(plane);
        shapes.planes[1][1] = s.in_channels - 5;
    }
    return shapes;
}

// The mask's value for element i of the input.
float maskAt(const Operands& operands, const Shapes& shapes, size_t i) {
    const int64_t volume = count(shapes.input) / shapes.input[0] / shapes.input[1];
    const int64_t position = static_cast<int64_t>(i) % volume;
    int64_t channel = static_cast<int64_t>(i) / volume % shapes.input[1];
    size_t segment = 0;
    while (channel >= shapes.planes[segment][1] * shapes.multiplicities[segment]) {
        channel -= shapes.planes[segment][1] * shapes.multiplicities[segment];
        ++segment;
    }
    const Shape& planes = shapes.planes[segment];
    const int64_t image = planes[0] == 1 ? 0 : static_cast<int64_t>(i) / volume / shapes.input[1];
    const int64_t plane = image * planes[1] + channel / shapes.multiplicities[segment];
    const float value = operands.planes[segment][static_cast<size_t>(plane * volume + position)];
    return operands.hole_is_one ? 1 - value : value;
}

void fillHoles(Operands& operands, const Shapes& shapes, float value) {
    for (size_t i = 0; i < operands.input.size(); ++i)
        if (maskAt(operands, shapes, i) == 0) operands.input[i] = value;
}

Operands operandsOf(const Setting& s, const Shapes& shapes, PconvDataType type) {
    Operands operands{randomValues(shapes.input, type, 1),
                      randomValues(shapes.weight, type, 2),
                      randomValues(shapes.bias, type, 3),
                      randomValues(shapes.output, type, 4),
                      {},
                      s.hole_is_one,
                      randomValues(shapes.input, type, 5),
                      randomValues(shapes.weight, type, 6),
                      randomValues(shapes.bias, type, 7)};
    for (const Shape& shape : shapes.planes) {
        Values plane = randomValues(shape, PCONV_DATA_TYPE_F32, 8);
        // Holes wider than a window, single ones, and fractions where there are any.
        for (size_t i = 0; i < plane.size(); ++i) {
            const bool hole = i % 50 < 20 || plane[i] < -0.5F;
            plane[i] = hole ? 0 : s.mask == MaskKind::fractional ? std::abs(plane[i]) : 1;
            if (s.hole_is_one) plane[i] = 1 - plane[i];
        }
        operands.planes.push_back(plane);
    }
    if (s.input_is_masked && s.mask != MaskKind::none) fillHoles(operands, shapes, 0);
    return operands;
}

struct Form {
    bool input_last, output_last, accumulate;
};

const OwnedDevice& cudaDevice() {
    static const OwnedDevice device = openDevice("cuda");
    return device;
}

const OwnedDevice& cpuDevice() {
    static const OwnedDevice device = openDevice("cpu");
    return device;
}

// What one row makes of the operands; backward where `training`.
Answers answersOf(PconvDevice device, const char* row, PconvPartialConvDesc desc, const Shapes& shapes,
                  const Operands& operands, const Form& form) {
    desc.implementation = row;
    desc.input_layout = form.input_last ? PCONV_LAYOUT_CHANNELS_LAST : PCONV_LAYOUT_CONTIGUOUS;
    desc.output_layout = form.output_last ? PCONV_LAYOUT_CHANNELS_LAST : PCONV_LAYOUT_CONTIGUOUS;
    const Placed input(device, shapes.input, desc.data_type, form.input_last, operands.input);
    const Placed weight(device, shapes.weight, desc.data_type, false, operands.weight);
    const Placed bias(device, shapes.bias, desc.data_type, false, operands.bias);
    const Placed output(device, shapes.output, desc.data_type, form.output_last,
                        Values(operands.grad_output.size(), NAN));
    std::vector<Placed> planes;
    std::vector<PconvMaskSegment> segments;
    for (size_t i = 0; i < shapes.planes.size(); ++i) {
        const bool fractional = desc.mask_type == PCONV_MASK_TYPE_FRACTIONAL;
        planes.emplace_back(device, shapes.planes[i], fractional ? PCONV_DATA_TYPE_F32 : PCONV_DATA_TYPE_U8,
                            false, operands.planes[i]);
    }
    for (size_t i = 0; i < planes.size(); ++i) segments.push_back({planes[i].view, shapes.multiplicities[i]});
    PconvMask mask = pconvDefaultMask();
    mask.segment_count = static_cast<int32_t>(segments.size());
    mask.segments = segments.data();
    if (operands.hole_is_one) mask.polarity = PCONV_MASK_HOLE_IS_ONE;
    const PconvMask* const given = segments.empty() ? nullptr : &mask;

    OwnedMaskUpdate update;
    OwnedPartialConv conv;
    check(pconvCreateMaskUpdate(device, &desc, given, update.out()));
    check(pconvCreatePartialConv(device, &desc, conv.out()));
    if (desc.normalization == kMagnitude && given != nullptr)
        check(pconvSetMaskUpdateWeights(update.get(), &weight.view));
    check(pconvComputeMaskUpdate(update.get(), given));
    check(pconvSetPartialConvWeights(conv.get(), &weight.view, desc.has_bias != 0 ? &bias.view : nullptr));
    check(pconvForwardPartialConv(conv.get(), update.get(), &input.view, &output.view));
    Answers answers;
    answers.output = output.read();
    if (desc.training == 0) return answers;

    const Placed grad_output(device, shapes.output, desc.data_type, form.output_last, operands.grad_output);
    const Values poison(operands.input.size() + operands.weight.size() + operands.bias.size(), NAN);
    const Placed dx(device, shapes.input, desc.data_type, form.input_last,
                    form.accumulate ? operands.old_input : poison);
    const Placed dw(device, shapes.weight, desc.data_type, false,
                    form.accumulate ? operands.old_weight : poison);
    const Placed db(device, shapes.bias, desc.data_type, false, form.accumulate ? operands.old_bias : poison);
    PconvGradients gradients = pconvDefaultGradients();
    gradients.grad_input = &dx.view;
    gradients.grad_weight = &dw.view;
    gradients.grad_bias = desc.has_bias != 0 ? &db.view : nullptr;
    gradients.accumulate = form.accumulate ? 1 : 0;
    check(pconvBackwardPartialConv(conv.get(), update.get(), &input.view, &grad_output.view, &gradients));
    answers.grad_input = dx.read();
    answers.grad_weight = dw.read();
    if (desc.has_bias != 0) answers.grad_bias = db.read();
    return answers;
}

void expectWithin(const char* what, const Values& got, const Values& expected, const Values& scale,
                  const Type& type) {
    ASSERT_EQ(got.size(), expected.size()) << what;
    for (size_t i = 0; i < got.size(); ++i) {
        // Two operands rounded, dc rounded once more, and what is added to rounded with the result.
        const double bound = (32 * kF32 + 3 * type.input_unit) * std::abs(scale[i]) +
                             2 * type.output_unit * std::abs(expected[i]) + std::ldexp(1.0, -24);
        ASSERT_LE(std::abs(static_cast<double>(got[i]) - expected[i]), bound)
            << what << " at " << i << ": " << got[i] << ", expected " << expected[i];
    }
}

struct Case {
    std::string row;
    Setting setting;
    Type type;
};

std::string caseName(const Case& c) {
    return c.row.substr(5) + "_" + c.setting.name + "_" + c.type.name;
}

std::vector<Case> allCases() {
    std::vector<Case> cases;
    for (const char* row : {"cuda:cudnn", "cuda:igemm", "cuda:direct"})
        for (const Setting& setting : kSettings)
            for (const Type& type : kTypes) cases.push_back({row, setting, type});
    return cases;
}

void PrintTo(const Case& c, std::ostream* stream) {
    *stream << caseName(c);
}

// "" where the row takes the descriptor, else its reason.
std::string declines(PconvDevice device, const std::string& row, const PconvPartialConvDesc& desc) {
    int32_t rows = 0;
    check(pconvGetImplementationCount(device, &rows));
    for (int32_t i = 0; i < rows; ++i) {
        PconvImplementationInfo info = pconvDefaultImplementationInfo();
        check(pconvGetImplementationInfo(device, i, &desc, &info));
        if (row == info.name) return info.reason;
    }
    return "there is no such row";
}

// Declining is right for these alone.
bool mayDecline(const Case& c) {
    const bool exact_f32 = c.type.type == PCONV_DATA_TYPE_F32 && c.type.math == PCONV_MATH_EXACT;
    const bool rounds_mask = c.type.type != PCONV_DATA_TYPE_F32 && c.type.math == PCONV_MATH_EXACT &&
                             c.setting.mask == MaskKind::fractional;
    if (c.row == "cuda:igemm") return exact_f32 || rounds_mask || c.setting.groups > 1;
    // Sums in f32 of 16-bit operands, which a mask for each group needs, want channels in whole vectors.
    const bool wide_sums = c.type.type != PCONV_DATA_TYPE_F32 &&
                           (c.setting.mask == MaskKind::group_window ||
                            (c.setting.normalization == kMagnitude && c.setting.mask != MaskKind::none)) &&
                           (c.setting.in_channels / c.setting.groups % 8 != 0 ||
                            c.setting.out_channels / c.setting.groups % 8 != 0);
    return c.row == "cuda:cudnn" && (rounds_mask || wide_sums);
}

// False where the row declines, as it may.
bool expectAgreement(const Case& c, bool training, const Form& form) {
    const auto& [row, setting, type] = c;
    const OwnedDevice& cuda = cudaDevice();
    const OwnedDevice& cpu = cpuDevice();
    const PconvPartialConvDesc desc = descOf(setting, type, training);
    if (const std::string reason = declines(cuda.get(), row, desc); !reason.empty()) {
        EXPECT_TRUE(mayDecline(c)) << reason;
        return false;
    }
    SCOPED_TRACE(std::string(form.input_last ? "channels last" : "contiguous") + " to " +
                 (form.output_last ? "channels last" : "contiguous") + (form.accumulate ? ", added" : ""));
    const Shapes shapes = shapesOf(setting, desc);
    const Operands operands = operandsOf(setting, shapes, type.type);
    Operands sizes = operands;
    for (Values* values : {&sizes.input, &sizes.weight, &sizes.bias, &sizes.grad_output, &sizes.old_input,
                           &sizes.old_weight, &sizes.old_bias})
        *values = magnitudes(*values);
    PconvPartialConvDesc reference = desc;
    reference.data_type = PCONV_DATA_TYPE_F32;
    reference.math = PCONV_MATH_EXACT;
    const Form plain{false, false, form.accumulate};
    const Answers expected = answersOf(cpu.get(), "cpu:reference", reference, shapes, operands, plain);
    const Answers scale = answersOf(cpu.get(), "cpu:reference", reference, shapes, sizes, plain);
    Operands poisoned = operands;
    // What lies in holes must not be read, but by the masked convolution.
    const bool reads_holes = setting.normalization == kMagnitude || setting.input_is_masked;
    if (setting.mask != MaskKind::none && !reads_holes) fillHoles(poisoned, shapes, NAN);
    const Answers got = answersOf(cuda.get(), row.c_str(), desc, shapes, poisoned, form);
    expectWithin("the output", got.output, expected.output, scale.output, type);
    if (!training) return true;
    expectWithin("the input's gradient", got.grad_input, expected.grad_input, scale.grad_input, type);
    expectWithin("the weight's gradient", got.grad_weight, expected.grad_weight, scale.grad_weight, type);
    expectWithin("the bias's gradient", got.grad_bias, expected.grad_bias, scale.grad_bias, type);
    return true;
}

class CudaRows : public OnCudaDevice<testing::TestWithParam<Case>> {};

TEST_P(CudaRows, AgreeWithTheReference) {
    for (const bool training : {false, true})
        for (const Form& form : {Form{false, false, false}, Form{true, true, false}, Form{true, false, true},
                                 Form{false, true, true}})
            if (!expectAgreement(GetParam(), training, form)) GTEST_SKIP() << "declined";
}

// Drawn from a number: the same setting everywhere.
Setting randomSetting(uint32_t number) {
    std::mt19937 random(number);
    const auto between = [&](int64_t low, int64_t high) {
        return low + static_cast<int64_t>(random() % static_cast<uint32_t>(high - low + 1));
    };
    Setting s = kSettings[0];
    s.name = "random";
    s.dims = static_cast<int>(between(1, 3));
    s.groups = between(0, 3) == 0 ? between(2, 4) : 1;
    s.batch = between(1, 3);
    s.in_channels = s.groups * between(1, s.groups > 1 ? 9 : 20);
    s.out_channels = s.groups * between(1, s.groups > 1 ? 9 : 20);
    s.kernel = between(1, s.dims == 3 ? 3 : 5);
    s.stride = between(1, 3);
    s.dilation = between(1, 2);
    s.padding = between(0, 3);
    s.size =
        std::max<int64_t>(between(1, s.dims == 3 ? 6 : 12), s.dilation * (s.kernel - 1) + 1 - 2 * s.padding);
    s.mask = static_cast<MaskKind>(between(0, 5));
    // The planes of a multi-channel mask here are one for five channels and one for each other.
    if (s.mask >= MaskKind::channels && s.in_channels < 6) s.mask = MaskKind::one_plane;
    s.has_bias = between(0, 2) > 0;
    s.activation = static_cast<PconvActivation>(between(0, 3));
    s.normalization = between(0, 4) == 0 ? kSum : kWindow;
    if (s.mask == MaskKind::none && s.kernel % 2 == 1 && number % 2 == 0) s.normalization = kMagnitude;
    if (s.mask != MaskKind::none && s.kernel % 2 == 1 && between(0, 5) == 0) s.normalization = kMagnitude;
    s.hole_is_one = between(0, 3) == 0;
    s.input_is_masked = between(0, 4) == 0;
    s.eps = std::array<double, 4>{1e-8, 1e-6, 0, 0.25}[static_cast<size_t>(between(0, 3))];
    return s;
}

uint32_t environmentNumber(const char* name, uint32_t otherwise) {
    const char* text = std::getenv(name);
    return text != nullptr ? static_cast<uint32_t>(std::strtoul(text, nullptr, 10)) : otherwise;
}

// PCONV_RANDOM_COUNT configurations from PCONV_RANDOM_SEED on; a failing one names its number.
class CudaRandom : public OnCudaDevice<testing::TestWithParam<Case>> {};

TEST_P(CudaRandom, ConfigurationsAgreeWithTheReference) {
    const uint32_t first = environmentNumber("PCONV_RANDOM_SEED", 1);
    const uint32_t count = environmentNumber("PCONV_RANDOM_COUNT", 30);
    uint32_t ran = 0;
    for (uint32_t number = first; number < first + count && !HasFailure(); ++number) {
        SCOPED_TRACE("PCONV_RANDOM_SEED=" + std::to_string(number) + " PCONV_RANDOM_COUNT=1");
        const Case c{GetParam().row, randomSetting(number), GetParam().type};
        const Form form{number % 2 == 0, number % 4 < 2, number % 8 < 4};
        ran += expectAgreement(c, number % 3 > 0, form) ? 1 : 0;
    }
    RecordProperty("configurations", std::to_string(ran));
    if (ran == 0) GTEST_SKIP() << "declined";
}

std::vector<Case> allRowsAndTypes() {
    std::vector<Case> cases;
    for (const char* row : {"cuda:cudnn", "cuda:igemm", "cuda:direct"})
        for (const Type& type : kTypes) cases.push_back({row, randomSetting(0), type});
    return cases;
}

INSTANTIATE_TEST_SUITE_P(Rows, CudaRandom, testing::ValuesIn(allRowsAndTypes()),
                         [](const auto& test) { return caseName(test.param); });

using CudaConversion = OnCudaDevice<testing::Test>;

TEST_F(CudaConversion, GivesTheBitsOfTheCpu) {
    const OwnedDevice cuda = openDevice("cuda");
    const OwnedDevice cpu = openDevice("cpu");
    const Shape shape{2, 5, 7, 3};
    Values values = randomValues(shape, PCONV_DATA_TYPE_F32, 3);
    for (size_t i = 0; i < values.size(); ++i)
        values[i] = std::ldexp(values[i], static_cast<int>(i % 50) - 30);  // subnormal to beyond f16
    values[0] = INFINITY;
    values[1] = -0.0F;
    for (const PconvDataType from : {PCONV_DATA_TYPE_F32, PCONV_DATA_TYPE_F16, PCONV_DATA_TYPE_BF16})
        for (const PconvDataType to : {PCONV_DATA_TYPE_F32, PCONV_DATA_TYPE_F16, PCONV_DATA_TYPE_BF16}) {
            const auto convert = [&](PconvDevice device) {
                const Placed source(device, shape, from, false, values);
                const Placed destination(device, shape, to, true, Values(values.size(), NAN));
                check(pconvConvertTensor(&source.view, &destination.view));
                return destination.read();
            };
            const Values got = convert(cuda.get());
            const Values expected = convert(cpu.get());
            EXPECT_EQ(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)), 0)
                << from << " to " << to;
        }
}

INSTANTIATE_TEST_SUITE_P(Rows, CudaRows, testing::ValuesIn(allCases()),
                         [](const auto& test) { return caseName(test.param); });

}  // namespace
}  // namespace pconv::test
