#include "conformance/suite.h"

#include <cstring>
#include <exception>
#include <limits>

#include "conformance/builder.h"
#include "conformance/case_file.h"
#include "conformance/judge.h"

namespace pconv::test {

namespace {

const Placement kContiguous{};
const Placement kSpread{PCONV_LAYOUT_CHANNELS_LAST, PCONV_LAYOUT_CONTIGUOUS, 17};

CaseResult failure(const std::string& message) {
    return {CaseOutcome::failed, 0, message};
}

// Runs `body` where the row takes the problem, and turns what goes wrong into a result.
template <typename Body>
CaseResult onRow(const Row& row, const Problem& problem, const Body& body) {
    try {
        std::string reason;
        if (!supports(row, problem, reason)) return {CaseOutcome::not_supported, 0, reason};
        return body();
    } catch (const CallFailed& error) {
        if (error.status() == PCONV_ERROR_UNSUPPORTED) return {CaseOutcome::not_supported, 0, error.what()};
        return failure(error.what());
    } catch (const std::exception& error) {
        return failure(error.what());
    }
}

CaseResult resultOf(const Verdict& verdict) {
    return {verdict.within ? CaseOutcome::passed : CaseOutcome::failed, verdict.worst, verdict.message};
}

// In both placements; the worse result.
CaseResult againstOracle(const Row& row, const Problem& problem) {
    return onRow(row, problem, [&] {
        const Answer answer = solve(problem);
        CaseResult result;
        for (const Placement& placement : {kContiguous, kSpread}) {
            CaseResult next = resultOf(judge(problem, answer, run(row, problem, placement)));
            if (next.outcome == CaseOutcome::failed) return next;
            result.worst = std::max(result.worst, next.worst);
        }
        return result;
    });
}

// What the reference module itself answered, forward or with the backward pass.
CaseResult againstReference(const Row& row, const ReferenceCase& reference, bool train) {
    const Problem problem = train ? trainingProblem(reference) : reference.problem;
    return onRow(row, problem, [&] {
        Answer answer = solve(problem);
        answer.output = reference.output;
        if (!reference.updated_mask.empty()) answer.updated_mask = reference.updated_mask;
        if (train) {
            answer.grad_input = reference.grad_input;
            answer.grad_weight = reference.grad_weight;
            if (problem.has_bias) answer.grad_bias = reference.grad_bias;
        }
        return resultOf(judge(problem, answer, run(row, problem)));
    });
}

// Integers and no bias: the accumulator is exact, so the output is one rounding of it times the ratio, and
// every bit is known.
CaseResult exactAccumulator(const Row& row, Problem problem) {
    problem.has_bias = false;
    fillIntegers(problem, 77, 4);
    return onRow(row, problem, [&] {
        const Answer answer = solve(problem);
        const Results got = run(row, problem, kSpread);
        if (!got.damage.empty()) return failure(got.damage);
        const auto zeros = [](const std::vector<double>& like) {
            return std::vector<double>(like.size(), 0);
        };
        for (const Verdict& verdict :
             {compare("window sum", answer.window_sum, zeros(answer.window_sum), got.window_sum),
              compare("updated mask", answer.updated_mask, zeros(answer.updated_mask), got.updated_mask)})
            if (!verdict.within) return failure(verdict.message);
        const Verdict ratio = compare("ratio", answer.ratio, ratioBounds(problem, answer), got.ratio);
        if (!ratio.within) return failure(ratio.message);
        const auto positions = static_cast<size_t>(product(outputSize(problem)));
        const auto channels = static_cast<size_t>(problem.out_channels);
        const auto groups = static_cast<size_t>(answer.mask_groups);
        for (size_t i = 0; i < got.output.size(); ++i) {
            const size_t n = answer.mask_batch == 1 ? 0 : i / positions / channels;
            const size_t g = i / positions % channels / (channels / groups);
            const auto r = static_cast<double>(got.ratio[(n * groups + g) * positions + i % positions]);
            const float expected =
                roundedTo(static_cast<float>(answer.convolution[i] * r), problem.data_type);
            if (got.output[i] != expected)
                return failure("output: element " + std::to_string(i) + " is " +
                               std::to_string(got.output[i]) + ", expected exactly " +
                               std::to_string(expected));
        }
        return CaseResult{CaseOutcome::passed, ratio.worst, ""};
    });
}

bool sameBits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), 4 * a.size()) == 0);
}

