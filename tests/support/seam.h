// Devices beneath the seam, for tests that call a backend by itself, and views of memory on them.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <numeric>

#include "backend.h"
#include "platform/dynamic_library.h"

namespace pconv::test {

using Dims = std::array<int64_t, 5>;

class FreeHost final : public Host {
  public:
    void allocated(size_t /*bytes*/) override {}
    void released(size_t /*bytes*/) noexcept override {}
    int verbosity() const override { return 0; }
    void message(const std::string& /*line*/) const override {}
    int threads() const override { return 0; }
};

inline const BackendModule* openModule(const std::string& name) {
    platform::DynamicLibrary library;
    std::string reason;
    if (!library.open(platform::libraryFileName("pconv_" + name), reason)) return nullptr;
    auto* function =
        reinterpret_cast<const BackendModule* (*)()>(library.symbol(("pconvBackend_" + name).c_str()));
    library.keepLoaded();
    return function == nullptr ? nullptr : function();
}

inline Dims strides(const Dims& dims, bool channels_last) {
    const auto [n, c, d, h, w] = dims;
    if (channels_last) return {c * d * h * w, 1, h * w * c, w * c, c};
    return {c * d * h * w, d * h * w, h * w, w, 1};
}

inline int64_t elements(const Dims& dims) {
    return std::accumulate(dims.begin(), dims.end(), int64_t{1}, std::multiplies<>());
}

// The first device of the backend, or null where there is none; a failure where one is required.
inline std::unique_ptr<Device> openFirstDevice(const std::string& backend, Host& host, std::string& reason) {
    const BackendModule* module = openModule(backend);
    reason = "not built";
    if (module == nullptr) return nullptr;
    std::vector<DeviceInfo> devices;
    module->enumerate(devices, reason);
    const char* required = std::getenv("PCONV_REQUIRE_DEVICES");
    if (!devices.empty()) return module->open(0, host);
    if ((required != nullptr && std::string(required).find(backend) != std::string::npos) ||
        (backend == "cuda" && std::getenv("PCONV_REQUIRE_CUDA") != nullptr))
        ADD_FAILURE() << reason;
    return nullptr;
}

}  // namespace pconv::test
