#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "files/file_error.h"
#include "image/exif.h"
#include "image/io.h"
#include "image/png_chunks.h"
#include "image/png_metadata.h"
#include "image/tiff_codec.h"
#include "image/xmp.h"

namespace pconv::app {
namespace {

constexpr std::uint64_t kMostDeflation =
    16384;  // to one: beyond what LZW, deflate and runs of bits reach on pictures
constexpr double kMetresPerInch = 0.0254;
constexpr std::uint8_t kBigTiff = 43;  // the number after the order of bytes; 42 in any other TIFF

/// What a directory says of its picture.
struct Header {
    std::uint32_t width = 0;
    std::uint32_t height = 0;
    std::uint16_t bits = 1;
    std::uint16_t samples = 1;
    std::uint16_t format = SAMPLEFORMAT_UINT;
    std::uint16_t photometric = PHOTOMETRIC_MINISBLACK;
    std::uint16_t planes = PLANARCONFIG_CONTIG;
    std::uint16_t compression = COMPRESSION_NONE;
    std::uint16_t orientation = 1;
    std::uint16_t extra_count = 0;
    std::uint16_t extra_kind = EXTRASAMPLE_UNSPECIFIED;
    bool tiled = false;
    bool more_pages = false;
    bool has_photoshop = false;

    unsigned colours() const { return samples - extra_count; }
    bool isPalette() const { return photometric == PHOTOMETRIC_PALETTE; }
};

Header readHeader(TiffCodec& from) {
    Header header;
    from.call([&](TIFF* tiff) {
        // A small version of the picture may come first.
        for (int page = 0; page < 16; ++page) {
            std::uint32_t kind = 0;
            TIFFGetFieldDefaulted(tiff, TIFFTAG_SUBFILETYPE, &kind);
            if ((kind & FILETYPE_REDUCEDIMAGE) == 0 || TIFFReadDirectory(tiff) == 0) break;
        }
        header.photometric = 0xffff;
        if (TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &header.width) == 0 ||
            TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &header.height) == 0) {
            return false;
        }
        TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &header.photometric);
        TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &header.bits);
        TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &header.samples);
        TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &header.format);
        TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &header.planes);
        TIFFGetFieldDefaulted(tiff, TIFFTAG_COMPRESSION, &header.compression);
        TIFFGetFieldDefaulted(tiff, TIFFTAG_ORIENTATION, &header.orientation);
        std::uint16_t* kinds = nullptr;
        std::uint16_t count = 0;
        if (TIFFGetField(tiff, TIFFTAG_EXTRASAMPLES, &count, &kinds) != 0 && count > 0 && kinds != nullptr) {
            header.extra_count = count;
            header.extra_kind = kinds[0];
        }
        header.tiled = TIFFIsTiled(tiff) != 0;
        header.more_pages = TIFFLastDirectory(tiff) == 0;
        std::uint32_t size = 0;
        void* data = nullptr;
        header.has_photoshop = TIFFGetField(tiff, TIFFTAG_PHOTOSHOP, &size, &data) != 0 ||
                               TIFFGetField(tiff, TIFFTAG_RICHTIFFIPTC, &size, &data) != 0;
        if (header.photometric == PHOTOMETRIC_YCBCR && header.compression == COMPRESSION_JPEG) {
            TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
            header.photometric = PHOTOMETRIC_RGB;
        }
        return true;
    });
    return header;
}

/// How many samples of a pixel are colours; throws where the colours are none that can be filled.
unsigned coloursOf(const Header& header) {
    switch (header.photometric) {
        case PHOTOMETRIC_MINISWHITE:
        case PHOTOMETRIC_MINISBLACK:
        case PHOTOMETRIC_PALETTE:
            return 1;
        case PHOTOMETRIC_RGB:
            return 3;
        case PHOTOMETRIC_SEPARATED:
            return 4;
        case PHOTOMETRIC_YCBCR:
            throw FileError(
                "its colours are YCbCr that is not compressed as JPEG; gray, RGB, CMYK or a palette are "
                "expected");
        case PHOTOMETRIC_CIELAB:
        case PHOTOMETRIC_ICCLAB:
        case PHOTOMETRIC_ITULAB:
            throw FileError("its colours are Lab; gray, RGB, CMYK or a palette are expected");
        default:
            throw FileError("its colours are of kind " + std::to_string(header.photometric) +
                            "; gray, RGB, CMYK or a palette are expected");
    }
}

