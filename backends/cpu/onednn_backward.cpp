#include "onednn_backward.h"

#include <algorithm>
#include <cstring>

#include "cpu_element.h"
#include "cpu_half_rows.h"
#include "cpu_mask_planes.h"
#include "cpu_parallel.h"
#include "onednn_partial_conv.h"

namespace pconv::cpu {

namespace {

constexpr int64_t kPartsForThread = 4;

size_t aligned(size_t bytes) {
    return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

int64_t scratchSize(ScratchLayout layout, int64_t channels, int64_t pixels) {
    const int64_t block = blockOf(layout, channels);
    return (channels + block - 1) / block * block * pixels;
}

}  // namespace

OneDnnBackward::OneDnnBackward(CpuDevice& device, const PartialConvDesc& desc,
                               const std::array<Span, 3>* live)
    : device_(device),
      desc_(desc),
      engine_(dnnl::engine::kind::cpu, 0),
      stream_(engine_),
      any_live_(live != nullptr) {
    if (any_live_) live_ = *live;
    const OneDnnThreads threads(device.threads());
    if (any_live_) choosePrimitives();
    allocate();
    const int64_t channels = std::max(desc.in_channels, desc.out_channels);
    staging_ = Staging(device, desc.data_type, channels);
    planes_.resize(static_cast<size_t>(channels * device.threads()));
}

PlainConv OneDnnBackward::plainConv() const {
    return {desc_.batch, inChannels(), outChannels(), desc_.groups / separate_groups_, live_, desc_.window};
}

void OneDnnBackward::choosePrimitives() {
    const auto choose = [&] {
        auto data = chooseBackwardData(engine_, plainConv());
        std::optional<BackwardWeights> weights;
        if (data) weights = chooseBackwardWeights(engine_, plainConv(), data->output);
        return std::make_pair(std::move(data), std::move(weights));
    };
    auto chosen = choose();
    const auto specialized = [](const auto& pair) {
        return pair.first && pair.second && pair.first->specialized && pair.second->specialized;
    };
    if (desc_.groups > 1 && !specialized(chosen)) {
        separate_groups_ = desc_.groups;
        auto single = choose();
        const bool found = chosen.first && chosen.second;
        if (single.second && (!found || specialized(single)))
            chosen = std::move(single);
        else
            separate_groups_ = 1;
    }
    if (!chosen.first || !chosen.second)
        fail(PCONV_ERROR_UNSUPPORTED, "oneDNN has no gradients of this shape");
    data_ = *chosen.first;
    weights_ = *chosen.second;
    backward_data_ = dnnl::convolution_backward_data(data_.desc);
    backward_weights_ = dnnl::convolution_backward_weights(weights_.desc);
}

void OneDnnBackward::allocate() {
    const Dims3& output = desc_.window.output;
    bias_parts_ = desc_.has_bias
                      ? std::min(kPartsForThread * device_.threads(), desc_.batch * output[0] * output[1])
                      : 0;
    const bool makes_factors = desc_.mask_type == MaskType::fractional && desc_.has_bias &&
                               desc_.normalization == Normalization::window_ratio;
    const bool is_half = desc_.data_type != DataType::f32;
    // In the order in which they are laid out below.
    std::vector<size_t> sizes{
        static_cast<size_t>(bias_parts_ * desc_.out_channels) * sizeof(double),
        makes_factors ? static_cast<size_t>(desc_.batch * desc_.maskGroups() * volume(output)) * sizeof(float)
                      : 0};
    const size_t groups = static_cast<size_t>(separate_groups_);
    if (any_live_) {
        const auto scratch = [&](ScratchLayout layout, int64_t channels, const Dims3& box) {
            const int64_t size = scratchSize(layout, channels, desc_.batch * volume(box));
            return static_cast<size_t>(size) * sizeof(float) + kReadSlack;
        };
        sizes.push_back(
            std::max({scratch(data_.input, inChannels(), inputBox()),
                      scratch(weights_.input, inChannels(), inputBox()),
                      data_.desc.diff_src_desc().get_size(), weights_.desc.src_desc().get_size()}));
        sizes.push_back(
            std::max({scratch(data_.output, outChannels(), outputBox()),
                      scratch(weights_.output, outChannels(), outputBox()),
                      data_.desc.diff_dst_desc().get_size(), weights_.desc.diff_dst_desc().get_size()}));
        sizes.push_back(weights_.desc.diff_weights_desc().get_size());
        sizes.push_back(
            std::max(data_.desc.scratchpad_desc().get_size(), weights_.desc.scratchpad_desc().get_size()));
        sizes.push_back(is_half ? static_cast<size_t>(groupWeights()) * sizeof(float) : 0);
        sizes.insert(sizes.end(), groups, data_.desc.weights_desc().get_size());
    }
    size_t total = kAlignment;
    for (const size_t size : sizes) total += aligned(size);
    buffer_ = device_.allocate(total);
    auto* at = static_cast<char*>(buffer_->hostPointer());
    size_t next = 0;
    const auto take = [&] {
        char* taken = sizes[next] > 0 ? at : nullptr;
        at += aligned(sizes[next++]);
        return taken;
    };
    bias_sums_ = reinterpret_cast<double*>(take());
    factors_ = reinterpret_cast<float*>(take());
    if (!any_live_) return;
    input_ = reinterpret_cast<float*>(take());
    output_ = reinterpret_cast<float*>(take());
    grad_weights_ = dnnl::memory(weights_.desc.diff_weights_desc(), engine_, take());
    char* scratchpad = take();
    plain_grad_weights_ = reinterpret_cast<float*>(take());
    for (size_t g = 0; g < groups; ++g)
        packed_weights_.emplace_back(data_.desc.weights_desc(), engine_, take());

    data_arguments_ = {
        {DNNL_ARG_DIFF_SRC, dnnl::memory(data_.desc.diff_src_desc(), engine_, input_)},
        {DNNL_ARG_DIFF_DST, dnnl::memory(data_.desc.diff_dst_desc(), engine_, output_)},
        {DNNL_ARG_SCRATCHPAD, dnnl::memory(data_.desc.scratchpad_desc(), engine_, scratchpad)}};
    weights_arguments_ = {
        {DNNL_ARG_SRC, dnnl::memory(weights_.desc.src_desc(), engine_, input_)},
        {DNNL_ARG_DIFF_DST, dnnl::memory(weights_.desc.diff_dst_desc(), engine_, output_)},
        {DNNL_ARG_DIFF_WEIGHTS, grad_weights_},
        {DNNL_ARG_SCRATCHPAD, dnnl::memory(weights_.desc.scratchpad_desc(), engine_, scratchpad)}};
    const dnnl::memory::desc user = plainConv().userWeights();
    const auto& diff = weights_.desc.diff_weights_desc();
    dnnl::primitive_attr adding;
    dnnl::post_ops sum;
    sum.append_sum(1.0F);
    adding.set_post_ops(sum);
    pack_ = dnnl::reorder(dnnl::reorder::primitive_desc(engine_, user, engine_, data_.desc.weights_desc()));
    unpack_ = dnnl::reorder(dnnl::reorder::primitive_desc(engine_, diff, engine_, user));
    unpack_adding_ = dnnl::reorder(dnnl::reorder::primitive_desc(engine_, diff, engine_, user, adding));
}

void OneDnnBackward::execute(const dnnl::primitive& primitive, const Arguments& arguments) {
    try {
        primitive.execute(stream_, arguments);
        stream_.wait();
    } catch (const dnnl::error& error) {
        failFrom(error);
    }
}

void OneDnnBackward::setWeights(const float* weights) {
    if (!any_live_) return;
    const OneDnnThreads threads(device_.threads());
    for (int64_t g = 0; g < separate_groups_; ++g) {
        const dnnl::memory from(plainConv().userWeights(), engine_,
                                const_cast<float*>(weights) + g * groupWeights());
        execute(pack_, {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, packed_weights_[static_cast<size_t>(g)]}});
    }
}

// Rows of a box, dealt out in parts: body(thread, n, d, first row, rows); one row at a time where they are
// not joined.
template <typename Body>
void OneDnnBackward::forEachRows(const Dims3& box, bool joined, const Body& body) const {
    const int64_t wanted = kPartsForThread * device_.threads();
    const int64_t parts = std::clamp<int64_t>(wanted / (desc_.batch * box[0]), 1, box[1]);
    const int64_t part = (box[1] + parts - 1) / parts;
    const int64_t used = (box[1] + part - 1) / part;
    parallelFor(device_.threads(), desc_.batch * box[0] * used, [&](int thread, int64_t i) {
        const int64_t first = i % used * part;
        const int64_t end = std::min(first + part, box[1]);
        const int64_t n = i / used / box[0];
        const int64_t d = i / used % box[0];
        for (int64_t h = first; h < end; h += joined ? end - first : 1)
            body(thread, n, d, h, joined ? end - first : 1);
    });
}

// The mask of the input of a run that begins at [n, d, h, w].
template <typename Run>
void OneDnnBackward::pointAtMask(Run& run, const Call& call, int64_t group, const std::array<int64_t, 4>& at,
                                 const void** planes) const {
    const MaskForm& form = call.update.form();
    run.planes = planes;
    run.one_plane = hasOnePlane(desc_, form);
    run.hole_is_one = form.hole_is_one;
    if (run.mask == MaskType::none) return;
    pointAtPlanes(call.update, run.one_plane, group * inChannels(), run.one_plane ? 1 : run.channels,
                  {form.batch == 1 ? 0 : at[0], at[1], at[2], at[3]}, planes);
}

namespace {

// Whether rows of a box follow each other in a tensor, and in the planes of a mask.
bool areJoined(const TensorRef& tensor, int64_t width, const CpuMaskUpdate* update) {
    bool joined = tensor.strides[3] == width * tensor.strides[4];
    if (update != nullptr)
        for (const TensorRef& view : update->planes()) joined = joined && view.strides[3] == width;
    return joined;
}

}  // namespace

void OneDnnBackward::loadInput(const Call& call, int64_t group) {
    const Dims3 box = inputBox();
    LoadRun run{};
    run.channel_stride = call.input.strides[1];
    run.pixel_stride = call.input.strides[4];
    run.channels = inChannels();
    run.mask = desc_.maskInput() ? desc_.mask_type : MaskType::none;
    run.block = blockOf(weights_.input, run.channels);
    run.block_stride = volume(box) * run.block;
    const int64_t image = scratchSize(weights_.input, run.channels, volume(box));
    const bool joined = areJoined(call.input, box[2], run.mask == MaskType::none ? nullptr : &call.update);
    forEachRows(box, joined, [&](int thread, int64_t n, int64_t d, int64_t h, int64_t rows) {
        const Dims3 at{live_[0].input_begin + d, live_[1].input_begin + h, live_[2].input_begin};
        LoadRun part = run;
        part.pixels = rows * box[2];
        part.scratch = input_ + n * image + (d * box[1] + h) * box[2] * run.block;
        pointAtMask(part, call, group, {n, at[0], at[1], at[2]}, planesOf(thread));
        loadTyped(part, planesOf(thread), call.input.data_type,
                  elementAt(call.input, n, group * inChannels(), at), staging_, thread);
    });
}

void OneDnnBackward::storeGradInput(const Call& call, int64_t group) {
    const Dims3 box = inputBox();
    const TensorRef& gradient = *call.gradients.input;
    UnloadRun run{};
    run.block = blockOf(data_.input, inChannels());
    run.block_stride = volume(box) * run.block;
    run.mask = desc_.maskedConvolution() ? MaskType::none : desc_.mask_type;
    run.selects = desc_.input_is_masked;
    run.accumulate = call.gradients.accumulate;
    run.channel_stride = gradient.strides[1];
    run.pixel_stride = gradient.strides[4];
    run.channels = inChannels();
    const int64_t image = scratchSize(data_.input, run.channels, volume(box));
    const bool joined = areJoined(gradient, box[2], run.mask == MaskType::none ? nullptr : &call.update);
    forEachRows(box, joined, [&](int thread, int64_t n, int64_t d, int64_t h, int64_t rows) {
        const Dims3 at{live_[0].input_begin + d, live_[1].input_begin + h, live_[2].input_begin};
        UnloadRun part = run;
        part.pixels = rows * box[2];
        part.scratch = input_ + n * image + (d * box[1] + h) * box[2] * run.block;
        pointAtMask(part, call, group, {n, at[0], at[1], at[2]}, planesOf(thread));
        unloadTyped(part, planesOf(thread), gradient.data_type,
                    elementAt(gradient, n, group * inChannels(), at), staging_, thread);
    });
}

// dy times what the convolution's result was multiplied by, 0 where that is 0 whatever dy is.
void OneDnnBackward::loadGradOutput(const Call& call, int64_t group, ScratchLayout layout) {
    const Dims3 box = outputBox();
    const Dims3& size = desc_.window.output;
    const MaskForm& form = call.update.form();
    const MaskPlanes& results = call.update.results();
    const bool masked_conv = desc_.maskedConvolution();
    const float* factors = factors_;
    if (factors == nullptr && !(masked_conv && desc_.mask_type == MaskType::none))
        factors = pointer<float>(masked_conv ? results.updated_mask : results.ratio);
    LoadRun run{};
    run.channel_stride = call.grad_output.strides[1];
    run.pixel_stride = call.grad_output.strides[4];
    run.channels = outChannels();
    run.mask = factors == nullptr ? MaskType::none : MaskType::fractional;
    const int64_t mask_groups = desc_.maskGroups();
    const int64_t first_channel = group * outChannels();
    run.one_plane = desc_.maskGroupOf(first_channel) == desc_.maskGroupOf(first_channel + run.channels - 1);
    run.block = blockOf(layout, run.channels);
    run.block_stride = volume(box) * run.block;
    const int64_t image = scratchSize(layout, run.channels, volume(box));
    const bool joined = areJoined(call.grad_output, box[2], nullptr) && box[2] == size[2];
    forEachRows(box, joined, [&](int thread, int64_t n, int64_t d, int64_t h, int64_t rows) {
        const Dims3 at{live_[0].output_begin + d, live_[1].output_begin + h, live_[2].output_begin};
        LoadRun part = run;
        part.pixels = rows * box[2];
        part.scratch = output_ + n * image + (d * box[1] + h) * box[2] * run.block;
        part.planes = planesOf(thread);
        if (factors != nullptr)
            for (int64_t c = 0; c < (run.one_plane ? 1 : run.channels); ++c) {
                const int64_t plane =
                    (form.batch == 1 ? 0 : n) * mask_groups + desc_.maskGroupOf(first_channel + c);
                planesOf(thread)[c] =
                    factors + ((plane * size[0] + at[0]) * size[1] + at[1]) * size[2] + at[2];
            }
        loadTyped(part, planesOf(thread), call.grad_output.data_type,
                  elementAt(call.grad_output, n, first_channel, at), staging_, thread);
    });
}

void OneDnnBackward::storeGradWeight(const Call& call, int64_t group) {
    const TensorRef& gradient = *call.gradients.weight;
    const bool is_half = gradient.data_type != DataType::f32;
    const int64_t first = group * groupWeights();
    float* plain = is_half ? plain_grad_weights_ : pointer<float>(gradient) + first;
    const dnnl::memory to(plainConv().userWeights(), engine_, plain);
    if (!is_half)
        return execute(call.gradients.accumulate ? unpack_adding_ : unpack_,
                       {{DNNL_ARG_FROM, grad_weights_}, {DNNL_ARG_TO, to}});
    execute(unpack_, {{DNNL_ARG_FROM, grad_weights_}, {DNNL_ARG_TO, to}});
    if (call.gradients.accumulate)
        for (int64_t i = 0; i < groupWeights(); ++i)
            plain[i] += static_cast<float>(load(gradient, first + i));
    narrowRow(gradient.data_type, pointer<uint16_t>(gradient) + first, plain, groupWeights());
}

void OneDnnBackward::sumGradBias(const Call& call) {
    const Dims3& size = desc_.window.output;
    const MaskPlanes& results = call.update.results();
    BiasRun run{};
    run.channel_stride = call.grad_output.strides[1];
    run.pixel_stride = call.grad_output.strides[4];
    run.channels = desc_.out_channels;
    run.binary = results.updated_mask.data_type == DataType::u8;
    const float* mask = nullptr;
    if (!run.binary)
        mask = pointer<float>(results.updated_mask);
    else if (!desc_.maskedConvolution())
        mask = pointer<float>(results.ratio);  // 0 where the updated mask is
    run.group_stride = volume(size);
    run.group_channels = desc_.out_channels / desc_.maskGroups();
    const bool joined = areJoined(call.grad_output, size[2], nullptr);
    const int64_t rows = desc_.batch * size[0] * size[1];
    parallelFor(device_.threads(), bias_parts_, [&](int thread, int64_t i) {
        BiasRun part = run;
        part.sums = bias_sums_ + i * desc_.out_channels;
        std::fill_n(part.sums, desc_.out_channels, 0.0);
        const int64_t end = rows * (i + 1) / bias_parts_;
        int64_t together = 1;
        for (int64_t row = rows * i / bias_parts_; row < end; row += together) {
            const int64_t n = row / size[1] / size[0];
            const Dims3 at{row / size[1] % size[0], row % size[1], 0};
            together = joined ? std::min(end - row, size[1] - at[1]) : 1;
            part.pixels = together * size[2];
            const int64_t plane = (call.update.form().batch == 1 ? 0 : n) * desc_.maskGroups();
            if (mask != nullptr) part.mask = mask + ((plane * size[0] + at[0]) * size[1] + at[1]) * size[2];
            sumBiasTyped(part, call.grad_output.data_type, elementAt(call.grad_output, n, 0, at), staging_,
                         thread);
        }
    });
    const TensorRef& gradient = *call.gradients.bias;
    for (int64_t c = 0; c < desc_.out_channels; ++c) {
        double sum = call.gradients.accumulate ? load(gradient, c) : 0;
        for (int64_t i = 0; i < bias_parts_; ++i) sum += bias_sums_[i * desc_.out_channels + c];
        store(gradient, c, sum);
    }
}

void OneDnnBackward::scaleByUpdatedMask(const CpuMaskUpdate& update) const {
    if (factors_ == nullptr) return;
    const MaskPlanes& results = update.results();
    const auto* ratio = pointer<float>(results.ratio);
    const auto* updated = pointer<float>(results.updated_mask);
    const int64_t count = update.form().batch * desc_.maskGroups() * volume(desc_.window.output);
    for (int64_t i = 0; i < count; ++i) factors_[i] = ratio[i] * updated[i];
}

// Inputs that no window reaches.
void OneDnnBackward::zeroBeyondLive(const TensorRef& grad_input) const {
    const Dims3& size = desc_.window.input;
    const auto inside = [&](size_t d, int64_t at) {
        return any_live_ && at >= live_[d].input_begin && at < live_[d].input_begin + live_[d].input_size;
    };
    if (any_live_ && inputBox() == size) return;
    parallelFor(device_.threads(), desc_.batch, [&](int /*thread*/, int64_t n) {
        forEachPosition(size, [&](const Dims3& p) {
            if (inside(0, p[0]) && inside(1, p[1]) && inside(2, p[2])) return;
            for (int64_t c = 0; c < desc_.in_channels; ++c)
                std::memset(elementAt(grad_input, n, c, p), 0, sizeOf(grad_input.data_type));
        });
    });
}

void OneDnnBackward::run(const CpuMaskUpdate& update, const TensorRef& input, const TensorRef& grad_output,
                         const Gradients& gradients) {
    const Call call{update, input, grad_output, gradients};
    const OneDnnThreads threads(device_.threads());
    if (gradients.bias != nullptr) sumGradBias(call);
    if (gradients.input != nullptr && !gradients.accumulate) zeroBeyondLive(*gradients.input);
    if (!any_live_) {
        if (gradients.weight != nullptr && !gradients.accumulate)
            std::memset(pointer<char>(*gradients.weight), 0,
                        static_cast<size_t>(groupWeights()) * sizeOf(desc_.data_type));
        return;
    }
    scaleByUpdatedMask(update);
    for (int64_t g = 0; g < separate_groups_; ++g) {
        if (gradients.input != nullptr) {
            loadGradOutput(call, g, data_.output);
            data_arguments_[DNNL_ARG_WEIGHTS] = packed_weights_[static_cast<size_t>(g)];
            execute(backward_data_, data_arguments_);
            storeGradInput(call, g);
        }
        if (gradients.weight != nullptr) {
            if (gradients.input == nullptr || weights_.output != data_.output)
                loadGradOutput(call, g, weights_.output);
            loadInput(call, g);
            execute(backward_weights_, weights_arguments_);
            storeGradWeight(call, g);
        }
    }
}

}  // namespace pconv::cpu
