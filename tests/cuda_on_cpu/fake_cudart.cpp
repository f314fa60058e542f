// The CUDA runtime on the CPU, as far as the backend asks for it: devices whose memory is the host's. Memory
// is poisoned when it is made and when it is freed, and what a real runtime would refuse is refused. Devices
// and contexts are in fake_contexts.cpp, streams in fake_streams.cpp.
#include <cuda_runtime_api.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "stand_in.h"

namespace {

constexpr size_t kAlignment = 256;
constexpr unsigned char kFresh = 0xFF;  // NaN as a float
constexpr unsigned char kFreed = 0xFE;

struct Block {
    size_t bytes;
    cudaMemoryType type;
    bool in_order;  // of cudaMallocAsync
    int device;
    bool released = false;  // to be freed in its stream's order
    bool external = false;  // a mapped file
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
    runtime().blocks[static_cast<char*>(memory)] = {bytes, type, in_order,
                                                    pconv::cuda_stand_in::currentDevice()};
    *pointer = memory;
    return cudaSuccess;
}

// Where streams run late, freed memory stays poison for good: what still uses it is seen by its results.
void poison(void* memory, size_t bytes) {
    std::memset(memory, kFreed, bytes);
    if (!pconv::cuda_stand_in::runsLate()) ::operator delete (memory, std::align_val_t{kAlignment});
}

cudaError_t release(void* pointer, cudaMemoryType type, bool in_order, cudaStream_t stream = nullptr) {
    if (pointer == nullptr) return cudaSuccess;
    if (const cudaError_t status = refusal(in_order, stream); status != cudaSuccess) return report(status);
    size_t bytes = 0;
    bool external = false;
    {
        const std::lock_guard<std::mutex> lock(runtime().mutex);
        const auto found = runtime().blocks.find(static_cast<char*>(pointer));
        // In the order of another device's stream it would be free too early or too late.
        if (found == runtime().blocks.end() || found->second.released || found->second.type != type ||
            found->second.in_order != in_order ||
            (in_order && found->second.device != pconv::cuda_stand_in::currentDevice()))
            return report(cudaErrorInvalidValue);
        bytes = found->second.bytes;
        external = found->second.external;
        found->second.released = true;
    }
    const auto free = [=] {
        {
            const std::lock_guard<std::mutex> lock(runtime().mutex);
            runtime().blocks.erase(static_cast<char*>(pointer));
        }
        if (external)
            munmap(pointer, bytes);
        else
            poison(pointer, bytes);
        return 0;
    };
    if (in_order) return enqueue(stream, free);
    // What frees out of order waits for the device, or the caller must have waited.
    if (type == cudaMemoryTypeDevice)
        pconv::cuda_stand_in::finishAll();
    else
        pconv::cuda_stand_in::expectIdle("pinned memory is freed");
    free();
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
    if (properties->location.type != cudaMemLocationTypeDevice ||
        properties->location.id != pconv::cuda_stand_in::currentDevice())
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
    runtime().blocks[static_cast<char*>(pointer)] = {bytes, cudaMemoryTypeHost, false,
                                                     pconv::cuda_stand_in::currentDevice()};
    return cudaSuccess;
}
cudaError_t cudaHostUnregister(void* pointer) {
    pconv::cuda_stand_in::expectIdle("host memory is given back");
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
// What other devices allocated are files here: it is theirs to say what is in them.
cudaError_t cudaImportExternalMemory(cudaExternalMemory_t* memory, const cudaExternalMemoryHandleDesc* desc) {
    if (const cudaError_t status = refusal(false, nullptr); status != cudaSuccess) return report(status);
    if (pconv::cuda_stand_in::failsNow("cudaImportExternalMemory")) return report(cudaErrorUnknown);
    if (desc->type != cudaExternalMemoryHandleTypeOpaqueFd) return report(cudaErrorNotSupported);
    struct stat file {};
    if (fstat(desc->handle.fd, &file) != 0 || file.st_size < static_cast<off_t>(desc->size))
        return report(cudaErrorInvalidValue);
    *memory = reinterpret_cast<cudaExternalMemory_t>(new int(desc->handle.fd));
    return cudaSuccess;
}
cudaError_t cudaExternalMemoryGetMappedBuffer(void** pointer, cudaExternalMemory_t memory,
                                              const cudaExternalMemoryBufferDesc* desc) {
    if (pconv::cuda_stand_in::failsNow("cudaExternalMemoryGetMappedBuffer")) return report(cudaErrorUnknown);
    void* mapped = mmap(nullptr, desc->size, PROT_READ | PROT_WRITE, MAP_SHARED,
                        *reinterpret_cast<int*>(memory), static_cast<off_t>(desc->offset));
    if (mapped == MAP_FAILED) return report(cudaErrorInvalidValue);
    const std::lock_guard<std::mutex> lock(runtime().mutex);
    Block& block = runtime().blocks[static_cast<char*>(mapped)];
    block = {desc->size, cudaMemoryTypeDevice, false, pconv::cuda_stand_in::currentDevice()};
    block.external = true;
    *pointer = mapped;
    return cudaSuccess;
}
cudaError_t cudaDestroyExternalMemory(cudaExternalMemory_t memory) {
    int* const descriptor = reinterpret_cast<int*>(memory);
    close(*descriptor);
    delete descriptor;
    return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
    const std::lock_guard<std::mutex> lock(runtime().mutex);
    const Block* block = find(pointer, 1);
    std::memset(attributes, 0, sizeof *attributes);
    attributes->type = block != nullptr ? block->type : cudaMemoryTypeUnregistered;
    attributes->device = block != nullptr ? block->device : 0;
    return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
    const auto known = [](const void* pointer) {
        const std::lock_guard<std::mutex> lock(runtime().mutex);
        return find(pointer, 1) != nullptr;
    };
    // Memory that is not pinned is staged before the call returns, and written before it does.
    const bool staged = !known(from);
    const auto copy = std::make_shared<std::vector<char>>();
    if (staged) copy->assign(static_cast<const char*>(from), static_cast<const char*>(from) + bytes);
    const bool waits = !known(to);
    const cudaError_t status = enqueue(stream, [=] {
        const std::lock_guard<std::mutex> lock(runtime().mutex);
        if (kind != cudaMemcpyDefault || !isCopyable(to, bytes) || (!staged && !isCopyable(from, bytes)))
            return cudaErrorInvalidValue;
        std::memmove(to, staged ? copy->data() : from, bytes);
        return cudaSuccess;
    });
    if (waits && status == cudaSuccess && pconv::cuda_stand_in::runsLate())
        pconv::cuda_stand_in::finish(stream);
    return status;
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
