#include "inpaint/pyramid.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "inpaint/device.h"

namespace pconv::inpaint {

namespace {

constexpr int kSweeps = 30;
constexpr int64_t kSmallest = 2;         // pixels, the size at which the pyramid ends
constexpr float kHoleTensor = 0.03F;     // weight of what the coarser level says of a hole's structure
constexpr int64_t kPixelsAPiece = 8192;  // less work is not worth another thread

// Structure tensors are computed a band of rows at a time. What a window of 5 at stride 2 and two of 5 after
// it see of the band's ends reaches less than kHalo rows in.
constexpr int64_t kBandRows = 128;
constexpr int64_t kHalo = 12;
constexpr int64_t kReach = 4;  // rows from a hole pixel to the farthest tensor that its weights come from

size_t bytesOf(int64_t height, int64_t width) {
    return static_cast<size_t>(height * width * kLanes) * sizeof(float);
}

int64_t half(int64_t size) {
    return (size + 1) / 2;
}

struct Level {
    int64_t height, width;
    SharedArray colours;
    SharedArray valid;
    Level(PconvDevice device, int64_t h, int64_t w)
        : height(h), width(w), colours(device, bytesOf(h, w)), valid(device, static_cast<size_t>(h * w)) {}
    Plane4 plane() const { return {static_cast<float*>(colours.host()), height, width}; }
    uint8_t* mask() const { return static_cast<uint8_t*>(valid.host()); }
};

struct Tensors {
    std::vector<float> data;
    int64_t height = 0;
    int64_t width = 0;
    Plane4 plane() { return {data.data(), height, width}; }
};

template <typename Body>
void forRows(ThreadPool& pool, int64_t height, int64_t width, const Body& body) {
    parallelRanges(pool, height, std::max<int64_t>(1, kPixelsAPiece / width), body);
}

// A mean is a sum over a sum: the operator's ratio is in both and drops out, and so do uneven weights.
void normalize(float* data, int64_t pixels, float weight) {
    for (int64_t i = 0; i < pixels; ++i, data += kLanes) {
        if (data[3] <= 0.0F) continue;
        const float inverse = 1.0F / data[3];
        for (int c = 0; c < 3; ++c) data[c] *= inverse;
        data[3] = weight;
    }
}

class Pyramid {
  public:
    Pyramid(PconvDevice device, ThreadPool& pool, const Picture& picture)
        : device_(device), pool_(pool), picture_(picture) {}

    void fill() {
        descend();
        fillTop();
        Level& top = *levels_.back();
        Tensors tensors = structure(top, nullptr, nullptr);
        for (size_t i = levels_.size() - 1; i-- > 0;) {
            Level& level = *levels_[i];
            const Holes holes(level.mask(), level.height, level.width);
            PartlyKnown known;
            if (picture_.partly_known) known = partlyKnown(level, holes);
            interpolate(*levels_[i + 1], level, holes);
            if (!known.weights.empty()) mixOwn(level, holes, known);
            levels_.pop_back();
            tensors = structure(level, &holes, &tensors);
            relax(level, holes, tensors.plane(), known);
        }
        progress(1.0);
        const Level& finest = *levels_.front();
        forRows(pool_, finest.height, finest.width,
                [&](int64_t begin, int64_t end) { picture_.store(begin, end, finest.plane()); });
    }

  private:
    void descend() {
        levels_.push_back(std::make_unique<Level>(device_, picture_.height, picture_.width));
        const Level& finest = *levels_.front();
        forRows(pool_, finest.height, finest.width, [&](int64_t begin, int64_t end) {
            picture_.load(begin, end, finest.plane(), finest.mask());
        });
        while ((hasHole(*levels_.back()) || (picture_.partly_known && !isWhollyKnown(*levels_.back()))) &&
               std::max(levels_.back()->height, levels_.back()->width) > kSmallest) {
            const Level& fine = *levels_.back();
            Blur blur(device_, fine.height, fine.width, 2, true);
            auto next = std::make_unique<Level>(device_, blur.outputHeight(), blur.outputWidth());
            blur.run(fine.colours, next->colours, &fine.valid);
            blur.readUpdatedMask(next->mask());
            const Plane4 plane = next->plane();
            forRows(pool_, plane.height, plane.width, [&](int64_t begin, int64_t end) {
                normalize(plane.row(begin), (end - begin) * plane.width, 1.0F);
            });
            if (picture_.partly_known) weigh(fine, *next);
            levels_.push_back(std::move(next));
            progress(0.1 * (1.0 - std::pow(0.25, static_cast<double>(levels_.size() - 1))));
        }
        if (picture_.partly_known)
            for (const auto& level : levels_) markPartlyKnown(*level);
        work_ = 0.0;
        for (const auto& level : levels_) work_ += work(*level);
    }

