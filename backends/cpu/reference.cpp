// cpu:reference, the oracle: the formulas of docs/semantics.md, written as they stand there, in float64.
// Slow.
#include <algorithm>
#include <cmath>

#include "cpu/element.h"

namespace pconv::cpu {

namespace {

// Calls f(position in the input, index of the tap) for the taps of the window at `o` that lie inside the
// input.
template <typename F>
void forEachTap(const Window& w, const Dims3& o, const F& f) {
    Dims3 k{};
    for (k[0] = 0; k[0] < w.kernel[0]; ++k[0])
        for (k[1] = 0; k[1] < w.kernel[1]; ++k[1])
            for (k[2] = 0; k[2] < w.kernel[2]; ++k[2]) {
                Dims3 p{};
                bool inside = true;
                for (size_t d = 0; d < 3; ++d) {
                    p[d] = o[d] * w.stride[d] - w.padding[d] + k[d] * w.dilation[d];
                    inside = inside && p[d] >= 0 && p[d] < w.input[d];
                }
                if (inside) f(p, k);
            }
}

class ReferenceMaskUpdate final : public CpuMaskUpdate {
  public:
    using CpuMaskUpdate::CpuMaskUpdate;

  protected:
    void computeResults() override {
        const int64_t counted = desc_.countedChannels();
        const auto win = static_cast<double>(volume(desc_.window.kernel) * counted);
        for (int64_t n = 0; n < form_.batch; ++n)
            for (int64_t g = 0; g < desc_.maskGroups(); ++g)
                forEachPosition(desc_.window.output, [&](const Dims3& o) {
                    double s = 0;
                    forEachTap(desc_.window, o, [&](const Dims3& p, const Dims3&) {
                        for (int64_t c = g * counted; c < (g + 1) * counted; ++c)
                            s += maskAt(form_, planes_, desc_.multi_channel, n, c, p);
                    });
                    storeResults(elementIndex(results_.ratio, n, g, o), s, win);
                });
    }

  private:
    void storeResults(int64_t i, double s, double win) {
        double u = 0;
        double r = 0;
        if (desc_.normalization == Normalization::window_ratio) {
            u = std::clamp(s, 0.0, 1.0);
            r = u > 0 ? win / (s + static_cast<double>(desc_.eps)) * u : 0;
        } else {
            u = s > 0 ? 1 : 0;
            r = s > 0 ? 1 / s : 0;
        }
        store(results_.window_sum, i, s);
        store(results_.ratio, i, r);
        store(results_.updated_mask, i, u);
    }
};

// The mask of a masked convolution: each output channel's, from the weights and the mask at the window's
// centre.
class ReferenceMaskedConvMask final : public CpuMaskUpdate {
  public:
    using CpuMaskUpdate::CpuMaskUpdate;

    void setWeights(const TensorRef& weight) override {
        const int64_t taps = volume(desc_.window.kernel);
        magnitude_.assign(static_cast<size_t>(desc_.out_channels * desc_.in_channels / desc_.groups), 0);
        for (size_t i = 0; i < magnitude_.size(); ++i)
            for (int64_t tap = 0; tap < taps; ++tap)
                magnitude_[i] += std::fabs(load(weight, static_cast<int64_t>(i) * taps + tap));
    }

  protected:
    void computeResults() override {
        for (int64_t n = 0; n < form_.batch; ++n)
            for (int64_t c = 0; c < desc_.maskGroups(); ++c)
                forEachPosition(desc_.window.output, [&](const Dims3& o) {
                    store(results_.updated_mask, elementIndex(results_.updated_mask, n, c, o),
                          form_.segments.empty() ? 1 : maskOf(n, c, o));
                });
    }

