#include "inpaint/relax.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

namespace pconv::inpaint {

namespace {

constexpr float kStep = 1.8F;          // 1 is plain relaxation, 2 the limit of stability
constexpr float kEdge = 0.01F;         // the gradient, of a range of 1, from which an edge is an edge
constexpr float kLeak = 1e-6F;         // keeps weights from all being 0
constexpr size_t kPixelsABand = 8192;  // fewer are not worth another thread

// Right, left, down, up, and the diagonals; opposite ones are neighbours in this list.
enum Neighbour { kE, kW, kS, kN, kSE, kNW, kSW, kNE, kNeighbours };

Diffusion diffusionOf(float xx, float xy, float yy) {
    const float difference = xx - yy;
    const float root = std::sqrt(difference * difference + 4.0F * xy * xy);
    const float largest = 0.5F * (xx + yy + root);
    const float blocked = 0.5F * largest / (kEdge * kEdge + largest);
    const float direction = root > 0.0F ? blocked / root : 0.0F;
    const float x = 1.0F - blocked - direction * difference;
    const float y = 1.0F - blocked + direction * difference;
    // Beyond this the stencil of eight neighbours would need negative weights.
    const float limit = std::min(x, y);
    return {x, std::clamp(-2.0F * direction * xy, -limit, limit), y};
}

}  // namespace

// Diffusion at the pixels of a few rows, computed in pieces when first asked for: only pixels beside a hole
// are.
class Relaxation::DiffusionRows {
  public:
    DiffusionRows(const Plane4& tensor, int64_t height, int64_t width, Rows* rows)
        : tensor_(tensor), height_(height), width_(width), rows_(rows) {
        for (int i = 0; i < 3; ++i) {
            rows[i].values.resize(static_cast<size_t>(width));
            rows[i].done.assign(static_cast<size_t>((width + kPiece - 1) / kPiece), -1);
        }
    }

    // Row y, good from column begin to end; both are cut to the picture. Valid until row y + 3 is asked for.
    const Diffusion* get(int64_t y, int64_t begin, int64_t end) {
        y = std::clamp<int64_t>(y, 0, height_ - 1);
        Rows& row = rows_[y % 3];
        const int64_t last = (std::min(end, width_) - 1) / kPiece;
        for (int64_t piece = std::max<int64_t>(begin, 0) / kPiece; piece <= last; ++piece) {
            auto& done = row.done[static_cast<size_t>(piece)];
            if (done == y) continue;
            done = y;
            fill(row.values.data(), y, piece * kPiece, std::min((piece + 1) * kPiece, width_));
        }
        return row.values.data();
    }

  private:
    static constexpr int64_t kPiece = 16;

    void fill(Diffusion* out, int64_t y, int64_t begin, int64_t end) const {
        const HalfSample rows = halfSample(y, tensor_.height);
        const float* top = tensor_.row(rows.near);
        const float* bottom = tensor_.row(rows.far);
        for (int64_t x = begin; x < end; ++x) {
            const HalfSample columns = halfSample(x, tensor_.width);
            const int64_t near = columns.near * kLanes;
            const int64_t far = columns.far * kLanes;
            float t[3];
            for (int i = 0; i < 3; ++i)
                t[i] = 0.25F * (top[near + i] + top[far + i] + bottom[near + i] + bottom[far + i]);
            out[x] = diffusionOf(t[0], t[1], t[2]);
        }
    }

