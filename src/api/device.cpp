// Status, backends and devices of the C API.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "core/checked.h"
#include "core/handles.h"
#include "core/host.h"

namespace pconv {

namespace {

thread_local char last_error[1024] = "";

constexpr int kMaxThreads = 1024;

PconvDeviceInfo publicInfo(const std::string& backend, const DeviceInfo& info) {
    PconvDeviceInfo result = pconvDefaultDeviceInfo();
    copyText(result.name, info.name);
    copyText(result.backend, backend);
    result.type = publicType(info.type);
    std::copy(info.uuid.begin(), info.uuid.end(), result.uuid);
    result.memory_bytes = info.memory_bytes;
    copyText(result.driver, info.driver);
    copyText(result.features, info.features);
    std::copy(info.luid.begin(), info.luid.end(), result.luid);
    copyText(result.pci, info.pci);
    return result;
}

template <typename List>
const auto& entryAt(const List& list, int32_t index, const char* what) {
    if (index < 0 || static_cast<size_t>(index) >= list.size())
        invalid("index is " + std::to_string(index) + "; there are " + std::to_string(list.size()) + " " +
                what);
    return list[static_cast<size_t>(index)];
}

PconvDeviceOptions parseOptions(const PconvDeviceOptions* options) {
    if (options == nullptr) return pconvDefaultDeviceOptions();
    const PconvDeviceOptions settings = copyVersioned(options, pconvDefaultDeviceOptions(), "options");
    if (settings.threads < 0 || settings.threads > kMaxThreads)
        invalid("options->threads is " + std::to_string(settings.threads) + "; expected 0 to " +
                std::to_string(kMaxThreads));
    return settings;
}

const BackendModule& adoptingModule(const std::string& name) {
    const auto& names = backendNames();
    if (std::find(names.begin(), names.end(), name) == names.end()) {
        std::string known;
        for (const std::string& backend : names) known += (known.empty() ? "" : ", ") + backend;
        invalid("native->backend is '" + name + "'; expected one of " + known);
    }
    const BackendEntry& backend = probeBackend(name);
    if (backend.devices.empty()) fail(PCONV_ERROR_NO_DEVICE, "no " + name + " device: " + backend.reason);
    if (backend.module->adopt == nullptr)
        fail(PCONV_ERROR_UNSUPPORTED, "the " + name + " backend adopts no device of the host's");
    return *backend.module;
}

}  // namespace

void setLastError(const char* line) noexcept {
    std::snprintf(last_error, sizeof last_error, "%s", line);
    // A name of the caller's that is quoted in it may hold anything: it stays one line.
    for (char* c = last_error; *c != '\0'; ++c)
        if (static_cast<unsigned char>(*c) < ' ') *c = ' ';
}

}  // namespace pconv

using namespace pconv;

const char* pconvGetStatusName(PconvStatus status) {
    switch (enumNumber(status)) {
        case PCONV_SUCCESS:
            return "PCONV_SUCCESS";
        case PCONV_ERROR_INVALID_ARGUMENT:
            return "PCONV_ERROR_INVALID_ARGUMENT";
        case PCONV_ERROR_UNSUPPORTED:
            return "PCONV_ERROR_UNSUPPORTED";
        case PCONV_ERROR_NO_DEVICE:
            return "PCONV_ERROR_NO_DEVICE";
        case PCONV_ERROR_OUT_OF_MEMORY:
            return "PCONV_ERROR_OUT_OF_MEMORY";
        case PCONV_ERROR_DEVICE:
            return "PCONV_ERROR_DEVICE";
        case PCONV_ERROR_CANCELLED:
            return "PCONV_ERROR_CANCELLED";
        case PCONV_ERROR_INTERNAL:
            return "PCONV_ERROR_INTERNAL";
    }
    return "an unknown status";
}

const char* pconvGetLastError(void) {
    return last_error;
}

#define PCONV_QUOTED(number) #number
#define PCONV_VERSION_TEXT(major, minor, patch) \
    PCONV_QUOTED(major) "." PCONV_QUOTED(minor) "." PCONV_QUOTED(patch)
static_assert(std::string_view(PCONV_BUILD_VERSION) ==
                  PCONV_VERSION_TEXT(PCONV_VERSION_MAJOR, PCONV_VERSION_MINOR, PCONV_VERSION_PATCH),
              "the header's version is not the project's");

