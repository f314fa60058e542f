#pragma once

#include <optional>
#include <string>
#include <vector>

#include "files/safetensors.h"
#include "pconv/pconv.hpp"

namespace pconv::app {

/// A tensor of a case, contiguous.
struct CaseTensor {
    std::vector<int64_t> dims;
    std::vector<float> values;
};

/// One operator call read from a file; shapes are checked against each other, settings by the library.
struct Case {
    PartialConvDesc desc{2};
    CaseTensor input;
    CaseTensor weight;
    std::optional<CaseTensor> bias;
    std::optional<CaseTensor> mask;
    std::optional<CaseTensor> grad_output;  // where the backward pass is asked for
};

/// Throws FileError for a faulty file, and for one without grad_output where `backward` asks for it.
Case readCase(SafetensorsReader& file, bool backward);

}  // namespace pconv::app
