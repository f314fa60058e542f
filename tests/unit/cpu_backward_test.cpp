// cpu:onednn forward and backward over random configurations in every data type, against the float64 oracle
// with the conformance suite's bounds; and what no single result shows: equal bits, gradients added up or
// left out, holes.
#include <cmath>
#include <limits>
#include <random>

#include "conformance/builder.h"
#include "conformance/tolerance.h"
#include "core/half.h"
#include "fuzz/random_problem.h"
#include "support/api.h"

namespace pconv::test {
namespace {

using Values = std::vector<float>;
using Shape = std::vector<int64_t>;

struct Type {
    const char* name;
    PconvDataType type;
    double unit;      // rounding of a result
    double smallest;  // half the distance of the smallest numbers
};

const Type kTypes[] = {
    {"f32", PCONV_DATA_TYPE_F32, kF32Unit, 0x1p-150},
    {"f16", PCONV_DATA_TYPE_F16, 0x1p-11, 0x1p-25},
    {"bf16", PCONV_DATA_TYPE_BF16, 0x1p-8, 0x1p-134},
};

float rounded(float value, PconvDataType type) {
    if (type == PCONV_DATA_TYPE_F16) return floatFromF16(f16FromFloat(value));
    if (type == PCONV_DATA_TYPE_BF16) return floatFromBf16(bf16FromFloat(value));
    return value;
}

const OwnedDevice& cpu() {
    static const OwnedDevice device = openDevice("cpu");
    return device;
}

// A tensor in memory of its own, dense in either layout.
class Placed {
  public:
    Placed(const Shape& dims, PconvDataType type, bool channels_last, const Values& values)
        : type_(type), strides_(dims.size()), dims_(dims) {
        int64_t stride = channels_last ? dims[1] : 1;
        for (size_t d = dims.size(); d-- > (channels_last ? 2U : 0U); stride *= dims[d]) strides_[d] = stride;
        if (channels_last) {
            strides_[1] = 1;
            strides_[0] = stride;
        }
        std::vector<unsigned char> bytes(values.size() * unit());
        for (size_t i = 0; i < values.size(); ++i) {
            unsigned char* to = &bytes[at(i) * unit()];
            const uint16_t half =
                type == PCONV_DATA_TYPE_F16 ? f16FromFloat(values[i]) : bf16FromFloat(values[i]);
            if (type == PCONV_DATA_TYPE_U8)
                *to = values[i] != 0 ? 1 : 0;
            else if (type == PCONV_DATA_TYPE_F32)
                std::memcpy(to, &values[i], 4);
            else
                std::memcpy(to, &half, 2);
        }
        buffer_ = makeBuffer(cpu().get(), bytes);
        view = makeTensor(buffer_.get(), type, dims);
        std::copy(strides_.begin(), strides_.end(), view.strides);
    }
    Values read() const {
        const auto count = static_cast<size_t>(product(dims_));
        const auto bytes = readBuffer<unsigned char>(buffer_.get(), count * unit());
        Values values(count);
        for (size_t i = 0; i < count; ++i) {
            const unsigned char* from = &bytes[at(i) * unit()];
            uint16_t half = 0;
            if (type_ == PCONV_DATA_TYPE_F32)
                std::memcpy(&values[i], from, 4);
            else
                std::memcpy(&half, from, 2);
            if (type_ == PCONV_DATA_TYPE_F16) values[i] = floatFromF16(half);
            if (type_ == PCONV_DATA_TYPE_BF16) values[i] = floatFromBf16(half);
        }
        return values;
    }

    PconvTensor view{};

  private:
    size_t unit() const { return type_ == PCONV_DATA_TYPE_F32 ? 4 : type_ == PCONV_DATA_TYPE_U8 ? 1 : 2; }
    size_t at(size_t i) const {
        auto left = static_cast<int64_t>(i);
        int64_t position = 0;
        for (size_t d = dims_.size(); d-- > 0; left /= dims_[d]) position += left % dims_[d] * strides_[d];
        return static_cast<size_t>(position);
    }

