// A convolution over channels that are a smaller tensor repeated, without writing them out. The outputs at
// one place within the repeated elements (a phase) see the small tensor through a smaller window: where
// several taps fall on one element, their weights are summed beforehand. For a window of 3 and a factor of 2
// in two dimensions that leaves 4 multiplications of 9. What the other channels give is added before the
// epilogue.
#pragma once

#include <unordered_map>

#include "cpu/onednn/boxes.h"

namespace pconv::cpu {

// Whether it is faster than the same channels written out, and can be done at all.
bool upsamplingPays(const PartialConvDesc& desc);

class OneDnnUpsampledConv final : public PartialConv {
  public:
    OneDnnUpsampledConv(CpuDevice& device, const PartialConvDesc& desc);

    void setWeights(const TensorRef& weight, const TensorRef* bias) override;
    void forward(const MaskUpdate& update, const TensorRef& input, const TensorRef& output) override;
    void forwardUpsampled(const MaskUpdate& any_update, const TensorRef& small, const TensorRef& rest,
                          const TensorRef& output) override;

  private:
    // Made once: making them takes microseconds of each call.
    struct Arguments {
        dnnl::memory input, output, scratchpad;
        std::unordered_map<int, dnnl::memory> all;
    };
    struct Form {
        std::array<Span, 3> spans;
        int64_t batch;
        Primitive primitive;
        dnnl::convolution_forward convolution;
        size_t packing;
        std::vector<Arguments> arguments;  // of each thread
    };
    struct Packing {
        dnnl::memory::desc desc;
        Reorder reorder;
        std::shared_ptr<Buffer> buffer;
    };
    // One of the convolutions that are summed: of the small tensor for some phases, or of all other channels.
    struct Part {
        std::vector<Dims3> phases;  // none: of the other channels
        int64_t first, channels;    // of the weights
        Window window;
        ScratchLayout input, output;
        std::vector<Box> boxes;
        std::vector<size_t> form_of_box;
        std::vector<Form> forms;
        dnnl::memory::desc user;
        std::vector<Packing> packings;
        // Of each phase and tap of its window: the taps of the whole window that fall on it.
        std::vector<std::vector<int64_t>> sources;

        bool ofRest() const { return phases.empty(); }
        int64_t sets() const { return ofRest() ? 1 : static_cast<int64_t>(phases.size()); }
    };
    // Bytes of one thread's parts of the scratch memory.
    struct Sizes {
        size_t input, partial, sum, scratchpad;
        size_t all() const { return input + partial + sum + scratchpad; }
    };
    struct Worker {
        size_t number;
        float *input, *partial, *sum;
        void* scratchpad;
        const void** planes;
    };

    void makeParts();
    void addPhases(const std::vector<Dims3>& phases);
    void addRest();
    void cutIntoBoxes();
    void choosePrimitives(Part& part);
    void addForm(Part& part, const Box& box);
    void reserveScratch();
    void makeArguments();
    Worker workerOf(int thread);
    PlainConv plainConv(const Part& part, const Box& box) const;
    size_t weightBytes(const Part& part) const;
    void writeWeights(const Part& part, const TensorRef& weight, float* to) const;
    void run(Part& part, size_t box, const Worker& worker, float* output);
    void addPhase(const Part& part, size_t set, size_t box, const Worker& worker, bool adds) const;

    CpuDevice& device_;
    PartialConvDesc desc_;
    dnnl::engine engine_;
    Dims3 small_{1, 1, 1};     // of the small tensor
    std::vector<Part> parts_;  // the other channels' first
    std::vector<Box> boxes_;   // of the output
    ScratchLayout sum_layout_{};
    std::vector<float> bias_;
    Staging staging_;
    std::vector<dnnl::stream> streams_;  // of each thread
    Scratch scratch_;                    // of all workers; of a part's weights before they are packed
    Sizes sizes_{};
    std::vector<std::vector<const void*>> planes_;  // of each thread
};

}  // namespace pconv::cpu
