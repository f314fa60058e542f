// What a kind of layer does: planned, made, enqueued, given its weights. A file each in layers/.
#pragma once

#include "network/planner.h"
#include "network/prepared.h"
#include "network/weights.h"

namespace pconv::network {

class LayerKind {
  public:
    LayerKind() = default;
    LayerKind(const LayerKind&) = delete;
    LayerKind& operator=(const LayerKind&) = delete;
    virtual ~LayerKind() = default;

    // Fills the layer, whose first input is known, and says what its output is.
    virtual Value plan(Planner& planner, Layer& layer, const PconvLayer& caller, size_t index) const = 0;
    // Makes what it runs.
    virtual void make(PconvDevice /*device*/, Prepared& /*prepared*/, size_t /*index*/) const {}
    // Appends its calls; those of the mask side apart.
    virtual void enqueueMasks(Calls& /*calls*/, size_t /*index*/) const {}
    virtual void enqueue(Calls& calls, size_t index) const = 0;

    virtual bool hasWeights(const Layer& /*layer*/) const { return false; }
    // From a file, as it will be given to setWeights.
    virtual LayerWeights readWeights(WeightFile& /*file*/, const Layer& /*layer*/) const { return {}; }
    // Checks and enqueues; true where what the mask side made is no longer so.
    virtual bool setWeights(Prepared& /*prepared*/, size_t /*index*/, const PconvTensor* /*weight*/,
                            const PconvTensor* /*bias*/) const {
        return false;
    }
};

const LayerKind& kindOf(PconvLayerType type);

// In layers/.
const LayerKind& partialConvLayer();
const LayerKind& convLayer();
const LayerKind& transposedConvLayer();
const LayerKind& linearLayer();
const LayerKind& upsampleLayer();
const LayerKind& concatLayer();
const LayerKind& addLayer();
const LayerKind& maxPoolLayer();
const LayerKind& averagePoolLayer();
const LayerKind& batchNormLayer();
const LayerKind& scaleLayer();
const LayerKind& sigmoidLayer();
const LayerKind& cropLayer();

}  // namespace pconv::network
