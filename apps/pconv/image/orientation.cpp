#include "image/orientation.h"

#include "image/exif.h"
#include "image/png_chunks.h"

namespace pconv::app {

unsigned orientationOf(const Image& image) {
    const PngChunk* chunk = findChunk(image.chunks, "eXIf");
    return chunk == nullptr ? 1 : exifOrientation(chunk->data);
}

Place storedPlace(unsigned orientation, std::uint32_t width, std::uint32_t height, Place displayed) {
    const std::uint32_t x = displayed.x;
    const std::uint32_t y = displayed.y;
    const std::uint32_t right = width - 1;
    const std::uint32_t bottom = height - 1;
    switch (orientation) {
        case 2:  // mirrored
            return {right - x, y};
        case 3:  // upside down
            return {right - x, bottom - y};
        case 4:  // mirrored and upside down
            return {x, bottom - y};
        case 5:  // the first stored row is displayed at the left
            return {y, x};
        case 6:  // ... at the right
            return {y, bottom - x};
        case 7:  // ... at the right, from the bottom up
            return {right - y, bottom - x};
        case 8:  // ... at the left, from the bottom up
            return {right - y, x};
        default:
            return displayed;
    }
}

}  // namespace pconv::app
