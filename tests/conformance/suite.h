// The conformance suite: cases with stable names, each of which a row passes, fails or does not support. What
// `pconv conformance` runs on any device.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "support/devices.h"

namespace pconv::test {

enum class CaseOutcome { passed, failed, not_supported };

struct CaseResult {
    CaseOutcome outcome = CaseOutcome::passed;
    double worst = 0;     // the largest error as a part of its bound
    std::string message;  // what is wrong, or why it is not supported
};

struct SuiteCase {
    std::string name;     // "exact/groups", "reference/nvidia2d_k3_random"
    std::string profile;  // one of kProfiles
    std::string tier;     // "exact", "rounded", "reference", "safety" or "determinism"
    std::function<CaseResult(const Row&)> run;
};

// core: the forward pass in f32, 1-D and 2-D; volume: the same in 3-D; train: the backward pass, in all
// dimensions; half: f16 and bf16 tensors; masked: the masked convolution, forward; padding: other padding
// than zeros and other padding behind than in front, with all of these.
inline const std::vector<std::string> kProfiles{"core", "volume", "train", "half", "masked", "padding"};

// All cases, in a fixed order. The reference cases are read from `cases_folder`.
std::vector<SuiteCase> conformanceSuite(const std::filesystem::path& cases_folder);

}  // namespace pconv::test
