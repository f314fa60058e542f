// The passes of networks beneath the seam, on every device present: every kind, type and layout against the
// formula, slices of channels, and nothing written beside the output.
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "core/half.h"
#include "support/elements.h"
#include "support/pass_oracle.h"
#include "support/seam.h"

namespace pconv {
namespace {

using namespace test;

struct Form {
    DataType type = DataType::f32;
    bool from_last = false, to_last = false;
    int64_t more = 0;
    bool adds = false, scales = false, shifts = false, in_place = false;
};

class Passes : public ::testing::TestWithParam<std::string> {
  protected:
    void SetUp() override {
        std::string reason;
        device_ = openFirstDevice(GetParam(), host_, reason);
        if (!device_) GTEST_SKIP() << reason;
    }

    double fromBytes(const uint8_t* at, DataType type) const {
        uint16_t half = 0;
        float single = 0;
        if (type == DataType::f32) {
            std::memcpy(&single, at, 4);
            return static_cast<double>(single);
        }
        std::memcpy(&half, at, 2);
        return static_cast<double>(type == DataType::f16 ? floatFromF16(half) : floatFromBf16(half));
    }

    struct Placed {
        TensorRef tensor;
        std::vector<uint8_t> bytes;
        Values values;
    };

    // Small multiples of 1/8, which all types hold, as some of the channels of a tensor with `more`.
    Placed place(const Dims& dims, DataType type, bool channels_last, int64_t more) {
        Dims whole = dims;
        whole[1] += more;
        const size_t size = sizeOf(type);
        Placed placed;
        constexpr int64_t kGuard = 48;
        const auto count = static_cast<size_t>(elements(whole) + 2 * kGuard);
        placed.bytes.resize(count * size);
        for (size_t i = 0; i < count; ++i) {
            const float value = static_cast<float>(static_cast<int>(random_() % 129) - 64) / 8;
            const uint16_t half = type == DataType::f16 ? f16FromFloat(value) : bf16FromFloat(value);
            std::memcpy(&placed.bytes[i * size],
                        type == DataType::f32 ? static_cast<const void*>(&value) : &half, size);
        }
        placed.tensor.buffer = device_->allocate(placed.bytes.size());
        placed.tensor.strides = strides(whole, channels_last);
        placed.tensor.offset = static_cast<size_t>(kGuard + more / 2 * placed.tensor.strides[1]) * size;
        placed.tensor.data_type = type;
        device_->write(*placed.tensor.buffer, 0, placed.bytes.data(), placed.bytes.size());
        placed.values.dims = dims;
        forEachElement(dims, [&](const Dims& p) {
            placed.values.values.push_back(fromBytes(&placed.bytes[byteOf(placed.tensor, p)], type));
        });
        return placed;
    }

    static size_t byteOf(const TensorRef& t, const Dims& p) {
        return t.offset + sizeOf(t.data_type) * static_cast<size_t>(std::inner_product(
                                                    p.begin(), p.end(), t.strides.begin(), int64_t{0}));
    }

    Placed vector(int64_t channels) { return place({1, channels, 1, 1, 1}, DataType::f32, false, 0); }

    void check(const PassDesc& desc, const Form& form) {
        const Dims3& in = desc.window.input;
        const Placed x =
            place({desc.batch, desc.channels, in[0], in[1], in[2]}, form.type, form.from_last, form.more);
        const Dims dims = outputDims(desc);
        const Placed y = form.in_place ? x : place(dims, form.type, form.to_last, form.more);
        const Placed added = place(dims, form.type, form.from_last, 0);
        const Placed scale = vector(desc.channels);
        const Placed shift = vector(desc.channels);
        PassOperands operands{x.tensor, {}, {}, {}, y.tensor};
        if (form.adds) operands.added = added.tensor;
        if (form.scales) operands.scale = scale.tensor;
        if (form.shifts) operands.shift = shift.tensor;
        device_->pass(desc, operands);
        std::vector<uint8_t> got(y.bytes.size());
        device_->read(*y.tensor.buffer, 0, got.data(), got.size());
        std::vector<uint8_t> beside = got;  // with what may differ put back
        const double unit = form.type == DataType::f32   ? 3e-6
                            : form.type == DataType::f16 ? 1.0 / 1024
                                                         : 1.0 / 128;
        forEachElement(dims, [&](const Dims& o) {
            double expected = 0;
            if (desc.kind == PassKind::pointwise)
                expected =
                    pointwiseOf(desc, x.values.at(o), form.scales ? scale.values.at({0, o[1], 0, 0, 0}) : 1,
                                form.shifts ? shift.values.at({0, o[1], 0, 0, 0}) : 0,
                                form.adds ? added.values.at(o) : 0);
            else
                expected = passOf(desc, x.values, o);
            const size_t at = byteOf(y.tensor, o);
            const double value = fromBytes(&got[at], form.type);
            if (!HasFailure()) {
                EXPECT_NEAR(value, expected, unit * std::max(1.0, std::abs(expected)))
                    << "at " << o[0] << " " << o[1] << " " << o[2] << " " << o[3] << " " << o[4];
            }
            std::copy_n(&y.bytes[at], sizeOf(form.type), &beside[at]);
        });
        EXPECT_EQ(beside, y.bytes) << "written beside the output";
    }

