#include "shader_names.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace pconv::shim {

std::string shaderName(const std::vector<uint32_t>& code) {
    for (const auto& entry : std::filesystem::directory_iterator(PCONV_SHADER_FOLDER)) {
        if (entry.path().extension() != ".spv" || entry.file_size() != 4 * code.size()) continue;
        std::ifstream file(entry.path(), std::ios::binary);
        const std::string bytes{std::istreambuf_iterator<char>(file), {}};
        if (std::memcmp(bytes.data(), code.data(), bytes.size()) == 0) return entry.path().stem().string();
    }
    return "a shader";
}

}  // namespace pconv::shim
