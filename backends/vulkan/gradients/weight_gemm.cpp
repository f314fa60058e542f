// The gradient of the weights as a matrix product: the gradient of the sums by input windows.
#include <algorithm>

#include "vulkan/gradients/tile.h"
#include "vulkan/gradients/weight.h"

namespace pconv::vulkan {

namespace {

constexpr int64_t kWorkgroups = 256;    // that keep a large GPU busy
constexpr int64_t kLeastOutputs = 256;  // of a part, so that its product outweighs bringing it to memory

// Where tiles of weights alone are few, the outputs are cut. The parts together take no more than a quarter
// of the memory that the gradient of the sums does.
int64_t partsOf(const GradContext& context, const GradTile& tile) {
    const int64_t of_channel = context.groupIn() * context.taps();
    const int64_t outputs = context.desc.batch * volume(context.desc.window.output);
    const int64_t tiles = ceilDiv(context.groupOut(), tile.channels) * context.desc.groups *
                          ceilDiv(of_channel, GradTile::kColumns);
    const PlanLimits limits = context.device.limits();
    const int64_t bound = (limits.max_range - 2 * limits.alignment) / (of_channel * 4);  // of one channel
    return std::max<int64_t>(
        1, std::min({ceilDiv(kWorkgroups, tiles), outputs / kLeastOutputs, outputs / (4 * of_channel), bound,
                     static_cast<int64_t>(limits.max_groups[2])}));
}

}  // namespace

bool suitsGradWeightGemm(const GradContext& context) {
    // A software device takes any, so that the tests run odd shapes; vulkan:direct comes first there.
    return context.device.info().type == DeviceType::software ||
           (context.groupOut() >= 8 && context.groupIn() * context.taps() >= GradTile::kColumns / 2);
}

GradWeightKernel gradWeightGemm(const GradContext& context) {
    const GradTile tile = gradTile(context, context.groupOut());
    return {"grad_weight_gemm", tile.constants, tile.channels, GradTile::kColumns, partsOf(context, tile)};
}

}  // namespace pconv::vulkan
