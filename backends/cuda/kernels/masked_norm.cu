// Masked batch normalization and spatial mean: sums over the positions of every picture and channel in pairs
// of floats, then over pictures in float64, in a fixed order; and a pass that normalizes. What overflows a
// float is computed again in float64.
#include <cmath>

#include "float_pair.cuh"
#include "tile_walk.cuh"
#include "vector_walk.cuh"

namespace pconv::cuda {

namespace {

constexpr int kLanes = 32;  // neighbouring channels, or positions
constexpr int kRows = 8;
constexpr unsigned kThreads = kLanes * kRows;

// y = (x - mean) scale + bias
struct NormChannel {
    FloatPair mean, scale;
    float bias;
};

// [batch][channels] each, then [channels].
struct Sums {
    double* values;  // of x, then of squared deviations
    double* counts;  // of the mask
    double* mean;
    double* variance;
    double* count;
    NormChannel* result;
};

struct Parameters {
    int batch, channels, positions;
    Divisor height, width;
    View input;
    MaskReader mask;
    bool channels_fast, dense;
    Sums sums;
};

struct Element {
    float x, m;
};

// Where the mask is 0, x counts as 0 whatever it holds.
template <typename T>
__device__ __forceinline__ Element elementAt(const Parameters& p, int n, int c, int position) {
    const float m = p.mask.present() ? p.mask.at(n, p.mask.planeOf(c), position) : 1;
    if (m == 0) return {0, 0};
    int64_t from = n * p.input.strides[0] + c * p.input.strides[1];
    if (p.dense) {
        from += position * p.input.strides[4];
    } else {
        int w = position;
        int h = p.width.divide(w);
        const int d = p.height.divide(h);
        from += d * p.input.strides[2] + h * p.input.strides[3] + w * p.input.strides[4];
    }
    return {toFloat(static_cast<const T*>(p.input.data)[from]), m};
}

struct PairSums {
    FloatPair values, counts;
};
struct DoubleSums {
    double values, counts;
};

template <bool deviations>
__device__ __forceinline__ void add(PairSums& sums, const Element& e, const FloatPair& mean) {
    FloatPair value{e.x, 0};
    if (deviations) {
        value = (value - mean) * FloatPair{e.m, 0};
        value = value * value;
    }
    sums.values += value;
    sums.counts += FloatPair{e.m, 0};
}

template <bool deviations>
__device__ __forceinline__ void add(DoubleSums& sums, const Element& e, double mean) {
    const auto x = static_cast<double>(e.x);
    const double deviation = (x - mean) * static_cast<double>(e.m);
    sums.values += deviations ? deviation * deviation : x;
    sums.counts += static_cast<double>(e.m);
}

// A block sums one channel of one picture, or 32 channels where they lie side by side.
template <typename T, bool deviations>
__global__ void __launch_bounds__(kThreads) sumPositions(Parameters p) {
    struct Storage {
        double values[kRows][kLanes], counts[kRows][kLanes];
    };
    auto& shared = sharedStorage<Storage>();
    const int lane = static_cast<int>(threadIdx.x) % kLanes;
    const int row = static_cast<int>(threadIdx.x) / kLanes;
    const int blocks = p.channels_fast ? ceilDivide(p.channels, kLanes) : p.channels;
    const int n = static_cast<int>(blockIdx.x) / blocks;
    const int block = static_cast<int>(blockIdx.x) % blocks;
    const int c = p.channels_fast ? block * kLanes + lane : block;
    const int first = p.channels_fast ? row : static_cast<int>(threadIdx.x);
    const int step = p.channels_fast ? kRows : static_cast<int>(kThreads);
    double values = 0;
    double counts = 0;
    if (c < p.channels) {
        const double mean = deviations ? p.sums.mean[c] : 0;
        const FloatPair mean_pair = FloatPair::of(mean);
        PairSums pairs{};
        for (int position = first; position < p.positions; position += step)
            add<deviations>(pairs, elementAt<T>(p, n, c, position), mean_pair);
        values = pairs.values.value();
        counts = pairs.counts.value();
        if (!pairs.values.isFinite()) {
            DoubleSums doubles{};
            for (int position = first; position < p.positions; position += step)
                add<deviations>(doubles, elementAt<T>(p, n, c, position), mean);
            values = doubles.values;
        }
    }
    shared.values[row][lane] = values;
    shared.counts[row][lane] = counts;
    syncThreads();
    if (row > 0) return;
    for (int i = 1; i < kRows; ++i) {
        values += shared.values[i][lane];
        counts += shared.counts[i][lane];
    }
    if (!p.channels_fast)
        for (int lanes = kLanes / 2; lanes > 0; lanes /= 2) {
            values += shuffleXor(values, lanes);
            counts += shuffleXor(counts, lanes);
        }
    if (c >= p.channels || (!p.channels_fast && lane > 0)) return;
    p.sums.values[n * p.channels + c] = values;
    p.sums.counts[n * p.channels + c] = counts;
}

// Over the pictures: the mean, or with it the variance.
template <bool deviations>
__global__ void finishSums(Parameters p) {
    const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (c >= p.channels) return;
    double values = 0;
    double count = 0;
    for (int n = 0; n < p.batch; ++n) {
        values += p.sums.values[n * p.channels + c];
        count += p.sums.counts[n * p.channels + c];
    }
    (deviations ? p.sums.variance : p.sums.mean)[c] = count == 0 ? 0 : values / count;
    p.sums.count[c] = count;
}

__device__ __forceinline__ void updateRunning(float* running, int c, double momentum, double value) {
    if (running != nullptr)
        running[c] = static_cast<float>(static_cast<double>(running[c]) * (1 - momentum) + momentum * value);
}

// Statistics of the batch into the running ones, or from them; and what the pass needs.
__global__ void runStatistics(Parameters p, bool training, double momentum, double eps,
                              BatchNormVectors vectors) {
    const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (c >= p.channels) return;
    const double mean = training ? p.sums.mean[c] : static_cast<double>(vectors.running_mean[c]);
    const double variance = training ? p.sums.variance[c] : static_cast<double>(vectors.running_var[c]);
    if (training) {
        const double count = p.sums.count[c];
        updateRunning(vectors.running_mean, c, momentum, mean);
        // As torch.nn.BatchNorm without a mask: the unbiased variance is what is remembered.
        const bool unbiased = !p.mask.present() && count > 1;
        updateRunning(vectors.running_var, c, momentum, unbiased ? variance * count / (count - 1) : variance);
    }
    const double weight = vectors.weight == nullptr ? 1 : static_cast<double>(vectors.weight[c]);
    p.sums.result[c] = {FloatPair::of(mean), FloatPair::of(weight / sqrt(variance + eps)),
                        vectors.bias == nullptr ? 0 : vectors.bias[c]};
}

// An element of the pass; where the mask is 0, x counts as 0.
template <typename T>
struct NormElement : MaskFactors {
    using Source = T;
    using Destination = T;
    using Channel = NormChannel;
    static constexpr bool kSums = false;
    const NormChannel* channels;

