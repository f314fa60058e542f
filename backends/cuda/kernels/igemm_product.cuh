// The gathered product on tensor cores: 128 rows by 32 warp_columns columns a block. Source and weights are
// copied asynchronously, 64 bytes of depth a stage; where the mask has a hole or the source ends, the copy
// writes zeros and reads nothing. A block whose results are all in holes makes no product.
#pragma once

#include "gather.cuh"
#include "igemm_tile.cuh"

namespace pconv::cuda {

struct IgemmParameters {
    Gather gather;
    int first_class;
    int depth, columns;  // of a group: padded channels of the source, channels of the destination
    int column_tiles;
    const void* source;         // channels have stride 1
    int64_t source_strides[4];  // N, D, H, W
    View destination;
    const void* weight;  // [groups][columns][taps][depth]
    const void* bias;
    MaskReader source_mask;      // binary, and every vector of channels has one plane
    const uint32_t* tile_flags;  // of the destination; null: unknown
    elementwise::Epilogue epilogue;
    ResultReader results;
    GradientMask destination_mask;
    bool accumulate;
    // Forward only: the depth may be cut into slices, in the grid's third dimension, whose sums go to
    // [slices][rows][groups * columns] and are finished by another launch. Null: one slice.
    int slice_steps;
    float* partials;
};

constexpr int kStageVectors = 4;
constexpr int kTapsInWord = 32;
constexpr int kMaxMaskPlanes = 4;
constexpr int kMaxTaps = 1024;

// Three stages of the wide block and four of the narrow ones are 48 KiB: two or more blocks fit sm_86.
__host__ __device__ constexpr int igemmStages(int warp_columns) {
    return warp_columns == 4 ? 3 : 4;
}

struct IgemmRow {
    int64_t offset;  // in the source, of the row's base; in the epilogue, in the destination
    int n;
    int position;  // in the destination's image; -1: there is no such row
};

template <int warp_columns>
struct IgemmStorage {
    static constexpr int kColumns = kWarpColumns * warp_columns;
    struct Stage {
        // Rows of 64 bytes; vector v of row r lies at v ^ (r / 2 % 4), so that eight rows meet no bank twice.
        alignas(128) unsigned char a[kBlockRows][kStageVectors][kVectorBytes];
        alignas(128) unsigned char b[kColumns][kStageVectors][kVectorBytes];
    };
    union {
        Stage stages[igemmStages(warp_columns)];
        IgemmRow rows[kBlockRows];  // before and after the product
    };
    // Which taps of each row are to be copied: [plane][word][row]; the launch adds what is needed.
    uint32_t taps[1];
};

__device__ __forceinline__ int swizzled(int row, int vector) {
    return vector ^ (row / 2 % kStageVectors);
}

// The position of a thread's vector in the depth: a tap and a channel.
struct IgemmDepth {
    int tap;       // counted over the taps of this block
    int index[3];  // of the tap, along the axes
    int channel;
    int64_t source;  // offset of the tap and the channel
    int64_t weight;
};

template <typename T, bool backward>
struct IgemmBlock {
    const IgemmParameters& p;
    GatherTaps taps[3];
    int tap_count;

    __device__ __forceinline__ explicit IgemmBlock(const IgemmParameters& parameters) : p(parameters) {
        gatherBlock<backward>(p.gather, backward ? p.first_class + static_cast<int>(blockIdx.z) : 0, taps);
        tap_count = taps[0].count * taps[1].count * taps[2].count;
    }

    __device__ __forceinline__ int rows() const {
        return p.gather.batch * taps[0].rows * taps[1].rows * taps[2].rows;
    }

    // Splits a row into its image and its position there.
    __device__ __forceinline__ int split(int row, int (&at)[3]) const {
        for (int d = 2; d >= 0; --d) {
            at[d] = row % taps[d].rows;
            row /= taps[d].rows;
        }
        return row;
    }

    __device__ __forceinline__ IgemmRow sourceRow(int row) const {
        int at[3];
        const int n = split(row, at);
        int64_t offset = n * p.source_strides[0];
        for (int d = 0; d < 3; ++d)
            offset += (at[d] * taps[d].base_step + taps[d].base) * p.source_strides[d + 1];
        return {offset, n, 0};
    }

    __device__ __forceinline__ IgemmRow destinationRow(int row) const {
        if (row >= rows()) return {0, 0, -1};
        int at[3];
        const int n = split(row, at);
        for (int d = 0; d < 3; ++d) at[d] = at[d] * taps[d].row_step + taps[d].phase;
        const GatherAxis* axes = p.gather.axes;
        return {positionOffset(p.destination, n, at[0], at[1], at[2]), n,
                (at[0] * axes[1].destination + at[1]) * axes[2].destination + at[2]};
    }

