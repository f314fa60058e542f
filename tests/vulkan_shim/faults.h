// How a test in the same process tells the library what is to fail.
#pragma once

#include <cstdint>

extern "C" {

// The call number `call` from now on, 1 or more, of this function of Vulkan answers `result`, a VkResult, and
// does nothing; all other calls do what they do. "" is any function that can fail, null none. `function` must
// outlive its use.
__attribute__((visibility("default"))) void pconvShimFail(const char* function, uint32_t call,
                                                          int32_t result);

// Whether that call has come.
__attribute__((visibility("default"))) int pconvShimHasFailed();
}
