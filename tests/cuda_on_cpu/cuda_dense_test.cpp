// The dense convolution, a masked convolution without a mask: no row looks at a mask for it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/registry.h"
#include "recording_chain.h"

namespace pconv::test {

namespace {

TEST(CudaDense, ReadsNoMask) {
    const std::string name = "cuda";
    const BackendEntry& backend = probeBackend(name);
    ASSERT_NE(backend.module, nullptr) << backend.reason;
    OpenHost host;
    const auto device = backend.module->open(0, host);
    PartialConvDesc desc = Chain::firstDesc();
    desc.normalization = Normalization::weight_magnitude;
    desc.mask_type = MaskType::none;
    const auto filled = [&](size_t count, unsigned seed) {
        auto buffer = device->allocate(count * sizeof(float));
        device->write(*buffer, 0, randomFloats(count, seed).data(), count * sizeof(float));
        return buffer;
    };
    const TensorRef input{filled(2 * 8 * 120, 1), 0, DataType::f32, {960, 120, 120, 10, 1}};
    const TensorRef output{filled(2 * 12 * 120, 2), 0, DataType::f32, {1440, 120, 120, 10, 1}};
    const TensorRef weight{filled(12 * 8 * 9, 3), 0, DataType::f32, {72, 9, 9, 3, 1}};
    const TensorRef bias{filled(12, 4), 0, DataType::f32, {1, 1, 1, 1, 1}};
    MaskPlanes results;
    results.updated_mask = {device->allocate(120), 0, DataType::u8, {120, 120, 120, 10, 1}};
    size_t rows = 0;
    for (const Implementation* row : device->implementations()) {
        std::string reason;
        ASSERT_TRUE(row->masksConvolutions() && row->supports(*device, desc, reason)) << reason;
        const auto update = row->makeMaskUpdate(*device, desc, MaskForm{}, results);
        const auto conv = row->makePartialConv(*device, desc);
        conv->setWeights(weight, &bias);
        update->compute({});
        std::vector<uint8_t> valid(120);
        device->read(*results.updated_mask.buffer, 0, valid.data(), 120);
        EXPECT_EQ(valid, std::vector<uint8_t>(120, 1)) << row->name();
        const auto run = [&] {
            std::vector<float> values(2 * 12 * 120, NAN);
            device->write(*output.buffer, 0, values.data(), values.size() * sizeof(float));
            conv->forward(*update, input, output);
            device->read(*output.buffer, 0, values.data(), values.size() * sizeof(float));
            return values;
        };
        const std::vector<float> before = run();
        EXPECT_GT(*std::max_element(before.begin(), before.end()), 1);
        const std::vector<uint8_t> holes(120, 0);
        device->write(*results.updated_mask.buffer, 0, holes.data(), 120);
        EXPECT_EQ(run(), before) << row->name();
        ++rows;
    }
    EXPECT_EQ(rows, 3U);
    // With a mask there is one for each output channel, and cuDNN's sums are finished apart.
    desc.mask_type = MaskType::binary;
    for (const DataType type : {DataType::f32, DataType::f16, DataType::bf16}) {
        desc.data_type = type;
        std::string reason;
        EXPECT_TRUE(device->implementations().front()->supports(*device, desc, reason)) << reason;
    }
}

}  // namespace

}  // namespace pconv::test