bool sameResults(const Results& a, const Results& b) {
    return sameBits(a.output, b.output) && sameBits(a.grad_input, b.grad_input) &&
           sameBits(a.grad_weight, b.grad_weight) && sameBits(a.grad_bias, b.grad_bias) &&
           sameBits(a.ratio, b.ratio) && sameBits(a.updated_mask, b.updated_mask);
}

// The same bits whatever lies in the holes.
CaseResult holesUnread(const Row& row, Problem problem) {
    fillHoles(problem, 0);
    return onRow(row, problem, [&] {
        const Results clean = run(row, problem, kSpread);
        for (const float value :
             {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
              -std::numeric_limits<float>::infinity()}) {
            fillHoles(problem, value);
            const Results got = run(row, problem, kSpread);
            if (!got.damage.empty()) return failure(got.damage);
            if (!sameResults(got, clean))
                return failure("the results change with " + std::to_string(value) + " in the holes");
        }
        return CaseResult{};
    });
}

CaseResult deterministic(const Row& row, const Problem& problem) {
    return onRow(row, problem, [&] {
        const Results first = run(row, problem);
        for (int i = 0; i < 3; ++i)
            if (!sameResults(run(row, problem), first)) return failure("two runs differ");
        return CaseResult{};
    });
}

// Every size from 1 up, with a kernel that is larger than the smallest of them.
CaseResult oddSizes(const Row& row, int64_t most) {
    CaseResult result;
    for (int64_t size = 1; size <= most; size += size < 20 ? 1 : 5) {
        Problem p = makeProblem(1, 3, 5, {size, (size * 7) % 13 + 1}, 3, 1, 1);
        fillUniform(p, static_cast<uint32_t>(size));
        addPlane(p, static_cast<uint32_t>(size) + 100, MaskContent::binary, 1);
        const CaseResult next = againstOracle(row, p);
        if (next.outcome != CaseOutcome::passed)
            return {next.outcome, next.worst, "size " + std::to_string(size) + ": " + next.message};
        result.worst = std::max(result.worst, next.worst);
    }
    return result;
}

struct NamedProblem {
    const char* name;
    Problem problem;
};

// One problem for each setting, with numbers in [-1, 1].
std::vector<NamedProblem> settings() {
    std::vector<NamedProblem> all;
    uint32_t seed = 1;
    const auto add = [&](const char* name, Problem problem) {
        fillUniform(problem, ++seed);
        all.push_back({name, std::move(problem)});
    };
    const auto plane = [&](Problem p, MaskContent content, int64_t batch) {
        addPlane(p, ++seed, content, batch);
        return p;
    };
    const auto segments = [&](Problem p, MaskContent content, int64_t batch,
                              const std::vector<std::pair<int64_t, int64_t>>& list, bool group_window) {
        addSegments(p, ++seed, content, batch, list);
        p.group_window = group_window;
        return p;
    };
    const Problem plain = makeProblem(2, 6, 8, {13, 18}, 3, 1, 1);
    add("single_channel", plane(plain, MaskContent::binary, 2));
    add("fractional", plane(plain, MaskContent::fractions, 2));
    add("batch_of_one", plane(plain, MaskContent::binary, 1));
    add("multi_channel", segments(plain, MaskContent::binary, 2, {{6, 1}}, false));
    add("one_plane_for_all", segments(plain, MaskContent::binary, 2, {{1, 6}}, false));
    add("segments", segments(plain, MaskContent::fractions, 1, {{1, 2}, {2, 1}, {1, 2}}, false));
    const Problem grouped = makeProblem(2, 8, 12, {11, 9}, 3, 1, 1, 1, 4);
    add("groups", plane(grouped, MaskContent::binary, 2));
    add("group_window", segments(grouped, MaskContent::binary, 2, {{8, 1}}, true));
    add("depthwise", plane(makeProblem(1, 10, 10, {12, 11}, 3, 1, 1, 1, 10), MaskContent::binary, 1));
    add("stride_and_dilation", plane(makeProblem(1, 4, 8, {21, 23}, 3, 2, 3, 2), MaskContent::binary, 1));
    add("wide_padding", plane(makeProblem(1, 4, 4, {9, 8}, 3, 1, 5), MaskContent::binary, 1));
    add("many_channels", plane(makeProblem(1, 70, 66, {7, 9}, 3, 1, 1), MaskContent::binary, 1));
    add("one_dimension", plane(makeProblem(2, 5, 6, {67}, 5, 1, 2), MaskContent::binary, 2));
    add("pointwise", plane(makeProblem(1, 16, 12, {9, 13}, 1), MaskContent::binary, 1));
    Problem absent = plain;
    removeMask(absent);
    add("no_mask", absent);
    Problem sum = plane(plain, MaskContent::binary, 2);
    sum.normalization = PCONV_NORMALIZATION_MASK_SUM;
    add("mask_sum", sum);
    Problem no_bias = plane(plain, MaskContent::fractions, 2);
    no_bias.has_bias = false;
    add("no_bias", no_bias);
    return all;
}

