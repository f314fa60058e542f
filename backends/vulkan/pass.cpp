// The passes of networks between convolutions.
#include <algorithm>
#include <limits>
#include <numeric>

#include "vulkan/device/device.h"
#include "vulkan/split.h"
#include "vulkan/window.h"

namespace pconv::vulkan {

namespace {

constexpr uint32_t kLanes = 64;

// As in shaders/pointwise.comp.
struct PointwisePush {
    int32_t size[4];
    int32_t x[5], a[5], y[5];
    int32_t x_base, a_base, y_base, scale_base, shift_base;
    int32_t scales, shifts, adds;
    float negative_slope;
    int32_t count;
};

// As in shaders/pool.comp and shaders/interpolate.comp begin.
struct WindowPush {
    int32_t begin[3];
    int32_t size[4];
    int32_t x[5], y[5];
    int32_t x_base, y_base;
    int32_t input[3];
};
struct PoolPush {
    WindowPush window;
    int32_t kernel[3], stride[3], padding[3];
    int32_t count;
};
struct InterpolatePush {
    WindowPush window;
    int32_t step[3], per[3];
    int32_t count;
};

VulkanBuffer& memoryOf(const TensorRef& tensor) {
    return static_cast<VulkanBuffer&>(*tensor.buffer);
}

int64_t elementsOf(const Piece& box) {
    int64_t count = 1;
    for (const Range& range : box) count *= range.size();
    return count;
}

// One call, cut into boxes of the output that the device takes.
class Pass {
  public:
    Pass(VulkanDevice& device, const PassDesc& desc, const PassOperands& operands)
        : device_(device),
          desc_(desc),
          operands_(operands),
          type_(operands.input.data_type),
          element_(sizeOf(type_)),
          channels_inside_(operands.output.strides[1] == 1 && desc.channels > 1 ? 1 : 0) {
        if (type_ != DataType::f32 && !device.capabilities().storage_f16)
            fail(PCONV_ERROR_UNSUPPORTED,
                 "the device has no 16-bit storage buffers, which f16 and bf16 need");
    }

    void pointwise() {
        const Pipeline& pipeline = pipelineOf("pointwise", static_cast<uint32_t>(desc_.activation));
        run([&](const Piece& box) { emitPointwise(pipeline, box); });
    }

    void pool() {
        const uint32_t kind = desc_.kind == PassKind::max_pool ? POOL_MAX
                              : desc_.inside_only              ? POOL_AVERAGE_INSIDE
                                                               : POOL_AVERAGE;
        const Pipeline& pipeline = pipelineOf("pool", kind);
        run([&](const Piece& box) {
            PoolPush push{};
            const auto bindings = window(push.window, box);
            for (size_t d = 0; d < 3; ++d) {
                push.kernel[d] = static_cast<int32_t>(desc_.window.kernel[d]);
                push.stride[d] = static_cast<int32_t>(desc_.window.stride[d]);
                push.padding[d] = static_cast<int32_t>(desc_.window.padding[d]);
            }
            dispatch(pipeline, bindings, push, box);
        });
    }

    void interpolate() {
        const Pipeline& pipeline = pipelineOf("interpolate", desc_.align_corners ? 1 : 0);
        run([&](const Piece& box) {
            InterpolatePush push{};
            const auto bindings = window(push.window, box);
            for (size_t d = 0; d < 3; ++d) {
                const auto [step, per] = stepAlong(d);
                push.step[d] = static_cast<int32_t>(step);
                push.per[d] = static_cast<int32_t>(per);
            }
            dispatch(pipeline, bindings, push, box);
        });
    }

  private:
    const Pipeline& pipelineOf(const char* shader, uint32_t setting) {
        return device_.pipelines().get(
            std::string(shader) + suffix(type_),
            {{SPEC_LANES, kLanes}, {SPEC_CHANNELS_INSIDE, channels_inside_}, {SPEC_ACTIVATION, setting}});
    }

    // An output lies step / per of the input's elements behind the one before it.
    std::pair<int64_t, int64_t> stepAlong(size_t d) const {
        const int64_t corners = desc_.align_corners ? 1 : 0;
        const int64_t step = desc_.window.input[d] - corners;
        const int64_t per = desc_.window.output[d] - corners;
        if (step == 0 || per == 0) return {0, 1};
        const int64_t common = std::gcd(step, per);
        if ((2 * per + 1) * (step / common) > std::numeric_limits<int32_t>::max())
            fail(PCONV_ERROR_UNSUPPORTED, "interpolation between sizes beyond what 32-bit indices reach");
        return {step / common, per / common};
    }

    // What of the input a box of the output reads.
    Piece inputOf(const Piece& box) const {
        Piece result = box;
        if (desc_.kind == PassKind::pointwise) return result;
        const Window& w = desc_.window;
        for (size_t d = 0; d < 3; ++d) {
            Range& range = result[2 + d];
            if (desc_.kind == PassKind::interpolate) {
                const auto [step, per] = stepAlong(d);
                const auto at = [step = step, per = per](int64_t o) { return o * step / per; };
                range = {std::max<int64_t>(0, at(range.begin) - 2), std::min(w.input[d], at(range.end) + 3)};
            } else {
                range = {std::max<int64_t>(0, range.begin * w.stride[d] - w.padding[d]),
                         std::min(w.input[d], (range.end - 1) * w.stride[d] - w.padding[d] + w.kernel[d])};
            }
        }
        return result;
    }

