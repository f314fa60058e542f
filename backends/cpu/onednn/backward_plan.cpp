#include "cpu/onednn/backward_plan.h"

#include <algorithm>
#include <initializer_list>

#include "cpu/passes/passes.h"
#include "cpu/window.h"

namespace pconv::cpu {

namespace {

constexpr int64_t kBiasPartsForThread = 4;
// Below this a cut would save memory that nobody misses.
constexpr size_t kLeastToCut = size_t{1} << 18;
constexpr int64_t kMostParts = 32;
// More than this is not asked for where many more parts can do with less.
constexpr size_t kPlenty = size_t{1} << 29;
constexpr int64_t kMostPartsOfPlenty = 4096;
// Each part adds a gradient of all weights to the sum, which takes this many pixels' time of its convolution
// a few times over; fewer where there is no other way.
constexpr int64_t kFewPixels = 256;
constexpr int64_t kLeastPixels = 64;
// How many times smaller a plan that misses the limit as well must be.
constexpr size_t kWorthMissing = 2;
// The widest block of channels that oneDNN has.
constexpr int64_t kSliceGrain = 16;

struct Cut {
    int64_t images;
    int64_t outputs;  // of the cut dimension
};

int64_t weightCount(const PartialConvDesc& desc) {
    return desc.out_channels * (desc.in_channels / desc.groups) * volume(desc.window.kernel);
}

// The longer of depth and height; the width only where there is neither, or rows are long.
size_t dimensionToCut(const PartialConvDesc& desc, const std::array<Span, 3>& live) {
    if (hasLongRows(desc, live)) return 2;
    if (live[0].output_size == 1 && live[1].output_size == 1) return 2;
    return live[0].output_size > live[1].output_size ? 0 : 1;
}

class Planner {
  public:
    Planner(const dnnl::engine& engine, const PartialConvDesc& desc, const std::array<Span, 3>& live,
            int threads)
        : engine_(engine), desc_(desc), live_(live), threads_(threads), cut_(dimensionToCut(desc, live)) {}

    // As many parts at a time as there are threads for, or fewer where so many take more memory.
    BackwardPlan plan() {
        const BackwardPlan uncut = whole();
        BackwardPlan waves = inOneWave(uncut);
        const auto keeping = [&](size_t bytes, int64_t least_pixels,
                                 int64_t most_parts = kMostParts) -> std::optional<BackwardPlan> {
            for (const BackwardPlan* fewest : std::initializer_list<const BackwardPlan*>{&waves, &uncut}) {
                if (fewest->bytes() <= bytes) return *fewest;
                if (auto found = cutTo(*fewest, bytes, least_pixels, most_parts)) return found;
            }
            return std::nullopt;
        };
        if (waves.bytes() <= kLeastToCut) return waves;
        if (limit() > kPlenty)
            if (auto found = keeping(kPlenty, kFewPixels, kMostPartsOfPlenty)) return *found;
        if (auto found = keeping(limit(), kFewPixels)) return *found;
        // Where weights are large, no cut makes up for having them packed as well as their gradient.
        const size_t more =
            limit() + uncut.sizes.packed_weights * static_cast<size_t>(uncut.separate_groups * uncut.slices);
        if (auto found = keeping(more, kLeastPixels)) return *found;
        return smallest_ && smallest_->bytes() <= uncut.bytes() / kWorthMissing ? *smallest_ : uncut;
    }

  private:
    // The gradients themselves and one tensor of the output's size.
    size_t limit() const {
        const int64_t elements = desc_.batch * (desc_.in_channels * volume(desc_.window.input) +
                                                desc_.out_channels * volume(desc_.window.output)) +
                                 weightCount(desc_) + (desc_.has_bias ? desc_.out_channels : 0);
        return static_cast<size_t>(elements) * sizeOf(desc_.data_type);
    }

