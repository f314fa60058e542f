// The reference cases through every kernel, forward and backward, in every data type. The oracle is itself
// held to what the reference modules answered.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <sstream>

#include "files/safetensors.h"
#include "kernel_case.h"

namespace pconv::cuda {
namespace {

struct Reference {
    KernelCase call;
    bool single_bias_gradient =
        false;  // lyehe/pconv sums its bias's gradient in float32 even in a float64 run
    std::vector<double> output, grad_input, grad_weight, grad_bias;
};

std::vector<double> readF64(SafetensorsReader& file, const std::string& name) {
    const SafetensorsTensor* tensor = file.find(name);
    if (tensor == nullptr) return {};
    std::vector<double> values(tensor->elementCount());
    file.read(name, values.data());
    return values;
}

void spatial(const std::string& text, int (&values)[3]) {
    std::vector<int> numbers;
    std::istringstream in(text);
    for (std::string number; std::getline(in, number, ',');) numbers.push_back(std::stoi(number));
    for (size_t i = 0; i < numbers.size(); ++i) values[3 - numbers.size() + i] = numbers[i];
}

Reference readCase(const std::filesystem::path& path) {
    SafetensorsReader file(path);
    const auto& settings = file.metadata();
    Reference r;
    KernelCase& c = r.call;
    ConvShape& s = c.shape;
    const auto& dims = file.find("input")->shape;
    s.batch = static_cast<int>(dims[0]);
    s.in_channels = static_cast<int>(dims[1]);
    s.out_channels = std::stoi(settings.at("out_channels"));
    s.groups = std::stoi(settings.at("groups"));
    for (int d = 0; d < 3; ++d) s.input[d] = s.kernel[d] = s.stride[d] = s.dilation[d] = 1;
    for (size_t d = 2; d < dims.size(); ++d) s.input[5 - dims.size() + d - 2] = static_cast<int>(dims[d]);
    spatial(settings.at("kernel"), s.kernel);
    spatial(settings.at("stride"), s.stride);
    spatial(settings.at("padding"), s.padding);
    spatial(settings.at("dilation"), s.dilation);
    // Its size tells the padding behind.
    const auto& outputs = file.find("expected.output")->shape;
    for (int& size : s.output) size = 1;
    for (size_t d = 2; d < outputs.size(); ++d)
        s.output[5 - outputs.size() + d - 2] = static_cast<int>(outputs[d]);
    c.eps = std::stof(settings.at("eps"));
    c.multi_channel = settings.at("multi_channel") == "true";
    if (settings.at("op") == "masked_conv") c.normalization = Normalization::weight_magnitude;
    c.group_window =
        c.multi_channel && !c.maskedConvolution() && settings.at("mask_window") == "group_channels";
    c.input = file.readF32("input");
    c.weight = file.readF32("weight");
    c.has_bias = file.find("bias") != nullptr;
    c.bias = c.has_bias ? file.readF32("bias") : std::vector<float>(static_cast<size_t>(s.out_channels));
    c.grad_output = file.readF32("grad_output");
    c.mask_type = MaskType::none;
    if (const SafetensorsTensor* mask = file.find("mask")) {
        CaseSegment segment;
        segment.planes = static_cast<int>(mask->shape[1]);
        segment.multiplicity = s.in_channels / segment.planes;
        segment.values = file.readF32("mask");
        c.mask_batch = static_cast<int>(mask->shape[0]);
        c.mask_type = MaskType::binary;
        for (const float value : segment.values)
            if (value != 0 && value != 1) c.mask_type = MaskType::fractional;
        c.segments.push_back(std::move(segment));
    }
    r.single_bias_gradient = settings.at("source").rfind("lyehe/", 0) == 0;
    r.output = readF64(file, "expected.output");
    r.grad_input = readF64(file, "expected.grad_input");
    r.grad_weight = readF64(file, "expected.grad_weight");
    r.grad_bias = readF64(file, "expected.grad_bias");
    return r;
}

// Those of zeros as padding, which is all that a convolution's kernels know.
std::vector<std::filesystem::path> casePaths() {
    std::vector<std::filesystem::path> paths;
    for (const auto& entry : std::filesystem::directory_iterator(PCONV_CASES_FOLDER)) {
        const SafetensorsReader file(entry.path());
        const auto mode = file.metadata().find("padding_mode");
        if (mode == file.metadata().end() || mode->second == "zeros") paths.push_back(entry.path());
    }
    return paths;
}

// `part` of the bounds that f32 kernels have.
void expectOracleAgrees(const char* what, const Expected& oracle, const std::vector<double>& reference,
                        double part = 1e-6) {
    ASSERT_EQ(oracle.values.size(), reference.size()) << what;
    for (size_t i = 0; i < reference.size(); ++i)
        ASSERT_NEAR(oracle.values[i], reference[i], part * oracle.bounds[i] + 1e-12) << what << " " << i;
}

TEST(Cases, TheOracleAgreesWithTheReferenceModules) {
    for (const auto& path : casePaths()) {
        SCOPED_TRACE(path.filename().string());
        const Reference r = readCase(path);
        const Answers answers = solve(r.call, 0, {0});
        expectOracleAgrees("output", answers.output, r.output);
        expectOracleAgrees("input gradient", answers.grad_input, r.grad_input);
        expectOracleAgrees("weight gradient", answers.grad_weight, r.grad_weight);
        if (r.call.has_bias)
            expectOracleAgrees("bias gradient", answers.grad_bias, r.grad_bias,
                               r.single_bias_gradient ? 1 : 1e-6);
    }
}

class Types : public testing::TestWithParam<DataType> {};

TEST_P(Types, EveryCaseInBothLayouts) {
    int cases = 0;
    int ran = 0;
    for (const auto& path : casePaths()) {
        SCOPED_TRACE(path.filename().string());
        KernelCase c = readCase(path).call;
        ++cases;
        c.type = GetParam();
        c.fast_math = true;
        c.input_channels_last = cases % 2 == 0;
        c.output_channels_last = cases % 4 < 2;
        for (auto* values : {&c.input, &c.weight, &c.bias, &c.grad_output})
            for (float& value : *values) value = rounded(value, c.type);
        EXPECT_EQ(check(c, ran), "");
    }
    EXPECT_EQ(cases, 58);
    EXPECT_GE(ran, 58);
}

INSTANTIATE_TEST_SUITE_P(Cases, Types, testing::Values(DataType::f32, DataType::f16, DataType::bf16));

}  // namespace
}  // namespace pconv::cuda
