#include "image/convert.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <optional>

#include "files/file_error.h"
#include "image/opacity.h"
#include "image/png_chunks.h"

namespace pconv::app {
namespace {

using Vector = std::array<double, 3>;
using Matrix = std::array<Vector, 3>;

Matrix multiply(const Matrix& a, const Matrix& b) {
    Matrix product{};
    for (std::size_t i = 0; i < 3; ++i) {
        for (std::size_t j = 0; j < 3; ++j) {
            for (std::size_t k = 0; k < 3; ++k) product[i][j] += a[i][k] * b[k][j];
        }
    }
    return product;
}

Vector multiply(const Matrix& a, const Vector& b) {
    Vector product{};
    for (std::size_t i = 0; i < 3; ++i) {
        for (std::size_t k = 0; k < 3; ++k) product[i] += a[i][k] * b[k];
    }
    return product;
}

std::optional<Matrix> inverse(const Matrix& m) {
    const auto minor = [&m](std::size_t i, std::size_t j) {
        const std::size_t a = (i + 1) % 3;
        const std::size_t b = (i + 2) % 3;
        const std::size_t c = (j + 1) % 3;
        const std::size_t d = (j + 2) % 3;
        return m[a][c] * m[b][d] - m[a][d] * m[b][c];
    };
    const double determinant = m[0][0] * minor(0, 0) + m[0][1] * minor(0, 1) + m[0][2] * minor(0, 2);
    if (std::abs(determinant) < 1e-12) return std::nullopt;
    Matrix result{};
    for (std::size_t i = 0; i < 3; ++i) {
        for (std::size_t j = 0; j < 3; ++j) result[j][i] = minor(i, j) / determinant;
    }
    return result;
}

/// Chromaticities of white, red, green and blue.
using Primaries = std::array<std::array<double, 2>, 4>;

constexpr Primaries kStandard = {{{0.3127, 0.3290}, {0.64, 0.33}, {0.30, 0.60}, {0.15, 0.06}}};

/// Linear RGB of these primaries to XYZ; nothing where they span no space.
std::optional<Matrix> toXyz(const Primaries& primaries) {
    Matrix columns{};
    for (std::size_t c = 0; c < 3; ++c) {
        const double x = primaries[c + 1][0];
        const double y = primaries[c + 1][1];
        if (y <= 0) return std::nullopt;
        columns[0][c] = x / y;
        columns[1][c] = 1;
        columns[2][c] = (1 - x - y) / y;
    }
    const std::optional<Matrix> inverted = inverse(columns);
    if (!inverted || primaries[0][1] <= 0) return std::nullopt;
    const double x = primaries[0][0];
    const double y = primaries[0][1];
    const Vector scale = multiply(*inverted, Vector{x / y, 1, (1 - x - y) / y});
    for (Vector& row : columns) {
        for (std::size_t c = 0; c < 3; ++c) row[c] *= scale[c];
    }
    return columns;
}

/// Linear RGB of these primaries to sRGB's. White becomes white (Bradford's adaptation).
std::optional<Matrix> toStandardPrimaries(const Primaries& primaries) {
    constexpr Matrix kBradford = {
        {{0.8951, 0.2664, -0.1614}, {-0.7502, 1.7135, 0.0367}, {0.0389, -0.0685, 1.0296}}};
    const std::optional<Matrix> from = toXyz(primaries);
    const std::optional<Matrix> standard = toXyz(kStandard);
    if (!from || !standard) return std::nullopt;
    const std::optional<Matrix> back = inverse(*standard);
    const std::optional<Matrix> uncone = inverse(kBradford);
    const Vector white = multiply(kBradford, multiply(*from, Vector{1, 1, 1}));
    const Vector wanted = multiply(kBradford, multiply(*standard, Vector{1, 1, 1}));
    if (!back || !uncone) return std::nullopt;
    Matrix scale{};
    for (std::size_t c = 0; c < 3; ++c) {
        if (std::abs(white[c]) < 1e-9) return std::nullopt;
        scale[c][c] = wanted[c] / white[c];
    }
    return multiply(*back, multiply(multiply(*uncone, multiply(scale, kBradford)), *from));
}

double standardCurve(double light) {
    const double v = std::clamp(light, 0.0, 1.0);
    return v <= 0.0031308 ? 12.92 * v : 1.055 * std::pow(v, 1 / 2.4) - 0.055;
}

double standardLight(double value) {
    return value <= 0.04045 ? value / 12.92 : std::pow((value + 0.055) / 1.055, 2.4);
}

/// What a picture's numbers mean.
struct Light {
    std::string name;
    std::function<double(double)> decode;  // to linear light
    Primaries primaries = kStandard;
};

std::uint32_t big32(const Bytes& data, std::size_t at) {
    return std::uint32_t{data[at]} << 24 | std::uint32_t{data[at + 1]} << 16 |
           std::uint32_t{data[at + 2]} << 8 | data[at + 3];
}

Light lightOfCicp(const Bytes& data) {
    const unsigned primaries = data[0];
    const unsigned transfer = data[1];
    Light light;
    light.name = "cICP " + std::to_string(primaries) + ", " + std::to_string(transfer);
    const auto refuse = [&light](const std::string& why) {
        throw FileError("the picture is in " + light.name + ": " + why +
                        "; expected PNG as the output's format");
    };
    if (transfer == 16 || transfer == 18) {
        refuse(std::string(transfer == 16 ? "PQ" : "HLG") +
               " light goes beyond white, which this format cannot hold without being told how to darken it");
    }
    if (data[2] != 0 || data[3] != 1) refuse("its numbers are not RGB of full range");
    switch (primaries) {
        case 1:
            break;
        case 5:
            light.primaries = {{{0.3127, 0.3290}, {0.64, 0.33}, {0.29, 0.60}, {0.15, 0.06}}};
            break;
        case 6:
        case 7:
            light.primaries = {{{0.3127, 0.3290}, {0.63, 0.34}, {0.31, 0.595}, {0.155, 0.07}}};
            break;
        case 9:
            light.primaries = {{{0.3127, 0.3290}, {0.708, 0.292}, {0.170, 0.797}, {0.131, 0.046}}};
            break;
        case 11:
            light.primaries = {{{0.314, 0.351}, {0.680, 0.320}, {0.265, 0.690}, {0.150, 0.060}}};
            break;
        case 12:
            light.primaries = {{{0.3127, 0.3290}, {0.680, 0.320}, {0.265, 0.690}, {0.150, 0.060}}};
            break;
        default:
            refuse("these primaries are not known");
    }
    switch (transfer) {
        case 1:
        case 6:
        case 14:
        case 15:
            light.decode = [](double v) {
                return v < 0.081 ? v / 4.5 : std::pow((v + 0.099) / 1.099, 1 / 0.45);
            };
            break;
        case 4:
            light.decode = [](double v) { return std::pow(v, 2.2); };
            break;
        case 5:
            light.decode = [](double v) { return std::pow(v, 2.8); };
            break;
        case 8:
            light.decode = [](double v) { return v; };
            break;
        case 13:
            light.decode = standardLight;
            break;
        default:
            refuse("this curve is not known");
    }
    return light;
}

bool isNear(const Primaries& a, const Primaries& b) {
    for (std::size_t i = 0; i < a.size(); ++i) {
        for (std::size_t k = 0; k < 2; ++k) {
            if (std::abs(a[i][k] - b[i][k]) > 0.002) return false;
        }
    }
    return true;
}

/// What the chunks say, in the order in which PNG ranks them; nothing where it is sRGB or a profile says it.
std::optional<Light> lightOf(const Image& image) {
    const PngChunk* cicp = findChunk(image.chunks, "cICP");
    if (cicp != nullptr && cicp->data.size() == 4) {
        Light light = lightOfCicp(cicp->data);
        if (isNear(light.primaries, kStandard) && cicp->data[1] == 13) return std::nullopt;
        return light;
    }
    if (findChunk(image.chunks, "iCCP") != nullptr || findChunk(image.chunks, "sRGB") != nullptr)
        return std::nullopt;
    const PngChunk* gamma = findChunk(image.chunks, "gAMA");
    const PngChunk* chromaticities = findChunk(image.chunks, "cHRM");
    Light light;
    light.decode = standardLight;
    constexpr double kUnit = 100'000;
    if (gamma != nullptr && gamma->data.size() == 4 && big32(gamma->data, 0) != 0) {
        const double exponent = big32(gamma->data, 0) / kUnit;
        constexpr double kOfStandard = 0.45455;
        if (std::abs(exponent - kOfStandard) > 0.01) {
            light.decode = [exponent](double v) { return std::pow(v, 1 / exponent); };
            light.name = "gAMA " + std::to_string(exponent).substr(0, 5);
        }
    }
    if (chromaticities != nullptr && chromaticities->data.size() == 32) {
        for (std::size_t i = 0; i < 4; ++i) {
            for (std::size_t k = 0; k < 2; ++k)
                light.primaries[i][k] = big32(chromaticities->data, (2 * i + k) * 4) / kUnit;
        }
        if (isNear(light.primaries, kStandard) || !toStandardPrimaries(light.primaries)) {
            light.primaries = kStandard;
        } else {
            light.name += light.name.empty() ? "cHRM's primaries" : " and cHRM's primaries";
        }
    }
    if (light.name.empty()) return std::nullopt;
    return light;
}

void drop(Image& image, std::initializer_list<const char*> types) {
    const auto is_dropped = [&](const PngChunk& chunk) {
        return std::any_of(types.begin(), types.end(), [&](const char* type) {
            return std::equal(chunk.type.begin(), chunk.type.end(), type);
        });
    };
    image.chunks.erase(std::remove_if(image.chunks.begin(), image.chunks.end(), is_dropped),
                       image.chunks.end());
}

/// The same picture with room for other samples.
Image emptyCopy(const Image& image, unsigned channels, unsigned depth) {
    Image copy;
    copy.format = image.format;
    copy.alpha_is_associated = image.alpha_is_associated;
    copy.width = image.width;
    copy.height = image.height;
    copy.channels = channels;
    copy.depth = depth;
    copy.chunks = image.chunks;
    copy.samples.resize(copy.rowBytes() * copy.height);
    return copy;
}

void setLevel(Image& image, std::size_t index, double level) {
    const double scaled = std::clamp(level, 0.0, 1.0) * image.maximum() + 0.5;
    if (image.depth == 16) {
        const auto value = static_cast<std::uint16_t>(scaled);
        std::memcpy(&image.samples[2 * index], &value, sizeof value);
    } else {
        image.samples[index] = static_cast<std::uint8_t>(scaled);
    }
}

}  // namespace

void checkLight(const Image& image) {
    lightOf(image);
}

Image toStandardLight(const Image& image, Notes& notes) {
    const std::optional<Light> light = lightOf(image);
    if (!light) return image;
    constexpr unsigned kDepth = 16;  // so that rounding to 8 bits, where it follows, is the only one
    Image copy = emptyCopy(image, image.channels, kDepth);
    drop(copy, {"cICP", "gAMA", "cHRM", "mDCV", "cLLI", "sBIT", "bKGD"});
    std::vector<double> table(image.depth == 32 ? 0 : std::size_t{image.maximum()} + 1);
    for (std::size_t i = 0; i < table.size(); ++i)
        table[i] = light->decode(static_cast<double>(i) / static_cast<double>(table.size() - 1));
    const auto linear = [&](std::size_t index) {
        return table[image.depth == 16 ? image.sampleAs<std::uint16_t>(index) : image.samples[index]];
    };
    const bool coloured = image.colourChannels() == 3 && !isNear(light->primaries, kStandard);
    const Matrix matrix = coloured ? toStandardPrimaries(light->primaries).value() : Matrix{};
    for (std::size_t pixel = 0; pixel < image.pixelCount(); ++pixel) {
        const std::size_t first = pixel * image.channels;
        if (coloured) {
            const Vector rgb = multiply(matrix, Vector{linear(first), linear(first + 1), linear(first + 2)});
            for (std::size_t c = 0; c < 3; ++c) setLevel(copy, first + c, standardCurve(rgb[c]));
        } else {
            for (unsigned c = 0; c < image.colourChannels(); ++c)
                setLevel(copy, first + c, standardCurve(linear(first + c)));
        }
        const std::size_t alpha = first + image.channels - 1;
        if (image.hasAlpha()) setLevel(copy, alpha, image.level(alpha));
    }
    notes.push_back("converted from " + light->name +
                    " to sRGB, since the format cannot say what light it is in");
    return copy;
}

Image toRgb(const Image& image, Notes& notes) {
    const unsigned depth = image.depth == 16 ? 16 : 8;
    Image copy = emptyCopy(image, image.hasAlpha() ? 4 : 3, depth);
    drop(copy, {"iCCP"});
    for (std::size_t pixel = 0; pixel < image.pixelCount(); ++pixel) {
        const std::size_t from = pixel * image.channels;
        const std::size_t to = pixel * copy.channels;
        const double light = 1.0 - image.level(from + 3);
        for (std::size_t c = 0; c < 3; ++c) setLevel(copy, to + c, (1.0 - image.level(from + c)) * light);
        if (image.hasAlpha()) setLevel(copy, to + 3, image.level(from + 4));
    }
    notes.emplace_back("converted from CMYK to RGB by the plain formula, without an ICC profile");
    return copy;
}

Image toAlphaChannel(const Image& image) {
    const unsigned depth = image.depth == 16 ? 16 : 8;
    Image copy = emptyCopy(image, image.channels + 1, depth);
    for (std::size_t pixel = 0; pixel < image.pixelCount(); ++pixel) {
        const std::size_t to = pixel * copy.channels;
        for (unsigned c = 0; c < image.channels; ++c)
            setLevel(copy, to + c, image.level(pixel * image.channels + c));
        setLevel(copy, to + image.channels, opacityOf(image, pixel));
    }
    return copy;
}

}  // namespace pconv::app
