// Masked batch normalization and spatial mean: sums over the positions of every picture and channel, then
// over pictures, in float64 and in a fixed order.
#include <cmath>

#include "kernel_support.cuh"

namespace pconv::cuda {

namespace {

constexpr int kLanes = 32;  // neighbouring channels, or positions
constexpr int kRows = 8;
constexpr unsigned kThreads = kLanes * kRows;

// [batch][channels] each, then [channels].
struct Sums {
    double* values;  // of x, then of squared deviations
    double* counts;  // of the mask
    double* mean;
    double* variance;
    double* count;
};

struct Parameters {
    int batch, channels, size[3];
    View input;
    MaskReader mask;
    bool channels_fast;
    Sums sums;
};

struct Element {
    double x, m;
};

// Where the mask is 0, x counts as 0 whatever it holds.
template <typename T>
__device__ __forceinline__ Element elementAt(const Parameters& p, int n, int c, int position) {
    const float m = p.mask.present() ? p.mask.at(n, p.mask.planeOf(c), position) : 1;
    if (m == 0) return {0, 0};
    const int w = position % p.size[2];
    const int h = position / p.size[2] % p.size[1];
    const int d = position / p.size[2] / p.size[1];
    const int64_t from = positionOffset(p.input, n, d, h, w) + c * p.input.strides[1];
    return {static_cast<double>(toFloat(static_cast<const T*>(p.input.data)[from])), static_cast<double>(m)};
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
        for (int position = first; position < volumeOf(p.size); position += step) {
            const Element e = elementAt<T>(p, n, c, position);
            const double deviation = (e.x - mean) * e.m;
            values += deviations ? deviation * deviation : e.x;
            counts += e.m;
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

// Statistics of the batch into the running ones, or from them.
__global__ void runStatistics(Parameters p, bool training, double momentum, BatchNormVectors vectors) {
    const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (c >= p.channels) return;
    if (!training) {
        p.sums.mean[c] = static_cast<double>(vectors.running_mean[c]);
        p.sums.variance[c] = static_cast<double>(vectors.running_var[c]);
        return;
    }
    const double count = p.sums.count[c];
    const double variance = p.sums.variance[c];
    updateRunning(vectors.running_mean, c, momentum, p.sums.mean[c]);
    // As torch.nn.BatchNorm without a mask: the unbiased variance is what is remembered.
    const bool unbiased = !p.mask.present() && count > 1;
    updateRunning(vectors.running_var, c, momentum, unbiased ? variance * count / (count - 1) : variance);
}

template <typename T>
__global__ void normalize(Parameters p, double eps, BatchNormVectors vectors, View output) {
    const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    const int volume = volumeOf(p.size);
    if (i >= static_cast<int64_t>(p.batch) * p.channels * volume) return;
    const auto c = static_cast<int>(p.channels_fast ? i % p.channels : i / volume % p.channels);
    const auto position = static_cast<int>(p.channels_fast ? i / p.channels % volume : i % volume);
    const auto n = static_cast<int>(i / volume / p.channels);
    const double weight = vectors.weight == nullptr ? 1 : static_cast<double>(vectors.weight[c]);
    const double bias = vectors.bias == nullptr ? 0 : static_cast<double>(vectors.bias[c]);
    const double x = elementAt<T>(p, n, c, position).x;
    const double y = (x - p.sums.mean[c]) * (weight / sqrt(p.sums.variance[c] + eps)) + bias;
    const int w = position % p.size[2];
    const int h = position / p.size[2] % p.size[1];
    const int d = position / p.size[2] / p.size[1];
    setFloat(static_cast<T*>(output.data)[positionOffset(output, n, d, h, w) + c * output.strides[1]],
             static_cast<float>(y));
}

template <typename T>
__global__ void spatialMean(Parameters p, double eps, int mask_batch, T* output, float* output_mask) {
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= p.batch * p.channels) return;
    const double count = p.sums.counts[i];
    if (output_mask != nullptr && i / p.channels < mask_batch)
        output_mask[i] = static_cast<float>(count / static_cast<double>(volumeOf(p.size)));
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
    for (int d = 0; d < 3; ++d) p.size[d] = problem.size[d];
    p.input = input;
    p.mask = {problem.mask, volumeOf(problem.size)};
    p.channels_fast = input.strides[1] == 1 && problem.channels > 1;
    const int64_t all = static_cast<int64_t>(problem.batch) * problem.channels;
    auto* memory = static_cast<double*>(workspace);
    p.sums = {memory, memory + all, memory + 2 * all, memory + 2 * all + problem.channels,
              memory + 2 * all + 2 * problem.channels};
    return p;
}

template <typename T, bool deviations>
cudaError_t launchSums(const Parameters& p, cudaStream_t stream) {
    const int blocks = p.channels_fast ? ceilDivide(p.channels, kLanes) : p.channels;
    return launch(sumPositions<T, deviations>, dim3(static_cast<unsigned>(p.batch * blocks)), kThreads,
                  2 * sizeof(double) * kThreads, stream, p);
}

}  // namespace

size_t normWorkspaceBytes(const NormProblem& problem) {
    return sizeof(double) * (2 * static_cast<size_t>(problem.batch) + 3) *
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
        then(runStatistics, p.channels, problem.training, static_cast<double>(problem.momentum), vectors);
        then(normalize<T>, static_cast<int64_t>(p.batch) * p.channels * volumeOf(p.size),
             static_cast<double>(problem.eps), vectors, output);
        return status;
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
