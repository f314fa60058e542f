// Convolutions that take over the upsampling, and the concatenation, of what they read.
#pragma once

#include <map>

#include "network/plan.h"

namespace pconv::network {

struct Fusion {
    std::vector<size_t> layers;  // that have nothing left to do
    std::vector<size_t> inputs;  // values: what was upsampled, then the other input of the concatenation
    UpsampledChannels channels;
};
using Fusions = std::map<size_t, Fusion>;  // by the convolution's layer

// Of a plan without any.
Fusions findFusions(const Plan& plan, const FusesUpsampling& fuses);

}  // namespace pconv::network
