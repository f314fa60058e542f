// The weights of a network: set by hand, or read from a file under PyTorch's names.
#include "network/weights.h"

#include <algorithm>
#include <cmath>

#include "core/checked.h"
#include "core/half.h"
#include "network/layer_kind.h"
#include "network/network.h"

namespace pconv::network {

namespace {

std::string shapeText(const std::vector<int64_t>& shape) {
    std::string text = "[";
    for (const int64_t d : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(d);
    return text + "]";
}

}  // namespace

std::vector<float> SafetensorsWeights::read(const std::string& suffix, const std::vector<int64_t>& shape) {
    const std::string name = prefix_ + suffix;
    const SafetensorsTensor* tensor = file_.find(name);
    if (tensor == nullptr)
        invalid(file_.fileName() + " has no tensor " + inQuotes(name) + " of shape " + shapeText(shape));
    const std::vector<int64_t> found(tensor->shape.begin(), tensor->shape.end());
    if (found != shape)
        invalid(file_.fileName() + ": tensor " + inQuotes(name) + " has shape " + shapeText(found) +
                "; expected " + shapeText(shape));
    const std::string& type = tensor->type_name;
    if (type != "F32" && type != "F16" && type != "BF16")
        invalid(file_.fileName() + ": tensor " + inQuotes(name) + " is " +
                (tensor->type == nullptr ? inQuotes(type) : type) + "; expected F32, F16 or BF16");
    if (type == "F32") return file_.readF32(name);
    std::vector<uint16_t> halves(static_cast<size_t>(tensor->elementCount()));
    file_.read(name, halves.data());
    std::vector<float> values(halves.size());
    for (size_t i = 0; i < halves.size(); ++i)
        values[i] = type == "F16" ? floatFromF16(halves[i]) : floatFromBf16(halves[i]);
    return values;
}

bool SafetensorsWeights::has(const std::string& name, const std::vector<int64_t>& /*shape*/) {
    return file_.find(prefix_ + name) != nullptr;
}

std::vector<float> CallersWeights::read(const std::string& name, const std::vector<int64_t>& shape) {
    size_t count = 1;
    for (const int64_t size : shape) count *= static_cast<size_t>(size);
    // Where only names and shapes are asked for, nothing is filled, and one number a channel stands for all:
    // a description may ask for more than there is memory.
    std::vector<float> values(ask_only_ ? 0 : count);
    const PconvTensorAnswer answer = source_(user_, name.c_str(), static_cast<int32_t>(shape.size()),
                                             shape.data(), 0, ask_only_ ? nullptr : values.data());
    if (answer == PCONV_TENSOR_SHAPE_DIFFERS)
        invalid("tensor " + inQuotes(name) + " has another shape; expected " + shapeText(shape));
    if (answer != PCONV_TENSOR_GIVEN)
        invalid("there is no tensor " + inQuotes(name) + " of shape " + shapeText(shape));
    if (ask_only_) values.resize(static_cast<size_t>(shape[0]));
    return values;
}

bool CallersWeights::has(const std::string& name, const std::vector<int64_t>& shape) {
    return source_(user_, name.c_str(), static_cast<int32_t>(shape.size()), shape.data(), 1, nullptr) !=
           PCONV_TENSOR_MISSING;
}

// Ioffe and Szegedy, 2015, at inference: y * scale + (beta - mean * scale) with scale = gamma / sqrt(var +
// eps).
FoldedNorm readBatchNorm(WeightFile& file, const std::string& name, int64_t channels, double eps) {
    const auto gamma = file.read(name + ".weight", {channels});
    const auto beta = file.read(name + ".bias", {channels});
    const auto mean = file.read(name + ".running_mean", {channels});
    const auto var = file.read(name + ".running_var", {channels});
    FoldedNorm result;
    for (size_t c = 0; c < gamma.size(); ++c) {
        const double scale = static_cast<double>(gamma[c]) / std::sqrt(static_cast<double>(var[c]) + eps);
        result.scale.push_back(scale);
        result.shift.push_back(static_cast<double>(beta[c]) - static_cast<double>(mean[c]) * scale);
    }
    return result;
}

LayerWeights readConvolution(WeightFile& file, const Layer& layer, const std::vector<int64_t>& shape) {
    const PconvPartialConvDesc& conv = layer.conv;
    LayerWeights result{shape, file.read(layer.name + ".weight", shape), {}, false};
    if (conv.has_bias == 0) return result;
    const int64_t channels = conv.out_channels;
    // A convolution before a batch normalization is usually made without one.
    if (!layer.batch_norm.empty() && !file.has(layer.name + ".bias", {channels}))
        result.bias.assign(static_cast<size_t>(channels), 0.0F);
    else
        result.bias = file.read(layer.name + ".bias", {channels});
    if (layer.batch_norm.empty()) return result;
    const FoldedNorm norm = readBatchNorm(file, layer.batch_norm, channels, layer.batch_norm_eps);
    const size_t per_channel = result.weight.size() / norm.scale.size();
    for (size_t i = 0; i < result.weight.size(); ++i)
        result.weight[i] =
            static_cast<float>(static_cast<double>(result.weight[i]) * norm.scale[i / per_channel]);
    for (size_t c = 0; c < norm.scale.size(); ++c)
        result.bias[c] =
            static_cast<float>(static_cast<double>(result.bias[c]) * norm.scale[c] + norm.shift[c]);
    return result;
}

namespace {

Uploaded makeTensor(PconvDevice device, const std::vector<int64_t>& shape, DataType type) {
    Uploaded result;
    size_t count = 1;
    for (const int64_t size : shape) count *= static_cast<size_t>(size);
    result.buffer = makeBuffer(device, count * sizeOf(type));
    result.view.buffer = result.buffer.get();
    result.view.data_type = static_cast<PconvDataType>(type);
    result.view.rank = static_cast<int32_t>(shape.size());
    std::copy(shape.begin(), shape.end(), result.view.dims);
    return result;
}

}  // namespace

Uploaded upload(PconvDevice device, const std::vector<float>& values, const std::vector<int64_t>& shape,
                DataType type) {
    Uploaded result = makeTensor(device, shape, type);
    if (type == DataType::f32) {
        check(pconvWriteBuffer(result.view.buffer, 0, values.data(), values.size() * sizeof(float)));
        return result;
    }
    std::vector<uint16_t> halves(values.size());
    for (size_t i = 0; i < values.size(); ++i)
        halves[i] = type == DataType::f16 ? f16FromFloat(values[i]) : bf16FromFloat(values[i]);
    check(pconvWriteBuffer(result.view.buffer, 0, halves.data(), halves.size() * sizeof(uint16_t)));
    return result;
}

Uploaded copyOf(PconvDevice device, const PconvTensor& tensor) {
    Uploaded result = makeTensor(device, {tensor.dims, tensor.dims + tensor.rank},
                                 static_cast<DataType>(enumNumber(tensor.data_type)));
    check(pconvConvertTensor(&tensor, &result.view));
    return result;
}

void setWeights(PconvNetwork_T& network, Prepared& prepared, size_t layer, const PconvTensor* weight,
                const PconvTensor* bias) {
    {
        const DeviceLock lock(*network.device);
        prepared.passes.clear();  // they were recorded with the weights of then
    }
    if (kindOf(prepared.plan.layers[layer].type).setWeights(prepared, layer, weight, bias))
        prepared.masks_computed = false;
    prepared.layers[layer].has_weights = true;
}

namespace {

// Other shapes have the weights of before.
void forgetOtherShapes(PconvNetwork_T& network) {
    while (network.prepared.size() > 1) network.prepared.pop_back();
}

void keepCopies(PconvNetwork_T& network, size_t layer, const PconvTensor* weight, const PconvTensor* bias) {
    if (network.kept.empty()) return;
    PconvDevice_T device{network.device};
    KeptWeights copies;
    copies.given = true;
    if (weight != nullptr) copies.weight = copyOf(&device, *weight);
    if (bias != nullptr) copies.bias = copyOf(&device, *bias);
    network.kept[layer] = std::move(copies);
}

}  // namespace

}  // namespace pconv::network

using namespace pconv;
using namespace pconv::network;

PconvStatus pconvSetNetworkWeights(PconvNetwork network, int32_t layer, const PconvTensor* weight,
                                   const PconvTensor* bias) {
    return guarded([&] {
        PconvNetwork_T& object = notNull(network, "network");
        const auto& layers = object.current().plan.layers;
        const auto index = static_cast<size_t>(layer);
        if (layer < 0 || index >= layers.size() || !kindOf(layers[index].type).hasWeights(layers[index]))
            invalid("layer is " + std::to_string(layer) + "; expected the index of a layer with weights");
        setWeights(object, object.current(), index, weight, bias);
        keepCopies(object, index, weight, bias);
        forgetOtherShapes(object);
    });
}

namespace {

KeptWeights uploaded(const PconvNetwork_T& network, const LayerWeights& weights) {
    PconvDevice_T device{network.device};
    const DataType stored = weights.vectors ? DataType::f32 : network.current().plan.data_type;
    KeptWeights result;
    result.given = true;
    result.weight = upload(&device, weights.weight, weights.shape, stored);
    if (!weights.bias.empty())
        result.bias = upload(&device, weights.bias, {static_cast<int64_t>(weights.bias.size())}, stored);
    return result;
}

LayerWeights readLayer(WeightFile& file, const Layer& layer, size_t index) {
    if (layer.name.empty()) invalid(layerName(layer, index) + " has no name to look for in a file");
    return kindOf(layer.type).readWeights(file, layer);
}

// Each is gone before the next is read.
void loadOneByOne(PconvNetwork_T& network, WeightFile& file, const std::vector<size_t>& with_weights) {
    Prepared& prepared = network.current();
    forgetOtherShapes(network);
    try {
        for (const size_t i : with_weights) {
            KeptWeights given = uploaded(network, readLayer(file, prepared.plan.layers[i], i));
            setWeights(network, prepared, i, given.weight.get(), given.bias.get());
            if (!network.kept.empty()) network.kept[i] = std::move(given);
        }
    } catch (...) {
        for (LayerState& layer : prepared.layers) layer.has_weights = false;
        for (KeptWeights& kept : network.kept) kept = {};
        throw;
    }
}

void loadWeights(PconvNetwork_T& network, WeightFile& file) {
    Prepared& prepared = network.current();
    const auto& layers = prepared.plan.layers;
    std::vector<size_t> with_weights;
    bool has_any = false;
    for (size_t i = 0; i < layers.size(); ++i) {
        if (kindOf(layers[i].type).hasWeights(layers[i])) with_weights.push_back(i);
        has_any = has_any || prepared.layers[i].has_weights;
    }
    if (!has_any) return loadOneByOne(network, file, with_weights);
    // A fault leaves those of before: all are read first.
    std::vector<KeptWeights> uploads;
    for (const size_t i : with_weights) uploads.push_back(uploaded(network, readLayer(file, layers[i], i)));
    for (size_t i = 0; i < with_weights.size(); ++i) {
        KeptWeights& given = uploads[i];
        setWeights(network, prepared, with_weights[i], given.weight.get(), given.bias.get());
        if (!network.kept.empty()) network.kept[with_weights[i]] = std::move(given);
        given = {};
    }
    forgetOtherShapes(network);
}

}  // namespace

PconvStatus pconvLoadNetworkWeights(PconvNetwork network, const char* path, const char* prefix) {
    return guarded([&] {
        PconvNetwork_T& object = notNull(network, "network");
        try {
            SafetensorsWeights file(&notNull(path, "path"), prefix != nullptr ? prefix : "");
            loadWeights(object, file);
        } catch (const FileError& error) {
            invalid(error.what());
        }
    });
}

PconvStatus pconvReadNetworkWeights(PconvNetwork network, PconvTensorSource source, void* user) {
    return guarded([&] {
        PconvNetwork_T& object = notNull(network, "network");
        if (source == nullptr) invalid("source is null");
        CallersWeights file(source, user, false);
        loadWeights(object, file);
    });
}
