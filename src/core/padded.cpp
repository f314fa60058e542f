#include "core/padded.h"

#include <utility>

#include "core/checked.h"
#include "core/operands.h"
#include "core/padding.h"

namespace pconv {

namespace {

Padding paddingOf(const PartialConvDesc& desc) {
    return {desc.padding_mode, desc.window.padding, desc.window.padding_end};
}

TensorRef allocateTensor(Device& device, const Dims5& dims, DataType type, const Dims5& strides,
                         const char* what) {
    int64_t bytes = static_cast<int64_t>(sizeOf(type));
    for (const int64_t d : dims) bytes = checkedProduct(bytes, d, what);
    return {device.allocate(static_cast<size_t>(bytes)), 0, type, strides};
}

class PaddedMaskUpdate final : public MaskUpdate {
  public:
    PaddedMaskUpdate(const Implementation& row, Device& device, const PartialConvDesc& desc,
                     const MaskForm& form, const MaskPlanes& results)
        : device_(device),
          padding_(paddingOf(desc)),
          inner_(row.makeMaskUpdate(device, rowDesc(desc), form, results)) {
        constexpr int64_t kRowAlign = 4;  // elements: rows of bytes that begin at words are copied faster
        const DataType type = desc.mask_type == MaskType::fractional ? DataType::f32 : DataType::u8;
        for (const MaskSegmentForm& segment : form.segments) {
            Dims5 filled = tensorDims(form.batch, segment.planes, paddedSize(desc.window));
            filled[4] = (filled[4] + kRowAlign - 1) / kRowAlign * kRowAlign;
            dims_.push_back(tensorDims(form.batch, segment.planes, desc.window.input));
            padded_.push_back(
                allocateTensor(device, filled, type, contiguousStrides(filled), "the padded mask"));
        }
    }
    void compute(const std::vector<TensorRef>& planes) override {
        for (size_t i = 0; i < planes.size(); ++i) device_.pad(planes[i], padded_[i], dims_[i], padding_);
        inner_->compute(padded_);
    }
    void setWeights(const TensorRef& weight) override { inner_->setWeights(weight); }
    const MaskUpdate& inner() const { return *inner_; }

  private:
    Device& device_;
    Padding padding_;
    std::vector<Dims5> dims_;  // of the caller's planes, a segment each
    std::vector<TensorRef> padded_;
    std::unique_ptr<MaskUpdate> inner_;
};

class PaddedPartialConv final : public PartialConv {
  public:
    PaddedPartialConv(const Implementation& row, Device& device, const PartialConvDesc& desc)
        : device_(device),
          padding_(paddingOf(desc)),
          dims_(tensorDims(desc.batch, desc.in_channels, desc.window.input)),
          input_(allocatePadded(device, desc)),
          inner_(row.makePartialConv(device, rowDesc(desc))) {
        if (desc.training) gradient_ = allocatePadded(device, desc);
    }
    void setWeights(const TensorRef& weight, const TensorRef* bias) override {
        inner_->setWeights(weight, bias);
    }
    void forward(const MaskUpdate& update, const TensorRef& input, const TensorRef& output) override {
        device_.pad(input, input_, dims_, padding_);
        inner_->forward(innerOf(update), input_, output);
    }
    void backward(const MaskUpdate& update, const TensorRef& input, const TensorRef& grad_output,
                  const Gradients& gradients) override {
        // Only the weight's gradient is of the input's values.
        if (gradients.weight != nullptr) device_.pad(input, input_, dims_, padding_);
        if (gradients.input == nullptr) {
            inner_->backward(innerOf(update), input_, grad_output, gradients);
            return;
        }
        // The padded gradient is not what is added to: it then has a pass of its own.
        const bool apart = gradients.accumulate;
        const Gradients padded{&gradient_, apart ? nullptr : gradients.weight,
                               apart ? nullptr : gradients.bias, false};
        inner_->backward(innerOf(update), input_, grad_output, padded);
        device_.foldPadding(gradient_, *gradients.input, dims_, padding_, gradients.accumulate);
        if (apart && (gradients.weight != nullptr || gradients.bias != nullptr))
            inner_->backward(innerOf(update), input_, grad_output,
                             {nullptr, gradients.weight, gradients.bias, true});
    }

  private:
    static TensorRef allocatePadded(Device& device, const PartialConvDesc& desc) {
        const Dims5 dims = tensorDims(desc.batch, desc.in_channels, paddedSize(desc.window));
        return allocateTensor(device, dims, desc.data_type, denseStrides(dims, desc.input_layout),
                              "the padded input");
    }
    static const MaskUpdate& innerOf(const MaskUpdate& update) {
        return static_cast<const PaddedMaskUpdate&>(update).inner();
    }

    Device& device_;
    Padding padding_;
    Dims5 dims_;  // of the caller's input
    TensorRef input_, gradient_;
    std::unique_ptr<PartialConv> inner_;
};

}  // namespace

PartialConvDesc rowDesc(const PartialConvDesc& desc) {
    if (desc.padding_mode == PaddingMode::zeros) return desc;
    PartialConvDesc result = desc;
    result.padding_mode = PaddingMode::zeros;
    result.window.input = paddedSize(desc.window);
    result.window.padding = result.window.padding_end = {0, 0, 0};
    return result;
}

std::unique_ptr<MaskUpdate> makeMaskUpdate(const Implementation& row, Device& device,
                                           const PartialConvDesc& desc, const MaskForm& form,
                                           const MaskPlanes& results) {
    if (desc.padding_mode == PaddingMode::zeros) return row.makeMaskUpdate(device, desc, form, results);
    return std::make_unique<PaddedMaskUpdate>(row, device, desc, form, results);
}

std::unique_ptr<PartialConv> makePartialConv(const Implementation& row, Device& device,
                                             const PartialConvDesc& desc) {
    if (desc.padding_mode == PaddingMode::zeros) return row.makePartialConv(device, desc);
    return std::make_unique<PaddedPartialConv>(row, device, desc);
}

}  // namespace pconv
