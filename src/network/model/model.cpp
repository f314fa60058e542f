// Models of the C API: by name, from files, and as networks.
#include <algorithm>

#include "core/checked.h"
#include "core/handles.h"
#include "files/safetensors.h"
#include "network/layer_kind.h"
#include "network/model/json.h"

using namespace pconv;
using namespace pconv::network;

namespace {

constexpr const char* kMetadataKey = "pconv.network";

void describe(const Model& model, PconvNetworkDesc& desc) {
    desc.spatial_dims = 2;
    desc.channels = model.info.channels;
    desc.mask_type = model.mask_type;
    desc.mask_planes = 1;
    desc.mask_batch = 1;
    desc.polarity = PCONV_MASK_VALID_IS_ONE;
    for (int i = 0; i < 2; ++i)
        if (desc.size[i] == 0) desc.size[i] = model.info.fixed_size;
    desc.layer_count = static_cast<int32_t>(model.layers.size());
    desc.layers = model.layers.data();
}

// A size the model can be planned for, where the caller has none.
PconvNetworkDesc anySize(const Model& model) {
    PconvNetworkDesc desc = pconvDefaultNetworkDesc(2);
    describe(model, desc);
    for (int i = 0; i < 2; ++i)
        if (desc.size[i] == 0) desc.size[i] = std::max<int64_t>(model.info.size_multiple, 1);
    return desc;
}

void finish(Model& model) {
    model.info.struct_size = sizeof model.info;
    model.info.name = model.keep(model.name);
    model.json = toJson(model);
}

// The description itself, planned: its faults, and how many channels a SCALE layer has.
Plan planned(const Model& model) {
    const PconvNetworkDesc desc = anySize(model);
    const Description description(&desc);
    for (const auto& [layer, size] : model.vector_sizes) description.expectVector(layer, size);
    return makePlan(description, Layout::contiguous);
}

void readDescription(const SafetensorsReader& file, Model& model) {
    const auto found = file.metadata().find(kMetadataKey);
    if (found == file.metadata().end())
        invalid(file.fileName() +
                " has no description of a network (metadata pconv.network); 'pconv model import' makes such "
                "files");
    try {
        fromJson(found->second, model);
    } catch (const Error& error) {
        fail(error.status(), file.fileName() + ": " + error.what());
    }
}

// Asks for every weight.
void readTensors(WeightFile& file, const Plan& plan) {
    for (size_t i = 0; i < plan.layers.size(); ++i) {
        const Layer& layer = plan.layers[i];
        if (!kindOf(layer.type).hasWeights(layer)) continue;
        if (layer.name.empty()) invalid(layerName(layer, i) + " has no name to look for in a file");
        kindOf(layer.type).readWeights(file, layer);
    }
}

PconvTensorAnswer lookUp(void* user, const char* name, int32_t rank, const int64_t* shape,
                         int32_t /*optional*/, float* /*values*/) {
    const SafetensorsTensor* tensor = static_cast<const SafetensorsReader*>(user)->find(name);
    if (tensor == nullptr) return PCONV_TENSOR_MISSING;
    const bool same = std::equal(tensor->shape.begin(), tensor->shape.end(), shape, shape + rank,
                                 [](uint64_t a, int64_t b) { return static_cast<int64_t>(a) == b; });
    return same ? PCONV_TENSOR_GIVEN : PCONV_TENSOR_SHAPE_DIFFERS;
}

// That every weight is there, and as described.
void checkTensors(SafetensorsReader& file, const Model& model) {
    CallersWeights asked(lookUp, &file, true);
    try {
        readTensors(asked, planned(model));
    } catch (const Error& error) {
        fail(error.status(), file.fileName() + ": " + error.what());
    }
}

// As PyTorch counts them: without running statistics, nor the bias that a batch normalization makes needless.
int64_t parametersOf(const Layer& layer) {
    const PconvPartialConvDesc& conv = layer.conv;
    const int64_t channels = layer.pass.channels;
    if (layer.type == PCONV_LAYER_TYPE_BATCH_NORM) return 2 * channels;
    if (!kindOf(layer.type).hasWeights(layer))
        return static_cast<int64_t>(layer.scale.size() + layer.shift.size());
    if (layer.type == PCONV_LAYER_TYPE_SCALE) return 2 * channels;
    int64_t count = conv.out_channels * (conv.in_channels / conv.groups);
    for (int i = 0; i < conv.spatial_dims; ++i) count *= conv.kernel[i];
    if (layer.type == PCONV_LAYER_TYPE_TRANSPOSED_CONV)
        return count + (layer.has_bias ? conv.in_channels : 0);
    if (!layer.batch_norm.empty()) return count + 2 * conv.out_channels;
    return count + (conv.has_bias != 0 ? conv.out_channels : 0);
}

int64_t multiplyAddsOf(const Layer& layer, const Plan& plan) {
    const PconvPartialConvDesc& conv = layer.conv;
    if (conv.out_channels == 0) return 0;
    const bool turned = layer.type == PCONV_LAYER_TYPE_TRANSPOSED_CONV;
    int64_t count = conv.out_channels * (conv.in_channels / conv.groups) *
                    volume(plan.values[turned ? layer.inputs[0] : layer.output].size);
    for (int i = 0; i < conv.spatial_dims; ++i) count *= conv.kernel[i];
    return count;
}

}  // namespace