    NormElement(const MaskReader& reader, const NormChannel* of_channels)
        : MaskFactors{reader}, channels(of_channels) {}
    __device__ __forceinline__ NormChannel channelOf(int channel) const { return channels[channel]; }
    __device__ __forceinline__ float value(float x, float m, float /*second*/, const NormChannel& c) const {
        FloatPair y = (FloatPair{m == 0 ? 0 : x, 0} - c.mean) * c.scale;
        y += FloatPair{c.bias, 0};
        if (y.isFinite()) return sumRounded(y.high, y.low);
        const double deviation = static_cast<double>(m == 0 ? 0 : x) - c.mean.value();
        return static_cast<float>(deviation * c.scale.value() + static_cast<double>(c.bias));
    }
};

template <typename T>
__global__ void __launch_bounds__(kTileThreads) normalize(TileWalk walk, NormElement<T> element) {
    passTiles(walk, element);
}
template <typename T, int count>
__global__ void __launch_bounds__(kWalkThreads) normalizePlanes(VectorWalk walk, NormElement<T> element) {
    passPlanes<count>(walk, element);
}
template <typename T, int count>
__global__ void __launch_bounds__(kWalkThreads) normalizePixels(VectorWalk walk, NormElement<T> element) {
    passPixels<count>(walk, element);
}

template <typename T>
__global__ void spatialMean(Parameters p, double eps, int mask_batch, T* output, float* output_mask) {
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= p.batch * p.channels) return;
    const double count = p.sums.counts[i];
    if (output_mask != nullptr && i / p.channels < mask_batch)
        output_mask[i] = static_cast<float>(count / static_cast<double>(p.positions));
    const double divisor = p.mask.present() ? count + eps : count;
    setFloat(output[i], divisor == 0 ? 0 : static_cast<float>(p.sums.values[i] / divisor));
}

dim3 blocksFor(int64_t threads) {
    return dim3(static_cast<unsigned>(ceilDivide<int64_t>(threads, kThreads)));
}

Parameters parametersOf(const NormProblem& problem, const View& input, void* workspace) {
    Parameters p{};
    p.batch = problem.batch;
    p.channels = problem.channels;
    p.positions = volumeOf(problem.size);
    p.height = Divisor(problem.size[1]);
    p.width = Divisor(problem.size[2]);
    p.dense = isDense(input, problem.size);
    p.input = input;
    p.mask = {problem.mask, volumeOf(problem.size)};
    p.channels_fast = input.strides[1] == 1 && problem.channels > 1;
    const int64_t all = static_cast<int64_t>(problem.batch) * problem.channels;
    auto* memory = static_cast<double*>(workspace);
    p.sums = {memory,
              memory + all,
              memory + 2 * all,
              memory + 2 * all + problem.channels,
              memory + 2 * all + 2 * problem.channels,
              reinterpret_cast<NormChannel*>(memory + 2 * all + 3 * problem.channels)};
    return p;
}

template <typename T, bool deviations>
cudaError_t launchSums(const Parameters& p, cudaStream_t stream) {
    const int blocks = p.channels_fast ? ceilDivide(p.channels, kLanes) : p.channels;
    return launch(sumPositions<T, deviations>, dim3(static_cast<unsigned>(p.batch * blocks)), kThreads,
                  2 * sizeof(double) * kThreads, stream, p);
}

template <typename T>
cudaError_t launchNormalize(const NormProblem& problem, const Parameters& p, const View& output,
                            cudaStream_t stream) {
    const NormElement<T> element{p.mask, p.sums.result};
    constexpr int kVector = kVectorOf<NormElement<T>>;
    const PlannedWalk plan = planFor(element, problem.batch, problem.size, problem.channels, p.input, output);
    if (plan.kind == WalkKind::pixels)
        return launch(normalizePixels<T, kVector>, plan.grid, kWalkThreads, 0, stream, plan.walk, element);
    if (plan.kind == WalkKind::planes && plan.whole)
        return launch(normalizePlanes<T, kVector>, plan.grid, kWalkThreads, 0, stream, plan.walk, element);
    if (plan.kind == WalkKind::planes)
        return launch(normalizePlanes<T, 1>, plan.grid, kWalkThreads, 0, stream, plan.walk, element);
    const TileWalk walk = tileWalk(problem.batch, problem.size, 1, problem.channels, problem.channels,
                                   p.input, output, kAnyParts, nullptr);
    return launch(normalize<T>, gridOf(walk), kTileThreads, sizeof(Tile), stream, walk, element);
}

}  // namespace

