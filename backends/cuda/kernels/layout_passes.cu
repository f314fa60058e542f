// Passes over whole tensors: masked copies and transpositions, dc with the bias's gradient, and the epilogue
// of rows whose convolution has none.
#include "weight_gradient.cuh"

namespace pconv::cuda {

namespace {

constexpr int kTile = 32;  // positions, and channels
constexpr int kThreadRows = 8;
constexpr unsigned kThreads = kTile * kThreadRows;
constexpr int kGradientChunks = 128;  // the bias's gradient is summed in this many parts at most

// A tensor walked in tiles of 32 positions x 32 channels, read and written along what is fast in each view.
struct Walk {
    int batch, size[3];
    int groups, group_channels, padded;  // channels of a group in the source, and in the destination
    View source, destination;
    bool source_channels_fast, destination_channels_fast;
    int tiles, chunk;  // of positions: in all, and in a block
};

struct Position {
    int n, d, h, w, in_image;
    bool inside;
};

__device__ __forceinline__ Position positionAt(const Walk& walk, int index) {
    Position at;
    const int volume = volumeOf(walk.size);
    at.n = index / volume;
    at.in_image = index % volume;
    at.w = at.in_image % walk.size[2];
    at.h = at.in_image / walk.size[2] % walk.size[1];
    at.d = at.in_image / walk.size[2] / walk.size[1];
    at.inside = at.n < walk.batch;
    return at;
}

struct Tile {
    float values[kTile][kTile + 1];  // [position][channel]
};

// f(position, channel of the source) for each element of a tile, into `tile`; padding channels are 0.
template <typename F>
__device__ __forceinline__ void readTile(const Walk& walk, Tile& tile, int first_position, int first_channel,
                                         const F& f) {
    const int lane = static_cast<int>(threadIdx.x) % kTile;
    for (int i = static_cast<int>(threadIdx.x) / kTile; i < kTile; i += kThreadRows) {
        const int row = walk.source_channels_fast ? i : lane;
        const int column = walk.source_channels_fast ? lane : i;
        const int channel = first_channel + column;
        const int in_group = channel % walk.padded;
        const Position at = positionAt(walk, first_position + row);
        const bool inside =
            at.inside && channel < walk.groups * walk.padded && in_group < walk.group_channels;
        tile.values[row][column] = inside ? f(at, channel / walk.padded * walk.group_channels + in_group) : 0;
    }
}

template <typename D>
__device__ __forceinline__ void writeTile(const Walk& walk, const Tile& tile, int first_position,
                                          int first_channel) {
    const int lane = static_cast<int>(threadIdx.x) % kTile;
    for (int i = static_cast<int>(threadIdx.x) / kTile; i < kTile; i += kThreadRows) {
        const int row = walk.destination_channels_fast ? i : lane;
        const int column = walk.destination_channels_fast ? lane : i;
        const int channel = first_channel + column;
        const Position at = positionAt(walk, first_position + row);
        if (!at.inside || channel >= walk.groups * walk.padded) continue;
        D* to = static_cast<D*>(walk.destination.data) +
                positionOffset(walk.destination, at.n, at.d, at.h, at.w) +
                channel * walk.destination.strides[1];
        setFloat(*to, tile.values[row][column]);
    }
}

template <typename S>
__device__ __forceinline__ float sourceAt(const Walk& walk, const Position& at, int channel) {
    return toFloat(static_cast<const S*>(
        walk.source
            .data)[positionOffset(walk.source, at.n, at.d, at.h, at.w) + channel * walk.source.strides[1]]);
}

template <typename T>
__global__ void __launch_bounds__(kThreads) maskedCopy(Walk walk, MaskReader mask) {
    auto& tile = sharedStorage<Tile>();
    const int first_channel = static_cast<int>(blockIdx.y) * kTile;
    for (int i = 0; i < walk.chunk; ++i) {
        const int first_position = (static_cast<int>(blockIdx.x) * walk.chunk + i) * kTile;
        readTile(walk, tile, first_position, first_channel, [&](const Position& at, int channel) -> float {
            const float m = mask.present() ? mask.at(at.n, mask.planeOf(channel), at.in_image) : 1;
            return m == 0 ? 0 : elementwise::masked(sourceAt<T>(walk, at, channel), m);
        });
        syncThreads();
        writeTile<T>(walk, tile, first_position, first_channel);
        syncThreads();
    }
}

struct BiasTile {
    Tile tile;
    Tile bias;
    float sums[kThreadRows][kTile];
};

// T: of dy; D: of dc. partials [blocks][groups * padded], null where the bias's gradient is not wanted.
template <typename T, typename D>
__global__ void __launch_bounds__(kThreads)
    gradPrepare(Walk walk, ResultReader results, bool applies_mask, float* partials) {
    auto& shared = sharedStorage<BiasTile>();
    const int first_channel = static_cast<int>(blockIdx.y) * kTile;
    const int lane = static_cast<int>(threadIdx.x) % kTile;
    const int thread_row = static_cast<int>(threadIdx.x) / kTile;
    float sum = 0;
    for (int i = 0; i < walk.chunk; ++i) {
        const int first_position = (static_cast<int>(blockIdx.x) * walk.chunk + i) * kTile;
        const auto factorsAt = [&](const Position& at, int channel, float& ratio, float& updated) {
            const int64_t index = results.index(at.n, channel, at.in_image);
            ratio = results.ratio(index);
            updated = results.updatedInMemory(index);
        };
        readTile(walk, shared.tile, first_position, first_channel,
                 [&](const Position& at, int channel) -> float {
                     float ratio;
                     float updated;
                     factorsAt(at, channel, ratio, updated);
                     if (updated == 0) return 0;
                     return elementwise::accumulatorGradient(sourceAt<T>(walk, at, channel), ratio, updated,
                                                             applies_mask);
                 });
        if (partials != nullptr)
            readTile(walk, shared.bias, first_position, first_channel,
                     [&](const Position& at, int channel) -> float {
                         float ratio;
                         float updated;
                         factorsAt(at, channel, ratio, updated);
                         return updated == 0
                                    ? 0
                                    : elementwise::biasGradient(sourceAt<T>(walk, at, channel), updated);
                     });
        syncThreads();
        if (walk.destination.data != nullptr) writeTile<D>(walk, shared.tile, first_position, first_channel);
        if (partials != nullptr)
            for (int row = thread_row; row < kTile; row += kThreadRows) sum += shared.bias.values[row][lane];
        syncThreads();
    }
    if (partials == nullptr) return;
    shared.sums[thread_row][lane] = sum;
    syncThreads();
    if (thread_row > 0 || first_channel + lane >= walk.groups * walk.padded) return;
    for (int row = 1; row < kThreadRows; ++row) sum += shared.sums[row][lane];
    partials[static_cast<int64_t>(blockIdx.x) * walk.groups * walk.padded + first_channel + lane] = sum;
}

template <typename T>
__global__ void sumBias(Walk walk, const float* partials, int parts, T* gradient, bool accumulate) {
    const int channel = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (channel >= walk.groups * walk.group_channels) return;
    const int column = channel / walk.group_channels * walk.padded + channel % walk.group_channels;
    float sum = 0;
    for (int part = 0; part < parts; ++part)
        sum += partials[static_cast<int64_t>(part) * walk.groups * walk.padded + column];
    storeResult(gradient + channel, sum, accumulate);
}

template <typename A, typename T>
__global__ void __launch_bounds__(kThreads)
    epiloguePass(Walk walk, ResultReader results, elementwise::Epilogue epilogue, const T* bias) {
    auto& tile = sharedStorage<Tile>();
    const int first_channel = static_cast<int>(blockIdx.y) * kTile;
    for (int i = 0; i < walk.chunk; ++i) {
        const int first_position = (static_cast<int>(blockIdx.x) * walk.chunk + i) * kTile;
        readTile(walk, tile, first_position, first_channel, [&](const Position& at, int channel) -> float {
            const int64_t index = results.index(at.n, channel, at.in_image);
            return epilogue(sourceAt<A>(walk, at, channel), results.ratio(index), results.updated(index),
                            bias == nullptr ? 0 : toFloat(bias[channel]));
        });
        syncThreads();
        writeTile<T>(walk, tile, first_position, first_channel);
        syncThreads();
    }
}

Walk walkOver(int batch, const int (&size)[3], int groups, int channels, int padded, const View& source,
              const View& destination, int chunks) {
    Walk walk{};
    walk.batch = batch;
    for (int d = 0; d < 3; ++d) walk.size[d] = size[d];
    walk.groups = groups;
    walk.group_channels = channels / groups;
    walk.padded = padded;
    walk.source = source;
    walk.destination = destination;
    walk.source_channels_fast = source.strides[1] == 1;
    walk.destination_channels_fast = destination.strides[1] == 1;
    walk.tiles = ceilDivide(batch * volumeOf(size), kTile);
    walk.chunk = ceilDivide(walk.tiles, chunks);
    return walk;
}

dim3 gridOf(const Walk& walk) {
    return dim3(static_cast<unsigned>(ceilDivide(walk.tiles, walk.chunk)),
                static_cast<unsigned>(ceilDivide(walk.groups * walk.padded, kTile)));
}

constexpr int kChunksOfCopies = 1 << 20;  // one tile a block, until there are very many

}  // namespace

cudaError_t launchMaskedCopy(const ConvProblem& problem, const View& source, const View& destination,
                             int channels_padded, cudaStream_t stream) {
    const ConvShape& s = problem.shape;
    const Walk walk = walkOver(s.batch, s.input, s.groups, s.in_channels, channels_padded, source,
                               destination, kChunksOfCopies);
    return withElement(problem.type, [&](auto element) {
        return launch(maskedCopy<decltype(element)>, gridOf(walk), kThreads, sizeof(Tile), stream, walk,
                      inputMask(problem));
    });
}

size_t gradPartialBytes(const ConvShape& s) {
    // Padding rounds a group's channels up to a multiple of 8 at most.
    const auto channels =
        static_cast<size_t>(s.groups) * (static_cast<size_t>(s.out_channels / s.groups) + 7);
    return sizeof(float) * kGradientChunks * channels;
}

cudaError_t launchGradPrepare(const ConvProblem& problem, const View& grad_output, DataType dc_type,
                              const View& dc, int channels_padded, void* bias_gradient, bool accumulate,
                              void* partials, cudaStream_t stream) {
    const ConvShape& s = problem.shape;
    const Walk walk = walkOver(s.batch, s.output, s.groups, s.out_channels, channels_padded, grad_output, dc,
                               kGradientChunks);
    const dim3 grid = gridOf(walk);
    auto* sums = static_cast<float*>(bias_gradient == nullptr ? nullptr : partials);
    return withElement(problem.type, [&](auto element) {
        using T = decltype(element);
        const ResultReader results = resultReader(problem);
        const bool applies_mask = appliesMask(problem);
        const cudaError_t status = dc_type == DataType::f32
                                       ? launch(gradPrepare<T, float>, grid, kThreads, sizeof(BiasTile),
                                                stream, walk, results, applies_mask, sums)
                                       : launch(gradPrepare<T, T>, grid, kThreads, sizeof(BiasTile), stream,
                                                walk, results, applies_mask, sums);
        if (status != cudaSuccess || sums == nullptr) return status;
        return launch(sumBias<T>, dim3(ceilDivide(static_cast<unsigned>(s.out_channels), kThreads)), kThreads,
                      0, stream, walk, static_cast<const float*>(sums), static_cast<int>(grid.x),
                      static_cast<T*>(bias_gradient), accumulate);
    });
}

cudaError_t launchEpilogue(const ConvProblem& problem, DataType accumulator_type, const View& accumulator,
                           const void* bias, const View& output, cudaStream_t stream) {
    const ConvShape& s = problem.shape;
    const Walk walk =
        walkOver(s.batch, s.output, 1, s.out_channels, s.out_channels, accumulator, output, kChunksOfCopies);
    return withElement(problem.type, [&](auto element) {
        using T = decltype(element);
        const auto with = [&](auto kernel) {
            return launch(kernel, gridOf(walk), kThreads, sizeof(Tile), stream, walk, resultReader(problem),
                          epilogueOf(problem), static_cast<const T*>(bias));
        };
        return accumulator_type == DataType::f32 ? with(epiloguePass<float, T>) : with(epiloguePass<T, T>);
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