  private:
    double maskOf(int64_t n, int64_t c, const Dims3& o) const {
        const Window& w = desc_.window;
        Dims3 centre{};
        bool inside = true;
        for (size_t d = 0; d < 3; ++d) {
            centre[d] = o[d] * w.stride[d] - w.padding[d] + w.kernel[d] / 2 * w.dilation[d];
            inside = inside && centre[d] >= 0 && centre[d] < w.input[d];
        }
        const int64_t group_in = desc_.in_channels / desc_.groups;
        const int64_t group = c / (desc_.out_channels / desc_.groups);
        double sum = 0;
        double total = 0;
        for (int64_t j = 0; j < group_in; ++j) {
            const double a = magnitude_[static_cast<size_t>(c * group_in + j)];
            total += a;
            if (inside) sum += a * maskAt(form_, planes_, true, n, group * group_in + j, centre);
        }
        total += static_cast<double>(desc_.eps);
        return total > 0 ? sum / total : 0;
    }

    std::vector<double> magnitude_;
};

class ReferencePartialConv final : public PartialConv {
  public:
    explicit ReferencePartialConv(const PartialConvDesc& desc) : desc_(desc) {}

    void setWeights(const TensorRef& weight, const TensorRef* bias) override {
        weight_.resize(static_cast<size_t>(desc_.out_channels * groupIn() * volume(desc_.window.kernel)));
        for (size_t i = 0; i < weight_.size(); ++i) weight_[i] = load(weight, static_cast<int64_t>(i));
        bias_.assign(static_cast<size_t>(desc_.out_channels), 0);
        if (bias == nullptr) return;
        for (size_t i = 0; i < bias_.size(); ++i) bias_[i] = load(*bias, static_cast<int64_t>(i));
    }

    void forward(const MaskUpdate& any_update, const TensorRef& input, const TensorRef& output) override {
        const auto& update = static_cast<const CpuMaskUpdate&>(any_update);
        forEachOutput(update, [&](int64_t n, int64_t c, const Dims3& o, double r, double u) {
            double y = 0;
            if (u != 0) {
                forEachProduct(update, n, c, o, [&](int64_t channel, const Dims3& p, double m, size_t w) {
                    y += load(input, elementIndex(input, n, channel, p)) * m * weight_[w];
                });
                y *= r;
                if (appliesMask()) y = (y + bias_[static_cast<size_t>(c)]) * u;
            }
            store(output, elementIndex(output, n, c, o), activate(y, desc_));
        });
    }

    void backward(const MaskUpdate& any_update, const TensorRef& input, const TensorRef& grad_output,
                  const Gradients& gradients) override {
        const auto& update = static_cast<const CpuMaskUpdate&>(any_update);
        const Dims3& size = desc_.window.input;
        TensorRef dx_at;  // contiguous, whatever grad_input is
        dx_at.strides = {desc_.in_channels * volume(size), volume(size), size[1] * size[2], size[2], 1};
        std::vector<double> dx(
            gradients.input != nullptr ? static_cast<size_t>(desc_.batch * dx_at.strides[0]) : 0);
        std::vector<double> dw(gradients.weight != nullptr ? weight_.size() : 0);
        std::vector<double> db(bias_.size());
        forEachOutput(update, [&](int64_t n, int64_t c, const Dims3& o, double r, double u) {
            if (u == 0) return;
            const double dy = load(grad_output, elementIndex(grad_output, n, c, o));
            const double dc = appliesMask() ? dy * r * u : dy * r;
            db[static_cast<size_t>(c)] += dy * u;
            forEachProduct(update, n, c, o, [&](int64_t channel, const Dims3& p, double m, size_t w) {
                if (!dx.empty())
                    dx[static_cast<size_t>(elementIndex(dx_at, n, channel, p))] += m * weight_[w] * dc;
                if (!dw.empty()) dw[w] += load(input, elementIndex(input, n, channel, p)) * m * dc;
            });
        });
        const auto give = [&](const TensorRef& tensor, int64_t i, double value) {
            store(tensor, i, gradients.accumulate ? load(tensor, i) + value : value);
        };
        if (gradients.input != nullptr)
            for (int64_t n = 0; n < desc_.batch; ++n)
                for (int64_t c = 0; c < desc_.in_channels; ++c)
                    forEachPosition(size, [&](const Dims3& p) {
                        give(*gradients.input, elementIndex(*gradients.input, n, c, p),
                             dx[static_cast<size_t>(elementIndex(dx_at, n, c, p))]);
                    });
        if (gradients.weight != nullptr)
            for (size_t i = 0; i < dw.size(); ++i) give(*gradients.weight, static_cast<int64_t>(i), dw[i]);
        if (gradients.bias != nullptr)
            for (size_t i = 0; i < db.size(); ++i) give(*gradients.bias, static_cast<int64_t>(i), db[i]);
    }

