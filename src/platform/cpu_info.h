// What the machine is: the processor's name, its vector extensions, its memory.
#pragma once

#include <cstdint>
#include <string>

namespace pconv::platform {

std::string cpuName();      // "CPU" if unknown
std::string cpuFeatures();  // "avx2 fma avx512f", "neon", ...
uint64_t memoryBytes();     // 0 if unknown

}  // namespace pconv::platform
