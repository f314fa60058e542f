// cpu:onednn, mask side included, against every algorithm of oneDNN's plain convolution, in one run, NCHW in
// and out. Prints ratios at the end: to the best direct algorithm, and to the best of all where Winograd is
// allowed.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <random>

#include "onednn_peer.h"
#include "pconv/pconv.hpp"
#include "random_data.h"
#include "report.h"

namespace {

struct Operands {
    Operands(const pconv::Device& device, const ConvShape& shape, std::mt19937 random)
        : input(device, shape.inputDims(), randomValues(shape.inputDims(), random)),
          output(device, shape.outputDims()),
          weight(device, shape.weightDims(), randomValues(shape.weightDims(), random)),
          bias(device, {shape.out_channels}, randomValues({shape.out_channels}, random)),
          planes(device, shape.maskDims(shape.in_channels),
                 randomBits(shape.maskDims(shape.in_channels), random)) {}
    static float* data(const pconv::Tensor& tensor) { return static_cast<float*>(tensor.buffer().pointer()); }

    pconv::Tensor input, output, weight, bias, planes;
};

// One partial convolution whose mask changes with every call.
class Masked {
  public:
    Masked(const pconv::Device& device, const ConvShape& shape, const Operands& operands, bool multi_channel,
           bool fast)
        : operands_(operands),
          desc_(describe(shape, multi_channel, fast)),
          mask_(maskOf(shape, operands, multi_channel)),
          update_(device, desc_, mask_),
          conv_(device, desc_) {
        conv_.setWeights(operands.weight.view(), operands.bias.view());
    }
    void run() const {
        update_.compute(mask_);
        conv_.forward(update_, operands_.input.view(), operands_.output.view());
    }

  private:
    static pconv::PartialConvDesc describe(const ConvShape& shape, bool multi_channel, bool fast) {
        auto desc = pconv::PartialConvDesc::same(shape.batch, shape.in_channels, shape.out_channels,
                                                 shape.input, shape.kernel, shape.stride);
        desc.mask_mode = multi_channel ? PCONV_MASK_MODE_MULTI_CHANNEL : PCONV_MASK_MODE_SINGLE_CHANNEL;
        desc.math = fast ? PCONV_MATH_FAST : PCONV_MATH_EXACT;
        desc.implementation = "cpu:onednn";
        return desc;
    }
    // Every channel's plane, or the first alone.
    static pconv::Mask maskOf(const ConvShape& shape, const Operands& operands, bool multi_channel) {
        const auto dims = shape.maskDims(multi_channel ? shape.in_channels : 1);
        return pconv::Mask(pconv::view(operands.planes.buffer().get(), dims, PCONV_DATA_TYPE_U8));
    }

    const Operands& operands_;
    pconv::PartialConvDesc desc_;
    pconv::Mask mask_;
    pconv::MaskUpdate update_;
    pconv::PartialConv conv_;
};

// All that is measured of one shape.
struct Contest {
    Contest(const pconv::Device& device, const ConvShape& of)
        : shape(of),
          operands(device, of, std::mt19937(1)),
          scratch(static_cast<size_t>(ConvShape::count(of.outputDims()))) {
        peers = OneDnnPeer::all(shape, Operands::data(operands.input), Operands::data(operands.weight),
                                Operands::data(operands.bias), scratch.data());
        for (const bool fast : {false, true})
            for (const bool multi_channel : {false, true})
                masked.push_back(std::make_unique<Masked>(device, shape, operands, multi_channel, fast));
    }
    std::string nameOf(const OneDnnPeer& peer) const {
        return shape.name() + "/oneDNN " + peer.name() + (peer.winograd() ? " (Winograd)" : "");
    }
    std::string nameOf(bool multi_channel, bool fast) const {
        return shape.name() + "/pconv " + (multi_channel ? "multi-channel" : "single-channel") +
               (fast ? ", fast" : "");
    }
    void enter() {
        for (OneDnnPeer& peer : peers) addRival(nameOf(peer), [&peer] { peer.run(); });
        size_t i = 0;
        for (const bool fast : {false, true})
            for (const bool multi_channel : {false, true}) {
                const Masked& one = *masked[i++];
                addRival(nameOf(multi_channel, fast), [&one] { one.run(); });
            }
    }
    // Ratios of medians, and of the least times.
    void report(TimesByName& times) const {
        if (times.find(nameOf(false, false)) == times.end()) return;
        const auto best = [&](bool winograd, const auto& of) {
            double least = -1;
            for (const OneDnnPeer& peer : peers) {
                const auto found = times.find(nameOf(peer));
                if ((peer.winograd() && !winograd) || found == times.end()) continue;
                least = least < 0 ? of(found->second) : std::min(least, of(found->second));
            }
            return least;
        };
        const auto median = [](Times& t) { return t.median(); };
        const auto least = [](Times& t) { return t.least(); };
        const auto line = [&](const char* what, Times& ours, double medians, double leasts) {
            std::printf("%-28s %-44s %6.3f ms  %.3f  (least times %.3f)\n", shape.name().c_str(), what,
                        ours.median(), ours.median() / medians, ours.least() / leasts);
        };
        Times& single = times[nameOf(false, false)];
        Times& fast = times[nameOf(false, true)];
        line("against oneDNN's best direct algorithm", single, best(false, median), best(false, least));
        line("fast math, against its best of all", fast, best(true, median), best(true, least));
        line("multi-channel against single-channel", times[nameOf(true, false)], single.median(),
             single.least());
        line("the same with fast math", times[nameOf(true, true)], fast.median(), fast.least());
    }

    ConvShape shape;
    Operands operands;
    std::vector<float> scratch;
    std::vector<OneDnnPeer> peers;
    std::vector<std::unique_ptr<Masked>> masked;
};

}  // namespace

int main(int argc, char** argv) {
    return runComparison(argc, argv, [] {
        const pconv::Device device("cpu");
        std::vector<std::unique_ptr<Contest>> contests;
        for (const ConvShape& shape : kForwardShapes) {
            contests.push_back(std::make_unique<Contest>(device, shape));
            contests.back()->enter();
        }
        Collector collector;
        benchmark::RunSpecifiedBenchmarks(&collector);
        for (const auto& contest : contests) contest->report(collector.times);
    });
}
