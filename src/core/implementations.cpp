#include "core/implementations.h"

#include "core/checked.h"
#include "core/descriptor.h"
#include "core/padded.h"

using namespace pconv;

namespace {

bool rowSupports(const Implementation& row, const Device& device, const PartialConvDesc& desc,
                 std::string& reason) {
    if (desc.training && !row.trains()) {
        reason = "no backward pass";
        return false;
    }
    if (desc.maskedConvolution() && !row.masksConvolutions()) {
        reason = "no masked convolution";
        return false;
    }
    return row.supports(device, desc, reason);
}

}  // namespace

namespace pconv {

const Implementation& chooseImplementation(const DeviceState& state, const PartialConvDesc& desc,
                                           const std::string& pinned) {
    std::string declined;
    std::string names;
    const PartialConvDesc asked = rowDesc(desc);
    for (const Implementation* row : state.device->preferredFor(asked)) {
        names += (names.empty() ? "" : ", ") + std::string(row->name());
        if (!pinned.empty() && pinned != row->name()) continue;
        std::string reason;
        if (rowSupports(*row, *state.device, asked, reason)) return *row;
        declined += (declined.empty() ? "" : "; ") + std::string(row->name()) + ": " + reason;
    }
    if (declined.empty())
        fail(PCONV_ERROR_UNSUPPORTED, "no implementation '" + pinned + "' on this device; it has " + names);
    fail(PCONV_ERROR_UNSUPPORTED, "not supported by this device: " + declined);
}

}  // namespace pconv

PconvStatus pconvGetImplementationCount(PconvDevice device, int32_t* count) {
    return guarded([&] {
        const auto& rows = notNull(device, "device").state->device->implementations();
        notNull(count, "count") = static_cast<int32_t>(rows.size());
    });
}

PconvStatus pconvGetImplementationInfo(PconvDevice device, int32_t index, const PconvPartialConvDesc* desc,
                                       PconvImplementationInfo* info) {
    return guarded([&] {
        DeviceState& state = *notNull(device, "device").state;
        const PartialConvDesc parsed = parsePartialConvDesc(desc);
        const auto& rows = state.device->implementations();
        if (index < 0 || static_cast<size_t>(index) >= rows.size())
            invalid("index is " + std::to_string(index) + "; there are " + std::to_string(rows.size()) +
                    " implementations");
        PconvImplementationInfo result = pconvDefaultImplementationInfo();
        std::string reason;
        const DeviceLock lock(state);
        const Implementation& row = *rows[static_cast<size_t>(index)];
        copyText(result.name, row.name());
        result.supported = rowSupports(row, *state.device, rowDesc(parsed), reason) ? 1 : 0;
        if (result.supported == 0) copyText(result.reason, reason);
        storeVersioned(result, info, "info");
    });
}
