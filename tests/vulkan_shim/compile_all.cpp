// Makes what a device is given by default for layers of all kinds, and runs nothing: for compilers.sh, which
// asks the drivers of GPUs that are not there what their compilers made of it.
#include <cstdio>

#include "support/handles.h"

namespace {

using namespace pconv::test;

struct Layer {
    const char* what;
    int64_t size, in, out, kernel, stride, dilation, groups;
    PconvMaskType mask;
    int32_t multi_channel;
    PconvActivation activation;
};

constexpr PconvActivation kNoActivation = PCONV_ACTIVATION_NONE;
constexpr PconvMaskType kBinary = PCONV_MASK_TYPE_BINARY;
const Layer kLayers[] = {
    {"a U-Net's middle", 256, 64, 64, 3, 1, 1, 1, kBinary, 0, kNoActivation},
    {"128 channels", 256, 128, 128, 3, 1, 1, 1, kBinary, 0, kNoActivation},
    {"few outputs", 8, 512, 512, 3, 1, 1, 1, kBinary, 0, kNoActivation},
    {"with GELU", 256, 64, 64, 3, 1, 1, 1, kBinary, 0, PCONV_ACTIVATION_GELU},
    {"without a mask", 256, 64, 64, 3, 1, 1, 1, PCONV_MASK_TYPE_NONE, 0, kNoActivation},
    {"a fractional mask", 256, 64, 64, 3, 1, 1, 1, PCONV_MASK_TYPE_FRACTIONAL, 0, kNoActivation},
    {"a mask of each channel", 256, 64, 64, 3, 1, 1, 1, kBinary, 1, kNoActivation},
    {"a U-Net's first", 256, 3, 64, 7, 2, 1, 1, kBinary, 0, kNoActivation},
    {"32 channels, strided", 256, 32, 32, 5, 2, 1, 1, kBinary, 0, kNoActivation},
    {"16 channels, dilated", 256, 16, 16, 3, 1, 2, 1, kBinary, 0, kNoActivation},
    {"a U-Net's last", 256, 64, 3, 3, 1, 1, 1, kBinary, 0, kNoActivation},
    {"to 3 channels, 5x5", 256, 16, 3, 5, 1, 1, 1, kBinary, 0, kNoActivation},
    {"to 7 channels, strided", 256, 16, 7, 3, 2, 1, 1, kBinary, 0, kNoActivation},
    {"to 3 channels, a fractional mask", 256, 64, 3, 3, 1, 1, 1, PCONV_MASK_TYPE_FRACTIONAL, 0,
     kNoActivation},
    {"to 4 channels, 1x1", 256, 64, 4, 1, 1, 1, 1, kBinary, 0, kNoActivation},
    {"depthwise", 256, 32, 32, 3, 1, 1, 32, kBinary, 0, kNoActivation},
    {"groups", 256, 64, 64, 3, 1, 1, 4, kBinary, 0, kNoActivation},
};

void make(PconvDevice device, const Layer& layer, PconvDataType type) {
    PconvPartialConvDesc desc = pconvDefaultPartialConvDesc(2);
    desc.data_type = type;
    desc.in_channels = layer.in;
    desc.out_channels = layer.out;
    desc.groups = layer.groups;
    desc.mask_type = layer.mask;
    if (layer.multi_channel != 0) desc.mask_mode = PCONV_MASK_MODE_MULTI_CHANNEL;
    desc.activation = layer.activation;
    desc.training = layer.activation == kNoActivation ? 1 : 0;
    for (int d = 0; d < 2; ++d) {
        desc.input_size[d] = layer.size;
        desc.kernel[d] = layer.kernel;
        desc.stride[d] = layer.stride;
        desc.dilation[d] = layer.dilation;
        desc.padding[d] = layer.kernel / 2;
    }
    const int64_t planes = layer.multi_channel != 0 ? layer.in : 1;
    const bool fractional = layer.mask == PCONV_MASK_TYPE_FRACTIONAL;
    const OwnedBuffer plane = makeBuffer(device, static_cast<size_t>(planes * layer.size * layer.size * 4));
    PconvMaskSegment segment{makeTensor(plane.get(), fractional ? PCONV_DATA_TYPE_F32 : PCONV_DATA_TYPE_U8,
                                        {1, planes, layer.size, layer.size}),
                             1};
    PconvMask mask = pconvDefaultMask();
    mask.segment_count = 1;
    mask.segments = &segment;
    OwnedMaskUpdate update;
    OwnedPartialConv conv;
    check(pconvCreateMaskUpdate(device, &desc, layer.mask == PCONV_MASK_TYPE_NONE ? nullptr : &mask,
                                update.out()));
    check(pconvCreatePartialConv(device, &desc, conv.out()));
}

void makeNorms(PconvDevice device, PconvDataType type) {
    for (const PconvLayout layout : {PCONV_LAYOUT_CONTIGUOUS, PCONV_LAYOUT_CHANNELS_LAST}) {
        PconvMaskedNormDesc desc = pconvDefaultMaskedNormDesc(2);
        desc.channels = 64;
        desc.size[0] = desc.size[1] = 64;
        desc.layout = layout;
        desc.data_type = type;
        desc.training = 1;
        const OwnedBuffer plane = makeBuffer(device, 64 * 64);
        PconvMaskSegment segment{makeTensor(plane.get(), PCONV_DATA_TYPE_U8, {1, 1, 64, 64}), 64};
        PconvMask mask = pconvDefaultMask();
        mask.segment_count = 1;
        mask.segments = &segment;
        PconvMaskedBatchNorm norm = nullptr;
        check(pconvCreateMaskedBatchNorm(device, &desc, &mask, &norm));
        pconvReleaseMaskedBatchNorm(norm);
        PconvMaskedSpatialMean mean = nullptr;
        check(pconvCreateMaskedSpatialMean(device, &desc, &mask, &mean));
        pconvReleaseMaskedSpatialMean(mean);
    }
}

}  // namespace

int main() {
    try {
        const OwnedDevice device = openDevice("vulkan");
        int made = 0;
        for (const PconvDataType type : {PCONV_DATA_TYPE_F32, PCONV_DATA_TYPE_F16, PCONV_DATA_TYPE_BF16}) {
            for (const Layer& layer : kLayers) {
                try {
                    make(device.get(), layer, type);
                    ++made;
                } catch (const CallFailed& failure) {
                    std::fprintf(stderr, "%s: %s\n", layer.what, failure.what());
                    if (failure.status() != PCONV_ERROR_UNSUPPORTED) return 1;
                }
            }
            makeNorms(device.get(), type);
        }
        PconvDeviceInfo info = pconvDefaultDeviceInfo();
        check(pconvGetDeviceInfo(0, &info));
        std::printf("%s: %d layers\n", info.name, made);
        return 0;
    } catch (const CallFailed& failure) {
        std::fprintf(stderr, "%s\n", failure.what());
        return 1;
    }
}
