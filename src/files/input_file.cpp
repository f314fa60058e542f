#include "files/input_file.h"

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "files/file_error.h"
#include "platform/existing_file.h"

namespace pconv {
namespace {

namespace fs = std::filesystem;

constexpr int kStandardInput = 0;

}  // namespace

InputFile::InputFile(const fs::path& path) : name_(inQuotes(path.string())) {
    const int descriptor = platform::descriptorOf(path);
    if (descriptor >= 0) {
        openDescriptor(descriptor);
        return;
    }
    std::error_code error;
    const fs::file_status status = fs::status(path, error);
    if (!fs::exists(status)) fail(error ? error.message() : "no such file");
    if (fs::is_directory(status)) fail("it is a folder");
    file_ = platform::openForReading(path, error);
    if (file_ == nullptr) fail(error.message());
    const std::uintmax_t size = fs::file_size(path, error);
    if (!error && fs::is_regular_file(status)) size_ = size;
}

InputFile::InputFile(StandardInput /*which*/) : name_("the standard input") {
    openDescriptor(kStandardInput);
}

InputFile InputFile::onStandardInput() {
    return InputFile(StandardInput{});
}

InputFile::~InputFile() {
    if (file_ != nullptr) std::fclose(file_);
}

void InputFile::openDescriptor(int descriptor) {
    std::error_code error;
    file_ = platform::openDescriptor(descriptor, false, error);
    if (file_ == nullptr) fail(error.message());
}

void InputFile::append(std::vector<std::uint8_t>& bytes, std::size_t count) {
    const std::size_t start = bytes.size();
    bytes.resize(start + count);
    const std::size_t got = std::fread(bytes.data() + start, 1, count, file_);
    const int fault = errno;
    bytes.resize(start + got);
    if (got < count && std::ferror(file_) != 0) fail(std::generic_category().message(fault));
}

void InputFile::appendRest(std::vector<std::uint8_t>& bytes, std::size_t most) {
    constexpr std::size_t kBlock = std::size_t{1} << 20;
    const auto refuse = [&] { fail("more than " + std::to_string(most) + " bytes; at most those are read"); };
    if (size_ > most) refuse();
    // A byte more than is expected, to come upon the end.
    std::size_t block = kBlock;
    if (size_ > bytes.size()) block = static_cast<std::size_t>(size_) - bytes.size() + 1;
    for (std::size_t before = bytes.size();; before = bytes.size()) {
        append(bytes, block);
        if (bytes.size() > most) refuse();
        if (bytes.size() - before < block) return;
        block = std::max(kBlock, bytes.size() / 2);
    }
}

void InputFile::fail(const std::string& why) const {
    throw FileError("cannot read " + name_ + ": " + why);
}

}  // namespace pconv
