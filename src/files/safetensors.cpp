#include "files/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <set>
#include <sstream>
#include <system_error>
#include <utility>

namespace pconv {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kLongestHeader = 100'000'000;
constexpr std::uint64_t kLengthBytes = 8;

constexpr std::array<SafetensorsType, 17> kTypes = {{
    {"BOOL", 1, 1},
    {"U8", 1, 1},
    {"I8", 1, 1},
    {"F8_E5M2", 1, 1},
    {"F8_E4M3", 1, 1},
    {"F8_E8M0", 1, 1},
    {"U16", 2, 2},
    {"I16", 2, 2},
    {"F16", 2, 2},
    {"BF16", 2, 2},
    {"U32", 4, 4},
    {"I32", 4, 4},
    {"F32", 4, 4},
    {"U64", 8, 8},
    {"I64", 8, 8},
    {"F64", 8, 8},
    {"C64", 8, 4},
}};

/// Elements that are no whole bytes: only the size of all of them is checked.
struct PackedType {
    std::string_view name;
    unsigned bits;
};
constexpr PackedType kPackedTypes[] = {{"F4", 4}, {"F6_E2M3", 6}, {"F6_E3M2", 6}};

std::string listed(const std::vector<std::uint64_t>& values) {
    std::string text = "[";
    for (const std::uint64_t value : values) text += (text.size() > 1 ? ", " : "") + std::to_string(value);
    return text + "]";
}

/// What nlohmann's parser calls: accepts the two levels of a header and nothing else, so depth is bounded.
class HeaderParser : public nlohmann::json_sax<nlohmann::json> {
  public:
    explicit HeaderParser(std::string file) : file_(std::move(file)) {}

    SafetensorsHeader take() { return std::move(header_); }

    bool null() override {
        if (skipsScalar()) return true;
        // Files without metadata may say so.
        return (place_ == Place::kTop && name_ == kMetadataKey) || unexpected("null");
    }
    bool boolean(bool /*value*/) override { return skipsScalar() || unexpected("a boolean"); }
    bool number_integer(number_integer_t value) override {
        return skipsScalar() || unexpected("the number " + std::to_string(value));
    }
    bool number_float(number_float_t /*value*/, const string_t& text) override {
        return skipsScalar() || unexpected("the number " + text.substr(0, 40));
    }
    bool binary(binary_t& /*value*/) override { return unexpected("binary data"); }

    bool number_unsigned(number_unsigned_t value) override {
        if (skipsScalar()) return true;
        if (place_ != Place::kShape && place_ != Place::kOffsets) return unexpected(std::to_string(value));
        if (place_ == Place::kOffsets && numbers_.size() == 2) fail("more than two data_offsets");
        numbers_.push_back(value);
        return true;
    }

    bool string(string_t& value) override {
        if (skipsScalar()) return true;
        if (place_ == Place::kMetadata) {
            header_.metadata.emplace(key_, value);
            return true;
        }
        if (place_ != Place::kTensor || key_ != "dtype") return unexpected("a string");
        tensor_.type = findSafetensorsType(value);
        tensor_.type_name = value;
        return true;
    }

    bool start_object(std::size_t /*size*/) override {
        if (skipsOpening()) return true;
        if (place_ == Place::kOutside) {
            place_ = Place::kTop;
        } else if (place_ == Place::kTop) {
            place_ = name_ == kMetadataKey ? Place::kMetadata : Place::kTensor;
            keys_.clear();
            tensor_ = {};
        } else {
            return unexpected("an object");
        }
        return true;
    }

    bool end_object() override {
        if (skipsClosing()) return true;
        if (place_ == Place::kTensor) {
            for (const char* key : {"dtype", "shape", "data_offsets"}) {
                if (keys_.count(key) == 0) fail(std::string("no ") + key);
            }
            header_.tensors.emplace(name_, tensor_);
        }
        place_ = Place::kTop;
        return true;
    }

    bool key(string_t& value) override {
        if (skipped_depth_ > 0) return true;
        if (place_ == Place::kTop) {
            name_ = value;
            if (!names_.insert(value).second) fail("the name stands twice in the header");
            return true;
        }
        key_ = value;
        if (!keys_.insert(value).second) fail("key " + inQuotes(value) + " stands twice");
        skips_next_ =
            place_ == Place::kTensor && value != "dtype" && value != "shape" && value != "data_offsets";
        return true;
    }

