#include "files/atomic_file.h"

#include <array>
#include <cerrno>
#include <random>
#include <system_error>

#include "files/file_error.h"
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

}  // namespace

AtomicFile::AtomicFile(const fs::path& path, TemporaryHook hook) : path_(path), hook_(hook) {
    std::error_code error;
    target_ = followLinks(path, error);
    if (error) fail(error.message());
    if (!target_.has_filename()) fail("it names a folder");
    const fs::file_status status = fs::status(target_, error);
    if (fs::is_directory(status)) fail("it is a folder");
    if (fs::exists(status)) {
        // Opened for update first: a file that its owner made read-only is not replaced behind their back.
        file_ = std::fopen(target_.string().c_str(), fs::is_regular_file(status) ? "r+b" : "wb");
        if (file_ == nullptr) fail(reason(errno));
        if (!fs::is_regular_file(status)) return;
        std::fclose(file_);
        file_ = nullptr;
    }
    openTemporary();
    if (fs::is_regular_file(status)) fs::permissions(temporary_, status.permissions(), error);
}

AtomicFile::~AtomicFile() {
    discard();
}

void AtomicFile::openTemporary() {
    constexpr int kTries = 8;
    std::error_code error;
    for (int i = 0; i < kTries && file_ == nullptr; ++i) {
        temporary_ = target_.parent_path() / randomName();
        temporary_name_ = temporary_.string();
        if (hook_ != nullptr) hook_(temporary_name_.c_str());
        file_ = platform::createFile(temporary_, error);
        if (file_ == nullptr && error != std::errc::file_exists) break;
    }
    if (file_ == nullptr) {
        temporary_.clear();
        discard();
        fail(error.message());
    }
}

void AtomicFile::write(const void* data, std::size_t size) {
    if (size != 0 && std::fwrite(data, 1, size, file_) != size) fail(reason(errno));
}

void AtomicFile::commit() {
    std::FILE* file = file_;
    file_ = nullptr;
    const bool flushed = std::fflush(file) == 0;
    const int flush_error = errno;
    if (std::fclose(file) != 0 || !flushed) fail(reason(flushed ? errno : flush_error));
    if (temporary_.empty()) return;
    std::error_code error;
    fs::rename(temporary_, target_, error);
    if (error) fail(error.message());
    temporary_.clear();
    discard();
}

void AtomicFile::discard() noexcept {
    if (file_ != nullptr) std::fclose(file_);
    file_ = nullptr;
    if (!temporary_.empty()) {
        std::error_code ignored;
        fs::remove(temporary_, ignored);
    }
    if (hook_ != nullptr) hook_(nullptr);
}

void AtomicFile::fail(const std::string& why) const {
    throw WriteError("cannot write " + inQuotes(path_.string()) + ": " + why);
}

}  // namespace pconv
