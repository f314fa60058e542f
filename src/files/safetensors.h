#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <istream>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "files/atomic_file.h"
#include "files/file_error.h"
#include "files/input_file.h"

namespace pconv {

/// One element type of the format: its name there, its size, and the unit in which its bytes are ordered.
struct SafetensorsType {
    const char* name;
    unsigned size;
    unsigned swap_unit;
};

/// The type called `name` ("F32"), or nullptr.
const SafetensorsType* findSafetensorsType(std::string_view name);

struct SafetensorsTensor {
    std::string type_name;
    /// nullptr where the type is none of those whose elements can be read: newer than this, or of less than a
    /// byte.
    const SafetensorsType* type = nullptr;
    std::vector<std::uint64_t> shape;
    std::uint64_t begin = 0;  ///< in bytes, from the start of the data section
    std::uint64_t end = 0;

    std::uint64_t byteCount() const { return end - begin; }
    std::uint64_t elementCount() const { return type == nullptr ? 0 : byteCount() / type->size; }
};

struct SafetensorsHeader {
    std::map<std::string, SafetensorsTensor> tensors;
    std::map<std::string, std::string> metadata;
};

/// Reads and checks the JSON header of a file with `data_size` bytes of tensor data. `file` names it in
/// errors. Accepts a header only if every byte of the data belongs to exactly one tensor; a tensor of a type
/// that is not known is no fault until it is read, and what a tensor's entry says beyond type, shape and
/// place is skipped. Throws FileError.
SafetensorsHeader parseSafetensorsHeader(std::string_view json, std::uint64_t data_size,
                                         const std::string& file);

/// A checked file, whose tensors are read when asked for.
class SafetensorsReader {
  public:
    explicit SafetensorsReader(const std::filesystem::path& path);
    /// What cannot be read again, such as a pipe: all of it is kept in memory.
    explicit SafetensorsReader(InputFile& file);

    const std::string& fileName() const { return name_; }
    const std::map<std::string, std::string>& metadata() const { return header_.metadata; }
    const std::map<std::string, SafetensorsTensor>& tensors() const { return header_.tensors; }
    const SafetensorsTensor* find(const std::string& tensor) const;

    /// The tensor's bytes in the byte order of this host; `out` holds byteCount() of them. Its type must be
    /// known.
    void read(const std::string& tensor, void* out);
    /// The elements of a tensor, whose type must be F32.
    std::vector<float> readF32(const std::string& tensor);

  private:
    const SafetensorsTensor& require(const std::string& tensor) const;
    void readHeader(std::uint64_t size);

    std::string name_;
    std::unique_ptr<std::istream> stream_;
    std::uint64_t data_start_ = 0;
    SafetensorsHeader header_;
};

/// A tensor to be written, in the byte order of this host. `data` outlives the call.
struct SafetensorsOutput {
    std::string name;
    std::string type;
    std::vector<std::uint64_t> shape;
    const void* data = nullptr;
};

/// Writes one file, the same bytes for the same content: the widest types first, then by name, 8-byte
/// aligned. The caller commits `file`. Throws WriteError where it cannot be written, std::invalid_argument
/// where the tensors themselves are at fault.
void writeSafetensors(AtomicFile& file, const std::vector<SafetensorsOutput>& tensors,
                      const std::map<std::string, std::string>& metadata);

/// Reverses the bytes of each `unit`: the format is little-endian.
void swapBytes(void* data, std::size_t size, unsigned unit);
bool hostIsLittleEndian();

}  // namespace pconv
