// Nearest upsampling.
#include <algorithm>
#include <limits>

#include "vulkan/device/device.h"
#include "vulkan/split.h"
#include "vulkan/window.h"

namespace pconv::vulkan {

namespace {

constexpr uint32_t kLanes = 64;

// As in shaders/upsample.comp.
struct UpsamplePush {
    int32_t size[4];
    int32_t from[5], to[5];
    int32_t repeat[3], to_next[3];
    int32_t dense_begin, dense_size;
    int32_t dense_from;
    int32_t from_base, to_base;
    int32_t words, count;
};

}  // namespace

void VulkanDevice::upsample(const TensorRef& source, const TensorRef& destination,
                            const std::array<int64_t, 5>& dims, const Dims3& factor) {
    const size_t element = sizeOf(source.data_type);
    const auto in_word = static_cast<int64_t>(4 / element);
    const std::array<int64_t, 5> factors{1, 1, factor[0], factor[1], factor[2]};
    std::array<int64_t, 5> outputs = dims;
    for (size_t d = 0; d < 5; ++d) outputs[d] *= factors[d];
    const size_t dense = denseAxis(destination, outputs);
    const int64_t dense_factor = dense < 5 ? factors[dense] : 1;
    const Pipeline& pipeline =
        pipelines_.get("upsample", {{SPEC_LANES, kLanes},
                                    {SPEC_BYTES, static_cast<uint32_t>(element)},
                                    {SPEC_FACTOR, static_cast<uint32_t>(dense_factor)}});
    auto& from = static_cast<VulkanBuffer&>(*source.buffer);
    auto& to = static_cast<VulkanBuffer&>(*destination.buffer);
    PlanLimits most = limits();
    most.max_range = std::min<int64_t>(most.max_range, std::numeric_limits<int32_t>::max());

    // Boxes are the source's, but the destination's along its dense axis.
    std::array<int64_t, 5> steps = destination.strides;
    Dims3 repeats = factor;
    for (size_t d = 0; d < 5; ++d)
        if (d != dense) steps[d] *= factors[d];
    if (dense >= 2 && dense < 5) repeats[dense - 2] = 1;
    // Repeated by an invocation, or by a dispatch each where they lie too far apart to bind.
    Dims3 together = repeats;
    const auto sourceSpan = [&](Piece box) {
        if (dense < 5)
            box[dense] = {box[dense].begin / dense_factor, (box[dense].end - 1) / dense_factor + 1};
        return spanOf(box, source.strides, element);
    };
    const auto destinationSpan = [&](const Piece& box) {
        Span span = spanOf(box, steps, element);
        for (size_t d = 0; d < 3; ++d)
            span.end += (together[d] - 1) * destination.strides[2 + d] * static_cast<int64_t>(element);
        return span;
    };
    const auto words = [&](const Piece& box) {
        // However the first element lies in its word.
        return dense < 5 ? (box[dense].size() + 2 * (in_word - 1)) / in_word : 1;
    };
    const auto invocations = [&](const Piece& box) {
        int64_t count = words(box);
        for (size_t d = 0; d < 5; ++d)
            if (d != dense) count *= box[d].size();
        return count;
    };
    const auto fits = [&](const Piece& box) {
        Fit fit(most);
        fit.bytes(sourceSpan(box));
        fit.bytes(destinationSpan(box));
        fit.grid(0, ceilDiv<int64_t>(invocations(box), kLanes));
        return fit;
    };
    const auto emit = [&](const Piece& box, int64_t repeat) {
        UpsamplePush push{};
        const Binding in = bind(from, source.offset, sourceSpan(box), element, push.from_base);
        const Span writes = destinationSpan(box);
        const size_t offset = destination.offset + static_cast<size_t>(repeat) * element;
        const Binding out = bind(to, offset, writes, element, push.to_base);
        // Bases may lie far before what is bound; where the box begins does not.
        int64_t from_begin = push.from_base;
        int64_t to_begin = push.to_base;
        for (size_t d = 0; d < 5; ++d) {
            to_begin += box[d].begin * steps[d];
            if (d > 0) push.size[d - 1] = d == dense ? 1 : static_cast<int32_t>(box[d].size());
            if (d == dense) continue;
            from_begin += box[d].begin * source.strides[d];
            push.from[d] = static_cast<int32_t>(source.strides[d]);
            push.to[d] = static_cast<int32_t>(steps[d]);
        }
        for (size_t d = 0; d < 3; ++d) {
            push.repeat[d] = static_cast<int32_t>(together[d]);
            push.to_next[d] = static_cast<int32_t>(destination.strides[2 + d]);
        }
        push.from_base = static_cast<int32_t>(from_begin);
        push.to_base = static_cast<int32_t>(to_begin);
        push.dense_size = 1;
        if (dense < 5) {
            push.dense_begin = static_cast<int32_t>(box[dense].begin);
            push.dense_size = static_cast<int32_t>(box[dense].size());
            push.dense_from = static_cast<int32_t>(source.strides[dense]);
        }
        push.words = static_cast<int32_t>(words(box));
        push.count = static_cast<int32_t>(invocations(box));
        stream_.dispatch(pipeline, {in, out}, &push, sizeof push,
                         {static_cast<uint32_t>(ceilDiv<int64_t>(push.count, kLanes)), 1, 1},
                         static_cast<uint64_t>(push.count));
    };
    Piece whole;
    for (size_t d = 0; d < 5; ++d) whole[d] = {0, d == dense ? outputs[d] : dims[d]};
    if (!fits(whole).binds()) together = {1, 1, 1};
    stream_.beginOperation();
    stream_.use(from);
    stream_.use(to);
    for (int64_t d = 0; d < repeats[0]; d += together[0])
        for (int64_t h = 0; h < repeats[1]; h += together[1])
            for (int64_t w = 0; w < repeats[2]; w += together[2])
                splitPiece(whole, fits, [&](const Piece& box) {
                    emit(box, d * destination.strides[2] + h * destination.strides[3] +
                                  w * destination.strides[4]);
                });
    stream_.endOperation();
}

}  // namespace pconv::vulkan
