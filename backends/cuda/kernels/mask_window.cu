// The mask side: planes packed and summed over channels in one pass, windows summed and tiles classified in
// another.
#include "cuda/kernels/kernels.h"
#include "elementwise.h"
#include "launch.cuh"
#include "ptx.cuh"

namespace pconv::cuda {

namespace {

constexpr unsigned kThreads = 256;
constexpr int kSegmentsAtOnce = 8;
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
    int batch, size[3];
    bool hole_is_one;
    void* packed;
    int* plane_of_channel;
    uint32_t* tile_flags;  // cleared by the first launch
    int tiles;
};

__device__ int maskValue(const uint8_t* plane, int64_t at, bool hole_is_one) {
    return (plane[at] != 0) != hole_is_one ? 1 : 0;
}

__device__ float maskValue(const float* plane, int64_t at, bool hole_is_one) {
    return hole_is_one ? 1 - plane[at] : plane[at];
}

// One thread a position: packs its elements of all planes and, unless `sums` is null, sums them over the
// channels of each group. A group that an earlier launch began is gone on with.
template <typename Plane, typename Sum>
__global__ void packMask(PackParameters p, Sum* sums) {
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    const int volume = p.size[0] * p.size[1] * p.size[2];
    if (i < p.tiles) p.tile_flags[i] = 0;
    if (i < p.channels) {
        int channel = i;
        int plane = p.first_plane;
        for (int s = 0; s < p.segment_count; ++s) {
            const PackSegment& segment = p.segments[s];
            if (channel < segment.planes * segment.multiplicity) {
                p.plane_of_channel[p.first_channel + i] = plane + channel / segment.multiplicity;
                break;
            }
            channel -= segment.planes * segment.multiplicity;
            plane += segment.planes;
        }
    }
    if (i >= p.batch * volume) return;
    const int n = i / volume;
    const int position = i % volume;
    const int w = position % p.size[2];
    const int h = position / p.size[2] % p.size[1];
    const int d = position / p.size[2] / p.size[1];
    Plane* packed = static_cast<Plane*>(p.packed) +
                    (static_cast<int64_t>(n) * p.plane_count + p.first_plane) * volume + position;
    int channel = p.first_channel;
    int group = channel / p.counted;
    int group_end = (group + 1) * p.counted;
    Sum* group_sum =
        sums == nullptr ? nullptr : sums + (static_cast<int64_t>(n) * p.groups + group) * volume + position;
    Sum sum = group_sum != nullptr && channel % p.counted != 0 ? *group_sum : 0;
    for (int s = 0; s < p.segment_count; ++s) {
        const PackSegment& segment = p.segments[s];
        const int64_t at = n * segment.strides[0] + d * segment.strides[2] + h * segment.strides[3] + w;
        for (int plane = 0; plane < segment.planes; ++plane) {
            const auto value = maskValue(static_cast<const Plane*>(segment.data),
                                         at + plane * segment.strides[1], p.hole_is_one);
            *packed = static_cast<Plane>(value);
            packed += volume;
            if (group_sum == nullptr) continue;
            for (int left = segment.multiplicity; left > 0;) {
                const int taken = left < group_end - channel ? left : group_end - channel;
                sum += static_cast<Sum>(taken) * static_cast<Sum>(value);
                channel += taken;
                left -= taken;
                if (channel == group_end) {
                    *group_sum = sum;
                    group_sum += volume;
                    group_end += p.counted;
                    sum = 0;
                }
            }
        }
    }
    if (group_sum != nullptr && channel % p.counted != 0) *group_sum = sum;
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

template <typename T>
__global__ void weightMagnitude(const T* weight, int count, int taps, float* magnitude) {
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= count) return;
    double sum = 0;
    for (int tap = 0; tap < taps; ++tap) {
        const float value = toFloat(weight[static_cast<int64_t>(i) * taps + tap]);
        sum += static_cast<double>(value < 0 ? -value : value);
    }
    magnitude[i] = static_cast<float>(sum);
}

struct MaskedConvParameters {
    ConvShape shape;
    int batch, plane_count;
    float eps;
    const int* plane_of_channel;
    const float* magnitude;
    float* updated;
};

// One thread an element of m'.
template <typename Plane>
__global__ void maskedConvMask(MaskedConvParameters p, const Plane* packed) {
    const ConvShape& s = p.shape;
    const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    const int out_volume = s.output[0] * s.output[1] * s.output[2];
    if (i >= static_cast<int64_t>(p.batch) * s.out_channels * out_volume) return;
    int position = static_cast<int>(i % out_volume);
    const int c = static_cast<int>(i / out_volume % s.out_channels);
    const int n = static_cast<int>(i / out_volume / s.out_channels);
    int centre = 0;
    int pitch = 1;
    bool inside = true;
    for (int axis = 2; axis >= 0; --axis) {
        const int at = position % s.output[axis] * s.stride[axis] - s.padding[axis] +
                       s.kernel[axis] / 2 * s.dilation[axis];
        position /= s.output[axis];
        inside = inside && at >= 0 && at < s.input[axis];
        centre += at * pitch;
        pitch *= s.input[axis];
    }
    const int group_in = s.in_channels / s.groups;
    const int first = c / (s.out_channels / s.groups) * group_in;
    const float* magnitude = p.magnitude + static_cast<int64_t>(c) * group_in;
    const Plane* planes = packed + static_cast<int64_t>(n) * p.plane_count * pitch;
    float sum = 0;
    float total = 0;
    for (int j = 0; j < group_in; ++j) {
        total += magnitude[j];
        if (!inside) continue;
        const auto m =
            static_cast<float>(planes[static_cast<int64_t>(p.plane_of_channel[first + j]) * pitch + centre]);
        sum += magnitude[j] * m;
    }
    total += p.eps;
    p.updated[i] = total > 0 ? sum / total : 0;
}

__global__ void setOnes(uint8_t* to, int count) {
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < count) to[i] = 1;
}

