#include "vulkan_split.h"

#include <algorithm>

namespace pconv::vulkan {

Span spanOf(const Piece& box, const std::array<int64_t, 5>& strides, size_t element) {
    const auto size = static_cast<int64_t>(element);
    Span bytes{0, size};
    for (size_t i = 0; i < 5; ++i) {
        const int64_t first = box[i].begin * strides[i];
        const int64_t last = (box[i].end - 1) * strides[i];
        bytes.begin += std::min(first, last) * size;
        bytes.end += std::max(first, last) * size;
    }
    return bytes;
}

void splitPiece(const Piece& whole, const std::function<double(const Piece&)>& excess,
                const std::function<void(const Piece&)>& emit) {
    size_t best = whole.size();
    double least = 0;
    if (excess(whole) > 0)
        for (size_t i = 0; i < whole.size(); ++i) {
            if (whole[i].size() < 2) continue;
            Piece half = whole;
            half[i].end = half[i].begin + (half[i].size() + 1) / 2;
            const double after = excess(half);
            if (best < whole.size() && after >= least) continue;
            best = i;
            least = after;
        }
    if (best == whole.size()) {
        emit(whole);
        return;
    }
    Piece low = whole;
    Piece high = whole;
    low[best].end = high[best].begin = whole[best].begin + (whole[best].size() + 1) / 2;
    splitPiece(low, excess, emit);
    splitPiece(high, excess, emit);
}

}  // namespace pconv::vulkan
