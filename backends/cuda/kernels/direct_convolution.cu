// cuda:direct: the convolution and its input's gradient, any shape and strides.
#include "direct_product.cuh"

namespace pconv::cuda {

namespace {

constexpr unsigned kThreads = 256;
constexpr int kFewColumns = 4;  // of a group: below this, one thread an element
constexpr int kNarrowColumns = 16;
constexpr int kWideColumns = 64;
constexpr int kMaxGrid = 65535;

// [groups][taps][depth][columns] from [out_channels][in_channels / groups][taps].
template <typename T>
__global__ void packDirectWeights(const T* weight, float* packed, int groups, int out, int in, int taps,
                                  bool backward) {
    const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= static_cast<int64_t>(groups) * out * in * taps) return;
    const int columns = backward ? in : out;
    const int depth = backward ? out : in;
    const int column = static_cast<int>(i % columns);
    const int row = static_cast<int>(i / columns % depth);
    const int tap = static_cast<int>(i / columns / depth % taps);
    const int group = static_cast<int>(i / columns / depth / taps);
    const int o = backward ? row : column;
    const int c = backward ? column : row;
    packed[i] = toFloat(weight[((static_cast<int64_t>(group) * out + o) * in + c) * taps + tap]);
}

template <typename T, typename S, bool backward>
cudaError_t launchProduct(DirectParameters p, cudaStream_t stream) {
    const int rows = gatherRows(p.gather);
    for (p.first_class = 0; p.first_class < p.gather.classes; p.first_class += kMaxGrid) {
        const int left = p.gather.classes - p.first_class;
        const auto classes = static_cast<unsigned>(left < kMaxGrid ? left : kMaxGrid);
        cudaError_t status = cudaSuccess;
        if (p.columns <= kFewColumns) {
            status = launch(directElement<T, S, backward>,
                            dim3(ceilDivide(static_cast<unsigned>(rows), kThreads),
                                 static_cast<unsigned>(p.groups * p.columns), classes),
                            kThreads, 0, stream, p);
        } else {
            const bool narrow = p.columns <= kNarrowColumns;
            const int tile = narrow ? kNarrowColumns : kWideColumns;
            p.column_tiles = ceilDivide(p.columns, tile);
            const dim3 grid(static_cast<unsigned>(ceilDivide(rows, kDirectRows)),
                            static_cast<unsigned>(p.groups * p.column_tiles), classes);
            const size_t shared_bytes =
                sizeof(float) * kDirectDepth * (kDirectRows + static_cast<size_t>(tile));
            status = launch(narrow ? directProduct<T, S, kNarrowColumns, 4, 4, backward>
                                   : directProduct<T, S, kWideColumns, 8, 8, backward>,
                            grid, kDirectRows, shared_bytes, stream, p);
        }
        if (status != cudaSuccess) return status;
    }
    return cudaSuccess;
}

}  // namespace

size_t directWeightBytes(const ConvShape& s, bool /*backward*/) {
    return sizeof(float) * static_cast<size_t>(s.out_channels) *
           static_cast<size_t>(s.in_channels / s.groups) * static_cast<size_t>(volumeOf(s.kernel));
}

cudaError_t launchDirectWeights(const ConvShape& s, DataType type, const void* weight, void* packed,
                                bool backward, cudaStream_t stream) {
    const auto count = static_cast<unsigned>(directWeightBytes(s, backward) / sizeof(float));
    return withElement(type, [&](auto element) {
        using T = decltype(element);
        return launch(packDirectWeights<T>, dim3(ceilDivide(count, kThreads)), kThreads, 0, stream,
                      static_cast<const T*>(weight), static_cast<float*>(packed), s.groups,
                      s.out_channels / s.groups, s.in_channels / s.groups, volumeOf(s.kernel), backward);
    });
}

cudaError_t launchDirectForward(const ConvProblem& problem, const View& input, const void* packed_weight,
                                const void* bias, const View& output, cudaStream_t stream) {
    const ConvShape& s = problem.shape;
    DirectParameters p{};
    p.gather = forwardGather(s);
    p.groups = s.groups;
    p.depth = s.in_channels / s.groups;
    p.columns = s.out_channels / s.groups;
    p.source = input;
    p.destination = output;
    p.weight = static_cast<const float*>(packed_weight);
    p.bias = bias;
    p.source_mask = inputMask(problem);
    p.epilogue = epilogueOf(problem);
    p.results = resultReader(problem);
    return withElement(problem.type, [&](auto element) {
        using T = decltype(element);
        return launchProduct<T, T, false>(p, stream);
    });
}

cudaError_t launchDirectInputGradient(const ConvProblem& problem, const View& dc, const void* packed_weight,
                                      const View& gradient, bool accumulate, cudaStream_t stream) {
    const ConvShape& s = problem.shape;
    DirectParameters p{};
    p.gather = backwardGather(s);
    p.groups = s.groups;
    p.depth = s.out_channels / s.groups;
    p.columns = s.in_channels / s.groups;
    p.source = dc;
    p.destination = gradient;
    p.weight = static_cast<const float*>(packed_weight);
    p.destination_mask = gradientMask(problem);
    p.accumulate = accumulate;
    return withElement(problem.type, [&](auto element) {
        using T = decltype(element);
        return launchProduct<T, float, true>(p, stream);
    });
}

}  // namespace pconv::cuda
