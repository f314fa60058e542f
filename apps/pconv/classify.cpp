// `pconv classify`: what a picture shows, by a trained network.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <memory>
#include <numeric>

#include "argument_file.h"
#include "command.h"
#include "image/convert.h"
#include "image/io.h"
#include "image/resize.h"
#include "picture_job.h"
#include "text_table.h"

namespace pconv::app {
namespace {

constexpr const char* kAbout = "Say what a picture shows, by a trained network.";

constexpr const char* kMore = R"(
The picture, as it is displayed, is scaled until its shorter side is 8/7 of what the model takes (256 of 224), its
middle is cut out, and its colours are normalized as the model file says; alpha is not looked at. Printed are the five
most likely classes with the model's probabilities.

Examples:
  pconv model import pdresnet50.pth -o resnet.safetensors
  pconv classify photo.jpg --model resnet.safetensors --math fast
  pconv classify photo.jpg --model resnet.safetensors --labels imagenet_classes.txt)";

struct Options {
    std::string image, model, labels, device;
    PconvMath math = PCONV_MATH_EXACT;
    std::int64_t most_pixels = std::int64_t{1} << 27;
};

/// A class's name a line.
std::vector<std::string> readLabels(const std::string& path, std::size_t classes) {
    std::vector<std::string> labels;
    if (path.empty()) return labels;
    const InputFile opened = openInput(path);  // its fault, if it cannot be read
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
        if (!line.empty() && line.back() == '\r') line.pop_back();
        labels.push_back(line);
    }
    if (labels.size() != classes)
        throw FileError(nameOfInput(path) + " has " + std::to_string(labels.size()) +
                        " lines; expected one for each of " + std::to_string(classes) + " classes");
    return labels;
}

std::vector<float> inputOf(const Options& options, const PconvModelInfo& info, std::uint32_t size) {
    Image image = readPicture(options.image, static_cast<std::uint64_t>(options.most_pixels));
    Notes ignored;
    if (image.cmyk) image = toRgb(image, ignored);
    std::vector<float> planes = scaledMiddle(image, size * 8 / 7, size);
    const std::size_t pixels = std::size_t{size} * size;
    for (std::size_t i = 0; i < planes.size(); ++i) {
        const std::size_t c = i / pixels;
        planes[i] = (planes[i] * info.input_range - info.mean[c]) / info.deviation[c];
    }
    return planes;
}

std::vector<double> probabilitiesOf(const std::vector<float>& scores) {
    const double largest = *std::max_element(scores.begin(), scores.end());
    std::vector<double> shares;
    for (const float score : scores) shares.push_back(std::exp(static_cast<double>(score) - largest));
    const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
    for (double& share : shares) share /= sum;
    return shares;
}

void classify(const Options& options) {
    constexpr std::int64_t kUsualSize = 224;
    const Model model = Model::load(options.model);
    const PconvModelInfo info = model.info();
    const std::string name = nameOfInput(options.model);
    if (info.classes == 0)
        throw CommandError(kExitBadInput, name + " fills pictures; expected a model that classifies them");
    if (info.channels != 3)
        throw CommandError(kExitBadInput,
                           name + " takes " + std::to_string(info.channels) + " channels; expected 3");
    const auto classes = static_cast<std::size_t>(info.classes);
    const std::vector<std::string> labels = readLabels(options.labels, classes);
    const std::int64_t multiple = info.size_multiple;
    const std::int64_t side =
        info.fixed_size != 0 ? info.fixed_size : (kUsualSize + multiple - 1) / multiple * multiple;
    const std::vector<float> input = inputOf(options, info, static_cast<std::uint32_t>(side));

    const Device device(options.device);
    const Network network = Network::load(device, options.model, {side, side}, options.math);
    const std::vector<std::int64_t> all = network.outputDims();
    const std::vector<std::int64_t> dims(all.begin(), all.begin() + 4);
    if (dims != std::vector<std::int64_t>{1, info.classes, 1, 1})
        throw CommandError(kExitBadInput, name + ": the network's output is not a number a class");
    const Tensor from(device, {1, 3, side, side}, input);
    const Tensor output(device, dims);
    if (model.networkDesc().mask_type == PCONV_MASK_TYPE_NONE) {
        network.forward(from.view(), output.view());
    } else {
        const std::vector<std::uint8_t> ones(static_cast<std::size_t>(side * side), 1);
        network.forward(from.view(), Tensor(device, {1, 1, side, side}, ones).view(), output.view());
    }
    const std::vector<double> shares = probabilitiesOf(output.read<float>());

    std::vector<std::size_t> order(classes);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return shares[a] > shares[b]; });
    constexpr std::size_t kShown = 5;
    TextTable table({"class", "probability", labels.empty() ? "" : "label"}, {"label"});
    for (std::size_t i = 0; i < std::min(kShown, classes); ++i) {
        char text[32];
        std::snprintf(text, sizeof text, "%.2f%%", 100 * shares[order[i]]);
        table.add({std::to_string(order[i]), text, labels.empty() ? "" : labels[order[i]]});
    }
    print(table.text());
}

}  // namespace

void addClassifyCommand(CLI::App& app, Action& action) {
    CLI::App* command = app.add_subcommand("classify", kAbout);
    command->footer(kMore);
    auto options = std::make_shared<Options>();
    command->add_option("IMAGE", options->image, "The picture: " + formatList("PNG", "JPEG", "TIFF", "WebP"))
        ->required()
        ->option_text("");
    command->add_option("--model", options->model, "A model file; 'pconv model import' makes them")
        ->required()
        ->option_text("FILE");
    command->add_option("--labels", options->labels, "A text file with a name for each class, a line each")
        ->option_text("FILE");
    command->add_option("-d,--device", options->device, kDeviceHelp)->option_text("DEVICE");
    addMathOption(*command, options->math);
    command->add_option("--max-pixels", options->most_pixels, "Refuse larger pictures (134217728)")
        ->option_text("COUNT")
        ->check(CLI::Range(std::int64_t{1}, std::numeric_limits<std::int64_t>::max()));
    command->callback([options, &action] { action = [options] { classify(*options); }; });
}

}  // namespace pconv::app
