// The mask side: planes packed and summed over channels in one pass, windows summed and tiles classified in
// another.
#include "cuda/kernels/kernels.h"
#include "divisor.cuh"
#include "pass_elements.cuh"

namespace pconv::cuda {

namespace {

constexpr unsigned kThreads = 256;
constexpr int kSegmentsAtOnce = 8;
constexpr int kPacked = 4;  // positions of a thread, where rows are whole vectors
constexpr int kTileWidth = 32;
constexpr int kTileHeight = 8;
constexpr size_t kWindowSharedBytes = 32 * 1024;

struct PackSegment {
    const void* data;
    int64_t strides[5];
    int planes, multiplicity;
};

struct PackParameters {
    PackSegment segments[kSegmentsAtOnce];
    int segment_count;
    int first_plane, first_channel, channels;  // of these segments
    int plane_count, counted, groups;
    int batch;
    Divisor positions, height, width;
    bool hole_is_one;
    void* packed;
    int* plane_of_channel;
    uint32_t* tile_flags;  // cleared by the first launch
    int tiles;
};

__device__ __forceinline__ int maskValue(uint8_t value, bool hole_is_one) {
    return (value != 0) != hole_is_one ? 1 : 0;
}

__device__ __forceinline__ float maskValue(float value, bool hole_is_one) {
    return hole_is_one ? 1 - value : value;
}

// Which plane a channel of these segments has.
__device__ __forceinline__ void packTable(const PackParameters& p, int index) {
    int channel = index;
    int plane = p.first_plane;
    for (int s = 0; s < p.segment_count; ++s) {
        const PackSegment& segment = p.segments[s];
        if (channel < segment.planes * segment.multiplicity) {
            p.plane_of_channel[p.first_channel + index] = plane + channel / segment.multiplicity;
            return;
        }
        channel -= segment.planes * segment.multiplicity;
        plane += segment.planes;
    }
}

// One thread for `count` neighbouring positions: packs their elements of all planes and, unless `sums` is
// null, sums them over the channels of each group. A group that an earlier launch began is gone on with.
template <typename Plane, typename Sum, int count>
__global__ void packMask(PackParameters p, Sum* sums) {
    using Planes = Several<Plane, count>;
    using Sums = Several<Sum, count>;
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < p.tiles) p.tile_flags[i] = 0;
    if (i < p.channels) packTable(p, i);
    const int volume = p.positions.value;
    if (i >= p.batch * (volume / count)) return;
    int position = i * count;
    const int n = p.positions.divide(position);
    int w = position;
    int h = p.width.divide(w);
    const int d = p.height.divide(h);
    Plane* packed = static_cast<Plane*>(p.packed) +
                    (static_cast<int64_t>(n) * p.plane_count + p.first_plane) * volume + position;
    int channel = p.first_channel;
    int group_end = p.counted;
    Sum* group_sum = nullptr;
    Sums sum{};
    if (sums != nullptr) {
        const int group = channel / p.counted;
        group_end *= group + 1;
        group_sum = sums + (static_cast<int64_t>(n) * p.groups + group) * volume + position;
        if (channel % p.counted != 0) sum = *reinterpret_cast<const Sums*>(group_sum);
    }
#pragma unroll 1
    for (int s = 0; s < p.segment_count; ++s) {
        const PackSegment& segment = p.segments[s];
        const Plane* from = static_cast<const Plane*>(segment.data) + n * segment.strides[0] +
                            d * segment.strides[2] + h * segment.strides[3] + w;
#pragma unroll 1
        for (int plane = 0; plane < segment.planes; ++plane) {
            Planes values = *reinterpret_cast<const Planes*>(from);
#pragma unroll
            for (Plane& value : values.values) value = static_cast<Plane>(maskValue(value, p.hole_is_one));
            *reinterpret_cast<Planes*>(packed) = values;
            from += segment.strides[1];
            packed += volume;
            if (group_sum == nullptr) continue;
#pragma unroll 1
            for (int left = segment.multiplicity; left > 0;) {
                const int taken = left < group_end - channel ? left : group_end - channel;
#pragma unroll
                for (int k = 0; k < count; ++k)
                    sum.values[k] += static_cast<Sum>(taken) * static_cast<Sum>(values.values[k]);
                channel += taken;
                left -= taken;
                if (channel == group_end) {
                    *reinterpret_cast<Sums*>(group_sum) = sum;
                    group_sum += volume;
                    group_end += p.counted;
                    sum = {};
                }
            }
        }
    }
    if (group_sum != nullptr && channel % p.counted != 0) *reinterpret_cast<Sums*>(group_sum) = sum;
}

struct WindowParameters {
    ConvShape shape;
    int batch, groups;  // of the mask
    int counted;
    float window, eps;
    Normalization normalization;
    bool separable;
    bool binary;
    float* window_sum;
    void* updated;
    float* ratio;
    uint32_t* tile_flags;
    int columns;  // of a tile's input
};

// How many of a window's taps along one axis lie inside the input.
__device__ int tapsInside(const ConvShape& s, int axis, int output) {
    int count = 0;
    for (int k = 0; k < s.kernel[axis]; ++k) {
        const int at = output * s.stride[axis] - s.padding[axis] + k * s.dilation[axis];
        count += at >= 0 && at < s.input[axis] ? 1 : 0;
    }
    return count;
}

// A block makes 8 rows of 32 outputs of one plane: columns of taps first, into shared memory, then rows of
// them. Without `source` every element is `counted`.
template <typename Source, typename Sum>
__global__ void maskWindow(WindowParameters p, const Source* source) {
    auto* columns = &sharedStorage<Sum>();
    const ConvShape& s = p.shape;
    const int tiles_w = ceilDivide(s.output[2], kTileWidth);
    const int tiles_h = ceilDivide(s.output[1], kTileHeight);
    int block = static_cast<int>(blockIdx.x);
    const int first_w = block % tiles_w * kTileWidth;
    block /= tiles_w;
    const int first_h = block % tiles_h * kTileHeight;
    block /= tiles_h;
    const int od = block % s.output[0];
    const int plane = block / s.output[0];  // n * groups + group
    const int64_t in_volume = static_cast<int64_t>(s.input[0]) * s.input[1] * s.input[2];
    const Source* in = source == nullptr ? nullptr : source + plane * in_volume;
    const int thread = static_cast<int>(threadIdx.x);

    const auto columnSum = [&](int oh, int w) {
        Sum sum = 0;
        if (w < 0 || w >= s.input[2] || oh >= s.output[1]) return sum;
        for (int kd = 0; kd < s.kernel[0]; ++kd) {
            const int d = od * s.stride[0] - s.padding[0] + kd * s.dilation[0];
            if (d < 0 || d >= s.input[0]) continue;
            for (int kh = 0; kh < s.kernel[1]; ++kh) {
                const int h = oh * s.stride[1] - s.padding[1] + kh * s.dilation[1];
                if (h < 0 || h >= s.input[1]) continue;
                sum +=
                    in == nullptr
                        ? static_cast<Sum>(p.counted)
                        : static_cast<Sum>(in[(static_cast<int64_t>(d) * s.input[1] + h) * s.input[2] + w]);
            }
        }
        return sum;
    };
    if (p.separable) {
        for (int i = thread; i < kTileHeight * p.columns; i += static_cast<int>(kThreads))
            columns[i] =
                columnSum(first_h + i / p.columns, first_w * s.stride[2] - s.padding[2] + i % p.columns);
        syncThreads();
    }
    const int row = thread / kTileWidth;
    const int ow = first_w + thread % kTileWidth;
    const int oh = first_h + row;
    if (ow >= s.output[2] || oh >= s.output[1]) return;
    Sum sum = 0;
    for (int kw = 0; kw < s.kernel[2]; ++kw) {
        const int column = thread % kTileWidth * s.stride[2] + kw * s.dilation[2];
        sum += p.separable ? columns[row * p.columns + column]
                           : columnSum(oh, first_w * s.stride[2] - s.padding[2] + column);
    }
    const int out_volume = s.output[0] * s.output[1] * s.output[2];
    const int position = (od * s.output[1] + oh) * s.output[2] + ow;
    const int64_t at = static_cast<int64_t>(plane) * out_volume + position;
    const auto single = static_cast<float>(sum);
    const auto result = elementwise::windowResult(single, p.window, p.eps, p.normalization);
    p.window_sum[at] = single;
    p.ratio[at] = result.ratio;
    if (p.binary)
        static_cast<uint8_t*>(p.updated)[at] = result.updated > 0 ? 1 : 0;
    else
        static_cast<float*>(p.updated)[at] = result.updated;

    const Sum full = static_cast<Sum>(tapsInside(s, 0, od) * tapsInside(s, 1, oh) * tapsInside(s, 2, ow)) *
                     static_cast<Sum>(p.counted);
    const uint32_t flags = (result.updated > 0 ? kTileSomeValid : 0) | (sum < full ? kTileSomeHole : 0);
    const int n = plane / p.groups;
    // A mask of one image serves all.
    for (int image = n; image < (p.batch == 1 ? s.batch : n + 1); ++image) {
        uint32_t* word = p.tile_flags + (image * out_volume + position) / kTileOutputs;
        if ((*word & flags) != flags) atomicSetBits(word, flags);
    }
}

// Windows of binary masks of one plane, or of none, of at most 255 taps: four outputs a thread, whose counts
// are bytes of a word. Rows of the input are whole words.
constexpr int kByteTaps = 255;
constexpr int kByteRows = 8;  // of outputs, in a block
constexpr int kByteWidth = 128;
constexpr uint32_t kOnes = 0x01010101U;
constexpr int kWordsFlagged = kByteWidth / kTileOutputs + 1;  // by a warp

struct ByteTile {
    float2 results[kByteTaps + 1];  // window sum and ratio of a count
    int rows_inside[kByteRows];     // of a window
    uint32_t columns_inside[32];    // of four windows
    alignas(8) uint32_t words[2];   // [kByteRows][words]: sums of columns
};

struct ByteWindowParameters {
    WindowParameters window;
    const uint8_t* source;                   // null: 1 everywhere
    Divisor tiles_w, tiles_h, depth, pairs;  // of a row's words
    bool whole;                              // rows of outputs are whole vectors
};

__device__ __forceinline__ bool isWithin(int at, int size) {
    return static_cast<unsigned>(at) < static_cast<unsigned>(size);
}

// Of the columns of two words, over all rows of a window: their sums; returns how many rows lie inside.
// `plane` is where it begins.
__device__ __forceinline__ int columnSums(const ByteWindowParameters& p, int plane, int od, int oh,
                                          int column, uint32_t (&sums)[2]) {
    const ConvShape& s = p.window.shape;
    const bool inside[2] = {isWithin(column, s.input[2]), isWithin(column + 4, s.input[2])};
    const bool reads[2] = {inside[0] && p.source != nullptr, inside[1] && p.source != nullptr};
    sums[0] = sums[1] = 0;
    int rows_inside = 0;
    const int step = s.dilation[1] * s.input[2];
    const int first = oh * s.stride[1] - s.padding[1];
    int d = od * s.stride[0] - s.padding[0];
#pragma unroll 1
    for (int kd = s.kernel[0]; kd > 0; --kd, d += s.dilation[0]) {
        if (!isWithin(d, s.input[0])) continue;
        int h = first;
        int at = plane + (d * s.input[1] + h) * s.input[2] + column;
#pragma unroll 1
        for (int kh = s.kernel[1]; kh > 0; --kh, h += s.dilation[1], at += step) {
            if (!isWithin(h, s.input[1])) continue;
            ++rows_inside;
            if (reads[0]) sums[0] += *reinterpret_cast<const uint32_t*>(p.source + at);
            if (reads[1]) sums[1] += *reinterpret_cast<const uint32_t*>(p.source + at + 4);
        }
    }
    if (p.source == nullptr)
        for (int i = 0; i < 2; ++i) sums[i] = inside[i] ? kOnes * static_cast<uint32_t>(rows_inside) : 0;
    return rows_inside;
}

// How many columns of each of four neighbouring windows lie inside, as bytes.
__device__ __forceinline__ uint32_t columnsInside(const ConvShape& s, int ow) {
    uint32_t inside = 0;
#pragma unroll 1
    for (int j = 3; j >= 0; --j) {
        int w = (ow + j) * s.stride[2] - s.padding[2];
        inside <<= 8;
#pragma unroll 1
        for (int kw = s.kernel[2]; kw > 0; --kw, w += s.dilation[2])
            inside += isWithin(w, s.input[2]) ? 1 : 0;
    }
    return inside;
}

// Four bytes from byte `at` on.
__device__ __forceinline__ uint32_t bytesAt(const uint32_t* words, unsigned at) {
    const uint32_t* word = words + at / 4;
    return static_cast<uint32_t>((static_cast<uint64_t>(word[1]) << 32 | word[0]) >> (at % 4 * 8));
}

// The flags of a warp's outputs, two bits for each word of flags that they lie in, to all pictures. A thread
// has four outputs: a byte of `valid` and of `lacking` is not 0 where one is, or its window lacks something.
__device__ __forceinline__ void flagTiles(const ByteWindowParameters& p, int n, int first_position,
                                          uint32_t valid, uint32_t lacking) {
    const auto flagsOf = [&](uint32_t bytes) {
        return ((valid & bytes) != 0 ? kTileSomeValid : 0) | ((lacking & bytes) != 0 ? kTileSomeHole : 0);
    };
    constexpr unsigned kTile = kTileOutputs;
    const ConvShape& s = p.window.shape;
    const unsigned lane = threadIdx.x % 32;
    const auto volume = static_cast<unsigned>(s.output[0] * s.output[1] * s.output[2]);
    const unsigned images = p.window.batch == 1 ? static_cast<unsigned>(s.batch) : 1;
    const bool alike = volume % kTile == 0;  // in every picture
    unsigned first = static_cast<unsigned>(n) * volume + static_cast<unsigned>(first_position);
    uint32_t of_warp = 0;
#pragma unroll 1
    for (unsigned image = 0; image < (alike ? 1 : images); ++image, first += volume) {
        uint32_t own = 0;
        if (p.whole)
            own = flagsOf(0xFFFFFFFFU) << (2 * ((first % kTile + lane * 4) / kTile));
        else
#pragma unroll 1
            for (unsigned j = 0; j < 4; ++j)
                own |= flagsOf(0xFFU << (8 * j)) << (2 * ((first % kTile + lane * 4 + j) / kTile));
        of_warp = reduceOr(own);
        if (alike || lane >= kWordsFlagged) continue;
        const uint32_t bits = of_warp >> (2 * lane) & 3U;
        if (bits != 0) atomicSetBits(p.window.tile_flags + first / kTile + lane, bits);
    }
    if (!alike) return;
    first -= volume;
#pragma unroll 1
    for (unsigned i = lane; i < images * kWordsFlagged; i += 32) {
        const unsigned image = i / kWordsFlagged;
        const unsigned word = i % kWordsFlagged;
        const uint32_t bits = of_warp >> (2 * word) & 3U;
        uint32_t* to = p.window.tile_flags + (image * volume + first) / kTile + word;
        if (bits != 0 && (*to & bits) != bits) atomicSetBits(to, bits);
    }
}

__global__ void __launch_bounds__(kThreads) maskWindowBytes(ByteWindowParameters p) {
    auto& shared = sharedStorage<ByteTile>();
    const ConvShape& s = p.window.shape;
    int first_w = static_cast<int>(blockIdx.x);
    int first_h = p.tiles_w.divide(first_w);
    int od = p.tiles_h.divide(first_h);
    const int plane = p.depth.divide(od);  // the image
    first_w *= kByteWidth;
    first_h *= kByteRows;
    const int thread = static_cast<int>(threadIdx.x);
    if (thread <= s.kernel[0] * s.kernel[1] * s.kernel[2]) {
        const auto sum = static_cast<float>(thread * p.window.counted);
        shared.results[thread] = {
            sum, elementwise::windowResult(sum, p.window.window, p.window.eps, p.window.normalization).ratio};
    }
    const int source = plane * s.input[0] * s.input[1] * s.input[2];
    const int first_column = first_w * s.stride[2] - s.padding[2];
    const int shift = first_column & 3;  // within a word, below 0 too

    const int pairs = p.pairs.value;
#pragma unroll 1
    for (int i = thread; i < kByteRows * pairs; i += static_cast<int>(kThreads)) {
        int pair = i;
        const int row = p.pairs.divide(pair);
        uint32_t sums[2];
        const int rows_inside =
            columnSums(p, source, od, first_h + row, first_column - shift + pair * 8, sums);
        *reinterpret_cast<uint2*>(shared.words + i * 2) = uint2{sums[0], sums[1]};
        if (pair == 0) shared.rows_inside[row] = rows_inside;
    }
    // The last warp has no pairs where windows are small.
    if (const int last = thread - static_cast<int>(kThreads) + 32; last >= 0)
        shared.columns_inside[last] = columnsInside(s, first_w + last * 4);
    syncThreads();
    const int row = thread / 32;
    const int lane = thread % 32;
    const int oh = first_h + row;
    if (oh >= s.output[1]) return;
    const int ow = first_w + lane * 4;
    const uint32_t* sums = shared.words + row * pairs * 2;
    uint32_t counts = 0;
    const auto step = static_cast<unsigned>(s.dilation[2]);
    const auto stride = static_cast<unsigned>(s.stride[2]);
    unsigned at = static_cast<unsigned>(shift) + static_cast<unsigned>(lane) * 4 * stride;
#pragma unroll 1
    for (int kw = s.kernel[2]; kw > 0; --kw, at += step) {
        if (stride == 1) {
            counts += bytesAt(sums, at);
            continue;
        }
#pragma unroll
        for (unsigned j = 0; j < 4; ++j) counts += (bytesAt(sums, at + j * stride) & 0xFFU) << (8 * j);
    }
    const uint32_t full = shared.columns_inside[lane] * static_cast<uint32_t>(shared.rows_inside[row]);
    const int left = s.output[2] - ow;
    const int count = left < 0 ? 0 : left < 4 ? left : 4;
    const uint32_t wanted = static_cast<uint32_t>((uint64_t{1} << (8 * count)) - 1);
    Several<float, 4> window_sums;
    Several<float, 4> ratios;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
        const float2 result = shared.results[counts >> (8 * j) & 0xFFU];
        window_sums.values[j] = result.x;
        ratios.values[j] = result.y;
    }
    // 1 where a byte is not 0.
    const uint32_t updated = (((counts & 0x7F7F7F7FU) + 0x7F7F7F7FU) | counts) >> 7 & kOnes;
    const int volume = s.output[0] * s.output[1] * s.output[2];
    const int row_position = (od * s.output[1] + oh) * s.output[2];
    const int64_t result = static_cast<int64_t>(plane) * volume + row_position + ow;
    auto* const bytes = static_cast<uint8_t*>(p.window.updated) + result;
    if (p.whole && count == 4) {
        *reinterpret_cast<Several<float, 4>*>(p.window.window_sum + result) = window_sums;
        *reinterpret_cast<Several<float, 4>*>(p.window.ratio + result) = ratios;
        *reinterpret_cast<uint32_t*>(bytes) = updated;
    } else {
#pragma unroll
        for (int j = 0; j < 4; ++j)
            if (j < count) {
                p.window.window_sum[result + j] = window_sums.values[j];
                p.window.ratio[result + j] = ratios.values[j];
                bytes[j] = static_cast<uint8_t>(updated >> (8 * j));
            }
    }
    flagTiles(p, plane, row_position + first_w, counts & wanted, (counts ^ full) & wanted);
}

