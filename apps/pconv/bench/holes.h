#pragma once

#include <functional>

#include "bench/layer.h"

namespace pconv::app {

/// A first layer of an inpainting network under holes of one pattern and size.
struct HolesResult {
    std::string id;  ///< "holes/64->64 k3 s1 strokes 75 %"
    std::string layer;
    std::string pattern;
    int percent = 0;  ///< of the picture that is hole
    Fault fault;
    std::string implementation;
    Timing timing;  ///< the mask side computed with every call
    double over_no_holes = 0;
    double hole_tiles = 0;   ///< share of the 16x16 output tiles whose updated mask is 0 everywhere
    double valid_tiles = 0;  ///< ... whose windows meet no hole
};

/// The names of all, as --list and --filter know them.
std::vector<std::string> holesIds(int64_t shrink);

/// Measures those that `wanted` says, and each layer without holes beside them.
std::vector<HolesResult> measureHoles(BenchDevice& bench, int64_t shrink,
                                      const std::function<bool(const std::string&)>& wanted,
                                      const std::function<void(double)>& progress);

}  // namespace pconv::app