void pconvGetVersion(int* major, int* minor, int* patch) {
    if (major != nullptr) *major = PCONV_VERSION_MAJOR;
    if (minor != nullptr) *minor = PCONV_VERSION_MINOR;
    if (patch != nullptr) *patch = PCONV_VERSION_PATCH;
}

PconvStatus pconvGetBackendCount(int32_t* count) {
    return guarded([&] { notNull(count, "count") = static_cast<int32_t>(backendNames().size()); });
}

PconvStatus pconvGetBackendInfo(int32_t index, PconvBackendInfo* info) {
    return guarded([&] {
        const BackendEntry& entry = probeBackend(entryAt(backendNames(), index, "backends"));
        PconvBackendInfo result = pconvDefaultBackendInfo();
        copyText(result.name, entry.name);
        result.device_count = static_cast<int32_t>(entry.devices.size());
        if (entry.devices.empty()) copyText(result.reason, entry.reason);
        storeVersioned(result, info, "info");
    });
}

PconvStatus pconvGetDeviceCount(int32_t* count) {
    return guarded([&] {
        notNull(count, "count");
        *count = static_cast<int32_t>(listDevices().size());
    });
}

PconvStatus pconvGetDeviceInfo(int32_t index, PconvDeviceInfo* info) {
    return guarded([&] {
        const auto devices = listDevices();
        const DeviceEntry& entry = entryAt(devices, index, "devices");
        storeVersioned(publicInfo(entry.backend->name, entry.info()), info, "info");
    });
}

PconvStatus pconvCreateDevice(const char* selector, const PconvDeviceOptions* options, PconvDevice* device) {
    return guarded([&] {
        notNull(device, "device");
        const PconvDeviceOptions settings = parseOptions(options);
        if (selector == nullptr) selector = std::getenv("PCONV_DEVICE");
        const DeviceEntry entry = findDevice(selector != nullptr ? selector : "");
        aboutToOpen(*entry.backend);
        auto state = std::make_shared<DeviceState>();
        state->backend = entry.backend->name;
        state->survives_fork = entry.backend->module->survives_fork;
        state->host = makeHost(settings);
        state->device = entry.backend->module->open(entry.index, *state->host);
        *device = new PconvDevice_T{std::move(state)};
    });
}

PconvStatus pconvAdoptDevice(const PconvNativeDevice* native, const PconvDeviceOptions* options,
                             PconvDevice* device) {
    return guarded([&] {
        const PconvNativeDevice given = copyVersioned(native, pconvDefaultNativeDevice(), "native");
        const PconvDeviceOptions settings = parseOptions(options);
        notNull(device, "device");
        const std::string name = &notNull(given.backend, "native->backend");
        const BackendModule& module = adoptingModule(name);
        NativeDevice handles;
        handles.cuda_device = given.cuda_device;
        handles.cuda_stream = given.cuda_stream;
        handles.vulkan_instance = given.vulkan_instance;
        handles.vulkan_physical_device = given.vulkan_physical_device;
        handles.vulkan_device = given.vulkan_device;
        handles.vulkan_queue = given.vulkan_queue;
        handles.vulkan_queue_family = given.vulkan_queue_family;
        handles.vulkan_16bit_storage = given.vulkan_16bit_storage != 0;
        aboutToOpen(probeBackend(name));
        auto state = std::make_shared<DeviceState>();
        state->backend = name;
        state->survives_fork = module.survives_fork;
        state->host = makeHost(settings);
        state->device = module.adopt(handles, *state->host);
        *device = new PconvDevice_T{std::move(state)};
    });
}

PconvStatus pconvGetInfoOfDevice(PconvDevice device, PconvDeviceInfo* info) {
    return guarded([&] {
        const DeviceState& state = *notNull(device, "device").state;
        storeVersioned(publicInfo(state.backend, state.device->info()), info, "info");
    });
}

void pconvReleaseDevice(PconvDevice device) {
    delete device;
}

PconvStatus pconvWait(PconvDevice device) {
    return guarded([&] {
        DeviceState& state = *notNull(device, "device").state;
        const DeviceLock lock(state);
        state.device->wait();
    });
}
