// Partial convolutions of the C API.
#include "core/partial_conv.h"
#include "core/checked.h"
#include "core/descriptor.h"
#include "core/handles.h"
#include "core/operands.h"

using namespace pconv;

PconvPartialConv_T::~PconvPartialConv_T() {
    releaseOn(*device, conv);
}

namespace {

void checkUpdate(const PconvPartialConv_T& conv, const PconvMaskUpdate_T& update) {
    if (update.device != conv.device) invalid("update lies on another device");
    if (!sameMaskSide(conv.desc, update.desc))
        invalid("update was made for another window or mask setting than this convolution's");
}

// Called under the device's lock.
void checkReady(const PconvPartialConv_T& conv, const PconvMaskUpdate_T& update) {
    if (!conv.has_weights) invalid("the weights have not been set");
    if (!update.computed) invalid("the mask update has not been computed");
}

}  // namespace

PconvStatus pconvGetOutputSize(const PconvPartialConvDesc* desc,
                               int64_t output_size[PCONV_MAX_SPATIAL_DIMS]) {
    return guarded([&] {
        const PartialConvDesc parsed = parsePartialConvDesc(desc);
        notNull(output_size, "output_size");
        for (int i = 0; i < PCONV_MAX_SPATIAL_DIMS; ++i)
            output_size[i] = i < parsed.spatial_dims
                                 ? parsed.window.output[static_cast<size_t>(3 - parsed.spatial_dims + i)]
                                 : 1;
    });
}

PconvStatus pconvCreatePartialConv(PconvDevice device, const PconvPartialConvDesc* desc,
                                   PconvPartialConv* conv) {
    return guarded([&] {
        const auto& state = notNull(device, "device").state;
        const PartialConvDesc parsed = parsePartialConvDesc(desc);
        notNull(conv, "conv");
        const std::string pinned = pinnedImplementation(*desc);
        *conv = makePartialConv(state, parsed, pinned).release();
    });
}

void pconvReleasePartialConv(PconvPartialConv conv) {
    delete conv;
}

PconvStatus pconvGetPartialConvImplementation(PconvPartialConv conv, const char** name) {
    return guarded([&] { notNull(name, "name") = notNull(conv, "conv").implementation; });
}

PconvStatus pconvSetPartialConvWeights(PconvPartialConv conv, const PconvTensor* weight,
                                       const PconvTensor* bias) {
    return guarded([&] {
        PconvPartialConv_T& object = notNull(conv, "conv");
        const Operand w = weightLike(weight, "weight", object.desc, *object.device);
        const bool has_bias = object.desc.has_bias;
        if (!has_bias && bias != nullptr) invalid("bias is given; expected null where has_bias is 0");
        Operand b{};
        if (has_bias) b = biasLike(bias, "bias", object.desc, *object.device);
        const DeviceLock lock(*object.device);
        object.has_weights = false;
        object.conv->setWeights(w.tensor, has_bias ? &b.tensor : nullptr);
        object.has_weights = true;
    });
}

PconvStatus pconvForwardPartialConv(PconvPartialConv conv, PconvMaskUpdate update, const PconvTensor* input,
                                    const PconvTensor* output) {
    return guarded([&] {
        PconvPartialConv_T& object = notNull(conv, "conv");
        PconvMaskUpdate_T& mask = notNull(update, "update");
        checkUpdate(object, mask);
        const Operand in = inputLike(input, "input", object.desc, *object.device);
        const Operand out = outputLike(output, "output", object.desc, *object.device);
        checkApart(in, out);
        const DeviceLock lock(*object.device);
        checkReady(object, mask);
        object.conv->forward(*mask.update, in.tensor, out.tensor);
    });
}

PconvStatus pconvBackwardPartialConv(PconvPartialConv conv, PconvMaskUpdate update, const PconvTensor* input,
                                     const PconvTensor* grad_output, const PconvGradients* gradients) {
    return guarded([&] {
        PconvPartialConv_T& object = notNull(conv, "conv");
        PconvMaskUpdate_T& mask = notNull(update, "update");
        if (!object.desc.training) invalid("the convolution was made without training");
        checkUpdate(object, mask);
        const PconvGradients wanted = copyVersioned(gradients, pconvDefaultGradients(), "gradients");
        std::vector<Operand> operands{inputLike(input, "input", object.desc, *object.device),
                                      outputLike(grad_output, "grad_output", object.desc, *object.device)};
        operands.reserve(5);  // the gradients below point into it
        Gradients results;
        results.accumulate = wanted.accumulate != 0;
        const auto add = [&](Operand operand) {
            for (const Operand& other : operands) checkApart(operand, other);
            operands.push_back(std::move(operand));
            return &operands.back().tensor;
        };
        if (wanted.grad_input != nullptr)
            results.input = add(inputLike(wanted.grad_input, "grad_input", object.desc, *object.device));
        if (wanted.grad_weight != nullptr)
            results.weight = add(weightLike(wanted.grad_weight, "grad_weight", object.desc, *object.device));
        if (wanted.grad_bias != nullptr) {
            if (!object.desc.has_bias) invalid("grad_bias is given; expected null where has_bias is 0");
            results.bias = add(biasLike(wanted.grad_bias, "grad_bias", object.desc, *object.device));
        }
        const DeviceLock lock(*object.device);
        checkReady(object, mask);
        object.conv->backward(*mask.update, operands[0].tensor, operands[1].tensor, results);
    });
}
