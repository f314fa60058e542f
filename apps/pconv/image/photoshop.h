#pragma once

#include "image/left_out.h"

namespace pconv::app {

/// Photoshop's image resources (a sequence of 8BIM blocks) rebuilt from those that say nothing of single
/// pixels: resolution, IPTC captions and copyright.
Bytes cleanPhotoshop(const Bytes& resources, LeftOut& left_out);

/// IPTC captions without the preview of the picture that they may hold.
Bytes cleanIptc(const Bytes& data, LeftOut& left_out);

}  // namespace pconv::app
