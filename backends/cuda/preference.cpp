// Which row is asked first, by predicted times (bench/predict_cuda.py, which checks this order): nothing was
// measured yet. Where rows are within a quarter of each other, the one whose kernels are tuned for each chip.
#include "cuda/device/device.h"

namespace pconv::cuda {

namespace {

// Multiply-adds for each element that cuDNN's passes read or write, below which cuda:direct is faster in
// exact f32: half of where they are level on an RTX 3090, and where they are on an H100.
constexpr double kProductsOfPass = 64;

// In floating point: no row has declined yet what is too large to count.
double outputsOf(const PartialConvDesc& desc) {
    return static_cast<double>(desc.out_channels) * static_cast<double>(volume(desc.window.output));
}

// Elements of the passes around cuDNN's plain engines: the masked copy and the epilogue, in and out.
double passElements(const PartialConvDesc& desc) {
    const double inputs =
        static_cast<double>(desc.in_channels) * static_cast<double>(volume(desc.window.input));
    const double outputs = outputsOf(desc);
    return 2 * outputs + (desc.maskInput() ? 2 * inputs : 0);
}

double products(const PartialConvDesc& desc) {
    const int64_t group_in = desc.in_channels / desc.groups;
    return outputsOf(desc) * static_cast<double>(group_in) * static_cast<double>(volume(desc.window.kernel));
}

}  // namespace

std::vector<const Implementation*> preferredRows(const PartialConvDesc& desc) {
    const Implementation* const cudnn = &cudaCudnn();
    const Implementation* const igemm = &cudaIgemm();
    const Implementation* const direct = &cudaDirect();
    // Groups of one channel leave a tensor core's operands empty, and memory is what bounds them.
    if (desc.groups > 1 && desc.in_channels == desc.groups) return {direct, cudnn, igemm};
    // What has a mask for each group or output channel does not fuse: cuDNN would write sums in f32, and a
    // pass of ours read them again.
    if (desc.maskGroups() > 1) return {igemm, cudnn, direct};
    const bool exact_f32 = desc.data_type == DataType::f32 && !desc.fast_math;
    if (exact_f32 && products(desc) < kProductsOfPass * passElements(desc)) return {direct, cudnn, igemm};
    // With strides most of the work is the masked copy of the input, which igemm has in its load; its blocks
    // are 64 columns wide.
    constexpr int64_t kWide = 64;
    if (!exact_f32 && desc.maskInput() && desc.mask_type == MaskType::binary &&
        volume(desc.window.stride) >= 4 && desc.out_channels / desc.groups >= kWide)
        return {igemm, cudnn, direct};
    return {cudnn, igemm, direct};
}

}  // namespace pconv::cuda
