// JPEG files of kinds that pconv reads and does not write, for tests of each.
#pragma once

#include <cstdio>

#include <jpeglib.h>

#include <cstdlib>

#include "image/image.h"

namespace pconv::test {

// A JPEG as another program would write it: with a comment, progressive, in any of its colours; subsampled,
// or of the best quality.
inline app::Bytes makeJpeg(const app::Image& image, J_COLOR_SPACE space, bool progressive,
                           bool best = false) {
    jpeg_compress_struct codec{};
    jpeg_error_mgr errors{};
    codec.err = jpeg_std_error(&errors);
    jpeg_create_compress(&codec);
    unsigned char* memory = nullptr;
    unsigned long size = 0;
    jpeg_mem_dest(&codec, &memory, &size);
    codec.image_width = image.width;
    codec.image_height = image.height;
    codec.input_components = static_cast<int>(image.channels);
    codec.in_color_space = image.channels == 1 ? JCS_GRAYSCALE : image.channels == 3 ? JCS_RGB : JCS_CMYK;
    jpeg_set_defaults(&codec);
    jpeg_set_colorspace(&codec, space);
    if (best) {
        jpeg_set_quality(&codec, 100, TRUE);
        for (int c = 0; c < codec.num_components; ++c)
            codec.comp_info[c].h_samp_factor = codec.comp_info[c].v_samp_factor = 1;
    }
    codec.density_unit = 2;
    codec.X_density = 100;
    codec.Y_density = 50;
    if (progressive) jpeg_simple_progression(&codec);
    jpeg_start_compress(&codec, TRUE);
    jpeg_write_marker(&codec, JPEG_COM, reinterpret_cast<const JOCTET*>("a comment"), 9);
    for (std::size_t y = 0; y < image.height; ++y) {
        app::Bytes row(
            image.samples.begin() + static_cast<std::ptrdiff_t>(y * image.width * image.channels),
            image.samples.begin() + static_cast<std::ptrdiff_t>((y + 1) * image.width * image.channels));
        JSAMPROW rows[] = {row.data()};
        jpeg_write_scanlines(&codec, rows, 1);
    }
    jpeg_finish_compress(&codec);
    app::Bytes bytes(memory, memory + size);
    jpeg_destroy_compress(&codec);
    std::free(memory);
    return bytes;
}

}  // namespace pconv::test
