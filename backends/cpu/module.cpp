#include "cpu/device.h"

namespace {

void enumerate(std::vector<pconv::DeviceInfo>& devices, std::string& /*reason*/) {
    devices.push_back(pconv::cpu::describeCpu());
}

std::unique_ptr<pconv::Device> open(int /*index*/, pconv::Host& host) {
    return std::make_unique<pconv::cpu::CpuDevice>(host);
}

}  // namespace

PCONV_MODULE_EXPORT const pconv::BackendModule* pconvBackend_cpu() {
    static const pconv::BackendModule module{pconv::kBackendVersion, "cpu", enumerate, open, nullptr, true};
    return &module;
}
