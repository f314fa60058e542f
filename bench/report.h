// Google Benchmark as the comparisons here use it: rivals run in turn, medians are shown, and ratios of what
// was measured are printed at the end.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <map>
#include <string>
#include <vector>

// The repetitions' times of one rival, in its unit.
struct Times {
    std::vector<double> all;
    double median() {
        std::nth_element(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2), all.end());
        return all[all.size() / 2];
    }
    double least() const { return *std::min_element(all.begin(), all.end()); }
};

using TimesByName = std::map<std::string, Times>;

// Keeps every repetition's time and shows the medians alone.
class Collector : public benchmark::ConsoleReporter {
  public:
    void ReportRuns(const std::vector<Run>& runs) override {
        std::vector<Run> medians;
        for (const Run& run : runs) {
            if (run.run_type == Run::RT_Iteration)
                times[run.run_name.function_name].all.push_back(run.GetAdjustedRealTime());
            else if (run.aggregate_name == "median")
                medians.push_back(run);
        }
        if (!medians.empty()) ConsoleReporter::ReportRuns(medians);
    }
    TimesByName times;
};

template <typename Run>
void addRival(const std::string& name, Run run) {
    benchmark::RegisterBenchmark(name.c_str(),
                                 [run](benchmark::State& state) {
                                     for (auto _ : state) run();
                                 })
        ->Unit(benchmark::kMillisecond)
        ->UseRealTime();
}

// `compare` enters the rivals and runs them; its exceptions are told. A caller's own flags come after
// `defaults` and win. Returns what the program does.
template <typename Compare>
int runProgram(int argc, char** argv, const std::vector<std::string>& defaults, const Compare& compare) {
    std::vector<std::string> words{argv[0]};
    words.insert(words.end(), defaults.begin(), defaults.end());
    words.insert(words.end(), argv + 1, argv + argc);
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    int count = static_cast<int>(arguments.size());
    benchmark::Initialize(&count, arguments.data());
    if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 2;
    try {
        compare();
        // What is registered may refer to what `compare` has made.
        benchmark::ClearRegisteredBenchmarks();
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
    return 0;
}

// Rivals in random order, many times.
template <typename Compare>
int runComparison(int argc, char** argv, const Compare& compare) {
    return runProgram(argc, argv,
                      {"--benchmark_enable_random_interleaving=true", "--benchmark_repetitions=15",
                       "--benchmark_min_time=0.02"},
                      compare);
}
