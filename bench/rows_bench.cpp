// Every implementation of a device on the shapes of the CPU benchmark, mask side included; GFLOP/s count the
// plain convolution's multiplications and additions. The device is PCONV_DEVICE, else the preferred one.
#include "pconv/pconv.hpp"
#include "random_data.h"
#include "report.h"

namespace {

// One partial convolution with a random mask of one plane.
struct Call {
    Call(const pconv::Device& target, const ConvShape& shape, const pconv::PartialConvDesc& desc,
         std::mt19937& random)
        : device(target),
          input(device, shape.inputDims(), randomValues(shape.inputDims(), random)),
          weight(device, shape.weightDims(), randomValues(shape.weightDims(), random)),
          bias(device, {shape.out_channels}, randomValues({shape.out_channels}, random)),
          output(device, shape.outputDims()),
          plane(device, shape.maskDims(1), randomBits(shape.maskDims(1), random)),
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
    return runProgram(argc, argv, {}, [] {
        const pconv::Device device;
        for (const ConvShape& shape : kForwardShapes) {
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
    });
}