    bool start_array(std::size_t /*size*/) override {
        if (skipsOpening()) return true;
        if (place_ != Place::kTensor || key_ == "dtype") return unexpected("an array");
        place_ = key_ == "shape" ? Place::kShape : Place::kOffsets;
        numbers_.clear();
        return true;
    }

    bool end_array() override {
        if (skipsClosing()) return true;
        if (place_ == Place::kShape) {
            tensor_.shape = numbers_;
        } else {
            if (numbers_.size() != 2) fail("data_offsets " + listed(numbers_) + "; [begin, end] is expected");
            tensor_.begin = numbers_[0];
            tensor_.end = numbers_[1];
        }
        place_ = Place::kTensor;
        return true;
    }

    bool parse_error(std::size_t position, const std::string& /*token*/,
                     const nlohmann::json::exception& /*error*/) override {
        throw FileError(file_ + ": the header is not valid JSON at its byte " + std::to_string(position));
    }

  private:
    enum class Place { kOutside, kTop, kTensor, kMetadata, kShape, kOffsets };
    static constexpr const char* kMetadataKey = "__metadata__";

    // The value of a key that is not known, whatever it is.
    bool skipsScalar() {
        if (skipped_depth_ > 0) return true;
        return std::exchange(skips_next_, false);
    }
    bool skipsOpening() {
        if (skipped_depth_ == 0 && !std::exchange(skips_next_, false)) return false;
        ++skipped_depth_;
        return true;
    }
    bool skipsClosing() {
        if (skipped_depth_ == 0) return false;
        --skipped_depth_;
        return true;
    }

    [[noreturn]] void fail(const std::string& why) const {
        const char* kind = name_ == kMetadataKey ? ": " : ": tensor ";
        throw FileError(file_ + kind + inQuotes(name_) + ": " + why);
    }

    [[noreturn]] bool unexpected(const std::string& what) const {
        switch (place_) {
            case Place::kOutside:
                throw FileError(file_ + ": the header is " + what + "; a JSON object is expected");
            case Place::kTop:
                fail(what + " where an object is expected");
            case Place::kMetadata:
                fail(inQuotes(key_) + " is " + what + "; a string is expected");
            case Place::kTensor:
                fail(inQuotes(key_) + " is " + what + "; " + expectedFor(key_));
            case Place::kShape:
            case Place::kOffsets:
                break;
        }
        fail(inQuotes(key_) + " has " + what + "; whole numbers from 0 up are expected");
    }

    static std::string expectedFor(const std::string& key) {
        return key == "dtype" ? "a string is expected" : "an array of whole numbers is expected";
    }

    std::string file_;
    Place place_ = Place::kOutside;
    std::string name_;
    std::string key_;
    bool skips_next_ = false;
    std::size_t skipped_depth_ = 0;
    std::set<std::string> names_;
    std::set<std::string> keys_;
    std::vector<std::uint64_t> numbers_;
    SafetensorsTensor tensor_;
    SafetensorsHeader header_;
};

/// Nothing where the type's size is not known.
std::optional<unsigned> bitsOf(const SafetensorsTensor& tensor) {
    if (tensor.type != nullptr) return 8 * tensor.type->size;
    for (const PackedType& type : kPackedTypes) {
        if (type.name == tensor.type_name) return type.bits;
    }
    return std::nullopt;
}

/// The bytes that a shape takes, rounded up, or false where its bits are beyond 64 bits.
bool shapeBytes(const SafetensorsTensor& tensor, unsigned bits, std::uint64_t& bytes) {
    // A zero anywhere makes the tensor empty, whatever the other sizes would multiply to.
    if (std::find(tensor.shape.begin(), tensor.shape.end(), 0U) != tensor.shape.end()) {
        bytes = 0;
        return true;
    }
    std::uint64_t count = bits % 8 == 0 ? bits / 8 : bits;
    for (const std::uint64_t size : tensor.shape) {
        if (count > std::numeric_limits<std::uint64_t>::max() / size) return false;
        count *= size;
    }
    bytes = bits % 8 == 0 ? count : count / 8 + (count % 8 != 0 ? 1 : 0);
    return true;
}

void checkTensor(const std::string& where, const SafetensorsTensor& tensor, std::uint64_t data_size) {
    std::uint64_t bytes = 0;
    const std::string what = tensor.type_name + " " + listed(tensor.shape);
    const std::optional<unsigned> bits = bitsOf(tensor);
    if (bits && !shapeBytes(tensor, *bits, bytes))
        throw FileError(where + "the size of " + what + " overflows 64 bits");
    const std::string offsets = "data_offsets " + listed({tensor.begin, tensor.end});
    if (tensor.begin > tensor.end) throw FileError(where + offsets + " end before they begin");
    if (tensor.end > data_size) {
        throw FileError(where + offsets + " reach beyond the " + std::to_string(data_size) +
                        " bytes of data in the file");
    }
    if (bits && tensor.end - tensor.begin != bytes) {
        throw FileError(where + offsets + " span " + std::to_string(tensor.end - tensor.begin) + " bytes; " +
                        what + " takes " + std::to_string(bytes));
    }
}

}  // namespace

