// Filling holes with a trained network: the picture whole where that is small enough, else in overlapping
// tiles around its holes. What lies too far inside a hole for the network is filled as without one.
#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "core/checked.h"
#include "core/handles.h"
#include "core/network_passes.h"
#include "core/owned.h"
#include "inpaint/inpainter.h"
#include "inpaint/tiles.h"
#include "inpaint/view.h"
#include "pconv/models.h"

using namespace pconv;
using namespace pconv::inpaint;

namespace {

constexpr int64_t kUsualTile = 512;
// How far from the rim what is wrong at the rim is taken off the fill.
constexpr int64_t kRim = 4;
constexpr int kPlanes = 3;

// A place of a line that is mirrored at both ends without repeating them.
int64_t mirrored(int64_t at, int64_t size) {
    if (size == 1) return 0;
    const int64_t period = 2 * (size - 1);
    at = (at % period + period) % period;
    return at < size ? at : period - at;
}

class NetworkFill {
  public:
    NetworkFill(PconvDevice device, PconvModel model, PconvNetwork network, View& view,
                const PconvInpaintOptions& options, int64_t tile)
        : device_(device),
          network_(network),
          view_(view),
          options_(options),
          codec_(codecOf(view)),
          info_(infoOf(model)),
          groups_(view.height, view.width) {
        if (info_.classes != 0) invalid("the model classifies; expected one whose output is a picture");
        if (info_.channels != kPlanes)
            invalid("the model takes " + std::to_string(info_.channels) + " channels; expected 3");
        PconvNetworkDesc desc = pconvDefaultNetworkDesc(2);
        check(pconvGetModelNetworkDesc(model, &desc));
        if (desc.mask_type == PCONV_MASK_TYPE_NONE)
            invalid("the model takes no mask; a network that fills holes has one");
        is_fractional_ = desc.mask_type == PCONV_MASK_TYPE_FRACTIONAL;
        if (view.channels != 1 && view.channels != kPlanes)
            invalid("channels is " + std::to_string(view.channels) + "; a network fills 1 or 3");
        if (tile < 0) invalid("tile is " + std::to_string(tile) + "; expected 0 or more");
        const int64_t wanted = info_.fixed_size != 0 ? info_.fixed_size : tile != 0 ? tile : kUsualTile;
        tile_ = {roundUp(wanted, info_.size_multiple), info_.fixed_size != 0 ? 1 : info_.size_multiple};
        // Tiles that begin at multiples overlap only where they are longer than one.
        if (info_.fixed_size == 0) tile_.side = std::max(tile_.side, 2 * info_.size_multiple);
    }

    void run() {
        findHoles();
        if (holes_.empty()) return;
        sums_.assign(holes_.size() * kPlanes, 0.0F);
        shares_.assign(holes_.size(), 0.0F);
        if (isAllUnknown({0, view_.height}, {0, view_.width})) {
            std::fill(sums_.begin(), sums_.end(), 0.5F);
            std::fill(shares_.begin(), shares_.end(), 1.0F);
            progress(1);
            return store();
        }
        placeTiles();
        for (size_t t = 0; t < tiles_.size(); ++t) {
            progress(partDone(t));
            const Tile& tile = tiles_[t];
            runTile(rowsOf(tile), columnsOf(tile));
            gather(tile);
        }
        for (size_t h = 0; h < holes_.size(); ++h)
            for (int c = 0; c < kPlanes && isReached(h); ++c)
                sums_[h * kPlanes + static_cast<size_t>(c)] /= shares_[h];
        if (std::find(shares_.begin(), shares_.end(), 0.0F) != shares_.end()) return storeAndFillTheRest();
        progress(1);
        store();
    }

  private:
    struct Hole {
        int64_t y, x;
    };
    struct Tile {
        size_t group, row, column;
    };

