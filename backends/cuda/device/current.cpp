#include "cuda/device/current.h"

#include <cuda_runtime_api.h>

#include <map>
#include <mutex>
#include <string>

#include "cuda/device/status.h"
#include "error.h"

namespace pconv::cuda {

namespace {

constexpr unsigned kDriverVersion = 12000;  // whose form of the functions is asked for

// Of the driver, found through the runtime: the module is linked against neither.
struct Driver {
    decltype(&cuInit) init = nullptr;
    decltype(&cuDeviceGet) getDevice = nullptr;
    decltype(&cuDevicePrimaryCtxRetain) retainPrimary = nullptr;
    decltype(&cuCtxGetCurrent) getCurrent = nullptr;
    decltype(&cuCtxPushCurrent) push = nullptr;
    decltype(&cuCtxPopCurrent) pop = nullptr;

    Driver() {
        find("cuInit", init);
        find("cuDeviceGet", getDevice);
        find("cuDevicePrimaryCtxRetain", retainPrimary);
        find("cuCtxGetCurrent", getCurrent);
        find("cuCtxPushCurrent", push);
        find("cuCtxPopCurrent", pop);
    }

    template <typename Function>
    static void find(const char* name, Function& function) {
        void* found = nullptr;
        cudaDriverEntryPointQueryResult result{};
        check(cudaGetDriverEntryPointByVersion(name, &found, kDriverVersion, cudaEnableDefault, &result),
              "cudaGetDriverEntryPointByVersion");
        if (result != cudaDriverEntryPointSuccess || found == nullptr)
            fail(PCONV_ERROR_DEVICE, std::string("the CUDA driver has no function ") + name);
        function = reinterpret_cast<Function>(found);
    }
};

void check(CUresult status, const char* what) {
    if (status == CUDA_SUCCESS) return;
    fail(status == CUDA_ERROR_OUT_OF_MEMORY ? PCONV_ERROR_OUT_OF_MEMORY : PCONV_ERROR_DEVICE,
         std::string(what) + " of the CUDA driver fails with status " +
             std::to_string(static_cast<int>(status)));
}

const Driver& driver() {
    static const Driver functions;
    return functions;
}

// Retained once for the process, as the runtime itself does.
CUcontext primaryContext(int index) {
    static std::mutex mutex;
    // Never destroyed: devices may be closed while the process ends.
    static auto& contexts = *new std::map<int, CUcontext>;
    const std::lock_guard<std::mutex> lock(mutex);
    CUcontext& context = contexts[index];
    if (context == nullptr) {
        CUdevice device = 0;
        check(driver().init(0), "cuInit");
        check(driver().getDevice(&device, index), "cuDeviceGet");
        check(driver().retainPrimary(&context, device), "cuDevicePrimaryCtxRetain");
    }
    return context;
}

}  // namespace

CurrentDevice::CurrentDevice(int index) {
    const CUcontext primary = primaryContext(index);
    CUcontext current = nullptr;
    check(driver().getCurrent(&current), "cuCtxGetCurrent");
    if (current != primary) {
        check(driver().push(primary), "cuCtxPushCurrent");
        pushed_ = true;
    }
    made_ = true;
}

CurrentDevice::CurrentDevice(int index, std::nothrow_t) noexcept {
    try {
        const CUcontext primary = primaryContext(index);
        CUcontext current = nullptr;
        if (driver().getCurrent(&current) != CUDA_SUCCESS) return;
        pushed_ = current != primary && driver().push(primary) == CUDA_SUCCESS;
        made_ = pushed_ || current == primary;
    } catch (...) {
        // A driver that cannot be asked has nothing to be made current.
    }
}

CurrentDevice::~CurrentDevice() {
    CUcontext popped = nullptr;
    if (pushed_) driver().pop(&popped);
}

}  // namespace pconv::cuda
