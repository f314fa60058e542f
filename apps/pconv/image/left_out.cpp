#include "image/left_out.h"

#include <string_view>

namespace pconv::app {
namespace {

/// No word, number or address of a text is as long; a picture in text is longer.
constexpr std::size_t kLongestWord = 400;

bool isOfEncodedText(std::uint8_t byte) {
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') ||
           byte == '+' || byte == '/' || byte == '=' || byte == '-' || byte == '_' || byte == '%';
}

bool isBreak(std::uint8_t byte) {
    return byte == '\n' || byte == '\r' || byte == '\t';
}

}  // namespace

bool mayHoldPicture(const std::uint8_t* data, std::size_t size) {
    using namespace std::string_view_literals;
    constexpr std::string_view kSignatures[] = {
        "\xff\xd8\xff"sv, "\x89PNG\r\n"sv, "8BPS\0\1"sv, "GIF87a"sv,    "GIF89a"sv,          "ftypheic"sv,
        "ftypavif"sv,     "ftypmif1"sv,    "WEBPVP8"sv,  "II*\0\x08"sv, "MM\0*\0\0\0\x08"sv, "data:image/"sv};
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    for (const std::string_view signature : kSignatures) {
        if (text.find(signature) != std::string_view::npos) return true;
    }
    std::size_t run = 0;
    for (std::size_t i = 0; i < size; ++i) {
        if (isBreak(data[i])) continue;
        run = isOfEncodedText(data[i]) ? run + 1 : 0;
        if (run > kLongestWord) return true;
    }
    return false;
}

}  // namespace pconv::app
