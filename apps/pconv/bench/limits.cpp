#include "bench/limits.h"

namespace pconv::app {
namespace {

double copyRate(BenchDevice& bench, int64_t shrink) {
    constexpr std::size_t kPairs = 4;
    const std::vector<int64_t> dims = {1, 16, std::max<int64_t>(16, 1024 / shrink),
                                       std::max<int64_t>(16, 1024 / shrink)};
    const int64_t bytes = elementCount(dims) * static_cast<int64_t>(sizeof(float));
    std::vector<Tensor> from;
    std::vector<Tensor> to;
    for (std::size_t i = 0; i < kPairs; ++i) {
        // In f32 whatever the rows have: other types may be unpacked on the way.
        from.emplace_back(bench.device(), dims);
        to.emplace_back(bench.device(), dims);
        convert(bench.randomTensor(dims, static_cast<std::uint32_t>(i)).view(), from[i].view());
    }
    bench.device().wait();
    std::vector<Contender> copy(1);
    copy[0].call = [&](std::size_t set) { convert(from[set].view(), to[set].view()); };
    timeInTurn(bench.device(), copy, kPairs, bench.settings().budget);
    return 2 * static_cast<double>(bytes) / copy[0].timing.median();
}

/// Shapes that leave an implementation no excuse.
std::vector<SeedRow> friendlyShapes(const BenchDevice& bench, int64_t shrink) {
    const auto shape = [&](int64_t channels, int64_t out_channels, int64_t size, int64_t kernel) {
        SeedRow row;
        row.table = "friendly";
        row.mask = "none";
        row.batch = bench.isSlow() ? 1 : 32;
        row.channels = channels;
        row.size = {size, size};
        SeedStep step;
        step.in_channels = channels;
        step.out_channels = out_channels;
        for (std::size_t d = 0; d < 2; ++d) {
            step.kernel[d] = kernel;
            step.padding[d] = kernel / 2;
        }
        row.steps = {step};
        row = row.shrunk(shrink);
        row.name = row.shapeText();
        return row;
    };
    return {shape(128, 256, 64, 3), shape(256, 256, 56, 3), shape(512, 512, 28, 3), shape(512, 512, 64, 1)};
}

}  // namespace

double DeviceLimits::floorSeconds(const Footprint& footprint) const {
    return std::max(static_cast<double>(footprint.idealBytes()) / bytes_per_second,
                    footprint.operations / operations_per_second);
}

DeviceLimits measureLimits(BenchDevice& bench, int64_t shrink, const std::vector<RowResult>& measured) {
    DeviceLimits limits;
    const auto offer = [&](const std::string& name, double operations, const Timing& timing) {
        const double rate = operations / timing.median();
        if (rate <= limits.operations_per_second) return;
        limits.operations_per_second = rate;
        limits.fastest = name;
    };
    try {
        limits.bytes_per_second = copyRate(bench, shrink);
        for (const SeedRow& row : friendlyShapes(bench, shrink))
            offer(row.name, row.operations() * (bench.settings().backward ? 3 : 1), measurePlain(bench, row));
        for (const RowResult& result : measured)
            if (!result.plain.empty()) offer(result.row.id(), result.footprint.operations, result.plain);
    } catch (const Error& error) {
        limits.fault = faultOf(error);
    }
    return limits;
}

}  // namespace pconv::app
