// File descriptors that are handed over.
#pragma once

namespace pconv::platform {

// Another descriptor of the same, which is not inherited by programs that are started; -1 where `descriptor`
// is none, or the system knows none.
int duplicateDescriptor(int descriptor) noexcept;
void closeDescriptor(int descriptor) noexcept;

}  // namespace pconv::platform
