#include "files/file_error.h"

namespace pconv {

std::string inQuotes(std::string_view text) {
    constexpr std::size_t kLongest = 240;
    constexpr char kHex[] = "0123456789abcdef";
    std::string line = "'";
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text.size() > kLongest && i == kLongest / 2) {
            line += "...";
            i = text.size() - kLongest / 2;
        }
        const auto byte = static_cast<unsigned char>(text[i]);
        if (byte < 0x20 || byte == 0x7f) {
            line += "\\x";
            line += kHex[byte >> 4];
            line += kHex[byte & 15];
        } else {
            line += text[i];
        }
    }
    return line + "'";
}

}  // namespace pconv
