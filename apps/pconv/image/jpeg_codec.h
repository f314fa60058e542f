#pragma once

#include <cstdio>

#include <jpeglib.h>

#include <cstddef>
#include <cstdint>

#include "image/guard.h"
#include "image/image.h"

namespace pconv::app {

/// libjpeg's error handler and the guard it leaves through. `base` comes first: libjpeg hands it back.
struct JpegErrors {
    JpegErrors();

    jpeg_error_mgr base;
    Guard guard;
    bool bogus_profile = false;  ///< an ICC profile was met whose parts do not fit together
};

/// A libjpeg decoder, which can be reached within call() alone.
class JpegReader {
  public:
    /// `data` is a whole file and outlives this.
    JpegReader(const std::uint8_t* data, std::size_t size);
    ~JpegReader() { jpeg_destroy_decompress(&codec_); }
    JpegReader(const JpegReader&) = delete;
    JpegReader& operator=(const JpegReader&) = delete;

    template <typename Step>
    void call(Step step) {
        errors_.guard.run([&] { step(codec_); });
    }

    bool sawBogusProfile() const { return errors_.bogus_profile; }

  private:
    JpegReader() { codec_.err = &errors_.base; }

    JpegErrors errors_;
    jpeg_decompress_struct codec_{};
    jpeg_progress_mgr progress_{};
};

/// A libjpeg encoder into memory, which can be reached within call() alone.
class JpegWriter {
  public:
    JpegWriter();
    ~JpegWriter();
    JpegWriter(const JpegWriter&) = delete;
    JpegWriter& operator=(const JpegWriter&) = delete;

    template <typename Step>
    void call(Step step) {
        errors_.guard.run([&] { step(codec_); });
    }

    /// What was written, once the compression is finished.
    const std::uint8_t* data() const { return memory_; }
    std::size_t size() const { return size_; }
    Bytes take() const { return {memory_, memory_ + size_}; }

  private:
    struct Empty {};
    explicit JpegWriter(Empty /*none*/) { codec_.err = &errors_.base; }

    JpegErrors errors_;
    jpeg_compress_struct codec_{};
    unsigned char* memory_ = nullptr;  // libjpeg allocates it, with malloc
    unsigned long size_ = 0;
};

}  // namespace pconv::app
