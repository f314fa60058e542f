// The mask side's second pass where counts are no bytes nor halves of words: windows summed one output a
// thread, and tiles classified.
#include <type_traits>

#include "divisor.cuh"
#include "mask_side.cuh"

namespace pconv::cuda {

namespace {

constexpr unsigned kThreads = 256;
constexpr int kTileWidth = 32;
constexpr int kTileHeight = 8;
constexpr size_t kWindowSharedBytes = 32 * 1024;

struct WalkParameters {
    WindowParameters window;
    bool separable;
    Divisor tiles_w, tiles_h, depth, groups;
    Divisor columns;  // of a tile's input
    Divisor dilation[3];
};

// How many of a window's taps along one axis lie inside the input.
__device__ __forceinline__ int tapsInside(const WalkParameters& p, int axis, int output) {
    const ConvShape& s = p.window.shape;
    const int first = output * s.stride[axis] - s.padding[axis];
    // Those in front of position `end`.
    const auto before = [&](int end) {
        if (end <= first) return 0;
        const int count = p.dilation[axis].quotient(end - first - 1) + 1;
        return count < s.kernel[axis] ? count : s.kernel[axis];
    };
    return before(s.input[axis]) - before(0);
}

// A block makes 8 rows of 32 outputs of one plane: columns of taps first, into shared memory, then rows of
// them. Without `source`, of bytes, every element counts as `counted`.
template <typename Source, typename Sum>
__global__ void __launch_bounds__(kThreads) maskWindow(WalkParameters p, const Source* source) {
    auto* columns = &sharedStorage<Sum>();
    const WindowParameters& window = p.window;
    const ConvShape& s = window.shape;
    int first_w = static_cast<int>(blockIdx.x);
    int first_h = p.tiles_w.divide(first_w);
    int od = p.tiles_h.divide(first_h);
    const int plane = p.depth.divide(od);  // n * groups + group
    first_w *= kTileWidth;
    first_h *= kTileHeight;
    const int64_t in_volume = static_cast<int64_t>(s.input[0]) * s.input[1] * s.input[2];
    const bool counted = std::is_same_v<Source, uint8_t> && source == nullptr;
    const Source* in = counted ? nullptr : source + plane * in_volume;
    const int thread = static_cast<int>(threadIdx.x);

    const auto columnSum = [&](int oh, int w) {
        Sum sum = 0;
        if (!isWithin(w, s.input[2]) || oh >= s.output[1]) return sum;
        int d = od * s.stride[0] - s.padding[0];
#pragma unroll 1
        for (int kd = s.kernel[0]; kd > 0; --kd, d += s.dilation[0]) {
            if (!isWithin(d, s.input[0])) continue;
            int h = oh * s.stride[1] - s.padding[1];
            int at = (d * s.input[1] + h) * s.input[2] + w;
#pragma unroll 1
            for (int kh = s.kernel[1]; kh > 0; --kh, h += s.dilation[1], at += s.dilation[1] * s.input[2])
                if (isWithin(h, s.input[1]))
                    sum += counted ? static_cast<Sum>(window.counted) : static_cast<Sum>(in[at]);
        }
        return sum;
    };
    if (p.separable) {
        for (int i = thread; i < kTileHeight * p.columns.value; i += static_cast<int>(kThreads)) {
            int column = i;
            const int row = p.columns.divide(column);
            columns[i] = columnSum(first_h + row, first_w * s.stride[2] - s.padding[2] + column);
        }
        syncThreads();
    }
    const int row = thread / kTileWidth;
    const int ow = first_w + thread % kTileWidth;
    const int oh = first_h + row;
    if (ow >= s.output[2] || oh >= s.output[1]) return;
    Sum sum = 0;
    int column = thread % kTileWidth * s.stride[2];
#pragma unroll 1
    for (int kw = s.kernel[2]; kw > 0; --kw, column += s.dilation[2])
        sum += p.separable ? columns[row * p.columns.value + column]
                           : columnSum(oh, first_w * s.stride[2] - s.padding[2] + column);
    const int out_volume = s.output[0] * s.output[1] * s.output[2];
    const int position = (od * s.output[1] + oh) * s.output[2] + ow;
    const int64_t at = static_cast<int64_t>(plane) * out_volume + position;
    const auto single = static_cast<float>(sum);
    const auto result = elementwise::windowResult(single, window.window, window.eps, window.normalization);
    window.window_sum[at] = single;
    window.ratio[at] = result.ratio;
    if (window.binary)
        static_cast<uint8_t*>(window.updated)[at] = result.updated > 0 ? 1 : 0;
    else
        static_cast<float*>(window.updated)[at] = result.updated;

    const Sum full = static_cast<Sum>(tapsInside(p, 0, od) * tapsInside(p, 1, oh) * tapsInside(p, 2, ow)) *
                     static_cast<Sum>(window.counted);
    const uint32_t flags = (result.updated > 0 ? kTileSomeValid : 0) | (sum < full ? kTileSomeHole : 0);
    const int n = p.groups.quotient(plane);
    // A mask of one image serves all.
    for (int image = n; image < (window.batch == 1 ? s.batch : n + 1); ++image) {
        uint32_t* word = window.tile_flags + (image * out_volume + position) / kTileOutputs;
        if ((*word & flags) != flags) atomicSetBits(word, flags);
    }
}

template <typename Source, typename Sum>
cudaError_t launchWindow(const MaskProblem& p, const void* source, cudaStream_t stream) {
    const ConvShape& s = p.shape;
    WalkParameters k{};
    k.window = windowParameters(p);
    k.tiles_w = Divisor(ceilDivide(s.output[2], kTileWidth));
    k.tiles_h = Divisor(ceilDivide(s.output[1], kTileHeight));
    k.depth = Divisor(s.output[0]);
    k.groups = Divisor(k.window.groups);
    k.columns = Divisor((kTileWidth - 1) * s.stride[2] + (s.kernel[2] - 1) * s.dilation[2] + 1);
    for (int d = 0; d < 3; ++d) k.dilation[d] = Divisor(s.dilation[d]);
    size_t shared_bytes = sizeof(Sum) * kTileHeight * static_cast<size_t>(k.columns.value);
    k.separable = shared_bytes <= kWindowSharedBytes;
    if (!k.separable) shared_bytes = sizeof(Sum);
    const int64_t blocks =
        int64_t{k.tiles_w.value} * k.tiles_h.value * k.depth.value * p.batch * k.window.groups;
    return launch(maskWindow<Source, Sum>, dim3(static_cast<unsigned>(blocks)), kThreads, shared_bytes,
                  stream, k, static_cast<const Source*>(source));
}

}  // namespace

cudaError_t launchMaskUpdate(const MaskProblem& p, cudaStream_t stream) {
    const MaskSums sums = maskSums(p);
    const cudaError_t status = launchMaskPlanes(p, sums, stream);
    if (status != cudaSuccess) return status;
    switch (sums) {
        case MaskSums::doubles:
            return launchWindow<double, double>(p, p.sums, stream);
        case MaskSums::ints:
            return launchWindow<int, int>(p, p.sums, stream);
        case MaskSums::halves:
            return launchCountedWindows(p, static_cast<const uint16_t*>(p.sums), stream);
        case MaskSums::none:
            break;
    }
    if (p.type == MaskType::fractional) return launchWindow<float, double>(p, p.packed, stream);
    const auto* planes = static_cast<const uint8_t*>(p.segment_count == 0 ? nullptr : p.packed);
    return volumeOf(p.shape.kernel) <= kByteTaps && fitsCount(p, 1)
               ? launchCountedWindows(p, planes, stream)
               : launchWindow<uint8_t, int>(p, planes, stream);
}

}  // namespace pconv::cuda