PconvStatus pconvCreateModel(const char* name, const PconvModelOptions* options, PconvModel* model) {
    return guarded([&] {
        const std::string wanted = &notNull(name, "name");
        notNull(model, "model");
        PconvModelOptions given = pconvDefaultModelOptions();
        if (options != nullptr) given = copyVersioned(options, given, "options");
        for (const Preset& preset : presets()) {
            if (wanted != preset.name) continue;
            auto made = std::make_unique<PconvModel_T>();
            made->model.name = wanted;
            const int32_t count = preset.classifies ? given.classes : given.levels;
            if ((preset.classifies ? given.levels : given.classes) != 0)
                invalid(wanted + " has no " + (preset.classifies ? "levels" : "classes") + " to choose");
            if (count < 0)
                invalid(std::string(preset.classifies ? "classes" : "levels") + " is " +
                        std::to_string(count) + "; expected 0 or more");
            preset.make(made->model, count);
            finish(made->model);
            *model = made.release();
            return;
        }
        std::string names;
        for (const Preset& preset : presets())
            names += (names.empty() ? "" : ", ") + std::string(preset.name);
        invalid("no network is called '" + wanted + "'; expected one of " + names);
    });
}

const char* pconvGetModelName(int32_t index) {
    const auto& all = presets();
    return index >= 0 && static_cast<size_t>(index) < all.size() ? all[static_cast<size_t>(index)].name
                                                                 : nullptr;
}

PconvStatus pconvLoadModel(const char* path, PconvModel* model) {
    return guarded([&] {
        notNull(path, "path");
        notNull(model, "model");
        auto made = std::make_unique<PconvModel_T>();
        try {
            SafetensorsReader file(path);
            readDescription(file, made->model);
            checkTensors(file, made->model);
        } catch (const FileError& error) {
            invalid(error.what());
        }
        finish(made->model);
        *model = made.release();
    });
}

void pconvReleaseModel(PconvModel model) {
    delete model;
}

PconvStatus pconvGetModelInfo(PconvModel model, PconvModelInfo* info) {
    return guarded([&] { storeVersioned(notNull(model, "model").model.info, info, "info"); });
}

PconvStatus pconvGetModelNetworkDesc(PconvModel model, PconvNetworkDesc* desc) {
    return guarded([&] {
        const Model& object = notNull(model, "model").model;
        PconvNetworkDesc filled = copyVersioned(desc, pconvDefaultNetworkDesc(2), "desc");
        describe(object, filled);
        storeVersioned(filled, desc, "desc");
    });
}