dim3 blocksFor(int64_t threads) {
    return dim3(static_cast<unsigned>(ceilDivide<int64_t>(threads, kThreads)));
}

int countedChannels(const MaskProblem& p) {
    return !p.multi_channel ? 1 : p.group_window ? p.shape.in_channels / p.shape.groups : p.shape.in_channels;
}

int maskGroups(const MaskProblem& p) {
    return p.group_window ? p.shape.groups : 1;
}

// Which planes and channels a problem's segments come to. Without multi_channel one plane serves all.
PackSegment segmentOf(const MaskProblem& p, int index) {
    const MaskSegment& from = p.segments[index];
    PackSegment to{};
    to.data = from.data;
    for (int d = 0; d < 5; ++d) to.strides[d] = from.strides[d];
    const bool multi = p.multi_channel || p.normalization == Normalization::weight_magnitude;
    to.planes = multi ? from.planes : 1;
    to.multiplicity = multi ? from.multiplicity : p.shape.in_channels;
    return to;
}

int tileCount(const ConvShape& s) {
    return ceilDivide(s.batch * volumeOf(s.output), kTileOutputs);
}

// Whether rows begin and end with whole vectors everywhere.
template <typename Plane>
bool packsVectors(const MaskProblem& p, const PackParameters& k, const void* sums) {
    const auto aligned = [](const void* data, size_t bytes) {
        return reinterpret_cast<uintptr_t>(data) % (bytes * kPacked) == 0;
    };
    bool whole = p.shape.input[2] % kPacked == 0 && aligned(k.packed, sizeof(Plane)) && aligned(sums, 8);
    for (int i = 0; i < k.segment_count; ++i) {
        const PackSegment& segment = k.segments[i];
        whole = whole && aligned(segment.data, sizeof(Plane));
        const int sizes[4] = {p.batch, segment.planes, p.shape.input[0], p.shape.input[1]};
        for (int d = 0; d < 4; ++d) whole = whole && (sizes[d] == 1 || segment.strides[d] % kPacked == 0);
    }
    return whole;
}

