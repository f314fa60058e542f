// What stands behind the C handles.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "backend.h"
#include "core/byte_planes.h"
#include "core/registry.h"
#include "pconv/pconv.h"

namespace pconv {

// An open device, shared by the handle and by every object made on it. `mutex` is held around every call into
// the backend.
struct DeviceState {
    std::unique_ptr<Host> host;
    std::unique_ptr<Device> device;  // goes before host
    std::string backend;
    std::mutex mutex;
};

using DeviceLock = std::lock_guard<std::mutex>;

struct BufferState {
    std::shared_ptr<DeviceState> device;
    std::shared_ptr<Buffer> buffer;
    BufferState(std::shared_ptr<DeviceState> owner, std::shared_ptr<Buffer> memory)
        : device(std::move(owner)), buffer(std::move(memory)) {}
    BufferState(const BufferState&) = delete;
    BufferState& operator=(const BufferState&) = delete;
    ~BufferState() {
        const DeviceLock lock(device->mutex);
        buffer.reset();
    }
};

}  // namespace pconv

struct PconvDevice_T {
    std::shared_ptr<pconv::DeviceState> state;
};

struct PconvBuffer_T {
    pconv::BufferState state;
};

struct PconvTimer_T {
    std::shared_ptr<pconv::DeviceState> device;
    std::unique_ptr<pconv::Timer> timer;
    bool started = false;
    bool stopped = false;
    ~PconvTimer_T();
};

struct PconvMaskUpdate_T {
    std::shared_ptr<pconv::DeviceState> device;
    pconv::PartialConvDesc desc;
    pconv::MaskForm form;
    std::unique_ptr<PconvBuffer_T> buffer;  // the results, one after another
    pconv::MaskPlanes results;
    std::unique_ptr<pconv::MaskUpdate> update;
    pconv::BytePlanes bytes;
    bool needs_weights = false;  // a masked convolution's, until they are set
    bool computed = false;
    ~PconvMaskUpdate_T();
};

struct PconvPartialConv_T {
    std::shared_ptr<pconv::DeviceState> device;
    pconv::PartialConvDesc desc;
    const char* implementation = "";
    std::unique_ptr<pconv::PartialConv> conv;
    bool has_weights = false;
    ~PconvPartialConv_T();
};

namespace pconv {

// Runs `body` at the C boundary: no exception leaves it, and a failure leaves its line for pconvGetLastError.
void setLastError(const char* line) noexcept;

template <typename Body>
PconvStatus guarded(const Body& body) noexcept {
    try {
        body();
        return PCONV_SUCCESS;
    } catch (const Error& error) {
        setLastError(error.what());
        return error.status();
    } catch (const std::bad_alloc&) {
        setLastError("out of host memory");
        return PCONV_ERROR_OUT_OF_MEMORY;
    } catch (const std::exception& error) {
        setLastError(error.what());
        return PCONV_ERROR_INTERNAL;
    } catch (...) {
        setLastError("unknown exception");
        return PCONV_ERROR_INTERNAL;
    }
}

}  // namespace pconv