    // The taps that are copied for a row, as bits: those inside the source and, with `masked`, valid.
    __device__ uint32_t tapBits(int row, int first_tap, int plane, bool masked) const {
        if (row >= rows()) return 0;
        int base[3];
        const int n = split(row, base);
        int index[3];
        for (int d = 2; d >= 0; --d) {
            base[d] = base[d] * taps[d].base_step + taps[d].base;
            index[d] = first_tap % taps[d].count;
            first_tap /= taps[d].count;
        }
        uint32_t bits = 0;
        for (int i = 0; i < kTapsInWord && index[0] < taps[0].count; ++i) {
            int at[3];
            bool inside = true;
            for (int d = 0; d < 3; ++d) {
                at[d] = base[d] + index[d] * taps[d].offset_step;
                inside = inside && at[d] >= 0 && at[d] < taps[d].source;
            }
            const int position = (at[0] * taps[1].source + at[1]) * taps[2].source + at[2];
            if (inside && (!masked || p.source_mask.at(n, plane, position) != 0)) bits |= 1U << i;
            next(index);
        }
        return bits;
    }

    // The next tap; index[0] runs over the end.
    __device__ __forceinline__ void next(int (&index)[3]) const {
        if (++index[2] < taps[2].count) return;
        index[2] = 0;
        if (++index[1] < taps[1].count) return;
        index[1] = 0;
        ++index[0];
    }

    __device__ __forceinline__ void locate(IgemmDepth& at) const {
        at.source = at.channel;
        int tap = 0;
        for (int d = 0; d < 3; ++d) {
            at.source += at.index[d] * taps[d].offset_step * p.source_strides[d + 1];
            tap = tap * p.gather.axes[d].kernel + taps[d].first_tap + at.index[d] * taps[d].tap_step;
        }
        at.weight = static_cast<int64_t>(tap) * p.depth + at.channel;
    }

    // Moves on by `channels`.
    __device__ __forceinline__ void advance(IgemmDepth& at, int channels) const {
        at.channel += channels;
        at.source += channels;
        at.weight += channels;
        if (at.channel < p.depth) return;
        while (at.channel >= p.depth && at.tap < tap_count) {
            at.channel -= p.depth;
            ++at.tap;
            next(at.index);
        }
        locate(at);
    }
};

template <typename T>
__device__ __forceinline__ void storePair(T* to, float first, float second) {
    T both[2];
    setFloat(both[0], first);
    setFloat(both[1], second);
    if constexpr (sizeof(T) == 4)
        *reinterpret_cast<float2*>(to) = float2{both[0], both[1]};
    else
        *reinterpret_cast<uint32_t*>(to) =
            static_cast<uint32_t>(both[0].bits) | static_cast<uint32_t>(both[1].bits) << 16;
}

// The sums of one slice.
__device__ __forceinline__ void igemmStorePartials(const IgemmParameters& p, const WarpSums& sums,
                                                   int first_row, int rows, int group, int first_column) {
    const int channels = p.results.results.groups * p.results.channels_per_group;
    forEachPair(sums, [&](int row, int column, float first, float second) {
        row += first_row;
        column += first_column;
        if (row >= rows || column >= p.columns) return;
        float* to = p.partials + (static_cast<int64_t>(blockIdx.z) * rows + row) * channels +
                    group * p.columns + column;
        to[0] = first;
        if (column + 1 < p.columns) to[1] = second;
    });
}

// The final values of the sums, in registers, then stored.
template <typename T, bool backward>
__device__ __forceinline__ void igemmStore(const IgemmParameters& p, const WarpSums& sums,
                                           const IgemmRow* rows, int group, int first_column) {
    const int64_t channel_stride = p.destination.strides[1];
    int last_row = -1;
    int64_t result_at = 0;
    float ratio = 1;
    float updated = 1;
    forEachPair(sums, [&](int in_tile, int column, float first, float second) {
        column += first_column;
        const IgemmRow row = rows[in_tile];
        if (row.position < 0 || column >= p.columns) return;
        const int channel = group * p.columns + column;
        const bool both = column + 1 < p.columns;
        T* to = static_cast<T*>(p.destination.data) + row.offset + channel * channel_stride;
        float values[2] = {first, second};
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            if (i == 1 && !both) break;
            if (backward) {
                values[i] = p.destination_mask.apply(values[i], row.n, channel + i, row.position);
                if (p.accumulate) values[i] += toFloat(to[i * channel_stride]);
                continue;
            }
            // One ratio serves a row, unless there are groups of them.
            if (p.results.results.groups > 1 || in_tile != last_row) {
                result_at = p.results.index(row.n, channel + i, row.position);
                ratio = p.results.ratio(result_at);
                updated = p.results.updated(result_at);
                last_row = in_tile;
            }
            const float bias = p.bias == nullptr ? 0 : toFloat(static_cast<const T*>(p.bias)[channel + i]);
            values[i] = p.epilogue(values[i], ratio, updated, bias);
        }
        if (both && channel_stride == 1 && reinterpret_cast<uintptr_t>(to) % (2 * sizeof(T)) == 0) {
            storePair(to, values[0], values[1]);
            return;
        }
        setFloat(*to, values[0]);
        if (both) setFloat(to[channel_stride], values[1]);
    });
}