    // `like`: whose layouts the gradient of the input has, if any.
    std::optional<BackwardForm> formOf(const Box& box, int64_t separate_groups, int64_t slices,
                                       const BackwardForm* like = nullptr) const {
        const PlainConv conv = plainConvOf(desc_, separate_groups, slices, box);
        auto data = like == nullptr ? chooseBackwardData(engine_, conv)
                                    : chooseBackwardData(engine_, conv, like->data.input, like->data.output);
        if (!data) return std::nullopt;
        auto weights = chooseBackwardWeights(engine_, conv, data->output);
        if (!weights) return std::nullopt;
        return BackwardForm{box, *data, *weights};
    }

    static Kernel slowerKernel(const BackwardForm& form) {
        return std::min(form.data.kernel, form.weights.kernel);
    }

    // The most equal slices in whole blocks of channels, up to one a thread.
    int64_t slicesOf(int64_t separate_groups) const {
        const int64_t channels = desc_.in_channels / separate_groups;
        if (desc_.groups > separate_groups || channels % kSliceGrain != 0) return 1;
        int64_t slices = std::min<int64_t>(threads_, channels / kSliceGrain);
        while (channels / kSliceGrain % slices != 0) --slices;
        return slices;
    }

    BackwardPlan whole() const {
        BackwardPlan plan;
        plan.cut = cut_;
        const Box box{0, desc_.batch, live_, 0, desc_.out_channels};
        plan.slices = slicesOf(1);
        auto form = formOf(box, 1, plan.slices);
        if (desc_.groups > 1 && !(form && slowerKernel(*form) == Kernel::vectors)) {
            const int64_t slices = slicesOf(desc_.groups);
            auto single = formOf(box, desc_.groups, slices);
            if (single && (!form || slowerKernel(*single) > slowerKernel(*form))) {
                form = std::move(single);
                plan.separate_groups = desc_.groups;
                plan.slices = slices;
            }
        }
        if (!form) fail(PCONV_ERROR_UNSUPPORTED, "oneDNN has no gradients of this shape");
        plan.forms.push_back(*form);
        plan.parts.push_back({box, 0, 0});
        measure(plan);
        return plan;
    }

    // A part for each thread that no slice is for, where parts of some size can be had.
    BackwardPlan inOneWave(const BackwardPlan& uncut) const {
        const int64_t pixels = desc_.batch * uncut.forms[0].box.outputPixels();
        for (int64_t wave = std::min(threads_ / uncut.slices, pixels / kLeastPixels); wave > 1; --wave)
            if (auto plan = inParts(uncut, cutFor(wave), wave)) return *plan;
        return uncut;
    }

    Cut cutFor(int64_t parts) const {
        if (parts <= desc_.batch) return {ceilDivide(desc_.batch, parts), live_[cut_].output_size};
        return {1, ceilDivide(live_[cut_].output_size, ceilDivide(parts, desc_.batch))};
    }

    // The fewest parts that keep to so many bytes.
    std::optional<BackwardPlan> cutTo(const BackwardPlan& whole, size_t bytes, int64_t least_pixels,
                                      int64_t most_parts) {
        const BackwardSizes& sizes = whole.sizes;
        const size_t tensors =
            whole.inputBytes() + alignedSize(sizes.output) * static_cast<size_t>(whole.wave);
        // The scratchpad may become smaller, or not.
        const size_t others =
            whole.bytes() - tensors - alignedSize(sizes.scratchpad) * static_cast<size_t>(whole.units());
        if (others >= bytes) return std::nullopt;
        const int64_t pixels = desc_.batch * whole.forms[0].box.outputPixels();
        const int64_t most = std::min(most_parts * whole.wave, pixels / least_pixels);
        auto wanted = (static_cast<int64_t>(tensors / (bytes - others)) + 1) * whole.wave;
        for (wanted = std::max<int64_t>(wanted, 2); wanted <= most; wanted += ceilDivide(wanted, 4)) {
            auto plan = inParts(whole, cutFor(ceilDivide(wanted, whole.wave) * whole.wave), whole.wave);
            if (!plan) continue;
            if (plan->bytes() <= bytes) return plan;
            if (!smallest_ || plan->bytes() < smallest_->bytes()) smallest_ = std::move(plan);
        }
        return std::nullopt;
    }