    static bool hasHole(const Level& level) {
        return std::memchr(level.mask(), 0, static_cast<size_t>(level.height * level.width)) != nullptr;
    }

    static bool isWhollyKnown(const Level& level) {
        const float* const begin = level.plane().data;
        for (int64_t i = 0; i < level.height * level.width; ++i)
            if (begin[i * kLanes + 3] < 1.0F) return false;
        return true;
    }

    // A pixel is known as well as the best known of those it is the mean of: many bad ones are no good one.
    void weigh(const Level& fine, const Level& coarse) {
        const Plane4 from = fine.plane();
        forRows(pool_, coarse.height, coarse.width, [&](int64_t begin, int64_t end) {
            for (int64_t y = begin; y < end; ++y)
                for (int64_t x = 0; x < coarse.width; ++x) {
                    float most = 0.0F;
                    for (int64_t v = std::max<int64_t>(2 * y - 2, 0);
                         v <= std::min(2 * y + 2, from.height - 1); ++v)
                        for (int64_t u = std::max<int64_t>(2 * x - 2, 0);
                             u <= std::min(2 * x + 2, from.width - 1); ++u)
                            most = std::max(most, from.row(v)[u * kLanes + 3]);
                    float* const at = coarse.plane().row(y) + x * kLanes;
                    for (int c = 0; c < kLanes; ++c) at[c] *= most;
                }
        });
    }

    // Partly known pixels have been learned from, and are from here on to be filled.
    void markPartlyKnown(const Level& level) {
        forRows(pool_, level.height, level.width, [&](int64_t begin, int64_t end) {
            float* at = level.plane().row(begin);
            for (int64_t i = begin * level.width; i < end * level.width; ++i, at += kLanes) {
                const float weight = at[3];
                if (!(weight > 0.0F && weight < 1.0F)) continue;
                level.mask()[i] = 0;
                for (int c = 0; c < 3; ++c) at[c] /= weight;
            }
        });
    }

    static PartlyKnown partlyKnown(const Level& level, const Holes& holes) {
        PartlyKnown known;
        known.colours.resize(holes.size() * kLanes);
        known.weights.resize(holes.size());
        for (const Span& span : holes.spans()) {
            const float* const from = level.plane().row(span.y) + span.begin * kLanes;
            const auto count = static_cast<size_t>(span.end - span.begin);
            std::copy_n(from, count * kLanes, &known.colours[span.first * kLanes]);
            for (size_t i = 0; i < count; ++i) known.weights[span.first + i] = from[i * kLanes + 3];
        }
        return known;
    }

    static void mixOwn(const Level& level, const Holes& holes, const PartlyKnown& known) {
        for (const Span& span : holes.spans()) {
            float* at = level.plane().row(span.y) + span.begin * kLanes;
            for (size_t i = span.first; i < span.first + static_cast<size_t>(span.end - span.begin);
                 ++i, at += kLanes)
                for (size_t c = 0; c < 3; ++c)
                    at[c] += known.weights[i] * (known.colours[i * kLanes + c] - at[c]);
        }
    }

