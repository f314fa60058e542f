#include <algorithm>
#include <cmath>
#include <sstream>

#include "core/half.h"
#include "kernel_case.h"

namespace pconv::cuda {

namespace {

constexpr double kUnit = 0x1p-24;

double unitOf(DataType type) {
    return type == DataType::f32 ? kUnit : type == DataType::f16 ? 0x1p-11 : 0x1p-8;
}

// The smallest distance between numbers near 0.
double tiniest(DataType type) {
    return type == DataType::f16 ? 0x1p-24 : 0x1p-126;
}

// Sums of products: what they come to, S1 and S2 squared.
struct Sum {
    double value = 0, magnitude = 0, square = 0;
    void add(double a, double b) {
        value += a * b;
        magnitude += std::fabs(a * b);
        square += a * b * a * b;
    }
};

struct Tap {
    int input, tap;  // positions
};

class Solver {
  public:
    Solver(const KernelCase& c, double input_unit, const std::vector<float>& previous)
        : c_(c),
          s_(c.shape),
          input_unit_(input_unit),
          previous_(previous),
          taps_(volume(s_.kernel)),
          in_(volume(s_.input)),
          out_(volume(s_.output)) {
        for (int o = 0; o < out_; ++o) reach_.push_back(tapsOf(o));
    }

    Answers solve() {
        if (c_.maskedConvolution())
            maskFromWeights();
        else
            windows();
        forward();
        backward();
        return std::move(a_);
    }

  private:
    std::vector<Tap> tapsOf(int o) const {
        const int at[3] = {o / s_.output[2] / s_.output[1], o / s_.output[2] % s_.output[1],
                           o % s_.output[2]};
        std::vector<Tap> taps;
        for (int t = 0; t < taps_; ++t) {
            const int k[3] = {t / s_.kernel[2] / s_.kernel[1], t / s_.kernel[2] % s_.kernel[1],
                              t % s_.kernel[2]};
            int position = 0;
            bool inside = true;
            for (int d = 0; d < 3; ++d) {
                const int p = at[d] * s_.stride[d] - s_.padding[d] + k[d] * s_.dilation[d];
                inside = inside && p >= 0 && p < s_.input[d];
                position = position * s_.input[d] + p;
            }
            if (inside) taps.push_back({position, t});
        }
        return taps;
    }

    static void put(Expected& to, double value, double bound) {
        to.values.push_back(value);
        to.bounds.push_back(bound);
    }

    void windows() {
        const int counted = c_.countedChannels();
        const auto win = static_cast<double>(taps_ * counted);
        const bool exact = c_.mask_type != MaskType::fractional;
        for (int n = 0; n < c_.mask_batch; ++n)
            for (int g = 0; g < c_.maskGroups(); ++g)
                for (int o = 0; o < out_; ++o) {
                    double s = 0;
                    for (const Tap& tap : reach_[static_cast<size_t>(o)])
                        for (int i = g * counted; i < (g + 1) * counted; ++i) s += c_.maskAt(n, i, tap.input);
                    double u = std::clamp(s, 0.0, 1.0);
                    double r = u > 0 ? win / (s + static_cast<double>(c_.eps)) * u : 0;
                    if (c_.normalization == Normalization::mask_sum) {
                        u = s > 0 ? 1 : 0;
                        r = s > 0 ? 1 / s : 0;
                    }
                    put(a_.window_sum, s, exact ? 0 : 4 * kUnit * s);
                    put(a_.updated, u,
                        exact || c_.normalization == Normalization::mask_sum ? 0 : 4 * kUnit * u);
                    put(a_.ratio, r, 8 * kUnit * r);
                }
    }

    // m' of the masked convolution, where windows are of the kernel's centre.
    void maskFromWeights() {
        const bool present = c_.mask_type != MaskType::none;
        const int groups = c_.maskGroups();
        for (int n = 0; n < c_.mask_batch; ++n)
            for (int c = 0; c < groups; ++c)
                for (int o = 0; o < out_; ++o) {
                    double sum = 0;
                    double total = static_cast<double>(c_.eps);
                    const int centre = centreOf(o);
                    for (int j = 0; j < c_.groupIn() && present; ++j) {
                        double magnitude = 0;
                        for (int t = 0; t < taps_; ++t) magnitude += std::fabs(weight(c, j, t));
                        total += magnitude;
                        if (centre >= 0)
                            sum += magnitude * c_.maskAt(n, c / c_.groupOut() * c_.groupIn() + j, centre);
                    }
                    const double u = !present ? 1 : total > 0 ? sum / total : 0;
                    put(a_.updated, u, present ? (c_.groupIn() + 8) * kUnit * u : 0);
                }
    }

