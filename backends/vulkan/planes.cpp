#include "vulkan/planes.h"

namespace pconv::vulkan {

namespace {

constexpr uint32_t kLanes = 64;

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

VulkanPlanes::VulkanPlanes(VulkanDevice& device, const MaskForm& form, MaskType type, bool multi_channel,
                           const Dims3& size)
    : device_(device), form_(form), size_(size), row_words_(maskRowWords(size[2], type)) {
    for (const MaskSegmentForm& segment : form_.segments) planes_ += segment.planes;
    if (planes_ == 0) return;
    pipeline_ =
        &device.pipelines().get("mask_pack", {{SPEC_LANES, kLanes}, {SPEC_MASK_KIND, maskKind(type)}});
    image_words_ = planes_ * size[0] * size[1] * row_words_;
    packed_ = device.createBuffer(static_cast<size_t>(form_.batch * image_words_) * sizeof(uint32_t));
    if (!multi_channel) return;
    std::vector<int32_t> run_of_channel;
    std::vector<int32_t> runs;
    int32_t plane = 0;
    int64_t channel = 0;
    for (const MaskSegmentForm& segment : form_.segments)
        for (int64_t i = 0; i < segment.planes; ++i, ++plane) {
            run_of_channel.insert(run_of_channel.end(), static_cast<size_t>(segment.multiplicity), plane);
            runs.insert(runs.end(), {plane, narrow(channel), narrow(channel + segment.multiplicity)});
            channel += segment.multiplicity;
        }
    run_of_channel.insert(run_of_channel.end(), runs.begin(), runs.end());
    runs_ = device.createTable(run_of_channel);
}

int64_t VulkanPlanes::planeOf(int64_t channel) const {
    int64_t plane = 0;
    for (const MaskSegmentForm& segment : form_.segments) {
        if (channel < segment.planes * segment.multiplicity) return plane + channel / segment.multiplicity;
        channel -= segment.planes * segment.multiplicity;
        plane += segment.planes;
    }
    return 0;
}

Span VulkanPlanes::span(const Range& images, const Range& channels, const Range& d, const Range& h) const {
    Range planes{0, 1};
    if (runs_ != nullptr) planes = {planeOf(channels.begin), planeOf(channels.end - 1) + 1};
    const int64_t row = row_words_;
    return spanOf({form_.batch == 1 ? Range{0, 1} : images, planes, d, h, Range{0, row}},
                  {image_words_, size_[0] * size_[1] * row, size_[1] * row, row, 1}, sizeof(uint32_t));
}

void VulkanPlanes::use() {
    for (const auto& buffer : {packed_, runs_})
        if (buffer != nullptr) device_.stream().use(*buffer);
}

void VulkanPlanes::pack(const std::vector<TensorRef>& planes) {
    for (const TensorRef& segment : planes) device_.stream().use(memoryOf(segment));
    int64_t first_plane = 0;
    for (size_t i = 0; i < planes.size(); ++i) {
        pack(planes[i], form_.segments[i].planes, first_plane);
        first_plane += form_.segments[i].planes;
    }
}

void VulkanPlanes::pack(const TensorRef& source, int64_t count, int64_t first_plane) {
    packRows(source, count, first_plane, 0, form_.batch * count * size_[0] * size_[1]);
}

// Packs rows of one segment's planes, in halves where they are too many for a dispatch.
void VulkanPlanes::packRows(const TensorRef& source, int64_t count, int64_t first_plane, int64_t begin,
                            int64_t end) {
    const Dims3& in = size_;
    const auto& strides = source.strides;
    const size_t element = sizeOf(source.data_type);
    const std::array<int64_t, 4> dims{form_.batch, count, in[0], in[1]};
    const int64_t words = row_words_;
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
    push.row_words = row_words_;
    push.hole_is_one = form_.hole_is_one ? 1 : 0;
    const int64_t plane_offset = first_plane * in[0] * in[1] * words * 4;
    const Binding source_binding =
        device_.bind(memoryOf(source), source.offset, from.begin * static_cast<int64_t>(element),
                     from.end * static_cast<int64_t>(element), element, push.source_base);
    push.source_words = narrow(static_cast<int64_t>(source_binding.range / 4));
    const Binding packed_binding = device_.bind(*packed_, static_cast<size_t>(plane_offset), to.begin * 4,
                                                to.end * 4, sizeof(uint32_t), push.packed_base);
    const auto lanes = static_cast<uint32_t>((end - begin) * words);
    device_.stream().dispatch(*pipeline_, {source_binding, packed_binding}, &push, sizeof push,
                              {ceilDiv(lanes, kLanes), 1, 1}, lanes);
}

}  // namespace pconv::vulkan
