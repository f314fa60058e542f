#include "picture_list.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "argument_file.h"
#include "command.h"
#include "platform.h"
#include "platform/existing_file.h"

namespace pconv::app {
namespace {

namespace fs = std::filesystem;

bool isPictureName(const fs::path& path) {
    if (path.filename().string().front() == '.') return false;
    try {
        formatOfName(path);
        return true;
    } catch (const FileError&) {
        return false;
    }
}

[[noreturn]] void refuse(const std::string& line) {
    throw CommandError(kExitBadInput, line);
}

std::vector<fs::path> picturesIn(const fs::path& folder) {
    std::error_code error;
    std::vector<fs::path> found;
    for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
        std::error_code ignored;
        if (isPictureName(at->path()) && !at->is_directory(ignored)) found.push_back(at->path());
    }
    if (error)
        throw FileError("cannot read the folder " + inQuotes(folder.string()) + ": " + error.message());
    std::sort(found.begin(), found.end());
    return found;
}

/// Masks of a folder, by what their names are without the ending.
class MaskFolder {
  public:
    explicit MaskFolder(const fs::path& folder) : folder_(folder) {
        std::error_code ignored;
        if (!fs::is_directory(folder, ignored))
            refuse("--mask-dir is " + inQuotes(folder.string()) + "; expected a folder");
        for (const fs::path& path : picturesIn(folder)) masks_[path.stem().string()].push_back(path);
    }

    void find(PlannedPicture& picture) const {
        const fs::path image = picture.job.image;
        std::vector<fs::path> fitting;
        if (const auto found = masks_.find(image.stem().string()); found != masks_.end())
            fitting = found->second;
        // A folder may hold pictures and masks.
        const auto is_itself = [&](const fs::path& path) { return platform::isSameFile(path, image); };
        fitting.erase(std::remove_if(fitting.begin(), fitting.end(), is_itself), fitting.end());
        const auto same_name = std::find_if(fitting.begin(), fitting.end(), [&](const fs::path& path) {
            return path.filename() == image.filename();
        });
        const std::string name = inQuotes(picture.job.image);
        if (same_name != fitting.end())
            picture.job.mask = same_name->string();
        else if (fitting.size() == 1)
            picture.job.mask = fitting.front().string();
        else if (fitting.empty())
            picture.fault = "there is no mask for " + name + " in " + inQuotes(folder_.string()) +
                            "; expected a picture called " + inQuotes(image.stem().string()) + " there";
        else
            picture.fault = "there are " + std::to_string(fitting.size()) + " masks for " + name + " in " +
                            inQuotes(folder_.string()) + "; expected one, or one called as the picture";
    }

  private:
    fs::path folder_;
    std::map<std::string, std::vector<fs::path>> masks_;
};

std::vector<std::string> expandFolders(const std::vector<std::string>& arguments, const std::string& mask) {
    std::vector<std::string> images;
    for (const std::string& argument : arguments) {
        std::error_code ignored;
        if (isDash(argument) || !fs::is_directory(argument, ignored)) {
            images.push_back(argument);
            continue;
        }
        std::vector<fs::path> found = picturesIn(argument);
        // The one mask of all is no picture to fill.
        const auto is_mask = [&](const fs::path& path) {
            return !mask.empty() && platform::isSameFile(path, mask);
        };
        found.erase(std::remove_if(found.begin(), found.end(), is_mask), found.end());
        if (found.empty()) refuse("there is no picture in the folder " + inQuotes(argument));
        for (const fs::path& path : found) images.push_back(path.string());
    }
    return images;
}

/// Where a picture goes in the output folder: its name, with the ending of the format asked for.
fs::path outputOf(const PicturePlaces& places, const std::string& image, const FillSettings& settings) {
    fs::path name = fs::path(image).filename();
    if (settings.format && (!isPictureName(name) || formatOfName(name) != *settings.format))
        name.replace_extension(endingOf(*settings.format));
    return fs::path(places.output_folder) / name;
}

void makeFolder(const fs::path& folder) {
    std::error_code error;
    if (fs::is_directory(folder, error)) return;
    if (fs::exists(folder, error))
        refuse("--output-dir is " + inQuotes(folder.string()) + "; expected a folder");
    fs::create_directory(folder, error);
    if (error)
        throw WriteError("cannot make the folder " + inQuotes(folder.string()) + ": " + error.message());
}

void checkOutputs(const std::vector<PlannedPicture>& pictures) {
    std::map<fs::path, std::string> inputs;  // to what the command line calls them
    std::error_code ignored;
    for (const PlannedPicture& picture : pictures)
        for (const std::string& input : {picture.job.image, picture.job.mask})
            if (!input.empty()) inputs.emplace(fs::weakly_canonical(input, ignored), input);
    std::set<fs::path> outputs;
    for (const PlannedPicture& picture : pictures) {
        const fs::path output = fs::weakly_canonical(picture.job.output, ignored);
        if (!outputs.insert(output).second)
            refuse("two pictures would be written to " + inQuotes(picture.job.output) +
                   "; expected names that differ, or a call for each folder");
        if (const auto input = inputs.find(output); input != inputs.end())
            refuse(inQuotes(input->second) + " would be written over; expected another --output-dir");
    }
}

/// A folder that is not to be written to is told before the first picture is read.
void tryFolder(const std::vector<PlannedPicture>& pictures) {
    std::error_code ignored;
    for (const PlannedPicture& picture : pictures) {
        if (fs::exists(picture.job.output, ignored)) continue;
        const AtomicFile trial(picture.job.output, watchTemporary);
        return;
    }
}

}  // namespace

bool isForOne(const PicturePlaces& places) {
    return places.output_folder.empty();
}

std::vector<PlannedPicture> planPictures(const PicturePlaces& places, const FillSettings& settings) {
    if (places.output.empty() && places.output_folder.empty())
        refuse("--output is required, or --output-dir for several pictures");
    if (!places.output.empty() && !places.output_folder.empty())
        refuse("--output and --output-dir are both given; expected one of them");
    if (std::count_if(places.images.begin(), places.images.end(), isStandardInput) +
            (isStandardInput(places.mask) ? 1 : 0) >
        1)
        refuse("more than one input is the standard input; expected a file for the others");
    if (!places.mask.empty() && !places.mask_folder.empty())
        refuse("--mask and --mask-dir are both given; expected one of them");
    std::vector<PlannedPicture> pictures;
    if (isForOne(places)) {
        if (places.images.size() > 1)
            refuse(inQuotes(places.images[1]) +
                   " is a second picture for one --output; expected --output-dir");
        pictures.push_back({{places.images.front(), places.mask, places.output}, ""});
    } else {
        if (std::any_of(places.images.begin(), places.images.end(), isDash))
            refuse("the standard input has no name for --output-dir; expected --output");
        for (const std::string& image : expandFolders(places.images, places.mask))
            pictures.push_back({{image, places.mask, outputOf(places, image, settings).string()}, ""});
    }
    if (!places.mask_folder.empty()) {
        const MaskFolder masks(places.mask_folder);
        for (PlannedPicture& picture : pictures) masks.find(picture);
    }
    if (!isForOne(places)) {
        checkOutputs(pictures);
        makeFolder(places.output_folder);
        tryFolder(pictures);
    }
    return pictures;
}

}  // namespace pconv::app
