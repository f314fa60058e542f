// Where a test puts a tensor in a buffer: densely, or spread out with gaps, odd offsets and exchanged
// dimensions; with guard bands around it in either case.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "pconv/pconv.h"

namespace pconv::test {

size_t elementSize(PconvDataType type);

struct View {
    std::vector<int64_t> dims;
    std::vector<int64_t> strides;  // elements
    int64_t offset = 0;            // elements
    int64_t total = 0;             // elements of the whole buffer
    bool say_contiguous = false;   // pass zeros for strides

    // The position in the buffer of the i-th element in PyTorch's order.
    int64_t at(int64_t i) const;
    int64_t count() const;
    PconvTensor tensor(PconvBuffer buffer, PconvDataType type) const;
};

// A quiet NaN that no arithmetic makes: in and around outputs before they are written.
constexpr uint32_t kPoison = 0x7FC0DEAD;

// What was written outside the view, or left unwritten in it, of memory that was all poison; "" where
// nothing.
std::string damage(const View& view, std::vector<uint32_t> memory);

// No gaps; `unit` is the dimension with stride 1, the others follow in their order.
View denseView(const std::vector<int64_t>& dims, size_t unit);

// Gaps between rows, planes and images, dimensions in any order but `unit` first, and any offset.
View spreadView(const std::vector<int64_t>& dims, size_t unit, std::mt19937& random);

}  // namespace pconv::test
