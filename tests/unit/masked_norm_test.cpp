// Masked batch normalization and masked spatial mean against masked_torch's formulas, written out here in
// float64.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "core/half.h"
#include "pconv/pconv.hpp"

namespace {

constexpr int64_t kBatch = 2, kChannels = 3, kHeight = 5, kWidth = 7, kPixels = kHeight * kWidth;

struct Data {
    std::vector<float> x, weight, bias, mean, variance;
    std::vector<uint8_t> mask;  // [batch, channels, pixels]
};

Data makeData(unsigned seed) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> value(-2, 3);
    Data d;
    d.x.resize(kBatch * kChannels * kPixels);
    d.mask.resize(d.x.size());
    for (size_t i = 0; i < d.x.size(); ++i) {
        d.mask[i] = random() % 3 != 0 ? 1 : 0;
        // What lies in a hole must not matter.
        d.x[i] = d.mask[i] != 0 ? value(random) : std::numeric_limits<float>::quiet_NaN();
    }
    for (int64_t c = 0; c < kChannels; ++c) {
        d.weight.push_back(value(random));
        d.bias.push_back(value(random));
        d.mean.push_back(value(random));
        d.variance.push_back(std::fabs(value(random)) + 0.1F);
    }
    return d;
}

size_t at(int64_t n, int64_t c, int64_t p) {
    return static_cast<size_t>((n * kChannels + c) * kPixels + p);
}

class MaskedNorm : public testing::TestWithParam<const char*> {
  protected:
    PconvMaskedNormDesc desc() const {
        PconvMaskedNormDesc desc = pconvDefaultMaskedNormDesc(2);
        desc.batch = kBatch;
        desc.channels = kChannels;
        desc.size[0] = kHeight;
        desc.size[1] = kWidth;
        return desc;
    }
    // Null where the device is not there; the test then skips with the reason.
    std::unique_ptr<pconv::Device> open() const {
        try {
            return std::make_unique<pconv::Device>(GetParam());
        } catch (const pconv::Error& error) {
            EXPECT_EQ(error.status(), PCONV_ERROR_NO_DEVICE);
            reason_ = error.what();
            return nullptr;
        }
    }
    mutable std::string reason_;
};

TEST_P(MaskedNorm, BatchStatisticsAreThoseOfTheValidPixels) {
    const auto device = open();
    if (!device) GTEST_SKIP() << reason_;
    const Data d = makeData(1);
    PconvMaskedNormDesc settings = desc();
    settings.training = 1;
    const pconv::Tensor x(*device, {kBatch, kChannels, kHeight, kWidth}, d.x);
    const pconv::Tensor m(*device, {kBatch, kChannels, kHeight, kWidth}, d.mask);
    const pconv::Tensor w(*device, {kChannels}, d.weight), b(*device, {kChannels}, d.bias);
    const pconv::Tensor mean(*device, {kChannels}, d.mean), variance(*device, {kChannels}, d.variance);
    const pconv::Tensor y(*device, {kBatch, kChannels, kHeight, kWidth});
    const pconv::MaskedBatchNorm norm(*device, settings, pconv::Mask(m.view()));
    norm.forward(pconv::Mask(m.view()), x.view(), y.view(), &w.view(), &b.view(), &mean.view(),
                 &variance.view());
    const auto result = y.read<float>();
    const auto new_mean = mean.read<float>();
    const auto new_variance = variance.read<float>();
    for (int64_t c = 0; c < kChannels; ++c) {
        double count = 0, sum = 0, squares = 0;
        for (int64_t n = 0; n < kBatch; ++n)
            for (int64_t p = 0; p < kPixels; ++p)
                if (d.mask[at(n, c, p)] != 0) {
                    count += 1;
                    sum += static_cast<double>(d.x[at(n, c, p)]);
                }
        const double mu = sum / count;
        for (int64_t n = 0; n < kBatch; ++n)
            for (int64_t p = 0; p < kPixels; ++p)
                if (d.mask[at(n, c, p)] != 0)
                    squares += std::pow(static_cast<double>(d.x[at(n, c, p)]) - mu, 2);
        const double var = squares / count;
        const auto i = static_cast<size_t>(c);
        EXPECT_NEAR(static_cast<double>(new_mean[i]), 0.9 * static_cast<double>(d.mean[i]) + 0.1 * mu, 1e-6);
        EXPECT_NEAR(static_cast<double>(new_variance[i]),
                    0.9 * static_cast<double>(d.variance[i]) + 0.1 * var, 1e-6);
        for (int64_t n = 0; n < kBatch; ++n)
            for (int64_t p = 0; p < kPixels; ++p) {
                const double value = d.mask[at(n, c, p)] != 0 ? static_cast<double>(d.x[at(n, c, p)]) : 0;
                const double expected =
                    (value - mu) / std::sqrt(var + 1e-5) * static_cast<double>(d.weight[i]) +
                    static_cast<double>(d.bias[i]);
                ASSERT_NEAR(static_cast<double>(result[at(n, c, p)]), expected,
                            1e-6 * (1 + std::fabs(expected)));
            }
    }
}

