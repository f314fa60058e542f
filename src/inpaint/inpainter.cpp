#include "inpaint/inpainter.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>

#include "core/handles.h"
#include "inpaint/reduction.h"
#include "platform/process.h"

namespace pconv::inpaint {

namespace {

constexpr int kColours = kLanes - 1;   // how many channels are filled at a time
constexpr int64_t kRowsAtATime = 512;  // that are looked at for holes before cancelling is heard

int threadsOf(const DeviceState& device) {
    int threads = device.host->threads();
    if (threads <= 0) {
        const char* omp = std::getenv("OMP_NUM_THREADS");
        threads = omp != nullptr ? std::atoi(omp) : 0;
    }
    if (threads <= 0) threads = platform::usableProcessors();
    return std::clamp(threads, 1, 256);
}

// Where the first pixel from x on lies that is a hole in any degree. Most pixels of most masks are not: eight
// are looked at together.
int64_t findHole(const View& view, const uint8_t* mask, int64_t x) {
    constexpr uint64_t kOnes = 0x0101010101010101ULL;
    const bool zero_is_valid = view.hole_of[0] == 0;
    const bool one_is_valid = view.hole_of[1] == 0;
    for (; x + 8 <= view.width; x += 8) {
        uint64_t word;
        std::memcpy(&word, mask + x, sizeof word);
        if (zero_is_valid  ? word != 0
            : one_is_valid ? ((word - kOnes) & ~word & (kOnes << 7)) != 0
                           : word != ~uint64_t{0})
            break;
    }
    while (x < view.width && view.hole(mask, x) == 0) ++x;
    return x;
}

// A device whose limit is too small says what would do: all that inpaint.h promises to take.
template <typename Work>
void sayingWhatWouldDo(const char* beside, const Work& work) {
    try {
        work();
    } catch (const Error& error) {
        if (error.status() != PCONV_ERROR_OUT_OF_MEMORY) throw;
        fail(error.status(),
             std::string(error.what()) + "; 16 MiB (16777216 bytes)" + beside + " are enough to inpaint");
    }
}

}  // namespace

template <typename T>
class Inpainter::Job final : public Source {
  public:
    Job(Inpainter& owner, View& view, const ProgressFunction* progress)
        : owner_(owner), view_(view), progress_(progress), codec_(codecOf(view)) {}

    void run() {
        Pyramid& pyramid = owner_.pyramid();
        Holes& holes = pyramid.holes();
        collect(pyramid.pool(), holes);
        if (holes.empty()) return;
        const size_t samples = holes.size() * channels();
        if (owner_.filled_.size() < samples * sizeof(T)) owner_.filled_.resize(samples * sizeof(T));
        filled_ = reinterpret_cast<T*>(owner_.filled_.data());
        weigh(holes, pyramid.weights());
        tick();
        const auto& weights = pyramid.weights();
        const bool known =
            !holes.isAll() || std::any_of(weights.begin(), weights.end(), [](float w) { return w > 0.0F; });
        if (known)
            for (first_ = 0; first_ < view_.channels; first_ += kColours) fillChannels(pyramid);
        else
            for (const Span& span : holes.spans()) fillWith(span, codec_.middle());
        commit(holes);
    }

    void load(int64_t top, int64_t left, const Plane4& out) const override {
        const int unknown = view_.unknownFrom();
        const int64_t begin = std::max<int64_t>(left, 0);
        const int64_t end = std::min(left + out.width, view_.width);
        for (int64_t i = 0; i < out.height; ++i) {
            const int64_t y = top + i;
            float* to = out.row(i);
            if (y < 0 || y >= view_.height || begin >= end) {
                std::fill_n(to, out.width * kLanes, 0.0F);
                continue;
            }
            std::fill_n(to, (begin - left) * kLanes, 0.0F);
            std::fill(to + (end - left) * kLanes, to + out.width * kLanes, 0.0F);
            to += (begin - left) * kLanes;
            const T* in = pixel(y, begin);
            const uint8_t* const mask = view_.maskRow(y);
            for (int64_t x = begin; x < end; ++x, in += view_.pixel_stride, to += kLanes) {
                const int hole = view_.hole(mask, x);
                if (hole >= unknown || !isKnown(in)) {
                    std::fill_n(to, kLanes, 0.0F);
                    continue;
                }
                for (int c = 0; c < kColours; ++c) to[c] = c < colours() ? codec_.load(in[first_ + c]) : 0.0F;
                to[kColours] = 1.0F;
                if (hole == 0) continue;
                const float weight = 1.0F - static_cast<float>(hole) * kByte;
                for (int c = 0; c < kLanes; ++c) to[c] *= weight;
            }
        }
    }

