// launch.cuh on the CPU.
#pragma once

#include <memory>
#include <tuple>
#include <utility>

#include "../cuda_shim.h"
#if defined(PCONV_CUDA_STAND_IN)
#include "../../cuda_on_cpu/stand_in.h"
#endif

namespace pconv::cuda {

template <typename... Parameters, typename... Arguments>
cudaError_t launchOnCpu(const char* text, void (*kernel)(Parameters...), dim3 grid, unsigned threads,
                        size_t shared_bytes, [[maybe_unused]] cudaStream_t stream, Arguments&&... arguments) {
    cuda_shim::noteLaunch(text);
    struct Call {
        void (*kernel)(Parameters...);
        std::tuple<Parameters...> parameters;
    };
    const auto call = std::make_shared<Call>(
        Call{kernel, std::tuple<Parameters...>(std::forward<Arguments>(arguments)...)});
    const auto run = [call, grid, threads, shared_bytes] {
        cuda_shim::run(
            {grid.x, grid.y, grid.z}, threads, shared_bytes,
            [](void* argument) {
                const Call& of_launch = *static_cast<const Call*>(argument);
                std::apply(of_launch.kernel, of_launch.parameters);
            },
            call.get());
        return 0;
    };
#if defined(PCONV_CUDA_STAND_IN)
    return static_cast<cudaError_t>(cuda_stand_in::enqueue(stream, run));
#else
    return static_cast<cudaError_t>(run());
#endif
}

}  // namespace pconv::cuda

// A macro, as only that knows the kernel's name; the arguments may have commas between angle brackets.
#define launch(...) launchOnCpu(#__VA_ARGS__, __VA_ARGS__)
