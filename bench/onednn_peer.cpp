#include "onednn_peer.h"

#include <algorithm>

namespace {

using dnnl::memory;
using Tag = memory::format_tag;

const dnnl::engine& cpu() {
    static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
    return engine;
}

memory::desc array(const memory::dims& dims, Tag tag) {
    return {dims, memory::data_type::f32, tag};
}

memory::desc plain(const std::vector<int64_t>& dims) {
    return array(dims, dims.size() == 5 ? Tag::abcde : Tag::abcd);
}

}  // namespace

// visit(description) for one implementation after another, until it says false.
template <typename Visit>
void OneDnnPeer::forEachImplementation(const ConvShape& shape, bool winograd, bool channels_last,
                                       const Visit& visit) {
    const Tag last = shape.input.size() == 3 ? Tag::ndhwc : Tag::nhwc;
    const Tag tag = channels_last ? last : Tag::any;
    const auto input = array(shape.inputDims(), tag);
    const auto weight = array(shape.weightDims(), Tag::any);
    const auto bias = array({shape.out_channels}, Tag::a);
    const auto output = array(shape.outputDims(), tag);
    const memory::dims strides(shape.input.size(), shape.stride);
    const memory::dims padding(shape.input.size(), shape.padding);
    const auto kind = dnnl::prop_kind::forward_inference;
    const auto algorithm =
        winograd ? dnnl::algorithm::convolution_winograd : dnnl::algorithm::convolution_direct;
    Description description;
#if DNNL_VERSION_MAJOR >= 3
    // oneDNN 3 throws for an algorithm it no longer has.
    try {
        description = Description(cpu(), kind, algorithm, input, weight, bias, output, strides, padding,
                                  padding, {}, true);
    } catch (const dnnl::error&) {
        return;
    }
#else
    // The description refers to it.
    const dnnl::convolution_forward::desc operation(kind, algorithm, input, weight, bias, output, strides,
                                                    padding, padding);
    description = Description(operation, cpu(), true);
#endif
    if (!description) return;
    while (visit(description) && description.next_impl()) {
    }
}

OneDnnPeer::OneDnnPeer(const ConvShape& shape, const Description& description, const std::string& name,
                       bool winograd, float* input, const float* weight, const float* bias, float* output)
    : name_(name), winograd_(winograd), stream_(cpu()), convolution_(description) {
    user_input_ = memory(plain(shape.inputDims()), cpu(), input);
    user_output_ = memory(plain(shape.outputDims()), cpu(), output);
    const bool same_input = description.src_desc() == user_input_.get_desc();
    const bool same_output = description.dst_desc() == user_output_.get_desc();
    input_ = same_input ? user_input_ : memory(description.src_desc(), cpu());
    output_ = same_output ? user_output_ : memory(description.dst_desc(), cpu());
    if (!same_input) load_ = dnnl::reorder(user_input_, input_);
    if (!same_output) store_ = dnnl::reorder(output_, user_output_);
    weight_ = memory(description.weights_desc(), cpu());
    memory user_weight(plain(shape.weightDims()), cpu(), const_cast<float*>(weight));
    dnnl::reorder(user_weight, weight_).execute(stream_, user_weight, weight_);
    bias_ = memory(description.bias_desc(), cpu(), const_cast<float*>(bias));
    stream_.wait();
}

void OneDnnPeer::run() {
    if (load_) load_.execute(stream_, user_input_, input_);
    convolution_.execute(stream_, {{DNNL_ARG_SRC, input_},
                                   {DNNL_ARG_WEIGHTS, weight_},
                                   {DNNL_ARG_BIAS, bias_},
                                   {DNNL_ARG_DST, output_}});
    if (store_) store_.execute(stream_, output_, user_output_);
    stream_.wait();
}

std::vector<OneDnnPeer> OneDnnPeer::all(const ConvShape& shape, float* input, const float* weight,
                                        const float* bias, float* output) {
    std::vector<OneDnnPeer> peers;
    bool has_avx512 = false;
    for (const bool winograd : {false, true})
        for (const bool channels_last : {false, true})
            forEachImplementation(shape, winograd, channels_last, [&](const Description& description) {
                const std::string implementation = description.impl_info_str();
                // The reference loops and older instruction sets come last, and are slower by multiples.
                for (const char* slow : {"ref", "sse41", has_avx512 ? "avx2" : "ref"})
                    if (implementation.find(slow) != std::string::npos) return true;
                has_avx512 = has_avx512 || implementation.find("avx512") != std::string::npos;
                const std::string name = implementation + (channels_last ? ",channels-last" : "");
                const bool known = std::any_of(peers.begin(), peers.end(),
                                               [&](const OneDnnPeer& peer) { return peer.name() == name; });
                if (!known)
                    peers.push_back(
                        OneDnnPeer(shape, description, name, winograd, input, weight, bias, output));
                return true;
            });
    return peers;
}

OneDnnPeer OneDnnPeer::preferred(const ConvShape& shape, float* input, const float* weight, const float* bias,
                                 float* output) {
    std::vector<OneDnnPeer> peers;
    forEachImplementation(shape, false, false, [&](const Description& description) {
        peers.push_back(
            OneDnnPeer(shape, description, description.impl_info_str(), false, input, weight, bias, output));
        return false;
    });
    return peers.at(0);
}
