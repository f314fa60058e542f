// Stands in for the CUDA runtime where kernels run on the CPU: only what their sources name.
#pragma once

struct CUstream_st;
using cudaStream_t = CUstream_st*;
enum cudaError_t : int { cudaSuccess = 0, cudaErrorInvalidValue = 1 };
