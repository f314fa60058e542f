// Backends, the modules they live in, and the devices they find.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend.h"

namespace pconv {

struct DeviceState;

struct BackendEntry {
    std::string name;
    const BackendModule* module = nullptr;  // null where it cannot be opened
    std::vector<DeviceInfo> devices;
    std::string reason;  // why there are no devices
};

struct DeviceEntry {
    const BackendEntry* backend;
    int index;  // within the backend
    const DeviceInfo& info() const { return backend->devices[static_cast<size_t>(index)]; }
};

// The backends this library looks for, preferred first; probing happens once in a process, on the first call.
const std::vector<std::string>& backendNames();
const BackendEntry& probeBackend(const std::string& name);

// All devices, preferred first.
std::vector<DeviceEntry> listDevices();

// Finds what a selector of pconvCreateDevice names, opening no more backends than it must.
DeviceEntry findDevice(const std::string& selector);

// To be called before a device is opened. Throws Error where a process that this one was forked from had
// opened one and the backend does not survive that.
void aboutToOpen(const BackendEntry& backend);

PconvDeviceType publicType(DeviceType type);

}  // namespace pconv
