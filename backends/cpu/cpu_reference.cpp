// cpu:reference, the oracle: the formulas of docs/semantics.md, written as they stand there, in float64.
// Slow.
#include <algorithm>
#include <cmath>

#include "cpu_device.h"

namespace pconv::cpu {

namespace {

int64_t index(const TensorRef& t, int64_t n, int64_t c, const Dims3& p) {
    return n * t.strides[0] + c * t.strides[1] + p[0] * t.strides[2] + p[1] * t.strides[3] +
           p[2] * t.strides[4];
}

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

template <typename F>
void forEachPosition(const Dims3& size, const F& f) {
    Dims3 o{};
    for (o[0] = 0; o[0] < size[0]; ++o[0])
        for (o[1] = 0; o[1] < size[1]; ++o[1])
            for (o[2] = 0; o[2] < size[2]; ++o[2]) f(o);
}

class ReferenceMaskUpdate final : public CpuMaskUpdate {
  public:
    using CpuMaskUpdate::CpuMaskUpdate;

    // m[n, c, p], 1 where there is no mask.
    double mask(int64_t n, int64_t c, const Dims3& p) const {
        return maskValue(*this, desc_.multi_channel, n, c, p);
    }

    static double maskValue(const CpuMaskUpdate& update, bool multi_channel, int64_t n, int64_t c,
                            const Dims3& p) {
        const MaskForm& form = update.form();
        if (form.segments.empty()) return 1;
        const PlaneIndex at = planeOfChannel(form, multi_channel, c);
        const TensorRef& planes = update.planes()[at.segment];
        const int64_t i = index(planes, form.batch == 1 ? 0 : n, at.plane, p);
        const double value = planes.data_type == DataType::u8 ? (pointer<uint8_t>(planes)[i] != 0 ? 1.0 : 0.0)
                                                              : pointer<float>(planes)[i];
        return form.hole_is_one ? 1 - value : value;
    }

  protected:
    void computeResults() override {
        const int64_t counted = desc_.countedChannels();
        const double win = static_cast<double>(volume(desc_.window.kernel) * counted);
        for (int64_t n = 0; n < form_.batch; ++n)
            for (int64_t g = 0; g < desc_.maskGroups(); ++g)
                forEachPosition(desc_.window.output, [&](const Dims3& o) {
                    double s = 0;
                    forEachTap(desc_.window, o, [&](const Dims3& p, const Dims3&) {
                        for (int64_t c = g * counted; c < (g + 1) * counted; ++c) s += mask(n, c, p);
                    });
                    store(n, g, o, s, win);
                });
    }

  private:
    void store(int64_t n, int64_t g, const Dims3& o, double s, double win) {
        double u = 0;
        double r = 0;
        if (desc_.normalization == Normalization::window_ratio) {
            u = std::clamp(s, 0.0, 1.0);
            r = u > 0 ? win / (s + static_cast<double>(desc_.eps)) * u : 0;
        } else {
            u = s > 0 ? 1 : 0;
            r = s > 0 ? 1 / s : 0;
        }
        const int64_t i = index(results_.ratio, n, g, o);
        pointer<float>(results_.window_sum)[i] = static_cast<float>(s);
        pointer<float>(results_.ratio)[i] = static_cast<float>(r);
        if (results_.updated_mask.data_type == DataType::u8)
            pointer<uint8_t>(results_.updated_mask)[i] = u > 0 ? 1 : 0;
        else
            pointer<float>(results_.updated_mask)[i] = static_cast<float>(u);
    }
};

double activate(double y, const PartialConvDesc& desc) {
    if (y >= 0 || desc.activation == Activation::none) return y;
    return desc.activation == Activation::relu ? 0 : static_cast<double>(desc.negative_slope) * y;
}

class ReferencePartialConv final : public PartialConv {
  public:
    explicit ReferencePartialConv(const PartialConvDesc& desc) : desc_(desc) {}

    void setWeights(const TensorRef& weight, const TensorRef* bias) override {
        const auto count =
            desc_.out_channels * desc_.in_channels / desc_.groups * volume(desc_.window.kernel);
        weight_.assign(pointer<float>(weight), pointer<float>(weight) + count);
        if (bias != nullptr) bias_.assign(pointer<float>(*bias), pointer<float>(*bias) + desc_.out_channels);
    }

    void forward(const MaskUpdate& any_update, const TensorRef& input, const TensorRef& output) override {
        const auto& update = static_cast<const CpuMaskUpdate&>(any_update);
        const MaskPlanes& mask = update.results();
        const int64_t group_out = desc_.out_channels / desc_.groups;
        for (int64_t n = 0; n < desc_.batch; ++n)
            for (int64_t c = 0; c < desc_.out_channels; ++c)
                forEachPosition(desc_.window.output, [&](const Dims3& o) {
                    const int64_t i = index(mask.ratio, update.form().batch == 1 ? 0 : n,
                                            desc_.group_window ? c / group_out : 0, o);
                    const double r = pointer<float>(mask.ratio)[i];
                    const double u = mask.updated_mask.data_type == DataType::u8
                                         ? pointer<uint8_t>(mask.updated_mask)[i]
                                         : pointer<float>(mask.updated_mask)[i];
                    double y = u > 0 ? convolve(update, input, n, c, o) * r : 0;
                    if (desc_.has_bias)
                        y = u > 0 ? (y + static_cast<double>(bias_[static_cast<size_t>(c)])) * u : 0;
                    pointer<float>(output)[index(output, n, c, o)] = static_cast<float>(activate(y, desc_));
                });
    }

  private:
    // conv(x * m, W) at one output element; where m is 0, x is not looked at.
    double convolve(const CpuMaskUpdate& update, const TensorRef& input, int64_t n, int64_t c,
                    const Dims3& o) const {
        const int64_t group_in = desc_.in_channels / desc_.groups;
        const int64_t group = c / (desc_.out_channels / desc_.groups);
        const Dims3& k = desc_.window.kernel;
        double sum = 0;
        for (int64_t j = 0; j < group_in; ++j)
            forEachTap(desc_.window, o, [&](const Dims3& p, const Dims3& tap) {
                const int64_t channel = group * group_in + j;
                double m = 1;
                if (desc_.maskInput())
                    m = ReferenceMaskUpdate::maskValue(update, desc_.multi_channel, n, channel, p);
                if (m == 0) return;
                const int64_t w = (((c * group_in + j) * k[0] + tap[0]) * k[1] + tap[1]) * k[2] + tap[2];
                sum += pointer<float>(input)[index(input, n, channel, p)] * m *
                       static_cast<double>(weight_[static_cast<size_t>(w)]);
            });
        return sum;
    }

    PartialConvDesc desc_;
    std::vector<float> weight_;
    std::vector<float> bias_;
};

class Reference final : public Implementation {
  public:
    Reference() : Implementation("cpu:reference") {}
    bool supports(const Device& /*device*/, const PartialConvDesc& desc, std::string& reason) const override {
        if (desc.data_type == DataType::f32) return true;
        reason = "only f32 tensors";
        return false;
    }
    std::unique_ptr<MaskUpdate> makeMaskUpdate(Device& /*device*/, const PartialConvDesc& desc,
                                               const MaskForm& form,
                                               const MaskPlanes& results) const override {
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
