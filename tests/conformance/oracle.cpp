#include "conformance/oracle.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace pconv::test {

namespace {

// An input element meets a tap and contributes to an output element: flat indices of all three.
struct Contact {
    int64_t input;
    int64_t tap;
    int64_t output;
    int64_t place;  // of the element or its image in the padded input
    bool image;     // of an element beyond the input
};

// The element of an axis of `size` that stands at `place`, which may lie outside; -1 where nothing does. Each
// mode goes on for ever: reflections and wraps are periodic.
int64_t elementAt(int64_t place, int64_t size, PconvPaddingMode mode, Mutation mutation) {
    const auto modulo = [&](int64_t period) { return (place % period + period) % period; };
    if (place >= 0 && place < size) return place;
    switch (mode) {
        case PCONV_PADDING_MODE_ZEROS:
            return -1;
        case PCONV_PADDING_MODE_REFLECT:
            if (mutation == Mutation::edge_twice)
                return std::min(modulo(2 * size), 2 * size - 1 - modulo(2 * size));
            return std::min(modulo(2 * size - 2), 2 * size - 2 - modulo(2 * size - 2));
        case PCONV_PADDING_MODE_REPLICATE:
            return std::clamp<int64_t>(place, 0, size - 1);
        case PCONV_PADDING_MODE_CIRCULAR:
            return modulo(size);
    }
    return -1;
}

int64_t paddedSize(const Problem& p, size_t d) {
    return p.padding[d] + p.size[d] + p.paddingBehind(d);
}

// Adds one spatial dimension to contacts of those before it.
std::vector<Contact> crossed(const std::vector<Contact>& outer, const Problem& p, size_t d, int64_t output,
                             Mutation mutation) {
    std::vector<Contact> result;
    for (const Contact& before : outer)
        for (int64_t place = -p.padding[d]; place < p.size[d] + p.paddingBehind(d); ++place)
            for (int64_t k = 0; k < p.kernel[d]; ++k) {
                const int64_t i = elementAt(place, p.size[d], p.padding_mode, mutation);
                const int64_t start = place + p.padding[d] - k * p.dilation[d];
                if (i < 0 || start < 0 || start % p.stride[d] != 0 || start / p.stride[d] >= output) continue;
                result.push_back({before.input * p.size[d] + i, before.tap * p.kernel[d] + k,
                                  before.output * output + start / p.stride[d],
                                  before.place * paddedSize(p, d) + place + p.padding[d],
                                  before.image || place < 0 || place >= p.size[d]});
            }
    return result;
}

std::vector<Contact> allContacts(const Problem& p, Mutation mutation) {
    const std::vector<int64_t> output = outputSize(p);
    std::vector<Contact> contacts{{0, 0, 0, 0, false}};
    for (size_t d = 0; d < p.size.size(); ++d) contacts = crossed(contacts, p, d, output[d], mutation);
    return contacts;
}

class Solver {
  public:
    Solver(const Problem& problem, Mutation mutation)
        : p_(problem),
          mutation_(mutation),
          contacts_(allContacts(problem, mutation)),
          positions_(product(outputSize(problem))) {}

    Answer solve() {
        if (p_.isMaskedConv())
            weighMask();
        else
            sumWindows();
        convolve();
        finish();
        if (!p_.grad_output.empty()) goBack();
        return std::move(a_);
    }

  private:
    int64_t countedChannels() const {
        return !p_.multi_channel ? 1 : p_.group_window ? p_.in_channels / p_.groups : p_.in_channels;
    }

