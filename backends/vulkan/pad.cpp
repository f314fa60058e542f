// Padding with elements of the input, and the sum of what they became.
#include <algorithm>
#include <functional>
#include <limits>
#include <string>
#include <utility>

#include "core/padding.h"
#include "vulkan/device/device.h"
#include "vulkan/split.h"
#include "vulkan/window.h"

namespace pconv::vulkan {

namespace {

constexpr uint32_t kLanes = 64;
using Dims5 = std::array<int64_t, 5>;

// What shaders/pad.comp and fold_padding.comp begin with.
struct BoxPush {
    int32_t size[4];
    int32_t from[5], to[5];
    int32_t first[3], extent[3];
    int32_t mode;
    int32_t from_base, to_base;
    int32_t count;
};

struct PadPush {
    BoxPush box;
    int32_t dense, dense_size;
    int32_t words;
};

struct FoldPush {
    BoxPush box;
    int32_t begin[3], end[3];
    int32_t parts, accumulate;
};

// What every device that Vulkan runs on takes.
constexpr size_t kLeastPushBytes = 128;
static_assert(sizeof(PadPush) <= kLeastPushBytes && sizeof(FoldPush) <= kLeastPushBytes);

int32_t modeNumber(PaddingMode mode) {
    return mode == PaddingMode::reflect     ? PADDING_REFLECT
           : mode == PaddingMode::replicate ? PADDING_REPLICATE
                                            : PADDING_CIRCULAR;
}

// The elements that a range of an axis of the padded tensor comes from.
Range sourcesOf(const Padding& padding, size_t axis, const Range& padded, int64_t size) {
    const Range places{padded.begin - padding.begin[axis], padded.end - padding.begin[axis]};
    Range sources{size, 0};
    // Where the map turns or jumps, and the ends.
    for (const int64_t at : {places.begin, places.end - 1, int64_t{-1}, int64_t{0}, size - 1, size}) {
        if (at < places.begin || at >= places.end) continue;
        const int64_t source = paddedSource(padding.mode, at, size);
        sources = {std::min(sources.begin, source), std::max(sources.end, source + 1)};
    }
    return sources;
}

// What lies in front, in the middle and behind, along one axis.
constexpr int32_t kParts[] = {FOLD_ITSELF, FOLD_FRONT, FOLD_BACK};

// Where a part lies in the padded tensor.
Range paddedRange(const Padding& padding, size_t axis, int32_t part, int64_t size) {
    const int64_t begin = padding.begin[axis];
    if (part == FOLD_FRONT) return {0, begin};
    if (part == FOLD_BACK) return {begin + size, begin + size + padding.end[axis]};
    return {begin, begin + size};
}

// The elements with an image in it.
Range elementsOf(const Padding& padding, size_t axis, int32_t part, int64_t size) {
    if (part == FOLD_ITSELF) return {0, size};
    const bool front = part == FOLD_FRONT;
    const int64_t count = front ? padding.begin[axis] : padding.end[axis];
    if (count == 0) return {0, 0};
    if (padding.mode == PaddingMode::replicate) return front ? Range{0, 1} : Range{size - 1, size};
    if (padding.mode == PaddingMode::reflect)
        return front ? Range{1, count + 1} : Range{size - 1 - count, size - 1};
    return front ? Range{size - count, size} : Range{0, count};
}

// A range of the padded axis that holds those images of a range of elements.
Range imagesOf(const Padding& padding, size_t axis, int32_t parts, const Range& elements, int64_t size) {
    const int64_t begin = padding.begin[axis];
    Range images{begin + size + padding.end[axis], 0};
    for (const int32_t part : kParts) {
        const Range with = elementsOf(padding, axis, part, size);
        const Range some{std::max(with.begin, elements.begin), std::min(with.end, elements.end)};
        if ((parts & part) == 0 || some.begin >= some.end) continue;
        Range found = paddedRange(padding, axis, part, size);
        if (part == FOLD_ITSELF || padding.mode == PaddingMode::circular) {
            const int64_t shift = part == FOLD_FRONT ? -size : part == FOLD_BACK ? size : 0;
            found = {begin + shift + some.begin, begin + shift + some.end};
        } else if (padding.mode == PaddingMode::reflect) {
            const int64_t mirror = part == FOLD_FRONT ? 0 : 2 * (size - 1);
            found = {begin + mirror - (some.end - 1), begin + mirror - some.begin + 1};
        }
        images = {std::min(images.begin, found.begin), std::max(images.end, found.end)};
    }
    return images;
}

// Calls body(parts of D, H, W) for all that padding has; the middle of all first.
template <typename Body>
void forEachPart(const Padding& padding, const Dims3& size, const Body& body) {
    const auto has = [&](size_t axis, int32_t part) {
        return paddedRange(padding, axis, part, size[axis]).size() > 0;
    };
    for (const int32_t d : kParts)
        for (const int32_t h : kParts)
            for (const int32_t w : kParts)
                if (has(0, d) && has(1, h) && has(2, w)) body(std::array<int32_t, 3>{d, h, w});
}

// Calls body(source, padding) for each image that replicated elements have in these parts, as if it were the
// only one; once where there is but one.
template <typename Body>
void forEachImageAlone(const TensorRef& source, const Padding& padding, const std::array<int32_t, 3>& parts,
                       const Body& body) {
    Dims3 count{1, 1, 1};
    Padding one = padding;
    for (size_t d = 0; d < 3; ++d) {
        if (padding.mode != PaddingMode::replicate || parts[d] == FOLD_ITSELF) continue;
        int64_t& amount = parts[d] == FOLD_FRONT ? one.begin[d] : one.end[d];
        count[d] = std::exchange(amount, 1);
    }
    TensorRef from = source;
    for (int64_t d = 0; d < count[0]; ++d)
        for (int64_t h = 0; h < count[1]; ++h)
            for (int64_t w = 0; w < count[2]; ++w) {
                const int64_t elements =
                    d * source.strides[2] + h * source.strides[3] + w * source.strides[4];
                from.offset = source.offset + static_cast<size_t>(elements) * sizeOf(source.data_type);
                body(from, one);
            }
}

// One of the two operations: a box of what is written, and of what it is made of.
struct Sides {
    const TensorRef& source;
    const TensorRef& destination;
    const Dims5& dims;  // of the side without padding
    const Padding& padding;
    size_t dense;  // the axis along which an invocation makes a word; 5: it makes an element
    // What a range of a spatial axis of the destination is made of.
    std::function<Range(size_t axis, const Range& range)> sources;

