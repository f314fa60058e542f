#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>

#include "files/file_error.h"
#include "image/io.h"
#include "image/jpeg_codec.h"
#include "image/jpeg_extent.h"
#include "image/jpeg_markers.h"
#include "image/png_chunks.h"
#include "image/png_metadata.h"

namespace pconv::app {
namespace {

constexpr double kMetresPerInch = 0.0254;

/// What a file says before its first pixel.
struct JpegHeader {
    std::uint32_t width = 0;
    std::uint32_t height = 0;
    J_COLOR_SPACE space = JCS_UNKNOWN;
    bool has_adobe_marker = false;
    bool has_density = false;
    unsigned density_unit = 0;
    unsigned density_x = 0;
    unsigned density_y = 0;
    Bytes profile;
    std::vector<JpegMarker> markers;

    bool isGray() const { return space == JCS_GRAYSCALE; }
    bool isCmyk() const { return space == JCS_CMYK || space == JCS_YCCK; }
    /// Whether inks are stored as what they leave of the light, as Adobe's programs do.
    bool isInverted() const { return isCmyk() && has_adobe_marker; }
    J_COLOR_SPACE samples() const { return isGray() ? JCS_GRAYSCALE : isCmyk() ? JCS_CMYK : JCS_RGB; }
};

void saveMarkers(j_decompress_ptr codec) {
    constexpr unsigned kWholeMarker = 0xffff;
    for (int i = 0; i < 16; ++i) jpeg_save_markers(codec, JPEG_APP0 + i, kWholeMarker);
    jpeg_save_markers(codec, JPEG_COM, kWholeMarker);
}

/// Its markers are those that stay true.
JpegHeader readHeader(JpegReader& from, LeftOut& left_out) {
    JpegHeader header;
    std::vector<JpegMarker> markers;
    JOCTET* profile = nullptr;
    unsigned profile_size = 0;
    from.call([&](jpeg_decompress_struct& codec) {
        saveMarkers(&codec);
        jpeg_read_header(&codec, TRUE);
        header.width = codec.image_width;
        header.height = codec.image_height;
        header.space = codec.jpeg_color_space;
        header.has_adobe_marker = codec.saw_Adobe_marker != FALSE;
        header.has_density = codec.saw_JFIF_marker != FALSE && codec.X_density != 0 && codec.Y_density != 0;
        header.density_unit = codec.density_unit;
        header.density_x = codec.X_density;
        header.density_y = codec.Y_density;
        if (jpeg_read_icc_profile(&codec, &profile, &profile_size) == FALSE) profile = nullptr;
    });
    const std::unique_ptr<JOCTET, decltype(&std::free)> owner(profile, std::free);
    if (profile != nullptr) header.profile.assign(profile, profile + profile_size);
    from.call([&](jpeg_decompress_struct& codec) {
        for (const jpeg_marker_struct* marker = codec.marker_list; marker != nullptr; marker = marker->next) {
            markers.push_back({marker->marker, {marker->data, marker->data + marker->data_length}});
        }
    });
    header.markers = cleanMarkers(markers, header.width, header.height, left_out);
    return header;
}

std::uint32_t perMetre(unsigned density, unsigned unit) {
    return unit == 1 ? static_cast<std::uint32_t>(std::lround(density / kMetresPerInch)) : density * 100U;
}

/// What the markers say of the picture, in PNG's form.
std::vector<PngChunk> chunksOf(const JpegHeader& header) {
    std::vector<PngChunk> chunks;
    if (!header.profile.empty()) chunks.push_back(makeProfileChunk(header.profile));
    if (header.has_density) {
        const unsigned unit = header.density_unit;
        const bool square = unit == 0 && header.density_x == header.density_y;
        if (unit == 1 || unit == 2) {
            chunks.push_back(
                makeDensityChunk({perMetre(header.density_x, unit), perMetre(header.density_y, unit), true}));
        } else if (unit == 0 && !square) {
            // Both formats count pixels along a common length here, so the ratio carries over as it is.
            chunks.push_back(makeDensityChunk({header.density_x, header.density_y, false}));
        }
    }
    if (Bytes exif = exifOf(header.markers); !exif.empty())
        chunks.push_back(makeChunk("eXIf", std::move(exif)));
    if (const std::string xmp = xmpOf(header.markers); !xmp.empty()) chunks.push_back(makeXmpChunk(xmp));
    return chunks;
}

void checkColours(const JpegHeader& header) {
    const J_COLOR_SPACE space = header.space;
    if (header.isCmyk()) return;
    if (space != JCS_GRAYSCALE && space != JCS_YCbCr && space != JCS_RGB) {
        throw FileError("its colours are neither gray, RGB nor CMYK");
    }
}

/// A file that stops after one of its scans decodes without a complaint, to a part of the picture.
bool isComplete(const jpeg_decompress_struct& codec) {
    for (int c = 0; c < codec.num_components; ++c) {
        if (codec.comp_info[c].quant_table == nullptr) return false;  // set by the component's first scan
        if (codec.coef_bits == nullptr) continue;
        if (std::any_of(codec.coef_bits[c], codec.coef_bits[c] + DCTSIZE2,
                        [](int bits) { return bits != 0; }))
            return false;
    }
    return true;
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
void compressRows(JpegWriter& to, const Image& image, bool inverted) {
    Bytes row(std::size_t{image.width} * image.colourChannels());
    JSAMPROW rows[] = {row.data()};
    for (std::size_t y = 0; y < image.height; ++y) {
        fillRow(image, y, row.data());
        if (inverted) {
            for (std::uint8_t& sample : row) sample = static_cast<std::uint8_t>(255 - sample);
        }
        to.call([&](jpeg_compress_struct& codec) { jpeg_write_scanlines(&codec, rows, 1); });
    }
}

void setInput(j_compress_ptr codec, const Image& image) {
    codec->image_width = image.width;
    codec->image_height = image.height;
    codec->input_components = static_cast<int>(image.colourChannels());
    codec->in_color_space = image.cmyk ? JCS_CMYK : image.colourChannels() == 1 ? JCS_GRAYSCALE : JCS_RGB;
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

/// Where a component's blocks lie, in pixels.
struct BlockGrid {
    JDIMENSION rows = 0;
    JDIMENSION columns = 0;
    std::size_t wide = 0;
    std::size_t high = 0;
};

BlockGrid gridOf(const jpeg_decompress_struct& codec, int component) {
    const jpeg_component_info& info = codec.comp_info[component];
    const auto scaled = [](int most, int own) {
        return static_cast<std::size_t>((DCTSIZE * most + own - 1) / own);
    };
    return {info.height_in_blocks, info.width_in_blocks, scaled(codec.max_h_samp_factor, info.h_samp_factor),
            scaled(codec.max_v_samp_factor, info.v_samp_factor)};
}

/// A file's blocks of coefficients, opened for reading or changing.
struct Blocks {
    explicit Blocks(const std::uint8_t* data, std::size_t size) : reader(data, size) {}

    void read() {
        reader.call([this](jpeg_decompress_struct& codec) { arrays = jpeg_read_coefficients(&codec); });
    }

    JBLOCKROW row(int component, JDIMENSION at, bool writable) {
        JBLOCKARRAY rows = nullptr;
        reader.call([&](jpeg_decompress_struct& codec) {
            auto* common = reinterpret_cast<j_common_ptr>(&codec);
            rows = codec.mem->access_virt_barray(common, arrays[component], at, 1, writable ? TRUE : FALSE);
        });
        return rows[0];
    }

    JpegReader reader;
    jvirt_barray_ptr* arrays = nullptr;
};

/// Takes the blocks that touch the hole from `filled` over into `original`.
void replaceBlocks(Blocks& original, Blocks& filled, const Image& image, const Bytes& hole) {
    int components = 0;
    original.reader.call([&](jpeg_decompress_struct& codec) { components = codec.num_components; });
    for (int c = 0; c < components; ++c) {
        BlockGrid grid;
        original.reader.call([&](jpeg_decompress_struct& codec) { grid = gridOf(codec, c); });
        for (JDIMENSION row = 0; row < grid.rows; ++row) {
            JBLOCKROW to = original.row(c, row, true);
            JBLOCKROW from = filled.row(c, row, false);
            for (JDIMENSION column = 0; column < grid.columns; ++column) {
                if (touches(image, hole, column * grid.wide, row * grid.high, grid.wide, grid.high)) {
                    std::memcpy(to[column], from[column], sizeof(JBLOCK));
                }
            }
        }
    }
}

/// Whether libjpeg writes such a marker by itself.
bool isWrittenAnyway(const JpegMarker& marker, const jpeg_compress_struct& codec) {
    const auto starts = [&marker](std::string_view text) {
        return marker.data.size() >= text.size() &&
               std::memcmp(marker.data.data(), text.data(), text.size()) == 0;
    };
    return (codec.write_JFIF_header != FALSE && marker.marker == JPEG_APP0 &&
            starts(std::string_view("JFIF\0", 5))) ||
           (codec.write_Adobe_marker != FALSE && marker.marker == JPEG_APP0 + 14 && starts("Adobe"));
}

/// libjpeg divides by the tables of quantization, of which a damaged file's may hold zeros.
void makeDivisible(jpeg_compress_struct& codec) {
    for (JQUANT_TBL* table : codec.quant_tbl_ptrs) {
        if (table != nullptr)
            std::replace(std::begin(table->quantval), std::end(table->quantval), UINT16{0}, UINT16{1});
    }
}

void writeMarkers(j_compress_ptr codec, const std::vector<JpegMarker>& markers) {
    for (const JpegMarker& marker : markers) {
        if (isWrittenAnyway(marker, *codec)) continue;
        jpeg_write_marker(codec, marker.marker, marker.data.data(),
                          static_cast<unsigned>(marker.data.size()));
    }
}

}  // namespace

Image decodeJpeg(const Bytes& bytes, std::uint64_t most_pixels) {
    const JpegExtent extent = findJpegExtent(bytes);
    Image image;
    image.format = ImageFormat::jpeg;
    image.jpeg.assign(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(extent.size));
    image.jpeg.insert(image.jpeg.end(), {0xff, JPEG_EOI});
    JpegReader from(image.jpeg.data(), image.jpeg.size());
    LeftOut left_out;
    const JpegHeader header = readHeader(from, left_out);
    nameTrailer(bytes, extent.trailer, left_out);
    left_out.appendTo(image.notes);
    checkImageSize(header.width, header.height, most_pixels);
    checkColours(header);
    if (from.sawBogusProfile())
        image.notes.emplace_back("its ICC profile is incomplete or there twice, and is left out");
    image.width = header.width;
    image.height = header.height;
    image.cmyk = header.isCmyk();
    image.channels = header.isGray() ? 1 : image.cmyk ? 4 : 3;
    image.chunks = chunksOf(header);
    const std::size_t row_bytes = image.rowBytes();
    image.samples.resize(row_bytes * image.height);
    bool complete = true;
    from.call([&](jpeg_decompress_struct& codec) {
        codec.out_color_space = header.samples();
        jpeg_start_decompress(&codec);
        while (codec.output_scanline < codec.output_height) {
            JSAMPROW row = image.samples.data() + codec.output_scanline * row_bytes;
            jpeg_read_scanlines(&codec, &row, 1);
        }
        complete = extent.has_end || isComplete(codec);
        jpeg_finish_decompress(&codec);
    });
    if (!complete) throw FileError("the file ends early");
    if (header.isInverted()) {
        for (std::uint8_t& sample : image.samples) sample = static_cast<std::uint8_t>(255 - sample);
    }
    return image;
}

Bytes encodeJpeg(const Image& image, Notes* notes) {
    if (image.width > JPEG_MAX_DIMENSION || image.height > JPEG_MAX_DIMENSION) {
        throw FileError("JPEG holds at most " + std::to_string(JPEG_MAX_DIMENSION) + " pixels a side");
    }
    constexpr int kQuality = 95;
    JpegWriter to;
    const PngChunk* profile_chunk = findChunk(image.chunks, "iCCP");
    const Bytes profile = profile_chunk == nullptr ? Bytes() : profileOf(*profile_chunk);
    std::vector<JpegMarker> markers;
    const auto note = [&](bool held, const char* what) {
        if (!held && notes != nullptr)
            notes->push_back(std::string(what) + " is left out: a JPEG's marker holds less than 64 KiB");
    };
    if (const PngChunk* chunk = findChunk(image.chunks, "eXIf"))
        note(addExif(markers, chunk->data), "the Exif data");
    note(addXmp(markers, xmpOf(image.chunks)), "the XMP packet");
    to.call([&](jpeg_compress_struct& codec) {
        setInput(&codec, image);
        jpeg_set_defaults(&codec);
        jpeg_set_quality(&codec, kQuality, TRUE);
        for (int c = 0; c < codec.num_components; ++c) {
            codec.comp_info[c].h_samp_factor = codec.comp_info[c].v_samp_factor = 1;
        }
        setDensity(&codec, image.chunks);
        jpeg_start_compress(&codec, TRUE);
        writeMarkers(&codec, markers);
        if (!profile.empty()) {
            jpeg_write_icc_profile(&codec, profile.data(), static_cast<unsigned>(profile.size()));
        }
    });
    compressRows(to, image, image.cmyk);  // as Adobe's marker, which libjpeg writes, has it
    to.call([](jpeg_compress_struct& codec) { jpeg_finish_compress(&codec); });
    return to.take();
}

Bytes patchJpeg(const Image& image, const Bytes& hole) {
    Blocks original(image.jpeg.data(), image.jpeg.size());
    LeftOut told_when_read;
    const JpegHeader header = readHeader(original.reader, told_when_read);
    original.read();

    // The filled picture under the same quantization and sampling has the same blocks in the same places.
    JpegWriter refill;
    original.reader.call([&](jpeg_decompress_struct& from) {
        refill.call([&](jpeg_compress_struct& codec) {
            codec.in_color_space = header.samples();
            jpeg_copy_critical_parameters(&from, &codec);
            makeDivisible(codec);
            setInput(&codec, image);
            jpeg_start_compress(&codec, TRUE);
        });
    });
    compressRows(refill, image, header.isInverted());
    refill.call([](jpeg_compress_struct& codec) { jpeg_finish_compress(&codec); });
    Blocks filled(refill.data(), refill.size());
    filled.reader.call([](jpeg_decompress_struct& codec) { jpeg_read_header(&codec, TRUE); });
    filled.read();
    replaceBlocks(original, filled, image, hole);

    JpegWriter to;
    original.reader.call([&](jpeg_decompress_struct& from) {
        to.call([&](jpeg_compress_struct& codec) {
            jpeg_copy_critical_parameters(&from, &codec);
            codec.optimize_coding = TRUE;
            // The marker says which sense inks are stored in, which is the file's.
            if (header.isCmyk()) codec.write_Adobe_marker = header.has_adobe_marker ? TRUE : FALSE;
            if (from.progressive_mode != FALSE) jpeg_simple_progression(&codec);
            jpeg_write_coefficients(&codec, original.arrays);
            writeMarkers(&codec, header.markers);
            if (!header.profile.empty()) {
                jpeg_write_icc_profile(&codec, header.profile.data(),
                                       static_cast<unsigned>(header.profile.size()));
            }
            jpeg_finish_compress(&codec);
        });
    });
    return to.take();
}

}  // namespace pconv::app
