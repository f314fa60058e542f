// The passes of networks between convolutions, as PassDesc says.
#pragma once

#include "cuda/kernels/kernels.h"

namespace pconv::cuda {

struct PassProblem {
    DataType type;
    int batch, channels;
    int input[3], output[3], kernel[3], stride[3], padding[3];
    Activation activation;
    float negative_slope;
    bool inside_only, align_corners;
    View x, y;
    View added;                  // no data: nothing is
    const float *scale, *shift;  // [channels], or null
};

cudaError_t launchPointwise(const PassProblem& problem, cudaStream_t stream);
cudaError_t launchMaxPool(const PassProblem& problem, cudaStream_t stream);
cudaError_t launchAveragePool(const PassProblem& problem, cudaStream_t stream);
cudaError_t launchInterpolate(const PassProblem& problem, cudaStream_t stream);

}  // namespace pconv::cuda
