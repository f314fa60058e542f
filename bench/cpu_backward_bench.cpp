// cpu:onednn's backward pass, masks included, against oneDNN's own of the plain convolution, in one run, NCHW
// in and out. Prints ratios at the end.
#include <cstdio>
#include <memory>
#include <random>

#include "onednn_backward_peer.h"
#include "pconv/pconv.hpp"
#include "random_data.h"
#include "report.h"

namespace {

const ConvShape kShapes[] = {
    {1, 32, 64, {128, 128}, 3, 1, 1},
    {1, 64, 128, {128, 128}, 5, 2, 2},
    {2, 32, 64, {8, 64, 64}, 3, 1, 1},
};

float* dataOf(const pconv::Tensor& tensor) {
    return static_cast<float*>(tensor.buffer().pointer());
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
    Contest(const pconv::Device& device, const ConvShape& shape, std::mt19937 random)
        : shape_(shape),
          input_(device, shape.inputDims(), randomValues(shape.inputDims(), random)),
          grad_input_(device, shape.inputDims()),
          weight_(device, shape.weightDims(), randomValues(shape.weightDims(), random)),
          grad_weight_(device, shape.weightDims()),
          bias_(device, {shape.out_channels}, randomValues({shape.out_channels}, random)),
          grad_bias_(device, {shape.out_channels}),
          grad_output_(device, shape.outputDims(), randomValues(shape.outputDims(), random)),
          plane_(device, shape.maskDims(1), randomBits(shape.maskDims(1), random)),
          mask_(plane_.view()),
          update_(device, describe(shape), mask_),
          conv_(device, describe(shape)),
          peer_(shape, {dataOf(input_), dataOf(weight_), dataOf(grad_output_), dataOf(grad_input_),
                        dataOf(grad_weight_), dataOf(grad_bias_)}) {
        update_.compute(mask_);
        conv_.setWeights(weight_.view(), bias_.view());
    }

    void enter() {
        addRival(peerName(), [this] { peer_.run(); });
        addRival(ownName(), [this] {
            const PconvTensor grad_input = grad_input_.view();
            const PconvTensor grad_weight = grad_weight_.view();
            const PconvTensor grad_bias = grad_bias_.view();
            conv_.backward(update_, input_.view(), grad_output_.view(), &grad_input, &grad_weight,
                           &grad_bias);
        });
    }
    std::string peerName() const { return shape_.name() + "/oneDNN " + peer_.name(); }
    std::string ownName() const { return shape_.name() + "/pconv"; }

    void report(TimesByName& times) const {
        Times& own = times[ownName()];
        Times& peer = times[peerName()];
        if (own.all.empty() || peer.all.empty()) return;
        std::printf("%-28s backward against oneDNN's own %8.3f ms  %.3f  (least times %.3f)\n",
                    shape_.name().c_str(), own.median(), own.median() / peer.median(),
                    own.least() / peer.least());
    }

  private:
    ConvShape shape_;
    pconv::Tensor input_, grad_input_, weight_, grad_weight_, bias_, grad_bias_, grad_output_, plane_;
    pconv::Mask mask_;
    pconv::MaskUpdate update_;
    pconv::PartialConv conv_;
    OneDnnBackwardPeer peer_;
};

}  // namespace

int main(int argc, char** argv) {
    return runComparison(argc, argv, [] {
        const pconv::Device device("cpu");
        std::vector<std::unique_ptr<Contest>> contests;
        for (const ConvShape& shape : kShapes) {
            contests.push_back(std::make_unique<Contest>(device, shape, std::mt19937(1)));
            contests.back()->enter();
        }
        Collector collector;
        benchmark::RunSpecifiedBenchmarks(&collector);
        for (const auto& contest : contests) contest->report(collector.times);
    });
}
