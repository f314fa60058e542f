// The mask side's second pass: windows summed and tiles classified.
#include <type_traits>

#include "divisor.cuh"
#include "mask_side.cuh"
#include "pass_elements.cuh"

namespace pconv::cuda {

namespace {

constexpr unsigned kThreads = 256;
constexpr int kTileWidth = 32;
constexpr int kTileHeight = 8;
constexpr size_t kWindowSharedBytes = 32 * 1024;

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

// Windows of binary masks of one plane, or of none, of at most 255 taps: four neighbouring outputs of some
// rows a thread, whose counts are bytes of a word. Rows of the input are whole words. A warp makes `rows`
// rows of 128 outputs, without waiting for another.
constexpr int kByteTaps = 255;
constexpr int kByteWidth = 128;
constexpr int kWarps = static_cast<int>(kThreads) / 32;
constexpr int kWarpsWanted = 4;  // a multiprocessor
constexpr uint32_t kOnes = 0x01010101U;
constexpr int kWordsFlagged = kByteWidth / kTileOutputs + 1;  // by a row of a warp
constexpr unsigned kWordsOfRows = 16;                         // at most, by all its rows at once

struct ByteTable {
    float2 results[kByteTaps + 1];  // window sum and ratio of a count
};

struct ByteWindowParameters {
    WindowParameters window;
    const uint8_t* source;            // null: 1 everywhere
    Divisor tiles_w, tiles_h, depth;  // of a warp each
    int warps;
    bool whole;          // rows of outputs are whole vectors
    bool flags_of_rows;  // pictures begin with a word of flags, and a warp's rows have few
};

__device__ __forceinline__ bool isWithin(int at, int size) {
    return static_cast<unsigned>(at) < static_cast<unsigned>(size);
}

// Four bytes from a byte of two words on.
__device__ __forceinline__ uint32_t bytesAt(uint32_t low, uint32_t high, int shift) {
    return static_cast<uint32_t>((static_cast<uint64_t>(high) << 32 | low) >> shift);
}

// The sums of four neighbouring windows' taps in one row of the input, as bytes. `column` is where the first
// begins, word(at) and byte(at) are what the row has, 0 outside.
template <int window, typename Word, typename Byte>
__device__ __forceinline__ uint32_t rowCounts(const ConvShape& s, int column, const Word& word,
                                              const Byte& byte) {
    const int kernel = window > 0 ? window : s.kernel[2];
    const int first = column & ~3;
    if (window > 0 || (s.stride[2] == 1 && s.dilation[2] == 1 && kernel <= 5)) {  // three words have all
        const int shift = (column & 3) * 8;
        const uint32_t middle = word(first + 4);
        const uint32_t low = bytesAt(word(first), middle, shift);
        const uint32_t high = bytesAt(middle, word(first + 8), shift);
        uint32_t counts = low;
#pragma unroll
        for (int kw = 1; kw < 5; ++kw)
            if (kw < kernel) counts += kw < 4 ? bytesAt(low, high, 8 * kw) : high;
        return counts;
    }
    uint32_t counts = 0;
#pragma unroll 1
    for (int kw = kernel; kw > 0; --kw, column += s.dilation[2]) {
        if (s.stride[2] == 1) {
            const int at = column & ~3;
            counts += bytesAt(word(at), word(at + 4), (column & 3) * 8);
            continue;
        }
#pragma unroll
        for (int j = 0; j < 4; ++j) counts += byte(column + j * s.stride[2]) << (8 * j);
    }
    return counts;
}

__device__ __forceinline__ uint32_t flagsOf(uint32_t valid, uint32_t lacking) {
    return (valid != 0 ? kTileSomeValid : 0) | (lacking != 0 ? kTileSomeHole : 0);
}

// The flags of a warp's rows, two bits for each of the words from the one of `first` on, to all pictures,
// which begin with a word.
__device__ __forceinline__ void flagRows(const ByteWindowParameters& p, unsigned first, uint32_t own) {
    const ConvShape& s = p.window.shape;
    const uint32_t of_warp = reduceOr(own);
    const auto volume = static_cast<unsigned>(s.output[0] * s.output[1] * s.output[2]);
    const unsigned lane = threadIdx.x % 32;
    const uint32_t bits = of_warp >> (2 * lane & 31U) & 3U;
    if (lane >= kWordsOfRows || bits == 0) return;
    uint32_t* to = p.window.tile_flags + first / kTileOutputs + lane;
    const int images = p.window.batch == 1 ? s.batch : 1;
#pragma unroll 1
    for (int image = 0; image < images; ++image, to += volume / kTileOutputs)
        if ((*to & bits) != bits) atomicSetBits(to, bits);
}

// The flags of a warp's outputs, two bits for each word of flags that they lie in, to all pictures. A thread
// has four outputs, the first one those from `first` on: a byte of `valid` and of `lacking` is not 0 where
// one is, or its window lacks something.
__device__ __forceinline__ void flagTiles(const ByteWindowParameters& p, unsigned first, uint32_t valid,
                                          uint32_t lacking) {
    constexpr unsigned kTile = kTileOutputs;
    const ConvShape& s = p.window.shape;
    const unsigned lane = threadIdx.x % 32;
    const auto volume = static_cast<unsigned>(s.output[0] * s.output[1] * s.output[2]);
    const unsigned images = p.window.batch == 1 ? static_cast<unsigned>(s.batch) : 1;
    const bool alike = volume % kTile == 0;  // in every picture
    uint32_t of_warp = 0;
#pragma unroll 1
    for (unsigned image = 0; image < (alike ? 1 : images); ++image, first += volume) {
        uint32_t own = 0;
        if (p.whole)
            own = flagsOf(valid, lacking) << (2 * ((first % kTile + lane * 4) / kTile));
        else
#pragma unroll 1
            for (unsigned j = 0; j < 4; ++j)
                own |= flagsOf(valid >> (8 * j) & 0xFFU, lacking >> (8 * j) & 0xFFU)
                       << (2 * ((first % kTile + lane * 4 + j) / kTile));
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

// Four outputs from their counts, to `result` on. `full`: what the counts would be without
// holes. Returns the flags that are still to be set.
__device__ __forceinline__ uint32_t storeCounts(const ByteWindowParameters& p, const ByteTable& table,
                                                int64_t result, int ow, uint32_t counts, uint32_t full) {
    const ConvShape& s = p.window.shape;
    const int left = s.output[2] - ow;
    const int count = left < 0 ? 0 : left < 4 ? left : 4;
    const uint32_t wanted = static_cast<uint32_t>((uint64_t{1} << (8 * count)) - 1);
    Several<float, 4> window_sums;
    Several<float, 4> ratios;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
        const float2 of_count = table.results[counts >> (8 * j) & 0xFFU];
        window_sums.values[j] = of_count.x;
        ratios.values[j] = of_count.y;
    }
    // 1 where a byte is not 0.
    const uint32_t updated = (((counts & 0x7F7F7F7FU) + 0x7F7F7F7FU) | counts) >> 7 & kOnes;
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
    if (p.flags_of_rows) return flagsOf(counts & wanted, (counts ^ full) & wanted);
    flagTiles(p, static_cast<unsigned>(result) - threadIdx.x % 32 * 4, counts & wanted,
              (counts ^ full) & wanted);
    return 0;
}

// `rows` of outputs a thread: more than one where rows of a window are neighbours, so that a row is read once
// for all. `window`: its size along both axes, where outputs and taps are neighbours and there is a mask; 0:
// any.
template <int rows, int window>
__global__ void __launch_bounds__(kThreads, 4) maskWindowBytes(ByteWindowParameters p) {
    auto& table = sharedStorage<ByteTable>();
    const ConvShape& s = p.window.shape;
    const int thread = static_cast<int>(threadIdx.x);
    if (thread <= s.kernel[0] * s.kernel[1] * s.kernel[2]) {
        const auto sum = static_cast<float>(thread * p.window.counted);
        table.results[thread] = {
            sum, elementwise::windowResult(sum, p.window.window, p.window.eps, p.window.normalization).ratio};
    }
    syncThreads();
    int first_w = static_cast<int>(blockIdx.x) * kWarps + thread / 32;
    if (first_w >= p.warps) return;
    int oh = p.tiles_w.divide(first_w);
    int od = p.tiles_h.divide(oh);
    const int plane = p.depth.divide(od);  // the image
    oh *= rows;
    const int ow = first_w * kByteWidth + thread % 32 * 4;
    const int column = ow * s.stride[2] - s.padding[2];
    const auto isColumn = [&](int at) { return isWithin(at, s.input[2]); };
    const uint32_t columns_inside = rowCounts<window>(
        s, column, [&](int at) { return isColumn(at) ? kOnes : 0; },
        [&](int at) { return isColumn(at) ? 1U : 0U; });
    const int kernel = window > 0 ? window : s.kernel[1];
    const int stride = window > 0 ? 1 : s.stride[1];
    const int step = rows == 1 ? s.dilation[1] : 1;
    const int span = (rows - 1) * stride + kernel;
    uint32_t counts[rows] = {};
    uint32_t full[rows] = {};  // without holes
    int d = od * s.stride[0] - s.padding[0];
#pragma unroll 1
    for (int kd = s.kernel[0]; kd > 0; --kd, d += s.dilation[0]) {
        if (!isWithin(d, s.input[0])) continue;
        int h = oh * stride - s.padding[1];
        const uint8_t* row = p.source + ((plane * s.input[0] + d) * s.input[1] + h) * s.input[2];
#pragma unroll(window > 0 ? rows - 1 + window : 1)
        for (int i = 0; i < span; ++i, h += step, row += step * s.input[2]) {
            if (!isWithin(h, s.input[1])) continue;
            const uint32_t of_row =
                window == 0 && p.source == nullptr
                    ? columns_inside
                    : rowCounts<window>(
                          s, column,
                          [&](int at) {
                              return isColumn(at) ? *reinterpret_cast<const uint32_t*>(row + at) : 0;
                          },
                          [&](int at) { return isColumn(at) ? uint32_t{row[at]} : 0; });
#pragma unroll
            for (int r = 0; r < rows; ++r)
                if (rows == 1 || isWithin(i - r * stride, kernel)) {
                    counts[r] += of_row;
                    full[r] += columns_inside;
                }
        }
    }
    int64_t result = (static_cast<int64_t>(plane * s.output[0] + od) * s.output[1] + oh) * s.output[2] + ow;
    const auto lane_first = static_cast<unsigned>(thread % 32 * 4);
    const unsigned first = static_cast<unsigned>(result) - lane_first;
    unsigned place = first % kTileOutputs + lane_first;
    uint32_t flags = 0;
#pragma unroll 1
    for (int left = rows; left > 0 && oh < s.output[1]; --left, ++oh, result += s.output[2]) {
        flags |= storeCounts(p, table, result, ow, counts[0], full[0]) << (2 * (place / kTileOutputs));
        place += static_cast<unsigned>(s.output[2]);
#pragma unroll
        for (int r = 1; r < rows; ++r) {  // the next row's
            counts[r - 1] = counts[r];
            full[r - 1] = full[r];
        }
    }
    if (p.flags_of_rows) flagRows(p, first, flags);
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
    if (maskGroups(p) > 1 || static_cast<int64_t>(volumeOf(s.kernel)) > kByteTaps || s.input[2] % 4 != 0)
        return launchWindow<uint8_t, int>(p, source, stream);
    ByteWindowParameters k{};
    k.window = windowParameters(p);
    k.source = static_cast<const uint8_t*>(source);
    k.tiles_w = Divisor(ceilDivide(s.output[2], kByteWidth));
    k.depth = Divisor(s.output[0]);
    k.whole = s.output[2] % 4 == 0 && reinterpret_cast<uintptr_t>(p.window_sum) % 16 == 0 &&
              reinterpret_cast<uintptr_t>(p.ratio) % 16 == 0 &&
              reinterpret_cast<uintptr_t>(p.updated) % 4 == 0;
    const auto launchRows = [&](auto rows, auto window) {
        constexpr int kRows = decltype(rows)::value;
        k.tiles_h = Divisor(ceilDivide(s.output[1], kRows));
        k.flags_of_rows = k.whole && volumeOf(s.output) % kTileOutputs == 0 &&
                          int64_t{kRows - 1} * s.output[2] + kByteWidth + kTileOutputs <=
                              int64_t{kWordsOfRows} * kTileOutputs;
        k.warps = k.tiles_w.value * k.tiles_h.value * k.depth.value * p.batch;
        return launch(maskWindowBytes<kRows, decltype(window)::value>,
                      dim3(static_cast<unsigned>(ceilDivide(k.warps, kWarps))), kThreads, sizeof(ByteTable),
                      stream, k);
    };
    using One = std::integral_constant<int, 1>;
    using Two = std::integral_constant<int, 2>;
    using Four = std::integral_constant<int, 4>;
    using Any = std::integral_constant<int, 0>;
    using Three = std::integral_constant<int, 3>;
    // Rows of windows that share none of the input gain nothing by being done together.
    if ((s.dilation[1] > 1 && s.kernel[1] > 1) || s.stride[1] > s.kernel[1]) return launchRows(One{}, Any{});
    // More rows a thread where that leaves a multiprocessor enough warps.
    const int64_t lines = int64_t{k.tiles_w.value} * s.output[1] * k.depth.value * p.batch;
    const bool many = lines >= int64_t{4} * kWarpsWanted * s.multiprocessors;
    const auto isThree = [&](int d) { return s.kernel[d] == 3 && s.stride[d] == 1 && s.dilation[d] == 1; };
    if (source != nullptr && isThree(1) && isThree(2))
        return many ? launchRows(Four{}, Three{}) : launchRows(Two{}, Three{});
    return many ? launchRows(Four{}, Any{}) : launchRows(Two{}, Any{});
}

}  // namespace

cudaError_t launchMaskUpdate(const MaskProblem& p, cudaStream_t stream) {
    const bool fractional = p.type == MaskType::fractional;
    const bool sums = p.multi_channel && p.segment_count > 0;
    const cudaError_t status = launchMaskPlanes(p, sums, stream);
    if (status != cudaSuccess) return status;
    if (p.segment_count == 0) return launchOnePlaneWindow(p, nullptr, stream);
    if (fractional)
        return sums ? launchWindow<double, double>(p, p.sums, stream)
                    : launchWindow<float, double>(p, p.packed, stream);
    return sums ? launchWindow<int, int>(p, p.sums, stream) : launchOnePlaneWindow(p, p.packed, stream);
}

}  // namespace pconv::cuda
