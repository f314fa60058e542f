#include "vulkan/gradients/input.h"

namespace pconv::vulkan {

namespace {

// As in shaders/turn_weights.comp.
struct TurnPush {
    int32_t block0, block_count;
    int32_t block_channels, blocks_a_group, block_stride;
    int32_t group_in, group_out, taps;
    int32_t weight_base;
};

// As in shaders/grad_input.glsl.
struct InputPush {
    int32_t strides[5];
    int32_t grad_base, sum_base;
    int32_t mask_base, mask_stride_n;
    int32_t n0;
    int32_t c0, c1;
    int32_t block0, block_stride;
    int32_t row0, rows;
    int32_t accumulate;
};

}  // namespace

VulkanGradInput::VulkanGradInput(const GradContext& context, GradInputKernel kernel)
    : context_(context),
      kernel_(std::move(kernel)),
      blocks_a_group_(ceilDiv(context.groupIn(), kernel_.block_channels)),
      block_stride_(turnedBlock(context, kernel_.block_channels)),
      pipeline_(context.maskedPipeline(kernel_.shader, kernel_.constants)),
      turn_(context.pipeline("turn_weights", {{SPEC_LANES, kPlainLanes}})),
      turned_(context.floats(blocks_a_group_ * context.desc.groups * block_stride_)) {}

void VulkanGradInput::setWeights(const TensorRef& weight) {
    const GradContext& c = context_;
    VulkanDevice& device = c.device;
    const int64_t of_group = c.groupOut() * c.groupIn() * c.taps();
    const size_t element = sizeOf(c.desc.data_type);
    const PlanLimits limits = device.limits();
    const auto weightSpan = [&](const Range& blocks) {
        const auto size = static_cast<int64_t>(element);
        const int64_t first_group = blocks.begin / blocks_a_group_;
        const int64_t last_group = (blocks.end - 1) / blocks_a_group_;
        return Span{first_group * of_group * size, (last_group + 1) * of_group * size};
    };
    const auto fits = [&](const Piece& piece) {
        Fit fit(limits);
        fit.bytes(weightSpan(piece[0]));
        fit.bytes(turnedSpan(piece[0]));
        return fit;
    };
    const auto emit = [&](const Piece& piece) {
        const Range& blocks = piece[0];
        TurnPush push{};
        push.block0 = narrow(blocks.begin);
        push.block_count = narrow(blocks.size());
        push.block_channels = narrow(kernel_.block_channels);
        push.blocks_a_group = narrow(blocks_a_group_);
        push.block_stride = narrow(block_stride_);
        push.group_in = narrow(c.groupIn());
        push.group_out = narrow(c.groupOut());
        push.taps = narrow(c.taps());
        int32_t ignored = 0;  // results are counted from the dispatch's first block
        const Binding from =
            device.bind(memoryOf(weight), weight.offset, weightSpan(blocks), element, push.weight_base);
        const Binding to = device.bind(*turned_, 0, turnedSpan(blocks), sizeof(float), ignored);
        const int64_t invocations = blocks.size() * block_stride_;
        device.stream().dispatch(turn_, {from, to}, &push, sizeof push,
                                 limits.flatGrid(ceilDiv<int64_t>(invocations, kPlainLanes)),
                                 static_cast<uint64_t>(invocations));
    };
    device.stream().use(*turned_);
    splitPiece({Range{0, blocks_a_group_ * c.desc.groups}, kOne, kOne, kOne, kOne}, fits, emit);
}

// Of the sums whose windows reach a piece's inputs.
Span VulkanGradInput::sumSpan(const Piece& p) const {
    const Window& w = context_.desc.window;
    const RowBox rows = rowBox(p[1], w.input[1]);
    const Range d = context_.outputsOf(rows.d, 0);
    const Range h = context_.outputsOf(rows.h, 1);
    const Range groups{p[2].begin / context_.groupIn(), (p[2].end - 1) / context_.groupIn() + 1};
    return context_.sumSpan(p[0], {d.begin * w.output[1] + h.begin, (d.end - 1) * w.output[1] + h.end},
                            {groups.begin * context_.groupOut(), groups.end * context_.groupOut()});
}

// Over images, rows of inputs and input channels.
void VulkanGradInput::run(const BackwardCall& call) {
    const GradContext& c = context_;
    const Window& w = c.desc.window;
    VulkanDevice& device = c.device;
    const TensorRef& gradient = *call.gradients.input;
    const size_t element = sizeOf(c.desc.data_type);
    const auto gradSpan = [&](const Piece& p) {
        const RowBox rows = rowBox(p[1], w.input[1]);
        return spanOf({p[0], p[2], rows.d, rows.h, Range{0, w.input[2]}}, gradient.strides, element);
    };
    const auto maskBytes = [&](const Piece& p) {
        const RowBox rows = rowBox(p[1], w.input[1]);
        return c.reads_mask ? call.update.planes().span(p[0], p[2], rows.d, rows.h) : Span{};
    };
    const auto work = [&](const Piece& p) {
        return p[0].size() * blocks(p[2]).size() * kernel_.block_channels * kernel_.workgroups(p[1]) *
               kernel_.columns * c.groupOut() * c.taps();
    };
    const auto fits = [&](const Piece& p) {
        Fit fit(call.limits);
        fit.bytes(gradSpan(p));
        fit.bytes(sumSpan(p));
        fit.bytes(turnedSpan(blocks(p[2])));
        fit.bytes(maskBytes(p));
        fit.grid(0, kernel_.workgroups(p[1]));
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
        push.block_stride = narrow(block_stride_);
        push.accumulate = call.gradients.accumulate ? 1 : 0;
        int32_t ignored = 0;  // weights are counted from the dispatch's first block
        const Binding sums = device.bind(*c.sums, 0, sumSpan(p), sizeof(float), push.sum_base);
        const Binding turned = device.bind(*turned_, 0, turnedSpan(blocks(p[2])), sizeof(float), ignored);
        const Binding grad =
            device.bind(memoryOf(gradient), gradient.offset, gradSpan(p), element, push.grad_base);
        const Binding mask = c.bindMask(call, maskBytes(p), sums, push.mask_base);
        device.stream().dispatch(
            pipeline_, {sums, turned, grad, mask, c.bindRuns(call, sums), device.bindWhole(*c.params)}, &push,
            sizeof push,
            {static_cast<uint32_t>(kernel_.workgroups(p[1])), static_cast<uint32_t>(blocks(p[2]).size()),
             static_cast<uint32_t>(p[0].size())},
            static_cast<uint64_t>(work(p)));
    };
    splitCall(call,
              {Range{0, c.desc.batch}, {0, w.input[0] * w.input[1]}, {0, c.desc.in_channels}, kOne, kOne},
              fits, emit);
}

}  // namespace pconv::vulkan