// Other padding than zeros, or other padding behind than in front.
std::vector<NamedProblem> paddings() {
    std::vector<NamedProblem> all;
    uint32_t seed = 500;
    const auto add = [&](const char* name, Problem p, PconvPaddingMode mode, std::vector<int64_t> behind,
                         MaskContent content = MaskContent::binary) {
        p.padding_mode = mode;
        p.padding_end = std::move(behind);
        fillUniform(p, ++seed);
        addPlane(p, ++seed, content, p.batch);
        all.push_back({name, std::move(p)});
        return &all.back().problem;
    };
    const Problem wide = makeProblem(2, 6, 8, {13, 18}, 5, 1, 2);
    const Problem strided = makeProblem(1, 4, 8, {21, 23}, 3, 2, 3, 2);
    const Problem even = makeProblem(2, 5, 6, {12, 11}, 4, 1, 1);
    add("reflect", wide, PCONV_PADDING_MODE_REFLECT, {});
    add("replicate", wide, PCONV_PADDING_MODE_REPLICATE, {});
    add("circular", wide, PCONV_PADDING_MODE_CIRCULAR, {});
    add("reflect_strided", strided, PCONV_PADDING_MODE_REFLECT, {0, 5}, MaskContent::fractions);
    add("replicate_strided", strided, PCONV_PADDING_MODE_REPLICATE, {9, 0}, MaskContent::fractions);
    add("circular_whole_input", makeProblem(1, 3, 4, {5, 7}, 3, 1, 5), PCONV_PADDING_MODE_CIRCULAR, {5, 7});
    add("replicate_one_pixel", makeProblem(1, 3, 4, {1, 1}, 3, 1, 2), PCONV_PADDING_MODE_REPLICATE, {});
    add("same_of_even_kernel", even, PCONV_PADDING_MODE_ZEROS, {2, 2});
    add("circular_of_even_kernel", even, PCONV_PADDING_MODE_CIRCULAR, {2, 2});
    add("uneven_strided", strided, PCONV_PADDING_MODE_ZEROS, {0, 5}, MaskContent::fractions);
    add("behind_alone", makeProblem(1, 4, 6, {9, 8}, 3), PCONV_PADDING_MODE_ZEROS, {4, 7});
    add("reflect_1d", makeProblem(2, 5, 6, {67}, 5, 1, 2), PCONV_PADDING_MODE_REFLECT, {7});
    add("circular_3d", makeProblem(1, 4, 6, {5, 7, 8}, 3, 1, 1), PCONV_PADDING_MODE_CIRCULAR, {2, 1, 0});
    add("replicate_3d", makeProblem(1, 4, 6, {3, 6, 5}, 3, 2, 2), PCONV_PADDING_MODE_REPLICATE, {},
        MaskContent::fractions);
    removeMask(*add("reflect_no_mask", wide, PCONV_PADDING_MODE_REFLECT, {}));
    Problem* grouped = add("circular_group_window", makeProblem(2, 8, 12, {11, 9}, 3, 1, 1, 1, 4),
                           PCONV_PADDING_MODE_CIRCULAR, {});
    addSegments(*grouped, ++seed, MaskContent::binary, 2, {{8, 1}});
    grouped->group_window = true;
    addSegments(*add("reflect_segments", wide, PCONV_PADDING_MODE_REFLECT, {3, 0}), ++seed,
                MaskContent::fractions, 1, {{1, 2}, {2, 1}, {1, 2}});
    Problem* masked = add("masked_reflect", wide, PCONV_PADDING_MODE_REFLECT, {});
    addSegments(*masked, ++seed, MaskContent::binary, 2, {{6, 1}});
    masked->normalization = PCONV_NORMALIZATION_WEIGHT_MAGNITUDE;
    return all;
}

