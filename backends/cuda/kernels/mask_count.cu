// Windows of binary masks, of any rows: four neighbouring outputs of some rows a thread, whose counts lie
// side by side in words, as bytes or as halves. A warp makes `rows` rows of 128 outputs, without waiting for
// another.
#include <type_traits>

#include "divisor.cuh"
#include "mask_side.cuh"
#include "pass_elements.cuh"

namespace pconv::cuda {

namespace {

constexpr unsigned kThreads = 256;
constexpr int kWarps = static_cast<int>(kThreads) / 32;
constexpr int kWarpsWanted = 4;                                 // a multiprocessor
constexpr int kWordsFlagged = kWarpOutputs / kTileOutputs + 1;  // by a row of a warp
constexpr unsigned kWordsOfRows = 16;                           // at most, by all its rows at once

// What counts are kept in: so many in a word, of so many bits.
template <typename Count>
constexpr int kInWord = 4 / static_cast<int>(sizeof(Count));
template <typename Count>
constexpr int kBits = 8 * static_cast<int>(sizeof(Count));

template <typename Count>
struct FourCounts {
    uint32_t words[sizeof(Count)];

    __device__ __forceinline__ uint32_t at(int j) const {
        constexpr uint32_t kMask = (1U << kBits<Count>)-1;
        return words[j / kInWord<Count>] >> (kBits<Count> * (j % kInWord<Count>)) & kMask;
    }
};

struct ByteTable {
    float2 results[kByteTaps + 1];  // window sum and ratio of a count
};

struct CountParameters {
    WindowParameters window;
    const void* source;                       // null: 1 everywhere
    int source_planes;                        // of an image
    int elements;                             // of all the source
    Divisor tiles_w, tiles_h, depth, groups;  // of a warp each
    int warps;
    bool whole;          // rows of outputs are whole vectors
    bool flags_of_rows;  // pictures begin with a word of flags, and a warp's rows have few
};

// Four bytes from some bits of two words on.
__device__ __forceinline__ uint32_t bytesAt(uint32_t low, uint32_t high, int shift) {
    return static_cast<uint32_t>((static_cast<uint64_t>(high) << 32 | low) >> shift);
}

// All bits of those elements of a word, of `column` and behind it, that a row of `width` has.
template <typename Count>
__device__ __forceinline__ uint32_t insideBits(int column, int width) {
    const auto first = [](int count) {
        const int some = count < 0 ? 0 : count < kInWord<Count> ? count : kInWord<Count>;
        return static_cast<uint32_t>((uint64_t{1} << (kBits<Count> * some)) - 1);
    };
    return first(width - column) & ~first(-column);
}

// A row of the source. `words`: rows are whole words.
template <typename Count, bool words>
struct MaskRow {
    const Count* source;
    int elements, first, width;

    // Words of elements from `column` on, 0 outside the row.
    template <int count>
    __device__ __forceinline__ void read(int column, uint32_t (&to)[count]) const {
        const int place = words ? column : first + column;
        const int at = place & ~(kInWord<Count> - 1);
        const Count* from = words ? source + first : source;
        uint32_t whole[count + 1];
#pragma unroll
        for (int i = 0; i <= count; ++i) {
            const int here = at + i * kInWord<Count>;
            whole[i] = isWithin(here, words ? width : elements)
                           ? *reinterpret_cast<const uint32_t*>(from + here)
                           : 0;
        }
        const int shift = (place & (kInWord<Count> - 1)) * kBits<Count>;
#pragma unroll
        for (int i = 0; i < count; ++i) {
            to[i] = bytesAt(whole[i], whole[i + 1], shift);
            if (!words) to[i] &= insideBits<Count>(column + i * kInWord<Count>, width);
        }
    }
    __device__ __forceinline__ uint32_t one(int column) const {
        return isWithin(column, width) ? uint32_t{source[first + column]} : 0;
    }
};

// A row of a mask without holes.
template <typename Count>
struct ValidRow {
    int width;
    uint32_t element;