    static PconvModelInfo infoOf(PconvModel model) {
        PconvModelInfo info = pconvDefaultModelInfo();
        check(pconvGetModelInfo(model, &info));
        return info;
    }

    void progress(double done) const {
        if (options_.progress != nullptr && options_.progress(options_.user, done) != 0)
            fail(PCONV_ERROR_CANCELLED, "the progress callback asked to stop");
    }

    // Filling what tiles leave over counts as one more.
    double partDone(size_t tiles) const {
        return static_cast<double>(tiles) / static_cast<double>(tiles_.size() + 1);
    }

    // Whether any tile's network has a value for it.
    bool isReached(size_t hole) const { return shares_[hole] > 0; }

    int holeAt(int64_t y, int64_t x) const { return view_.hole(view_.maskRow(y), x); }

    // To the rim, and to a network with a binary mask, a pixel is known or not.
    bool isUnknown(int64_t y, int64_t x) const {
        constexpr int kMostlyHole = 128;
        return holeAt(y, x) >= std::min(view_.unknownFrom(), kMostlyHole);
    }

    // To a network with a fractional mask it is known to some part.
    float knownPart(int64_t y, int64_t x) const {
        const int hole = holeAt(y, x);
        return hole >= view_.unknownFrom() ? 0.0F : 1.0F - static_cast<float>(hole) * kByte;
    }

    void findHoles() {
        row_begin_.assign(static_cast<size_t>(view_.height) + 1, 0);
        for (int64_t y = 0; y < view_.height; ++y) {
            row_begin_[static_cast<size_t>(y)] = holes_.size();
            for (int64_t x = 0; x < view_.width; ++x)
                if (holeAt(y, x) != 0) holes_.push_back({y, x});
        }
        row_begin_.back() = holes_.size();
    }

    // The holes of a row from `begin` on.
    size_t firstHole(int64_t y, int64_t begin) const {
        const auto row = holes_.begin() + static_cast<int64_t>(row_begin_[static_cast<size_t>(y)]);
        const auto end = holes_.begin() + static_cast<int64_t>(row_begin_[static_cast<size_t>(y) + 1]);
        const auto found =
            std::lower_bound(row, end, begin, [](const Hole& hole, int64_t x) { return hole.x < x; });
        return static_cast<size_t>(found - holes_.begin());
    }

    // Whether nothing is known in a part.
    bool isAllUnknown(const Range& rows, const Range& columns) const {
        float values[kPlanes] = {0, 0, 0};
        for (int64_t y = rows.begin; y < rows.end; ++y)
            for (int64_t x = columns.begin; x < columns.end; ++x)
                if (is_fractional_ ? knownPart(y, x) > 0 && readPixel(y, x, values) : readKnown(y, x, values))
                    return false;
        return true;
    }

    const HoleGroup& groupOf(const Tile& tile) const { return groups_.all()[tile.group]; }
    const Range& rowsOf(const Tile& tile) const { return groupOf(tile).rows[tile.row]; }
    const Range& columnsOf(const Tile& tile) const { return groupOf(tile).columns[tile.column]; }

    // Calls f(index) for each hole pixel of the tile that is its group's, until it answers false.
    template <typename F>
    void forEachHole(const Tile& tile, const F& f) const {
        const Range& rows = rowsOf(tile);
        const Range& columns = columnsOf(tile);
        for (int64_t y = rows.begin; y < rows.end; ++y)
            for (size_t h = firstHole(y, columns.begin);
                 h < row_begin_[static_cast<size_t>(y) + 1] && holes_[h].x < columns.end; ++h)
                if (groups_.groupOf(y, holes_[h].x) == tile.group && !f(h)) return;
    }

    bool hasHole(const Tile& tile) const {
        bool has = false;
        forEachHole(tile, [&](size_t) { return !(has = true); });
        return has;
    }

    void placeTiles() {
        for (const Hole& hole : holes_) groups_.add(hole.y, hole.x);
        groups_.find(tile_);
        for (size_t group = 0; group < groups_.all().size(); ++group) placeTilesOf(group);
    }

