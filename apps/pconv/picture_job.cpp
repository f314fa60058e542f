#include "picture_job.h"

#include <algorithm>
#include <filesystem>
#include <memory>

#include "argument_file.h"
#include "command.h"
#include "fill.h"
#include "image/opacity.h"

namespace pconv::app {
namespace {

using Note = std::function<void(const std::string&)>;

Bytes findHole(const PictureJob& job, const FillSettings& settings, const Image* shared, const Image& image,
               const Note& note) {
    if (job.mask.empty()) {
        if (canBeTransparent(image)) return softHole(image);
        throw CommandError(
            kExitBadInput,
            nameOfInput(job.image) + " has no transparent pixels to fill; expected those, or --mask");
    }
    std::optional<Image> own;
    if (shared == nullptr) own = readPicture(job.mask, settings.most_pixels);
    const Image& mask = shared != nullptr ? *shared : *own;
    const std::string name = "the mask " + nameOfInput(job.mask);
    if (settings.hole == HoleMark::transparent && !canBeTransparent(mask))
        throw FileError(name + " has no transparent pixels; expected those, or --hole white or black");
    try {
        Notes notes;
        Bytes hole = holeOfMask(mask, image, settings.hole, notes);
        const std::string before = name + ": ";
        for (const std::string& text : notes) note(before + text);
        return hole;
    } catch (const FileError& error) {
        throw FileError(name + ": " + error.what());
    }
}

int forward(void* user, double done) {
    (*static_cast<const std::function<void(double)>*>(user))(done);
    return 0;
}

/// No ending at all, as /dev/stdout and many a pipe have none.
bool hasNoEnding(const std::string& output) {
    return isDash(output) || std::filesystem::path(output).extension().empty();
}

}  // namespace

Image readPicture(const std::string& argument, std::uint64_t most_pixels) {
    constexpr std::size_t kMostBytes = std::size_t{2} << 30;
    constexpr std::size_t kEnoughToTell = 32;
    InputFile file = openInput(argument);
    Bytes bytes;
    file.append(bytes, kEnoughToTell);
    if (formatOfContent(bytes)) file.appendRest(bytes, kMostBytes);
    try {
        return decodeImage(bytes, most_pixels);
    } catch (const FileError& error) {
        throw FileError("cannot read " + file.name() + ": " + error.what());
    }
}

std::optional<ImageFormat> formatOfOutput(const std::string& output, const FillSettings& settings) {
    if (hasNoEnding(output)) return settings.format;
    if (!settings.format) return formatOfName(output);
    std::optional<ImageFormat> named;
    try {
        named = formatOfName(output);
    } catch (const FileError&) {
        return settings.format;
    }
    if (named != settings.format)
        throw CommandError(kExitBadInput, "the name " + inQuotes(output) +
                                              " asks for another format than --format; expected one of them");
    return named;
}

void fillPicture(const PictureJob& job, const FillSettings& settings, const Image* shared_mask,
                 const Device& device, const std::function<void(double)>& progress, const Note& note) {
    const std::optional<ImageFormat> format = formatOfOutput(job.output, settings);
    const std::unique_ptr<AtomicFile> output = openOutput(job.output);
    refuseTerminal(*output, "a picture");
    Image image = readPicture(job.image, settings.most_pixels);
    for (const std::string& text : image.notes) note(nameOfInput(job.image) + ": " + text);
    const ImageFormat written = format.value_or(image.format);
    checkCanHold(image, written);
    if (settings.network.network != nullptr && image.cmyk)
        throw FileError(nameOfInput(job.image) + " is CMYK; expected gray or RGB colours for a network");
    const Bytes hole = findHole(job, settings, shared_mask, image, note);
    const auto is_hole = [](std::uint8_t value) { return value != 0; };
    if (std::none_of(hole.begin(), hole.end(), is_hole))
        note(nameOfInput(job.image) + ": there is no hole to fill; the picture is kept as it is");
    if (std::all_of(hole.begin(), hole.end(), [](std::uint8_t value) { return value == 255; }))
        note(nameOfInput(job.image) + ": all of the picture is hole; it becomes gray");
    fillHole(image, hole, job.mask.empty(), device, forward,
             const_cast<std::function<void(double)>*>(&progress), settings.network);
    // All that had the transparent colour is filled: nothing is transparent any more.
    if (job.mask.empty()) image.has_transparent_colour = false;
    try {
        Notes notes;
        const Bytes bytes = encodeImage(image, hole, written, notes);
        for (const std::string& text : notes) note(nameOfOutput(job.output) + ": " + text);
        output->write(bytes.data(), bytes.size());
        output->commit();
    } catch (const WriteError&) {
        throw;
    } catch (const FileError& error) {
        throw WriteError("cannot write " + nameOfOutput(job.output) + ": " + error.what());
    }
}

}  // namespace pconv::app
