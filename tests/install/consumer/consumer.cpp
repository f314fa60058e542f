// consumer BACKEND...: what consumer.c does, by the C++ wrapper.
#include <cstdint>
#include <cstdio>
#include <limits>
#include <pconv/pconv.hpp>
#include <vector>

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

int main(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
        try {
            const pconv::Device device(argv[i]);
            const pconv::Tensor input(device, {1, 1, 3, 3}, std::vector<float>{1, 1, 1, 1, kNan, 1, 1, 1, 1});
            const pconv::Tensor holes(device, {1, 1, 3, 3}, std::vector<uint8_t>{0, 0, 0, 0, 1, 0, 0, 0, 0});
            const pconv::Tensor weight(device, {1, 1, 3, 3}, std::vector<float>(9, 1));
            const pconv::Tensor bias(device, {1}, std::vector<float>{1});
            const pconv::Tensor output(device, {1, 1, 1, 1});
            auto desc = pconv::PartialConvDesc::same(1, 1, 1, {3, 3}, 3);
            desc.padding[0] = desc.padding[1] = 0;
            const pconv::MaskUpdate update(device, desc, pconv::Mask(holes.view(), PCONV_MASK_HOLE_IS_ONE));
            const pconv::PartialConv conv(device, desc);
            conv.setWeights(weight.view(), bias.view());
            conv.forward(update, input.view(), output.view());
            std::printf("%s: %g\n", argv[i], static_cast<double>(output.read<float>()[0]));
        } catch (const pconv::Error& error) {
            if (error.status() != PCONV_ERROR_NO_DEVICE) {
                std::fprintf(stderr, "%s\n", error.what());
                return 1;
            }
            std::printf("%s: none: %s\n", argv[i], error.what());
        }
    }
    return 0;
}
