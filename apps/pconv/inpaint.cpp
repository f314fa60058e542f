#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "argument_file.h"
#include "command.h"
#include "image/io.h"
#include "picture_list.h"
#include "progress_bar.h"

namespace pconv::app {
namespace {

constexpr const char* kAbout =
    "Fill the holes of pictures from what is around them, or by a trained network.";

// Before and behind the formats that keep pixels.
constexpr const char* kMore[] = {
    R"(
The fill is smooth: right for scratches, dust, wires, dates stamped into a corner and previews; it continues
edges and gradients, but does not invent texture.

With --model the colours come from a trained network instead, whose file 'pconv model import' makes. Pictures of any
size are mirrored up to what the network takes; those larger than --tile pixels a side are filled in overlapping tiles
around the holes, larger ones where a hole covers a tile. Within 4 pixels of a hole's rim what the network gets wrong
of the pixels beside it is taken off. What the network does not reach is filled as without one. Gray and RGB only;
alpha is filled as without a model. On a CPU --math fast takes about 0.7 of the time of exact, and four to six times
the memory for weights. Where a tile does not fit into --device-memory, the exit code is 1; smaller tiles need less.
Filling without a model what the network does not reach takes up to 16 MiB beside the network.

The hole is what MASK shows in white (half gray and up), or in black with --hole black; what is transparent in
MASK is no hole. With --hole transparent, as picture-editing services have it, that alone is the hole. MASK is a
picture of the same size as IMAGE; a PNG is better than a JPEG, which blurs edges. Without a mask the alpha of IMAGE
says how much of each pixel is known: what is transparent is filled, and becomes opaque.

PNG: gray or RGB, with or without alpha, up to 16 bits a sample. Pixels outside the hole come back bit for bit,
with bit depth, colour type, ICC profile, resolution, gamma, Exif, XMP and text. A palette is written as the RGB or
RGBA colours it stands for, since a fill needs colours that it lacks; an interlaced picture is written plain.
JPEG: gray, RGB or CMYK. From JPEG to JPEG the 8x8 or 16x16 blocks that do not touch the hole are copied without
loss, with profile, resolution, Exif, XMP, captions and comments; the others are compressed anew as the file was. Any
other picture is written to JPEG at quality 95, without alpha: bit for bit needs )",
    R"(.
)"
#ifdef PCONV_WITH_TIFF
    R"(TIFF: gray, RGB or CMYK, with or without alpha, up to 16 bits or floating point; of several pages the first. Pixels
outside the hole come back bit for bit; it is written in strips, by deflate.
)"
#endif
#ifdef PCONV_WITH_WEBP
    R"(WebP: written lossless, also where it was lossy, with 8 bits a sample.
)"
#endif
    R"(
A MASK drawn as IMAGE is displayed (turned as its Exif orientation says) is applied so; where it fits only as IMAGE
is stored, so. Light that a format cannot tell (PNG's gAMA, cHRM, cICP) becomes sRGB there; PQ and HLG are refused.
Thumbnails, maker's notes, gain maps, films and whatever else may show the picture as it was are left out of OUT, with
a note.

Of IMAGE, MASK and OUT each may be - for the standard input or output, a pipe or a descriptor. What a file is,
its content tells; how OUT is written, its name, or else --format, or else IMAGE.

OUT appears only when it is whole; Ctrl-C leaves nothing behind. A file written over keeps its owner, permissions
(but for set-user-ID) and attributes. Where it has other names (hard links), its folder is not to be written to, or
its owner cannot be kept, it is written in place, once all is there to be written.

Several pictures go into the folder of --output-dir, which is made where it is not there, under their own names. An
IMAGE that is a folder stands for all pictures in it, not those in folders within. --mask-dir has a mask for each,
called as the picture is but for the ending; --mask is for all. What is wrong with one picture is a line, the others
are done, and the exit code is not 0: that of the fault, or 1 where several pictures have faults that differ.

Examples:
  pconv inpaint scan.png --mask scratches.png -o clean.png
  pconv inpaint photo.jpg --mask wires.png -o photo_clean.jpg
  pconv inpaint drawing.png --mask keep.png --hole black -o filled.png
  pconv inpaint cutout.png -o whole.png
  pconv inpaint photo.jpg --mask person.png --model unet.safetensors -o photo_alone.jpg
  pconv inpaint a.jpg b.png --mask-dir masks --output-dir filled
  pconv inpaint scans --mask dust.png --output-dir filled
  cat photo.jpg | pconv inpaint - --mask wires.png --format png -o - > clean.png
  PCONV_DEVICE=vulkan pconv inpaint cutout.png -o whole.png)"};

