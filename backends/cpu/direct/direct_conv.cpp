#include "cpu/direct/direct_conv.h"

#include <algorithm>

#include "cpu/element.h"
#include "cpu/parallel.h"
#include "cpu/passes/passes.h"
#include "cpu/window.h"

namespace pconv::cpu {

namespace {

// Products that are added up one after another: more would round too often.
constexpr int64_t kLongestSum = 288;
// Of a box's input, beside which the second cache has room for the next.
constexpr int64_t kBoxBytes = 640 << 10;
constexpr int64_t kMostColumns = 256;
constexpr int64_t kColumnGrain = 128;
constexpr int64_t kBoxesOfAThread = 4;
constexpr int64_t kLeastProducts = 1 << 18;  // that are worth a box of their own
// Outputs of a row that are left out together where all are holes.
constexpr int64_t kHoleColumns = 64;
// Of a row: shorter ones are loaded and added up in too small parts.
constexpr int64_t kLeastColumns = 16;
// A box whose taps lie far apart loads rows, and columns, that no tap reads: times those used, and its width.
constexpr int64_t kMostRowsLoaded = 3;
constexpr int64_t kMostReach = 4;

// Rows of the input under those of a box, with what a stride skips behind the last window.
int64_t rowsUnder(const Window& w, int64_t rows) {
    return std::min(w.input[0], w.stride[0] - 1 + extent(w, 0)) *
           std::min(w.input[1], rows * w.stride[1] - 1 + extent(w, 1));
}

// Boxes as high as the cache has room for, but enough of them for all threads.
DirectBox boxOf(const PartialConvDesc& desc, int threads) {
    const Window& w = desc.window;
    const Dims3& output = w.output;
    DirectBox box{};
    box.channels = std::clamp<int64_t>(kLongestSum / volume(w.kernel), 1, desc.in_channels);
    const int64_t parts = ceilDivide(output[2], kMostColumns);
    box.columns = parts == 1 ? output[2] : roundedUp(ceilDivide(output[2], parts), kColumnGrain);
    const int64_t beside = desc.batch * output[0] * ceilDivide(output[2], box.columns);
    const int64_t products =
        desc.batch * volume(output) * desc.out_channels * desc.in_channels * volume(w.kernel);
    const int64_t most = std::max<int64_t>(1, products / kLeastProducts);
    const int64_t wanted = std::min<int64_t>(int64_t{kBoxesOfAThread} * threads, most);
    box.rows = ceilDivide(output[1], std::min(ceilDivide(wanted, beside), output[1]));
    const auto input = [&] {
        return box.channels * rowsUnder(w, box.rows) * (box.columns - 1 + extent(w, 2));
    };
    while (box.rows > 1 && input() * int64_t{sizeof(float)} > kBoxBytes) box.rows = ceilDivide(box.rows, 2);
    box.input = input();
    return box;
}

bool usesWhatItLoads(const Window& w, const DirectBox& box) {
    return rowsUnder(w, box.rows) <= kMostRowsLoaded * w.kernel[0] * w.kernel[1] * box.rows &&
           extent(w, 2) <= kMostReach * box.columns;
}

}  // namespace

bool directPays(const PartialConvDesc& desc, int threads) {
    return desc.out_channels <= kMostDirectOutputs && desc.groups == 1 && !desc.training &&
           desc.window.stride[2] == 1 && desc.upsampled.channels == 0 &&
           desc.input_layout == Layout::contiguous && desc.output_layout == Layout::contiguous &&
           desc.window.output[2] >= kLeastColumns && reachesInputEverywhere(desc.window, 0) &&
           usesWhatItLoads(desc.window, boxOf(desc, threads));
}

DirectConv::DirectConv(CpuDevice& device, const PartialConvDesc& desc)
    : device_(device),
      desc_(desc),
      box_(boxOf(desc, device.threads())),
      weights_(device.allocate(
          static_cast<size_t>(desc.in_channels * volume(desc.window.kernel) * desc.out_channels) *
          sizeof(float))),
      staging_(device, desc.data_type, std::max(desc.in_channels, desc.out_channels)) {
    if (desc.has_bias || desc.maskedConvolution()) bias_.resize(static_cast<size_t>(desc.out_channels));
    const auto floats = [](int64_t count) {
        return alignedSize(static_cast<size_t>(count) * sizeof(float) + kReadSlack);
    };
    input_bytes_ = floats(box_.input);
    sums_bytes_ = floats(desc.out_channels * box_.rows * box_.columns);
    const Threads threads = device.threads().atMost(boxes());
    for (int i = 0; i < threads; ++i)
        workers_.push_back({i, nullptr, nullptr, std::vector<const void*>(static_cast<size_t>(box_.channels)),
                            std::vector<DirectTap>(static_cast<size_t>(kernelVolume()))});
    scratch_ = Scratch(device, workers_.size() * (input_bytes_ + sums_bytes_));
}

int64_t DirectConv::boxes() const {
    const Dims3& size = desc_.window.output;
    return desc_.batch * size[0] * ceilDivide(size[1], box_.rows) * ceilDivide(size[2], box_.columns);
}

Box DirectConv::boxAt(int64_t index) const {
    const Window& w = desc_.window;
    const int64_t across = ceilDivide(w.output[2], box_.columns);
    const int64_t down = ceilDivide(w.output[1], box_.rows);
    const int64_t column = index % across * box_.columns;
    const int64_t row = index / across % down * box_.rows;
    const int64_t slice = index / across / down;
    return {slice / w.output[0],
            1,
            {spanOf(w, 0, slice % w.output[0], 1), spanOf(w, 1, row, std::min(box_.rows, w.output[1] - row)),
             spanOf(w, 2, column, std::min(box_.columns, w.output[2] - column))},
            0,
            desc_.out_channels};
}

void DirectConv::setWeights(const TensorRef& weight, const TensorRef* bias) {
    loadAll(bias, bias_);
    const int64_t of_output = desc_.in_channels * kernelVolume();
    std::vector<float> packed;
    packed.reserve(static_cast<size_t>(of_output * desc_.out_channels));
    for (int64_t i = 0; i < of_output; ++i)
        for (int64_t o = 0; o < desc_.out_channels; ++o)
            packed.push_back(static_cast<float>(load(weight, o * of_output + i)));
    device_.write(*weights_, 0, packed.data(), packed.size() * sizeof(float));
}

// The products of some input channels, which the worker has under its box.
void DirectConv::addChannels(Worker& worker, const Box& box, int64_t first, int64_t channels) const {
    const Window& w = desc_.window;
    const auto& s = box.spans;
    const int64_t pitch = s[2].padding_begin + s[2].input_size + s[2].padding_end;
    DirectRun run{};
    run.channel_stride = s[0].input_size * s[1].input_size * pitch;
    run.channels = channels;
    run.taps = worker.taps.data();
    run.weight_stride = kernelVolume() * desc_.out_channels;
    run.weights = static_cast<const float*>(weights_->hostPointer()) + first * run.weight_stride;
    run.output_stride = box.outputPixels();
    run.out_channels = desc_.out_channels;
    run.pixels = s[2].output_size;
    run.add = first > 0;
    run.input = worker.input;
    for (int64_t row = 0; row < s[1].output_size; ++row) {
        run.tap_count = 0;
        for (int64_t kd = 0; kd < w.kernel[0]; ++kd)
            for (int64_t kh = 0; kh < w.kernel[1]; ++kh) {
                const int64_t d = kd * w.dilation[0] - s[0].padding_begin;
                const int64_t h = row * w.stride[1] + kh * w.dilation[1] - s[1].padding_begin;
                if (d < 0 || d >= s[0].input_size || h < 0 || h >= s[1].input_size) continue;
                for (int64_t kw = 0; kw < w.kernel[2]; ++kw)
                    worker.taps[static_cast<size_t>(run.tap_count++)] = {
                        (d * s[1].input_size + h) * pitch + kw * w.dilation[2],
                        ((kd * w.kernel[1] + kh) * w.kernel[2] + kw) * desc_.out_channels};
            }
        run.output = worker.sums + row * run.pixels;
        passes().convolve(run);
    }
}

void DirectConv::runBox(Worker& worker, const ForwardCall& call, const Box& box) const {
    for (int64_t first = 0; first < desc_.in_channels; first += box_.channels) {
        const int64_t channels = std::min(box_.channels, desc_.in_channels - first);
        loadBox({call.input, first, channels, first, call.update, call.mask, call.one_plane,
                 ScratchLayout::planar, box.spans[2].padding_begin, box.spans[2].padding_end},
                box, worker.input, worker.planes.data(), staging_, worker.number);
        addChannels(worker, box, first, channels);
    }
    storeBox({call.output, 0, desc_.out_channels, desc_, call.update, bias_, ScratchLayout::planar}, box,
             worker.sums, staging_, worker.number);
}

// What of it is no hole.
void DirectConv::runBand(Worker& worker, const ForwardCall& call, const Box& band) const {
    const Cut cut{1, {1, box_.rows, kHoleColumns}, desc_.out_channels};
    const int64_t cells = cellsIn(band, cut);
    const auto isHole = [&](int64_t cell) {
        return allHoles(desc_, call.update, cellsOf(desc_.window, band, cut, cell, 1));
    };
    for (int64_t first = 0; first < cells;) {
        const bool hole = isHole(first);
        int64_t end = first + 1;
        while (end < cells && isHole(end) == hole) ++end;
        const Box box = cellsOf(desc_.window, band, cut, first, end - first);
        if (hole)
            zeroBox(call.output, box);
        else
            runBox(worker, call, box);
        first = end;
    }
}

void DirectConv::forward(const MaskUpdate& update, const TensorRef& input, const TensorRef& output) {
    const ForwardCall call = forwardCall(desc_, update, input, output);
    for (Worker& worker : workers_) {
        char* at = scratch_.begin() + static_cast<size_t>(worker.number) * (input_bytes_ + sums_bytes_);
        worker.input = reinterpret_cast<float*>(at);
        worker.sums = reinterpret_cast<float*>(at + input_bytes_);
    }
    parallelFor(device_.threads().atMost(boxes()), boxes(), [&](int thread, int64_t i) {
        runBand(workers_[static_cast<size_t>(thread)], call, boxAt(i));
    });
}

}  // namespace pconv::cpu
