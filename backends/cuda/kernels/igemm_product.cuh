// The gathered product on tensor cores: 128 rows by 32 warp_columns columns a block. Source and weights are
// copied asynchronously, 64 bytes of depth a stage; where the mask has a hole or the source ends, the copy
// writes zeros and reads nothing. A block whose results are all in holes makes no product.
#pragma once

#include "gather.cuh"
#include "igemm_epilogue.cuh"

namespace pconv::cuda {

struct IgemmParameters {
    Gather gather;
    int first_class;
    int groups;
    int depth, columns;  // of a group: padded channels of the source, channels of the destination
    int column_tiles;
    int weight_pitch;            // of a column: taps * depth
    const void* source;          // channels have stride 1
    int64_t source_strides[4];   // N, D, H, W
    int64_t tap_steps[3];        // from a tap's source to the next one's, along each axis
    const void* weight;          // [groups][columns][taps][depth]
    MaskReader source_mask;      // forward: binary, and every vector of channels has one plane
    const uint32_t* tile_flags;  // of the destination; null: unknown
    int slice_steps;             // of the depth, where it is cut
    IgemmOutput output;
};

constexpr int kStageVectors = 4;
constexpr int kTapsInWord = 32;
constexpr int kMaxMaskPlanes = 4;
constexpr int kMaxTaps = 1024;

// Three stages of the wide block and four of the narrow ones are 48 KiB: two or more blocks fit sm_86.
__host__ __device__ constexpr int igemmStages(int warp_columns) {
    return warp_columns == 4 ? 3 : 4;
}

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
        int64_t sources[kBlockRows];  // before the product: offsets of the rows' bases
        IgemmOutputTile output;       // after it
    };
    static_assert(sizeof(IgemmOutputTile) <= sizeof(Stage) * igemmStages(warp_columns),
                  "the epilogue needs no more than the product");
    // Which taps of each row are to be copied: [plane][word][row]; the launch adds what is needed.
    uint32_t taps[1];
};

// Where a vector of a row lies in its operand, in bytes. As eight rows lie alike, a row that is a multiple of
// eight further on lies as many times 64 bytes behind, and `vector + 2` lies at the place with bit 5
// inverted.
__device__ __forceinline__ unsigned stagePlace(unsigned row, unsigned vector) {
    return (row * kStageVectors + (vector ^ (row / 2 % kStageVectors))) * kVectorBytes;
}

// What a block makes: `kColumns` columns at most.
template <typename T, int kColumns, bool backward>
struct IgemmBlock {
    const IgemmParameters& p;
    int first_row, group, first_column;
    GatherTaps taps[3];
    int tap_count;
    int weight_tap;  // the first, in the weights

    __device__ __forceinline__ IgemmBlock(const IgemmParameters& parameters, const BlockIndex& index)
        : p(parameters),
          first_row(index.x * kBlockRows),
          group(index.y / p.column_tiles),
          first_column(index.y % p.column_tiles * kColumns) {
        gatherBlock<backward>(p.gather, backward ? p.first_class + index.z : 0, taps);
        tap_count = taps[0].count * taps[1].count * taps[2].count;
        weight_tap = 0;
        for (int d = 0; d < 3; ++d) weight_tap = weight_tap * p.gather.axes[d].kernel + taps[d].first_tap;
    }

