#include "files/atomic_file.h"

#include <cerrno>
#include <fstream>
#include <iterator>
#include <random>
#include <system_error>

#include "files/file_error.h"
#include "platform/existing_file.h"
#include "platform/new_file.h"

namespace pconv {
namespace {

namespace fs = std::filesystem;

std::string reason(int error) {
    return std::generic_category().message(error);
}

/// Where a chain of symbolic links ends, whether or not something is there.
fs::path followLinks(fs::path path, std::error_code& error) {
    constexpr int kMostLinks = 40;
    for (int i = 0; i < kMostLinks; ++i) {
        if (!fs::is_symlink(fs::symlink_status(path, error))) {
            error.clear();
            return path;
        }
        const fs::path next = fs::read_symlink(path, error);
        if (error) return path;
        path = next.is_absolute() ? next : path.parent_path() / next;
    }
    error = std::make_error_code(std::errc::too_many_symbolic_link_levels);
    return path;
}

std::string randomName() {
    constexpr char kDigits[] = "0123456789abcdefghijklmnopqrstuv";
    std::random_device random;
    std::string name = ".pconv-";
    for (int i = 0; i < 12; ++i) name += kDigits[random() % 32];
    return name + ".tmp";
}

bool mayNot(const std::error_code& error) {
    return error == std::errc::permission_denied || error == std::errc::operation_not_permitted ||
           error == std::errc::read_only_file_system;
}

std::vector<unsigned char> contentOf(const fs::path& path) {
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

constexpr int kStandardOutput = 1;

}  // namespace

AtomicFile::AtomicFile(const fs::path& path, TemporaryHook hook)
    : name_(" " + inQuotes(path.string())), hook_(hook) {
    const int descriptor = platform::descriptorOf(path);
    if (descriptor >= 0) {
        openDescriptor(descriptor);
        return;
    }
    std::error_code error;
    target_ = followLinks(path, error);
    if (error) fail(error.message());
    if (!target_.has_filename()) fail("it names a folder");
    const fs::file_status status = fs::status(path, error);
    if (fs::is_directory(status)) fail("it is a folder");
    if (!fs::exists(status)) {
        if (!openTemporary(error)) fail(error.message());
        return;
    }
    // A link may lead elsewhere than it says: those of /proc to what is open, whatever became of its name.
    const bool is_named = platform::isSameFile(path, target_);
    if (!is_named) target_ = path;
    // Opened first: a file that its owner made read-only is not replaced behind their back.
    file_ = platform::openForUpdate(target_, error);
    if (file_ == nullptr) fail(error.message());
    if (!fs::is_regular_file(status)) return;
    std::FILE* old = file_;
    file_ = nullptr;
    in_place_ = !is_named || platform::linkCount(target_) > 1;
    if (!in_place_ && !openTemporary(error)) {
        in_place_ = mayNot(error);
        if (!in_place_) {
            std::fclose(old);
            fail(error.message());
        }
    }
    if (!in_place_ && !platform::takeAfter(file_, target_)) {
        std::fclose(file_);
        removeTemporary();
        in_place_ = true;
    }
    if (in_place_) {
        file_ = old;
    } else {
        std::fclose(old);
    }
}

AtomicFile::AtomicFile(StandardOutput /*which*/) : name_(" to the standard output") {
    openDescriptor(kStandardOutput);
}

AtomicFile AtomicFile::onStandardOutput() {
    return AtomicFile(StandardOutput{});
}

AtomicFile::~AtomicFile() {
    discard();
}

void AtomicFile::openDescriptor(int descriptor) {
    std::error_code error;
    file_ = platform::openDescriptor(descriptor, true, error);
    if (file_ == nullptr) fail(error.message());
}

bool AtomicFile::openTemporary(std::error_code& error) {
    constexpr int kTries = 8;
    for (int i = 0; i < kTries && file_ == nullptr; ++i) {
        temporary_ = target_.parent_path() / randomName();
        temporary_name_ = temporary_.string();
        if (hook_ != nullptr) hook_(temporary_name_.c_str());
        file_ = platform::createFile(temporary_, error);
        if (file_ == nullptr && error != std::errc::file_exists) break;
    }
    if (file_ != nullptr) return true;
    temporary_.clear();
    if (hook_ != nullptr) hook_(nullptr);
    return false;
}

void AtomicFile::write(const void* data, std::size_t size) {
    if (in_place_) {
        const auto* bytes = static_cast<const unsigned char*>(data);
        held_.insert(held_.end(), bytes, bytes + size);
    } else if (size != 0 && std::fwrite(data, 1, size, file_) != size) {
        fail(reason(errno));
    }
}

void AtomicFile::commit() {
    if (in_place_) return writeInPlace();
    closeFile();
    if (temporary_.empty()) return;
    std::error_code error;
    fs::rename(temporary_, target_, error);
    if (error) {
        // A folder where only the owner may rename, or a file that is mounted there by itself.
        if (!mayNot(error) && error != std::errc::device_or_resource_busy) fail(error.message());
        const std::string why = error.message();
        held_ = contentOf(temporary_);
        file_ = platform::openForUpdate(target_, error);
        if (file_ == nullptr) fail(why);
        writeInPlace();
    } else {
        temporary_.clear();
    }
    discard();
}

void AtomicFile::closeFile() {
    std::FILE* file = file_;
    file_ = nullptr;
    const bool flushed = std::fflush(file) == 0;
    const int flush_error = errno;
    if (std::fclose(file) != 0 || !flushed) fail(reason(flushed ? errno : flush_error));
}

void AtomicFile::writeInPlace() {
    std::error_code error;
    // Room first: a full disk must not cost what is there.
    if (!platform::reserve(file_, held_.size(), error)) fail(error.message());
    platform::dropSetId(file_);
    if (!held_.empty() && std::fwrite(held_.data(), 1, held_.size(), file_) != held_.size())
        fail(reason(errno));
    if (std::fflush(file_) != 0) fail(reason(errno));
    if (!platform::cutOff(file_, held_.size(), error)) fail(error.message());
    closeFile();
}

bool AtomicFile::isTerminal() const {
    return platform::isTerminal(file_);
}

void AtomicFile::removeTemporary() noexcept {
    std::error_code ignored;
    if (!temporary_.empty()) fs::remove(temporary_, ignored);
    temporary_.clear();
    if (hook_ != nullptr) hook_(nullptr);
}

void AtomicFile::discard() noexcept {
    if (file_ != nullptr) std::fclose(file_);
    file_ = nullptr;
    removeTemporary();
}

void AtomicFile::fail(const std::string& why) const {
    throw WriteError("cannot write" + name_ + ": " + why);
}

}  // namespace pconv