    void sumWindows() {
        a_.mask_batch = p_.segments.empty() ? 1 : p_.mask_batch;
        a_.mask_groups = p_.multi_channel && p_.group_window ? p_.groups : 1;
        const int64_t counted = countedChannels();
        const bool lost_channels =
            mutation_ == Mutation::one_channel_count && p_.segments.size() == 1 && p_.segments[0].planes == 1;
        const size_t count = index(a_.mask_batch, 0, 0, a_.mask_groups);
        a_.window_sum.assign(count, 0);
        a_.window_magnitude.assign(count, 0);
        for (int64_t n = 0; n < a_.mask_batch; ++n)
            for (int64_t g = 0; g < a_.mask_groups; ++g)
                for (int64_t c = g * counted; c < (lost_channels ? g * counted + 1 : (g + 1) * counted); ++c)
                    for (const Contact& contact : contacts_) {
                        if (contact.image && mutation_ == Mutation::mask_not_padded) continue;
                        const double m = maskValue(p_, n, c, contact.input);
                        const size_t o = index(n, g, contact.output, a_.mask_groups);
                        a_.window_sum[o] += m;
                        a_.window_magnitude[o] += std::abs(m);
                    }
        if (mutation_ == Mutation::padding_is_valid) countPadding(static_cast<double>(counted));
        a_.window_terms = product(p_.kernel) * counted;
        for (const double s : a_.window_sum) update(s, static_cast<double>(a_.window_terms));
    }

    // The mask at the centre of the window, averaged over the channels by their weights' magnitudes.
    void weighMask() {
        a_.mask_batch = p_.segments.empty() ? 1 : p_.mask_batch;
        a_.mask_groups = p_.segments.empty() ? 1 : p_.out_channels;
        const int64_t taps = product(p_.kernel);
        const int64_t group_in = p_.in_channels / p_.groups;
        a_.window_terms = taps * group_in;
        a_.updated_mask.assign(index(a_.mask_batch, 0, 0, a_.mask_groups), p_.segments.empty() ? 1 : 0);
        if (p_.segments.empty()) return;
        for (int64_t c = 0; c < p_.out_channels; ++c) {
            std::vector<double> magnitudes(static_cast<size_t>(group_in), 0);
            double total = p_.eps;
            for (int64_t i = 0; i < group_in * taps; ++i) {
                const double w =
                    std::abs(static_cast<double>(p_.weight[static_cast<size_t>(c * group_in * taps + i)]));
                magnitudes[static_cast<size_t>(i / taps)] += w;
                total += w;
            }
            const int64_t first = c / (p_.out_channels / p_.groups) * group_in;
            for (const Contact& contact : contacts_) {
                if (contact.tap != taps / 2) continue;
                for (int64_t n = 0; n < a_.mask_batch; ++n)
                    for (int64_t j = 0; j < group_in; ++j)
                        a_.updated_mask[index(n, c, contact.output, a_.mask_groups)] +=
                            magnitudes[static_cast<size_t>(j)] * maskValue(p_, n, first + j, contact.input) /
                            total;
            }
        }
    }

    void countPadding(double counted) {
        std::vector<double> inside(static_cast<size_t>(positions_), 0);
        for (const Contact& contact : contacts_) inside[static_cast<size_t>(contact.output)] += 1;
        const auto taps = static_cast<double>(product(p_.kernel));
        for (size_t i = 0; i < a_.window_sum.size(); ++i)
            a_.window_sum[i] += (taps - inside[i % static_cast<size_t>(positions_)]) * counted;
    }

    void update(double s, double win) {
        double u = mutation_ == Mutation::no_clamp ? std::max(s, 0.0) : std::clamp(s, 0.0, 1.0);
        double r = u > 0 ? win / (s + p_.eps) * u : 0;
        if (p_.normalization == PCONV_NORMALIZATION_MASK_SUM) {
            u = s > 0 ? 1 : 0;
            r = s > 0 ? 1 / s : 0;
        }
        a_.updated_mask.push_back(u);
        a_.ratio.push_back(r);
    }

