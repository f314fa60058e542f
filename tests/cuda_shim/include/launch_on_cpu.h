// launch.cuh on the CPU.
#pragma once

#include <tuple>
#include <utility>

#include "../cuda_shim.h"

namespace pconv::cuda {

template <typename... Parameters, typename... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, unsigned threads, size_t shared_bytes,
                   cudaStream_t /*stream*/, Arguments&&... arguments) {
    struct Call {
        void (*kernel)(Parameters...);
        std::tuple<Parameters...> parameters;
    };
    Call call{kernel, {std::forward<Arguments>(arguments)...}};
    cuda_shim::run(
        {grid.x, grid.y, grid.z}, threads, shared_bytes,
        [](void* argument) {
            const Call& of_launch = *static_cast<const Call*>(argument);
            std::apply(of_launch.kernel, of_launch.parameters);
        },
        &call);
    return cudaSuccess;
}

}  // namespace pconv::cuda