template <typename Plane, typename Sum>
cudaError_t launchPack(const MaskProblem& p, Sum* sums, cudaStream_t stream) {
    PackParameters k{};
    k.plane_count = maskMemory(p).plane_count;
    k.counted = countedChannels(p);
    k.groups = maskGroups(p);
    k.batch = p.batch;
    k.positions = Divisor(volumeOf(p.shape.input));
    k.height = Divisor(p.shape.input[1]);
    k.width = Divisor(p.shape.input[2]);
    k.hole_is_one = p.hole_is_one;
    k.packed = p.packed;
    k.plane_of_channel = p.plane_of_channel;
    k.tile_flags = p.tile_flags;
    k.tiles = p.tile_flags != nullptr ? tileCount(p.shape) : 0;
    int done = 0;
    do {
        k.segment_count = p.segment_count - done < kSegmentsAtOnce ? p.segment_count - done : kSegmentsAtOnce;
        k.channels = 0;
        int planes = 0;
        for (int i = 0; i < k.segment_count; ++i) {
            k.segments[i] = segmentOf(p, done + i);
            k.channels += k.segments[i].planes * k.segments[i].multiplicity;
            planes += k.segments[i].planes;
        }
        const bool whole = packsVectors<Plane>(p, k, sums);
        int threads = p.segment_count > 0 ? p.batch * (volumeOf(p.shape.input) / (whole ? kPacked : 1)) : 0;
        if (p.segment_count == 0) k.batch = 0;
        threads = threads > k.channels ? threads : k.channels;
        threads = threads > k.tiles ? threads : k.tiles;
        if (threads > 0) {
            const dim3 blocks = blocksFor(threads);
            const cudaError_t status =
                whole ? launch(packMask<Plane, Sum, kPacked>, blocks, kThreads, 0, stream, k, sums)
                      : launch(packMask<Plane, Sum, 1>, blocks, kThreads, 0, stream, k, sums);
            if (status != cudaSuccess) return status;
        }
        k.first_plane += planes;
        k.first_channel += k.channels;
        k.tiles = 0;
        done += k.segment_count;
    } while (done < p.segment_count);
    return cudaSuccess;
}

