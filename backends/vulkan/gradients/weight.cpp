#include "vulkan/gradients/weight.h"

namespace pconv::vulkan {

namespace {

// As in shaders/grad_weight.glsl.
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

}  // namespace

VulkanGradWeight::VulkanGradWeight(const GradContext& context, GradWeightKernel kernel)
    : context_(context),
      kernel_(std::move(kernel)),
      pipeline_(context.maskedPipeline(kernel_.shader, kernel_.constants)),
      sums_(context.floats(context.desc.out_channels * kernel_.parts * ofChannel())) {}

VulkanGradWeight::Reach VulkanGradWeight::reach(const Piece& p) const {
    const GradContext& c = context_;
    const RowBox rows = rowBox(p[1], c.desc.window.output[1]);
    const int64_t first = p[2].begin / c.groupOut();
    const int64_t last = (p[2].end - 1) / c.groupOut();
    return {{first * c.groupIn() + p[3].begin, last * c.groupIn() + p[3].end},
            c.inputsOf(rows.d, 0),
            c.inputsOf(rows.h, 1)};
}

Span VulkanGradWeight::resultSpan(const Piece& p) const {
    const int64_t taps = context_.taps();
    return spanOf({p[2], Range{0, parts()}, p[3], Range{0, taps}, kOne},
                  {parts() * ofChannel(), ofChannel(), taps, 1, 0}, sizeof(float));
}

// Over images, rows of outputs, output channels and a group's input channels.
void VulkanGradWeight::run(const BackwardCall& call) {
    const GradContext& c = context_;
    const Window& w = c.desc.window;
    VulkanDevice& device = c.device;
    const size_t element = sizeOf(c.desc.data_type);
    const auto inputSpan = [&](const Piece& p) {
        const Reach r = reach(p);
        return spanOf({p[0], r.channels, r.d, r.h, Range{0, w.input[2]}}, call.input.strides, element);
    };
    const auto maskBytes = [&](const Piece& p) {
        const Reach r = reach(p);
        return c.reads_mask ? call.update.planes().span(p[0], r.channels, r.d, r.h) : Span{};
    };
    const auto groups_x = [&](const Piece& p) { return ceilDiv(p[3].size() * c.taps(), kernel_.pairs); };
    const auto work = [&](const Piece& p) {
        return p[0].size() * p[1].size() * w.output[2] * blocks(p[2]).size() * kernel_.block_channels *
               groups_x(p) * kernel_.pairs;
    };
    const auto fits = [&](const Piece& p) {
        Fit fit(call.limits);
        fit.bytes(inputSpan(p));
        fit.bytes(c.sumSpan(p[0], p[1], p[2]));
        fit.bytes(maskBytes(p));
        fit.bytes(resultSpan(p));
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
        push.pair0 = narrow(p[3].begin * c.taps());
        push.pair1 = narrow(p[3].end * c.taps());
        // A weight's first piece is the one with the first output.
        push.add = p[0].begin > 0 || p[1].begin > 0 ? 1 : 0;
        if (push.add != 0) device.stream().barrier();
        const Binding from =
            device.bind(memoryOf(call.input), call.input.offset, inputSpan(p), element, push.x_base);
        const Binding sums =
            device.bind(*c.sums, 0, c.sumSpan(p[0], p[1], p[2]), sizeof(float), push.sum_base);
        const Binding to = device.bind(*sums_, 0, resultSpan(p), sizeof(float), push.weight_base);
        const Binding mask = c.bindMask(call, maskBytes(p), sums, push.mask_base);
        device.stream().dispatch(pipeline_,
                                 {from, sums, to, mask, c.bindRuns(call, sums), device.bindWhole(*c.params)},
                                 &push, sizeof push,
                                 {static_cast<uint32_t>(groups_x(p)),
                                  static_cast<uint32_t>(blocks(p[2]).size()), static_cast<uint32_t>(parts())},
                                 static_cast<uint64_t>(work(p)));
    };
    splitCall(call,
              {Range{0, c.desc.batch}, {0, c.outputRows()}, {0, c.desc.out_channels}, {0, c.groupIn()}, kOne},
              fits, emit);
}

}  // namespace pconv::vulkan
