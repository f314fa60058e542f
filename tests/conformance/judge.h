// All of a device's results for one problem against the oracle's answer.
#pragma once

#include "conformance/execution.h"
#include "conformance/tolerance.h"

namespace pconv::test {

// As `compare`, of the output, the mask's results and the gradients, and with it what was written elsewhere.
Verdict judge(const Problem& problem, const Answer& answer, const Results& got, const Units& units);
inline Verdict judge(const Problem& problem, const Answer& answer, const Results& got) {
    return judge(problem, answer, got, unitsOf(problem.data_type));
}

// The first fault; "" where there is none.
inline std::string fault(const Problem& problem, const Answer& answer, const Results& got) {
    return judge(problem, answer, got).message;
}
inline std::string fault(const Problem& problem, const Answer& answer, const Results& got,
                         const Units& units) {
    return judge(problem, answer, got, units).message;
}

}  // namespace pconv::test
