#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "argument_file.h"
#include "case_file.h"
#include "command.h"
#include "files/safetensors.h"
#include "network_case.h"
#include "typed_tensor.h"

namespace pconv::app {
namespace {

constexpr const char* kAbout = "Compute one operator call, or a whole network, on tensors from a file.";

constexpr const char* kMore = R"(
CASE holds F32 tensors
  input   [N, C, S...]           S: 1, 2 or 3 spatial dimensions
  weight  [out, C / groups, K...]
  bias    [out]                  may be absent
  mask    [N or 1, C or 1, S...] 1 valid, 0 hole, or between; may be absent: all valid
  grad_output [N, out, O...]     needed, and looked at, with --backward alone
and settings as strings in its __metadata__, all of which may be absent:
  op             partial_conv or masked_conv
  spatial_dims   1, 2 or 3 (that of input)
  kernel         such as 3,3 (that of weight)
  stride         such as 2,2 (1)
  padding        such as 1,1 (0)
  padding_end    such as 2,2: behind (as padding, in front)
  padding_mode   zeros, reflect, replicate or circular: of input and mask alike
  dilation       such as 1,1 (1)
  groups         1
  multi_channel  false or true: whether each channel has its own mask
  mask_window    all_channels or group_channels: what a multi-channel window sums over
  normalization  window_ratio or mask_sum; weight_magnitude for masked_conv
  eps            1e-8
A file with the setting `net`, such as pconv_unet, is a case of a whole network (tests/network/cases): `seed` and
`tensors`, JSON of each tensor's shape, offset and scale, make its weights and its input; `layers` or `classes` and the
tensor mask [1, 1, H, W] complete it. OUT then gets output and mask.
With --model FILE, a model file as 'pconv model import' makes it, CASE holds what goes into the network: input
[N, C, H, W], of the values that the network itself takes (mean and deviation taken off, as the program does that it
was trained with), and mask [1 or N, 1, H, W] where it takes one. OUT gets output and mask.
Other tensors and settings are not looked at. OUT gets the F32 tensors output [N, out, O...] and mask, the
updated mask [N or 1, 1 or groups, O...]; for masked_conv [N or 1, out, O...], and none without a mask. With
--backward it also gets grad_input, grad_weight and, where there is a bias, grad_bias.

Examples:
  pconv run tests/conformance/cases/nvidia2d_k3_random.safetensors -o out.safetensors --device cpu --impl cpu:reference
  pconv run tests/conformance/cases/masked_conv2d_k3.safetensors -o out.safetensors --device cpu --backward
  pconv run features.safetensors --model unet.safetensors -o out.safetensors
  cat case.safetensors | pconv run - -o - --device cpu > out.safetensors)";

const std::map<std::string, PconvDataType> kDataTypes = {
    {"f32", PCONV_DATA_TYPE_F32}, {"f16", PCONV_DATA_TYPE_F16}, {"bf16", PCONV_DATA_TYPE_BF16}};

struct Options {
    std::string input;
    std::string output;
    std::string model;
    std::string device;
    std::string implementation;
    std::string data_type = "f32";
    PconvMath math = PCONV_MATH_EXACT;
    bool backward = false;
};

std::vector<uint64_t> shapeOf(const PconvTensor& tensor) {
    return {tensor.dims, tensor.dims + tensor.rank};
}

Tensor makePlanes(const Device& device, const Case& work) {
    const CaseTensor& mask = *work.mask;
    if (work.desc.mask_type == PCONV_MASK_TYPE_FRACTIONAL) return {device, mask.dims, mask.values};
    std::vector<uint8_t> bits(mask.values.size());
    for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = mask.values[i] != 0.0F ? 1 : 0;
    return {device, mask.dims, bits};
}

/// One call on one device, in the data type asked for; conversion happens on the device.
class Call {
  public:
    Call(Case work, const Device& device)
        : work_(std::move(work)),
          device_(device),
          conv_(device, work_.desc),
          weight_(upload(work_.weight)),
          input_(upload(work_.input)) {
        if (work_.bias) bias_.emplace(upload(*work_.bias));
        if (bias_)
            conv_.setWeights(weight_.view(), bias_->view());
        else
            conv_.setWeights(weight_.view());
        makeUpdate();
    }

    /// Writes to `results` as they are named in OUT.
    void forward() {
        std::vector<int64_t> dims = {work_.desc.batch, work_.desc.out_channels};
        for (const int64_t size : work_.desc.outputSize()) dims.push_back(size);
        const Tensor output(device_, dims, work_.desc.data_type);
        conv_.forward(*update_, input_.view(), output.view());
        give("output", output);
        const bool plain =
            work_.desc.normalization == PCONV_NORMALIZATION_WEIGHT_MAGNITUDE && !work_.mask.has_value();
        if (!plain)
            results_.push_back(
                {"mask", shapeOf(update_->updatedMask()), maskValuesOf(update_->updatedMask())});
    }