  private:
    int64_t groupIn() const { return desc_.in_channels / desc_.groups; }
    // Without a bias a partial convolution's mask is in its ratio alone.
    bool appliesMask() const { return desc_.has_bias || desc_.maskedConvolution(); }

    // f(n, output channel, position, ratio, updated mask)
    template <typename F>
    void forEachOutput(const CpuMaskUpdate& update, const F& f) const {
        const MaskPlanes& mask = update.results();
        for (int64_t n = 0; n < desc_.batch; ++n)
            for (int64_t c = 0; c < desc_.out_channels; ++c)
                forEachPosition(desc_.window.output, [&](const Dims3& o) {
                    const int64_t i = elementIndex(mask.updated_mask, update.form().batch == 1 ? 0 : n,
                                                   desc_.maskGroupOf(c), o);
                    f(n, c, o, desc_.maskedConvolution() ? 1 : load(mask.ratio, i),
                      load(mask.updated_mask, i));
                });
    }

    // f(input channel, position, mask, index of the weight) for the products of one output element. Where the
    // mask is 0 there is none: the input is not looked at.
    template <typename F>
    void forEachProduct(const CpuMaskUpdate& update, int64_t n, int64_t c, const Dims3& o, const F& f) const {
        const int64_t group = c / (desc_.out_channels / desc_.groups);
        const Dims3& k = desc_.window.kernel;
        for (int64_t j = 0; j < groupIn(); ++j)
            forEachTap(desc_.window, o, [&](const Dims3& p, const Dims3& tap) {
                const int64_t channel = group * groupIn() + j;
                const double m = desc_.maskedConvolution() ? 1
                                                           : maskAt(update.form(), update.planes(),
                                                                    desc_.multi_channel, n, channel, p);
                if (m == 0) return;
                const int64_t w = (((c * groupIn() + j) * k[0] + tap[0]) * k[1] + tap[1]) * k[2] + tap[2];
                f(channel, p, desc_.input_is_masked ? 1.0 : m, static_cast<size_t>(w));
            });
    }

    PartialConvDesc desc_;
    std::vector<double> weight_;
    std::vector<double> bias_;
};

class Reference final : public Implementation {
  public:
    Reference() : Implementation("cpu:reference") {}
    bool trains() const override { return true; }
    bool masksConvolutions() const override { return true; }
    bool supports(const Device& /*device*/, const PartialConvDesc& /*desc*/,
                  std::string& /*reason*/) const override {
        return true;
    }
    std::unique_ptr<MaskUpdate> makeMaskUpdate(Device& /*device*/, const PartialConvDesc& desc,
                                               const MaskForm& form,
                                               const MaskPlanes& results) const override {
        if (desc.maskedConvolution()) return std::make_unique<ReferenceMaskedConvMask>(desc, form, results);
        return std::make_unique<ReferenceMaskUpdate>(desc, form, results);
    }
    std::unique_ptr<PartialConv> makePartialConv(Device& /*device*/,
                                                 const PartialConvDesc& desc) const override {
        return std::make_unique<ReferencePartialConv>(desc);
    }
};

}  // namespace

const Implementation& cpuReference() {
    static const Reference row;
    return row;
}

}  // namespace pconv::cpu
