/*
 * Networks of partial convolutions: layers prepared together, run as one recorded submission (a CUDA graph, a
 * pre-recorded command buffer) from one memory arena, the masks handed from layer to layer as planes.
 *
 *     PconvLayer layers[2] = {pconvDefaultLayer(2), pconvDefaultLayer(2)};   // 2: spatial dimensions
 *     layers[0].name = "enc1";            // PyTorch's name of the module: its weight is "enc1.weight"
 *     layers[0].conv.out_channels = 64;   // kernel, stride, padding, activation ... likewise
 *     ...
 *     pconvCreateNetwork(device, &desc, &network);
 *     pconvLoadNetworkWeights(network, "model.safetensors", NULL);
 *     pconvForwardNetwork(network, &input, &mask, &output);
 *
 * The conventions of pconv.h hold here too.
 */
#ifndef PCONV_NETWORK_H
#define PCONV_NETWORK_H

#include <stddef.h>
#include <stdint.h>

#include "pconv/pconv.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * What a layer computes, and what becomes of its input's mask. "Valid" below: where a mask is not 0.
 *
 *   PARTIAL_CONV     a partial or masked convolution, by conv; its updated mask
 *   UPSAMPLE         by `factor`, nearest or linear; masks are repeated either way
 *   CONCAT           the channels of its inputs, one after another; the masks likewise
 *   CONV             a convolution that knows no mask: all of its output is valid
 *   TRANSPOSED_CONV  the gradient of a convolution (torch.nn.ConvTranspose), likewise
 *   LINEAR           of all elements of an image, in the order C, S...: [N, out_channels, 1...], likewise
 *   ADD              the sum of its inputs and then conv.activation; valid where one of them is. Inputs with
 * different masks must have one plane each, and 0 in their holes, as partial convolutions leave them MAX_POOL
 * over conv's kernel, stride and padding (a kernel of 0: the whole dimension); valid where one element of the
 * window is. In a masked input holes must be 0, and are seen as that AVERAGE_POOL     likewise; in a masked
 * input the average of what is valid, 0 where nothing is BATCH_NORM       inference batch normalization of
 * its own, then conv.activation; what lies in holes counts as 0. Behind a convolution `batch_norm` costs
 * nothing SCALE            x * scale[c] + shift[c], then conv.activation; the mask stays SIGMOID          1 /
 * (1 + exp(-x)); the mask stays CROP             from `begin`, to the size of `second_input`; the mask
 * likewise
 */
typedef enum PconvLayerType {
    PCONV_LAYER_TYPE_PARTIAL_CONV = 0,
    PCONV_LAYER_TYPE_UPSAMPLE = 1,
    PCONV_LAYER_TYPE_CONCAT = 2,
    PCONV_LAYER_TYPE_CONV = 3,
    PCONV_LAYER_TYPE_TRANSPOSED_CONV = 4,
    PCONV_LAYER_TYPE_LINEAR = 5,
    PCONV_LAYER_TYPE_ADD = 6,
    PCONV_LAYER_TYPE_MAX_POOL = 7,
    PCONV_LAYER_TYPE_AVERAGE_POOL = 8,
    PCONV_LAYER_TYPE_BATCH_NORM = 9,
    PCONV_LAYER_TYPE_SCALE = 10,
    PCONV_LAYER_TYPE_SIGMOID = 11,
    PCONV_LAYER_TYPE_CROP = 12
} PconvLayerType;

typedef enum PconvInterpolation {
    PCONV_INTERPOLATION_NEAREST = 0,
    PCONV_INTERPOLATION_LINEAR = 1,              /* bilinear in two dimensions, align_corners=False */
    PCONV_INTERPOLATION_LINEAR_ALIGN_CORNERS = 2 /* align_corners=True */
} PconvInterpolation;

#define PCONV_NETWORK_INPUT (-1)  /* the network's own input */
#define PCONV_LAYER_PREVIOUS (-2) /* the layer before this one; the network's input for the first */

/*
 * One layer. Its output is that of conv.activation, in [N, C, S...] with C of conv.out_channels, of the input
 * or of both inputs. The network's output is the last layer's; layers without use are an error.
 */