    void convolve() {
        const int64_t group_in = p_.in_channels / p_.groups;
        const int64_t group_out = p_.out_channels / p_.groups;
        const int64_t taps = product(p_.kernel);
        const int64_t plane = product(p_.size);
        const size_t count = index(p_.batch, 0, 0, p_.out_channels);
        a_.output.assign(count, 0);
        a_.magnitude.assign(count, 0);
        a_.norm.assign(count, 0);
        for (int64_t n = 0; n < p_.batch; ++n)
            for (int64_t c = 0; c < p_.in_channels; ++c)
                for (const Contact& contact : contacts_) {
                    const double m = inputMask(n, c, contact.input);
                    if (m == 0) continue;
                    const size_t at = static_cast<size_t>((n * p_.in_channels + c) * plane + contact.input);
                    const double x = static_cast<double>(p_.input[at]) * m;
                    const int64_t first = c / group_in * group_out;
                    for (int64_t out = first; out < first + group_out; ++out) {
                        const int64_t w = (out * group_in + c % group_in) * taps + tapOf(contact);
                        const double term = x * static_cast<double>(p_.weight[static_cast<size_t>(w)]);
                        const size_t o = index(n, out, contact.output, p_.out_channels);
                        a_.output[o] += term;
                        a_.magnitude[o] += std::abs(term);
                        a_.norm[o] += term * term;
                    }
                }
        for (double& norm : a_.norm) norm = std::sqrt(norm);
        a_.convolution = a_.output;
    }

    // What an input element is multiplied by.
    double inputMask(int64_t n, int64_t c, int64_t position) const {
        if (p_.isMaskedConv()) return 1;
        const double m = maskValue(p_, n, c, position);
        return p_.input_is_masked && m != 0 ? 1 : m;
    }

    int64_t tapOf(const Contact& contact) const {
        if (mutation_ != Mutation::tap_off_by_one) return contact.tap;
        const int64_t last = p_.kernel.back();
        return contact.tap / last * last + (contact.tap + 1) % last;
    }

    void finish() {
        const int64_t row = outputSize(p_).back();
        for (int64_t n = 0; n < p_.batch; ++n)
            for (int64_t c = 0; c < p_.out_channels; ++c)
                for (int64_t o = 0; o < positions_; ++o) {
                    const size_t m = maskIndex(n, c, o);
                    const double r = p_.isMaskedConv() ? 1 : a_.ratio[m];
                    const double b = p_.has_bias ? static_cast<double>(p_.bias[static_cast<size_t>(c)]) : 0;
                    double& y = a_.output[index(n, c, o, p_.out_channels)];
                    y = epilogue(y, r, a_.updated_mask[m], b);
                    if (mutation_ == Mutation::last_column_lost && o % row == row - 1) y = 0;
                    a_.linear.push_back(y);
                    y = activate(y);
                    const bool once = mutation_ == Mutation::u_once || (!p_.has_bias && !p_.isMaskedConv());
                    a_.gain.push_back(once ? r : r * a_.updated_mask[m]);
                }
    }

