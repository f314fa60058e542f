#pragma once

#include <string>
#include <vector>

#include "command.h"

namespace pconv::app {

struct ShowOptions {
    std::string path, size;
};
void showModel(const ShowOptions& options);

struct ImportOptions {
    std::string path, output, net;
};
void importModel(const ImportOptions& options);

}  // namespace pconv::app