Problem activated(PconvActivation activation, uint32_t seed) {
    Problem p = makeProblem(2, 6, 8, {13, 18}, 3, 1, 1);
    addPlane(p, seed, MaskContent::binary, 2);
    fillUniform(p, seed + 1);
    p.activation = activation;
    return p;
}

Problem volume(uint32_t seed, MaskContent content) {
    Problem p = makeProblem(1, 4, 6, {5, 7, 8}, 3, 1, 1);
    addPlane(p, seed, content, 1);
    fillUniform(p, seed + 1);
    return p;
}

Problem withGradient(Problem problem, uint32_t seed) {
    std::mt19937 random(seed);
    problem.grad_output.resize(static_cast<size_t>(product(outputDims(problem))));
    for (float& value : problem.grad_output)
        value = static_cast<float>(static_cast<int>(random() % 2001) - 1000) / 1024;
    return problem;
}

class Suite {
  public:
    void add(const std::string& name, const std::string& profile, const std::string& tier,
             std::function<CaseResult(const Row&)> run) {
        cases_.push_back({name, profile, tier, std::move(run)});
    }
    void addRounded(const std::string& name, const std::string& profile, const Problem& problem) {
        add("rounded/" + name, profile, "rounded",
            [problem](const Row& row) { return againstOracle(row, problem); });
    }
    void addExact(const std::string& name, const std::string& profile, const Problem& problem) {
        add("exact/" + name, profile, "exact",
            [problem](const Row& row) { return exactAccumulator(row, problem); });
    }
    void addSafe(const std::string& name, const std::string& profile, const Problem& problem) {
        add("safety/holes_" + name, profile, "safety",
            [problem](const Row& row) { return holesUnread(row, problem); });
        add("determinism/" + name, profile, "determinism",
            [problem](const Row& row) { return deterministic(row, problem); });
    }
    std::vector<SuiteCase> take() { return std::move(cases_); }

  private:
    std::vector<SuiteCase> cases_;
};

bool isPaddingCase(const Problem& p) {
    return p.padding_mode != PCONV_PADDING_MODE_ZEROS || !p.padding_end.empty();
}

void addReferences(Suite& suite) {
    for (const char* op : {"partial_conv", "masked_conv"})
        for (const std::string& name : caseNames(op)) {
            const bool masked = std::string(op) == "masked_conv";
            const Problem& problem = referenceCase(name).problem;
            const bool padding = isPaddingCase(problem);
            const std::string profile = padding               ? "padding"
                                        : masked              ? "masked"
                                        : problem.dims() == 3 ? "volume"
                                                              : "core";
            suite.add("reference/" + name, profile, "reference",
                      [name](const Row& row) { return againstReference(row, referenceCase(name), false); });
            suite.add("reference_backward/" + name, padding ? "padding" : "train", "reference",
                      [name](const Row& row) { return againstReference(row, referenceCase(name), true); });
        }
}

