#include "cpu/onednn/convolution.h"

#include <omp.h>

namespace pconv::cpu {

OneThread::OneThread() : before_(omp_get_max_threads()) {
    omp_set_num_threads(1);
}

OneThread::~OneThread() {
    omp_set_num_threads(before_);
}

void failFrom(const dnnl::error& error) {
    fail(error.status == dnnl_out_of_memory ? PCONV_ERROR_OUT_OF_MEMORY : PCONV_ERROR_INTERNAL,
         std::string("oneDNN: ") + error.what());
}

void runAlone(const dnnl::engine& engine, const dnnl::primitive& primitive,
              const std::unordered_map<int, dnnl::memory>& arguments) {
    const OneThread one;
    try {
        dnnl::stream stream(engine);
        primitive.execute(stream, arguments);
        stream.wait();
    } catch (const dnnl::error& error) {
        failFrom(error);
    }
}

namespace {

using dnnl::memory;
using Dims = memory::dims;
using Tag = memory::format_tag;

Tag tagOf(ScratchLayout layout, bool three_dimensional) {
    switch (layout) {
        case ScratchLayout::channels_last:
            return three_dimensional ? Tag::ndhwc : Tag::nhwc;
        case ScratchLayout::blocked16:
            return three_dimensional ? Tag::nCdhw16c : Tag::nChw16c;
        case ScratchLayout::blocked8:
            return three_dimensional ? Tag::nCdhw8c : Tag::nChw8c;
        default:
            return three_dimensional ? Tag::ncdhw : Tag::nchw;
    }
}

memory::desc dense(const Dims& dims, Tag tag) {
    return {dims, memory::data_type::f32, tag};
}

// Spatial sizes, of which oneDNN sees two or three.
template <typename F>
Dims spatial(bool three_dimensional, const F& of) {
    Dims dims;
    for (size_t d = three_dimensional ? 0 : 1; d < 3; ++d) dims.push_back(of(d));
    return dims;
}

Dims joined(Dims first, const Dims& second) {
    first.insert(first.end(), second.begin(), second.end());
    return first;
}

// Matrix products in batches, as oneDNN 3.7 has them, are not right where a window is wider than the input;
// and of one input channel they read what nobody wrote where rows have one output, by a stride.
bool isTrusted(const char* implementation, const PlainConv& conv) {
    const Window& w = conv.window;
    const bool inside = w.dilation[2] * (w.kernel[2] - 1) + 1 <= conv.spans[2].input_size;
    const bool single = conv.in_channels == conv.groups && conv.spans[2].output_size == 1 && w.stride[2] > 1;
    return (inside && !single) || std::string(implementation).find("brg") == std::string::npos;
}

std::optional<dnnl::convolution_forward::primitive_desc> describe(const dnnl::engine& engine,
                                                                  const PlainConv& conv,
                                                                  const memory::desc& input,
                                                                  const memory::desc& output) {
    const ConvTerms terms(conv);
    const memory::desc weights = anyDesc(conv.weightDims());
    const auto kind = dnnl::prop_kind::forward_inference;
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    try {
#if DNNL_VERSION_MAJOR >= 3
        dnnl::convolution_forward::primitive_desc desc(engine, kind, dnnl::algorithm::convolution_direct,
                                                       input, weights, output, terms.strides, terms.dilates,
                                                       terms.begin, terms.end, attributes, true);
#else
        const dnnl::convolution_forward::desc operation(kind, dnnl::algorithm::convolution_direct, input,
                                                        weights, output, terms.strides, terms.dilates,
                                                        terms.begin, terms.end);
        dnnl::convolution_forward::primitive_desc desc(operation, attributes, engine, true);
#endif
        if (desc.get(true) == nullptr) return std::nullopt;
        while (!isTrusted(desc.impl_info_str(), conv))
            if (!desc.next_impl()) return std::nullopt;
        return desc;
    } catch (const dnnl::error& error) {
        if (error.status == dnnl_out_of_memory) throw;
    }
    return std::nullopt;
}

}  // namespace

memory::desc scratchDesc(const Dims& dims, ScratchLayout layout) {
    return dense(dims, tagOf(layout, dims.size() == 5));
}

memory::desc anyDesc(const Dims& dims) {
    return dense(dims, Tag::any);
}

Kernel kernelOf(const std::string& implementation) {
    const auto has = [&](const char* part) { return implementation.find(part) != std::string::npos; };
    if (has("ref")) return Kernel::loops;
    return has("gemm") ? Kernel::matrix_product : Kernel::vectors;
}

std::optional<ScratchLayout> layoutOf(const memory::desc& desc, const Dims& dims) {
    for (const ScratchLayout layout : kLayouts)
        if (desc == scratchDesc(dims, layout)) return layout;
    return std::nullopt;
}

ConvTerms::ConvTerms(const PlainConv& conv) {
    const bool three = conv.threeDimensional();
    strides = spatial(three, [&](size_t d) { return conv.window.stride[d]; });
    dilates = spatial(three, [&](size_t d) { return conv.window.dilation[d] - 1; });
    begin = spatial(three, [&](size_t d) { return conv.spans[d].padding_begin; });
    end = spatial(three, [&](size_t d) { return conv.spans[d].padding_end; });
}

int64_t blockOf(ScratchLayout layout, int64_t channels) {
    switch (layout) {
        case ScratchLayout::channels_last:
            return channels;
        case ScratchLayout::blocked16:
            return 16;
        case ScratchLayout::blocked8:
            return 8;
        default:
            return 1;
    }
}

Dims PlainConv::inputDims() const {
    return joined({batch, in_channels},
                  spatial(threeDimensional(), [&](size_t d) { return spans[d].input_size; }));
}

Dims PlainConv::outputDims() const {
    return joined({batch, out_channels},
                  spatial(threeDimensional(), [&](size_t d) { return spans[d].output_size; }));
}

Dims PlainConv::weightDims() const {
    Dims first{out_channels / groups, in_channels / groups};
    if (groups > 1) first.insert(first.begin(), groups);
    return joined(first, spatial(threeDimensional(), [&](size_t d) { return window.kernel[d]; }));
}

memory::desc PlainConv::userWeights() const {
    const bool three = threeDimensional();
    if (groups > 1) return dense(weightDims(), three ? Tag::goidhw : Tag::goihw);
    return dense(weightDims(), three ? Tag::oidhw : Tag::oihw);
}

Reorder::Reorder(const dnnl::engine& engine, const memory::desc& from, const memory::desc& to,
                 dnnl::primitive_attr attributes) {
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    const dnnl::reorder::primitive_desc desc(engine, from, engine, to, attributes);
    primitive_ = dnnl::reorder(desc);
    scratchpad_ = desc.scratchpad_desc();
}

void Reorder::run(const dnnl::engine& engine, const memory& from, const memory& to) const {
    runAlone(engine, primitive_,
             {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}, {DNNL_ARG_SCRATCHPAD, memory(scratchpad_, engine)}});
}

std::optional<Primitive> choosePrimitive(const dnnl::engine& engine, const PlainConv& conv,
                                         ScratchLayout input, ScratchLayout output) {
    auto desc =
        describe(engine, conv, scratchDesc(conv.inputDims(), input), scratchDesc(conv.outputDims(), output));
    if (!desc) return std::nullopt;
    return Primitive{*desc, input, output, kernelOf(desc->impl_info_str())};
}

std::optional<Primitive> choosePrimitive(const dnnl::engine& engine, const PlainConv& conv) {
    auto desc = describe(engine, conv, anyDesc(conv.inputDims()), anyDesc(conv.outputDims()));
    if (desc) {
        const auto input = layoutOf(desc->src_desc(), conv.inputDims());
        const auto output = layoutOf(desc->dst_desc(), conv.outputDims());
        if (input && output) return Primitive{*desc, *input, *output, kernelOf(desc->impl_info_str())};
    }
    std::optional<Primitive> found;
    for (const ScratchLayout layout : kLayouts) {
        auto next = choosePrimitive(engine, conv, layout, layout);
        if (next && (!found || next->kernel > found->kernel)) found = next;
    }
    return found;
}

}  // namespace pconv::cpu
