// No gradient is left to oneDNN's plain loops, which take thousands of times as long as its other kernels.
#include <gtest/gtest.h>

#include <algorithm>
#include <ctime>
#include <vector>

#include "pconv/pconv.hpp"

namespace pconv::test {
namespace {

// Of all threads.
double processorSeconds() {
    return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

template <typename Call>
double leastSeconds(const Call& call) {
    constexpr int kCalls = 5;
    call();
    double least = 1e30;
    for (int i = 0; i < kCalls; ++i) {
        const double begin = processorSeconds();
        call();
        least = std::min(least, processorSeconds() - begin);
    }
    return least;
}

struct Shape {
    int64_t in_channels, out_channels;
    std::vector<int64_t> size;
    int64_t stride, groups;
};

TEST(CpuBackwardKernel, GradientsTakeAFewTimesTheForwardPass) {
    constexpr double kMost = 100;  // loops: 1000 to 4000; what is taken: 1.5 to 10
    constexpr double kClock = 1e-4;
    const Device cpu("cpu");
    for (const Shape& shape :
         {Shape{8, 16, {6, 24, 24}, 1, 1}, Shape{3, 16, {6, 24, 24}, 1, 1}, Shape{12, 24, {6, 24, 24}, 2, 1},
          Shape{16, 16, {6, 24, 24}, 1, 2}, Shape{24, 8, {6, 24, 24}, 1, 1}, Shape{8, 16, {48, 48}, 1, 1},
          Shape{3, 24, {48, 48}, 2, 1}, Shape{16, 16, {48, 48}, 1, 2}}) {
        auto desc =
            PartialConvDesc::same(1, shape.in_channels, shape.out_channels, shape.size, 3, shape.stride);
        desc.groups = shape.groups;
        desc.has_bias = 0;
        desc.training = 1;
        desc.implementation = "cpu:onednn";
        std::vector<int64_t> input{1, shape.in_channels}, output{1, shape.out_channels};
        std::vector<int64_t> weight{shape.out_channels, shape.in_channels / shape.groups};
        for (const int64_t size : shape.size) {
            input.push_back(size);
            output.push_back((size + shape.stride - 1) / shape.stride);
            weight.push_back(3);
        }
        SCOPED_TRACE(::testing::Message()
                     << shape.size.size() << "-D, " << shape.in_channels << " to " << shape.out_channels
                     << " channels, stride " << shape.stride << ", groups " << shape.groups);
        const Tensor x(cpu, input), y(cpu, output), w(cpu, weight), grad_x(cpu, input), grad_w(cpu, weight);
        const PartialConv conv(cpu, desc);
        std::vector<int64_t> plane = input;
        plane[1] = 1;
        size_t pixels = 1;
        for (const int64_t size : shape.size) pixels *= static_cast<size_t>(size);
        const Tensor planes(cpu, plane, std::vector<uint8_t>(pixels, 1));
        const MaskUpdate update(cpu, desc, Mask(planes.view()));
        conv.setWeights(w.view());
        const PconvTensor grad_x_view = grad_x.view(), grad_w_view = grad_w.view();
        const double forward = leastSeconds([&] { conv.forward(update, x.view(), y.view()); });
        const double backward = leastSeconds(
            [&] { conv.backward(update, x.view(), y.view(), &grad_x_view, &grad_w_view, nullptr); });
        EXPECT_LT(backward, kMost * std::max(forward, kClock)) << forward << " s forward";
    }
}

}  // namespace
}  // namespace pconv::test
