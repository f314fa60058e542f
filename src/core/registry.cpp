#include "core/registry.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>

#include "core/checked.h"
#include "platform/dynamic_library.h"
#include "platform/process.h"

#if defined(PCONV_BUILTIN_BACKENDS)
#include "builtin_backends.h"
#endif

namespace pconv {

namespace {

using ModuleFunction = const BackendModule* (*)();

ModuleFunction findModule(const std::string& name, std::string& reason) {
#if defined(PCONV_BUILTIN_BACKENDS)
    for (const auto& [builtin, function] : kBuiltinBackends)
        if (name == builtin) return function;
    reason = "not built into this library";
    return nullptr;
#else
    const std::string file = platform::libraryFileName("pconv_" + name);
    const auto& folders = platform::ownFolders();
    std::error_code ignored;
    const auto folder = std::find_if(folders.begin(), folders.end(), [&](const std::string& candidate) {
        return std::filesystem::exists(candidate + file, ignored);
    });
    if (folder == folders.end()) {
        reason = "there is no module " + file;
        for (const std::string& searched : folders)
            reason += (&searched == &folders.front() ? " in " : " nor in ") + searched;
        return nullptr;
    }
    const std::string path = *folder + file;
    platform::DynamicLibrary library;
    if (!library.open(path, reason)) return nullptr;
    auto* function = reinterpret_cast<ModuleFunction>(library.symbol(("pconvBackend_" + name).c_str()));
    if (function == nullptr)
        reason = file + " is not a module of this library";
    else
        library.keepLoaded();
    return function;
#endif
}

BackendEntry probe(const std::string& name) {
    BackendEntry entry;
    entry.name = name;
    const ModuleFunction function = findModule(name, entry.reason);
    if (function == nullptr) return entry;
    const BackendModule* module = function();
    if (std::string(module->version) != kBackendVersion) {
        entry.reason = "the module is of version '" + std::string(module->version) + "'; expected '" +
                       std::string(kBackendVersion) + "'";
        return entry;
    }
    try {
        module->enumerate(entry.devices, entry.reason);
    } catch (const std::exception& error) {
        entry.devices.clear();
        entry.reason = error.what();
    }
    entry.module = module;
    return entry;
}

int rank(DeviceType type) {
    switch (type) {
        case DeviceType::discrete_gpu:
            return 0;
        case DeviceType::integrated_gpu:
            return 1;
        case DeviceType::cpu:
            return 2;
        case DeviceType::other:
            return 3;
        case DeviceType::software:
            return 4;
    }
    return 5;
}

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text;
}

bool isNumber(const std::string& text) {
    return !text.empty() && text.size() < 10 &&
           std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
}

std::string whatThereIs() {
    std::string text;
    for (const DeviceEntry& device : listDevices())
        text += (text.empty() ? "'" : ", '") + device.info().name + "' (" + device.backend->name + ")";
    return text.empty() ? "no devices" : text;
}

DeviceEntry findInBackend(const std::string& name, const std::string& number, const std::string& selector) {
    const BackendEntry& backend = probeBackend(name);
    const size_t index = number.empty() ? 0 : std::stoul(number);
    if (backend.devices.empty()) fail(PCONV_ERROR_NO_DEVICE, "no " + name + " device: " + backend.reason);
    if (index >= backend.devices.size())
        fail(PCONV_ERROR_NO_DEVICE,
             "no device '" + selector + "'; " + name + " has " + std::to_string(backend.devices.size()));
    return {&backend, static_cast<int>(index)};
}

// Lower-case hexadecimal digits, without dashes; empty where all are 0, which is none.
template <size_t N>
std::string hexOf(const std::array<uint8_t, N>& bytes) {
    std::string text;
    for (const uint8_t byte : bytes)
        for (const int digit : {byte >> 4, byte & 15}) text += "0123456789abcdef"[digit];
    return text.find_first_not_of('0') == std::string::npos ? "" : text;
}

// A PCI address with the parts that may be left out.
std::string wholePci(std::string text) {
    if (std::count(text.begin(), text.end(), ':') == 1) text.insert(0, "0000:");
    return text.find('.') == std::string::npos ? text + ".0" : text;
}

// What interfaces share a device by, in every backend.
struct HardwareName {
    std::string kind, value;

