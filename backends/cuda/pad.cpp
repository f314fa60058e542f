// Padding with elements of the input, and the sum of what they became.
#include <algorithm>

#include "cuda/device/device.h"
#include "cuda/device/status.h"
#include "cuda/kernels/pad.h"

namespace pconv::cuda {

namespace {

PaddingCopy describe(const TensorRef& plain, const TensorRef& padded, const std::array<int64_t, 5>& dims,
                     const Padding& padding) {
    PaddingCopy copy{};
    copy.type = plain.data_type;
    copy.mode = padding.mode;
    std::copy(dims.begin(), dims.end(), copy.dims);
    std::copy(padding.begin.begin(), padding.begin.end(), copy.begin);
    std::copy(padding.end.begin(), padding.end.end(), copy.end);
    copy.plain = view(plain);
    copy.padded = view(padded);
    return copy;
}

}  // namespace

void CudaDevice::pad(const TensorRef& source, const TensorRef& destination,
                     const std::array<int64_t, 5>& dims, const Padding& padding) {
    const CurrentDevice current(index_);
    check(launchPad(describe(source, destination, dims, padding), stream()), "padding");
}

void CudaDevice::foldPadding(const TensorRef& source, const TensorRef& destination,
                             const std::array<int64_t, 5>& dims, const Padding& padding, bool accumulate) {
    const CurrentDevice current(index_);
    check(launchFoldPadding(describe(destination, source, dims, padding), accumulate, stream()),
          "folding the padding");
}

}  // namespace pconv::cuda