    PconvDataType type_;
    std::vector<int64_t> strides_;
    Shape dims_;
    OwnedBuffer buffer_;
};

struct Call {
    PconvDataType type = PCONV_DATA_TYPE_F32;
    bool input_last = false, output_last = false;
    bool accumulate = false;  // to kOld
    bool wants_input = true, wants_weight = true, wants_bias = true;
};

constexpr float kOld = 0.75F;

struct Results {
    Values output, grad_input, grad_weight, grad_bias;  // the last three empty where not wanted
};

// cpu:onednn's.
Results resultsOf(const Problem& p, const Call& call) {
    PconvPartialConvDesc desc = describe(p);
    desc.implementation = "cpu:onednn";
    desc.data_type = call.type;
    desc.input_layout = call.input_last ? PCONV_LAYOUT_CHANNELS_LAST : PCONV_LAYOUT_CONTIGUOUS;
    desc.output_layout = call.output_last ? PCONV_LAYOUT_CHANNELS_LAST : PCONV_LAYOUT_CONTIGUOUS;
    const auto filled = [](const Shape& dims, float value) {
        return Values(static_cast<size_t>(product(dims)), value);
    };
    const float before = call.accumulate ? kOld : NAN;
    const Placed input(inputDims(p), call.type, call.input_last, p.input);
    const Placed weight(weightDims(p), call.type, false, p.weight);
    const Placed bias({p.out_channels}, call.type, false,
                      p.has_bias ? p.bias : filled({p.out_channels}, NAN));
    const Placed output(outputDims(p), call.type, call.output_last, filled(outputDims(p), NAN));
    const Placed grad_output(outputDims(p), call.type, call.output_last, p.grad_output);
    const Placed grad_input(inputDims(p), call.type, call.input_last, filled(inputDims(p), before));
    const Placed grad_weight(weightDims(p), call.type, false, filled(weightDims(p), before));
    const Placed grad_bias({p.out_channels}, call.type, false, filled({p.out_channels}, before));
    const bool binary = p.mask_type == PCONV_MASK_TYPE_BINARY;
    std::vector<Placed> planes;
    std::vector<PconvMaskSegment> segments;
    for (const Segment& segment : p.segments)
        planes.emplace_back(planeDims(p, segment), binary ? PCONV_DATA_TYPE_U8 : PCONV_DATA_TYPE_F32, false,
                            segment.values);
    for (size_t i = 0; i < planes.size(); ++i)
        segments.push_back({planes[i].view, p.segments[i].multiplicity});
    PconvMask mask = pconvDefaultMask();
    mask.polarity = p.polarity;
    mask.segment_count = static_cast<int32_t>(segments.size());
    mask.segments = segments.data();
    const PconvMask* const given = segments.empty() ? nullptr : &mask;

    OwnedMaskUpdate update;
    OwnedPartialConv conv;
    check(pconvCreateMaskUpdate(cpu().get(), &desc, given, update.out()));
    check(pconvCreatePartialConv(cpu().get(), &desc, conv.out()));
    check(pconvSetPartialConvWeights(conv.get(), &weight.view, p.has_bias ? &bias.view : nullptr));
    if (p.isMaskedConv() && given != nullptr) check(pconvSetMaskUpdateWeights(update.get(), &weight.view));
    check(pconvComputeMaskUpdate(update.get(), given));
    check(pconvForwardPartialConv(conv.get(), update.get(), &input.view, &output.view));
    PconvGradients gradients = pconvDefaultGradients();
    if (call.wants_input) gradients.grad_input = &grad_input.view;
    if (call.wants_weight) gradients.grad_weight = &grad_weight.view;
    if (call.wants_bias && p.has_bias) gradients.grad_bias = &grad_bias.view;
    gradients.accumulate = call.accumulate ? 1 : 0;
    check(pconvBackwardPartialConv(conv.get(), update.get(), &input.view, &grad_output.view, &gradients));
    Results results{output.read(), {}, {}, {}};
    if (call.wants_input) results.grad_input = grad_input.read();
    if (call.wants_weight) results.grad_weight = grad_weight.read();
    if (gradients.grad_bias != nullptr) results.grad_bias = grad_bias.read();
    return results;
}

// A random problem, made one with a backward pass, of numbers that the type has.
RandomCase trainingCase(uint32_t number, PconvDataType type) {
    RandomCase random = randomCase(number, 300'000);
    Problem& p = random.problem;
    p.activation = PCONV_ACTIVATION_NONE;
    p.input_is_masked = false;
    std::mt19937 engine(number);
    p.grad_output.resize(static_cast<size_t>(product(outputDims(p))));
    for (float& dy : p.grad_output) dy = static_cast<float>(engine() % 2001) / 1000 - 1;
    for (Values* values : {&p.input, &p.weight, &p.bias, &p.grad_output})
        for (float& value : *values) value = rounded(value, type);
    return random;
}

// NaN in the holes of the input and where no valid element lies under an output's window.
Problem withPoisonedHoles(Problem p, const Answer& answer) {
    if (!p.isMaskedConv()) fillHoles(p, NAN);
    const auto positions = static_cast<size_t>(product(outputSize(p)));
    const auto channels = static_cast<size_t>(p.out_channels);
    const auto groups = static_cast<size_t>(answer.mask_groups);
    for (size_t i = 0; i < p.grad_output.size(); ++i) {
        const size_t image = answer.mask_batch == 1 ? 0 : i / positions / channels;
        const size_t group = i / positions % channels / (channels / groups);
        if (answer.updated_mask[(image * groups + group) * positions + i % positions] == 0)
            p.grad_output[i] = NAN;
    }
    return p;
}

void expectWithin(const char* what, std::vector<double> expected, std::vector<double> bounds,
                  const Values& got, const Type& type, double old = 0) {
    for (size_t i = 0; i < expected.size(); ++i) {
        expected[i] += old;
        bounds[i] += (type.unit + kF32Unit) * std::abs(expected[i]) + type.smallest;
    }
    const Verdict verdict = compare(what, expected, bounds, got);
    EXPECT_TRUE(verdict.within) << verdict.message;
}

void expectConforms(const Problem& p, const Answer& answer, const Results& got, const Type& type,
                    double old) {
    expectWithin("output", answer.output, outputBounds(p, answer), got.output, type);
    std::vector<double> input_bounds = gradientBounds(answer.grad_input, answer.grad_input_magnitude);
    // Under a padding mode an element's images are rounded one by one before they are summed, see
    // inputGradientBounds, and a single one before it is added to what was there.
    for (size_t i = 0; i < answer.images.size(); ++i) {
        const double alone = old != 0 ? std::abs(answer.grad_input[i]) : 0;
        const bool several = answer.images[i] > 0;
        input_bounds[i] += type.unit * (several ? answer.image_gradients[i] : alone) +
                           type.smallest * (several ? answer.images[i] : 1);
    }
    expectWithin("grad_input", answer.grad_input, input_bounds, got.grad_input, type, old);
    expectWithin("grad_weight", answer.grad_weight,
                 gradientBounds(answer.grad_weight, answer.grad_weight_magnitude), got.grad_weight, type,
                 old);
    expectWithin("grad_bias", answer.grad_bias, gradientBounds(answer.grad_bias, answer.grad_bias_magnitude),
                 got.grad_bias, type, old);
}

bool sameBits(const Values& a, const Values& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// A build without oneDNN has no such row.
template <typename Base>
class OnRow : public Base {
  protected:
    void SetUp() override {
        for (const Row& row : allRows())
            if (row.name == "cpu:onednn") return;
        GTEST_SKIP() << "no cpu:onednn";
    }
};

using CpuBackward = OnRow<testing::TestWithParam<Type>>;
using CpuHalf = OnRow<testing::Test>;

TEST_P(CpuBackward, RandomConfigurationsMatchTheOracle) {
    const Type& type = GetParam();
    for (uint32_t number = 1; number <= 150 && !HasFailure(); ++number) {
        const RandomCase random = trainingCase(number, type.type);
        SCOPED_TRACE("number " + std::to_string(number) + ": " + describeCase(random));
        const Answer answer = solve(random.problem);
        Call call;
        call.type = type.type;
        call.input_last = number % 2 == 0;
        call.output_last = number % 4 < 2;
        call.accumulate = number % 8 < 4;
        const Results got = resultsOf(withPoisonedHoles(random.problem, answer), call);
        expectConforms(random.problem, answer, got, type, call.accumulate ? static_cast<double>(kOld) : 0);
    }
}

void fillWithGradient(Problem& p) {
    fillUniform(p, 6);
    std::mt19937 engine(7);
    p.grad_output.resize(static_cast<size_t>(product(outputDims(p))));
    for (float& dy : p.grad_output) dy = static_cast<float>(engine() % 2001) / 1000 - 1;
}

void roundTo(Problem& p, const Type& type) {
    for (Values* values : {&p.input, &p.weight, &p.bias, &p.grad_output})
        for (float& value : *values) value = rounded(value, type.type);
}

// Shapes that oneDNN's vector kernels take, over enough pixels to be divided among threads.
Problem largeProblem(int dims, int64_t stride, bool multi_channel) {
    const std::vector<int64_t> size = dims == 1   ? std::vector<int64_t>{501}
                                      : dims == 2 ? std::vector<int64_t>{33, 35}
                                                  : std::vector<int64_t>{7, 9, 18};
    Problem p = makeProblem(2, 32, 16, size, 3, stride, 1);
    if (multi_channel)
        addSegments(p, 5, MaskContent::binary, 2, {{16, 1}, {1, 16}});
    else
        addPlane(p, 5, MaskContent::binary, 2);
    fillWithGradient(p);
    return p;
}

TEST_P(CpuBackward, LargerShapesMatchTheOracle) {
    const Type& type = GetParam();
    for (int dims = 1; dims <= 3; ++dims)
        for (const int64_t stride : {1, 2})
            for (const bool last : {false, true}) {
                SCOPED_TRACE(std::to_string(dims) + "-D, stride " + std::to_string(stride) +
                             (last ? ", channels-last" : ""));
                Problem p = largeProblem(dims, stride, dims != 2);
                roundTo(p, type);
                const Answer answer = solve(p);
                Call call;
                call.type = type.type;
                call.input_last = call.output_last = last;
                expectConforms(p, answer, resultsOf(withPoisonedHoles(p, answer), call), type, 0);
            }
}

// What oneDNN's vector kernels of gradients are not always right for.
TEST_P(CpuBackward, WindowsAsLargeAsTheInputMatchTheOracle) {
    const Type& type = GetParam();
    for (const std::vector<int64_t>& kernel :
         {std::vector<int64_t>{6, 7, 1}, {6, 3, 1}, {5, 3, 1}, {3, 7, 1}, {3, 3, 7}}) {
        Problem p = Problem::ofDims(3);
        p.batch = 2;
        p.in_channels = 2;
        p.out_channels = 3;
        p.size = {5, 6, 6};
        p.kernel = kernel;
        p.stride = {2, 3, 1};
        p.padding = {3, 3, kernel[2] / 2};
        addPlane(p, 5, MaskContent::binary, 2);
        fillWithGradient(p);
        roundTo(p, type);
        SCOPED_TRACE("kernel " + std::to_string(kernel[0]) + "x" + std::to_string(kernel[1]) + "x" +
                     std::to_string(kernel[2]));
        const Answer answer = solve(p);
        Call call;
        call.type = type.type;
        expectConforms(p, answer, resultsOf(withPoisonedHoles(p, answer), call), type, 0);
    }
}

// Parts of few rows under a tall window: each shares rows with several others, the first and the last with
// fewer.
TEST_P(CpuBackward, PartsThatShareUnequallyMatchTheOracle) {
    const Type& type = GetParam();
    Problem p = Problem::ofDims(2);
    p.batch = 3;
    p.in_channels = p.out_channels = 4;
    p.size = {37, 40};
    p.kernel = {7, 3};
    p.stride = {1, 2};
    p.padding = {9, 3};
    p.dilation = {3, 3};
    addPlane(p, 5, MaskContent::binary, 1);
    fillWithGradient(p);
    roundTo(p, type);
    const Answer answer = solve(p);
    Call call;
    call.type = type.type;
    expectConforms(p, answer, resultsOf(withPoisonedHoles(p, answer), call), type, 0);
}

TEST_P(CpuBackward, TwoRunsAreBitEqual) {
    for (int dims = 1; dims <= 3; ++dims) {
        const Problem p = largeProblem(dims, 1, true);
        Call call;
        call.type = GetParam().type;
        const Results first = resultsOf(p, call);
        const Results second = resultsOf(p, call);
        EXPECT_TRUE(sameBits(first.output, second.output));
        EXPECT_TRUE(sameBits(first.grad_input, second.grad_input));
        EXPECT_TRUE(sameBits(first.grad_weight, second.grad_weight));
        EXPECT_TRUE(sameBits(first.grad_bias, second.grad_bias));
    }
}

TEST_P(CpuBackward, EachGradientAloneIsThatOfAll) {
    for (int dims = 1; dims <= 3; ++dims) {
        const Problem p = largeProblem(dims, 2, false);
        Call call;
        call.type = GetParam().type;
        const Results all = resultsOf(p, call);
        for (int wanted = 0; wanted < 3; ++wanted) {
            call.wants_input = wanted == 0;
            call.wants_weight = wanted == 1;
            call.wants_bias = wanted == 2;
            const Results one = resultsOf(p, call);
            EXPECT_TRUE(sameBits(wanted == 0 ? one.grad_input : all.grad_input, all.grad_input));
            EXPECT_TRUE(sameBits(wanted == 1 ? one.grad_weight : all.grad_weight, all.grad_weight));
            EXPECT_TRUE(sameBits(wanted == 2 ? one.grad_bias : all.grad_bias, all.grad_bias));
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Types, CpuBackward, testing::ValuesIn(kTypes),
                         [](const auto& test) { return std::string(test.param.name); });

// One valid pixel of 49 under a window: the ratio is 49, and nothing on the way to the output is a 16-bit
// number.
TEST_F(CpuHalf, LargestNumbersDoNotOverflowTheRatio) {
    Problem p = makeProblem(1, 1, 1, {7, 7}, 7, 1, 0);
    addPlane(p, 1, MaskContent::binary, 1);
    p.has_bias = false;
    p.input.assign(49, 65504.0F);
    p.weight.assign(49, 0x1p-6F);
    p.segments[0].values.assign(49, 0.0F);
    p.segments[0].values[24] = 1;
    p.grad_output = {1};
    Call call;
    call.type = PCONV_DATA_TYPE_F16;
    const Results got = resultsOf(p, call);
    EXPECT_EQ(got.output, Values{rounded(65504.0F * 0x1p-6F * 49, PCONV_DATA_TYPE_F16)});

    p.segments[0].values[24] = 0;
    const Results empty = resultsOf(p, call);
    EXPECT_EQ(empty.output, Values{0.0F});
    EXPECT_EQ(empty.grad_input, Values(49, 0.0F));
    EXPECT_EQ(empty.grad_weight, Values(49, 0.0F));
}

}  // namespace
}  // namespace pconv::test
