#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>

#include "argument_file.h"
#include "files/safetensors.h"
#include "model/options.h"
#include "model/run_program.h"
#include "pconv/pconv.hpp"
#include "platform.h"
#include "read_checkpoint.h"

namespace pconv::app {
namespace {

namespace fs = std::filesystem;

constexpr const char* kMetadataKey = "pconv.network";

constexpr const char* kScript = "read_checkpoint.py";
constexpr const char* kTensors = "tensors.safetensors";

/// Removed with all in it at the end, or on a signal.
class PrivateFolder {
  public:
    PrivateFolder() : path_(makePrivateFolder()) {
        watchPrivate({(*this / kScript).string(), (*this / kTensors).string(), path_});
    }
    PrivateFolder(const PrivateFolder&) = delete;
    PrivateFolder& operator=(const PrivateFolder&) = delete;
    ~PrivateFolder() {
        std::error_code ignored;
        fs::remove_all(path_, ignored);
        watchPrivate({});
    }
    fs::path operator/(const char* name) const { return fs::path(path_) / name; }

  private:
    std::string path_;
};

bool looksLikeSafetensors(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::array<char, 9> head{};
    if (!file.read(head.data(), head.size())) return false;
    return head[8] == '{' && head[5] == 0 && head[6] == 0 && head[7] == 0;
}

/// The checkpoint's tensors as a safetensors file: the file itself, or what the script makes of it.
fs::path readable(const std::string& path, const PrivateFolder& folder) {
    const InputFile opened{fs::path(path)};  // its fault, if it cannot be read
    if (looksLikeSafetensors(path)) return path;
    const fs::path script = folder / kScript;
    fs::path tensors = folder / kTensors;
    std::ofstream(script, std::ios::binary)
        .write(reinterpret_cast<const char*>(kReadCheckpoint), sizeof kReadCheckpoint);
    for (const char* python : {"python3", "python"}) {
        const int code = runProgram({python, "-I", script.string(), path, tensors.string()});
        if (code == -1 || code == 127) continue;
        if (code == 0) return tensors;
        std::ifstream file(tensors);
        std::string line;
        if (code != 2 || !std::getline(file, line))
            throw CommandError(kExitFailure,
                               "python3 could not read the checkpoint; its own message stands above");
        throw FileError(line);
    }
    throw CommandError(kExitFailure,
                       "python3 is needed to read " + inQuotes(fs::path(path).filename().string()));
}

bool endsWith(const std::string& text, const std::string& end) {
    return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

/// A tensor's name without what repositories wrap their networks in.
std::string unwrapped(std::string name) {
    for (bool again = true; again;) {
        again = false;
        for (const char* wrapper :
             {"module.", "generator.", "model.", "netG.", "net.", "_orig_mod.", "state_dict."})
            if (name.rfind(wrapper, 0) == 0) {
                name.erase(0, std::strlen(wrapper));
                again = true;
            }
    }
    // An older version of naoto0804's.
    const std::string old = ".conv.conv2d.";
    if (const auto at = name.find(old); at != std::string::npos)
        name.replace(at, old.size(), ".conv.input_conv.");
    return name;
}

/// What belongs to these networks and is of no use here: counters, masks' weights of one, losses,
/// discriminators.
bool isKnownAndUnused(const std::string& name) {
    for (const char* end : {"num_batches_tracked", "weight_maskUpdater", "weight_mask_updater"})
        if (endsWith(name, end)) return true;
    for (const char* part : {".mask_conv.", ".mask2d."})
        if (name.find(part) != std::string::npos) return true;
    for (const char* begin : {"disc.", "discriminator.", "loss_", "vgg."})
        if (name.rfind(begin, 0) == 0) return true;
    return false;
}

struct Tensors {
    std::map<std::string, std::string> in_file;  // by the name without wrappers
    const SafetensorsReader* file = nullptr;
};

/// How a network's tensors meet the checkpoint's.
struct Match {
    Model model;
    const Tensors* tensors = nullptr;
    std::vector<std::string> used, missing, differing;

    static PconvTensorAnswer ask(void* user, const char* name, int32_t rank, const int64_t* shape,
                                 int32_t optional, float* /*values*/) {
        Match& match = *static_cast<Match*>(user);
        const auto found = match.tensors->in_file.find(name);
        if (found == match.tensors->in_file.end()) {
            if (optional != 0) return PCONV_TENSOR_MISSING;
            match.missing.push_back(name);
            return PCONV_TENSOR_GIVEN;  // to hear of all the others
        }
        const auto& has = match.tensors->file->find(found->second)->shape;
        const bool same = std::equal(has.begin(), has.end(), shape, shape + rank,
                                     [](uint64_t a, int64_t b) { return static_cast<int64_t>(a) == b; });
        auto& list = same ? match.used : match.differing;
        if (std::find(list.begin(), list.end(), name) == list.end()) list.push_back(name);
        return PCONV_TENSOR_GIVEN;
    }
    std::size_t faults() const { return missing.size() + differing.size(); }
};

Match matchOf(const std::string& name, const PconvModelOptions& options, const Tensors& tensors) {
    Match match{Model(name, options), &tensors, {}, {}, {}};
    detail::check(pconvReadModelTensors(match.model.get(), Match::ask, &match));
    return match;
}

/// The network of this name whose open numbers fit best.
Match bestOf(const std::string& name, const Tensors& tensors) {
    std::optional<Match> best;
    const auto consider = [&](const PconvModelOptions& options) {
        Match match = matchOf(name, options, tensors);
        const auto score = [](const Match& m) {
            return static_cast<double>(m.used.size()) - 2 * static_cast<double>(m.faults());
        };
        if (!best || score(match) > score(*best)) best.emplace(std::move(match));
    };
    PconvModelOptions options = pconvDefaultModelOptions();
    if (Model(name).info().classes == 0) {
        for (options.levels = 4; options.levels <= 10; ++options.levels) consider(options);
        return std::move(*best);
    }
    for (const char* last : {"fc.bias", "classifier.6.bias"}) {
        const auto found = tensors.in_file.find(last);
        if (found == tensors.in_file.end()) continue;
        const auto& shape = tensors.file->find(found->second)->shape;
        if (shape.size() == 1 && shape[0] >= 1 && shape[0] <= 1000000)
            options.classes = static_cast<int32_t>(shape[0]);
    }
    consider(options);
    return std::move(*best);
}

std::string listed(const std::vector<std::string>& names) {
    constexpr std::size_t kMost = 8;
    std::string text;
    for (std::size_t i = 0; i < names.size() && i < kMost; ++i)
        text += (i == 0 ? "" : ", ") + inQuotes(names[i]);
    if (names.size() > kMost) text += " and " + std::to_string(names.size() - kMost) + " more";
    return text;
}

std::string knownNames() {
    std::string names;
    for (int32_t i = 0; pconvGetModelName(i) != nullptr; ++i)
        names += (i == 0 ? "" : ", ") + std::string(pconvGetModelName(i));
    return names;
}

/// The network asked for, or the one that fits.
Match choose(const std::string& net, const Tensors& tensors, const std::string& file) {
    std::optional<Match> best;
    for (int32_t i = 0; pconvGetModelName(i) != nullptr; ++i) {
        Match match = bestOf(pconvGetModelName(i), tensors);
        const auto key = [](const Match& m) { return std::make_pair(m.faults() == 0, m.used.size()); };
        if (!best || key(match) > key(*best)) best.emplace(std::move(match));
    }
    const std::string likely = best->model.info().name;
    const bool is_likely = best->faults() == 0;
    if (net.empty()) {
        if (is_likely) return std::move(*best);
        if (best->used.size() < 4)
            throw FileError(
                file + ": its tensors are of no network known here, such as " +
                (tensors.in_file.empty() ? std::string("none") : inQuotes(tensors.in_file.begin()->first)) +
                "; expected one of " + knownNames());
    }
    Match wanted = net.empty() ? std::move(*best) : bestOf(net, tensors);
    if (wanted.faults() == 0) return wanted;
    std::string line = file + " is no " + std::string(wanted.model.info().name) + ": ";
    if (!wanted.missing.empty()) line += "it lacks " + listed(wanted.missing);
    if (!wanted.differing.empty())
        line += (wanted.missing.empty() ? "" : "; ") + std::string("of another shape are ") +
                listed(wanted.differing);
    if (!net.empty() && likely != net && is_likely) line += "; it looks like " + likely;
    throw FileError(line);
}

}  // namespace

void importModel(const ImportOptions& options) {
    const std::unique_ptr<AtomicFile> output = openOutput(options.output);
    refuseTerminal(*output, "a model file");
    const PrivateFolder folder;
    SafetensorsReader file(readable(options.path, folder));
    const std::string name = inQuotes(fs::path(options.path).filename().string());
    Tensors tensors;
    tensors.file = &file;
    for (const auto& [tensor, ignored] : file.tensors()) tensors.in_file.emplace(unwrapped(tensor), tensor);
    const Match match = choose(options.net, tensors, name);

    std::vector<std::vector<unsigned char>> bytes;
    std::vector<SafetensorsOutput> entries;
    bytes.reserve(match.used.size());
    for (const std::string& used : match.used) {
        const std::string& stored = tensors.in_file.at(used);
        const SafetensorsTensor& tensor = *file.find(stored);
        const std::string type = tensor.type_name;
        if (type != "F32" && type != "F16" && type != "BF16")
            throw FileError(name + ": tensor " + inQuotes(stored) + " is " + inQuotes(type) +
                            "; expected F32, F16 or BF16");
        bytes.emplace_back(static_cast<std::size_t>(tensor.byteCount()));
        file.read(stored, bytes.back().data());
        entries.push_back({used, tensor.type->name, tensor.shape, bytes.back().data()});
    }
    writeSafetensors(*output, entries, {{kMetadataKey, match.model.json()}});

    std::vector<std::string> unknown;
    std::size_t unused = 0;
    for (const auto& [tensor, ignored] : tensors.in_file) {
        if (std::find(match.used.begin(), match.used.end(), tensor) != match.used.end()) continue;
        if (isKnownAndUnused(tensor))
            ++unused;
        else
            unknown.push_back(tensor);
    }
    output->commit();
    std::string text = name + " is a " + std::string(match.model.info().name) + ": " +
                       std::to_string(match.used.size()) + " tensors used, none missing, " +
                       std::to_string(unused) + " of no use here\n";
    if (!unknown.empty())
        text += std::to_string(unknown.size()) + " unknown and left out: " + listed(unknown) + "\n";
    if (!sharesStandardOutput(options.output)) print(text);
}

}  // namespace pconv::app