    // Holes that reach the top get the mean of all that is known.
    void fillTop() {
        const Level& top = *levels_.back();
        const int64_t pixels = top.height * top.width;
        const Plane4 plane = top.plane();
        if (!hasHole(top)) return;
        // The weight of a partly known pixel is in its last lane, that of a hole is 0.
        float sum[kLanes] = {};
        for (int64_t i = 0; i < pixels; ++i) {
            const float* const at = plane.data + i * kLanes;
            for (int c = 0; c < 3; ++c) sum[c] += at[3] * at[c];
            sum[3] += at[3];
        }
        for (int64_t i = 0; i < pixels; ++i) {
            float* const at = plane.data + i * kLanes;
            const float rest = 1.0F - at[3];
            for (int c = 0; c < 3; ++c) at[c] += rest * (sum[c] / sum[3] - at[c]);
        }
    }

    // The holes of a level from the level above it.
    void interpolate(const Level& coarse, const Level& fine, const Holes& holes) {
        const Plane4 from = coarse.plane();
        const Plane4 to = fine.plane();
        const auto& spans = holes.spans();
        parallelRanges(pool_, static_cast<int64_t>(spans.size()), 64, [&](int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end; ++i) {
                const Span& span = spans[static_cast<size_t>(i)];
                const HalfSample rows = halfSample(span.y, from.height);
                const float* top = from.row(rows.near);
                const float* bottom = from.row(rows.far);
                float* out = to.row(span.y) + span.begin * kLanes;
                for (int64_t x = span.begin; x < span.end; ++x, out += kLanes) {
                    const HalfSample columns = halfSample(x, from.width);
                    const float* const near = top + columns.near * kLanes;
                    const float* const far = top + columns.far * kLanes;
                    const int64_t down = bottom - top;
                    for (int c = 0; c < kLanes; ++c)
                        out[c] = 0.25F * (near[c] + far[c] + near[c + down] + far[c + down]);
                }
            }
        });
    }

    // The structure tensor of a level, smoothed, at half its resolution. In holes, where colours are a guess,
    // it is the tensor of the coarser level that counts, and little.
    Tensors structure(const Level& level, const Holes* holes, Tensors* coarser) {
        const int64_t height = level.height;
        const int64_t width = level.width;
        const bool finest = &level == levels_.front().get();
        const bool whole = height <= kBandRows + 2 * kHalo;
        const int64_t band_height = whole ? height : kBandRows + 2 * kHalo + (height % 2);
        Blur shrink(device_, band_height, width, 2, false);
        Blur smooth(device_, shrink.outputHeight(), shrink.outputWidth(), 1, false);
        const SharedArray raw(device_, bytesOf(band_height, width));
        const SharedArray shrunk(device_, bytesOf(shrink.outputHeight(), shrink.outputWidth()));
        const SharedArray smoothed(device_, bytesOf(shrink.outputHeight(), shrink.outputWidth()));

        Tensors result;
        result.height = half(height);
        result.width = half(width);
        result.data.resize(static_cast<size_t>(result.height * result.width * kLanes));
        for (int64_t begin = 0, end = 0; begin < height; begin = end) {
            end = whole || begin + kBandRows + kHalo >= height ? height : begin + kBandRows;
            // No finer level asks the finest for its tensors away from holes.
            if (finest && holes != nullptr && !holes->inRows(begin - kReach, end + kReach)) continue;
            // All bands are as high as the first, and begin on an even row.
            const int64_t from = std::clamp<int64_t>(begin - kHalo, 0, height - band_height);
            rawTensors(level, holes, coarser, from, {static_cast<float*>(raw.host()), band_height, width});
            shrink.run(raw, shrunk, nullptr);
            smooth.run(shrunk, smoothed, nullptr);
            // Coarser levels set the course across wide holes, where steadiness counts for more than detail.
            if (!finest) smooth.run(smoothed, shrunk, nullptr);
            const Plane4 source{static_cast<float*>((finest ? smoothed : shrunk).host()),
                                shrink.outputHeight(), result.width};
            const int64_t first = begin / 2;
            const int64_t count = half(end) - first;
            float* const target = result.plane().row(first);
            forRows(pool_, count, result.width, [&](int64_t b, int64_t e) {
                float* const out = target + b * result.width * kLanes;
                std::memcpy(out, source.row(first - from / 2 + b), bytesOf(e - b, result.width));
                normalize(out, (e - b) * result.width, 1.0F);
            });
        }
        return result;
    }

