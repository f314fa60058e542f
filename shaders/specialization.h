// Specialization constants by name, read by GLSL and C++ alike.
#ifndef PCONV_SHADERS_SPECIALIZATION_H
#define PCONV_SHADERS_SPECIALIZATION_H

#define SPEC_LANES 0  // invocations of a workgroup

// The most invocations of a workgroup whose shared arrays have a place for each: their size must not come
// from gl_WorkGroupSize, which Metal does not take for a constant.
#define MOST_SHARED_LANES 64
#define SPEC_MASK_KIND 1   // one of the MASK_ values below
#define SPEC_MASK_MULTI 2  // 1: channels look their plane up; 0: one plane serves all

// partial_conv_direct and the gradients: an invocation's tile of outputs, channels x rows x pixels
#define SPEC_CHANNELS 3
#define SPEC_ROWS 4
#define SPEC_PIXELS 5
#define SPEC_TAPS 6      // kernel columns, unrolled for an undilated window; 1: looped over, for any window
#define SPEC_STRIDE_W 7  // where they are unrolled

// mask_window: with SPEC_ROWS and SPEC_PIXELS an invocation's tile of outputs; 1 where a word of the mask
// holds all that a row of the tile sees, and where rows of the results are whole vectors and words
#define SPEC_ONE_WORD 6
#define SPEC_WHOLE 7

#define SPEC_GELU 8  // of both convolutions: 1 where GELU follows, for it makes the code much longer

// Matrix products (*_gemm): a workgroup's tile, rows x columns, in steps of depth; an invocation's part of it
#define SPEC_BLOCK_M 3
#define SPEC_BLOCK_N 4
#define SPEC_BLOCK_K 5
#define SPEC_THREAD_M 6
#define SPEC_THREAD_N 7
// Of the convolution's: 1 where workgroups make parts of the depth, for partial_conv_join; 1 where eight
// neighbouring taps look at no more than two rows of the mask
#define SPEC_CUT 9
#define SPEC_TWO_ROWS 16

// Of the input's gradient: 1 where a group's output channels are whole vectors
#define SPEC_VECTORS 8

// partial_conv_coopmat: invocations of a subgroup, which the pipeline is held to, the device's matrices (of m
// x k and k x n), and how many subgroups share a tile along its rows and columns
#define SPEC_SUBGROUP 10
#define SPEC_MATRIX_M 11
#define SPEC_MATRIX_N 12
#define SPEC_MATRIX_K 13
#define SPEC_SUBGROUPS_M 14
#define SPEC_SUBGROUPS_N 15

// Long sums: which elements an invocation takes four at once, one of the FOURS_ values
#define SPEC_FOURS 3

#define FOURS_NONE 0
#define FOURS_OF_ROWS 1      // of a row, which are dense and whole vectors
#define FOURS_OF_CHANNELS 2  // of a pixel's channels, likewise

// Copies of words: bytes of an element. Of upsample: how often one is repeated along the destination's dense
// axis.
#define SPEC_BYTES 3
#define SPEC_FACTOR 4

// The passes of networks
#define SPEC_CHANNELS_INSIDE 3  // 1: channels lie beside each other in the output, and vary fastest
#define SPEC_ACTIVATION 4
#define SPEC_POOL 4           // one of the POOL_ values
#define SPEC_ALIGN_CORNERS 4  // 1: the corners of input and output lie on each other

#define POOL_MAX 0
#define POOL_AVERAGE 1
#define POOL_AVERAGE_INSIDE 2  // only elements inside the input count

// Where elements beyond the input come from
#define PADDING_REFLECT 1
#define PADDING_REPLICATE 2
#define PADDING_CIRCULAR 3

// fold_padding: an element itself, its images in front and those behind, of each axis
#define FOLD_ITSELF 1
#define FOLD_FRONT 2
#define FOLD_BACK 4
#define FOLD_AXIS_BITS 3

#define MASK_NONE 0        // nothing to mask: only the input's border counts
#define MASK_BITS 1        // bit planes
#define MASK_FRACTIONAL 2  // f32 planes

// What an output is multiplied by
#define GAIN_RATIO 0       // a ratio; the updated mask is 1 where that is not 0
#define GAIN_FRACTIONAL 1  // a ratio and an updated mask
#define GAIN_CHANNELS 2    // an updated mask of its channel
#define GAIN_ONE 3         // 1

// A row of a bit plane has this many words of zeros before and after it, so that windows may reach out of it.
#define MASK_MARGIN_WORDS 2

#endif