    int centreOf(int o) const {
        const int at[3] = {o / s_.output[2] / s_.output[1], o / s_.output[2] % s_.output[1],
                           o % s_.output[2]};
        int position = 0;
        for (int d = 0; d < 3; ++d) {
            const int p = at[d] * s_.stride[d] - s_.padding[d] + s_.kernel[d] / 2 * s_.dilation[d];
            if (p < 0 || p >= s_.input[d]) return -1;
            position = position * s_.input[d] + p;
        }
        return position;
    }

    double weight(int c, int j, int t) const {
        return static_cast<double>(c_.weight[static_cast<size_t>((c * c_.groupIn() + j) * taps_ + t)]);
    }

    // The index of an output element's mask results.
    size_t result(int n, int c, int o) const {
        const int groups = c_.maskGroups();
        const int g = c / (s_.out_channels / groups);
        return static_cast<size_t>(((c_.mask_batch == 1 ? 0 : n) * groups + g) * out_ + o);
    }
    double updatedAt(int n, int c, int o) const { return a_.updated.values[result(n, c, o)]; }
    double ratioAt(int n, int c, int o) const {
        return c_.maskedConvolution() ? 1 : a_.ratio.values[result(n, c, o)];
    }
    // x under the mask, and the mask itself for gradients.
    double maskFactor(int n, int channel, int position) const {
        if (c_.maskedConvolution()) return 1;
        const double m = c_.maskAt(n, channel, position);
        return m != 0 && c_.input_is_masked ? 1 : m;
    }
    double inputAt(int n, int channel, int position) const {
        const double m = maskFactor(n, channel, position);
        if (m == 0) return 0;
        return m * static_cast<double>(
                       c_.input[static_cast<size_t>((n * s_.in_channels + channel) * in_ + position)]);
    }

    double sumBound(const Sum& sum) const {
        return 16 * kUnit * sum.magnitude + 8 * input_unit_ * std::sqrt(sum.square);
    }

    void forward() {
        for (int n = 0; n < s_.batch; ++n)
            for (int c = 0; c < s_.out_channels; ++c)
                for (int o = 0; o < out_; ++o) {
                    const double r = ratioAt(n, c, o);
                    const double u = updatedAt(n, c, o);
                    if (u == 0) {
                        put(a_.output, 0, 0);
                        continue;
                    }
                    Sum sum;
                    const int first = c / c_.groupOut() * c_.groupIn();
                    for (const Tap& tap : reach_[static_cast<size_t>(o)])
                        for (int j = 0; j < c_.groupIn(); ++j)
                            sum.add(inputAt(n, first + j, tap.input), weight(c, j, tap.tap));
                    const double b = c_.has_bias ? static_cast<double>(c_.bias[static_cast<size_t>(c)]) : 0;
                    double y = c_.appliesMask() ? (sum.value * r + b) * u : sum.value * r;
                    const double gain = c_.appliesMask() ? r * u : r;
                    // A masked convolution's u is itself rounded.
                    const double mask_error =
                        c_.maskedConvolution() ? a_.updated.bounds[result(n, c, o)] * std::fabs(sum.value + b)
                                               : 0;
                    const double linear =
                        gain * sumBound(sum) + 4 * kUnit * (std::fabs(y) + std::fabs(b)) + mask_error;
                    if (y < 0 && c_.activation == Activation::relu) y = 0;
                    if (y < 0 && c_.activation == Activation::leaky_relu)
                        y *= static_cast<double>(c_.negative_slope);
                    double activated = linear;
                    if (c_.activation == Activation::gelu) {
                        // As in tests/conformance/tolerance.cpp: its steepest slope, and its own arithmetic.
                        y = y * std::erfc(-y / std::sqrt(2.0)) / 2;
                        activated = 1.13 * linear + 16 * kUnit * std::fabs(y);
                    }
                    put(a_.output, y, activated + unitOf(c_.type) * std::fabs(y) + tiniest(c_.type));
                }
    }

