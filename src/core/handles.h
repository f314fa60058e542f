// What stands behind the C handles.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "backend.h"
#include "core/byte_planes.h"
#include "core/registry.h"
#include "pconv/pconv.h"

namespace pconv {

// An open device, shared by the handle and by every object made on it.
struct DeviceState {
    std::unique_ptr<Host> host;
    std::unique_ptr<Device> device;  // goes before host
    std::string backend;
    bool survives_fork = false;

    DeviceState();
    DeviceState(const DeviceState&) = delete;
    DeviceState& operator=(const DeviceState&) = delete;
    ~DeviceState();
    // False in a process that was forked after the device was opened, where the backend does not survive that
    // or a thread of the parent was in a call on it.
    bool isReachable() const;

  private:
    friend class DeviceLock;
    uint64_t forks_;                   // of the process that opened it
    std::atomic<uint64_t> holder_{0};  // forks of the process that holds the mutex, and 1; 0: nobody does
    std::mutex mutex_;
};

// Held around every call into the backend. Throws Error where the device is out of reach.
class DeviceLock {
  public:
    explicit DeviceLock(DeviceState& state);
    DeviceLock(const DeviceLock&) = delete;
    DeviceLock& operator=(const DeviceLock&) = delete;
    ~DeviceLock();

  private:
    DeviceState& state_;
};

// Puts an object where no destructor runs.
template <typename Object>
void leave(Object& object) {
    // NOLINTNEXTLINE(clang-analyzer-cplusplus.NewDeleteLeaks): it is meant to be left.
    static_cast<void>(new Object(std::move(object)));
}

// Destroys what the backend made, under the lock. Out of its reach nothing can be given back: it is left.
template <typename... Objects>
void releaseOn(DeviceState& device, Objects&... objects) noexcept {
    try {
        if (device.isReachable()) {
            const DeviceLock lock(device);
            ((objects = Objects()), ...);
        } else {
            (leave(objects), ...);
        }
    } catch (...) {
        // Whoever releases is told of no failure.
    }
}

struct BufferState {
    std::shared_ptr<DeviceState> device;
    std::shared_ptr<Buffer> buffer;
    BufferState(std::shared_ptr<DeviceState> owner, std::shared_ptr<Buffer> memory)
        : device(std::move(owner)), buffer(std::move(memory)) {}
    BufferState(const BufferState&) = delete;
    BufferState& operator=(const BufferState&) = delete;
    ~BufferState() { releaseOn(*device, buffer); }
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
