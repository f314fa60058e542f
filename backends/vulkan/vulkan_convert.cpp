// Conversion between data types and strides.
#include "vulkan_device.h"
#include "vulkan_split.h"
#include "vulkan_window.h"

namespace pconv::vulkan {

namespace {

constexpr uint32_t kLanes = 64;

// As in shaders/convert.comp.
struct ConvertPush {
    int32_t begin[5];
    int32_t size[4];
    int32_t from[5], to[5];
    int32_t from_base, to_base;
    int32_t from_type, to_type;
    int32_t count;
};

int32_t typeNumber(DataType type) {
    return type == DataType::f32 ? 0 : type == DataType::f16 ? 1 : 2;
}

}  // namespace

void VulkanDevice::convert(const TensorRef& source, const TensorRef& destination,
                           const std::array<int64_t, 5>& dims) {
    const bool narrow_types = source.data_type != DataType::f32 || destination.data_type != DataType::f32;
    if (narrow_types && !capabilities().storage_f16)
        fail(PCONV_ERROR_UNSUPPORTED, "the device has no 16-bit storage buffers, which f16 and bf16 need");
    const Pipeline& pipeline =
        pipelines_.get(narrow_types ? "convert_16" : "convert_32", {{SPEC_LANES, kLanes}});
    auto& from = static_cast<VulkanBuffer&>(*source.buffer);
    auto& to = static_cast<VulkanBuffer&>(*destination.buffer);
    const size_t from_size = sizeOf(source.data_type);
    const size_t to_size = sizeOf(destination.data_type);
    const PlanLimits most = limits();
    const auto elements = [](const Piece& box) {
        int64_t count = 1;
        for (const Range& range : box) count *= range.size();
        return count;
    };
    const auto fits = [&](const Piece& box) {
        Fit fit(most);
        fit.bytes(spanOf(box, source.strides, from_size));
        fit.bytes(spanOf(box, destination.strides, to_size));
        fit.grid(0, ceilDiv<int64_t>(elements(box), kLanes));
        return fit;
    };
    const auto emit = [&](const Piece& box) {
        ConvertPush push{};
        for (size_t i = 0; i < 5; ++i) {
            push.begin[i] = static_cast<int32_t>(box[i].begin);
            push.from[i] = static_cast<int32_t>(source.strides[i]);
            push.to[i] = static_cast<int32_t>(destination.strides[i]);
            if (i > 0) push.size[i - 1] = static_cast<int32_t>(box[i].size());
        }
        push.from_type = typeNumber(source.data_type);
        push.to_type = typeNumber(destination.data_type);
        push.count = static_cast<int32_t>(elements(box));
        const Span reads = spanOf(box, source.strides, from_size);
        const Span writes = spanOf(box, destination.strides, to_size);
        const Binding in = bind(from, source.offset, reads.begin, reads.end, from_size, push.from_base);
        const Binding out = bind(to, destination.offset, writes.begin, writes.end, to_size, push.to_base);
        stream_.dispatch(pipeline, {in, out}, &push, sizeof push,
                         {static_cast<uint32_t>(ceilDiv<int64_t>(push.count, kLanes)), 1, 1},
                         static_cast<uint64_t>(push.count));
    };
    stream_.beginOperation();
    stream_.use(from);
    stream_.use(to);
    splitPiece({Range{0, dims[0]}, {0, dims[1]}, {0, dims[2]}, {0, dims[3]}, {0, dims[4]}}, fits, emit);
    stream_.endOperation();
}

}  // namespace pconv::vulkan
