// Devices and contexts of the CUDA runtime and driver on the CPU: as many devices as PCONV_FAKE_DEVICES says
// (1), each with a primary context that is made when a call first needs it, and a stack of contexts for each
// thread.
#include <cuda.h>
#include <cuda_runtime_api.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#include "stand_in.h"

using pconv::cuda_stand_in::refused;

struct CUctx_st {
    int device;
    bool primary;
};

namespace {

constexpr int kMostDevices = 4;

std::array<CUctx_st, kMostDevices>& primaries() {
    static std::array<CUctx_st, kMostDevices> all{{{0, true}, {1, true}, {2, true}, {3, true}}};
    return all;
}
std::array<std::atomic<bool>, kMostDevices>& made() {
    static std::array<std::atomic<bool>, kMostDevices> all{};
    return all;
}

// Without a destructor: devices may be closed after the thread's objects are gone.
struct Stack {
    std::array<CUcontext, 32> contexts;
    size_t depth;

    bool empty() const { return depth == 0; }
    CUcontext& back() { return contexts.at(depth - 1); }
};
thread_local Stack stack{};
thread_local int runtime_device = 0;

int deviceCount() {
    const char* text = std::getenv("PCONV_FAKE_DEVICES");
    const int count = text != nullptr ? std::atoi(text) : 1;
    return count < 1 ? 1 : count > kMostDevices ? kMostDevices : count;
}

CUresult fakeInit(unsigned /*flags*/) {
    return CUDA_SUCCESS;
}
CUresult fakeDeviceGet(CUdevice* device, int ordinal) {
    if (ordinal < 0 || ordinal >= deviceCount()) return CUDA_ERROR_INVALID_DEVICE;
    *device = ordinal;
    return CUDA_SUCCESS;
}
CUresult fakePrimaryRetain(CUcontext* context, CUdevice device) {
    if (device < 0 || device >= deviceCount()) return CUDA_ERROR_INVALID_DEVICE;
    made()[static_cast<size_t>(device)] = true;
    *context = &primaries()[static_cast<size_t>(device)];
    return CUDA_SUCCESS;
}
CUresult fakeGetCurrent(CUcontext* context) {
    *context = stack.empty() ? nullptr : stack.back();
    return CUDA_SUCCESS;
}
CUresult fakePush(CUcontext context) {
    if (context == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
    stack.contexts.at(stack.depth++) = context;
    return CUDA_SUCCESS;
}
CUresult fakePop(CUcontext* context) {
    if (stack.empty()) return CUDA_ERROR_INVALID_CONTEXT;
    *context = stack.back();
    --stack.depth;
    return CUDA_SUCCESS;
}

}  // namespace

namespace pconv::cuda_stand_in {

int currentDevice() {
    const int device = stack.empty() ? runtime_device : stack.back()->device;
    if (stack.empty()) made()[static_cast<size_t>(device)] = true;
    return device;
}

bool hasContext(int device) {
    return made()[static_cast<size_t>(device)];
}

void forgetContexts() {
    for (auto& one : made()) one = false;
}

CUctx_st* newContext(int device) {
    return new CUctx_st{device, false};
}

size_t contextDepth() {
    return stack.depth;
}

}  // namespace pconv::cuda_stand_in

extern "C" {

cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** function, unsigned /*version*/,
                                             unsigned long long /*flags*/,
                                             cudaDriverEntryPointQueryResult* result) {
    static const std::map<std::string, void*> functions{
        {"cuInit", reinterpret_cast<void*>(&fakeInit)},
        {"cuDeviceGet", reinterpret_cast<void*>(&fakeDeviceGet)},
        {"cuDevicePrimaryCtxRetain", reinterpret_cast<void*>(&fakePrimaryRetain)},
        {"cuCtxGetCurrent", reinterpret_cast<void*>(&fakeGetCurrent)},
        {"cuCtxPushCurrent", reinterpret_cast<void*>(&fakePush)},
        {"cuCtxPopCurrent", reinterpret_cast<void*>(&fakePop)}};
    const auto found = functions.find(symbol);
    *result = found == functions.end() ? cudaDriverEntryPointSymbolNotFound : cudaDriverEntryPointSuccess;
    *function = found == functions.end() ? nullptr : found->second;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
    *count = deviceCount();
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
    *version = 13000;
    return cudaSuccess;
}

// As an RTX 3090 has, so that sums are cut.
constexpr int kMultiprocessors = 82;

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
    if (device < 0 || device >= deviceCount()) return refused(cudaErrorInvalidDevice);
    std::memset(properties, 0, sizeof *properties);
    std::strcpy(properties->name, "CUDA kernels on the CPU");
    std::memset(properties->uuid.bytes, 0x5C + device, sizeof properties->uuid.bytes);
    std::memset(properties->luid, 0x11 + device, sizeof properties->luid);
    properties->pciBusID = 1 + device;
    properties->major = 8;
    properties->minor = 6;
    properties->totalGlobalMem = size_t{1} << 30;
    properties->multiProcessorCount = kMultiprocessors;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
    if (device < 0 || device >= deviceCount()) return refused(cudaErrorInvalidValue);
    if (attribute == cudaDevAttrMultiProcessorCount) {
        *value = kMultiprocessors;
        return cudaSuccess;
    }
    if (attribute != cudaDevAttrMemoryPoolsSupported) return refused(cudaErrorInvalidValue);
    // Both ways of allocating are there to be tested.
    *value = std::getenv("PCONV_FAKE_NO_POOLS") == nullptr ? 1 : 0;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
    *device = stack.empty() ? runtime_device : stack.back()->device;
    return cudaSuccess;
}

// As CUDA 12's and later: it makes the device's primary context, and puts it in the place of the current one.
cudaError_t cudaSetDevice(int device) {
    if (device < 0 || device >= deviceCount()) return refused(cudaErrorInvalidDevice);
    made()[static_cast<size_t>(device)] = true;
    runtime_device = device;
    if (!stack.empty()) stack.back() = &primaries()[static_cast<size_t>(device)];
    return cudaSuccess;
}

}  // extern "C"
