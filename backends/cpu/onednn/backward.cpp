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

constexpr int64_t kPiecesForThread = 4;

Dims3 inputSize(const Box& box) {
    return {box.spans[0].input_size, box.spans[1].input_size, box.spans[2].input_size};
}

Dims3 outputSize(const Box& box) {
    return {box.spans[0].output_size, box.spans[1].output_size, box.spans[2].output_size};
}

}  // namespace

OneDnnBackward::OneDnnBackward(CpuDevice& device, const PartialConvDesc& desc,
                               const std::array<Span, 3>* live, const Staging& staging)
    : device_(device),
      desc_(desc),
      engine_(dnnl::engine::kind::cpu, 0),
      any_live_(live != nullptr),
      staging_(staging) {
    if (any_live_) live_ = *live;
    const OneThread one;
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
    const auto take = [&](size_t size, int64_t count = 1) {
        char* taken = size > 0 ? at : nullptr;
        at += alignedSize(size) * static_cast<size_t>(count);
        return taken;
    };
    input_ = reinterpret_cast<float*>(take(plan_.inputBytes()));
    bias_sums_ = reinterpret_cast<double*>(input_);
    output_ = reinterpret_cast<float*>(take(sizes.output, plan_.wave));
    shared_ = reinterpret_cast<float*>(take(sizes.shared, plan_.slices));
    factors_ = reinterpret_cast<float*>(take(sizes.factors));
    plain_grad_weights_ = reinterpret_cast<float*>(take(sizes.plain_grad_weights));
    grad_weights_ = take(sizes.grad_weights, plan_.units());
    scratchpad_ = take(sizes.scratchpad, plan_.units());
    const dnnl::memory::desc packed = plan_.forms[0].data.desc.weights_desc();
    for (int64_t i = 0; i < plan_.separate_groups * plan_.slices; ++i)
        packed_weights_.emplace_back(packed, engine_, take(sizes.packed_weights));
    pack_ = Reorder(engine_, userWeights(), packed);
    for (const BackwardForm& form : plan_.forms) addForm(form);
}

void OneDnnBackward::addForm(const BackwardForm& form) {
    const auto& data = form.data.desc;
    const auto& weights = form.weights.desc;
    const dnnl::memory::desc diff = weights.diff_weights_desc();
    Form next;
    next.data = dnnl::convolution_backward_data(data);
    next.weights = dnnl::convolution_backward_weights(weights);
    for (int64_t i = 0; i < plan_.units(); ++i) {
        const Unit unit{i / plan_.slices, i % plan_.slices};
        char* pad = scratchpad_ == nullptr
                        ? nullptr
                        : scratchpad_ + static_cast<size_t>(i) * alignedSize(plan_.sizes.scratchpad);
        char* grad_weights = grad_weights_ + static_cast<size_t>(i) * alignedSize(plan_.sizes.grad_weights);
        const auto memory = [&](const dnnl::memory::desc& desc, void* at) {
            return dnnl::memory(desc, engine_, at);
        };
        next.data_arguments.push_back({{DNNL_ARG_DIFF_SRC, memory(data.diff_src_desc(), inputOf(unit))},
                                       {DNNL_ARG_DIFF_DST, memory(data.diff_dst_desc(), outputOf(unit.part))},
                                       {DNNL_ARG_SCRATCHPAD, memory(data.scratchpad_desc(), pad)}});
        next.weights_arguments.push_back(
            {{DNNL_ARG_SRC, memory(weights.src_desc(), inputOf(unit))},
             {DNNL_ARG_DIFF_DST, memory(weights.diff_dst_desc(), outputOf(unit.part))},
             {DNNL_ARG_DIFF_WEIGHTS, memory(diff, grad_weights)},
             {DNNL_ARG_SCRATCHPAD, memory(weights.scratchpad_desc(), pad)}});
    }
    dnnl::primitive_attr adding;
    dnnl::post_ops sum;
    sum.append_sum(1.0F);
    adding.set_post_ops(sum);
    const dnnl::memory::desc user = userWeights();
    next.unpack = Reorder(engine_, diff, user);
    next.unpack_adding = Reorder(engine_, diff, user, adding);
    forms_.push_back(std::move(next));
}

