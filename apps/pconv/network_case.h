#pragma once

#include <map>
#include <string>
#include <vector>

#include "files/safetensors.h"
#include "pconv/pconv.hpp"

namespace pconv::app {

/// What a network is made with besides its case.
struct NetworkCaseOptions {
    std::string implementation;
    PconvDataType data_type = PCONV_DATA_TYPE_F32;
    PconvMath math = PCONV_MATH_EXACT;
};

struct NetworkCaseResult {
    std::string name;
    std::vector<std::uint64_t> shape;
    std::vector<float> values;
};

/// Whether the file is a case of a whole network: it has the metadata `net`.
bool isNetworkCase(const SafetensorsReader& file);

/// Makes weights and input from the case's seed and runs the network: output, and mask where it has one.
/// Throws FileError for a faulty file.
std::vector<NetworkCaseResult> runNetworkCase(SafetensorsReader& file, const Device& device,
                                              const NetworkCaseOptions& options);

/// Whether the file describes a network (metadata `pconv.network`), which is no case.
bool isModelFile(const SafetensorsReader& file);

/// Runs the model file's network on the tensors input and mask of `file`: output, and mask where it has one.
/// Throws FileError for a faulty file.
std::vector<NetworkCaseResult> runModel(SafetensorsReader& file, const std::string& model_path,
                                        const Device& device, const NetworkCaseOptions& options);

}  // namespace pconv::app
