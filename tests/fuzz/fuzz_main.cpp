// Random configurations on every row against the float64 oracle. A number gives the same configuration
// everywhere: a failing one is printed as the command that runs it again.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>

#include "conformance/verify.h"
#include "fuzz/random_problem.h"

namespace {

using namespace pconv::test;

constexpr const char* kUsage =
    "Usage: pconv_fuzz [--seed N] [--count N] [--seconds T] [--row ROW] [--work N] [--type TYPE] "
    "[--backward] [--fast]\n\n"
    "Runs random configurations N, N + 1, ... on every row, or on one, each against the float64 oracle.\n\n"
    "  --seed N     the first configuration (1)\n"
    "  --count N    how many on each row; PCONV_FUZZ_COUNT, else as many as fit\n"
    "  --seconds T  for how long in all, where no count is given; PCONV_FUZZ_SECONDS, else 60\n"
    "  --row ROW    only rows of this name, such as cpu:onednn\n"
    "  --work N     the largest number of multiply-adds of a configuration (2000000)\n"
    "  --type TYPE  f32, f16 or bf16 tensors only; else drawn as well\n"
    "  --backward   a backward pass in every configuration\n"
    "  --fast       fast math in every configuration: for rows without TF32\n";

struct TypeName {
    PconvDataType type;
    const char* name;
};
constexpr TypeName kTypes[] = {
    {PCONV_DATA_TYPE_F32, "f32"}, {PCONV_DATA_TYPE_F16, "f16"}, {PCONV_DATA_TYPE_BF16, "bf16"}};

const char* nameOf(PconvDataType type) {
    for (const TypeName& known : kTypes)
        if (known.type == type) return known.name;
    return "";
}

PconvDataType typeOf(const std::string& name) {
    for (const TypeName& known : kTypes)
        if (name == known.name) return known.type;
    throw std::invalid_argument("--type is '" + name + "'; expected f32, f16 or bf16");
}

struct Options {
    uint32_t seed = 1;
    uint32_t count = 0;  // 0: by time
    double seconds = 60;
    std::string row;
    int64_t work = 2'000'000;
    std::optional<PconvDataType> type;
    Passes passes = Passes::drawn;
    bool fast = false;
};

// A whole number or a number of seconds; throws where it is neither.
double number(const std::string& name, const std::string& text, double most) {
    size_t used = 0;
    double value = -1;
    try {
        value = std::stod(text, &used);
    } catch (const std::exception&) {
        used = 0;
    }
    if (used == 0 || used != text.size() || !(value >= 0 && value <= most))
        throw std::invalid_argument(name + " is '" + text + "'; expected a number of at least 0");
    return value;
}

uint32_t wholeNumber(const std::string& name, const std::string& text) {
    return static_cast<uint32_t>(number(name, text, 4294967295.0));
}

Options parse(int argc, char** argv) {
    Options options;
    if (const char* text = std::getenv("PCONV_FUZZ_COUNT"))
        options.count = wholeNumber("PCONV_FUZZ_COUNT", text);
    if (const char* text = std::getenv("PCONV_FUZZ_SECONDS"))
        options.seconds = number("PCONV_FUZZ_SECONDS", text, 1e9);
    for (int i = 1; i < argc;) {
        const std::string name = argv[i++];
        if (name == "--backward") {
            options.passes = Passes::backward;
            continue;
        }
        if (name == "--fast") {
            options.fast = true;
            continue;
        }
        if (i == argc) throw std::invalid_argument(name + " needs a value");
        const std::string value = argv[i++];
        if (name == "--seed")
            options.seed = wholeNumber(name, value);
        else if (name == "--count")
            options.count = wholeNumber(name, value);
        else if (name == "--seconds")
            options.seconds = number(name, value, 1e9);
        else if (name == "--row")
            options.row = value;
        else if (name == "--work")
            options.work = wholeNumber(name, value);
        else if (name == "--type")
            options.type = typeOf(value);
        else
            throw std::invalid_argument("unknown option " + name);
    }
    return options;
}

// Whether a row may decline: the forward pass of a partial convolution in f32 is what every row does.
bool mayDecline(const Problem& problem) {
    return problem.isMaskedConv() || !problem.grad_output.empty() || problem.data_type != PCONV_DATA_TYPE_F32;
}

RandomCase draw(uint32_t seed, const Options& options) {
    RandomCase random = randomCase(seed, options.work, options.passes);
    random.problem = inType(random.problem, options.type.value_or(randomType(seed)));
    random.problem.fast_math = options.fast;
    return random;
}

// "" where the configuration conforms.
std::string faultOf(const Row& row, const RandomCase& random) {
    std::string reason;
    if (!supports(row, random.problem, reason)) return "declined: " + reason;
    try {
        return fault(random.problem, solve(random.problem), run(row, random.problem, random.placement));
    } catch (const std::exception& error) {
        return error.what();
    }
}

struct Tally {
    uint32_t ran = 0;
    uint32_t declined = 0;
    uint32_t failed = 0;
    std::string why_declined;  // the last of them
};

Tally fuzz(const Row& row, const Options& options, double seconds) {
    using Clock = std::chrono::steady_clock;
    const auto start = Clock::now();
    Tally tally;
    // Some on every row, however slow or busy the machine is.
    constexpr uint32_t kLeast = 5;
    while (options.count > 0 ? tally.ran < options.count
                             : tally.ran - tally.declined < kLeast ||
                                   std::chrono::duration<double>(Clock::now() - start).count() < seconds) {
        const uint32_t seed = options.seed + tally.ran;
        const RandomCase random = draw(seed, options);
        ++tally.ran;
        std::string reason;
        if (mayDecline(random.problem) && !supports(row, random.problem, reason)) {
            ++tally.declined;
            tally.why_declined = reason;
            continue;
        }
        const std::string text = faultOf(row, random);
        if (text.empty()) continue;
        ++tally.failed;
        std::cout << "pconv_fuzz --row " << row.name << " --seed " << seed << " --count 1 --work "
                  << options.work << " --type " << nameOf(random.problem.data_type)
                  << (options.passes == Passes::backward ? " --backward" : "")
                  << (options.fast ? " --fast" : "") << "  # " << text << " (" << describeCase(random) << ")"
                  << std::endl;
    }
    return tally;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc > 1 && std::string(argv[1]) == "--help") {
        std::cout << kUsage;
        return 0;
    }
    try {
        const Options options = parse(argc, argv);
        std::vector<Row> rows;
        for (const Row& row : options.row.empty() ? allRows() : everyRow())
            if (options.row.empty() || options.row == row.name) rows.push_back(row);
        if (rows.empty()) throw std::invalid_argument("there is no row '" + options.row + "' here");
        uint32_t failed = 0;
        for (const Row& row : rows) {
            const Tally tally = fuzz(row, options, options.seconds / static_cast<double>(rows.size()));
            std::cout << row << ": " << tally.ran << " configurations, " << tally.failed << " out of bounds, "
                      << tally.declined << " not supported";
            const bool none = tally.ran == tally.declined;
            std::cout << (none ? ": " + tally.why_declined : "") << std::endl;
            // A row that ran nothing has proven nothing.
            failed += tally.failed + (none && options.count != 1 ? 1 : 0);
        }
        return failed == 0 ? 0 : 1;
    } catch (const std::exception& error) {
        std::cerr << "pconv_fuzz: " << error.what() << '\n' << kUsage;
        return 2;
    }
}