void check(Header& header, std::size_t file_bytes, std::uint64_t most_pixels) {
    checkImageSize(header.width, header.height, most_pixels);
    const unsigned colours = coloursOf(header);
    // What the file says of further samples need not fit the number that it has.
    header.extra_count = static_cast<std::uint16_t>(header.samples > colours ? header.samples - colours : 0);
    if (header.samples < colours || header.samples > colours + (header.isPalette() ? 0 : 1)) {
        throw FileError("it has " + std::to_string(header.samples) + " samples a pixel; expected " +
                        std::to_string(colours) + (header.isPalette() ? "" : ", or one more for alpha"));
    }
    const bool is_float = header.format == SAMPLEFORMAT_IEEEFP;
    const bool is_unsigned = header.format == SAMPLEFORMAT_UINT || header.format == SAMPLEFORMAT_VOID;
    const bool is_small = header.bits == 1 || header.bits == 2 || header.bits == 4;
    const bool fits = is_float ? header.bits == 32
                      : is_unsigned
                          ? header.bits == 8 || header.bits == 16 || (is_small && header.samples == 1)
                          : false;
    if (!fits || (header.isPalette() && header.bits > 8) || (is_float && colours == 4)) {
        throw FileError(
            "its samples are " + std::to_string(header.bits) + " bits of " +
            (is_float      ? "floating point"
             : is_unsigned ? "whole numbers"
                           : "a signed or complex kind") +
            "; whole numbers of 8 or 16 bits (gray also of 1, 2 and 4) or floating point of 32 are expected");
    }
    const std::uint64_t row = (std::uint64_t{header.width} * header.samples * header.bits + 7) / 8;
    if (row * header.height / kMostDeflation > file_bytes) {
        throw FileError("it announces " + std::to_string(header.width) + "x" + std::to_string(header.height) +
                        " pixels, but its " + std::to_string(file_bytes) + " bytes cannot hold them");
    }
}

/// Takes samples from a packed row of the file to where they belong in the picture.
class Placer {
  public:
    Placer(Image& image, const Header& header)
        : image_(image), bits_(header.bits), samples_(header.samples), bytes_(image.sampleBytes()) {}

    /// `count` pixels of all samples, or of one alone (`plane`), from `row` to (x, y).
    void place(const std::uint8_t* row, std::size_t x, std::size_t y, std::size_t count, int plane) {
        std::uint8_t* to = image_.samples.data() + y * image_.rowBytes() + x * samples_ * bytes_;
        if (plane < 0 && bits_ >= 8) {
            std::memcpy(to, row, count * samples_ * bytes_);
        } else if (bits_ >= 8) {
            to += static_cast<std::size_t>(plane) * bytes_;
            for (std::size_t i = 0; i < count; ++i)
                std::memcpy(to + i * samples_ * bytes_, row + i * bytes_, bytes_);
        } else {
            for (std::size_t i = 0; i < count; ++i) {
                const std::size_t bit = i * bits_;
                to[i] =
                    static_cast<std::uint8_t>(row[bit / 8] >> (8 - bits_ - bit % 8) & ((1U << bits_) - 1));
            }
        }
    }

  private:
    Image& image_;
    unsigned bits_;
    std::size_t samples_;
    std::size_t bytes_;
};

