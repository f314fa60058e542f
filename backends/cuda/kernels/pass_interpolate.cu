#include "pass_outputs.cuh"

namespace pconv::cuda {

namespace {

// Between which elements of the input output `o` lies along one dimension, and the weight of the second.
struct Between {
    int at[2];
    float weight;
};

__device__ __forceinline__ Between betweenAt(const PassProblem& p, int d, int o) {
    // In whole numbers: where an output lies would else be off by more than what lies there.
    int64_t at = 0;
    int64_t per = 1;
    if (!p.align_corners) {
        at = (2 * static_cast<int64_t>(o) + 1) * p.input[d] - p.output[d];
        if (at < 0) at = 0;
        per = 2 * static_cast<int64_t>(p.output[d]);
    } else if (p.output[d] > 1) {
        at = static_cast<int64_t>(o) * (p.input[d] - 1);
        per = p.output[d] - 1;
    }
    Between between;
    between.at[0] = static_cast<int>(at / per);
    if (between.at[0] > p.input[d] - 1) between.at[0] = p.input[d] - 1;
    between.at[1] = between.at[0] + (between.at[0] < p.input[d] - 1 ? 1 : 0);
    between.weight = static_cast<float>(at - between.at[0] * per) / static_cast<float>(per);
    return between;
}

template <typename T>
__global__ void interpolate(PassProblem p) {
    for (int64_t i = firstOutput(); i < outputCount(p); i += outputStep()) {
        const Output o = outputAt(p, i);
        Between between[3];
        for (int d = 0; d < 3; ++d) between[d] = betweenAt(p, d, o.p[d]);
        float y = 0;
        for (int corner = 0; corner < 8; ++corner) {
            float weight = 1;
            Output from{o.n, o.c, {}};
            for (int d = 0; d < 3; ++d) {
                const int far = corner >> (2 - d) & 1;
                weight *= far != 0 ? between[d].weight : 1 - between[d].weight;
                from.p[d] = between[d].at[far];
            }
            if (weight != 0) y += weight * toFloat(static_cast<const T*>(p.x.data)[elementOffset(p.x, from)]);
        }
        setFloat(static_cast<T*>(p.y.data)[elementOffset(p.y, o)], y);
    }
}

}  // namespace

cudaError_t launchInterpolate(const PassProblem& problem, cudaStream_t stream) {
    return withElement(problem.type, [&](auto element) {
        return launchOutputs(interpolate<decltype(element)>, problem, stream);
    });
}

}  // namespace pconv::cuda