    // In all types and layouts, whole and as a slice of channels.
    void checkForms(const PassDesc& desc, Form form = {}) {
        for (const DataType type : {DataType::f32, DataType::f16, DataType::bf16})
            for (const bool from_last : {false, true})
                for (const bool to_last : {false, true})
                    for (const int64_t more : {0, 5}) {
                        SCOPED_TRACE(::testing::Message()
                                     << "type " << static_cast<int>(type) << ", " << from_last << to_last
                                     << ", more " << more << ", " << desc.channels << " channels, width "
                                     << desc.window.output[2]);
                        form.type = type;
                        form.from_last = from_last;
                        form.to_last = to_last;
                        form.more = more;
                        check(desc, form);
                        if (HasFailure()) return;
                    }
    }

    static PassDesc pointwise(int64_t batch, int64_t channels, const Dims3& size) {
        PassDesc desc;
        desc.batch = batch;
        desc.channels = channels;
        desc.window.input = desc.window.output = size;
        return desc;
    }

    static PassDesc pooling(PassKind kind, int64_t batch, int64_t channels, const Dims3& size,
                            const Dims3& kernel, const Dims3& stride, const Dims3& padding) {
        PassDesc desc = pointwise(batch, channels, size);
        desc.kind = kind;
        desc.window.kernel = kernel;
        desc.window.stride = stride;
        desc.window.padding = padding;
        for (size_t d = 0; d < 3; ++d)
            desc.window.output[d] = (size[d] + 2 * padding[d] - kernel[d]) / stride[d] + 1;
        return desc;
    }

    FreeHost host_;
    std::unique_ptr<Device> device_;
    std::mt19937 random_{5};
};

TEST_P(Passes, Pointwise) {
    for (const PassDesc& shape :
         {pointwise(2, 3, {1, 5, 7}), pointwise(1, 300, {2, 1, 3}), pointwise(1, 1, {1, 1, 600})})
        for (const Activation activation : {Activation::none, Activation::relu, Activation::leaky_relu,
                                            Activation::gelu, Activation::sigmoid}) {
            PassDesc desc = shape;
            desc.activation = activation;
            desc.negative_slope = 0.25F;
            const auto bits = static_cast<unsigned>(activation);
            Form form;
            form.adds = bits % 2 == 0;
            form.scales = bits != 1;
            form.shifts = bits < 3;
            checkForms(desc, form);
            if (HasFailure()) return;
        }
}

TEST_P(Passes, PointwiseInPlace) {
    PassDesc desc = pointwise(2, 5, {1, 4, 9});
    desc.activation = Activation::relu;
    for (const bool last : {false, true}) {
        Form form;
        form.from_last = form.to_last = last;
        form.in_place = form.shifts = form.adds = true;
        check(desc, form);
    }
}

TEST_P(Passes, Pooling) {
    for (const PassKind kind : {PassKind::max_pool, PassKind::average_pool})
        for (const bool inside_only : {false, true})
            for (PassDesc desc : {pooling(kind, 2, 3, {1, 9, 11}, {1, 3, 3}, {1, 2, 2}, {0, 1, 1}),
                                  pooling(kind, 1, 17, {1, 8, 6}, {1, 2, 2}, {1, 2, 2}, {0, 0, 0}),
                                  pooling(kind, 1, 4, {3, 4, 5}, {2, 3, 2}, {1, 2, 3}, {1, 1, 1}),
                                  pooling(kind, 1, 2, {1, 1, 700}, {1, 1, 700}, {1, 1, 1}, {0, 0, 0}),
                                  pooling(kind, 1, 270, {1, 7, 7}, {1, 7, 7}, {1, 1, 1}, {0, 0, 0})}) {
                // A window over the whole input is more than the range then is, and nothing to be cut.
                if (volume(desc.window.kernel) > 12 && std::getenv("PCONV_VULKAN_MAX_RANGE") != nullptr)
                    continue;
                desc.inside_only = inside_only;
                checkForms(desc);
                if (HasFailure()) return;
            }
}

TEST_P(Passes, Interpolation) {
    struct Sizes {
        Dims3 from, to;
    };
    const Sizes sizes[] = {{{1, 5, 7}, {1, 10, 14}},
                           {{1, 1, 1}, {1, 2, 3}},
                           {{2, 3, 4}, {4, 9, 8}},
                           {{1, 1, 50}, {1, 1, 75}},
                           {{1, 8, 8}, {1, 3, 5}}};
    for (const bool align_corners : {false, true})
        for (const Sizes& size : sizes)
            for (const int64_t channels : {1, 6}) {
                PassDesc desc = pointwise(2, channels, size.from);
                desc.kind = PassKind::interpolate;
                desc.window.output = size.to;
                desc.align_corners = align_corners;
                checkForms(desc);
                if (HasFailure()) return;
            }
}

INSTANTIATE_TEST_SUITE_P(Backends, Passes, ::testing::Values("cpu", "vulkan", "cuda"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace pconv
