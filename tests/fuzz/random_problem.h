// Configurations drawn from a number: any shape, mask and setting that the operator takes, kept small.
#pragma once

#include "conformance/execution.h"

namespace pconv::test {

struct RandomCase {
    Problem problem;
    Placement placement;
};

// The same case for the same number, on every machine. `most_work` caps the multiply-adds.
RandomCase randomCase(uint32_t number, int64_t most_work);

// One line that names all settings.
std::string describeCase(const RandomCase& random);

}  // namespace pconv::test
