// The backward pass of cpu:onednn. The output's gradient is copied into oneDNN's layout anyway: ratio and
// updated mask go into that copy, the mask into the copies of the input and of its gradient.
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

    // What a form of part runs with.
    struct Form {
        dnnl::convolution_backward_data data;
        dnnl::convolution_backward_weights weights;
        Arguments data_arguments, weights_arguments;
        dnnl::memory grad_weights;
        dnnl::reorder unpack, unpack_adding;
    };

    void allocate();
    void addForm(const BackwardForm& form, char* grad_weights, char* scratchpad);
    dnnl::memory::desc userWeights() const;
    void scaleByUpdatedMask(const CpuMaskUpdate& update) const;
    void runPart(const Call& call, int64_t group, size_t index);
    void loadInput(const Call& call, int64_t group, ScratchLayout layout, const Box& part);
    void loadGradOutput(const Call& call, int64_t group, ScratchLayout layout, const Box& part);
    void addShared(const BackwardPart& before, const BackwardPart& part);
    void keepShared(const BackwardPart& part);
    template <typename Move>
    void forEachShared(const BackwardPart& part, int64_t shared, int64_t first, const Move& move);
    void storeGradInput(const Call& call, int64_t group, const BackwardPart& part);
    void addGradWeight(const Call& call, int64_t group, Form& form, bool first);
    void narrowGradWeight(const Call& call, int64_t group);
    void sumGradBias(const Call& call);
    void zeroBeyondLive(const TensorRef& grad_input) const;
    template <typename Run>
    void pointAtMask(Run& run, const Call& call, int64_t group, const std::array<int64_t, 4>& at,
                     const void** planes) const;
    template <typename Body>
    void forEachRows(int64_t batch, const Dims3& box, bool joined, const Body& body) const;
    void execute(const dnnl::primitive& primitive, const Arguments& arguments);

    // Of one convolution: of all groups or of one.
    int64_t inChannels() const { return desc_.in_channels / plan_.separate_groups; }
    int64_t outChannels() const { return desc_.out_channels / plan_.separate_groups; }
    int64_t groupWeights() const {
        return outChannels() * (desc_.in_channels / desc_.groups) * volume(desc_.window.kernel);
    }
    const void** planesOf(int thread) {
        return planes_.data() + thread * std::max(desc_.in_channels, desc_.out_channels);
    }

    CpuDevice& device_;
    PartialConvDesc desc_;
    dnnl::engine engine_;
    dnnl::stream stream_;
    bool any_live_;
    std::array<Span, 3> live_{};
    BackwardPlan plan_;
    std::vector<Form> forms_;
    dnnl::reorder pack_;
    std::shared_ptr<Buffer> buffer_;
    float* input_ = nullptr;                    // of a part: masked, or its gradient
    float* output_ = nullptr;                   // of a part: the gradient of the convolution's result
    float* shared_ = nullptr;                   // the gradient of inputs that two parts add to
    std::vector<dnnl::memory> packed_weights_;  // one for each separate group
    float* plain_grad_weights_ = nullptr;       // of one group, where the tensors are not f32
    float* factors_ = nullptr;                  // ratio * updated mask, where that is not the ratio
    double* bias_sums_ = nullptr;  // for each part of the output's rows and channel; where the input will lie
    int64_t bias_parts_ = 1;
    Staging staging_;
    std::vector<const void*> planes_;
};

}  // namespace pconv::cpu
