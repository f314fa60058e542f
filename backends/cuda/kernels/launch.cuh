// How kernels are launched.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <utility>

#if defined(PCONV_CUDA_SHIM)
#include "launch_on_cpu.h"
#else

namespace pconv::cuda {

// More than what every chip grants unasked must be asked for, once for each kernel.
constexpr size_t kSharedBytesUnasked = 48 * 1024;

template <typename... Parameters, typename... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, unsigned threads, size_t shared_bytes,
                   cudaStream_t stream, Arguments&&... arguments) {
    const auto* function = reinterpret_cast<const void*>(kernel);
    if (shared_bytes > kSharedBytesUnasked) {
        const cudaError_t status = cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                        static_cast<int>(shared_bytes));
        if (status != cudaSuccess) return status;
    }
    // Copies of the very types the kernel reads, in place of <<<>>>, which reports no status.
    return [&](Parameters... values) {
        void* pointers[] = {static_cast<void*>(&values)...};
        return cudaLaunchKernel(function, grid, dim3(threads), pointers, shared_bytes, stream);
    }(std::forward<Arguments>(arguments)...);
}

}  // namespace pconv::cuda

#endif

namespace pconv::cuda {

template <typename T>
__host__ __device__ constexpr T ceilDivide(T value, T divisor) {
    return (value + divisor - 1) / divisor;
}

}  // namespace pconv::cuda
