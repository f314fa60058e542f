#include "case_file.h"

#include <algorithm>
#include <charconv>
#include <clocale>
#include <cmath>
#include <limits>
#include <locale>
#include <sstream>
#include <string_view>

namespace pconv::app {
namespace {

using Dims = std::vector<int64_t>;

std::string listed(const Dims& values) {
    std::string text = "[";
    for (const int64_t value : values) text += (text.size() > 1 ? ", " : "") + std::to_string(value);
    return text + "]";
}

/// The settings and tensors of one file, with faults that name it.
class CaseReader {
  public:
    explicit CaseReader(SafetensorsReader& file) : file_(file) {}

    [[noreturn]] void fail(const std::string& line) const { throw FileError(file_.fileName() + ": " + line); }

    [[noreturn]] void failSetting(const std::string& key, const std::string& expected) const {
        fail(key + " is " + inQuotes(*find(key)) + "; expected " + expected);
    }

    const std::string* find(const std::string& key) const {
        const auto found = file_.metadata().find(key);
        return found == file_.metadata().end() ? nullptr : &found->second;
    }

    /// Which of `allowed` a setting names; the first where it is absent.
    std::size_t choice(const std::string& key, const std::vector<std::string>& allowed) const {
        const std::string* text = find(key);
        if (text == nullptr) return 0;
        const auto found = std::find(allowed.begin(), allowed.end(), *text);
        if (found != allowed.end()) return static_cast<std::size_t>(found - allowed.begin());
        std::string expected;
        for (const std::string& value : allowed) {
            expected += (expected.empty() ? "'" : &value == &allowed.back() ? " or '" : ", '") + value + "'";
        }
        failSetting(key, expected);
    }

    /// One whole number.
    int64_t number(const std::string& key, int64_t absent) const {
        const std::string* text = find(key);
        return text == nullptr ? absent : numbers(key, 1, {absent}).front();
    }

    /// Numbers with commas between, one for each of `count` dimensions, or one for them all.
    Dims numbers(const std::string& key, std::size_t count, const Dims& absent) const {
        const std::string* text = find(key);
        if (text == nullptr) return absent;
        Dims values;
        const char* at = text->data();
        const char* const end = at + text->size();
        bool good = true;
        while (good) {
            int64_t value = 0;
            const auto parsed = std::from_chars(at, end, value);
            good = parsed.ec == std::errc();
            values.push_back(value);
            at = parsed.ptr;
            if (at == end) break;
            good = good && *at == ',';
            ++at;
        }
        if (good && values.size() == 1) values.resize(count, values.front());
        if (!good || values.size() != count) {
            failSetting(key, count == 1 ? "a whole number"
                                        : std::to_string(count) + " whole numbers with commas between");
        }
        return values;
    }

    double real(const std::string& key, double absent) const {
        const std::string* text = find(key);
        if (text == nullptr) return absent;
        std::istringstream stream(*text);
        stream.imbue(std::locale::classic());
        double value = 0;
        stream >> value;
        if (!stream || stream.peek() != std::istringstream::traits_type::eof() || !std::isfinite(value)) {
            failSetting(key, "a number such as 1e-8");
        }
        return value;
    }

    bool has(const std::string& name) const { return file_.find(name) != nullptr; }

    CaseTensor tensor(const std::string& name) {
        CaseTensor result;
        result.dims = dims(name);
        result.values = file_.readF32(name);
        return result;
    }

    Dims dims(const std::string& name) const {
        const SafetensorsTensor* tensor = file_.find(name);
        if (tensor == nullptr) fail("no tensor " + inQuotes(name));
        Dims result;
        for (const uint64_t size : tensor->shape) {
            if (size == 0 || size > std::numeric_limits<int32_t>::max()) {
                fail("tensor " + inQuotes(name) + " has a dimension of " + std::to_string(size) +
                     "; 1 to 2147483647 is expected");
            }
            result.push_back(static_cast<int64_t>(size));
        }
        return result;
    }

    void expectDims(const std::string& name, const Dims& expected) const {
        if (dims(name) != expected)
            fail("tensor " + inQuotes(name) + " is " + listed(dims(name)) + "; expected " + listed(expected));
    }

    /// A setting that repeats what a tensor's shape says.
    void expectNumber(const std::string& key, int64_t expected) const {
        if (number(key, expected) != expected)
            failSetting(key, std::to_string(expected) + ", as the tensors have it");
    }

