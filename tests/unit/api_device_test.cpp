// Backends and devices of the C API, and what it says when it is misused.
#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <string>
#include <thread>

#include "support/api.h"
#include "support/environment.h"
#include "support/small_conv.h"

namespace pconv::test {
namespace {

TEST(Status, EveryOneHasItsName) {
    EXPECT_STREQ(pconvGetStatusName(PCONV_SUCCESS), "PCONV_SUCCESS");
    EXPECT_STREQ(pconvGetStatusName(PCONV_ERROR_INVALID_ARGUMENT), "PCONV_ERROR_INVALID_ARGUMENT");
    EXPECT_STREQ(pconvGetStatusName(PCONV_ERROR_UNSUPPORTED), "PCONV_ERROR_UNSUPPORTED");
    EXPECT_STREQ(pconvGetStatusName(PCONV_ERROR_NO_DEVICE), "PCONV_ERROR_NO_DEVICE");
    EXPECT_STREQ(pconvGetStatusName(PCONV_ERROR_OUT_OF_MEMORY), "PCONV_ERROR_OUT_OF_MEMORY");
    EXPECT_STREQ(pconvGetStatusName(PCONV_ERROR_DEVICE), "PCONV_ERROR_DEVICE");
    EXPECT_STREQ(pconvGetStatusName(PCONV_ERROR_CANCELLED), "PCONV_ERROR_CANCELLED");
    EXPECT_STREQ(pconvGetStatusName(PCONV_ERROR_INTERNAL), "PCONV_ERROR_INTERNAL");
}

TEST(Version, IsTheHeadersAndEveryPointerMayBeNull) {
    int major = -1;
    int minor = -1;
    int patch = -1;
    pconvGetVersion(&major, &minor, &patch);
    EXPECT_EQ(major, PCONV_VERSION_MAJOR);
    EXPECT_EQ(minor, PCONV_VERSION_MINOR);
    EXPECT_EQ(patch, PCONV_VERSION_PATCH);
    pconvGetVersion(nullptr, nullptr, nullptr);
}

TEST(LastError, BelongsToItsThread) {
    EXPECT_INVALID(pconvGetDeviceCount(nullptr), "count is null");
    std::string elsewhere = "not asked";
    std::thread([&] { elsewhere = pconvGetLastError(); }).join();
    EXPECT_EQ(elsewhere, "");
    EXPECT_STREQ(pconvGetLastError(), "count is null");
}

TEST(LastError, StaysOneLineWhateverTheCallerSays) {
    PconvDevice device = nullptr;
    EXPECT_FAULT(pconvCreateDevice("no\nsuch\rthing\t", nullptr, &device), PCONV_ERROR_NO_DEVICE,
                 "no device 'no such thing '");
    const std::string long_name(5000, 'x');
    EXPECT_FAULT(pconvCreateDevice(long_name.c_str(), nullptr, &device), PCONV_ERROR_NO_DEVICE, "no device");
    EXPECT_EQ(device, nullptr);
}

TEST(Backends, AreListedWithTheReasonWhyThereIsNoDevice) {
    int32_t count = 0;
    check(pconvGetBackendCount(&count));
    EXPECT_EQ(count, 3);
    bool cpu = false;
    for (int32_t i = 0; i < count; ++i) {
        PconvBackendInfo info = pconvDefaultBackendInfo();
        check(pconvGetBackendInfo(i, &info));
        EXPECT_EQ(info.struct_size, sizeof info);
        EXPECT_NE(info.name[0], '\0');
        EXPECT_EQ(info.device_count == 0, info.reason[0] != '\0') << info.name << ": " << info.reason;
        cpu = cpu || (std::string(info.name) == "cpu" && info.device_count == 1);
    }
    EXPECT_TRUE(cpu);
}

TEST(Backends, MisuseIsNamed) {
    EXPECT_INVALID(pconvGetBackendCount(nullptr), "count is null");
    EXPECT_INVALID(pconvGetBackendInfo(0, nullptr), "info is null");
    PconvBackendInfo info = pconvDefaultBackendInfo();
    info.device_count = 77;
    EXPECT_INVALID(pconvGetBackendInfo(-1, &info), "index is -1; there are 3 backends");
    EXPECT_INVALID(pconvGetBackendInfo(3, &info), "index is 3");
    info.struct_size = 0;
    EXPECT_INVALID(pconvGetBackendInfo(0, &info), "info->struct_size is 0");
    info.struct_size = 1 << 20;
    EXPECT_INVALID(pconvGetBackendInfo(0, &info), "info->struct_size is 1048576");
    EXPECT_EQ(info.device_count, 77);
}

TEST(Devices, AreListedAndOpenedByIndexBackendAndName) {
    int32_t count = 0;
    check(pconvGetDeviceCount(&count));
    ASSERT_GE(count, 1);
    for (int32_t i = 0; i < count; ++i) {
        PconvDeviceInfo info = pconvDefaultDeviceInfo();
        check(pconvGetDeviceInfo(i, &info));
        const OwnedDevice device = openDevice(std::to_string(i).c_str());
        PconvDeviceInfo opened = pconvDefaultDeviceInfo();
        check(pconvGetInfoOfDevice(device.get(), &opened));
        EXPECT_STREQ(opened.name, info.name);
        EXPECT_STREQ(opened.backend, info.backend);
        EXPECT_EQ(opened.type, info.type);
        EXPECT_EQ(opened.memory_bytes, info.memory_bytes);
    }
    PconvDeviceInfo cpu = pconvDefaultDeviceInfo();
    check(pconvGetInfoOfDevice(openDevice("cpu").get(), &cpu));
    EXPECT_STREQ(cpu.backend, "cpu");
    EXPECT_EQ(cpu.type, PCONV_DEVICE_TYPE_CPU);
    EXPECT_GT(cpu.memory_bytes, 0U);
    openDevice("cpu:0");
    openDevice("CPU");
    std::string name = cpu.name;
    ASSERT_FALSE(name.empty());
    for (char& c : name) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    PconvDeviceInfo found = pconvDefaultDeviceInfo();
    check(pconvGetInfoOfDevice(openDevice(name.c_str()).get(), &found));
    EXPECT_STREQ(found.name, cpu.name);
}

TEST(Devices, MisuseOfTheListIsNamed) {
    EXPECT_INVALID(pconvGetDeviceCount(nullptr), "count is null");
    EXPECT_INVALID(pconvGetDeviceInfo(0, nullptr), "info is null");
    PconvDeviceInfo info = pconvDefaultDeviceInfo();
    info.memory_bytes = 77;
    EXPECT_INVALID(pconvGetDeviceInfo(-1, &info), "index is -1");
    EXPECT_INVALID(pconvGetDeviceInfo(1000, &info), "index is 1000; there are");
    info.struct_size = 3;
    EXPECT_INVALID(pconvGetDeviceInfo(0, &info), "info->struct_size is 3");
    EXPECT_EQ(info.memory_bytes, 77U);
}

TEST(Devices, AnOlderStructIsFilledAsFarAsItGoes) {
    PconvDeviceInfo info = pconvDefaultDeviceInfo();
    info.struct_size = offsetof(PconvDeviceInfo, memory_bytes);
    info.memory_bytes = 77;
    check(pconvGetDeviceInfo(0, &info));
    EXPECT_EQ(info.struct_size, offsetof(PconvDeviceInfo, memory_bytes));
    EXPECT_NE(info.backend[0], '\0');
    EXPECT_EQ(info.memory_bytes, 77U);
}

TEST(Devices, WhatIsNotThereIsNamedWithWhatIs) {
    PconvDevice device = nullptr;
    const auto open = [&](const char* selector) { return pconvCreateDevice(selector, nullptr, &device); };
    EXPECT_FAULT(open("no such device"), PCONV_ERROR_NO_DEVICE, "no device 'no such device'; there is '");
    EXPECT_FAULT(open("no such device"), PCONV_ERROR_NO_DEVICE, "(cpu)");
    EXPECT_FAULT(open("cpu:1"), PCONV_ERROR_NO_DEVICE, "no device 'cpu:1'; cpu has 1");
    EXPECT_FAULT(open("cpu:"), PCONV_ERROR_NO_DEVICE, "no device 'cpu:'");
    EXPECT_FAULT(open("cpu:-1"), PCONV_ERROR_NO_DEVICE, "no device 'cpu:-1'");
    EXPECT_FAULT(open("cpu:99999999999999999999"), PCONV_ERROR_NO_DEVICE, "no device");
    EXPECT_FAULT(open("1000"), PCONV_ERROR_NO_DEVICE, "no device '1000'");
    EXPECT_FAULT(open("99999999999999999999"), PCONV_ERROR_NO_DEVICE, "no device");
    EXPECT_EQ(device, nullptr);
    int32_t backends = 0;
    check(pconvGetBackendCount(&backends));
    for (int32_t i = 0; i < backends; ++i) {
        PconvBackendInfo info = pconvDefaultBackendInfo();
        check(pconvGetBackendInfo(i, &info));
        if (info.device_count > 0) continue;
        EXPECT_FAULT(open(info.name), PCONV_ERROR_NO_DEVICE, "no " + std::string(info.name) + " device: ");
        EXPECT_FAULT(open(info.name), PCONV_ERROR_NO_DEVICE, std::string(info.reason).substr(0, 100));
    }
}

TEST(Devices, TheEnvironmentChoosesWhereTheCallerDoesNot) {
    PconvDevice device = nullptr;
    const ScopedEnvironment variable("PCONV_DEVICE", "nowhere");
    EXPECT_FAULT(pconvCreateDevice(nullptr, nullptr, &device), PCONV_ERROR_NO_DEVICE, "no device 'nowhere'");
    EXPECT_EQ(device, nullptr);
    openDevice("cpu");
    const ScopedEnvironment again("PCONV_DEVICE", "cpu");
    PconvDeviceInfo info = pconvDefaultDeviceInfo();
    check(pconvGetInfoOfDevice(openDevice(nullptr).get(), &info));
    EXPECT_STREQ(info.backend, "cpu");
}

TEST(Devices, MisuseOfTheOptionsIsNamed) {
    EXPECT_INVALID(pconvCreateDevice("cpu", nullptr, nullptr), "device is null");
    PconvDevice device = nullptr;
    PconvDeviceOptions options = pconvDefaultDeviceOptions();
    options.threads = -1;
    EXPECT_INVALID(pconvCreateDevice("cpu", &options, &device), "options->threads is -1");
    options.threads = 1 << 30;
    EXPECT_INVALID(pconvCreateDevice("cpu", &options, &device), "options->threads is 1073741824");
    options = pconvDefaultDeviceOptions();
    options.struct_size = 0;
    EXPECT_INVALID(pconvCreateDevice("cpu", &options, &device), "options->struct_size is 0");
    struct Newer {
        PconvDeviceOptions known = pconvDefaultDeviceOptions();
        uint64_t unknown = 1;
    } newer;
    newer.known.struct_size = sizeof newer;
    EXPECT_INVALID(pconvCreateDevice("cpu", &newer.known, &device),
                   "options sets a field that this version of the library does not have");
    EXPECT_EQ(device, nullptr);
    newer.unknown = 0;
    openDevice("cpu", &newer.known);
    options.struct_size = offsetof(PconvDeviceOptions, verbosity);
    openDevice("cpu", &options);
}

TEST(Devices, MisuseOfAnOpenOneIsNamed) {
    PconvDeviceInfo info = pconvDefaultDeviceInfo();
    EXPECT_INVALID(pconvGetInfoOfDevice(nullptr, &info), "device is null");
    EXPECT_INVALID(pconvWait(nullptr), "device is null");
    const OwnedDevice device = openDevice("cpu");
    EXPECT_INVALID(pconvGetInfoOfDevice(device.get(), nullptr), "info is null");
    info.struct_size = 0;
    EXPECT_INVALID(pconvGetInfoOfDevice(device.get(), &info), "info->struct_size is 0");
    EXPECT_EQ(pconvWait(device.get()), PCONV_SUCCESS);
    pconvReleaseDevice(nullptr);
}

void keepLine(void* user, const char* line) {
    static_cast<std::vector<std::string>*>(user)->emplace_back(line);
}

TEST(Verbosity, NamesTheRowChosen) {
    std::vector<std::string> lines;
    PconvDeviceOptions options = pconvDefaultDeviceOptions();
    options.message_callback = keepLine;
    options.user = &lines;
    options.verbosity = 0;
    const OwnedDevice silent = openDevice("cpu", &options);
    PconvPartialConvDesc desc = smallDesc();
    desc.implementation = "cpu:reference";
    OwnedPartialConv conv;
    check(pconvCreatePartialConv(silent.get(), &desc, conv.out()));
    EXPECT_TRUE(lines.empty());

    const ScopedEnvironment variable("PCONV_VERBOSE", "1");
    options.verbosity = -1;
    const OwnedDevice talking = openDevice("cpu", &options);
    conv.reset();
    check(pconvCreatePartialConv(talking.get(), &desc, conv.out()));
    ASSERT_FALSE(lines.empty());
    EXPECT_NE(lines[0].find("cpu:reference"), std::string::npos) << lines[0];
    EXPECT_NE(lines[0].find("2x4x5x6 to 6 channels"), std::string::npos) << lines[0];
}

// As other interfaces name the device: every one that has such a name is found by it.
TEST(Device, IsFoundByWhatInterfacesShare) {
    int32_t count = 0;
    check(pconvGetDeviceCount(&count));
    const auto hex = [](const uint8_t* bytes, size_t size) {
        std::string text;
        for (size_t i = 0; i < size; ++i) {
            char digits[4];
            std::snprintf(digits, sizeof digits, "%02X", bytes[i]);
            text += digits;
            if (i == 3) text += "-";
        }
        return text;
    };
    for (int32_t i = 0; i < count; ++i) {
        PconvDeviceInfo info = pconvDefaultDeviceInfo();
        check(pconvGetDeviceInfo(i, &info));
        const auto isFound = [&](const std::string& selector) {
            PconvDeviceInfo found = pconvDefaultDeviceInfo();
            check(pconvGetInfoOfDevice(openDevice(selector.c_str()).get(), &found));
            EXPECT_EQ(std::memcmp(found.uuid, info.uuid, sizeof info.uuid), 0) << selector;
        };
        const auto isSet = [](uint8_t byte) { return byte != 0; };
        if (std::any_of(std::begin(info.uuid), std::end(info.uuid), isSet))
            isFound("uuid:" + hex(info.uuid, 16));
        if (std::any_of(std::begin(info.luid), std::end(info.luid), isSet))
            isFound("LUID:" + hex(info.luid, 8));
        if (info.pci[0] != '\0') isFound(std::string("pci:") + info.pci);
        if (std::any_of(std::begin(info.uuid), std::end(info.uuid), isSet)) {
            isFound(std::string(info.backend) + ":uuid:" + hex(info.uuid, 16));
            PconvDevice device = nullptr;
            EXPECT_FAULT(pconvCreateDevice(("cpu:uuid:" + hex(info.uuid, 16)).c_str(), nullptr, &device),
                         PCONV_ERROR_NO_DEVICE, "there is");
        }
    }
}

TEST(Device, WhatInterfacesShareIsCheckedAndMayBeAbsent) {
    PconvDevice device = nullptr;
    for (const char* selector :
         {"uuid:", "uuid:12", "luid:0123456789abcdeg", "uuid:00112233445566778899aabbccddeeff0"})
        EXPECT_INVALID(pconvCreateDevice(selector, nullptr, &device), "hexadecimal digits after");
    for (const char* selector :
         {"uuid:00112233445566778899aabbccddeeff", "uuid:00000000000000000000000000000000",
          "luid:0000000000000000", "luid:0123456789abcdef", "pci:ffff:ff:1f.7", "pci:", "pci:7"})
        EXPECT_FAULT(pconvCreateDevice(selector, nullptr, &device), PCONV_ERROR_NO_DEVICE, "there is");
    EXPECT_EQ(device, nullptr);
}

}  // namespace
}  // namespace pconv::test
