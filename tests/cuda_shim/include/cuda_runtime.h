#pragma once

#include <cuda_runtime_api.h>

#include "../cuda_shim.h"

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
    dim3() = default;
    dim3(unsigned x_size, unsigned y_size = 1, unsigned z_size = 1) : x(x_size), y(y_size), z(z_size) {}
};

struct alignas(8) float2 {
    float x, y;
};

struct alignas(8) uint2 {
    unsigned x, y;
};

struct alignas(16) float4 {
    float x, y, z, w;
};

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define threadIdx (::pconv::cuda_shim::current().thread)
#define blockIdx (::pconv::cuda_shim::current().block)
#define blockDim (::pconv::cuda_shim::current().block_size)
#define gridDim (::pconv::cuda_shim::current().grid_size)
