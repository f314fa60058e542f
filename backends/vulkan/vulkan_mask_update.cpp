#include "vulkan_mask_update.h"

#include <algorithm>

namespace pconv::vulkan {

namespace {

constexpr uint32_t kLanes = 64;
// Dispatches cut at multiples of this, so that bindings of u8 results keep any alignment.
constexpr int64_t kOutputStep = 1024;

// As in shaders/mask_pack.comp.
struct PackPush {
    int32_t rows_d, rows_h, width;
    int32_t row0, row_count;
    int32_t planes;
    int32_t stride_n, stride_p, stride_d, stride_h;
    int32_t source_base, source_words;
    int32_t packed_base, packed_stride_n;
    int32_t row_words;
    int32_t hole_is_one;
};

// As in shaders/mask_window.comp.
struct WindowPush {
    int32_t first, end;
    int32_t mask_base, mask_stride_n;
    int32_t planes, groups;
    int32_t counted_channels;
    int32_t mask_sum;
    float window_size, eps;
};

VulkanBuffer& memoryOf(const TensorRef& tensor) {
    return static_cast<VulkanBuffer&>(*tensor.buffer);
}

int32_t narrow(int64_t value) {
    return static_cast<int32_t>(value);
}

// The elements that rows begin to end of an array reach, rows numbered with the last dimension fastest.
struct RowExtent {
    int64_t begin, end;
};
RowExtent rowExtent(const std::array<int64_t, 4>& dims, const std::array<int64_t, 4>& strides, int64_t width,
                    int64_t begin, int64_t end) {
    RowExtent extent{0, width};
    bool open = false;  // a dimension before runs over more than one position: those after may run over all
    int64_t inner = dims[0] * dims[1] * dims[2] * dims[3];
    for (size_t i = 0; i < 4; ++i) {
        inner /= dims[i];
        const int64_t low = open ? 0 : begin / inner % dims[i];
        const int64_t high = open ? dims[i] - 1 : (end - 1) / inner % dims[i];
        extent.begin += low * strides[i];
        extent.end += high * strides[i];
        open = open || low != high;
    }
    return extent;
}

}  // namespace

VulkanMaskUpdate::VulkanMaskUpdate(VulkanDevice& device, const PartialConvDesc& desc, MaskForm form,
                                   const MaskPlanes& results)
    : device_(device),
      desc_(desc),
      form_(std::move(form)),
      results_(results),
      window_(makeWindowParams(desc.window, desc.mask_type)) {
    const Specialization constants{{SPEC_LANES, kLanes}, {SPEC_MASK_KIND, maskKind(desc.mask_type)}};
    const bool of_channels = desc.maskedConvolution();
    window_pipeline_ = &device.pipelines().get(of_channels ? "channel_mask" : "mask_window", constants);
    if (of_channels) {
        magnitude_pipeline_ = &device.pipelines().get(
            std::string("weight_magnitude") + suffix(desc.data_type), {{SPEC_LANES, kLanes}});
        magnitude_ = device.createBuffer(
            static_cast<size_t>(desc.out_channels * (desc.in_channels / desc.groups)) * sizeof(float));
    }
    for (const MaskSegmentForm& segment : form_.segments) planes_ += segment.planes;
    if (planes_ > 0) {
        pack_pipeline_ = &device.pipelines().get("mask_pack", constants);
        image_words_ = planes_ * desc.window.input[0] * desc.window.input[1] * window_.row_words;
        packed_ = device.createBuffer(static_cast<size_t>(form_.batch * image_words_) * sizeof(uint32_t));
    }
    params_ = device.createTable(std::vector<WindowParams>{window_});
    // A masked convolution skips no tiles.
    const int64_t flags = of_channels ? 1 : form_.batch * desc.maskGroups() * window_.tile_words;
    tiles_ = device.createBuffer(static_cast<size_t>(flags) * sizeof(uint32_t));
    makeTables();
}

// How many channels of each mask group a plane serves, and which runs of channels share a plane.
void VulkanMaskUpdate::makeTables() {
    const auto planes = static_cast<size_t>(std::max<int64_t>(planes_, 1));
    std::vector<int32_t> counts(static_cast<size_t>(desc_.maskGroups()) * planes, 0);
    if (!desc_.multi_channel || planes_ == 0) {
        counts[0] = 1;
        counts_ = device_.createTable(counts);
        return;
    }
    std::vector<int32_t> run_of_channel;
    std::vector<int32_t> runs;
    const int64_t counted = desc_.countedChannels();
    int32_t plane = 0;
    int64_t channel = 0;
    for (const MaskSegmentForm& segment : form_.segments)
        for (int64_t i = 0; i < segment.planes; ++i, ++plane) {
            runs.insert(runs.end(), {plane, narrow(channel), narrow(channel + segment.multiplicity)});
            for (int64_t k = 0; k < segment.multiplicity; ++k, ++channel) {
                run_of_channel.push_back(plane);
                ++counts[static_cast<size_t>(channel / counted) * planes + static_cast<size_t>(plane)];
            }
        }
    counts_ = device_.createTable(counts);
    run_of_channel.insert(run_of_channel.end(), runs.begin(), runs.end());
    runs_ = device_.createTable(run_of_channel);
}

int64_t VulkanMaskUpdate::planeOf(int64_t channel) const {
    int64_t plane = 0;
    for (const MaskSegmentForm& segment : form_.segments) {
        if (channel < segment.planes * segment.multiplicity) return plane + channel / segment.multiplicity;
        channel -= segment.planes * segment.multiplicity;
        plane += segment.planes;
    }
    return 0;
}

void VulkanMaskUpdate::compute(const std::vector<TensorRef>& planes) {
    Stream& stream = device_.stream();
    stream.beginOperation();
    for (const TensorRef& segment : planes) stream.use(memoryOf(segment));
    for (const auto& buffer : {packed_, counts_, runs_, tiles_, params_, magnitude_})
        if (buffer != nullptr) stream.use(*buffer);
    for (const TensorRef* result : {&results_.window_sum, &results_.updated_mask, &results_.ratio})
        if (result->buffer != nullptr) stream.use(memoryOf(*result));

    if (desc_.maskedConvolution() && planes.empty()) {
        const VulkanBuffer& updated = memoryOf(results_.updated_mask);
        stream.fill(updated, updated.extent(), 0x01010101);  // bytes, all valid
        stream.endOperation();
        return;
    }
    stream.fill(*tiles_, tiles_->extent(), 0);
    int64_t first_plane = 0;
    for (size_t i = 0; i < planes.size(); ++i) {
        pack(planes[i], form_.segments[i].planes, first_plane);
        first_plane += form_.segments[i].planes;
    }
    stream.barrier();
    if (desc_.maskedConvolution())
        channelMasks();
    else
        windows(0, form_.batch * imageOutputs());
    stream.endOperation();
}

void VulkanMaskUpdate::pack(const TensorRef& source, int64_t count, int64_t first_plane) {
    packRows(source, count, first_plane, 0,
             form_.batch * count * desc_.window.input[0] * desc_.window.input[1]);
}

// Packs rows of one segment's planes, in halves where they are too many for a dispatch.
void VulkanMaskUpdate::packRows(const TensorRef& source, int64_t count, int64_t first_plane, int64_t begin,
                                int64_t end) {
    const Dims3& in = desc_.window.input;
    const auto& strides = source.strides;
    const size_t element = sizeOf(source.data_type);
    const std::array<int64_t, 4> dims{form_.batch, count, in[0], in[1]};
    const int64_t words = window_.row_words;
    const RowExtent from =
        rowExtent(dims, {strides[0], strides[1], strides[2], strides[3]}, in[2], begin, end);
    const RowExtent to =
        rowExtent(dims, {image_words_, in[0] * in[1] * words, in[1] * words, words}, words, begin, end);
    const auto range = static_cast<int64_t>(device_.capabilities().max_range) - 512;
    const auto groups =
        static_cast<int64_t>(device_.capabilities().properties.limits.maxComputeWorkGroupCount[0]);
    const bool fits = (from.end - from.begin) * static_cast<int64_t>(element) <= range &&
                      (to.end - to.begin) * 4 <= range && (end - begin) * words <= groups * kLanes;
    if (!fits && end - begin > 1) {
        const int64_t middle = (begin + end) / 2;
        packRows(source, count, first_plane, begin, middle);
        packRows(source, count, first_plane, middle, end);
        return;
    }
    if (!fits) fail(PCONV_ERROR_UNSUPPORTED, "one row of the mask is more than this device can bind at once");

    PackPush push{};
    push.rows_d = narrow(in[0]);
    push.rows_h = narrow(in[1]);
    push.width = narrow(in[2]);
    push.row0 = narrow(begin);
    push.row_count = narrow(end - begin);
    push.planes = narrow(count);
    push.stride_n = narrow(strides[0]);
    push.stride_p = narrow(strides[1]);
    push.stride_d = narrow(strides[2]);
    push.stride_h = narrow(strides[3]);
    push.packed_stride_n = narrow(image_words_);
    push.row_words = window_.row_words;
    push.hole_is_one = form_.hole_is_one ? 1 : 0;
    const int64_t plane_offset = first_plane * in[0] * in[1] * words * 4;
    const Binding source_binding =
        device_.bind(memoryOf(source), source.offset, from.begin * static_cast<int64_t>(element),
                     from.end * static_cast<int64_t>(element), element, push.source_base);
    push.source_words = narrow(static_cast<int64_t>(source_binding.range / 4));
    const Binding packed_binding = device_.bind(*packed_, static_cast<size_t>(plane_offset), to.begin * 4,
                                                to.end * 4, sizeof(uint32_t), push.packed_base);
    const auto lanes = static_cast<uint32_t>((end - begin) * words);
    device_.stream().dispatch(*pack_pipeline_, {source_binding, packed_binding}, &push, sizeof push,
                              {ceilDiv(lanes, kLanes), 1, 1}, lanes);
}

// The words of the packed planes that the windows of outputs begin to end reach: whole images, or some rows
// of a single plane.
VulkanMaskUpdate::WordRange VulkanMaskUpdate::wordsBehind(int64_t begin, int64_t end) const {
    const int64_t first_image = begin / imageOutputs();
    const int64_t last_image = (end - 1) / imageOutputs();
    const Window& w = desc_.window;
    const int64_t plane = w.output[1] * w.output[2];
    const int64_t outputs = volume(w.output);
    if (planes_ != 1 || begin / outputs != (end - 1) / outputs)
        return {first_image * image_words_, (last_image + 1) * image_words_};
    const auto reach = [&](int64_t first, int64_t last, size_t d) {
        const int64_t low = std::clamp<int64_t>(first * w.stride[d] - w.padding[d], 0, w.input[d] - 1);
        const int64_t high = last * w.stride[d] - w.padding[d] + (w.kernel[d] - 1) * w.dilation[d];
        return std::make_pair(low, std::clamp<int64_t>(high, low, w.input[d] - 1));
    };
    const int64_t first = begin % outputs;
    const int64_t last = (end - 1) % outputs;
    const auto z = reach(first / plane, last / plane, 0);
    const bool one_plane = first / plane == last / plane && z.first == z.second;
    const auto y = one_plane ? reach(first % plane / w.output[2], last % plane / w.output[2], 1)
                             : std::make_pair(int64_t{0}, w.input[1] - 1);
    const int64_t image = first_image * image_words_;
    return {image + (z.first * w.input[1] + y.first) * window_.row_words,
            image + (z.second * w.input[1] + y.second + 1) * window_.row_words};
}

// Makes outputs begin to end of [batch, groups, D, H, W], in halves where they are too many for a dispatch.
void VulkanMaskUpdate::windows(int64_t begin, int64_t end) {
    const Capabilities& capabilities = device_.capabilities();
    const auto range = static_cast<int64_t>(capabilities.max_range) - 512;
    const auto groups = static_cast<int64_t>(capabilities.properties.limits.maxComputeWorkGroupCount[0]);
    const auto work =
        static_cast<uint64_t>((end - begin) * std::max<int64_t>(planes_, 1) * volume(desc_.window.kernel));
    const WordRange words = wordsBehind(begin, end);
    const bool binds = (words.end - words.begin) * 4 <= range;
    const bool fits = binds && (end - begin) * 4 <= range &&
                      ceilDiv<int64_t>(end - begin, 4 * kLanes) <= groups && work <= capabilities.max_work;
    if (!fits && end - begin > kOutputStep) {
        const int64_t middle = begin + ceilDiv((end - begin) / 2, kOutputStep) * kOutputStep;
        windows(begin, middle);
        windows(middle, end);
        return;
    }
    if (!binds)
        fail(PCONV_ERROR_UNSUPPORTED, "the mask's planes under a window take " +
                                          std::to_string((words.end - words.begin) * 4) +
                                          " bytes, more than this device can bind at once");

    WindowPush push{};
    push.first = narrow(begin);
    push.end = narrow(end);
    push.mask_stride_n = narrow(image_words_);
    push.planes = narrow(planes_);
    push.groups = narrow(desc_.maskGroups());
    push.counted_channels = narrow(desc_.countedChannels());
    push.mask_sum = desc_.normalization == Normalization::mask_sum ? 1 : 0;
    push.window_size = static_cast<float>(volume(desc_.window.kernel) * desc_.countedChannels());
    push.eps = desc_.eps;
    int32_t ignored = 0;  // results are written from the binding's start
    const auto result = [&](const TensorRef& tensor) {
        const auto element = static_cast<int64_t>(sizeOf(tensor.data_type));
        return device_.bind(memoryOf(tensor), tensor.offset, begin * element, end * element,
                            static_cast<size_t>(element), ignored);
    };
    const Binding mask = packed_ == nullptr
                             ? device_.bindWhole(*counts_)
                             : device_.bind(*packed_, 0, words.begin * 4, words.end * 4, 4, push.mask_base);
    device_.stream().dispatch(
        *window_pipeline_,
        {mask, device_.bindWhole(*counts_), result(results_.window_sum), result(results_.updated_mask),
         result(results_.ratio), device_.bindWhole(*tiles_), device_.bindWhole(*params_)},
        &push, sizeof push, {static_cast<uint32_t>(ceilDiv<int64_t>(end - begin, 4 * kLanes)), 1, 1}, work);
}

}  // namespace pconv::vulkan
