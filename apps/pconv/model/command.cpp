// `pconv model`: what a model file holds, and making one of a checkpoint.
#include "model/options.h"

namespace pconv::app {
namespace {

constexpr const char* kAbout = "Show a model file, or make one of a checkpoint.";

constexpr const char* kMore = R"(
A model file is a safetensors file with the weights, whose metadata pconv.network describes the network, what goes
in and what comes out. 'pconv inpaint --model FILE' and pconvLoadNetwork() need nothing else.

Examples:
  pconv model import 1000000.pth -o unet.safetensors
      a checkpoint of naoto0804's repository
  pconv model import checkpoint.pth.tar -o classifier.safetensors --net pdresnet50
  pconv model show unet.safetensors)";

constexpr const char* kImportMore = R"(
CHECKPOINT is PyTorch's .pth or .pt of either format, safetensors, or Keras's .h5. Nothing in it is executed: of a
pickle, only tensors, numbers, texts and plain containers are read, and anything else is refused by its name. PyTorch's
and Keras's files are read by python3 (the latter with h5py); PyTorch and Keras themselves are not needed. Which tensors
were used and which are unknown is said; where one is missing, nothing is written.

Examples:
  pconv model import 1000000.pth -o unet.safetensors
  pconv model import checkpoint.pth.tar -o classifier.safetensors --net pdresnet50)";

}  // namespace

void addModelCommand(CLI::App& app, Action& action) {
    CLI::App* command = app.add_subcommand("model", kAbout);
    command->footer(kMore);
    command->require_subcommand(1);

    CLI::App* show = command->add_subcommand("show", "Print a model file's layers as a table.");
    auto shown = std::make_shared<ShowOptions>();
    show->add_option("FILE", shown->path, "A model file, or a network by name such as pconv_unet")
        ->required();
    show->add_option("--size", shown->size,
                     "Of the picture, HEIGHTxWIDTH; by default 512x512 or what the model asks for")
        ->option_text("HxW");
    show->callback([shown, &action] { action = [shown] { showModel(*shown); }; });

    CLI::App* import = command->add_subcommand("import", "Make a model file of a checkpoint.");
    import->footer(kImportMore);
    auto imported = std::make_shared<ImportOptions>();
    import->add_option("CHECKPOINT", imported->path, "The file with the weights")->required();
    import->add_option("-o,--output", imported->output, "The model file to write")
        ->required()
        ->option_text("FILE");
    import->add_option("--net", imported->net, "The network; by default the one whose weights these are")
        ->option_text("NAME");
    import->callback([imported, &action] { action = [imported] { importModel(*imported);
};
}  // namespace pconv::app
);
}

}  // namespace pconv::app
