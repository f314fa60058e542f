#include "onednn_convolution.h"

namespace pconv::cpu {

namespace {

using dnnl::memory;
using Dims = memory::dims;
using Tag = memory::format_tag;

constexpr ScratchLayout kLayouts[] = {ScratchLayout::channels_last, ScratchLayout::blocked16,
                                      ScratchLayout::blocked8, ScratchLayout::planar};

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

std::optional<dnnl::convolution_forward::primitive_desc> describe(const dnnl::engine& engine,
                                                                  const PlainConv& conv, bool winograd,
                                                                  const memory::desc& input,
                                                                  const memory::desc& output) {
    const bool three = conv.threeDimensional();
    const Dims strides = spatial(three, [&](size_t d) { return conv.window.stride[d]; });
    const Dims dilates = spatial(three, [&](size_t d) { return conv.window.dilation[d] - 1; });
    const Dims begin = spatial(three, [&](size_t d) { return conv.spans[d].padding_begin; });
    const Dims end = spatial(three, [&](size_t d) { return conv.spans[d].padding_end; });
    const memory::desc weights = dense(conv.weightDims(), Tag::any);
    const auto kind = dnnl::prop_kind::forward_inference;
    const auto algorithm =
        winograd ? dnnl::algorithm::convolution_winograd : dnnl::algorithm::convolution_direct;
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    try {
#if DNNL_VERSION_MAJOR >= 3
        dnnl::convolution_forward::primitive_desc desc(engine, kind, algorithm, input, weights, output,
                                                       strides, dilates, begin, end, attributes, true);
#else
        const dnnl::convolution_forward::desc operation(kind, algorithm, input, weights, output, strides,
                                                        dilates, begin, end);
        dnnl::convolution_forward::primitive_desc desc(operation, attributes, engine, true);
#endif
        if (desc.get(true) != nullptr) return desc;
    } catch (const dnnl::error& error) {
        if (error.status == dnnl_out_of_memory) throw;
    }
    return std::nullopt;
}

bool isSpecialized(const std::string& name) {
    return name.find("ref") == std::string::npos && name.find("gemm") == std::string::npos;
}

std::optional<ScratchLayout> layoutOf(const memory::desc& desc, const Dims& dims, bool three_dimensional) {
    for (const ScratchLayout layout : kLayouts)
        if (desc == dense(dims, tagOf(layout, three_dimensional))) return layout;
    return std::nullopt;
}

}  // namespace

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

std::optional<Primitive> choosePrimitive(const dnnl::engine& engine, const PlainConv& conv, bool winograd,
                                         ScratchLayout input, ScratchLayout output) {
    const bool three = conv.threeDimensional();
    auto desc = describe(engine, conv, winograd, dense(conv.inputDims(), tagOf(input, three)),
                         dense(conv.outputDims(), tagOf(output, three)));
    if (!desc) return std::nullopt;
    const bool specialized = isSpecialized(desc->impl_info_str());
    return Primitive{*desc, input, output, specialized, winograd};
}

std::optional<Primitive> choosePrimitive(const dnnl::engine& engine, const PlainConv& conv, bool winograd) {
    const bool three = conv.threeDimensional();
    auto desc = describe(engine, conv, winograd, dense(conv.inputDims(), Tag::any),
                         dense(conv.outputDims(), Tag::any));
    if (desc) {
        const auto input = layoutOf(desc->src_desc(), conv.inputDims(), three);
        const auto output = layoutOf(desc->dst_desc(), conv.outputDims(), three);
        if (input && output)
            return Primitive{*desc, *input, *output, isSpecialized(desc->impl_info_str()), winograd};
    }
    std::optional<Primitive> found;
    for (const ScratchLayout layout : kLayouts) {
        auto next = choosePrimitive(engine, conv, winograd, layout, layout);
        if (next && (!found || (next->specialized && !found->specialized))) found = next;
    }
    return found;
}

}  // namespace pconv::cpu