// Of a slice, within the weights of a group.
dnnl::memory::desc OneDnnBackward::userWeights() const {
    const PlainConv conv = plainConvOf(desc_, plan_.separate_groups, plan_.slices, plan_.parts[0].box);
    if (plan_.slices == 1) return conv.userWeights();
    const dnnl::memory::dims dims = conv.weightDims();
    dnnl::memory::dims strides(dims.size(), 1);
    for (size_t i = dims.size() - 1; i > 0; --i) strides[i - 1] = strides[i] * dims[i];
    strides[0] *= plan_.slices;
    return {dims, dnnl::memory::data_type::f32, strides};
}

void OneDnnBackward::setWeights(const float* weights) {
    if (!any_live_) return;
    parallelFor(
        device_.threads(), static_cast<int64_t>(packed_weights_.size()), [&](int /*thread*/, int64_t i) {
            const float* slice = weights + i / plan_.slices * groupWeights() + sliceOffset(i % plan_.slices);
            const dnnl::memory from(userWeights(), engine_, const_cast<float*>(slice));
            pack_.run(engine_, from, packed_weights_[static_cast<size_t>(i)]);
        });
}

// The mask of the input of a run that begins at [n, d, h, w].
template <typename Run>
void OneDnnBackward::pointAtMask(Run& run, const Call& call, int64_t first_channel,
                                 const std::array<int64_t, 4>& at, const void** planes) const {
    const MaskForm& form = call.update.form();
    run.planes = planes;
    run.one_plane = hasOnePlane(desc_, form);
    run.hole_is_one = form.hole_is_one;
    if (run.mask == MaskType::none) return;
    pointAtPlanes(call.update, run.one_plane, first_channel, run.one_plane ? 1 : run.channels,
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

// Rows of a box: body(n, d, first row, rows); one row at a time where they are not joined.
template <typename Body>
void forEachRows(int64_t batch, const Dims3& box, bool joined, const Body& body) {
    for (int64_t i = 0; i < batch * box[0]; ++i)
        for (int64_t h = 0; h < box[1]; h += joined ? box[1] : 1)
            body(i / box[0], i % box[0], h, joined ? box[1] : 1);
}

void OneDnnBackward::loadInput(const Call& call, const Wave& wave, Unit unit, int thread) {
    const BackwardPart& part = partOf(wave, unit.part);
    const ScratchLayout layout = plan_.forms[part.form].weights.input;
    const Dims3 box = inputSize(part.box);
    const int64_t first_channel = firstChannel(wave, unit);
    LoadRun run{};
    run.channel_stride = call.input.strides[1];
    run.pixel_stride = call.input.strides[4];
    run.channels = inChannels();
    run.mask = desc_.maskInput() ? desc_.mask_type : MaskType::none;
    run.block = blockOf(layout, run.channels);
    run.block_stride = volume(box) * run.block;
    const int64_t image = scratchSize(layout, run.channels, volume(box));
    const bool joined = areJoined(call.input, box[2], run.mask == MaskType::none ? nullptr : &call.update);
    forEachRows(part.box.batch_size, box, joined, [&](int64_t n, int64_t d, int64_t h, int64_t rows) {
        const Dims3 at = inputAt(part.box, d, h);
        run.pixels = rows * box[2];
        run.scratch = inputOf(unit) + n * image + (d * box[1] + h) * box[2] * run.block;
        n += part.box.batch_begin;
        pointAtMask(run, call, first_channel, {n, at[0], at[1], at[2]}, planesOf(thread));
        loadTyped(run, planesOf(thread), call.input.data_type, elementAt(call.input, n, first_channel, at),
                  staging_, thread);
    });
}

// Of what no later part adds to.
void OneDnnBackward::storeGradInput(const Call& call, const Wave& wave, Unit unit, int thread) {
    const BackwardPart& part = partOf(wave, unit.part);
    const ScratchLayout layout = plan_.forms[part.form].data.input;
    const Dims3 box = inputSize(part.box);
    Dims3 stored = box;
    stored[plan_.cut] -= part.shared;
    if (stored[plan_.cut] == 0) return;
    const TensorRef& gradient = *call.gradients.input;
    const int64_t first_channel = firstChannel(wave, unit);
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
    forEachRows(part.box.batch_size, stored, joined, [&](int64_t n, int64_t d, int64_t h, int64_t rows) {
        const Dims3 at = inputAt(part.box, d, h);
        run.pixels = rows * stored[2];
        run.scratch = inputOf(unit) + n * image + (d * box[1] + h) * box[2] * run.block;
        n += part.box.batch_begin;
        pointAtMask(run, call, first_channel, {n, at[0], at[1], at[2]}, planesOf(thread));
        unloadTyped(run, planesOf(thread), gradient.data_type, elementAt(gradient, n, first_channel, at),
                    staging_, thread);
    });
}

// dy times what the convolution's result was multiplied by, 0 where that is 0 whatever dy is. Rows of all
// parts are dealt out, a few times as many pieces as there are threads.
void OneDnnBackward::loadGradOutput(const Call& call, const Wave& wave, bool for_weights) {
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
    const int64_t first_channel = wave.group * outChannels();
    run.one_plane = desc_.maskGroupOf(first_channel) == desc_.maskGroupOf(first_channel + run.channels - 1);
    const auto pieces =
        std::max<int64_t>(1, kPiecesForThread * device_.threads() / static_cast<int64_t>(wave.count));
    parallelFor(device_.threads(), static_cast<int64_t>(wave.count) * pieces, [&](int thread, int64_t i) {
        const BackwardPart& part = partOf(wave, i / pieces);
        const BackwardForm& part_form = plan_.forms[part.form];
        const ScratchLayout layout = for_weights ? part_form.weights.output : part_form.data.output;
        if (for_weights && call.gradients.input != nullptr && layout == part_form.data.output) return;
        const Dims3 box = outputSize(part.box);
        LoadRun some = run;
        some.block = blockOf(layout, run.channels);
        some.block_stride = volume(box) * some.block;
        some.planes = planesOf(thread);
        const int64_t image = scratchSize(layout, run.channels, volume(box));
        const bool joined = areJoined(call.grad_output, box[2], nullptr) && box[2] == size[2];
        const int64_t rows = part.box.batch_size * box[0] * box[1];
        const int64_t end = rows * (i % pieces + 1) / pieces;
        int64_t together = 1;
        for (int64_t row = rows * (i % pieces) / pieces; row < end; row += together) {
            const auto& s = part.box.spans;
            const int64_t n = part.box.batch_begin + row / box[1] / box[0];
            const int64_t h = row % box[1];
            const Dims3 at{s[0].output_begin + row / box[1] % box[0], s[1].output_begin + h,
                           s[2].output_begin};
            together = joined ? std::min(end - row, box[1] - h) : 1;
            some.pixels = together * box[2];
            some.scratch = outputOf(i / pieces) + (n - part.box.batch_begin) * image +
                           row % (box[0] * box[1]) * box[2] * some.block;
            if (factors != nullptr)
                for (int64_t c = 0; c < (run.one_plane ? 1 : run.channels); ++c) {
                    const int64_t plane =
                        (form.batch == 1 ? 0 : n) * mask_groups + desc_.maskGroupOf(first_channel + c);
                    planesOf(thread)[c] =
                        factors + ((plane * size[0] + at[0]) * size[1] + at[1]) * size[2] + at[2];
                }
            loadTyped(some, planesOf(thread), call.grad_output.data_type,
                      elementAt(call.grad_output, n, first_channel, at), staging_, thread);
        }
    });
}

// Adds what a part and the next one both have to the next one's, from part to part, and keeps the last one's.
void OneDnnBackward::addShared(const Wave& wave) {
    const BackwardPart& last = partOf(wave, static_cast<int64_t>(wave.count) - 1);
    const ScratchLayout layout = plan_.forms[last.form].data.input;
    const Dims3 box = inputSize(last.box);
    // What lies together: a piece of each of these many has inputs of the cut dimension, `inner` apart.
    int64_t inner = blockOf(layout, inChannels());
    for (size_t d = plan_.cut + 1; d < 3; ++d) inner *= box[d];
    const int64_t count =
        scratchSize(layout, inChannels(), last.box.batch_size * volume(box)) / inner / box[plan_.cut];
    // Each piece has a place of its own among what is kept, however much of it a part shares.
    int64_t most_shared = 0;
    for (const BackwardPart& part : plan_.parts) most_shared = std::max(most_shared, part.shared);
    parallelFor(device_.threads(), plan_.slices * count, [&](int /*thread*/, int64_t i) {
        const int64_t slice = i / count;
        float* kept = shared_ + static_cast<size_t>(slice) * alignedSize(plan_.sizes.shared) / sizeof(float);
        const auto pieceOf = [&](int64_t part) {
            return inputOf({part, slice}) +
                   i % count * inner * partOf(wave, part).box.spans[plan_.cut].input_size;
        };
        float* const kept_piece = kept + i % count * inner * most_shared;
        const auto endOf = [&](int64_t part) {
            const BackwardPart& p = partOf(wave, part);
            return pieceOf(part) + (p.box.spans[plan_.cut].input_size - p.shared) * inner;
        };
        for (int64_t part = 0; part < static_cast<int64_t>(wave.count); ++part) {
            if (wave.first == 0 && part == 0) continue;
            const int64_t shared = plan_.parts[wave.first + static_cast<size_t>(part) - 1].shared;
            const float* from = part > 0 ? endOf(part - 1) : kept_piece;
            float* to = pieceOf(part);
            for (int64_t j = 0; j < shared * inner; ++j) to[j] += from[j];
        }
        std::copy_n(endOf(static_cast<int64_t>(wave.count) - 1), last.shared * inner, kept_piece);
    });
}

// Into the tensor, or f32 where that has 16 bits.
void OneDnnBackward::addGradWeights(const Call& call, const Wave& wave, int64_t slice) const {
    const TensorRef& gradient = *call.gradients.weight;
    const bool is_half = gradient.data_type != DataType::f32;
    float* plain = is_half ? plain_grad_weights_ : pointer<float>(gradient) + wave.group * groupWeights();
    const dnnl::memory to(userWeights(), engine_, plain + sliceOffset(slice));
    for (int64_t part = 0; part < static_cast<int64_t>(wave.count); ++part) {
        const Form& form = forms_[partOf(wave, part).form];
        const bool replaces = wave.first == 0 && part == 0 && (is_half || !call.gradients.accumulate);
        const Arguments& made = form.weights_arguments[indexOf({part, slice})];
        (replaces ? form.unpack : form.unpack_adding).run(engine_, made.at(DNNL_ARG_DIFF_WEIGHTS), to);
    }
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
    if (any_live_ && inputSize({0, desc_.batch, live_}) == size) return;
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
    if (gradients.bias != nullptr) sumGradBias(call);
    if (gradients.input != nullptr && !gradients.accumulate) zeroBeyondLive(*gradients.input);
    if (!any_live_) {
        if (gradients.weight != nullptr && !gradients.accumulate)
            std::memset(pointer<char>(*gradients.weight), 0,
                        static_cast<size_t>(groupWeights()) * sizeOf(desc_.data_type));
        return;
    }
    scaleByUpdatedMask(update);
    const auto most = static_cast<size_t>(plan_.wave);
    for (int64_t g = 0; g < plan_.separate_groups; ++g) {
        for (size_t i = 0; i < plan_.parts.size(); i += most)
            runWave(call, {g, i, std::min(most, plan_.parts.size() - i)});
        if (gradients.weight != nullptr) narrowGradWeight(call, g);
    }
}

// body(thread, unit) for all, each on one thread.
template <typename Body>
void OneDnnBackward::forEachUnit(const Wave& wave, const Body& body) {
    parallelFor(device_.threads(), static_cast<int64_t>(wave.count) * plan_.slices,
                [&](int thread, int64_t i) {
                    body(thread, Unit{i / plan_.slices, i % plan_.slices});
                });
}

void OneDnnBackward::runWave(const Call& call, const Wave& wave) {
    const auto formOf = [&](Unit unit) -> Form& { return forms_[partOf(wave, unit.part).form]; };
    if (call.gradients.input != nullptr) {
        loadGradOutput(call, wave, false);
        forEachUnit(wave, [&](int /*thread*/, Unit unit) {
            const Form& form = formOf(unit);
            Arguments arguments = form.data_arguments[indexOf(unit)];
            arguments[DNNL_ARG_WEIGHTS] =
                packed_weights_[static_cast<size_t>(wave.group * plan_.slices + unit.slice)];
            runAlone(engine_, form.data, arguments);
        });
        if (shared_ != nullptr) addShared(wave);
    }
    if (call.gradients.weight != nullptr) loadGradOutput(call, wave, true);
    forEachUnit(wave, [&](int thread, Unit unit) {
        if (call.gradients.input != nullptr) storeGradInput(call, wave, unit, thread);
        if (call.gradients.weight == nullptr) return;
        loadInput(call, wave, unit, thread);
        runAlone(engine_, formOf(unit).weights, formOf(unit).weights_arguments[indexOf(unit)]);
    });
    if (call.gradients.weight == nullptr) return;
    parallelFor(device_.threads(), plan_.slices,
                [&](int /*thread*/, int64_t slice) { addGradWeights(call, wave, slice); });
}

}  // namespace pconv::cpu
