#include "image/tiff_codec.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <new>

namespace pconv::app {
namespace {

using Memory = TiffCodec::Memory;

Memory& memoryOf(thandle_t handle) {
    return *static_cast<Memory*>(handle);
}

const Bytes& contentOf(const Memory& memory) {
    return memory.input != nullptr ? *memory.input : *memory.output;
}

tmsize_t onRead(thandle_t handle, void* data, tmsize_t size) {
    Memory& memory = memoryOf(handle);
    const Bytes& content = contentOf(memory);
    const std::size_t left = memory.position < content.size() ? content.size() - memory.position : 0;
    const std::size_t count = std::min(left, static_cast<std::size_t>(std::max<tmsize_t>(size, 0)));
    if (count > 0) std::memcpy(data, content.data() + memory.position, count);
    memory.position += count;
    return static_cast<tmsize_t>(count);
}

tmsize_t onWrite(thandle_t handle, void* data, tmsize_t size) {
    Memory& memory = memoryOf(handle);
    if (memory.output == nullptr || size < 0) return 0;
    const std::size_t end = memory.position + static_cast<std::size_t>(size);
    try {
        if (end > memory.output->size()) memory.output->resize(end);
    } catch (const std::exception&) {
        memory.owner->setNoMemory();
        return 0;
    }
    if (size > 0) std::memcpy(memory.output->data() + memory.position, data, static_cast<std::size_t>(size));
    memory.position = end;
    return size;
}

toff_t onSeek(thandle_t handle, toff_t offset, int from) {
    Memory& memory = memoryOf(handle);
    const toff_t base = from == SEEK_CUR ? memory.position : from == SEEK_END ? contentOf(memory).size() : 0;
    memory.position = static_cast<std::size_t>(base + offset);
    return memory.position;
}

int onClose(thandle_t /*handle*/) {
    return 0;
}

toff_t onSize(thandle_t handle) {
    return contentOf(memoryOf(handle)).size();
}

int onError(TIFF* /*tiff*/, void* user, const char* /*module*/, const char* format, va_list arguments) {
    char text[256];
    std::vsnprintf(text, sizeof text, format, arguments);
    std::string line = text;
    std::replace_if(
        line.begin(), line.end(), [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
    static_cast<TiffCodec*>(user)->setFault(line);
    return 1;
}

int onWarning(TIFF* /*tiff*/, void* /*user*/, const char* /*module*/, const char* /*format*/,
              va_list /*list*/) {
    return 1;
}

}  // namespace

TiffCodec::TiffCodec(const Bytes& input) {
    memory_.input = &input;
    open("rm");  // m: no memory mapping
}

TiffCodec::TiffCodec(Bytes* output, const char* mode) {
    memory_.output = output;
    open(mode);
}

void TiffCodec::open(const char* mode) {
    memory_.owner = this;
    TIFFOpenOptions* options = TIFFOpenOptionsAlloc();
    if (options == nullptr) throw std::bad_alloc();
    constexpr tmsize_t kMostAtOnce = tmsize_t{1} << 31;
    TIFFOpenOptionsSetMaxSingleMemAlloc(options, kMostAtOnce);
    TIFFOpenOptionsSetErrorHandlerExtR(options, onError, this);
    TIFFOpenOptionsSetWarningHandlerExtR(options, onWarning, this);
    tiff_ = TIFFClientOpenExt("picture", mode, &memory_, onRead, onWrite, onSeek, onClose, onSize, nullptr,
                              nullptr, options);
    TIFFOpenOptionsFree(options);
    if (tiff_ == nullptr) throw FileError(fault_.empty() ? "libtiff cannot open it" : fault_);
}

void TiffCodec::close() {
    if (tiff_ == nullptr) return;
    TIFFClose(tiff_);
    tiff_ = nullptr;
}

}  // namespace pconv::app
