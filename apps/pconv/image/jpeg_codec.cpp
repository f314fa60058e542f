#include "image/jpeg_codec.h"

#include <jerror.h>

#include <cstdlib>

namespace pconv::app {
namespace {

JpegErrors& errorsOf(j_common_ptr codec) {
    return *reinterpret_cast<JpegErrors*>(codec->err);
}

[[noreturn]] void onError(j_common_ptr codec) {
    char fault[JMSG_LENGTH_MAX];
    codec->err->format_message(codec, fault);
    errorsOf(codec).guard.leave(codec->err->msg_code == JERR_OUT_OF_MEMORY ? nullptr : fault);
}

/// libjpeg fills what a damaged file lacks with gray and warns; here a damaged file is an error.
void onMessage(j_common_ptr codec, int level) {
    if (level >= 0) return;
    switch (codec->err->msg_code) {
        case JWRN_BOGUS_ICC:
            errorsOf(codec).bogus_profile = true;
            return;
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

/// A progressive file may announce any number of passes over the picture; nobody needs so many.
void onProgress(j_common_ptr codec) {
    constexpr int kMostScans = 500;
    if (codec->is_decompressor == 0) return;
    if (reinterpret_cast<j_decompress_ptr>(codec)->input_scan_number <= kMostScans) return;
    errorsOf(codec).guard.leave("more than 500 scans");
}

}  // namespace

JpegErrors::JpegErrors() : base() {
    jpeg_std_error(&base);
    base.error_exit = onError;
    base.emit_message = onMessage;
    base.output_message = onOutput;
}

// By way of another constructor, so that the destructor runs where this one throws.
JpegReader::JpegReader(const std::uint8_t* data, std::size_t size) : JpegReader() {
    call([data, size](jpeg_decompress_struct& codec) {
        jpeg_create_decompress(&codec);
        jpeg_mem_src(&codec, data, static_cast<unsigned long>(size));
    });
    progress_.progress_monitor = onProgress;
    codec_.progress = &progress_;
}

JpegWriter::JpegWriter() : JpegWriter(Empty{}) {
    call([this](jpeg_compress_struct& codec) {
        jpeg_create_compress(&codec);
        jpeg_mem_dest(&codec, &memory_, &size_);
    });
}

JpegWriter::~JpegWriter() {
    jpeg_destroy_compress(&codec_);
    std::free(memory_);
}

}  // namespace pconv::app
