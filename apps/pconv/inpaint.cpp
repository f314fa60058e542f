#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "argument_file.h"
#include "command.h"
#include "fill.h"
#include "hole.h"
#include "image/io.h"
#include "image/opacity.h"
#include "progress_bar.h"

namespace pconv::app {
namespace {

constexpr const char* kAbout = "Fill the holes of a picture from what is around them.";

constexpr const char* kMore = R"(
The fill is smooth: right for scratches, dust, wires, dates stamped into a corner and previews; it continues
edges and gradients, but does not invent texture.

The hole is what MASK shows in white (half gray and up), or in black with --hole black; what is transparent in
MASK is no hole. MASK is a PNG or JPEG picture of the same size as IMAGE; a PNG is better, since JPEG blurs
edges. Without a mask the fully transparent pixels of IMAGE are the hole, and become opaque.

PNG: gray or RGB, with or without alpha, up to 16 bits a sample. Pixels outside the hole come back bit for bit,
with bit depth, colour type, ICC profile, resolution, gamma, Exif and text. A palette is written as the RGB or
RGBA colours it stands for, since a fill needs colours that it lacks; an interlaced picture is written plain.
JPEG: gray or RGB. From JPEG to JPEG the 8x8 or 16x16 blocks that do not touch the hole are copied without loss,
with profile, resolution, Exif and comments; the others are compressed anew as the file was. Any other picture is
written to JPEG at quality 95, without alpha: bit for bit needs PNG.

OUT appears only when it is whole; Ctrl-C leaves nothing behind.

Examples:
  pconv inpaint scan.png --mask scratches.png -o clean.png
  pconv inpaint photo.jpg --mask wires.png -o photo_clean.jpg
  pconv inpaint drawing.png --mask keep.png --hole black -o filled.png
  pconv inpaint cutout.png -o whole.png
  PCONV_DEVICE=vulkan pconv inpaint cutout.png -o whole.png)";

struct Options {
    std::string image;
    std::string mask;
    std::string output;
    std::string hole = "white";
    std::string device;
    std::int64_t most_pixels = std::int64_t{1} << 27;
};

/// The CPU unless told otherwise: it needs no start-up, and a picture is a small job.
std::string deviceOf(const Options& options) {
    if (!options.device.empty()) return options.device;
    const char* wanted = std::getenv("PCONV_DEVICE");
    return wanted != nullptr && *wanted != '\0' ? wanted : "cpu";
}

void note(const std::string& text) {
    std::fprintf(stderr, "pconv: note: %s\n", text.c_str());
}

Bytes findHole(const Options& options, const Image& image) {
    if (options.mask.empty()) {
        if (canBeTransparent(image)) return softHole(image);
        throw CommandError(
            kExitBadInput,
            inQuotes(options.image) + " has no transparent pixels to fill; expected those, or --mask");
    }
    const Image mask = readImage(options.mask, static_cast<std::uint64_t>(options.most_pixels));
    try {
        Notes notes;
        Bytes hole =
            holeOfMask(mask, image, options.hole == "white" ? HoleMark::white : HoleMark::black, notes);
        for (const std::string& text : notes) note("the mask " + inQuotes(options.mask) + ": " + text);
        return hole;
    } catch (const FileError& error) {
        throw FileError("the mask " + inQuotes(options.mask) + ": " + error.what());
    }
}

int onProgress(void* user, double done) {
    static_cast<ProgressBar*>(user)->update(done);
    return 0;
}

void inpaint(const Options& options) {
    const ImageFormat format = formatOfName(options.output);
    const std::unique_ptr<AtomicFile> output = openOutput(options.output);
    const Device device(deviceOf(options));
    Image image = readImage(options.image, static_cast<std::uint64_t>(options.most_pixels));
    for (const std::string& text : image.notes) note(inQuotes(options.image) + ": " + text);
    checkCanHold(image, format);
    const Bytes hole = findHole(options, image);
    const auto is_hole = [](std::uint8_t value) { return value != 0; };
    if (std::none_of(hole.begin(), hole.end(), is_hole))
        note("there is no hole to fill; the picture is kept as it is");
    if (std::all_of(hole.begin(), hole.end(), [](std::uint8_t value) { return value == 255; }))
        note("all of the picture is hole; it becomes gray");
    {
        ProgressBar bar("filling");
        fillHole(image, hole, options.mask.empty(), device, onProgress, &bar);
    }
    // All that had the transparent colour is filled: nothing is transparent any more.
    if (options.mask.empty()) image.has_transparent_colour = false;
    try {
        Notes notes;
        const Bytes bytes = encodeImage(image, hole, format, notes);
        for (const std::string& text : notes) note(inQuotes(options.output) + ": " + text);
        output->write(bytes.data(), bytes.size());
        output->commit();
    } catch (const WriteError&) {
        throw;
    } catch (const FileError& error) {
        throw WriteError("cannot write " + inQuotes(options.output) + ": " + error.what());
    }
}

}  // namespace

void addInpaintCommand(CLI::App& app, Action& action) {
    CLI::App* command = app.add_subcommand("inpaint", kAbout);
    command->footer(kMore);
    auto options = std::make_shared<Options>();
    command->add_option("IMAGE", options->image, "The picture, PNG or JPEG")->required()->option_text("");
    command->add_option("-o,--output", options->output, "The picture to write: .png, .jpg or .jpeg")
        ->required()
        ->option_text("OUT");
    command->add_option("-m,--mask", options->mask, "A picture of the hole")->option_text("MASK");
    command->add_option("--hole", options->hole, "What is hole in MASK: white (the default) or black")
        ->option_text("COLOUR")
        ->check(CLI::IsMember({"white", "black"}));
    command->add_option("-d,--device", options->device, kDeviceHelp)->option_text("DEVICE");
    command->add_option("--max-pixels", options->most_pixels, "Refuse larger pictures (134217728)")
        ->option_text("COUNT")
        ->check(CLI::Range(std::int64_t{1}, std::numeric_limits<std::int64_t>::max()));
    command->callback([options, &action] { action = [options] { inpaint(*options); }; });
}

}  // namespace pconv::app
