// The forward pass of cpu:onednn.
#include <algorithm>
#include <cstring>

#include "cpu/element.h"
#include "cpu/onednn/boxes.h"
#include "cpu/onednn/partial_conv.h"
#include "cpu/parallel.h"

namespace pconv::cpu {

namespace {

// Estimates err: cells are taken where they cost less than this part of their box.
constexpr double kCellGain = 0.8;

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

// Appends what is to be done for a row of cells, and says what it costs: rows of those that are no hole, each
// as long as there is a form for.
double OneDnnPartialConv::addCellTasks(const ForwardCall& call, const Box& band) {
    const int64_t cells = cellsIn(band, plan_.cell);
    const auto part = [&](int64_t first, int64_t count) {
        return cellsOf(desc_.window, band, plan_.cell, first, count);
    };
    const auto isHole = [&](int64_t cell) { return allHoles(desc_, call.update, part(cell, 1)); };
    double cost = 0;
    bool hole = isHole(0);
    for (int64_t first = 0; first < cells;) {
        int64_t end = first + 1;
        bool next = hole;
        while (end < cells && (next = isHole(end)) == hole) ++end;
        if (hole) tasks_.push_back({part(first, end - first), kNoForm, false});
        while (!hole && first < end) {
            size_t k = 0;
            while (k + 1 < plan_.run_cost.size() && int64_t{2} << k <= end - first) ++k;
            const Box box = part(first, int64_t{1} << k);
            tasks_.push_back({box, formOf(box), false});
            cost += plan_.run_cost[k];
            first += int64_t{1} << k;
        }
        first = end;
        hole = next;
    }
    return cost;
}

// Appends what is to be done for a box: itself or its cells, if any.
void OneDnnPartialConv::addTasksOf(const ForwardCall& call, size_t index) {
    const Box& box = plan_.boxes[index];
    if (!plan_.hasCells()) {
        const bool hole = allHoles(desc_, call.update, box);
        return tasks_.push_back({box, hole ? kNoForm : formOf(box), !hole});
    }
    const size_t before = tasks_.size();
    double cost = 0;
    for (const Box& band : bands_[index]) cost += addCellTasks(call, band);
    const double part =
        static_cast<double>(box.batch_size * box.outputPixels()) / static_cast<double>(most_outputs_);
    if (cost < kCellGain * part * plan_.box_cost) return;
    tasks_.erase(tasks_.begin() + static_cast<std::ptrdiff_t>(before), tasks_.end());
    tasks_.push_back({box, formOf(box), true});
}

void OneDnnPartialConv::finishMargin(const ForwardCall& call, int64_t n, int64_t d, int64_t h, int64_t begin,
                                     int64_t end) const {
    if (margin_.empty()) {
        Box row{};
        row.channel_size = desc_.out_channels;
        row.spans[2].output_begin = begin;
        row.spans[2].output_size = end - begin;
        return zeroRow(call.output, row, n, d, h);
    }
    for (int64_t c = 0; c < desc_.out_channels; ++c)
        for (int64_t w = begin; w < end; ++w)
            store(call.output, elementIndex(call.output, n, c, {d, h, w}),
                  static_cast<double>(margin_[static_cast<size_t>(c)]));
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

void OneDnnPartialConv::runBox(Worker& worker, const ForwardCall& call, const Box& box, size_t form) const {
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
        if (input == worker.input) {
            const int64_t first = separate_groups_ > 1 ? c / channels * inChannels() : 0;
            loadBox({call.input, first, inChannels(), first, call.update, call.mask, call.one_plane,
                     input_layout_},
                    box, input, worker.planes.data(), staging_, worker.thread);
        }
        execute(worker, form, c, input, output);
        storeBox({call.output, c, channels, desc_, call.update, bias_, output_layout_}, box, output, staging_,
                 worker.thread);
    }
}

void OneDnnPartialConv::forward(const MaskUpdate& update, const TensorRef& input, const TensorRef& output) {
    const ForwardCall call = forwardCall(desc_, update, input, output);
    const bool margins = !plan_.any_live || plan_.live[0].output_size != desc_.window.output[0] ||
                         plan_.live[1].output_size != desc_.window.output[1] ||
                         plan_.live[2].output_size != desc_.window.output[2];
    if (margins)
        parallelFor(device_.threads(), desc_.batch,
                    [&](int /*thread*/, int64_t n) { finishMargins(call, n); });
    if (!plan_.any_live) return;
    followScratch();
    tasks_.clear();
    for (size_t i = 0; i < plan_.boxes.size(); ++i) addTasksOf(call, i);
    // The small ones last, so that threads end together.
    std::partition(tasks_.begin(), tasks_.end(), [](const Task& task) { return task.whole; });
    parallelFor(device_.threads(), static_cast<int64_t>(tasks_.size()), [&](int thread, int64_t i) {
        const Task& task = tasks_[static_cast<size_t>(i)];
        if (task.form == kNoForm) return zeroBox(call.output, task.box);
        runBox(workers_[static_cast<size_t>(thread)], call, task.box, task.form);
    });
}

}  // namespace pconv::cpu
