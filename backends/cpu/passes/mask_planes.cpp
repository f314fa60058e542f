#include "cpu/passes/mask_planes.h"

namespace pconv::cpu {

bool hasOnePlane(const PartialConvDesc& desc, const MaskForm& form) {
    return !desc.multi_channel || (form.segments.size() == 1 && form.segments[0].planes == 1);
}

void pointAtPlanes(const CpuMaskUpdate& update, bool one_plane, int64_t first, int64_t channels,
                   const std::array<int64_t, 4>& at, const void** planes) {
    const auto& segments = update.form().segments;
    PlaneIndex plane = planeOfChannel(update.form(), !one_plane, first);
    int64_t left = one_plane ? channels : segments[plane.segment].multiplicity;
    if (!one_plane) {
        int64_t begin = 0;
        for (size_t i = 0; i < plane.segment; ++i) begin += segments[i].planes * segments[i].multiplicity;
        left -= (first - begin) % left;
    }
    for (int64_t c = 0; c < channels; ++c) {
        const TensorRef& view = update.planes()[plane.segment];
        const int64_t offset = at[0] * view.strides[0] + plane.plane * view.strides[1] +
                               at[1] * view.strides[2] + at[2] * view.strides[3] + at[3];
        planes[c] = pointer<char>(view) + static_cast<size_t>(offset) * sizeOf(view.data_type);
        if (--left > 0 || c + 1 == channels) continue;
        if (++plane.plane == segments[plane.segment].planes) plane = {plane.segment + 1, 0};
        left = segments[plane.segment].multiplicity;
    }
}

}  // namespace pconv::cpu
