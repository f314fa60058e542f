// The CUDA runtime on the CPU, as far as the backend asks for it: one device whose memory is the host's.
// Memory is poisoned when it is made and when it is freed, and what a real runtime would refuse is refused.
// Streams are in fake_streams.cpp.
#include <cuda_runtime_api.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>

#include "stand_in.h"

namespace {

constexpr size_t kAlignment = 256;
constexpr unsigned char kFresh = 0xFF;  // NaN as a float
constexpr unsigned char kFreed = 0xFE;

struct Block {
    size_t bytes;
    cudaMemoryType type;
    bool in_order;  // of cudaMallocAsync
};

struct Runtime {
    std::mutex mutex;
    std::map<char*, Block> blocks;
    cudaError_t last = cudaSuccess;
};

Runtime& runtime() {
    // Never destroyed: devices may be closed while the process ends.
    static Runtime& only = *new Runtime;
    return only;
}

cudaError_t report(cudaError_t status) {
    if (status != cudaSuccess) runtime().last = status;
    return status;
}

// The block that holds all of a range.
const Block* find(const void* pointer, size_t bytes) {
    auto& blocks = runtime().blocks;
    char* at = static_cast<char*>(const_cast<void*>(pointer));
    auto next = blocks.upper_bound(at);
    if (next == blocks.begin()) return nullptr;
    --next;
    return at + bytes <= next->first + next->second.bytes ? &next->second : nullptr;
}

// What is not in a stream's order a capture may forbid.
cudaError_t refusal(bool in_order, cudaStream_t stream) {
    using namespace pconv::cuda_stand_in;
    return static_cast<cudaError_t>(in_order ? refusalOfMemory(stream) : refusalOfUnsafeCall());
}

cudaError_t enqueue(cudaStream_t stream, pconv::cuda_stand_in::Work work) {
    return report(static_cast<cudaError_t>(pconv::cuda_stand_in::enqueue(stream, std::move(work))));
}

cudaError_t allocate(void** pointer, size_t bytes, cudaMemoryType type, bool in_order,
                     cudaStream_t stream = nullptr) {
    if (const cudaError_t status = refusal(in_order, stream); status != cudaSuccess) return report(status);
    void* memory = ::operator new (bytes, std::align_val_t{kAlignment}, std::nothrow);
    if (memory == nullptr) return report(cudaErrorMemoryAllocation);
    std::memset(memory, kFresh, bytes);
    const std::lock_guard<std::mutex> lock(runtime().mutex);
    runtime().blocks[static_cast<char*>(memory)] = {bytes, type, in_order};
    *pointer = memory;
    return cudaSuccess;
}

cudaError_t release(void* pointer, cudaMemoryType type, bool in_order, cudaStream_t stream = nullptr) {
    if (pointer == nullptr) return cudaSuccess;
    if (const cudaError_t status = refusal(in_order, stream); status != cudaSuccess) return report(status);
    const std::lock_guard<std::mutex> lock(runtime().mutex);
    const auto found = runtime().blocks.find(static_cast<char*>(pointer));
    if (found == runtime().blocks.end() || found->second.type != type || found->second.in_order != in_order)
        return report(cudaErrorInvalidValue);
    std::memset(pointer, kFreed, found->second.bytes);
    runtime().blocks.erase(found);
    ::operator delete (pointer, std::align_val_t{kAlignment});
    return cudaSuccess;
}

// Whether a range may be given to a copy: whole within one block, or memory the runtime does not know.
bool isCopyable(const void* pointer, size_t bytes) {
    return find(pointer, 1) == nullptr || find(pointer, bytes) != nullptr;
}

}  // namespace

int pconv::cuda_stand_in::remember(int status) {
    return report(static_cast<cudaError_t>(status));
}

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
    *count = 1;
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
    *version = 13000;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
    if (device != 0) return report(cudaErrorInvalidDevice);
    std::memset(properties, 0, sizeof *properties);
    std::strcpy(properties->name, "CUDA kernels on the CPU");
    std::memset(properties->uuid.bytes, 0x5C, sizeof properties->uuid.bytes);
    properties->major = 8;
    properties->minor = 6;
    properties->totalGlobalMem = size_t{1} << 30;
    properties->multiProcessorCount = 1;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
    if (device != 0 || attribute != cudaDevAttrMemoryPoolsSupported) return report(cudaErrorInvalidValue);
    // Both ways of allocating are there to be tested.
    *value = std::getenv("PCONV_FAKE_NO_POOLS") == nullptr ? 1 : 0;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
    *device = 0;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
    return report(device == 0 ? cudaSuccess : cudaErrorInvalidDevice);
}

