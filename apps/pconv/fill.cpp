#include "fill.h"

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "hole.h"
#include "image/opacity.h"

namespace pconv::app {
namespace {

/// The caller's progress, of which one fill is a share.
struct Progress {
    PconvProgressCallback callback;
    void* user;
    double start;
    double share;
    FillNetwork network;
};

int forward(void* user, double done) {
    const auto& progress = *static_cast<const Progress*>(user);
    return progress.callback(progress.user, progress.start + progress.share * done);
}

PconvSampleType sampleTypeOf(const Image& image) {
    return image.depth == 32   ? PCONV_SAMPLE_TYPE_F32
           : image.depth == 16 ? PCONV_SAMPLE_TYPE_U16
                               : PCONV_SAMPLE_TYPE_U8;
}

/// Fills `channels` of the interleaved samples from channel `first` on. A byte between 0 and 255 in `hole`
/// says how little of a pixel is known.
void fillChannels(Image& image, unsigned first, unsigned channels, const Bytes& hole, const Device& device,
                  Progress progress) {
    PconvImage view = pconvDefaultImage();
    view.pixels = image.samples.data() + std::size_t{first} * image.sampleBytes();
    view.width = image.width;
    view.height = image.height;
    view.channels = static_cast<int32_t>(channels);
    view.sample_type = sampleTypeOf(image);
    view.pixel_stride = image.channels;
    view.row_stride = static_cast<int64_t>(image.rowBytes());
    PconvInpaintOptions options = pconvDefaultInpaintOptions();
    options.progress = forward;
    options.user = &progress;
    options.mask_levels = PCONV_MASK_LEVELS_CONFIDENCE;
    const FillNetwork& network = progress.network;
    if (network.network != nullptr && first == 0)
        detail::check(pconvInpaintWithNetwork(device.get(), network.model, network.network, &view,
                                              hole.data(), &options, network.tile));
    else
        detail::check(pconvInpaint(device.get(), &view, hole.data(), &options));
}

void scaleSamples(Image& image, unsigned from, unsigned to) {
    for (std::uint8_t& sample : image.samples) {
        sample = static_cast<std::uint8_t>((sample * to + from / 2) / from);
    }
}

/// The alpha of what is opaque.
template <typename Sample>
Sample fullOf(const Image& image) {
    if constexpr (std::is_floating_point_v<Sample>) return 1;
    return static_cast<Sample>(image.maximum());
}

/// Visits the samples of the pixels that are marked.
template <typename Sample, typename Visit>
void forMarked(Image& image, const Bytes& marks, Visit visit) {
    auto* samples = reinterpret_cast<Sample*>(image.samples.data());
    for (std::size_t i = 0; i < marks.size(); ++i) {
        if (marks[i] != 0) visit(samples + i * image.channels, i);
    }
}

template <typename Sample>
bool isAlphaFullOutside(const Image& image, const Bytes& hole) {
    const auto* alpha = reinterpret_cast<const Sample*>(image.samples.data()) + image.colourChannels();
    for (std::size_t i = 0; i < hole.size(); ++i) {
        if (hole[i] == 0 && alpha[i * image.channels] != fullOf<Sample>(image)) return false;
    }
    return true;
}

template <typename Sample>
void fillSamples(Image& image, const Bytes& hole, bool opaque, const Device& device, Progress progress) {
    const unsigned colours = image.colourChannels();
    Bytes unknown = hole;
    if (canBeTransparent(image) && !opaque) {
        const Bytes unseen = softHole(image);
        std::transform(hole.begin(), hole.end(), unseen.begin(), unknown.begin(),
                       [](std::uint8_t a, std::uint8_t b) { return std::max(a, b); });
    }
    const bool fill_alpha = image.hasAlpha() && !opaque && !isAlphaFullOutside<Sample>(image, hole);
    const Bytes original = unknown == hole ? Bytes() : image.samples;
    progress.share = fill_alpha ? 0.5 : 1.0;
    fillChannels(image, 0, colours, unknown, device, progress);
    if (!original.empty()) {
        const auto* old = reinterpret_cast<const Sample*>(original.data());
        forMarked<Sample>(image, unknown, [&](Sample* pixel, std::size_t i) {
            if (hole[i] == 0) std::copy_n(old + i * image.channels, colours, pixel);
        });
    }
    if (fill_alpha) {
        progress.start = progress.share;
        fillChannels(image, colours, 1, hole, device, progress);
    } else if (image.hasAlpha()) {
        forMarked<Sample>(image, hole,
                          [&](Sample* pixel, std::size_t) { pixel[colours] = fullOf<Sample>(image); });
    }
}

/// A filled pixel that happens to have the transparent colour moves one level away from it.
template <typename Sample>
void avoidTransparentColour(Image& image, const Bytes& hole) {
    const auto& key = image.transparent_colour;
    forMarked<Sample>(image, hole, [&](Sample* pixel, std::size_t) {
        if (!std::equal(pixel, pixel + image.channels, key.begin())) return;
        pixel[0] = static_cast<Sample>(pixel[0] == 0 ? 1 : pixel[0] - 1);
    });
}

}  // namespace

void fillHole(Image& image, const Bytes& hole, bool opaque, const Device& device,
              PconvProgressCallback callback, void* user, const FillNetwork& network) {
    const Progress progress{callback, user, 0, 1, network};
    if (image.depth == 32) {
        fillSamples<float>(image, hole, opaque, device, progress);
        return;
    }
    if (image.depth == 16) {
        fillSamples<std::uint16_t>(image, hole, opaque, device, progress);
        if (image.has_transparent_colour && !opaque) avoidTransparentColour<std::uint16_t>(image, hole);
        return;
    }
    // The library knows no samples below 8 bits; scaled up and back they keep their values.
    const unsigned maximum = image.maximum();
    const unsigned depth = image.depth;
    constexpr unsigned kByte = 255;
    const auto key = image.transparent_colour;
    if (depth < 8) {
        scaleSamples(image, maximum, kByte);
        image.transparent_colour[0] = static_cast<std::uint16_t>(key[0] * kByte / maximum);
        image.depth = 8;
    }
    fillSamples<std::uint8_t>(image, hole, opaque, device, progress);
    if (depth < 8) {
        image.depth = depth;
        image.transparent_colour = key;
        scaleSamples(image, kByte, maximum);
    }
    if (image.has_transparent_colour && !opaque) avoidTransparentColour<std::uint8_t>(image, hole);
}

}  // namespace pconv::app
