#include <cstdio>

#include <jerror.h>
#include <jpeglib.h>

#include <algorithm>
#include <cmath>
#include <csetjmp>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>

#include "files/file_error.h"
#include "image/io.h"
#include "image/png_chunks.h"

namespace pconv::app {
namespace {

constexpr std::string_view kExifSignature("Exif\0\0", 6);
constexpr double kMetresPerInch = 0.0254;

/// libjpeg's error handler and where it leaves its complaint. `base` comes first: libjpeg hands it back.
struct Session {
    jpeg_error_mgr base;
    std::jmp_buf leave;
    char fault[JMSG_LENGTH_MAX];
    bool no_memory;
};

Session& sessionOf(j_common_ptr codec) {
    return *reinterpret_cast<Session*>(codec->err);
}

[[noreturn]] void onError(j_common_ptr codec) {
    Session& session = sessionOf(codec);
    session.no_memory = codec->err->msg_code == JERR_OUT_OF_MEMORY;
    codec->err->format_message(codec, session.fault);
    std::longjmp(session.leave, 1);
}

/// libjpeg fills what a damaged file lacks with gray and warns; here a damaged file is an error.
void onMessage(j_common_ptr codec, int level) {
    if (level >= 0) return;
    switch (codec->err->msg_code) {
        case JWRN_EXTRANEOUS_DATA:
        case JWRN_ADOBE_XFORM:
        case JWRN_JFIF_MAJOR:
        case JWRN_TOO_MUCH_DATA:
            return;
        default:
            onError(codec);
    }
}

void onOutput(j_common_ptr /*codec*/) {}

void startSession(Session& session) {
    session.fault[0] = '\0';
    session.no_memory = false;
    jpeg_std_error(&session.base);
    session.base.error_exit = onError;
    session.base.emit_message = onMessage;
    session.base.output_message = onOutput;
}

/// Runs `step`, which may hold nothing that needs destroying: libjpeg leaves it by longjmp.
template <typename Step>
void guarded(Session& session, Step step) {
    if (setjmp(session.leave) != 0) {
        if (session.no_memory) throw std::bad_alloc();
        throw FileError(session.fault);
    }
    step();
}

/// A progressive file may announce any number of passes over the picture; nobody needs so many.
void onProgress(j_common_ptr codec) {
    constexpr int kMostScans = 500;
    if (codec->is_decompressor == 0) return;
    if (reinterpret_cast<j_decompress_ptr>(codec)->input_scan_number <= kMostScans) return;
    std::strncpy(sessionOf(codec).fault, "more than 500 scans", JMSG_LENGTH_MAX - 1);
    std::longjmp(sessionOf(codec).leave, 1);
}

struct Decompressor {
    explicit Decompressor(Session& shared) : session(shared) {
        codec.err = &session.base;
        guarded(session, [this] { jpeg_create_decompress(&codec); });
        progress.progress_monitor = onProgress;
        codec.progress = &progress;
    }
    ~Decompressor() { jpeg_destroy_decompress(&codec); }
    Decompressor(const Decompressor&) = delete;
    Decompressor& operator=(const Decompressor&) = delete;

    void open(const std::uint8_t* data, std::size_t size) {
        jpeg_mem_src(&codec, data, static_cast<unsigned long>(size));
    }

    Session& session;
    jpeg_decompress_struct codec{};
    jpeg_progress_mgr progress{};
};

struct Compressor {
    explicit Compressor(Session& shared) : session(shared) {
        codec.err = &session.base;
        guarded(session, [this] { jpeg_create_compress(&codec); });
    }
    ~Compressor() {
        jpeg_destroy_compress(&codec);
        std::free(memory);
    }
    Compressor(const Compressor&) = delete;
    Compressor& operator=(const Compressor&) = delete;

    void open() { jpeg_mem_dest(&codec, &memory, &size); }

