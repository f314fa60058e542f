// Nearest upsampling.
#include <algorithm>

#include "cuda/device/device.h"
#include "cuda/device/status.h"
#include "cuda/kernels/upsample.h"

namespace pconv::cuda {

void CudaDevice::upsample(const TensorRef& source, const TensorRef& destination,
                          const std::array<int64_t, 5>& dims, const Dims3& factor) {
    const CurrentDevice current(index_);
    Upsampling upsampling{};
    upsampling.element_bytes = static_cast<int>(sizeOf(source.data_type));
    std::copy(dims.begin(), dims.end(), upsampling.dims);
    std::copy(factor.begin(), factor.end(), upsampling.factor);
    upsampling.source = view(source);
    upsampling.destination = view(destination);
    check(launchUpsample(upsampling, stream()), "upsampling");
}

}  // namespace pconv::cuda
