#include <algorithm>
#include <cstdio>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "command.h"
#include "pconv/pconv.hpp"

namespace pconv::app {
namespace {

constexpr const char* kAbout =
    "List the backends of this library with the reason each absent one is absent, the devices that are "
    "present,\n"
    "and the implementations of each with the reason each would decline.";

constexpr const char* kMore = R"(
Backends that are absent have their reason. The number before a device is one that --device takes. Under "rows"
are its implementations in order of preference; one that would decline says why. They are asked about an ordinary
case: [1,32,128,128] -> 64 channels with a 3x3 kernel and a binary mask in f32.

Examples:
  pconv devices
  pconv devices --json | jq -r '.devices[].name')";

struct Listed {
    PconvDeviceInfo info;
    std::vector<PconvImplementationInfo> implementations;
    std::string fault;  // why it cannot be opened
};

std::vector<PconvBackendInfo> listBackends() {
    int32_t count = 0;
    detail::check(pconvGetBackendCount(&count));
    std::vector<PconvBackendInfo> backends(static_cast<std::size_t>(count), pconvDefaultBackendInfo());
    for (int32_t i = 0; i < count; ++i) {
        detail::check(pconvGetBackendInfo(i, &backends[static_cast<std::size_t>(i)]));
    }
    return backends;
}

std::vector<Listed> listDevices() {
    const PartialConvDesc ordinary = PartialConvDesc::same(1, 32, 64, {128, 128}, 3);
    std::vector<Listed> devices;
    for (const PconvDeviceInfo& info : pconv::devices()) {
        Listed listed{info, {}, ""};
        try {
            listed.implementations = Device(std::to_string(devices.size())).implementations(ordinary);
        } catch (const Error& error) {
            listed.fault = error.what();
        }
        devices.push_back(std::move(listed));
    }
    return devices;
}

/// As text in the groups of a UUID, or null where the device has none.
template <std::size_t N>
nlohmann::ordered_json hexText(const uint8_t (&bytes)[N]) {
    if (std::all_of(std::begin(bytes), std::end(bytes), [](uint8_t byte) { return byte == 0; }))
        return nullptr;
    std::string text;
    for (std::size_t i = 0; i < N; ++i) {
        char digits[3];
        std::snprintf(digits, sizeof digits, "%02x", bytes[i]);
        if (N == sizeof(PconvDeviceInfo::uuid) && (i == 4 || i == 6 || i == 8 || i == 10)) text += '-';
        text += digits;
    }
    return text;
}

std::vector<std::string> words(const char* text) {
    std::istringstream stream(text);
    return {std::istream_iterator<std::string>(stream), std::istream_iterator<std::string>()};
}

std::string jsonText() {
    using Json = nlohmann::ordered_json;
    Json backends = Json::array();
    for (const PconvBackendInfo& info : listBackends()) {
        backends.push_back(
            {{"name", info.name}, {"device_count", info.device_count}, {"reason", info.reason}});
    }
    Json devices = Json::array();
    for (const Listed& device : listDevices()) {
        Json implementations = Json::array();
        for (const PconvImplementationInfo& row : device.implementations) {
            implementations.push_back(
                {{"name", row.name}, {"supported", row.supported != 0}, {"reason", row.reason}});
        }
        devices.push_back({{"index", devices.size()},
                           {"name", device.info.name},
                           {"backend", device.info.backend},
                           {"type", deviceTypeName(device.info.type)},
                           {"uuid", hexText(device.info.uuid)},
                           {"luid", hexText(device.info.luid)},
                           {"pci", device.info.pci[0] != '\0' ? Json(device.info.pci) : Json(nullptr)},
                           {"memory_bytes", device.info.memory_bytes},
                           {"driver", device.info.driver},
                           {"features", words(device.info.features)},
                           {"fault", device.fault},
                           {"implementations", std::move(implementations)}});
    }
    const Json all = {{"backends", std::move(backends)}, {"devices", std::move(devices)}};
    return all.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string padded(const std::string& text, std::size_t width) {
    return text + std::string(text.size() < width ? width - text.size() : 1, ' ');
}

std::string memoryText(uint64_t bytes) {
    if (bytes == 0) return "unknown";
    char text[32];
    std::snprintf(text, sizeof text, "%.1f GiB", static_cast<double>(bytes) / (1 << 30));
    return text;
}

std::string plainText() {
    constexpr std::size_t kBackendWidth = 9;
    constexpr std::size_t kLabelWidth = 10;
    constexpr std::size_t kRowWidth = 19;
    std::string text = "Backends\n";
    for (const PconvBackendInfo& info : listBackends()) {
        const std::string count =
            std::to_string(info.device_count) + (info.device_count == 1 ? " device" : " devices");
        text += "  " + padded(info.name, kBackendWidth) +
                (info.device_count != 0 ? count : std::string("absent: ") + info.reason) + "\n";
    }
    text += "\nDevices\n";
    std::size_t index = 0;
    for (const Listed& device : listDevices()) {
        const auto line = [&text](const char* label, const std::string& value) {
            if (!value.empty()) text += "     " + padded(label, kLabelWidth) + value + "\n";
        };
        text += "  " + std::to_string(index++) + "  " + device.info.name + "\n";
        line("backend", std::string(device.info.backend) + " (" + deviceTypeName(device.info.type) + ")");
        line("memory", memoryText(device.info.memory_bytes));
        line("driver", device.info.driver);
        line("features", device.info.features);
        line("fault", device.fault);
        for (const PconvImplementationInfo& row : device.implementations) {
            line(&row == &device.implementations.front() ? "rows" : "",
                 padded(row.name, kRowWidth) +
                     (row.supported != 0 ? "ready" : std::string("declines: ") + row.reason));
        }
    }
    return text;
}

}  // namespace

const char* deviceTypeName(PconvDeviceType type) {
    switch (type) {
        case PCONV_DEVICE_TYPE_CPU:
            return "cpu";
        case PCONV_DEVICE_TYPE_DISCRETE_GPU:
            return "discrete-gpu";
        case PCONV_DEVICE_TYPE_INTEGRATED_GPU:
            return "integrated-gpu";
        case PCONV_DEVICE_TYPE_SOFTWARE:
            return "software";
        case PCONV_DEVICE_TYPE_OTHER:
            break;
    }
    return "other";
}

void addDevicesCommand(CLI::App& app, Action& action) {
    CLI::App* command = app.add_subcommand("devices", kAbout);
    command->footer(kMore);
    auto json = std::make_shared<bool>(false);
    command->add_flag("--json", *json, "Print JSON, for programs");
    command->callback([json, &action] { action = [json] { print(*json ? jsonText() : plainText()); }; });
}

}  // namespace pconv::app
