// Masked batch normalization and spatial mean on small data, against the formulas in float64.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "cuda/kernels/kernels.h"
#include "cuda_shim.h"

namespace pconv::cuda {
namespace {

constexpr int kBatch = 3, kChannels = 37, kWidth = 9, kHeight = 5, kPixels = kWidth * kHeight;

struct Data {
    std::vector<float> x, mask;  // [batch, channels, pixels]
    std::vector<float> weight, bias, mean, variance;
    std::vector<int> plane_of_channel;
};

// Every channel has a plane of its own; without a mask all is 1.
Data makeData(MaskType type) {
    std::mt19937 random(5);
    std::uniform_real_distribution<float> value(-2, 3);
    Data d;
    for (int i = 0; i < kBatch * kChannels * kPixels; ++i) {
        float m = random() % 3 != 0 || type == MaskType::none ? 1.0F : 0.0F;
        if (type == MaskType::fractional && m != 0) m = static_cast<float>(random() % 8 + 1) / 8;
        d.mask.push_back(m);
        d.x.push_back(m != 0 ? value(random) : std::nanf(""));
    }
    for (int c = 0; c < kChannels; ++c) {
        d.weight.push_back(value(random));
        d.bias.push_back(value(random));
        d.mean.push_back(value(random));
        d.variance.push_back(std::fabs(value(random)) + 0.1F);
        d.plane_of_channel.push_back(c);
    }
    return d;
}

struct Setting {
    MaskType type;
    bool training, channels_last;
};

class MaskedNormKernels : public testing::TestWithParam<Setting> {
  protected:
    MaskedNormKernels() : data_(makeData(GetParam().type)), workspace_(4096) {
        cuda_shim::setOrder(cuda_shim::Order::shuffled);
        p_.batch = kBatch;
        p_.channels = kChannels;
        p_.size[0] = 1;
        p_.size[1] = kHeight;
        p_.size[2] = kWidth;
        p_.type = DataType::f32;
        p_.eps = 1e-5F;
        p_.training = GetParam().training;
        p_.momentum = 0.3F;
        bytes_.assign(data_.mask.begin(), data_.mask.end());
        const bool fractional = GetParam().type == MaskType::fractional;
        if (GetParam().type != MaskType::none)
            p_.mask = {fractional ? static_cast<const void*>(data_.mask.data()) : bytes_.data(),
                       GetParam().type,
                       kBatch,
                       kChannels,
                       data_.plane_of_channel.data(),
                       1};
        input_.resize(data_.x.size());
        for (size_t i = 0; i < input_.size(); ++i) input_[at(static_cast<int>(i))] = data_.x[i];
    }
    // Where an element in PyTorch's order lies.
    static size_t at(int i) {
        const int n = i / kPixels / kChannels;
        const int c = i / kPixels % kChannels;
        const int position = i % kPixels;
        return static_cast<size_t>(GetParam().channels_last ? (n * kPixels + position) * kChannels + c : i);
    }
    static View view(std::vector<float>& values) {
        View view{values.data(), {kChannels * kPixels, kPixels, kPixels, kWidth, 1}};
        if (GetParam().channels_last)
            view = {values.data(),
                    {kChannels * kPixels, 1, kPixels * kChannels, kWidth * kChannels, kChannels}};
        return view;
    }
    double x(int i) const {
        return data_.mask[static_cast<size_t>(i)] == 0 ? 0
                                                       : static_cast<double>(data_.x[static_cast<size_t>(i)]);
    }
    double m(int i) const { return static_cast<double>(data_.mask[static_cast<size_t>(i)]); }

    void expectBatchNorm(float factor, float offset);

