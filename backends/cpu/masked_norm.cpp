#include "cpu/masked_norm.h"

#include <cmath>

#include "cpu/element.h"
#include "cpu/parallel.h"

namespace pconv::cpu {

namespace {

// A row along W as floats, whatever its type and stride.
void readRow(const TensorRef& t, int64_t first, int64_t stride, std::vector<float>& row) {
    const auto count = static_cast<int64_t>(row.size());
    const auto convert = [&](const auto* from, const auto& value) {
        for (int64_t i = 0; i < count; ++i) row[static_cast<size_t>(i)] = value(from[i * stride]);
    };
    switch (t.data_type) {
        case DataType::f32:
            return convert(pointer<float>(t) + first, [](float v) { return v; });
        case DataType::f16:
            return convert(pointer<uint16_t>(t) + first, floatFromF16);
        case DataType::bf16:
            return convert(pointer<uint16_t>(t) + first, floatFromBf16);
        case DataType::u8:
        case DataType::bits:  // the core lets none through
            break;
    }
    convert(pointer<uint8_t>(t) + first, [](uint8_t v) { return v != 0 ? 1.0F : 0.0F; });
}

// The channels of one call, row by row: x with the holes read as 0, and m.
class MaskedRows {
  public:
    MaskedRows(const MaskedNormDesc& desc, const std::vector<TensorRef>& planes, const TensorRef& input)
        : desc_(desc),
          planes_(planes),
          input_(input),
          x_(static_cast<size_t>(desc.size[2])),
          m_(x_.size(), 1.0F) {}

    // f(position of the row, x, m) over one channel of one picture.
    template <typename F>
    void forEach(int64_t n, int64_t c, const F& f) {
        const bool masked = !desc_.form.segments.empty();
        const PlaneIndex at = masked ? planeOfChannel(desc_.form, true, c) : PlaneIndex{0, 0};
        forEachPosition({desc_.size[0], desc_.size[1], 1}, [&](const Dims3& p) {
            readRow(input_, elementIndex(input_, n, c, p), input_.strides[4], x_);
            if (masked) {
                const TensorRef& view = planes_[at.segment];
                readRow(view, elementIndex(view, desc_.form.batch == 1 ? 0 : n, at.plane, p), 1, m_);
                for (size_t i = 0; i < x_.size(); ++i) {
                    if (desc_.form.hole_is_one) m_[i] = 1 - m_[i];
                    if (m_[i] == 0) x_[i] = 0;
                }
            }
            f(p, x_, m_);
        });
    }

  private:
    const MaskedNormDesc& desc_;
    const std::vector<TensorRef>& planes_;
    const TensorRef& input_;
    std::vector<float> x_;
    std::vector<float> m_;
};

struct Sums {
    double values = 0;
    double count = 0;
};

Sums sums(MaskedRows& rows, int64_t n, int64_t c) {
    Sums total;
    rows.forEach(n, c, [&](const Dims3&, const std::vector<float>& x, const std::vector<float>& m) {
        for (size_t i = 0; i < x.size(); ++i) {
            total.values += static_cast<double>(x[i]);
            total.count += static_cast<double>(m[i]);
        }
    });
    return total;
}

struct Statistics {
    double mean = 0;
    double variance = 0;
    double count = 0;
};

Statistics batchStatistics(const MaskedNormDesc& desc, MaskedRows& rows, int64_t c) {
    Sums total;
    for (int64_t n = 0; n < desc.batch; ++n) {
        const Sums picture = sums(rows, n, c);
        total.values += picture.values;
        total.count += picture.count;
    }
    if (total.count == 0) return {};
    Statistics result{total.values / total.count, 0, total.count};
    double squares = 0;
    for (int64_t n = 0; n < desc.batch; ++n)
        rows.forEach(n, c, [&](const Dims3&, const std::vector<float>& x, const std::vector<float>& m) {
            for (size_t i = 0; i < x.size(); ++i) {
                const double deviation =
                    (static_cast<double>(x[i]) - result.mean) * static_cast<double>(m[i]);
                squares += deviation * deviation;
            }
        });
    result.variance = squares / total.count;
    return result;
}

class CpuMaskedBatchNorm final : public MaskedBatchNorm {
  public:
    CpuMaskedBatchNorm(const MaskedNormDesc& desc, const Threads& threads) : desc_(desc), threads_(threads) {}