void readStrips(TiffCodec& from, const Header& header, Placer& placer) {
    tmsize_t row_bytes = 0;
    from.call([&](TIFF* tiff) { return (row_bytes = TIFFScanlineSize(tiff)) > 0; });
    const bool separate = header.planes == PLANARCONFIG_SEPARATE && header.samples > 1;
    const std::uint64_t needed =
        (std::uint64_t{header.width} * (separate ? 1 : header.samples) * header.bits + 7) / 8;
    if (static_cast<std::uint64_t>(row_bytes) < needed)
        throw FileError("its rows are shorter than its width");
    Bytes row(static_cast<std::size_t>(row_bytes));
    for (unsigned plane = 0; plane < (separate ? header.samples : 1U); ++plane) {
        for (std::uint32_t y = 0; y < header.height; ++y) {
            from.call([&](TIFF* tiff) {
                return TIFFReadScanline(tiff, row.data(), y, static_cast<std::uint16_t>(plane)) == 1;
            });
            placer.place(row.data(), 0, y, header.width, separate ? static_cast<int>(plane) : -1);
        }
    }
}

void readTiles(TiffCodec& from, const Header& header, Placer& placer) {
    std::uint32_t wide = 0;
    std::uint32_t high = 0;
    tmsize_t row_bytes = 0;
    tmsize_t tile_bytes = 0;
    from.call([&](TIFF* tiff) {
        row_bytes = TIFFTileRowSize(tiff);
        tile_bytes = TIFFTileSize(tiff);
        return TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &wide) != 0 &&
               TIFFGetField(tiff, TIFFTAG_TILELENGTH, &high) != 0 && row_bytes > 0 && tile_bytes > 0 &&
               wide > 0 && high > 0;
    });
    const bool separate = header.planes == PLANARCONFIG_SEPARATE && header.samples > 1;
    const std::uint64_t needed =
        (std::uint64_t{wide} * (separate ? 1 : header.samples) * header.bits + 7) / 8;
    // One tile may hold far more than the picture; no writer makes tiles of more than 64 MiB.
    constexpr tmsize_t kMostTileBytes = tmsize_t{64} << 20;
    if (static_cast<std::uint64_t>(row_bytes) < needed ||
        tile_bytes / row_bytes < static_cast<tmsize_t>(high) || tile_bytes > kMostTileBytes) {
        throw FileError("its tiles have an impossible size");
    }
    Bytes tile(static_cast<std::size_t>(tile_bytes));
    for (unsigned plane = 0; plane < (separate ? header.samples : 1U); ++plane) {
        for (std::uint32_t top = 0; top < header.height; top += high) {
            for (std::uint32_t left = 0; left < header.width; left += wide) {
                from.call([&](TIFF* tiff) {
                    return TIFFReadTile(tiff, tile.data(), left, top, 0, static_cast<std::uint16_t>(plane)) >
                           0;
                });
                const std::uint32_t rows = std::min(high, header.height - top);
                const std::uint32_t columns = std::min(wide, header.width - left);
                for (std::uint32_t y = 0; y < rows; ++y) {
                    placer.place(
                        tile.data() + static_cast<std::size_t>(y) * static_cast<std::size_t>(row_bytes), left,
                        top + y, columns, separate ? static_cast<int>(plane) : -1);
                }
                if (header.width - left <= wide) break;
            }
            if (header.height - top <= high) break;
        }
    }
}

template <typename Sample>
void invertSamples(Image& image, Sample most) {
    auto* sample = reinterpret_cast<Sample*>(image.samples.data());
    const std::size_t count = image.pixelCount() * image.channels;
    for (std::size_t i = 0; i < count; ++i) {
        const bool is_alpha = image.hasAlpha() && i % image.channels == image.channels - 1;
        if (!is_alpha) sample[i] = static_cast<Sample>(most - sample[i]);
    }
}

/// Colours that are multiplied by alpha, as they are without, and back. Whole numbers come back as they were
/// where none is greater than its alpha.
template <typename Sample>
void divideByAlpha(Image& image, bool multiply) {
    auto* sample = reinterpret_cast<Sample*>(image.samples.data());
    const unsigned colours = image.colourChannels();
    constexpr bool is_float = std::is_floating_point_v<Sample>;
    const double most = is_float ? 1.0 : image.maximum();
    for (std::size_t pixel = 0; pixel < image.pixelCount(); ++pixel, sample += image.channels) {
        const double alpha = static_cast<double>(sample[colours]);
        if (alpha == most || !(alpha > 0)) continue;
        for (unsigned c = 0; c < colours; ++c) {
            const double value = static_cast<double>(sample[c]) * (multiply ? alpha / most : most / alpha);
            sample[c] = static_cast<Sample>(is_float ? value : std::min(std::floor(value + 0.5), most));
        }
    }
}

