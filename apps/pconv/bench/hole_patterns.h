#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pconv::app {

/// Strokes of a brush, boxes, or single pixels, at random places.
extern const std::vector<std::string> kHolePatterns;

/// A mask of width * height bytes, 1 where it is valid, with `holes` of them 0: the last stroke or box ends
/// where that many are reached.
std::vector<std::uint8_t> holePattern(const std::string& pattern, int width, int height, std::size_t holes,
                                      std::uint32_t seed);

}  // namespace pconv::app