    Data data_;
    std::vector<double> workspace_;
    std::vector<uint8_t> bytes_;
    std::vector<float> input_;
    NormProblem p_{};
};

// Of x times `factor` plus `offset`.
void MaskedNormKernels::expectBatchNorm(float factor, float offset) {
    for (float& x : data_.x) x = x * factor + offset;
    for (size_t i = 0; i < input_.size(); ++i) input_[at(static_cast<int>(i))] = data_.x[i];
    ASSERT_LE(normWorkspaceBytes(p_), workspace_.size() * sizeof(double));
    std::vector<float> output(input_.size(), std::nanf(""));
    std::vector<float> mean = data_.mean;
    std::vector<float> variance = data_.variance;
    const BatchNormVectors vectors{data_.weight.data(), data_.bias.data(), mean.data(), variance.data()};
    ASSERT_EQ(launchMaskedBatchNorm(p_, view(input_), vectors, view(output), workspace_.data(), nullptr),
              cudaSuccess);
    for (int c = 0; c < kChannels; ++c) {
        const auto channel = static_cast<size_t>(c);
        const auto forEach = [&](const auto& f) {
            for (int n = 0; n < kBatch; ++n)
                for (int i = 0; i < kPixels; ++i) f((n * kChannels + c) * kPixels + i);
        };
        auto used_mean = static_cast<double>(data_.mean[channel]);
        auto used_variance = static_cast<double>(data_.variance[channel]);
        if (p_.training) {
            double sum = 0;
            double count = 0;
            double squares = 0;
            forEach([&](int i) {
                sum += x(i);
                count += m(i);
            });
            used_mean = sum / count;
            forEach([&](int i) { squares += (x(i) - used_mean) * m(i) * (x(i) - used_mean) * m(i); });
            used_variance = squares / count;
            const double remembered =
                GetParam().type == MaskType::none ? squares / (count - 1) : used_variance;
            const auto momentum = static_cast<double>(p_.momentum);
            EXPECT_FLOAT_EQ(mean[channel],
                            static_cast<float>(static_cast<double>(data_.mean[channel]) * (1 - momentum) +
                                               momentum * used_mean));
            EXPECT_FLOAT_EQ(variance[channel],
                            static_cast<float>(static_cast<double>(data_.variance[channel]) * (1 - momentum) +
                                               momentum * remembered));
        } else {
            EXPECT_EQ(mean[channel], data_.mean[channel]);
            EXPECT_EQ(variance[channel], data_.variance[channel]);
        }
        const double scale = static_cast<double>(data_.weight[channel]) /
                             std::sqrt(used_variance + static_cast<double>(p_.eps));
        forEach([&](int i) {
            const double y = (x(i) - used_mean) * scale + static_cast<double>(data_.bias[channel]);
            EXPECT_NEAR(static_cast<double>(output[at(i)]), y,
                        0x1p-23 * (std::fabs(y) + std::fabs(scale * used_mean)))
                << i;
        });
    }
}

TEST_P(MaskedNormKernels, BatchNormIsThatOfTheFormula) {
    expectBatchNorm(1, 0);
}

TEST_P(MaskedNormKernels, BatchNormFarFromZero) {
    expectBatchNorm(0.01F, 4096);
}

// Whose squares are beyond float32.
TEST_P(MaskedNormKernels, BatchNormOfHugeNumbers) {
    expectBatchNorm(1e30F, 0);
}

TEST_P(MaskedNormKernels, SpatialMeanIsThatOfTheFormula) {
    std::vector<float> output(kBatch * kChannels, std::nanf(""));
    std::vector<float> output_mask(output.size(), std::nanf(""));
    ASSERT_EQ(launchMaskedSpatialMean(p_, view(input_), output.data(), output_mask.data(), workspace_.data(),
                                      nullptr),
              cudaSuccess);
    for (int i = 0; i < kBatch * kChannels; ++i) {
        double sum = 0;
        double count = 0;
        for (int position = 0; position < kPixels; ++position) {
            sum += x(i * kPixels + position);
            count += m(i * kPixels + position);
        }
        const double divisor =
            GetParam().type == MaskType::none ? count : count + static_cast<double>(p_.eps);
        EXPECT_FLOAT_EQ(output[static_cast<size_t>(i)], static_cast<float>(sum / divisor));
        if (GetParam().type != MaskType::none || i < kChannels) {
            EXPECT_FLOAT_EQ(output_mask[static_cast<size_t>(i)], static_cast<float>(count / kPixels));
        }
    }
}

INSTANTIATE_TEST_SUITE_P(
    All, MaskedNormKernels,
    testing::Values(Setting{MaskType::binary, true, false}, Setting{MaskType::binary, true, true},
                    Setting{MaskType::fractional, true, true}, Setting{MaskType::fractional, false, false},
                    Setting{MaskType::none, true, false}, Setting{MaskType::none, false, true}));

}  // namespace
}  // namespace pconv::cuda