    size_t element() const { return sizeOf(source.data_type); }
    Span reads(Piece box) const {
        for (size_t d = 0; d < 3; ++d) box[2 + d] = sources(d, box[2 + d]);
        return spanOf(box, source.strides, element());
    }
    Span writes(const Piece& box) const { return spanOf(box, destination.strides, element()); }
    int64_t words(const Piece& box) const {
        const auto in_word = static_cast<int64_t>(4 / element());
        // However the first element lies in its word.
        return dense < 5 ? (box[dense].size() + 2 * (in_word - 1)) / in_word : 1;
    }
    int64_t invocations(const Piece& box) const {
        int64_t count = words(box);
        for (size_t d = 0; d < 5; ++d)
            if (d != dense) count *= box[d].size();
        return count;
    }

    BoxPush push(const Piece& box, int32_t source_origin, int32_t destination_origin) const {
        BoxPush push{};
        // Origins may lie far before what is bound; where the box begins does not.
        int64_t from_begin = source_origin;
        int64_t to_begin = destination_origin;
        for (size_t d = 0; d < 5; ++d) {
            to_begin += box[d].begin * destination.strides[d];
            if (d < 2) from_begin += box[d].begin * source.strides[d];
            if (d > 0) push.size[d - 1] = d == dense ? 1 : static_cast<int32_t>(box[d].size());
            push.from[d] = static_cast<int32_t>(source.strides[d]);
            push.to[d] = d == dense ? 0 : static_cast<int32_t>(destination.strides[d]);
        }
        for (size_t d = 0; d < 3; ++d) {
            push.first[d] = static_cast<int32_t>(box[2 + d].begin);
            push.extent[d] = static_cast<int32_t>(dims[2 + d]);
        }
        push.mode = modeNumber(padding.mode);
        push.from_base = static_cast<int32_t>(from_begin);
        push.to_base = static_cast<int32_t>(to_begin);
        push.count = static_cast<int32_t>(invocations(box));
        return push;
    }

    Fit fit(const PlanLimits& most, const Piece& box) const {
        Fit fit(most);
        fit.bytes(reads(box));
        fit.bytes(writes(box));
        fit.grid(0, ceilDiv<int64_t>(invocations(box), kLanes));
        return fit;
    }

    // Calls dispatch(box, source's binding, destination's, push) for every box of `whole`.
    template <typename Dispatch>
    void run(VulkanDevice& device, const Piece& whole, const Dispatch& dispatch) const {
        auto& from = static_cast<VulkanBuffer&>(*source.buffer);
        auto& to = static_cast<VulkanBuffer&>(*destination.buffer);
        const PlanLimits most = countable(device);
        const auto emit = [&](const Piece& box) {
            int32_t from_origin = 0;
            int32_t to_origin = 0;
            const Binding in = device.bind(from, source.offset, reads(box), element(), from_origin);
            const Binding out = device.bind(to, destination.offset, writes(box), element(), to_origin);
            dispatch(box, in, out, push(box, from_origin, to_origin));
        };
        device.stream().beginOperation();
        device.stream().use(from);
        device.stream().use(to);
        splitPiece(
            whole, [&](const Piece& box) { return fit(most, box); }, emit);
        device.stream().endOperation();
    }

    bool canRun(const VulkanDevice& device, const Piece& whole) const {
        const PlanLimits most = countable(device);
        return canSplit(whole, [&](const Piece& box) { return fit(most, box); });
    }

