#include "vulkan/mask_update.h"

#include <algorithm>

#include "vulkan/split.h"

namespace pconv::vulkan {

namespace {

constexpr uint32_t kLanes = 64;

// As in shaders/mask_window.comp.
struct WindowPush {
    int32_t first[4], count[4];
    int32_t sum_base, updated_base, ratio_base;
    int32_t mask_base, mask_stride_n;
    int32_t planes, groups;
    int32_t counted_channels;
    int32_t mask_sum;
    float window_size, eps;
    uint32_t taps_w, taps_h;
};

VulkanBuffer& memoryOf(const TensorRef& tensor) {
    return static_cast<VulkanBuffer&>(*tensor.buffer);
}

int32_t narrow(int64_t value) {
    return static_cast<int32_t>(value);
}

// A bit for every tap of a dimension, of those that fit into a word.
uint32_t tapBits(const Window& window, size_t dimension) {
    uint32_t bits = 0;
    for (int64_t k = 0; k < window.kernel.at(dimension) && k * window.dilation.at(dimension) < 32; ++k)
        bits |= 1U << static_cast<uint32_t>(k * window.dilation.at(dimension));
    return bits;
}

// Whether a word of the mask holds what a row of a tile sees, and another could hold the rows of a column.
bool seesOneWord(const Window& window) {
    const int64_t across =
        (tileWidth(window) - 1) * window.stride[2] + (window.kernel[2] - 1) * window.dilation[2];
    return across < 32 && (window.kernel[1] - 1) * window.dilation[1] < 32;
}

}  // namespace

VulkanMaskUpdate::VulkanMaskUpdate(VulkanDevice& device, const PartialConvDesc& desc, MaskForm form,
                                   const MaskPlanes& results)
    : device_(device),
      desc_(desc),
      form_(std::move(form)),
      results_(results),
      window_(makeWindowParams(device.capabilities(), desc.window, desc.mask_type)),
      planes_(device, form_, desc.mask_type, desc.multi_channel, desc.window.input) {
    Specialization constants{{SPEC_LANES, kLanes}, {SPEC_MASK_KIND, maskKind(desc.mask_type)}};
    const bool of_channels = desc.maskedConvolution();
    if (!of_channels) {
        constants[SPEC_ROWS] = static_cast<uint32_t>(window_.tile_h);
        constants[SPEC_PIXELS] = static_cast<uint32_t>(window_.tile_w);
        constants[SPEC_ONE_WORD] = seesOneWord(desc.window) ? 1 : 0;
        constants[SPEC_WHOLE] = writesWholeRows() ? 1 : 0;
    }
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

// Whether the rows of all tiles are whole vectors of f32 and words of u8.
bool VulkanMaskUpdate::writesWholeRows() const {
    const auto aligned = [](const TensorRef& tensor) {
        return (memoryOf(tensor).base() + tensor.offset) % 16 == 0;
    };
    return window_.tile_w == 4 && desc_.window.output[2] % 4 == 0 && aligned(results_.window_sum) &&
           aligned(results_.updated_mask) && aligned(results_.ratio);
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
    // Bytes are joined to the words of rows that are not whole.
    if (!desc_.maskedConvolution() && desc_.mask_type != MaskType::fractional && !writesWholeRows()) {
        const TensorRef& updated = results_.updated_mask;
        const int64_t bytes = form_.batch * imageOutputs();
        stream.fill(memoryOf(updated), static_cast<size_t>(ceilDiv<int64_t>(bytes, 4) * 4), 0,
                    updated.offset);
    }
    planes_.pack(planes);
    stream.barrier();
    if (desc_.maskedConvolution())
        channelMasks();
    else
        windows();
    stream.endOperation();
}

// The words of the packed planes that the windows of some outputs reach: whole images, or some rows of a
// single plane.
Span VulkanMaskUpdate::wordsBehind(const Range& images, const Range& depth, const Range& rows) const {
    if (planes_.count() != 1 || images.size() > 1)
        return {images.begin * planes_.imageWords(), images.end * planes_.imageWords()};
    const Window& w = desc_.window;
    const auto reach = [&](const Range& outputs, size_t d) {
        const int64_t first = outputs.begin * w.stride[d] - w.padding[d];
        const int64_t last = (outputs.end - 1) * w.stride[d] - w.padding[d];
        const int64_t low = std::clamp<int64_t>(first, 0, w.input[d] - 1);
        const int64_t high = last + (w.kernel[d] - 1) * w.dilation[d];
        return Range{low, std::clamp<int64_t>(high, low, w.input[d] - 1) + 1};
    };
    const Range z = reach(depth, 0);
    const Range y = z.size() == 1 ? reach(rows, 1) : Range{0, w.input[1]};
    const int64_t image = images.begin * planes_.imageWords();
    return {image + (z.begin * w.input[1] + y.begin) * planes_.rowWords(),
            image + ((z.end - 1) * w.input[1] + y.end) * planes_.rowWords()};
}

// The outputs of [batch * groups, D, H, W] that a box of tiles makes.
Piece VulkanMaskUpdate::outputsOf(const Piece& tiles) const {
    const Dims3& out = desc_.window.output;
    return {tiles[0],
            tiles[1],
            Range{tiles[2].begin * window_.tile_h, std::min(tiles[2].end * window_.tile_h, out[1])},
            Range{tiles[3].begin * window_.tile_w, std::min(tiles[3].end * window_.tile_w, out[2])},
            {0, 1}};
}

void VulkanMaskUpdate::windows() {
    const Dims3& out = desc_.window.output;
    const int64_t groups = desc_.maskGroups();
    const std::array<int64_t, 5> strides{volume(out), out[1] * out[2], out[2], 1, 0};
    const PlanLimits most = device_.limits();
    const auto behind = [&](const Piece& outputs) {
        return wordsBehind({outputs[0].begin / groups, (outputs[0].end - 1) / groups + 1}, outputs[1],
                           outputs[2]);
    };
    const auto lanesOf = [](const Piece& tiles) {
        return tiles[0].size() * tiles[1].size() * tiles[2].size() * tiles[3].size();
    };
    const auto workOf = [&](const Piece& outputs) {
        return lanesOf(outputs) * std::max<int64_t>(planes_.count(), 1) * volume(desc_.window.kernel);
    };
    const auto fits = [&](const Piece& tiles) {
        Fit fit(most);
        const Piece outputs = outputsOf(tiles);
        const Span words = behind(outputs);
        fit.bytes({words.begin * 4, words.end * 4});
        fit.bytes(spanOf(outputs, strides, sizeof(float)));
        fit.grid(0, ceilDiv<int64_t>(lanesOf(tiles), kLanes));
        fit.work(workOf(outputs));
        return fit;
    };
    bool first = true;
    const auto emit = [&](const Piece& tiles) {
        const Piece outputs = outputsOf(tiles);
        const Span words = behind(outputs);
        WindowPush push{};
        for (size_t i = 0; i < 4; ++i) {
            push.first[i] = narrow(tiles.at(i).begin);
            push.count[i] = narrow(tiles.at(i).size());
        }
        push.mask_stride_n = narrow(planes_.imageWords());
        push.planes = narrow(planes_.count());
        push.groups = narrow(groups);
        push.counted_channels = narrow(desc_.countedChannels());
        push.mask_sum = desc_.normalization == Normalization::mask_sum ? 1 : 0;
        push.window_size = static_cast<float>(volume(desc_.window.kernel) * desc_.countedChannels());
        push.eps = desc_.eps;
        push.taps_w = tapBits(desc_.window, 2);
        push.taps_h = tapBits(desc_.window, 1);
        const auto result = [&](const TensorRef& tensor, int32_t& base) {
            const size_t element = sizeOf(tensor.data_type);
            return device_.bind(memoryOf(tensor), tensor.offset, spanOf(outputs, strides, element), element,
                                base);
        };
        const Binding mask = planes_.packed() == nullptr ? device_.bindWhole(*counts_)
                                                         : device_.bind(*planes_.packed(), 0, words.begin * 4,
                                                                        words.end * 4, 4, push.mask_base);
        const Binding sums = result(results_.window_sum, push.sum_base);
        const Binding updated = result(results_.updated_mask, push.updated_base);
        const Binding ratios = result(results_.ratio, push.ratio_base);
        if (!first)
            device_.stream().barrier();  // pieces share words of the flags and of rows that are not whole
        first = false;
        device_.stream().dispatch(*window_pipeline_,
                                  {mask, device_.bindWhole(*counts_), sums, updated, ratios,
                                   device_.bindWhole(*tiles_), device_.bindWhole(*params_)},
                                  &push, sizeof push,
                                  {static_cast<uint32_t>(ceilDiv<int64_t>(lanesOf(tiles), kLanes)), 1, 1},
                                  static_cast<uint64_t>(workOf(outputs)));
    };
    splitPiece({Range{0, form_.batch * groups}, Range{0, out[0]}, Range{0, window_.tile_rows},
                Range{0, window_.tile_columns}, Range{0, 1}},
               fits, emit);
}

}  // namespace pconv::vulkan
