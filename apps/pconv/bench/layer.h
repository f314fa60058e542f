#pragma once

#include <memory>
#include <optional>

#include "bench/device.h"
#include "bench/seed_tables.h"

namespace pconv::app {

/// What moves and is done at least, once each, and the device's memory in one pass.
struct Footprint {
    int64_t input_bytes = 0, weight_bytes = 0, output_bytes = 0, mask_bytes = 0;
    int64_t between_bytes = 0;  ///< of networks: the most that lies between layers at once
    double operations = 0;      ///< multiplications and additions
    int64_t peak_bytes = 0;

    int64_t idealBytes() const {
        return input_bytes + weight_bytes + output_bytes + mask_bytes + between_bytes;
    }
};

/// The figures of a row; without those of a contender that the device lacks.
struct RowResult {
    SeedRow row;
    Fault fault;
    std::string implementation;
    Timing each_mask;  ///< the mask side computed with every call
    Timing reused;     ///< the mask side of an unchanged mask
    std::size_t sets = 0;
    Footprint footprint;

    std::string plain_implementation;
    Timing plain;
    Fault plain_fault;

    Timing layer_by_layer;  ///< of networks: the same layers called one by one
};

RowResult measureLayer(BenchDevice& bench, const SeedRow& row);

/// The plain convolution of the row's shape alone.
Timing measurePlain(BenchDevice& bench, const SeedRow& row);

/// Bytes of the row's tensors, of the settings' type.
Footprint footprintOf(const BenchDevice& bench, const SeedRow& row);

/// The planes of the row's mask; nothing where it has none.
std::optional<Tensor> maskPlanes(const BenchDevice& bench, const SeedRow& row, std::uint32_t seed);

}  // namespace pconv::app
