// The gathered product in fused multiply-adds of f32: 128 rows by BN columns a block.
#pragma once

#include "gather.cuh"
#include "kernel_support.cuh"

namespace pconv::cuda {

struct DirectParameters {
    Gather gather;
    int first_class;
    int groups, depth, columns;  // of one group: channels of the source and of the destination
    int column_tiles;
    View source, destination;
    const float* weight;  // [groups][taps][depth][columns]
    const void* bias;
    MaskReader source_mask;
    elementwise::Epilogue epilogue;
    ResultReader results;
    GradientMask destination_mask;
    bool accumulate;
};

// Where a row lies in the source and the destination.
struct DirectRow {
    int n, base[3], destination[3];
    bool inside;
};

__device__ __forceinline__ DirectRow directRow(const GatherTaps (&taps)[3], int batch, int row) {
    DirectRow at;
    int in_image[3];
    for (int d = 2; d >= 0; --d) {
        in_image[d] = row % taps[d].rows;
        row /= taps[d].rows;
        at.base[d] = in_image[d] * taps[d].base_step + taps[d].base;
        at.destination[d] = in_image[d] * taps[d].row_step + taps[d].phase;
    }
    at.n = row;
    at.inside = row < batch;
    return at;
}

// Writes one element of the result.
template <typename T, bool backward>
__device__ __forceinline__ void directStore(const DirectParameters& p, const DirectRow& row, int channel,
                                            float sum) {
    const GatherAxis* axes = p.gather.axes;
    const int position =
        (row.destination[0] * axes[1].destination + row.destination[1]) * axes[2].destination +
        row.destination[2];
    T* to = static_cast<T*>(p.destination.data) +
            positionOffset(p.destination, row.n, row.destination[0], row.destination[1], row.destination[2]) +
            channel * p.destination.strides[1];
    if (backward) {
        storeResult(to, p.destination_mask.apply(sum, row.n, channel, position), p.accumulate);
        return;
    }
    const int64_t at = p.results.index(row.n, channel, position);
    const float bias = p.bias == nullptr ? 0 : toFloat(static_cast<const T*>(p.bias)[channel]);
    setFloat(*to, p.epilogue(sum, p.results.ratio(at), p.results.updated(at), bias));
}

// Steps through (tap, channel) pairs, channels first. All threads of a block hold the same.
struct DirectDepth {
    int tap[3] = {0, 0, 0};
    int channel = 0;

    // Whether the tap changed.
    __device__ __forceinline__ bool advance(const GatherTaps (&taps)[3], int depth) {
        if (++channel < depth) return false;
        channel = 0;
        for (int d = 2; d >= 0; --d) {
            if (++tap[d] < taps[d].count) break;
            if (d > 0) tap[d] = 0;
        }
        return true;
    }
};

__device__ __forceinline__ int directTap(const GatherTaps (&taps)[3], const GatherAxis* axes,
                                         const int (&tap)[3]) {
    int index = 0;
    for (int d = 0; d < 3; ++d)
        index = index * axes[d].kernel + taps[d].first_tap + tap[d] * taps[d].tap_step;
    return index;
}

// One value a thread at a time, of its row: what the mask lets through.
template <typename S>
struct DirectSource {
    const View& view;
    const MaskReader& mask;
    int64_t offset = 0;
    int position = 0;
    bool inside = false;
    int plane = -1;
    float m = 0;

    __device__ __forceinline__ DirectSource(const View& of, const MaskReader& by) : view(of), mask(by) {}

