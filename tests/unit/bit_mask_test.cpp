// Masks of bits: whatever reads them gives what it gives for the same mask of bytes.
#include <random>

#include "pconv/pconv.hpp"
#include "support/api.h"
#include "support/small_conv.h"

namespace pconv::test {
namespace {

// Planes [batch, count, size...] of random bytes, as they are and as bits.
class Planes {
  public:
    Planes(PconvDevice device, std::vector<int64_t> dims, unsigned seed, bool spread = false)
        : dims_(std::move(dims)) {
        std::mt19937 random(seed);
        const int64_t width = dims_.back();
        int64_t rows = 1;
        for (size_t d = 0; d + 1 < dims_.size(); ++d) rows *= dims_[d];
        // Spread: rows further apart than they must be, and not from the buffer's beginning on.
        const int64_t words = (width + 31) / 32 + (spread ? 2 : 0);
        const size_t front = spread ? 3 : 0;
        std::vector<uint8_t> bytes;
        std::vector<uint32_t> bits(front + static_cast<size_t>(rows * words));
        for (uint32_t& word : bits) word = static_cast<uint32_t>(random());  // also behind the rows' ends
        for (int64_t row = 0; row < rows; ++row)
            for (int64_t x = 0; x < width; ++x)
                bytes.push_back(bits[front + static_cast<size_t>(row * words + x / 32)] >> (x % 32) & 1U);
        bytes_memory_ = makeBuffer(device, bytes);
        bits_memory_ = makeBuffer(device, bits);
        bytes_ = makeTensor(bytes_memory_.get(), PCONV_DATA_TYPE_U8, dims_);
        bits_ = makeTensor(bits_memory_.get(), PCONV_DATA_TYPE_BITS, dims_);
        bits_.offset = front * sizeof(uint32_t);
        if (!spread) return;
        int64_t stride = 32 * words;
        bits_.strides[dims_.size() - 1] = 1;
        for (size_t d = dims_.size() - 1; d-- > 0;) {
            bits_.strides[d] = stride;
            stride *= dims_[d];
        }
    }
    const PconvTensor& view(bool as_bits) const { return as_bits ? bits_ : bytes_; }

  private:
    std::vector<int64_t> dims_;
    OwnedBuffer bytes_memory_, bits_memory_;
    PconvTensor bytes_{}, bits_{};
};

struct Form {
    const char* name;
    std::vector<int64_t> size;
    int64_t batch;  // of the mask
    std::vector<std::pair<int64_t, int64_t>>
        segments;  // planes, multiplicity; one with one plane: single-channel
    bool hole_is_one, spread;
};

std::ostream& operator<<(std::ostream& stream, const Form& form) {
    return stream << form.name;
}

const Form kForms[] = {
    {"Row", {33}, 2, {{1, 1}}, false, false},
    {"NarrowerThanAWord", {5, 3}, 2, {{1, 1}}, false, false},
    {"WholeWords", {4, 64}, 1, {{1, 1}}, true, false},
    {"OddWidth", {7, 70}, 2, {{1, 1}}, true, true},
    {"Volume", {3, 4, 37}, 2, {{1, 1}}, false, true},
    {"EveryChannel", {9, 45}, 2, {{5, 1}}, false, false},
    {"Segments", {6, 31}, 2, {{2, 2}, {1, 1}}, false, true},
    {"SegmentsOfOneImage", {3, 5, 34}, 1, {{1, 2}, {1, 3}}, true, false},
};

class BitMask : public testing::TestWithParam<std::tuple<const char*, Form>> {
  protected:
    // False where the device is not there; the test then skips with the reason.
    bool open() {
        const PconvStatus status = pconvCreateDevice(std::get<0>(GetParam()), nullptr, device_.out());
        if (status == PCONV_SUCCESS) return true;
        EXPECT_EQ(status, PCONV_ERROR_NO_DEVICE);
        return false;
    }
    // `last_only`: bytes but for the last segment.
    PconvMask maskOf(const std::vector<Planes>& planes, bool as_bits, bool last_only,
                     std::vector<PconvMaskSegment>& segments) const {
        const Form& form = std::get<1>(GetParam());
        segments.clear();
        for (size_t i = 0; i < planes.size(); ++i)
            segments.push_back(
                {planes[i].view(as_bits && (!last_only || i + 1 == planes.size())), form.segments[i].second});
        PconvMask mask = pconvDefaultMask();
        mask.polarity = form.hole_is_one ? PCONV_MASK_HOLE_IS_ONE : PCONV_MASK_VALID_IS_ONE;
        mask.segment_count = static_cast<int32_t>(segments.size());
        mask.segments = segments.data();
        return mask;
    }
    std::vector<Planes> planesOf(unsigned seed) const {
        const Form& form = std::get<1>(GetParam());
        std::vector<Planes> planes;
        for (const auto& [count, multiplicity] : form.segments) {
            std::vector<int64_t> dims{form.batch, count};
            dims.insert(dims.end(), form.size.begin(), form.size.end());
            planes.emplace_back(device_.get(), dims, seed++, form.spread);
        }
        return planes;
    }