WindowParameters windowParameters(const MaskProblem& p) {
    const ConvShape& s = p.shape;
    WindowParameters k{};
    k.shape = s;
    k.batch = p.batch;
    k.groups = maskGroups(p);
    k.counted = countedChannels(p);
    k.window = static_cast<float>(static_cast<int64_t>(volumeOf(s.kernel)) * k.counted);
    k.eps = p.eps;
    k.normalization = p.normalization;
    k.binary = p.type != MaskType::fractional;
    k.window_sum = p.window_sum;
    k.updated = p.updated;
    k.ratio = p.ratio;
    k.tile_flags = p.tile_flags;
    return k;
}

template <typename Source, typename Sum>
cudaError_t launchWindow(const MaskProblem& p, const void* source, cudaStream_t stream) {
    const ConvShape& s = p.shape;
    WindowParameters k = windowParameters(p);
    k.columns = (kTileWidth - 1) * s.stride[2] + (s.kernel[2] - 1) * s.dilation[2] + 1;
    size_t shared_bytes = sizeof(Sum) * kTileHeight * static_cast<size_t>(k.columns);
    k.separable = shared_bytes <= kWindowSharedBytes;
    if (!k.separable) shared_bytes = sizeof(Sum);
    const int64_t blocks = static_cast<int64_t>(ceilDivide(s.output[2], kTileWidth)) *
                           ceilDivide(s.output[1], kTileHeight) * s.output[0] * p.batch * k.groups;
    return launch(maskWindow<Source, Sum>, dim3(static_cast<unsigned>(blocks)), kThreads, shared_bytes,
                  stream, k, static_cast<const Source*>(source));
}