cudaError_t cudaGetLastError() {
    const cudaError_t last = runtime().last;
    runtime().last = cudaSuccess;
    return last;
}

const char* cudaGetErrorName(cudaError_t status) {
    switch (status) {
        case cudaSuccess:
            return "cudaSuccess";
        case cudaErrorUnknown:
            return "cudaErrorUnknown";
        case cudaErrorStreamCaptureInvalidated:
            return "cudaErrorStreamCaptureInvalidated";
        default:
            return "cudaError";
    }
}

const char* cudaGetErrorString(cudaError_t status) {
    return status == cudaErrorMemoryAllocation ? "out of memory" : "an error of the runtime's stand-in";
}

// ---- Memory ----

cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps* properties) {
    if (properties->location.type != cudaMemLocationTypeDevice || properties->location.id != 0)
        return report(cudaErrorInvalidValue);
    *pool = reinterpret_cast<cudaMemPool_t>(new int(0));
    return cudaSuccess;
}
cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool) {
    delete reinterpret_cast<int*>(pool);
    return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t /*pool*/, cudaMemPoolAttr attribute, void* /*value*/) {
    return report(attribute == cudaMemPoolAttrReleaseThreshold ? cudaSuccess : cudaErrorInvalidValue);
}
cudaError_t cudaMallocFromPoolAsync(void** pointer, size_t bytes, cudaMemPool_t /*pool*/,
                                    cudaStream_t stream) {
    return allocate(pointer, bytes, cudaMemoryTypeDevice, true, stream);
}
cudaError_t cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t stream) {
    return allocate(pointer, bytes, cudaMemoryTypeDevice, true, stream);
}
cudaError_t cudaFreeAsync(void* pointer, cudaStream_t stream) {
    return release(pointer, cudaMemoryTypeDevice, true, stream);
}
cudaError_t cudaMalloc(void** pointer, size_t bytes) {
    return allocate(pointer, bytes, cudaMemoryTypeDevice, false);
}
cudaError_t cudaFree(void* pointer) {
    return release(pointer, cudaMemoryTypeDevice, false);
}
cudaError_t cudaMallocHost(void** pointer, size_t bytes) {
    return allocate(pointer, bytes, cudaMemoryTypeHost, false);
}
cudaError_t cudaFreeHost(void* pointer) {
    return release(pointer, cudaMemoryTypeHost, false);
}

cudaError_t cudaHostRegister(void* pointer, size_t bytes, unsigned /*flags*/) {
    if (const cudaError_t status = refusal(false, nullptr); status != cudaSuccess) return report(status);
    const std::lock_guard<std::mutex> lock(runtime().mutex);
    if (find(pointer, 1) != nullptr) return report(cudaErrorHostMemoryAlreadyRegistered);
    runtime().blocks[static_cast<char*>(pointer)] = {bytes, cudaMemoryTypeHost, false};
    return cudaSuccess;
}
cudaError_t cudaHostUnregister(void* pointer) {
    const std::lock_guard<std::mutex> lock(runtime().mutex);
    return report(runtime().blocks.erase(static_cast<char*>(pointer)) == 1
                      ? cudaSuccess
                      : cudaErrorHostMemoryNotRegistered);
}
cudaError_t cudaHostGetDevicePointer(void** device, void* host, unsigned /*flags*/) {
    const std::lock_guard<std::mutex> lock(runtime().mutex);
    const Block* block = find(host, 1);
    if (block == nullptr || block->type != cudaMemoryTypeHost) return report(cudaErrorInvalidValue);
    *device = host;
    return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
    const std::lock_guard<std::mutex> lock(runtime().mutex);
    const Block* block = find(pointer, 1);
    std::memset(attributes, 0, sizeof *attributes);
    attributes->type = block != nullptr ? block->type : cudaMemoryTypeUnregistered;
    return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
    return enqueue(stream, [=] {
        const std::lock_guard<std::mutex> lock(runtime().mutex);
        if (kind != cudaMemcpyDefault || !isCopyable(to, bytes) || !isCopyable(from, bytes))
            return cudaErrorInvalidValue;
        std::memmove(to, from, bytes);
        return cudaSuccess;
    });
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
    return enqueue(stream, [=] {
        const std::lock_guard<std::mutex> lock(runtime().mutex);
        if (bytes > 0 && find(to, bytes) == nullptr) return cudaErrorInvalidValue;
        std::memset(to, value, bytes);
        return cudaSuccess;
    });
}

}  // extern "C"