const std::map<std::string, HoleMark> kHoleMarks = {
    {"white", HoleMark::white}, {"black", HoleMark::black}, {"transparent", HoleMark::transparent}};

struct Options {
    PicturePlaces places;
    std::string hole = "white";
    std::string format;
    std::string model;
    std::int64_t tile = 0;
    std::optional<PconvMath> math;
    std::string device;
    std::uint64_t device_mebibytes = 0;
    std::int64_t most_pixels = std::int64_t{1} << 27;
};

/// The CPU unless told otherwise: it needs no start-up, and a picture is a small job.
std::string deviceOf(const Options& options) {
    if (!options.device.empty()) return options.device;
    const char* wanted = std::getenv("PCONV_DEVICE");
    return wanted != nullptr && *wanted != '\0' ? wanted : "cpu";
}

FillSettings settingsOf(const Options& options) {
    FillSettings settings;
    settings.hole = kHoleMarks.at(options.hole);
    settings.most_pixels = static_cast<std::uint64_t>(options.most_pixels);
    if (!options.format.empty()) settings.format = formatNamed(options.format);
    return settings;
}

/// How much of the work each picture is: by the bytes of its file, for nothing else is known before.
std::vector<double> sharesOf(const std::vector<PlannedPicture>& pictures) {
    std::vector<double> shares;
    double sum = 0;
    for (const PlannedPicture& picture : pictures) {
        std::error_code error;
        const std::uintmax_t bytes = std::filesystem::file_size(picture.job.image, error);
        shares.push_back(error ? 1.0 : static_cast<double>(bytes) + 1.0);
        sum += shares.back();
    }
    for (double& share : shares) share /= sum;
    return shares;
}

void inpaintAll(const std::vector<PlannedPicture>& pictures, const FillSettings& settings,
                const Device& device) {
    // One mask is for all, and read once: it may be the standard input.
    std::optional<Image> mask;
    const auto is_other = [&](const PlannedPicture& p) { return p.job.mask != pictures.front().job.mask; };
    if (!pictures.front().job.mask.empty() && std::none_of(pictures.begin(), pictures.end(), is_other))
        mask = readPicture(pictures.front().job.mask, settings.most_pixels);
    const std::vector<double> shares = sharesOf(pictures);
    ProgressBar bar("filling");
    const auto say = [&](const std::string& line) {
        bar.wipe();
        tell(line);
    };
    std::optional<ExitCode> code;
    double done = 0;
    for (std::size_t i = 0; i < pictures.size(); ++i) {
        const PictureJob& job = pictures[i].job;
        try {
            if (!pictures[i].fault.empty()) throw CommandError(kExitBadInput, pictures[i].fault);
            fillPicture(
                job, settings, mask ? &*mask : nullptr, device,
                [&](double of_this) { bar.update(done + shares[i] * of_this); },
                [&](const std::string& text) { say("note: " + text); });
        } catch (...) {
            const CommandFault fault = currentFault();
            const bool is_named = fault.line.find(inQuotes(job.image)) != std::string::npos ||
                                  fault.line.find(inQuotes(job.output)) != std::string::npos;
            say(is_named ? fault.line : inQuotes(job.image) + ": " + fault.line);
            code = !code || *code == fault.code ? fault.code : kExitFailure;
        }
        done += shares[i];
        bar.update(done);
    }
    if (code) throw CommandError(*code, "");
}

/// A network that fills pictures of any size.
struct LoadedNetwork {
    LoadedNetwork(const Device& device, const std::string& path, PconvMath math)
        : model(Model::load(path)), network(Network::load(device, path, sizeOf(path), math)) {}

    Model model;
    Network network;

  private:
    std::vector<std::int64_t> sizeOf(const std::string& path) const {
        const PconvModelInfo info = model.info();
        const std::string name = nameOfInput(path);
        if (info.classes != 0)
            throw CommandError(kExitBadInput,
                               name + " classifies pictures; expected a model that fills them");
        if (info.channels != 3)
            throw CommandError(kExitBadInput,
                               name + " takes " + std::to_string(info.channels) + " channels; expected 3");
        const std::int64_t side = info.fixed_size != 0 ? info.fixed_size : info.size_multiple;
        return {side, side};
    }
};