void addHalf(Suite& suite, const std::string& name, const Problem& problem,
             const std::string& profile = "half") {
    suite.addRounded("f16_" + name, profile, inType(problem, PCONV_DATA_TYPE_F16));
    suite.addRounded("bf16_" + name, profile, inType(problem, PCONV_DATA_TYPE_BF16));
}

void addPaddings(Suite& suite) {
    const char* const profile = "padding";
    uint32_t seed = 2000;
    for (const auto& [label, problem] : paddings()) {
        const std::string name = std::string("padding_") + label;
        const Problem trained = withGradient(problem, ++seed);
        suite.addRounded(name, profile, problem);
        suite.addRounded("backward_" + name, profile, trained);
        if (problem.mask_type != PCONV_MASK_TYPE_FRACTIONAL && !problem.isMaskedConv())
            suite.addExact(name, profile, problem);
        const bool plain = problem.padding_end.empty() && problem.dims() == 2 && problem.size[0] > 1 &&
                           problem.mask_type != PCONV_MASK_TYPE_NONE && !problem.isMaskedConv();
        if (!plain) continue;
        suite.addSafe(name, profile, problem);
        suite.addSafe("backward_" + name, profile, trained);
        addHalf(suite, name, problem, profile);
        addHalf(suite, "backward_" + name, trained, profile);
    }
}

// Numbers at the end of the type's range, and windows without a valid pixel.
Problem largestHalf() {
    Problem p = makeProblem(1, 1, 1, {9, 9}, 3, 1, 1);
    addPlane(p, 5, MaskContent::binary, 1);
    p.input.assign(81, 65504.0F);
    p.weight.assign(9, 1.0F / 16);
    p.bias.assign(1, 0);
    return inType(p, PCONV_DATA_TYPE_F16);
}

}  // namespace

std::vector<SuiteCase> conformanceSuite(const std::filesystem::path& cases_folder) {
    setCasesFolder(cases_folder);
    Suite suite;
    addReferences(suite);
    uint32_t seed = 1000;
    for (const NamedProblem& entry : settings()) {
        const std::string name = entry.name;
        suite.addRounded(name, "core", entry.problem);
        if (entry.problem.mask_type != PCONV_MASK_TYPE_FRACTIONAL)
            suite.addExact(name, "core", entry.problem);
        suite.addRounded("backward_" + name, "train", withGradient(entry.problem, ++seed));
        if (name == "single_channel" || name == "fractional" || name == "multi_channel" ||
            name == "group_window") {
            suite.addSafe(name, "core", entry.problem);
            suite.addSafe("backward_" + name, "train", withGradient(entry.problem, ++seed));
            addHalf(suite, name, entry.problem);
        }
        if (name == "single_channel" || name == "groups") {
            suite.addExact("f16_" + name, "half", inType(entry.problem, PCONV_DATA_TYPE_F16));
            addHalf(suite, "backward_" + name, withGradient(entry.problem, ++seed));
        }
    }
    const std::pair<const char*, PconvActivation> activations[] = {
        {"relu", PCONV_ACTIVATION_RELU},
        {"leaky_relu", PCONV_ACTIVATION_LEAKY_RELU},
        {"gelu", PCONV_ACTIVATION_GELU}};
    for (const auto& [name, activation] : activations) {
        suite.addRounded(name, "core", activated(activation, 41));
        addHalf(suite, name, activated(activation, 43));
    }
    suite.add("safety/odd_sizes", "core", "safety", [](const Row& row) { return oddSizes(row, 67); });
    suite.addRounded("binary_3d", "volume", volume(31, MaskContent::binary));
    suite.addRounded("fractional_3d", "volume", volume(33, MaskContent::fractions));
    suite.addExact("binary_3d", "volume", volume(35, MaskContent::binary));
    suite.addSafe("3d", "volume", volume(37, MaskContent::binary));
    suite.addRounded("f16_largest_numbers", "half", largestHalf());
    addPaddings(suite);
    return suite.take();
}

}  // namespace pconv::test
