// The backward pass of cpu:onednn. The output's gradient is copied into oneDNN's layout anyway: ratio and
// updated mask go into that copy, the mask into the copies of the input and of its gradient.
#pragma once

#include <algorithm>
#include <memory>
#include <unordered_map>
#include <vector>

#include "cpu_typed_passes.h"
#include "onednn_backward_convolution.h"

namespace pconv::cpu {

class OneDnnBackward {
  public:
    // `live`: the outputs whose windows reach into the input, and the inputs under them; null where there are
    // none.
    OneDnnBackward(CpuDevice& device, const PartialConvDesc& desc, const std::array<Span, 3>* live);

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

    void choosePrimitives();
    void allocate();
    PlainConv plainConv() const;
    void scaleByUpdatedMask(const CpuMaskUpdate& update) const;
    void loadInput(const Call& call, int64_t group);
    void loadGradOutput(const Call& call, int64_t group, ScratchLayout layout);
    void storeGradInput(const Call& call, int64_t group);
    void storeGradWeight(const Call& call, int64_t group);
    void sumGradBias(const Call& call);
    void zeroBeyondLive(const TensorRef& grad_input) const;
    template <typename Run>
    void pointAtMask(Run& run, const Call& call, int64_t group, const std::array<int64_t, 4>& at,
                     const void** planes) const;
    template <typename Body>
    void forEachRows(const Dims3& box, bool joined, const Body& body) const;
    void execute(const dnnl::primitive& primitive, const Arguments& arguments);

    // Of one convolution: of all groups or of one.
    int64_t inChannels() const { return desc_.in_channels / separate_groups_; }
    int64_t outChannels() const { return desc_.out_channels / separate_groups_; }
    int64_t groupWeights() const {
        return outChannels() * (desc_.in_channels / desc_.groups) * volume(desc_.window.kernel);
    }
    Dims3 inputBox() const { return {live_[0].input_size, live_[1].input_size, live_[2].input_size}; }
    Dims3 outputBox() const { return {live_[0].output_size, live_[1].output_size, live_[2].output_size}; }
    const void** planesOf(int thread) {
        return planes_.data() + thread * std::max(desc_.in_channels, desc_.out_channels);
    }

    CpuDevice& device_;
    PartialConvDesc desc_;
    dnnl::engine engine_;
    dnnl::stream stream_;
    bool any_live_;
    std::array<Span, 3> live_{};
    int64_t separate_groups_ = 1;
    BackwardData data_{};
    BackwardWeights weights_{};
    dnnl::convolution_backward_data backward_data_;
    dnnl::convolution_backward_weights backward_weights_;
    Arguments data_arguments_, weights_arguments_;
    dnnl::reorder pack_, unpack_, unpack_adding_;
    std::shared_ptr<Buffer> buffer_;
    float* input_ = nullptr;                    // masked, or its gradient
    float* output_ = nullptr;                   // the gradient of the convolution's result
    std::vector<dnnl::memory> packed_weights_;  // one for each separate group
    dnnl::memory grad_weights_;
    float* plain_grad_weights_ = nullptr;  // of one group, where the tensors are not f32
    float* factors_ = nullptr;             // ratio * updated mask, where that is not the ratio
    double* bias_sums_ = nullptr;          // for each part of the output's rows and channel
    int64_t bias_parts_ = 1;
    Staging staging_;
    std::vector<const void*> planes_;
};

}  // namespace pconv::cpu
