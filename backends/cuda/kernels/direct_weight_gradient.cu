// The weight gradient of cuda:direct: for each output channel, the product of dc with the masked input under
// every tap, summed over all outputs.
#include "weight_gradient.cuh"

namespace pconv::cuda {

namespace {

constexpr unsigned kThreads = 256;
constexpr int kTile = 64;  // output channels, and (tap, input channel) columns
constexpr int kDepth = 16;
constexpr int kFewRows = 4;  // output channels of a group: below this, one block an element

struct Parameters {
    ConvShape shape;
    View input, dc;
    MaskReader mask;
    int slices, slice;  // outputs in one
    bool channels_fast;
    float* partials;  // [slices][out_channels][taps * group_in]
};

struct Output {
    int n, base[3];  // the input position under tap 0
    int64_t dc;
};

__device__ __forceinline__ Output outputAt(const Parameters& p, int output) {
    Output at;
    int in_image[3];
    for (int d = 2; d >= 0; --d) {
        in_image[d] = output % p.shape.output[d];
        output /= p.shape.output[d];
        at.base[d] = in_image[d] * p.shape.stride[d] - p.shape.padding[d];
    }
    at.n = output;
    at.dc = positionOffset(p.dc, at.n, in_image[0], in_image[1], in_image[2]);
    return at;
}

struct Column {
    int channel, offset[3];
    bool inside;
};

__device__ __forceinline__ Column columnAt(const Parameters& p, int group, int column) {
    const int group_in = p.shape.in_channels / p.shape.groups;
    Column at;
    at.inside = column < group_in * volumeOf(p.shape.kernel);
    at.channel = group * group_in + column % group_in;
    int tap = column / group_in;
    for (int d = 2; d >= 0; --d) {
        at.offset[d] = tap % p.shape.kernel[d] * p.shape.dilation[d];
        tap /= p.shape.kernel[d];
    }
    return at;
}

template <typename T>
__device__ __forceinline__ float inputAt(const Parameters& p, const Output& output, const Column& column) {
    int at[3];
    for (int d = 0; d < 3; ++d) {
        at[d] = output.base[d] + column.offset[d];
        if (at[d] < 0 || at[d] >= p.shape.input[d]) return 0;
    }
    float m = 1;
    if (p.mask.present()) {
        const int position = (at[0] * p.shape.input[1] + at[1]) * p.shape.input[2] + at[2];
        m = p.mask.at(output.n, p.mask.planeOf(column.channel), position);
        if (m == 0) return 0;
    }
    const int64_t from =
        positionOffset(p.input, output.n, at[0], at[1], at[2]) + column.channel * p.input.strides[1];
    const float x = toFloat(static_cast<const T*>(p.input.data)[from]);
    return p.mask.present() && p.mask.mask.type == MaskType::fractional ? x * m : x;
}

__device__ __forceinline__ float* partialAt(const Parameters& p, int slice, int channel, int column) {
    const int columns = p.shape.in_channels / p.shape.groups * volumeOf(p.shape.kernel);
    return p.partials + (static_cast<int64_t>(slice) * p.shape.out_channels + channel) * columns + column;
}

// A block makes 64 x 64 partial sums of one slice; a thread 4 x 4 of them.
template <typename T>
__global__ void __launch_bounds__(kThreads) directWeightGradient(Parameters p) {
    struct Storage {
        alignas(16) float a[kDepth][kTile];
        alignas(16) float b[kDepth][kTile + 1];
        Output outputs[kDepth];
    };
    auto& shared = sharedStorage<Storage>();
    const int group_out = p.shape.out_channels / p.shape.groups;
    const int row_tiles = ceilDivide(group_out, kTile);
    const int group = static_cast<int>(blockIdx.y) / row_tiles;
    const int first_row = static_cast<int>(blockIdx.y) % row_tiles * kTile;
    const int first_column = static_cast<int>(blockIdx.x) * kTile;
    const int slice = static_cast<int>(blockIdx.z);
    const int outputs = p.shape.batch * volumeOf(p.shape.output);
    const int begin = slice * p.slice;
    const int end = begin + p.slice < outputs ? begin + p.slice : outputs;
    const int thread = static_cast<int>(threadIdx.x);
    const int thread_m = thread % 16;
    const int thread_n = thread / 16;
    float sums[4][4] = {};
    for (int first = begin; first < end; first += kDepth) {
        if (thread < kDepth && first + thread < end) shared.outputs[thread] = outputAt(p, first + thread);
        syncThreads();
        for (int i = thread; i < kDepth * kTile; i += static_cast<int>(kThreads)) {
            const int row = i % kTile;
            const bool inside = first + i / kTile < end && first_row + row < group_out;
            shared.a[i / kTile][row] =
                inside ? static_cast<const float*>(
                             p.dc.data)[shared.outputs[i / kTile].dc +
                                        (group * group_out + first_row + row) * p.dc.strides[1]]
                       : 0;
        }
        for (int i = thread; i < kDepth * kTile; i += static_cast<int>(kThreads)) {
            const int k = p.channels_fast ? i / kTile : i % kDepth;
            const int column = p.channels_fast ? i % kTile : i / kDepth;
            const Column at = columnAt(p, group, first_column + column);
            shared.b[k][column] = first + k < end && at.inside ? inputAt<T>(p, shared.outputs[k], at) : 0;
        }
        syncThreads();
#pragma unroll
        for (int k = 0; k < kDepth; ++k)
#pragma unroll
            for (int i = 0; i < 4; ++i)
#pragma unroll
                for (int j = 0; j < 4; ++j)
                    sums[i][j] += shared.a[k][thread_m * 4 + i] * shared.b[k][thread_n + j * 16];
        syncThreads();
    }
    for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j) {
            const int row = first_row + thread_m * 4 + i;
            const int column = first_column + thread_n + j * 16;
            if (row < group_out && column < p.shape.in_channels / p.shape.groups * volumeOf(p.shape.kernel))
                *partialAt(p, slice, group * group_out + row, column) = sums[i][j];
        }
}

// For groups of few output channels: one block an element of one slice.
template <typename T>
__global__ void directWeightElement(Parameters p) {
    struct Storage {
        float sums[kThreads / 32];
    };
    auto& shared = sharedStorage<Storage>();
    const int channel = static_cast<int>(blockIdx.y);
    const int group = channel / (p.shape.out_channels / p.shape.groups);
    const int slice = static_cast<int>(blockIdx.z);
    const int outputs = p.shape.batch * volumeOf(p.shape.output);
    const int begin = slice * p.slice;
    const int end = begin + p.slice < outputs ? begin + p.slice : outputs;
    const Column column = columnAt(p, group, static_cast<int>(blockIdx.x));
    float sum = 0;
    for (int output = begin + static_cast<int>(threadIdx.x); output < end;
         output += static_cast<int>(kThreads)) {
        const Output at = outputAt(p, output);
        sum += static_cast<const float*>(p.dc.data)[at.dc + channel * p.dc.strides[1]] *
               inputAt<T>(p, at, column);
    }
    for (int lanes = 16; lanes > 0; lanes /= 2) sum += shuffleXor(sum, lanes);
    if (threadIdx.x % 32 == 0) shared.sums[threadIdx.x / 32] = sum;
    syncThreads();
    if (threadIdx.x != 0) return;
    sum = 0;
    for (unsigned warp = 0; warp < kThreads / 32; ++warp) sum += shared.sums[warp];
    *partialAt(p, slice, channel, static_cast<int>(blockIdx.x)) = sum;
}

struct SumParameters {
    int out_channels, group_in, taps, pitch, slices;
    const float* partials;
    void* gradient;
    bool accumulate;
};

template <typename T>
__global__ void sumSlices(SumParameters p) {
    const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    const int row = p.taps * p.pitch;
    const int64_t size = static_cast<int64_t>(p.out_channels) * row;
    if (i >= size || i % p.pitch >= p.group_in) return;
    float sum = 0;
    for (int slice = 0; slice < p.slices; ++slice) sum += p.partials[slice * size + i];
    const auto c = static_cast<int>(i % p.pitch);
    const auto tap = static_cast<int>(i / p.pitch % p.taps);
    const int64_t to = (i / row * p.group_in + c) * p.taps + tap;
    storeResult(static_cast<T*>(p.gradient) + to, sum, p.accumulate);
}

int columnsOf(const ConvShape& s) {
    return s.in_channels / s.groups * volumeOf(s.kernel);
}

bool fewRows(const ConvShape& s) {
    return s.out_channels / s.groups <= kFewRows;
}

dim3 gridOf(const ConvShape& s) {
    const int outputs = s.batch * volumeOf(s.output);
    const int x = fewRows(s) ? columnsOf(s) : ceilDivide(columnsOf(s), kTile);
    const int y = fewRows(s) ? s.out_channels : s.groups * ceilDivide(s.out_channels / s.groups, kTile);
    return dim3(static_cast<unsigned>(x), static_cast<unsigned>(y),
                static_cast<unsigned>(gradientSlices(s, x * y, outputs)));
}

}  // namespace

