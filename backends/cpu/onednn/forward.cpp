// The forward pass of cpu:onednn.
#include <algorithm>
#include <cstring>

#include "cpu/element.h"
#include "cpu/onednn/partial_conv.h"
#include "cpu/parallel.h"
#include "cpu/passes/mask_planes.h"
#include "cpu/passes/passes.h"

namespace pconv::cpu {

namespace {

// Winograd rounds relative to all of a tile. Windows with less of the input than this part of one pixel's
// channels may lie in a tile of much larger values, and their ratio lifts the error: they are convolved
// directly.
constexpr float kLeastForWinograd = 0.5F;

// Estimates err: fine boxes are taken where they cost less than this part of the large ones.
constexpr double kFineGain = 0.7;

// Whether a box of a channels-last tensor is laid out as oneDNN's scratch is.
bool isDense(const std::array<int64_t, 5>& strides, int64_t channels, const Dims3& tensor, const Dims3& box,
             int64_t batch) {
    int64_t expected = channels;
    if (strides[1] != 1 || strides[4] != expected) return false;
    expected *= box[2];
    if (box[1] > 1 && strides[3] != expected) return false;
    expected *= box[1];
    if (box[0] > 1 && strides[2] != expected) return false;
    expected *= box[0];
    return box[2] == tensor[2] && (batch == 1 || strides[0] == expected);
}

bool isAligned(const void* pointer) {
    return reinterpret_cast<uintptr_t>(pointer) % kAlignment == 0;
}

}  // namespace

// What the convolution of the box reads for the output channels from `channel` on.
void OneDnnPartialConv::loadInput(Worker& worker, const ForwardCall& call, const Box& box,
                                  int64_t channel) const {
    const int64_t height = box.spans[1].input_size;
    const int64_t width = box.spans[2].input_size;
    const int64_t block = blockOf(input_layout_, inChannels());
    const int64_t padded = (inChannels() + block - 1) / block * block;
    const int64_t first_channel = separate_groups_ > 1 ? channel / outChannels(box) * inChannels() : 0;
    const auto& strides = call.input.strides;

    LoadRun run{};
    run.channel_stride = strides[1];
    run.pixel_stride = strides[4];
    run.channels = inChannels();
    run.mask = call.mask;
    run.planes = worker.planes.data();
    run.one_plane = call.one_plane;
    run.hole_is_one = call.update.form().hole_is_one;
    run.block = block;
    run.block_stride = box.inputPixels() * block;
    // Rows that follow each other in memory are one run.
    bool joined = strides[3] == width * strides[4];
    if (call.mask != MaskType::none)
        for (const TensorRef& planes_view : call.update.planes())
            joined = joined && planes_view.strides[3] == width;
    run.pixels = joined ? height * width : width;
    for (int64_t row = 0; row < box.batch_size * box.spans[0].input_size * height;
         row += joined ? height : 1) {
        const int64_t n = row / height / box.spans[0].input_size;
        const int64_t batch = box.batch_begin + n;
        const Dims3 at{box.spans[0].input_begin + row / height % box.spans[0].input_size,
                       box.spans[1].input_begin + row % height, box.spans[2].input_begin};
        const int64_t pixel = row * width - n * box.inputPixels();
        run.scratch = worker.input + n * padded * box.inputPixels() + pixel * block;
        if (call.mask != MaskType::none)
            pointAtPlanes(call.update, call.one_plane, first_channel, call.one_plane ? 1 : run.channels,
                          {call.update.form().batch == 1 ? 0 : batch, at[0], at[1], at[2]},
                          worker.planes.data());
        loadTyped(run, worker.planes.data(), call.input.data_type,
                  elementAt(call.input, batch, first_channel, at), staging_, worker.thread);
    }
}

// The output channels from `channel` on.
void OneDnnPartialConv::storeOutput(const Worker& worker, const ForwardCall& call, const Box& box,
                                    int64_t channel, int64_t channels, const float* scratch_begin) const {
    const Dims3& size = desc_.window.output;
    const int64_t height = box.spans[1].output_size;
    const int64_t width = box.spans[2].output_size;
    const int64_t block = blockOf(output_layout_, channels);
    const int64_t padded = (channels + block - 1) / block * block;
    const auto& strides = call.output.strides;
    const MaskPlanes& mask = call.update.results();

    StoreRun run{};
    run.block = block;
    run.block_stride = box.outputPixels() * block;
    run.group_stride = volume(size);
    run.group_channels = desc_.out_channels / desc_.maskGroups();
    run.bias = bias_.empty() ? nullptr : bias_.data() + channel;
    run.activation = desc_.activation;
    run.negative_slope = desc_.negative_slope;
    run.channel_stride = strides[1];
    run.pixel_stride = strides[4];
    run.channels = channels;
    const bool joined = width == size[2] && strides[3] == width * strides[4];
    run.pixels = joined ? height * width : width;
    const int64_t mask_group = desc_.maskGroupOf(channel);
    for (int64_t row = 0; row < box.batch_size * box.spans[0].output_size * height;
         row += joined ? height : 1) {
        const int64_t n = row / height / box.spans[0].output_size;
        const int64_t batch = box.batch_begin + n;
        const Dims3 at{box.spans[0].output_begin + row / height % box.spans[0].output_size,
                       box.spans[1].output_begin + row % height, box.spans[2].output_begin};
        const int64_t pixel = row * width - n * box.outputPixels();
        run.scratch = scratch_begin + n * padded * box.outputPixels() + pixel * block;
        const int64_t mask_batch = call.update.form().batch == 1 ? 0 : batch;
        const int64_t place =
            ((mask_batch * desc_.maskGroups() + mask_group) * size[0] + at[0]) * size[1] + at[1];
        if (!desc_.maskedConvolution()) run.ratio = pointer<float>(mask.ratio) + place * size[2] + at[2];
        if (mask.updated_mask.data_type == DataType::f32)
            run.updated_mask = pointer<float>(mask.updated_mask) + place * size[2] + at[2];
        storeTyped(run, call.output.data_type, elementAt(call.output, batch, channel, at), staging_,
                   worker.thread);
    }
}

// Whether test(row of the plane, its size) holds for any row of a plane of the mask's results under the box.
template <typename Test>
bool OneDnnPartialConv::anyRow(const ForwardCall& call, const Box& box, const TensorRef& results,
                               const Test& test) const {
    const Dims3& size = desc_.window.output;
    const int64_t groups = desc_.maskGroups();
    const bool one_batch = call.update.form().batch == 1;
    const int64_t first = one_batch ? 0 : box.batch_begin * groups;
    const int64_t planes = (one_batch ? 1 : box.batch_size) * groups;
    for (int64_t plane = first; plane < first + planes; ++plane)
        for (int64_t d = 0; d < box.spans[0].output_size; ++d)
            for (int64_t h = 0; h < box.spans[1].output_size; ++h) {
                const int64_t row = (plane * size[0] + box.spans[0].output_begin + d) * size[1] +
                                    box.spans[1].output_begin + h;
                if (test(pointer<float>(results) + row * size[2] + box.spans[2].output_begin,
                         box.spans[2].output_size))
                    return true;
            }
    return false;
}

bool OneDnnPartialConv::allHoles(const ForwardCall& call, const Box& box) const {
    const MaskPlanes& results = call.update.results();
    if (desc_.maskedConvolution() && desc_.mask_type == MaskType::none) return false;
    const TensorRef& scale = desc_.maskedConvolution() ? results.updated_mask : results.ratio;
    // Without a way out of the loop over a row, which then is one of vectors.
    return !anyRow(call, box, scale, [](const float* row, int64_t size) {
        int valid = 0;
        for (int64_t i = 0; i < size; ++i) valid |= row[i] != 0 ? 1 : 0;
        return valid != 0;
    });
}

bool OneDnnPartialConv::anySparse(const ForwardCall& call, const Box& box) const {
    const float least = kLeastForWinograd * static_cast<float>(desc_.countedChannels());
    return anyRow(call, box, call.update.results().window_sum, [&](const float* sum, int64_t size) {
        int sparse = 0;
        for (int64_t i = 0; i < size; ++i) sparse += sum[i] > 0 && sum[i] < least ? 1 : 0;
        return sparse > 0;
    });
}

size_t OneDnnPartialConv::formFor(const ForwardCall& call, const Box& box, size_t form) const {
    if (forms_[form].direct == form || desc_.maskedConvolution()) return form;
    return anySparse(call, box) ? forms_[form].direct : form;
}

// Whether the mask's holes leave so many of the fine boxes out that the others cost less than the large ones.
bool OneDnnPartialConv::finePays(const ForwardCall& call) {
    if (plan_.fine.empty()) return false;
    const auto threads = static_cast<double>(device_.threads());
    const double all = plan_.box_cost * static_cast<double>(plan_.boxes.size()) / threads;
    for (size_t i = 0; i < plan_.fine.size(); ++i) fine_holes_[i] = allHoles(call, plan_.fine[i]) ? 1 : 0;
    const auto left = std::count(fine_holes_.begin(), fine_holes_.end(), 0);
    const double fine = static_cast<double>(left) * plan_.fine_cost / threads;
    if (fine >= kFineGain * all) return false;
    const auto large = std::count_if(plan_.boxes.begin(), plan_.boxes.end(),
                                     [&](const Box& box) { return !allHoles(call, box); });
    return fine < kFineGain * plan_.box_cost * static_cast<double>(large) / threads;
}

void OneDnnPartialConv::runFine(const ForwardCall& call) {
    parallelFor(device_.threads(), static_cast<int64_t>(plan_.fine.size()), [&](int thread, int64_t i) {
        const auto index = static_cast<size_t>(i);
        const Box& box = plan_.fine[index];
        if (fine_holes_[index] != 0) return zeroBox(call, box);
        runBox(fine_workers_[static_cast<size_t>(thread)], call, box, form_of_fine_[index]);
    });
}

void OneDnnPartialConv::zeroRow(const ForwardCall& call, const Box& box, int64_t n, int64_t d,
                                int64_t h) const {
    const int64_t channels = box.channel_size;
    const int64_t begin = box.spans[2].output_begin;
    const int64_t end = begin + box.spans[2].output_size;
    const auto& strides = call.output.strides;
    char* row = elementAt(call.output, n, box.channel_begin, {d, h, 0});
    const auto unit = static_cast<int64_t>(sizeOf(call.output.data_type));
    const auto zero = [&](int64_t at, int64_t count) {
        std::memset(row + at * unit, 0, static_cast<size_t>(count * unit));
    };
    if (strides[4] == 1) {
        for (int64_t c = 0; c < channels; ++c) zero(c * strides[1] + begin, end - begin);
        return;
    }
    for (int64_t w = begin; w < end; ++w) {
        if (strides[1] == 1) {
            zero(w * strides[4], channels);
            continue;
        }
        for (int64_t c = 0; c < channels; ++c) zero(w * strides[4] + c * strides[1], 1);
    }
}

void OneDnnPartialConv::finishMargin(const ForwardCall& call, int64_t n, int64_t d, int64_t h, int64_t begin,
                                     int64_t end) const {
    if (margin_.empty()) {
        Box row{};
        row.channel_size = desc_.out_channels;
        row.spans[2].output_begin = begin;
        row.spans[2].output_size = end - begin;
        return zeroRow(call, row, n, d, h);
    }
    for (int64_t c = 0; c < desc_.out_channels; ++c)
        for (int64_t w = begin; w < end; ++w)
            store(call.output, elementIndex(call.output, n, c, {d, h, w}),
                  static_cast<double>(margin_[static_cast<size_t>(c)]));
}

void OneDnnPartialConv::zeroBox(const ForwardCall& call, const Box& box) const {
    const auto& s = box.spans;
    for (int64_t n = 0; n < box.batch_size; ++n)
        for (int64_t d = 0; d < s[0].output_size; ++d)
            for (int64_t h = 0; h < s[1].output_size; ++h)
                zeroRow(call, box, box.batch_begin + n, s[0].output_begin + d, s[1].output_begin + h);
}

// The outputs that no box covers.
void OneDnnPartialConv::finishMargins(const ForwardCall& call, int64_t n) const {
    const Dims3& size = desc_.window.output;
    const auto inside = [](const Span& span, int64_t at) {
        return at >= span.output_begin && at < span.output_begin + span.output_size;
    };
    const Span& width = plan_.live[2];
    for (int64_t d = 0; d < size[0]; ++d)
        for (int64_t h = 0; h < size[1]; ++h) {
            if (plan_.any_live && inside(plan_.live[0], d) && inside(plan_.live[1], h)) {
                finishMargin(call, n, d, h, 0, width.output_begin);
                finishMargin(call, n, d, h, width.output_begin + width.output_size, size[2]);
            } else {
                finishMargin(call, n, d, h, 0, size[2]);
            }
        }
}

// Whether a mask of one binary plane has no hole over the box's input.
bool OneDnnPartialConv::allValid(const ForwardCall& call, const Box& box) const {
    if (call.mask == MaskType::none) return true;
    if (call.mask != MaskType::binary || !call.one_plane) return false;
    const TensorRef& plane = call.update.planes()[0];
    const bool hole_is_one = call.update.form().hole_is_one;
    const auto& s = box.spans;
    for (int64_t n = 0; n < (call.update.form().batch == 1 ? 1 : box.batch_size); ++n)
        for (int64_t d = 0; d < s[0].input_size; ++d)
            for (int64_t h = 0; h < s[1].input_size; ++h) {
                const int64_t batch = call.update.form().batch == 1 ? 0 : box.batch_begin + n;
                const auto* row = pointer<uint8_t>(plane) + batch * plane.strides[0] +
                                  (s[0].input_begin + d) * plane.strides[2] +
                                  (s[1].input_begin + h) * plane.strides[3] + s[2].input_begin;
                const auto width = static_cast<size_t>(s[2].input_size);
                const bool valid = hole_is_one
                                       ? std::all_of(row, row + width, [](uint8_t m) { return m == 0; })
                                       : std::memchr(row, 0, width) == nullptr;
                if (!valid) return false;
            }
    return true;
}

bool OneDnnPartialConv::readsInputInPlace(const ForwardCall& call, const Box& box) const {
    const auto& s = box.spans;
    return desc_.data_type == DataType::f32 && input_layout_ == ScratchLayout::channels_last &&
           separate_groups_ == 1 &&
           isDense(call.input.strides, desc_.in_channels, desc_.window.input,
                   {s[0].input_size, s[1].input_size, s[2].input_size}, box.batch_size) &&
           allValid(call, box);
}

bool OneDnnPartialConv::writesOutputInPlace(const ForwardCall& call, const Box& box) const {
    const auto& s = box.spans;
    return desc_.data_type == DataType::f32 && output_layout_ == ScratchLayout::channels_last &&
           separate_groups_ == 1 && box.channel_size == desc_.out_channels &&
           isDense(call.output.strides, desc_.out_channels, desc_.window.output,
                   {s[0].output_size, s[1].output_size, s[2].output_size}, box.batch_size);
}

void OneDnnPartialConv::execute(Worker& worker, size_t form, int64_t channel, float* input,
                                float* output) const {
    Worker::Arguments& arguments = worker.arguments[form];
    if (arguments.input.get_data_handle() != input) arguments.input.set_data_handle(input);
    if (arguments.output.get_data_handle() != output) arguments.output.set_data_handle(output);
    arguments.all[DNNL_ARG_WEIGHTS] = packings_[forms_[form].weights].of(channel);
    try {
        forms_[form].convolution.execute(worker.stream, arguments.all);
        worker.stream.wait();
    } catch (const dnnl::error& error) {
        failFrom(error);
    }
}

void OneDnnPartialConv::runBox(Worker& worker, const ForwardCall& call, const Box& box,
                               size_t usual_form) const {
    const size_t form = formFor(call, box, usual_form);
    float* input = worker.input;
    float* output = worker.output;
    const auto& in = call.input;
    const auto& out = call.output;
    if (readsInputInPlace(call, box)) {
        float* at = pointer<float>(in) + box.batch_begin * in.strides[0] +
                    box.spans[0].input_begin * in.strides[2] + box.spans[1].input_begin * in.strides[3];
        if (isAligned(at)) input = at;
    }
    if (writesOutputInPlace(call, box)) {
        float* at = pointer<float>(out) + box.batch_begin * out.strides[0] +
                    box.spans[0].output_begin * out.strides[2] + box.spans[1].output_begin * out.strides[3];
        if (isAligned(at)) output = at;
    }
    const OneThread one;
    const int64_t channels = outChannels(box);
    for (int64_t c = box.channel_begin; c < box.channel_begin + box.channel_size; c += channels) {
        if (input == worker.input) loadInput(worker, call, box, c);
        execute(worker, form, c, input, output);
        storeOutput(worker, call, box, c, channels, output);
    }
}

void OneDnnPartialConv::forward(const MaskUpdate& any_update, const TensorRef& input,
                                const TensorRef& output) {
    const auto& update = static_cast<const CpuMaskUpdate&>(any_update);
    const ForwardCall call{update, input, output, desc_.maskInput() ? desc_.mask_type : MaskType::none,
                           hasOnePlane(desc_, update.form())};
    const bool margins = !plan_.any_live || plan_.live[0].output_size != desc_.window.output[0] ||
                         plan_.live[1].output_size != desc_.window.output[1] ||
                         plan_.live[2].output_size != desc_.window.output[2];
    if (margins)
        parallelFor(device_.threads(), desc_.batch,
                    [&](int /*thread*/, int64_t n) { finishMargins(call, n); });
    if (!plan_.any_live) return;
    const bool fine = finePays(call);
    if (fine) return runFine(call);
    parallelFor(device_.threads(), static_cast<int64_t>(plan_.boxes.size()), [&](int thread, int64_t i) {
        const auto index = static_cast<size_t>(i);
        const Box& box = plan_.boxes[index];
        if (allHoles(call, box)) return zeroBox(call, box);
        runBox(workers_[static_cast<size_t>(thread)], call, box, form_of_box_[index]);
    });
}

}  // namespace pconv::cpu
