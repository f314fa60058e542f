// A pass over tensors that lie alike in source and destination, 16 bytes at a time: along the positions of a
// plane (contiguous), or along the channels of a pixel (channels-last). Nothing is divided within it.
#pragma once

#include <algorithm>

#include "pass_elements.cuh"

namespace pconv::cuda {

constexpr int kWalkThreads = 256;

// A block does one part of a plane for several neighbouring planes, or of a picture for some of its channels;
// and for `images` pictures.
struct VectorWalk {
    int batch, channels, positions;
    const void* source;
    void* destination;  // null: only sums are wanted
    // In elements, from image to image and from plane to plane, or from pixel to pixel.
    int64_t source_image, source_step, destination_image, destination_step;
    int lanes;        // threads for a plane, a power of two; or for a pixel
    int chunk;        // positions in a part
    int parts;        // of an image
    int images;       // of a block
    int blocks;       // of planes, or of channels
    float* partials;  // [image groups * parts][channels], null where no sums are wanted
};

template <int count>
struct WalkSums {
    float values[kWalkThreads][count];
};

__device__ __forceinline__ int smaller(int a, int b) {
    return a < b ? a : b;
}

// The destination's vector, and what the sums gain.
template <int count, typename Element>
__device__ __forceinline__ void passVector(const VectorWalk& walk, const Element& element, int64_t from,
                                           int64_t to, const Factors<count>& f,
                                           const typename Element::Channel (&channels)[count],
                                           float (&sums)[count]) {
    using S = typename Element::Source;
    using D = typename Element::Destination;
    const auto x = *reinterpret_cast<const Several<S, count>*>(static_cast<const S*>(walk.source) + from);
    Several<D, count> y;
#pragma unroll
    for (int i = 0; i < count; ++i) {
        const float value = toFloat(x.values[i]);
        setFloat(y.values[i], element.value(value, f.first[i], f.second[i], channels[i]));
        if constexpr (Element::kSums) sums[i] += element.term(value, f.second[i]);
    }
    if (!Element::kSums || walk.destination != nullptr)
        *reinterpret_cast<Several<D, count>*>(static_cast<D*>(walk.destination) + to) = y;
}

template <int count, typename Element>
__device__ __forceinline__ void passPlanes(const VectorWalk& walk, const Element& element) {
    const int lane = static_cast<int>(threadIdx.x) & (walk.lanes - 1);
    const int index = static_cast<int>(blockIdx.x);
    const int rest = index / walk.parts;
    const int part = index - rest * walk.parts;
    const int group = rest / walk.blocks;
    const int planes = kWalkThreads / walk.lanes;
    const int channel = (rest - group * walk.blocks) * planes + static_cast<int>(threadIdx.x) / walk.lanes;
    float sum[count] = {};
    if (channel < walk.channels) {
        typename Element::Channel shared_by_all[count];
        const auto value = element.channelOf(channel);
#pragma unroll
        for (auto& one : shared_by_all) one = value;
        const int last = smaller(walk.batch, (group + 1) * walk.images);
        const int end = smaller(walk.positions, (part + 1) * walk.chunk);
#pragma unroll 1
        for (int n = group * walk.images; n < last; ++n) {
            const int64_t place = element.placeOf(n, channel);
            const int64_t from = n * walk.source_image + channel * walk.source_step;
            const int64_t to = n * walk.destination_image + channel * walk.destination_step;
#pragma unroll 1
            for (int at = part * walk.chunk + lane * count; at < end; at += walk.lanes * count) {
                Factors<count> factors;
                element.read(place + at, factors);
                passVector(walk, element, from + at, to + at, factors, shared_by_all, sum);
            }
        }
    }
    if constexpr (Element::kSums) {
        if (walk.partials == nullptr) return;
        auto& shared = sharedStorage<WalkSums<1>>();
#pragma unroll
        for (int i = 1; i < count; ++i) sum[0] += sum[i];
        shared.values[threadIdx.x][0] = sum[0];
        syncThreads();
        for (int step = walk.lanes / 2; step > 0; step /= 2) {
            if (lane < step) shared.values[threadIdx.x][0] += shared.values[threadIdx.x + step][0];
            syncThreads();
        }
        if (lane == 0 && channel < walk.channels)
            walk.partials[static_cast<int64_t>(group * walk.parts + part) * walk.channels + channel] =
                shared.values[threadIdx.x][0];
    }
}

template <int count, typename Element>
__device__ __forceinline__ void passPixels(const VectorWalk& walk, const Element& element) {
    const int row = static_cast<int>(threadIdx.x) / walk.lanes;
    const int lane = static_cast<int>(threadIdx.x) - row * walk.lanes;
    const int rows = kWalkThreads / walk.lanes;
    const int index = static_cast<int>(blockIdx.x);
    const int rest = index / walk.parts;
    const int part = index - rest * walk.parts;
    const int group = rest / walk.blocks;
    const int channel = ((rest - group * walk.blocks) * walk.lanes + lane) * count;
    const bool works = row < rows && channel < walk.channels;
    float sums[count] = {};
    if (works) {
        typename Element::Channel of_channels[count];
#pragma unroll
        for (int i = 0; i < count; ++i) of_channels[i] = element.channelOf(channel + i);
        const int last = smaller(walk.batch, (group + 1) * walk.images);
        const int end = smaller(walk.positions, (part + 1) * walk.chunk);
#pragma unroll 1
        for (int n = group * walk.images; n < last; ++n) {
            const int64_t place = element.placeOf(n, channel);
            const int64_t from = n * walk.source_image + channel;
            const int64_t to = n * walk.destination_image + channel;
#pragma unroll 1
            for (int at = part * walk.chunk + row; at < end; at += rows) {
                Factors<1> one;
                element.read(place + at, one);
                Factors<count> factors;
#pragma unroll
                for (int i = 0; i < count; ++i) {
                    factors.first[i] = one.first[0];
                    factors.second[i] = one.second[0];
                }
                passVector(walk, element, from + at * walk.source_step, to + at * walk.destination_step,
                           factors, of_channels, sums);
            }
        }
    }
    if constexpr (Element::kSums) {
        if (walk.partials == nullptr) return;
        auto& shared = sharedStorage<WalkSums<count>>();
#pragma unroll
        for (int i = 0; i < count; ++i) shared.values[threadIdx.x][i] = sums[i];
        syncThreads();
        if (!works || row > 0) return;
        for (int other = 1; other < rows; ++other)
#pragma unroll
            for (int i = 0; i < count; ++i) sums[i] += shared.values[other * walk.lanes + lane][i];
        float* to = walk.partials + static_cast<int64_t>(group * walk.parts + part) * walk.channels + channel;
#pragma unroll
        for (int i = 0; i < count; ++i) to[i] = sums[i];
    }
}

// ---- The host's side -------------------------------------------------------------------------------------

enum class WalkKind { planes, pixels, none };

// A pass as it is asked for.
struct WalkTensors {
    int batch, channels, size[3];
    View source, destination;  // destination.data null: only sums are wanted
    int most_parts;            // 0: any number
    // Pixels: every aligned run of this many channels has the same factors.
    int channels_of_factor;
    const void* planes[2];  // that factors are read from, null or not
    float* partials;
};

// Whether positions follow each other at the stride of a pixel.
inline bool isDense(const View& view, const int (&size)[3]) {
    const int64_t row = view.strides[4] * size[2];
    return (size[1] == 1 || view.strides[3] == row) && (size[0] == 1 || view.strides[2] == row * size[1]);
}

// Whether vectors of `count` elements begin at whole multiples of their bytes.
inline bool isWhole(const View& view, int64_t step, int batch, size_t element, int count) {
    return reinterpret_cast<uintptr_t>(view.data) % (element * static_cast<size_t>(count)) == 0 &&
           step % count == 0 && (batch == 1 || view.strides[0] % count == 0);
}

struct PlannedWalk {
    WalkKind kind;
    bool whole;  // in vectors of 16 bytes of the larger type, else element by element
    VectorWalk walk;
    dim3 grid;
};

inline PlannedWalk planWalk(const WalkTensors& t, size_t source_element, size_t destination_element) {
    const bool writes = t.destination.data != nullptr;
    const View& destination = writes ? t.destination : t.source;
    const int count = static_cast<int>(16 / std::max(source_element, destination_element));
    const int positions = volumeOf(t.size);
    PlannedWalk plan{WalkKind::none, false, {}, dim3(1)};
    if (!isDense(t.source, t.size) || !isDense(destination, t.size)) return plan;
    const auto step = [&](const View& view, int d) { return t.channels > 1 || d == 4 ? view.strides[d] : 0; };
    const auto wholeAlong = [&](int64_t length, int d) {
        return length % count == 0 && isWhole(t.source, step(t.source, d), t.batch, source_element, count) &&
               isWhole(destination, step(destination, d), t.batch, destination_element, count);
    };
    const bool one_position = positions == 1;
    VectorWalk& walk = plan.walk;
    int stepping = 4;
    if (t.source.strides[1] == 1 && destination.strides[1] == 1 && t.channels > 1 &&
        t.channels_of_factor % count == 0 && wholeAlong(t.channels, 4)) {
        plan.kind = WalkKind::pixels;
        plan.whole = true;
        walk.lanes = std::min(t.channels / count, kWalkThreads);
        walk.blocks = ceilDivide(t.channels / count, walk.lanes);
    } else if (one_position || (t.source.strides[4] == 1 && destination.strides[4] == 1)) {
        plan.kind = WalkKind::planes;
        plan.whole = !one_position && wholeAlong(positions, 1) &&
                     std::all_of(t.planes, t.planes + 2,
                                 [](auto plane) { return reinterpret_cast<uintptr_t>(plane) % 16 == 0; });
        walk.lanes = 1;
        while (walk.lanes < kWalkThreads && walk.lanes * (plan.whole ? count : 1) < positions)
            walk.lanes *= 2;
        walk.blocks = ceilDivide(t.channels, kWalkThreads / walk.lanes);
        stepping = 1;
    } else {
        return plan;
    }
    // Enough for each thread that its beginning is a small part of its work.
    constexpr int kVectorsOfThread = 8;
    const int rows =
        plan.kind == WalkKind::pixels ? kWalkThreads / walk.lanes : walk.lanes * (plan.whole ? count : 1);
    walk.chunk = std::min(ceilDivide(positions, rows) * rows, rows * kVectorsOfThread);
    walk.images = 1;
    if (t.most_parts > 0) {
        walk.images = ceilDivide(t.batch, t.most_parts);
        const int most = std::max(1, t.most_parts / ceilDivide(t.batch, walk.images));
        walk.chunk = std::max(walk.chunk, ceilDivide(ceilDivide(positions, most), rows) * rows);
    }
    walk.parts = ceilDivide(positions, walk.chunk);
    walk.batch = t.batch;
    walk.channels = t.channels;
    walk.positions = positions;
    walk.source = t.source.data;
    walk.destination = t.destination.data;
    walk.source_image = t.source.strides[0];
    walk.source_step = t.source.strides[stepping];
    walk.destination_image = destination.strides[0];
    walk.destination_step = destination.strides[stepping];
    walk.partials = t.partials;
    plan.grid = dim3(static_cast<unsigned>(ceilDivide(t.batch, walk.images) * walk.blocks * walk.parts));
    return plan;
}

template <typename Element>
constexpr int kVectorOf = static_cast<int>(16 / std::max(sizeof(typename Element::Source),
                                                         sizeof(typename Element::Destination)));

// What a pass over `size` positions of so many channels may go by.
template <typename Element>
PlannedWalk planFor(const Element& element, int batch, const int (&size)[3], int channels, const View& source,
                    const View& destination, int most_parts = 0, float* partials = nullptr) {
    WalkTensors tensors{
        batch, channels, {}, source, destination, most_parts, element.channelsOfFactor(channels),
        {},    partials};
    std::copy(size, size + 3, tensors.size);
    element.planes(tensors.planes);
    return planWalk(tensors, sizeof(typename Element::Source), sizeof(typename Element::Destination));
}

inline int partsOf(const PlannedWalk& plan) {
    return plan.kind == WalkKind::none ? 0 : ceilDivide(plan.walk.batch, plan.walk.images) * plan.walk.parts;
}

}  // namespace pconv::cuda