    const Plane4& tensor_;
    int64_t height_, width_;
    Rows* rows_;
};

void Relaxation::begin(ThreadPool& pool, const Holes& holes, const Plane4& picture, const Plane4& tensor,
                       const PartlyKnown& known) {
    pool_ = &pool;
    holes_ = &holes;
    picture_ = picture;
    known_ = &known;
    moving_ = false;
    holes.bands(static_cast<int>(
                    std::clamp<size_t>(holes.size() / kPixelsABand, 1, static_cast<size_t>(pool.threads()))),
                bands_);
    weights_.resize(holes.size() * kNeighbours);
    other_.assign(holes.size() * kLanes, 0.0F);
    if (rows_.size() < 3 * bands_.size()) rows_.resize(3 * bands_.size());
    const auto body = [&](int band) { weigh(static_cast<size_t>(band), tensor); };
    pool.run(static_cast<int>(bands_.size()) - 1, std::cref(body));
}

// The weight between two pixels is the mean of what both say, so that it is the same from either side:
// relaxation in steps beyond 1 is stable only for such symmetric weights.
void Relaxation::weigh(size_t band, const Plane4& tensor) {
    const int64_t height = picture_.height;
    const int64_t width = picture_.width;
    DiffusionRows rows(tensor, height, width, &rows_[3 * band]);
    for (size_t i = bands_[band]; i < bands_[band + 1]; ++i) {
        const Span& span = holes_->spans()[i];
        const Diffusion* above = rows.get(span.y - 1, span.begin - 1, span.end + 1);
        const Diffusion* here = rows.get(span.y, span.begin - 1, span.end + 1);
        const Diffusion* below = rows.get(span.y + 1, span.begin - 1, span.end + 1);
        const bool has_above = span.y > 0;
        const bool has_below = span.y + 1 < height;
        for (int64_t x = span.begin; x < span.end; ++x) {
            const Diffusion at = here[x];
            const int64_t left = std::max<int64_t>(x - 1, 0);
            const int64_t right = std::min(x + 1, width - 1);
            const auto straight = [&](bool exists, const Diffusion& to, float Diffusion::*along) {
                return exists ? std::max(at.*along + to.*along - std::abs(at.xy + to.xy), 0.0F) + kLeak
                              : 0.0F;
            };
            const auto diagonal = [&](bool exists, const Diffusion& to, float sign) {
                return exists ? std::max(sign * (at.xy + to.xy), 0.0F) + kLeak : 0.0F;
            };
            const bool has_left = x > 0;
            const bool has_right = x + 1 < width;
            float* const w = &weights_[(span.first + static_cast<size_t>(x - span.begin)) * kNeighbours];
            w[kE] = straight(has_right, here[right], &Diffusion::x);
            w[kW] = straight(has_left, here[left], &Diffusion::x);
            w[kS] = straight(has_below, below[x], &Diffusion::y);
            w[kN] = straight(has_above, above[x], &Diffusion::y);
            w[kSE] = diagonal(has_below && has_right, below[right], 1.0F);
            w[kNW] = diagonal(has_above && has_left, above[left], 1.0F);
            w[kSW] = diagonal(has_below && has_left, below[left], -1.0F);
            w[kNE] = diagonal(has_above && has_right, above[right], -1.0F);
            float sum = 0.0F;
            for (int n = 0; n < kNeighbours; ++n) sum += w[n];
            for (int n = 0; n < kNeighbours; ++n) w[n] /= sum;
        }
    }
}

void Relaxation::relaxSpan(const Span& span, float step) {
    const int64_t width = picture_.width;
    // Where there is no neighbour its weight is 0, and any pixel does.
    const int64_t up = span.y > 0 ? -width * kLanes : 0;
    const int64_t down = span.y + 1 < picture_.height ? width * kLanes : 0;
    const float* at = picture_.row(span.y) + span.begin * kLanes;
    const float* w = &weights_[span.first * kNeighbours];
    float* other = &other_[span.first * kLanes];
    const bool partly = known_->any();
    for (int64_t x = span.begin; x < span.end; ++x, at += kLanes, w += kNeighbours, other += kLanes) {
        const int64_t left = x > 0 ? -kLanes : 0;
        const int64_t right = x + 1 < width ? kLanes : 0;
        // Differences, so that equal neighbours leave a pixel exactly as it is.
        float to_mean[kLanes];
        for (int i = 0; i < kLanes; ++i)
            to_mean[i] = w[kE] * (at[right + i] - at[i]) + w[kW] * (at[left + i] - at[i]) +
                         w[kS] * (at[down + i] - at[i]) + w[kN] * (at[up + i] - at[i]) +
                         w[kSE] * (at[down + right + i] - at[i]) + w[kNW] * (at[up + left + i] - at[i]) +
                         w[kSW] * (at[down + left + i] - at[i]) + w[kNE] * (at[up + right + i] - at[i]);
        if (partly) {
            const size_t pixel = span.first + static_cast<size_t>(x - span.begin);
            const float weight = known_->weights[pixel];
            const float* const own = &known_->colours[pixel * kLanes];
            for (int i = 0; i < kLanes; ++i) to_mean[i] += weight * (own[i] - at[i] - to_mean[i]);
        }
        for (int i = 0; i < kLanes; ++i) other[i] += step * (at[i] + to_mean[i] - other[i]);
    }
}

// Puts the new values of spans into the picture, and keeps the old ones for the next sweep.
void Relaxation::storeRow(size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
        const Span& span = holes_->spans()[i];
        float* const at = picture_.row(span.y) + span.begin * kLanes;
        std::swap_ranges(at, at + (span.end - span.begin) * kLanes, &other_[span.first * kLanes]);
    }
}

size_t Relaxation::rowEnd(size_t span, size_t band_end) const {
    const auto& spans = holes_->spans();
    size_t end = span + 1;
    while (end < band_end && spans[end].y == spans[span].y) ++end;
    return end;
}

// A row can be stored once the row below has been computed; the first and the last of a band wait until the
// bands beside it are done.
void Relaxation::relaxBand(size_t band, float step) {
    const size_t band_begin = bands_[band];
    const size_t band_end = bands_[band + 1];
    size_t before = band_begin;
    for (size_t begin = band_begin; begin < band_end;) {
        const size_t end = rowEnd(begin, band_end);
        for (size_t i = begin; i < end; ++i) relaxSpan(holes_->spans()[i], step);
        if (before != band_begin) storeRow(before, begin);
        before = begin;
        begin = end;
    }
}

void Relaxation::storeBandEdges(size_t band) {
    const size_t band_begin = bands_[band];
    const size_t band_end = bands_[band + 1];
    if (band_begin == band_end) return;
    const size_t first_end = rowEnd(band_begin, band_end);
    storeRow(band_begin, first_end);
    if (first_end == band_end) return;
    size_t last = band_end - 1;
    while (holes_->spans()[last - 1].y == holes_->spans()[last].y) --last;
    storeRow(last, band_end);
}

void Relaxation::sweep() {
    const float step = moving_ ? kStep : 1.0F;
    moving_ = true;
    const int count = static_cast<int>(bands_.size()) - 1;
    const auto relax = [&](int band) { relaxBand(static_cast<size_t>(band), step); };
    const auto store = [&](int band) { storeBandEdges(static_cast<size_t>(band)); };
    pool_->run(count, std::cref(relax));
    pool_->run(count, std::cref(store));
}

}  // namespace pconv::inpaint
