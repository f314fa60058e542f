// Every implementation of a device on the shapes of the CPU benchmark, mask side included; GFLOP/s count the
// plain convolution's multiplications and additions. The device is PCONV_DEVICE, else the preferred one.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <random>

#include "conv_shape.h"
#include "pconv/pconv.hpp"

namespace {

const ConvShape kShapes[] = {
    {1, 32, 64, {128, 128}, 3, 1, 1}, {1, 3, 64, {256, 256}, 7, 2, 3},   {1, 64, 128, {128, 128}, 5, 2, 2},
    {1, 128, 256, {64, 64}, 3, 1, 1}, {2, 32, 64, {8, 64, 64}, 3, 1, 1},
};

std::vector<float> randomValues(const std::vector<int64_t>& dims, std::mt19937& random) {
    std::uniform_real_distribution<float> value(-1, 1);
    std::vector<float> values(static_cast<size_t>(ConvShape::count(dims)));
    std::generate(values.begin(), values.end(), [&] { return value(random); });
    return values;
}

// One partial convolution with a random mask of one plane.
struct Call {
    Call(const pconv::Device& target, const ConvShape& shape, const pconv::PartialConvDesc& desc,
         std::mt19937& random)
        : device(target),
          input(device, shape.inputDims(), randomValues(shape.inputDims(), random)),
          weight(device, shape.weightDims(), randomValues(shape.weightDims(), random)),
          bias(device, {shape.out_channels}, randomValues({shape.out_channels}, random)),
          output(device, shape.outputDims()),
          plane(device, planeDims(shape), randomBits(planeDims(shape), random)),
          mask(plane.view()),
          update(device, desc, mask),
          conv(device, desc) {
        conv.setWeights(weight.view(), bias.view());
    }
    void run() const {
        update.compute(mask);
        conv.forward(update, input.view(), output.view());
        device.wait();
    }
    static std::vector<int64_t> planeDims(const ConvShape& shape) {
        auto dims = shape.inputDims();
        dims[0] = dims[1] = 1;
        return dims;
    }
    static std::vector<uint8_t> randomBits(const std::vector<int64_t>& dims, std::mt19937& random) {
        std::vector<uint8_t> bits(static_cast<size_t>(ConvShape::count(dims)));
        std::generate(bits.begin(), bits.end(), [&] { return static_cast<uint8_t>(random() & 1U); });
        return bits;
    }

    const pconv::Device& device;
    pconv::Tensor input, weight, bias, output, plane;
    pconv::Mask mask;
    pconv::MaskUpdate update;
    pconv::PartialConv conv;
};

void measure(benchmark::State& state, const pconv::Device& device, const ConvShape& shape,
             const std::string& implementation) {
    auto desc = pconv::PartialConvDesc::same(shape.batch, shape.in_channels, shape.out_channels, shape.input,
                                             shape.kernel, shape.stride);
    desc.implementation = implementation.c_str();
    std::mt19937 random(1);
    try {
        const Call call(device, shape, desc, random);
        call.run();  // what is compiled at the first dispatch
        for (auto _ : state) call.run();
    } catch (const pconv::Error& error) {
        state.SkipWithError(error.what());
        return;
    }
    const int64_t products =
        ConvShape::count(shape.outputDims()) * (ConvShape::count(shape.weightDims()) / shape.out_channels);
    const auto work = static_cast<double>(2 * products);
    state.counters["FLOP/s"] = benchmark::Counter(work, benchmark::Counter::kIsIterationInvariantRate);
}

}  // namespace

int main(int argc, char** argv) {
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
    try {
        const pconv::Device device;
        for (const ConvShape& shape : kShapes) {
            const auto desc = pconv::PartialConvDesc::same(1, 1, 1, shape.input, shape.kernel);
            for (const PconvImplementationInfo& row : device.implementations(desc))
                benchmark::RegisterBenchmark((std::string(row.name) + " " + shape.name()).c_str(),
                                             [&, name = std::string(row.name)](benchmark::State& state) {
                                                 measure(state, device, shape, name);
                                             })
                    ->Unit(benchmark::kMillisecond)
                    ->UseRealTime();
        }
        std::printf("%s, %s\n", device.info().name, device.info().driver);
        benchmark::RunSpecifiedBenchmarks();
        benchmark::ClearRegisteredBenchmarks();
    } catch (const pconv::Error& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
    return 0;
}
