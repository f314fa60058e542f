#include <algorithm>

#include "cuda/device/device.h"

namespace {

using pconv::cuda::CudaDevice;
using pconv::cuda::Stream;

void enumerate(std::vector<pconv::DeviceInfo>& devices, std::string& reason) {
    for (const int index : pconv::cuda::usableDevices(reason))
        devices.push_back(pconv::cuda::describeDevice(index));
}

std::unique_ptr<pconv::Device> open(int index, pconv::Host& host) {
    std::string reason;
    const std::vector<int> devices = pconv::cuda::usableDevices(reason);
    if (devices.empty()) pconv::fail(PCONV_ERROR_NO_DEVICE, "no cuda device: " + reason);
    if (static_cast<size_t>(index) >= devices.size())
        pconv::fail(PCONV_ERROR_NO_DEVICE, "the cuda device is no longer present");
    const int device = devices[static_cast<size_t>(index)];
    return std::make_unique<CudaDevice>(device, std::make_shared<Stream>(device), host);
}

std::unique_ptr<pconv::Device> adopt(const pconv::NativeDevice& native, pconv::Host& host) {
    std::string reason;
    const std::vector<int> devices = pconv::cuda::usableDevices(reason);
    const int device = native.cuda_device;
    if (std::find(devices.begin(), devices.end(), device) == devices.end())
        pconv::fail(PCONV_ERROR_NO_DEVICE,
                    "native->cuda_device is " + std::to_string(device) +
                        (reason.empty() ? "; there is no such device" : "; it cannot be used: " + reason));
    auto* const stream = static_cast<cudaStream_t>(native.cuda_stream);
    if (stream != nullptr) {
        int owner = -1;
        pconv::cuda::check(cudaStreamGetDevice(stream, &owner), "asking for the stream's device");
        if (owner != device)
            pconv::fail(PCONV_ERROR_INVALID_ARGUMENT, "native->cuda_stream is of device " +
                                                          std::to_string(owner) + "; expected device " +
                                                          std::to_string(device));
    }
    return std::make_unique<CudaDevice>(device, std::make_shared<Stream>(device, stream), host);
}

}  // namespace

PCONV_MODULE_EXPORT const pconv::BackendModule* pconvBackend_cuda() {
    static const pconv::BackendModule module{pconv::kBackendVersion, "cuda", enumerate, open, adopt};
    return &module;
}
