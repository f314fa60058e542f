// The weight gradient of cuda:igemm: dc transposed times the input gathered under every tap, in slices of all
// outputs. Both operands lie in shared memory with the outputs as rows, and are transposed on the way to the
// tensor cores.
#include "igemm_support.cuh"
#include "weight_gradient.cuh"

namespace pconv::cuda {

namespace {

constexpr unsigned kThreads = 128;
constexpr int kColumns = 2 * kWarpColumns;  // of a block: (tap, input channel)
constexpr int kStages = 3;

template <typename T>
constexpr int kStageOutputs = 2 * (sizeof(T) == 4 ? 8 : 16);  // two multiplies

// Eight elements of padding: eight rows, or four rows of eight columns, meet no bank twice.
constexpr int kPadding = 8;

template <typename T>
struct Storage {
    struct Stage {
        alignas(128) T a[kStageOutputs<T>][kBlockRows + kPadding];
        alignas(128) T b[kStageOutputs<T>][kColumns + kPadding];
    };
    Stage stages[kStages];
};

struct Parameters {
    ConvShape shape;
    int depth, rows;  // padded channels of a group in the input and in dc
    int row_tiles;
    const void* input;
    int64_t input_strides[4];  // N, D, H, W
    const void* dc;
    MaskReader mask;
    const uint32_t* tile_flags;
    int slice;        // outputs
    int digits[4];    // of the outputs in a stage: N, D, H, W
    float* partials;  // [slices][out_channels][taps * depth]
};

// An output, as the thread's copies walk over them.
struct Cursor {
    int output;
    int at[4];  // N, D, H, W

    __device__ __forceinline__ void start(const Parameters& p, int index) {
        output = index;
#pragma unroll
        for (int d = 2; d >= 0; --d) {
            at[d + 1] = index % p.shape.output[d];
            index /= p.shape.output[d];
        }
        at[0] = index;
    }
    // On by the outputs in a stage, digit by digit.
    __device__ __forceinline__ void advance(const Parameters& p, int outputs) {
        output += outputs;
        int carry = 0;
#pragma unroll
        for (int d = 3; d > 0; --d) {
            at[d] += p.digits[d] + carry;
            carry = at[d] >= p.shape.output[d - 1] ? 1 : 0;
            at[d] -= carry * p.shape.output[d - 1];
        }
        at[0] += p.digits[0] + carry;
    }
};

// Operands of 16 rows and of 2 x 8 columns, `deep` multiplies into the stage. f32 has no transposing load:
// number by number.
template <typename T>
__device__ __forceinline__ void loadA(const typename Storage<T>::Stage& stage, int i, int deep,
                                      uint32_t (&a)[4]) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int row = static_cast<int>(threadIdx.x) / 32 % 2 * kWarpRows + i * 16;
    if constexpr (sizeof(T) == 4) {
#pragma unroll
        for (int r = 0; r < 4; ++r)
            a[r] =
                roundToTf32(floatBits(stage.a[deep * 8 + lane % 4 + r / 2 * 4][row + lane / 4 + r % 2 * 8]));
    } else {
        // Matrices: rows low, rows high; each with outputs low, outputs high.
        loadMatricesTransposed(a, &stage.a[deep * 16 + lane / 16 * 8 + lane % 8][row + lane / 8 % 2 * 8]);
    }
}
template <typename T>
__device__ __forceinline__ void loadB(const typename Storage<T>::Stage& stage, int j, int deep,
                                      uint32_t (&one)[2], uint32_t (&two)[2]) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int column = static_cast<int>(threadIdx.x) / 64 * kWarpColumns + j * 8;
    if constexpr (sizeof(T) == 4) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const auto& output = stage.b[deep * 8 + lane % 4 + r * 4];
            one[r] = roundToTf32(floatBits(output[column + lane / 4]));
            two[r] = roundToTf32(floatBits(output[column + 8 + lane / 4]));
        }
    } else {
        uint32_t both[4];
        loadMatricesTransposed(both,
                               &stage.b[deep * 16 + lane / 8 % 2 * 8 + lane % 8][column + lane / 16 * 8]);
        one[0] = both[0];
        one[1] = both[1];
        two[0] = both[2];
        two[1] = both[3];
    }
}

