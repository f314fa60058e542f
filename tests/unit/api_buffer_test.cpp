// Buffers of the C API: their memory, and what is said when they are misused.
#include <array>
#include <cstdint>
#include <numeric>

#include "support/api.h"

namespace pconv::test {
namespace {

TEST(Buffer, HoldsWhatIsWrittenWhereItIsWritten) {
    const OwnedDevice device = openDevice("cpu");
    const OwnedBuffer buffer = makeBuffer(device.get(), std::vector<uint8_t>(32, 9));
    size_t size = 0;
    check(pconvGetBufferSize(buffer.get(), &size));
    EXPECT_EQ(size, 32U);
    std::vector<uint8_t> part(7);
    std::iota(part.begin(), part.end(), uint8_t{100});
    check(pconvWriteBuffer(buffer.get(), 5, part.data(), part.size()));
    std::vector<uint8_t> expected(32, 9);
    std::copy(part.begin(), part.end(), expected.begin() + 5);
    EXPECT_EQ(readBuffer<uint8_t>(buffer.get(), 32), expected);
    EXPECT_EQ(readBuffer<uint8_t>(buffer.get(), 7, 5), part);
    EXPECT_EQ(pconvWriteBuffer(buffer.get(), 32, nullptr, 0), PCONV_SUCCESS);
    EXPECT_EQ(pconvReadBuffer(buffer.get(), 32, nullptr, 0), PCONV_SUCCESS);
}

TEST(Buffer, HostMemoryIsUsedInPlace) {
    const OwnedDevice device = openDevice("cpu");
    std::vector<float> memory(16, 1.0F);
    OwnedBuffer buffer;
    check(pconvImportHostBuffer(device.get(), memory.data(), 64, buffer.out()));
    void* pointer = nullptr;
    check(pconvGetBufferPointer(buffer.get(), &pointer));
    EXPECT_EQ(pointer, memory.data());
    const float value = 5;
    check(pconvWriteBuffer(buffer.get(), 8, &value, 4));
    EXPECT_EQ(memory[2], 5.0F);
    memory[3] = 6;
    EXPECT_EQ(readBuffer<float>(buffer.get(), 2, 8), (std::vector<float>{5, 6}));
    buffer.reset();
    EXPECT_EQ(memory[2], 5.0F);
}

TEST(Buffer, CreationMisuseIsNamed) {
    const OwnedDevice device = openDevice("cpu");
    std::array<char, 4> memory{};
    PconvBuffer buffer = nullptr;
    EXPECT_INVALID(pconvCreateBuffer(nullptr, 4, &buffer), "device is null");
    EXPECT_INVALID(pconvCreateBuffer(device.get(), 4, nullptr), "buffer is null");
    EXPECT_INVALID(pconvCreateBuffer(device.get(), 0, &buffer), "bytes is 0; expected at least 1");
    EXPECT_FAULT(pconvCreateBuffer(device.get(), SIZE_MAX, &buffer), PCONV_ERROR_OUT_OF_MEMORY, "memory");
    EXPECT_FAULT(pconvCreateBuffer(device.get(), size_t{1} << 62, &buffer), PCONV_ERROR_OUT_OF_MEMORY,
                 std::to_string(size_t{1} << 62) + " bytes");
    EXPECT_INVALID(pconvImportHostBuffer(nullptr, memory.data(), 4, &buffer), "device is null");
    EXPECT_INVALID(pconvImportHostBuffer(device.get(), nullptr, 4, &buffer), "memory is null");
    EXPECT_INVALID(pconvImportHostBuffer(device.get(), memory.data(), 0, &buffer), "bytes is 0");
    EXPECT_INVALID(pconvImportHostBuffer(device.get(), memory.data(), 4, nullptr), "buffer is null");
    EXPECT_FAULT(pconvImportHostBuffer(device.get(), memory.data(), SIZE_MAX, &buffer),
                 PCONV_ERROR_OUT_OF_MEMORY, "memory");
    EXPECT_EQ(buffer, nullptr);
    pconvReleaseBuffer(nullptr);
}

TEST(Buffer, UseMisuseIsNamedAndChangesNothing) {
    const OwnedDevice device = openDevice("cpu");
    const OwnedBuffer buffer = makeBuffer(device.get(), std::vector<uint8_t>(16, 3));
    std::array<uint8_t, 32> memory{};
    memory.fill(8);
    EXPECT_INVALID(pconvWriteBuffer(nullptr, 0, memory.data(), 1), "buffer is null");
    EXPECT_INVALID(pconvWriteBuffer(buffer.get(), 0, nullptr, 1), "source is null");
    EXPECT_INVALID(pconvWriteBuffer(buffer.get(), 0, memory.data(), 17),
                   "offset 0 and 17 bytes reach beyond the buffer's 16");
    EXPECT_INVALID(pconvWriteBuffer(buffer.get(), 16, memory.data(), 1), "reach beyond the buffer's 16");
    EXPECT_INVALID(pconvWriteBuffer(buffer.get(), 17, memory.data(), 0), "reach beyond the buffer's 16");
    EXPECT_INVALID(pconvWriteBuffer(buffer.get(), SIZE_MAX, memory.data(), 2), "reach beyond");
    EXPECT_INVALID(pconvWriteBuffer(buffer.get(), 2, memory.data(), SIZE_MAX), "reach beyond");
    EXPECT_EQ(readBuffer<uint8_t>(buffer.get(), 16), std::vector<uint8_t>(16, 3));

    EXPECT_INVALID(pconvReadBuffer(nullptr, 0, memory.data(), 1), "buffer is null");
    EXPECT_INVALID(pconvReadBuffer(buffer.get(), 0, nullptr, 1), "destination is null");
    EXPECT_INVALID(pconvReadBuffer(buffer.get(), 8, memory.data(), 9), "reach beyond the buffer's 16");
    EXPECT_INVALID(pconvReadBuffer(buffer.get(), SIZE_MAX - 1, memory.data(), 4), "reach beyond");
    for (const uint8_t byte : memory) EXPECT_EQ(byte, 8);

    size_t size = 99;
    EXPECT_INVALID(pconvGetBufferSize(nullptr, &size), "buffer is null");
    EXPECT_INVALID(pconvGetBufferSize(buffer.get(), nullptr), "bytes is null");
    EXPECT_EQ(size, 99U);
    void* pointer = &size;
    EXPECT_INVALID(pconvGetBufferPointer(nullptr, &pointer), "buffer is null");
    EXPECT_INVALID(pconvGetBufferPointer(buffer.get(), nullptr), "pointer is null");
    EXPECT_EQ(pointer, &size);
}

}  // namespace
}  // namespace pconv::test
