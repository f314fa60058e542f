// For functions written once for the CPU and for CUDA.
#pragma once

#if defined(__CUDACC__)
#define PCONV_BOTH __host__ __device__ __forceinline__
#else
#define PCONV_BOTH inline
#endif
