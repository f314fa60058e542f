#include "cuda/device/external_memory.h"

#include <string>

#include "platform/descriptor.h"

namespace pconv::cuda {

namespace {

cudaExternalMemory_t import(const ExternalMemory& memory) {
    cudaExternalMemoryHandleDesc desc{};
    desc.size = memory.size;
    desc.flags = memory.dedicated ? cudaExternalMemoryDedicated : 0;
    int descriptor = -1;
    if (memory.handle_type == PCONV_MEMORY_HANDLE_TYPE_OPAQUE_FD) {
        descriptor = platform::duplicateDescriptor(static_cast<int>(memory.handle));
        if (descriptor < 0) {
#ifdef _WIN32
            fail(PCONV_ERROR_UNSUPPORTED,
                 "memory is shared by HANDLEs on this system, not by file descriptors");
#else
            fail(PCONV_ERROR_INVALID_ARGUMENT,
                 "memory->handle is " + std::to_string(memory.handle) + ", which is no open file descriptor");
#endif
        }
        desc.type = cudaExternalMemoryHandleTypeOpaqueFd;
        desc.handle.fd = descriptor;
    } else {
        desc.type = cudaExternalMemoryHandleTypeOpaqueWin32;
        desc.handle.win32.handle = reinterpret_cast<void*>(static_cast<intptr_t>(memory.handle));
    }
    cudaExternalMemory_t made = nullptr;
    const cudaError_t status = cudaImportExternalMemory(&made, &desc);
    // Only an import that went well takes the descriptor; a HANDLE stays the caller's.
    if (status != cudaSuccess && descriptor >= 0) platform::closeDescriptor(descriptor);
    check(status, "importing memory of another device");
    return made;
}

}  // namespace

ExternalCudaBuffer::ExternalCudaBuffer(std::shared_ptr<Stream> stream, const ExternalMemory& memory,
                                       size_t bytes)
    : CudaBuffer(nullptr, bytes), stream_(std::move(stream)) {
    const CurrentDevice current(stream_->device());
    stream_->refuseInHostsCapture("no memory can be imported");
    memory_ = import(memory);
    cudaExternalMemoryBufferDesc desc{};
    desc.size = memory.size;
    const cudaError_t status = cudaExternalMemoryGetMappedBuffer(&mapped_, memory_, &desc);
    if (status != cudaSuccess) cudaDestroyExternalMemory(memory_);
    check(status, "mapping memory of another device");
    data_ = static_cast<char*>(mapped_) + memory.offset;
}

ExternalCudaBuffer::~ExternalCudaBuffer() {
    const CurrentDevice current(stream_->device(), std::nothrow);
    if (!current.made()) return;  // a device that is lost has nothing left to release
    cudaStreamSynchronize(stream_->queue());
    cudaFree(mapped_);
    cudaDestroyExternalMemory(memory_);
}

}  // namespace pconv::cuda