    Span spanIn(const TensorRef& tensor, const Piece& box) const {
        return spanOf(box, tensor.strides, element_);
    }

    template <typename Emit>
    void run(const Emit& emit) {
        const PlanLimits limits = device_.limits();
        const auto fits = [&](const Piece& box) {
            Fit fit(limits);
            fit.bytes(spanIn(operands_.input, inputOf(box)));
            if (operands_.added.buffer) fit.bytes(spanIn(operands_.added, box));
            fit.bytes(spanIn(operands_.output, box));
            fit.grid(0, ceilDiv<int64_t>(elementsOf(box), kLanes));
            return fit;
        };
        const Dims3& size = desc_.window.output;
        Stream& stream = device_.stream();
        stream.beginOperation();
        for (const TensorRef* used :
             {&operands_.input, &operands_.added, &operands_.scale, &operands_.shift, &operands_.output})
            if (used->buffer) stream.use(memoryOf(*used));
        splitPiece({Range{0, desc_.batch}, {0, desc_.channels}, {0, size[0]}, {0, size[1]}, {0, size[2]}},
                   fits, emit);
        stream.endOperation();
    }

    // Binds what of a tensor the box spans; `base` gets where its first element lies, in dimensions before
    // `from` only.
    Binding bind(const TensorRef& tensor, const Piece& reads, const Piece& box, size_t dimensions,
                 int32_t& base) const {
        const Binding binding =
            device_.bind(memoryOf(tensor), tensor.offset, spanIn(tensor, reads), element_, base);
        int64_t at = base;
        for (size_t d = 0; d < dimensions; ++d) at += box[d].begin * tensor.strides[d];
        base = static_cast<int32_t>(at);
        return binding;
    }

    static void copyStrides(int32_t (&to)[5], const TensorRef& tensor) {
        for (size_t d = 0; d < 5; ++d) to[d] = static_cast<int32_t>(tensor.strides[d]);
    }

    std::vector<Binding> window(WindowPush& push, const Piece& box) const {
        for (size_t d = 0; d < 3; ++d) {
            push.begin[d] = static_cast<int32_t>(box[2 + d].begin);
            push.input[d] = static_cast<int32_t>(desc_.window.input[d]);
        }
        for (size_t d = 1; d < 5; ++d) push.size[d - 1] = static_cast<int32_t>(box[d].size());
        copyStrides(push.x, operands_.input);
        copyStrides(push.y, operands_.output);
        return {bind(operands_.input, inputOf(box), box, 2, push.x_base),
                bind(operands_.output, box, box, 5, push.y_base)};
    }

    void emitPointwise(const Pipeline& pipeline, const Piece& box) {
        PointwisePush push{};
        for (size_t d = 1; d < 5; ++d) push.size[d - 1] = static_cast<int32_t>(box[d].size());
        copyStrides(push.x, operands_.input);
        copyStrides(push.y, operands_.output);
        const Binding x = bind(operands_.input, box, box, 5, push.x_base);
        const Binding y = bind(operands_.output, box, box, 5, push.y_base);
        Binding added = x;
        if (operands_.added.buffer) {
            copyStrides(push.a, operands_.added);
            added = bind(operands_.added, box, box, 5, push.a_base);
            push.adds = 1;
        }
        const auto vectorOf = [&](const TensorRef& vector, int32_t& base, int32_t& present) {
            if (!vector.buffer) return x;
            present = 1;
            const auto bytes = static_cast<int64_t>(sizeof(float));
            return device_.bind(memoryOf(vector), vector.offset + static_cast<size_t>(box[1].begin * bytes),
                                0, box[1].size() * bytes, sizeof(float), base);
        };
        const Binding scale = vectorOf(operands_.scale, push.scale_base, push.scales);
        const Binding shift = vectorOf(operands_.shift, push.shift_base, push.shifts);
        push.negative_slope = desc_.negative_slope;
        dispatch(pipeline, {x, added, scale, shift, y}, push, box);
    }

    template <typename Push>
    void dispatch(const Pipeline& pipeline, const std::vector<Binding>& bindings, Push& push,
                  const Piece& box) {
        push.count = static_cast<int32_t>(elementsOf(box));
        const int64_t taps = desc_.kind == PassKind::max_pool || desc_.kind == PassKind::average_pool
                                 ? volume(desc_.window.kernel)
                                 : 1;
        device_.stream().dispatch(pipeline, bindings, &push, sizeof push,
                                  {static_cast<uint32_t>(ceilDiv<int64_t>(push.count, kLanes)), 1, 1},
                                  static_cast<uint64_t>(push.count * taps));
    }

    VulkanDevice& device_;
    const PassDesc& desc_;
    const PassOperands& operands_;
    DataType type_;
    size_t element_;
    uint32_t channels_inside_;
};

}  // namespace

void VulkanDevice::pass(const PassDesc& desc, const PassOperands& operands) {
    Pass pass(*this, desc, operands);
    switch (desc.kind) {
        case PassKind::pointwise:
            return pass.pointwise();
        case PassKind::max_pool:
        case PassKind::average_pool:
            return pass.pool();
        case PassKind::interpolate:
            return pass.interpolate();
    }
}

}  // namespace pconv::vulkan