    void store(size_t first, int64_t y, int64_t x, int64_t count, const float* colour) override {
        const bool blends = view_.levels == PCONV_MASK_LEVELS_BLEND;
        T* out = filled_ + first * channels() + first_;
        const T* in = pixel(y, x) + first_;
        const uint8_t* const mask = view_.maskRow(y);
        for (const int64_t end = x + count; x < end;
             ++x, in += view_.pixel_stride, colour += kLanes, out += channels()) {
            const int hole = view_.hole(mask, x);
            for (int c = 0; c < colours(); ++c) {
                float number = codec_.number(colour[c]);
                // What is no number has no share.
                if (blends && hole < 255 && codec_.isUsable(in[c])) {
                    const float own = toNumber(in[c]);
                    number = own + (number - own) * (static_cast<float>(hole) * kByte);
                }
                out[c] = codec_.template store<T>(number);
            }
        }
    }

  private:
    size_t channels() const { return static_cast<size_t>(view_.channels); }
    int colours() const { return std::min(kColours, view_.channels - first_); }
    const T* pixel(int64_t y, int64_t x) const {
        return reinterpret_cast<const T*>(view_.row(y)) + x * view_.pixel_stride;
    }
    bool isKnown(const T* samples) const {
        return kIsWhole<T> || std::all_of(samples, samples + view_.channels,
                                          [&](T sample) { return codec_.isUsable(sample); });
    }

    // All pixels that are not known in full, also such that are to be kept as they are.
    void collect(ThreadPool& pool, Holes& holes) {
        auto& parts = owner_.parts_;
        if (parts.size() < static_cast<size_t>(pool.threads()))
            parts.resize(static_cast<size_t>(pool.threads()));
        const auto count = static_cast<int64_t>(parts.size());
        holes.reset(view_.height, view_.width);
        for (int64_t top = 0; top < view_.height; top += kRowsAtATime) {
            const int64_t height = std::min(kRowsAtATime, view_.height - top);
            const auto body = [&](int part) {
                const int64_t begin = top + height * part / count;
                const int64_t end = top + height * (part + 1) / count;
                Holes& rows = parts[static_cast<size_t>(part)];
                rows.reset(end - begin, view_.width);
                for (int64_t y = begin; y < end; ++y, rows.endRow()) collectRow(y, rows);
            };
            pool.run(static_cast<int>(count), std::cref(body));
            for (const Holes& rows : parts) holes.append(rows);
            tick();
        }
    }

    void collectRow(int64_t y, Holes& holes) const {
        const uint8_t* const mask = view_.maskRow(y);
        if (isRowUsable(y)) {
            for (int64_t x = findHole(view_, mask, 0); x < view_.width;) {
                const int64_t begin = x;
                while (x < view_.width && view_.hole(mask, x) != 0) ++x;
                holes.add(begin, x);
                x = findHole(view_, mask, x);
            }
            return;
        }
        const T* in = pixel(y, 0);
        int64_t begin = -1;
        for (int64_t x = 0; x < view_.width; ++x, in += view_.pixel_stride) {
            const bool unknown = view_.hole(mask, x) != 0 || !isKnown(in);
            if (unknown && begin < 0) begin = x;
            if (!unknown && begin >= 0) {
                holes.add(begin, x);
                begin = -1;
            }
        }
        if (begin >= 0) holes.add(begin, view_.width);
    }

    bool isRowUsable(int64_t y) const {
        if constexpr (kIsWhole<T>) {
            return true;
        } else {
            const T* const in = pixel(y, 0);
            const int64_t stride = view_.pixel_stride;
            int unusable = 0;  // no early end, so that it is done in vectors
            if (stride == view_.channels) {
                for (int64_t i = 0; i < view_.width * stride; ++i) unusable |= codec_.isUsable(in[i]) ? 0 : 1;
            } else {
                for (int64_t x = 0; x < view_.width; ++x)
                    for (int c = 0; c < view_.channels; ++c)
                        unusable |= codec_.isUsable(in[x * stride + c]) ? 0 : 1;
            }
            return unusable == 0;
        }
    }

    void weigh(const Holes& holes, std::vector<float>& weights) const {
        weights.clear();
        if (view_.levels != PCONV_MASK_LEVELS_CONFIDENCE) return;
        weights.resize(holes.size());
        for (const Span& span : holes.spans()) {
            const uint8_t* const mask = view_.maskRow(span.y);
            const T* in = pixel(span.y, span.begin);
            float* out = &weights[span.first];
            for (int64_t x = span.begin; x < span.end; ++x, in += view_.pixel_stride)
                *out++ = isKnown(in) ? 1.0F - static_cast<float>(view_.hole(mask, x)) * kByte : 0.0F;
        }
    }

    void fillChannels(Pyramid& pyramid) {
        if (progress_ == nullptr) return pyramid.fill(*this, colours(), nullptr);
        const double share = view_.channels > kColours ? 0.5 : 1.0;
        const auto part = [&](double done) { (*progress_)(share * (first_ > 0 ? done + 1.0 : done)); };
        const ProgressFunction function = std::cref(part);
        pyramid.fill(*this, colours(), &function);
    }

