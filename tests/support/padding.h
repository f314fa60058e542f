// Paddings to try an implementation with, and where each element comes from.
#pragma once

#include <string>
#include <vector>

#include "backend.h"

namespace pconv::test {

struct PaddingSetting {
    std::array<int64_t, 5> dims;
    Padding padding;
};

// Where each mode is asked for its utmost, and where it has nothing to do on a side.
inline std::vector<PaddingSetting> paddingSettings() {
    return {
        {{1, 1, 1, 1, 1}, {PaddingMode::replicate, {0, 2, 3}, {1, 0, 2}}},
        {{1, 1, 1, 1, 1}, {PaddingMode::circular, {1, 1, 1}, {1, 1, 1}}},
        {{2, 3, 1, 5, 7}, {PaddingMode::reflect, {0, 4, 6}, {0, 4, 6}}},
        {{2, 8, 1, 6, 16}, {PaddingMode::reflect, {0, 1, 1}, {0, 1, 1}}},
        {{1, 5, 3, 4, 13}, {PaddingMode::reflect, {2, 0, 3}, {1, 3, 0}}},
        {{2, 3, 1, 5, 7}, {PaddingMode::replicate, {0, 5, 9}, {0, 0, 3}}},
        {{2, 4, 2, 3, 33}, {PaddingMode::replicate, {1, 2, 2}, {4, 2, 2}}},
        {{1, 17, 1, 1, 70}, {PaddingMode::replicate, {0, 0, 3}, {0, 0, 4}}},
        {{2, 3, 1, 5, 7}, {PaddingMode::circular, {0, 5, 7}, {0, 5, 7}}},
        {{3, 64, 1, 7, 9}, {PaddingMode::circular, {0, 2, 2}, {0, 2, 1}}},
        {{1, 6, 4, 5, 6}, {PaddingMode::circular, {3, 0, 2}, {0, 5, 2}}},
        {{1, 1, 1, 90, 130}, {PaddingMode::circular, {0, 3, 3}, {0, 3, 4}}},
    };
}

inline std::string name(const PaddingSetting& setting) {
    static const char* const modes[] = {"zeros", "reflect", "replicate", "circular"};
    return std::string(modes[static_cast<size_t>(setting.padding.mode)]) + ", " +
           std::to_string(setting.dims[1]) + " channels, width " + std::to_string(setting.dims[4]);
}

inline std::array<int64_t, 5> paddedDims(const PaddingSetting& setting) {
    std::array<int64_t, 5> dims = setting.dims;
    for (size_t d = 0; d < 3; ++d) dims[2 + d] += setting.padding.begin[d] + setting.padding.end[d];
    return dims;
}

// By walking from the middle outwards, a step at a time.
inline int64_t walked(PaddingMode mode, int64_t at, int64_t size) {
    int64_t place = 0;
    int64_t element = 0;
    const int64_t way = at < 0 ? -1 : 1;
    int64_t direction = way;
    for (; place != at; place += way) {
        const int64_t next = element + direction;
        if (next >= 0 && next < size) {
            element = next;
        } else if (mode == PaddingMode::circular) {
            element = next < 0 ? size - 1 : 0;
        } else if (mode == PaddingMode::reflect) {
            direction = -direction;
            element += direction;
        }
    }
    return element;
}

inline std::array<int64_t, 5> sourceOf(const PaddingSetting& setting, std::array<int64_t, 5> place) {
    for (size_t d = 0; d < 3; ++d)
        place[2 + d] =
            walked(setting.padding.mode, place[2 + d] - setting.padding.begin[d], setting.dims[2 + d]);
    return place;
}

}  // namespace pconv::test
