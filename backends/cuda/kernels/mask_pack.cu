// The mask side's first pass: planes packed, and summed over channels.
#include "divisor.cuh"
#include "mask_side.cuh"
#include "pass_elements.cuh"

namespace pconv::cuda {

namespace {

constexpr unsigned kThreads = 256;
constexpr int kSegmentsAtOnce = 8;
constexpr int kPacked = 4;  // positions of a thread, where rows are whole vectors

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
    int threads;  // that pack
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

// The elements of `count` neighbouring positions.
template <typename Plane, int count>
struct PackedPlanes {
    Several<Plane, count> values;

    __device__ __forceinline__ void setValid(bool hole_is_one) {
#pragma unroll
        for (Plane& value : values.values) value = static_cast<Plane>(maskValue(value, hole_is_one));
    }
    __device__ __forceinline__ Plane at(int k) const {
        return values.values[k];
    }
};
template <>
struct PackedPlanes<uint8_t, kPacked> {
    uint32_t word;

    __device__ __forceinline__ void setValid(bool hole_is_one) {
        word = onesOf<uint8_t>(word) ^ (hole_is_one ? kOnes<uint8_t> : 0);
    }
    __device__ __forceinline__ uint32_t at(int k) const { return word >> (8 * k) & 1U; }
};

// Their sums over channels.
template <typename Sum, int count>
struct PackedSums {
    Several<Sum, count> values;

    template <typename Plane>
    __device__ __forceinline__ void add(const PackedPlanes<Plane, count>& planes, int channels) {
#pragma unroll
        for (int k = 0; k < count; ++k)
            values.values[k] = static_cast<Sum>(values.values[k] +
                                                static_cast<Sum>(channels) * static_cast<Sum>(planes.at(k)));
    }
};
template <>
struct PackedSums<uint16_t, kPacked> {
    Several<uint32_t, 2> values;  // two sums each

