#include "core/partial_conv.h"

#include "core/implementations.h"
#include "core/padded.h"

namespace pconv {

namespace {

std::string describe(const PartialConvDesc& desc) {
    const auto list = [&](const Dims3& values) {
        std::string text;
        for (size_t d = static_cast<size_t>(3 - desc.spatial_dims); d < 3; ++d)
            text += (text.empty() ? "" : "x") + std::to_string(values[d]);
        return text;
    };
    const Window& w = desc.window;
    static const char* const modes[] = {"", " reflect", " replicate", " circular"};
    const std::string behind = w.padding_end == w.padding ? "" : " to " + list(w.padding_end);
    const std::string mode = modes[static_cast<size_t>(desc.padding_mode)];
    return std::to_string(desc.batch) + "x" + std::to_string(desc.in_channels) + "x" + list(w.input) +
           " to " + std::to_string(desc.out_channels) + " channels, kernel " + list(w.kernel) + " stride " +
           list(w.stride) + " padding " + list(w.padding) + behind + mode + " dilation " + list(w.dilation) +
           " groups " + std::to_string(desc.groups) +
           (desc.upsampled.channels == 0 ? ""
                                         : ", " + std::to_string(desc.upsampled.channels) +
                                               " channels upsampled by " + list(desc.upsampled.factor));
}

}  // namespace

std::unique_ptr<PconvPartialConv_T> makePartialConv(const std::shared_ptr<DeviceState>& state,
                                                    const PartialConvDesc& desc, const std::string& pinned) {
    const DeviceLock lock(*state);
    const Implementation& row = chooseImplementation(*state, desc, pinned);
    if (state->host->verbosity() >= 1)
        state->host->message(std::string(row.name()) + (pinned.empty() ? "" : " (pinned)") + " for " +
                             describe(desc));
    auto made = makePartialConv(row, *state->device, desc);
    return std::unique_ptr<PconvPartialConv_T>(
        new PconvPartialConv_T{state, desc, row.name(), std::move(made), false});
}

bool fusesUpsampling(DeviceState& state, const PartialConvDesc& desc, const std::string& pinned) {
    const DeviceLock lock(state);
    try {
        return chooseImplementation(state, desc, pinned).fusesUpsampling(desc);
    } catch (const Error& error) {
        if (error.status() != PCONV_ERROR_UNSUPPORTED) throw;
        return false;
    }
}

}  // namespace pconv