    void forward(const std::vector<TensorRef>& planes, const TensorRef& input,
                 const BatchNormParameters& parameters, const TensorRef& output) override {
        parallelFor(threads_, desc_.channels, [&](int /*thread*/, int64_t c) {
            MaskedRows rows(desc_, planes, input);
            const Statistics s = statistics(rows, parameters, c);
            const double scale = (parameters.weight.buffer ? load(parameters.weight, c) : 1) /
                                 std::sqrt(s.variance + static_cast<double>(desc_.eps));
            const double shift = parameters.bias.buffer ? load(parameters.bias, c) : 0;
            for (int64_t n = 0; n < desc_.batch; ++n)
                rows.forEach(n, c,
                             [&](const Dims3& p, const std::vector<float>& x, const std::vector<float>&) {
                                 const int64_t first = elementIndex(output, n, c, p);
                                 for (size_t i = 0; i < x.size(); ++i)
                                     store(output, first + static_cast<int64_t>(i) * output.strides[4],
                                           (static_cast<double>(x[i]) - s.mean) * scale + shift);
                             });
        });
    }

  private:
    Statistics statistics(MaskedRows& rows, const BatchNormParameters& parameters, int64_t c) const {
        if (!desc_.training) return {load(parameters.running_mean, c), load(parameters.running_var, c), 0};
        const Statistics s = batchStatistics(desc_, rows, c);
        const auto momentum = static_cast<double>(desc_.momentum);
        const auto update = [&](const TensorRef& running, double value) {
            if (running.buffer) store(running, c, load(running, c) * (1 - momentum) + momentum * value);
        };
        update(parameters.running_mean, s.mean);
        // As torch.nn.BatchNorm without a mask: the unbiased variance is what is remembered.
        const bool unbiased = desc_.form.segments.empty() && s.count > 1;
        update(parameters.running_var, unbiased ? s.variance * s.count / (s.count - 1) : s.variance);
        return s;
    }

    MaskedNormDesc desc_;
    Threads threads_;
};

class CpuMaskedSpatialMean final : public MaskedSpatialMean {
  public:
    CpuMaskedSpatialMean(const MaskedNormDesc& desc, const Threads& threads)
        : desc_(desc), threads_(threads) {}

    void forward(const std::vector<TensorRef>& planes, const TensorRef& input, const TensorRef& output,
                 const TensorRef& output_mask) override {
        parallelFor(threads_, desc_.batch * desc_.channels, [&](int /*thread*/, int64_t i) {
            const int64_t n = i / desc_.channels;
            const int64_t c = i % desc_.channels;
            MaskedRows rows(desc_, planes, input);
            const auto [sum, count] = sums(rows, n, c);
            if (output_mask.buffer && n < desc_.form.batch)
                store(output_mask, i, count / static_cast<double>(volume(desc_.size)));
            const double divisor = planes.empty() ? count : count + static_cast<double>(desc_.eps);
            store(output, i, divisor == 0 ? 0 : sum / divisor);
        });
    }

  private:
    MaskedNormDesc desc_;
    Threads threads_;
};

}  // namespace

std::unique_ptr<MaskedBatchNorm> makeMaskedBatchNorm(const MaskedNormDesc& desc, const Threads& threads) {
    return std::make_unique<CpuMaskedBatchNorm>(desc, threads);
}

std::unique_ptr<MaskedSpatialMean> makeMaskedSpatialMean(const MaskedNormDesc& desc, const Threads& threads) {
    return std::make_unique<CpuMaskedSpatialMean>(desc, threads);
}

}  // namespace pconv::cpu
