// Every reference case on every row, against what the reference module itself answered.
#include <algorithm>
#include <cmath>
#include <limits>

#include "conformance/case_file.h"
#include "conformance/execution.h"
#include "conformance/verify.h"

namespace pconv::test {
namespace {

constexpr size_t kPartialConvCases = 59;
constexpr size_t kMaskedConvCases = 8;

std::vector<std::string> allCaseNames() {
    std::vector<std::string> names = caseNames("partial_conv");
    for (const std::string& name : caseNames("masked_conv")) names.push_back(name);
    return names;
}

// The largest difference, as a part of `magnitude` and the value itself.
double worstDifference(const std::vector<double>& a, const std::vector<double>& b,
                       const std::vector<double>& magnitude) {
    if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
    double worst = 0;
    for (size_t i = 0; i < a.size(); ++i)
        worst = std::max(worst, std::abs(a[i] - b[i]) / (magnitude[i] + std::abs(b[i]) + 1e-300));
    return worst;
}

std::string shape(const std::vector<int64_t>& dims) {
    std::string text;
    for (const int64_t d : dims) text += (text.empty() ? "" : "x") + std::to_string(d);
    return text;
}

TEST(Oracle, AgreesWithTheReferenceModulesInFloat64) {
    size_t compared = 0;
    for (const std::string& name : allCaseNames()) {
        SCOPED_TRACE(name);
        const ReferenceCase& reference = referenceCase(name);
        const Problem p = trainingProblem(reference);
        const Answer answer = solve(p);
        ASSERT_EQ(shape(outputDims(p)), shape(reference.output_dims));
        std::vector<double> scale;
        for (size_t i = 0; i < answer.gain.size(); ++i) scale.push_back(answer.gain[i] * answer.magnitude[i]);
        EXPECT_LE(worstDifference(answer.output, reference.output, scale), 1e-13);
        EXPECT_LE(worstDifference(answer.grad_input, reference.grad_input, answer.grad_input_magnitude),
                  1e-13);
        EXPECT_LE(worstDifference(answer.grad_weight, reference.grad_weight, answer.grad_weight_magnitude),
                  1e-13);
        // lyehe/pconv hands back the gradient of the bias rounded to float32 whatever it runs in.
        EXPECT_LE(worstDifference(answer.grad_bias, reference.grad_bias, answer.grad_bias_magnitude),
                  name.rfind("lyehe", 0) == 0 ? kF32Unit : 1e-13);
        if (!reference.updated_mask.empty()) {
            const bool exact = p.mask_type != PCONV_MASK_TYPE_FRACTIONAL && !p.isMaskedConv();
            const std::vector<double> none(answer.updated_mask.size(), 0);
            EXPECT_LE(worstDifference(answer.updated_mask, reference.updated_mask, none), exact ? 0 : 1e-14);
        }
        ++compared;
    }
    EXPECT_EQ(compared, kPartialConvCases + kMaskedConvCases);
}

// A form in which a case can be put to a device.
struct Form {
    const char* name;
    bool flipped;     // 1 in the holes
    bool fractional;  // planes of F32
    Placement placement;
};

const Form kForms[] = {
    {"U8, contiguous", false, false, {PCONV_LAYOUT_CONTIGUOUS, PCONV_LAYOUT_CONTIGUOUS, 0}},
    {"F32 holes, channels last", true, true, {PCONV_LAYOUT_CHANNELS_LAST, PCONV_LAYOUT_CHANNELS_LAST, 0}},
    {"U8 holes, spread, contiguous to channels last",
     true,
     false,
     {PCONV_LAYOUT_CONTIGUOUS, PCONV_LAYOUT_CHANNELS_LAST, 11}},
    {"F32, spread, channels last to contiguous",
     false,
     true,
     {PCONV_LAYOUT_CHANNELS_LAST, PCONV_LAYOUT_CONTIGUOUS, 12}},
};

Problem inForm(const Problem& problem, const Form& form) {
    // Fractions and 1 - fraction are not the same in f32: only binary masks are restated.
    Problem result = problem;
    if (problem.mask_type != PCONV_MASK_TYPE_BINARY) return result;
    if (form.flipped) result = withPolarityFlipped(result);
    if (form.fractional) result = withFractionalType(result);
    return result;
}

class Cases : public ::testing::TestWithParam<Row> {
  protected:
    // The output, the updated mask, the window sum and the ratio in every form; returns the worst error of
    // the output as a part of its bound.
    double expectConforms(const ReferenceCase& reference, const Form& form) {
        const Problem problem = inForm(reference.problem, form);
        const Answer answer = solve(reference.problem);
        const Results got = run(GetParam(), problem, form.placement);
        EXPECT_EQ(got.damage, "");
        EXPECT_EQ(shape(got.mask_dims), shape(reference.mask_dims));
        const Verdict output = compare("output", reference.output, outputBounds(problem, answer), got.output);
        EXPECT_TRUE(output.within) << output.message;
        // A binary mask gives the same bits whatever its type: the bounds of the case itself hold.
        const Problem& p = reference.problem;
        const Verdict mask =
            compare("updated mask", reference.updated_mask, updatedMaskBounds(p, answer), got.updated_mask);
        EXPECT_TRUE(mask.within) << mask.message;
        const Verdict sum =
            compare("window sum", answer.window_sum, windowSumBounds(p, answer), got.window_sum);
        EXPECT_TRUE(sum.within) << sum.message;
        const Verdict ratio = compare("ratio", answer.ratio, ratioBounds(p, answer), got.ratio);
        EXPECT_TRUE(ratio.within) << ratio.message;
        return output.worst;
    }
};

TEST_P(Cases, MatchTheReferenceInEveryForm) {
    size_t compared = 0;
    double worst = 0;
    for (const std::string& name : caseNames("partial_conv")) {
        for (const Form& form : kForms) {
            SCOPED_TRACE(name + ", " + form.name);
            worst = std::max(worst, expectConforms(referenceCase(name), form));
            ++compared;
        }
    }
    EXPECT_EQ(compared, kPartialConvCases * std::size(kForms));
    RecordProperty("worst_part_of_bound", std::to_string(worst));
}

TEST_P(Cases, OfMaskedConvolutionMatchTheReference) {
    std::string reason;
    if (!supports(GetParam(), referenceCase(caseNames("masked_conv")[0]).problem, reason)) {
        EXPECT_NE(reason, "");
        EXPECT_NE(GetParam().name, "cpu:reference");
        GTEST_SKIP() << GetParam() << ": " << reason;
    }
    size_t compared = 0;
    for (const std::string& name : caseNames("masked_conv")) {
        for (const Form& form : kForms) {
            SCOPED_TRACE(name + ", " + form.name);
            const ReferenceCase& reference = referenceCase(name);
            const Problem problem = inForm(reference.problem, form);
            const Results got = run(GetParam(), problem, form.placement);
            EXPECT_EQ(fault(problem, solve(problem), got), "");
            const Verdict output = compare("output", reference.output,
                                           outputBounds(problem, solve(reference.problem)), got.output);
            EXPECT_TRUE(output.within) << output.message;
            ++compared;
        }
    }
    EXPECT_EQ(compared, kMaskedConvCases * std::size(kForms));
}

TEST_P(Cases, BackwardMatchTheReference) {
    size_t compared = 0;
    size_t declined = 0;
    for (const std::string& name : allCaseNames()) {
        SCOPED_TRACE(name);
        const ReferenceCase& reference = referenceCase(name);
        const Problem problem = trainingProblem(reference);
        std::string reason;
        if (!supports(GetParam(), problem, reason)) {
            EXPECT_NE(reason, "");
            ++declined;
            continue;
        }
        const Answer answer = solve(problem);
        for (const Form& form : kForms) {
            if (form.flipped || form.fractional) continue;  // the mask's forms are the forward pass's
            const Results got = run(GetParam(), problem, form.placement);
            EXPECT_EQ(fault(problem, answer, got), "") << form.name;
        }
        const Placement other{PCONV_LAYOUT_CHANNELS_LAST, PCONV_LAYOUT_CHANNELS_LAST, 13};
        const Results got = run(GetParam(), problem, other);
        const auto expectNear = [](const char* what, const std::vector<double>& expected,
                                   const std::vector<double>& magnitude, const std::vector<float>& values) {
            const Verdict verdict = compare(what, expected, gradientBounds(expected, magnitude), values);
            EXPECT_TRUE(verdict.within) << verdict.message;
        };
        EXPECT_EQ(got.damage, "");
        expectNear("grad_input", reference.grad_input, answer.grad_input_magnitude, got.grad_input);
        expectNear("grad_weight", reference.grad_weight, answer.grad_weight_magnitude, got.grad_weight);
        expectNear("grad_bias", reference.grad_bias, answer.grad_bias_magnitude, got.grad_bias);
        ++compared;
    }
    EXPECT_EQ(compared + declined, kPartialConvCases + kMaskedConvCases);
    if (GetParam().name == "cpu:reference") {
        EXPECT_EQ(declined, 0U);
    }
    if (compared == 0) GTEST_SKIP() << GetParam() << " has no backward pass";
}

// No worse than four times the float32 run of the reference module, and never asked to be better than one
// rounding of the largest output.
TEST_P(Cases, AreAsPreciseAsTheReferenceInFloat32) {
    size_t compared = 0;
    for (const std::string& name : caseNames("partial_conv")) {
        SCOPED_TRACE(name);
        const ReferenceCase& reference = referenceCase(name);
        const Results got = run(GetParam(), reference.problem);
        double error = 0;
        double largest = 0;
        for (size_t i = 0; i < got.output.size(); ++i) {
            error = std::max(error, std::abs(static_cast<double>(got.output[i]) - reference.output[i]));
            largest = std::max(largest, std::abs(reference.output[i]));
        }
        EXPECT_LE(error, std::max(4 * reference.reference_error, kF32Unit * largest));
        ++compared;
    }
    EXPECT_EQ(compared, kPartialConvCases);
}

INSTANTIATE_TEST_SUITE_P(Rows, Cases, ::testing::ValuesIn(allRows()),
                         [](const auto& test) { return testName(test.param); });

}  // namespace
}  // namespace pconv::test
