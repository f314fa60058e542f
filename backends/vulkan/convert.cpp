// Conversion between data types and strides, and of bits to bytes.
#include "vulkan/device/device.h"
#include "vulkan/split.h"
#include "vulkan/window.h"

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

// As in shaders/unpack_bits.comp.
struct UnpackPush {
    int32_t begin[5];
    int32_t size[4];
    int32_t from[4], to[4];
    int32_t from_base, to_base;
    int32_t count;
};

int64_t elementsOf(const Piece& box) {
    int64_t count = 1;
    for (const Range& range : box) count *= range.size();
    return count;
}

// A kernel that reads one part of a buffer and writes one of another for every box: cut to what fits.
void overBoxes(VulkanDevice& device, VulkanBuffer& from, VulkanBuffer& to, const Piece& whole,
               const std::function<Span(const Piece&)>& reads,
               const std::function<Span(const Piece&)>& writes,
               const std::function<void(const Piece&)>& emit) {
    const PlanLimits most = device.limits();
    const auto fits = [&](const Piece& box) {
        Fit fit(most);
        fit.bytes(reads(box));
        fit.bytes(writes(box));
        fit.grid(0, ceilDiv<int64_t>(elementsOf(box), kLanes));
        return fit;
    };
    device.stream().beginOperation();
    device.stream().use(from);
    device.stream().use(to);
    splitPiece(whole, fits, emit);
    device.stream().endOperation();
}

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
    const auto reads = [&](const Piece& box) { return spanOf(box, source.strides, from_size); };
    const auto writes = [&](const Piece& box) { return spanOf(box, destination.strides, to_size); };
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
        push.count = static_cast<int32_t>(elementsOf(box));
        const Binding in = bind(from, source.offset, reads(box), from_size, push.from_base);
        const Binding out = bind(to, destination.offset, writes(box), to_size, push.to_base);
        stream_.dispatch(pipeline, {in, out}, &push, sizeof push,
                         {static_cast<uint32_t>(ceilDiv<int64_t>(push.count, kLanes)), 1, 1},
                         static_cast<uint64_t>(push.count));
    };
    overBoxes(*this, from, to, {Range{0, dims[0]}, {0, dims[1]}, {0, dims[2]}, {0, dims[3]}, {0, dims[4]}},
              reads, writes, emit);
}

void VulkanDevice::unpackBits(const TensorRef& bits, const TensorRef& bytes,
                              const std::array<int64_t, 5>& dims) {
    constexpr int64_t kWord = sizeof(uint32_t);
    constexpr int64_t kWordBits = 32;
    const Pipeline& pipeline = pipelines_.get("unpack_bits", {{SPEC_LANES, kLanes}});
    auto& from = static_cast<VulkanBuffer&>(*bits.buffer);
    auto& to = static_cast<VulkanBuffer&>(*bytes.buffer);
    // Both in words; the box counts the words of bytes, of which eight share one of bits.
    const auto inWords = [](std::array<int64_t, 5> strides, int64_t elements) {
        for (size_t i = 0; i < 4; ++i) strides[i] /= elements;
        strides[4] = 1;
        return strides;
    };
    const std::array<int64_t, 5> from_strides = inWords(bits.strides, kWordBits);
    const std::array<int64_t, 5> to_strides = inWords(bytes.strides, kWord);
    const auto reads = [&](Piece box) {
        constexpr int64_t kShare = kWordBits / kWord;
        box[4] = {box[4].begin / kShare, ceilDiv(box[4].end, kShare)};
        return spanOf(box, from_strides, kWord);
    };
    const auto writes = [&](const Piece& box) { return spanOf(box, to_strides, kWord); };
    const auto emit = [&](const Piece& box) {
        UnpackPush push{};
        for (size_t i = 0; i < 5; ++i) {
            push.begin[i] = static_cast<int32_t>(box[i].begin);
            if (i > 0) push.size[i - 1] = static_cast<int32_t>(box[i].size());
            if (i == 4) continue;
            push.from[i] = static_cast<int32_t>(from_strides[i]);
            push.to[i] = static_cast<int32_t>(to_strides[i]);
        }
        push.count = static_cast<int32_t>(elementsOf(box));
        const Binding in = bind(from, bits.offset, reads(box), kWord, push.from_base);
        const Binding out = bind(to, bytes.offset, writes(box), kWord, push.to_base);
        stream_.dispatch(pipeline, {in, out}, &push, sizeof push,
                         {static_cast<uint32_t>(ceilDiv<int64_t>(push.count, kLanes)), 1, 1},
                         static_cast<uint64_t>(push.count));
    };
    overBoxes(*this, from, to,
              {Range{0, dims[0]}, {0, dims[1]}, {0, dims[2]}, {0, dims[3]}, {0, ceilDiv(dims[4], kWord)}},
              reads, writes, emit);
}

}  // namespace pconv::vulkan
