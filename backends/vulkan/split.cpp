#include "vulkan/split.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

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

size_t denseAxis(const TensorRef& tensor, const std::array<int64_t, 5>& dims) {
    for (const size_t axis : {4U, 1U, 3U, 2U, 0U})
        if (tensor.strides[axis] == 1 && dims[axis] > 1) return axis;
    return dims.size();
}

RowBox rowBox(const Range& rows, int64_t height) {
    const Range d{rows.begin / height, (rows.end - 1) / height + 1};
    if (d.size() > 1) return {d, {0, height}};
    return {d, {rows.begin % height, (rows.end - 1) % height + 1}};
}

namespace {

using Fits = std::function<Fit(const Piece&)>;

std::pair<Piece, Piece> halves(const Piece& whole, size_t dimension) {
    std::pair<Piece, Piece> two{whole, whole};
    const Range& range = whole.at(dimension);
    two.first.at(dimension).end = two.second.at(dimension).begin = range.begin + (range.size() + 1) / 2;
    return two;
}

// Whether all pieces bind; those before the first that does not are in `pieces`.
bool collect(const Piece& whole, const Fits& fits, std::vector<Piece>& pieces) {
    const Fit fit = fits(whole);
    size_t best = whole.size();
    double least = 2 * fit.excess();
    if (fit.excess() > 0)
        for (size_t i = 0; i < whole.size(); ++i) {
            if (whole.at(i).size() < 2) continue;
            const auto two = halves(whole, i);
            const double after = fits(two.first).excess() + fits(two.second).excess();
            if (after >= least) continue;
            best = i;
            least = after;
        }
    if (best < whole.size()) {
        const auto two = halves(whole, best);
        return collect(two.first, fits, pieces) && collect(two.second, fits, pieces);
    }
    if (fit.binds()) pieces.push_back(whole);
    return fit.binds();
}

}  // namespace

int64_t partsOfSum(int64_t terms, int64_t sums) {
    constexpr int64_t kLeastTerms = 8192;
    constexpr int64_t kWorkgroups = 4096;
    return std::clamp<int64_t>(terms / kLeastTerms, 1, (kWorkgroups + sums - 1) / sums);
}

bool canSplit(const Piece& whole, const std::function<Fit(const Piece&)>& fit) {
    std::vector<Piece> pieces;
    return collect(whole, fit, pieces);
}

void splitPiece(const Piece& whole, const Fits& fit, const std::function<void(const Piece&)>& emit) {
    std::vector<Piece> pieces;
    if (!collect(whole, fit, pieces))
        fail(PCONV_ERROR_UNSUPPORTED,
             "one row and what it meets are more than this device can bind at once, " +
                 std::to_string(fit(whole).range()) + " bytes");
    if (!emit) return;
    for (const Piece& piece : pieces) emit(piece);
}

}  // namespace pconv::vulkan
