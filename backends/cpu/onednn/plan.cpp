#include "cpu/onednn/plan.h"

#include <algorithm>
#include <limits>

#include "cpu/window.h"

namespace pconv::cpu {

namespace {

// Measured on one core with 512-bit vectors; only their relations matter. Nanoseconds.
constexpr double kBoxCost = 3000;
constexpr double kFlopCost = 0.004;
constexpr double kElementCost = 0.1;      // loaded or stored, scratch in the second cache
constexpr double kFarElementCost = 0.15;  // scratch of kFarBytes and more
// Lost where each thread has one box, and one thread is held up. Up to 0.25 it makes no difference to the
// time that could be measured, and boxes half as large for each fourfold of it, with scratch memory likewise.
constexpr double kUnevenness = 0.25;
// Bytes of scratch memory, of all threads and of one, beyond which a plan is taken only where there is no
// other.
constexpr double kPlentyOfScratch = 1 << 28;
constexpr double kFarScratch = 1 << 24;
constexpr double kExcessCost = 100;
// What scratch memory as large as input and output would cost: half of it for a few percent of the estimate,
// which is about what the estimate errs by. More than the second line's part of them is not worth halving.
constexpr double kScratchCost = 0.6;
constexpr double kMostScratchPart = 0.3;
// Weights are read again by each box where they do not stay in the second cache.
constexpr double kWeightByteCost = 0.015;
constexpr double kNearWeightByteCost = 0.005;
constexpr int64_t kCacheBytes = 1 << 20;
constexpr int64_t kFarBytes = 4 << 20;
// Cells: rows at most, columns at least, depth at most; how many times its overhead one must be worth, and
// how many there must be.
constexpr int64_t kCellRows = 8;
constexpr int64_t kLeastCellColumns = 16;
constexpr int64_t kCellDepth = 4;
constexpr double kCellWorth = 3;
constexpr int64_t kLeastCells = 16;
constexpr int64_t kMostCells = 1 << 14;
constexpr int64_t kRowGrain = 64;  // where rows are split: whole tiles of the convolution's kernels
constexpr int64_t kMostParts = 4096;
// Rows of which a box would fill this much are split however many they are.
constexpr int64_t kLongRowBytes = 4 * kFarBytes;
constexpr int64_t kHeightInLongRows = 16;

}  // namespace

Span spanOf(const Window& w, size_t d, int64_t begin, int64_t size) {
    Span span{};
    span.output_begin = begin;
    span.output_size = size;
    const int64_t from = begin * w.stride[d] - w.padding[d];
    const int64_t to = from + (size - 1) * w.stride[d] + extent(w, d);
    span.padding_begin = std::max<int64_t>(0, -from);
    span.padding_end = std::max<int64_t>(0, to - w.input[d]);
    span.input_begin = from + span.padding_begin;
    // Whole rows, where the stride skips the last elements, are one run of memory.
    const int64_t end = to >= w.input[d] || w.input[d] - to < w.stride[d] ? w.input[d] : to;
    span.input_size = end - span.input_begin;
    return span;
}

// One row of outputs, of one image, with the rows under it.
bool hasLongRows(const PartialConvDesc& desc, const std::array<Span, 3>& live) {
    const int64_t rows = desc.window.kernel[0] * desc.window.kernel[1];
    const int64_t floats =
        desc.in_channels * rows * live[2].input_size + desc.out_channels * live[2].output_size;
    return floats * static_cast<int64_t>(sizeof(float)) > kLongRowBytes;
}

namespace {

// The outputs whose windows reach into the input.
Span liveSpan(const Window& w, size_t d) {
    const int64_t reach = extent(w, d) - 1;
    const int64_t begin = std::max<int64_t>(0, ceilDivide(w.padding[d] - reach, w.stride[d]));
    const int64_t end = std::min(w.output[d], (w.input[d] - 1 + w.padding[d]) / w.stride[d] + 1);
    Span none{};
    return begin < end ? spanOf(w, d, begin, end - begin) : none;
}

// Which part of the output's channels a box has.
double partOf(const PartialConvDesc& desc, const Cut& cut) {
    return static_cast<double>(cut.channels) / static_cast<double>(desc.out_channels);
}

// Loaded and stored.
double elementsOf(const PartialConvDesc& desc, const Cut& cut, const std::array<Span, 3>& live,
                  const Work& work) {
    double input = static_cast<double>(cut.batch * desc.in_channels);
    if (work.own_inputs) input *= partOf(desc, cut);
    double output = static_cast<double>(cut.batch * cut.channels);
    for (size_t d = 0; d < 3; ++d) {
        const Window& w = desc.window;
        const int64_t under = (cut.size[d] - 1) * w.stride[d] + extent(w, d);
        input *= static_cast<double>(std::min(under, live[d].input_size));
        output *= static_cast<double>(cut.size[d]);
    }
    return input + output;
}

double elementCost(double elements) {
    const double beyond = elements * sizeof(float) - static_cast<double>(kCacheBytes);
    const double far = std::clamp(beyond / static_cast<double>(kFarBytes - kCacheBytes), 0.0, 1.0);
    return elements * (kElementCost + far * (kFarElementCost - kElementCost));
}

double flopCost(const PartialConvDesc& desc, const Cut& cut) {
    const int64_t taps = desc.in_channels / desc.groups * volume(desc.window.kernel);
    const auto outputs = static_cast<double>(cut.batch * cut.channels * volume(cut.size));
    return 2 * static_cast<double>(taps) * outputs * kFlopCost;
}

int64_t boxCount(const PartialConvDesc& desc, const Cut& cut, const std::array<Span, 3>& live) {
    int64_t count = ceilDivide(desc.batch, cut.batch) * ceilDivide(desc.out_channels, cut.channels);
    for (size_t d = 0; d < 3; ++d) count *= ceilDivide(live[d].output_size, cut.size[d]);
    return count;
}

// What a box costs whatever its size; `part` of the weights are its own.
double overheadOf(const Work& work, double part) {
    const double bytes = static_cast<double>(work.weight_bytes) * part;
    const bool near = bytes <= static_cast<double>(kCacheBytes) / 2;
    return kBoxCost * static_cast<double>(work.convolutions) +
           bytes * (near ? kNearWeightByteCost : kWeightByteCost);
}

double costOfBox(const PartialConvDesc& desc, const Cut& cut, double elements, const Work& work) {
    return overheadOf(work, partOf(desc, cut)) + flopCost(desc, cut) + elementCost(elements);
}

// The scratch memory of all threads, of f32, over the bytes of input and output.
double scratchPart(const PartialConvDesc& desc, double elements, const Work& work) {
    const int64_t tensors = desc.batch * (desc.in_channels * volume(desc.window.input) +
                                          desc.out_channels * volume(desc.window.output));
    return elements * sizeof(float) * work.threads /
           (static_cast<double>(tensors) * static_cast<double>(sizeOf(desc.data_type)));
}

double costOf(const PartialConvDesc& desc, const Cut& cut, const std::array<Span, 3>& live,
              const Work& work) {
    const int64_t count = boxCount(desc, cut, live);
    const int64_t rounds = ceilDivide(count, work.threads);
    const double uneven = work.threads > 1 ? kUnevenness * work.threads / static_cast<double>(count) : 0;
    const double most = std::max(kPlentyOfScratch / work.threads, kFarScratch);
    const double elements = elementsOf(desc, cut, live, work);
    const double excess = elements * sizeof(float) > most ? kExcessCost : 1;
    const double memory = kScratchCost * std::min(scratchPart(desc, elements, work), kMostScratchPart);
    return static_cast<double>(rounds) * costOfBox(desc, cut, elements, work) * (1 + uneven) * (1 + memory) *
           excess;
}

// Every even division of `size`, finer ones first only as far as they differ.
template <typename F>
void forEachDivision(int64_t size, const F& f) {
    int64_t last = 0;
    for (int64_t parts = 1; parts <= std::min(size, kMostParts); ++parts) {
        const int64_t part = ceilDivide(size, parts);
        if (part != last) f(part);
        last = part;
    }
}

// The output's channels whole, and in up to as many parts as there are threads.
template <typename F>
void forEachChannelDivision(const PartialConvDesc& desc, const Work& work, const F& f) {
    f(desc.out_channels);
    if (work.channel_grain == 0) return;
    int64_t last = desc.out_channels;
    for (int64_t parts = 2; parts <= work.threads; ++parts) {
        const int64_t part = roundedUp(ceilDivide(desc.out_channels, parts), work.channel_grain);
        if (part < last) f(part);
        last = part;
    }
}

std::vector<int64_t> beginnings(int64_t begin, int64_t size, int64_t part) {
    std::vector<int64_t> all;
    for (int64_t at = begin; at < begin + size; at += part) all.push_back(at);
    return all;
}

std::vector<Box> boxesOf(const Plan& plan, const PartialConvDesc& desc, const Cut& cut) {
    std::vector<Box> boxes;
    std::array<std::vector<Span>, 3> spans;
    for (size_t d = 0; d < 3; ++d) {
        const Span& live = plan.live[d];
        const int64_t end = live.output_begin + live.output_size;
        for (const int64_t at : beginnings(live.output_begin, live.output_size, cut.size[d]))
            spans[d].push_back(spanOf(desc.window, d, at, std::min(cut.size[d], end - at)));
    }
    // Boxes that follow each other read the same weights.
    for (const int64_t c : beginnings(0, desc.out_channels, cut.channels))
        for (const int64_t n : beginnings(0, desc.batch, cut.batch))
            for (const Span& depth : spans[0])
                for (const Span& height : spans[1])
                    for (const Span& width : spans[2])
                        boxes.push_back({n,
                                         std::min(cut.batch, desc.batch - n),
                                         {depth, height, width},
                                         c,
                                         std::min(cut.channels, desc.out_channels - c)});
    return boxes;
}

// Parts of a size, all about as large, of at most so many.
int64_t evenPart(int64_t size, int64_t most) {
    return ceilDivide(size, ceilDivide(size, most));
}

double outputsOf(const Cut& cut) {
    return static_cast<double>(cut.batch * volume(cut.size));
}

// Cells as small as the overhead of each allows: holes are of any shape. They have as many of the output's
// channels as the boxes, so that both read the same packed weights.
void addCells(Plan& plan, const PartialConvDesc& desc, const Work& work, const Cut& box) {
    const bool skips = desc.mask_type != MaskType::none && !desc.maskedConvolution();
    if (!skips || desc.spatial_dims < 2) return;
    const auto cost = [&](const Cut& cut) {
        return costOfBox(desc, cut, elementsOf(desc, cut, plan.live, work), work);
    };
    Cut cell{1,
             {evenPart(box.size[0], kCellDepth), evenPart(box.size[1], kCellRows), kLeastCellColumns},
             box.channels};
    for (; cell.size[2] <= box.size[2]; cell.size[2] *= 2) {
        const int64_t count = boxCount(desc, cell, plan.live);
        if (count < kLeastCells || outputsOf(cell) >= outputsOf(box)) return;
        if (count > kMostCells || cost(cell) < kCellWorth * overheadOf(work, partOf(desc, cell))) continue;
        plan.cell = cell;
        plan.box_cost = cost(box);
        for (Cut run = cell; run.size[2] == cell.size[2] || run.size[2] < box.size[2]; run.size[2] *= 2)
            plan.run_cost.push_back(cost(run));
        return;
    }
}

}  // namespace

Plan makePlan(const PartialConvDesc& desc, const Work& work) {
    Plan plan;
    plan.any_live = true;
    for (size_t d = 0; d < 3; ++d) {
        plan.live[d] = liveSpan(desc.window, d);
        plan.any_live = plan.any_live && plan.live[d].output_size > 0;
    }
    if (!plan.any_live) return plan;

    const Dims3 all{plan.live[0].output_size, plan.live[1].output_size, plan.live[2].output_size};
    Cut best{desc.batch, all, desc.out_channels};
    double best_cost = std::numeric_limits<double>::max();
    const auto consider = [&](const Cut& cut) {
        const double cost = costOf(desc, cut, plan.live, work);
        if (cost < best_cost) {
            best_cost = cost;
            best = cut;
        }
    };
    forEachChannelDivision(desc, work, [&](int64_t channels) {
        forEachDivision(desc.batch, [&](int64_t batch) { consider({batch, all, channels}); });
        forEachDivision(all[0], [&](int64_t depth) {
            forEachDivision(all[1], [&](int64_t height) {
                consider({1, {depth, height, all[2]}, channels});
            });
        });
        // Splitting rows pays only where there are few of them, or a box of one is too large.
        const bool long_rows = hasLongRows(desc, plan.live);
        if (all[0] * all[1] >= 4 * work.threads && !long_rows) return;
        const auto considerWidth = [&](int64_t width) {
            width = std::min(all[2], roundedUp(width, kRowGrain));
            consider({1, {1, 1, width}, channels});
            if (long_rows) consider({1, {1, std::min(all[1], kHeightInLongRows), width}, channels});
        };
        forEachDivision(all[2], considerWidth);
        if (long_rows)
            for (int64_t width = kRowGrain; width < all[2] / kMostParts; width *= 2) considerWidth(width);
    });
    plan.boxes = boxesOf(plan, desc, best);
    addCells(plan, desc, work, best);
    return plan;
}

std::vector<Box> bandsOf(const Window& window, const Box& box, const Cut& cell) {
    std::vector<Box> bands;
    const auto parts = [&](size_t d) {
        std::vector<Span> spans;
        const int64_t end = box.spans[d].output_begin + box.spans[d].output_size;
        for (int64_t at = box.spans[d].output_begin; at < end; at += cell.size[d])
            spans.push_back(spanOf(window, d, at, std::min(cell.size[d], end - at)));
        return spans;
    };
    for (int64_t n = 0; n < box.batch_size; ++n)
        for (const Span& depth : parts(0))
            for (const Span& height : parts(1))
                bands.push_back({box.batch_begin + n,
                                 1,
                                 {depth, height, box.spans[2]},
                                 box.channel_begin,
                                 box.channel_size});
    return bands;
}

Box cellsOf(const Window& window, const Box& band, const Cut& cell, int64_t first, int64_t count) {
    Box box = band;
    const Span& whole = band.spans[2];
    const int64_t begin = whole.output_begin + first * cell.size[2];
    const int64_t end = std::min(begin + count * cell.size[2], whole.output_begin + whole.output_size);
    box.spans[2] = spanOf(window, 2, begin, end - begin);
    return box;
}

}  // namespace pconv::cpu
