#include "cpu/onednn/backward.h"

#include <algorithm>
#include <cstring>

#include "cpu/element.h"
#include "cpu/onednn/partial_conv.h"
#include "cpu/parallel.h"
#include "cpu/passes/half_rows.h"
#include "cpu/passes/mask_planes.h"

namespace pconv::cpu {

namespace {

constexpr int64_t kPartsForThread = 4;

Dims3 inputOf(const Box& box) {
    return {box.spans[0].input_size, box.spans[1].input_size, box.spans[2].input_size};
}

Dims3 outputOf(const Box& box) {
    return {box.spans[0].output_size, box.spans[1].output_size, box.spans[2].output_size};
}

}  // namespace

OneDnnBackward::OneDnnBackward(CpuDevice& device, const PartialConvDesc& desc,
                               const std::array<Span, 3>* live, const Staging& staging)
    : device_(device),
      desc_(desc),
      engine_(dnnl::engine::kind::cpu, 0),
      stream_(engine_),
      any_live_(live != nullptr),
      staging_(staging) {
    if (any_live_) live_ = *live;
    const OneDnnThreads threads(device.threads());
    if (any_live_) plan_ = planBackward(engine_, desc_, live_, device.threads());
    allocate();
    const int64_t channels = std::max(desc.in_channels, desc.out_channels);
    planes_.resize(static_cast<size_t>(channels * device.threads()));
}

void OneDnnBackward::allocate() {
    bias_parts_ = biasParts(desc_, device_.threads());
    const size_t bias_sums = static_cast<size_t>(bias_parts_ * desc_.out_channels) * sizeof(double);
    if (!any_live_) {
        if (bias_sums == 0) return;
        buffer_ = device_.allocate(bias_sums);
        bias_sums_ = static_cast<double*>(buffer_->hostPointer());
        return;
    }
    const BackwardSizes& sizes = plan_.sizes;
    buffer_ = device_.allocate(plan_.bytes());
    auto* at = static_cast<char*>(buffer_->hostPointer());
    const auto take = [&](size_t size) {
        char* taken = size > 0 ? at : nullptr;
        at += alignedSize(size);
        return taken;
    };
    input_ = reinterpret_cast<float*>(take(sizes.input));
    bias_sums_ = reinterpret_cast<double*>(input_);
    output_ = reinterpret_cast<float*>(take(sizes.output));
    shared_ = reinterpret_cast<float*>(take(sizes.shared));
    factors_ = reinterpret_cast<float*>(take(sizes.factors));
    plain_grad_weights_ = reinterpret_cast<float*>(take(sizes.plain_grad_weights));
    char* grad_weights = take(sizes.grad_weights);
    char* scratchpad = take(sizes.scratchpad);
    const dnnl::memory::desc packed = plan_.forms[0].data.desc.weights_desc();
    for (int64_t g = 0; g < plan_.separate_groups; ++g)
        packed_weights_.emplace_back(packed, engine_, take(sizes.packed_weights));
    pack_ = dnnl::reorder(dnnl::reorder::primitive_desc(engine_, userWeights(), engine_, packed));
    for (const BackwardForm& form : plan_.forms) addForm(form, grad_weights, scratchpad);
}

void OneDnnBackward::addForm(const BackwardForm& form, char* grad_weights, char* scratchpad) {
    const auto& data = form.data.desc;
    const auto& weights = form.weights.desc;
    const dnnl::memory::desc diff = weights.diff_weights_desc();
    Form next;
    next.data = dnnl::convolution_backward_data(data);
    next.weights = dnnl::convolution_backward_weights(weights);
    next.grad_weights = dnnl::memory(diff, engine_, grad_weights);
    next.data_arguments = {{DNNL_ARG_DIFF_SRC, dnnl::memory(data.diff_src_desc(), engine_, input_)},
                           {DNNL_ARG_DIFF_DST, dnnl::memory(data.diff_dst_desc(), engine_, output_)},
                           {DNNL_ARG_SCRATCHPAD, dnnl::memory(data.scratchpad_desc(), engine_, scratchpad)}};
    next.weights_arguments = {
        {DNNL_ARG_SRC, dnnl::memory(weights.src_desc(), engine_, input_)},
        {DNNL_ARG_DIFF_DST, dnnl::memory(weights.diff_dst_desc(), engine_, output_)},
        {DNNL_ARG_DIFF_WEIGHTS, next.grad_weights},
        {DNNL_ARG_SCRATCHPAD, dnnl::memory(weights.scratchpad_desc(), engine_, scratchpad)}};
    dnnl::primitive_attr adding;
    dnnl::post_ops sum;
    sum.append_sum(1.0F);
    adding.set_post_ops(sum);
    const dnnl::memory::desc user = userWeights();
    next.unpack = dnnl::reorder(dnnl::reorder::primitive_desc(engine_, diff, engine_, user));
    next.unpack_adding = dnnl::reorder(dnnl::reorder::primitive_desc(engine_, diff, engine_, user, adding));
    forms_.push_back(std::move(next));
}

dnnl::memory::desc OneDnnBackward::userWeights() const {
    return plainConvOf(desc_, plan_.separate_groups, plan_.parts[0].box).userWeights();
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
    for (int64_t g = 0; g < plan_.separate_groups; ++g) {
        const dnnl::memory from(userWeights(), engine_, const_cast<float*>(weights) + g * groupWeights());
        execute(pack_, {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, packed_weights_[static_cast<size_t>(g)]}});
    }
}