typedef struct PconvLayer {
    size_t struct_size;
    PconvLayerType type;
    const char* name; /* of its weights in files, NAME.weight, NAME.bias ...; may be NULL if set by hand */
    int32_t input;    /* an earlier layer's index, or one of the two above */
    int32_t second_input;                   /* of CONCAT, ADD and CROP; likewise */
    int64_t factor[PCONV_MAX_SPATIAL_DIMS]; /* of PCONV_LAYER_TYPE_UPSAMPLE */
    /*
     * Of convolutions: out_channels, groups, kernel, stride, padding, dilation, and but for transposed ones
     * padding_end and padding_mode; of partial ones mask mode and window, normalization, eps, activation,
     * has_bias, implementation. mask_type PCONV_MASK_TYPE_NONE makes the layer ignore its input's mask (with
     * PCONV_NORMALIZATION_WEIGHT_MAGNITUDE: a plain convolution), anything else follow it. Batch, input
     * channels and size, types, layouts, math and input_is_masked are the network's to know.
     */
    PconvPartialConvDesc conv;
    /*
     * Inference batch normalization between the convolution and its activation, folded into the weights
     * when they are loaded: NAME.weight, .bias, .running_mean, .running_var. NULL: none. Outputs in holes
     * are 0 before the activation and not the normalization of 0: layers that follow mask them either way.
     */
    const char* batch_norm;
    double batch_norm_eps;      /* of BATCH_NORM too */
    const int32_t* more_inputs; /* of CONCAT and ADD, after second_input; read at creation only */
    int32_t more_input_count;
    PconvInterpolation interpolation; /* of UPSAMPLE */
    const float*
        scale; /* of SCALE: [channels], NULL for 1; read at creation only. With neither scale nor shift */
    const float* shift;                    /* it has weights, NAME.weight and NAME.bias of [channels] */
    int64_t begin[PCONV_MAX_SPATIAL_DIMS]; /* of CROP */
    int64_t output_padding[PCONV_MAX_SPATIAL_DIMS]; /* of TRANSPOSED_CONV: below its stride */
    int32_t inside_only; /* of AVERAGE_POOL: 1 divides by the elements inside the input
                            (count_include_pad=False) */
} PconvLayer;

/* A partial convolution of the previous layer's output; its conv as from pconvDefaultPartialConvDesc, the
   factors 2, no batch normalization with eps 1e-5. */
static inline PconvLayer pconvDefaultLayer(int32_t spatial_dims) {
    PconvLayer layer;
    int i;
    memset(&layer, 0, sizeof layer);
    layer.struct_size = sizeof layer;
    layer.input = PCONV_LAYER_PREVIOUS;
    layer.second_input = PCONV_NETWORK_INPUT;
    for (i = 0; i < PCONV_MAX_SPATIAL_DIMS; ++i) layer.factor[i] = 2;
    layer.conv = pconvDefaultPartialConvDesc(spatial_dims);
    layer.batch_norm_eps = 1e-5;
    return layer;
}

typedef struct PconvNetworkDesc {
    size_t struct_size;
    int32_t spatial_dims; /* 1, 2 or 3 */
    int64_t batch;
    int64_t channels; /* of the input */
    int64_t size[PCONV_MAX_SPATIAL_DIMS];
    PconvDataType data_type; /* of input, output and all between */
    PconvLayout layout;      /* of input and output; between the layers it is the device's choice */
    PconvMaskType mask_type;
    int64_t mask_batch;  /* 1 serves any batch, else batch */
    int64_t mask_planes; /* 1, which serves all channels, or `channels`: one for each */
    PconvMaskPolarity polarity;
    PconvMath math;
    int32_t layer_count;
    const PconvLayer* layers; /* read at creation only */
    int32_t resizable; /* 1: pconvResizeNetwork may be called, for which more memory is held, as said there */
} PconvNetworkDesc;

/* Batch and channels 1; sizes 0 (to be set); f32, contiguous, one binary mask plane for all, exact, no layers
 * yet. */
static inline PconvNetworkDesc pconvDefaultNetworkDesc(int32_t spatial_dims) {
    PconvNetworkDesc desc;
    memset(&desc, 0, sizeof desc);
    desc.struct_size = sizeof desc;
    desc.spatial_dims = spatial_dims;
    desc.batch = 1;
    desc.channels = 1;
    desc.mask_type = PCONV_MASK_TYPE_BINARY;
    desc.mask_batch = 1;
    desc.mask_planes = 1;
    return desc;
}

typedef struct PconvNetwork_T* PconvNetwork;

/* Prepares every layer and allocates the arena. A fault names the layer: "layer 3 (dec2): ...". */
PCONV_API PconvStatus pconvCreateNetwork(PconvDevice device, const PconvNetworkDesc* desc,
                                         PconvNetwork* network);