    // Of a tile that is all hole a network would know nothing: a group's tiles grow until there is none.
    void placeTilesOf(size_t index) {
        const size_t before = tiles_.size();
        HoleGroup& group = groups_.all()[index];
        for (TileSize size = tile_;; size.side *= 2) {
            if (size.side != tile_.side) {
                group.rows = tilesAround(group.holes.rows, view_.height, size);
                group.columns = tilesAround(group.holes.columns, view_.width, size);
            }
            bool all_unknown = false;
            for (size_t i = 0; i < group.rows.size(); ++i)
                for (size_t j = 0; j < group.columns.size(); ++j) {
                    if (!hasHole({index, i, j})) continue;
                    tiles_.push_back({index, i, j});
                    all_unknown = all_unknown || isAllUnknown(group.rows[i], group.columns[j]);
                }
            if (!all_unknown) return;
            if (info_.fixed_size != 0)
                invalid("a hole covers a whole tile of " + std::to_string(tile_.side) +
                        " pixels, the only size that the model takes; expected smaller holes");
            tiles_.resize(before);
        }
    }

    template <typename T>
    bool sampleOf(int64_t y, int64_t x, int c, float& value) const {
        T sample;
        std::memcpy(&sample, view_.row(y) + (x * view_.pixel_stride + c) * static_cast<int64_t>(sizeof(T)),
                    sizeof(T));
        if (!codec_.isUsable(sample)) return false;
        value = codec_.load(sample);
        return true;
    }

    bool sampleAt(int64_t y, int64_t x, int c, float& value) const {
        switch (view_.type) {
            case PCONV_SAMPLE_TYPE_U8:
                return sampleOf<uint8_t>(y, x, c, value);
            case PCONV_SAMPLE_TYPE_U16:
                return sampleOf<uint16_t>(y, x, c, value);
            case PCONV_SAMPLE_TYPE_F32:
                return sampleOf<float>(y, x, c, value);
            case PCONV_SAMPLE_TYPE_F16:
                break;
        }
        return sampleOf<Half>(y, x, c, value);
    }

    // A pixel's values, 0 to 1 over the value range, a gray one's three times; false where nothing is learned
    // from it.
    bool readKnown(int64_t y, int64_t x, float (&values)[kPlanes]) const {
        return !isUnknown(y, x) && readPixel(y, x, values);
    }

    bool readPixel(int64_t y, int64_t x, float (&values)[kPlanes]) const {
        for (int c = 0; c < view_.channels; ++c)
            if (!sampleAt(y, x, c, values[c])) return false;
        if (view_.channels == 1) values[1] = values[2] = values[0];
        return true;
    }

    // Runs the network over a part of the picture, mirrored beyond its edges up to the size the network
    // takes.
    void runTile(const Range& rows, const Range& columns) {
        const int64_t least = info_.fixed_size;
        height_ = std::max(least, roundUp(rows.size(), info_.size_multiple));
        width_ = std::max(least, roundUp(columns.size(), info_.size_multiple));
        const auto plane = static_cast<size_t>(height_ * width_);
        input_.resize(plane * kPlanes);
        mask_.resize(is_fractional_ ? 0 : plane);
        parts_.resize(is_fractional_ ? plane : 0);
        for (int64_t i = 0; i < height_; ++i)
            for (int64_t j = 0; j < width_; ++j) {
                const int64_t y = rows.begin + mirrored(i, rows.size());
                const int64_t x = columns.begin + mirrored(j, columns.size());
                const auto at = static_cast<size_t>(i * width_ + j);
                float values[kPlanes] = {0, 0, 0};
                const float part = is_fractional_ ? knownPart(y, x) : isUnknown(y, x) ? 0.0F : 1.0F;
                const bool known = part > 0 && readPixel(y, x, values);
                if (is_fractional_)
                    parts_[at] = known ? part : 0.0F;
                else
                    mask_[at] = known ? 1 : 0;
                for (int c = 0; c < kPlanes; ++c)
                    input_[static_cast<size_t>(c) * plane + at] =
                        known ? (values[c] * info_.input_range - info_.mean[c]) / info_.deviation[c] : 0.0F;
            }
        compute();
    }

