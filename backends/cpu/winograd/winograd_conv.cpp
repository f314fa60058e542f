#include "cpu/winograd/winograd_conv.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu/element.h"
#include "cpu/onednn/upsampled_conv.h"
#include "cpu/parallel.h"
#include "cpu/passes/passes.h"
#include "cpu/window.h"

namespace pconv::cpu {

namespace {

// Of a box's values and sums, beside which the second cache has room for a place's weights.
constexpr int64_t kBoxBytes = 640 << 10;
constexpr int64_t kLeastTiles = 48;  // that are worth reading the weights once
constexpr int64_t kMostTiles = 192;
// Reading the weights takes as long as so many tiles.
constexpr double kBoxTiles = 6;
constexpr double kTileCost = 100;  // of both transforms, a channel
// Of a row copied in or out, and of each element of it.
constexpr double kRowCost = 200;
constexpr double kElementCost = 3;
// Of the input, copied in at a time, and of the output, finished at a time.
constexpr int64_t kChannelsAtOnce = 16;
// With fewer, the transforms take more time than they save.
constexpr int64_t kLeastChannels = 8;
constexpr int64_t kLeastChannelsLast = 16;  // of channels-last tensors, which are transposed besides
// Winograd rounds relative to all of a tile. Windows with less of the input than this part of one pixel's
// channels may lie in a tile of much larger values, and their ratio lifts the error.
constexpr float kLeastValid = 0.5F;

// Floats, between what is read at the same time: places a multiple of pages apart would meet in the cache.
constexpr auto kGrain = static_cast<int64_t>(kAlignment / sizeof(float));

// Of an image, of the 16 there are: else too much is multiplied that nobody wants.
constexpr int64_t kLeastOutputsOfATile = 8;

// Elements to be repeated; of the first, so many are left out.
struct Repeated {
    const float* from;
    int64_t count, factor, skipped;
};
struct WideRow {
    float* to;
    int64_t zeros, size, pitch;  // in front; of what is repeated; with zeros behind
};

template <int64_t factor>
void repeatInner(const float* from, int64_t count, float* to) {
    for (int64_t i = 0; i < count; ++i)
        for (int64_t j = 0; j < factor; ++j) to[i * factor + j] = from[i];
}

void repeat(const Repeated& source, const WideRow& row) {
    float* to = row.to + row.zeros;
    std::fill_n(row.to, row.zeros, 0.0F);
    const int64_t first = std::min(source.factor - source.skipped, row.size);
    std::fill_n(to, first, source.from[0]);
    const int64_t whole = (row.size - first) / source.factor;
    if (source.factor == 2)
        repeatInner<2>(source.from + 1, whole, to + first);
    else
        for (int64_t i = 0; i < whole; ++i)
            std::fill_n(to + first + i * source.factor, source.factor, source.from[1 + i]);
    const int64_t done = first + whole * source.factor;
    if (done < row.size) std::fill_n(to + done, row.size - done, source.from[source.count - 1]);
    std::fill_n(to + row.size, row.pitch - row.zeros - row.size, 0.0F);
}

// Of all boxes, tiles with those that fill the last vectors.
int64_t paddedTiles(int64_t down, int64_t across, const WinogradBox& box) {
    const auto padded = [](int64_t tiles) { return roundedUp(tiles, kTileGrain); };
    const int64_t last_rows = down % box.rows;
    const int64_t last_columns = across % box.columns;
    return down / box.rows *
               (across / box.columns * padded(box.rows * box.columns) + padded(box.rows * last_columns)) +
           across / box.columns * padded(last_rows * box.columns) + padded(last_rows * last_columns);
}

// Of a thread, in multiplications and additions of whole vectors; only relations matter.
double costOf(const PartialConvDesc& desc, const WinogradBox& box, int threads) {
    const int64_t of_group = desc.in_channels / desc.groups * desc.window.kernel[0];
    const auto inputs = static_cast<double>(of_group);
    const auto outputs = static_cast<double>(box.outputs);
    const int64_t down = ceilDivide(desc.window.output[1], kTileOutputs);
    const int64_t across = ceilDivide(desc.window.output[2], kTileOutputs);
    const int64_t boxes = ceilDivide(down, box.rows) * ceilDivide(across, box.columns);
    const double tiles = static_cast<double>(paddedTiles(down, across, box)) / static_cast<double>(boxes);
    const auto rows = static_cast<double>(box.rows * kTileOutputs);
    const auto columns = static_cast<double>(box.columns * kTileOutputs);
    const double products = kTilePlaces * inputs * outputs;
    const double cost = (tiles + kBoxTiles) * products + tiles * kTileCost * (inputs + outputs) +
                        ((rows + 2) * inputs + rows * outputs) * (kRowCost + columns * kElementCost);
    const int64_t parts = ceilDivide(desc.out_channels / desc.groups, box.outputs);
    const int64_t count = desc.batch * desc.window.output[0] * desc.groups * boxes * parts;
    return static_cast<double>(ceilDivide(count, threads)) * cost;
}

WinogradBox boxOf(const PartialConvDesc& desc, int threads) {
    const int64_t inputs = desc.in_channels / desc.groups * desc.window.kernel[0];
    const int64_t outputs = desc.out_channels / desc.groups;
    const int64_t down = ceilDivide(desc.window.output[1], kTileOutputs);
    const int64_t across = ceilDivide(desc.window.output[2], kTileOutputs);
    WinogradBox best{};
    double best_cost = std::numeric_limits<double>::max();
    for (int64_t parts = 1; parts <= std::min<int64_t>(threads, outputs / kOutputBlock); parts *= 2) {
        const int64_t part = std::min(outputs, roundedUp(ceilDivide(outputs, parts), kOutputBlock));
        const int64_t bytes_of_tile = kTilePlaces * (inputs + part) * static_cast<int64_t>(sizeof(float));
        const int64_t most = std::clamp(kBoxBytes / bytes_of_tile, kLeastTiles, kMostTiles);
        for (int64_t rows = 1; rows <= std::min(down, most); ++rows)
            for (int64_t columns = 1; columns <= std::min(across, most / rows); ++columns) {
                const WinogradBox box{rows, columns, part};
                const double cost = costOf(desc, box, threads);
                if (cost >= best_cost) continue;
                best_cost = cost;
                best = box;
            }
    }
    return best;
}

using WeightRow = std::array<double, 3>;

std::array<WeightRow, kTileInputs> makeWeightRows() {
    const double near = std::sqrt(0.5);
    const double far = std::sqrt(2.0);
    const std::array<double, kTileInputs - 1> points{0, near, -near, far, -far};
    std::array<WeightRow, kTileInputs> rows{};
    for (size_t i = 0; i < points.size(); ++i) {
        double scale = 1;
        for (size_t j = 0; j < points.size(); ++j)
            if (j != i) scale *= points[i] - points[j];
        rows[i] = {1 / scale, points[i] / scale, points[i] * points[i] / scale};
    }
    rows.back() = {0, 0, 1};  // at infinity
    return rows;
}

// All places of one window's weights.
void transformWeights(const double* window, double* places) {
    static const auto rows = makeWeightRows();
    for (const WeightRow& down : rows) {
        WeightRow line{};
        for (size_t x = 0; x < 3; ++x)
            for (size_t y = 0; y < 3; ++y) line[x] += down[y] * window[y * 3 + x];
        for (const WeightRow& across : rows)
            *places++ = across[0] * line[0] + across[1] * line[1] + across[2] * line[2];
    }
}

}  // namespace

bool winogradPays(const PartialConvDesc& desc) {
    const Window& w = desc.window;
    const int64_t inputs = desc.in_channels / desc.groups * w.kernel[0];
    const int64_t outputs = desc.out_channels / desc.groups;
    const bool fits = desc.fast_math && !desc.training && w.kernel[1] == 3 && w.kernel[2] == 3 &&
                      w.stride[1] == 1 && w.stride[2] == 1 && w.dilation[1] == 1 && w.dilation[2] == 1 &&
                      reachesInputEverywhere(w, 1);
    const bool by_planes =
        desc.input_layout == Layout::contiguous && desc.output_layout == Layout::contiguous;
    if (!fits || std::min(inputs, outputs) < (by_planes ? kLeastChannels : kLeastChannelsLast)) return false;
    // The convolution that takes over from it must be able to.
    if (desc.upsampled.factor[0] != 1) return false;
    if (desc.upsampled.channels > 0 && WinogradConv::mayBeSparse(desc) && !upsamplingPays(desc)) return false;
    const int64_t tiles = ceilDivide(w.output[1], kTileOutputs) * ceilDivide(w.output[2], kTileOutputs);
    return roundedUp(tiles, kTileGrain) * kLeastOutputsOfATile <= w.output[1] * w.output[2];
}

bool WinogradConv::mayBeSparse(const PartialConvDesc& desc) {
    if (desc.mask_type == MaskType::none || desc.maskedConvolution()) return false;
    return desc.mask_type == MaskType::fractional || desc.countedChannels() > 1;
}

WinogradConv::WinogradConv(CpuDevice& device, const PartialConvDesc& desc,
                           std::unique_ptr<PartialConv> direct)
    : device_(device),
      desc_(desc),
      box_(boxOf(desc, device.threads())),
      direct_(std::move(direct)),
      weights_(device.allocate(
          static_cast<size_t>(desc.groups * kTilePlaces * roundedUp(outputs(), kOutputBlock) * planes()) *
          sizeof(float))),
      staging_(device, desc.data_type, kChannelsAtOnce) {
    if (desc.has_bias || desc.maskedConvolution()) bias_.resize(static_cast<size_t>(desc.out_channels));
    const Threads threads = device.threads().atMost(boxes());
    for (int i = 0; i < threads; ++i) {
        Worker worker{};
        worker.number = i;
        worker.planes.resize(static_cast<size_t>(kChannelsAtOnce));
        worker.input_rows.resize(static_cast<size_t>(box_.rows * kTileOutputs + 2));
        worker.live.resize(static_cast<size_t>(box_.columns));
        worker.runs.reserve(static_cast<size_t>(box_.rows * ceilDivide(box_.columns, 2)));
        workers_.push_back(std::move(worker));
    }
    scratch_ = Scratch(device, workers_.size() * static_cast<size_t>(sizes().all()) * sizeof(float));
}

WinogradConv::Sizes WinogradConv::sizes() const {
    const int64_t tiles = roundedUp(box_.rows * box_.columns, kTileGrain);
    const auto slack = static_cast<int64_t>(kReadSlack / sizeof(float));
    Sizes sizes{};
    sizes.input = roundedUp(kChannelsAtOnce * (box_.rows * kTileOutputs + 2) * pitch() + slack, kGrain);
    sizes.wide = desc_.upsampled.channels > 0 ? sizes.input : 0;
    sizes.zeros = roundedUp(pitch() + slack, kGrain);
    sizes.lines = roundedUp(2 * kTileInputs * lineStride(), kGrain);
    sizes.values = kTilePlaces * (tiles * planes() + kGrain);
    sizes.sums = kTilePlaces * (tiles * roundedUp(box_.outputs, kOutputBlock) + kGrain);
    sizes.rows = roundedUp(kChannelsAtOnce * kTileOutputs * tiles * kTileOutputs + slack, kGrain);
    return sizes;
}

int64_t WinogradConv::lineStride() const {
    return roundedUp(box_.rows * box_.columns, kTileGrain) * kTileOutputs + kLineSlack;
}

int64_t WinogradConv::boxes() const {
    const Dims3& size = desc_.window.output;
    return desc_.batch * size[0] * desc_.groups * ceilDivide(outputs(), box_.outputs) *
           ceilDivide(size[1], box_.rows * kTileOutputs) * ceilDivide(size[2], box_.columns * kTileOutputs);
}

Box WinogradConv::boxAt(int64_t index) const {
    const Window& w = desc_.window;
    const auto next = [&](int64_t count) {
        const int64_t at = index % count;
        index /= count;
        return at;
    };
    const auto spanAt = [&](size_t d, int64_t tiles) {
        const int64_t part = tiles * kTileOutputs;
        const int64_t begin = next(ceilDivide(w.output[d], part)) * part;
        return spanOf(w, d, begin, std::min(part, w.output[d] - begin));
    };
    Box box{};
    box.spans[2] = spanAt(2, box_.columns);
    box.spans[1] = spanAt(1, box_.rows);
    box.spans[0] = spanOf(w, 0, next(w.output[0]), 1);
    box.batch_begin = next(desc_.batch);
    box.batch_size = 1;
    const int64_t part = next(ceilDivide(outputs(), box_.outputs)) * box_.outputs;
    box.channel_begin = index * outputs() + part;
    box.channel_size = std::min(box_.outputs, outputs() - part);
    return box;
}

void WinogradConv::setWeights(const TensorRef& weight, const TensorRef* bias) {
    if (direct_) direct_->setWeights(weight, bias);
    loadAll(bias, bias_);
    const int64_t blocks = ceilDivide(outputs(), kOutputBlock);
    auto* packed = static_cast<float*>(weights_->hostPointer());
    parallelFor(device_.threads(), desc_.groups * blocks * planes(), [&](int /*thread*/, int64_t i) {
        const int64_t plane = i % planes();
        const int64_t block = i / planes() % blocks;
        const int64_t group = i / planes() / blocks;
        const int64_t c = plane % inputs();
        const int64_t kd = plane / inputs();
        for (int64_t o = 0; o < kOutputBlock; ++o) {
            double window[9]{};
            double places[kTilePlaces];
            const int64_t output = block * kOutputBlock + o;
            const int64_t from =
                (((group * outputs() + output) * inputs() + c) * desc_.window.kernel[0] + kd) * 9;
            if (output < outputs())
                for (int64_t t = 0; t < 9; ++t) window[t] = load(weight, from + t);
            transformWeights(window, places);
            for (int64_t p = 0; p < kTilePlaces; ++p) {
                const int64_t at = ((group * kTilePlaces + p) * blocks + block) * planes() + plane;
                packed[at * kOutputBlock + o] = static_cast<float>(places[p]);
            }
        }
    });
}

// Where the tiles of a run lie.
Box WinogradConv::tilesOf(const Box& box, const TileRun& run) const {
    Box part = box;
    const auto cut = [&](size_t d, int64_t first, int64_t count) {
        const int64_t begin = first * kTileOutputs;
        const int64_t size = std::min(count * kTileOutputs, box.spans[d].output_size - begin);
        part.spans[d] = spanOf(desc_.window, d, box.spans[d].output_begin + begin, size);
    };
    cut(1, run.row, 1);
    cut(2, run.column, run.count);
    return part;
}

// The runs of a row of tiles that are no holes.
void WinogradConv::addRuns(Worker& worker, const ForwardCall& call, const Box& box, int64_t row) const {
    const int64_t columns = ceilDivide(box.spans[2].output_size, kTileOutputs);
    std::fill_n(worker.live.begin(), columns, uint8_t{0});
    const Box whole = tilesOf(box, {row, 0, columns});
    const MaskPlanes& results = call.update.results();
    const TensorRef& scale = desc_.maskedConvolution() ? results.updated_mask : results.ratio;
    anyRow(desc_, call.update, whole, scale, [&](const float* at, int64_t size) {
        for (int64_t column = 0; column < columns; ++column) {
            int live = 0;
            const int64_t end = std::min((column + 1) * kTileOutputs, size);
            for (int64_t x = column * kTileOutputs; x < end; ++x) live |= at[x] != 0 ? 1 : 0;
            worker.live[static_cast<size_t>(column)] |= static_cast<uint8_t>(live);
        }
        return false;
    });
    for (int64_t first = 0; first < columns;) {
        const uint8_t live = worker.live[static_cast<size_t>(first)];
        int64_t end = first + 1;
        while (end < columns && worker.live[static_cast<size_t>(end)] == live) ++end;
        const TileRun run{row, first, end - first};
        if (live != 0)
            worker.runs.push_back(run);
        else
            zeroBox(call.output, tilesOf(box, run));
        first = end;
    }
}

// Of a box; returns how many tiles they have.
int64_t WinogradConv::findRuns(Worker& worker, const ForwardCall& call, const Box& box) const {
    worker.runs.clear();
    const bool all_live = desc_.mask_type == MaskType::none;
    for (int64_t row = 0; row * kTileOutputs < box.spans[1].output_size; ++row)
        if (all_live)
            worker.runs.push_back({row, 0, ceilDivide(box.spans[2].output_size, kTileOutputs)});
        else
            addRuns(worker, call, box, row);
    int64_t tiles = 0;
    for (const TileRun& run : worker.runs) tiles += run.count;
    return tiles;
}

// A plane of the input, whose rows worker.input_rows has.
void WinogradConv::transform(Worker& worker, int64_t plane, int64_t tiles) const {
    WinogradInput run{};
    run.rows = worker.input_rows.data();
    run.runs = worker.runs.data();
    run.run_count = static_cast<int64_t>(worker.runs.size());
    run.lines = worker.lines;
    run.line_stride = lineStride();
    run.values = worker.values + plane * tiles;
    run.place_stride = tiles * planes() + kGrain;
    run.tiles = tiles;
    passes().loadTiles(run);
}

// Where the rows under a box lie, those in the padding apart.
template <typename RowAt>
void WinogradConv::pointAtRows(Worker& worker, const Span& span, const RowAt& rowAt) {
    for (size_t y = 0; y < worker.input_rows.size(); ++y) {
        const int64_t row = static_cast<int64_t>(y) - span.padding_begin;
        worker.input_rows[y] = row >= 0 && row < span.input_size ? rowAt(row) : worker.zeros;
    }
}

void WinogradConv::loadChannels(Worker& worker, const Call& call, const Box& box, Channels channels,
                                int64_t tiles) const {
    const auto& s = box.spans;
    const int64_t group = box.channel_begin / outputs() * inputs();
    loadBox({call.input, group + channels.in_tensor, channels.count, group + channels.first, call.update,
             call.mask, call.one_plane, ScratchLayout::planar, s[2].padding_begin,
             pitch() - s[2].padding_begin - s[2].input_size},
            box, worker.input, worker.planes.data(), staging_, worker.number);
    for (int64_t c = 0; c < channels.count; ++c) {
        pointAtRows(worker, s[1],
                    [&](int64_t row) { return worker.input + (c * s[1].input_size + row) * pitch(); });
        transform(worker, channels.plane + c, tiles);
    }
}

// Rows of the small tensor are made wide once, and read as often as they are repeated.
void WinogradConv::loadUpsampled(Worker& worker, const Call& call, const Box& box, Channels channels,
                                 int64_t tiles) const {
    Box small = box;
    for (size_t d = 0; d < 3; ++d) {
        Span& span = small.spans[d];
        const int64_t factor = desc_.upsampled.factor[d];
        span.input_size = (span.input_begin + span.input_size - 1) / factor - span.input_begin / factor + 1;
        span.input_begin /= factor;
    }
    loadBox({*call.small, channels.in_tensor, channels.count, channels.first, call.update, MaskType::none,
             true, ScratchLayout::planar},
            small, worker.input, worker.planes.data(), staging_, worker.number);
    const auto& s = box.spans;
    const int64_t rows = small.spans[1].input_size;
    const int64_t columns = small.spans[2].input_size;
    for (int64_t row = 0; row < channels.count * rows; ++row)
        repeat({worker.input + row * columns, columns, desc_.upsampled.factor[2],
                s[2].input_begin % desc_.upsampled.factor[2]},
               {worker.wide + row * pitch(), s[2].padding_begin, s[2].input_size, pitch()});
    for (int64_t c = 0; c < channels.count; ++c) {
        pointAtRows(worker, s[1], [&](int64_t row) {
            const int64_t of_small =
                (s[1].input_begin + row) / desc_.upsampled.factor[1] - small.spans[1].input_begin;
            return worker.wide + (c * rows + of_small) * pitch();
        });
        transform(worker, channels.plane + c, tiles);
    }
}

void WinogradConv::loadTiles(Worker& worker, const Call& call, const Box& box, int64_t tiles) const {
    const Window& w = desc_.window;
    const UpsampledChannels& up = desc_.upsampled;
    const int64_t after = up.first + up.channels;
    for (int64_t kd = 0; kd < w.kernel[0]; ++kd) {
        Box slice = box;
        Span& depth = slice.spans[0];
        depth.input_begin = depth.output_begin * w.stride[0] - w.padding[0] + kd * w.dilation[0];
        depth.input_size = 1;
        const int64_t plane = kd * inputs();
        if (depth.input_begin < 0 || depth.input_begin >= w.input[0]) {
            std::fill(worker.input_rows.begin(), worker.input_rows.end(), worker.zeros);
            for (int64_t c = 0; c < inputs(); ++c) transform(worker, plane + c, tiles);
            continue;
        }
        const auto inParts = [&](Channels channels, const auto& part) {
            for (int64_t c = 0; c < channels.count; c += kChannelsAtOnce)
                part(Channels{channels.first + c, channels.in_tensor + c,
                              std::min(kChannelsAtOnce, channels.count - c), plane + channels.first + c});
        };
        const auto ofRest = [&](Channels channels) { loadChannels(worker, call, slice, channels, tiles); };
        inParts({0, 0, up.first, 0}, ofRest);
        inParts({up.first, 0, up.channels, 0},
                [&](Channels channels) { loadUpsampled(worker, call, slice, channels, tiles); });
        inParts({after, up.first, inputs() - after, 0}, ofRest);
    }
}

void WinogradConv::multiply(const Worker& worker, const Box& box, int64_t tiles) const {
    const int64_t of_group = ceilDivide(outputs(), kOutputBlock);
    const int64_t group = box.channel_begin / outputs();
    const int64_t block = box.channel_begin % outputs() / kOutputBlock;
    WinogradProduct product{};
    product.channels = planes();
    product.blocks = ceilDivide(box.channel_size, kOutputBlock);
    product.tiles = tiles;
    for (int64_t place = 0; place < kTilePlaces; ++place) {
        product.weights = static_cast<const float*>(weights_->hostPointer()) +
                          ((group * kTilePlaces + place) * of_group + block) * planes() * kOutputBlock;
        product.values = worker.values + place * (tiles * planes() + kGrain);
        product.sums = worker.sums + place * (tiles * product.blocks * kOutputBlock + kGrain);
        passes().multiplyTiles(product);
    }
}

void WinogradConv::storeTiles(Worker& worker, const ForwardCall& call, const Box& box, int64_t tiles) const {
    WinogradOutput run{};
    run.place_stride = tiles * roundedUp(box.channel_size, kOutputBlock) + kGrain;
    run.tiles = tiles;
    run.row_stride = tiles * kTileOutputs;
    for (int64_t c = 0; c < box.channel_size; c += kChannelsAtOnce) {
        const int64_t channels = std::min(kChannelsAtOnce, box.channel_size - c);
        for (int64_t i = 0; i < channels; ++i) {
            run.sums = worker.sums + (c + i) * tiles;
            run.rows = worker.rows + i * kTileOutputs * run.row_stride;
            passes().storeTiles(run);
        }
        int64_t at = 0;
        for (const TileRun& tile_run : worker.runs) {
            storeBox({call.output, box.channel_begin + c, channels, desc_, call.update, bias_,
                      ScratchLayout::planar, run.row_stride, kTileOutputs * run.row_stride},
                     tilesOf(box, tile_run), worker.rows + at * kTileOutputs, staging_, worker.number);
            at += tile_run.count;
        }
    }
}

void WinogradConv::runBox(Worker& worker, const Call& call, const Box& box) const {
    const int64_t tiles = roundedUp(findRuns(worker, call, box), kTileGrain);
    if (tiles == 0) return;
    loadTiles(worker, call, box, tiles);
    multiply(worker, box, tiles);
    storeTiles(worker, call, box, tiles);
}

bool WinogradConv::anySparse(const ForwardCall& call) const {
    const float least = kLeastValid * static_cast<float>(desc_.countedChannels());
    Box all{};
    all.batch_size = desc_.batch;
    all.channel_size = desc_.out_channels;
    for (size_t d = 0; d < 3; ++d) all.spans[d] = spanOf(desc_.window, d, 0, desc_.window.output[d]);
    return anyRow(desc_, call.update, all, call.update.results().window_sum,
                  [&](const float* sum, int64_t size) {
                      int sparse = 0;
                      for (int64_t i = 0; i < size; ++i) sparse += sum[i] > 0 && sum[i] < least ? 1 : 0;
                      return sparse > 0;
                  });
}

void WinogradConv::forward(const MaskUpdate& update, const TensorRef& input, const TensorRef& output) {
    const Call call{forwardCall(desc_, update, input, output), nullptr};
    if (direct_ && anySparse(call)) return direct_->forward(update, input, output);
    run(call);
}

void WinogradConv::forwardUpsampled(const MaskUpdate& update, const TensorRef& small, const TensorRef& rest,
                                    const TensorRef& output) {
    const Call call{forwardCall(desc_, update, rest, output), &small};
    if (direct_ && anySparse(call)) return direct_->forwardUpsampled(update, small, rest, output);
    run(call);
}

void WinogradConv::run(const Call& call) {
    const Sizes parts = sizes();
    for (Worker& worker : workers_) {
        worker.input = reinterpret_cast<float*>(scratch_.begin()) + worker.number * parts.all();
        worker.wide = worker.input + parts.input;
        worker.zeros = worker.wide + parts.wide;
        worker.lines = worker.zeros + parts.zeros;
        worker.values = worker.lines + parts.lines;
        worker.sums = worker.values + parts.values;
        worker.rows = worker.sums + parts.sums;
        std::fill_n(worker.zeros, parts.zeros, 0.0F);
    }
    parallelFor(device_.threads().atMost(boxes()), boxes(), [&](int thread, int64_t i) {
        runBox(workers_[static_cast<size_t>(thread)], call, boxAt(i));
    });
}

}  // namespace pconv::cpu