    // Null where the parts' kernels are slower than the whole's, or do not fit together.
    std::optional<BackwardPlan> inParts(const BackwardPlan& whole, const Cut& cut, int64_t wave) const {
        BackwardPlan plan;
        plan.separate_groups = whole.separate_groups;
        plan.slices = whole.slices;
        plan.cut = cut_;
        const std::vector<BackwardPart> ranges = rangesOf(cut.outputs);
        for (int64_t n = 0; n < desc_.batch; n += cut.images)
            for (BackwardPart part : ranges) {
                part.box.batch_begin = n;
                part.box.batch_size = std::min(cut.images, desc_.batch - n);
                const auto same = std::find_if(plan.forms.begin(), plan.forms.end(),
                                               [&](const auto& form) { return form.box.sameForm(part.box); });
                part.form = static_cast<size_t>(same - plan.forms.begin());
                if (same == plan.forms.end()) {
                    const BackwardForm* first = plan.forms.empty() ? nullptr : &plan.forms[0];
                    auto form = formOf(part.box, plan.separate_groups, plan.slices);
                    if (form && first != nullptr && !goTogether(*form, *first))
                        form = formOf(part.box, plan.separate_groups, plan.slices, first);
                    if (!form || (first != nullptr && !goTogether(*form, *first)) ||
                        form->data.kernel < whole.forms[0].data.kernel ||
                        form->weights.kernel < whole.forms[0].weights.kernel)
                        return std::nullopt;
                    plan.forms.push_back(*form);
                }
                plan.parts.push_back(part);
            }
        plan.wave = std::min(wave, static_cast<int64_t>(plan.parts.size()));
        measure(plan);
        return plan;
    }

    // With the same packed weights and the same layout of what is shared.
    static bool goTogether(const BackwardForm& a, const BackwardForm& b) {
        return a.data.input == b.data.input && a.data.desc.weights_desc() == b.data.desc.weights_desc();
    }

    // One image's parts.
    std::vector<BackwardPart> rangesOf(int64_t outputs) const {
        std::vector<BackwardPart> parts;
        const Span& all = live_[cut_];
        const int64_t end = all.output_begin + all.output_size;
        for (int64_t at = all.output_begin; at < end; at += outputs) {
            BackwardPart part{{0, 1, live_, 0, desc_.out_channels}, 0, 0};
            if (outputs < all.output_size)
                part.box.spans[cut_] = spanOf(desc_.window, cut_, at, std::min(outputs, end - at));
            parts.push_back(part);
        }
        for (size_t i = 0; i + 1 < parts.size(); ++i) {
            Span& span = parts[i].box.spans[cut_];
            const int64_t next = parts[i + 1].box.spans[cut_].input_begin;
            // Inputs that the stride skips between the two.
            span.input_size = std::max(span.input_size, next - span.input_begin);
            parts[i].shared = span.input_begin + span.input_size - next;
        }
        return parts;
    }

