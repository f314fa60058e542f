#include "vulkan_mask_update.h"

#include <algorithm>

namespace pconv::vulkan {

namespace {

constexpr uint32_t kLanes = 64;
// Dispatches cut at multiples of this, so that bindings of u8 results keep any alignment.
constexpr int64_t kOutputStep = 1024;

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

}  // namespace

VulkanMaskUpdate::VulkanMaskUpdate(VulkanDevice& device, const PartialConvDesc& desc, MaskForm form,
                                   const MaskPlanes& results)
    : device_(device),
      desc_(desc),
      form_(std::move(form)),
      results_(results),
      window_(makeWindowParams(desc.window, desc.mask_type)),
      planes_(device, form_, desc.mask_type, desc.multi_channel, desc.window.input) {
    const Specialization constants{{SPEC_LANES, kLanes}, {SPEC_MASK_KIND, maskKind(desc.mask_type)}};
    const bool of_channels = desc.maskedConvolution();
    window_pipeline_ = &device.pipelines().get(of_channels ? "channel_mask" : "mask_window", constants);
    if (of_channels) {
        magnitude_pipeline_ = &device.pipelines().get(
            std::string("weight_magnitude") + suffix(desc.data_type), {{SPEC_LANES, kLanes}});
        magnitude_ = device.createBuffer(
            static_cast<size_t>(desc.out_channels * (desc.in_channels / desc.groups)) * sizeof(float));
    }
    params_ = device.createTable(std::vector<WindowParams>{window_});
    // A masked convolution skips no tiles.
    const int64_t flags = of_channels ? 1 : form_.batch * desc.maskGroups() * window_.tile_words;
    tiles_ = device.createBuffer(static_cast<size_t>(flags) * sizeof(uint32_t));
    makeCounts();
}

// How many channels of each mask group a plane serves.
void VulkanMaskUpdate::makeCounts() {
    const auto planes = static_cast<size_t>(std::max<int64_t>(planes_.count(), 1));
    std::vector<int32_t> counts(static_cast<size_t>(desc_.maskGroups()) * planes, 0);
    if (!desc_.multi_channel || planes_.count() == 0) {
        counts[0] = 1;
        counts_ = device_.createTable(counts);
        return;
    }
    const int64_t counted = desc_.countedChannels();
    int64_t plane = 0;
    int64_t channel = 0;
    for (const MaskSegmentForm& segment : form_.segments)
        for (int64_t i = 0; i < segment.planes; ++i, ++plane)
            for (int64_t k = 0; k < segment.multiplicity; ++k, ++channel)
                ++counts[static_cast<size_t>(channel / counted) * planes + static_cast<size_t>(plane)];
    counts_ = device_.createTable(counts);
}

void VulkanMaskUpdate::compute(const std::vector<TensorRef>& planes) {
    Stream& stream = device_.stream();
    stream.beginOperation();
    planes_.use();
    for (const auto& buffer : {counts_, tiles_, params_, magnitude_})
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
    planes_.pack(planes);
    stream.barrier();
    if (desc_.maskedConvolution())
        channelMasks();
    else
        windows(0, form_.batch * imageOutputs());
    stream.endOperation();
}

// The words of the packed planes that the windows of outputs begin to end reach: whole images, or some rows
// of a single plane.
VulkanMaskUpdate::WordRange VulkanMaskUpdate::wordsBehind(int64_t begin, int64_t end) const {
    const int64_t first_image = begin / imageOutputs();
    const int64_t last_image = (end - 1) / imageOutputs();
    const Window& w = desc_.window;
    const int64_t plane = w.output[1] * w.output[2];
    const int64_t outputs = volume(w.output);
    if (planes_.count() != 1 || begin / outputs != (end - 1) / outputs)
        return {first_image * planes_.imageWords(), (last_image + 1) * planes_.imageWords()};
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
    const int64_t image = first_image * planes_.imageWords();
    return {image + (z.first * w.input[1] + y.first) * planes_.rowWords(),
            image + (z.second * w.input[1] + y.second + 1) * planes_.rowWords()};
}

// Makes outputs begin to end of [batch, groups, D, H, W], in halves where they are too many for a dispatch.
void VulkanMaskUpdate::windows(int64_t begin, int64_t end) {
    const Capabilities& capabilities = device_.capabilities();
    const auto range = static_cast<int64_t>(capabilities.max_range) - 512;
    const auto groups = static_cast<int64_t>(capabilities.properties.limits.maxComputeWorkGroupCount[0]);
    const auto work = static_cast<uint64_t>((end - begin) * std::max<int64_t>(planes_.count(), 1) *
                                            volume(desc_.window.kernel));
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
    push.mask_stride_n = narrow(planes_.imageWords());
    push.planes = narrow(planes_.count());
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
    const Binding mask = planes_.packed() == nullptr ? device_.bindWhole(*counts_)
                                                     : device_.bind(*planes_.packed(), 0, words.begin * 4,
                                                                    words.end * 4, 4, push.mask_base);
    device_.stream().dispatch(
        *window_pipeline_,
        {mask, device_.bindWhole(*counts_), result(results_.window_sum), result(results_.updated_mask),
         result(results_.ratio), device_.bindWhole(*tiles_), device_.bindWhole(*params_)},
        &push, sizeof push, {static_cast<uint32_t>(ceilDiv<int64_t>(end - begin, 4 * kLanes)), 1, 1}, work);
}

}  // namespace pconv::vulkan