template <typename T>
__global__ void __launch_bounds__(kThreads, 2) igemmWeightGradient(Parameters p) {
    constexpr int kOutputs = kStageOutputs<T>;
    constexpr int kRowVectors = kBlockRows / kVector<T>;
    constexpr int kColumnVectors = kColumns / kVector<T>;
    constexpr int kRowsAtOnceA = static_cast<int>(kThreads) / kRowVectors;
    constexpr int kRowsAtOnceB = static_cast<int>(kThreads) / kColumnVectors;
    constexpr int kCopiesA = kOutputs / kRowsAtOnceA;
    constexpr int kCopiesB = kOutputs / kRowsAtOnceB;
    auto& shared = sharedStorage<Storage<T>>();
    const ConvShape& s = p.shape;
    const int thread = static_cast<int>(threadIdx.x);
    const int group = static_cast<int>(blockIdx.y) / p.row_tiles;
    const int first_row = static_cast<int>(blockIdx.y) % p.row_tiles * kBlockRows;
    const int first_column = static_cast<int>(blockIdx.x) * kColumns;
    const int group_out = s.out_channels / s.groups;
    const int taps = volumeOf(s.kernel);
    const int outputs = s.batch * volumeOf(s.output);
    const int begin = static_cast<int>(blockIdx.z) * p.slice;
    const int end = begin + p.slice < outputs ? begin + p.slice : outputs;

    // What a thread copies of dc: the same channels of several outputs.
    const int row_a = thread / kRowVectors;
    const int channel_a = first_row + thread % kRowVectors * kVector<T>;
    const int64_t pitch_a = static_cast<int64_t>(s.groups) * p.rows;
    const T* from_a = static_cast<const T*>(p.dc) + group * p.rows + channel_a;

    // And of the input: the same tap and channels.
    const int row_b = thread / kColumnVectors;
    const int column_b = first_column + thread % kColumnVectors * kVector<T>;
    const int channel_b = group * p.depth + column_b % p.depth;
    int tap = column_b / p.depth;
    const bool within_b = tap < taps;
    int offset[3];
#pragma unroll
    for (int d = 2; d >= 0; --d) {
        offset[d] = tap % s.kernel[d] * s.dilation[d] - s.padding[d];
        tap /= s.kernel[d];
    }
    const int plane = p.mask.present() && within_b ? p.mask.planeOf(channel_b) : 0;

    Cursor cursors[kCopiesB];
#pragma unroll
    for (int i = 0; i < kCopiesB; ++i) cursors[i].start(p, begin + row_b + i * kRowsAtOnceB);
    int first = begin;  // of the stage to be copied next
    const auto skipHoles = [&] {
        while (first < end && p.tile_flags != nullptr &&
               (p.tile_flags[first / kTileOutputs] & kTileSomeValid) == 0 &&
               first / kTileOutputs == (first + kOutputs - 1) / kTileOutputs) {
            first += kOutputs;
#pragma unroll
            for (int i = 0; i < kCopiesB; ++i) cursors[i].advance(p, kOutputs);
        }
    };
    // Whether there was a stage left to copy.
    const auto copyStage = [&](int stage) {
        skipHoles();
        if (first >= end) return false;
        auto& to = shared.stages[stage];
#pragma unroll
        for (int i = 0; i < kCopiesA; ++i) {
            const int row = row_a + i * kRowsAtOnceA;
            const bool valid = first + row < end && channel_a < p.rows;
            copyAsync16(&to.a[row][thread % kRowVectors * kVector<T>],
                        valid ? from_a + (first + row) * pitch_a : p.dc, valid);
        }
#pragma unroll
        for (int i = 0; i < kCopiesB; ++i) {
            Cursor& cursor = cursors[i];
            bool valid = within_b && cursor.output < end;
            int position = 0;
            int64_t from = cursor.at[0] * p.input_strides[0] + channel_b;
#pragma unroll
            for (int d = 0; d < 3; ++d) {
                const int at = cursor.at[d + 1] * s.stride[d] + offset[d];
                valid = valid && at >= 0 && at < s.input[d];
                position = position * s.input[d] + at;
                from += at * p.input_strides[d + 1];
            }
            if (valid && p.mask.present()) valid = p.mask.at(cursor.at[0], plane, position) != 0;
            copyAsync16(&to.b[row_b + i * kRowsAtOnceB][thread % kColumnVectors * kVector<T>],
                        valid ? static_cast<const T*>(p.input) + from : p.input, valid);
            cursor.advance(p, kOutputs);
        }
        first += kOutputs;
        return true;
    };

    WarpSums sums = {};
    int copied = 0;
#pragma unroll
    for (int stage = 0; stage < kStages - 1; ++stage) {
        if (copyStage(stage)) ++copied;
        commitCopies();
    }
    int reading = 0;
    int writing = kStages - 1;
    for (int done = 0; done < copied; ++done) {
        waitCopies<kStages - 2>();
        syncThreads();
        if (copyStage(writing)) ++copied;
        commitCopies();
        const auto& stage = shared.stages[reading];
        multiplyStage<T>(
            sums, [&](int i, int deep, uint32_t(&a)[4]) { loadA<T>(stage, i, deep, a); },
            [&](int j, int deep, uint32_t(&one)[2], uint32_t(&two)[2]) {
                loadB<T>(stage, j, deep, one, two);
            },
            group_out - first_row - thread / 32 % 2 * kWarpRows);
        reading = reading + 1 == kStages ? 0 : reading + 1;
        writing = writing + 1 == kStages ? 0 : writing + 1;
    }
    waitCopies<0>();
    forEachPair(sums, [&](int row, int column, float one, float two) {
        row += first_row;
        column += first_column;
        if (row >= group_out || column >= taps * p.depth) return;
        float* to =
            p.partials +
            (static_cast<int64_t>(blockIdx.z) * s.out_channels + group * group_out + row) * taps * p.depth +
            column;
        *reinterpret_cast<float2*>(to) = float2{one, two};  // the padded depth is even
    });
}

