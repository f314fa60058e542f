// Statuses of the CUDA runtime as errors of this library.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

namespace pconv::cuda {

// "cudaErrorNoDevice: no CUDA-capable device is detected".
std::string cudaText(cudaError_t status);
// Throws for a failure; `what` names the call.
void check(cudaError_t status, const char* what);

// Why no device of this machine can be used; "" where one can be asked for.
std::string driverProblem();

}  // namespace pconv::cuda
