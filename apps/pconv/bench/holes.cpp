#include "bench/holes.h"

#include "bench/hole_patterns.h"

namespace pconv::app {
namespace {

constexpr int kPercents[] = {10, 25, 50, 75, 90, 95};
constexpr int64_t kTile = 16;

/// What an inpainting network has at full resolution.
std::vector<SeedRow> firstLayers(int64_t shrink) {
    const auto layer = [&](int64_t in_channels, int64_t kernel, int64_t stride) {
        SeedRow row;
        row.table = "holes";
        row.mask = "full";
        row.channels = in_channels;
        row.size = {512, 512};
        SeedStep step;
        step.in_channels = in_channels;
        step.out_channels = 64;
        for (std::size_t d = 0; d < 2; ++d) {
            step.kernel[d] = kernel;
            step.stride[d] = stride;
            step.padding[d] = kernel / 2;
        }
        row.steps = {step};
        row = row.shrunk(shrink);
        row.name = std::to_string(row.channels) + "->" + std::to_string(row.steps[0].out_channels) + " k" +
                   std::to_string(kernel) + " s" + std::to_string(stride);
        return row;
    };
    return {layer(3, 7, 2), layer(64, 3, 1)};
}

std::vector<HolesResult> rowsOf(const SeedRow& layer) {
    std::vector<HolesResult> rows(1);
    rows[0].pattern = "none";
    for (const std::string& pattern : kHolePatterns)
        for (const int percent : kPercents) {
            HolesResult row;
            row.pattern = pattern;
            row.percent = percent;
            rows.push_back(row);
        }
    for (HolesResult& row : rows) {
        row.layer = layer.name;
        row.id = layer.id() + " " + row.pattern;
        if (row.percent > 0) row.id += " " + std::to_string(row.percent) + " %";
    }
    return rows;
}

std::vector<std::uint8_t> maskOf(const SeedRow& layer, const HolesResult& row) {
    const auto width = static_cast<int>(layer.size[1]);
    const auto height = static_cast<int>(layer.size[0]);
    const std::size_t holes = static_cast<std::size_t>(width) * static_cast<std::size_t>(height) *
                              static_cast<std::size_t>(row.percent) / 100;
    return holePattern(row.pattern, width, height, holes, 1);
}

/// The share of the output's tiles for all of whose elements `holds(y, x)`.
template <typename Holds>
double shareOfTiles(const std::vector<int64_t>& output, const Holds& holds) {
    int64_t all = 0;
    int64_t found = 0;
    for (int64_t top = 0; top < output[0]; top += kTile)
        for (int64_t left = 0; left < output[1]; left += kTile) {
            bool whole = true;
            for (int64_t y = top; whole && y < std::min(output[0], top + kTile); ++y)
                for (int64_t x = left; whole && x < std::min(output[1], left + kTile); ++x)
                    whole = holds(y, x);
            ++all;
            found += whole ? 1 : 0;
        }
    return static_cast<double>(found) / static_cast<double>(all);
}

void countTiles(const SeedRow& layer, const std::vector<std::uint8_t>& mask, const MaskUpdate& update,
                HolesResult& row) {
    const PartialConvDesc desc = layer.convOf(0);
    const std::vector<int64_t> output = desc.outputSize();
    const PconvTensor updated = update.updatedMask();
    std::vector<std::uint8_t> u(static_cast<std::size_t>(output[0] * output[1]));
    detail::check(pconvReadBuffer(updated.buffer, updated.offset, u.data(), u.size()));
    row.hole_tiles = shareOfTiles(
        output, [&](int64_t y, int64_t x) { return u[static_cast<std::size_t>(y * output[1] + x)] == 0; });
    row.valid_tiles = shareOfTiles(output, [&](int64_t y, int64_t x) {
        const int64_t top = y * desc.stride[0] - desc.padding[0];
        const int64_t left = x * desc.stride[1] - desc.padding[1];
        for (int64_t i = std::max<int64_t>(0, top); i < std::min(layer.size[0], top + desc.kernel[0]); ++i)
            for (int64_t j = std::max<int64_t>(0, left); j < std::min(layer.size[1], left + desc.kernel[1]);
                 ++j)
                if (mask[static_cast<std::size_t>(i * layer.size[1] + j)] == 0) return false;
        return true;
    });
}

/// All of one layer's rows, in turn; the first has no holes.
void measureRows(BenchDevice& bench, const SeedRow& layer, std::vector<HolesResult>& rows) {
    PartialConvDesc desc = layer.convOf(0);
    bench.apply(desc);
    desc.training = 0;
    const Footprint footprint = footprintOf(bench, layer);
    const std::size_t count =
        bench.setsFor(footprint.input_bytes + footprint.output_bytes, footprint.weight_bytes);
    const PartialConv conv(bench.device(), desc);
    {
        const Tensor weight = bench.randomTensor(layer.weightDimsOf(0), 1);
        const Tensor bias = bench.randomTensor({layer.steps[0].out_channels}, 2);
        conv.setWeights(weight.view(), bias.view());
        bench.device().wait();
    }
    std::vector<Tensor> inputs;
    std::vector<Tensor> outputs;
    for (std::size_t set = 0; set < count; ++set) {
        inputs.push_back(bench.randomTensor(layer.inputDims(), static_cast<std::uint32_t>(set)));
        outputs.push_back(bench.tensor(layer.outputDims()));
    }
    std::vector<Tensor> planes;
    std::vector<MaskUpdate> updates;
    for (HolesResult& row : rows) {
        const std::vector<std::uint8_t> mask = maskOf(layer, row);
        planes.emplace_back(bench.device(), seedMaskDims(layer), mask);
        updates.emplace_back(bench.device(), desc, Mask(planes.back().view()));
        countTiles(layer, mask, updates.back(), row);
        row.implementation = conv.implementation();
    }
    std::vector<Contender> contenders;
    for (std::size_t i = 0; i < rows.size(); ++i)
        contenders.push_back({[&, i](std::size_t set) {
                                  updates[i].compute(Mask(planes[i].view()));
                                  conv.forward(updates[i], bench.inLayout(inputs[set]),
                                               bench.inLayout(outputs[set]));
                              },
                              {}});
    TimeBudget budget = bench.settings().budget;
    budget.seconds *= 0.25 * static_cast<double>(rows.size());
    timeInTurn(bench.device(), contenders, count, budget);
    for (std::size_t i = 0; i < rows.size(); ++i) {
        rows[i].timing = contenders[i].timing;
        rows[i].over_no_holes = rows[i].timing.median() / contenders[0].timing.median();
    }
}

}  // namespace

std::vector<std::string> holesIds(int64_t shrink) {
    std::vector<std::string> ids;
    for (const SeedRow& layer : firstLayers(shrink))
        for (const HolesResult& row : rowsOf(layer)) ids.push_back(row.id);
    return ids;
}

std::vector<HolesResult> measureHoles(BenchDevice& bench, int64_t shrink,
                                      const std::function<bool(const std::string&)>& wanted,
                                      const std::function<void(double)>& progress) {
    std::vector<HolesResult> results;
    const std::vector<SeedRow> layers = firstLayers(shrink);
    for (std::size_t i = 0; i < layers.size(); ++i) {
        std::vector<HolesResult> rows;
        bool any = false;
        for (const HolesResult& row : rowsOf(layers[i])) {
            any = any || wanted(row.id);
            if (row.percent == 0 || wanted(row.id)) rows.push_back(row);
        }
        if (any) {
            try {
                measureRows(bench, layers[i], rows);
            } catch (const Error& error) {
                for (HolesResult& row : rows) row.fault = faultOf(error);
            }
            results.insert(results.end(), rows.begin(), rows.end());
        }
        progress(static_cast<double>(i + 1) / static_cast<double>(layers.size()));
    }
    return results;
}

}  // namespace pconv::app
