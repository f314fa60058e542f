// The passes of networks in every layout, against the formula.
#include <gtest/gtest.h>

#include <random>

#include "cuda/kernels/passes.h"
#include "cuda_shim.h"
#include "support/elements.h"
#include "support/pass_oracle.h"

namespace pconv::cuda {
namespace {

using test::Dims;
using test::forEachElement;

class PassKernels : public testing::Test {
  protected:
    PassKernels() { cuda_shim::setOrder(cuda_shim::Order::shuffled); }

    struct Memory {
        test::Values values;
        std::vector<float> floats;
        View view{};
    };

    static Dims stridesOf(const Dims& dims, bool channels_last) {
        const int64_t plane = dims[2] * dims[3] * dims[4];
        if (channels_last)
            return {plane * dims[1], 1, dims[3] * dims[4] * dims[1], dims[4] * dims[1], dims[1]};
        return {plane * dims[1], plane, dims[3] * dims[4], dims[4], 1};
    }

    static size_t offsetOf(const View& view, const Dims& p) {
        int64_t at = 0;
        for (size_t d = 0; d < 5; ++d) at += p[d] * view.strides[d];
        return static_cast<size_t>(at);
    }

    void place(Memory& memory, const Dims& dims, bool channels_last) {
        const Dims strides = stridesOf(dims, channels_last);
        std::copy(strides.begin(), strides.end(), memory.view.strides);
        memory.floats.resize(static_cast<size_t>(dims[0] * dims[1] * dims[2] * dims[3] * dims[4]));
        memory.view.data = memory.floats.data();
        memory.values.dims = dims;
        forEachElement(dims, [&](const Dims& p) {
            const float value = static_cast<float>(static_cast<int>(random_() % 129) - 64) / 8;
            memory.floats[offsetOf(memory.view, p)] = value;
            memory.values.values.push_back(static_cast<double>(value));
        });
    }

    void check(const PassDesc& desc, bool from_last, bool to_last, bool all_operands) {
        const Dims3& in = desc.window.input;
        const Dims output = test::outputDims(desc);
        Memory x;
        Memory y;
        Memory added;
        Memory scale;
        Memory shift;
        place(x, {desc.batch, desc.channels, in[0], in[1], in[2]}, from_last);
        place(y, output, to_last);
        place(added, output, from_last);
        place(scale, {1, desc.channels, 1, 1, 1}, false);
        place(shift, {1, desc.channels, 1, 1, 1}, false);
        PassProblem p{};
        p.type = DataType::f32;
        p.batch = static_cast<int>(desc.batch);
        p.channels = static_cast<int>(desc.channels);
        for (size_t d = 0; d < 3; ++d) {
            p.input[d] = static_cast<int>(in[d]);
            p.output[d] = static_cast<int>(desc.window.output[d]);
            p.kernel[d] = static_cast<int>(desc.window.kernel[d]);
            p.stride[d] = static_cast<int>(desc.window.stride[d]);
            p.padding[d] = static_cast<int>(desc.window.padding[d]);
        }
        p.activation = desc.activation;
        p.negative_slope = desc.negative_slope;
        p.inside_only = desc.inside_only;
        p.align_corners = desc.align_corners;
        p.x = x.view;
        p.y = y.view;
        if (all_operands) {
            p.added = added.view;
            p.scale = scale.floats.data();
            p.shift = shift.floats.data();
        }
        const cudaError_t status = desc.kind == PassKind::pointwise      ? launchPointwise(p, nullptr)
                                   : desc.kind == PassKind::max_pool     ? launchMaxPool(p, nullptr)
                                   : desc.kind == PassKind::average_pool ? launchAveragePool(p, nullptr)
                                                                         : launchInterpolate(p, nullptr);
        ASSERT_EQ(status, cudaSuccess);
        forEachElement(output, [&](const Dims& o) {
            const Dims channel{0, o[1], 0, 0, 0};
            const double expected =
                desc.kind != PassKind::pointwise
                    ? test::passOf(desc, x.values, o)
                    : test::pointwiseOf(desc, x.values.at(o), all_operands ? scale.values.at(channel) : 1,
                                        all_operands ? shift.values.at(channel) : 0,
                                        all_operands ? added.values.at(o) : 0);
            if (HasFailure()) return;
            EXPECT_NEAR(static_cast<double>(y.floats[offsetOf(y.view, o)]), expected,
                        3e-6 * std::max(1.0, std::abs(expected)))
                << "at " << o[1] << " " << o[2] << " " << o[3] << " " << o[4];
        });
    }

    void checkLayouts(const PassDesc& desc) {
        for (const bool from_last : {false, true})
            for (const bool to_last : {false, true})
                for (const bool all : {false, true}) check(desc, from_last, to_last, all);
    }

    static PassDesc shaped(PassKind kind, int64_t channels, const Dims3& from, const Dims3& to) {
        PassDesc desc;
        desc.kind = kind;
        desc.batch = 2;
        desc.channels = channels;
        desc.window.input = from;
        desc.window.output = to;
        return desc;
    }

    std::mt19937 random_{3};
};

TEST_F(PassKernels, Pointwise) {
    for (const Activation activation :
         {Activation::none, Activation::relu, Activation::leaky_relu, Activation::gelu, Activation::sigmoid})
        for (const int64_t channels : {1, 5}) {
            PassDesc desc = shaped(PassKind::pointwise, channels, {2, 5, 7}, {2, 5, 7});
            desc.activation = activation;
            checkLayouts(desc);
        }
}

TEST_F(PassKernels, Pooling) {
    for (const PassKind kind : {PassKind::max_pool, PassKind::average_pool})
        for (const bool inside_only : {false, true}) {
            PassDesc desc = shaped(kind, 3, {3, 9, 8}, {3, 5, 4});
            desc.window.kernel = {2, 3, 2};
            desc.window.stride = {1, 2, 2};
            desc.window.padding = {0, 1, 0};
            desc.window.output = {2, 5, 4};
            desc.inside_only = inside_only;
            checkLayouts(desc);
        }
}

TEST_F(PassKernels, Interpolation) {
    for (const bool align_corners : {false, true})
        for (const int64_t channels : {1, 4}) {
            PassDesc desc = shaped(PassKind::interpolate, channels, {2, 5, 7}, {3, 10, 9});
            desc.align_corners = align_corners;
            checkLayouts(desc);
        }
}

}  // namespace
}  // namespace pconv::cuda
