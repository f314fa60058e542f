#include "vulkan_backward.h"

#include <algorithm>

namespace pconv::vulkan {

namespace {

constexpr uint32_t kLanes = 64;  // of kernels that add nothing up
constexpr int64_t kPixels = 4;   // as in shaders/grad_input.comp
constexpr int64_t kPairs = 4;    // as in shaders/grad_weight.comp

// As in shaders/gradient.glsl.
struct GradientParams {
    WindowParams window;
    int32_t group_in, group_out;
    int32_t in_channels, out_channels;
    int32_t ratio_groups;
    int32_t applies_mask;
    int32_t gain;
    int32_t scales_input;
    int32_t block_stride;
};

// As in shaders/turn_weights.comp.
struct TurnPush {
    int32_t block0, block_count;
    int32_t block_channels, blocks_a_group, block_stride;
    int32_t group_in, group_out, taps;
    int32_t weight_base;
};

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

// As in shaders/grad_input.comp.
struct InputPush {
    int32_t strides[5];
    int32_t grad_base, sum_base;
    int32_t mask_base, mask_stride_n;
    int32_t n0;
    int32_t c0, c1;
    int32_t block0;
    int32_t row0, rows;
    int32_t units_a_row, units_a_phase;
    int32_t accumulate;
};

// As in shaders/grad_weight.comp.
struct WeightPush {
    int32_t strides[5];
    int32_t x_base, sum_base, weight_base;
    int32_t mask_base, mask_stride_n;
    int32_t n0, images;
    int32_t c0, c1;
    int32_t block0;
    int32_t pair0, pair1;
    int32_t row0, rows;
    int32_t add;
};

// As in shaders/give_gradient.comp.
struct GivePush {
    int32_t first, count;
    int32_t sums_base, gradient_base;
    int32_t accumulate;
};

constexpr Range kOne{0, 1};

VulkanBuffer& memoryOf(const TensorRef& tensor) {
    return static_cast<VulkanBuffer&>(*tensor.buffer);
}

int32_t narrow(int64_t value) {
    return static_cast<int32_t>(value);
}

int64_t blockChannels(int64_t channels) {
    int64_t block = 1;
    while (block < 8 && block < channels) block *= 2;
    return block;
}

template <typename Push>
void storeStrides(const TensorRef& tensor, Push& push) {
    for (size_t i = 0; i < 5; ++i) push.strides[i] = narrow(tensor.strides[i]);
}

std::function<void(const Piece&)> emitUnless(bool rehearsal, const std::function<void(const Piece&)>& emit) {
    return rehearsal ? nullptr : emit;
}

int64_t floorDiv(int64_t a, int64_t b) {
    return a >= 0 ? a / b : -((b - 1 - a) / b);
}

// Inputs that the windows of outputs reach, and outputs whose windows reach inputs; never empty.
Range inputsOf(const Window& w, const Range& outputs, size_t d) {
    const int64_t first = outputs.begin * w.stride[d] - w.padding[d];
    const int64_t last = (outputs.end - 1) * w.stride[d] - w.padding[d] + (w.kernel[d] - 1) * w.dilation[d];
    const int64_t begin = std::clamp<int64_t>(first, 0, w.input[d] - 1);
    return {begin, std::clamp<int64_t>(last + 1, begin + 1, w.input[d])};
}
Range outputsOf(const Window& w, const Range& inputs, size_t d) {
    const int64_t first =
        floorDiv(inputs.begin + w.padding[d] - (w.kernel[d] - 1) * w.dilation[d], w.stride[d]);
    const int64_t last = floorDiv(inputs.end - 1 + w.padding[d], w.stride[d]);
    const int64_t begin = std::clamp<int64_t>(first, 0, w.output[d] - 1);
    return {begin, std::clamp<int64_t>(last + 1, begin + 1, w.output[d])};
}

}  // namespace

struct VulkanBackward::Call {
    const VulkanMaskUpdate& update;
    const TensorRef& input;
    const TensorRef& grad_output;
    const Gradients& gradients;
    PlanLimits limits;
    bool rehearsal = false;  // only finds out whether everything binds
};

VulkanBackward::VulkanBackward(VulkanDevice& device, const PartialConvDesc& desc)
    : device_(device),
      desc_(desc),
      reads_mask_(desc.mask_type != MaskType::none && !desc.maskedConvolution()),
      lanes_(device.info().type == DeviceType::software ? device.capabilities().subgroup_size : kLanes),
      in_block_(blockChannels(groupIn())),
      out_block_(blockChannels(groupOut())),
      in_blocks_(ceilDiv(groupIn(), in_block_)),
      out_blocks_(ceilDiv(groupOut(), out_block_)) {
    // Bindings start at blocks, so these keep any alignment.
    block_stride_ = ceilDiv<int64_t>(taps() * groupOut() * in_block_, 64) * 64;
    const Window& w = desc.window;
    phases_ = std::min(w.stride[2], w.input[2]);
    units_a_phase_ = ceilDiv(ceilDiv(w.input[2], w.stride[2]), kPixels);

    const auto pipeline = [&](const char* name, const Specialization& constants) {
        return &device.pipelines().get(std::string(name) + suffix(desc.data_type), constants);
    };
    Specialization masked{{SPEC_LANES, lanes_},
                          {SPEC_MASK_KIND, reads_mask_ ? maskKind(desc.mask_type) : MASK_NONE},
                          {SPEC_MASK_MULTI, reads_mask_ && desc.multi_channel ? 1 : 0}};
    turn_ = pipeline("turn_weights", {{SPEC_LANES, kLanes}});
    grad_sum_ = pipeline("grad_sum", {{SPEC_LANES, kLanes}});
    grad_bias_ = pipeline("grad_bias", {{SPEC_LANES, lanes_}});
    give_ = pipeline("give_gradient", {{SPEC_LANES, kLanes}});
    masked[SPEC_CHANNELS] = static_cast<uint32_t>(in_block_);
    grad_input_ = pipeline("grad_input", masked);
    masked[SPEC_CHANNELS] = static_cast<uint32_t>(out_block_);
    grad_weight_ = pipeline("grad_weight", masked);

    const auto floats = [&](int64_t count) {
        return device.createBuffer(static_cast<size_t>(count) * sizeof(float));
    };
    turned_ = floats(in_blocks_ * desc.groups * block_stride_);
    sums_ = floats(desc.batch * desc.out_channels * volume(w.output));
    weight_sums_ = floats(desc.out_channels * groupIn() * taps());
    bias_sums_ = floats(desc.out_channels);

    GradientParams params{};
    params.window = makeWindowParams(w, desc.mask_type);
    params.group_in = narrow(groupIn());
    params.group_out = narrow(groupOut());
    params.in_channels = narrow(desc.in_channels);
    params.out_channels = narrow(desc.out_channels);
    params.ratio_groups = narrow(desc.maskGroups());
    params.applies_mask = desc.has_bias || desc.maskedConvolution() ? 1 : 0;
    params.gain = gainOf(desc);
    params.scales_input =
        reads_mask_ && desc.mask_type == MaskType::fractional && !desc.input_is_masked ? 1 : 0;
    params.block_stride = narrow(block_stride_);
    params_ = device.createTable(std::vector<GradientParams>{params});
}

// Of the convolution's sums' gradient, [N, D, H, W, C].
Span VulkanBackward::gradSumSpan(const Range& n, const Range& rows, const Range& channels) const {
    const int64_t width = desc_.window.output[2];
    const int64_t c = desc_.out_channels;
    return spanOf({n, rows, Range{0, width}, channels, kOne}, {outputRows() * width * c, width * c, c, 1, 0},
                  sizeof(float));
}

void VulkanBackward::setWeights(const TensorRef& weight) {
    const int64_t of_group = groupOut() * groupIn() * taps();
    const size_t element = sizeOf(desc_.data_type);
    const PlanLimits limits = device_.limits();
    const auto groups = [&](const Range& blocks) {
        return Range{blocks.begin / in_blocks_, (blocks.end - 1) / in_blocks_ + 1};
    };
    const auto weightSpan = [&](const Range& blocks) {
        const auto size = static_cast<int64_t>(element);
        return Span{groups(blocks).begin * of_group * size, groups(blocks).end * of_group * size};
    };
    const auto turnedSpan = [&](const Range& blocks) {
        return Span{blocks.begin * block_stride_ * 4, blocks.end * block_stride_ * 4};
    };
    const auto fits = [&](const Piece& piece) {
        Fit fit(limits);
        fit.bytes(weightSpan(piece[0]));
        fit.bytes(turnedSpan(piece[0]));
        fit.grid(0, ceilDiv<int64_t>(piece[0].size() * block_stride_, kLanes));
        return fit;
    };
    const auto emit = [&](const Piece& piece) {
        const Range& blocks = piece[0];
        TurnPush push{};
        push.block0 = narrow(blocks.begin);
        push.block_count = narrow(blocks.size());
        push.block_channels = narrow(in_block_);
        push.blocks_a_group = narrow(in_blocks_);
        push.block_stride = narrow(block_stride_);
        push.group_in = narrow(groupIn());
        push.group_out = narrow(groupOut());
        push.taps = narrow(taps());
        int32_t ignored = 0;  // results are counted from the dispatch's first block
        const Binding from =
            device_.bind(memoryOf(weight), weight.offset, weightSpan(blocks), element, push.weight_base);
        const Binding to = device_.bind(*turned_, 0, turnedSpan(blocks), sizeof(float), ignored);
        const int64_t invocations = blocks.size() * block_stride_;
        device_.stream().dispatch(*turn_, {from, to}, &push, sizeof push,
                                  {static_cast<uint32_t>(ceilDiv<int64_t>(invocations, kLanes)), 1, 1},
                                  static_cast<uint64_t>(invocations));
    };
    device_.stream().use(*turned_);
    splitPiece({Range{0, in_blocks_ * desc_.groups}, kOne, kOne, kOne, kOne}, fits, emit);
}

void VulkanBackward::run(const VulkanMaskUpdate& update, const TensorRef& input, const TensorRef& grad_output,
                         const Gradients& gradients) {
    Call call{update, input, grad_output, gradients, device_.limits()};
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
    for (const auto& buffer : {params_, turned_, sums_, weight_sums_, bias_sums_, update.planes().packed(),
                               update.planes().runs()})
        if (buffer != nullptr) stream.use(*buffer);
    makeAll(call);
    stream.barrier();
    if (gradients.weight != nullptr)
        give(*weight_sums_, desc_.out_channels * groupIn() * taps(), *gradients.weight, gradients.accumulate);
    if (gradients.bias != nullptr)
        give(*bias_sums_, desc_.out_channels, *gradients.bias, gradients.accumulate);
    stream.endOperation();
}

void VulkanBackward::makeAll(const Call& call) {
    const Gradients& gradients = call.gradients;
    if (gradients.input != nullptr || gradients.weight != nullptr) overOutputs(call, *grad_sum_, false);
    if (gradients.bias != nullptr) overOutputs(call, *grad_bias_, true);
    if (!call.rehearsal) device_.stream().barrier();
    if (gradients.input != nullptr) gradInput(call);
    if (gradients.weight != nullptr) gradWeight(call);
}

// The kernels that read the output's gradient: over images, rows and channels.
void VulkanBackward::overOutputs(const Call& call, const Pipeline& pipeline, bool sum_up) {
    const Dims3& out = desc_.window.output;
    const int64_t mask_groups = desc_.maskGroups();
    const size_t element = sizeOf(desc_.data_type);
    const auto gradSpan = [&](const Piece& p) {
        const RowBox rows = rowBox(p[1], out[1]);
        return spanOf({p[0], p[2], rows.d, rows.h, Range{0, out[2]}}, call.grad_output.strides, element);
    };
    const auto resultSpan = [&](const Piece& p) {
        return sum_up ? Span{p[2].begin * 4, p[2].end * 4} : gradSumSpan(p[0], p[1], p[2]);
    };
    const auto gainSpan = [&](const Piece& p) {
        const Range groups{desc_.maskGroupOf(p[2].begin), desc_.maskGroupOf(p[2].end - 1) + 1};
        return spanOf({call.update.form().batch == 1 ? kOne : p[0], groups, p[1], Range{0, out[2]}, kOne},
                      {mask_groups * volume(out), volume(out), out[2], 1, 0}, sizeof(float));
    };
    const auto elements = [&](const Piece& p) { return p[0].size() * p[1].size() * p[2].size() * out[2]; };
    const auto workgroups = [&](const Piece& p) {
        return sum_up ? p[2].size() : ceilDiv<int64_t>(elements(p), kLanes);
    };
    const auto fits = [&](const Piece& p) {
        Fit fit(call.limits);
        fit.bytes(gradSpan(p));
        fit.bytes(resultSpan(p));
        fit.bytes(gainSpan(p));
        fit.grid(0, workgroups(p));
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
        const Binding result =
            device_.bind(sum_up ? *bias_sums_ : *sums_, 0, resultSpan(p), sizeof(float), push.result_base);
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
        device_.stream().dispatch(pipeline, {grad, ratios, updateds, result, device_.bindWhole(*params_)},
                                  &push, sizeof push, {static_cast<uint32_t>(workgroups(p)), 1, 1},
                                  static_cast<uint64_t>(elements(p)));
    };
    splitPiece({Range{0, desc_.batch}, {0, outputRows()}, {0, desc_.out_channels}, kOne, kOne}, fits,
               emitUnless(call.rehearsal, emit));
}

// Over images, rows of inputs and input channels.
void VulkanBackward::gradInput(const Call& call) {
    const Window& w = desc_.window;
    const TensorRef& gradient = *call.gradients.input;
    const size_t element = sizeOf(desc_.data_type);
    const int64_t units_a_row = phases_ * units_a_phase_;
    const auto blocks = [&](const Range& c) {
        const auto block = [&](int64_t channel) {
            return channel / groupIn() * in_blocks_ + channel % groupIn() / in_block_;
        };
        return Range{block(c.begin), block(c.end - 1) + 1};
    };
    const auto gradSpan = [&](const Piece& p) {
        const RowBox rows = rowBox(p[1], w.input[1]);
        return spanOf({p[0], p[2], rows.d, rows.h, Range{0, w.input[2]}}, gradient.strides, element);
    };
    const auto sumSpan = [&](const Piece& p) {
        const RowBox rows = rowBox(p[1], w.input[1]);
        const Range d = outputsOf(w, rows.d, 0);
        const Range h = outputsOf(w, rows.h, 1);
        const Range groups{p[2].begin / groupIn(), (p[2].end - 1) / groupIn() + 1};
        return gradSumSpan(p[0], {d.begin * w.output[1] + h.begin, (d.end - 1) * w.output[1] + h.end},
                           {groups.begin * groupOut(), groups.end * groupOut()});
    };
    const auto turnedSpan = [&](const Piece& p) {
        const Range b = blocks(p[2]);
        return Span{b.begin * block_stride_ * 4, b.end * block_stride_ * 4};
    };
    const auto maskBytes = [&](const Piece& p) {
        const RowBox rows = rowBox(p[1], w.input[1]);
        return reads_mask_ ? call.update.planes().span(p[0], p[2], rows.d, rows.h) : Span{};
    };
    const auto groups_x = [&](const Piece& p) { return ceilDiv<int64_t>(p[1].size() * units_a_row, lanes_); };
    const auto work = [&](const Piece& p) {
        return p[0].size() * blocks(p[2]).size() * in_block_ * p[1].size() * units_a_row * kPixels *
               groupOut() * taps();
    };
    const auto fits = [&](const Piece& p) {
        Fit fit(call.limits);
        fit.bytes(gradSpan(p));
        fit.bytes(sumSpan(p));
        fit.bytes(turnedSpan(p));
        fit.bytes(maskBytes(p));
        fit.grid(0, groups_x(p));
        fit.grid(1, blocks(p[2]).size());
        fit.grid(2, p[0].size());
        fit.work(work(p));
        return fit;
    };
    const auto emit = [&](const Piece& p) {
        InputPush push{};
        storeStrides(gradient, push);
        push.mask_stride_n = narrow(call.update.planes().imageStride());
        push.n0 = narrow(p[0].begin);
        push.row0 = narrow(p[1].begin);
        push.rows = narrow(p[1].size());
        push.c0 = narrow(p[2].begin);
        push.c1 = narrow(p[2].end);
        push.block0 = narrow(blocks(p[2]).begin);
        push.units_a_row = narrow(units_a_row);
        push.units_a_phase = narrow(units_a_phase_);
        push.accumulate = call.gradients.accumulate ? 1 : 0;
        int32_t ignored = 0;  // weights are counted from the dispatch's first block
        const Binding sums = device_.bind(*sums_, 0, sumSpan(p), sizeof(float), push.sum_base);
        const Binding turned = device_.bind(*turned_, 0, turnedSpan(p), sizeof(float), ignored);
        const Binding grad =
            device_.bind(memoryOf(gradient), gradient.offset, gradSpan(p), element, push.grad_base);
        const Binding mask =
            reads_mask_ ? device_.bind(*call.update.planes().packed(), 0, maskBytes(p), 4, push.mask_base)
                        : sums;
        const Binding runs =
            call.update.planes().runs() != nullptr ? device_.bindWhole(*call.update.planes().runs()) : sums;
        device_.stream().dispatch(
            *grad_input_, {sums, turned, grad, mask, runs, device_.bindWhole(*params_)}, &push, sizeof push,
            {static_cast<uint32_t>(groups_x(p)), static_cast<uint32_t>(blocks(p[2]).size()),
             static_cast<uint32_t>(p[0].size())},
            static_cast<uint64_t>(work(p)));
    };
    splitPiece({Range{0, desc_.batch}, {0, w.input[0] * w.input[1]}, {0, desc_.in_channels}, kOne, kOne},
               fits, emitUnless(call.rehearsal, emit));
}

// Over images, rows of outputs, output channels and a group's input channels.
void VulkanBackward::gradWeight(const Call& call) {
    const Window& w = desc_.window;
    const size_t element = sizeOf(desc_.data_type);
    const auto blocks = [&](const Range& c) {
        const auto block = [&](int64_t channel) {
            return channel / groupOut() * out_blocks_ + channel % groupOut() / out_block_;
        };
        return Range{block(c.begin), block(c.end - 1) + 1};
    };
    struct Reach {
        Range channels, d, h;
    };
    const auto reach = [&](const Piece& p) {
        const RowBox rows = rowBox(p[1], w.output[1]);
        const int64_t first = p[2].begin / groupOut();
        const int64_t last = (p[2].end - 1) / groupOut();
        return Reach{{first * groupIn() + p[3].begin, last * groupIn() + p[3].end},
                     inputsOf(w, rows.d, 0),
                     inputsOf(w, rows.h, 1)};
    };
    const auto inputSpan = [&](const Piece& p) {
        const Reach r = reach(p);
        return spanOf({p[0], r.channels, r.d, r.h, Range{0, w.input[2]}}, call.input.strides, element);
    };
    const auto maskBytes = [&](const Piece& p) {
        const Reach r = reach(p);
        return reads_mask_ ? call.update.planes().span(p[0], r.channels, r.d, r.h) : Span{};
    };
    const auto weightSpan = [&](const Piece& p) {
        return spanOf({p[2], p[3], Range{0, taps()}, kOne, kOne}, {groupIn() * taps(), taps(), 1, 0, 0},
                      sizeof(float));
    };
    const auto groups_x = [&](const Piece& p) { return ceilDiv(p[3].size() * taps(), kPairs); };
    const auto work = [&](const Piece& p) {
        return p[0].size() * p[1].size() * w.output[2] * blocks(p[2]).size() * out_block_ * groups_x(p) *
               kPairs;
    };
    const auto fits = [&](const Piece& p) {
        Fit fit(call.limits);
        fit.bytes(inputSpan(p));
        fit.bytes(gradSumSpan(p[0], p[1], p[2]));
        fit.bytes(maskBytes(p));
        fit.bytes(weightSpan(p));
        fit.grid(0, groups_x(p));
        fit.grid(1, blocks(p[2]).size());
        fit.work(work(p));
        return fit;
    };
    const auto emit = [&](const Piece& p) {
        WeightPush push{};
        storeStrides(call.input, push);
        push.mask_stride_n = narrow(call.update.planes().imageStride());
        push.n0 = narrow(p[0].begin);
        push.images = narrow(p[0].size());
        push.row0 = narrow(p[1].begin);
        push.rows = narrow(p[1].size());
        push.c0 = narrow(p[2].begin);
        push.c1 = narrow(p[2].end);
        push.block0 = narrow(blocks(p[2]).begin);
        push.pair0 = narrow(p[3].begin * taps());
        push.pair1 = narrow(p[3].end * taps());
        // A weight's first piece is the one with the first output.
        push.add = p[0].begin > 0 || p[1].begin > 0 ? 1 : 0;
        if (push.add != 0) device_.stream().barrier();
        const Binding from =
            device_.bind(memoryOf(call.input), call.input.offset, inputSpan(p), element, push.x_base);
        const Binding sums =
            device_.bind(*sums_, 0, gradSumSpan(p[0], p[1], p[2]), sizeof(float), push.sum_base);
        const Binding to = device_.bind(*weight_sums_, 0, weightSpan(p), sizeof(float), push.weight_base);
        const Binding mask =
            reads_mask_ ? device_.bind(*call.update.planes().packed(), 0, maskBytes(p), 4, push.mask_base)
                        : sums;
        const Binding runs =
            call.update.planes().runs() != nullptr ? device_.bindWhole(*call.update.planes().runs()) : sums;
        device_.stream().dispatch(
            *grad_weight_, {from, sums, to, mask, runs, device_.bindWhole(*params_)}, &push, sizeof push,
            {static_cast<uint32_t>(groups_x(p)), static_cast<uint32_t>(blocks(p[2]).size()), 1},
            static_cast<uint64_t>(work(p)));
    };
    splitPiece({Range{0, desc_.batch}, {0, outputRows()}, {0, desc_.out_channels}, {0, groupIn()}, kOne},
               fits, emitUnless(call.rehearsal, emit));
}

void VulkanBackward::give(const VulkanBuffer& sums, int64_t count, const TensorRef& gradient,
                          bool accumulate) {
    const auto element = static_cast<int64_t>(sizeOf(desc_.data_type));
    const PlanLimits limits = device_.limits();
    const auto fits = [&](const Piece& p) {
        Fit fit(limits);
        fit.bytes({0, p[0].size() * 4});
        fit.grid(0, ceilDiv<int64_t>(p[0].size(), kLanes));
        return fit;
    };
    const auto emit = [&](const Piece& p) {
        GivePush push{};
        push.first = narrow(p[0].begin);
        push.count = narrow(p[0].size());
        push.accumulate = accumulate ? 1 : 0;
        const Binding from = device_.bind(sums, 0, p[0].begin * 4, p[0].end * 4, 4, push.sums_base);
        const Binding to = device_.bind(memoryOf(gradient), gradient.offset, p[0].begin * element,
                                        p[0].end * element, static_cast<size_t>(element), push.gradient_base);
        device_.stream().dispatch(*give_, {from, to}, &push, sizeof push,
                                  {static_cast<uint32_t>(ceilDiv<int64_t>(p[0].size(), kLanes)), 1, 1},
                                  static_cast<uint64_t>(p[0].size()));
    };
    splitPiece({Range{0, count}, kOne, kOne, kOne, kOne}, fits, emit);
}

}  // namespace pconv::vulkan
