// The reference cases: calls of the reference modules, and what those answered in float64.
#pragma once

#include <string>
#include <vector>

#include "conformance/problem.h"

namespace pconv::test {

struct ReferenceCase {
    Problem problem;
    std::vector<int64_t> output_dims, mask_dims;
    std::vector<double> output, updated_mask;
    double reference_error = 0;  // of the reference's own float32 run
};

// The names of all cases of an operator, sorted.
std::vector<std::string> caseNames(const std::string& op);

const ReferenceCase& referenceCase(const std::string& name);

}  // namespace pconv::test
