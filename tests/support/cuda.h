// Whether there is a CUDA device to test.
#pragma once

#include <cstdlib>
#include <stdexcept>
#include <string>

#include "support/api.h"

namespace pconv::test {

inline PconvBackendInfo cudaBackend() {
    int32_t count = 0;
    check(pconvGetBackendCount(&count));
    for (int32_t i = 0; i < count; ++i) {
        PconvBackendInfo info = pconvDefaultBackendInfo();
        check(pconvGetBackendInfo(i, &info));
        if (std::string(info.name) == "cuda") return info;
    }
    throw std::runtime_error("the library does not look for CUDA");
}

// A test that skips where there is no CUDA device, with the reason, and fails where PCONV_REQUIRE_CUDA is
// set.
template <typename Base>
class OnCudaDevice : public Base {
  protected:
    void SetUp() override {
        const PconvBackendInfo info = cudaBackend();
        if (info.device_count > 0) return;
        if (std::getenv("PCONV_REQUIRE_CUDA") != nullptr) FAIL() << "no CUDA device: " << info.reason;
        GTEST_SKIP() << "no CUDA device: " << info.reason;
    }
};

}  // namespace pconv::test
