#include "image/resize.h"

#include <algorithm>
#include <cmath>

#include "image/orientation.h"

namespace pconv::app {
namespace {

constexpr std::size_t kPlanes = 3;

/// The pixels of a line that one of the scaled line is a mean of.
struct Window {
    std::uint32_t begin = 0;
    std::vector<float> weights;
};

/// Those of `count` pixels from `first` on, where a line of `length` becomes one of `scaled`.
std::vector<Window> windowsOf(std::uint32_t length, std::uint32_t scaled, std::uint32_t first,
                              std::uint32_t count) {
    const double ratio = static_cast<double>(length) / scaled;
    const double reach = std::max(ratio, 1.0);
    std::vector<Window> windows(count);
    for (std::uint32_t i = 0; i < count; ++i) {
        const double middle = (first + i + 0.5) * ratio;
        const auto begin = static_cast<std::uint32_t>(std::max(0.0, std::floor(middle - reach + 0.5)));
        const auto end = static_cast<std::uint32_t>(
            std::min(static_cast<double>(length), std::floor(middle + reach + 0.5)));
        std::vector<double> weights;
        double sum = 0;
        for (std::uint32_t at = begin; at < end; ++at) {
            weights.push_back(std::max(0.0, 1 - std::abs(at + 0.5 - middle) / reach));
            sum += weights.back();
        }
        windows[i].begin = begin;
        for (const double weight : weights) windows[i].weights.push_back(static_cast<float>(weight / sum));
    }
    return windows;
}

/// Of a side that is not the shorter one, rounded down as torchvision does.
std::uint32_t scaledSide(std::uint32_t side, std::uint32_t shortest, std::uint32_t to) {
    return static_cast<std::uint32_t>(std::uint64_t{side} * to / shortest);
}

std::uint32_t middleOf(std::uint32_t side, std::uint32_t size) {
    return static_cast<std::uint32_t>(std::nearbyint((side - size) / 2.0));
}

}  // namespace

std::vector<float> scaledMiddle(const Image& image, std::uint32_t shorter, std::uint32_t size) {
    const unsigned turn = orientationOf(image);
    const std::uint32_t width = swapsSides(turn) ? image.height : image.width;
    const std::uint32_t height = swapsSides(turn) ? image.width : image.height;
    const std::uint32_t shortest = std::min(width, height);
    const std::uint32_t scaled_width = scaledSide(width, shortest, shorter);
    const std::uint32_t scaled_height = scaledSide(height, shortest, shorter);
    const auto columns = windowsOf(width, scaled_width, middleOf(scaled_width, size), size);
    const auto rows = windowsOf(height, scaled_height, middleOf(scaled_height, size), size);

    // Rows of the picture, scaled, as far as the windows reach.
    const std::uint32_t first = rows.front().begin;
    const std::uint32_t end = rows.back().begin + static_cast<std::uint32_t>(rows.back().weights.size());
    std::vector<float> lines(std::size_t{end - first} * kPlanes * size);
    std::vector<float> line(std::size_t{width} * kPlanes);
    for (std::uint32_t y = first; y < end; ++y) {
        for (std::uint32_t x = columns.front().begin; x < width; ++x) {
            const Place place = storedPlace(turn, image.width, image.height, {x, y});
            const std::size_t pixel = (std::size_t{place.y} * image.width + place.x) * image.channels;
            for (std::size_t c = 0; c < kPlanes; ++c)
                line[x * kPlanes + c] = image.level(pixel + (image.colourChannels() == 1 ? 0 : c));
        }
        for (std::size_t c = 0; c < kPlanes; ++c)
            for (std::uint32_t x = 0; x < size; ++x) {
                float sum = 0;
                std::size_t at = columns[x].begin * kPlanes + c;
                for (const float weight : columns[x].weights) {
                    sum += weight * line[at];
                    at += kPlanes;
                }
                lines[((y - first) * kPlanes + c) * size + x] = sum;
            }
    }
    std::vector<float> planes(kPlanes * size * size, 0.0F);
    for (std::size_t c = 0; c < kPlanes; ++c)
        for (std::uint32_t y = 0; y < size; ++y)
            for (std::size_t i = 0; i < rows[y].weights.size(); ++i)
                for (std::uint32_t x = 0; x < size; ++x)
                    planes[(c * size + y) * size + x] +=
                        rows[y].weights[i] * lines[((rows[y].begin - first + i) * kPlanes + c) * size + x];
    return planes;
}

}  // namespace pconv::app
