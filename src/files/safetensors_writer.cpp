#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "files/safetensors.h"

namespace pconv {
namespace {

struct Entry {
    const SafetensorsOutput* tensor;
    const SafetensorsType* type;
    std::uint64_t bytes;
};

Entry makeEntry(const SafetensorsOutput& tensor) {
    const SafetensorsType* type = findSafetensorsType(tensor.type);
    if (type == nullptr)
        throw std::invalid_argument(inQuotes(tensor.name) + ": unknown type " + inQuotes(tensor.type));
    std::uint64_t bytes = type->size;
    for (const std::uint64_t size : tensor.shape) {
        if (size != 0 && bytes > std::numeric_limits<std::uint64_t>::max() / size) {
            throw std::invalid_argument(inQuotes(tensor.name) + ": its size overflows");
        }
        bytes *= size;
    }
    if (bytes > std::numeric_limits<std::size_t>::max()) {
        throw std::invalid_argument(inQuotes(tensor.name) + ": its size overflows");
    }
    return {&tensor, type, bytes};
}

void writeData(AtomicFile& file, const Entry& entry) {
    const auto* data = static_cast<const unsigned char*>(entry.tensor->data);
    if (hostIsLittleEndian()) {
        file.write(data, static_cast<std::size_t>(entry.bytes));
        return;
    }
    constexpr std::size_t kBlock = std::size_t{1} << 20;
    std::vector<unsigned char> block;
    for (std::size_t done = 0; done < entry.bytes; done += block.size()) {
        const auto left = static_cast<std::size_t>(entry.bytes) - done;
        block.assign(data + done, data + done + std::min(kBlock, left));
        swapBytes(block.data(), block.size(), entry.type->swap_unit);
        file.write(block.data(), block.size());
    }
}

}  // namespace

void writeSafetensors(AtomicFile& file, const std::vector<SafetensorsOutput>& tensors,
                      const std::map<std::string, std::string>& metadata) {
    std::vector<Entry> entries;
    entries.reserve(tensors.size());
    for (const SafetensorsOutput& tensor : tensors) entries.push_back(makeEntry(tensor));
    // Widest first keeps every tensor aligned to its own element size.
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
        return a.type->size != b.type->size ? a.type->size > b.type->size : a.tensor->name < b.tensor->name;
    });

    nlohmann::ordered_json header = nlohmann::ordered_json::object();
    if (!metadata.empty()) header["__metadata__"] = metadata;
    std::uint64_t offset = 0;
    for (const Entry& entry : entries) {
        if (header.contains(entry.tensor->name)) {
            throw std::invalid_argument(inQuotes(entry.tensor->name) + " is given twice");
        }
        header[entry.tensor->name] = {{"dtype", entry.type->name},
                                      {"shape", entry.tensor->shape},
                                      {"data_offsets", {offset, offset + entry.bytes}}};
        offset += entry.bytes;
    }
    std::string json = header.dump();
    json.append((8 - json.size() % 8) % 8, ' ');

    std::array<unsigned char, 8> length{};
    for (unsigned i = 0; i < 8; ++i)
        length[i] = static_cast<unsigned char>(std::uint64_t{json.size()} >> (8 * i));
    file.write(length.data(), length.size());
    file.write(json.data(), json.size());
    for (const Entry& entry : entries) writeData(file, entry);
}

}  // namespace pconv
