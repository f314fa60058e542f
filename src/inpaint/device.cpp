#include "inpaint/device.h"

#include <algorithm>

namespace pconv::inpaint {

namespace {

constexpr int kKernel = 5;
constexpr float kBinomial[kKernel] = {0.0625F, 0.25F, 0.375F, 0.25F, 0.0625F};

PconvTensor tiles(PconvBuffer buffer, int64_t size) {
    return {buffer,
            0,
            PCONV_DATA_TYPE_F32,
            4,
            {1, kPacked, size, size},
            {size * size * kPacked, 1, size * kPacked, kPacked}};
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

Blur::Blur(PconvDevice device, int64_t size, int stride)
    : input_(size), output_((size - kKernel) / stride + 1) {
    PconvPartialConvDesc desc = pconvDefaultPartialConvDesc(2);
    desc.in_channels = desc.out_channels = desc.groups = kPacked;
    for (int i = 0; i < 2; ++i) {
        desc.input_size[i] = size;
        desc.kernel[i] = kKernel;
        desc.stride[i] = stride;
    }
    desc.input_layout = desc.output_layout = PCONV_LAYOUT_CHANNELS_LAST;
    desc.has_bias = 0;
    // The fourth lane is the mask: convolved as the colours are, it divides them.
    desc.mask_type = PCONV_MASK_TYPE_NONE;
    PconvMaskUpdate update = nullptr;
    check(pconvCreateMaskUpdate(device, &desc, nullptr, &update));
    update_.reset(update);
    check(pconvComputeMaskUpdate(update, nullptr));
    PconvPartialConv conv = nullptr;
    check(pconvCreatePartialConv(device, &desc, &conv));
    conv_.reset(conv);

    float weights[kPacked][kKernel][kKernel];
    for (auto& lane : weights)
        for (int y = 0; y < kKernel; ++y)
            for (int x = 0; x < kKernel; ++x) lane[y][x] = kBinomial[y] * kBinomial[x];
    PconvBuffer buffer = nullptr;
    check(pconvCreateBuffer(device, sizeof weights, &buffer));
    const OwnedBuffer owner(buffer);
    check(pconvWriteBuffer(buffer, 0, weights, sizeof weights));
    const PconvTensor weight{buffer, 0, PCONV_DATA_TYPE_F32, 4, {kPacked, 1, kKernel, kKernel}, {}};
    check(pconvSetPartialConvWeights(conv, &weight, nullptr));
}

void Blur::run(const SharedArray& input, const SharedArray& output) {
    input.upload(kTiles * tileBytes(input_));
    const PconvTensor from = tiles(input.buffer(), input_);
    const PconvTensor to = tiles(output.buffer(), output_);
    check(pconvForwardPartialConv(conv_.get(), update_.get(), &from, &to));
    output.download(kTiles * tileBytes(output_));
}

void pack(const Plane4& from, const SharedArray& tiles, int which) {
    const float* in = from.data;
    float* out = static_cast<float*>(tiles.host()) + which * kLanes;
    for (int64_t i = 0; i < from.height * from.width; ++i, in += kLanes, out += kPacked)
        std::copy_n(in, kLanes, out);
}

void unpack(const SharedArray& tiles, int64_t size, int which, int64_t y, int64_t x, int64_t count,
            float* out) {
    const float* in = static_cast<float*>(tiles.host()) + (y * size + x) * kPacked + which * kLanes;
    for (int64_t i = 0; i < count; ++i, in += kPacked, out += kLanes) std::copy_n(in, kLanes, out);
}

}  // namespace pconv::inpaint
