// The backward pass of cpu:onednn. The output's gradient is copied into oneDNN's layout anyway: ratio and
// updated mask go into that copy, the mask into the copies of the input and of its gradient. The copies and
// primitives of a slice of the input's channels in one part of the output, a unit, are one thread's.
#pragma once

#include <algorithm>
#include <memory>
#include <unordered_map>
#include <vector>

#include "cpu/onednn/backward_plan.h"
#include "cpu/passes/typed.h"

namespace pconv::cpu {

class OneDnnBackward {
  public:
    // `live`: the outputs whose windows reach into the input, and the inputs under them; null where there are
    // none. `staging` is the forward pass's too.
    OneDnnBackward(CpuDevice& device, const PartialConvDesc& desc, const std::array<Span, 3>* live,
                   const Staging& staging);

    // `weights` is f32 and contiguous.
    void setWeights(const float* weights);
    void run(const CpuMaskUpdate& update, const TensorRef& input, const TensorRef& grad_output,
             const Gradients& gradients);

  private:
    using Arguments = std::unordered_map<int, dnnl::memory>;
    struct Call {
        const CpuMaskUpdate& update;
        const TensorRef& input;
        const TensorRef& grad_output;
        const Gradients& gradients;
    };

    // What the units of a form of part run with.
    struct Form {
        dnnl::convolution_backward_data data;
        dnnl::convolution_backward_weights weights;
        std::vector<Arguments> data_arguments, weights_arguments;  // one for each unit
        Reorder unpack, unpack_adding;
    };

    // Consecutive parts, from plan_.parts[first] on, in scratch memory at a time.
    struct Wave {
        int64_t group;
        size_t first, count;
    };

    // The slice `slice` of the part `part` of a wave.
    struct Unit {
        int64_t part, slice;
    };

    void allocate();
    void addForm(const BackwardForm& form);
    dnnl::memory::desc userWeights() const;
    void scaleByUpdatedMask(const CpuMaskUpdate& update) const;
    void runWave(const Call& call, const Wave& wave);
    template <typename Body>
    void forEachUnit(const Wave& wave, const Body& body);
    void loadInput(const Call& call, const Wave& wave, Unit unit, int thread);
    void loadGradOutput(const Call& call, const Wave& wave, bool for_weights);
    void addShared(const Wave& wave);
    void storeGradInput(const Call& call, const Wave& wave, Unit unit, int thread);
    void addGradWeights(const Call& call, const Wave& wave, int64_t slice) const;
    void narrowGradWeight(const Call& call, int64_t group);
    void sumGradBias(const Call& call);
    void zeroBeyondLive(const TensorRef& grad_input) const;
    template <typename Run>
    void pointAtMask(Run& run, const Call& call, int64_t first_channel, const std::array<int64_t, 4>& at,
                     const void** planes) const;

    const BackwardPart& partOf(const Wave& wave, int64_t part) const {
        return plan_.parts[wave.first + static_cast<size_t>(part)];
    }
    size_t indexOf(Unit unit) const { return static_cast<size_t>(unit.part * plan_.slices + unit.slice); }
    float* inputOf(Unit unit) const {
        return input_ + indexOf(unit) * alignedSize(plan_.sizes.input) / sizeof(float);
    }
    float* outputOf(int64_t part) const {
        return output_ + static_cast<size_t>(part) * alignedSize(plan_.sizes.output) / sizeof(float);
    }
    // Of one convolution: of a slice of the channels of all groups or of one.
    int64_t inChannels() const { return desc_.in_channels / plan_.separate_groups / plan_.slices; }
    int64_t outChannels() const { return desc_.out_channels / plan_.separate_groups; }
    int64_t firstChannel(const Wave& wave, Unit unit) const {
        return (wave.group * plan_.slices + unit.slice) * inChannels();
    }
    int64_t groupWeights() const {
        return outChannels() * (desc_.in_channels / desc_.groups) * volume(desc_.window.kernel);
    }
    // Where a slice begins in contiguous weights.
    int64_t sliceOffset(int64_t slice) const { return slice * inChannels() * volume(desc_.window.kernel); }
    const void** planesOf(int thread) {
        return planes_.data() + thread * std::max(desc_.in_channels, desc_.out_channels);
    }

    CpuDevice& device_;
    PartialConvDesc desc_;
    dnnl::engine engine_;
    bool any_live_;
    std::array<Span, 3> live_{};
    BackwardPlan plan_;
    std::vector<Form> forms_;
    Reorder pack_;
    std::shared_ptr<Buffer> buffer_;
    float* input_ = nullptr;                    // of each unit: masked, or its gradient
    float* output_ = nullptr;                   // of each part: the gradient of the convolution's result
    float* shared_ = nullptr;                   // of each slice: what the next wave adds to
    char* grad_weights_ = nullptr;              // of each unit
    char* scratchpad_ = nullptr;                // likewise
    std::vector<dnnl::memory> packed_weights_;  // of the slices of one separate group after another
    float* plain_grad_weights_ = nullptr;       // of one group, where the tensors are not f32
    float* factors_ = nullptr;                  // ratio * updated mask, where that is not the ratio
    double* bias_sums_ = nullptr;  // for each part of the output's rows and channel; where the input will lie
    int64_t bias_parts_ = 1;
    Staging staging_;
    std::vector<const void*> planes_;
};

}  // namespace pconv::cpu