void changeAlpha(Image& image, bool multiply) {
    if (image.depth == 32) return divideByAlpha<float>(image, multiply);
    if (image.depth == 16) return divideByAlpha<std::uint16_t>(image, multiply);
    divideByAlpha<std::uint8_t>(image, multiply);
}

/// Indices become the colours they stand for.
void applyPalette(TiffCodec& from, const Header& header, Image& image) {
    std::uint16_t* maps[3] = {};
    from.call(
        [&](TIFF* tiff) { return TIFFGetField(tiff, TIFFTAG_COLORMAP, &maps[0], &maps[1], &maps[2]) != 0; });
    const std::size_t colours = std::size_t{1} << header.bits;
    bool fits_bytes = true;  // either 16 bits as they should be, or bytes as some writers put them
    bool is_bytes = true;
    for (const std::uint16_t* map : maps) {
        for (std::size_t i = 0; i < colours; ++i) {
            is_bytes = is_bytes && map[i] < 256;
            fits_bytes = fits_bytes && map[i] % 257 == 0;
        }
    }
    Bytes rgb(image.pixelCount() * 3);
    for (std::size_t i = 0; i < image.pixelCount(); ++i) {
        const std::size_t index = image.samples[i * image.channels];
        for (std::size_t c = 0; c < 3; ++c)
            rgb[3 * i + c] =
                static_cast<std::uint8_t>(is_bytes && !fits_bytes ? maps[c][index] : maps[c][index] >> 8);
    }
    image.samples = std::move(rgb);
    image.channels = 3;
    image.depth = 8;
}

/// Of a BigTIFF, which is not built as Exif data is, the texts alone.
Bytes exifOfBigTiff(TiffCodec& from, const Header& header, Notes& notes) {
    constexpr std::uint16_t kTexts[] = {TIFFTAG_DOCUMENTNAME, TIFFTAG_IMAGEDESCRIPTION, TIFFTAG_MAKE,
                                        TIFFTAG_MODEL,        TIFFTAG_SOFTWARE,         TIFFTAG_DATETIME,
                                        TIFFTAG_ARTIST,       TIFFTAG_HOSTCOMPUTER,     TIFFTAG_COPYRIGHT};
    std::vector<ExifText> texts;
    from.call([&](TIFF* tiff) {
        for (const std::uint16_t tag : kTexts) {
            const char* text = nullptr;
            if (TIFFGetField(tiff, tag, &text) != 0 && text != nullptr) texts.push_back({tag, text});
        }
        std::uint64_t at = 0;
        if (TIFFGetField(tiff, TIFFTAG_EXIFIFD, &at) != 0 || TIFFGetField(tiff, TIFFTAG_GPSIFD, &at) != 0)
            notes.emplace_back("its Exif data of exposure and place is left out: it is in a BigTIFF");
        return true;
    });
    LeftOut left_out;
    return cleanExif(makeExif(header.orientation, texts), header.width, header.height, left_out);
}