    __device__ __forceinline__ int firstChannel() const { return group * p.columns + first_column; }
    __device__ __forceinline__ int columns() const {
        const int left = p.columns - first_column;
        return left < kColumns ? left : kColumns;
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

    __device__ __forceinline__ int64_t sourceOffset(int row) const {
        int at[3];
        const int n = split(row, at);
        int64_t offset = n * p.source_strides[0];
        for (int d = 0; d < 3; ++d)
            offset += (at[d] * taps[d].base_step + taps[d].base) * p.source_strides[d + 1];
        return offset;
    }

    __device__ __forceinline__ IgemmOutputRow destinationRow(int row) const {
        if (row >= rows()) return {0, 0, -1, 0, 0};
        int at[3];
        const int n = split(row, at);
        for (int d = 0; d < 3; ++d) at[d] = at[d] * taps[d].row_step + taps[d].phase;
        const GatherAxis* axes = p.gather.axes;
        return {positionOffset(p.output.view, n, at[0], at[1], at[2]), n,
                (at[0] * axes[1].destination + at[1]) * axes[2].destination + at[2], 1, 1};
    }

    // Whether the mask lets any of the elements of a gradient through; all threads ask.
    __device__ __forceinline__ bool isWanted() const {
        const MaskReader& mask = p.output.mask.reader;
        if (!mask.present()) return true;
        const int thread = static_cast<int>(threadIdx.x);
        const int planes_at_once = static_cast<int>(blockDim.x) / kBlockRows;
        const IgemmOutputRow row = destinationRow(first_row + thread % kBlockRows);
        const int last_plane = mask.planeOf(firstChannel() + columns() - 1);
        bool valid = false;
        for (int plane = mask.planeOf(firstChannel()) + thread / kBlockRows;
             row.position >= 0 && plane <= last_plane && !valid; plane += planes_at_once)
            valid = mask.at(row.n, plane, row.position) != 0;
        return syncThreadsOr(valid);
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
};

// Whether any output of the block's rows has u != 0, and whether any window lacks something.
__device__ __forceinline__ uint32_t igemmTileFlags(const uint32_t* flags, int first_row, int rows) {
    if (flags == nullptr) return kTileSomeValid | kTileSomeHole;
    uint32_t of_block = 0;
    for (int row = first_row; row < first_row + kBlockRows && row < rows; row += kTileOutputs)
        of_block |= flags[row / kTileOutputs];
    return of_block;
}

// From the sums to the destination, by 64 columns. All threads come, when no copy is under way.
template <typename T, bool backward, typename Block>
__device__ __forceinline__ void igemmStore(const Block& block, const WarpSums& sums, IgemmOutputTile& tile) {
    const IgemmOutput& out = block.p.output;
    const int thread = static_cast<int>(threadIdx.x);
    const bool partial = !backward && out.partials != nullptr;
    const int first_channel = block.firstChannel();
    const int columns = block.columns();
    const MaskReader& mask = out.mask.reader;
    const bool by_channel =
        backward ? mask.present() && mask.planeOf(first_channel) != mask.planeOf(first_channel + columns - 1)
                 : out.results.channels_per_group < block.p.columns;
    syncThreads();
    if (!partial)
        for (int row = thread; row < kBlockRows; row += static_cast<int>(blockDim.x)) {
            IgemmOutputRow of_row = block.destinationRow(block.first_row + row);
            if (of_row.position >= 0 && !by_channel)
                readFactors<backward>(out, of_row.n, first_channel, of_row.position, of_row.first,
                                      of_row.second);
            tile.rows[row] = of_row;
        }
    const auto storeColumns = [&](auto layout, int channel, int count, bool mine) {
        constexpr bool rows_fast = decltype(layout)::value;
        if (mine) keepSums<rows_fast, T>(tile, sums);
        syncThreads();
        if constexpr (!backward && !rows_fast)
            if (partial) {
                storePartials<T>(out, tile, block.first_row, block.rows(), block.p.columns * block.p.groups,
                                 channel, count);
                return;
            }
        const bool finished = by_channel || (!backward && out.epilogue.activation == Activation::gelu);
        if (finished) finishTile<T, backward, rows_fast>(out, tile, by_channel, channel, count);
        storeTile<T, backward, rows_fast>(out, tile, finished, channel, count);
    };
#pragma unroll 1
    for (int done = 0; done < columns; done += kSumColumns) {
        if (done > 0) syncThreads();
        const bool mine = thread / (2 * 32) * kWarpColumns / kSumColumns * kSumColumns == done;
        const int count = columns - done < kSumColumns ? columns - done : kSumColumns;
        if (out.rows_fast && !partial)
            storeColumns(std::true_type{}, first_channel + done, count, mine);
        else
            storeColumns(std::false_type{}, first_channel + done, count, mine);
    }
}

template <typename T, int warp_columns, bool backward>
__global__ void __launch_bounds__(64 * warp_columns, warp_columns == 4 ? 2 : 3)
    igemmProduct(IgemmParameters p) {
    using Storage = IgemmStorage<warp_columns>;
    constexpr int kThreads = 64 * warp_columns;
    constexpr int kStages = igemmStages(warp_columns);
    constexpr int kStageDepth = kStageVectors * kVector<T>;
    constexpr int kRowsAtOnce = kThreads / kStageVectors;
    constexpr int kSourceCopies = kBlockRows / kRowsAtOnce;
    constexpr int kWeightCopies = Storage::kColumns / kRowsAtOnce;
    auto& shared = sharedStorage<Storage>();
    using Block = IgemmBlock<T, Storage::kColumns, backward>;
    const Block block(p, blockIndex());
    const int first_row = block.first_row;
    const int rows = block.rows();
    if (first_row >= rows) return;
    const int group = block.group;
    const int thread = static_cast<int>(threadIdx.x);
    const uint32_t flags = igemmTileFlags(p.tile_flags, first_row, rows);
    const bool wanted = backward ? block.isWanted() : (flags & kTileSomeValid) != 0;
    if (backward && !wanted && p.output.accumulate) return;  // there is nothing to add
    const bool masked = !backward && p.source_mask.present() && (flags & kTileSomeHole) != 0;
    const int planes = masked ? p.source_mask.mask.plane_count : 1;
    const int words = ceilDivide(block.tap_count, kTapsInWord);
    int steps = wanted ? ceilDivide(block.tap_count * p.depth, kStageDepth) : 0;
    int first_step = 0;
    if (!backward && p.output.partials != nullptr) {
        first_step = static_cast<int>(blockIdx.z) * p.slice_steps;
        steps = steps - first_step < p.slice_steps ? steps - first_step : p.slice_steps;
    }

    for (int row = thread; row < kBlockRows; row += kThreads)
        shared.sources[row] = block.sourceOffset(first_row + row);
    if (steps > 0)
        for (int i = thread; i < planes * words * kBlockRows; i += kThreads)
            shared.taps[i] = block.tapBits(first_row + i % kBlockRows, i / kBlockRows % words * kTapsInWord,
                                           i / kBlockRows / words, masked);
    syncThreads();
    // What a thread copies: the same vector of some rows, of one stage after another. Its addresses move on
    // by additions; what depends on the tap is asked where a tap ends.
    const unsigned vector = threadIdx.x % kStageVectors;
    const unsigned copy_row = threadIdx.x / kStageVectors;
    unsigned copy_place = stagePlace(copy_row, vector);
    keepInRegister(copy_place);
    const T* sources[kSourceCopies];
#pragma unroll
    for (int i = 0; i < kSourceCopies; ++i)
        sources[i] =
            static_cast<const T*>(p.source) + shared.sources[copy_row + i * kRowsAtOnce] + group * p.depth;
    const int column = block.first_column + static_cast<int>(copy_row);
    const T* weight = static_cast<const T*>(p.weight) +
                      (static_cast<int64_t>(group) * p.columns + column) * p.weight_pitch +
                      block.weight_tap * p.depth;
    const int64_t weight_step = static_cast<int64_t>(kRowsAtOnce) * p.weight_pitch;
    uint32_t columns_valid = 0;  // a bit for each copy, those of the source first
#pragma unroll
    for (int i = 0; i < kWeightCopies; ++i)
        columns_valid |= (column + i * kRowsAtOnce < p.columns ? 1U : 0U) << (kSourceCopies + i);
    syncThreads();

    int channel = 0;
    int tap = 0;
    int tap_h = 0;
    int tap_w = 0;
    uint32_t valid = 0;
    const auto setValid = [&] {
        valid = 0;
        if (tap >= block.tap_count) return;
        int word = tap / kTapsInWord;
        if (planes > 1) word += p.source_mask.mask.plane_of_channel[group * p.depth + channel] * words;
        valid = columns_valid;
#pragma unroll
        for (int i = 0; i < kSourceCopies; ++i)
            valid |= (shared.taps[word * kBlockRows + static_cast<int>(copy_row) + i * kRowsAtOnce] >>
                          (tap % kTapsInWord) &
                      1U)
                     << i;
    };
    const auto nextTap = [&] {
        ++tap;
        channel -= p.depth;
        int64_t step = p.tap_steps[2] - p.depth;
        int taps = block.taps[2].tap_step - 1;
        if (++tap_w == block.taps[2].count) {
            tap_w = 0;
            step += p.tap_steps[1] - block.taps[2].count * p.tap_steps[2];
            const int kernel = p.gather.axes[2].kernel;
            taps += block.taps[1].tap_step * kernel - block.taps[2].count * block.taps[2].tap_step;
            if (++tap_h == block.taps[1].count) {
                tap_h = 0;
                step += p.tap_steps[0] - block.taps[1].count * p.tap_steps[1];
                taps += (block.taps[0].tap_step * p.gather.axes[1].kernel -
                         block.taps[1].count * block.taps[1].tap_step) *
                        kernel;
            }
        }
#pragma unroll
        for (int i = 0; i < kSourceCopies; ++i) sources[i] += step;
        if (backward) weight += taps * p.depth;  // forward all taps are taken, in their order
    };
    const auto moveOn = [&](int channels) {
        channel += channels;
        weight += channels;
#pragma unroll
        for (int i = 0; i < kSourceCopies; ++i) sources[i] += channels;
        if (channel < p.depth && planes == 1) return;
#pragma unroll 1
        while (channel >= p.depth && tap < block.tap_count) nextTap();
        setValid();
    };
    moveOn(first_step * kStageDepth + static_cast<int>(vector) * kVector<T>);
    setValid();
    auto* const stages = reinterpret_cast<unsigned char*>(shared.stages);
    constexpr unsigned kStageBytes = sizeof(typename Storage::Stage);
    constexpr unsigned kRowBytes = kStageVectors * kVectorBytes;
    constexpr unsigned kWeightPlace = sizeof(Storage::Stage::a);
    const auto copyStage = [&](unsigned stage) {
        unsigned char* const to = stages + (stage + copy_place);
#pragma unroll
        for (int i = 0; i < kSourceCopies; ++i)
            copyAsync16(to + i * kRowsAtOnce * kRowBytes, sources[i], (valid >> i & 1U) != 0);
#pragma unroll
        for (int i = 0; i < kWeightCopies; ++i)
            copyAsync16(to + kWeightPlace + i * kRowsAtOnce * kRowBytes, weight + i * weight_step,
                        (valid >> (kSourceCopies + i) & 1U) != 0);
        moveOn(kStageDepth);
    };

    WarpSums sums = {};
    const unsigned lane = threadIdx.x % 32;
    const unsigned warp = threadIdx.x / 32;
    unsigned a_place = stagePlace(warp % 2 * kWarpRows + lane % 16, lane / 16);
    unsigned b_place =
        kWeightPlace + stagePlace(warp / 2 * kWarpColumns + lane / 16 * 8 + lane % 8, lane / 8 % 2);
    keepInRegister(a_place);
    keepInRegister(b_place);
    const int warp_rows = rows - first_row - static_cast<int>(warp % 2) * kWarpRows;
    int left = steps;  // to be multiplied
#pragma unroll 1       // copying is long
    for (int stage = 0; stage < kStages - 1; ++stage) {
        if (stage < left) copyStage(stage * kStageBytes);
        commitCopies();
    }
    unsigned writing = (kStages - 1) * kStageBytes;
#pragma unroll 1
    for (unsigned reading = 0; left > 0; --left) {
        waitCopies<kStages - 2>();
        syncThreads();
        if (left >= kStages) copyStage(writing);
        commitCopies();
        multiplyStage<T>(
            sums,
            [&](int i, int deep, uint32_t(&a)[4]) {
                loadMatrices(a, stages + ((reading + a_place) ^ (deep * 32U)) + i * 16 * kRowBytes);
                if constexpr (sizeof(T) == 4)
                    for (uint32_t& value : a) value = roundToTf32(value);
            },
            [&](int j, int deep, uint32_t(&one)[2], uint32_t(&two)[2]) {
                uint32_t both[4];
                loadMatrices(both, stages + ((reading + b_place) ^ (deep * 32U)) + j * 8 * kRowBytes);
                one[0] = both[0];
                one[1] = both[1];
                two[0] = both[2];
                two[1] = both[3];
            },
            warp_rows);
        writing = reading;
        reading = reading == (kStages - 1) * kStageBytes ? 0 : reading + kStageBytes;
    }
    waitCopies<0>();
    igemmStore<T, backward>(Block(p, blockIndex()), sums, shared.output);
}

}  // namespace pconv::cuda