    void backward() {
        std::vector<Sum> dx(static_cast<size_t>(s_.batch * s_.in_channels * in_));
        std::vector<Sum> dw(c_.weight.size());
        std::vector<Sum> db(static_cast<size_t>(s_.out_channels));
        for (int n = 0; n < s_.batch; ++n)
            for (int c = 0; c < s_.out_channels; ++c)
                for (int o = 0; o < out_; ++o) {
                    const double u = updatedAt(n, c, o);
                    if (u == 0) continue;
                    const auto dy = static_cast<double>(
                        c_.grad_output[static_cast<size_t>((n * s_.out_channels + c) * out_ + o)]);
                    const double dc = dy * ratioAt(n, c, o) * (c_.appliesMask() ? u : 1);
                    db[static_cast<size_t>(c)].add(dy, u);
                    const int first = c / c_.groupOut() * c_.groupIn();
                    for (const Tap& tap : reach_[static_cast<size_t>(o)])
                        for (int j = 0; j < c_.groupIn(); ++j) {
                            const double m = maskFactor(n, first + j, tap.input);
                            if (m == 0) continue;
                            dx[static_cast<size_t>((n * s_.in_channels + first + j) * in_ + tap.input)].add(
                                m * weight(c, j, tap.tap), dc);
                            dw[static_cast<size_t>((c * c_.groupIn() + j) * taps_ + tap.tap)].add(
                                inputAt(n, first + j, tap.input), dc);
                        }
                }
        // A masked convolution's u is rounded in dc as well.
        const double mask_error = c_.maskedConvolution() ? (c_.groupIn() + 8) * kUnit : 0;
        const auto give = [&](Expected& to, const std::vector<Sum>& sums, double input_unit) {
            for (size_t i = 0; i < sums.size(); ++i) {
                const double before =
                    c_.accumulate ? static_cast<double>(previous_[i % previous_.size()]) : 0;
                const double value = before + sums[i].value;
                const double bound = (16 * kUnit + mask_error) * sums[i].magnitude +
                                     8 * input_unit * std::sqrt(sums[i].square);
                put(to, value,
                    bound + 4 * kUnit * std::fabs(before) + unitOf(c_.type) * std::fabs(value) +
                        tiniest(c_.type));
            }
        };
        give(a_.grad_input, dx, input_unit_);
        give(a_.grad_weight, dw, input_unit_);
        give(a_.grad_bias, db, 0);
    }

    const KernelCase& c_;
    const ConvShape& s_;
    double input_unit_;
    const std::vector<float>& previous_;
    int taps_, in_, out_;
    std::vector<std::vector<Tap>> reach_;
    Answers a_;
};

}  // namespace

int volume(const int (&size)[3]) {
    return size[0] * size[1] * size[2];
}

void setOutput(ConvShape& s) {
    for (int d = 0; d < 3; ++d)
        s.output[d] =
            (s.input[d] + 2 * s.padding[d] - s.dilation[d] * (s.kernel[d] - 1) - 1) / s.stride[d] + 1;
}

float rounded(float value, DataType type) {
    if (type == DataType::f16) return floatFromF16(f16FromFloat(value));
    if (type == DataType::bf16) return floatFromBf16(bf16FromFloat(value));
    return value;
}

int KernelCase::maskGroups() const {
    if (maskedConvolution()) return mask_type == MaskType::none ? 1 : shape.out_channels;
    return group_window ? shape.groups : 1;
}

int KernelCase::countedChannels() const {
    return !multi_channel ? 1 : group_window ? groupIn() : shape.in_channels;
}

double KernelCase::maskAt(int n, int channel, int position) const {
    if (segments.empty()) return 1;
    size_t segment = 0;
    int plane = 0;
    if (multi_channel || maskedConvolution()) {
        while (channel >= segments[segment].planes * segments[segment].multiplicity) {
            channel -= segments[segment].planes * segments[segment].multiplicity;
            ++segment;
        }
        plane = channel / segments[segment].multiplicity;
    }
    const CaseSegment& of = segments[segment];
    const int image = mask_batch == 1 ? 0 : n;
    const auto i = static_cast<size_t>((image * of.planes + plane) * volume(shape.input) + position);
    const auto value = static_cast<double>(of.values[i]);
    return hole_is_one ? 1 - value : value;
}

std::string KernelCase::text() const {
    std::ostringstream out;
    const auto three = [&](const char* name, const int(&values)[3]) {
        out << " " << name << " " << values[0] << "," << values[1] << "," << values[2];
    };
    out << "[" << shape.batch << "," << shape.in_channels << "->" << shape.out_channels << "]";
    three("input", shape.input);
    three("kernel", shape.kernel);
    three("stride", shape.stride);
    three("padding", shape.padding);
    three("dilation", shape.dilation);
    out << " groups " << shape.groups << " type " << static_cast<int>(type) << " mask "
        << static_cast<int>(mask_type) << " x" << mask_batch << (hole_is_one ? " holes" : "")
        << " normalization " << static_cast<int>(normalization) << (multi_channel ? " multi" : "")
        << (group_window ? " group" : "") << " segments";
    for (const CaseSegment& segment : segments) out << " " << segment.planes << "x" << segment.multiplicity;
    out << (has_bias ? " bias" : "") << (input_is_masked ? " masked" : "") << " activation "
        << static_cast<int>(activation) << (accumulate ? " accumulate" : "")
        << (input_channels_last ? " in-cl" : "") << (output_channels_last ? " out-cl" : "") << " gap " << gap;
    return out.str();
}

Answers solve(const KernelCase& c, double input_unit, const std::vector<float>& previous) {
    return Solver(c, input_unit, previous).solve();
}

}  // namespace pconv::cuda
