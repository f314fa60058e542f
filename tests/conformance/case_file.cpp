#include "conformance/case_file.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <sstream>
#include <stdexcept>

#include "files/safetensors.h"
#include "platform/dynamic_library.h"

namespace pconv::test {

namespace {

// Beside the programs of a build and of an installation alike.
std::filesystem::path& casesFolder() {
    static std::filesystem::path folder =
        std::getenv("PCONV_CASES") != nullptr
            ? std::filesystem::path(std::getenv("PCONV_CASES"))
            : std::filesystem::path(platform::executableFolder()) / ".." / "share" / "pconv" / "cases";
    return folder;
}

std::vector<int64_t> numbers(const std::string& text) {
    std::vector<int64_t> result;
    std::istringstream stream(text);
    for (std::string part; std::getline(stream, part, ',');) result.push_back(std::stoll(part));
    return result;
}

PconvPaddingMode paddingMode(const std::string& name) {
    static const std::map<std::string, PconvPaddingMode> modes{{"zeros", PCONV_PADDING_MODE_ZEROS},
                                                               {"reflect", PCONV_PADDING_MODE_REFLECT},
                                                               {"replicate", PCONV_PADDING_MODE_REPLICATE},
                                                               {"circular", PCONV_PADDING_MODE_CIRCULAR}};
    return modes.at(name);
}

std::vector<int64_t> shapeOf(const SafetensorsTensor& tensor) {
    return std::vector<int64_t>(tensor.shape.begin(), tensor.shape.end());
}

std::vector<double> readF64(SafetensorsReader& file, const std::string& name) {
    const SafetensorsTensor* tensor = file.find(name);
    if (tensor == nullptr || std::string(tensor->type->name) != "F64")
        throw std::runtime_error(name + " is missing or not F64");
    std::vector<double> values(tensor->elementCount());
    file.read(name, values.data());
    return values;
}

void readMask(SafetensorsReader& file, Problem& problem) {
    const SafetensorsTensor* mask = file.find("mask");
    if (mask == nullptr) {
        problem.mask_type = PCONV_MASK_TYPE_NONE;
        return;
    }
    problem.mask_batch = static_cast<int64_t>(mask->shape[0]);
    Segment segment;
    segment.planes = static_cast<int64_t>(mask->shape[1]);
    segment.multiplicity = problem.multi_channel ? problem.in_channels / segment.planes : 1;
    segment.values = file.readF32("mask");
    const bool binary = std::all_of(segment.values.begin(), segment.values.end(),
                                    [](float value) { return value == 0 || value == 1; });
    problem.mask_type = binary ? PCONV_MASK_TYPE_BINARY : PCONV_MASK_TYPE_FRACTIONAL;
    problem.segments.push_back(std::move(segment));
}

ReferenceCase load(const std::string& name) {
    SafetensorsReader file(casesFolder() / (name + ".safetensors"));
    const std::map<std::string, std::string>& settings = file.metadata();
    ReferenceCase result;
    Problem& p = result.problem;
    p.name = name;
    p.kernel = numbers(settings.at("kernel"));
    p.stride = numbers(settings.at("stride"));
    p.padding = numbers(settings.at("padding"));
    p.dilation = numbers(settings.at("dilation"));
    if (settings.count("padding_end") != 0) p.padding_end = numbers(settings.at("padding_end"));
    if (settings.count("padding_mode") != 0) p.padding_mode = paddingMode(settings.at("padding_mode"));
    p.groups = std::stoll(settings.at("groups"));
    p.in_channels = std::stoll(settings.at("in_channels"));
    p.out_channels = std::stoll(settings.at("out_channels"));
    p.eps = std::stod(settings.at("eps"));
    p.multi_channel = settings.at("multi_channel") == "true";
    if (settings.at("normalization") == "weight_magnitude")
        p.normalization = PCONV_NORMALIZATION_WEIGHT_MAGNITUDE;
    else if (settings.at("normalization") != "window_ratio")
        throw std::runtime_error(name + ": unknown normalization " + settings.at("normalization"));
    p.group_window = !p.isMaskedConv() && settings.at("mask_window") == "group_channels";
    const std::vector<int64_t> input = shapeOf(*file.find("input"));
    p.batch = input[0];
    p.size.assign(input.begin() + 2, input.end());
    p.input = file.readF32("input");
    p.weight = file.readF32("weight");
    p.has_bias = file.find("bias") != nullptr;
    if (p.has_bias) p.bias = file.readF32("bias");
    readMask(file, p);
    result.output = readF64(file, "expected.output");
    result.output_dims = shapeOf(*file.find("expected.output"));
    // A masked convolution without a mask gives none.
    if (file.find("expected.mask") != nullptr) {
        result.updated_mask = readF64(file, "expected.mask");
        result.mask_dims = shapeOf(*file.find("expected.mask"));
    }
    result.grad_output = file.readF32("grad_output");
    result.grad_input = readF64(file, "expected.grad_input");
    result.grad_weight = readF64(file, "expected.grad_weight");
    if (p.has_bias) result.grad_bias = readF64(file, "expected.grad_bias");
    result.reference_error = readF64(file, "reference_error.output")[0];
    return result;
}

}  // namespace

void setCasesFolder(const std::filesystem::path& folder) {
    if (!folder.empty()) casesFolder() = folder;
}

std::vector<std::string> caseNames(const std::string& op) {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(casesFolder())) {
        const SafetensorsReader file(entry.path());
        if (file.metadata().at("op") == op) names.push_back(entry.path().stem().string());
    }
    std::sort(names.begin(), names.end());
    return names;
}

Problem trainingProblem(const ReferenceCase& reference) {
    Problem problem = reference.problem;
    problem.grad_output = reference.grad_output;
    return problem;
}

const ReferenceCase& referenceCase(const std::string& name) {
    static std::map<std::string, ReferenceCase> cases;
    const auto found = cases.find(name);
    return found != cases.end() ? found->second : cases.emplace(name, load(name)).first->second;
}

}  // namespace pconv::test
