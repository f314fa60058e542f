// The colour types and depths of PNG that pconv reads and writes, for tests of each.
#pragma once

#include <gtest/gtest.h>

#include <string>

namespace pconv::test {

struct PngForm {
    unsigned channels;
    unsigned depth;
};

inline auto allPngForms() {
    return ::testing::Values(PngForm{1, 1}, PngForm{1, 2}, PngForm{1, 4}, PngForm{1, 8}, PngForm{1, 16},
                             PngForm{2, 8}, PngForm{2, 16}, PngForm{3, 8}, PngForm{3, 16}, PngForm{4, 8},
                             PngForm{4, 16});
}

inline std::string nameOfPngForm(const ::testing::TestParamInfo<PngForm>& form) {
    return std::to_string(form.param.channels) + "x" + std::to_string(form.param.depth);
}

}  // namespace pconv::test
