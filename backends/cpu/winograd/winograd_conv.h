// The convolution of 3x3 windows, of any depth, by Winograd's F(4x4, 3x3), a quarter of the multiplications,
// where fast math allows its rounding. Each thread does a box of tiles at a time: some channels of its input
// are copied in under the mask and transformed, all are multiplied by the transformed weights, and sums go
// back through the epilogue. Tiles all of whose outputs are holes are left out.
#pragma once

#include "cpu/onednn/boxes.h"

namespace pconv::cpu {

// Whether it can be done at all and is expected to be faster than without transforms.
bool winogradPays(const PartialConvDesc& desc);

// What a thread does at a time.
struct WinogradBox {
    int64_t rows, columns;  // in tiles
    int64_t outputs;        // channels of a group
};

class WinogradConv final : public PartialConv {
  public:
    // `direct` takes over where windows are so sparse that the rounding would show; null where none can be.
    WinogradConv(CpuDevice& device, const PartialConvDesc& desc, std::unique_ptr<PartialConv> direct);

    void setWeights(const TensorRef& weight, const TensorRef* bias) override;
    void forward(const MaskUpdate& update, const TensorRef& input, const TensorRef& output) override;
    void forwardUpsampled(const MaskUpdate& update, const TensorRef& small, const TensorRef& rest,
                          const TensorRef& output) override;

    // Whether masks may have such windows.
    static bool mayBeSparse(const PartialConvDesc& desc);

  private:
    // Floats of one worker's parts of the scratch memory.
    struct Sizes {
        int64_t input, wide, zeros, lines, values, sums, rows;
        int64_t all() const { return input + wide + zeros + lines + values + sums + rows; }
    };
    struct Worker {
        int number;
        float *input, *wide, *zeros, *lines, *values, *sums, *rows;
        std::vector<const void*> planes;
        std::vector<const float*> input_rows;
        std::vector<uint8_t> live;
        std::vector<TileRun> runs;
    };

    // Of a group: the first of them, and where it is in its tensor and among the planes.
    struct Channels {
        int64_t first, in_tensor, count, plane;
    };
    struct Call : ForwardCall {
        const TensorRef* small;  // of the upsampled channels
    };

    int64_t inputs() const { return desc_.in_channels / desc_.groups; }
    int64_t planes() const { return desc_.window.kernel[0] * inputs(); }  // of a window, by depth
    int64_t outputs() const { return desc_.out_channels / desc_.groups; }
    int64_t boxes() const;
    Box boxAt(int64_t index) const;
    Sizes sizes() const;
    int64_t pitch() const { return box_.columns * kTileOutputs + 2; }  // of rows of inputs
    int64_t lineStride() const;
    bool anySparse(const ForwardCall& call) const;
    int64_t findRuns(Worker& worker, const ForwardCall& call, const Box& box) const;
    void addRuns(Worker& worker, const ForwardCall& call, const Box& box, int64_t row) const;
    Box tilesOf(const Box& box, const TileRun& run) const;
    void runBox(Worker& worker, const Call& call, const Box& box) const;
    void run(const Call& call);
    void loadTiles(Worker& worker, const Call& call, const Box& box, int64_t tiles) const;
    void loadChannels(Worker& worker, const Call& call, const Box& box, Channels channels,
                      int64_t tiles) const;
    void loadUpsampled(Worker& worker, const Call& call, const Box& box, Channels channels,
                       int64_t tiles) const;
    template <typename RowAt>
    static void pointAtRows(Worker& worker, const Span& span, const RowAt& rowAt);
    void transform(Worker& worker, int64_t plane, int64_t tiles) const;
    void multiply(const Worker& worker, const Box& box, int64_t tiles) const;
    void storeTiles(Worker& worker, const ForwardCall& call, const Box& box, int64_t tiles) const;

    CpuDevice& device_;
    PartialConvDesc desc_;
    WinogradBox box_;
    std::unique_ptr<PartialConv> direct_;
    std::shared_ptr<Buffer> weights_;  // [group][place][block of outputs][plane][kOutputBlock]
    std::vector<float> bias_;
    Staging staging_;
    std::vector<Worker> workers_;
    Scratch scratch_;
};

}  // namespace pconv::cpu
