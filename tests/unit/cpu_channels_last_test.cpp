// The passes around a convolution of channels-last tensors, which have loops of their own for pixels of half
// a vector or a few whole ones.

#include "conformance/builder.h"
#include "conformance/verify.h"

namespace pconv::test {
namespace {

TEST(CpuChannelsLast, ChannelsOfEveryNumberOfVectors) {
    const Row* row = rowNamed("cpu:onednn");
    if (row == nullptr) GTEST_SKIP() << "no cpu:onednn in this build";
    const PconvActivation activations[] = {PCONV_ACTIVATION_NONE, PCONV_ACTIVATION_RELU,
                                           PCONV_ACTIVATION_LEAKY_RELU, PCONV_ACTIVATION_GELU};
    size_t next = 0;
    for (const int64_t in : {3, 4, 8, 16, 32, 64})
        for (const int64_t out : {4, 8, 16, 24, 32, 64})
            for (const MaskContent content : {MaskContent::binary, MaskContent::fractions})
                for (const bool bias : {false, true}) {
                    Problem problem = makeProblem(1, in, out, {9, 21}, 3, 1, 1);
                    problem.has_bias = bias;
                    if (next % 3 == 0) problem.polarity = PCONV_MASK_HOLE_IS_ONE;
                    problem.activation = activations[next++ % 4];
                    fillUniform(problem, 3);
                    addPlane(problem, 4, content, 1);
                    EXPECT_TRUE(
                        conforms(*row, problem, {PCONV_LAYOUT_CHANNELS_LAST, PCONV_LAYOUT_CHANNELS_LAST, 0}))
                        << in << " to " << out << " channels";
                }
}

}  // namespace
}  // namespace pconv::test