// Of a mask of one plane, or of none.
cudaError_t launchOnePlaneWindow(const MaskProblem& p, const void* source, cudaStream_t stream) {
    const ConvShape& s = p.shape;
    // A thread's word and the next one, from the word on that its tile begins in.
    const int64_t columns = static_cast<int64_t>(kByteWidth - 1) * s.stride[2] +
                            static_cast<int64_t>(s.kernel[2] - 1) * s.dilation[2] + 4;
    const int64_t pairs = ceilDivide<int64_t>(columns / 4 + 2, 2);
    const int64_t shared_bytes = static_cast<int64_t>(sizeof(ByteTile)) + pairs * 2 * kByteRows * 4;
    if (maskGroups(p) > 1 || static_cast<int64_t>(volumeOf(s.kernel)) > kByteTaps || s.input[2] % 4 != 0 ||
        shared_bytes > static_cast<int64_t>(kWindowSharedBytes))
        return launchWindow<uint8_t, int>(p, source, stream);
    ByteWindowParameters k{};
    k.window = windowParameters(p);
    k.source = static_cast<const uint8_t*>(source);
    k.tiles_w = Divisor(ceilDivide(s.output[2], kByteWidth));
    k.tiles_h = Divisor(ceilDivide(s.output[1], kByteRows));
    k.depth = Divisor(s.output[0]);
    k.pairs = Divisor(static_cast<int>(pairs));
    k.whole = s.output[2] % 4 == 0 && reinterpret_cast<uintptr_t>(p.window_sum) % 16 == 0 &&
              reinterpret_cast<uintptr_t>(p.ratio) % 16 == 0 &&
              reinterpret_cast<uintptr_t>(p.updated) % 4 == 0;
    const auto blocks = static_cast<unsigned>(k.tiles_w.value * k.tiles_h.value * k.depth.value * p.batch);
    return launch(maskWindowBytes, dim3(blocks), kThreads, static_cast<size_t>(shared_bytes), stream, k);
}

}  // namespace

