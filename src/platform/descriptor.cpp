#include "platform/descriptor.h"

#ifndef _WIN32
#include <fcntl.h>
#include <unistd.h>
#endif

namespace pconv::platform {

#ifdef _WIN32

int duplicateDescriptor(int /*descriptor*/) noexcept {
    return -1;
}

void closeDescriptor(int /*descriptor*/) noexcept {}

#else

int duplicateDescriptor(int descriptor) noexcept {
    return fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
}

void closeDescriptor(int descriptor) noexcept {
    close(descriptor);
}

#endif

}  // namespace pconv::platform
