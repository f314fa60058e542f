// Buffers of the C API.
#include "core/checked.h"
#include "core/handles.h"

using namespace pconv;

namespace {

void checkRange(const PconvBuffer_T& buffer, size_t offset, size_t bytes) {
    const size_t size = buffer.state.buffer->size();
    if (offset > size || bytes > size - offset)
        invalid("offset " + std::to_string(offset) + " and " + std::to_string(bytes) +
                " bytes reach beyond the buffer's " + std::to_string(size));
}

void checkHandle(const PconvExternalMemory& memory) {
    const std::string given = "memory->handle is " + std::to_string(memory.handle);
    switch (enumNumber(memory.handle_type)) {
        case PCONV_MEMORY_HANDLE_TYPE_OPAQUE_FD:
            if (memory.handle < 0 || memory.handle > INT32_MAX)
                invalid(given + "; expected a file descriptor");
            break;
        case PCONV_MEMORY_HANDLE_TYPE_OPAQUE_WIN32:
            if (memory.handle == 0 || memory.handle == -1) invalid(given + "; expected a HANDLE");
            break;
        default:
            invalid("memory->handle_type is " + std::to_string(enumNumber(memory.handle_type)) +
                    "; expected 0 or 1, a file descriptor or a HANDLE of Windows");
    }
}

template <typename Make>
PconvStatus makeBuffer(PconvDevice device, size_t bytes, PconvBuffer* buffer, const Make& make) {
    return guarded([&] {
        const auto& state = notNull(device, "device").state;
        notNull(buffer, "buffer");
        if (bytes == 0) invalid("bytes is 0; expected at least 1");
        if (bytes > PTRDIFF_MAX) fail(PCONV_ERROR_OUT_OF_MEMORY, "bytes is more than memory can hold");
        std::shared_ptr<Buffer> memory;
        {
            const DeviceLock lock(*state);
            memory = make(*state->device);
        }
        *buffer = new PconvBuffer_T{{state, std::move(memory)}};
    });
}

}  // namespace

PconvStatus pconvCreateBuffer(PconvDevice device, size_t bytes, PconvBuffer* buffer) {
    return makeBuffer(device, bytes, buffer, [&](Device& d) { return d.allocate(bytes); });
}

PconvStatus pconvImportHostBuffer(PconvDevice device, void* memory, size_t bytes, PconvBuffer* buffer) {
    return makeBuffer(device, bytes, buffer, [&](Device& d) {
        notNull(static_cast<char*>(memory), "memory");
        return d.importHost(memory, bytes);
    });
}

PconvStatus pconvImportNativeBuffer(PconvDevice device, uint64_t handle, size_t offset, size_t bytes,
                                    PconvBuffer* buffer) {
    return makeBuffer(device, bytes, buffer, [&](Device& d) {
        if (handle == 0) invalid("handle is 0; expected the native handle of device memory");
        if (offset > PTRDIFF_MAX) invalid("offset is more than memory can hold");
        return d.importNative(handle, offset, bytes);
    });
}

PconvStatus pconvImportExternalBuffer(PconvDevice device, const PconvExternalMemory* memory, size_t bytes,
                                      PconvBuffer* buffer) {
    return makeBuffer(device, bytes, buffer, [&](Device& d) {
        const PconvExternalMemory given = copyVersioned(memory, pconvDefaultExternalMemory(), "memory");
        checkHandle(given);
        if (given.offset > given.size || bytes > given.size - given.offset)
            invalid("memory->offset " + std::to_string(given.offset) + " and " + std::to_string(bytes) +
                    " bytes reach beyond memory->size, " + std::to_string(given.size));
        return d.importExternal({given.handle_type, given.handle, given.size, given.memory_type,
                                 given.dedicated != 0, static_cast<size_t>(given.offset)},
                                bytes);
    });
}

void pconvReleaseBuffer(PconvBuffer buffer) {
    delete buffer;
}

PconvStatus pconvWriteBuffer(PconvBuffer buffer, size_t offset, const void* source, size_t bytes) {
    return guarded([&] {
        const BufferState& state = notNull(buffer, "buffer").state;
        checkRange(*buffer, offset, bytes);
        if (bytes == 0) return;
        notNull(static_cast<const char*>(source), "source");
        const DeviceLock lock(*state.device);
        state.device->device->write(*state.buffer, offset, source, bytes);
    });
}

PconvStatus pconvReadBuffer(PconvBuffer buffer, size_t offset, void* destination, size_t bytes) {
    return guarded([&] {
        const BufferState& state = notNull(buffer, "buffer").state;
        checkRange(*buffer, offset, bytes);
        if (bytes == 0) return;
        notNull(static_cast<char*>(destination), "destination");
        const DeviceLock lock(*state.device);
        state.device->device->read(*state.buffer, offset, destination, bytes);
    });
}

PconvStatus pconvGetBufferSize(PconvBuffer buffer, size_t* bytes) {
    return guarded([&] { notNull(bytes, "bytes") = notNull(buffer, "buffer").state.buffer->size(); });
}

PconvStatus pconvGetBufferPointer(PconvBuffer buffer, void** pointer) {
    return guarded(
        [&] { notNull(pointer, "pointer") = notNull(buffer, "buffer").state.buffer->hostPointer(); });
}