    OwnedDevice device_;
};

std::vector<float> valuesOf(const PconvTensor& tensor, size_t count) {
    if (tensor.data_type == PCONV_DATA_TYPE_F32) {
        std::vector<float> values(count);
        check(pconvReadBuffer(tensor.buffer, tensor.offset, values.data(), count * sizeof(float)));
        return values;
    }
    std::vector<uint8_t> bytes(count);
    check(pconvReadBuffer(tensor.buffer, tensor.offset, bytes.data(), count));
    return {bytes.begin(), bytes.end()};
}

TEST_P(BitMask, UpdatesToWhatTheSameBytesUpdateTo) {
    if (!open()) GTEST_SKIP() << pconvGetLastError();
    const Form& form = std::get<1>(GetParam());
    const auto dims = static_cast<int>(form.size.size());
    PconvPartialConvDesc desc = pconvDefaultPartialConvDesc(dims);
    desc.batch = 2;
    desc.in_channels = desc.out_channels = 5;
    if (form.segments.size() > 1 || form.segments[0].first > 1)
        desc.mask_mode = PCONV_MASK_MODE_MULTI_CHANNEL;
    for (size_t d = 0; d < form.size.size(); ++d) {
        desc.input_size[d] = form.size[d];
        desc.kernel[d] = 3;
        desc.padding[d] = 1;
    }
    std::vector<PconvMaskSegment> segments;
    for (const bool last_only : {false, true}) {
        const auto first = planesOf(1);
        PconvMask mask = maskOf(first, true, last_only, segments);
        OwnedMaskUpdate of_bits, of_bytes;
        check(pconvCreateMaskUpdate(device_.get(), &desc, &mask, of_bits.out()));
        mask = maskOf(first, false, false, segments);
        check(pconvCreateMaskUpdate(device_.get(), &desc, &mask, of_bytes.out()));
        // The second mask goes through the memory of the first.
        for (const unsigned seed : {1U, 7U}) {
            const auto planes = planesOf(seed);
            mask = maskOf(planes, true, last_only, segments);
            check(pconvComputeMaskUpdate(of_bits.get(), &mask));
            mask = maskOf(planes, false, false, segments);
            check(pconvComputeMaskUpdate(of_bytes.get(), &mask));
            PconvTensor got[3], expected[3];
            check(pconvGetMaskUpdateTensors(of_bits.get(), got, got + 1, got + 2));
            check(pconvGetMaskUpdateTensors(of_bytes.get(), expected, expected + 1, expected + 2));
            auto count = static_cast<size_t>(form.batch);
            for (const int64_t size : form.size) count *= static_cast<size_t>(size);
            for (int i = 0; i < 3; ++i) {
                EXPECT_EQ(valuesOf(got[i], count), valuesOf(expected[i], count)) << "result " << i;
                EXPECT_EQ(got[i].data_type, expected[i].data_type);
            }
        }
    }
}

// Of masks of five channels.
class BitMaskNorm : public BitMask {};

TEST_P(BitMaskNorm, GivesWhatItGivesForTheSameBytes) {
    if (!open()) GTEST_SKIP() << pconvGetLastError();
    const Form& form = std::get<1>(GetParam());
    PconvMaskedNormDesc desc = pconvDefaultMaskedNormDesc(static_cast<int>(form.size.size()));
    desc.batch = 2;
    desc.channels = 5;
    desc.training = 1;
    size_t count = 10;
    std::vector<int64_t> dims{2, 5};
    for (size_t d = 0; d < form.size.size(); ++d) {
        desc.size[d] = form.size[d];
        count *= static_cast<size_t>(form.size[d]);
        dims.push_back(form.size[d]);
    }
    const auto planes = planesOf(3);
    const OwnedBuffer input = makeBuffer(device_.get(), ramp(count, 0.25F, -1.5F));
    const PconvTensor x = makeTensor(input.get(), PCONV_DATA_TYPE_F32, dims);
    std::vector<float> normalized[2], means[2];
    for (const bool as_bits : {false, true}) {
        std::vector<PconvMaskSegment> segments;
        const PconvMask mask = maskOf(planes, as_bits, false, segments);
        const OwnedBuffer output = makeBuffer(device_.get(), std::vector<float>(count));
        const PconvTensor y = makeTensor(output.get(), PCONV_DATA_TYPE_F32, dims);
        Owned<PconvMaskedBatchNorm, pconvReleaseMaskedBatchNorm> norm;
        check(pconvCreateMaskedBatchNorm(device_.get(), &desc, &mask, norm.out()));
        const PconvBatchNormParameters parameters = pconvDefaultBatchNormParameters();
        check(pconvForwardMaskedBatchNorm(norm.get(), &mask, &x, &parameters, &y));
        normalized[as_bits] = valuesOf(y, count);
        Owned<PconvMaskedSpatialMean, pconvReleaseMaskedSpatialMean> mean;
        check(pconvCreateMaskedSpatialMean(device_.get(), &desc, &mask, mean.out()));
        const PconvTensor mean_output = makeTensor(output.get(), PCONV_DATA_TYPE_F32, {2, 5});
        check(pconvForwardMaskedSpatialMean(mean.get(), &mask, &x, &mean_output, nullptr));
        means[as_bits] = valuesOf(mean_output, 10);
    }
    EXPECT_EQ(normalized[1], normalized[0]);
    EXPECT_EQ(means[1], means[0]);
}

std::string nameOf(const testing::TestParamInfo<BitMask::ParamType>& of) {
    return std::string(std::get<0>(of.param)) + "_" + std::get<1>(of.param).name;
}

const auto kDevices = testing::Values("cpu", "vulkan", "cuda");
INSTANTIATE_TEST_SUITE_P(Devices, BitMask, testing::Combine(kDevices, testing::ValuesIn(kForms)), nameOf);
INSTANTIATE_TEST_SUITE_P(Devices, BitMaskNorm,
                         testing::Combine(kDevices,
                                          testing::ValuesIn(std::begin(kForms) + 5, std::end(kForms))),
                         nameOf);

TEST(BitMaskFaults, AreNamed) {
    const OwnedDevice device = openDevice("cpu");
    const OwnedBuffer memory = makeBuffer(device.get(), std::vector<uint32_t>(10));
    PconvPartialConvDesc desc = smallDesc();
    PconvMaskSegment segment{makeTensor(memory.get(), PCONV_DATA_TYPE_BITS, {2, 1, 5, 6}), 1};
    PconvMask mask = pconvDefaultMask();
    mask.segment_count = 1;
    mask.segments = &segment;
    OwnedMaskUpdate update;
    check(pconvCreateMaskUpdate(device.get(), &desc, &mask, update.out()));
    const auto compute = [&] { return pconvComputeMaskUpdate(update.get(), &mask); };
    EXPECT_EQ(compute(), PCONV_SUCCESS) << pconvGetLastError();
    const PconvTensor right = segment.planes;
    segment.planes.offset = 2;
    EXPECT_INVALID(compute(), "mask segment 0 has offset 2; expected a multiple of 4");
    segment.planes.offset = 4;
    EXPECT_INVALID(compute(), "mask segment 0 needs 40 bytes from offset 4; the buffer has 40");
    segment.planes = right;
    const int64_t strides[4] = {160, 160, 30, 1};
    std::copy(strides, strides + 4, segment.planes.strides);
    EXPECT_INVALID(compute(), "mask segment 0 has a stride of 30 bits; expected a multiple of 32");
    segment.planes = right;
    segment.planes.data_type = PCONV_DATA_TYPE_U8;
    EXPECT_INVALID(compute(), "mask has another form than the one this update was made for");
    segment.planes = right;
    desc.mask_type = PCONV_MASK_TYPE_FRACTIONAL;
    EXPECT_INVALID(pconvCreateMaskUpdate(device.get(), &desc, &mask, update.out()),
                   "mask segment 0 has the wrong data type; expected F32 for a fractional mask");
    SmallConv small(device.get());
    small.prepare();
    small.input.data_type = PCONV_DATA_TYPE_BITS;
    EXPECT_INVALID(small.forward(), "input is BITS; expected F32");
    EXPECT_INVALID(pconvConvertTensor(&small.input, &small.output),
                   "source has the wrong data type; expected F32, F16 or BF16");
    desc = smallDesc();
    desc.data_type = PCONV_DATA_TYPE_BITS;
    EXPECT_INVALID(pconvCreatePartialConv(device.get(), &desc, small.conv.out()), "data_type is");
}

TEST(BitMaskTensor, HasRowsOfWholeWords) {
    const Device device("cpu");
    EXPECT_EQ(Tensor(device, {2, 1, 5, 33}, PCONV_DATA_TYPE_BITS).read<uint32_t>().size(), 2U * 5 * 2);
    const Tensor words(device, {1, 1, 2, 32}, std::vector<uint32_t>{1, 2});
    EXPECT_EQ(words.view().data_type, PCONV_DATA_TYPE_BITS);
    EXPECT_EQ(words.read<uint32_t>(), (std::vector<uint32_t>{1, 2}));
}

}  // namespace
}  // namespace pconv::test
