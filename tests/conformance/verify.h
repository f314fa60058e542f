// A device's results against the oracle, as one assertion.
#pragma once

#include <gtest/gtest.h>

#include "conformance/judge.h"

namespace pconv::test {

inline ::testing::AssertionResult conforms(const Row& row, const Problem& problem,
                                           const Placement& placement = {}) {
    const std::string text = fault(problem, solve(problem), run(row, problem, placement));
    if (text.empty()) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << text;
}

}  // namespace pconv::test
