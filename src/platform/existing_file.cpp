#include "platform/existing_file.h"

#if defined(_WIN32)
#include <fcntl.h>
#include <io.h>

#include <cerrno>
#else
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <string>
#include <string_view>
#include <vector>
#endif
#if defined(__linux__)
#include <sys/xattr.h>
#endif

namespace pconv::platform {

namespace fs = std::filesystem;

#if defined(_WIN32)

int descriptorOf(const fs::path& /*path*/) {
    return -1;
}

std::FILE* openDescriptor(int descriptor, bool for_writing, std::error_code& error) {
    const int copy = _dup(descriptor);
    std::FILE* file = copy >= 0 ? _fdopen(copy, for_writing ? "wb" : "rb") : nullptr;
    if (file == nullptr) error.assign(errno, std::generic_category());
    if (file != nullptr) _setmode(copy, _O_BINARY);
    if (file == nullptr && copy >= 0) _close(copy);
    return file;
}

std::FILE* openForReading(const fs::path& path, std::error_code& error) {
    std::FILE* file = _wfopen(path.c_str(), L"rb");
    if (file == nullptr) error.assign(errno, std::generic_category());
    return file;
}

std::FILE* openForUpdate(const fs::path& path, std::error_code& error) {
    std::FILE* file = _wfopen(path.c_str(), L"r+b");
    if (file == nullptr) error.assign(errno, std::generic_category());
    return file;
}

std::uint64_t linkCount(const fs::path& path) {
    std::error_code error;
    const std::uintmax_t count = fs::hard_link_count(path, error);
    return error ? 1 : count;
}

bool isSameFile(const fs::path& a, const fs::path& b) {
    std::error_code error;
    return fs::equivalent(a, b, error) && !error;
}

bool takeAfter(std::FILE* /*file*/, const fs::path& /*old*/) {
    return true;  // a new file takes its access control list from its folder
}

void dropSetId(std::FILE* /*file*/) {}

bool reserve(std::FILE* /*file*/, std::uint64_t /*size*/, std::error_code& /*error*/) {
    return true;
}

bool cutOff(std::FILE* file, std::uint64_t size, std::error_code& error) {
    const int fault = _chsize_s(_fileno(file), static_cast<long long>(size));
    if (fault != 0) error.assign(fault, std::generic_category());
    return fault == 0;
}

bool isTerminal(std::FILE* file) {
    return _isatty(_fileno(file)) != 0;
}

#else

namespace {

void setError(std::error_code& error) {
    error.assign(errno, std::generic_category());
}

#if defined(__linux__)

/// Gives a new file the attributes of an old one; false where one of them cannot be given.
bool copyAttributes(int file, const char* old) {
    const auto list = [&](auto ask) {
        std::string names(static_cast<std::size_t>(std::max<ssize_t>(ask(nullptr, 0), 0)), '\0');
        names.resize(static_cast<std::size_t>(std::max<ssize_t>(ask(names.data(), names.size()), 0)));
        return names;
    };
    constexpr char kAcl[] = "system.posix_acl_access";
    // What a folder's default list gave the new file, the old one need not have.
    if (getxattr(old, kAcl, nullptr, 0) < 0 && errno == ENODATA) fremovexattr(file, kAcl);
    const std::string names = list([&](char* to, std::size_t size) { return listxattr(old, to, size); });
    for (std::size_t at = 0; at < names.size(); at += std::char_traits<char>::length(&names[at]) + 1) {
        const char* name = &names[at];
        const std::string_view text(name);
        // Labels and capabilities are the system's to give, and a capability is as a set-user-ID is.
        if (text.rfind("security.", 0) == 0 || text.rfind("trusted.", 0) == 0) continue;
        const ssize_t size = getxattr(old, name, nullptr, 0);
        if (size < 0) return false;
        std::vector<char> value(static_cast<std::size_t>(size));
        if (getxattr(old, name, value.data(), value.size()) != size) return false;
        if (fsetxattr(file, name, value.data(), value.size(), 0) != 0) return false;
    }
    return true;
}

#else

bool copyAttributes(int /*file*/, const char* /*old*/) {
    return true;
}

#endif

}  // namespace

int descriptorOf(const fs::path& path) {
    std::error_code error;
    fs::path link = path;
    // /dev/stdout is a link to /proc/self/fd/1, and that one to what is open: only its name says that it is.
    constexpr int kMostLinks = 40;
    for (int i = 0; i < kMostLinks; ++i) {
        const std::string name = link.filename().string();
        int number = -1;
        const auto parsed = std::from_chars(name.data(), name.data() + name.size(), number);
        if (parsed.ec == std::errc() && parsed.ptr == name.data() + name.size() && number >= 0) {
            const std::string folder = fs::canonical(link.parent_path(), error).string();
            const std::string own = "/proc/" + std::to_string(getpid()) + "/";
            const bool is_own = folder.rfind(own, 0) == 0 && fs::path(folder).filename() == "fd";
            if (!error && (is_own || folder == "/dev/fd")) return number;
        }
        if (!fs::is_symlink(fs::symlink_status(link, error))) return -1;
        const fs::path next = fs::read_symlink(link, error);
        if (error) return -1;
        link = next.is_absolute() ? next : link.parent_path() / next;
    }
    return -1;
}

std::FILE* openDescriptor(int descriptor, bool for_writing, std::error_code& error) {
    const int flags = fcntl(descriptor, F_GETFL);
    const int way = flags & O_ACCMODE;
    if (flags >= 0 && way != O_RDWR && way != (for_writing ? O_WRONLY : O_RDONLY)) errno = EBADF;
    const bool fits = flags >= 0 && (way == O_RDWR || way == (for_writing ? O_WRONLY : O_RDONLY));
    const int copy = fits ? fcntl(descriptor, F_DUPFD_CLOEXEC, 0) : -1;
    std::FILE* file = copy >= 0 ? fdopen(copy, for_writing ? "wb" : "rb") : nullptr;
    if (file == nullptr) setError(error);
    if (file == nullptr && copy >= 0) close(copy);
    return file;
}

std::FILE* openForReading(const fs::path& path, std::error_code& error) {
    std::FILE* file = std::fopen(path.c_str(), "rb");
    if (file == nullptr) setError(error);
    return file;
}

std::FILE* openForUpdate(const fs::path& path, std::error_code& error) {
    // For writing alone: a file may be writable and not readable. What is no regular file has nothing to
    // keep.
    const int descriptor = open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY);
    std::FILE* file = descriptor >= 0 ? fdopen(descriptor, "wb") : nullptr;
    if (file == nullptr) setError(error);
    if (file == nullptr && descriptor >= 0) close(descriptor);
    return file;
}

