#include "vulkan/device/timer.h"

#include <array>

namespace pconv::vulkan {

struct VulkanTimer::Queries {
    explicit Queries(Context& owner) : context(owner) {
        auto info = structure<VkQueryPoolCreateInfo>(VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO);
        info.queryType = VK_QUERY_TYPE_TIMESTAMP;
        info.queryCount = 2;
        check(context.api().CreateQueryPool(context.device(), &info, nullptr, &pool), "vkCreateQueryPool");
    }
    Queries(const Queries&) = delete;
    Queries& operator=(const Queries&) = delete;
    ~Queries() { context.api().DestroyQueryPool(context.device(), pool, nullptr); }

    Context& context;
    VkQueryPool pool = VK_NULL_HANDLE;
};

VulkanTimer::VulkanTimer(Context& context, Stream& stream)
    : context_(context), stream_(stream), queries_(std::make_shared<Queries>(context)) {}

void VulkanTimer::mark(uint32_t index) {
    stream_.beginOperation();
    stream_.keep(queries_);
    last_ = stream_.timestamp(queries_->pool, index);
    stream_.endOperation();
}

double VulkanTimer::seconds() {
    stream_.wait(last_);
    std::array<uint64_t, 2> ticks{};
    const VkResult status =
        context_.api().GetQueryPoolResults(context_.device(), queries_->pool, 0, 2, sizeof ticks,
                                           ticks.data(), sizeof(uint64_t), VK_QUERY_RESULT_64_BIT);
    check(status, "vkGetQueryPoolResults");
    if (status == VK_NOT_READY)
        fail(PCONV_ERROR_DEVICE, "a mark was lost after an earlier failure of the device");
    return context_.seconds(ticks[0], ticks[1]);
}

}  // namespace pconv::vulkan
