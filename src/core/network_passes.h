// What inpainting asks of networks beyond their public API; networks have it (network/network.cpp).
#pragma once

#include "pconv/network.h"

namespace pconv {

// Forgets the recorded passes, which keep alive the tensors that they were recorded with.
void releasePasses(PconvNetwork network);

}  // namespace pconv
