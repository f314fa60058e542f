// What people's files may do to the readers of pictures, masks and safetensors: under libFuzzer with the
// address and undefined-behaviour sanitizers. --kind=png, jpeg, tiff, webp, mask or safetensors says what the
// bytes are.
#include <zlib.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "files/file_error.h"
#include "files/safetensors.h"
#include "hole.h"
#include "image/io.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);

namespace {

using pconv::FileError;
using pconv::app::Bytes;
using pconv::app::Image;
using pconv::app::ImageFormat;
using pconv::app::Notes;

constexpr std::uint64_t kMostPixels = 1U << 14;

std::string kind = "png";

void require(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "fuzz: %s\n", what);
    std::abort();
}

/// A line for the user is one line.
void checkLine(const std::string& line) {
    require(!line.empty() && line.find_first_of("\n\r\x1b") == std::string::npos,
            "a message is no single line");
}

void checkImage(const Image& image) {
    require(image.width > 0 && image.height > 0 && image.pixelCount() <= kMostPixels,
            "a size beyond what is allowed");
    require(image.channels >= 1 && image.channels <= 5, "a strange number of channels");
    require(image.samples.size() == image.rowBytes() * image.height, "samples do not fill the picture");
    for (const std::string& note : image.notes) checkLine(note);
}

/// Written in one of the formats, it is a picture of the same size again, about which there is nothing to
/// say.
void writeAndReadBack(const Image& image, std::uint8_t choice) {
    constexpr ImageFormat kFormats[] = {ImageFormat::png, ImageFormat::jpeg, ImageFormat::tiff,
                                        ImageFormat::webp};
    const ImageFormat format = kFormats[choice % 4];
    Bytes hole(image.pixelCount());
    for (std::size_t i = 0; i < hole.size(); i += 3) hole[i] = 255;
    Notes notes;
    Bytes bytes;
    try {
        bytes = encodeImage(image, hole, format, notes);
    } catch (const FileError& error) {
        checkLine(error.what());  // light or samples that the format cannot hold
        return;
    }
    for (const std::string& note : notes) checkLine(note);
    const Image back = pconv::app::decodeImage(bytes, kMostPixels);
    checkImage(back);
    require(back.width == image.width && back.height == image.height, "it comes back in another size");
    for (const std::string& note : back.notes) std::fprintf(stderr, "fuzz: %s\n", note.c_str());
    require(back.notes.empty(), "what was written has more to be left out");
}

Image decode(const Bytes& bytes) {
    if (kind == "png") return pconv::app::decodePng(bytes, kMostPixels);
    if (kind == "jpeg") return pconv::app::decodeJpeg(bytes, kMostPixels);
    if (kind == "tiff") return pconv::app::decodeTiff(bytes, kMostPixels);
    if (kind == "webp") return pconv::app::decodeWebp(bytes, kMostPixels);
    return pconv::app::decodeImage(bytes, kMostPixels);
}

void tryPicture(const Bytes& bytes) {
    const Image image = decode(bytes);
    checkImage(image);
    writeAndReadBack(image, bytes.back());
}

void tryMask(const Bytes& bytes) {
    const Image mask = decode(bytes);
    checkImage(mask);
    Image picture;
    picture.width = 64;
    picture.height = 48;
    picture.channels = 1;
    picture.samples.resize(picture.pixelCount());
    if (bytes.back() % 2 == 0) std::swap(picture.width, picture.height);
    constexpr pconv::app::HoleMark kMarks[] = {pconv::app::HoleMark::white, pconv::app::HoleMark::black,
                                               pconv::app::HoleMark::transparent};
    Notes notes;
    const Bytes hole = holeOfMask(mask, picture, kMarks[bytes.back() % 3], notes);
    require(hole.size() == picture.pixelCount(), "a hole of another size");
    for (const std::string& note : notes) checkLine(note);
}

/// The first byte says how much data is said to follow the header.
void trySafetensors(const Bytes& bytes) {
    const std::string json(bytes.begin() + 1, bytes.end());
    const pconv::SafetensorsHeader header = pconv::parseSafetensorsHeader(json, bytes[0], "'fuzz'");
    std::uint64_t covered = 0;
    for (const auto& tensor : header.tensors) {
        require(tensor.second.end <= bytes[0], "a tensor lies beyond the data");
        covered += tensor.second.byteCount();
    }
    require(covered == bytes[0], "the tensors do not cover the data");
}

/// Makes the checksum of every PNG chunk right, without which no mutation would get far.
void repairChecksums(std::uint8_t* data, std::size_t size) {
    for (std::size_t at = 8; at + 12 <= size;) {
        const std::size_t length = std::size_t{data[at]} << 24 | std::size_t{data[at + 1]} << 16 |
                                   std::size_t{data[at + 2]} << 8 | data[at + 3];
        if (length > size - at - 12) return;
        const auto sum = static_cast<std::uint32_t>(crc32(0, data + at + 4, static_cast<uInt>(length + 4)));
        for (unsigned i = 0; i < 4; ++i)
            data[at + 8 + length + i] = static_cast<std::uint8_t>(sum >> (24 - 8 * i));
        at += length + 12;
    }
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* count, char*** arguments) {
    for (int i = 1; i < *count; ++i) {
        if (std::strncmp((*arguments)[i], "--kind=", 7) == 0) kind = (*arguments)[i] + 7;
    }
    return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t most,
                                               unsigned seed) {
    const std::size_t mutated = LLVMFuzzerMutate(data, size, most);
    const bool is_png = mutated > 8 && std::memcmp(data, "\x89PNG", 4) == 0;
    if (is_png && seed % 8 != 0) repairChecksums(data, mutated);
    return mutated;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    try {
        const Bytes bytes(data, data + size);
        if (kind == "safetensors") {
            trySafetensors(bytes);
        } else if (kind == "mask") {
            tryMask(bytes);
        } else {
            tryPicture(bytes);
        }
    } catch (const FileError& error) {
        checkLine(error.what());
    }
    return 0;
}