TEST_P(MaskedNorm, InferenceUsesTheRunningStatisticsAndLeavesThem) {
    const auto device = open();
    if (!device) GTEST_SKIP() << reason_;
    const Data d = makeData(2);
    const pconv::Tensor x(*device, {kBatch, kChannels, kHeight, kWidth}, d.x);
    const pconv::Tensor m(*device, {kBatch, kChannels, kHeight, kWidth}, d.mask);
    const pconv::Tensor mean(*device, {kChannels}, d.mean), variance(*device, {kChannels}, d.variance);
    const pconv::MaskedBatchNorm norm(*device, desc(), pconv::Mask(m.view()));
    // In place, without weight and bias.
    norm.forward(pconv::Mask(m.view()), x.view(), x.view(), nullptr, nullptr, &mean.view(), &variance.view());
    const auto result = x.read<float>();
    EXPECT_EQ(mean.read<float>(), d.mean);
    EXPECT_EQ(variance.read<float>(), d.variance);
    for (int64_t n = 0; n < kBatch; ++n)
        for (int64_t c = 0; c < kChannels; ++c)
            for (int64_t p = 0; p < kPixels; ++p) {
                const auto i = static_cast<size_t>(c);
                const double value = d.mask[at(n, c, p)] != 0 ? static_cast<double>(d.x[at(n, c, p)]) : 0;
                const double expected = (value - static_cast<double>(d.mean[i])) /
                                        std::sqrt(static_cast<double>(d.variance[i]) + 1e-5);
                ASSERT_NEAR(static_cast<double>(result[at(n, c, p)]), expected,
                            1e-6 * (1 + std::fabs(expected)));
            }
}

TEST_P(MaskedNorm, SpatialMeanDividesByTheValidPixels) {
    const auto device = open();
    if (!device) GTEST_SKIP() << reason_;
    Data d = makeData(3);
    for (int64_t p = 0; p < kPixels; ++p) d.mask[at(1, 2, p)] = 0;  // one channel is all hole
    PconvMaskedNormDesc settings = desc();
    settings.eps = 1e-8;
    const pconv::Tensor x(*device, {kBatch, kChannels, kHeight, kWidth}, d.x);
    const pconv::Tensor m(*device, {kBatch, kChannels, kHeight, kWidth}, d.mask);
    const pconv::Tensor y(*device, {kBatch, kChannels}), ym(*device, {kBatch, kChannels});
    const pconv::MaskedSpatialMean mean(*device, settings, pconv::Mask(m.view()));
    mean.forward(pconv::Mask(m.view()), x.view(), y.view(), &ym.view());
    const auto result = y.read<float>();
    const auto result_mask = ym.read<float>();
    for (int64_t n = 0; n < kBatch; ++n)
        for (int64_t c = 0; c < kChannels; ++c) {
            double count = 0, sum = 0;
            for (int64_t p = 0; p < kPixels; ++p)
                if (d.mask[at(n, c, p)] != 0) {
                    count += 1;
                    sum += static_cast<double>(d.x[at(n, c, p)]);
                }
            const auto i = static_cast<size_t>(n * kChannels + c);
            EXPECT_NEAR(static_cast<double>(result[i]), sum / (count + 1e-8), 1e-6);
            EXPECT_NEAR(static_cast<double>(result_mask[i]), count / kPixels, 1e-7);
        }
}