    template <int count>
    __device__ __forceinline__ void read(int column, uint32_t (&to)[count]) const {
        const uint32_t all = element * kOnes<Count>;
#pragma unroll
        for (int i = 0; i < count; ++i) to[i] = insideBits<Count>(column + i * kInWord<Count>, width) & all;
    }
    __device__ __forceinline__ uint32_t one(int column) const {
        return isWithin(column, width) ? element : 0;
    }
};

// The sums of four neighbouring windows' taps in one row of the input. `column` is where the first begins;
// `window`: the window's size, where outputs and taps are neighbours; 0: any.
template <typename Count, int window, typename Row>
__device__ __forceinline__ FourCounts<Count> rowCounts(const ConvShape& s, int column, const Row& row) {
    constexpr int kWords = static_cast<int>(sizeof(Count));
    const int kernel = window > 0 ? window : s.kernel[2];
    FourCounts<Count> counts{};
    const auto addNeighbours = [&] {  // eight elements have all
        uint32_t elements[2 * kWords];
        row.read(column, elements);
#pragma unroll
        for (int kw = 0; kw < 5; ++kw)
            if (kw < kernel)
#pragma unroll
                for (int i = 0; i < kWords; ++i) {
                    const int word = kw / kInWord<Count> + i;
                    const int shift = kw % kInWord<Count> * kBits<Count>;
                    counts.words[i] +=
                        shift == 0 ? elements[word] : bytesAt(elements[word], elements[word + 1], shift);
                }
    };
    if constexpr (window > 0) {
        addNeighbours();
    } else if (s.stride[2] == 1 && s.dilation[2] == 1 && kernel <= 5) {
        addNeighbours();
    } else {
#pragma unroll 1
        for (int kw = kernel; kw > 0; --kw, column += s.dilation[2]) {
            if (s.stride[2] == 1) {
                uint32_t elements[kWords];
                row.read(column, elements);
#pragma unroll
                for (int i = 0; i < kWords; ++i) counts.words[i] += elements[i];
                continue;
            }
#pragma unroll
            for (int j = 0; j < 4; ++j)
                counts.words[j / kInWord<Count>] += row.one(column + j * s.stride[2])
                                                    << (kBits<Count> * (j % kInWord<Count>));
        }
    }
    return counts;
}

// Bytes that are not 0 where a count is not.
__device__ __forceinline__ uint32_t bytesOf(const FourCounts<uint8_t>& counts) {
    return counts.words[0];
}
__device__ __forceinline__ uint32_t bytesOf(const FourCounts<uint16_t>& counts) {
    const auto two = [](uint32_t word) {
        const uint32_t some = onesOf<uint16_t>(word);
        return some | some >> 8;
    };
    return (two(counts.words[0]) & 0xFFFFU) | two(counts.words[1]) << 16;
}

__device__ __forceinline__ uint32_t flagsOf(uint32_t valid, uint32_t lacking) {
    return (valid != 0 ? kTileSomeValid : 0) | (lacking != 0 ? kTileSomeHole : 0);
}

// The flags of four outputs, two bits for each word of flags: the first is output `place` of those that the
// first word is of. A byte of `valid` and of `lacking` is not 0 where one is, or its window lacks something.
__device__ __forceinline__ uint32_t flagsAt(unsigned place, uint32_t valid, uint32_t lacking) {
    const unsigned word = place / kTileOutputs;
    const unsigned left = kTileOutputs - place % kTileOutputs;  // in that word
    if (left >= 4) return flagsOf(valid, lacking) << (2 * word);
    const uint32_t own = (1U << (8 * left)) - 1;
    const uint32_t next = flagsOf(valid & ~own, lacking & ~own);
    return flagsOf(valid & own, lacking & own) << (2 * word) | (next != 0 ? next << (2 * word + 2) : 0);
}

// The flags of a warp's rows, two bits for each of the words from the one of `first` on, to all pictures,
// which begin with a word.
__device__ __forceinline__ void flagRows(const CountParameters& p, unsigned first, uint32_t own) {
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

// The flags of a row of a warp's outputs, those from `first` on, to all pictures; each thread has four of
// them.
__device__ __forceinline__ void flagTiles(const CountParameters& p, unsigned first, uint32_t valid,
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
        of_warp = reduceOr(flagsAt(first % kTile + lane * 4, valid, lacking));
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

// What is not 0 of some outputs: bytes, as bytesOf gives them.
struct OutputBytes {
    uint32_t valid, lacking;
};

// Four outputs from their counts, to `result` on. `full`: what the counts would be without holes.
template <typename Count>
__device__ __forceinline__ OutputBytes storeCounts(const CountParameters& p, int64_t result, int ow,
                                                   const FourCounts<Count>& counts,
                                                   const FourCounts<Count>& full) {
    const WindowParameters& window = p.window;
    const int left = window.shape.output[2] - ow;
    const int count = left < 0 ? 0 : left < 4 ? left : 4;
    const uint32_t wanted = static_cast<uint32_t>((uint64_t{1} << (8 * count)) - 1);
    Several<float, 4> window_sums;
    Several<float, 4> ratios;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
        if constexpr (sizeof(Count) == 1) {
            const float2 of_count = sharedStorage<ByteTable>().results[counts.at(j)];
            window_sums.values[j] = of_count.x;
            ratios.values[j] = of_count.y;
        } else {
            const auto sum = static_cast<float>(counts.at(j));
            window_sums.values[j] = sum;
            ratios.values[j] =
                elementwise::windowResult(sum, window.window, window.eps, window.normalization).ratio;
        }
    }
    const uint32_t some = bytesOf(counts);
    const uint32_t updated = onesOf<uint8_t>(some);
    auto* const bytes = static_cast<uint8_t*>(window.updated) + result;
    if (p.whole && count == 4) {
        *reinterpret_cast<Several<float, 4>*>(window.window_sum + result) = window_sums;
        *reinterpret_cast<Several<float, 4>*>(window.ratio + result) = ratios;
        *reinterpret_cast<uint32_t*>(bytes) = updated;
    } else {
#pragma unroll
        for (int j = 0; j < 4; ++j)
            if (j < count) {
                window.window_sum[result + j] = window_sums.values[j];
                window.ratio[result + j] = ratios.values[j];
                bytes[j] = static_cast<uint8_t>(updated >> (8 * j));
            }
    }
    FourCounts<Count> lacking;
#pragma unroll
    for (int i = 0; i < static_cast<int>(sizeof(Count)); ++i)
        lacking.words[i] = counts.words[i] ^ full.words[i];
    return {some & wanted, bytesOf(lacking) & wanted};
}

// `rows` of outputs a thread: more than one where rows of a window are neighbours, so that a row is read once
// for all. `window`: its size along both axes, where outputs and taps are neighbours and there is a mask; 0:
// any. `words`: rows of the source are whole words.
template <typename Count, int rows, int window, bool words>
__global__ void __launch_bounds__(kThreads, 4) maskCount(CountParameters p) {
    constexpr int kWords = static_cast<int>(sizeof(Count));
    using Counts = FourCounts<Count>;
    const ConvShape& s = p.window.shape;
    const int thread = static_cast<int>(threadIdx.x);
    if constexpr (kWords == 1) {
        if (thread <= s.kernel[0] * s.kernel[1] * s.kernel[2]) {
            const auto sum = static_cast<float>(thread * p.window.counted);
            sharedStorage<ByteTable>().results[thread] = {
                sum,
                elementwise::windowResult(sum, p.window.window, p.window.eps, p.window.normalization).ratio};
        }
        syncThreads();
    }
    int first_w = static_cast<int>(blockIdx.x) * kWarps + thread / 32;
    if (first_w >= p.warps) return;
    int oh = p.tiles_w.divide(first_w);
    int od = p.tiles_h.divide(oh);
    const int plane = p.depth.divide(od);
    const int image = p.groups.quotient(plane);
    oh *= rows;
    const int ow = first_w * kWarpOutputs + thread % 32 * 4;
    const int column = ow * s.stride[2] - s.padding[2];
    const Counts columns_inside = rowCounts<Count, window>(
        s, column, ValidRow<Count>{s.input[2], kWords == 1 ? 1U : static_cast<uint32_t>(p.window.counted)});
    const int kernel = window > 0 ? window : s.kernel[1];
    const int stride = window > 0 ? 1 : s.stride[1];
    const int step = rows == 1 ? s.dilation[1] : 1;
    const int span = (rows - 1) * stride + kernel;
    Counts counts[rows] = {};
    uint32_t lines[rows] = {};  // of the window that lie inside
    int d = od * s.stride[0] - s.padding[0];
#pragma unroll 1
    for (int kd = s.kernel[0]; kd > 0; --kd, d += s.dilation[0]) {
        if (!isWithin(d, s.input[0])) continue;
        int h = oh * stride - s.padding[1];
        MaskRow<Count, words> row{static_cast<const Count*>(p.source), p.elements, 0, s.input[2]};
        row.first = (((p.source_planes == 1 ? image : plane) * s.input[0] + d) * s.input[1] + h) * s.input[2];
#pragma unroll(window > 0 ? rows - 1 + window : 1)
        for (int i = 0; i < span; ++i, h += step, row.first += step * s.input[2]) {
            if (!isWithin(h, s.input[1])) continue;
            const Counts of_row = window == 0 && p.source == nullptr
                                      ? columns_inside
                                      : rowCounts<Count, window>(s, column, row);
#pragma unroll
            for (int r = 0; r < rows; ++r)
                if (rows == 1 || isWithin(i - r * stride, kernel)) {
#pragma unroll
                    for (int j = 0; j < kWords; ++j) counts[r].words[j] += of_row.words[j];
                    ++lines[r];
                }
        }
    }
    const int position = (od * s.output[1] + oh) * s.output[2] + ow;  // in its image
    const int volume = s.output[0] * s.output[1] * s.output[2];
    int64_t result = static_cast<int64_t>(plane) * volume + position;
    const auto lane_first = static_cast<unsigned>(thread % 32 * 4);
    unsigned first =
        static_cast<unsigned>(image * volume + position) - lane_first;  // of the row, of all images
    const unsigned first_of_all = first;
    unsigned place = first % kTileOutputs + lane_first;
    uint32_t flags = 0;
#pragma unroll 1
    for (int left = rows; left > 0 && oh < s.output[1]; --left, ++oh, result += s.output[2]) {
        Counts full;
#pragma unroll
        for (int j = 0; j < kWords; ++j) full.words[j] = columns_inside.words[j] * lines[0];
        const OutputBytes bytes = storeCounts(p, result, ow, counts[0], full);
        if (p.flags_of_rows)
            flags |= flagsAt(place, bytes.valid, bytes.lacking);
        else
            flagTiles(p, first, bytes.valid, bytes.lacking);
        first += static_cast<unsigned>(s.output[2]);
        place += static_cast<unsigned>(s.output[2]);
#pragma unroll
        for (int r = 1; r < rows; ++r) {  // the next row's
            counts[r - 1] = counts[r];
            lines[r - 1] = lines[r];
        }
    }
    if (p.flags_of_rows) flagRows(p, first_of_all, flags);
}

template <typename Count, bool words>
cudaError_t launchCount(const MaskProblem& p, const Count* source, int source_planes, cudaStream_t stream) {
    const ConvShape& s = p.shape;
    CountParameters k{};
    k.window = windowParameters(p);
    k.source = source;
    k.source_planes = source_planes;
    k.elements = p.batch * source_planes * volumeOf(s.input);
    k.tiles_w = Divisor(ceilDivide(s.output[2], kWarpOutputs));
    k.depth = Divisor(s.output[0]);
    k.groups = Divisor(k.window.groups);
    k.whole = s.output[2] % 4 == 0 && reinterpret_cast<uintptr_t>(p.window_sum) % 16 == 0 &&
              reinterpret_cast<uintptr_t>(p.ratio) % 16 == 0 &&
              reinterpret_cast<uintptr_t>(p.updated) % 4 == 0;
    const bool alike = p.batch > 1 || s.batch == 1 || volumeOf(s.output) % kTileOutputs == 0;
    const int planes = p.batch * k.window.groups;
    const auto launchRows = [&](auto rows, auto window) {
        constexpr int kRows = decltype(rows)::value;
        k.tiles_h = Divisor(ceilDivide(s.output[1], kRows));
        k.flags_of_rows = alike && int64_t{kRows - 1} * s.output[2] + kWarpOutputs + kTileOutputs <=
                                       int64_t{kWordsOfRows} * kTileOutputs;
        k.warps = k.tiles_w.value * k.tiles_h.value * k.depth.value * planes;
        return launch(maskCount<Count, kRows, decltype(window)::value, words>,
                      dim3(static_cast<unsigned>(ceilDivide(k.warps, kWarps))), kThreads,
                      sizeof(Count) == 1 ? sizeof(ByteTable) : 0, stream, k);
    };
    using One = std::integral_constant<int, 1>;
    using Two = std::integral_constant<int, 2>;
    using Four = std::integral_constant<int, 4>;
    using Any = std::integral_constant<int, 0>;
    using Three = std::integral_constant<int, 3>;
    // Rows of windows that share none of the input gain nothing by being done together.
    if ((s.dilation[1] > 1 && s.kernel[1] > 1) || s.stride[1] > s.kernel[1]) return launchRows(One{}, Any{});
    // More rows a thread where that leaves a multiprocessor enough warps.
    const int64_t lines = int64_t{k.tiles_w.value} * s.output[1] * k.depth.value * planes;
    const bool many = lines >= int64_t{4} * kWarpsWanted * s.multiprocessors;
    const auto isThree = [&](int d) { return s.kernel[d] == 3 && s.stride[d] == 1 && s.dilation[d] == 1; };
    if (source != nullptr && isThree(1) && isThree(2))
        return many ? launchRows(Four{}, Three{}) : launchRows(Two{}, Three{});
    return many ? launchRows(Four{}, Any{}) : launchRows(Two{}, Any{});
}

template <typename Count>
cudaError_t launchByWidth(const MaskProblem& p, const Count* source, int source_planes, cudaStream_t stream) {
    return source == nullptr || p.shape.input[2] % kInWord<Count> == 0
               ? launchCount<Count, true>(p, source, source_planes, stream)
               : launchCount<Count, false>(p, source, source_planes, stream);
}

}  // namespace

cudaError_t launchCountedWindows(const MaskProblem& p, const uint8_t* source, cudaStream_t stream) {
    return launchByWidth(p, source, 1, stream);
}

cudaError_t launchCountedWindows(const MaskProblem& p, const uint16_t* source, cudaStream_t stream) {
    return launchByWidth(p, source, maskGroups(p), stream);
}

}  // namespace pconv::cuda
