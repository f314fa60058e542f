#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pconv/pconv.hpp"

namespace pconv::app {

/// What others published for a row, on another device.
struct PublishedTimes {
    double nvidia_ms = 0;
    double optimized_ms = 0;
};

using Dims = std::array<int64_t, PCONV_MAX_SPATIAL_DIMS>;

/// A convolution, or with `upsample` the repetition of every element.
struct SeedStep {
    bool upsample = false;
    Dims factor{1, 1, 1};
    int64_t in_channels = 1, out_channels = 1, groups = 1;
    Dims kernel{1, 1, 1}, stride{1, 1, 1}, padding{0, 0, 0}, dilation{1, 1, 1};
    bool bias = true;
    bool multi_channel = false;
    PconvActivation activation = PCONV_ACTIVATION_NONE;
};

/// A row of a table: a layer is a network of one step.
struct SeedRow {
    std::string table;
    std::string name;
    std::string mask;  ///< full, none, random, center_hole, spatial_hole, temporal_hole or random_temporal
    int64_t batch = 1;
    int64_t channels = 1;
    std::vector<int64_t> size;
    std::vector<SeedStep> steps;
    bool is_network = false;
    std::optional<PublishedTimes> published;

    std::string id() const { return table + "/" + name; }
    int spatialDims() const { return static_cast<int>(size.size()); }
    /// "[1,32,128,128]->64 k3 s2"
    std::string shapeText() const;
    std::vector<int64_t> inputDims() const;
    /// What goes into a step, [N, C, S...].
    std::vector<int64_t> inputDimsOf(std::size_t step) const;
    std::vector<int64_t> outputDims() const { return inputDimsOf(steps.size()); }
    std::vector<int64_t> weightDimsOf(std::size_t step) const;
    /// Multiplications and additions of the plain convolutions.
    double operations() const;
    bool hasUpsampling() const;

    /// Sizes and channels divided, as far as groups and windows allow.
    SeedRow shrunk(int64_t by) const;

    /// A convolution with the row's shapes alone: types and mask are the caller's to set.
    PartialConvDesc convOf(std::size_t step) const;
};

/// Of "2d", "3d", "2d-networks", "3d-networks" and "multi", which the published tables do not have.
std::vector<SeedRow> seedRows(const std::string& table);

/// The mask of a row, [N, 1 or C, S...], 1 where it is valid.
std::vector<std::uint8_t> seedMask(const SeedRow& row, std::uint32_t seed);
std::vector<int64_t> seedMaskDims(const SeedRow& row);

int64_t elementCount(const std::vector<int64_t>& dims);

}  // namespace pconv::app
