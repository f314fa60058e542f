// Seeds for fuzz_files: a small picture of every form that is read, in a folder a kind. Pictures that broke
// something (tests/pictures) are added by the caller.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>

#include "files/file_error.h"
#include "image/exif.h"
#include "image/io.h"
#include "image/png_chunks.h"
#include "image/png_metadata.h"
#include "support/images.h"

namespace {

namespace fs = std::filesystem;
using namespace pconv::app;

Image picture(unsigned channels, unsigned depth, bool cmyk = false) {
    Image image = pconv::test::blankImage(13, 11, channels, depth, cmyk);
    for (std::size_t i = 0; i < image.samples.size(); ++i)
        image.samples[i] = static_cast<std::uint8_t>(depth < 8 ? i * 7 % (1U << depth) : i * 5);
    return image;
}

void save(const fs::path& folder, const std::string& name, const Bytes& bytes) {
    fs::create_directories(folder);
    std::ofstream(folder / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

void saveAll(const fs::path& folder, const std::string& name, const Image& image) {
    Notes notes;
    const auto encode = [&](const char* kind, ImageFormat format) {
        try {
            save(folder / kind, name, encodeImage(image, Bytes(image.pixelCount()), format, notes));
        } catch (const pconv::FileError&) {
            // A format that cannot hold it needs no seed of it.
        }
    };
    encode("png", ImageFormat::png);
    encode("jpeg", ImageFormat::jpeg);
    encode("tiff", ImageFormat::tiff);
    encode("webp", ImageFormat::webp);
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 2) {
        std::cerr << "usage: make_corpus FOLDER\n";
        return 2;
    }
    const fs::path folder = arguments[1];
    for (const unsigned depth : {1U, 2U, 4U, 8U, 16U, 32U}) {
        for (const unsigned channels : {1U, 2U, 3U, 4U}) {
            if (depth < 8 && channels > 1) continue;
            Image image = picture(channels, depth);
            const std::string name = std::to_string(channels) + "x" + std::to_string(depth);
            saveAll(folder, name, image);
            image.has_transparent_colour = channels % 2 == 1 && depth < 32;
            image.chunks = {makeChunk("eXIf", makeExif(6, {{0x013b, "an artist"}})),
                            makeDensityChunk({2835, 2835, true}), makeProfileChunk({0, 0, 0, 8, 1, 2, 3, 4}),
                            makeXmpChunk("<x:xmpmeta xmlns:x='adobe:ns:meta/'><a b='c'>d</a></x:xmpmeta>"),
                            makeChunk("tEXt", {'a', 0, 'b'})};
            saveAll(folder, name + "_described", image);
        }
    }
    saveAll(folder, "cmyk", picture(4, 8, true));
    for (const char* kind : {"png", "jpeg", "tiff", "webp"}) {
        const fs::path from = folder / kind;
        if (!fs::exists(from)) continue;
        for (const auto& entry : fs::directory_iterator(from))
            fs::copy_file(entry,
                          folder / "mask" / (std::string(kind) + "_" + entry.path().filename().string()),
                          (fs::create_directories(folder / "mask"), fs::copy_options::overwrite_existing));
    }
    const std::string header =
        R"({"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},)"
        R"("b":{"dtype":"F4","x":[{}],"shape":[2],"data_offsets":[8,9]}})";
    Bytes bytes = {9};
    bytes.insert(bytes.end(), header.begin(), header.end());
    save(folder / "safetensors", "two", bytes);
    return 0;
}