void describe(TiffCodec& from, const Bytes& bytes, const Header& header, Image& image, LeftOut& left_out) {
    float x = 0;
    float y = 0;
    std::uint16_t unit = RESUNIT_INCH;
    std::uint32_t profile_size = 0;
    const std::uint8_t* profile = nullptr;
    std::uint32_t xmp_size = 0;
    const char* xmp = nullptr;
    bool has_density = false;
    from.call([&](TIFF* tiff) {
        has_density = TIFFGetField(tiff, TIFFTAG_XRESOLUTION, &x) != 0 &&
                      TIFFGetField(tiff, TIFFTAG_YRESOLUTION, &y) != 0;
        TIFFGetFieldDefaulted(tiff, TIFFTAG_RESOLUTIONUNIT, &unit);
        if (TIFFGetField(tiff, TIFFTAG_ICCPROFILE, &profile_size, &profile) == 0) profile = nullptr;
        if (TIFFGetField(tiff, TIFFTAG_XMLPACKET, &xmp_size, &xmp) == 0) xmp = nullptr;
        return true;
    });
    if (profile != nullptr && profile_size > 0 && !header.isPalette())
        image.chunks.push_back(makeProfileChunk({profile, profile + profile_size}));
    const double metre = unit == RESUNIT_CENTIMETER ? 100 : 1 / kMetresPerInch;
    constexpr double kMost = 4e9;
    if (has_density && unit != RESUNIT_NONE && x > 0 && y > 0 && x * metre < kMost && y * metre < kMost) {
        image.chunks.push_back(makeDensityChunk({static_cast<std::uint32_t>(std::lround(x * metre)),
                                                 static_cast<std::uint32_t>(std::lround(y * metre)), true}));
    }
    const bool is_big = bytes[2] == kBigTiff || bytes[3] == kBigTiff;
    Bytes exif = is_big ? exifOfBigTiff(from, header, image.notes)
                        : cleanExifOfTiff(bytes, image.width, image.height, left_out);
    if (exifOrientation(exif) != header.orientation && header.orientation >= 1 && header.orientation <= 8)
        exif = makeExif(header.orientation, exifTexts(exif));
    if (!exif.empty()) image.chunks.push_back(makeChunk("eXIf", std::move(exif)));
    if (xmp != nullptr) {
        std::string packet(xmp, xmp_size);
        while (!packet.empty() && packet.back() == '\0') packet.pop_back();
        packet = cleanXmp(packet, image.width, image.height, left_out);
        if (!packet.empty()) image.chunks.push_back(makeXmpChunk(packet));
    }
    if (header.has_photoshop) left_out.add("Photoshop's and IPTC data");
    if (header.more_pages) left_out.add("all pages but one");
}

/// Samples of less than a byte packed into rows.
Bytes packedRow(const std::uint8_t* samples, std::size_t count, unsigned bits) {
    Bytes row((count * bits + 7) / 8);
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t bit = i * bits;
        row[bit / 8] = static_cast<std::uint8_t>(row[bit / 8] | samples[i] << (8 - bits - bit % 8));
    }
    return row;
}

void setDescription(TIFF* tiff, const Image& image, const Bytes& profile, const std::string& xmp) {
    if (!profile.empty())
        TIFFSetField(tiff, TIFFTAG_ICCPROFILE, static_cast<std::uint32_t>(profile.size()), profile.data());
    if (!xmp.empty())
        TIFFSetField(tiff, TIFFTAG_XMLPACKET, static_cast<std::uint32_t>(xmp.size()), xmp.data());
    if (const PngChunk* chunk = findChunk(image.chunks, "pHYs")) {
        const PixelDensity density = densityOf(*chunk);
        if (density.per_metre && density.x > 0 && density.y > 0) {
            TIFFSetField(tiff, TIFFTAG_XRESOLUTION, density.x * kMetresPerInch);
            TIFFSetField(tiff, TIFFTAG_YRESOLUTION, density.y * kMetresPerInch);
            TIFFSetField(tiff, TIFFTAG_RESOLUTIONUNIT, RESUNIT_INCH);
        }
    }
}

}  // namespace

Image decodeTiff(const Bytes& bytes, std::uint64_t most_pixels) {
    TiffCodec from(bytes);
    Header header = readHeader(from);
    check(header, bytes.size(), most_pixels);
    Image image;
    image.format = ImageFormat::tiff;
    image.width = header.width;
    image.height = header.height;
    image.channels = header.samples;
    image.cmyk = header.photometric == PHOTOMETRIC_SEPARATED;
    image.depth = header.bits;
    image.alpha_is_associated = header.extra_count > 0 && header.extra_kind == EXTRASAMPLE_ASSOCALPHA;
    image.samples.resize(image.rowBytes() * image.height);
    Placer placer(image, header);
    if (header.tiled) {
        readTiles(from, header, placer);
    } else {
        readStrips(from, header, placer);
    }
    if (header.isPalette()) applyPalette(from, header, image);
    if (header.photometric == PHOTOMETRIC_MINISWHITE) {
        if (image.depth == 32) invertSamples<float>(image, 1.0F);
        if (image.depth == 16) invertSamples<std::uint16_t>(image, 0xffff);
        if (image.depth <= 8) invertSamples<std::uint8_t>(image, static_cast<std::uint8_t>(image.maximum()));
    }
    if (image.alpha_is_associated) changeAlpha(image, false);
    LeftOut left_out;
    describe(from, bytes, header, image, left_out);
    left_out.appendTo(image.notes);
    return image;
}

