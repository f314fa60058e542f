#include "network/model/json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/checked.h"
#include "files/file_error.h"

namespace pconv::network {

namespace {

using Json = nlohmann::ordered_json;

constexpr int kFormat = 1;
constexpr int kDims = 2;

using Names = std::vector<const char*>;  // of an enumeration, in its order
const Names kTypes = {"partial_conv", "upsample", "concat",   "conv",         "transposed_conv",
                      "linear",       "add",      "max_pool", "average_pool", "batch_norm",
                      "scale",        "sigmoid",  "crop"};
const Names kMaskTypes = {"none", "binary", "fractional"};
const Names kPolarities = {"valid_is_one", "hole_is_one"};
const Names kMaskModes = {"single_channel", "multi_channel"};
const Names kMaskWindows = {"all_channels", "group_channels"};
const Names kNormalizations = {"window_ratio", "mask_sum", "weight_magnitude"};
const Names kActivations = {"none", "relu", "leaky_relu", "gelu"};
const Names kPaddingModes = {"zeros", "reflect", "replicate", "circular"};
const Names kInterpolations = {"nearest", "linear", "linear_align_corners"};

// ---- Writing

Json inputName(int32_t input) {
    if (input == PCONV_NETWORK_INPUT) return "input";
    if (input == PCONV_LAYER_PREVIOUS) return "previous";
    return input;
}

bool joins(PconvLayerType type) {
    return type == PCONV_LAYER_TYPE_CONCAT || type == PCONV_LAYER_TYPE_ADD || type == PCONV_LAYER_TYPE_CROP;
}

// What a layer says of itself beyond the defaults.
Json layerJson(const PconvLayer& layer, int64_t channels) {
    const PconvLayer usual = pconvDefaultLayer(kDims);
    const PconvPartialConvDesc& conv = layer.conv;
    Json json;
    json["type"] = kTypes.at(static_cast<size_t>(layer.type));
    if (layer.name != nullptr) json["name"] = layer.name;
    if (joins(layer.type)) {
        json["inputs"] = {inputName(layer.input), inputName(layer.second_input)};
        for (int32_t i = 0; i < layer.more_input_count; ++i)
            json["inputs"].push_back(inputName(layer.more_inputs[i]));
    } else if (layer.input != usual.input) {
        json["input"] = inputName(layer.input);
    }
    const auto number = [&](const char* key, auto value, auto standard) {
        if (value != standard) json[key] = value;
    };
    const auto sizes = [&](const char* key, const int64_t* values, const int64_t* standard) {
        if (!std::equal(values, values + kDims, standard))
            json[key] = std::vector<int64_t>(values, values + kDims);
    };
    const auto choice = [&](const char* key, const Names& names, auto value, auto standard) {
        if (value != standard) json[key] = names.at(static_cast<size_t>(value));
    };
    const auto text = [&](const char* key, const char* value) {
        if (value != nullptr) json[key] = value;
    };
    number("channels", conv.out_channels, usual.conv.out_channels);
    number("groups", conv.groups, usual.conv.groups);
    sizes("kernel", conv.kernel, usual.conv.kernel);
    sizes("stride", conv.stride, usual.conv.stride);
    sizes("padding", conv.padding, usual.conv.padding);
    sizes("padding_end", conv.padding_end, usual.conv.padding_end);
    choice("padding_mode", kPaddingModes, conv.padding_mode, usual.conv.padding_mode);
    sizes("dilation", conv.dilation, usual.conv.dilation);
    sizes("output_padding", layer.output_padding, usual.output_padding);
    sizes("factor", layer.factor, usual.factor);
    sizes("begin", layer.begin, usual.begin);
    choice("mask_mode", kMaskModes, conv.mask_mode, usual.conv.mask_mode);
    choice("mask_window", kMaskWindows, conv.mask_window, usual.conv.mask_window);
    choice("normalization", kNormalizations, conv.normalization, usual.conv.normalization);
    number("eps", conv.eps, usual.conv.eps);
    choice("interpolation", kInterpolations, layer.interpolation, usual.interpolation);
    if (conv.mask_type == PCONV_MASK_TYPE_NONE) json["ignores_mask"] = true;
    if (conv.has_bias == 0) json["bias"] = false;
    if (layer.inside_only != 0) json["inside_only"] = true;
    text("batch_norm", layer.batch_norm);
    number("batch_norm_eps", layer.batch_norm_eps, usual.batch_norm_eps);
    choice("activation", kActivations, conv.activation, usual.conv.activation);
    number("negative_slope", conv.negative_slope, usual.conv.negative_slope);
    if (layer.scale != nullptr) json["scale"] = std::vector<float>(layer.scale, layer.scale + channels);
    if (layer.shift != nullptr) json["shift"] = std::vector<float>(layer.shift, layer.shift + channels);
    return json;
}

// ---- Reading

// An object of which every key must have been asked for in the end.
class Reader {
  public:
    Reader(const Json& json, std::string where) : json_(json), where_(std::move(where)) {
        if (!json_.is_object()) invalid(where_ + " is not an object");
    }