    void compute() {
        const int64_t size[PCONV_MAX_SPATIAL_DIMS] = {height_, width_, 1};
        int64_t dims[PCONV_MAX_DIMS];
        check(pconvResizeNetwork(network_, 1, size));
        check(pconvGetNetworkOutputDims(network_, dims));
        if (dims[1] != kPlanes || dims[2] != height_ || dims[3] != width_)
            invalid("the network's output is no picture of its input's size");
        const size_t bytes = input_.size() * sizeof(float);
        const void* const mask_data = is_fractional_ ? static_cast<const void*>(parts_.data()) : mask_.data();
        const size_t mask_bytes = mask_.size() + parts_.size() * sizeof(float);
        if (bytes != bytes_) {
            for (OwnedBuffer* buffer : {&device_input_, &device_output_}) *buffer = make(bytes);
            device_mask_ = make(mask_bytes);
            bytes_ = bytes;
        }
        check(pconvWriteBuffer(device_input_.get(), 0, input_.data(), bytes));
        check(pconvWriteBuffer(device_mask_.get(), 0, mask_data, mask_bytes));
        const auto view = [&](PconvBuffer buffer, PconvDataType type, int64_t planes) {
            PconvTensor tensor{};
            tensor.buffer = buffer;
            tensor.data_type = type;
            tensor.rank = 4;
            tensor.dims[0] = 1;
            tensor.dims[1] = planes;
            tensor.dims[2] = height_;
            tensor.dims[3] = width_;
            return tensor;
        };
        const PconvTensor in = view(device_input_.get(), PCONV_DATA_TYPE_F32, kPlanes);
        const PconvTensor mask =
            view(device_mask_.get(), is_fractional_ ? PCONV_DATA_TYPE_F32 : PCONV_DATA_TYPE_U8, 1);
        const PconvTensor out = view(device_output_.get(), PCONV_DATA_TYPE_F32, kPlanes);
        check(pconvForwardNetwork(network_, &in, &mask, &out));
        output_.resize(input_.size());
        check(pconvReadBuffer(device_output_.get(), 0, output_.data(), bytes));
        readReached();
    }

    // Where every plane of the output's mask is valid.
    void readReached() {
        reached_.assign(static_cast<size_t>(height_ * width_), 1);
        int32_t count = 0;
        check(pconvGetNetworkOutputMask(network_, 0, nullptr, &count));
        std::vector<PconvMaskSegment> segments(static_cast<size_t>(count));
        check(pconvGetNetworkOutputMask(network_, count, segments.data(), &count));
        for (const PconvMaskSegment& segment : segments) {
            const size_t values = reached_.size() * static_cast<size_t>(segment.planes.dims[1]);
            if (segment.planes.data_type == PCONV_DATA_TYPE_U8)
                addReached<uint8_t>(segment.planes, values);
            else
                addReached<float>(segment.planes, values);
        }
    }

    template <typename T>
    void addReached(const PconvTensor& planes, size_t count) {
        std::vector<T> values(count);
        check(pconvReadBuffer(planes.buffer, planes.offset, values.data(), count * sizeof(T)));
        for (size_t i = 0; i < count; ++i)
            if (values[i] == T{0}) reached_[i % reached_.size()] = 0;
    }

    OwnedBuffer make(size_t bytes) const {
        PconvBuffer buffer = nullptr;
        check(pconvCreateBuffer(device_, bytes, &buffer));
        return OwnedBuffer(buffer);
    }