    // What 32 bits can count.
    static PlanLimits countable(const VulkanDevice& device) {
        PlanLimits most = device.limits();
        most.max_range = std::min<int64_t>(most.max_range, std::numeric_limits<int32_t>::max());
        return most;
    }
};

Piece wholeOf(const Dims5& size) {
    Piece whole;
    for (size_t d = 0; d < 5; ++d) whole[d] = {0, size[d]};
    return whole;
}

std::array<uint32_t, 3> groupsOf(const BoxPush& push) {
    return {static_cast<uint32_t>(ceilDiv<int64_t>(push.count, kLanes)), 1, 1};
}

}  // namespace

void VulkanDevice::pad(const TensorRef& source, const TensorRef& destination, const Dims5& dims,
                       const Padding& padding) {
    const Dims3 padded = paddedSize({dims[2], dims[3], dims[4]}, padding);
    const Dims5 outputs{dims[0], dims[1], padded[0], padded[1], padded[2]};
    const Sides sides{
        source,
        destination,
        dims,
        padding,
        denseAxis(destination, outputs),
        [&](size_t axis, const Range& range) { return sourcesOf(padding, axis, range, dims[2 + axis]); }};
    const Pipeline& pipeline =
        pipelines_.get("pad", {{SPEC_LANES, kLanes}, {SPEC_BYTES, static_cast<uint32_t>(sides.element())}});
    const auto run = [&](const Piece& whole) {
        sides.run(*this, whole, [&](const Piece& box, const Binding& in, const Binding& out, BoxPush common) {
            for (size_t d = 0; d < 3; ++d) common.first[d] -= static_cast<int32_t>(padding.begin[d]);
            const PadPush push{common, static_cast<int32_t>(sides.dense),
                               sides.dense < 5 ? static_cast<int32_t>(box[sides.dense].size()) : 1,
                               static_cast<int32_t>(sides.words(box))};
            stream_.dispatch(pipeline, {in, out}, &push, sizeof push, groupsOf(common),
                             static_cast<uint64_t>(common.count));
        });
    };
    Piece whole = wholeOf(outputs);
    if (sides.fit(Sides::countable(*this), whole).binds()) return run(whole);
    // Across the input's edge what wraps around is a tensor's length apart, and no cut there would help.
    forEachPart(padding, {dims[2], dims[3], dims[4]}, [&](const std::array<int32_t, 3>& parts) {
        for (size_t d = 0; d < 3; ++d) whole[2 + d] = paddedRange(padding, d, parts[d], dims[2 + d]);
        run(whole);
    });
}

void VulkanDevice::foldPadding(const TensorRef& source, const TensorRef& destination, const Dims5& dims,
                               const Padding& padding, bool accumulate) {
    const Pipeline& pipeline =
        pipelines_.get(std::string("fold_padding") + suffix(source.data_type), {{SPEC_LANES, kLanes}});
    const auto sidesOf = [&](const TensorRef& from, const Padding& around,
                             const std::array<int32_t, 3>& parts) {
        return Sides{from, destination, dims, around, dims.size(), [&](size_t axis, const Range& range) {
                         return imagesOf(around, axis, parts[axis], range, dims[2 + axis]);
                     }};
    };
    const auto run = [&](const Sides& sides, const Piece& whole, const std::array<int32_t, 3>& parts) {
        sides.run(*this, whole,
                  [&](const Piece& /*box*/, const Binding& in, const Binding& out, const BoxPush& common) {
                      FoldPush push{common, {}, {}, 0, accumulate ? 1 : 0};
                      for (size_t d = 0; d < 3; ++d) {
                          push.begin[d] = static_cast<int32_t>(sides.padding.begin[d]);
                          push.end[d] = static_cast<int32_t>(sides.padding.end[d]);
                          push.parts |= parts[d] << static_cast<int32_t>(d * FOLD_AXIS_BITS);
                      }
                      stream_.dispatch(pipeline, {in, out}, &push, sizeof push, groupsOf(common),
                                       static_cast<uint64_t>(common.count));
                  });
    };
    constexpr int32_t kAll = FOLD_ITSELF | FOLD_FRONT | FOLD_BACK;
    const std::array<int32_t, 3> all{kAll, kAll, kAll};
    const Sides together = sidesOf(source, padding, all);
    Piece whole = wholeOf(dims);
    if (together.canRun(*this, whole)) return run(together, whole, all);
    // Images that wrap around lie a plane's length apart, and those of the edge row behind row: where a plane
    // does not bind, each part is added by itself and rounded to the type, and where one element has many
    // images in it, each of them.
    forEachPart(padding, {dims[2], dims[3], dims[4]}, [&](const std::array<int32_t, 3>& parts) {
        for (size_t d = 0; d < 3; ++d) whole[2 + d] = elementsOf(padding, d, parts[d], dims[2 + d]);
        forEachImageAlone(source, padding, parts, [&](const TensorRef& from, const Padding& around) {
            run(sidesOf(from, around, parts), whole, parts);
            accumulate = true;
        });
    });
}

}  // namespace pconv::vulkan