size_t normWorkspaceBytes(const NormProblem& problem) {
    return (sizeof(double) * (2 * static_cast<size_t>(problem.batch) + 3) + sizeof(NormChannel)) *
           static_cast<size_t>(problem.channels);
}

cudaError_t launchMaskedBatchNorm(const NormProblem& problem, const View& input,
                                  const BatchNormVectors& vectors, const View& output, void* workspace,
                                  cudaStream_t stream) {
    const Parameters p = parametersOf(problem, input, workspace);
    return withElement(problem.type, [&](auto element) {
        using T = decltype(element);
        cudaError_t status = cudaSuccess;
        const auto then = [&](auto kernel, int64_t threads, const auto&... arguments) {
            if (status == cudaSuccess)
                status = launch(kernel, blocksFor(threads), kThreads, 0, stream, p, arguments...);
        };
        if (problem.training) {
            status = launchSums<T, false>(p, stream);
            then(finishSums<false>, p.channels);
            if (status == cudaSuccess) status = launchSums<T, true>(p, stream);
            then(finishSums<true>, p.channels);
        }
        then(runStatistics, p.channels, problem.training, static_cast<double>(problem.momentum),
             static_cast<double>(problem.eps), vectors);
        if (status != cudaSuccess) return status;
        return launchNormalize<T>(problem, p, output, stream);
    });
}

cudaError_t launchMaskedSpatialMean(const NormProblem& problem, const View& input, void* output,
                                    float* output_mask, void* workspace, cudaStream_t stream) {
    const Parameters p = parametersOf(problem, input, workspace);
    const int mask_batch = problem.mask.planes == nullptr ? 1 : problem.mask.batch;
    return withElement(problem.type, [&](auto element) {
        using T = decltype(element);
        const cudaError_t status = launchSums<T, false>(p, stream);
        if (status != cudaSuccess) return status;
        return launch(spatialMean<T>, blocksFor(static_cast<int64_t>(p.batch) * p.channels), kThreads, 0,
                      stream, p, static_cast<double>(problem.eps), mask_batch, static_cast<T*>(output),
                      output_mask);
    });
}

}  // namespace pconv::cuda