    void backward() {
        const Tensor grad_output = upload(*work_.grad_output);
        const Tensor grad_input(device_, work_.input.dims, work_.desc.data_type);
        const Tensor grad_weight(device_, work_.weight.dims, work_.desc.data_type);
        std::optional<Tensor> grad_bias;
        if (work_.bias) grad_bias.emplace(device_, work_.bias->dims, work_.desc.data_type);
        conv_.backward(*update_, input_.view(), grad_output.view(), &grad_input.view(), &grad_weight.view(),
                       grad_bias ? &grad_bias->view() : nullptr);
        give("grad_input", grad_input);
        give("grad_weight", grad_weight);
        if (grad_bias) give("grad_bias", *grad_bias);
    }

    void write(AtomicFile& file) const {
        std::vector<SafetensorsOutput> entries;
        for (const Result& result : results_)
            entries.push_back({result.name, "F32", result.shape, result.values.data()});
        writeSafetensors(file, entries,
                         {{"device", device_.info().name}, {"implementation", conv_.implementation()}});
        file.commit();
    }

  private:
    struct Result {
        std::string name;
        std::vector<uint64_t> shape;
        std::vector<float> values;
    };

    Tensor upload(const CaseTensor& tensor) const {
        return tensorOf(work_.desc.data_type, device_, tensor.dims, tensor.values);
    }

    void give(const std::string& name, const Tensor& tensor) {
        results_.push_back({name, shapeOf(tensor.view()), floatsOf(device_, tensor)});
    }

    void makeUpdate() {
        if (!work_.mask) {
            update_.emplace(device_, work_.desc);
            return;
        }
        planes_.emplace(makePlanes(device_, work_));
        // One plane in multi-channel mode stands for every channel.
        const bool shared = work_.mask->dims[1] == 1 && work_.desc.mask_mode == PCONV_MASK_MODE_MULTI_CHANNEL;
        Mask mask;
        mask.add(planes_->view(), shared ? work_.desc.in_channels : 1);
        if (work_.desc.normalization == PCONV_NORMALIZATION_WEIGHT_MAGNITUDE)
            update_.emplace(device_, work_.desc, mask, weight_.view());
        else
            update_.emplace(device_, work_.desc, mask);
    }

    Case work_;
    const Device& device_;
    PartialConv conv_;
    Tensor weight_, input_;
    std::optional<Tensor> bias_, planes_;
    std::optional<MaskUpdate> update_;
    std::vector<Result> results_;
};

/// A case of a whole network, or a model file on the case's tensors.
void runNetwork(SafetensorsReader& file, const Options& options, AtomicFile& output) {
    if (options.backward)
        throw CommandError(kExitBadInput, "--backward is given; a network has no gradients");
    NetworkCaseOptions chosen;
    chosen.implementation = options.implementation;
    chosen.data_type = kDataTypes.at(options.data_type);
    chosen.math = options.math;
    const Device device(options.device);
    std::vector<SafetensorsOutput> entries;
    const auto results = options.model.empty() ? runNetworkCase(file, device, chosen)
                                               : runModel(file, options.model, device, chosen);
    for (const NetworkCaseResult& result : results)
        entries.push_back({result.name, "F32", result.shape, result.values.data()});
    writeSafetensors(output, entries, {{"device", device.info().name}});
    output.commit();
}

void run(const Options& options) {
    const std::unique_ptr<AtomicFile> output = openOutput(options.output);
    refuseTerminal(*output, "a safetensors file");
    SafetensorsReader file = openSafetensors(options.input);
    if (options.model.empty() && isModelFile(file))
        throw CommandError(kExitBadInput,
                           file.fileName() +
                               " is a model file; expected a file with its input, and the model "
                               "file after --model");
    if (!options.model.empty() || isNetworkCase(file)) return runNetwork(file, options, *output);
    Case work = readCase(file, options.backward);
    if (!options.implementation.empty()) work.desc.implementation = options.implementation.c_str();
    work.desc.data_type = kDataTypes.at(options.data_type);
    work.desc.math = options.math;
    work.desc.training = options.backward ? 1 : 0;
    const Device device(options.device);
    Call call(std::move(work), device);
    call.forward();
    if (options.backward) call.backward();
    call.write(*output);
}

}  // namespace

void addRunCommand(CLI::App& app, Action& action) {
    CLI::App* command = app.add_subcommand("run", kAbout);
    command->footer(kMore);
    auto options = std::make_shared<Options>();
    command
        ->add_option("CASE", options->input,
                     "A safetensors file with one operator call; - is the standard input")
        ->required();
    command
        ->add_option("-o,--output", options->output,
                     "The safetensors file to write; - is the standard output")
        ->required()
        ->option_text("OUT");
    command
        ->add_option("--model", options->model, "Run the network of this model file on CASE's input and mask")
        ->option_text("FILE");
    command->add_option("-d,--device", options->device, kDeviceHelp)->option_text("DEVICE");
    command->add_option("--impl", options->implementation, "The implementation to use, such as cpu:reference")
        ->option_text("ROW");
    command->add_flag("--backward", options->backward, "Also compute the gradients, from grad_output");
    command
        ->add_option("--dtype", options->data_type, "The type of all tensors on the device: f32, f16 or bf16")
        ->check(CLI::IsMember({"f32", "f16", "bf16"}))
        ->option_text("TYPE");
    addMathOption(*command, options->math);
    command->callback([options, &action] { action = [options] { run(*options); }; });
}

}  // namespace pconv::app
