// Objects of the C API, for use from within the library.
#pragma once

#include <memory>
#include <type_traits>

#include "error.h"
#include "pconv/pconv.h"

namespace pconv {

template <typename T, void (*kRelease)(T)>
struct Release {
    using pointer = T;
    void operator()(T object) const { kRelease(object); }
};
template <typename T, void (*kRelease)(T)>
using Owned = std::unique_ptr<std::remove_pointer_t<T>, Release<T, kRelease>>;
using OwnedBuffer = Owned<PconvBuffer, pconvReleaseBuffer>;
using OwnedMaskUpdate = Owned<PconvMaskUpdate, pconvReleaseMaskUpdate>;
using OwnedConv = Owned<PconvPartialConv, pconvReleasePartialConv>;

// Throws Error where a call of the C API failed.
inline void check(PconvStatus status) {
    if (status != PCONV_SUCCESS) fail(status, pconvGetLastError());
}

}  // namespace pconv
