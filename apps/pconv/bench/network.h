#pragma once

#include "bench/layer.h"

namespace pconv::app {

/// A network as one recorded submission, with a changed mask and an unchanged one, beside its layers called
/// one by one (those without upsampling) and the same network of plain convolutions.
RowResult measureNetwork(BenchDevice& bench, const SeedRow& row);

}  // namespace pconv::app
