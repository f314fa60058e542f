// The CUDA kernels as the rest of the backend calls them: plain functions that enqueue on a stream and return
// the status of their launches. Nothing here allocates, waits or fails otherwise; pointers are device memory
// unless they are said to be the host's. Positions of all images fit an int, and so do channels
// (fitsKernels); their products, and offsets, are int64.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "backend.h"

namespace pconv::cuda {

// Three spatial dimensions, as in Window.
struct ConvShape {
    int batch, in_channels, out_channels, groups;
    int input[3], kernel[3], stride[3], padding[3], dilation[3], output[3];
    // Of the device. Where there is less work, sums are cut into parts, which are added in a fixed order:
    // results have the same bits on devices of as many.
    int multiprocessors = 132;
};

ConvShape convShape(const PartialConvDesc& desc);

// Whether its counts fit the kernels' 32-bit integers and a launch's grid.
bool fitsKernels(const PartialConvDesc& desc);

// A view [N, C, D, H, W], strides in elements.
struct View {
    void* data;
    int64_t strides[5];
};

// ---- Mask side -----------------------------------------------------------------------------------------

// A view [N or 1, planes, D, H, W] of the caller's mask, u8 or f32 by the mask's type; W has stride 1.
struct MaskSegment {
    const void* data;
    int64_t strides[5];
    int planes, multiplicity;
};

// The mask as convolutions read it: contiguous [batch, plane_count, D, H, W], 1 is valid; u8 holding 0 or 1
// for binary masks, else f32. `planes` null: all valid.
struct PackedMask {
    const void* planes;
    MaskType type;
    int batch, plane_count;
    const int* plane_of_channel;   // [in_channels], in ascending order
    int channels_per_plane_chunk;  // every aligned run of this many input channels has one plane: 1, 4, 8,
                                   // ...
};

// Results of the mask side, contiguous [batch, groups, O...].
struct MaskResults {
    const float* ratio;     // null: 1 everywhere (masked convolution)
    const void* updated;    // f32 where updated_type is fractional, else u8
    MaskType updated_type;  // none: 1 everywhere
    int batch, groups;
    // One per kTileOutputs consecutive outputs of all [N, O...] of the convolution: kTileSomeValid is set
    // where an output has u != 0, kTileSomeHole where a window inside the input lacks something. Null:
    // unknown.
    const uint32_t* tile_flags;
};
inline constexpr int kTileOutputs = 64;
inline constexpr uint32_t kTileSomeValid = 1;
inline constexpr uint32_t kTileSomeHole = 2;

struct MaskProblem {
    ConvShape shape;
    MaskType type;  // none: no segments
    Normalization normalization;
    float eps;
    bool multi_channel, group_window;
    int batch;  // of the mask
    bool hole_is_one;
    int segment_count;
    const MaskSegment*
        segments;  // host memory, read within the call; for maskMemory only planes and multiplicity
    // Memory as maskMemory says; it belongs to the mask update and is what PackedMask and MaskResults point
    // to.
    void* sums;
    void* packed;
    int* plane_of_channel;
    uint32_t* tile_flags;
    // The caller's results; updated is u8 unless the type is fractional.
    float* window_sum;
    void* updated;
    float* ratio;
};

struct MaskMemory {
    size_t sums, packed, plane_of_channel, tile_flags;  // bytes; 0: not needed, may be null
    int plane_count;
    int channels_per_plane_chunk;
};

MaskMemory maskMemory(const MaskProblem& problem);
// Packs the planes, sums channels and windows, classifies the tiles. Not for weight_magnitude.
cudaError_t launchMaskUpdate(const MaskProblem& problem, cudaStream_t stream);

// The planes alone: packed and plane_of_channel of a problem with normalization weight_magnitude.
cudaError_t launchMaskPack(const MaskProblem& problem, cudaStream_t stream);

// The masked convolution's mask (weight_magnitude). magnitude: f32 [out_channels, in_channels / groups], made
// by launchWeightMagnitude when the weights are set.
cudaError_t launchWeightMagnitude(const ConvShape& shape, DataType type, const void* weight, float* magnitude,
                                  cudaStream_t stream);
// The packed planes, and updated f32 [batch, out_channels, O...]. With type none: updated u8 [1, 1, O...],
// all ones. Uses of `problem` only what is not about windows: no sums, tile_flags, window_sum, ratio.
cudaError_t launchMaskedConvMask(const MaskProblem& problem, const float* magnitude, cudaStream_t stream);

// ---- Convolution ---------------------------------------------------------------------------------------

struct ConvProblem {
    ConvShape shape;
    DataType type;  // of input, weight, bias, output and their gradients
    PackedMask mask;
    bool input_is_masked;  // forward and weight gradient need not apply the mask
    MaskResults results;
    bool has_bias;
    bool masked_convolution;
    Activation activation;
    float negative_slope;
};

// cuda:direct: any shape, any strides, f32 fused multiply-add. Forward and backward read weights repacked in
// orders of their own; training needs both.
size_t directWeightBytes(const ConvShape& shape, bool backward);
cudaError_t launchDirectWeights(const ConvShape& shape, DataType type, const void* weight, void* packed,
                                bool backward, cudaStream_t stream);
cudaError_t launchDirectForward(const ConvProblem& problem, const View& input, const void* packed_weight,
                                const void* bias, const View& output, cudaStream_t stream);

// The gradients of a backward pass. It first makes dc = dy * r * u (without a bias: dy * r) in its workspace
// and db = sum of dy * u; the input and weight gradients are convolutions of dc.
struct GradientOutputs {
    const View* input;  // null: not wanted
    void* weight;       // contiguous [out_channels, in_channels / groups, K...]; null: not wanted
    void* bias;         // null: not wanted
    bool accumulate;
};
// `packed_weight` is what launchDirectWeights or launchIgemmWeights made for backward; null where the input's
// gradient is not wanted.
size_t directBackwardWorkspaceBytes(const ConvShape& shape);
cudaError_t launchDirectBackward(const ConvProblem& problem, const View& input, const View& grad_output,
                                 const void* packed_weight, const GradientOutputs& gradients, void* workspace,
                                 cudaStream_t stream);

// cuda:igemm: implicit GEMM on tensor cores; f16, bf16, and f32 rounded to TF32.
// Null where it can do the shape, else one line on what stands in the way.
const char* igemmDeclines(const ConvShape& shape, DataType type, bool fast_math);
size_t igemmWeightBytes(const ConvShape& shape, DataType type, bool backward);
cudaError_t launchIgemmWeights(const ConvShape& shape, DataType type, const void* weight, void* packed,
                               bool backward, cudaStream_t stream);
// Scratch for inputs that are not read in place: contiguous or unaligned ones, fractional masks, planes that
// change within 16 bytes of channels; and for the sums of a depth that is cut. 0 never happens: whether a
// view can be read in place is known when it comes.
size_t igemmForwardWorkspaceBytes(const ConvShape& shape, DataType type);
cudaError_t launchIgemmForward(const ConvProblem& problem, const View& input, const void* packed_weight,
                               const void* bias, const View& output, void* workspace, cudaStream_t stream);
size_t igemmBackwardWorkspaceBytes(const ConvShape& shape, DataType type);
cudaError_t launchIgemmBackward(const ConvProblem& problem, const View& input, const View& grad_output,
                                const void* packed_weight, const GradientOutputs& gradients, void* workspace,
                                cudaStream_t stream);

// ---- Passes ----------------------------------------------------------------------------------------------

// destination = m ⊙ source, any strides of both; exactly 0 where m is, unread. The premultiply pass of rows
// whose convolution does not know masks, and the transposition with it. `channels_padded` >= in_channels per
// group: destination channel g * channels_padded + c; the rest is written 0.
cudaError_t launchMaskedCopy(const ConvProblem& problem, const View& source, const View& destination,
                             int channels_padded, cudaStream_t stream);
// dc in the type and layout of `dc` (any strides, dc_type f32, f16 or bf16; channels padded likewise from
// out_channels per group), and db where wanted. partials: gradPartialBytes.
size_t gradPartialBytes(const ConvShape& shape);
cudaError_t launchGradPrepare(const ConvProblem& problem, const View& grad_output, DataType dc_type,
                              const View& dc, int channels_padded, void* bias_gradient, bool accumulate,
                              void* partials, cudaStream_t stream);
// y = the epilogue of c for rows whose convolution has none: in place or not, any strides.
cudaError_t launchEpilogue(const ConvProblem& problem, DataType accumulator_type, const View& accumulator,
                           const void* bias, const View& output, cudaStream_t stream);

// ---- Masked normalization --------------------------------------------------------------------------------

struct NormProblem {
    int batch, channels, size[3];
    DataType type;
    PackedMask mask;
    float eps;
    bool training;  // batch statistics
    float momentum;
};

// [channels]; null where there is none. Running statistics are read, or updated in training.
struct BatchNormVectors {
    const float *weight, *bias;
    float *running_mean, *running_var;
};

size_t normWorkspaceBytes(const NormProblem& problem);
cudaError_t launchMaskedBatchNorm(const NormProblem& problem, const View& input,
                                  const BatchNormVectors& vectors, const View& output, void* workspace,
                                  cudaStream_t stream);
// output [batch, channels]; output_mask [mask batch, channels], null where it is not wanted.
cudaError_t launchMaskedSpatialMean(const NormProblem& problem, const View& input, void* output,
                                    float* output_mask, void* workspace, cudaStream_t stream);

}  // namespace pconv::cuda
