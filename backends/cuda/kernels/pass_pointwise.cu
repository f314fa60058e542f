#include "pass_outputs.cuh"

namespace pconv::cuda {

namespace {

template <typename T>
__global__ void pointwise(PassProblem p) {
    for (int64_t i = firstOutput(); i < outputCount(p); i += outputStep()) {
        const Output o = outputAt(p, i);
        float y = toFloat(static_cast<const T*>(p.x.data)[elementOffset(p.x, o)]);
        if (p.scale != nullptr) y *= p.scale[o.c];
        if (p.shift != nullptr) y += p.shift[o.c];
        if (p.added.data != nullptr)
            y += toFloat(static_cast<const T*>(p.added.data)[elementOffset(p.added, o)]);
        y = p.activation == Activation::sigmoid ? 1 / (1 + expf(-y))
                                                : elementwise::activate(y, p.activation, p.negative_slope);
        setFloat(static_cast<T*>(p.y.data)[elementOffset(p.y, o)], y);
    }
}

}  // namespace

cudaError_t launchPointwise(const PassProblem& problem, cudaStream_t stream) {
    return withElement(problem.type, [&](auto element) {
        return launchOutputs(pointwise<decltype(element)>, problem, stream);
    });
}

}  // namespace pconv::cuda