// Rows and pixels of whole vectors, in both layouts, with masks of one plane and of one for each channel.
TEST_P(MaskedNorm, WholeVectorsOfBothLayouts) {
    const auto device = open();
    if (!device) GTEST_SKIP() << reason_;
    constexpr int64_t kMany = 8, kRows = 9, kColumns = 36, kAll = kRows * kColumns;
    const auto inside = [](int64_t n, int64_t c, int64_t p) {
        return static_cast<size_t>((n * kMany + c) * kAll + p);
    };
    for (const int64_t planes : {int64_t{1}, kMany}) {
        std::mt19937 random(static_cast<unsigned>(planes));
        // Eighths, which all types have.
        std::uniform_int_distribution<int> eighths(-16, 24);
        std::vector<uint8_t> mask(static_cast<size_t>(kBatch * planes * kAll));
        for (uint8_t& m : mask) m = random() % 3 != 0 ? 1 : 0;
        const auto valid = [&](int64_t n, int64_t c, int64_t p) {
            return mask[static_cast<size_t>((n * planes + c % planes) * kAll + p)] != 0;
        };
        std::vector<float> values(static_cast<size_t>(kBatch * kMany * kAll));
        for (int64_t n = 0; n < kBatch; ++n)
            for (int64_t c = 0; c < kMany; ++c)
                for (int64_t p = 0; p < kAll; ++p)
                    values[inside(n, c, p)] = valid(n, c, p) ? static_cast<float>(eighths(random)) / 8
                                                             : std::numeric_limits<float>::quiet_NaN();
        const pconv::Tensor m(*device, {kBatch, planes, kRows, kColumns}, mask);
        pconv::Mask form;
        form.add(m.view(), kMany / planes);
        PconvMaskedNormDesc settings = desc();
        settings.channels = kMany;
        settings.size[0] = kRows;
        settings.size[1] = kColumns;
        settings.training = 1;
        settings.momentum = 1;
        for (const auto& [by_pixels, type] : {std::pair{false, PCONV_DATA_TYPE_F32},
                                              {true, PCONV_DATA_TYPE_F32},
                                              {false, PCONV_DATA_TYPE_F16},
                                              {true, PCONV_DATA_TYPE_BF16}}) {
            settings.layout = by_pixels ? PCONV_LAYOUT_CHANNELS_LAST : PCONV_LAYOUT_CONTIGUOUS;
            settings.data_type = type;
            const pconv::MaskedBatchNorm norm(*device, settings, form);
            std::vector<float> laid(values.size());
            for (int64_t n = 0; n < kBatch; ++n)
                for (int64_t c = 0; c < kMany; ++c)
                    for (int64_t p = 0; p < kAll; ++p)
                        laid[by_pixels ? static_cast<size_t>((n * kAll + p) * kMany + c) : inside(n, c, p)] =
                            values[inside(n, c, p)];
            pconv::Tensor x(*device, {kBatch, kMany, kRows, kColumns}, type);
            if (type == PCONV_DATA_TYPE_F32) {
                x.write(laid);
            } else {
                std::vector<uint16_t> halves;
                for (const float v : laid)
                    halves.push_back(type == PCONV_DATA_TYPE_F16 ? pconv::f16FromFloat(v)
                                                                 : pconv::bf16FromFloat(v));
                x.write(halves);
            }
            PconvTensor view = x.view();
            if (by_pixels) {
                const int64_t strides[] = {kAll * kMany, 1, kColumns * kMany, kMany};
                std::copy_n(strides, 4, view.strides);
            }
            const std::vector<float> zeros(kMany, 0), ones(kMany, 1);
            const pconv::Tensor mean(*device, {kMany}, zeros), variance(*device, {kMany}, ones);
            norm.forward(form, view, view, nullptr, nullptr, &mean.view(), &variance.view());
            const auto means = mean.read<float>();
            const auto variances = variance.read<float>();
            for (int64_t c = 0; c < kMany; ++c) {
                double count = 0, sum = 0, squares = 0;
                for (int64_t n = 0; n < kBatch; ++n)
                    for (int64_t p = 0; p < kAll; ++p)
                        if (valid(n, c, p)) {
                            const auto v = static_cast<double>(values[inside(n, c, p)]);
                            count += 1;
                            sum += v;
                            squares += v * v;
                        }
                const double mu = sum / count;
                const auto i = static_cast<size_t>(c);
                EXPECT_NEAR(static_cast<double>(means[i]), mu, 1e-6) << planes << by_pixels << type;
                EXPECT_NEAR(static_cast<double>(variances[i]), squares / count - mu * mu, 2e-6)
                    << planes << by_pixels << type;
            }
        }
    }
}

TEST_P(MaskedNorm, RefusesWhatDoesNotFit) {
    const auto device = open();
    if (!device) GTEST_SKIP() << reason_;
    const Data d = makeData(4);
    const pconv::Tensor x(*device, {kBatch, kChannels, kHeight, kWidth}, d.x);
    const pconv::Tensor m(*device, {kBatch, kChannels, kHeight, kWidth}, d.mask);
    const pconv::Tensor w(*device, {kChannels}, d.weight);
    const pconv::MaskedBatchNorm norm(*device, desc(), pconv::Mask(m.view()));
    const auto fault = [&](const auto& call) -> std::string {
        try {
            call();
        } catch (const pconv::Error& error) {
            EXPECT_EQ(error.status(), PCONV_ERROR_INVALID_ARGUMENT);
            return error.what();
        }
        return "nothing";
    };
    const pconv::Mask mask(m.view());
    EXPECT_NE(fault([&] {
                  norm.forward(mask, x.view(), x.view(), nullptr, nullptr, nullptr, nullptr);
              }).find("running_mean"),
              std::string::npos);
    EXPECT_NE(fault([&] {
                  norm.forward(mask, x.view(), x.view(), &w.view(), nullptr, &w.view(), &w.view());
              }).find("weight and bias"),
              std::string::npos);
    EXPECT_NE(fault([&] {
                  norm.forward(pconv::Mask(m.view(), PCONV_MASK_HOLE_IS_ONE), x.view(), x.view(), nullptr,
                               nullptr, &w.view(), &w.view());
              }).find("another form"),
              std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Devices, MaskedNorm, testing::Values("cpu", "cuda", "vulkan"),
                         [](const auto& tested) { return std::string(tested.param); });

}  // namespace