    __device__ __forceinline__ void moveTo(const GatherTaps (&taps)[3], const DirectRow& row,
                                           const int (&tap)[3]) {
        int at[3];
        inside = row.inside;
        for (int d = 0; d < 3; ++d) {
            at[d] = row.base[d] + tap[d] * taps[d].offset_step;
            inside = inside && at[d] >= 0 && at[d] < taps[d].source;
        }
        position = (at[0] * taps[1].source + at[1]) * taps[2].source + at[2];
        offset = positionOffset(view, row.n, at[0], at[1], at[2]);
        plane = -1;
        m = 1;
    }
    __device__ __forceinline__ float value(int n, int channel) {
        if (!inside) return 0;
        if (mask.present()) {
            const int of_channel = mask.planeOf(channel);
            if (of_channel != plane) m = mask.at(n, of_channel, position);
            plane = of_channel;
            if (m == 0) return 0;
        }
        const float x = toFloat(static_cast<const S*>(view.data)[offset + channel * view.strides[1]]);
        return mask.mask.type == MaskType::fractional && mask.present() ? x * m : x;
    }
};

constexpr int kDirectRows = 128;
constexpr int kDirectDepth = 8;

// T: element of the destination, S: of the source. A thread makes TM x TN elements.
template <typename T, typename S, int BN, int TM, int TN, bool backward>
__global__ void __launch_bounds__(kDirectRows) directProduct(DirectParameters p) {
    struct Storage {
        alignas(16) float a[kDirectDepth][kDirectRows];
        alignas(16) float b[kDirectDepth][BN];
    };
    static_assert(kDirectRows / TM * (BN / TN) == kDirectRows, "as many threads as rows");
    auto& shared = sharedStorage<Storage>();
    GatherTaps taps[3];
    gatherBlock<backward>(p.gather, p.first_class + static_cast<int>(blockIdx.z), taps);
    const int thread = static_cast<int>(threadIdx.x);
    const int first_row = static_cast<int>(blockIdx.x) * kDirectRows;
    if (first_row >= p.gather.batch * taps[0].rows * taps[1].rows * taps[2].rows) return;
    const int group = static_cast<int>(blockIdx.y) / p.column_tiles;
    const int first_column = static_cast<int>(blockIdx.y) % p.column_tiles * BN;
    const DirectRow row = directRow(taps, p.gather.batch, first_row + thread);
    const int taps_in_all = taps[0].count * taps[1].count * taps[2].count;
    const int steps = ceilDivide(taps_in_all * p.depth, kDirectDepth);
    const int all_taps = p.gather.axes[0].kernel * p.gather.axes[1].kernel * p.gather.axes[2].kernel;
    const float* weight = p.weight + static_cast<int64_t>(group) * all_taps * p.depth * p.columns;

    float sums[TM][TN] = {};
    DirectDepth at;
    DirectSource<S> source(p.source, p.source_mask);
    source.moveTo(taps, row, at.tap);
    const int thread_m = thread % (kDirectRows / TM);
    const int thread_n = thread / (kDirectRows / TM);
    // What the next step wants is on its way from memory while this one is multiplied.
    constexpr int kThreadsInRow = kDirectRows / BN;
    float next_a[kDirectDepth] = {};
    float next_b[kDirectDepth / kThreadsInRow] = {};
    const int column = first_column + thread % BN;
    const auto load = [&] {
#pragma unroll
        for (int k = 0; k < kDirectDepth; ++k) {
            const bool within = at.tap[0] < taps[0].count;
            next_a[k] = within ? source.value(row.n, group * p.depth + at.channel) : 0;
            if (k % kThreadsInRow == thread / BN) {
                const int64_t from =
                    static_cast<int64_t>(directTap(taps, p.gather.axes, at.tap)) * p.depth + at.channel;
                next_b[k / kThreadsInRow] =
                    within && column < p.columns ? weight[from * p.columns + column] : 0;
            }
            if (within && at.advance(taps, p.depth)) source.moveTo(taps, row, at.tap);
        }
    };
    if (steps > 0) load();
    for (int step = 0; step < steps; ++step) {
#pragma unroll
        for (int k = 0; k < kDirectDepth; ++k) shared.a[k][thread] = next_a[k];
#pragma unroll
        for (int k = 0; k < kDirectDepth / kThreadsInRow; ++k)
            shared.b[k * kThreadsInRow + thread / BN][thread % BN] = next_b[k];
        syncThreads();
        if (step + 1 < steps) load();
#pragma unroll
        for (int k = 0; k < kDirectDepth; ++k) {
            float a[TM];
            float b[TN];
#pragma unroll
            for (int i = 0; i < TM; ++i)
                a[i] = shared.a[k][i / 4 * (kDirectRows * 4 / TM) + thread_m * 4 + i % 4];
#pragma unroll
            for (int j = 0; j < TN; ++j) b[j] = shared.b[k][thread_n * TN + j];
#pragma unroll
            for (int i = 0; i < TM; ++i)
#pragma unroll
                for (int j = 0; j < TN; ++j) sums[i][j] += a[i] * b[j];
        }
        syncThreads();
    }
#pragma unroll
    for (int i = 0; i < TM; ++i) {
        const DirectRow to = directRow(taps, p.gather.batch,
                                       first_row + i / 4 * (kDirectRows * 4 / TM) + thread_m * 4 + i % 4);
        if (!to.inside) continue;
#pragma unroll
        for (int j = 0; j < TN; ++j) {
            const int to_column = first_column + thread_n * TN + j;
            if (to_column < p.columns)
                directStore<T, backward>(p, to, group * p.columns + to_column, sums[i][j]);
        }
    }
}

// For groups of few channels, where a tile would stay empty: one thread an element.
template <typename T, typename S, bool backward>
__global__ void directElement(DirectParameters p) {
    GatherTaps taps[3];
    gatherBlock<backward>(p.gather, p.first_class + static_cast<int>(blockIdx.z), taps);
    const DirectRow row =
        directRow(taps, p.gather.batch, static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x));
    if (!row.inside) return;
    const int column = static_cast<int>(blockIdx.y) % p.columns;
    const int group = static_cast<int>(blockIdx.y) / p.columns;
    const int all_taps = p.gather.axes[0].kernel * p.gather.axes[1].kernel * p.gather.axes[2].kernel;
    const float* weight = p.weight + static_cast<int64_t>(group) * all_taps * p.depth * p.columns + column;
    float sum = 0;
    DirectDepth at;
    DirectSource<S> source(p.source, p.source_mask);
    const int steps = taps[0].count * taps[1].count * taps[2].count * p.depth;
    for (int step = 0; step < steps; ++step) {
        if (at.channel == 0) source.moveTo(taps, row, at.tap);
        const int64_t from =
            static_cast<int64_t>(directTap(taps, p.gather.axes, at.tap) * p.depth + at.channel);
        sum += source.value(row.n, group * p.depth + at.channel) * weight[from * p.columns];
        at.advance(taps, p.depth);
    }
    directStore<T, backward>(p, row, group * p.columns + column, sum);
}

}  // namespace pconv::cuda
