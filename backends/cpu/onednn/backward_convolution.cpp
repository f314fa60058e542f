#include "cpu/onednn/backward_convolution.h"

namespace pconv::cpu {

namespace {

using dnnl::memory;
constexpr auto kAlgorithm = dnnl::algorithm::convolution_direct;

dnnl::primitive_attr attributes() {
    dnnl::primitive_attr all;
    all.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    return all;
}

// Each: the description where oneDNN has one.
dnnl::convolution_forward::primitive_desc describeForward(const dnnl::engine& engine, const PlainConv& conv) {
    const ConvTerms t(conv);
    const auto kind = dnnl::prop_kind::forward_training;
    const memory::desc input = anyDesc(conv.inputDims());
    const memory::desc weights = anyDesc(conv.weightDims());
    const memory::desc output = anyDesc(conv.outputDims());
#if DNNL_VERSION_MAJOR >= 3
    return {engine, kind, kAlgorithm, input, weights, output, t.strides, t.dilates, t.begin, t.end};
#else
    return {{kind, kAlgorithm, input, weights, output, t.strides, t.dilates, t.begin, t.end}, engine};
#endif
}

template <typename Choice>
decltype(Choice::desc) describe(const dnnl::engine& engine, const PlainConv& conv,
                                const dnnl::convolution_forward::primitive_desc& forward,
                                const memory::desc& input, const memory::desc& output) {
    const ConvTerms t(conv);
    const memory::desc weights = anyDesc(conv.weightDims());
#if DNNL_VERSION_MAJOR >= 3
    return {engine,    kAlgorithm, input, weights, output,       t.strides,
            t.dilates, t.begin,    t.end, forward, attributes(), true};
#else
    return {{kAlgorithm, input, weights, output, t.strides, t.dilates, t.begin, t.end},
            attributes(),
            engine,
            forward,
            true};
#endif
}

memory::desc inputOf(const BackwardData& found) {
    return found.desc.diff_src_desc();
}

memory::desc inputOf(const BackwardWeights& found) {
    return found.desc.src_desc();
}

// Vector kernels for gradients, as oneDNN 2.6 and 3.2 have them, are not always right where channels of
// channels-last tensors do not fill whole vectors, where a window is larger than the input, and where in
// depth one window reaches out in front and the next one behind.
template <typename Choice>
bool isTrusted(const Choice& found, const PlainConv& conv) {
    constexpr int64_t kVector = 16;
    const bool channels_last =
        found.input == ScratchLayout::channels_last || found.output == ScratchLayout::channels_last;
    const bool whole =
        conv.in_channels / conv.groups % kVector == 0 && conv.out_channels / conv.groups % kVector == 0;
    bool inside = true;
    for (size_t d = 0; d < 3; ++d)
        inside =
            inside && conv.window.dilation[d] * (conv.window.kernel[d] - 1) + 1 <= conv.spans[d].input_size;
    const Window& w = conv.window;
    inside = inside && w.dilation[0] * (w.kernel[0] - 1) + w.stride[0] <= conv.spans[0].input_size;
    return found.kernel != Kernel::vectors || ((!channels_last || whole) && inside);
}

// The implementation oneDNN prefers, or the first of all that serves.
enum class Search { preferred, all };

template <typename Choice>
std::optional<Choice> choose(const dnnl::engine& engine, const PlainConv& conv, const memory::desc& input,
                             const memory::desc& output, Search search = Search::preferred) {
    Choice found{};
    dnnl::convolution_forward::primitive_desc forward;  // next_impl() reads it again
    try {
        forward = describeForward(engine, conv);
        found.desc = describe<Choice>(engine, conv, forward, input, output);
    } catch (const dnnl::error& error) {
        if (error.status == dnnl_out_of_memory) throw;
        return std::nullopt;
    }
    if (found.desc.get(true) == nullptr) return std::nullopt;
    do {
        const auto in = layoutOf(inputOf(found), conv.inputDims());
        const auto out = layoutOf(found.desc.diff_dst_desc(), conv.outputDims());
        if (!in || !out) continue;
        found.input = *in;
        found.output = *out;
        found.kernel = kernelOf(found.desc.impl_info_str());
        if (isTrusted(found, conv)) return found;
    } while (search == Search::all && found.desc.next_impl());
    return std::nullopt;
}

// The layouts oneDNN prefers where they are known here, else the best of equal ones.
template <typename Choice>
std::optional<Choice> chooseBest(const dnnl::engine& engine, const PlainConv& conv) {
    auto found = choose<Choice>(engine, conv, anyDesc(conv.inputDims()), anyDesc(conv.outputDims()));
    if (found) return found;
    for (const ScratchLayout layout : kLayouts) {
        auto next = choose<Choice>(engine, conv, scratchDesc(conv.inputDims(), layout),
                                   scratchDesc(conv.outputDims(), layout));
        if (next && (!found || next->kernel > found->kernel)) found = next;
    }
    // From 3.7 on a kernel that is not trusted may be preferred in every layout.
    for (const ScratchLayout layout : kLayouts)
        if (!found)
            found = choose<Choice>(engine, conv, scratchDesc(conv.inputDims(), layout),
                                   scratchDesc(conv.outputDims(), layout), Search::all);
    return found;
}

}  // namespace

std::optional<BackwardData> chooseBackwardData(const dnnl::engine& engine, const PlainConv& conv) {
    return chooseBest<BackwardData>(engine, conv);
}

std::optional<BackwardData> chooseBackwardData(const dnnl::engine& engine, const PlainConv& conv,
                                               ScratchLayout input, ScratchLayout output) {
    return choose<BackwardData>(engine, conv, scratchDesc(conv.inputDims(), input),
                                scratchDesc(conv.outputDims(), output));
}

std::optional<BackwardWeights> chooseBackwardWeights(const dnnl::engine& engine, const PlainConv& conv,
                                                     ScratchLayout output) {
    auto best = chooseBest<BackwardWeights>(engine, conv);
    if (best && best->output == output) return best;
    auto same = choose<BackwardWeights>(engine, conv, anyDesc(conv.inputDims()),
                                        scratchDesc(conv.outputDims(), output));
    return same && (!best || same->kernel >= best->kernel) ? same : best;
}

}  // namespace pconv::cpu
