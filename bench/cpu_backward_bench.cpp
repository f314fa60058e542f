// cpu:onednn's backward pass, masks included, against oneDNN's own of the plain convolution, in one run, NCHW
// in and out. Prints ratios at the end.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <random>

#include "onednn_backward_peer.h"
#include "pconv/pconv.hpp"

namespace {

const ConvShape kShapes[] = {
    {1, 32, 64, {128, 128}, 3, 1, 1},
    {1, 64, 128, {128, 128}, 5, 2, 2},
    {2, 32, 64, {8, 64, 64}, 3, 1, 1},
};

float* dataOf(const pconv::Tensor& tensor) {
    return static_cast<float*>(tensor.buffer().pointer());
}

std::vector<int64_t> planeDims(const ConvShape& shape) {
    auto dims = shape.inputDims();
    dims[0] = dims[1] = 1;
    return dims;
}

pconv::PartialConvDesc describe(const ConvShape& shape) {
    auto desc = pconv::PartialConvDesc::same(shape.batch, shape.in_channels, shape.out_channels, shape.input,
                                             shape.kernel, shape.stride);
    desc.implementation = "cpu:onednn";
    desc.training = 1;
    return desc;
}

// Both passes over the same tensors.
class Contest {
  public:
    Contest(const pconv::Device& device, const ConvShape& shape)
        : shape_(shape),
          input_(device, shape.inputDims()),
          grad_input_(device, shape.inputDims()),
          weight_(device, shape.weightDims()),
          grad_weight_(device, shape.weightDims()),
          bias_(device, {shape.out_channels}),
          grad_bias_(device, {shape.out_channels}),
          grad_output_(device, shape.outputDims()),
          plane_(device, planeDims(shape), PCONV_DATA_TYPE_U8),
          mask_(plane_.view()),
          update_(device, describe(shape), mask_),
          conv_(device, describe(shape)),
          peer_(shape, {dataOf(input_), dataOf(weight_), dataOf(grad_output_), dataOf(grad_input_),
                        dataOf(grad_weight_), dataOf(grad_bias_)}) {
        std::mt19937 random(1);
        std::uniform_real_distribution<float> value(-1, 1);
        for (pconv::Tensor* tensor : {&input_, &weight_, &bias_, &grad_output_}) {
            std::vector<float> values(static_cast<size_t>(ConvShape::count(tensor->dims())));
            std::generate(values.begin(), values.end(), [&] { return value(random); });
            tensor->write(values);
        }
        std::vector<uint8_t> valid(static_cast<size_t>(ConvShape::count(plane_.dims())));
        std::generate(valid.begin(), valid.end(), [&] { return static_cast<uint8_t>(random() & 1U); });
        plane_.write(valid);
        update_.compute(mask_);
        conv_.setWeights(weight_.view(), bias_.view());
    }

    void enter() {
        const auto add = [](const std::string& name, auto&& run) {
            benchmark::RegisterBenchmark(name.c_str(),
                                         [run](benchmark::State& state) {
                                             for (auto _ : state) run();
                                         })
                ->Unit(benchmark::kMillisecond)
                ->UseRealTime();
        };
        add(peerName(), [this] { peer_.run(); });
        add(ownName(), [this] {
            const PconvTensor grad_input = grad_input_.view();
            const PconvTensor grad_weight = grad_weight_.view();
            const PconvTensor grad_bias = grad_bias_.view();
            conv_.backward(update_, input_.view(), grad_output_.view(), &grad_input, &grad_weight,
                           &grad_bias);
        });
    }
    std::string peerName() const { return shape_.name() + "/oneDNN " + peer_.name(); }
    std::string ownName() const { return shape_.name() + "/pconv"; }

    const ConvShape& shape() const { return shape_; }

  private:
    ConvShape shape_;
    pconv::Tensor input_, grad_input_, weight_, grad_weight_, bias_, grad_bias_, grad_output_, plane_;
    pconv::Mask mask_;
    pconv::MaskUpdate update_;
    pconv::PartialConv conv_;
    OneDnnBackwardPeer peer_;
};

// Keeps every repetition's time and shows the medians alone.
class Collector : public benchmark::ConsoleReporter {
  public:
    void ReportRuns(const std::vector<Run>& runs) override {
        std::vector<Run> medians;
        for (const Run& run : runs) {
            if (run.run_type == Run::RT_Iteration)
                times_[run.run_name.function_name].push_back(run.GetAdjustedRealTime());
            else if (run.aggregate_name == "median")
                medians.push_back(run);
        }
        if (!medians.empty()) ConsoleReporter::ReportRuns(medians);
    }
    void report(const Contest& contest) {
        auto& own = times_[contest.ownName()];
        auto& peer = times_[contest.peerName()];
        if (own.empty() || peer.empty()) return;
        std::sort(own.begin(), own.end());
        std::sort(peer.begin(), peer.end());
        const double median = own[own.size() / 2];
        std::printf("%-28s backward against oneDNN's own %8.3f ms  %.3f  (least times %.3f)\n",
                    contest.shape().name().c_str(), median, median / peer[peer.size() / 2], own[0] / peer[0]);
    }

  private:
    std::map<std::string, std::vector<double>> times_;
};

}  // namespace

int main(int argc, char** argv) {
    // What is compared runs in turn; a caller's own flags come later and win.
    std::vector<std::string> words{argv[0], "--benchmark_enable_random_interleaving=true",
                                   "--benchmark_repetitions=15", "--benchmark_min_time=0.02"};
    words.insert(words.end(), argv + 1, argv + argc);
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    int count = static_cast<int>(arguments.size());
    benchmark::Initialize(&count, arguments.data());
    if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 2;
    try {
        const pconv::Device device("cpu");
        std::vector<std::unique_ptr<Contest>> contests;
        for (const ConvShape& shape : kShapes) {
            contests.push_back(std::make_unique<Contest>(device, shape));
            contests.back()->enter();
        }
        Collector collector;
        benchmark::RunSpecifiedBenchmarks(&collector);
        for (const auto& contest : contests) collector.report(*contest);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
    return 0;
}
