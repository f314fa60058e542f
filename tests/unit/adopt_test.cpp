// Devices and memory of the host's own: what is refused, and in which words. What works on a CUDA device is
// in cuda_adopt_test.cpp.
#include <cstddef>

#include "pconv/pconv.hpp"
#include "support/api.h"

namespace pconv::test {
namespace {

PconvNativeDevice nativeDevice(const char* backend) {
    PconvNativeDevice native = pconvDefaultNativeDevice();
    native.backend = backend;
    return native;
}

TEST(Adopt, MisuseIsNamed) {
    PconvDevice device = nullptr;
    PconvNativeDevice native = nativeDevice("cuda");
    EXPECT_INVALID(pconvAdoptDevice(nullptr, nullptr, &device), "native is null");
    EXPECT_INVALID(pconvAdoptDevice(&native, nullptr, nullptr), "device is null");
    native.backend = nullptr;
    EXPECT_INVALID(pconvAdoptDevice(&native, nullptr, &device), "native->backend is null");
    native.backend = "metal";
    EXPECT_INVALID(pconvAdoptDevice(&native, nullptr, &device),
                   "native->backend is 'metal'; expected one of cuda, vulkan, cpu");
    native = nativeDevice("cpu");
    native.struct_size = 0;
    EXPECT_INVALID(pconvAdoptDevice(&native, nullptr, &device), "native->struct_size is 0");
    native = nativeDevice("cpu");
    PconvDeviceOptions options = pconvDefaultDeviceOptions();
    options.threads = -1;
    EXPECT_INVALID(pconvAdoptDevice(&native, &options, &device), "options->threads is -1");
    EXPECT_EQ(device, nullptr);
}

TEST(Adopt, AStructFromTheFutureIsRefusedWhereItSaysMore) {
    struct Newer {
        PconvNativeDevice known = nativeDevice("cpu");
        uint64_t unknown = 1;
    } newer;
    newer.known.struct_size = sizeof newer;
    PconvDevice device = nullptr;
    EXPECT_INVALID(pconvAdoptDevice(&newer.known, nullptr, &device),
                   "native sets a field that this version of the library does not have");
    newer.unknown = 0;
    EXPECT_FAULT(pconvAdoptDevice(&newer.known, nullptr, &device), PCONV_ERROR_UNSUPPORTED,
                 "adopts no device");
    EXPECT_EQ(device, nullptr);
}

TEST(Adopt, ABackendThatCannotSaysSo) {
    PconvDevice device = nullptr;
    const PconvNativeDevice native = nativeDevice("cpu");
    EXPECT_FAULT(pconvAdoptDevice(&native, nullptr, &device), PCONV_ERROR_UNSUPPORTED,
                 "the cpu backend adopts no device of the host's");
    EXPECT_EQ(device, nullptr);
}

// A backend that is absent says why, in the words of its list entry.
TEST(Adopt, AnAbsentBackendSaysWhy) {
    int32_t count = 0;
    check(pconvGetBackendCount(&count));
    for (int32_t i = 0; i < count; ++i) {
        PconvBackendInfo info = pconvDefaultBackendInfo();
        check(pconvGetBackendInfo(i, &info));
        if (info.device_count > 0) continue;
        PconvDevice device = nullptr;
        const PconvNativeDevice native = nativeDevice(info.name);
        EXPECT_FAULT(pconvAdoptDevice(&native, nullptr, &device), PCONV_ERROR_NO_DEVICE,
                     "no " + std::string(info.name) + " device: " + std::string(info.reason).substr(0, 100));
        EXPECT_EQ(device, nullptr);
    }
}

TEST(Adopt, NativeMemoryIsRefusedWhereThereIsNone) {
    const OwnedDevice device = openDevice("cpu");
    PconvBuffer buffer = nullptr;
    EXPECT_INVALID(pconvImportNativeBuffer(nullptr, 1, 0, 4, &buffer), "device is null");
    EXPECT_INVALID(pconvImportNativeBuffer(device.get(), 1, 0, 4, nullptr), "buffer is null");
    EXPECT_INVALID(pconvImportNativeBuffer(device.get(), 1, 0, 0, &buffer), "bytes is 0");
    EXPECT_INVALID(pconvImportNativeBuffer(device.get(), 0, 0, 4, &buffer), "handle is 0");
    EXPECT_INVALID(pconvImportNativeBuffer(device.get(), 1, SIZE_MAX, 4, &buffer),
                   "offset is more than memory");
    EXPECT_FAULT(pconvImportNativeBuffer(device.get(), 1, 0, 4, &buffer), PCONV_ERROR_UNSUPPORTED,
                 "this device has no native memory to import");
    EXPECT_EQ(buffer, nullptr);
}

TEST(Adopt, MemoryByADescriptorIsRefusedWhereThereIsNone) {
    const OwnedDevice device = openDevice("cpu");
    PconvBuffer buffer = nullptr;
    PconvExternalMemory memory = pconvDefaultExternalMemory();
    EXPECT_INVALID(pconvImportExternalBuffer(device.get(), nullptr, 4, &buffer), "memory is null");
    EXPECT_INVALID(pconvImportExternalBuffer(device.get(), &memory, 4, &buffer),
                   "memory->handle is -1; expected a file descriptor");
    memory.handle = 1;
    EXPECT_INVALID(pconvImportExternalBuffer(device.get(), &memory, 4, &buffer),
                   "reach beyond memory->size, 0");
    memory.size = 4;
    EXPECT_INVALID(pconvImportExternalBuffer(device.get(), &memory, 0, &buffer), "bytes is 0");
    EXPECT_INVALID(pconvImportExternalBuffer(device.get(), &memory, 4, nullptr), "buffer is null");
    EXPECT_FAULT(pconvImportExternalBuffer(device.get(), &memory, 4, &buffer), PCONV_ERROR_UNSUPPORTED,
                 "imports no memory of other devices");
    memory.handle_type = PCONV_MEMORY_HANDLE_TYPE_OPAQUE_WIN32;
    memory.handle = 0;
    EXPECT_INVALID(pconvImportExternalBuffer(device.get(), &memory, 4, &buffer),
                   "memory->handle is 0; expected a HANDLE");
    setEnum(memory.handle_type, 2);
    EXPECT_INVALID(pconvImportExternalBuffer(device.get(), &memory, 4, &buffer), "memory->handle_type is 2");
    try {
        pconv::Buffer::importExternal(pconv::Device("cpu"), memory, 4);
        FAIL() << "memory of no one was imported";
    } catch (const pconv::Error& error) {
        EXPECT_EQ(error.status(), PCONV_ERROR_INVALID_ARGUMENT);
    }
    EXPECT_EQ(buffer, nullptr);
}

TEST(Adopt, TheWrapperThrowsTheSameLines) {
    try {
        pconv::Device::adopt(nativeDevice("cpu"));
        FAIL() << "the CPU was adopted";
    } catch (const pconv::Error& error) {
        EXPECT_EQ(error.status(), PCONV_ERROR_UNSUPPORTED);
        EXPECT_STREQ(error.what(), "the cpu backend adopts no device of the host's");
    }
    const pconv::Device device("cpu");
    try {
        pconv::Buffer::importNative(device, 1, 4);
        FAIL() << "memory of no one was imported";
    } catch (const pconv::Error& error) {
        EXPECT_EQ(error.status(), PCONV_ERROR_UNSUPPORTED);
    }
}

}  // namespace
}  // namespace pconv::test