    void measure(BackwardPlan& plan) const {
        BackwardSizes& sizes = plan.sizes;
        const int64_t in = desc_.in_channels / plan.separate_groups / plan.slices;
        const int64_t out = desc_.out_channels / plan.separate_groups;
        const auto bytes = [](int64_t floats) { return static_cast<size_t>(floats) * sizeof(float); };
        const auto scratch = [&](ScratchLayout layout, int64_t channels, int64_t pixels) {
            return bytes(scratchSize(layout, channels, pixels)) + kReadSlack;
        };
        sizes.bias_sums =
            static_cast<size_t>(biasParts(desc_, threads_) * desc_.out_channels) * sizeof(double);
        for (const BackwardForm& form : plan.forms) {
            const int64_t inputs = form.box.batch_size * form.box.inputPixels();
            const int64_t outputs = form.box.batch_size * form.box.outputPixels();
            const auto& data = form.data.desc;
            const auto& weights = form.weights.desc;
            sizes.input = std::max({sizes.input, scratch(form.data.input, in, inputs),
                                    scratch(form.weights.input, in, inputs), data.diff_src_desc().get_size(),
                                    weights.src_desc().get_size()});
            sizes.output = std::max({sizes.output, scratch(form.data.output, out, outputs),
                                     scratch(form.weights.output, out, outputs),
                                     data.diff_dst_desc().get_size(), weights.diff_dst_desc().get_size()});
            sizes.grad_weights = std::max(sizes.grad_weights, weights.diff_weights_desc().get_size());
            sizes.scratchpad = std::max(
                {sizes.scratchpad, data.scratchpad_desc().get_size(), weights.scratchpad_desc().get_size()});
        }
        for (const BackwardPart& part : plan.parts) {
            const auto& spans = part.box.spans;
            const int64_t pixels = part.box.inputPixels() / spans[plan.cut].input_size * part.shared;
            sizes.shared = std::max(sizes.shared, bytes(scratchSize(plan.forms[0].data.input, in, pixels)));
        }
        if (makesFactors(desc_))
            sizes.factors = bytes(desc_.batch * desc_.maskGroups() * volume(desc_.window.output));
        if (desc_.data_type != DataType::f32)
            sizes.plain_grad_weights = bytes(weightCount(desc_) / plan.separate_groups);
        sizes.packed_weights = plan.forms[0].data.desc.weights_desc().get_size();
    }

    const dnnl::engine& engine_;
    const PartialConvDesc& desc_;
    const std::array<Span, 3>& live_;
    int threads_;
    size_t cut_;
    std::optional<BackwardPlan> smallest_;  // of those that missed what they were made for
};

}  // namespace

size_t BackwardPlan::inputBytes() const {
    return std::max(alignedSize(sizes.input) * static_cast<size_t>(units()), alignedSize(sizes.bias_sums));
}

size_t BackwardPlan::bytes() const {
    const auto of = [](size_t size, int64_t count) { return alignedSize(size) * static_cast<size_t>(count); };
    return inputBytes() + of(sizes.output, wave) + of(sizes.shared, slices) + of(sizes.factors, 1) +
           of(sizes.grad_weights, units()) + of(sizes.scratchpad, units()) + of(sizes.plain_grad_weights, 1) +
           of(sizes.packed_weights, separate_groups * slices);
}

int64_t scratchSize(ScratchLayout layout, int64_t channels, int64_t pixels) {
    const int64_t block = blockOf(layout, channels);
    return ceilDivide(channels, block) * block * pixels;
}

PlainConv plainConvOf(const PartialConvDesc& desc, int64_t separate_groups, int64_t slices, const Box& box) {
    return {box.batch_size,
            desc.in_channels / separate_groups / slices,
            desc.out_channels / separate_groups,
            desc.groups / separate_groups,
            box.spans,
            desc.window};
}

int64_t biasParts(const PartialConvDesc& desc, int threads) {
    if (!desc.has_bias) return 0;
    return std::min(kBiasPartsForThread * threads,
                    desc.batch * desc.window.output[0] * desc.window.output[1]);
}

bool makesFactors(const PartialConvDesc& desc) {
    return desc.mask_type == MaskType::fractional && desc.has_bias &&
           desc.normalization == Normalization::window_ratio;
}

BackwardPlan planBackward(const dnnl::engine& engine, const PartialConvDesc& desc,
                          const std::array<Span, 3>& live, int threads) {
    return Planner(engine, desc, live, threads).plan();
}

}  // namespace pconv::cpu
