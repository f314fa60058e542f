#include "bench/seed_tables.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>
#include <stdexcept>

#include "seed_benchmarks.h"

namespace pconv::app {
namespace {

using Json = nlohmann::json;

const Json& seedTables() {
    static const Json all = Json::parse(std::begin(kSeedBenchmarks), std::end(kSeedBenchmarks)).at("tables");
    return all;
}

Dims each(const Json& layer, const char* name, int64_t usual, std::size_t count) {
    Dims values{1, 1, 1};
    const auto found = layer.find(name);
    for (std::size_t i = 0; i < count; ++i) {
        if (found == layer.end())
            values[i] = usual;
        else
            values[i] = found->is_array() ? found->at(i).get<int64_t>() : found->get<int64_t>();
    }
    return values;
}

SeedStep stepOf(const Json& layer, std::size_t dims) {
    SeedStep step;
    step.in_channels = layer.at("in_channels").get<int64_t>();
    step.out_channels = layer.at("out_channels").get<int64_t>();
    step.groups = layer.value("groups", int64_t{1});
    step.kernel = each(layer, "kernel_size", 1, dims);
    step.stride = each(layer, "stride", 1, dims);
    step.padding = each(layer, "padding", 0, dims);
    step.dilation = each(layer, "dilation", 1, dims);
    step.bias = layer.value("bias", true);
    step.multi_channel = layer.value("multi_channel", false);
    return step;
}

PconvActivation activationOf(const std::string& name) {
    if (name == "relu") return PCONV_ACTIVATION_RELU;
    if (name == "leaky_relu") return PCONV_ACTIVATION_LEAKY_RELU;
    if (name == "gelu") return PCONV_ACTIVATION_GELU;
    throw std::invalid_argument("the tables have an activation " + name);
}

SeedStep convStep(int64_t in_channels, int64_t out_channels, const Dims& stride, std::size_t dims) {
    SeedStep step;
    step.in_channels = in_channels;
    step.out_channels = out_channels;
    for (std::size_t i = 0; i < dims; ++i) {
        step.kernel[i] = 3;
        step.padding[i] = 1;
        step.stride[i] = stride[i];
    }
    step.activation = PCONV_ACTIVATION_RELU;
    return step;
}

SeedStep upsampleStep(int64_t channels, const Dims& factor) {
    SeedStep step;
    step.upsample = true;
    step.factor = factor;
    step.in_channels = step.out_channels = channels;
    return step;
}

/// The encoder-decoders as the tables' own words define them.
std::vector<SeedStep> encoderDecoder(int64_t base, bool video) {
    const std::size_t dims = video ? 3 : 2;
    const Dims once{1, 1, 1};
    const Dims twice = video ? Dims{2, 2, 2} : Dims{2, 2, 1};
    const Dims frames_kept = video ? Dims{1, 2, 2} : twice;
    std::vector<SeedStep> steps = {convStep(3, base, once, dims),
                                   convStep(base, 2 * base, frames_kept, dims),
                                   convStep(2 * base, 4 * base, twice, dims),
                                   convStep(4 * base, 8 * base, once, dims),
                                   upsampleStep(8 * base, twice),
                                   convStep(8 * base, 4 * base, once, dims),
                                   upsampleStep(4 * base, frames_kept),
                                   convStep(4 * base, 2 * base, once, dims),
                                   convStep(2 * base, base, once, dims),
                                   convStep(base, 3, once, dims)};
    steps.back().activation = PCONV_ACTIVATION_NONE;
    return steps;
}

std::vector<SeedStep> stepsOf(const Json& entry, std::size_t dims) {
    if (entry.contains("layer")) return {stepOf(entry.at("layer"), dims)};
    const auto type = entry.at("type").get<std::string>();
    if (type != "sequential")
        return encoderDecoder(entry.at("base_channels").get<int64_t>(), type == "video_encoder_decoder");
    std::vector<SeedStep> steps;
    for (const Json& layer : entry.at("layer_configs")) {
        steps.push_back(stepOf(layer, dims));
        steps.back().activation = activationOf(entry.at("activation").get<std::string>());
    }
    steps.back().activation = PCONV_ACTIVATION_NONE;
    return steps;
}

SeedRow rowOf(const std::string& table, const Json& entry) {
    SeedRow row;
    row.table = table;
    row.name = entry.at("name").get<std::string>();
    row.mask = entry.at("mask").get<std::string>();
    const auto shape = entry.at("input_shape").get<std::vector<int64_t>>();
    row.batch = shape.at(0);
    row.channels = shape.at(1);
    row.size.assign(shape.begin() + 2, shape.end());
    row.is_network = !entry.contains("layer");
    row.steps = stepsOf(entry, row.size.size());
    const Json& published = entry.at("published");
    row.published =
        PublishedTimes{published.at("nvidia_ms").get<double>(), published.at("optimized_ms").get<double>()};
    return row;
}

SeedRow multiChannelRow() {
    SeedRow row;
    row.table = "multi";
    row.name = "Multi-channel";
    row.mask = "random";
    row.batch = 32;
    row.channels = 16;
    row.size = {256, 256};
    SeedStep step = convStep(16, 32, {1, 1, 1}, 2);
    step.activation = PCONV_ACTIVATION_NONE;
    step.multi_channel = true;
    row.steps = {step};
    return row;
}

std::string kernelText(const SeedStep& step) {
    std::string text = " k" + std::to_string(step.kernel[0]);
    if (step.stride[0] != 1) text += " s" + std::to_string(step.stride[0]);
    if (step.dilation[0] != 1) text += " d" + std::to_string(step.dilation[0]);
    if (step.groups != 1) text += " g" + std::to_string(step.groups);
    return text;
}

}  // namespace

int64_t elementCount(const std::vector<int64_t>& dims) {
    return std::accumulate(dims.begin(), dims.end(), int64_t{1}, std::multiplies<>());
}

std::vector<int64_t> SeedRow::inputDims() const {
    std::vector<int64_t> dims = {batch, channels};
    dims.insert(dims.end(), size.begin(), size.end());
    return dims;
}

std::vector<int64_t> SeedRow::inputDimsOf(std::size_t step) const {
    std::vector<int64_t> dims = inputDims();
    for (std::size_t i = 0; i < step; ++i) {
        const SeedStep& s = steps[i];
        dims[1] = s.out_channels;
        for (std::size_t d = 0; d < size.size(); ++d) {
            int64_t& extent = dims[2 + d];
            if (s.upsample)
                extent *= s.factor[d];
            else
                extent =
                    (extent + 2 * s.padding[d] - s.dilation[d] * (s.kernel[d] - 1) - 1) / s.stride[d] + 1;
        }
    }
    return dims;
}

std::vector<int64_t> SeedRow::weightDimsOf(std::size_t step) const {
    const SeedStep& s = steps[step];
    std::vector<int64_t> dims = {s.out_channels, s.in_channels / s.groups};
    dims.insert(dims.end(), s.kernel.begin(), s.kernel.begin() + spatialDims());
    return dims;
}

double SeedRow::operations() const {
    double count = 0;
    for (std::size_t i = 0; i < steps.size(); ++i) {
        if (steps[i].upsample) continue;
        const int64_t products = elementCount(weightDimsOf(i)) / steps[i].out_channels;
        count += 2 * static_cast<double>(products) * static_cast<double>(elementCount(inputDimsOf(i + 1)));
    }
    return count;
}

bool SeedRow::hasUpsampling() const {
    return std::any_of(steps.begin(), steps.end(), [](const SeedStep& step) { return step.upsample; });
}

std::string SeedRow::shapeText() const {
    std::string text = "[";
    for (const int64_t d : inputDims()) text += (text.size() > 1 ? "," : "") + std::to_string(d);
    text += "]";
    if (!is_network) return text + "->" + std::to_string(steps[0].out_channels) + kernelText(steps[0]);
    for (const SeedStep& step : steps)
        text += "-" + (step.upsample ? "up" : std::to_string(step.out_channels));
    return text;
}

SeedRow SeedRow::shrunk(int64_t by) const {
    constexpr int64_t kLeastSize = 4;
    constexpr int64_t kFew = 4;  // channels of a picture stay as they are
    SeedRow row = *this;
    for (int64_t& s : row.size) s = std::min(s, std::max(kLeastSize, s / by));
    const auto fewer = [&](int64_t channel_count, int64_t multiple) {
        if (channel_count <= kFew) return channel_count;
        return std::max<int64_t>(1, channel_count / by / multiple) * multiple;
    };
    for (std::size_t i = 0; i <= row.steps.size(); ++i) {
        const int64_t before = i > 0 && !steps[i - 1].upsample ? steps[i - 1].groups : 1;
        const int64_t after = i < steps.size() ? steps[i].groups : 1;
        const int64_t count = i < steps.size() ? steps[i].in_channels : steps[i - 1].out_channels;
        const int64_t now = fewer(count, std::lcm(before, after));
        if (i > 0) row.steps[i - 1].out_channels = now;
        if (i < row.steps.size()) row.steps[i].in_channels = now;
    }
    row.channels = row.steps[0].in_channels;
    return row;
}

PartialConvDesc SeedRow::convOf(std::size_t step) const {
    const SeedStep& s = steps[step];
    const std::vector<int64_t> dims = inputDimsOf(step);
    PartialConvDesc desc(spatialDims());
    desc.batch = batch;
    desc.in_channels = s.in_channels;
    desc.out_channels = s.out_channels;
    desc.groups = s.groups;
    for (std::size_t d = 0; d < size.size(); ++d) {
        desc.input_size[d] = dims[2 + d];
        desc.kernel[d] = s.kernel[d];
        desc.stride[d] = s.stride[d];
        desc.padding[d] = s.padding[d];
        desc.dilation[d] = s.dilation[d];
    }
    desc.activation = s.activation;
    desc.has_bias = s.bias ? 1 : 0;
    desc.mask_mode = s.multi_channel ? PCONV_MASK_MODE_MULTI_CHANNEL : PCONV_MASK_MODE_SINGLE_CHANNEL;
    return desc;
}

std::vector<SeedRow> seedRows(const std::string& table) {
    if (table == "multi") return {multiChannelRow()};
    std::string key = table;
    std::replace(key.begin(), key.end(), '-', '_');
    std::vector<SeedRow> rows;
    for (const Json& entry : seedTables().at(key)) rows.push_back(rowOf(table, entry));
    return rows;
}

std::vector<int64_t> seedMaskDims(const SeedRow& row) {
    std::vector<int64_t> dims = row.inputDims();
    if (!row.steps[0].multi_channel) dims[1] = 1;
    return dims;
}

std::vector<std::uint8_t> seedMask(const SeedRow& row, std::uint32_t seed) {
    const std::vector<int64_t> dims = seedMaskDims(row);
    const std::size_t axes = row.size.size();
    const int64_t width = row.size[axes - 1];
    const int64_t height = row.size[axes - 2];
    const int64_t frames = axes == 3 ? row.size[0] : 1;
    const auto central = [](int64_t at, int64_t extent) {
        return at >= extent / 4 && at < extent - extent / 4;
    };
    std::vector<std::uint8_t> mask(static_cast<std::size_t>(elementCount(dims)), 1);
    std::mt19937 random(seed);
    std::bernoulli_distribution half(0.5);
    std::bernoulli_distribution lost(0.3);
    std::size_t at = 0;
    for (int64_t plane = 0; plane < dims[0] * dims[1]; ++plane)
        for (int64_t f = 0; f < frames; ++f) {
            const bool frame_lost = row.mask == "random_temporal"
                                        ? lost(random)
                                        : row.mask == "temporal_hole" && central(f, frames);
            for (int64_t h = 0; h < height; ++h)
                for (int64_t w = 0; w < width; ++w, ++at) {
                    const bool middle = row.mask == "center_hole" || row.mask == "spatial_hole";
                    bool hole = frame_lost || (middle && central(h, height) && central(w, width));
                    if (row.mask == "random") hole = half(random);
                    mask[at] = hole ? 0 : 1;
                }
        }
    return mask;
}

}  // namespace pconv::app