// Whether any output of the block's rows has u != 0, and whether any window lacks something.
__device__ __forceinline__ uint32_t igemmTileFlags(const uint32_t* flags, int first_row, int rows) {
    if (flags == nullptr) return kTileSomeValid | kTileSomeHole;
    uint32_t of_block = 0;
    for (int row = first_row; row < first_row + kBlockRows && row < rows; row += kTileOutputs)
        of_block |= flags[row / kTileOutputs];
    return of_block;
}

// Whether the mask lets any of the block's elements of a gradient through; all threads ask.
template <typename Block>
__device__ __forceinline__ bool igemmTileWanted(const Block& block, const MaskReader& mask, int first_row,
                                                int first_channel, int last_channel) {
    if (!mask.present()) return true;
    const int thread = static_cast<int>(threadIdx.x);
    const int planes_at_once = static_cast<int>(blockDim.x) / kBlockRows;
    const IgemmRow row = block.destinationRow(first_row + thread % kBlockRows);
    const int last_plane = mask.planeOf(last_channel);
    bool valid = false;
    for (int plane = mask.planeOf(first_channel) + thread / kBlockRows;
         row.position >= 0 && plane <= last_plane && !valid; plane += planes_at_once)
        valid = mask.at(row.n, plane, row.position) != 0;
    return syncThreadsOr(valid);
}

template <typename T>
__device__ __forceinline__ void igemmStoreZeros(const IgemmParameters& p, const IgemmRow* rows,
                                                int first_channel, int last_channel) {
    const int channels = last_channel - first_channel + 1;
    const int64_t channel_stride = p.destination.strides[1];
    // Neighbouring threads write neighbours in memory.
    const bool channels_fast = channel_stride == 1;
    for (int i = static_cast<int>(threadIdx.x); i < kBlockRows * channels;
         i += static_cast<int>(blockDim.x)) {
        const IgemmRow& row = rows[channels_fast ? i / channels : i % kBlockRows];
        const int channel = first_channel + (channels_fast ? i % channels : i / kBlockRows);
        if (row.position >= 0)
            setFloat(static_cast<T*>(p.destination.data)[row.offset + channel * channel_stride], 0);
    }
}

