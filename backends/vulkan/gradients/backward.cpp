#include "vulkan/gradients/backward.h"

namespace pconv::vulkan {

namespace {

// As in shaders/output_gradient.glsl.
struct OutputPush {
    int32_t strides[5];
    int32_t grad_base, result_base;
    int32_t ratio_base, updated_base;
    int32_t mask_batched;
    int32_t n0, images;
    int32_t c0, channel_count;
    int32_t row0, rows;
    int32_t add;
};

// As in shaders/give_gradient.comp.
struct GivePush {
    int32_t row0, rows;
    int32_t first, count;
    int32_t parts, row_length;
    int32_t sums_base, gradient_base;
    int32_t accumulate;
};

}  // namespace

VulkanBackward::VulkanBackward(VulkanDevice& device, const PartialConvDesc& desc, bool by_products)
    : device_(device),
      context_(device, desc),
      grad_input_(context_, by_products && suitsGradInputGemm(context_) ? gradInputGemm(context_)
                                                                        : gradInputDirect(context_)),
      grad_weight_(context_, by_products && suitsGradWeightGemm(context_) ? gradWeightGemm(context_)
                                                                          : gradWeightDirect(context_)),
      grad_sum_(context_.pipeline("grad_sum", {{SPEC_LANES, kPlainLanes}})),
      grad_bias_(context_.pipeline("grad_bias", {{SPEC_LANES, context_.lanes()}})),
      give_(context_.pipeline("give_gradient", {{SPEC_LANES, kPlainLanes}})),
      bias_parts_(partsOfSum(desc.batch * volume(desc.window.output), desc.out_channels)),
      bias_sums_(context_.floats(desc.out_channels * bias_parts_)) {}

void VulkanBackward::run(const VulkanMaskUpdate& update, const TensorRef& input, const TensorRef& grad_output,
                         const Gradients& gradients) {
    BackwardCall call{update, input, grad_output, gradients, device_.limits()};
    // A fault must leave no gradient half made.
    call.rehearsal = true;
    makeAll(call);
    call.rehearsal = false;

    Stream& stream = device_.stream();
    stream.beginOperation();
    for (const TensorRef* tensor :
         {&input, &grad_output, &update.results().ratio, &update.results().updated_mask, gradients.input,
          gradients.weight, gradients.bias})
        if (tensor != nullptr && tensor->buffer != nullptr) stream.use(memoryOf(*tensor));
    for (const auto& buffer : {context_.params, context_.sums, grad_input_.turned(), grad_weight_.sums(),
                               bias_sums_, update.planes().packed(), update.planes().runs()})
        if (buffer != nullptr) stream.use(*buffer);
    makeAll(call);
    stream.barrier();
    const int64_t channels = context_.desc.out_channels;
    if (gradients.weight != nullptr)
        give(*grad_weight_.sums(), channels, grad_weight_.parts(), grad_weight_.ofChannel(),
             *gradients.weight, gradients.accumulate);
    if (gradients.bias != nullptr)
        give(*bias_sums_, channels, bias_parts_, 1, *gradients.bias, gradients.accumulate);
    stream.endOperation();
}

void VulkanBackward::makeAll(const BackwardCall& call) {
    const Gradients& gradients = call.gradients;
    if (gradients.input != nullptr || gradients.weight != nullptr) overOutputs(call, grad_sum_, false);
    if (gradients.bias != nullptr) overOutputs(call, grad_bias_, true);
    if (!call.rehearsal) device_.stream().barrier();
    if (gradients.input != nullptr) grad_input_.run(call);
    if (gradients.weight != nullptr) grad_weight_.run(call);
}

// The kernels that read the output's gradient: over images, rows and channels.
void VulkanBackward::overOutputs(const BackwardCall& call, const Pipeline& pipeline, bool sum_up) {
    const Dims3& out = context_.desc.window.output;
    const int64_t mask_groups = context_.desc.maskGroups();
    const size_t element = sizeOf(context_.desc.data_type);
    const auto gradSpan = [&](const Piece& p) {
        const RowBox rows = rowBox(p[1], out[1]);
        return spanOf({p[0], p[2], rows.d, rows.h, Range{0, out[2]}}, call.grad_output.strides, element);
    };
    const auto resultSpan = [&](const Piece& p) {
        return sum_up ? Span{p[2].begin * bias_parts_ * 4, p[2].end * bias_parts_ * 4}
                      : context_.sumSpan(p[0], p[1], p[2]);
    };
    const auto gainSpan = [&](const Piece& p) {
        const Range groups{context_.desc.maskGroupOf(p[2].begin),
                           context_.desc.maskGroupOf(p[2].end - 1) + 1};
        return spanOf({call.update.form().batch == 1 ? kOne : p[0], groups, p[1], Range{0, out[2]}, kOne},
                      {mask_groups * volume(out), volume(out), out[2], 1, 0}, sizeof(float));
    };
    const auto elements = [&](const Piece& p) { return p[0].size() * p[1].size() * p[2].size() * out[2]; };
    const auto workgroups = [&](const Piece& p) {
        return sum_up ? p[2].size() : ceilDiv<int64_t>(elements(p), kPlainLanes);
    };
    const auto fits = [&](const Piece& p) {
        Fit fit(call.limits);
        fit.bytes(gradSpan(p));
        fit.bytes(resultSpan(p));
        fit.bytes(gainSpan(p));
        fit.grid(0, workgroups(p));
        if (sum_up) fit.grid(1, bias_parts_);
        fit.work(elements(p));
        return fit;
    };
    const auto emit = [&](const Piece& p) {
        OutputPush push{};
        storeStrides(call.grad_output, push);
        push.mask_batched = call.update.form().batch > 1 ? 1 : 0;
        push.n0 = narrow(p[0].begin);
        push.images = narrow(p[0].size());
        push.row0 = narrow(p[1].begin);
        push.rows = narrow(p[1].size());
        push.c0 = narrow(p[2].begin);
        push.channel_count = narrow(p[2].size());
        // A channel's first piece is the one with its first output.
        push.add = p[0].begin > 0 || p[1].begin > 0 ? 1 : 0;
        if (sum_up && push.add != 0) device_.stream().barrier();
        const Binding grad = device_.bind(memoryOf(call.grad_output), call.grad_output.offset, gradSpan(p),
                                          element, push.grad_base);
        const Binding result = device_.bind(sum_up ? *bias_sums_ : *context_.sums, 0, resultSpan(p),
                                            sizeof(float), push.result_base);
        // What is not read is bound to something that is.
        const TensorRef& ratio = call.update.results().ratio;
        const TensorRef& updated = call.update.results().updated_mask;
        const Binding ratios = ratio.buffer == nullptr ? grad
                                                       : device_.bind(memoryOf(ratio), ratio.offset,
                                                                      gainSpan(p), 4, push.ratio_base);
        const Binding updateds =
            updated.data_type != DataType::f32
                ? grad
                : device_.bind(memoryOf(updated), updated.offset, gainSpan(p), 4, push.updated_base);
        device_.stream().dispatch(
            pipeline, {grad, ratios, updateds, result, device_.bindWhole(*context_.params)}, &push,
            sizeof push,
            {static_cast<uint32_t>(workgroups(p)), sum_up ? static_cast<uint32_t>(bias_parts_) : 1, 1},
            static_cast<uint64_t>(elements(p)));
    };
    splitCall(call,
              {Range{0, context_.desc.batch},
               {0, context_.outputRows()},
               {0, context_.desc.out_channels},
               kOne,
               kOne},
              fits, emit);
}

// From sums [rows, parts, length] to the gradient, [rows, length].
void VulkanBackward::give(const VulkanBuffer& sums, int64_t rows, int64_t parts, int64_t length,
                          const TensorRef& gradient, bool accumulate) {
    const size_t element = sizeOf(context_.desc.data_type);
    const PlanLimits limits = device_.limits();
    const auto sumSpan = [&](const Piece& p) {
        return spanOf({p[0], Range{0, parts}, p[1], kOne, kOne}, {parts * length, length, 1, 0, 0}, 4);
    };
    const auto gradientSpan = [&](const Piece& p) {
        return spanOf({p[0], p[1], kOne, kOne, kOne}, {length, 1, 0, 0, 0}, element);
    };
    const auto elements = [](const Piece& p) { return p[0].size() * p[1].size(); };
    const auto fits = [&](const Piece& p) {
        Fit fit(limits);
        fit.bytes(sumSpan(p));
        fit.bytes(gradientSpan(p));
        fit.grid(0, ceilDiv<int64_t>(elements(p), kPlainLanes));
        return fit;
    };
    const auto emit = [&](const Piece& p) {
        GivePush push{};
        push.row0 = narrow(p[0].begin);
        push.rows = narrow(p[0].size());
        push.first = narrow(p[1].begin);
        push.count = narrow(p[1].size());
        push.parts = narrow(parts);
        push.row_length = narrow(length);
        push.accumulate = accumulate ? 1 : 0;
        const Binding from = device_.bind(sums, 0, sumSpan(p), 4, push.sums_base);
        const Binding to =
            device_.bind(memoryOf(gradient), gradient.offset, gradientSpan(p), element, push.gradient_base);
        device_.stream().dispatch(give_, {from, to}, &push, sizeof push,
                                  {static_cast<uint32_t>(ceilDiv<int64_t>(elements(p), kPlainLanes)), 1, 1},
                                  static_cast<uint64_t>(elements(p) * parts));
    };
    splitPiece({Range{0, rows}, {0, length}, kOne, kOne, kOne}, fits, emit);
}

}  // namespace pconv::vulkan
