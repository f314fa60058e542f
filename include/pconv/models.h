/*
 * Models: networks that are known by name, or described in the file of their weights, with what goes into
 * them and what comes out.
 *
 *     int64_t size[2] = {512, 512};
 *     pconvLoadNetwork(device, "model.safetensors", size, &network);      // a file that describes itself
 *
 *     pconvCreateModel("pconv_unet", NULL, &model);                       // or a network by name,
 *     pconvGetModelNetworkDesc(model, &desc);                             // its layers as network.h has them
 *     desc.size[0] = desc.size[1] = 512;
 *     pconvCreateNetwork(device, &desc, &network);
 *     pconvLoadNetworkWeights(network, "weights.safetensors", NULL);
 *
 * The conventions of pconv.h hold here too. A model is not changed once made: any thread may read it.
 */
#ifndef PCONV_MODELS_H
#define PCONV_MODELS_H

#include "pconv/inpaint.h"
#include "pconv/network.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct PconvModel_T* PconvModel;

/* What of a network by name is open; 0: as published. */
typedef struct PconvModelOptions {
    size_t struct_size;
    int32_t levels;  /* of a U-Net: how often it halves the picture, 4 or more (pconv_unet and mmagic_pconv 7,
                        others 8) */
    int32_t classes; /* of pdresnet and pdvgg: 1000 */
} PconvModelOptions;

static inline PconvModelOptions pconvDefaultModelOptions(void) {
    PconvModelOptions options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    return options;
}

/*
 * What a model is fed and gives. A picture's sample s in 0 to 1 goes in as (s * input_range - mean[c]) /
 * deviation[c], 0 in holes; an output y stands for the sample y * output_scale[c] + output_shift[c]. Texts
 * live as long as the model.
 */
typedef struct PconvModelInfo {
    size_t struct_size;
    const char* name;
    int32_t channels;
    float input_range;
    float mean[4], deviation[4];
    int32_t
        mask_planes; /* it was trained with: 0 (no mask), 1 or `channels`; one plane serves all either way */
    PconvMaskPolarity
        polarity;          /* of the mask it was trained with; networks of its description take 1 as valid */
    int64_t size_multiple; /* of height and width */
    int64_t fixed_size;    /* height and width it must have, 0: any multiple */
    int32_t classes;       /* 0: its output is a picture */
    float output_scale[4], output_shift[4];
} PconvModelInfo;

static inline PconvModelInfo pconvDefaultModelInfo(void) {
    PconvModelInfo info;
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    return info;
}

/*
 * A network by name:
 *   pconv_unet       naoto0804/pytorch-inpainting-with-partial-conv
 *   paper_unet       the U-Net of Liu et al. 2018, of NVIDIA's PartialConv2d
 *   mmagic_pconv     mmagic's (mmediting's) PConvInpaintor: encoder and decoder
 *   keras_pconv      MathiasGruber/PConv-Keras; weights as `pconv model import` writes them
 *   pdresnet18, 34, 50, 101, 152 and pdvgg11, 13, 16, 19 (also with _bn)   NVIDIA/partialconv, without masks
 * `options` may be NULL.
 */
PCONV_API PconvStatus pconvCreateModel(const char* name, const PconvModelOptions* options, PconvModel* model);
/* The names above, one by one from 0 on; NULL beyond the last. */
PCONV_API const char* pconvGetModelName(int32_t index);

/*
 * The model that a safetensors file describes in its metadata, pconv.network; see docs/networks.md. Its
 * tensors are held to the description: a tensor that is missing or has another shape is an error, others are
 * not looked at.
 */
PCONV_API PconvStatus pconvLoadModel(const char* path, PconvModel* model);

PCONV_API void pconvReleaseModel(PconvModel model);

PCONV_API PconvStatus pconvGetModelInfo(PconvModel model, PconvModelInfo* info);

/* Fills all but batch, size, data_type, layout, math, resizable, which stay as they are; a size of 0 becomes
 * fixed_size. `desc` points into the model. */
PCONV_API PconvStatus pconvGetModelNetworkDesc(PconvModel model, PconvNetworkDesc* desc);

/*
 * One layer of it for pictures of size [height, width], NULL for fixed_size; layer_count is in the network's
 * description.
 */
typedef struct PconvLayerInfo {
    size_t struct_size;
    PconvLayerType type;
    const char* name; /* NULL where it has none; alive as long as the model */
    int64_t channels;
    int64_t size[PCONV_MAX_SPATIAL_DIMS]; /* of its output */
    int32_t mask_planes;                  /* of its output's mask; 0 where all is valid */
    int64_t parameters;
    int64_t multiply_adds; /* of one image */
    int64_t arena_bytes;   /* of the whole network's features in f32, the caller's input and output apart */
} PconvLayerInfo;

static inline PconvLayerInfo pconvDefaultLayerInfo(void) {
    PconvLayerInfo info;
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    return info;
}
PCONV_API PconvStatus pconvGetModelLayerInfo(PconvModel model, const int64_t size[PCONV_MAX_SPATIAL_DIMS],
                                             int32_t layer, PconvLayerInfo* info);

/* Asks `source` for every tensor, with `values` NULL; the status is that of the first that is missing or of
 * another shape. */
PCONV_API PconvStatus pconvReadModelTensors(PconvModel model, PconvTensorSource source, void* user);

/*
 * The description as JSON, as it stands in files; alive as long as the model.
 */
PCONV_API PconvStatus pconvGetModelJson(PconvModel model, const char** json);

/*
 * The network of a file that describes itself, with its weights, for pictures of size [height, width] and
 * batch 1, f32 and contiguous, resizable; NULL where the model has a fixed size.
 */
PCONV_API PconvStatus pconvLoadNetwork(PconvDevice device, const char* path,
                                       const int64_t size[PCONV_MAX_SPATIAL_DIMS], PconvNetwork* network);

/*
 * The same with PCONV_MATH_FAST for its convolutions; PCONV_MATH_EXACT is what pconvLoadNetwork takes. On the
 * CPU fast math takes 3x3 windows with stride 1 in about half the time; their weights take four times the
 * memory, with multi-channel or fractional masks up to six times.
 */
PCONV_API PconvStatus pconvLoadNetworkWithMath(PconvDevice device, const char* path,
                                               const int64_t size[PCONV_MAX_SPATIAL_DIMS], PconvMath math,
                                               PconvNetwork* network);

/*
 * pconvInpaint with a network: `network` is resizable, f32, contiguous and of `model`, as pconvLoadNetwork
 * makes it for any size; both on `device`. The image has 1 or 3 channels; one channel is filled by the mean
 * of three. A picture larger than `tile` (0: 512) is filled in overlapping tiles around its holes, mirrored
 * at its edges where the network asks for more. Near the rim of a hole what the network gets wrong of the
 * known pixel beside it is taken off. Where the network's output mask still has a hole, pconvInpaint fills.
 * Everything else is as for pconvInpaint; the network is left at another size.
 */
PCONV_API PconvStatus pconvInpaintWithNetwork(PconvDevice device, PconvModel model, PconvNetwork network,
                                              const PconvImage* image, const uint8_t* mask,
                                              const PconvInpaintOptions* options, int64_t tile);

#ifdef __cplusplus
}
#endif

#endif /* PCONV_MODELS_H */
