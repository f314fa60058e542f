// A small partial convolution with all its tensors in place, for tests that then put one thing wrong.
#pragma once

#include <vector>

#include "api.h"

namespace pconv::test {

// [2, 4, 5, 6] -> [2, 6, 5, 6], kernel 3, padding 1, two groups, one binary plane per image.
inline PconvPartialConvDesc smallDesc() {
    PconvPartialConvDesc desc = pconvDefaultPartialConvDesc(2);
    desc.batch = 2;
    desc.in_channels = 4;
    desc.out_channels = 6;
    desc.groups = 2;
    desc.input_size[0] = 5;
    desc.input_size[1] = 6;
    desc.kernel[0] = desc.kernel[1] = 3;
    desc.padding[0] = desc.padding[1] = 1;
    return desc;
}

inline std::vector<float> ramp(size_t count, float step, float start) {
    std::vector<float> values(count);
    for (size_t i = 0; i < count; ++i) values[i] = start + step * static_cast<float>(i % 17);
    return values;
}

class SmallConv {
  public:
    explicit SmallConv(PconvDevice device, const PconvPartialConvDesc& settings = smallDesc())
        : desc(settings),
          input_buffer(makeBuffer(device, ramp(240, 0.25F, -1.5F))),
          weight_buffer(makeBuffer(device, ramp(108, 0.125F, -0.75F))),
          bias_buffer(makeBuffer(device, ramp(6, 0.5F, 1.0F))),
          mask_buffer(makeBuffer(device, maskBytes())),
          output_buffer(makeBuffer(device, std::vector<float>(360, -7.0F))),
          input(makeTensor(input_buffer.get(), PCONV_DATA_TYPE_F32, {2, 4, 5, 6})),
          weight(makeTensor(weight_buffer.get(), PCONV_DATA_TYPE_F32, {6, 2, 3, 3})),
          bias(makeTensor(bias_buffer.get(), PCONV_DATA_TYPE_F32, {6})),
          output(makeTensor(output_buffer.get(), PCONV_DATA_TYPE_F32, {2, 6, 5, 6})),
          segment{makeTensor(mask_buffer.get(), PCONV_DATA_TYPE_U8, {2, 1, 5, 6}), 1} {
        mask.segment_count = 1;
        mask.segments = &segment;
        check(pconvCreateMaskUpdate(device, &desc, &mask, update.out()));
        check(pconvCreatePartialConv(device, &desc, conv.out()));
    }
    SmallConv(const SmallConv&) = delete;
    SmallConv& operator=(const SmallConv&) = delete;

    void prepare() {
        check(pconvComputeMaskUpdate(update.get(), &mask));
        check(pconvSetPartialConvWeights(conv.get(), &weight, &bias));
    }
    PconvStatus forward() { return pconvForwardPartialConv(conv.get(), update.get(), &input, &output); }
    std::vector<float> result() { return readBuffer<float>(output_buffer.get(), 360); }

    PconvPartialConvDesc desc;
    OwnedBuffer input_buffer, weight_buffer, bias_buffer, mask_buffer, output_buffer;
    PconvTensor input, weight, bias, output;
    PconvMaskSegment segment;
    PconvMask mask = pconvDefaultMask();
    OwnedMaskUpdate update;
    OwnedPartialConv conv;

  private:
    // Holes of several windows' size, and some single pixels.
    static std::vector<uint8_t> maskBytes() {
        std::vector<uint8_t> bytes(60, 1);
        for (size_t i = 0; i < 60; ++i)
            if (i % 30 < 16 || i % 7 == 0) bytes[i] = 0;
        return bytes;
    }
};

}  // namespace pconv::test
