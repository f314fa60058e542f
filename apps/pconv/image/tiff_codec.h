#pragma once

#include <tiffio.h>

#include <string>

#include "files/file_error.h"
#include "image/image.h"

namespace pconv::app {

/// A TIFF file in memory under libtiff, which can be reached within call() alone: what a step could not do
/// becomes a FileError with libtiff's own words.
class TiffCodec {
  public:
    /// Reads `input`, which outlives this.
    explicit TiffCodec(const Bytes& input);
    /// Writes to `output`, which outlives this; `mode` as TIFFOpen takes it.
    TiffCodec(Bytes* output, const char* mode);
    ~TiffCodec() { close(); }
    TiffCodec(const TiffCodec&) = delete;
    TiffCodec& operator=(const TiffCodec&) = delete;

    /// Runs `step(TIFF*)`, which returns whether it went well.
    template <typename Step>
    void call(Step step) {
        fault_.clear();
        const bool done = step(tiff_);
        if (no_memory_) throw std::bad_alloc();
        if (!done) throw FileError(fault_.empty() ? "libtiff cannot read or write it" : fault_);
    }

    /// Writes what is not written yet.
    void close();

    struct Memory {
        const Bytes* input = nullptr;
        Bytes* output = nullptr;
        std::size_t position = 0;
        TiffCodec* owner = nullptr;
    };
    void setFault(const std::string& fault) {
        if (fault_.empty()) fault_ = fault;
    }
    void setNoMemory() { no_memory_ = true; }

  private:
    void open(const char* mode);

    Memory memory_;
    TIFF* tiff_ = nullptr;
    std::string fault_;
    bool no_memory_ = false;
};

}  // namespace pconv::app
