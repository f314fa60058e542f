#include "inpaint/device.h"

namespace pconv::inpaint {

namespace {

constexpr int kKernel = 5;
constexpr float kBinomial[kKernel] = {0.0625F, 0.25F, 0.375F, 0.25F, 0.0625F};

PconvTensor channelsLast(PconvBuffer buffer, int64_t height, int64_t width) {
    return {buffer,
            0,
            PCONV_DATA_TYPE_F32,
            4,
            {1, kLanes, height, width},
            {height * width * kLanes, 1, width * kLanes, kLanes}};
}

}  // namespace

SharedArray::SharedArray(PconvDevice device, size_t bytes) {
    PconvBuffer buffer = nullptr;
    check(pconvCreateBuffer(device, bytes, &buffer));
    buffer_.reset(buffer);
    check(pconvGetBufferPointer(buffer, &host_));
    if (host_ != nullptr) return;
    copy_.reset(new char[bytes]);
    host_ = copy_.get();
}

void SharedArray::upload(size_t bytes) const {
    if (copy_) check(pconvWriteBuffer(buffer_.get(), 0, host_, bytes));
}

void SharedArray::download(size_t bytes) const {
    if (copy_) check(pconvReadBuffer(buffer_.get(), 0, host_, bytes));
}

Blur::Blur(PconvDevice device, int64_t height, int64_t width, int stride, bool masked)
    : input_{height, width}, output_{}, masked_(masked) {
    PconvPartialConvDesc desc = pconvDefaultPartialConvDesc(2);
    desc.in_channels = desc.out_channels = desc.groups = kLanes;
    for (int i = 0; i < 2; ++i) {
        desc.input_size[i] = input_[i];
        desc.kernel[i] = kKernel;
        desc.stride[i] = stride;
        desc.padding[i] = kKernel / 2;
    }
    desc.input_layout = desc.output_layout = PCONV_LAYOUT_CHANNELS_LAST;
    desc.has_bias = 0;
    desc.mask_type = masked ? PCONV_MASK_TYPE_BINARY : PCONV_MASK_TYPE_NONE;
    desc.input_is_masked = masked ? 1 : 0;

    int64_t output[PCONV_MAX_SPATIAL_DIMS];
    check(pconvGetOutputSize(&desc, output));
    output_[0] = output[0];
    output_[1] = output[1];

    PconvMaskSegment segment{{nullptr, 0, PCONV_DATA_TYPE_U8, 4, {1, 1, height, width}, {}}, 1};
    PconvMask mask = pconvDefaultMask();
    mask.segment_count = 1;
    mask.segments = &segment;
    PconvMaskUpdate update = nullptr;
    check(pconvCreateMaskUpdate(device, &desc, masked ? &mask : nullptr, &update));
    update_.reset(update);
    PconvPartialConv conv = nullptr;
    check(pconvCreatePartialConv(device, &desc, &conv));
    conv_.reset(conv);

    float weights[kLanes][kKernel][kKernel];
    for (auto& lane : weights)
        for (int y = 0; y < kKernel; ++y)
            for (int x = 0; x < kKernel; ++x) lane[y][x] = kBinomial[y] * kBinomial[x];
    PconvBuffer buffer = nullptr;
    check(pconvCreateBuffer(device, sizeof weights, &buffer));
    const OwnedBuffer owner(buffer);
    check(pconvWriteBuffer(buffer, 0, weights, sizeof weights));
    const PconvTensor weight{buffer, 0, PCONV_DATA_TYPE_F32, 4, {kLanes, 1, kKernel, kKernel}, {}};
    check(pconvSetPartialConvWeights(conv, &weight, nullptr));
}

void Blur::run(const SharedArray& input, const SharedArray& output, const SharedArray* valid) {
    if (!computed_) {
        PconvMaskSegment segment{{nullptr, 0, PCONV_DATA_TYPE_U8, 4, {1, 1, input_[0], input_[1]}, {}}, 1};
        PconvMask mask = pconvDefaultMask();
        mask.segment_count = 1;
        mask.segments = &segment;
        if (masked_) {
            segment.planes.buffer = valid->buffer();
            valid->upload(static_cast<size_t>(input_[0] * input_[1]));
        }
        check(pconvComputeMaskUpdate(update_.get(), masked_ ? &mask : nullptr));
        computed_ = true;
    }
    input.upload(static_cast<size_t>(input_[0] * input_[1] * kLanes) * sizeof(float));
    const PconvTensor from = channelsLast(input.buffer(), input_[0], input_[1]);
    const PconvTensor to = channelsLast(output.buffer(), output_[0], output_[1]);
    check(pconvForwardPartialConv(conv_.get(), update_.get(), &from, &to));
    output.download(static_cast<size_t>(output_[0] * output_[1] * kLanes) * sizeof(float));
}

void Blur::readUpdatedMask(void* valid) const {
    PconvTensor mask;
    check(pconvGetMaskUpdateTensors(update_.get(), nullptr, &mask, nullptr));
    check(pconvReadBuffer(mask.buffer, mask.offset, valid, static_cast<size_t>(output_[0] * output_[1])));
}

}  // namespace pconv::inpaint