struct Plan {
    dim3 grid;
    int row_tiles, slice;
};

Plan planOf(const ConvShape& s, DataType type) {
    const int outputs = s.batch * volumeOf(s.output);
    const int columns = volumeOf(s.kernel) * igemmPadded(s.in_channels / s.groups, type);
    Plan plan{};
    plan.row_tiles = ceilDivide(s.out_channels / s.groups, kBlockRows);
    const int x = ceilDivide(columns, kColumns);
    const int y = s.groups * plan.row_tiles;
    const int slices = gradientSlices(s, x * y, outputs);
    // Slices begin with a tile, so that a tile that is all hole can be left out.
    plan.slice = ceilDivide(ceilDivide(outputs, slices), kTileOutputs) * kTileOutputs;
    plan.grid = dim3(static_cast<unsigned>(x), static_cast<unsigned>(y),
                     static_cast<unsigned>(ceilDivide(outputs, plan.slice)));
    return plan;
}

}  // namespace

size_t igemmWeightPartialBytes(const ConvShape& s, DataType type) {
    return sizeof(float) * planOf(s, type).grid.z * static_cast<size_t>(s.out_channels) *
           static_cast<size_t>(volumeOf(s.kernel)) *
           static_cast<size_t>(igemmPadded(s.in_channels / s.groups, type));
}

cudaError_t launchIgemmWeightGradient(const ConvProblem& problem, const IgemmSource& input, const void* dc,
                                      float* partials, void* gradient, bool accumulate, cudaStream_t stream) {
    const ConvShape& s = problem.shape;
    const Plan plan = planOf(s, problem.type);
    Parameters p{};
    p.shape = s;
    p.depth = igemmPadded(s.in_channels / s.groups, problem.type);
    p.rows = igemmPadded(s.out_channels / s.groups, problem.type);
    p.row_tiles = plan.row_tiles;
    p.input = input.view.data;
    const int64_t strides[4] = {input.view.strides[0], input.view.strides[2], input.view.strides[3],
                                input.view.strides[4]};
    for (int d = 0; d < 4; ++d) p.input_strides[d] = strides[d];
    p.dc = dc;
    p.mask = input.mask;
    p.tile_flags = problem.results.tile_flags;
    p.slice = plan.slice;
    p.partials = partials;
    const cudaError_t status = withElement(problem.type, [&](auto element) {
        using T = decltype(element);
        int rest = kStageOutputs<T>;
        for (int d = 3; d > 0; --d) {
            p.digits[d] = rest % s.output[d - 1];
            rest /= s.output[d - 1];
        }
        p.digits[0] = rest;
        return launch(igemmWeightGradient<T>, plan.grid, kThreads, sizeof(Storage<T>), stream, p);
    });
    if (status != cudaSuccess) return status;
    return launchSumSlices(s, problem.type, partials, static_cast<int>(plan.grid.z), p.depth, gradient,
                           accumulate, stream);
}

}  // namespace pconv::cuda