PconvStatus pconvReadModelTensors(PconvModel model, PconvTensorSource source, void* user) {
    return guarded([&] {
        const Model& object = notNull(model, "model").model;
        if (source == nullptr) invalid("source is null");
        CallersWeights asked(source, user, true);
        readTensors(asked, planned(object));
    });
}

PconvStatus pconvGetModelLayerInfo(PconvModel model, const int64_t size[PCONV_MAX_SPATIAL_DIMS],
                                   int32_t layer, PconvLayerInfo* info) {
    return guarded([&] {
        const Model& object = notNull(model, "model").model;
        PconvNetworkDesc desc = pconvDefaultNetworkDesc(2);
        for (int i = 0; i < 2 && size != nullptr; ++i) desc.size[i] = size[i];
        describe(object, desc);
        const Description description(&desc);
        const Plan plan = makePlan(description, Layout::contiguous);
        if (layer < 0 || static_cast<size_t>(layer) >= plan.layers.size())
            invalid("layer is " + std::to_string(layer) + "; expected 0 to " +
                    std::to_string(plan.layers.size() - 1));
        const auto index = static_cast<size_t>(layer);
        const Layer& from = plan.layers[index];
        const Value& output = plan.values[from.output];
        PconvLayerInfo filled = pconvDefaultLayerInfo();
        filled.type = from.type;
        filled.name = object.layers[index].name;
        filled.channels = output.channels;
        filled.size[0] = output.size[1];
        filled.size[1] = output.size[2];
        filled.size[2] = 1;
        for (const MaskPart& part : output.mask.parts)
            filled.mask_planes += static_cast<int32_t>(part.planes);
        filled.parameters = parametersOf(from);
        filled.multiply_adds = multiplyAddsOf(from, plan);
        filled.arena_bytes = static_cast<int64_t>(plan.arena_bytes);
        storeVersioned(filled, info, "info");
    });
}

PconvStatus pconvGetModelJson(PconvModel model, const char** json) {
    return guarded([&] { notNull(json, "json") = notNull(model, "model").model.json.c_str(); });
}

PconvStatus pconvLoadNetwork(PconvDevice device, const char* path, const int64_t size[PCONV_MAX_SPATIAL_DIMS],
                             PconvNetwork* network) {
    return pconvLoadNetworkWithMath(device, path, size, PCONV_MATH_EXACT, network);
}

PconvStatus pconvLoadNetworkWithMath(PconvDevice device, const char* path,
                                     const int64_t size[PCONV_MAX_SPATIAL_DIMS], PconvMath math,
                                     PconvNetwork* network) {
    return guarded([&] {
        notNull(device, "device");
        notNull(network, "network");
        PconvModel loaded = nullptr;
        check(pconvLoadModel(path, &loaded));
        const std::unique_ptr<PconvModel_T> model(loaded);
        PconvNetworkDesc desc = pconvDefaultNetworkDesc(2);
        if (size == nullptr && model->model.info.fixed_size == 0)
            invalid("size is null; the model takes any");
        for (int i = 0; i < 2; ++i) desc.size[i] = size != nullptr ? size[i] : 0;
        const PconvModelInfo& info = model->model.info;
        for (int i = 0; i < 2; ++i)
            if (desc.size[i] % info.size_multiple != 0)
                invalid("size[" + std::to_string(i) + "] is " + std::to_string(desc.size[i]) +
                        "; expected a multiple of " + std::to_string(info.size_multiple));
        describe(model->model, desc);
        desc.resizable = 1;
        desc.math = math;
        PconvNetwork made = nullptr;
        check(pconvCreateNetwork(device, &desc, &made));
        Owned<PconvNetwork, pconvReleaseNetwork> owned(made);
        check(pconvLoadNetworkWeights(made, path, nullptr));
        *network = owned.release();
    });
}
