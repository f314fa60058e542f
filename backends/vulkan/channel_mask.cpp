// The mask side of a masked convolution: a mask for each output channel, from its weights' magnitudes.
#include "vulkan/mask_update.h"
#include "vulkan/split.h"

namespace pconv::vulkan {

namespace {

constexpr uint32_t kLanes = 64;

// As in shaders/weight_magnitude.comp.
struct MagnitudePush {
    int32_t count, taps;
    int32_t weight_base, magnitude_base;
};

// As in shaders/channel_mask.comp.
struct ChannelPush {
    int32_t first, end;
    int32_t mask_base, mask_stride_n;
    int32_t magnitude_base, updated_base;
    int32_t in_channels, out_channels, group_in, group_out;
    float eps;
};

int32_t narrow(int64_t value) {
    return static_cast<int32_t>(value);
}

}  // namespace

void VulkanMaskUpdate::setWeights(const TensorRef& weight) {
    auto& from = static_cast<VulkanBuffer&>(*weight.buffer);
    const int64_t taps = volume(desc_.window.kernel);
    const size_t element = sizeOf(weight.data_type);
    const PlanLimits most = device_.limits();
    const auto fits = [&](const Piece& piece) {
        Fit fit(most);
        fit.bytes({0, piece[0].size() * taps * static_cast<int64_t>(element)});
        fit.grid(0, ceilDiv<int64_t>(piece[0].size(), kLanes));
        fit.work(piece[0].size() * taps);
        return fit;
    };
    const auto emit = [&](const Piece& piece) {
        const Range& pairs = piece[0];
        MagnitudePush push{};
        push.count = narrow(pairs.size());
        push.taps = narrow(taps);
        const Binding in =
            device_.bind(from, weight.offset,
                         spanOf({Range{pairs.begin * taps, pairs.end * taps}, {0, 1}, {0, 1}, {0, 1}, {0, 1}},
                                {1, 0, 0, 0, 0}, element),
                         element, push.weight_base);
        const Binding out =
            device_.bind(*magnitude_, 0, {pairs.begin * 4, pairs.end * 4}, 4, push.magnitude_base);
        push.weight_base += narrow(pairs.begin * taps);
        push.magnitude_base += narrow(pairs.begin);
        device_.stream().dispatch(*magnitude_pipeline_, {in, out}, &push, sizeof push,
                                  {ceilDiv(static_cast<uint32_t>(push.count), kLanes), 1, 1},
                                  static_cast<uint64_t>(pairs.size() * taps));
    };
    Stream& stream = device_.stream();
    stream.beginOperation();
    stream.use(from);
    stream.use(*magnitude_);
    splitPiece(
        {Range{0, desc_.out_channels * desc_.in_channels / desc_.groups}, {0, 1}, {0, 1}, {0, 1}, {0, 1}},
        fits, emit);
    stream.endOperation();
}

// Outputs of [batch, output channels, D, H, W].
void VulkanMaskUpdate::channelMasks() {
    const int64_t group_in = desc_.in_channels / desc_.groups;
    const int64_t outputs = volume(desc_.window.output);
    const PlanLimits most = device_.limits();
    const auto channels = [&](const Range& at) {
        if (at.begin / imageOutputs() != (at.end - 1) / imageOutputs()) return Range{0, desc_.out_channels};
        return Range{at.begin % imageOutputs() / outputs, (at.end - 1) % imageOutputs() / outputs + 1};
    };
    const auto behind = [&](const Range& at) {
        const Range images{at.begin / imageOutputs(), (at.end - 1) / imageOutputs() + 1};
        if (at.begin / outputs != (at.end - 1) / outputs)
            return wordsBehind(images, {0, desc_.window.output[0]}, {0, desc_.window.output[1]});
        const int64_t width = desc_.window.output[2];
        const RowBox box =
            rowBox({at.begin % outputs / width, (at.end - 1) % outputs / width + 1}, desc_.window.output[1]);
        return wordsBehind(images, box.d, box.h);
    };
    const auto fits = [&](const Piece& piece) {
        Fit fit(most);
        const Span words = behind(piece[0]);
        fit.bytes({words.begin * 4, words.end * 4});
        fit.bytes({0, channels(piece[0]).size() * group_in * 4});
        fit.bytes({0, piece[0].size() * 4});
        fit.grid(0, ceilDiv<int64_t>(piece[0].size(), kLanes));
        fit.work(piece[0].size() * group_in);
        return fit;
    };
    const auto emit = [&](const Piece& piece) {
        const Range& at = piece[0];
        ChannelPush push{};
        push.first = narrow(at.begin);
        push.end = narrow(at.end);
        push.mask_stride_n = narrow(planes_.imageWords());
        push.in_channels = narrow(desc_.in_channels);
        push.out_channels = narrow(desc_.out_channels);
        push.group_in = narrow(group_in);
        push.group_out = narrow(desc_.out_channels / desc_.groups);
        push.eps = desc_.eps;
        const Span words = behind(at);
        const Range weighed = channels(at);
        const Binding mask =
            device_.bind(*planes_.packed(), 0, {words.begin * 4, words.end * 4}, 4, push.mask_base);
        const Binding magnitude =
            device_.bind(*magnitude_, 0, {weighed.begin * group_in * 4, weighed.end * group_in * 4}, 4,
                         push.magnitude_base);
        const TensorRef& updated = results_.updated_mask;
        const Binding out = device_.bind(static_cast<VulkanBuffer&>(*updated.buffer), updated.offset,
                                         {at.begin * 4, at.end * 4}, 4, push.updated_base);
        device_.stream().dispatch(
            *window_pipeline_,
            {mask, magnitude, device_.bindWhole(*planes_.runs()), out, device_.bindWhole(*params_)}, &push,
            sizeof push, {static_cast<uint32_t>(ceilDiv<int64_t>(at.size(), kLanes)), 1, 1},
            static_cast<uint64_t>(at.size() * group_in));
    };
    splitPiece({Range{0, form_.batch * imageOutputs()}, {0, 1}, {0, 1}, {0, 1}, {0, 1}}, fits, emit);
}

}  // namespace pconv::vulkan
