// Which backends have a device here: an absent one is skipped with the reason, or a failure where it is
// required.
#include <gtest/gtest.h>

#include <cstdlib>
#include <sstream>

#include "support/api.h"
#include "support/devices.h"

namespace pconv::test {
namespace {

std::vector<std::string> split(const std::string& text) {
    std::vector<std::string> parts;
    std::istringstream stream(text);
    for (std::string part; std::getline(stream, part, ',');)
        if (!part.empty()) parts.push_back(part);
    return parts;
}

std::vector<std::string> required() {
    const char* text = std::getenv("PCONV_REQUIRE_DEVICES");
    return split(text != nullptr ? text : "");
}

std::vector<PconvBackendInfo> backends() {
    int32_t count = 0;
    check(pconvGetBackendCount(&count));
    std::vector<PconvBackendInfo> infos(static_cast<size_t>(count), pconvDefaultBackendInfo());
    for (int32_t i = 0; i < count; ++i) check(pconvGetBackendInfo(i, &infos[static_cast<size_t>(i)]));
    return infos;
}

class Present : public ::testing::TestWithParam<int> {};

TEST_P(Present, OrSaysWhyNot) {
    const PconvBackendInfo info = backends()[static_cast<size_t>(GetParam())];
    bool must = false;
    for (const std::string& name : required()) must = must || name == info.name;
    if (info.device_count == 0 && !must) GTEST_SKIP() << info.name << ": " << info.reason;
    ASSERT_GT(info.device_count, 0) << info.name << " is required: " << info.reason;
    size_t rows = 0;
    for (const Row& row : allRows())
        if (row.backend == info.name) ++rows;
    EXPECT_GT(rows, 0U);
}

INSTANTIATE_TEST_SUITE_P(Backends, Present, ::testing::Range(0, 3), [](const auto& test) {
    return std::string(backends()[static_cast<size_t>(test.param)].name);
});

TEST(RequiredBackends, AreKnown) {
    for (const std::string& name : required()) {
        bool known = false;
        for (const PconvBackendInfo& info : backends()) known = known || name == info.name;
        EXPECT_TRUE(known) << "PCONV_REQUIRE_DEVICES names '" << name << "'";
    }
}

}  // namespace
}  // namespace pconv::test