size_t directWeightPartialBytes(const ConvShape& s) {
    return sizeof(float) * gridOf(s).z * static_cast<size_t>(s.out_channels) *
           static_cast<size_t>(columnsOf(s));
}

cudaError_t launchDirectWeightGradient(const ConvProblem& problem, const View& input, const View& dc,
                                       float* partials, void* gradient, bool accumulate,
                                       cudaStream_t stream) {
    const ConvShape& s = problem.shape;
    const dim3 grid = gridOf(s);
    Parameters p{};
    p.shape = s;
    p.input = input;
    p.dc = dc;
    p.mask = inputMask(problem);
    p.slices = static_cast<int>(grid.z);
    p.slice = ceilDivide(s.batch * volumeOf(s.output), p.slices);
    p.channels_fast = input.strides[1] == 1;
    p.partials = partials;
    const cudaError_t status = withElement(problem.type, [&](auto element) {
        using T = decltype(element);
        if (fewRows(s))
            return launch(directWeightElement<T>, grid, kThreads, kThreads / 32 * sizeof(float), stream, p);
        const size_t shared_bytes = sizeof(float) * kDepth * (2 * kTile + 1) + kDepth * sizeof(Output);
        return launch(directWeightGradient<T>, grid, kThreads, ceilDivide<size_t>(shared_bytes, 16) * 16,
                      stream, p);
    });
    if (status != cudaSuccess) return status;
    return launchSumSlices(s, problem.type, partials, p.slices, s.in_channels / s.groups, gradient,
                           accumulate, stream);
}

cudaError_t launchSumSlices(const ConvShape& s, DataType type, const float* partials, int slices, int pitch,
                            void* gradient, bool accumulate, cudaStream_t stream) {
    SumParameters p{};
    p.out_channels = s.out_channels;
    p.group_in = s.in_channels / s.groups;
    p.taps = volumeOf(s.kernel);
    p.pitch = pitch;
    p.slices = slices;
    p.partials = partials;
    p.gradient = gradient;
    p.accumulate = accumulate;
    const int64_t threads = static_cast<int64_t>(p.out_channels) * p.taps * pitch;
    return withElement(type, [&](auto element) {
        return launch(sumSlices<decltype(element)>,
                      dim3(static_cast<unsigned>(ceilDivide<int64_t>(threads, kThreads))), kThreads, 0,
                      stream, p);
    });
}

}  // namespace pconv::cuda
