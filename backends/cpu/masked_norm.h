// Masked batch normalization and masked spatial mean, as masked_torch has them, accumulated in float64.
#pragma once

#include "cpu/device.h"

namespace pconv::cpu {

std::unique_ptr<MaskedBatchNorm> makeMaskedBatchNorm(const MaskedNormDesc& desc, const Threads& threads);
std::unique_ptr<MaskedSpatialMean> makeMaskedSpatialMean(const MaskedNormDesc& desc, const Threads& threads);

}  // namespace pconv::cpu