    // Cancelling is heard before there is progress.
    void tick() const {
        if (progress_ != nullptr) (*progress_)(0.0);
    }

    void fillWith(const Span& span, float number) {
        const auto count = static_cast<size_t>(span.end - span.begin) * channels();
        std::fill_n(filled_ + span.first * channels(), count, codec_.template store<T>(number));
    }

    void commit(const Holes& holes) {
        for (const Span& span : holes.spans()) {
            const uint8_t* const mask = view_.maskRow(span.y);
            T* out = reinterpret_cast<T*>(view_.row(span.y)) + span.begin * view_.pixel_stride;
            const T* from = filled_ + span.first * channels();
            for (int64_t x = span.begin; x < span.end; ++x, out += view_.pixel_stride, from += channels())
                if (view_.hole(mask, x) != 0) std::copy_n(from, channels(), out);
        }
    }

    Inpainter& owner_;
    View& view_;
    const ProgressFunction* progress_;
    Codec codec_;
    T* filled_ = nullptr;  // the channels of each hole pixel
    int first_ = 0;        // of the channels that are being filled
};

Pyramid& Inpainter::pyramid() {
    if (!pyramid_) pyramid_ = std::make_unique<Pyramid>(device_, threadsOf(*device_->state));
    return *pyramid_;
}

template <typename T>
void Inpainter::fillAs(View& view, const ProgressFunction* progress) {
    sayingWhatWouldDo(beside_, [&] { Job<T>(*this, view, progress).run(); });
}

void Inpainter::fill(View& view, const ProgressFunction* progress) {
    switch (view.type) {
        case PCONV_SAMPLE_TYPE_U8:
            return fillAs<uint8_t>(view, progress);
        case PCONV_SAMPLE_TYPE_U16:
            return fillAs<uint16_t>(view, progress);
        case PCONV_SAMPLE_TYPE_F16:
            return fillAs<Half>(view, progress);
        case PCONV_SAMPLE_TYPE_F32:
            return fillAs<float>(view, progress);
    }
}

template <typename T>
void Inpainter::previewAs(const View& view, View& reduced, const ProgressFunction* progress) {
    const Codec codec = codecOf(view);
    const int64_t step = (view.width + reduced.width - 1) / reduced.width;
    reduced_.resize(static_cast<size_t>(reduced.width * reduced.height * view.channels));
    reduced_mask_.resize(static_cast<size_t>(reduced.width * reduced.height));
    const Reduction<T> reduction(view, codec, step);
    const auto rows = [&](int64_t begin, int64_t end) {
        for (int64_t y = begin; y < end; ++y)
            reduction.row(y, reduced.width, &reduced_[static_cast<size_t>(y * reduced.width * view.channels)],
                          &reduced_mask_[static_cast<size_t>(y * reduced.width)]);
    };
    parallelRanges(pyramid().pool(), reduced.height, 1, rows);

    View values = reduced;
    values.pixels = reinterpret_cast<unsigned char*>(reduced_.data());
    values.type = PCONV_SAMPLE_TYPE_F32;
    values.pixel_stride = view.channels;
    values.row_stride = reduced.width * view.channels * static_cast<int64_t>(sizeof(float));
    values.linear = false;
    values.value_min = 0.0F;
    values.value_max = 1.0F;
    values.mask = reduced_mask_.data();
    values.mask_row_stride = reduced.width;
    values.levels = view.levels;
    for (int i = 0; i < 256; ++i) values.hole_of[i] = static_cast<uint8_t>(i);
    fillAs<float>(values, progress);

    parallelRanges(pyramid().pool(), reduced.height, 16, [&](int64_t begin, int64_t end) {
        const float* from = &reduced_[static_cast<size_t>(begin * reduced.width * view.channels)];
        for (int64_t y = begin; y < end; ++y) {
            T* out = reinterpret_cast<T*>(reduced.row(y));
            for (int64_t x = 0; x < reduced.width; ++x, out += reduced.pixel_stride)
                for (int c = 0; c < view.channels; ++c)
                    out[c] = codec.template store<T>(codec.number(*from++));
        }
    });
}

void Inpainter::preview(const View& view, View& reduced, const ProgressFunction* progress) {
    switch (view.type) {
        case PCONV_SAMPLE_TYPE_U8:
            return previewAs<uint8_t>(view, reduced, progress);
        case PCONV_SAMPLE_TYPE_U16:
            return previewAs<uint16_t>(view, reduced, progress);
        case PCONV_SAMPLE_TYPE_F16:
            return previewAs<Half>(view, reduced, progress);
        case PCONV_SAMPLE_TYPE_F32:
            return previewAs<float>(view, reduced, progress);
    }
}

}  // namespace pconv::inpaint
