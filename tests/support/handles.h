// The C API for tests and the conformance suite: handles that release themselves, and calls whose status is
// looked at.
#pragma once

#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "pconv/pconv.h"

namespace pconv::test {

template <typename Handle, void (*release)(Handle)>
class Owned {
  public:
    Owned() = default;
    explicit Owned(Handle handle) : handle_(handle) {}
    Owned(Owned&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    Owned& operator=(Owned&& other) noexcept {
        std::swap(handle_, other.handle_);
        return *this;
    }
    ~Owned() { release(handle_); }
    Handle get() const { return handle_; }
    // Where a creating function puts its result.
    Handle* out() { return &handle_; }
    void reset() { release(std::exchange(handle_, nullptr)); }

  private:
    Handle handle_ = nullptr;
};

using OwnedDevice = Owned<PconvDevice, pconvReleaseDevice>;
using OwnedBuffer = Owned<PconvBuffer, pconvReleaseBuffer>;
using OwnedMaskUpdate = Owned<PconvMaskUpdate, pconvReleaseMaskUpdate>;
using OwnedPartialConv = Owned<PconvPartialConv, pconvReleasePartialConv>;

// Thrown where a call fails that a test takes for granted.
class CallFailed : public std::runtime_error {
  public:
    CallFailed(PconvStatus status, const std::string& what) : std::runtime_error(what), status_(status) {}
    PconvStatus status() const { return status_; }

  private:
    PconvStatus status_;
};

inline void check(PconvStatus status) {
    if (status != PCONV_SUCCESS)
        throw CallFailed(status, std::string(pconvGetStatusName(status)) + ": " + pconvGetLastError());
}

// Any number in an enumeration, as a C caller can put it there.
template <typename Enum>
void setEnum(Enum& field, int number) {
    static_assert(sizeof(Enum) == sizeof(int));
    std::memcpy(&field, &number, sizeof number);
}

inline OwnedDevice openDevice(const char* selector, const PconvDeviceOptions* options = nullptr) {
    OwnedDevice device;
    check(pconvCreateDevice(selector, options, device.out()));
    return device;
}

inline OwnedBuffer makeBuffer(PconvDevice device, size_t bytes) {
    OwnedBuffer buffer;
    check(pconvCreateBuffer(device, bytes, buffer.out()));
    return buffer;
}

template <typename T>
OwnedBuffer makeBuffer(PconvDevice device, const std::vector<T>& content) {
    OwnedBuffer buffer = makeBuffer(device, content.size() * sizeof(T));
    check(pconvWriteBuffer(buffer.get(), 0, content.data(), content.size() * sizeof(T)));
    return buffer;
}

template <typename T>
std::vector<T> readBuffer(PconvBuffer buffer, size_t count, size_t offset = 0) {
    std::vector<T> content(count);
    check(pconvReadBuffer(buffer, offset, content.data(), count * sizeof(T)));
    return content;
}

inline PconvTensor makeTensor(PconvBuffer buffer, PconvDataType type, const std::vector<int64_t>& dims,
                              size_t offset = 0) {
    PconvTensor tensor{};
    tensor.buffer = buffer;
    tensor.offset = offset;
    tensor.data_type = type;
    tensor.rank = static_cast<int32_t>(dims.size());
    std::copy(dims.begin(), dims.end(), tensor.dims);
    return tensor;
}

}  // namespace pconv::test
