#include "vulkan/gradients/context.h"

#include <algorithm>

namespace pconv::vulkan {

namespace {

// As in shaders/gradient.glsl.
struct GradientParams {
    WindowParams window;
    int32_t group_in, group_out;
    int32_t in_channels, out_channels;
    int32_t ratio_groups;
    int32_t applies_mask;
    int32_t gain;
    int32_t scales_input;
};

int64_t floorDiv(int64_t a, int64_t b) {
    return a >= 0 ? a / b : -((b - 1 - a) / b);
}

}  // namespace

GradContext::GradContext(VulkanDevice& own_device, const PartialConvDesc& own_desc)
    : device(own_device),
      desc(own_desc),
      reads_mask(desc.mask_type != MaskType::none && !desc.maskedConvolution()),
      sums(floats(desc.batch * desc.out_channels * volume(desc.window.output))) {
    GradientParams values{};
    values.window = makeWindowParams(device.capabilities(), desc.window, desc.mask_type);
    values.group_in = narrow(groupIn());
    values.group_out = narrow(groupOut());
    values.in_channels = narrow(desc.in_channels);
    values.out_channels = narrow(desc.out_channels);
    values.ratio_groups = narrow(desc.maskGroups());
    values.applies_mask = desc.has_bias || desc.maskedConvolution() ? 1 : 0;
    values.gain = gainOf(desc);
    values.scales_input =
        reads_mask && desc.mask_type == MaskType::fractional && !desc.input_is_masked ? 1 : 0;
    params = device.createTable(std::vector<GradientParams>{values});
}

Range GradContext::blocksOf(const Range& channels, int64_t of_group, int64_t block_channels) {
    const int64_t blocks_a_group = ceilDiv(of_group, block_channels);
    const auto block = [&](int64_t channel) {
        return channel / of_group * blocks_a_group + channel % of_group / block_channels;
    };
    return {block(channels.begin), block(channels.end - 1) + 1};
}

Range GradContext::inputsOf(const Range& outputs, size_t d) const {
    const Window& w = desc.window;
    const int64_t first = outputs.begin * w.stride[d] - w.padding[d];
    const int64_t last = (outputs.end - 1) * w.stride[d] - w.padding[d] + (w.kernel[d] - 1) * w.dilation[d];
    const int64_t begin = std::clamp<int64_t>(first, 0, w.input[d] - 1);
    return {begin, std::clamp<int64_t>(last + 1, begin + 1, w.input[d])};
}

Range GradContext::outputsOf(const Range& inputs, size_t d) const {
    const Window& w = desc.window;
    const int64_t first =
        floorDiv(inputs.begin + w.padding[d] - (w.kernel[d] - 1) * w.dilation[d], w.stride[d]);
    const int64_t last = floorDiv(inputs.end - 1 + w.padding[d], w.stride[d]);
    const int64_t begin = std::clamp<int64_t>(first, 0, w.output[d] - 1);
    return {begin, std::clamp<int64_t>(last + 1, begin + 1, w.output[d])};
}

Span GradContext::sumSpan(const Range& n, const Range& rows, const Range& channels) const {
    const int64_t width = desc.window.output[2];
    const int64_t c = desc.out_channels;
    return spanOf({n, rows, Range{0, width}, channels, kOne}, {outputRows() * width * c, width * c, c, 1, 0},
                  sizeof(float));
}

uint32_t GradContext::lanes() const {
    return device.info().type == DeviceType::software
               ? std::min<uint32_t>(device.capabilities().subgroup_size, MOST_SHARED_LANES)
               : kPlainLanes;
}

const Pipeline& GradContext::maskedPipeline(const char* shader, Specialization constants) const {
    constants[SPEC_MASK_KIND] = reads_mask ? maskKind(desc.mask_type) : MASK_NONE;
    constants[SPEC_MASK_MULTI] = reads_mask && desc.multi_channel ? 1 : 0;
    return pipeline(shader, constants);
}

const Pipeline& GradContext::pipeline(const char* shader, const Specialization& constants) const {
    return device.pipelines().get(std::string(shader) + suffix(desc.data_type), constants);
}

std::shared_ptr<VulkanBuffer> GradContext::floats(int64_t count) const {
    return device.createBuffer(static_cast<size_t>(count) * sizeof(float));
}

Binding GradContext::bindMask(const BackwardCall& call, const Span& bytes, const Binding& unread,
                              int32_t& base) const {
    return reads_mask ? device.bind(*call.update.planes().packed(), 0, bytes, 4, base) : unread;
}

Binding GradContext::bindRuns(const BackwardCall& call, const Binding& unread) const {
    const auto& runs = call.update.planes().runs();
    return runs != nullptr ? device.bindWhole(*runs) : unread;
}

void splitCall(const BackwardCall& call, const Piece& whole, const std::function<Fit(const Piece&)>& fit,
               const std::function<void(const Piece&)>& emit) {
    splitPiece(whole, fit, call.rehearsal ? nullptr : emit);
}

}  // namespace pconv::vulkan
