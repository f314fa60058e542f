#include "core/byte_planes.h"

#include "core/checked.h"
#include "core/tensor.h"

namespace pconv {

BytePlanes::BytePlanes(Device& device, const MaskForm& form, const Dims3& size) {
    constexpr int64_t kRowAlign = 4;
    for (const MaskSegmentForm& segment : form.segments) {
        Segment& made = segments_.emplace_back();
        made.dims = {form.batch, segment.planes, size[0], size[1], size[2]};
        if (!segment.bits) continue;
        std::array<int64_t, 5> filled = made.dims;
        filled[4] = (filled[4] + kRowAlign - 1) / kRowAlign * kRowAlign;
        int64_t bytes = 1;
        for (const int64_t d : filled) bytes = checkedProduct(bytes, d, "the mask");
        made.bytes = {device.allocate(static_cast<size_t>(bytes)), 0, DataType::u8,
                      contiguousStrides(filled)};
    }
}

void BytePlanes::unpack(Device& device, std::vector<TensorRef>& planes) const {
    for (size_t i = 0; i < planes.size(); ++i) {
        const Segment& segment = segments_[i];
        if (segment.bytes.buffer == nullptr) continue;
        device.unpackBits(planes[i], segment.bytes, segment.dims);
        planes[i] = segment.bytes;
    }
}

}  // namespace pconv