    [[noreturn]] void fault(const std::string& key, const std::string& expected) const {
        invalid(where_ + ": " + key + " is not " + expected);
    }

    const Json* find(const char* key) {
        seen_.push_back(key);
        const auto found = json_.find(key);
        return found == json_.end() ? nullptr : &*found;
    }

    template <typename T>
    void number(const char* key, T& value) {
        const Json* json = find(key);
        if (json == nullptr) return;
        if constexpr (std::is_integral_v<T>) {
            if (!json->is_number_integer()) fault(key, "a whole number");
            const auto wide = json->get<int64_t>();
            if (wide < std::numeric_limits<T>::min() || wide > std::numeric_limits<T>::max())
                fault(key, "a number of its range");
            value = static_cast<T>(wide);
        } else {
            if (!json->is_number()) fault(key, "a number");
            value = json->get<T>();
        }
    }

    bool flag(const char* key, bool standard) {
        const Json* json = find(key);
        if (json == nullptr) return standard;
        if (!json->is_boolean()) fault(key, "true or false");
        return json->get<bool>();
    }

    template <typename T>
    std::vector<T> numbers(const char* key) {
        const Json* json = find(key);
        std::vector<T> values;
        if (json == nullptr) return values;
        if (!json->is_array() || json->empty()) fault(key, "a list of numbers");
        for (const Json& value : *json) {
            if (std::is_integral_v<T> ? !value.is_number_integer() : !value.is_number())
                fault(key, "a list of numbers");
            values.push_back(value.get<T>());
        }
        return values;
    }

    void sizes(const char* key, int64_t* values) {
        const auto given = numbers<int64_t>(key);
        if (given.empty()) return;
        if (given.size() != kDims) fault(key, "a list of 2 numbers");
        std::copy(given.begin(), given.end(), values);
    }

    template <typename Enum>
    void choice(const char* key, const Names& names, Enum& value) {
        const Json* json = find(key);
        if (json == nullptr) return;
        const std::string text = json->is_string() ? json->get<std::string>() : "";
        for (size_t i = 0; i < names.size(); ++i)
            if (text == names[i]) {
                value = static_cast<Enum>(i);
                return;
            }
        std::string expected;
        for (const char* name : names) expected += (expected.empty() ? "'" : ", '") + std::string(name) + "'";
        fault(key, "one of " + expected);
    }

    const char* text(const char* key, Model& model) {
        const Json* json = find(key);
        if (json == nullptr) return nullptr;
        if (!json->is_string()) fault(key, "a text");
        const auto value = json->get<std::string>();
        const auto is_control = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
        if (std::any_of(value.begin(), value.end(), is_control))
            fault(key, "a text without control characters");
        return model.keep(value);
    }

