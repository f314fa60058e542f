// How a convolution is cut into dispatches: no binding beyond the device's range, no dispatch beyond its grid
// or the work cap. Knows no Vulkan.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "backend.h"

namespace pconv::vulkan {

// Bytes of a tensor, from its first element on.
struct Span {
    int64_t begin = 0, end = 0;
    int64_t size() const { return end - begin; }
};

struct PlanLimits {
    int64_t max_range = 0;  // bytes of a binding
    int64_t alignment = 1;  // of a binding's offset; costs up to this many bytes of range
    uint64_t max_work = 0;  // multiplications of a dispatch
    std::array<uint32_t, 3> max_groups{};

    // Workgroups in one row, in as many dimensions of a dispatch as they need: for shaders/flat_grid.glsl.
    std::array<uint32_t, 3> flatGrid(int64_t groups) const {
        const int64_t across = std::min<int64_t>(groups, max_groups[0]);
        return {static_cast<uint32_t>(across), static_cast<uint32_t>((groups + across - 1) / across), 1};
    }
};

// A kernel's tiling and the memory it reads besides the tensors.
struct PlanKernel {
    int64_t block_channels = 1;  // output channels of a workgroup
    int64_t blocks_a_group = 1;
    int64_t block_bytes = 0;  // of packed weights
    int64_t unit_h = 1;       // output rows that stay together
    int64_t units_a_row = 1;  // invocations (or outputs) along a unit of rows
    int64_t units_a_workgroup = 1;
    bool merges_images = false;  // whether a workgroup's units may be of several images
    int64_t parts = 1;           // that depth is cut into, each with workgroups of its own
};

struct PlanMask {
    int64_t batch = 1, planes = 0;  // planes 0: the mask is not read
    int64_t row_bytes = 0;          // of a packed plane's row
    int64_t ratio_groups = 1;       // 1, the convolution's groups or its output channels
};

struct CopyRegion {
    int64_t tensor = 0, scratch = 0, size = 0;  // bytes
};

// Where the channels of even one row lie too far apart to bind, a dispatch works on a copy that has them
// together.
struct Detour {
    bool used = false;
    std::array<int64_t, 5> strides{};
    int64_t origin = 0;  // the tensor's element 0, counted in elements from the copy's start; not after it
    std::vector<CopyRegion> regions;
};

// One dispatch: images n, blocks of output channels b, rows q of output tiles (planes times tile rows).
struct Chunk {
    int64_t n0 = 0, n1 = 0, b0 = 0, b1 = 0, q0 = 0, q1 = 0;
    Span input, output, weights, ratio, mask;
    uint64_t work = 0;
    Detour input_detour, output_detour;  // where used, input and output are spans of the copies
};

struct Plan {
    std::vector<Chunk> chunks;
    int64_t input_scratch = 0, output_scratch = 0;  // bytes that detours share
};

// Throws Error unsupported where even the smallest piece does not fit.
Plan planPartialConv(const PartialConvDesc& desc, const std::array<int64_t, 5>& input_strides,
                     const std::array<int64_t, 5>& output_strides, const PlanKernel& kernel,
                     const PlanMask& mask, const PlanLimits& limits);

}  // namespace pconv::vulkan
