#include "cpu/passes/typed.h"

#include <algorithm>

#include "cpu/passes/half_rows.h"

namespace pconv::cpu {

namespace {

constexpr int64_t kPiece = 1 << 15;

// A tensor's run of 16-bit elements, and its copy in f32 with the same order of channels and pixels.
struct Piece {
    DataType type;
    uint16_t* tensor;
    ptrdiff_t channel_stride, pixel_stride;
    int64_t channels, pixels;
    float* staged;

    bool channelsTogether() const { return pixel_stride != 1 && channel_stride == 1; }
    ptrdiff_t stagedChannelStride() const { return channelsTogether() ? 1 : pixels; }
    ptrdiff_t stagedPixelStride() const { return channelsTogether() ? channels : 1; }

    // f(elements of the tensor, those of the copy, how many)
    template <typename F>
    void forEachRow(const F& f) const {
        if (channelsTogether()) {
            for (int64_t p = 0; p < pixels; ++p)
                f(tensor + p * pixel_stride, staged + p * channels, channels);
        } else if (pixel_stride == 1) {
            for (int64_t c = 0; c < channels; ++c)
                f(tensor + c * channel_stride, staged + c * pixels, pixels);
        } else {
            for (int64_t c = 0; c < channels; ++c)
                for (int64_t p = 0; p < pixels; ++p)
                    f(tensor + c * channel_stride + p * pixel_stride, staged + c * pixels + p, 1);
        }
    }
    void widen() const {
        forEachRow([&](uint16_t* from, float* to, int64_t size) { widenRow(type, to, from, size); });
    }
    void narrow() const {
        forEachRow([&](uint16_t* to, const float* from, int64_t size) { narrowRow(type, to, from, size); });
    }
};

// Moves the planes of a run on by `pixels`.
template <typename Run>
void advancePlanes(const Run& run, const void** planes, int64_t pixels) {
    if (run.mask == MaskType::none) return;
    const int64_t size = run.mask == MaskType::binary ? 1 : static_cast<int64_t>(sizeof(float));
    for (int64_t c = 0; c < (run.one_plane ? 1 : run.channels); ++c)
        planes[c] = static_cast<const char*>(planes[c]) + pixels * size;
}

// body(piece) for one piece of the run after another; in it the run is one of f32 over the piece.
template <typename Run, typename Body>
void forEachPiece(Run& run, DataType type, const void* at, const Staging& staging, int thread,
                  const Body& body) {
    Piece piece{type, nullptr, run.channel_stride, run.pixel_stride, run.channels, 0, staging.of(thread)};
    const int64_t all = run.pixels;
    const int64_t most = staging.pixels(run.channels);
    for (int64_t p = 0; p < all; p += most) {
        piece.tensor = static_cast<uint16_t*>(const_cast<void*>(at)) + p * piece.pixel_stride;
        piece.pixels = std::min(most, all - p);
        run.pixels = piece.pixels;
        run.channel_stride = piece.stagedChannelStride();
        run.pixel_stride = piece.stagedPixelStride();
        body(piece);
    }
}

}  // namespace

Staging::Staging(CpuDevice& device, DataType type, int64_t most_channels) {
    if (type == DataType::f32) return;
    size_ = std::max(kPiece, most_channels);
    buffer_ = device.allocate(static_cast<size_t>(size_ * device.threads()) * sizeof(float));
}

float* Staging::of(int thread) const {
    return static_cast<float*>(buffer_->hostPointer()) + thread * size_;
}

void loadTyped(LoadRun run, const void** planes, DataType type, const void* at, const Staging& staging,
               int thread) {
    if (type == DataType::f32) {
        run.source = static_cast<const float*>(at);
        return passes().load(run);
    }
    forEachPiece(run, type, at, staging, thread, [&](const Piece& piece) {
        piece.widen();
        run.source = piece.staged;
        passes().load(run);
        run.scratch += piece.pixels * run.block;
        advancePlanes(run, planes, piece.pixels);
    });
}

void storeTyped(StoreRun run, DataType type, void* at, const Staging& staging, int thread) {
    if (type == DataType::f32) {
        run.output = static_cast<float*>(at);
        return passes().store(run);
    }
    forEachPiece(run, type, at, staging, thread, [&](const Piece& piece) {
        run.output = piece.staged;
        passes().store(run);
        piece.narrow();
        run.scratch += piece.pixels * run.block;
        if (run.ratio != nullptr) run.ratio += piece.pixels;
        if (run.updated_mask != nullptr) run.updated_mask += piece.pixels;
    });
}

void unloadTyped(UnloadRun run, const void** planes, DataType type, void* at, const Staging& staging,
                 int thread) {
    if (type == DataType::f32) {
        run.gradient = static_cast<float*>(at);
        return passes().unload(run);
    }
    forEachPiece(run, type, at, staging, thread, [&](const Piece& piece) {
        if (run.accumulate) piece.widen();
        run.gradient = piece.staged;
        passes().unload(run);
        piece.narrow();
        run.scratch += piece.pixels * run.block;
        advancePlanes(run, planes, piece.pixels);
    });
}

void sumBiasTyped(BiasRun run, DataType type, const void* at, const Staging& staging, int thread) {
    if (type == DataType::f32) {
        run.source = static_cast<const float*>(at);
        return passes().sumBias(run);
    }
    forEachPiece(run, type, at, staging, thread, [&](const Piece& piece) {
        piece.widen();
        run.source = piece.staged;
        passes().sumBias(run);
        if (run.mask != nullptr) run.mask += piece.pixels;
    });
}

}  // namespace pconv::cpu