  private:
    SafetensorsReader& file_;
};

void readShape(const CaseReader& reader, PartialConvDesc& desc) {
    const Dims input = reader.dims("input");
    const Dims weight = reader.dims("weight");
    const auto spatial = static_cast<std::size_t>(desc.spatial_dims);
    if (input.size() != spatial + 2) {
        reader.fail("tensor 'input' is " + listed(input) + "; expected [N, C] and " +
                    std::to_string(spatial) + " spatial dimensions");
    }
    if (weight.size() != spatial + 2) {
        reader.fail("tensor 'weight' is " + listed(weight) +
                    "; expected [out channels, in channels / groups] and " + std::to_string(spatial) +
                    " kernel dimensions");
    }
    desc.batch = input[0];
    desc.in_channels = input[1];
    desc.out_channels = weight[0];
    desc.groups = reader.number("groups", 1);
    reader.expectNumber("in_channels", desc.in_channels);
    reader.expectNumber("out_channels", desc.out_channels);
    const Dims kernel(weight.begin() + 2, weight.end());
    if (reader.numbers("kernel", spatial, kernel) != kernel) {
        reader.failSetting("kernel", listed(kernel) + ", the shape of 'weight'");
    }
    if (desc.groups < 1 || desc.in_channels % desc.groups != 0 || desc.out_channels % desc.groups != 0) {
        reader.fail("groups is " + std::to_string(desc.groups) + "; expected a number that divides the " +
                    std::to_string(desc.in_channels) + " input and " + std::to_string(desc.out_channels) +
                    " output channels");
    }
    if (weight[1] != desc.in_channels / desc.groups) {
        Dims expected = weight;
        expected[1] = desc.in_channels / desc.groups;
        reader.expectDims("weight", expected);
    }
    const Dims stride = reader.numbers("stride", spatial, Dims(spatial, 1));
    const Dims padding = reader.numbers("padding", spatial, Dims(spatial, 0));
    const Dims padding_end = reader.numbers("padding_end", spatial, Dims(spatial, PCONV_PADDING_AS_IN_FRONT));
    const Dims dilation = reader.numbers("dilation", spatial, Dims(spatial, 1));
    desc.padding_mode = static_cast<PconvPaddingMode>(
        reader.choice("padding_mode", {"zeros", "reflect", "replicate", "circular"}));
    for (std::size_t i = 0; i < spatial; ++i) {
        desc.input_size[i] = input[i + 2];
        desc.kernel[i] = kernel[i];
        desc.stride[i] = stride[i];
        desc.padding[i] = padding[i];
        desc.padding_end[i] = padding_end[i];
        desc.dilation[i] = dilation[i];
    }
}

/// Reads the mask's form and content, which must lie in [0, 1].
void readMask(CaseReader& reader, Case& result) {
    PartialConvDesc& desc = result.desc;
    desc.mask_type = PCONV_MASK_TYPE_NONE;
    if (!reader.has("mask")) return;
    Dims expected = reader.dims("input");
    const Dims dims = reader.dims("mask");
    if (dims.size() == expected.size()) {
        if (dims[0] == 1) expected[0] = 1;
        if (dims[1] == 1 || desc.mask_mode == PCONV_MASK_MODE_SINGLE_CHANNEL) expected[1] = 1;
    }
    reader.expectDims("mask", expected);
    result.mask = reader.tensor("mask");
    desc.mask_type = PCONV_MASK_TYPE_BINARY;
    for (const float value : result.mask->values) {
        if (!(value >= 0.0F && value <= 1.0F)) {
            reader.fail("tensor 'mask' has the value " + std::to_string(value) +
                        "; expected 1 for valid, 0 for a hole, or between");
        }
        if (value != 0.0F && value != 1.0F) desc.mask_type = PCONV_MASK_TYPE_FRACTIONAL;
    }
}

}  // namespace

Case readCase(SafetensorsReader& file, bool backward) {
    CaseReader reader(file);
    const bool masked_conv = reader.choice("op", {"partial_conv", "masked_conv"}) == 1;
    Case result;
    const auto rank = static_cast<int64_t>(reader.dims("input").size());
    const int64_t spatial =
        reader.number("spatial_dims", std::clamp<int64_t>(rank - 2, 1, PCONV_MAX_SPATIAL_DIMS));
    if (spatial < 1 || spatial > PCONV_MAX_SPATIAL_DIMS) reader.failSetting("spatial_dims", "1, 2 or 3");
    PartialConvDesc& desc = result.desc;
    desc = PartialConvDesc(static_cast<int>(spatial));
    readShape(reader, desc);
    desc.mask_mode = reader.choice("multi_channel", {"false", "true"}) == 0 ? PCONV_MASK_MODE_SINGLE_CHANNEL
                                                                            : PCONV_MASK_MODE_MULTI_CHANNEL;
    desc.mask_window = reader.choice("mask_window", {"all_channels", "group_channels"}) == 0
                           ? PCONV_MASK_WINDOW_ALL_CHANNELS
                           : PCONV_MASK_WINDOW_GROUP_CHANNELS;
    if (masked_conv) {
        reader.choice("normalization", {"weight_magnitude"});
        desc.normalization = PCONV_NORMALIZATION_WEIGHT_MAGNITUDE;
        desc.mask_mode = PCONV_MASK_MODE_MULTI_CHANNEL;  // its mask is a channel's own, or one for all
    } else {
        desc.normalization = reader.choice("normalization", {"window_ratio", "mask_sum"}) == 0
                                 ? PCONV_NORMALIZATION_WINDOW_RATIO
                                 : PCONV_NORMALIZATION_MASK_SUM;
    }
    desc.eps = reader.real("eps", desc.eps);
    desc.has_bias = reader.has("bias") ? 1 : 0;
    if (reader.has("bias")) {
        reader.expectDims("bias", {desc.out_channels});
        result.bias = reader.tensor("bias");
    }
    readMask(reader, result);
    int64_t output_size[PCONV_MAX_SPATIAL_DIMS];
    if (pconvGetOutputSize(&desc, output_size) == PCONV_ERROR_INVALID_ARGUMENT)
        reader.fail(pconvGetLastError());
    result.input = reader.tensor("input");
    result.weight = reader.tensor("weight");
    if (backward) {
        Dims expected = {desc.batch, desc.out_channels};
        expected.insert(expected.end(), output_size, output_size + spatial);
        reader.expectDims("grad_output", expected);
        result.grad_output = reader.tensor("grad_output");
    }
    return result;
}

}  // namespace pconv::app