MaskMemory maskMemory(const MaskProblem& p) {
    MaskMemory memory{};
    memory.channels_per_plane_chunk = 1 << 30;
    int channel = 0;
    for (int i = 0; i < p.segment_count; ++i) {
        const PackSegment segment = segmentOf(p, i);
        memory.plane_count += segment.planes;
        for (int plane = 0; plane < segment.planes; ++plane) {
            channel += segment.multiplicity;
            // The largest power of two that divides every boundary between planes.
            while (channel < p.shape.in_channels && channel % memory.channels_per_plane_chunk != 0)
                memory.channels_per_plane_chunk /= 2;
        }
    }
    const auto in_volume = static_cast<size_t>(volumeOf(p.shape.input));
    const bool fractional = p.type == MaskType::fractional;
    const auto planes = static_cast<size_t>(memory.plane_count) * static_cast<size_t>(p.batch);
    memory.packed = planes * in_volume * (fractional ? sizeof(float) : sizeof(uint8_t));
    if (p.segment_count > 0) memory.plane_of_channel = sizeof(int) * static_cast<size_t>(p.shape.in_channels);
    if (p.normalization == Normalization::weight_magnitude) return memory;
    if (p.segment_count > 0 && p.multi_channel)
        memory.sums = static_cast<size_t>(p.batch) * static_cast<size_t>(maskGroups(p)) * in_volume *
                      (fractional ? sizeof(double) : sizeof(int));
    memory.tile_flags = sizeof(uint32_t) * static_cast<size_t>(tileCount(p.shape));
    return memory;
}

cudaError_t launchMaskUpdate(const MaskProblem& p, cudaStream_t stream) {
    const bool fractional = p.type == MaskType::fractional;
    const bool sums = p.multi_channel && p.segment_count > 0;
    cudaError_t status = fractional
                             ? launchPack<float>(p, sums ? static_cast<double*>(p.sums) : nullptr, stream)
                             : launchPack<uint8_t>(p, sums ? static_cast<int*>(p.sums) : nullptr, stream);
    if (status != cudaSuccess) return status;
    if (p.segment_count == 0) return launchOnePlaneWindow(p, nullptr, stream);
    if (fractional)
        return sums ? launchWindow<double, double>(p, p.sums, stream)
                    : launchWindow<float, double>(p, p.packed, stream);
    return sums ? launchWindow<int, int>(p, p.sums, stream) : launchOnePlaneWindow(p, p.packed, stream);
}

cudaError_t launchMaskPack(const MaskProblem& p, cudaStream_t stream) {
    MaskProblem packing = p;
    packing.tile_flags = nullptr;
    return p.type == MaskType::fractional ? launchPack<float, double>(packing, nullptr, stream)
                                          : launchPack<uint8_t, int>(packing, nullptr, stream);
}

}  // namespace pconv::cuda
