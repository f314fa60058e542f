#include <memory>
#include <string>
#include <vector>

#include "case_file.h"
#include "command.h"
#include "platform.h"
#include "safetensors.h"

namespace pconv::app {
namespace {

constexpr const char* kAbout = "Compute one partial convolution on tensors from a file.";

constexpr const char* kMore = R"(
CASE holds F32 tensors
  input   [N, C, S...]           S: 1, 2 or 3 spatial dimensions
  weight  [out, C / groups, K...]
  bias    [out]                  may be absent
  mask    [N or 1, C or 1, S...] 1 valid, 0 hole, or between; may be absent: all valid
and settings as strings in its __metadata__, all of which may be absent:
  op             partial_conv
  spatial_dims   1, 2 or 3 (that of input)
  kernel         such as 3,3 (that of weight)
  stride         such as 2,2 (1)
  padding        such as 1,1 (0)
  dilation       such as 1,1 (1)
  groups         1
  multi_channel  false or true: whether each channel has its own mask
  mask_window    all_channels or group_channels: what a multi-channel window sums over
  normalization  window_ratio or mask_sum
  eps            1e-8
Other tensors and settings are not looked at. OUT gets the F32 tensors output [N, out, O...] and mask, the
updated mask [N or 1, 1 or groups, O...].

Example:
  pconv run tests/conformance/cases/nvidia2d_k3_random.safetensors -o out.safetensors --device cpu --impl cpu:reference)";

struct Options {
    std::string input;
    std::string output;
    std::string device;
    std::string implementation;
};

std::vector<uint64_t> shapeOf(const PconvTensor& tensor) {
    return {tensor.dims, tensor.dims + tensor.rank};
}

/// The elements of a contiguous tensor as floats.
std::vector<float> readFloats(const PconvTensor& tensor) {
    std::size_t count = 1;
    for (int32_t i = 0; i < tensor.rank; ++i) count *= static_cast<std::size_t>(tensor.dims[i]);
    std::vector<float> values(count);
    if (tensor.data_type == PCONV_DATA_TYPE_F32) {
        detail::check(pconvReadBuffer(tensor.buffer, tensor.offset, values.data(), count * sizeof(float)));
        return values;
    }
    std::vector<uint8_t> bytes(count);
    detail::check(pconvReadBuffer(tensor.buffer, tensor.offset, bytes.data(), count));
    for (std::size_t i = 0; i < count; ++i) values[i] = bytes[i] != 0 ? 1.0F : 0.0F;
    return values;
}

Tensor makePlanes(const Device& device, const Case& work) {
    const CaseTensor& mask = *work.mask;
    if (work.desc.mask_type == PCONV_MASK_TYPE_FRACTIONAL) return {device, mask.dims, mask.values};
    std::vector<uint8_t> bits(mask.values.size());
    for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = mask.values[i] != 0.0F ? 1 : 0;
    return {device, mask.dims, bits};
}

void run(const Options& options) {
    Case work = readCase(options.input);
    if (!options.implementation.empty()) work.desc.implementation = options.implementation.c_str();
    const Device device(options.device);
    const PartialConv conv(device, work.desc);

    const Tensor weight(device, work.weight.dims, work.weight.values);
    if (work.bias) {
        const Tensor bias(device, work.bias->dims, work.bias->values);
        conv.setWeights(weight.view(), bias.view());
    } else {
        conv.setWeights(weight.view());
    }

    std::unique_ptr<Tensor> planes;
    std::unique_ptr<MaskUpdate> update;
    if (work.mask) {
        planes = std::make_unique<Tensor>(makePlanes(device, work));
        // One plane in multi-channel mode stands for every channel.
        const bool shared = work.mask->dims[1] == 1 && work.desc.mask_mode == PCONV_MASK_MODE_MULTI_CHANNEL;
        Mask mask;
        mask.add(planes->view(), shared ? work.desc.in_channels : 1);
        update = std::make_unique<MaskUpdate>(device, work.desc, mask);
    } else {
        update = std::make_unique<MaskUpdate>(device, work.desc);
    }

    const Tensor input(device, work.input.dims, work.input.values);
    std::vector<int64_t> output_dims = {work.desc.batch, work.desc.out_channels};
    for (const int64_t size : work.desc.outputSize()) output_dims.push_back(size);
    const Tensor output(device, output_dims);
    conv.forward(*update, input.view(), output.view());
    device.wait();

    const std::vector<float> values = readFloats(output.view());
    const PconvTensor updated = update->updatedMask();
    const std::vector<float> mask_values = readFloats(updated);
    AtomicFile file(options.output, watchTemporary);
    writeSafetensors(file,
                     {{"output", "F32", shapeOf(output.view()), values.data()},
                      {"mask", "F32", shapeOf(updated), mask_values.data()}},
                     {{"device", device.info().name}, {"implementation", conv.implementation()}});
    file.commit();
}

}  // namespace

void addRunCommand(CLI::App& app, Action& action) {
    CLI::App* command = app.add_subcommand("run", kAbout);
    command->footer(kMore);
    auto options = std::make_shared<Options>();
    command->add_option("CASE", options->input, "A safetensors file with one operator call")->required();
    command->add_option("-o,--output", options->output, "The safetensors file to write")
        ->required()
        ->option_text("OUT");
    command->add_option("-d,--device", options->device, kDeviceHelp)->option_text("DEVICE");
    command->add_option("--impl", options->implementation, "The implementation to use, such as cpu:reference")
        ->option_text("ROW");
    command->callback([options, &action] { action = [options] { run(*options); }; });
}

}  // namespace pconv::app