dim3 blocksFor(int64_t threads) {
    return dim3(static_cast<unsigned>(ceilDivide<int64_t>(threads, kThreads)));
}

int volumeOf(const int (&size)[3]) {
    return size[0] * size[1] * size[2];
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

template <typename Plane, typename Sum>
cudaError_t launchPack(const MaskProblem& p, Sum* sums, cudaStream_t stream) {
    PackParameters k{};
    k.plane_count = maskMemory(p).plane_count;
    k.counted = countedChannels(p);
    k.groups = maskGroups(p);
    k.batch = p.batch;
    for (int d = 0; d < 3; ++d) k.size[d] = p.shape.input[d];
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
        int threads = p.segment_count > 0 ? p.batch * volumeOf(p.shape.input) : 0;
        if (p.segment_count == 0) k.batch = 0;
        threads = threads > k.channels ? threads : k.channels;
        threads = threads > k.tiles ? threads : k.tiles;
        if (threads > 0) {
            const cudaError_t status =
                launch(packMask<Plane, Sum>, blocksFor(threads), kThreads, 0, stream, k, sums);
            if (status != cudaSuccess) return status;
        }
        k.first_plane += planes;
        k.first_channel += k.channels;
        k.tiles = 0;
        done += k.segment_count;
    } while (done < p.segment_count);
    return cudaSuccess;
}

template <typename Source, typename Sum>
cudaError_t launchWindow(const MaskProblem& p, const void* source, cudaStream_t stream) {
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
    k.columns = (kTileWidth - 1) * s.stride[2] + (s.kernel[2] - 1) * s.dilation[2] + 1;
    size_t shared_bytes = sizeof(Sum) * kTileHeight * static_cast<size_t>(k.columns);
    k.separable = shared_bytes <= kWindowSharedBytes;
    if (!k.separable) shared_bytes = sizeof(Sum);
    const int64_t blocks = static_cast<int64_t>(ceilDivide(s.output[2], kTileWidth)) *
                           ceilDivide(s.output[1], kTileHeight) * s.output[0] * p.batch * k.groups;
    return launch(maskWindow<Source, Sum>, dim3(static_cast<unsigned>(blocks)), kThreads, shared_bytes,
                  stream, k, static_cast<const Source*>(source));
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
    if (p.segment_count == 0) return launchWindow<uint8_t, int>(p, nullptr, stream);
    if (fractional)
        return sums ? launchWindow<double, double>(p, p.sums, stream)
                    : launchWindow<float, double>(p, p.packed, stream);
    return sums ? launchWindow<int, int>(p, p.sums, stream) : launchWindow<uint8_t, int>(p, p.packed, stream);
}

cudaError_t launchWeightMagnitude(const ConvShape& shape, DataType type, const void* weight, float* magnitude,
                                  cudaStream_t stream) {
    const int count = shape.out_channels * (shape.in_channels / shape.groups);
    const int taps = volumeOf(shape.kernel);
    const auto with = [&](auto element) {
        using T = decltype(element);
        return launch(weightMagnitude<T>, blocksFor(count), kThreads, 0, stream,
                      static_cast<const T*>(weight), count, taps, magnitude);
    };
    return type == DataType::f32 ? with(float{}) : type == DataType::f16 ? with(F16{}) : with(Bf16{});
}

cudaError_t launchMaskPack(const MaskProblem& p, cudaStream_t stream) {
    MaskProblem packing = p;
    packing.tile_flags = nullptr;
    return p.type == MaskType::fractional ? launchPack<float, double>(packing, nullptr, stream)
                                          : launchPack<uint8_t, int>(packing, nullptr, stream);
}

cudaError_t launchMaskedConvMask(const MaskProblem& p, const float* magnitude, cudaStream_t stream) {
    const int out_volume = volumeOf(p.shape.output);
    if (p.type == MaskType::none)
        return launch(setOnes, blocksFor(out_volume), kThreads, 0, stream, static_cast<uint8_t*>(p.updated),
                      out_volume);
    const bool fractional = p.type == MaskType::fractional;
    const cudaError_t status = launchMaskPack(p, stream);
    if (status != cudaSuccess) return status;
    MaskedConvParameters k{};
    k.shape = p.shape;
    k.batch = p.batch;
    k.plane_count = maskMemory(p).plane_count;
    k.eps = p.eps;
    k.plane_of_channel = p.plane_of_channel;
    k.magnitude = magnitude;
    k.updated = static_cast<float*>(p.updated);
    const dim3 blocks = blocksFor(static_cast<int64_t>(p.batch) * p.shape.out_channels * out_volume);
    if (fractional)
        return launch(maskedConvMask<float>, blocks, kThreads, 0, stream, k,
                      static_cast<const float*>(p.packed));
    return launch(maskedConvMask<uint8_t>, blocks, kThreads, 0, stream, k,
                  static_cast<const uint8_t*>(p.packed));
}

}  // namespace pconv::cuda
