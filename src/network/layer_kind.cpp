#include "network/layer_kind.h"

#include "core/checked.h"

namespace pconv::network {

const LayerKind& kindOf(PconvLayerType type) {
    switch (type) {
        case PCONV_LAYER_TYPE_PARTIAL_CONV:
            return partialConvLayer();
        case PCONV_LAYER_TYPE_UPSAMPLE:
            return upsampleLayer();
        case PCONV_LAYER_TYPE_CONCAT:
            return concatLayer();
        case PCONV_LAYER_TYPE_CONV:
            return convLayer();
        case PCONV_LAYER_TYPE_TRANSPOSED_CONV:
            return transposedConvLayer();
        case PCONV_LAYER_TYPE_LINEAR:
            return linearLayer();
        case PCONV_LAYER_TYPE_ADD:
            return addLayer();
        case PCONV_LAYER_TYPE_MAX_POOL:
            return maxPoolLayer();
        case PCONV_LAYER_TYPE_AVERAGE_POOL:
            return averagePoolLayer();
        case PCONV_LAYER_TYPE_BATCH_NORM:
            return batchNormLayer();
        case PCONV_LAYER_TYPE_SCALE:
            return scaleLayer();
        case PCONV_LAYER_TYPE_SIGMOID:
            return sigmoidLayer();
        case PCONV_LAYER_TYPE_CROP:
            return cropLayer();
    }
    fail(PCONV_ERROR_INTERNAL, "a layer of no kind");
}

}  // namespace pconv::network
