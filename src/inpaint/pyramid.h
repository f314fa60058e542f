// The pyramid of the inpainting method: partial convolutions down, bilinear and relaxation up.
#pragma once

#include <cstdint>
#include <functional>

#include "core/thread_pool.h"
#include "inpaint/relax.h"
#include "pconv/pconv.h"

namespace pconv::inpaint {

struct Picture {
    int64_t height = 0;
    int64_t width = 0;
    int channels = 0;  // 1 to 3
    // Fills rows [begin, end) of a zeroed plane: colours times a weight of 0 to 1, how well they are known,
    // and the weight; all 0 in the holes, where `valid` is 0 too. Called from several threads.
    std::function<void(int64_t begin, int64_t end, const Plane4& plane, uint8_t* valid)> load;
    // Takes rows [begin, end) of the filled picture.
    std::function<void(int64_t begin, int64_t end, const Plane4& plane)> store;
    bool partly_known = false;                  // whether there may be weights between 0 and 1
    std::function<void(double done)> progress;  // throws to cancel
};

// Fills the holes of a picture with at least one valid pixel and one hole.
void fill(PconvDevice device, ThreadPool& pool, const Picture& picture);

}  // namespace pconv::inpaint
