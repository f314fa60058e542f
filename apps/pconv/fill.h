#pragma once

#include <cstdint>
#include <vector>

#include "image/image.h"
#include "pconv/inpaint.h"
#include "pconv/pconv.hpp"

namespace pconv::app {

/// What fills colours in place of the method without weights; alpha is filled by that all the same.
struct FillNetwork {
    PconvModel model = nullptr;
    PconvNetwork network = nullptr;
    std::int64_t tile = 0;
};

/// Fills the pixels whose byte in `hole` is not 0; every other keeps its bits. A byte below 255 says how
/// little of a pixel is known: it becomes a mean of itself and what is around it. Filled pixels are seen:
/// alpha is filled from about the hole, and opaque where `opaque` is set. Of a pixel that is hardly seen
/// hardly anything is learned.
void fillHole(Image& image, const std::vector<std::uint8_t>& hole, bool opaque, const Device& device,
              PconvProgressCallback progress, void* user, const FillNetwork& network = {});

}  // namespace pconv::app