    void goBack() {
        const int64_t group_in = p_.in_channels / p_.groups;
        const int64_t group_out = p_.out_channels / p_.groups;
        const int64_t taps = product(p_.kernel);
        const int64_t plane = product(p_.size);
        const bool images = p_.padding_mode != PCONV_PADDING_MODE_ZEROS;
        if (images)
            for (auto* values : {&a_.images, &a_.image_gradients}) values->assign(p_.input.size(), 0);
        for (auto* values : {&a_.grad_input, &a_.grad_input_magnitude}) values->assign(p_.input.size(), 0);
        for (auto* values : {&a_.grad_weight, &a_.grad_weight_magnitude}) values->assign(p_.weight.size(), 0);
        for (auto* values : {&a_.grad_bias, &a_.grad_bias_magnitude}) values->assign(p_.bias.size(), 0);
        for (int64_t n = 0; n < p_.batch; ++n)
            for (int64_t c = 0; c < p_.in_channels; ++c) {
                std::vector<double> apart(images ? places() : 0, 0);  // the gradients before they are folded
                for (const Contact& contact : contacts_) {
                    const double m = inputMask(n, c, contact.input);
                    if (m == 0) continue;
                    const auto at = static_cast<size_t>((n * p_.in_channels + c) * plane + contact.input);
                    const double x = static_cast<double>(p_.input[at]) * m;
                    const int64_t first = c / group_in * group_out;
                    for (int64_t out = first; out < first + group_out; ++out) {
                        const auto w =
                            static_cast<size_t>((out * group_in + c % group_in) * taps + tapOf(contact));
                        const size_t o = index(n, out, contact.output, p_.out_channels);
                        const double dc = static_cast<double>(p_.grad_output[o]) * a_.gain[o];
                        const double to_input = m * static_cast<double>(p_.weight[w]) * dc;
                        a_.grad_input[at] += to_input;
                        a_.grad_input_magnitude[at] += std::abs(to_input);
                        a_.grad_weight[w] += x * dc;
                        a_.grad_weight_magnitude[w] += std::abs(x * dc);
                        if (images) apart[static_cast<size_t>(contact.place)] += to_input;
                    }
                }
                if (images) countImages(apart, static_cast<size_t>((n * p_.in_channels + c) * plane));
            }
        if (!p_.has_bias) return;
        for (int64_t n = 0; n < p_.batch; ++n)
            for (int64_t c = 0; c < p_.out_channels; ++c)
                for (int64_t o = 0; o < positions_; ++o) {
                    const double dy = static_cast<double>(p_.grad_output[index(n, c, o, p_.out_channels)]);
                    const double term = dy * a_.updated_mask[maskIndex(n, c, o)];
                    a_.grad_bias[static_cast<size_t>(c)] += term;
                    a_.grad_bias_magnitude[static_cast<size_t>(c)] += std::abs(term);
                }
    }

    // Of one plane of the input that begins at `first`, from the gradients of its places in the padded input.
    void countImages(std::vector<double> gradients, size_t first) {
        for (const Contact& contact : contacts_) {
            const double gradient = std::exchange(gradients[static_cast<size_t>(contact.place)], 0);
            if (gradient == 0) continue;
            const size_t at = first + static_cast<size_t>(contact.input);
            a_.images[at] += 1;
            a_.image_gradients[at] += std::abs(gradient);
        }
        for (size_t at = first; at < first + static_cast<size_t>(product(p_.size)); ++at)
            if (a_.images[at] < 2) a_.images[at] = a_.image_gradients[at] = 0;
    }

    size_t places() const {
        int64_t count = 1;
        for (size_t d = 0; d < p_.size.size(); ++d) count *= paddedSize(p_, d);
        return static_cast<size_t>(count);
    }

    double epilogue(double conv, double r, double u, double b) const {
        if (p_.isMaskedConv()) return (conv + b) * u;
        if (!p_.has_bias) return conv * r;
        if (mutation_ == Mutation::bias_inside_ratio) return (conv + b) * r * u;
        if (mutation_ == Mutation::u_once) return conv * r + b * u;
        return (conv * r + b) * u;
    }

    double activate(double y) const {
        // 1 + erf(x) as erfc(-x), which keeps its digits where y is far below 0.
        if (p_.activation == PCONV_ACTIVATION_GELU) return y * std::erfc(-y / std::sqrt(2.0)) / 2;
        if (y >= 0 || p_.activation == PCONV_ACTIVATION_NONE) return y;
        return p_.activation == PCONV_ACTIVATION_RELU ? 0 : static_cast<double>(p_.negative_slope) * y;
    }

    // The element of the mask side that an output element goes by.
    size_t maskIndex(int64_t n, int64_t channel, int64_t position) const {
        const int64_t group = channel / (p_.out_channels / a_.mask_groups);
        return index(a_.mask_batch == 1 ? 0 : n, group, position, a_.mask_groups);
    }

    size_t index(int64_t n, int64_t channel, int64_t position, int64_t channels) const {
        return static_cast<size_t>((n * channels + channel) * positions_ + position);
    }

    const Problem& p_;
    Mutation mutation_;
    std::vector<Contact> contacts_;
    int64_t positions_;
    Answer a_;
};

}  // namespace

Answer solve(const Problem& problem, Mutation mutation) {
    return Solver(problem, mutation).solve();
}

}  // namespace pconv::test
