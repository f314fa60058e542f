// A device beneath the seam for each test, and tensors in the middle of random bytes on it.
#pragma once

#include <algorithm>
#include <random>
#include <vector>

#include "support/elements.h"
#include "support/seam.h"

namespace pconv::test {

// The byte of an element of a view.
inline size_t byteOf(const TensorRef& t, const Dims& position) {
    const int64_t element =
        std::inner_product(position.begin(), position.end(), t.strides.begin(), int64_t{0});
    return t.offset + sizeOf(t.data_type) * static_cast<size_t>(element);
}

// The parameter is the backend's name. Skips where it has no device.
class SeamDevice : public ::testing::TestWithParam<std::string> {
  protected:
    void SetUp() override {
        std::string reason;
        device_ = openFirstDevice(GetParam(), host_, reason);
        if (!device_) GTEST_SKIP() << reason;
    }

    // A view of a memory of `whole` elements before, around and after, filled with random bytes.
    struct Placed {
        TensorRef tensor;
        std::vector<uint8_t> bytes;
    };
    Placed place(const Dims& dims, DataType type, bool channels_last, int64_t more_channels) {
        Dims whole = dims;
        whole[1] += more_channels;
        const size_t size = sizeOf(type);
        const int64_t guard = 48;
        Placed placed;
        placed.bytes.resize(static_cast<size_t>(elements(whole) + 2 * guard) * size);
        for (uint8_t& byte : placed.bytes) byte = static_cast<uint8_t>(random_());
        placed.tensor.buffer = device_->allocate(placed.bytes.size());
        placed.tensor.strides = strides(whole, channels_last);
        placed.tensor.offset =
            static_cast<size_t>(guard + more_channels / 2 * placed.tensor.strides[1]) * size;
        placed.tensor.data_type = type;
        device_->write(*placed.tensor.buffer, 0, placed.bytes.data(), placed.bytes.size());
        return placed;
    }
    std::vector<uint8_t> bytesOf(const Placed& placed) {
        std::vector<uint8_t> bytes(placed.bytes.size());
        device_->read(*placed.tensor.buffer, 0, bytes.data(), bytes.size());
        return bytes;
    }

    FreeHost host_;
    std::unique_ptr<Device> device_;
    std::mt19937 random_{5};
};

}  // namespace pconv::test
