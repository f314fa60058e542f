#pragma once

#include <functional>
#include <optional>

#include "bench/holes.h"
#include "bench/layer.h"
#include "bench/limits.h"

namespace pconv::app {

struct BenchTable {
    std::string name;
    std::vector<RowResult> rows;
};

/// What was asked for and how it was measured.
struct BenchSetup {
    std::string commit;
    PconvDeviceInfo device = pconvDefaultDeviceInfo();
    BenchSettings settings;
    std::vector<std::string> tables;
    std::string filter;
    int64_t batch = 0;  ///< 0: as published
    int64_t shrink = 1;
    uint64_t cache_bytes = 0;
    std::vector<std::string> notes;  ///< what speaks against the figures
};

std::string headerText(const BenchSetup& setup);
std::string tableText(const BenchTable& table, const TimeBudget& budget);
std::string limitsText(const std::vector<RowResult>& rows, const DeviceLimits& limits);
std::string holesText(const std::vector<HolesResult>& rows);

/// All of a run as JSON.
std::string benchJson(const BenchSetup& setup, const std::vector<BenchTable>& tables,
                      const std::optional<DeviceLimits>& limits, const std::vector<HolesResult>& holes);

/// The geometric mean of a ratio over the rows that have it; nothing where none does.
using RatioOf = std::function<std::optional<double>(const RowResult&)>;
std::optional<double> meanOf(const std::vector<RowResult>& rows, const RatioOf& ratio);

std::optional<double> overPlain(const RowResult& result);
std::optional<double> reusedOverPlain(const RowResult& result);
std::optional<double> layersOverNetwork(const RowResult& result);
std::optional<double> peakOverIdeal(const RowResult& result);

}  // namespace pconv::app