const SafetensorsType* findSafetensorsType(std::string_view name) {
    const auto* const found = std::find_if(kTypes.begin(), kTypes.end(),
                                           [name](const SafetensorsType& type) { return type.name == name; });
    return found == kTypes.end() ? nullptr : &*found;
}

SafetensorsHeader parseSafetensorsHeader(std::string_view json, std::uint64_t data_size,
                                         const std::string& file) {
    if (json.empty() || json.front() != '{') throw FileError(file + ": the header does not begin with '{'");
    // The parser takes a NUL for the end of its input, which would hide what follows.
    if (json.find('\0') != std::string_view::npos) throw FileError(file + ": the header holds a NUL byte");

    HeaderParser parser(file);
    nlohmann::json::sax_parse(json.begin(), json.end(), &parser);
    SafetensorsHeader header = parser.take();

    std::vector<const std::pair<const std::string, SafetensorsTensor>*> order;
    for (const auto& entry : header.tensors) {
        checkTensor(file + ": tensor " + inQuotes(entry.first) + ": ", entry.second, data_size);
        order.push_back(&entry);
    }
    std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
        return std::make_pair(a->second.begin, a->second.end) <
               std::make_pair(b->second.begin, b->second.end);
    });
    std::uint64_t covered = 0;
    for (const auto* entry : order) {
        if (entry->second.begin != covered) {
            throw FileError(file + ": tensor " + inQuotes(entry->first) + " begins at byte " +
                            std::to_string(entry->second.begin) +
                            (entry->second.begin < covered ? " inside another, which ends at "
                                                           : " after a gap; the one before ends at ") +
                            std::to_string(covered));
        }
        covered = entry->second.end;
    }
    if (covered != data_size) {
        throw FileError(file + ": " + std::to_string(data_size) + " bytes of data, but the tensors take " +
                        std::to_string(covered));
    }
    return header;
}

SafetensorsReader::SafetensorsReader(const fs::path& path) : name_(inQuotes(path.string())) {
    std::error_code error;
    const fs::file_status status = fs::status(path, error);
    if (!fs::exists(status)) {
        throw FileError("cannot read " + name_ + ": " + (error ? error.message() : "no such file"));
    }
    if (!fs::is_regular_file(status)) throw FileError("cannot read " + name_ + ": it is not a regular file");
    stream_ = std::make_unique<std::ifstream>(path, std::ios::binary);
    if (!*stream_) {
        throw FileError("cannot read " + name_ + ": " + std::generic_category().message(errno));
    }
    const std::uintmax_t size = fs::file_size(path, error);
    if (error) throw FileError("cannot read " + name_ + ": " + error.message());
    readHeader(size);
}

