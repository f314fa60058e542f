// What is done with a box of a tensor around its convolution: copied in under the mask, copied out through
// the epilogue, cleared, and looked at for holes.
#pragma once

#include "cpu/onednn/convolution.h"
#include "cpu/onednn/plan.h"
#include "cpu/passes/typed.h"

namespace pconv::cpu {

// The operands of one forward pass.
struct ForwardCall {
    const CpuMaskUpdate& update;
    const TensorRef& input;
    const TensorRef& output;
    MaskType mask;
    bool one_plane;
};

ForwardCall forwardCall(const PartialConvDesc& desc, const MaskUpdate& update, const TensorRef& input,
                        const TensorRef& output);

// Channels of an input as a convolution reads them.
struct BoxInput {
    const TensorRef& tensor;
    int64_t first_channel, channels;  // of the tensor
    int64_t mask_channel;             // the first of them in the mask
    const CpuMaskUpdate& update;
    MaskType mask;
    bool one_plane;
    ScratchLayout layout;
    int64_t zeros_before = 0, zeros_after = 0;  // written around every row, by planes
};

// `planes` has room for a pointer a channel.
void loadBox(const BoxInput& input, const Box& box, float* scratch, const void** planes,
             const Staging& staging, int thread);

// Channels of an output as a convolution leaves them.
struct BoxOutput {
    const TensorRef& tensor;
    int64_t first_channel, channels;
    const PartialConvDesc& desc;
    const CpuMaskUpdate& update;
    const std::vector<float>& bias;  // of all channels, or none
    ScratchLayout layout;
    int64_t row_pitch = 0, plane_pitch = 0;  // by planes, where rows or planes do not follow each other
};

void storeBox(const BoxOutput& output, const Box& box, const float* scratch, const Staging& staging,
              int thread);

// Columns of the box's last dimension in row (d, h), of its channels.
void zeroRow(const TensorRef& output, const Box& box, int64_t n, int64_t d, int64_t h);
void zeroBox(const TensorRef& output, const Box& box);

// Whether test(row of the plane, its size) holds for any row, under the box, of the planes of the mask's
// results that its channels have.
template <typename Test>
bool anyRow(const PartialConvDesc& desc, const CpuMaskUpdate& update, const Box& box,
            const TensorRef& results, const Test& test) {
    const Dims3& size = desc.window.output;
    const int64_t groups = desc.maskGroups();
    const int64_t first = desc.maskGroupOf(box.channel_begin);
    const int64_t last = desc.maskGroupOf(box.channel_begin + box.channel_size - 1);
    const bool one_batch = update.form().batch == 1;
    const auto anyOfPlane = [&](int64_t plane) {
        for (int64_t d = 0; d < box.spans[0].output_size; ++d)
            for (int64_t h = 0; h < box.spans[1].output_size; ++h) {
                const int64_t row = (plane * size[0] + box.spans[0].output_begin + d) * size[1] +
                                    box.spans[1].output_begin + h;
                if (test(pointer<float>(results) + row * size[2] + box.spans[2].output_begin,
                         box.spans[2].output_size))
                    return true;
            }
        return false;
    };
    for (int64_t n = 0; n < (one_batch ? 1 : box.batch_size); ++n)
        for (int64_t group = first; group <= last; ++group)
            if (anyOfPlane((one_batch ? 0 : box.batch_begin + n) * groups + group)) return true;
    return false;
}

bool allHoles(const PartialConvDesc& desc, const CpuMaskUpdate& update, const Box& box);

}  // namespace pconv::cpu
