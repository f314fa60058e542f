// A layer's factors and summands, one of each a channel.
#pragma once

#include "network/layer_kind.h"

namespace pconv::network {

void makeVectors(PconvDevice device, LayerState& state, int64_t channels);
// Enqueues a copy of the caller's [channels]; place 0: the factors, 1: the summands.
void setVector(Prepared& prepared, LayerState& state, int64_t place, const PconvTensor* vector,
               const char* name, int64_t channels, DataType type);

}  // namespace pconv::network
