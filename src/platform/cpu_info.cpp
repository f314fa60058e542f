#include "platform/cpu_info.h"

#include <cstring>

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#else
#include <unistd.h>

#include <fstream>
#endif
#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#endif

namespace pconv::platform {

std::string cpuName() {
#if defined(__x86_64__) && defined(__GNUC__)
    // The brand string: three leaves of 16 characters.
    unsigned int registers[12] = {};
    for (unsigned int i = 0; i < 3; ++i)
        if (__get_cpuid(0x80000002U + i, &registers[4 * i], &registers[4 * i + 1], &registers[4 * i + 2],
                        &registers[4 * i + 3]) == 0)
            return "CPU";
    char text[sizeof registers + 1] = {};
    std::memcpy(text, registers, sizeof registers);
    std::string name(text);
    const size_t first = name.find_first_not_of(' ');
    const size_t last = name.find_last_not_of(' ');
    return first == std::string::npos ? "CPU" : name.substr(first, last - first + 1);
#elif defined(__APPLE__)
    char text[128] = {};
    size_t size = sizeof text - 1;
    return sysctlbyname("machdep.cpu.brand_string", text, &size, nullptr, 0) == 0 ? text : "CPU";
#elif defined(__linux__)
    std::ifstream model("/proc/device-tree/model");
    std::string name;
    std::getline(model, name, '\0');
    return name.empty() ? "CPU" : name;
#else
    return "CPU";
#endif
}

std::string cpuFeatures() {
#if defined(__x86_64__) && defined(__GNUC__)
    std::string features;
    const auto add = [&features](bool present, const char* name) {
        if (present) features += (features.empty() ? "" : " ") + std::string(name);
    };
    add(__builtin_cpu_supports("avx2") != 0, "avx2");
    add(__builtin_cpu_supports("fma") != 0, "fma");
    add(__builtin_cpu_supports("avx512f") != 0, "avx512f");
    add(__builtin_cpu_supports("avx512vnni") != 0, "avx512vnni");
    add(__builtin_cpu_supports("avx512bf16") != 0, "avx512bf16");
    return features;
#elif defined(__aarch64__)
    return "neon";
#else
    return "";
#endif
}

uint64_t memoryBytes() {
#if defined(_WIN32)
    MEMORYSTATUSEX status{};
    status.dwLength = sizeof status;
    return GlobalMemoryStatusEx(&status) ? status.ullTotalPhys : 0;
#elif defined(__APPLE__)
    uint64_t bytes = 0;
    size_t size = sizeof bytes;
    return sysctlbyname("hw.memsize", &bytes, &size, nullptr, 0) == 0 ? bytes : 0;
#else
    const long pages = sysconf(_SC_PHYS_PAGES);
    const long page = sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 ? static_cast<uint64_t>(pages) * static_cast<uint64_t>(page) : 0;
#endif
}

}  // namespace pconv::platform
