#pragma once

#include <string>
#include <vector>

#include "picture_job.h"

namespace pconv::app {

/// Where the pictures of a call are, as its arguments say it; what is not given is empty.
struct PicturePlaces {
    std::vector<std::string> images;  ///< files, or folders of them
    std::string mask;
    std::string mask_folder;
    std::string output;
    std::string output_folder;
};

/// A picture, or why there is none to fill.
struct PlannedPicture {
    PictureJob job;
    std::string fault;  ///< empty where nothing is wrong so far
};

/// Whether the call is for one picture with a name of its own for the output.
bool isForOne(const PicturePlaces& places);

/// All pictures of a call with their masks and outputs, in the order of the arguments and of names. Makes the
/// output folder where it is not there and the folder that it is to lie in is. Throws CommandError or
/// FileError where the arguments themselves are at fault.
std::vector<PlannedPicture> planPictures(const PicturePlaces& places, const FillSettings& settings);

}  // namespace pconv::app
