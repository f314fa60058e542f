// The reference cases: calls of the reference modules, and what those answered in float64.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "conformance/problem.h"

namespace pconv::test {

struct ReferenceCase {
    Problem problem;
    std::vector<int64_t> output_dims, mask_dims;
    std::vector<double> output, updated_mask;
    std::vector<float> grad_output;  // the problem itself has only the forward pass
    std::vector<double> grad_input, grad_weight, grad_bias;
    double reference_error = 0;  // of the reference's own float32 run
};

// Where the cases lie; to be set before any is read. PCONV_CASES goes before it.
void setCasesFolder(const std::filesystem::path& folder);

// The names of all cases of an operator, sorted.
std::vector<std::string> caseNames(const std::string& op);

const ReferenceCase& referenceCase(const std::string& name);

// Its problem with the backward pass.
Problem trainingProblem(const ReferenceCase& reference);

}  // namespace pconv::test
