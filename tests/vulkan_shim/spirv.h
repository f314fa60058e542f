// SPIR-V with a check at every access of a storage buffer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pconv::shim {

// The binding that the checked shaders report to, an array of words.
constexpr uint32_t kReportBinding = 15;

struct CheckedShader {
    std::vector<uint32_t> code;
    std::vector<std::string> sites;  // what each access reads or writes
};

// Access i that reaches beyond what is bound stores its index plus one in word `first_word + i`, and element
// 0 is accessed in its place; others store to word 0.
CheckedShader checkAccesses(const std::vector<uint32_t>& code, uint32_t first_word);

}  // namespace pconv::shim