std::uint64_t linkCount(const fs::path& path) {
    struct stat status {};
    return stat(path.c_str(), &status) == 0 ? static_cast<std::uint64_t>(status.st_nlink) : 1;
}

bool isSameFile(const fs::path& a, const fs::path& b) {
    struct stat one {};
    struct stat other {};
    return stat(a.c_str(), &one) == 0 && stat(b.c_str(), &other) == 0 && one.st_dev == other.st_dev &&
           one.st_ino == other.st_ino;
}

bool takeAfter(std::FILE* file, const fs::path& old) {
    const int descriptor = fileno(file);
    struct stat wanted {};
    struct stat given {};
    if (stat(old.c_str(), &wanted) != 0 || fstat(descriptor, &given) != 0) return false;
    const bool same_owner = wanted.st_uid == given.st_uid && wanted.st_gid == given.st_gid;
    if (!same_owner && fchown(descriptor, wanted.st_uid, wanted.st_gid) != 0) return false;
    constexpr mode_t kNotSetId = 01777;
    return fchmod(descriptor, wanted.st_mode & kNotSetId) == 0 && copyAttributes(descriptor, old.c_str());
}

void dropSetId(std::FILE* file) {
    struct stat status {};
    if (fstat(fileno(file), &status) != 0 || !S_ISREG(status.st_mode)) return;
    if ((status.st_mode & (S_ISUID | S_ISGID)) == 0) return;
    // The kernel has done so already where the process is not root.
    if (fchmod(fileno(file), status.st_mode & 01777) != 0) return;
}

bool reserve(std::FILE* file, std::uint64_t size, std::error_code& error) {
#if defined(__linux__)
    struct stat status {};
    if (fstat(fileno(file), &status) != 0 || static_cast<std::uint64_t>(status.st_size) >= size) return true;
    // By the kernel alone: the C library's own way, where a file system has none, writes.
    const auto more = static_cast<off_t>(size) - status.st_size;
    constexpr int kKeepSize = 1;
    if (fallocate(fileno(file), kKeepSize, status.st_size, more) == 0 || errno == EOPNOTSUPP) return true;
    setError(error);
    return false;
#else
    (void)file, (void)size, (void)error;
    return true;
#endif
}

bool cutOff(std::FILE* file, std::uint64_t size, std::error_code& error) {
    if (ftruncate(fileno(file), static_cast<off_t>(size)) == 0) return true;
    setError(error);
    return false;
}

bool isTerminal(std::FILE* file) {
    return isatty(fileno(file)) != 0;
}

#endif

}  // namespace pconv::platform
