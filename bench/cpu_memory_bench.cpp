// Peak memory of one forward pass [1,64,256,256] -> 128, kernel 9, padding 3: cpu:onednn with a mask plane
// for every channel, against a program that runs oneDNN's plain convolution. Each runs in a process of its
// own.
#include <sys/resource.h>

#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "onednn_peer.h"
#include "pconv/pconv.hpp"

namespace {

const ConvShape kShape{1, 64, 128, {256, 256}, 9, 1, 3};

void runMasked() {
    const pconv::Device device("cpu");
    pconv::PartialConvDesc desc = pconv::PartialConvDesc::same(
        kShape.batch, kShape.in_channels, kShape.out_channels, kShape.input, kShape.kernel);
    for (int i = 0; i < 2; ++i) desc.padding[i] = kShape.padding;
    desc.mask_mode = PCONV_MASK_MODE_MULTI_CHANNEL;
    desc.implementation = "cpu:onednn";
    const pconv::Tensor input(device, kShape.inputDims());
    const pconv::Tensor output(device, kShape.outputDims());
    const pconv::Tensor weight(device, kShape.weightDims());
    const pconv::Tensor bias(device, {kShape.out_channels});
    const pconv::Tensor planes(device, kShape.inputDims(), PCONV_DATA_TYPE_U8);
    for (const pconv::Tensor* tensor : {&input, &weight, &bias, &planes})
        std::memset(tensor->buffer().pointer(), 1, tensor->buffer().size());
    const pconv::PartialConv conv(device, desc);
    conv.setWeights(weight.view(), bias.view());
    const pconv::MaskUpdate update(device, desc, pconv::Mask(planes.view()));
    conv.forward(update, input.view(), output.view());
}

void runPlain() {
    const auto filled = [](const std::vector<int64_t>& dims) {
        return std::vector<float>(static_cast<size_t>(ConvShape::count(dims)), 1.0F);
    };
    auto input = filled(kShape.inputDims());
    const auto weight = filled(kShape.weightDims());
    const auto bias = filled({kShape.out_channels});
    std::vector<float> output(static_cast<size_t>(ConvShape::count(kShape.outputDims())));
    OneDnnPeer::preferred(kShape, input.data(), weight.data(), bias.data(), output.data()).run();
}

double peakMegabytes() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
#if defined(__APPLE__)
    constexpr double kUnit = 1;
#else
    constexpr double kUnit = 1024;
#endif
    return static_cast<double>(usage.ru_maxrss) * kUnit / 1e6;
}

double peakOf(const std::string& program, const char* mode) {
    FILE* child = popen(("\"" + program + "\" " + mode).c_str(), "r");
    double megabytes = 0;
    const bool read = child != nullptr && std::fscanf(child, "%lf", &megabytes) == 1;
    if (child != nullptr && pclose(child) == 0 && read) return megabytes;
    throw std::runtime_error(std::string("the run of '") + mode + "' failed");
}

}  // namespace

int main(int argc, char** argv) {
    try {
        const std::string mode = argc > 1 ? argv[1] : "";
        if (mode == "pconv" || mode == "onednn") {
            mode == "pconv" ? runMasked() : runPlain();
            std::printf("%.3f\n", peakMegabytes());
            return 0;
        }
        if (!mode.empty()) {
            std::fprintf(stderr, "unknown mode '%s': expected pconv, onednn or none\n", mode.c_str());
            return 2;
        }
        const double plain = peakOf(argv[0], "onednn");
        const double masked = peakOf(argv[0], "pconv");
        std::printf(
            "%s, peak memory: oneDNN's plain convolution %.1f MB, pconv multi-channel %.1f MB, ratio %.3f\n",
            kShape.name().c_str(), plain, masked, masked / plain);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
    return 0;
}