    __device__ __forceinline__ void add(const PackedPlanes<uint8_t, kPacked>& planes, int channels) {
        const auto halves = [](uint32_t two) { return (two & 1U) | (two << 8 & 0x10000U); };
        values.values[0] += static_cast<uint32_t>(channels) * halves(planes.word);
        values.values[1] += static_cast<uint32_t>(channels) * halves(planes.word >> 16);
    }
};

// One thread for `count` neighbouring positions: packs their elements of all planes and, unless `sums` is
// null, sums them over the channels of each group. A group that an earlier launch began is gone on with.
template <typename Plane, typename Sum, int count>
__global__ void packMask(PackParameters p, Sum* sums) {
    using Planes = PackedPlanes<Plane, count>;
    using Sums = PackedSums<Sum, count>;
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < p.tiles) p.tile_flags[i] = 0;
    if (i < p.channels) packTable(p, i);
    const int volume = p.positions.value;
    if (i >= p.threads) return;
    int position = i * count;
    const int n = p.positions.divide(position);
    int w = position;
    int h = p.width.divide(w);
    const int d = p.height.divide(h);
    Plane* packed = static_cast<Plane*>(p.packed) +
                    (static_cast<int64_t>(n) * p.plane_count + p.first_plane) * volume + position;
    if (count > 1 && position + count > volume) {  // the end of what is one row of one plane
        const auto* rest = static_cast<const Plane*>(p.segments[0].data);
#pragma unroll 1
        for (; position < volume; ++position)
            *packed++ = static_cast<Plane>(maskValue(rest[position], p.hole_is_one));
        return;
    }
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
            values.setValid(p.hole_is_one);
            *reinterpret_cast<Planes*>(packed) = values;
            from += segment.strides[1];
            packed += volume;
            if (group_sum == nullptr) continue;
#pragma unroll 1
            for (int left = segment.multiplicity; left > 0;) {
                const int taken = left < group_end - channel ? left : group_end - channel;
                sum.add(values, taken);
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

dim3 blocksFor(int64_t threads) {
    return dim3(static_cast<unsigned>(ceilDivide<int64_t>(threads, kThreads)));
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

// Makes one row of what lies in memory as one: an image, or all of them where there is one plane of them
// all, which then may end within a vector. The number of those rows.
int joinRows(const MaskProblem& p, PackParameters& k, bool sums) {
    const auto& size = p.shape.input;
    const int volume = volumeOf(size);
    k.positions = Divisor(volume);
    k.height = Divisor(size[1]);
    k.width = Divisor(size[2]);
    for (int i = 0; i < k.segment_count; ++i) {
        const int64_t* strides = k.segments[i].strides;
        if ((size[1] > 1 && strides[3] != size[2]) ||
            (size[0] > 1 && strides[2] != int64_t{size[2]} * size[1]))
            return p.batch;
    }
    k.height = Divisor(1);
    k.width = k.positions;
    if (sums || k.plane_count != 1 || (p.batch > 1 && k.segments[0].strides[0] != volume)) return p.batch;
    k.positions = k.width = Divisor(volume * p.batch);
    return 1;
}

// Whether rows begin and end with whole vectors everywhere.
template <typename Plane, typename Sum>
bool packsVectors(const PackParameters& k, const Sum* sums, int images) {
    const auto aligned = [](const void* data, size_t bytes) {
        return reinterpret_cast<uintptr_t>(data) % (bytes * kPacked) == 0;
    };
    const bool joined =
        images == 1 && k.plane_count == 1 && k.width.value == k.positions.value && sums == nullptr;
    bool whole = (joined || k.width.value % kPacked == 0) && aligned(k.packed, sizeof(Plane)) &&
                 aligned(sums, sizeof(Sum));
    for (int i = 0; i < k.segment_count; ++i) {
        const PackSegment& segment = k.segments[i];
        whole = whole && aligned(segment.data, sizeof(Plane));
        const int sizes[4] = {images, segment.planes, k.positions.value / k.width.value / k.height.value,
                              k.height.value};
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
        const int images = joinRows(p, k, sums != nullptr);
        const bool whole = packsVectors<Plane>(k, sums, images);
        k.threads = p.segment_count > 0 ? images * ceilDivide(k.positions.value, whole ? kPacked : 1) : 0;
        int threads = k.threads > k.channels ? k.threads : k.channels;
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
    memory.packed = ceilDivide(memory.packed, sizeof(uint32_t)) * sizeof(uint32_t);  // is read in words
    if (p.segment_count > 0) memory.plane_of_channel = sizeof(int) * static_cast<size_t>(p.shape.in_channels);
    if (p.normalization == Normalization::weight_magnitude) return memory;
    const MaskSums sums = maskSums(p);
    const size_t of_sum = sums == MaskSums::doubles  ? sizeof(double)
                          : sums == MaskSums::ints   ? sizeof(int)
                          : sums == MaskSums::halves ? sizeof(uint16_t)
                                                     : 0;
    memory.sums = static_cast<size_t>(p.batch) * static_cast<size_t>(maskGroups(p)) * in_volume * of_sum;
    memory.sums = ceilDivide(memory.sums, sizeof(uint32_t)) * sizeof(uint32_t);
    memory.tile_flags = sizeof(uint32_t) * static_cast<size_t>(tileCount(p.shape));
    return memory;
}

MaskSums maskSums(const MaskProblem& p) {
    if (p.segment_count == 0 || !p.multi_channel) return MaskSums::none;
    if (p.type == MaskType::fractional) return MaskSums::doubles;
    const int64_t taps = volumeOf(p.shape.kernel);
    if (p.segment_count == 1 && p.segments[0].planes == 1 && taps <= kByteTaps && fitsCount(p, 1))
        return MaskSums::none;
    return taps * countedChannels(p) <= kHalfCounts && fitsCount(p, maskGroups(p)) ? MaskSums::halves
                                                                                   : MaskSums::ints;
}

cudaError_t launchMaskPlanes(const MaskProblem& p, MaskSums sums, cudaStream_t stream) {
    if (p.type == MaskType::fractional)
        return launchPack<float>(p, sums == MaskSums::none ? nullptr : static_cast<double*>(p.sums), stream);
    return sums == MaskSums::halves
               ? launchPack<uint8_t>(p, static_cast<uint16_t*>(p.sums), stream)
               : launchPack<uint8_t>(p, sums == MaskSums::none ? nullptr : static_cast<int*>(p.sums), stream);
}

cudaError_t launchMaskPack(const MaskProblem& p, cudaStream_t stream) {
    MaskProblem packing = p;
    packing.tile_flags = nullptr;
    return launchMaskPlanes(packing, MaskSums::none, stream);
}

}  // namespace pconv::cuda
