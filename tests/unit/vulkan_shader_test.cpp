// What every shader must do without, looked for in its SPIR-V.
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "vulkan/device/pipelines.h"

namespace pconv::vulkan {

namespace {

// Of the SPIR-V specification.
enum Op : uint32_t {
    kExtInst = 12,
    kTypeArray = 28,
    kSpecConstantComposite = 51,
    kSpecConstantOp = 52,
    kDecorate = 71,
    kFConvert = 115,
};
constexpr uint32_t kBuiltIn = 11;
constexpr uint32_t kWorkgroupSize = 25;
constexpr uint32_t kPackHalf2x16 = 58;

struct Instruction {
    uint32_t op;
    std::vector<uint32_t> operands;
};

std::vector<Instruction> parse(const Shader& shader) {
    std::vector<Instruction> all;
    for (size_t at = 5; at < shader.code_bytes / 4;) {
        const uint32_t words = shader.code[at] >> 16;
        all.push_back({shader.code[at] & 0xFFFF, {shader.code + at + 1, shader.code + at + words}});
        at += words;
    }
    return all;
}

// Metal takes no size of an array that comes from the workgroup's: MoltenVK rejects the shader.
TEST(Shaders, ArraysDoNotTakeTheirSizeFromTheWorkgroup) {
    for (const Shader& shader : allShaders()) {
        std::set<uint32_t> of_workgroup;
        for (const Instruction& i : parse(shader)) {
            const auto& w = i.operands;
            if (i.op == kDecorate && w[1] == kBuiltIn && w[2] == kWorkgroupSize) of_workgroup.insert(w[0]);
            if (i.op == kSpecConstantOp)
                for (size_t k = 3; k < w.size(); ++k)
                    if (of_workgroup.count(w[k]) != 0) of_workgroup.insert(w[1]);
            if (i.op == kTypeArray) {
                EXPECT_EQ(of_workgroup.count(w[2]), 0U) << shader.name;
            }
        }
    }
}

// How a conversion to 16 bits rounds is the device's affair: it may truncate, and the bounds are for the
// nearest.
TEST(Shaders, RoundTo16BitsThemselves) {
    for (const Shader& shader : allShaders())
        for (const Instruction& i : parse(shader)) {
            EXPECT_NE(i.op, uint32_t{kFConvert}) << shader.name;
            EXPECT_FALSE(i.op == kExtInst && i.operands[3] == kPackHalf2x16) << shader.name;
        }
}

}  // namespace

}  // namespace pconv::vulkan
