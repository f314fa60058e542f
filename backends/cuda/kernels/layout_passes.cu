// Passes over whole tensors: masked copies and transpositions, dc with the bias's gradient, and the epilogue
// of rows whose convolution has none. Where source and destination lie alike they go by vectors, else by
// tiles.
#include "tile_walk.cuh"
#include "vector_walk.cuh"
#include "weight_gradient.cuh"

namespace pconv::cuda {

namespace {

constexpr int kGradientParts = 256;  // the bias's gradient is summed in this many parts at most
constexpr int kLanes = 32;

template <typename T>
__global__ void __launch_bounds__(kTileThreads) maskedCopy(TileWalk walk, MaskedCopyElement<T> element) {
    passTiles(walk, element);
}
template <typename T, int count>
__global__ void __launch_bounds__(kWalkThreads)
    maskedCopyPlanes(VectorWalk walk, MaskedCopyElement<T> element) {
    passPlanes<count>(walk, element);
}
template <typename T, int count>
__global__ void __launch_bounds__(kWalkThreads)
    maskedCopyPixels(VectorWalk walk, MaskedCopyElement<T> element) {
    passPixels<count>(walk, element);
}

template <typename A, typename T>
__global__ void __launch_bounds__(kTileThreads) epiloguePass(TileWalk walk, EpilogueElement<A, T> element) {
    passTiles(walk, element);
}
template <typename A, typename T, int count>
__global__ void __launch_bounds__(kWalkThreads)
    epiloguePlanes(VectorWalk walk, EpilogueElement<A, T> element) {
    passPlanes<count>(walk, element);
}
template <typename A, typename T, int count>
__global__ void __launch_bounds__(kWalkThreads)
    epiloguePixels(VectorWalk walk, EpilogueElement<A, T> element) {
    passPixels<count>(walk, element);
}

template <typename T, typename D>
__global__ void __launch_bounds__(kTileThreads) gradPrepare(TileWalk walk, GradientElement<T, D> element) {
    passTiles(walk, element);
}
// With registers for four blocks: the compiler would take fewer, and spill.
template <typename T, typename D, int count>
__global__ void __launch_bounds__(kWalkThreads, 4)
    gradPreparePlanes(VectorWalk walk, GradientElement<T, D> element) {
    passPlanes<count>(walk, element);
}
template <typename T, typename D, int count>
__global__ void __launch_bounds__(kWalkThreads)
    gradPreparePixels(VectorWalk walk, GradientElement<T, D> element) {
    passPixels<count>(walk, element);
}

// partials: [parts][columns], of which a group's first are channels.
template <typename T>
__global__ void __launch_bounds__(kWalkThreads)
    sumBias(const float* partials, int parts, int columns, int channels, int group_channels, int padded,
            T* gradient, bool accumulate) {
    auto& shared = sharedStorage<WalkSums<1>>();
    const int lane = static_cast<int>(threadIdx.x) % kLanes;
    const int row = static_cast<int>(threadIdx.x) / kLanes;
    const int channel = static_cast<int>(blockIdx.x) * kLanes + lane;
    float sum = 0;
    if (channel < channels) {
        const int column = channel / group_channels * padded + channel % group_channels;
        for (int part = row; part < parts; part += kWalkThreads / kLanes)
            sum += partials[static_cast<int64_t>(part) * columns + column];
    }
    shared.values[threadIdx.x][0] = sum;
    syncThreads();
    if (row > 0 || channel >= channels) return;
    for (int other = 1; other < kWalkThreads / kLanes; ++other)
        sum += shared.values[other * kLanes + lane][0];
    storeResult(gradient + channel, sum, accumulate);
}

}  // namespace

cudaError_t launchMaskedCopy(const ConvProblem& problem, const View& source, const View& destination,
                             int channels_padded, cudaStream_t stream) {
    const ConvShape& s = problem.shape;
    return withElement(problem.type, [&](auto number) {
        using T = decltype(number);
        const MaskedCopyElement<T> element{inputMask(problem)};
        constexpr int kVector = kVectorOf<MaskedCopyElement<T>>;
        if (channels_padded == s.in_channels / s.groups) {
            const PlannedWalk plan = planFor(element, s.batch, s.input, s.in_channels, source, destination);
            const VectorWalk& walk = plan.walk;
            if (plan.kind == WalkKind::pixels)
                return launch(maskedCopyPixels<T, kVector>, plan.grid, kWalkThreads, 0, stream, walk,
                              element);
            if (plan.kind == WalkKind::planes && plan.whole)
                return launch(maskedCopyPlanes<T, kVector>, plan.grid, kWalkThreads, 0, stream, walk,
                              element);
            if (plan.kind == WalkKind::planes)
                return launch(maskedCopyPlanes<T, 1>, plan.grid, kWalkThreads, 0, stream, walk, element);
        }
        const TileWalk walk = tileWalk(s.batch, s.input, s.groups, s.in_channels, channels_padded, source,
                                       destination, kAnyParts, nullptr);
        return launch(maskedCopy<T>, gridOf(walk), kTileThreads, sizeof(Tile), stream, walk, element);
    });
}

size_t gradPartialBytes(const ConvShape& s) {
    // Padding rounds a group's channels up to a multiple of 8 at most.
    const auto channels =
        static_cast<size_t>(s.groups) * (static_cast<size_t>(s.out_channels / s.groups) + 7);
    return sizeof(float) * kGradientParts * channels;
}

namespace {

struct Partials {
    int parts, columns, padded;
};

template <typename T, typename D>
cudaError_t launchGradient(const ConvProblem& problem, const View& grad_output, const View& dc,
                           int channels_padded, float* sums, Partials& partials, cudaStream_t stream) {
    const ConvShape& s = problem.shape;
    const GradientElement<T, D> element{resultReader(problem), appliesMask(problem)};
    constexpr int kVector = kVectorOf<GradientElement<T, D>>;
    if (channels_padded == s.out_channels / s.groups) {
        const PlannedWalk plan =
            planFor(element, s.batch, s.output, s.out_channels, grad_output, dc, kGradientParts, sums);
        const VectorWalk& walk = plan.walk;
        partials = {partsOf(plan), s.out_channels, channels_padded};
        if (plan.kind == WalkKind::pixels)
            return launch(gradPreparePixels<T, D, kVector>, plan.grid, kWalkThreads,
                          sizeof(WalkSums<kVector>), stream, walk, element);
        if (plan.kind == WalkKind::planes && plan.whole)
            return launch(gradPreparePlanes<T, D, kVector>, plan.grid, kWalkThreads, sizeof(WalkSums<1>),
                          stream, walk, element);
        if (plan.kind == WalkKind::planes)
            return launch(gradPreparePlanes<T, D, 1>, plan.grid, kWalkThreads, sizeof(WalkSums<1>), stream,
                          walk, element);
    }
    const TileWalk walk = tileWalk(s.batch, s.output, s.groups, s.out_channels, channels_padded, grad_output,
                                   dc, kGradientParts, sums);
    partials = {static_cast<int>(gridOf(walk).x), walk.columns, channels_padded};
    return launch(gradPrepare<T, D>, gridOf(walk), kTileThreads, sizeof(SumTiles), stream, walk, element);
}

}  // namespace

cudaError_t launchGradPrepare(const ConvProblem& problem, const View& grad_output, DataType dc_type,
                              const View& dc, int channels_padded, void* bias_gradient, bool accumulate,
                              void* partials, cudaStream_t stream) {
    const ConvShape& s = problem.shape;
    auto* sums = static_cast<float*>(bias_gradient == nullptr ? nullptr : partials);
    return withElement(problem.type, [&](auto element) {
        using T = decltype(element);
        Partials made{};
        const cudaError_t status =
            dc_type == DataType::f32
                ? launchGradient<T, float>(problem, grad_output, dc, channels_padded, sums, made, stream)
                : launchGradient<T, T>(problem, grad_output, dc, channels_padded, sums, made, stream);
        if (status != cudaSuccess || sums == nullptr) return status;
        return launch(sumBias<T>, dim3(static_cast<unsigned>(ceilDivide(s.out_channels, kLanes))),
                      kWalkThreads, sizeof(WalkSums<1>), stream, static_cast<const float*>(sums), made.parts,
                      made.columns, s.out_channels, s.out_channels / s.groups, made.padded,
                      static_cast<T*>(bias_gradient), accumulate);
    });
}

namespace {

template <typename A, typename T>
cudaError_t launchEpilogueOf(const ConvProblem& problem, const View& accumulator, const T* bias,
                             const View& output, cudaStream_t stream) {
    const ConvShape& s = problem.shape;
    const EpilogueElement<A, T> element{resultReader(problem), epilogueOf(problem), bias};
    constexpr int kVector = kVectorOf<EpilogueElement<A, T>>;
    const PlannedWalk plan = planFor(element, s.batch, s.output, s.out_channels, accumulator, output);
    if (plan.kind == WalkKind::pixels)
        return launch(epiloguePixels<A, T, kVector>, plan.grid, kWalkThreads, 0, stream, plan.walk, element);
    if (plan.kind == WalkKind::planes && plan.whole)
        return launch(epiloguePlanes<A, T, kVector>, plan.grid, kWalkThreads, 0, stream, plan.walk, element);
    if (plan.kind == WalkKind::planes)
        return launch(epiloguePlanes<A, T, 1>, plan.grid, kWalkThreads, 0, stream, plan.walk, element);
    const TileWalk walk = tileWalk(s.batch, s.output, 1, s.out_channels, s.out_channels, accumulator, output,
                                   kAnyParts, nullptr);
    return launch(epiloguePass<A, T>, gridOf(walk), kTileThreads, sizeof(Tile), stream, walk, element);
}

}  // namespace

cudaError_t launchEpilogue(const ConvProblem& problem, DataType accumulator_type, const View& accumulator,
                           const void* bias, const View& output, cudaStream_t stream) {
    return withElement(problem.type, [&](auto number) {
        using T = decltype(number);
        const auto* values = static_cast<const T*>(bias);
        return accumulator_type == DataType::f32
                   ? launchEpilogueOf<float, T>(problem, accumulator, values, output, stream)
                   : launchEpilogueOf<T, T>(problem, accumulator, values, output, stream);
    });
}

size_t gradientBytes(const ConvShape& s, DataType type, int channels) {
    return static_cast<size_t>(s.batch) * static_cast<size_t>(volumeOf(s.output)) *
           static_cast<size_t>(s.groups) * static_cast<size_t>(channels) * sizeOf(type);
}

View gradientView(const ConvShape& s, void* data, int channels) {
    const int64_t pixel = static_cast<int64_t>(s.groups) * channels;
    return {data,
            {pixel * volumeOf(s.output), 1, pixel * s.output[2] * s.output[1], pixel * s.output[2], pixel}};
}

}  // namespace pconv::cuda