    // When no more tiles follow: what is filled without the network needs memory too.
    void releaseTiles() {
        releasePasses(network_);
        for (OwnedBuffer* buffer : {&device_input_, &device_mask_, &device_output_}) buffer->reset();
        bytes_ = 0;
    }

    // Adds what the tile says of its holes, by its share of each.
    void gather(const Tile& tile) {
        const Range& rows = rowsOf(tile);
        const Range& columns = columnsOf(tile);
        forEachHole(tile, [&](size_t h) {
            const auto [y, x] = holes_[h];
            if (reached_[static_cast<size_t>((y - rows.begin) * width_ + x - columns.begin)] == 0)
                return true;
            const float share =
                shareAt(groupOf(tile).rows, tile.row, y) * shareAt(groupOf(tile).columns, tile.column, x);
            shares_[h] += share;
            float correction[kPlanes] = {0, 0, 0};
            findCorrection(rows, columns, y, x, correction);
            for (int c = 0; c < kPlanes; ++c)
                sums_[h * kPlanes + static_cast<size_t>(c)] +=
                    share * (outputAt(rows, columns, y, x, c) + correction[c]);
            return true;
        });
    }

    float outputAt(const Range& rows, const Range& columns, int64_t y, int64_t x, int c) const {
        const auto at = static_cast<size_t>((y - rows.begin) * width_ + x - columns.begin);
        const float value = output_[static_cast<size_t>(c) * static_cast<size_t>(height_ * width_) + at];
        return value * info_.output_scale[c] + info_.output_shift[c];
    }

    // What the network is wrong by at the known pixels around, the nearest most, fading away from the rim: so
    // that the rim is not seen.
    void findCorrection(const Range& rows, const Range& columns, int64_t y, int64_t x,
                        float (&result)[kPlanes]) const {
        float sum = 0;
        float nearest = kRim + 1;
        for (int64_t i = std::max(rows.begin, y - kRim); i <= std::min(rows.end - 1, y + kRim); ++i)
            for (int64_t j = std::max(columns.begin, x - kRim); j <= std::min(columns.end - 1, x + kRim);
                 ++j) {
                float values[kPlanes] = {0, 0, 0};
                const auto squared = static_cast<float>((i - y) * (i - y) + (j - x) * (j - x));
                const float distance = std::sqrt(squared);
                if (squared == 0 || distance >= kRim + 1 || !readKnown(i, j, values)) continue;
                const float fade = 1 - distance / (kRim + 1);
                const float known = 1 - static_cast<float>(holeAt(i, j)) / 255.0F;
                const float weight = known * known * fade * fade / squared;
                nearest = std::min(nearest, distance);
                sum += weight;
                for (int c = 0; c < kPlanes; ++c)
                    result[c] += weight * (values[c] - outputAt(rows, columns, i, j, c));
            }
        if (sum == 0) return;
        const float fade = 1 - nearest / (kRim + 1);
        for (float& value : result) value *= fade / sum;
    }

    // Calls f(the pixel's samples, which of them) for each hole pixel.
    template <typename F>
    void forEachPixel(const F& f) {
        const auto size = static_cast<int64_t>(sampleSize(view_.type));
        for (size_t h = 0; h < holes_.size(); ++h)
            f(view_.row(holes_[h].y) + holes_[h].x * view_.pixel_stride * size, h);
    }

