// The tests prove themselves: results that are wrong on purpose must be caught, right ones must not be.
#include <cmath>
#include <limits>

#include "conformance/builder.h"
#include "conformance/verify.h"

namespace pconv::test {
namespace {

// What a device would hand back that computes this.
Results resultsOf(const Answer& answer) {
    const auto floats = [](const std::vector<double>& values) {
        return std::vector<float>(values.begin(), values.end());
    };
    Results results;
    results.output = floats(answer.output);
    results.window_sum = floats(answer.window_sum);
    results.updated_mask = floats(answer.updated_mask);
    results.ratio = floats(answer.ratio);
    results.grad_input = floats(answer.grad_input);
    results.grad_weight = floats(answer.grad_weight);
    results.grad_bias = floats(answer.grad_bias);
    return results;
}

Problem fractionalProblem() {
    Problem p = makeProblem(2, 6, 5, {12, 13}, 3, 1, 1);
    fillUniform(p, 1);
    addPlane(p, 2, MaskContent::fractions, 2);
    return p;
}

Problem oneChannelOfMany() {
    Problem p = fractionalProblem();
    addSegments(p, 3, MaskContent::binary, 1, {{1, 6}});
    return p;
}

Problem reflectedProblem() {
    Problem p = fractionalProblem();
    p.padding_mode = PCONV_PADDING_MODE_REFLECT;
    return p;
}

struct Mutant {
    const char* name;
    Mutation mutation;
    Problem problem;
    bool mask_too;  // the mask side shows it as well as the output
};

std::vector<Mutant> mutants() {
    return {{"tap off by one", Mutation::tap_off_by_one, fractionalProblem(), false},
            {"no clamp", Mutation::no_clamp, fractionalProblem(), true},
            {"bias inside the ratio", Mutation::bias_inside_ratio, fractionalProblem(), false},
            {"u applied once", Mutation::u_once, fractionalProblem(), false},
            {"padding counts as valid", Mutation::padding_is_valid, fractionalProblem(), true},
            {"one channel counted of many", Mutation::one_channel_count, oneChannelOfMany(), true},
            {"last column lost", Mutation::last_column_lost, fractionalProblem(), false},
            {"the edge reflected as well", Mutation::edge_twice, reflectedProblem(), true},
            {"the mask not padded", Mutation::mask_not_padded, reflectedProblem(), true}};
}

TEST(SelfProof, RightResultsPass) {
    for (const Mutant& mutant : mutants()) {
        const Answer answer = solve(mutant.problem);
        EXPECT_EQ(fault(mutant.problem, answer, resultsOf(answer)), "") << mutant.name;
    }
}

TEST(SelfProof, EveryWrongKernelIsCaughtByItsOutput) {
    for (const Mutant& mutant : mutants()) {
        const Answer right = solve(mutant.problem);
        const Answer wrong = solve(mutant.problem, mutant.mutation);
        Results results = resultsOf(right);
        results.output = resultsOf(wrong).output;
        const std::string text = fault(mutant.problem, right, results);
        EXPECT_NE(text.find("output:"), std::string::npos) << mutant.name << ": '" << text << "'";
    }
}

TEST(SelfProof, EveryWrongMaskIsCaughtByTheMask) {
    for (const Mutant& mutant : mutants()) {
        const Answer right = solve(mutant.problem);
        Results results = resultsOf(solve(mutant.problem, mutant.mutation));
        results.output = resultsOf(right).output;
        EXPECT_EQ(fault(mutant.problem, right, results) != "", mutant.mask_too) << mutant.name;
    }
}

TEST(SelfProof, WrongKernelsAreFarOutsideTheBounds) {
    for (const Mutant& mutant : mutants()) {
        const Answer right = solve(mutant.problem);
        const Answer wrong = solve(mutant.problem, mutant.mutation);
        // Even bounds a thousand times wider would see them: the tolerance is no close call.
        std::vector<double> wide = outputBounds(mutant.problem, right);
        for (double& bound : wide) bound *= 1000;
        EXPECT_FALSE(compare("output", right.output, wide, resultsOf(wrong).output).within) << mutant.name;
    }
}

TEST(SelfProof, EveryWrongGradientIsCaught) {
    Problem p = fractionalProblem();
    p.grad_output.resize(static_cast<size_t>(product(outputDims(p))));
    std::mt19937 random(7);
    std::uniform_real_distribution<float> values(-1, 1);
    for (float& dy : p.grad_output) dy = values(random);
    const Answer right = solve(p);
    EXPECT_EQ(fault(p, right, resultsOf(right)), "");
    for (const Mutation mutation :
         {Mutation::tap_off_by_one, Mutation::no_clamp, Mutation::u_once, Mutation::padding_is_valid}) {
        const Results wrong = resultsOf(solve(p, mutation));
        Results results = resultsOf(right);
        results.grad_input = wrong.grad_input;
        EXPECT_NE(fault(p, right, results).find("grad_input:"), std::string::npos)
            << static_cast<int>(mutation);
        results = resultsOf(right);
        results.grad_weight = wrong.grad_weight;
        EXPECT_NE(fault(p, right, results).find("grad_weight:"), std::string::npos)
            << static_cast<int>(mutation);
    }
    const Results wrong = resultsOf(solve(p, Mutation::no_clamp));
    Results results = resultsOf(right);
    results.grad_bias = wrong.grad_bias;
    EXPECT_NE(fault(p, right, results).find("grad_bias:"), std::string::npos);
}

// The rounded tier is tight enough to tell f32 accumulation from f16.
TEST(SelfProof, HalfPrecisionProductsAreCaught) {
    Problem p = makeProblem(1, 16, 8, {12, 13}, 3, 1, 1);
    fillUniform(p, 4);
    addPlane(p, 5, MaskContent::binary, 1);
    const Answer right = solve(p);
    Problem rounded = p;
    const auto toEleven = [](float value) {
        int exponent = 0;
        const double fraction = std::frexp(static_cast<double>(value), &exponent);
        return static_cast<float>(std::ldexp(std::nearbyint(std::ldexp(fraction, 11)), exponent - 11));
    };
    for (float& x : rounded.input) x = toEleven(x);
    for (float& w : rounded.weight) w = toEleven(w);
    EXPECT_NE(fault(p, right, resultsOf(solve(rounded))), "");
    Units units;
    units.input = 0x1p-11;
    EXPECT_EQ(fault(p, right, resultsOf(solve(rounded)), units), "");
}

TEST(SelfProof, OneElementOutsideItsBoundIsCaught) {
    const std::vector<double> expected(100, 1.0);
    const std::vector<double> bounds(100, 1e-3);
    std::vector<float> got(100, 1.0009F);
    EXPECT_TRUE(compare("x", expected, bounds, got).within);
    got[57] = 1.0011F;
    const Verdict verdict = compare("x", expected, bounds, got);
    EXPECT_FALSE(verdict.within);
    EXPECT_NE(verdict.message.find("x: 1 of 100 elements out of bounds; element 57"), std::string::npos)
        << verdict.message;
}

TEST(SelfProof, WhatIsNotANumberIsCaughtWhateverTheBound) {
    const std::vector<double> bounds{std::numeric_limits<double>::infinity()};
    EXPECT_FALSE(compare("x", {1.0}, bounds, {std::nanf("")}).within);
    EXPECT_FALSE(compare("x", {0.0}, {0.0}, {std::numeric_limits<float>::infinity()}).within);
    EXPECT_FALSE(compare("x", {0.0}, {0.0}, {1e-45F}).within);
}

TEST(SelfProof, AMissingElementIsCaught) {
    EXPECT_FALSE(compare("x", {1.0, 1.0}, {9.0, 9.0}, {1.0F}).within);
    EXPECT_FALSE(compare("x", {1.0}, {9.0}, {}).within);
}

TEST(SelfProof, WritesOutsideAnOutputAndHolesInItAreCaught) {
    std::mt19937 random(6);
    for (int repeat = 0; repeat < 20; ++repeat) {
        const View view = spreadView({2, 3, 4, 5}, repeat % 2 == 0 ? 3 : 1, random);
        const std::vector<uint32_t> untouched(static_cast<size_t>(view.total), kPoison);
        std::vector<uint32_t> memory = untouched;
        for (int64_t i = 0; i < view.count(); ++i) memory[static_cast<size_t>(view.at(i))] = 1;
        EXPECT_EQ(damage(view, memory), "");
        std::vector<uint32_t> before = memory;
        before[static_cast<size_t>(view.offset) - 1] = 1;
        EXPECT_EQ(damage(view, before), "1 elements outside the tensor were written");
        std::vector<uint32_t> after = memory;
        after[static_cast<size_t>(view.at(view.count() - 1)) + 1] = 1;
        EXPECT_EQ(damage(view, after), "1 elements outside the tensor were written");
        std::vector<uint32_t> lacking = memory;
        lacking[static_cast<size_t>(view.at(7))] = kPoison;
        EXPECT_EQ(damage(view, lacking), "1 elements were not written");
        EXPECT_EQ(damage(view, untouched), "120 elements were not written");
    }
}

}  // namespace
}  // namespace pconv::test