template <typename T, int warp_columns, bool backward>
__global__ void __launch_bounds__(64 * warp_columns, warp_columns == 4 ? 2 : 4)
    igemmProduct(IgemmParameters p) {
    using Storage = IgemmStorage<warp_columns>;
    constexpr int kThreads = 64 * warp_columns;
    constexpr int kStages = igemmStages(warp_columns);
    constexpr int kStageDepth = kStageVectors * kVector<T>;
    constexpr int kRowsAtOnce = kThreads / kStageVectors;
    constexpr int kSourceCopies = kBlockRows / kRowsAtOnce;
    constexpr int kWeightCopies = Storage::kColumns / kRowsAtOnce;
    auto& shared = sharedStorage<Storage>();
    const IgemmBlock<T, backward> block(p);
    const int rows = block.rows();
    const int first_row = static_cast<int>(blockIdx.x) * kBlockRows;
    if (first_row >= rows) return;
    const int group = static_cast<int>(blockIdx.y) / p.column_tiles;
    const int first_column = static_cast<int>(blockIdx.y) % p.column_tiles * Storage::kColumns;
    const int thread = static_cast<int>(threadIdx.x);
    const int lane = thread % 32;
    const int warp = thread / 32;
    const uint32_t flags = igemmTileFlags(p.tile_flags, first_row, rows);
    if constexpr (backward) {
        const int left = p.columns - first_column;
        const int first_channel = group * p.columns + first_column;
        const int last_channel = first_channel + (left < Storage::kColumns ? left : Storage::kColumns) - 1;
        if (!igemmTileWanted(block, p.destination_mask.reader, first_row, first_channel, last_channel)) {
            if (p.accumulate) return;  // there is nothing to add
            for (int row = thread; row < kBlockRows; row += kThreads)
                shared.rows[row] = block.destinationRow(first_row + row);
            syncThreads();
            igemmStoreZeros<T>(p, shared.rows, first_channel, last_channel);
            return;
        }
    }
    const bool masked = p.source_mask.present() && (flags & kTileSomeHole) != 0;
    const int planes = masked ? p.source_mask.mask.plane_count : 1;
    const int words = ceilDivide(block.tap_count, kTapsInWord);
    int steps = (flags & kTileSomeValid) == 0 ? 0 : ceilDivide(block.tap_count * p.depth, kStageDepth);
    int first_step = 0;
    if (!backward && p.partials != nullptr) {
        first_step = static_cast<int>(blockIdx.z) * p.slice_steps;
        steps = steps - first_step < p.slice_steps ? steps - first_step : p.slice_steps;
    }

    for (int row = thread; row < kBlockRows; row += kThreads)
        shared.rows[row] = block.sourceRow(first_row + row);
    if (steps > 0)
        for (int i = thread; i < planes * words * kBlockRows; i += kThreads)
            shared.taps[i] = block.tapBits(first_row + i % kBlockRows, i / kBlockRows % words * kTapsInWord,
                                           i / kBlockRows / words, masked);
    syncThreads();
    const int vector = thread % kStageVectors;
    const int copy_row = thread / kStageVectors;
    const T* sources[kSourceCopies];
#pragma unroll
    for (int i = 0; i < kSourceCopies; ++i)
        sources[i] = static_cast<const T*>(p.source) + shared.rows[copy_row + i * kRowsAtOnce].offset +
                     group * p.depth;
    const int64_t weight_pitch =
        static_cast<int64_t>(p.gather.axes[0].kernel * p.gather.axes[1].kernel * p.gather.axes[2].kernel) *
        p.depth;
    const T* weights =
        static_cast<const T*>(p.weight) + static_cast<int64_t>(group) * p.columns * weight_pitch;
    syncThreads();

    IgemmDepth at{};
    block.locate(at);
    block.advance(at, first_step * kStageDepth + vector * kVector<T>);
    const auto copyStage = [&](int stage) {
        const bool within = at.tap < block.tap_count;
        int word = at.tap / kTapsInWord;
        if (planes > 1 && within)
            word += p.source_mask.mask.plane_of_channel[group * p.depth + at.channel] * words;
        auto& to = shared.stages[stage];
#pragma unroll
        for (int i = 0; i < kSourceCopies; ++i) {
            const int row = copy_row + i * kRowsAtOnce;
            const bool valid =
                within && (shared.taps[word * kBlockRows + row] >> (at.tap % kTapsInWord) & 1U) != 0;
            copyAsync16(to.a[row][swizzled(row, vector)], valid ? sources[i] + at.source : p.source, valid);
        }
#pragma unroll
        for (int i = 0; i < kWeightCopies; ++i) {
            const int row = copy_row + i * kRowsAtOnce;
            const int column = first_column + row;
            const bool valid = within && column < p.columns;
            copyAsync16(to.b[row][swizzled(row, vector)],
                        valid ? weights + column * weight_pitch + at.weight : p.weight, valid);
        }
        block.advance(at, kStageDepth);
    };

    WarpSums sums = {};
#pragma unroll
    for (int stage = 0; stage < kStages - 1; ++stage) {
        if (stage < steps) copyStage(stage);
        commitCopies();
    }
    int reading = 0;
    int writing = kStages - 1;
    for (int step = 0; step < steps; ++step) {
        waitCopies<kStages - 2>();
        syncThreads();
        if (step + kStages - 1 < steps) copyStage(writing);
        commitCopies();
        const auto& stage = shared.stages[reading];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            uint32_t a[kMultiplyRows][4];
            uint32_t b[kMultiplyColumns][2];
#pragma unroll
            for (int i = 0; i < kMultiplyRows; ++i) {
                const int row = warp % 2 * kWarpRows + i * 16 + lane % 16;
                loadMatrices(a[i], stage.a[row][swizzled(row, half * 2 + lane / 16)]);
                if constexpr (sizeof(T) == 4)
                    for (uint32_t& value : a[i]) value = roundToTf32(value);
            }
#pragma unroll
            for (int j = 0; j < kMultiplyColumns; j += 2) {
                const int row = warp / 2 * kWarpColumns + j * 8 + lane / 16 * 8 + lane % 8;
                uint32_t both[4];
                loadMatrices(both, stage.b[row][swizzled(row, half * 2 + lane / 8 % 2)]);
                b[j][0] = both[0];
                b[j][1] = both[1];
                b[j + 1][0] = both[2];
                b[j + 1][1] = both[3];
            }
            multiplyWarp<T>(sums, a, b);
        }
        reading = reading + 1 == kStages ? 0 : reading + 1;
        writing = writing + 1 == kStages ? 0 : writing + 1;
    }
    waitCopies<0>();
    if (!backward && p.partials != nullptr) {
        igemmStorePartials(p, sums, first_row, rows, group, first_column);
        return;
    }
    syncThreads();
    for (int row = thread; row < kBlockRows; row += kThreads)
        shared.rows[row] = block.destinationRow(first_row + row);
    syncThreads();
    igemmStore<T, backward>(p, sums, shared.rows, group, first_column);
}

}  // namespace pconv::cuda