// Rows of a box, dealt out in parts: body(thread, n, d, first row, rows); one row at a time where they are
// not joined.
template <typename Body>
void OneDnnBackward::forEachRows(int64_t batch, const Dims3& box, bool joined, const Body& body) const {
    const int64_t wanted = kPartsForThread * device_.threads();
    const int64_t parts = std::clamp<int64_t>(wanted / (batch * box[0]), 1, box[1]);
    const int64_t part = (box[1] + parts - 1) / parts;
    const int64_t used = (box[1] + part - 1) / part;
    parallelFor(device_.threads(), batch * box[0] * used, [&](int thread, int64_t i) {
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

Dims3 inputAt(const Box& box, int64_t d, int64_t h) {
    return {box.spans[0].input_begin + d, box.spans[1].input_begin + h, box.spans[2].input_begin};
}

// Whether rows of a box follow each other in a tensor, and in the planes of a mask.
bool areJoined(const TensorRef& tensor, int64_t width, const CpuMaskUpdate* update) {
    bool joined = tensor.strides[3] == width * tensor.strides[4];
    if (update != nullptr)
        for (const TensorRef& view : update->planes()) joined = joined && view.strides[3] == width;
    return joined;
}

}  // namespace

void OneDnnBackward::loadInput(const Call& call, int64_t group, ScratchLayout layout, const Box& part) {
    const Dims3 box = inputOf(part);
    LoadRun run{};
    run.channel_stride = call.input.strides[1];
    run.pixel_stride = call.input.strides[4];
    run.channels = inChannels();
    run.mask = desc_.maskInput() ? desc_.mask_type : MaskType::none;
    run.block = blockOf(layout, run.channels);
    run.block_stride = volume(box) * run.block;
    const int64_t image = scratchSize(layout, run.channels, volume(box));
    const bool joined = areJoined(call.input, box[2], run.mask == MaskType::none ? nullptr : &call.update);
    forEachRows(part.batch_size, box, joined, [&](int thread, int64_t n, int64_t d, int64_t h, int64_t rows) {
        const Dims3 at = inputAt(part, d, h);
        LoadRun some = run;
        some.pixels = rows * box[2];
        some.scratch = input_ + n * image + (d * box[1] + h) * box[2] * run.block;
        n += part.batch_begin;
        pointAtMask(some, call, group, {n, at[0], at[1], at[2]}, planesOf(thread));
        loadTyped(some, planesOf(thread), call.input.data_type,
                  elementAt(call.input, n, group * inChannels(), at), staging_, thread);
    });
}

// Of what no later part adds to.
void OneDnnBackward::storeGradInput(const Call& call, int64_t group, const BackwardPart& part) {
    const ScratchLayout layout = plan_.forms[part.form].data.input;
    const Dims3 box = inputOf(part.box);
    Dims3 stored = box;
    stored[plan_.cut] -= part.shared;
    if (stored[plan_.cut] == 0) return;
    const TensorRef& gradient = *call.gradients.input;
    UnloadRun run{};
    run.block = blockOf(layout, inChannels());
    run.block_stride = volume(box) * run.block;
    run.mask = desc_.maskedConvolution() ? MaskType::none : desc_.mask_type;
    run.selects = desc_.input_is_masked;
    run.accumulate = call.gradients.accumulate;
    run.channel_stride = gradient.strides[1];
    run.pixel_stride = gradient.strides[4];
    run.channels = inChannels();
    const int64_t image = scratchSize(layout, run.channels, volume(box));
    const bool joined = stored[2] == box[2] &&
                        areJoined(gradient, box[2], run.mask == MaskType::none ? nullptr : &call.update);
    forEachRows(part.box.batch_size, stored, joined,
                [&](int thread, int64_t n, int64_t d, int64_t h, int64_t rows) {
                    const Dims3 at = inputAt(part.box, d, h);
                    UnloadRun some = run;
                    some.pixels = rows * stored[2];
                    some.scratch = input_ + n * image + (d * box[1] + h) * box[2] * run.block;
                    n += part.box.batch_begin;
                    pointAtMask(some, call, group, {n, at[0], at[1], at[2]}, planesOf(thread));
                    unloadTyped(some, planesOf(thread), gradient.data_type,
                                elementAt(gradient, n, group * inChannels(), at), staging_, thread);
                });
}

// dy times what the convolution's result was multiplied by, 0 where that is 0 whatever dy is.
void OneDnnBackward::loadGradOutput(const Call& call, int64_t group, ScratchLayout layout, const Box& part) {
    const Dims3 box = outputOf(part);
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
    forEachRows(part.batch_size, box, joined, [&](int thread, int64_t n, int64_t d, int64_t h, int64_t rows) {
        const auto& s = part.spans;
        const Dims3 at{s[0].output_begin + d, s[1].output_begin + h, s[2].output_begin};
        LoadRun some = run;
        some.pixels = rows * box[2];
        some.scratch = output_ + n * image + (d * box[1] + h) * box[2] * run.block;
        n += part.batch_begin;
        some.planes = planesOf(thread);
        if (factors != nullptr)
            for (int64_t c = 0; c < (run.one_plane ? 1 : run.channels); ++c) {
                const int64_t plane =
                    (form.batch == 1 ? 0 : n) * mask_groups + desc_.maskGroupOf(first_channel + c);
                planesOf(thread)[c] =
                    factors + ((plane * size[0] + at[0]) * size[1] + at[1]) * size[2] + at[2];
            }
        loadTyped(some, planesOf(thread), call.grad_output.data_type,
                  elementAt(call.grad_output, n, first_channel, at), staging_, thread);
    });
}

// Moves what lies together: move(gradients from input `first` of the cut dimension on, their place in what is
// kept, how many).
template <typename Move>
void OneDnnBackward::forEachShared(const BackwardPart& part, int64_t shared, int64_t first,
                                   const Move& move) {
    const Dims3 box = inputOf(part.box);
    const int64_t channels = inChannels();
    const int64_t block = blockOf(plan_.forms[part.form].data.input, channels);
    int64_t inner = block;
    for (size_t d = plan_.cut + 1; d < 3; ++d) inner *= box[d];
    const int64_t stride = inner * box[plan_.cut];
    const int64_t count =
        scratchSize(plan_.forms[part.form].data.input, channels, part.box.batch_size * volume(box)) / stride;
    parallelFor(device_.threads(), count, [&](int /*thread*/, int64_t i) {
        move(input_ + i * stride + first * inner, shared_ + i * shared * inner, shared * inner);
    });
}

void OneDnnBackward::addShared(const BackwardPart& before, const BackwardPart& part) {
    forEachShared(part, before.shared, 0, [](float* gradient, const float* kept, int64_t count) {
        for (int64_t i = 0; i < count; ++i) gradient[i] += kept[i];
    });
}

void OneDnnBackward::keepShared(const BackwardPart& part) {
    const int64_t first = part.box.spans[plan_.cut].input_size - part.shared;
    forEachShared(part, part.shared, first, [](const float* gradient, float* kept, int64_t count) {
        std::copy_n(gradient, count, kept);
    });
}

// Into the tensor, or f32 where that has 16 bits.
void OneDnnBackward::addGradWeight(const Call& call, int64_t group, Form& form, bool first) {
    const TensorRef& gradient = *call.gradients.weight;
    const bool is_half = gradient.data_type != DataType::f32;
    float* plain = is_half ? plain_grad_weights_ : pointer<float>(gradient) + group * groupWeights();
    const bool replaces = first && (is_half || !call.gradients.accumulate);
    const dnnl::memory to(userWeights(), engine_, plain);
    execute(replaces ? form.unpack : form.unpack_adding,
            {{DNNL_ARG_FROM, form.grad_weights}, {DNNL_ARG_TO, to}});
}

void OneDnnBackward::narrowGradWeight(const Call& call, int64_t group) {
    const TensorRef& gradient = *call.gradients.weight;
    if (gradient.data_type == DataType::f32) return;
    const int64_t first = group * groupWeights();
    float* plain = plain_grad_weights_;
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
    if (any_live_ && inputOf({0, desc_.batch, live_}) == size) return;
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
    for (int64_t g = 0; g < plan_.separate_groups; ++g) {
        for (size_t i = 0; i < plan_.parts.size(); ++i) runPart(call, g, i);
        if (gradients.weight != nullptr) narrowGradWeight(call, g);
    }
}

void OneDnnBackward::runPart(const Call& call, int64_t group, size_t index) {
    const BackwardPart& part = plan_.parts[index];
    const BackwardForm& form = plan_.forms[part.form];
    Form& primitives = forms_[part.form];
    if (call.gradients.input != nullptr) {
        loadGradOutput(call, group, form.data.output, part.box);
        primitives.data_arguments[DNNL_ARG_WEIGHTS] = packed_weights_[static_cast<size_t>(group)];
        execute(primitives.data, primitives.data_arguments);
        if (index > 0 && plan_.parts[index - 1].shared > 0) addShared(plan_.parts[index - 1], part);
        if (part.shared > 0) keepShared(part);
        storeGradInput(call, group, part);
    }
    if (call.gradients.weight != nullptr) {
        if (call.gradients.input == nullptr || form.weights.output != form.data.output)
            loadGradOutput(call, group, form.weights.output, part.box);
        loadInput(call, group, form.weights.input, part.box);
        execute(primitives.weights, primitives.weights_arguments);
        addGradWeight(call, group, primitives, index == 0);
    }
}

}  // namespace pconv::cpu