Bytes encodeTiff(const Image& image, Notes& notes) {
    Image associated;
    if (image.alpha_is_associated && image.hasAlpha()) {
        associated = image;
        changeAlpha(associated, true);
    }
    const Image& from = associated.samples.empty() ? image : associated;
    const PngChunk* profile_chunk = findChunk(from.chunks, "iCCP");
    const Bytes profile = profile_chunk == nullptr ? Bytes() : profileOf(*profile_chunk);
    const PngChunk* exif_chunk = findChunk(from.chunks, "eXIf");
    const Bytes exif = exif_chunk == nullptr ? Bytes() : exif_chunk->data;
    const std::string xmp = xmpOf(from.chunks);
    constexpr std::size_t kMostClassic = std::size_t{3} << 30;
    const bool is_big = from.rowBytes() * from.height > kMostClassic;
    Bytes bytes;
    {
        const std::string order = exif.empty() ? "w" : isBigEndian(exif) ? "wb" : "wl";
        TiffCodec to(&bytes, (order + (is_big ? "8" : "")).c_str());
        to.call([&](TIFF* tiff) {
            TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, from.width);
            TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, from.height);
            TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, from.depth);
            TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, from.channels);
            TIFFSetField(tiff, TIFFTAG_SAMPLEFORMAT,
                         from.depth == 32 ? SAMPLEFORMAT_IEEEFP : SAMPLEFORMAT_UINT);
            TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
            TIFFSetField(tiff, TIFFTAG_ORIENTATION, exifOrientation(exif));
            TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC,
                         from.cmyk                    ? PHOTOMETRIC_SEPARATED
                         : from.colourChannels() == 3 ? PHOTOMETRIC_RGB
                                                      : PHOTOMETRIC_MINISBLACK);
            if (from.hasAlpha()) {
                const std::uint16_t kind =
                    from.alpha_is_associated ? EXTRASAMPLE_ASSOCALPHA : EXTRASAMPLE_UNASSALPHA;
                TIFFSetField(tiff, TIFFTAG_EXTRASAMPLES, 1, &kind);
            }
            TIFFSetField(tiff, TIFFTAG_COMPRESSION, COMPRESSION_ADOBE_DEFLATE);
            if (from.depth >= 8)
                TIFFSetField(tiff, TIFFTAG_PREDICTOR,
                             from.depth == 32 ? PREDICTOR_FLOATINGPOINT : PREDICTOR_HORIZONTAL);
            setDescription(tiff, from, profile, xmp);
            TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, TIFFDefaultStripSize(tiff, 0));
            return true;
        });
        Bytes row(from.rowBytes());
        for (std::uint32_t y = 0; y < from.height; ++y) {
            const std::uint8_t* samples = from.samples.data() + y * from.rowBytes();
            row.assign(samples, samples + from.rowBytes());  // libtiff changes what it is given
            if (from.depth < 8) row = packedRow(samples, from.width, from.depth);
            to.call([&](TIFF* tiff) { return TIFFWriteScanline(tiff, row.data(), y, 0) == 1; });
        }
        to.call([](TIFF* tiff) { return TIFFFlush(tiff) == 1; });
        to.close();
    }
    if (is_big && !exif.empty())
        notes.emplace_back(
            "Exif data is left out but for the orientation: the picture is too large for a TIFF with it");
    addExifToTiff(exif, bytes);
    return bytes;
}

}  // namespace pconv::app
