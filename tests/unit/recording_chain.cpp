#include "recording_chain.h"

#include <random>

namespace pconv::test {

namespace {

using Dims = std::array<int64_t, 5>;

constexpr int64_t kBatch = 2, kIn = 8, kMiddle = 12, kHeight = 12, kWidth = 10;

Dims contiguous(const Dims& dims) {
    Dims strides{};
    int64_t next = 1;
    for (size_t i = dims.size(); i-- > 0;) {
        strides.at(i) = next;
        next *= dims.at(i);
    }
    return strides;
}

size_t elementsOf(const Dims& dims) {
    int64_t count = 1;
    for (const int64_t dim : dims) count *= dim;
    return static_cast<size_t>(count);
}

Dims imageOf(int64_t channels, const Dims3& size) {
    return {kBatch, channels, size[0], size[1], size[2]};
}

}  // namespace

std::vector<float> randomFloats(size_t count, unsigned seed) {
    std::mt19937 engine(seed);
    std::vector<float> values(count);
    for (float& value : values) value = static_cast<float>(static_cast<int>(engine() % 2001) - 1000) / 500.0F;
    return values;
}

PartialConvDesc Chain::firstDesc() {
    PartialConvDesc desc;
    desc.batch = kBatch;
    desc.in_channels = kIn;
    desc.out_channels = kMiddle;
    desc.window.input = desc.window.output = {1, kHeight, kWidth};
    desc.window.kernel = {1, 3, 3};
    desc.window.padding = {0, 1, 1};
    desc.fast_math = true;
    desc.activation = Activation::leaky_relu;
    return desc;
}

PartialConvDesc Chain::secondDesc() {
    PartialConvDesc desc = firstDesc();
    desc.in_channels = kMiddle;
    desc.out_channels = kIn;
    desc.window.stride = {1, 2, 2};
    desc.window.output = {1, kHeight / 2, kWidth / 2};
    desc.input_is_masked = true;
    return desc;
}

TensorRef Chain::allocate(DataType type, const Dims& dims) {
    return {device_.allocate(elementsOf(dims) * sizeOf(type)), 0, type, contiguous(dims)};
}

Chain::Chain(Device& device, const Implementation& row, unsigned seed) : device_(device) {
    const Dims3 whole{1, kHeight, kWidth};
    const Dims3 half{1, kHeight / 2, kWidth / 2};
    plane_ = allocate(DataType::u8, imageOf(1, whole));
    input_ = allocate(DataType::f32, imageOf(kIn, whole));
    middle_ = allocate(DataType::f32, imageOf(kMiddle, whole));
    turned_ = allocate(DataType::f32, imageOf(kMiddle, whole));
    turned_.strides = {kMiddle * kHeight * kWidth, 1, kMiddle * kHeight * kWidth, kMiddle * kWidth, kMiddle};
    half_ = allocate(DataType::f32, imageOf(kIn, half));
    upsampled_ = allocate(DataType::f32, imageOf(kIn, whole));
    makeStep(first_, row, firstDesc(), seed);
    makeStep(second_, row, secondDesc(), seed + 10);
}

void Chain::makeStep(Masked& step, const Implementation& row, const PartialConvDesc& desc, unsigned seed) {
    step.desc = desc;
    const Dims dims = imageOf(1, desc.window.output);
    step.results = {allocate(DataType::f32, dims), allocate(DataType::u8, dims),
                    allocate(DataType::f32, dims)};
    MaskForm form;
    form.batch = kBatch;
    form.segments = {{1, 1}};
    step.update = row.makeMaskUpdate(device_, desc, form, step.results);
    step.conv = row.makePartialConv(device_, desc);
    const Dims weights{desc.out_channels, desc.in_channels, 1, 3, 3};
    step.weight = allocate(DataType::f32, weights);
    const auto values = randomFloats(elementsOf(weights), seed);
    device_.write(*step.weight.buffer, 0, values.data(), values.size() * sizeof(float));
    step.bias = allocate(DataType::f32, {desc.out_channels, 1, 1, 1, 1});
    device_.write(*step.bias.buffer, 0, values.data(),
                  static_cast<size_t>(desc.out_channels) * sizeof(float));
    step.conv->setWeights(step.weight, &step.bias);
}

void Chain::writeInput(unsigned seed) {
    const auto values = randomFloats(input_.buffer->size() / sizeof(float), seed);
    device_.write(*input_.buffer, 0, values.data(), input_.buffer->size());
    std::vector<uint8_t> mask(plane_.buffer->size());
    for (size_t i = 0; i < mask.size(); ++i) mask[i] = values[i] > 0 || i % kWidth > seed % kWidth ? 1 : 0;
    device_.write(*plane_.buffer, 0, mask.data(), mask.size());
}

void Chain::enqueue() {
    first_.update->compute({plane_});
    first_.conv->forward(*first_.update, input_, middle_);
    second_.update->compute({first_.results.updated_mask});
    second_.conv->forward(*second_.update, middle_, half_);
    device_.upsample(half_, upsampled_, imageOf(kIn, second_.desc.window.output), {1, 2, 2});
}

void Chain::enqueueTurned() {
    first_.update->compute({plane_});
    first_.conv->forward(*first_.update, input_, turned_);
}

void Chain::poisonResults() {
    for (const TensorRef& tensor : {middle_, half_, upsampled_, second_.results.ratio,
                                    second_.results.updated_mask, first_.results.updated_mask}) {
        const std::vector<uint8_t> poison(tensor.buffer->size(), 0xFF);
        device_.write(*tensor.buffer, 0, poison.data(), poison.size());
    }
}

std::vector<uint8_t> Chain::results() {
    std::vector<uint8_t> all;
    for (const TensorRef& tensor : {upsampled_, second_.results.ratio, second_.results.updated_mask}) {
        std::vector<uint8_t> bytes(tensor.buffer->size());
        device_.read(*tensor.buffer, 0, bytes.data(), bytes.size());
        all.insert(all.end(), bytes.begin(), bytes.end());
    }
    return all;
}

}  // namespace pconv::test
