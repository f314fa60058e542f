// Configurations drawn from a number: any shape, mask and setting that the operator takes, kept small.
#pragma once

#include "conformance/execution.h"

namespace pconv::test {

struct RandomCase {
    Problem problem;
    Placement placement;
};

enum class Passes { drawn, backward };

// The same case for the same number, on every machine, in f32. `most_work` caps the multiply-adds; where the
// backward pass is asked for there always is one.
RandomCase randomCase(uint32_t number, int64_t most_work, Passes passes = Passes::drawn);

// The type a number stands for: f32 as often as the two others together.
PconvDataType randomType(uint32_t number);

// One line that names all settings.
std::string describeCase(const RandomCase& random);

}  // namespace pconv::test
