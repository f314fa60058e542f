#include "cuda/device/status.h"

#include "error.h"
#include "platform/dynamic_library.h"

namespace pconv::cuda {

namespace {

#if defined(_WIN32)
constexpr char kDriverName[] = "nvcuda.dll";
#else
constexpr char kDriverName[] = "libcuda.so.1";
#endif

std::string versionText(int version) {
    return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

}  // namespace

std::string cudaText(cudaError_t status) {
    return std::string(cudaGetErrorName(status)) + ": " + cudaGetErrorString(status);
}

void check(cudaError_t status, const char* what) {
    if (status == cudaSuccess) return;
    cudaGetLastError();  // else the next launch would report this one again
    fail(status == cudaErrorMemoryAllocation ? PCONV_ERROR_OUT_OF_MEMORY : PCONV_ERROR_DEVICE,
         std::string(what) + ": " + cudaText(status));
}

std::string driverProblem() {
    // The runtime calls a driver that is not there an insufficient one; the loader knows better.
    std::string reason;
    platform::DynamicLibrary driver;
    if (!driver.open(kDriverName, reason)) return "the CUDA driver could not be loaded: " + reason;
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (status == cudaErrorInsufficientDriver) {
        int version = 0;
        cudaGetLastError();
        check(cudaDriverGetVersion(&version), "cudaDriverGetVersion");
        return "the CUDA driver is for CUDA " + versionText(version) + "; expected " +
               versionText(CUDART_VERSION) + " or later";
    }
    if (status != cudaSuccess) {
        cudaGetLastError();
        return cudaText(status);
    }
    return count > 0 ? "" : "no CUDA-capable device is present";
}

}  // namespace pconv::cuda
