#include "inpaint/pyramid.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>

namespace pconv::inpaint {

namespace {

constexpr int kSweeps = 30;
constexpr int64_t kSmallest = 2;      // pixels, the size at which the pyramid ends
constexpr float kHoleTensor = 0.03F;  // weight of what the coarser level says of a hole's structure

constexpr int64_t kUnit = 4;  // pixels along the side of what is needed or not

// Sizes of tiles. A cell of colours is the mean of kReduced pixels of the finer level. A cell of tensors,
// which are at half the resolution, comes from kRaw pixels by a window of 5 at stride 2 and two of 5 after
// it; at the finest level by one after it, whose result is kHalo larger on each side.
constexpr int64_t kReduced = 2 * kCell + 3;
constexpr int64_t kHalo = 2;
constexpr int64_t kRaw = 2 * (kCell + 4 * kHalo) + 3;
constexpr int64_t kRawOrigin = -2 * (2 * kHalo) - 2;  // from the cell's first pixel
constexpr int64_t kPatch = kRaw + 2;                  // with neighbours, for gradients
constexpr int64_t kTensorReach = 3;                   // units from a tensor to the farthest colour it sees

// A block's results take kSweeps steps to feel its margin's end.
constexpr int64_t kMargin = kSweeps + 2;
constexpr size_t kLarge = 32768;  // hole pixels of a block that is worth several threads

constexpr double kDescent = 0.15;  // of the work, as progress counts it

int64_t half(int64_t size) {
    return (size + 1) / 2;
}

// A mean is a sum over a sum, whatever the weights.
void normalize(float* data, int64_t pixels) {
    for (int64_t i = 0; i < pixels; ++i, data += kLanes) {
        if (data[3] <= 0.0F) continue;
        const float inverse = 1.0F / data[3];
        for (int c = 0; c < 3; ++c) data[c] *= inverse;
        data[3] = 1.0F;
    }
}

}  // namespace

Pyramid::Pyramid(PconvDevice device, int threads)
    : device_(device),
      pool_(threads),
      reduce_(device, kReduced, 2),
      shrink_(device, kRaw, 2),
      smooth_(device, shrink_.outputSize(), 1),
      smooth_again_(device, smooth_.outputSize(), 1),
      fine_(device, kTiles * tileBytes(kReduced)),
      coarse_(device, kTiles * tileBytes(reduce_.outputSize())),
      raw_(device, kTiles * tileBytes(kRaw)),
      shrunk_(device, kTiles * tileBytes(shrink_.outputSize())),
      smoothed_(device, kTiles * tileBytes(smooth_.outputSize())),
      steady_(device, kTiles * tileBytes(smooth_again_.outputSize())),
      patch_(static_cast<size_t>(kPatch * kPatch * kLanes)),
      scratch_(static_cast<size_t>(pool_.threads())) {
    levels_.push_back(std::make_unique<Level>(store_));
}

void Pyramid::fill(Source& source, int channels, const ProgressFunction* report) {
    source_ = &source;
    channels_ = channels;
    progress_ = report;
    done_ = 0.0;
    reduce();
    findNeeds();
    descend();
    fillTop();
    describe(count_ - 1);
    double all = 0.0;
    for (size_t i = 0; i < count_; ++i) all += static_cast<double>(levels_[i]->holes.size());
    for (size_t i = count_ - 1; i-- > 0;) {
        share_ = (1.0 - kDescent) * static_cast<double>(levels_[i]->holes.size()) / all;
        const double end = done_ + share_;
        if (!weights().empty()) learnOwn(i);
        describe(i);
        levels_[i + 1]->tensors.clear();
        relax(i);
        levels_[i + 1]->colours.clear();
        done_ = end;
    }
    levels_.front()->tensors.clear();
    progress(1.0);
}

void Pyramid::progress(double done) const {
    if (progress_ != nullptr) (*progress_)(std::min(done, 1.0));
}

// The holes of all levels, until none is left.
void Pyramid::reduce() {
    count_ = 1;
    for (;;) {
        const Level& fine = *levels_[count_ - 1];
        if (count_ > 1 && (fine.holes.empty() || std::max(fine.height(), fine.width()) <= kSmallest)) break;
        progress(0.0);
        if (levels_.size() == count_) levels_.push_back(std::make_unique<Level>(store_));
        Level& coarse = *levels_[count_++];
        coarse.holes.reduce(fine.holes);
        coarse.weights.clear();
        if (!weights().empty()) reduceWeights(fine.holes, fine.weights, coarse.holes, coarse.weights, row_);
    }
    for (size_t i = 0; i < count_; ++i) {
        Level& level = *levels_[i];
        level.known.weights.clear();
        level.colours.reset(level.height(), level.width());
        level.tensors.reset(half(level.height()), half(level.width()));
        level.unit_rows = (level.height() + kUnit - 1) / kUnit;
        level.unit_columns = (level.width() + kUnit - 1) / kUnit;
        level.tensor_need.assign(static_cast<size_t>(level.unit_rows * level.unit_columns), 0);
    }
}

// Marks the units from `top` and `left` to `bottom` and `right`, inclusive.
void Pyramid::markUnits(Level& level, int64_t top, int64_t bottom, int64_t left, int64_t right) {
    left = std::max<int64_t>(left, 0);
    right = std::min(right, level.unit_columns - 1);
    bottom = std::min(bottom, level.unit_rows - 1);
    for (int64_t row = std::max<int64_t>(top, 0); row <= bottom; ++row)
        if (left <= right)
            std::memset(&level.tensor_need[static_cast<size_t>(row * level.unit_columns + left)], 1,
                        static_cast<size_t>(right - left + 1));
}

// The colours that the needed tensors see.
void Pyramid::widen(Level& level) {
    const int64_t rows = level.unit_rows;
    const int64_t columns = level.unit_columns;
    level.need.assign(static_cast<size_t>(rows * columns), 0);
    widened_.resize(static_cast<size_t>(columns));
    for (int64_t row = 0; row < rows; ++row) {
        const uint8_t* const from = &level.tensor_need[static_cast<size_t>(row * columns)];
        if (std::memchr(from, 1, static_cast<size_t>(columns)) == nullptr) continue;
        std::fill(widened_.begin(), widened_.end(), uint8_t{0});
        for (int64_t shift = -kTensorReach; shift <= kTensorReach; ++shift)
            for (int64_t x = std::max<int64_t>(-shift, 0); x < std::min(columns - shift, columns); ++x)
                widened_[static_cast<size_t>(x + shift)] |= from[x];
        for (int64_t to = std::max<int64_t>(row - kTensorReach, 0);
             to <= std::min(row + kTensorReach, rows - 1); ++to) {
            uint8_t* const out = &level.need[static_cast<size_t>(to * columns)];
            for (int64_t x = 0; x < columns; ++x) out[x] |= widened_[static_cast<size_t>(x)];
        }
    }
}

void Pyramid::findNeeds() {
    for (size_t i = 0; i < count_; ++i) {
        progress(0.0);
        Level& level = *levels_[i];
        // Two pixels' tensors, with a neighbour's, for the weights between a hole pixel and its neighbours.
        if (!isTop(i))
            for (const Span& span : level.holes.spans())
                markUnits(level, (span.y - 1) / kUnit, (span.y + 3) / kUnit, (span.begin - 1) / kUnit,
                          (span.end + 2) / kUnit);
        if (i == 0) continue;
        // Tensors for the finer level's holes, at a quarter of its resolution.
        for (const Span& span : levels_[i - 1]->holes.spans())
            markUnits(level, span.y / 8, (span.y / 4 + 1) / 2, span.begin / 8, ((span.end - 1) / 4 + 1) / 2);
    }
    for (size_t i = count_ - 1; i > 0; --i) {
        Level& level = *levels_[i];
        widen(level);
        if (isTop(i)) continue;
        const Level& coarse = *levels_[i + 1];
        for (int64_t row = 0; row < coarse.unit_rows; ++row) {
            const uint8_t* const from = &coarse.need[static_cast<size_t>(row * coarse.unit_columns)];
            for (int64_t column = 0; column < coarse.unit_columns; ++column) {
                if (from[column] == 0) continue;
                const int64_t left = std::max<int64_t>(2 * column - 1, 0);
                const int64_t right = std::min(2 * column + 2, level.unit_columns - 1);
                for (int64_t r = std::max<int64_t>(2 * row - 1, 0);
                     r <= std::min(2 * row + 2, level.unit_rows - 1); ++r)
                    std::memset(&level.need[static_cast<size_t>(r * level.unit_columns + left)], 1,
                                static_cast<size_t>(right - left + 1));
            }
        }
    }
}

// The cells of `units` units along a side in which something is needed.
void Pyramid::listCells(const std::vector<uint8_t>& need, const Level& level, int64_t units) {
    cells_.clear();
    for (int64_t top = 0; top < level.unit_rows; top += units)
        for (int64_t left = 0; left < level.unit_columns; left += units) {
            const auto width = static_cast<size_t>(std::min(units, level.unit_columns - left));
            bool any = false;
            for (int64_t row = top; row < std::min(top + units, level.unit_rows) && !any; ++row)
                any = std::memchr(&need[static_cast<size_t>(row * level.unit_columns + left)], 1, width) !=
                      nullptr;
            if (any) cells_.push_back({top / units, left / units});
        }
}

void Pyramid::descend() {
    for (size_t i = 1; i < count_; ++i) {
        Level& level = *levels_[i];
        const Level& fine = *levels_[i - 1];
        listCells(level.need, level, kCell / kUnit);
        for (const CellIndex& cell : cells_) level.colours.add(cell.row, cell.column);
        const auto count = static_cast<int>(cells_.size());
        // In this thread alone: those that the device has are still awake after a convolution, and others
        // would only get in their way.
        for (int begin = 0; begin < count; begin += static_cast<int>(kTiles)) {
            const int tiles = std::min(static_cast<int>(kTiles), count - begin);
            for (int t = 0; t < tiles; ++t) {
                const CellIndex cell = cells_[static_cast<size_t>(begin + t)];
                const int64_t top = 2 * kCell * cell.row - 2;
                const int64_t left = 2 * kCell * cell.column - 2;
                const Plane4 patch{patch_.data(), kReduced, kReduced};
                if (i == 1)
                    source_->load(top, left, patch);
                else
                    fine.colours.gather(top, left, patch);
                pack(patch, fine_, t);
            }
            reduce_.run(fine_, coarse_);
            for (int t = 0; t < tiles; ++t) descendCell(i, cells_[static_cast<size_t>(begin + t)], t);
            const double here = static_cast<double>(begin + tiles) / count;
            progress(kDescent *
                     (i == 1 ? 0.75 * here
                             : 0.75 + 0.25 * static_cast<double>(i - 1) / static_cast<double>(count_)));
        }
    }
    done_ = kDescent;
}

void Pyramid::descendCell(size_t index, CellIndex cell, int which) {
    Level& level = *levels_[index];
    const int64_t top = cell.row * kCell;
    const int64_t left = cell.column * kCell;
    const int64_t width = std::min(kCell, level.width() - left);
    const int64_t right = left + width;
    float* out = level.colours.at(top, left);
    for (int64_t i = 0; i < kCell; ++i, out += kCell * kLanes) {
        const int64_t y = top + i;
        // Windows beyond the level's ends see some of it.
        const int64_t kept = y < level.height() ? width : 0;
        unpack(coarse_, kCell, which, i, 0, kept, out);
        normalize(out, kept);
        std::fill(out + kept * kLanes, out + kCell * kLanes, 0.0F);
        if (level.weights.empty() || kept == 0) continue;
        for (size_t s = level.holes.find(y, left); s < level.holes.rowBegin(y + 1); ++s) {
            const Span& span = level.holes.spans()[s];
            for (int64_t x = std::max<int64_t>(span.begin, left); x < std::min<int64_t>(span.end, right);
                 ++x) {
                const float weight = level.weights[span.first + static_cast<size_t>(x - span.begin)];
                for (int c = 0; c < kLanes; ++c) out[(x - left) * kLanes + c] *= weight;
            }
        }
    }
}

// Holes that reach the top get the mean of all that is known.
void Pyramid::fillTop() {
    Level& top = *levels_[count_ - 1];
    if (top.holes.empty()) return;
    float sum[kLanes] = {};
    for (int64_t y = 0; y < top.height(); ++y)
        for (int64_t x = 0; x < top.width(); ++x)
            for (int c = 0; c < kLanes; ++c) sum[c] += top.colours.at(y, x)[c];
    for (const Span& span : top.holes.spans())
        for (int64_t x = span.begin; x < span.end; ++x) {
            float* const at = top.colours.at(span.y, x);
            const float rest = 1.0F - at[3];
            for (int c = 0; c < 3; ++c) at[c] += rest * (sum[c] / sum[3]);
            at[3] = 1.0F;
        }
}

// What partly known pixels are themselves, before the level is filled.
void Pyramid::learnOwn(size_t index) {
    Level& level = *levels_[index];
    PartlyKnown& known = level.known;
    known.weights = level.weights;
    known.colours.resize(level.holes.size() * kLanes);
    for (const Span& span : level.holes.spans()) {
        const int64_t count = span.end - span.begin;
        const Plane4 out{&known.colours[span.first * kLanes], 1, count};
        if (index == 0)
            source_->load(span.y, span.begin, out);
        else
            level.colours.gather(span.y, span.begin, out);
        normalize(out.data, count);
    }
}

// A run of hole pixels from the level above, and partly known ones from what they are too.
void Pyramid::interpolate(size_t index, int64_t y, int64_t begin, int64_t end, size_t first,
                          float* out) const {
    const Cells& coarse = levels_[index + 1]->colours;
    const PartlyKnown& known = levels_[index]->known;
    const HalfSample rows = halfSample(y, coarse.height());
    for (int64_t x = begin; x < end; ++x, ++first, out += kLanes) {
        const HalfSample columns = halfSample(x, coarse.width());
        const float* const a = coarse.at(rows.near, columns.near);
        const float* const b = coarse.at(rows.near, columns.far);
        const float* const c = coarse.at(rows.far, columns.near);
        const float* const d = coarse.at(rows.far, columns.far);
        for (int i = 0; i < kLanes; ++i) out[i] = 0.25F * (a[i] + b[i] + c[i] + d[i]);
        if (!known.any()) continue;
        for (int i = 0; i < 3; ++i)
            out[i] +=
                known.weights[first] * (known.colours[first * kLanes + static_cast<size_t>(i)] - out[i]);
    }
}

// A level's known colours, and in its holes those of the level above; 0 beyond it.
void Pyramid::gather(size_t index, int64_t top, int64_t left, const Plane4& out) const {
    const Level& level = *levels_[index];
    if (index == 0) source_->load(top, left, out);
    const int64_t from = std::max<int64_t>(left, 0);
    const int64_t to = std::min(left + out.width, level.width());
    for (int64_t i = 0; i < out.height; ++i) {
        const int64_t y = top + i;
        float* const row = out.row(i);
        const bool inside = y >= 0 && y < level.height() && from < to;
        if (isTop(index) || !inside) {
            if (index > 0) level.colours.gather(y, left, {row, 1, out.width});
            continue;
        }
        // What lies in holes is not read: other threads may be writing it.
        int64_t x = left;
        const auto known = [&](int64_t end) {
            if (index > 0) level.colours.gather(y, x, {row + (x - left) * kLanes, 1, end - x});
        };
        for (size_t s = level.holes.find(y, from); s < level.holes.rowBegin(y + 1); ++s) {
            const Span& span = level.holes.spans()[s];
            if (span.begin >= to) break;
            const int64_t begin = std::max<int64_t>(span.begin, from);
            const int64_t end = std::min<int64_t>(span.end, to);
            known(begin);
            interpolate(index, y, begin, end, span.first + static_cast<size_t>(begin - span.begin),
                        row + (begin - left) * kLanes);
            x = end;
        }
        known(left + out.width);
    }
}

// The structure tensor of a level, smoothed, at half its resolution, where it is needed. In holes, where
// colours are a guess, it is the tensor of the coarser level that counts, and little.
void Pyramid::describe(size_t index) {
    Level& level = *levels_[index];
    listCells(level.tensor_need, level, 2 * kCell / kUnit);
    for (const CellIndex& cell : cells_) level.tensors.add(cell.row, cell.column);
    const auto count = static_cast<int>(cells_.size());
    const double start = done_;
    for (int begin = 0; begin < count; begin += static_cast<int>(kTiles)) {
        const int tiles = std::min(static_cast<int>(kTiles), count - begin);
        for (int t = 0; t < tiles; ++t) {
            const CellIndex cell = cells_[static_cast<size_t>(begin + t)];
            const Plane4 patch{patch_.data(), kPatch, kPatch};
            gather(index, 2 * kCell * cell.row + kRawOrigin - 1, 2 * kCell * cell.column + kRawOrigin - 1,
                   patch);
            rawTensors(index, cell, patch, t);
        }
        shrink_.run(raw_, shrunk_);
        smooth_.run(shrunk_, smoothed_);
        // Coarser levels set the course across wide holes, where steadiness counts for more than detail.
        if (index > 0) smooth_again_.run(smoothed_, steady_);
        for (int t = 0; t < tiles; ++t) {
            const CellIndex cell = cells_[static_cast<size_t>(begin + t)];
            float* out = level.tensors.at(cell.row * kCell, cell.column * kCell);
            for (int64_t i = 0; i < kCell; ++i, out += kCell * kLanes) {
                if (index > 0)
                    unpack(steady_, kCell, t, i, 0, kCell, out);
                else
                    unpack(smoothed_, smooth_.outputSize(), t, i + kHalo, kHalo, kCell, out);
                normalize(out, kCell);
            }
        }
        progress(start + 0.3 * share_ * (begin + tiles) / count);
    }
    done_ = start + 0.3 * share_;
}

// A tile of the level's structure tensor, times its weight, and the weight.
void Pyramid::rawTensors(size_t index, CellIndex cell, const Plane4& colours, int which) const {
    const Level& level = *levels_[index];
    const int64_t top = 2 * kCell * cell.row + kRawOrigin;
    const int64_t left = 2 * kCell * cell.column + kRawOrigin;
    const int64_t x_begin = std::max<int64_t>(left, 0);
    const int64_t x_end = std::min(left + kRaw, level.width());
    const float scale = 0.25F / static_cast<float>(channels_);
    for (int64_t i = 0; i < kRaw; ++i) {
        const int64_t y = top + i;
        float* const row = static_cast<float*>(raw_.host()) + i * kRaw * kPacked + which * kLanes;
        const bool inside = y >= 0 && y < level.height();
        for (int64_t x = 0; x < kRaw; ++x)
            if (!inside || x < x_begin - left || x >= x_end - left)
                std::fill_n(row + x * kPacked, kLanes, 0.0F);
        if (!inside) continue;
        const float* const here = colours.row(i + 1) + kLanes;
        const int64_t up = y > 0 ? -kPatch * kLanes : 0;
        const int64_t down = y + 1 < level.height() ? kPatch * kLanes : 0;
        for (int64_t x = x_begin; x < x_end; ++x) {
            const float* const at = here + (x - left) * kLanes;
            const int64_t before = x > 0 ? -kLanes : 0;
            const int64_t after = x + 1 < level.width() ? kLanes : 0;
            float xx = 0.0F, xy = 0.0F, yy = 0.0F;
            for (int c = 0; c < 3; ++c) {
                const float dx = at[after + c] - at[before + c];
                const float dy = at[down + c] - at[up + c];
                xx += dx * dx;
                xy += dx * dy;
                yy += dy * dy;
            }
            float* const t = row + (x - left) * kPacked;
            t[0] = xx * scale;
            t[1] = xy * scale;
            t[2] = yy * scale;
            t[3] = 1.0F;
        }
        if (isTop(index)) continue;
        // The coarser level's tensor is at a quarter of this one's resolution, and its gradients span twice
        // as many pixels.
        const Cells& coarser = levels_[index + 1]->tensors;
        const int64_t above = y / 4;
        const int64_t below = std::min(above + 1, coarser.height() - 1);
        const float down_share = 0.25F * static_cast<float>(y % 4);
        for (size_t s = level.holes.find(y, x_begin); s < level.holes.rowBegin(y + 1); ++s) {
            const Span& span = level.holes.spans()[s];
            if (span.begin >= x_end) break;
            for (int64_t x = std::max<int64_t>(span.begin, x_begin); x < std::min<int64_t>(span.end, x_end);
                 ++x) {
                const int64_t right = std::min(x / 4 + 1, coarser.width() - 1);
                const float share = 0.25F * static_cast<float>(x % 4);
                const float* const a = coarser.at(above, x / 4);
                const float* const b = coarser.at(above, right);
                const float* const c = coarser.at(below, x / 4);
                const float* const d = coarser.at(below, right);
                float* const t = row + (x - left) * kPacked;
                for (int k = 0; k < 3; ++k) {
                    const float high = a[k] + share * (b[k] - a[k]);
                    const float low = c[k] + share * (d[k] - c[k]);
                    t[k] = 0.25F * kHoleTensor * (high + down_share * (low - high));
                }
                t[3] = kHoleTensor;
            }
        }
    }
}

void Pyramid::relax(size_t index) {
    const Level& level = *levels_[index];
    if (level.holes.empty()) return;
    blocks_.find(level.holes);
    const auto& blocks = blocks_.all();
    const double start = done_;
    const double share = 0.7 * share_ / static_cast<double>(level.holes.size());
    // A large one, or the only one, has all threads.
    const size_t large = blocks.size() < static_cast<size_t>(pool_.threads()) ? 0 : kLarge;
    for (const Block& block : blocks) {
        if (block.holes < large) continue;
        share_ = share * static_cast<double>(block.holes);
        relaxBlock(index, block, scratch_.front(), pool_, true);
        done_ += share_;
    }
    if (large > 0) relaxSmall(index, large, share);
    done_ = start;
}

// The blocks of fewer than `large` holes, a thread each. Progress is the calling thread's, after each of its
// own.
void Pyramid::relaxSmall(size_t index, size_t large, double share) {
    const auto& blocks = blocks_.all();
    std::atomic<size_t> finished{0};
    std::atomic<bool> stopped{false};
    const auto work = [&](int thread, int64_t i) {
        const Block& block = blocks[static_cast<size_t>(i)];
        if (block.holes >= large || stopped) return;
        relaxBlock(index, block, scratch_[static_cast<size_t>(thread)], alone_, false);
        finished += block.holes;
        if (thread != 0) return;
        try {
            progress(done_ + share * static_cast<double>(finished));
        } catch (...) {
            stopped = true;
            throw;
        }
    };
    pool_.run(static_cast<int64_t>(blocks.size()), work);
    done_ += share * static_cast<double>(finished);
    progress(done_);
}

void Pyramid::relaxBlock(size_t index, const Block& block, Scratch& scratch, ThreadPool& pool, bool reports) {
    Level& level = *levels_[index];
    const int64_t margin = block.whole ? 1 : kMargin;
    // Even, as tensors lie on even pixels.
    const int64_t top = std::max<int64_t>(block.top - margin, 0) / 2 * 2;
    const int64_t left = std::max<int64_t>(block.left - margin, 0) / 2 * 2;
    const int64_t bottom = std::min(block.bottom + margin, level.height());
    const int64_t right = std::min(block.right + margin, level.width());
    const int64_t height = bottom - top;
    const int64_t width = right - left;
    scratch.plane.resize(static_cast<size_t>(height * width * kLanes));
    const Plane4 plane{scratch.plane.data(), height, width};
    gather(index, top, left, plane);
    const int64_t tensor_height = std::min(height / 2 + 2, level.tensors.height() - top / 2);
    const int64_t tensor_width = std::min(width / 2 + 2, level.tensors.width() - left / 2);
    scratch.tensor.resize(static_cast<size_t>(tensor_height * tensor_width * kLanes));
    const Plane4 tensor{scratch.tensor.data(), tensor_height, tensor_width};
    level.tensors.gather(top / 2, left / 2, tensor);

    // What lies on the margin's end stays as it is, for its neighbours are not here.
    const int64_t first_row = top > 0 ? top + 1 : 0;
    const int64_t last_row = bottom < level.height() ? bottom - 1 : bottom;
    const int64_t first_column = left > 0 ? left + 1 : 0;
    const int64_t last_column = right < level.width() ? right - 1 : right;
    const auto forSpans = [&](int64_t y, int64_t from, int64_t to, const auto& body) {
        for (size_t s = level.holes.find(y, from); s < level.holes.rowBegin(y + 1); ++s) {
            const Span& span = level.holes.spans()[s];
            if (span.begin >= to) break;
            if (blocks_.groupOf(span) != block.group) continue;
            const int64_t begin = std::max<int64_t>(span.begin, from);
            const int64_t end = std::min<int64_t>(span.end, to);
            body(begin, end, span.first + static_cast<size_t>(begin - span.begin));
        }
    };
    Holes& holes = scratch.holes;
    PartlyKnown& known = scratch.known;
    holes.reset(height, width);
    known.colours.clear();
    known.weights.clear();
    for (int64_t y = top; y < bottom; ++y, holes.endRow())
        if (y >= first_row && y < last_row)
            forSpans(y, first_column, last_column, [&](int64_t begin, int64_t end, size_t first) {
                holes.add(begin - left, end - left);
                if (!level.known.any()) return;
                const auto count = static_cast<size_t>(end - begin);
                const auto at = [](const std::vector<float>& all, size_t i) {
                    return all.begin() + static_cast<std::ptrdiff_t>(i);
                };
                known.weights.insert(known.weights.end(), at(level.known.weights, first),
                                     at(level.known.weights, first + count));
                known.colours.insert(known.colours.end(), at(level.known.colours, first * kLanes),
                                     at(level.known.colours, (first + count) * kLanes));
            });

    scratch.relaxation.begin(pool, holes, plane, tensor, known);
    for (int i = 0; i < kSweeps; ++i) {
        scratch.relaxation.sweep();
        if (reports) progress(done_ + share_ * (i + 1) / kSweeps);
    }
    for (int64_t y = block.top; y < block.bottom; ++y)
        forSpans(y, block.left, block.right, [&](int64_t begin, int64_t end, size_t first) {
            const float* const from = plane.row(y - top) + (begin - left) * kLanes;
            if (index == 0)
                source_->store(first, y, begin, end - begin, from);
            else
                level.colours.scatter(y, begin, end - begin, from);
        });
}

}  // namespace pconv::inpaint
