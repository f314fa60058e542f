// The name under which the build made a shader.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pconv::shim {

// "a shader" where the build folder has none like it.
std::string shaderName(const std::vector<uint32_t>& code);

}  // namespace pconv::shim