PCONV_API void pconvReleaseNetwork(PconvNetwork network);

/*
 * Prepares a resizable network for another batch and input size, with the weights it has. Tensors of
 * pconvGetNetworkOutputMask end, a mask is asked for again, and output dims may change. On failure the
 * network is as it was: layers whose weights have the size in their shape (LINEAR of more than one pixel) do
 * not allow every size.
 *
 * A resizable network holds its weights as they were given, from which each shape's are packed; and, so that
 * coming back is quick, two shapes: the one in use and the one before, each with packed weights and the
 * planes of its masks, and one arena as large as the larger's.
 */
PCONV_API PconvStatus pconvResizeNetwork(PconvNetwork network, int64_t batch,
                                         const int64_t size[PCONV_MAX_SPATIAL_DIMS]);

/*
 * Enqueues the packing of one convolution's weight [Cout, Cin / groups, K...] and bias [Cout] (NULL exactly
 * where has_bias is 0), of the network's data type; of a LINEAR layer's weight [out, in]; of a
 * TRANSPOSED_CONV's [Cin, Cout / groups, K...]; or of a BATCH_NORM's or SCALE's factors and summands
 * [channels], both F32. The tensors may be released or overwritten by later enqueued work.
 */
PCONV_API PconvStatus pconvSetNetworkWeights(PconvNetwork network, int32_t layer, const PconvTensor* weight,
                                             const PconvTensor* bias);

/*
 * Loads all weights from a safetensors file of F32, F16 or BF16 tensors under PyTorch's names: PREFIX
 * followed by NAME.weight and NAME.bias; `prefix` may be NULL. Further tensors of the file are not looked at.
 * On failure no weight has changed.
 */
PCONV_API PconvStatus pconvLoadNetworkWeights(PconvNetwork network, const char* path, const char* prefix);

/*
 * The same from anywhere: `source` is asked for each tensor by the name above. It returns PCONV_TENSOR_GIVEN
 * after writing the elements, in C order, to `values` where that is not NULL, which only asks;
 * PCONV_TENSOR_SHAPE_DIFFERS where it has one of another shape; else PCONV_TENSOR_MISSING, which is no fault
 * where `optional` is 1 (a bias before a batch normalization). It is called on this thread, layer by layer;
 * it must not use the network.
 */
typedef enum PconvTensorAnswer {
    PCONV_TENSOR_MISSING = 0,
    PCONV_TENSOR_GIVEN = 1,
    PCONV_TENSOR_SHAPE_DIFFERS = 2
} PconvTensorAnswer;
typedef PconvTensorAnswer (*PconvTensorSource)(void* user, const char* name, int32_t rank,
                                               const int64_t* shape, int32_t optional, float* values);
PCONV_API PconvStatus pconvReadNetworkWeights(PconvNetwork network, PconvTensorSource source, void* user);

/*
 * Enqueues one forward pass: input [N, channels, S...], mask planes [N or 1, planes, S...] (U8 where binary,
 * F32 where fractional) and output, of pconvGetNetworkOutputDims, with any outer strides. `mask` is NULL
 * where there is none, and where it has not changed since the previous call: then the mask side is not
 * computed again. The pass is recorded at the first call with these tensors (the last few are kept) and
 * submitted as recorded afterwards; contents may change between calls.
 */
PCONV_API PconvStatus pconvForwardNetwork(PconvNetwork network, const PconvTensor* input,
                                          const PconvTensor* mask, const PconvTensor* output);

/* [N, C, S...] of the output; the entries beyond spatial_dims + 2 are 1. */
PCONV_API PconvStatus pconvGetNetworkOutputDims(PconvNetwork network, int64_t dims[PCONV_MAX_DIMS]);

/*
 * The mask of the output as segments of planes, alive as long as the network, as the last forward pass leaves
 * them: `count` of them, of which the first `capacity` are stored. None: the output is valid everywhere.
 */
PCONV_API PconvStatus pconvGetNetworkOutputMask(PconvNetwork network, int32_t capacity,
                                                PconvMaskSegment* segments, int32_t* count);

/* The name of the implementation chosen for a partial convolution; alive as long as the network. */
PCONV_API PconvStatus pconvGetNetworkImplementation(PconvNetwork network, int32_t layer, const char** name);

#ifdef __cplusplus
}
#endif

#endif /* PCONV_NETWORK_H */
