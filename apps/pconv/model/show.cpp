#include <charconv>
#include <filesystem>

#include "model/options.h"
#include "pconv/pconv.hpp"
#include "text_table.h"

namespace pconv::app {
namespace {

constexpr const char* kTypes[] = {"partial conv", "upsample", "concat",   "conv",         "transposed conv",
                                  "linear",       "add",      "max pool", "average pool", "batch norm",
                                  "scale",        "sigmoid",  "crop"};

Model open(const std::string& path) {
    std::error_code ignored;
    for (int32_t i = 0; pconvGetModelName(i) != nullptr; ++i)
        if (path == pconvGetModelName(i) && !std::filesystem::exists(path, ignored)) return Model(path);
    return Model::load(path);
}

std::vector<int64_t> parseSize(const std::string& text, const PconvModelInfo& info) {
    constexpr int64_t kUsual = 512;
    if (text.empty()) {
        const int64_t size = info.fixed_size != 0 ? info.fixed_size
                                                  : (kUsual + info.size_multiple - 1) / info.size_multiple *
                                                        info.size_multiple;
        return {size, size};
    }
    std::vector<int64_t> size(2);
    const char* const end = text.data() + text.size();
    const auto first = std::from_chars(text.data(), end, size[0]);
    bool good = first.ec == std::errc() && first.ptr != end && *first.ptr == 'x';
    if (good) {
        const auto second = std::from_chars(first.ptr + 1, end, size[1]);
        good = second.ec == std::errc() && second.ptr == end && size[0] > 0 && size[1] > 0;
    }
    if (!good)
        throw CommandError(kExitBadInput, "--size is '" + text + "'; expected HEIGHTxWIDTH, such as 512x512");
    for (const int64_t s : size) {
        if (info.fixed_size != 0 && s != info.fixed_size)
            throw CommandError(kExitBadInput, "--size is '" + text + "'; expected " +
                                                  std::to_string(info.fixed_size) + "x" +
                                                  std::to_string(info.fixed_size) +
                                                  ", the only size that this network takes");
        if (s % info.size_multiple != 0)
            throw CommandError(kExitBadInput, "--size is '" + text + "'; expected multiples of " +
                                                  std::to_string(info.size_multiple));
    }
    return size;
}

// With a unit of thousands.
std::string shortened(double value, const char* unit) {
    constexpr const char* kSteps[] = {"", "k", "M", "G", "T"};
    size_t step = 0;
    while (value >= 1000 && step + 1 < std::size(kSteps)) {
        value /= 1000;
        ++step;
    }
    char text[32];
    std::snprintf(text, sizeof text,
                  step == 0     ? "%.0f"
                  : value < 10  ? "%.2f"
                  : value < 100 ? "%.1f"
                                : "%.0f",
                  value);
    const std::string last = std::string(kSteps[step]) + unit;
    return text + (last.empty() ? "" : " " + last);
}

std::string listed(const float* values, int32_t count) {
    std::string text;
    for (int32_t i = 0; i < count; ++i) {
        char number[32];
        std::snprintf(number, sizeof number, "%g", static_cast<double>(values[i]));
        text += (i == 0 ? "" : ", ") + std::string(number);
    }
    return text;
}

}  // namespace

void showModel(const ShowOptions& options) {
    const Model model = open(options.path);
    const PconvModelInfo info = model.info();
    const std::vector<int64_t> size = parseSize(options.size, info);
    TextTable table({"layer", "kind", "name", "output", "masks", "parameters", "memory", "multiply-adds"},
                    {"kind", "name", "output"});
    double parameters = 0;
    double work = 0;
    int64_t arena = 0;
    const int32_t count = model.networkDesc().layer_count;
    for (int32_t i = 0; i < count; ++i) {
        const PconvLayerInfo layer = model.layer(i, size);
        const auto elements = static_cast<double>(layer.channels * layer.size[0] * layer.size[1]);
        table.add({std::to_string(i), kTypes[layer.type], layer.name != nullptr ? layer.name : "",
                   std::to_string(layer.channels) + "x" + std::to_string(layer.size[0]) + "x" +
                       std::to_string(layer.size[1]),
                   layer.mask_planes == 0 ? "-" : std::to_string(layer.mask_planes),
                   layer.parameters == 0 ? "-" : shortened(static_cast<double>(layer.parameters), ""),
                   shortened(elements * sizeof(float), "B"),
                   layer.multiply_adds == 0 ? "-" : shortened(static_cast<double>(layer.multiply_adds), "")});
        parameters += static_cast<double>(layer.parameters);
        work += static_cast<double>(layer.multiply_adds);
        arena = layer.arena_bytes;
    }
    std::string text = std::string(info.name) + ", " + std::to_string(info.channels) + " channels in " +
                       std::to_string(size[0]) + "x" + std::to_string(size[1]) + ": " +
                       shortened(parameters, "") + " parameters, " + shortened(work, "") +
                       " multiply-adds, " + shortened(parameters * sizeof(float), "B") + " of weights, " +
                       shortened(static_cast<double>(arena), "B") + " of features\n";
    text += "input: mean " + listed(info.mean, info.channels) + ", deviation " +
            listed(info.deviation, info.channels) + " of samples in 0 to " + listed(&info.input_range, 1) +
            "; " +
            (info.mask_planes == 0 ? std::string("no mask")
                                   : "a mask of " + std::to_string(info.mask_planes) + " planes, 1 where " +
                                         (info.polarity == PCONV_MASK_VALID_IS_ONE ? "valid" : "a hole is")) +
            "; sizes: " +
            (info.fixed_size != 0 ? std::to_string(info.fixed_size)
                                  : "multiples of " + std::to_string(info.size_multiple)) +
            "\n";
    text += info.classes != 0 ? "output: " + std::to_string(info.classes) + " classes\n\n"
                              : "output: a picture, times " + listed(info.output_scale, info.channels) +
                                    " plus " + listed(info.output_shift, info.channels) + "\n\n";
    print(text + table.text());
}

}  // namespace pconv::app