    int32_t input(const Json& json, const char* key) const {
        if (json == "input") return PCONV_NETWORK_INPUT;
        if (json == "previous") return PCONV_LAYER_PREVIOUS;
        if (!json.is_number_integer() || json.get<int64_t>() < 0 || json.get<int64_t>() > INT32_MAX)
            fault(key, "'input', 'previous' or a layer's index");
        return json.get<int32_t>();
    }

    void finish() const {
        for (const auto& item : json_.items())
            if (std::find(seen_.begin(), seen_.end(), item.key()) == seen_.end())
                invalid(where_ + " has " + inQuotes(item.key()) + ", which this version does not know");
    }

  private:
    const Json& json_;
    std::string where_;
    std::vector<std::string> seen_;
};

void readInputs(Reader& reader, PconvLayer& layer, Model& model) {
    if (!joins(layer.type)) {
        if (const Json* json = reader.find("input")) layer.input = reader.input(*json, "input");
        return;
    }
    const Json* inputs = reader.find("inputs");
    if (inputs == nullptr || !inputs->is_array() || inputs->size() < 2)
        reader.fault("inputs", "a list of 2 or more");
    std::vector<int32_t> all;
    for (const Json& json : *inputs) all.push_back(reader.input(json, "inputs"));
    layer.input = all[0];
    layer.second_input = all[1];
    if (all.size() == 2) return;
    layer.more_input_count = static_cast<int32_t>(all.size()) - 2;
    layer.more_inputs = model.keep(std::vector<int32_t>(all.begin() + 2, all.end()));
}

void readLayer(const Json& json, size_t index, Model& model) {
    Reader reader(json, "layer " + std::to_string(index));
    PconvLayer layer = pconvDefaultLayer(kDims);
    if (json.find("type") == json.end()) reader.fault("type", "given");
    reader.choice("type", kTypes, layer.type);
    layer.name = reader.text("name", model);
    readInputs(reader, layer, model);
    PconvPartialConvDesc& conv = layer.conv;
    reader.number("channels", conv.out_channels);
    reader.number("groups", conv.groups);
    reader.sizes("kernel", conv.kernel);
    reader.sizes("stride", conv.stride);
    reader.sizes("padding", conv.padding);
    reader.sizes("padding_end", conv.padding_end);
    reader.choice("padding_mode", kPaddingModes, conv.padding_mode);
    reader.sizes("dilation", conv.dilation);
    reader.sizes("output_padding", layer.output_padding);
    reader.sizes("factor", layer.factor);
    reader.sizes("begin", layer.begin);
    reader.choice("mask_mode", kMaskModes, conv.mask_mode);
    reader.choice("mask_window", kMaskWindows, conv.mask_window);
    reader.choice("normalization", kNormalizations, conv.normalization);
    reader.number("eps", conv.eps);
    reader.choice("interpolation", kInterpolations, layer.interpolation);
    if (reader.flag("ignores_mask", false)) conv.mask_type = PCONV_MASK_TYPE_NONE;
    conv.has_bias = reader.flag("bias", true) ? 1 : 0;
    layer.inside_only = reader.flag("inside_only", false) ? 1 : 0;
    layer.batch_norm = reader.text("batch_norm", model);
    reader.number("batch_norm_eps", layer.batch_norm_eps);
    reader.choice("activation", kActivations, conv.activation);
    reader.number("negative_slope", conv.negative_slope);
    const auto vector = [&](const char* key) -> const float* {
        const auto values = reader.numbers<float>(key);
        if (values.empty()) return nullptr;
        // Read for as many channels as there are; which that is, a later check knows.
        model.vector_sizes.push_back({index, values.size()});
        return model.keep(values);
    };
    layer.scale = vector("scale");
    layer.shift = vector("shift");
    reader.finish();
    model.add(layer);
}

void readChannels(Reader& reader, const char* key, float (&values)[4], int32_t channels) {
    const auto given = reader.numbers<float>(key);
    if (given.empty()) return;
    if (static_cast<int32_t>(given.size()) != channels)
        reader.fault(key, "a list of " + std::to_string(channels) + " numbers");
    std::copy(given.begin(), given.end(), values);
}

}  // namespace

std::string toJson(const Model& model) {
    const PconvModelInfo& info = model.info;
    const auto list = [&](const float* values) { return std::vector<float>(values, values + info.channels); };
    Json json;
    json["format"] = kFormat;
    json["name"] = model.name;
    Json& input = json["input"];
    input["channels"] = info.channels;
    input["range"] = info.input_range;
    input["mean"] = list(info.mean);
    input["deviation"] = list(info.deviation);
    input["mask"] = kMaskTypes.at(static_cast<size_t>(model.mask_type));
    input["mask_planes"] = info.mask_planes;
    input["polarity"] = kPolarities.at(static_cast<size_t>(info.polarity));
    input["size_multiple"] = info.size_multiple;
    if (info.fixed_size != 0) input["fixed_size"] = info.fixed_size;
    Json& output = json["output"];
    if (info.classes != 0) {
        output["classes"] = info.classes;
    } else {
        output["scale"] = list(info.output_scale);
        output["shift"] = list(info.output_shift);
    }
    json["layers"] = Json::array();
    for (size_t i = 0; i < model.layers.size(); ++i) {
        int64_t channels = 0;
        for (const auto& [layer, size] : model.vector_sizes)
            if (layer == i) channels = static_cast<int64_t>(size);
        json["layers"].push_back(layerJson(model.layers[i], channels));
    }
    return json.dump();
}

void fromJson(const std::string& text, Model& model) {
    const Json json = Json::parse(text, nullptr, false);
    if (json.is_discarded()) invalid("pconv.network is not JSON");
    Reader reader(json, "pconv.network");
    int32_t format = 0;
    reader.number("format", format);
    if (format != kFormat)
        invalid("pconv.network has format " + std::to_string(format) + "; expected " +
                std::to_string(kFormat));
    if (const char* name = reader.text("name", model)) model.name = name;
    const Json* input = reader.find("input");
    const Json* output = reader.find("output");
    const Json* layers = reader.find("layers");
    if (input == nullptr) reader.fault("input", "given");
    if (layers == nullptr || !layers->is_array() || layers->empty())
        reader.fault("layers", "a list of layers");
    reader.finish();

    PconvModelInfo& info = model.info;
    Reader in(*input, "input");
    in.number("channels", info.channels);
    if (info.channels < 1 || info.channels > 4) in.fault("channels", "1 to 4");
    info.input_range = 1;
    in.number("range", info.input_range);
    std::fill_n(info.deviation, 4, 1.0F);
    readChannels(in, "mean", info.mean, info.channels);
    readChannels(in, "deviation", info.deviation, info.channels);
    for (const float deviation : info.deviation)
        if (!(deviation > 0)) in.fault("deviation", "above 0");
    in.choice("mask", kMaskTypes, model.mask_type);
    in.number("mask_planes", info.mask_planes);
    if (info.mask_planes != 0 && info.mask_planes != 1 && info.mask_planes != info.channels)
        in.fault("mask_planes", "0, 1 or the number of channels");
    in.choice("polarity", kPolarities, info.polarity);
    info.size_multiple = 1;
    in.number("size_multiple", info.size_multiple);
    in.number("fixed_size", info.fixed_size);
    if (info.size_multiple < 1 || info.size_multiple > 65536) in.fault("size_multiple", "1 to 65536");
    if (info.fixed_size < 0 || info.fixed_size > 65536) in.fault("fixed_size", "0 to 65536");
    in.finish();

    std::fill_n(info.output_scale, 4, 1.0F);
    if (output != nullptr) {
        Reader out(*output, "output");
        out.number("classes", info.classes);
        if (info.classes < 0) out.fault("classes", "0 or more");
        readChannels(out, "scale", info.output_scale, info.channels);
        readChannels(out, "shift", info.output_shift, info.channels);
        out.finish();
    }
    for (size_t i = 0; i < layers->size(); ++i) readLayer((*layers)[i], i, model);
}

}  // namespace pconv::network
