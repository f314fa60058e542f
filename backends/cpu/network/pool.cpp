// Max and average pooling.
#include <limits>

#include "cpu/network/network.h"

namespace pconv::cpu {

namespace {

struct Span {
    int64_t begin, end;
};

// The part of a window of output o that lies in the input.
Span inside(const Window& window, size_t d, int64_t o) {
    const int64_t begin = o * window.stride[d] - window.padding[d];
    return {std::max<int64_t>(0, begin), std::min(window.input[d], begin + window.kernel[d])};
}

// Columns of a row of the input that are accumulated at a time.
constexpr int64_t kColumns = 1024;

// `add` takes an element into an accumulator, `join` another accumulator.
template <typename Accumulator, typename Add, typename Join, typename Finish>
struct Pool {
    const PassDesc& desc;
    const PassOperands& operands;
    Accumulator first;
    Add add;
    Join join;
    Finish finish;

    // One position of channels that lie beside each other.
    void channels(int64_t n, int64_t c, const Dims3& p, int64_t count) const {
        const TensorRef& x = operands.input;
        const Span d = inside(desc.window, 0, p[0]);
        const Span h = inside(desc.window, 1, p[1]);
        const Span w = inside(desc.window, 2, p[2]);
        Accumulator sums[kChunk];
        std::fill_n(sums, count, first);
        float values[kChunk];
        for (int64_t i = d.begin; i < d.end; ++i)
            for (int64_t j = h.begin; j < h.end; ++j)
                for (int64_t k = w.begin; k < w.end; ++k) {
                    loadChunk(x, elementIndex(x, n, c, {i, j, k}), 1, count, values);
                    for (int64_t l = 0; l < count; ++l) sums[l] = add(sums[l], values[l]);
                }
        const int64_t taps = (d.end - d.begin) * (h.end - h.begin) * (w.end - w.begin);
        for (int64_t l = 0; l < count; ++l) values[l] = finish(sums[l], taps);
        storeChunk(operands.output, elementIndex(operands.output, n, c, p), 1, count, values);
    }

    // The rows under the columns [begin, end) of the input, column by column.
    void rows(int64_t n, int64_t c, const Span& d, const Span& h, const Span& w, Accumulator* sums) const {
        const TensorRef& x = operands.input;
        std::fill_n(sums, w.end - w.begin, first);
        float values[kChunk];
        for (int64_t i = d.begin; i < d.end; ++i)
            for (int64_t j = h.begin; j < h.end; ++j)
                for (int64_t begin = w.begin; begin < w.end; begin += kChunk) {
                    const int64_t some = std::min(kChunk, w.end - begin);
                    loadChunk(x, elementIndex(x, n, c, {i, j, begin}), x.strides[4], some, values);
                    Accumulator* at = sums + (begin - w.begin);
                    for (int64_t k = 0; k < some; ++k) at[k] = add(at[k], values[k]);
                }
    }

    // Columns of one channel: as many together as the columns under them are at hand.
    void columns(int64_t n, int64_t c, const Dims3& p, int64_t count) const {
        const Window& window = desc.window;
        const Span d = inside(window, 0, p[0]);
        const Span h = inside(window, 1, p[1]);
        const int64_t lines = (d.end - d.begin) * (h.end - h.begin);
        const int64_t together = std::max<int64_t>(1, (kColumns - window.kernel[2]) / window.stride[2] + 1);
        Accumulator sums[kColumns];
        float results[kChunk];
        for (int64_t l = 0; l < count;) {
            const int64_t end = std::min(count, l + together);
            Span all{inside(window, 2, p[2] + l).begin, inside(window, 2, p[2] + end - 1).end};
            if (all.end - all.begin > kColumns) {  // a window alone, a piece of it after the other
                results[l] = wide(n, c, d, h, all);
                ++l;
                continue;
            }
            rows(n, c, d, h, all, sums);
            for (; l < end; ++l) {
                const Span w = inside(window, 2, p[2] + l);
                Accumulator sum = first;
                for (int64_t k = w.begin; k < w.end; ++k) sum = join(sum, sums[k - all.begin]);
                results[l] = finish(sum, lines * (w.end - w.begin));
            }
        }
        const TensorRef& y = operands.output;
        storeChunk(y, elementIndex(y, n, c, p), y.strides[4], count, results);
    }

    float wide(int64_t n, int64_t c, const Span& d, const Span& h, const Span& w) const {
        Accumulator sums[kColumns];
        Accumulator sum = first;
        for (int64_t begin = w.begin; begin < w.end; begin += kColumns) {
            const Span piece{begin, std::min(w.end, begin + kColumns)};
            rows(n, c, d, h, piece, sums);
            for (int64_t k = 0; k < piece.end - begin; ++k) sum = join(sum, sums[k]);
        }
        return finish(sum, (d.end - d.begin) * (h.end - h.begin) * (w.end - w.begin));
    }

    void run(const CpuDevice& device) const {
        const bool together =
            channelsInside(operands.output, desc.channels) && channelsInside(operands.input, desc.channels);
        forEachChunk(device.threads(), desc, together,
                     [&](int64_t n, int64_t c, const Dims3& p, int64_t count) {
                         if (together)
                             channels(n, c, p, count);
                         else
                             columns(n, c, p, count);
                     });
    }
};

template <typename Accumulator, typename Add, typename Join, typename Finish>
void pool(const CpuDevice& device, const PassDesc& desc, const PassOperands& operands, Accumulator first,
          const Add& add, const Join& join, const Finish& finish) {
    const Pool<Accumulator, Add, Join, Finish> made{desc, operands, first, add, join, finish};
    made.run(device);
}

}  // namespace

void maxPool(const CpuDevice& device, const PassDesc& desc, const PassOperands& operands) {
    const auto larger = [](float most, float value) { return value > most || value != value ? value : most; };
    pool(device, desc, operands, -std::numeric_limits<float>::infinity(), larger, larger,
         [](float most, int64_t /*taps*/) { return most; });
}

void averagePool(const CpuDevice& device, const PassDesc& desc, const PassOperands& operands) {
    const int64_t all = volume(desc.window.kernel);
    pool(
        device, desc, operands, 0.0, [](double sum, float value) { return sum + static_cast<double>(value); },
        [](double sum, double other) { return sum + other; },
        [&](double sum, int64_t taps) {
            return static_cast<float>(sum / static_cast<double>(desc.inside_only ? taps : all));
        });
}

}  // namespace pconv::cpu