    // Rows from `from` on of the level's structure tensor, times their weight, and the weight.
    void rawTensors(const Level& level, const Holes* holes, Tensors* coarser, int64_t from,
                    const Plane4& out) {
        const Plane4 colours = level.plane();
        const int64_t width = level.width;
        const float scale = 0.25F / static_cast<float>(picture_.channels);
        forRows(pool_, out.height, width, [&](int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end; ++i) {
                const int64_t y = from + i;
                const float* const here = colours.row(y);
                const int64_t up = y > 0 ? -width * kLanes : 0;
                const int64_t down = y + 1 < level.height ? width * kLanes : 0;
                float* const row = out.row(i);
                for (int64_t x = 0; x < width; ++x) {
                    const float* const at = here + x * kLanes;
                    const int64_t left = x > 0 ? -kLanes : 0;
                    const int64_t right = x + 1 < width ? kLanes : 0;
                    float xx = 0.0F, xy = 0.0F, yy = 0.0F;
                    for (int c = 0; c < 3; ++c) {
                        const float dx = at[right + c] - at[left + c];
                        const float dy = at[down + c] - at[up + c];
                        xx += dx * dx;
                        xy += dx * dy;
                        yy += dy * dy;
                    }
                    float* const t = row + x * kLanes;
                    t[0] = xx * scale;
                    t[1] = xy * scale;
                    t[2] = yy * scale;
                    t[3] = 1.0F;
                }
            }
        });
        if (holes == nullptr) return;
        const auto& spans = holes->spans();
        const auto first = static_cast<int64_t>(holes->firstInRow(from));
        const auto last = static_cast<int64_t>(holes->firstInRow(from + out.height));
        parallelRanges(pool_, last - first, 64, [&](int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end; ++i) {
                const Span& span = spans[static_cast<size_t>(first + i)];
                float* const row = out.row(span.y - from);
                for (int64_t x = span.begin; x < span.end; ++x)
                    holeTensor(coarser->plane(), span.y, x, row + x * kLanes);
            }
        });
    }

    // The coarser level's tensor is at a quarter of this one's resolution, and its gradients span twice as
    // many pixels.
    static void holeTensor(const Plane4& coarser, int64_t y, int64_t x, float* out) {
        const int64_t top = y / 4, left = x / 4;
        const int64_t bottom = std::min(top + 1, coarser.height - 1),
                      right = std::min(left + 1, coarser.width - 1);
        const float down = 0.25F * static_cast<float>(y % 4), along = 0.25F * static_cast<float>(x % 4);
        const float* const a = coarser.row(top) + left * kLanes;
        const float* const b = coarser.row(top) + right * kLanes;
        const float* const c = coarser.row(bottom) + left * kLanes;
        const float* const d = coarser.row(bottom) + right * kLanes;
        for (int i = 0; i < 3; ++i) {
            const float above = a[i] + along * (b[i] - a[i]);
            const float below = c[i] + along * (d[i] - c[i]);
            out[i] = 0.25F * kHoleTensor * (above + down * (below - above));
        }
        out[3] = kHoleTensor;
    }

    void relax(const Level& level, const Holes& holes, const Plane4& tensors, const PartlyKnown& known) {
        Relaxation relaxation(pool_, holes, level.height, level.width, tensors, known);
        for (int i = 0; i < kSweeps; ++i) {
            relaxation.sweep(level.plane());
            progress(0.1 + 0.9 * (done_ + work(level) * (i + 1) / kSweeps) / work_);
        }
        done_ += work(level);
    }

    static double work(const Level& level) {
        return static_cast<double>(level.height) * static_cast<double>(level.width);
    }

    void progress(double done) const {
        if (picture_.progress) picture_.progress(std::min(done, 1.0));
    }

    PconvDevice device_;
    ThreadPool& pool_;
    const Picture& picture_;
    std::vector<std::unique_ptr<Level>> levels_;
    double work_ = 0.0, done_ = 0.0;
};

}  // namespace

void fill(PconvDevice device, ThreadPool& pool, const Picture& picture) {
    Pyramid(device, pool, picture).fill();
}

}  // namespace pconv::inpaint
