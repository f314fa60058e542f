// What stands behind a network's handle.
#pragma once

#include "network/prepared.h"
#include "network/weights.h"

namespace pconv::network {

// What a resizable network has been given for a layer.
struct KeptWeights {
    Uploaded weight, bias;
    bool given = false;
};

}  // namespace pconv::network

struct PconvNetwork_T {
    std::shared_ptr<pconv::DeviceState> device;
    std::unique_ptr<pconv::network::Description> description;
    // For what lies between layers: one for both shapes, since a pass leaves nothing there.
    pconv::OwnedBuffer arena;
    size_t arena_bytes = 0;
    std::list<std::unique_ptr<pconv::network::Prepared>> prepared;  // the one in use, the one before
    std::vector<pconv::network::KeptWeights> kept;                  // empty where it is not resizable

    pconv::network::Prepared& current() const { return *prepared.front(); }
};

namespace pconv::network {

// Gives layers their weights, and keeps them where the network is resizable.
void setWeights(PconvNetwork_T& network, Prepared& prepared, size_t layer, const PconvTensor* weight,
                const PconvTensor* bias);

}  // namespace pconv::network
