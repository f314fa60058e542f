#include "pass_outputs.cuh"

namespace pconv::cuda {

namespace {

template <typename T, bool average>
__global__ void pool(PassProblem p) {
    for (int64_t i = firstOutput(); i < outputCount(p); i += outputStep()) {
        const Output o = outputAt(p, i);
        int begin[3];
        int end[3];
        for (int d = 0; d < 3; ++d) {
            const int at = o.p[d] * p.stride[d] - p.padding[d];
            begin[d] = at < 0 ? 0 : at;
            end[d] = at + p.kernel[d] < p.input[d] ? at + p.kernel[d] : p.input[d];
        }
        float result = average ? 0.0F : -INFINITY;
        for (int d = begin[0]; d < end[0]; ++d)
            for (int h = begin[1]; h < end[1]; ++h) {
                // Rows on their own first: a long sum of floats loses digits.
                float row = average ? 0.0F : -INFINITY;
                for (int w = begin[2]; w < end[2]; ++w) {
                    const float x =
                        toFloat(static_cast<const T*>(p.x.data)[elementOffset(p.x, {o.n, o.c, {d, h, w}})]);
                    if (average)
                        row += x;
                    else if (x > row || x != x)
                        row = x;
                }
                if (average)
                    result += row;
                else if (row > result || row != row)
                    result = row;
            }
        if (average) {
            const int inside = (end[0] - begin[0]) * (end[1] - begin[1]) * (end[2] - begin[2]);
            result /= static_cast<float>(p.inside_only ? inside : volumeOf(p.kernel));
        }
        setFloat(static_cast<T*>(p.y.data)[elementOffset(p.y, o)], result);
    }
}

template <bool average>
cudaError_t launchPool(const PassProblem& problem, cudaStream_t stream) {
    return withElement(problem.type, [&](auto element) {
        return launchOutputs(pool<decltype(element), average>, problem, stream);
    });
}

}  // namespace

cudaError_t launchMaxPool(const PassProblem& problem, cudaStream_t stream) {
    return launchPool<false>(problem, stream);
}

cudaError_t launchAveragePool(const PassProblem& problem, cudaStream_t stream) {
    return launchPool<true>(problem, stream);
}

}  // namespace pconv::cuda
