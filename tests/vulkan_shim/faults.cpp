// Functions that fail once, when a test has told them to.
#include "faults.h"

#include <cstring>
#include <map>
#include <mutex>

#include "shim.h"

// Every function of a device that can fail.
#define PCONV_SHIM_FALLIBLE(X)        \
    X(vkAllocateCommandBuffers)       \
    X(vkAllocateDescriptorSets)       \
    X(vkAllocateMemory)               \
    X(vkBeginCommandBuffer)           \
    X(vkBindBufferMemory)             \
    X(vkCreateBuffer)                 \
    X(vkCreateCommandPool)            \
    X(vkCreateComputePipelines)       \
    X(vkCreateDescriptorPool)         \
    X(vkCreateDescriptorSetLayout)    \
    X(vkCreateFence)                  \
    X(vkCreatePipelineCache)          \
    X(vkCreatePipelineLayout)         \
    X(vkCreateQueryPool)              \
    X(vkCreateShaderModule)           \
    X(vkEndCommandBuffer)             \
    X(vkFlushMappedMemoryRanges)      \
    X(vkGetFenceStatus)               \
    X(vkGetQueryPoolResults)          \
    X(vkInvalidateMappedMemoryRanges) \
    X(vkMapMemory)                    \
    X(vkQueueSubmit)                  \
    X(vkResetCommandPool)             \
    X(vkResetDescriptorPool)          \
    X(vkResetFences)                  \
    X(vkWaitForFences)

namespace pconv::shim {

namespace {

std::mutex mutex;
const char* failing = nullptr;  // "" for any
uint32_t calls_left = 0;
VkResult answer = VK_SUCCESS;
bool failed = false;

bool failsNow(const char* name) {
    const std::lock_guard<std::mutex> lock(mutex);
    if (failing == nullptr || (*failing != '\0' && std::strcmp(failing, name) != 0)) return false;
    if (calls_left-- > 1) return false;
    failing = nullptr;
    failed = true;
    return true;
}

// One for each function, told apart by a number.
template <int kFunction, typename Function>
struct Fallible;
template <int kFunction, typename... Arguments>
struct Fallible<kFunction, VkResult(VKAPI_PTR*)(Arguments...)> {
    static inline const char* name = nullptr;
    static inline VkResult(VKAPI_PTR* real)(Arguments...) = nullptr;
    static VKAPI_ATTR VkResult VKAPI_CALL call(Arguments... arguments) {
        return failsNow(name) ? answer : real(arguments...);
    }
};

}  // namespace

PFN_vkVoidFunction failingFunction(const char* name, PFN_vkVoidFunction real) {
#define PCONV_SHIM_WRAP(function)                                    \
    if (std::strcmp(name, #function) == 0) {                         \
        using Wrapped = Fallible<__COUNTER__, PFN_##function>;       \
        Wrapped::name = #function;                                   \
        Wrapped::real = reinterpret_cast<PFN_##function>(real);      \
        return reinterpret_cast<PFN_vkVoidFunction>(&Wrapped::call); \
    }
    PCONV_SHIM_FALLIBLE(PCONV_SHIM_WRAP)
#undef PCONV_SHIM_WRAP
    return real;
}

}  // namespace pconv::shim

void pconvShimFail(const char* function, uint32_t call, int32_t result) {
    using namespace pconv::shim;
    const std::lock_guard<std::mutex> lock(mutex);
    failing = function;
    calls_left = call;
    answer = static_cast<VkResult>(result);
    failed = false;
}

int pconvShimHasFailed() {
    using namespace pconv::shim;
    const std::lock_guard<std::mutex> lock(mutex);
    return failed ? 1 : 0;
}
