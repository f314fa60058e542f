#include "vulkan_fixture.h"

#include <random>
#include <stdexcept>

namespace pconv::vulkan {

namespace {

std::array<int64_t, 5> contiguous(const std::array<int64_t, 5>& dims) {
    std::array<int64_t, 5> strides{};
    int64_t next = 1;
    for (size_t i = 5; i-- > 0;) {
        strides[i] = next;
        next *= dims[i];
    }
    return strides;
}

size_t countOf(const std::array<int64_t, 5>& dims) {
    int64_t count = 1;
    for (const int64_t dim : dims) count *= dim;
    return static_cast<size_t>(count);
}

std::array<int64_t, 5> imageDims(int64_t n, int64_t c, const Dims3& size) {
    return {n, c, size[0], size[1], size[2]};
}

}  // namespace

void VulkanTest::SetUp() {
    std::string reason;
    const auto instance = Instance::create(reason);
    if (instance == nullptr) GTEST_SKIP() << "no Vulkan device: " << reason;
    // Drivers and layers forget memory when they are unloaded, which the sanitizer would lay at our door.
    static auto* const held = new std::vector<std::shared_ptr<Instance>>;
    if (held->size() < 2) held->push_back(instance);
}

std::unique_ptr<VulkanDevice> VulkanTest::open() {
    std::string reason;
    auto instance = Instance::create(reason);
    if (instance == nullptr) throw std::runtime_error(reason);
    VkPhysicalDevice physical = instance->devices().front();
    return std::make_unique<VulkanDevice>(std::move(instance), physical, host_);
}

std::vector<float> randomValues(size_t count, unsigned seed) {
    std::mt19937 engine(seed);
    std::vector<float> values(count);
    for (float& value : values)
        value = static_cast<float>(static_cast<int>(engine() % 2001) - 1000) / 1000.0F;
    return values;
}

TensorRef makeTensor(VulkanDevice& device, const std::vector<float>& values,
                     const std::array<int64_t, 5>& dims) {
    TensorRef tensor{device.allocate(values.size() * sizeof(float)), 0, DataType::f32, contiguous(dims)};
    device.write(*tensor.buffer, 0, values.data(), values.size() * sizeof(float));
    return tensor;
}

std::vector<float> readTensor(VulkanDevice& device, const TensorRef& tensor, size_t count) {
    std::vector<float> values(count);
    device.read(*tensor.buffer, tensor.offset, values.data(), count * sizeof(float));
    return values;
}

PartialConvDesc squareDesc(int64_t batch, int64_t in, int64_t out, int64_t size) {
    PartialConvDesc desc;
    desc.batch = batch;
    desc.in_channels = in;
    desc.out_channels = out;
    desc.window.input = desc.window.output = {1, size, size};
    desc.window.kernel = {1, 3, 3};
    desc.window.padding = {0, 1, 1};
    return desc;
}

std::vector<float> runConvolution(VulkanDevice& device, const Implementation& row,
                                  const PartialConvDesc& desc, unsigned seed) {
    const auto in_dims = imageDims(desc.batch, desc.in_channels, desc.window.input);
    const auto out_dims = imageDims(desc.batch, desc.out_channels, desc.window.output);
    const auto weight_dims = imageDims(desc.out_channels, desc.in_channels / desc.groups, desc.window.kernel);
    const auto plane_dims = imageDims(1, 1, desc.window.input);
    const auto result_dims = imageDims(1, desc.maskGroups(), desc.window.output);

    std::vector<uint8_t> bytes;
    for (const float value : randomValues(countOf(plane_dims), seed)) bytes.push_back(value > -0.5F ? 1 : 0);
    TensorRef plane{device.allocate(bytes.size()), 0, DataType::u8, contiguous(plane_dims)};
    device.write(*plane.buffer, 0, bytes.data(), bytes.size());
    const auto empty = [&](DataType type) {
        return TensorRef{device.allocate(countOf(result_dims) * sizeOf(type)), 0, type,
                         contiguous(result_dims)};
    };
    const MaskPlanes results{empty(DataType::f32), empty(DataType::u8), empty(DataType::f32)};
    MaskForm form;
    form.segments = {{1, desc.multi_channel ? desc.in_channels : 1}};

    const auto update = row.makeMaskUpdate(device, desc, form, results);
    const auto conv = row.makePartialConv(device, desc);
    update->compute({plane});
    const TensorRef bias = makeTensor(device, randomValues(static_cast<size_t>(desc.out_channels), seed + 1),
                                      {desc.out_channels, 1, 1, 1, 1});
    conv->setWeights(makeTensor(device, randomValues(countOf(weight_dims), seed + 2), weight_dims), &bias);
    const TensorRef input = makeTensor(device, randomValues(countOf(in_dims), seed + 3), in_dims);
    const TensorRef output = makeTensor(device, std::vector<float>(countOf(out_dims), -1.0F), out_dims);
    conv->forward(*update, input, output);
    return readTensor(device, output, countOf(out_dims));
}

}  // namespace pconv::vulkan