void inpaint(const Options& options) {
    if (options.tile != 0 && options.model.empty())
        throw CommandError(kExitBadInput,
                           "--tile is given without --model; without a network there are no tiles");
    if (options.math && options.model.empty())
        throw CommandError(kExitBadInput,
                           "--math is given without --model; without a network there are no convolutions");
    FillSettings settings = settingsOf(options);
    PconvDeviceOptions device_options = pconvDefaultDeviceOptions();
    device_options.memory_limit = options.device_mebibytes << 20U;
    const Device device(deviceOf(options), &device_options);
    std::optional<LoadedNetwork> loaded;
    if (!options.model.empty()) {
        loaded.emplace(device, options.model, options.math.value_or(PCONV_MATH_EXACT));
        settings.network = {loaded->model.get(), loaded->network.get(), options.tile};
    }
    const std::vector<PlannedPicture> pictures = planPictures(options.places, settings);
    if (!isForOne(options.places)) return inpaintAll(pictures, settings, device);
    if (!pictures.front().fault.empty()) throw CommandError(kExitBadInput, pictures.front().fault);
    ProgressBar bar("filling");
    fillPicture(
        pictures.front().job, settings, nullptr, device, [&](double done) { bar.update(done); },
        [&](const std::string& text) {
            bar.wipe();
            tell("note: " + text);
        });
}

/// An empty name is a variable of a script that is not set, and no choice.
std::string checkName(const std::string& name) {
    return name.empty() ? "an empty name; a file or folder is expected" : "";
}

}  // namespace

void addInpaintCommand(CLI::App& app, Action& action) {
    CLI::App* command = app.add_subcommand("inpaint", kAbout);
    command->footer(kMore[0] + formatList("PNG", nullptr, "TIFF", "WebP") + kMore[1]);
    auto options = std::make_shared<Options>();
    PicturePlaces& places = options->places;
    const CLI::Validator name(checkName, "", "name");
    command
        ->add_option("IMAGE", places.images,
                     "The picture: " + formatList("PNG", "JPEG", "TIFF", "WebP") +
                         "; several, or a folder, with --output-dir")
        ->required()
        ->check(name)
        ->option_text("");
    command
        ->add_option("-o,--output", places.output,
                     "The picture to write: " + formatList(".png", ".jpg", ".tif", ".webp"))
        ->check(name)
        ->option_text("OUT");
    command->add_option("--output-dir", places.output_folder, "The folder for several pictures")
        ->check(name)
        ->option_text("FOLDER");
    command->add_option("-m,--mask", places.mask, "A picture of the hole")->check(name)->option_text("MASK");
    command->add_option("--mask-dir", places.mask_folder, "A folder with a mask for each picture")
        ->check(name)
        ->option_text("FOLDER");
    command
        ->add_option("--hole", options->hole,
                     "What is hole in MASK: white (the default), black or transparent")
        ->option_text("COLOUR")
        ->check(CLI::IsMember({"white", "black", "transparent"}));
    command
        ->add_option("--format", options->format,
                     formatList("png", "jpeg", "tiff", "webp") + ", where the name of OUT does not say it")
        ->option_text("FORMAT");
    command->add_option("--model", options->model, "Fill by the network in this model file")
        ->check(name)
        ->option_text("FILE");
    command->add_option("--tile", options->tile, "With --model: larger pictures are filled in tiles (512)")
        ->option_text("PIXELS")
        ->check(CLI::Range(1, 65536));
    addMathOption(*command, options->math);
    command->add_option("-d,--device", options->device, kDeviceHelp)->option_text("DEVICE");
    command
        ->add_option("--device-memory", options->device_mebibytes,
                     "Let the device allocate no more; 16 are enough without a model")
        ->option_text("MIB")
        ->check(CLI::Range(1, 1 << 24));
    command->add_option("--max-pixels", options->most_pixels, "Refuse larger pictures (134217728)")
        ->option_text("COUNT")
        ->check(CLI::Range(std::int64_t{1}, std::numeric_limits<std::int64_t>::max()));
    command->callback([options, &action] { action = [options] { inpaint(*options); }; });
}

}  // namespace pconv::app
