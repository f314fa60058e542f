#include <nlohmann/json.hpp>

#include "bench/report.h"
#include "command.h"

namespace pconv::app {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "pconv-bench-1";

Json timingJson(const Timing& timing) {
    if (timing.empty()) return nullptr;
    return {{"median_s", timing.median()},    {"p10_s", timing.low()},
            {"p90_s", timing.high()},         {"least_s", timing.quantile(0)},
            {"rounds", timing.rounds.size()}, {"calls_a_round", timing.calls}};
}

Json ratioJson(const std::optional<double>& ratio) {
    return ratio ? Json(*ratio) : Json(nullptr);
}

Json publishedJson(const SeedRow& row) {
    if (!row.published) return nullptr;
    return {{"device", "RTX 3090 Ti"},
            {"nvidia_ms", row.published->nvidia_ms},
            {"lyehe_ms", row.published->optimized_ms}};
}

Json limitJson(const RowResult& result, const std::optional<DeviceLimits>& limits) {
    if (!limits || limits->fault || result.each_mask.empty() || result.row.is_network) return nullptr;
    const double floor = limits->floorSeconds(result.footprint);
    return {{"floor_s", floor},
            {"over_floor", result.each_mask.median() / floor},
            {"plain_over_floor", result.plain.empty() ? Json(nullptr) : Json(result.plain.median() / floor)}};
}

Json rowJson(const RowResult& result, const std::optional<DeviceLimits>& limits) {
    const Footprint& footprint = result.footprint;
    Json json = {{"name", result.row.name},
                 {"shape", result.row.shapeText()},
                 {"input", result.row.inputDims()},
                 {"mask", result.row.mask},
                 {"fault", result.fault.line},
                 {"implementation", result.implementation},
                 {"sets", result.sets},
                 {"time", timingJson(result.each_mask)},
                 {"time_mask_reused", timingJson(result.reused)},
                 {"plain",
                  {{"implementation", result.plain_implementation},
                   {"fault", result.plain_fault.line},
                   {"time", timingJson(result.plain)}}},
                 {"over_plain", ratioJson(overPlain(result))},
                 {"reused_over_plain", ratioJson(reusedOverPlain(result))}};
    if (result.row.is_network) {
        json["layer_by_layer"] = timingJson(result.layer_by_layer);
        json["layers_over_network"] = ratioJson(layersOverNetwork(result));
    }
    json["memory"] = {
        {"peak_bytes", footprint.peak_bytes},       {"ideal_bytes", footprint.idealBytes()},
        {"input_bytes", footprint.input_bytes},     {"weight_bytes", footprint.weight_bytes},
        {"output_bytes", footprint.output_bytes},   {"mask_bytes", footprint.mask_bytes},
        {"between_bytes", footprint.between_bytes}, {"peak_over_ideal", ratioJson(peakOverIdeal(result))}};
    json["operations"] = footprint.operations;
    json["limit"] = limitJson(result, limits);
    json["published_by_others"] = publishedJson(result.row);
    return json;
}

Json tableJson(const BenchTable& table, const std::optional<DeviceLimits>& limits) {
    Json rows = Json::array();
    for (const RowResult& result : table.rows) rows.push_back(rowJson(result, limits));
    return {{"name", table.name},
            {"rows", std::move(rows)},
            {"geometric_means",
             {{"over_plain", ratioJson(meanOf(table.rows, overPlain))},
              {"reused_over_plain", ratioJson(meanOf(table.rows, reusedOverPlain))},
              {"layers_over_network", ratioJson(meanOf(table.rows, layersOverNetwork))}}}};
}

Json holesJson(const HolesResult& row) {
    const bool measured = !row.timing.empty();
    return {{"layer", row.layer},
            {"pattern", row.pattern},
            {"percent", row.percent},
            {"fault", row.fault.line},
            {"implementation", row.implementation},
            {"time", timingJson(row.timing)},
            {"over_no_holes", measured ? Json(row.over_no_holes) : Json(nullptr)},
            {"hole_tiles", row.hole_tiles},
            {"valid_tiles", row.valid_tiles}};
}

Json setupJson(const BenchSetup& setup) {
    const BenchSettings& settings = setup.settings;
    const char* type = settings.data_type == PCONV_DATA_TYPE_F16    ? "f16"
                       : settings.data_type == PCONV_DATA_TYPE_BF16 ? "bf16"
                                                                    : "f32";
    return {
        {"tables", setup.tables},
        {"filter", setup.filter},
        {"implementation", settings.implementation.empty() ? Json(nullptr) : Json(settings.implementation)},
        {"batch", setup.batch > 0 ? Json(setup.batch) : Json("published")},
        {"shrink", setup.shrink},
        {"rounds", settings.budget.rounds > 0 ? Json(settings.budget.rounds) : Json(nullptr)},
        {"seconds", settings.budget.seconds},
        {"backward", settings.backward},
        {"dtype", type},
        {"math", settings.math == PCONV_MATH_FAST ? "fast" : "exact"},
        {"layout", settings.layout == PCONV_LAYOUT_CHANNELS_LAST ? "channels_last" : "contiguous"},
        {"cache_bytes", setup.cache_bytes}};
}

}  // namespace

std::string benchJson(const BenchSetup& setup, const std::vector<BenchTable>& tables,
                      const std::optional<DeviceLimits>& limits, const std::vector<HolesResult>& holes) {
    Json all = {{"format", kFormat},
                {"commit", setup.commit},
                {"device",
                 {{"name", setup.device.name},
                  {"backend", setup.device.backend},
                  {"type", deviceTypeName(setup.device.type)},
                  {"driver", setup.device.driver},
                  {"features", setup.device.features},
                  {"memory_bytes", setup.device.memory_bytes}}},
                {"options", setupJson(setup)},
                {"notes", setup.notes}};
    Json table_list = Json::array();
    for (const BenchTable& table : tables) table_list.push_back(tableJson(table, limits));
    all["tables"] = std::move(table_list);
    all["limits"] = nullptr;
    if (limits)
        all["limits"] = {{"fault", limits->fault.line},
                         {"copy_bytes_per_second", limits->bytes_per_second},
                         {"plain_operations_per_second", limits->operations_per_second},
                         {"fastest_plain", limits->fastest}};
    Json hole_list = Json::array();
    for (const HolesResult& row : holes) hole_list.push_back(holesJson(row));
    all["holes"] = std::move(hole_list);
    // Names of devices are whatever their drivers say.
    return all.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace pconv::app