    Session& session;
    jpeg_compress_struct codec{};
    unsigned char* memory = nullptr;  // libjpeg allocates it, with malloc
    unsigned long size = 0;
};

/// The Exif body of an APP1 marker, or nothing.
Bytes exifOf(const jpeg_marker_struct& marker) {
    const JOCTET* data = marker.data;
    if (marker.marker != JPEG_APP0 + 1 || marker.data_length <= kExifSignature.size() ||
        std::memcmp(data, kExifSignature.data(), kExifSignature.size()) != 0) {
        return {};
    }
    return {data + kExifSignature.size(), data + marker.data_length};
}

std::uint32_t perMetre(unsigned density, unsigned unit) {
    return unit == 1 ? static_cast<std::uint32_t>(std::lround(density / kMetresPerInch)) : density * 100U;
}

/// What the markers say of the picture, in PNG's form.
std::vector<PngChunk> chunksOf(j_decompress_ptr codec) {
    std::vector<PngChunk> chunks;
    JOCTET* profile = nullptr;
    unsigned profile_size = 0;
    if (jpeg_read_icc_profile(codec, &profile, &profile_size) != FALSE) {
        const Bytes copy(profile, profile + profile_size);
        std::free(profile);
        chunks.push_back(makeProfileChunk(copy));
    }
    if (codec->saw_JFIF_marker != FALSE && codec->X_density != 0 && codec->Y_density != 0) {
        const unsigned unit = codec->density_unit;
        const bool square = unit == 0 && codec->X_density == codec->Y_density;
        if (unit == 1 || unit == 2) {
            chunks.push_back(
                makeDensityChunk({perMetre(codec->X_density, unit), perMetre(codec->Y_density, unit), true}));
        } else if (unit == 0 && !square) {
            // Both formats count pixels along a common length here, so the ratio carries over as it is.
            chunks.push_back(makeDensityChunk({codec->X_density, codec->Y_density, false}));
        }
    }
    for (const jpeg_marker_struct* marker = codec->marker_list; marker != nullptr; marker = marker->next) {
        Bytes exif = exifOf(*marker);
        if (exif.empty()) continue;
        chunks.push_back(makeChunk("eXIf", std::move(exif)));
        break;
    }
    return chunks;
}

void saveMarkers(j_decompress_ptr codec, bool all) {
    constexpr unsigned kWholeMarker = 0xffff;
    for (int i = 0; i < 16; ++i) {
        if (all || i == 1 || i == 2) jpeg_save_markers(codec, JPEG_APP0 + i, kWholeMarker);
    }
    if (all) jpeg_save_markers(codec, JPEG_COM, kWholeMarker);
}

bool isGray(const jpeg_decompress_struct& codec) {
    return codec.jpeg_color_space == JCS_GRAYSCALE;
}

void checkColours(const jpeg_decompress_struct& codec) {
    const J_COLOR_SPACE space = codec.jpeg_color_space;
    if (space == JCS_CMYK || space == JCS_YCCK) {
        throw FileError("a CMYK picture; gray and RGB are supported (convert it to RGB first)");
    }
    if (space != JCS_GRAYSCALE && space != JCS_YCbCr && space != JCS_RGB) {
        throw FileError("its colours are neither gray nor RGB");
    }
}

void setDensity(j_compress_ptr codec, const std::vector<PngChunk>& chunks) {
    const PngChunk* chunk = findChunk(chunks, "pHYs");
    const PixelDensity density = chunk == nullptr ? PixelDensity{} : densityOf(*chunk);
    const double scale = density.per_metre ? kMetresPerInch : 1.0;
    const double x = std::round(density.x * scale);
    const double y = std::round(density.y * scale);
    if (x < 1 || y < 1 || x > 0xffff || y > 0xffff) return;
    codec->density_unit = density.per_metre ? 1 : 0;
    codec->X_density = static_cast<UINT16>(x);
    codec->Y_density = static_cast<UINT16>(y);
}

/// Samples as libjpeg takes them: 8 bits, without alpha.
void fillRow(const Image& image, std::size_t y, JSAMPLE* row) {
    const unsigned wide = image.sampleBytes();
    const unsigned colours = image.colourChannels();
    const std::uint8_t* from = image.samples.data() + y * image.rowBytes();
    for (std::size_t x = 0; x < image.width; ++x) {
        for (unsigned c = 0; c < colours; ++c) {
            const std::uint8_t* sample = from + (x * image.channels + c) * wide;
            unsigned value = *sample;
            if (wide == 2) {
                std::uint16_t both = 0;
                std::memcpy(&both, sample, 2);
                value = both;
            }
            *row++ = static_cast<JSAMPLE>((value * 255U + image.maximum() / 2) / image.maximum());
        }
    }
}

/// Compresses all rows; the codec is set up but for its input.
void compressRows(Compressor& to, const Image& image) {
    Bytes row(std::size_t{image.width} * image.colourChannels());
    JSAMPROW rows[] = {row.data()};
    for (std::size_t y = 0; y < image.height; ++y) {
        fillRow(image, y, row.data());
        guarded(to.session, [&] { jpeg_write_scanlines(&to.codec, rows, 1); });
    }
}

void setInput(j_compress_ptr codec, const Image& image) {
    codec->image_width = image.width;
    codec->image_height = image.height;
    codec->input_components = static_cast<int>(image.colourChannels());
    codec->in_color_space = image.colourChannels() == 1 ? JCS_GRAYSCALE : JCS_RGB;
}

/// Whether the block at (column, row) of a component touches the hole. A block covers `wide` x `high` pixels.
bool touches(const Image& image, const Bytes& hole, std::size_t left, std::size_t top, std::size_t wide,
             std::size_t high) {
    if (left >= image.width) return false;
    const std::size_t count = std::min<std::size_t>(wide, image.width - left);
    for (std::size_t y = top; y < std::min<std::size_t>(top + high, image.height); ++y) {
        const auto row = hole.begin() + static_cast<std::ptrdiff_t>(y * image.width + left);
        const auto end = row + static_cast<std::ptrdiff_t>(count);
        if (std::any_of(row, end, [](std::uint8_t value) { return value != 0; })) return true;
    }
    return false;
}

/// Takes the blocks that touch the hole from `filled` over into `original`.
void replaceBlocks(Decompressor& original, jvirt_barray_ptr* original_blocks, Decompressor& filled,
                   jvirt_barray_ptr* filled_blocks, const Image& image, const Bytes& hole) {
    for (int c = 0; c < original.codec.num_components; ++c) {
        const jpeg_component_info& component = original.codec.comp_info[c];
        const auto scaled = [](int most, int own) {
            return static_cast<std::size_t>((DCTSIZE * most + own - 1) / own);
        };
        const std::size_t wide = scaled(original.codec.max_h_samp_factor, component.h_samp_factor);
        const std::size_t high = scaled(original.codec.max_v_samp_factor, component.v_samp_factor);
        for (JDIMENSION row = 0; row < component.height_in_blocks; ++row) {
            JBLOCKARRAY to = nullptr;
            JBLOCKARRAY from = nullptr;
            guarded(original.session, [&] {
                auto* codec = reinterpret_cast<j_common_ptr>(&original.codec);
                to = codec->mem->access_virt_barray(codec, original_blocks[c], row, 1, TRUE);
            });
            guarded(filled.session, [&] {
                auto* codec = reinterpret_cast<j_common_ptr>(&filled.codec);
                from = codec->mem->access_virt_barray(codec, filled_blocks[c], row, 1, FALSE);
            });
            for (JDIMENSION column = 0; column < component.width_in_blocks; ++column) {
                if (touches(image, hole, column * wide, row * high, wide, high)) {
                    std::memcpy(to[0][column], from[0][column], sizeof(JBLOCK));
                }
            }
        }
    }
}

/// Whether libjpeg writes such a marker by itself.
bool isWrittenAnyway(const jpeg_marker_struct& marker, const jpeg_compress_struct& codec) {
    const auto starts = [&marker](std::string_view text) {
        return marker.data_length >= text.size() && std::memcmp(marker.data, text.data(), text.size()) == 0;
    };
    return (codec.write_JFIF_header != FALSE && marker.marker == JPEG_APP0 &&
            starts(std::string_view("JFIF\0", 5))) ||
           (codec.write_Adobe_marker != FALSE && marker.marker == JPEG_APP0 + 14 && starts("Adobe"));
}

}  // namespace

Image decodeJpeg(const Bytes& bytes, std::uint64_t most_pixels) {
    Session session;
    startSession(session);
    Decompressor from(session);
    guarded(session, [&] {
        from.open(bytes.data(), bytes.size());
        saveMarkers(&from.codec, false);
        jpeg_read_header(&from.codec, TRUE);
    });
    checkImageSize(from.codec.image_width, from.codec.image_height, most_pixels);
    checkColours(from.codec);
    Image image;
    image.width = from.codec.image_width;
    image.height = from.codec.image_height;
    image.channels = isGray(from.codec) ? 1 : 3;
    image.chunks = chunksOf(&from.codec);
    const std::size_t row_bytes = image.rowBytes();
    image.samples.resize(row_bytes * image.height);
    guarded(session, [&] {
        from.codec.out_color_space = isGray(from.codec) ? JCS_GRAYSCALE : JCS_RGB;
        jpeg_start_decompress(&from.codec);
        while (from.codec.output_scanline < from.codec.output_height) {
            JSAMPROW row = image.samples.data() + from.codec.output_scanline * row_bytes;
            jpeg_read_scanlines(&from.codec, &row, 1);
        }
        jpeg_finish_decompress(&from.codec);
    });
    image.jpeg = bytes;
    return image;
}

Bytes encodeJpeg(const Image& image) {
    if (image.width > JPEG_MAX_DIMENSION || image.height > JPEG_MAX_DIMENSION) {
        throw FileError("JPEG holds at most " + std::to_string(JPEG_MAX_DIMENSION) + " pixels a side");
    }
    constexpr int kQuality = 95;
    Session session;
    startSession(session);
    Compressor to(session);
    const PngChunk* profile_chunk = findChunk(image.chunks, "iCCP");
    const Bytes profile = profile_chunk == nullptr ? Bytes() : profileOf(*profile_chunk);
    Bytes exif;
    if (const PngChunk* chunk = findChunk(image.chunks, "eXIf")) {
        exif.assign(kExifSignature.begin(), kExifSignature.end());
        exif.insert(exif.end(), chunk->data.begin(), chunk->data.end());
    }
    guarded(session, [&] {
        to.open();
        setInput(&to.codec, image);
        jpeg_set_defaults(&to.codec);
        jpeg_set_quality(&to.codec, kQuality, TRUE);
        for (int c = 0; c < to.codec.num_components; ++c) {
            to.codec.comp_info[c].h_samp_factor = to.codec.comp_info[c].v_samp_factor = 1;
        }
        setDensity(&to.codec, image.chunks);
        jpeg_start_compress(&to.codec, TRUE);
        constexpr std::size_t kLongestMarker = 65533;
        if (!exif.empty() && exif.size() <= kLongestMarker) {
            jpeg_write_marker(&to.codec, JPEG_APP0 + 1, exif.data(), static_cast<unsigned>(exif.size()));
        }
        if (!profile.empty()) {
            jpeg_write_icc_profile(&to.codec, profile.data(), static_cast<unsigned>(profile.size()));
        }
    });
    compressRows(to, image);
    guarded(session, [&] { jpeg_finish_compress(&to.codec); });
    return {to.memory, to.memory + to.size};
}

Bytes patchJpeg(const Image& image, const Bytes& hole) {
    Session session;
    startSession(session);
    Decompressor original(session);
    jvirt_barray_ptr* original_blocks = nullptr;
    guarded(session, [&] {
        original.open(image.jpeg.data(), image.jpeg.size());
        saveMarkers(&original.codec, true);
        jpeg_read_header(&original.codec, TRUE);
        original_blocks = jpeg_read_coefficients(&original.codec);
    });

    // The filled picture under the same quantization and sampling has the same blocks in the same places.
    Compressor refill(session);
    guarded(session, [&] {
        refill.open();
        refill.codec.in_color_space = isGray(original.codec) ? JCS_GRAYSCALE : JCS_RGB;
        jpeg_copy_critical_parameters(&original.codec, &refill.codec);
        setInput(&refill.codec, image);
        jpeg_start_compress(&refill.codec, TRUE);
    });
    compressRows(refill, image);
    guarded(session, [&] { jpeg_finish_compress(&refill.codec); });
    Decompressor filled(session);
    jvirt_barray_ptr* filled_blocks = nullptr;
    guarded(session, [&] {
        filled.open(refill.memory, refill.size);
        jpeg_read_header(&filled.codec, TRUE);
        filled_blocks = jpeg_read_coefficients(&filled.codec);
    });
    replaceBlocks(original, original_blocks, filled, filled_blocks, image, hole);

    Compressor to(session);
    guarded(session, [&] {
        to.open();
        jpeg_copy_critical_parameters(&original.codec, &to.codec);
        to.codec.optimize_coding = TRUE;
        if (original.codec.progressive_mode != FALSE) jpeg_simple_progression(&to.codec);
        jpeg_write_coefficients(&to.codec, original_blocks);
        for (const jpeg_marker_struct* marker = original.codec.marker_list; marker != nullptr;
             marker = marker->next) {
            if (!isWrittenAnyway(*marker, to.codec)) {
                jpeg_write_marker(&to.codec, marker->marker, marker->data, marker->data_length);
            }
        }
        jpeg_finish_compress(&to.codec);
    });
    return {to.memory, to.memory + to.size};
}

}  // namespace pconv::app
