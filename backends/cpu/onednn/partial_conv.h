// The operator of cpu:onednn: its plan and what it runs with.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "cpu/device.h"
#include "cpu/onednn/backward.h"
#include "cpu/onednn/boxes.h"
#include "cpu/onednn/convolution.h"

namespace pconv::cpu {

// Boxes of equal form share a primitive.
struct Form {
    Box box;
    Primitive primitive;
    dnnl::convolution_forward convolution;
    size_t weights;  // index of the packing it reads
};

// Weights of parts of the output's channels, all of one size.
struct Packing {
    dnnl::memory::desc user, desc;
    Reorder reorder;
    std::shared_ptr<Buffer> buffer;
    int64_t first, size;  // the first part's first channel; of each part
    std::vector<dnnl::memory> weights;

    const dnnl::memory& of(int64_t channel) const {
        return weights[static_cast<size_t>((channel - first) / size)];
    }
};

// Bytes of one worker's parts of the scratch memory.
struct ScratchSizes {
    size_t input, output, scratchpad;
    size_t all() const { return input + output + scratchpad; }
};

// What one thread runs with.
struct Worker {
    int thread;
    size_t offset;  // of its part of the scratch memory
    ScratchSizes sizes;
    dnnl::stream stream;
    float* input;
    float* output;
    std::vector<const void*> planes;
    struct Arguments {
        dnnl::memory input, output;
        std::unordered_map<int, dnnl::memory> all;
    };
    std::vector<Arguments> arguments;  // for each form
};

// A box of a forward pass: without a form it is all hole.
struct Task {
    Box box;
    size_t form;
    bool whole;  // a box of the plan, not cells of one
};
inline constexpr size_t kNoForm = SIZE_MAX;

class OneDnnPartialConv final : public PartialConv {
  public:
    OneDnnPartialConv(CpuDevice& device, const PartialConvDesc& desc);

    void setWeights(const TensorRef& weight, const TensorRef* bias) override;
    void forward(const MaskUpdate& any_update, const TensorRef& input, const TensorRef& output) override;
    void backward(const MaskUpdate& update, const TensorRef& input, const TensorRef& grad_output,
                  const Gradients& gradients) override;

  private:
    void setBias(const TensorRef* bias);
    void plan();
    void addForm(const Box& box);
    void addCellForms();
    size_t formOf(const Box& box) const;
    size_t mostTasks() const;
    PlainConv plainConv(const Box& box) const;
    size_t packingFor(const Box& box, const Primitive& primitive);
    void allocatePackings();
    int64_t channelGrain() const;
    bool keepsPaceChannelsLast(const Primitive& primitive) const;
    void makeWorkers();
    ScratchSizes scratchSizes() const;
    Worker workerWith(const ScratchSizes& sizes, size_t number) const;
    void followScratch();

    void runBox(Worker& worker, const ForwardCall& call, const Box& box, size_t form) const;
    void execute(Worker& worker, size_t form, int64_t channel, float* input, float* output) const;
    bool allValid(const ForwardCall& call, const Box& box) const;
    void addTasksOf(const ForwardCall& call, size_t index);
    double addCellTasks(const ForwardCall& call, const Box& band);
    void finishMargins(const ForwardCall& call, int64_t n) const;
    void finishMargin(const ForwardCall& call, int64_t n, int64_t d, int64_t h, int64_t begin,
                      int64_t end) const;
    bool readsInputInPlace(const ForwardCall& call, const Box& box) const;
    bool writesOutputInPlace(const ForwardCall& call, const Box& box) const;

    // Of one convolution: of all groups or of one.
    int64_t inChannels() const { return desc_.in_channels / separate_groups_; }
    int64_t outChannels(const Box& box) const {
        return separate_groups_ > 1 ? desc_.out_channels / separate_groups_ : box.channel_size;
    }
    int64_t weightCount() const {
        return desc_.out_channels * (desc_.in_channels / desc_.groups) * volume(desc_.window.kernel);
    }

    CpuDevice& device_;
    PartialConvDesc desc_;
    dnnl::engine engine_;
    Plan plan_;
    // Groups convolved one after another, where oneDNN has no fast grouped kernel.
    int64_t separate_groups_ = 1;
    ScratchLayout input_layout_{}, output_layout_{};
    std::vector<Form> forms_;
    std::vector<std::vector<Box>> bands_;  // of each box of the plan, where it has cells
    std::vector<Packing> packings_;
    std::vector<float> bias_;  // zeros for a masked convolution without one
    // The outputs that no window reaches: a masked convolution without a mask has its bias there.
    std::vector<float> margin_;
    std::shared_ptr<Buffer> wide_weights_;  // f32, where the tensors are not
    Staging staging_;
    std::vector<Worker> workers_;
    std::vector<Task> tasks_;   // of the mask in use
    int64_t most_outputs_ = 0;  // of a box of the plan
    Scratch scratch_;
    char* scratch_begin_ = nullptr;             // where the workers believe it to be
    std::unique_ptr<OneDnnBackward> backward_;  // null where the caller wants no training
};

}  // namespace pconv::cpu
