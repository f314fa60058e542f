// The weights of a network: set by hand, or read from a file under PyTorch's names.
#include <cmath>

#include "core/checked.h"
#include "core/half.h"
#include "core/operands.h"
#include "files/safetensors.h"
#include "network/network.h"

using namespace pconv;
using namespace pconv::network;

namespace {

std::string shapeText(const std::vector<uint64_t>& shape) {
    std::string text = "[";
    for (const uint64_t d : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(d);
    return text + "]";
}

const SafetensorsTensor* findChecked(SafetensorsReader& file, const std::string& name,
                                     const std::vector<uint64_t>& shape) {
    const SafetensorsTensor* tensor = file.find(name);
    if (tensor != nullptr && tensor->shape != shape)
        invalid(file.fileName() + ": tensor " + inQuotes(name) + " has shape " + shapeText(tensor->shape) +
                "; expected " + shapeText(shape));
    return tensor;
}

std::vector<float> readFloats(SafetensorsReader& file, const std::string& name,
                              const std::vector<uint64_t>& shape) {
    const SafetensorsTensor* tensor = findChecked(file, name, shape);
    if (tensor == nullptr)
        invalid(file.fileName() + " has no tensor " + inQuotes(name) + " of shape " + shapeText(shape));
    const std::string& type = tensor->type_name;
    if (type == "F32") return file.readF32(name);
    if (type != "F16" && type != "BF16")
        invalid(file.fileName() + ": tensor " + inQuotes(name) + " is " +
                (tensor->type == nullptr ? inQuotes(type) : type) + "; expected F32, F16 or BF16");
    std::vector<uint16_t> halves(static_cast<size_t>(tensor->elementCount()));
    file.read(name, halves.data());
    std::vector<float> values(halves.size());
    for (size_t i = 0; i < halves.size(); ++i)
        values[i] = type == "F16" ? floatFromF16(halves[i]) : floatFromBf16(halves[i]);
    return values;
}

struct LayerWeights {
    int32_t layer;
    std::vector<int64_t> shape;
    std::vector<float> weight, bias;
};

// Ioffe and Szegedy, 2015, at inference: y * scale + (beta - mean * scale) with scale = gamma / sqrt(var +
// eps).
void foldBatchNorm(SafetensorsReader& file, const std::string& prefix, const Layer& layer,
                   LayerWeights& weights) {
    const std::vector<uint64_t> vector{weights.bias.size()};
    const std::string name = prefix + layer.batch_norm;
    const auto gamma = readFloats(file, name + ".weight", vector);
    const auto beta = readFloats(file, name + ".bias", vector);
    const auto mean = readFloats(file, name + ".running_mean", vector);
    const auto var = readFloats(file, name + ".running_var", vector);
    const size_t per_channel = weights.weight.size() / weights.bias.size();
    for (size_t c = 0; c < weights.bias.size(); ++c) {
        const double scale =
            static_cast<double>(gamma[c]) / std::sqrt(static_cast<double>(var[c]) + layer.batch_norm_eps);
        for (size_t i = 0; i < per_channel; ++i) {
            float& w = weights.weight[c * per_channel + i];
            w = static_cast<float>(static_cast<double>(w) * scale);
        }
        weights.bias[c] =
            static_cast<float>((static_cast<double>(weights.bias[c]) - static_cast<double>(mean[c])) * scale +
                               static_cast<double>(beta[c]));
    }
}

LayerWeights readLayer(SafetensorsReader& file, const std::string& prefix, const Layer& layer,
                       int32_t index) {
    if (layer.name.empty())
        invalid(layerName(layer, static_cast<size_t>(index)) + " has no name to look for in a file");
    const PconvPartialConvDesc& conv = layer.conv;
    LayerWeights result{index, {conv.out_channels, conv.in_channels / conv.groups}, {}, {}};
    for (int i = 0; i < conv.spatial_dims; ++i) result.shape.push_back(conv.kernel[i]);
    const std::string name = prefix + layer.name;
    result.weight = readFloats(file, name + ".weight", {result.shape.begin(), result.shape.end()});
    if (conv.has_bias == 0) return result;
    const std::vector<uint64_t> vector{static_cast<uint64_t>(conv.out_channels)};
    // A convolution before a batch normalization is usually made without one.
    if (!layer.batch_norm.empty() && findChecked(file, name + ".bias", vector) == nullptr)
        result.bias.assign(static_cast<size_t>(conv.out_channels), 0.0F);
    else
        result.bias = readFloats(file, name + ".bias", vector);
    if (!layer.batch_norm.empty()) foldBatchNorm(file, prefix, layer, result);
    return result;
}

// A contiguous tensor of the network's type on its device.
struct Uploaded {
    OwnedBuffer buffer;
    PconvTensor view{};
};

Uploaded upload(PconvDevice device, const std::vector<float>& values, const std::vector<int64_t>& shape,
                DataType type) {
    Uploaded result;
    PconvBuffer buffer = nullptr;
    check(pconvCreateBuffer(device, values.size() * sizeOf(type), &buffer));
    result.buffer.reset(buffer);
    if (type == DataType::f32) {
        check(pconvWriteBuffer(buffer, 0, values.data(), values.size() * sizeof(float)));
    } else {
        std::vector<uint16_t> halves(values.size());
        for (size_t i = 0; i < values.size(); ++i)
            halves[i] = type == DataType::f16 ? f16FromFloat(values[i]) : bf16FromFloat(values[i]);
        check(pconvWriteBuffer(buffer, 0, halves.data(), halves.size() * sizeof(uint16_t)));
    }
    result.view.buffer = buffer;
    result.view.data_type = static_cast<PconvDataType>(type);
    result.view.rank = static_cast<int32_t>(shape.size());
    for (size_t i = 0; i < shape.size(); ++i) result.view.dims[i] = shape[i];
    return result;
}

void setWeights(PconvNetwork_T& network, int32_t layer, const PconvTensor* weight, const PconvTensor* bias) {
    const auto index = static_cast<size_t>(layer);
    PconvMaskUpdate_T& update = *network.updates[index];
    const bool weighted = update.desc.maskedConvolution() && update.desc.mask_type != MaskType::none;
    {
        const DeviceLock lock(*network.device);
        network.passes.clear();  // they were recorded with the weights of then
        if (weighted) network.masks_computed = false;
    }
    check(pconvSetPartialConvWeights(network.convs[index].get(), weight, bias));
    if (weighted) check(pconvSetMaskUpdateWeights(&update, weight));
}

}  // namespace

PconvStatus pconvSetNetworkWeights(PconvNetwork network, int32_t layer, const PconvTensor* weight,
                                   const PconvTensor* bias) {
    return guarded([&] {
        PconvNetwork_T& object = notNull(network, "network");
        if (layer < 0 || static_cast<size_t>(layer) >= object.convs.size() ||
            !object.convs[static_cast<size_t>(layer)])
            invalid("layer is " + std::to_string(layer) + "; expected the index of a partial convolution");
        setWeights(object, layer, weight, bias);
    });
}

PconvStatus pconvLoadNetworkWeights(PconvNetwork network, const char* path, const char* prefix) {
    return guarded([&] {
        PconvNetwork_T& object = notNull(network, "network");
        const std::string before = prefix != nullptr ? prefix : "";
        std::vector<LayerWeights> all;
        try {
            SafetensorsReader file(&notNull(path, "path"));
            for (size_t i = 0; i < object.convs.size(); ++i)
                if (object.convs[i])
                    all.push_back(readLayer(file, before, object.plan.layers[i], static_cast<int32_t>(i)));
        } catch (const FileError& error) {
            invalid(error.what());
        }
        PconvDevice_T device{object.device};
        std::vector<std::pair<Uploaded, Uploaded>> uploads;
        for (const LayerWeights& weights : all) {
            auto& [weight, bias] = uploads.emplace_back();
            weight = upload(&device, weights.weight, weights.shape, object.plan.data_type);
            if (!weights.bias.empty())
                bias = upload(&device, weights.bias, {weights.shape[0]}, object.plan.data_type);
        }
        for (size_t i = 0; i < all.size(); ++i)
            setWeights(object, all[i].layer, &uploads[i].first.view,
                       uploads[i].second.buffer ? &uploads[i].second.view : nullptr);
    });
}
