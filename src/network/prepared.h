// A network made for one batch and size, and how its passes are put together.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <vector>

#include "core/handles.h"
#include "core/operands.h"
#include "core/owned.h"
#include "network/plan.h"

namespace pconv::network {

// The caller's tensors of one pass; the mask has no buffer where the mask side is left as it is.
struct Operands {
    TensorRef input, mask, output;
};

struct RecordedPass {
    Operands operands;
    bool with_masks = false;
    std::unique_ptr<Recording> recording;
};

// What one layer has been made into.
struct LayerState {
    OwnedConv conv;
    OwnedMaskUpdate update;
    OwnedBuffer vectors;  // f32: factors, then summands, a channel each
    bool has_scale = false, has_shift = false;
    std::unique_ptr<MaskedBatchNorm> norm;  // of a batch normalization that has to look at the mask
    OwnedBuffer statistics;                 // its means of 0 and variances of 1
    bool has_weights = false;
};

struct Prepared {
    std::shared_ptr<DeviceState> device;
    Plan plan;
    PconvBuffer arena = nullptr;  // the network's
    OwnedBuffer mask_arena;       // null where nothing lies in it
    std::vector<LayerState> layers;
    std::vector<OwnedMaskUpdate> windowed;  // as in the plan
    std::list<RecordedPass> passes;         // the latest first
    PconvTensor last_mask{};
    bool masks_computed = false;

    Prepared() = default;
    Prepared(const Prepared&) = delete;
    Prepared& operator=(const Prepared&) = delete;
    ~Prepared();
};

std::unique_ptr<Prepared> prepare(PconvDevice device, const Description& description);

// A view [batch, planes, size] of planes of a mask.
PconvTensor planesOf(const Plan& plan, int64_t batch, int64_t planes, const Dims3& size, DataType type,
                     PconvBuffer buffer, size_t offset);
DataType planeType(MaskType type);
OwnedBuffer makeBuffer(PconvDevice device, size_t bytes);

// The calls of a pass in order, with their operands.
class Calls {
  public:
    Calls(Prepared& prepared, const Operands& operands)
        : prepared_(prepared), plan_(prepared.plan), operands_(operands) {}
    std::vector<std::function<void()>> make(bool with_masks);

    template <typename Call>
    void add(Call call) {
        calls_.push_back(std::move(call));
    }
    // A pass of the seam from value to value, or over what lies in the output already.
    void addPass(const PassDesc& desc, const TensorRef& input, const TensorRef& output,
                 const LayerState* vectors, const TensorRef& added = {});
    void addCopy(size_t value, const TensorRef& to);

    const Plan& plan() const { return plan_; }
    const Layer& layer(size_t index) const { return plan_.layers[index]; }
    LayerState& state(size_t index) { return prepared_.layers[index]; }
    Device* device() const { return prepared_.device->device.get(); }
    TensorRef valueAt(size_t index, int64_t first_channel = 0) const;
    TensorRef planesAt(const MaskSource& source) const;
    std::vector<TensorRef> planesOf(const TravelingMask& mask) const;

  private:
    void upsamplePlanes(size_t index);
    TensorRef inMaskArena(size_t offset, DataType type, const Dims5& dims) const;

    Prepared& prepared_;
    const Plan& plan_;
    Operands operands_;
    std::vector<std::function<void()>> calls_;
};

// The calls for these operands, recorded at their first turn.
Recording& recordedPass(Prepared& prepared, const Operands& operands, bool with_masks);

}  // namespace pconv::network