    // What is left over is filled from the picture with what the network gives, which is taken back if that
    // fails.
    void storeAndFillTheRest() {
        const size_t bytes = static_cast<size_t>(view_.channels) * sampleSize(view_.type);
        std::vector<unsigned char> before(holes_.size() * bytes);
        forEachPixel([&](const unsigned char* pixel, size_t h) {
            std::copy(pixel, pixel + bytes, before.begin() + static_cast<int64_t>(h * bytes));
        });
        const auto known = std::find(std::begin(view_.hole_of), std::end(view_.hole_of), 0);
        std::vector<uint8_t> mask(static_cast<size_t>(view_.height * view_.width),
                                  static_cast<uint8_t>(known - std::begin(view_.hole_of)));
        for (size_t h = 0; h < holes_.size(); ++h)
            if (const auto [y, x] = holes_[h]; !isReached(h))
                mask[static_cast<size_t>(y * view_.width + x)] = view_.maskRow(y)[x];
        View rest = view_;
        rest.mask = mask.data();
        rest.mask_row_stride = view_.width;
        const ProgressFunction of_rest = [&](double done) {
            progress(partDone(tiles_.size()) * (1 - done) + done);
        };
        try {
            store();
            releaseTiles();
            Inpainter(device_, " beside the network").fill(rest, &of_rest);
        } catch (...) {
            forEachPixel([&](unsigned char* pixel, size_t h) {
                const auto from = before.begin() + static_cast<int64_t>(h * bytes);
                std::copy(from, from + static_cast<int64_t>(bytes), pixel);
            });
            throw;
        }
    }

    template <typename T>
    void storeAs() {
        for (size_t h = 0; h < holes_.size(); ++h) {
            if (!isReached(h)) continue;
            const Hole& hole = holes_[h];
            const float share = static_cast<float>(holeAt(hole.y, hole.x)) / 255.0F;
            for (int c = 0; c < view_.channels; ++c) {
                const float* values = &sums_[h * kPlanes];
                float value = view_.channels == 1 ? (values[0] + values[1] + values[2]) / 3 : values[c];
                float own = 0;
                if (share < 1 && sampleAt(hole.y, hole.x, c, own)) value = share * value + (1 - share) * own;
                const T sample = codec_.store<T>(codec_.number(value));
                std::memcpy(
                    view_.row(hole.y) + (hole.x * view_.pixel_stride + c) * static_cast<int64_t>(sizeof(T)),
                    &sample, sizeof(T));
            }
        }
    }

    void store() {
        switch (view_.type) {
            case PCONV_SAMPLE_TYPE_U8:
                return storeAs<uint8_t>();
            case PCONV_SAMPLE_TYPE_U16:
                return storeAs<uint16_t>();
            case PCONV_SAMPLE_TYPE_F32:
                return storeAs<float>();
            case PCONV_SAMPLE_TYPE_F16:
                return storeAs<Half>();
        }
    }

    PconvDevice device_;
    PconvNetwork network_;
    View& view_;
    const PconvInpaintOptions& options_;
    Codec codec_;
    PconvModelInfo info_;
    bool is_fractional_ = false;
    TileSize tile_{};
    HoleGroups groups_;
    std::vector<Tile> tiles_;
    std::vector<Hole> holes_;           // by rows
    std::vector<size_t> row_begin_;     // where those of a row begin, and one more
    std::vector<float> sums_, shares_;  // of every hole's values
    int64_t height_ = 0, width_ = 0;    // of the tile in hand, padded
    std::vector<float> input_, output_;
    std::vector<uint8_t> mask_;  // binary, or
    std::vector<float> parts_;   // fractional
    std::vector<uint8_t> reached_;
    size_t bytes_ = 0;
    OwnedBuffer device_input_, device_mask_, device_output_;
};

}  // namespace

PconvStatus pconvInpaintWithNetwork(PconvDevice device, PconvModel model, PconvNetwork network,
                                    const PconvImage* image, const uint8_t* mask,
                                    const PconvInpaintOptions* options, int64_t tile) {
    return guarded([&] {
        notNull(device, "device");
        notNull(model, "model");
        notNull(network, "network");
        const PconvInpaintOptions settings =
            options == nullptr ? pconvDefaultInpaintOptions()
                               : copyVersioned(options, pconvDefaultInpaintOptions(), "options");
        View view = parse(image, mask, settings);
        NetworkFill(device, model, network, view, settings, tile).run();
    });
}
