// The passes of networks between convolutions.
#include <algorithm>

#include "cuda/device/device.h"
#include "cuda/device/status.h"
#include "cuda/kernels/passes.h"

namespace pconv::cuda {

void CudaDevice::pass(const PassDesc& desc, const PassOperands& operands) {
    const CurrentDevice current(index_);
    const auto vectorOf = [](const TensorRef& vector) {
        return vector.buffer ? static_cast<const float*>(view(vector).data) : nullptr;
    };
    PassProblem problem{};
    problem.type = operands.input.data_type;
    problem.batch = static_cast<int>(desc.batch);
    problem.channels = static_cast<int>(desc.channels);
    for (size_t d = 0; d < 3; ++d) {
        problem.input[d] = static_cast<int>(desc.window.input[d]);
        problem.output[d] = static_cast<int>(desc.window.output[d]);
        problem.kernel[d] = static_cast<int>(desc.window.kernel[d]);
        problem.stride[d] = static_cast<int>(desc.window.stride[d]);
        problem.padding[d] = static_cast<int>(desc.window.padding[d]);
    }
    problem.activation = desc.activation;
    problem.negative_slope = desc.negative_slope;
    problem.inside_only = desc.inside_only;
    problem.align_corners = desc.align_corners;
    problem.x = view(operands.input);
    problem.y = view(operands.output);
    if (operands.added.buffer) problem.added = view(operands.added);
    problem.scale = vectorOf(operands.scale);
    problem.shift = vectorOf(operands.shift);
    switch (desc.kind) {
        case PassKind::pointwise:
            return check(launchPointwise(problem, stream()), "a pointwise pass");
        case PassKind::max_pool:
            return check(launchMaxPool(problem, stream()), "max pooling");
        case PassKind::average_pool:
            return check(launchAveragePool(problem, stream()), "average pooling");
        case PassKind::interpolate:
            return check(launchInterpolate(problem, stream()), "interpolation");
    }
}

}  // namespace pconv::cuda
