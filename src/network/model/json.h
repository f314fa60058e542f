// A model's description as JSON, as it stands in files under pconv.network.
#pragma once

#include <string>

#include "network/presets/model.h"

namespace pconv::network {

std::string toJson(const Model& model);
// Fills an empty model. Throws Error invalid_argument, in one line that names the place.
void fromJson(const std::string& text, Model& model);

}  // namespace pconv::network