    bool names(const DeviceInfo& info) const {
        const std::string own = kind == "uuid"   ? hexOf(info.uuid)
                                : kind == "luid" ? hexOf(info.luid)
                                                 : info.pci;
        return !own.empty() && own == value;
    }
};

std::optional<HardwareName> hardwareName(const std::string& text) {
    const size_t colon = text.find(':');
    HardwareName name{text.substr(0, colon), ""};
    if (colon == std::string::npos || (name.kind != "uuid" && name.kind != "luid" && name.kind != "pci"))
        return std::nullopt;
    name.value = text.substr(colon + 1);
    if (name.kind == "pci") {
        name.value = wholePci(name.value);
        return name;
    }
    name.value.erase(std::remove(name.value.begin(), name.value.end(), '-'), name.value.end());
    const size_t digits = name.kind == "uuid" ? 32 : 16;
    if (name.value.size() != digits || name.value.find_first_not_of("0123456789abcdef") != std::string::npos)
        invalid("the device selector '" + text + "' has not " + std::to_string(digits) +
                " hexadecimal digits after " + name.kind + ":");
    return name;
}

}  // namespace

const std::vector<std::string>& backendNames() {
    static const std::vector<std::string> names{"cuda", "vulkan", "cpu"};
    return names;
}

const BackendEntry& probeBackend(const std::string& name) {
    static std::mutex mutex;
    static std::map<std::string, BackendEntry> entries;
    const std::lock_guard<std::mutex> lock(mutex);
    const auto found = entries.find(name);
    return found != entries.end() ? found->second : entries.emplace(name, probe(name)).first->second;
}

void aboutToOpen(const BackendEntry& backend) {
    static std::mutex mutex;
    static std::map<std::string, uint64_t> opened;  // when first, in forks
    if (backend.module->survives_fork) return;
    const std::lock_guard<std::mutex> lock(mutex);
    const uint64_t forks = platform::forkCount();
    if (opened.emplace(backend.name, forks).first->second != forks)
        fail(PCONV_ERROR_DEVICE, "this process was forked from one that had opened a " + backend.name +
                                     " device, whose driver does not survive that; expected the first to be "
                                     "opened after the fork");
}

std::vector<DeviceEntry> listDevices() {
    std::vector<DeviceEntry> devices;
    for (const std::string& name : backendNames()) {
        const BackendEntry& backend = probeBackend(name);
        for (size_t i = 0; i < backend.devices.size(); ++i)
            devices.push_back({&backend, static_cast<int>(i)});
    }
    std::stable_sort(devices.begin(), devices.end(), [](const DeviceEntry& a, const DeviceEntry& b) {
        return rank(a.info().type) < rank(b.info().type);
    });
    return devices;
}

DeviceEntry findDevice(const std::string& selector) {
    const std::string wanted = lower(selector);
    const size_t colon = wanted.find(':');
    const std::string backend = wanted.substr(0, colon);
    const std::string number = colon == std::string::npos ? "" : wanted.substr(colon + 1);
    const auto& names = backendNames();
    const bool has_backend = std::find(names.begin(), names.end(), backend) != names.end();
    if (has_backend && (colon == std::string::npos || isNumber(number)))
        return findInBackend(backend, number, selector);
    const std::vector<DeviceEntry> devices = listDevices();
    if (const auto hardware = hardwareName(has_backend ? number : wanted)) {
        for (const DeviceEntry& device : devices)
            if ((!has_backend || device.backend->name == backend) && hardware->names(device.info()))
                return device;
        fail(PCONV_ERROR_NO_DEVICE, "no device '" + selector + "'; there is " + whatThereIs());
    }
    if (wanted.empty()) {
        if (devices.empty()) fail(PCONV_ERROR_NO_DEVICE, "no device is present");
        return devices.front();
    }
    if (isNumber(wanted)) {
        const size_t index = std::stoul(wanted);
        if (index < devices.size()) return devices[index];
    } else {
        for (const DeviceEntry& device : devices)
            if (lower(device.info().name).find(wanted) != std::string::npos) return device;
    }
    fail(PCONV_ERROR_NO_DEVICE, "no device '" + selector + "'; there is " + whatThereIs());
}

PconvDeviceType publicType(DeviceType type) {
    switch (type) {
        case DeviceType::cpu:
            return PCONV_DEVICE_TYPE_CPU;
        case DeviceType::discrete_gpu:
            return PCONV_DEVICE_TYPE_DISCRETE_GPU;
        case DeviceType::integrated_gpu:
            return PCONV_DEVICE_TYPE_INTEGRATED_GPU;
        case DeviceType::software:
            return PCONV_DEVICE_TYPE_SOFTWARE;
        case DeviceType::other:
            break;
    }
    return PCONV_DEVICE_TYPE_OTHER;
}

}  // namespace pconv
