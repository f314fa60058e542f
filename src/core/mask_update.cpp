#include "core/mask_update.h"

#include "core/checked.h"
#include "core/implementations.h"
#include "core/operands.h"
#include "core/padded.h"

PconvMaskUpdate_T::~PconvMaskUpdate_T() {
    pconv::releaseOn(*device, update, results, bytes);
}

namespace pconv {

std::unique_ptr<PconvMaskUpdate_T> makeMaskUpdate(const std::shared_ptr<DeviceState>& state,
                                                  const PartialConvDesc& desc, const MaskForm& form,
                                                  const std::string& pinned, bool keeps_sums) {
    constexpr size_t kAlign = 256;
    const Dims5 size = tensorDims(form.batch, desc.maskGroups(), desc.window.output);
    int64_t count = 1;
    for (const int64_t d : size) count = checkedProduct(count, d, "the updated mask");
    const size_t plane =
        (static_cast<size_t>(checkedProduct(count, 16, "the updated mask")) / 4 + kAlign - 1) / kAlign *
        kAlign;
    const bool weighted = desc.maskedConvolution() && desc.mask_type != MaskType::none;
    const DataType mask_type =
        desc.mask_type == MaskType::fractional || weighted ? DataType::f32 : DataType::u8;
    std::unique_ptr<PconvBuffer_T> buffer;  // locks when it goes: declared before the lock, it goes after it
    const DeviceLock lock(*state);
    const Implementation& row = chooseImplementation(*state, desc, pinned);
    const bool has_ratio = !desc.maskedConvolution();
    const bool has_sums = has_ratio && (keeps_sums || !row.leavesOutWindowSum(desc));
    const size_t ratio = has_sums ? plane : 0;
    const size_t front = ratio + (has_ratio ? plane : 0);
    std::shared_ptr<Buffer> memory =
        state->device->allocate(front + static_cast<size_t>(count) * sizeOf(mask_type));
    const Dims5 strides = contiguousStrides(size);
    MaskPlanes results;
    results.updated_mask = {memory, front, mask_type, strides};
    if (has_sums) results.window_sum = {memory, 0, DataType::f32, strides};
    if (has_ratio) results.ratio = {memory, ratio, DataType::f32, strides};
    auto update = makeMaskUpdate(row, *state->device, desc, form, results);
    BytePlanes bytes(*state->device, form, desc.window.input);
    buffer.reset(new PconvBuffer_T{{state, std::move(memory)}});
    return std::unique_ptr<PconvMaskUpdate_T>(new PconvMaskUpdate_T{state, desc, form, std::move(buffer),
                                                                    std::move(results), std::move(update),
                                                                    std::move(bytes), weighted, false});
}

}  // namespace pconv
