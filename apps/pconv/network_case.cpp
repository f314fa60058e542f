// Whole networks: cases with a seed in place of weights, so that their files are small; and model files.
#include "network_case.h"

#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>

#include "typed_tensor.h"

namespace pconv::app {
namespace {

constexpr uint64_t kGolden = 0x9E3779B97F4A7C15;

uint64_t fnv1a(const std::string& text) {
    uint64_t hash = 0xCBF29CE484222325;
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3;
    return hash;
}

uint64_t splitmix(uint64_t z) {
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return z ^ z >> 31;
}

/// The tensors of a case: named, shaped, and made of the seed.
class SeededTensors {
  public:
    explicit SeededTensors(const SafetensorsReader& file) : file_(file) {
        const std::string& seed = require("seed");
        const auto parsed = std::from_chars(seed.data(), seed.data() + seed.size(), seed_);
        if (parsed.ec != std::errc() || parsed.ptr != seed.data() + seed.size())
            fail("seed is " + inQuotes(seed) + "; expected a whole number");
        const auto json = nlohmann::json::parse(require("tensors"), nullptr, false);
        if (!json.is_object()) fail("tensors is not a JSON object");
        for (const auto& item : json.items()) tensors_[item.key()] = parse(item.key(), item.value());
    }

    [[noreturn]] void fail(const std::string& line) const { throw FileError(file_.fileName() + ": " + line); }

    const std::string& require(const std::string& key) const {
        const auto found = file_.metadata().find(key);
        if (found == file_.metadata().end()) fail("no metadata " + inQuotes(key));
        return found->second;
    }

    int32_t number(const std::string& key) const {
        const auto found = file_.metadata().find(key);
        if (found == file_.metadata().end()) return 0;
        int32_t value = 0;
        const char* const end = found->second.data() + found->second.size();
        const auto parsed = std::from_chars(found->second.data(), end, value);
        if (parsed.ec != std::errc() || parsed.ptr != end || value < 1)
            fail(key + " is " + inQuotes(found->second) + "; expected a whole number of at least 1");
        return value;
    }

    /// Null where there is none.
    const std::vector<int64_t>* shape(const std::string& name) const {
        const auto found = tensors_.find(name);
        return found == tensors_.end() ? nullptr : &found->second.shape;
    }

    void fill(const std::string& name, float* values) const {
        const Tensor& tensor = tensors_.at(name);
        int64_t count = 1;
        for (const int64_t size : tensor.shape) count *= size;
        uint64_t state = fnv1a(name) + seed_;
        constexpr double kUnit = 1.0 / (1 << 23);
        for (int64_t i = 0; i < count; ++i) {
            state += kGolden;
            const auto number = static_cast<double>(splitmix(state) >> 40);
            values[i] = static_cast<float>(tensor.offset + tensor.scale * (number * kUnit - 1));
        }
    }

  private:
    struct Tensor {
        std::vector<int64_t> shape;
        double offset = 0, scale = 0;
    };

    Tensor parse(const std::string& name, const nlohmann::json& json) const {
        Tensor tensor;
        bool good = json.is_object() && json.contains("shape") && json["shape"].is_array() &&
                    json.value("offset", nlohmann::json()).is_number() &&
                    json.value("scale", nlohmann::json()).is_number();
        int64_t count = 1;
        constexpr int64_t kMost = int64_t{1} << 32;
        if (good)
            for (const auto& size : json["shape"]) {
                good = good && size.is_number_integer() && size.get<int64_t>() >= 1 &&
                       size.get<int64_t>() <= kMost / count;
                if (!good) break;
                tensor.shape.push_back(size.get<int64_t>());
                count *= tensor.shape.back();
            }
        if (!good) fail("tensors: " + inQuotes(name) + " has no shape, offset and scale");
        tensor.offset = json["offset"].get<double>();
        tensor.scale = json["scale"].get<double>();
        return tensor;
    }

