// The gradient of the input as a matrix product: turned weights by the gradient of the sums.
#include <algorithm>

#include "vulkan/gradients/input.h"
#include "vulkan/gradients/tile.h"

namespace pconv::vulkan {

bool suitsGradInputGemm(const GradContext& context) {
    const PlanLimits limits = context.device.limits();
    const int64_t block = turnedBlock(context, gradTile(context, context.groupIn()).channels);
    if (block * 4 + 2 * limits.alignment > limits.max_range) return false;
    // A software device takes more, so that the tests run odd shapes; vulkan:direct comes first there.
    const int64_t least = context.device.info().type == DeviceType::software ? 4 : 8;
    return context.groupIn() >= least && context.groupOut() >= least;
}

GradInputKernel gradInputGemm(const GradContext& context) {
    const Window w = context.desc.window;
    GradTile tile = gradTile(context, context.groupIn());
    tile.constants[SPEC_VECTORS] = context.groupOut() % 4 == 0 ? 1 : 0;
    // As shaders/grad_input_gemm.comp counts: tiles of one phase's inputs, for every phase.
    const auto workgroups = [w](const Range& rows) {
        const RowBox box = rowBox(rows, w.input[1]);
        const Dims3 size{box.d.size(), box.h.size(), w.input[2]};
        int64_t phases = 1;
        int64_t columns = 1;
        for (size_t d = 0; d < 3; ++d) {
            phases *= std::min(w.stride[d], size[d]);
            columns *= ceilDiv(size[d], w.stride[d]);
        }
        return phases * ceilDiv(columns, GradTile::kColumns);
    };
    return {"grad_input_gemm", tile.constants, tile.channels, GradTile::kColumns, workgroups};
}

}  // namespace pconv::vulkan
