// What stands behind a network's handle.
#pragma once

#include <list>
#include <memory>
#include <vector>

#include "core/handles.h"
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

}  // namespace pconv::network

struct PconvNetwork_T {
    std::shared_ptr<pconv::DeviceState> device;
    pconv::network::Plan plan;
    pconv::OwnedBuffer arena, mask_arena;  // null where nothing lies in them
    pconv::OwnedMaskUpdate inverted;       // the network's mask in the polarity of the others
    std::vector<pconv::OwnedConv> convs;   // by layer, null where it has none
    std::vector<pconv::OwnedMaskUpdate> updates;
    std::list<pconv::network::RecordedPass> passes;  // the latest first
    PconvTensor last_mask{};
    bool masks_computed = false;
    ~PconvNetwork_T();
};
