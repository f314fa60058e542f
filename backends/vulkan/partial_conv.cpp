#include "vulkan/partial_conv.h"

#include <algorithm>
#include <limits>

namespace pconv::vulkan {

namespace {

constexpr uint32_t kPackLanes = 64;

// As the uniform block of shaders/partial_conv.glsl.
struct ConvParams {
    WindowParams window;
    int32_t group_in, group_out, channels;
    int32_t blocks_a_group, block_stride;
    int32_t ratio_groups;
    int32_t activation;
    float negative_slope;
    int32_t applies_mask;
    int32_t gain;
};

// As in shaders/partial_conv.glsl.
struct ConvPush {
    int32_t input_strides[5], output_strides[5];
    int32_t input_base, output_base;
    int32_t mask_base, mask_stride_n;
    int32_t ratio_base, updated_base;
    int32_t mask_batched;
    int32_t planes;
    int32_t n0, images, block0;
    int32_t first, end;
    int32_t parts, part_depth;
};

// As in shaders/pack_weights.comp.
struct PackPush {
    int32_t block0, block_count;
    int32_t block_channels, block_stride, blocks_a_group;
    int32_t group_in, group_out;
    int32_t taps_dh, taps_w;
    int32_t weight_base, bias_base;
    int32_t has_bias;
    int32_t slice_depth;
};

// The sums of all parts of all tiles.
int64_t partsBytes(const PartialConvDesc& desc, const PlanKernel& plan) {
    const int64_t columns =
        ceilDiv<int64_t>(desc.batch * volume(desc.window.output), plan.units_a_workgroup) *
        plan.units_a_workgroup;
    return plan.parts * plan.blocks_a_group * desc.groups * plan.block_channels * columns * 4;
}

// Why no row that makes blocks of so many output channels takes `desc`.
std::string commonObjection(const VulkanDevice& device, const PartialConvDesc& desc, int64_t block_channels) {
    if (desc.data_type != DataType::f32 && !device.capabilities().storage_f16)
        return "the device has no 16-bit storage buffers, which f16 and bf16 need";
    std::string bindings = tooFewBindings(device.capabilities());
    if (!bindings.empty()) return bindings;
    // Kernels count outputs, rows and depth with 32-bit integers; offsets into tensors may go beyond.
    constexpr int64_t kMost = std::numeric_limits<int32_t>::max() / 8;
    const Window& w = desc.window;
    const int64_t deepest = std::max(desc.in_channels / desc.groups, desc.countedChannels());
    if (desc.in_channels > kMost || desc.out_channels > kMost || volume(w.input) > kMost ||
        volume(w.output) > kMost || desc.batch * desc.maskGroups() > kMost / volume(w.output) ||
        volume(w.kernel) > kMost / deepest)
        return "a size beyond what 32-bit indices reach";
    for (size_t d = 0; d < 3; ++d)
        if (w.padding[d] > kMost || w.stride[d] > kMost || w.dilation[d] > kMost / w.kernel[d])
            return "a window beyond what 32-bit indices reach";
    const PlanLimits limits = device.limits();
    if (desc.maskedConvolution() && desc.mask_type != MaskType::none &&
        std::min(block_channels, desc.out_channels / desc.groups) * volume(w.output) * 4 + limits.alignment >
            limits.max_range)
        return "the updated masks of a block of output channels are more than the device can bind at once";
    return "";
}

}  // namespace

bool VulkanRow::supports(const Device& any_device, const PartialConvDesc& desc, std::string& reason) const {
    const auto& device = static_cast<const VulkanDevice&>(any_device);
    reason = commonObjection(device, desc, blockChannels(device, desc));
    if (reason.empty()) reason = objection(device, desc);
    return reason.empty();
}

std::unique_ptr<MaskUpdate> VulkanRow::makeMaskUpdate(Device& device, const PartialConvDesc& desc,
                                                      const MaskForm& form, const MaskPlanes& results) const {
    return std::make_unique<VulkanMaskUpdate>(static_cast<VulkanDevice&>(device), desc, form, results);
}

std::unique_ptr<PartialConv> VulkanRow::makePartialConv(Device& device, const PartialConvDesc& desc) const {
    auto& own = static_cast<VulkanDevice&>(device);
    return std::make_unique<VulkanPartialConv>(own, desc, choose(own, desc));
}

VulkanPartialConv::VulkanPartialConv(VulkanDevice& device, const PartialConvDesc& desc, KernelChoice choice)
    : device_(device), desc_(desc), choice_(std::move(choice)), reads_mask_(desc.maskInput()) {
    choice_.constants[SPEC_MASK_KIND] = reads_mask_ ? maskKind(desc.mask_type) : MASK_NONE;
    choice_.constants[SPEC_MASK_MULTI] = reads_mask_ && desc.multi_channel ? 1 : 0;
    choice_.constants[SPEC_GELU] = desc.activation == Activation::gelu ? 1 : 0;
    conv_ = &device.pipelines().get(choice_.shader + suffix(desc.data_type), choice_.constants);
    pack_ = &device.pipelines().get(
        (choice_.half_slices > 0 ? std::string("pack_halves") : std::string("pack_weights")) +
            suffix(desc.data_type),
        {{SPEC_LANES, kPackLanes}});
    const PlanKernel& plan = choice_.plan;
    const int64_t blocks = plan.blocks_a_group * desc.groups;
    if (plan.parts > 1) {
        join_ = &device.pipelines().get(std::string("partial_conv_join") + suffix(desc.data_type),
                                        {{SPEC_LANES, static_cast<uint32_t>(plan.units_a_workgroup)},
                                         {SPEC_BLOCK_M, static_cast<uint32_t>(plan.block_channels)},
                                         {SPEC_GELU, choice_.constants[SPEC_GELU]}});
        sums_ = device.createBuffer(static_cast<size_t>(partsBytes(desc, plan)));
    }
    weights_ = device.createBuffer(static_cast<size_t>(blocks * plan.block_bytes));
    makeParams();
    if (desc.training)
        backward_ = std::make_unique<VulkanBackward>(device, desc, choice_.backward_by_products);
}

void VulkanPartialConv::makeParams() {
    ConvParams params{};
    params.window = makeWindowParams(device_.capabilities(), desc_.window, desc_.mask_type);
    params.group_in = narrow(desc_.in_channels / desc_.groups);
    params.group_out = narrow(desc_.out_channels / desc_.groups);
    params.channels = narrow(desc_.in_channels);
    params.blocks_a_group = narrow(choice_.plan.blocks_a_group);
    params.block_stride = narrow(choice_.plan.block_bytes / 4);
    params.ratio_groups = narrow(desc_.maskGroups());
    params.activation = desc_.activation == Activation::relu         ? 1
                        : desc_.activation == Activation::leaky_relu ? 2
                                                                     : 0;
    params.negative_slope = desc_.negative_slope;
    params.applies_mask = desc_.has_bias || desc_.maskedConvolution() ? 1 : 0;
    params.gain = gainOf(desc_);
    params_ = device_.createTable(std::vector<ConvParams>{params});
}

void VulkanPartialConv::setWeights(const TensorRef& weight, const TensorRef* bias) {
    const int64_t group_in = desc_.in_channels / desc_.groups;
    const int64_t group_out = desc_.out_channels / desc_.groups;
    const int64_t of_channel = group_in * volume(desc_.window.kernel);
    const PlanKernel& plan = choice_.plan;
    const auto element = static_cast<int64_t>(sizeOf(desc_.data_type));
    PackPush push{};
    push.block_channels = narrow(plan.block_channels);
    push.block_stride = narrow(plan.block_bytes / 4);
    push.blocks_a_group = narrow(plan.blocks_a_group);
    push.group_in = narrow(group_in);
    push.group_out = narrow(group_out);
    push.taps_dh = narrow(desc_.window.kernel[0] * desc_.window.kernel[1]);
    push.taps_w = narrow(desc_.window.kernel[2]);
    push.has_bias = bias != nullptr ? 1 : 0;
    push.slice_depth = narrow(choice_.half_slices);

    Stream& stream = device_.stream();
    stream.beginOperation();
    stream.use(memoryOf(weight));
    if (bias != nullptr) stream.use(memoryOf(*bias));
    stream.use(*weights_);
    // As many blocks a dispatch as its ranges and 32-bit counts take.
    const PlanLimits most = device_.limits();
    const int64_t bytes = most.max_range - 2 * most.alignment;
    const int64_t blocks = plan.blocks_a_group * desc_.groups;
    const int64_t step = std::max<int64_t>(
        1, std::min({int64_t{std::numeric_limits<int32_t>::max()} / push.block_stride,
                     bytes / plan.block_bytes, bytes / (plan.block_channels * of_channel * element)}));
    const auto channel = [&](int64_t block, bool end) {
        const int64_t in_group = (block % plan.blocks_a_group + (end ? 1 : 0)) * plan.block_channels;
        return block / plan.blocks_a_group * group_out + std::min(in_group, group_out);
    };
    for (int64_t block = 0; block < blocks; block += step) {
        const int64_t count = std::min(step, blocks - block);
        const int64_t first = channel(block, false);
        const int64_t last = channel(block + count - 1, true);
        push.block0 = narrow(block);
        push.block_count = narrow(count);
        const Binding from =
            device_.bind(memoryOf(weight), weight.offset, first * of_channel * element,
                         last * of_channel * element, static_cast<size_t>(element), push.weight_base);
        const Binding with = bias == nullptr
                                 ? from
                                 : device_.bind(memoryOf(*bias), bias->offset, first * element,
                                                last * element, static_cast<size_t>(element), push.bias_base);
        int32_t ignored = 0;
        const Binding to = device_.bind(*weights_, 0, block * plan.block_bytes,
                                        (block + count) * plan.block_bytes, 4, ignored);
        const int64_t invocations = count * push.block_stride;
        stream.dispatch(*pack_, {from, with, to}, &push, sizeof push,
                        most.flatGrid(ceilDiv<int64_t>(invocations, kPackLanes)),
                        static_cast<uint64_t>(invocations));
    }
    if (backward_ != nullptr) backward_->setWeights(weight);
    stream.endOperation();
}

void VulkanPartialConv::makePlan(const VulkanMaskUpdate& update, const TensorRef& input,
                                 const TensorRef& output) {
    const PlanKey key{input.strides, output.strides, update.form().batch, update.planes().count()};
    if (key == planned_) return;
    PlanMask mask;
    mask.batch = update.form().batch;
    mask.planes = reads_mask_ ? update.planes().count() : 0;
    mask.row_bytes = maskRowWords(desc_.window.input[2], desc_.mask_type) * 4;
    mask.ratio_groups = desc_.maskGroups();
    plan_ = planPartialConv(desc_, input.strides, output.strides, choice_.plan, mask, device_.limits());
    const auto scratch = [&](int64_t bytes) {
        return bytes > 0 ? device_.createBuffer(static_cast<size_t>(bytes)) : nullptr;
    };
    input_scratch_ = scratch(plan_.input_scratch);
    output_scratch_ = scratch(plan_.output_scratch);
    planned_ = key;
}

void VulkanPartialConv::forward(const MaskUpdate& any_update, const TensorRef& input,
                                const TensorRef& output) {
    const auto& update = static_cast<const VulkanMaskUpdate&>(any_update);
    makePlan(update, input, output);
    Stream& stream = device_.stream();
    stream.beginOperation();
    stream.use(memoryOf(input));
    stream.use(memoryOf(output));
    stream.use(memoryOf(update.results().updated_mask));
    for (const auto& buffer : {weights_, params_, sums_, input_scratch_, output_scratch_,
                               update.planes().packed(), update.planes().runs(), update.tiles()})
        if (buffer != nullptr) stream.use(*buffer);
    for (const Chunk& chunk : plan_.chunks) dispatch(chunk, update, input, output);
    stream.endOperation();
}

void VulkanPartialConv::backward(const MaskUpdate& update, const TensorRef& input,
                                 const TensorRef& grad_output, const Gradients& gradients) {
    backward_->run(static_cast<const VulkanMaskUpdate&>(update), input, grad_output, gradients);
}

void VulkanPartialConv::dispatch(const Chunk& chunk, const VulkanMaskUpdate& update, const TensorRef& input,
                                 const TensorRef& output) {
    Stream& stream = device_.stream();
    const PlanKernel& kernel = choice_.plan;
    const size_t element = sizeOf(desc_.data_type);
    ConvPush push{};
    const auto& input_strides = chunk.input_detour.used ? chunk.input_detour.strides : input.strides;
    const auto& output_strides = chunk.output_detour.used ? chunk.output_detour.strides : output.strides;
    for (size_t i = 0; i < 5; ++i) {
        push.input_strides[i] = narrow(input_strides[i]);
        push.output_strides[i] = narrow(output_strides[i]);
    }
    // Chunks share the scratch memory: each waits for the one before.
    if (chunk.input_detour.used || chunk.output_detour.used) stream.barrier();
    if (chunk.input_detour.used) {
        copyDetour(chunk.input_detour, input, *input_scratch_, true);
        stream.barrier();
    }
    const auto bindTensor = [&](const TensorRef& tensor, const Detour& detour,
                                const std::shared_ptr<VulkanBuffer>& scratch, const Span& bytes,
                                int32_t& origin) {
        if (!detour.used)
            return device_.bind(memoryOf(tensor), tensor.offset, bytes.begin, bytes.end, element, origin);
        const Binding binding = device_.bind(*scratch, 0, bytes.begin, bytes.end, element, origin);
        origin += narrow(detour.origin);
        return binding;
    };
    const Binding from = bindTensor(input, chunk.input_detour, input_scratch_, chunk.input, push.input_base);
    const Binding to =
        bindTensor(output, chunk.output_detour, output_scratch_, chunk.output, push.output_base);
    int32_t ignored = 0;  // weights are counted from the dispatch's first block
    const Binding weights = device_.bind(*weights_, 0, chunk.weights.begin, chunk.weights.end, 4, ignored);
    // What is not read is bound to something that is.
    const TensorRef& ratio = update.results().ratio;
    const TensorRef& updated = update.results().updated_mask;
    const bool has_ratio = ratio.buffer != nullptr;
    const bool has_updated = updated.data_type == DataType::f32;
    const Binding ratios =
        has_ratio     ? device_.bind(memoryOf(ratio), ratio.offset, chunk.ratio, 4, push.ratio_base)
        : has_updated ? device_.bind(memoryOf(updated), updated.offset, chunk.ratio, 4, push.updated_base)
                      : from;
    const Binding updateds = has_ratio && has_updated ? device_.bind(memoryOf(updated), updated.offset,
                                                                     chunk.ratio, 4, push.updated_base)
                                                      : ratios;
    const Binding mask = reads_mask_ ? device_.bind(*update.planes().packed(), 0, chunk.mask.begin,
                                                    chunk.mask.end, 4, push.mask_base)
                                     : ratios;
    push.mask_stride_n = narrow(update.planes().imageWords());
    push.mask_batched = update.form().batch > 1 ? 1 : 0;
    push.planes = narrow(update.planes().count());
    push.n0 = narrow(chunk.n0);
    push.images = narrow(chunk.n1 - chunk.n0);
    push.block0 = narrow(chunk.b0);
    push.first = narrow(chunk.q0 * kernel.units_a_row);
    push.end = narrow(chunk.q1 * kernel.units_a_row);
    push.parts = narrow(kernel.parts);
    push.part_depth = narrow(choice_.part_depth);
    const int64_t images = chunk.n1 - chunk.n0;
    const int64_t units = (chunk.q1 - chunk.q0) * kernel.units_a_row * (kernel.merges_images ? images : 1);
    const auto across = static_cast<uint32_t>(ceilDiv(units, kernel.units_a_workgroup));
    const auto blocks = static_cast<uint32_t>(chunk.b1 - chunk.b0);
    const std::vector<Binding> bindings{
        from,
        weights,
        to,
        mask,
        ratios,
        updateds,
        update.planes().runs() != nullptr ? device_.bindWhole(*update.planes().runs()) : ratios,
        device_.bindWhole(sums_ != nullptr ? *sums_ : *update.tiles()),
        device_.bindWhole(*params_)};
    // Chunks share the memory of the parts' sums.
    if (join_ != nullptr) stream.barrier();
    stream.dispatch(*conv_, bindings, &push, sizeof push,
                    {across, blocks, static_cast<uint32_t>(kernel.merges_images ? kernel.parts : images)},
                    chunk.work);
    if (join_ != nullptr) {
        stream.barrier();
        const auto rows = blocks * static_cast<uint32_t>(kernel.block_channels);
        stream.dispatch(*join_, bindings, &push, sizeof push, {across, rows, 1},
                        static_cast<uint64_t>(kernel.parts) * rows * across *
                            static_cast<uint64_t>(kernel.units_a_workgroup));
    }
    if (chunk.output_detour.used) {
        stream.barrier();
        copyDetour(chunk.output_detour, output, *output_scratch_, false);
    }
}

void VulkanPartialConv::copyDetour(const Detour& detour, const TensorRef& tensor, const VulkanBuffer& scratch,
                                   bool to_scratch) {
    const VulkanBuffer& buffer = memoryOf(tensor);
    regions_.clear();
    for (const CopyRegion& region : detour.regions) {
        const size_t at = buffer.base() + tensor.offset + static_cast<size_t>(region.tensor);
        const auto there = static_cast<size_t>(region.scratch);
        regions_.push_back(
            {to_scratch ? at : there, to_scratch ? there : at, static_cast<size_t>(region.size)});
    }
    if (to_scratch)
        device_.stream().copy(buffer, scratch, regions_);
    else
        device_.stream().copy(scratch, buffer, regions_);
}

}  // namespace pconv::vulkan
