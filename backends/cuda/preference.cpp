// Which row is asked first. Nothing here was measured yet; each rule says what it expects.
#include "cuda/device/device.h"

namespace pconv::cuda {

std::vector<const Implementation*> preferredRows(const PartialConvDesc& desc) {
    const Implementation* const cudnn = &cudaCudnn();
    const Implementation* const igemm = &cudaIgemm();
    const Implementation* const direct = &cudaDirect();
    // Groups of one channel leave a tensor core's operands empty, and memory is what bounds them.
    if (desc.groups > 1 && desc.in_channels == desc.groups) return {direct, cudnn, igemm};
    // What has a mask for each group or output channel does not fuse: cuDNN would write sums in f32, and a
    // pass of ours read them again.
    if (desc.maskGroups() > 1) return {igemm, cudnn, direct};
    // cuDNN tunes its plans for each chip; igemm saves the premultiply pass, which is less than that.
    return {cudnn, igemm, direct};
}

}  // namespace pconv::cuda