    const SafetensorsReader& file_;
    uint64_t seed_ = 0;
    std::map<std::string, Tensor> tensors_;
};

PconvTensorAnswer giveTensor(void* user, const char* name, int32_t rank, const int64_t* shape,
                             int32_t /*optional*/, float* values) {
    const auto& tensors = *static_cast<const SeededTensors*>(user);
    const std::vector<int64_t>* found = tensors.shape(name);
    if (found == nullptr) return PCONV_TENSOR_MISSING;
    if (*found != std::vector<int64_t>(shape, shape + rank)) return PCONV_TENSOR_SHAPE_DIFFERS;
    if (values != nullptr) tensors.fill(name, values);
    return PCONV_TENSOR_GIVEN;
}

/// The planes of a mask as [mask batch, planes, S...].
NetworkCaseResult maskOf(const Network& network) {
    NetworkCaseResult result{"mask", {}, {}};
    std::vector<std::vector<float>> segments;
    for (const PconvMaskSegment& segment : network.outputMask()) {
        const PconvTensor& planes = segment.planes;
        segments.push_back(maskValuesOf(planes));
        if (result.shape.empty())
            result.shape.assign(planes.dims, planes.dims + planes.rank);
        else
            result.shape[1] += static_cast<std::uint64_t>(planes.dims[1]);
    }
    const std::size_t batch = result.shape.empty() ? 0 : result.shape[0];
    for (std::size_t n = 0; n < batch; ++n)
        for (const std::vector<float>& values : segments) {
            const auto of_one = static_cast<std::ptrdiff_t>(values.size() / batch);
            const auto begin = values.begin() + static_cast<std::ptrdiff_t>(n) * of_one;
            result.values.insert(result.values.end(), begin, begin + of_one);
        }
    return result;
}

struct Input {
    std::vector<int64_t> shape;
    std::vector<float> values;
};

/// The mask of the file, as the network takes it; says in `desc` what it is. Empty where there is none.
std::vector<float> readMask(SafetensorsReader& file, PconvNetworkDesc& desc) {
    const SafetensorsTensor* mask = file.find("mask");
    const bool masked = desc.mask_type != PCONV_MASK_TYPE_NONE;
    const auto fail = [&](const char* line) { throw FileError(file.fileName() + ": " + line); };
    if (masked != (mask != nullptr))
        fail(masked ? "no tensor 'mask'" : "a tensor 'mask', which this network does not take");
    if (!masked) return {};
    const auto height = static_cast<std::uint64_t>(desc.size[0]);
    const auto width = static_cast<std::uint64_t>(desc.size[1]);
    const std::vector<std::uint64_t> shared{1, 1, height, width};
    const std::vector<std::uint64_t> own{static_cast<std::uint64_t>(desc.batch), 1, height, width};
    if (mask->shape != shared && mask->shape != own)
        fail("mask is not of the input's height and width, [1, 1, H, W]");
    desc.mask_batch = static_cast<int64_t>(mask->shape[0]);
    std::vector<float> values = file.readF32("mask");
    for (const float m : values)
        if (m != 0 && m != 1) desc.mask_type = PCONV_MASK_TYPE_FRACTIONAL;
    return values;
}

template <typename Load>
std::vector<NetworkCaseResult> runOn(SafetensorsReader& file, const Model& model, const Input& input,
                                     const Load& load, const Device& device,
                                     const NetworkCaseOptions& options) {
    PconvNetworkDesc desc = model.networkDesc();
    desc.batch = input.shape[0];
    desc.size[0] = input.shape[2];
    desc.size[1] = input.shape[3];
    desc.data_type = options.data_type;
    desc.math = options.math;
    if (input.shape[1] != desc.channels)
        throw FileError(file.fileName() + ": 'input' has " + std::to_string(input.shape[1]) +
                        " channels; expected " + std::to_string(desc.channels));
    std::vector<PconvLayer> layers(desc.layers, desc.layers + desc.layer_count);
    if (!options.implementation.empty())
        for (PconvLayer& layer : layers) layer.conv.implementation = options.implementation.c_str();
    desc.layers = layers.data();
    const std::vector<float> mask = readMask(file, desc);
    const Network network(device, desc);
    load(network);

    const Tensor features = tensorOf(options.data_type, device, input.shape, input.values);
    const std::vector<int64_t> all = network.outputDims();
    std::vector<int64_t> dims(all.begin(), all.begin() + 4);
    const Tensor output(device, dims, options.data_type);
    const std::vector<int64_t> plane{desc.mask_batch, 1, desc.size[0], desc.size[1]};
    std::optional<Tensor> planes;  // the output's mask may be the input's
    if (mask.empty()) {
        network.forward(features.view(), output.view());
    } else if (desc.mask_type == PCONV_MASK_TYPE_FRACTIONAL) {
        planes.emplace(device, plane, mask);
        network.forward(features.view(), planes->view(), output.view());
    } else {
        std::vector<uint8_t> bytes(mask.size());
        for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = mask[i] != 0 ? 1 : 0;
        planes.emplace(device, plane, bytes);
        network.forward(features.view(), planes->view(), output.view());
    }
    while (model.info().classes != 0 && dims.size() > 2) dims.pop_back();
    std::vector<NetworkCaseResult> results;
    results.push_back({"output", {dims.begin(), dims.end()}, floatsOf(device, output)});
    if (NetworkCaseResult updated = maskOf(network); !updated.shape.empty())
        results.push_back(std::move(updated));
    return results;
}

}  // namespace

bool isNetworkCase(const SafetensorsReader& file) {
    return file.metadata().count("net") > 0;
}

bool isModelFile(const SafetensorsReader& file) {
    return file.metadata().count("pconv.network") > 0;
}

std::vector<NetworkCaseResult> runNetworkCase(SafetensorsReader& file, const Device& device,
                                              const NetworkCaseOptions& options) {
    const SeededTensors tensors(file);
    PconvModelOptions chosen = pconvDefaultModelOptions();
    chosen.levels = tensors.number("layers");
    chosen.classes = tensors.number("classes");
    const Model model(tensors.require("net"), chosen);
    const std::vector<int64_t>* shape = tensors.shape("input");
    if (shape == nullptr || shape->size() != 4) tensors.fail("tensors: no 'input' of four dimensions");
    std::vector<float> values(
        static_cast<std::size_t>((*shape)[0] * (*shape)[1] * (*shape)[2] * (*shape)[3]));
    tensors.fill("input", values.data());
    const auto load = [&](const Network& network) {
        detail::check(
            pconvReadNetworkWeights(network.get(), giveTensor, const_cast<SeededTensors*>(&tensors)));
    };
    return runOn(file, model, {*shape, std::move(values)}, load, device, options);
}

std::vector<NetworkCaseResult> runModel(SafetensorsReader& file, const std::string& model_path,
                                        const Device& device, const NetworkCaseOptions& options) {
    const Model model = Model::load(model_path);
    const SafetensorsTensor* input = file.find("input");
    if (input == nullptr) throw FileError(file.fileName() + ": no tensor 'input'");
    if (input->shape.size() != 4)
        throw FileError(file.fileName() + ": input has " + std::to_string(input->shape.size()) +
                        " dimensions; expected four");
    return runOn(
        file, model, {{input->shape.begin(), input->shape.end()}, file.readF32("input")},
        [&](const Network& network) { network.loadWeights(model_path); }, device, options);
}

}  // namespace pconv::app
