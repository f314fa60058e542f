#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "fill.h"
#include "hole.h"
#include "image/io.h"
#include "pconv/pconv.hpp"

namespace pconv::app {

/// What is the same for all pictures of a call.
struct FillSettings {
    HoleMark hole = HoleMark::white;
    std::uint64_t most_pixels = std::uint64_t{1} << 27;
    std::optional<ImageFormat> format;  ///< of the outputs; where not set, their names say it
    FillNetwork network;                ///< where it is none, the method without weights
};

/// A picture to fill; arguments of the command line, each a path or "-".
struct PictureJob {
    std::string image;
    std::string mask;  ///< empty: what is transparent in the picture is the hole
    std::string output;
};

/// The picture in a file or on the standard input. Throws FileError, whose line names it.
Image readPicture(const std::string& argument, std::uint64_t most_pixels);

/// The format to write in, where name and settings say it. Throws where they disagree, and where the name has
/// an ending that no format has.
std::optional<ImageFormat> formatOfOutput(const std::string& output, const FillSettings& settings);

/// Reads, fills and writes one picture; `mask` is what is in job.mask, where it has been read already.
/// Whatever is wrong is thrown, and nothing is written then. `note` gets what the user should know.
void fillPicture(const PictureJob& job, const FillSettings& settings, const Image* mask, const Device& device,
                 const std::function<void(double)>& progress,
                 const std::function<void(const std::string&)>& note);

}  // namespace pconv::app
