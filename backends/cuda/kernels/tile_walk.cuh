// A pass over tensors of any strides in tiles of 32 positions x 32 channels, through shared memory, so that
// each is read and written along what is fast in it; transposes, and pads the channels of groups with zeros.
#pragma once

#include "divisor.cuh"
#include "pass_elements.cuh"

namespace pconv::cuda {

constexpr int kTile = 32;  // positions, and channels
constexpr int kTileRows = 8;
constexpr unsigned kTileThreads = kTile * kTileRows;

struct TileWalk {
    int batch, channels;  // of the source
    Divisor positions, height, width;
    Divisor group, padded;     // channels of a group in the source, and in the destination
    int columns;               // groups * padded
    View source, destination;  // destination.data null: only sums are wanted
    bool source_channels_fast, destination_channels_fast;
    int chunk;        // tiles of positions in a block
    float* partials;  // [blocks of positions][columns], null where no sums are wanted
};

struct Tile {
    float values[kTile][kTile + 1];  // [position][channel]
};

struct SumTiles {
    Tile tile, terms;
    float sums[kTileRows][kTile];
};

struct TilePosition {
    int n, in_image;
    bool inside;
    __device__ __forceinline__ TilePosition(const TileWalk& walk, int index) : in_image(index) {
        n = walk.positions.divide(in_image);
        inside = n < walk.batch;
    }
    __device__ __forceinline__ int64_t offset(const TileWalk& walk, const View& view) const {
        int w = in_image;
        int h = walk.width.divide(w);
        const int d = walk.height.divide(h);
        return positionOffset(view, n, d, h, w);
    }
};

// Where the walk's thread stands in row `i` of a tile.
struct TileCell {
    int row, column;
    __device__ __forceinline__ TileCell(int i, bool channels_fast) {
        const int lane = static_cast<int>(threadIdx.x) % kTile;
        row = channels_fast ? i : lane;
        column = channels_fast ? lane : i;
    }
};

template <typename Element>
__device__ __forceinline__ void readTile(const TileWalk& walk, const Element& element, int first_position,
                                         int first_column, Tile& tile, Tile* terms) {
    for (int i = static_cast<int>(threadIdx.x) / kTile; i < kTile; i += kTileRows) {
        const TileCell cell(i, walk.source_channels_fast);
        const TilePosition at(walk, first_position + cell.row);
        const int column = first_column + cell.column;
        int in_group = column;
        const int group = walk.padded.divide(in_group);
        float value = 0;
        float term = 0;
        if (at.inside && column < walk.columns && in_group < walk.group.value) {
            const int channel = group * walk.group.value + in_group;
            const int64_t from = at.offset(walk, walk.source) + channel * walk.source.strides[1];
            Factors<1> f;
            element.read(element.placeOf(at.n, channel) + at.in_image, f);
            const float x = toFloat(static_cast<const typename Element::Source*>(walk.source.data)[from]);
            value = element.value(x, f.first[0], f.second[0], element.channelOf(channel));
            if constexpr (Element::kSums) term = element.term(x, f.second[0]);
        }
        tile.values[cell.row][cell.column] = value;
        if (terms != nullptr) terms->values[cell.row][cell.column] = term;
    }
}

template <typename D>
__device__ __forceinline__ void writeTile(const TileWalk& walk, const Tile& tile, int first_position,
                                          int first_column) {
    for (int i = static_cast<int>(threadIdx.x) / kTile; i < kTile; i += kTileRows) {
        const TileCell cell(i, walk.destination_channels_fast);
        const TilePosition at(walk, first_position + cell.row);
        const int column = first_column + cell.column;
        if (!at.inside || column >= walk.columns) continue;
        D* to = static_cast<D*>(walk.destination.data) + at.offset(walk, walk.destination) +
                column * walk.destination.strides[1];
        setFloat(*to, tile.values[cell.row][cell.column]);
    }
}

template <typename Element>
__device__ __forceinline__ void passTiles(const TileWalk& walk, const Element& element) {
    using D = typename Element::Destination;
    const int first_column = static_cast<int>(blockIdx.y) * kTile;
    const int lane = static_cast<int>(threadIdx.x) % kTile;
    const int thread_row = static_cast<int>(threadIdx.x) / kTile;
    Tile* terms = nullptr;
    if constexpr (Element::kSums)
        if (walk.partials != nullptr) terms = &sharedStorage<SumTiles>().terms;
    auto& tile = sharedStorage<Tile>();
    float sum = 0;
    for (int i = 0; i < walk.chunk; ++i) {
        const int first_position = (static_cast<int>(blockIdx.x) * walk.chunk + i) * kTile;
        readTile(walk, element, first_position, first_column, tile, terms);
        syncThreads();
        if (walk.destination.data != nullptr) writeTile<D>(walk, tile, first_position, first_column);
        if (terms != nullptr)
            for (int row = thread_row; row < kTile; row += kTileRows) sum += terms->values[row][lane];
        syncThreads();
    }
    if constexpr (Element::kSums) {
        if (walk.partials == nullptr) return;
        auto& shared = sharedStorage<SumTiles>();
        shared.sums[thread_row][lane] = sum;
        syncThreads();
        if (thread_row > 0 || first_column + lane >= walk.columns) return;
        for (int row = 1; row < kTileRows; ++row) sum += shared.sums[row][lane];
        walk.partials[static_cast<int64_t>(blockIdx.x) * walk.columns + first_column + lane] = sum;
    }
}

// ---- The host's side -------------------------------------------------------------------------------------

constexpr int kAnyParts = 1 << 20;  // one tile a block, until there are very many

// In `parts` blocks along the positions at most.
inline TileWalk tileWalk(int batch, const int (&size)[3], int groups, int channels, int padded,
                         const View& source, const View& destination, int parts, float* partials) {
    TileWalk walk{};
    walk.batch = batch;
    walk.channels = channels;
    walk.positions = Divisor(volumeOf(size));
    walk.height = Divisor(size[1]);
    walk.width = Divisor(size[2]);
    walk.group = Divisor(channels / groups);
    walk.padded = Divisor(padded);
    walk.columns = groups * padded;
    walk.source = source;
    walk.destination = destination;
    walk.source_channels_fast = source.strides[1] == 1;
    walk.destination_channels_fast = destination.strides[1] == 1;
    walk.chunk = ceilDivide(ceilDivide(batch * volumeOf(size), kTile), parts);
    walk.partials = partials;
    return walk;
}

inline dim3 gridOf(const TileWalk& walk) {
    const int tiles = ceilDivide(walk.batch * walk.positions.value, kTile);
    return dim3(static_cast<unsigned>(ceilDivide(tiles, walk.chunk)),
                static_cast<unsigned>(ceilDivide(walk.columns, kTile)));
}

}  // namespace pconv::cuda