SafetensorsReader::SafetensorsReader(InputFile& file) : name_(file.name()) {
    // A stream without end is to be told by its beginning.
    std::vector<std::uint8_t> bytes;
    file.append(bytes, kLengthBytes + 1);
    if (bytes.size() > kLengthBytes && bytes.back() == '{') {
        constexpr std::size_t kMostInMemory = std::size_t{2} << 30;
        file.appendRest(bytes, kMostInMemory);
    }
    const std::size_t size = bytes.size();
    stream_ = std::make_unique<std::istringstream>(std::string(bytes.begin(), bytes.end()), std::ios::binary);
    bytes = {};
    readHeader(size);
}

void SafetensorsReader::readHeader(std::uint64_t size) {
    if (size < kLengthBytes) {
        throw FileError(name_ + ": not a safetensors file: " + std::to_string(size) +
                        " bytes, too short for a header length");
    }
    std::array<unsigned char, kLengthBytes> raw{};
    stream_->read(reinterpret_cast<char*>(raw.data()), kLengthBytes);
    if (!*stream_) throw FileError("cannot read " + name_);
    const std::uint64_t length =
        std::accumulate(raw.rbegin(), raw.rend(), std::uint64_t{0},
                        [](std::uint64_t value, unsigned char byte) { return value << 8 | byte; });
    if (length > kLongestHeader) {
        throw FileError(name_ + ": not a safetensors file: a header of " + std::to_string(length) +
                        " bytes; at most " + std::to_string(kLongestHeader) + " are expected");
    }
    if (length > size - kLengthBytes) {
        throw FileError(name_ + ": a header of " + std::to_string(length) + " bytes, but the file has only " +
                        std::to_string(size - kLengthBytes) + " after its length");
    }
    std::string json(static_cast<std::size_t>(length), '\0');
    stream_->read(json.data(), static_cast<std::streamsize>(length));
    if (!*stream_) throw FileError(name_ + ": the file ends inside its header");
    data_start_ = kLengthBytes + length;
    header_ = parseSafetensorsHeader(json, size - data_start_, name_);
}

const SafetensorsTensor* SafetensorsReader::find(const std::string& tensor) const {
    const auto found = header_.tensors.find(tensor);
    return found == header_.tensors.end() ? nullptr : &found->second;
}

const SafetensorsTensor& SafetensorsReader::require(const std::string& tensor) const {
    const SafetensorsTensor* found = find(tensor);
    if (found == nullptr) throw FileError(name_ + ": no tensor " + inQuotes(tensor));
    return *found;
}

void SafetensorsReader::read(const std::string& tensor, void* out) {
    const SafetensorsTensor& entry = require(tensor);
    if (entry.type == nullptr) {
        throw FileError(name_ + ": tensor " + inQuotes(tensor) + " is of type " + inQuotes(entry.type_name) +
                        "; F32 and the like are expected");
    }
    if (entry.byteCount() == 0) return;
    stream_->clear();
    stream_->seekg(static_cast<std::streamoff>(data_start_ + entry.begin));
    stream_->read(static_cast<char*>(out), static_cast<std::streamsize>(entry.byteCount()));
    if (!*stream_) throw FileError(name_ + ": tensor " + inQuotes(tensor) + ": cannot read its data");
    if (!hostIsLittleEndian())
        swapBytes(out, static_cast<std::size_t>(entry.byteCount()), entry.type->swap_unit);
}

std::vector<float> SafetensorsReader::readF32(const std::string& tensor) {
    const SafetensorsTensor& entry = require(tensor);
    if (entry.type_name != "F32") {
        throw FileError(name_ + ": tensor " + inQuotes(tensor) + " is " +
                        (entry.type == nullptr ? inQuotes(entry.type_name) : entry.type_name) +
                        "; F32 is expected");
    }
    std::vector<float> values(static_cast<std::size_t>(entry.elementCount()));
    read(tensor, values.data());
    return values;
}

void swapBytes(void* data, std::size_t size, unsigned unit) {
    auto* bytes = static_cast<unsigned char*>(data);
    for (std::size_t i = 0; unit > 1 && i + unit <= size; i += unit)
        std::reverse(bytes + i, bytes + i + unit);
}

bool hostIsLittleEndian() {
    const std::uint16_t probe = 1;
    unsigned char first = 0;
    std::memcpy(&first, &probe, 1);
    return first == 1;
}

}  // namespace pconv
