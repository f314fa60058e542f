#include "onednn_backward_peer.h"

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

memory::desc any(const memory::dims& dims) {
    return array(dims, Tag::any);
}

memory user(const memory::dims& dims, float* data) {
    return {array(dims, dims.size() == 5 ? Tag::abcde : Tag::abcd), cpu(), data};
}

// The tensor itself where it has the layout that is wanted.
memory inLayout(const memory& tensor, const memory::desc& wanted) {
    return tensor.get_desc() == wanted ? tensor : memory(wanted, cpu());
}

void reorder(dnnl::stream& stream, memory& from, memory& to) {
    if (from.get() != to.get()) dnnl::reorder(from, to).execute(stream, from, to);
}

}  // namespace

OneDnnBackwardPeer::OneDnnBackwardPeer(const ConvShape& shape, const Tensors& tensors) : stream_(cpu()) {
    const auto direct = dnnl::algorithm::convolution_direct;
    const auto training = dnnl::prop_kind::forward_training;
    const memory::dims strides(shape.input.size(), shape.stride);
    const memory::dims padding(shape.input.size(), shape.padding);
    const memory::desc input = any(shape.inputDims());
    const memory::desc weight = any(shape.weightDims());
    const memory::desc output = any(shape.outputDims());
    const memory::desc bias = array({shape.out_channels}, Tag::a);
#if DNNL_VERSION_MAJOR >= 3
    const dnnl::convolution_forward::primitive_desc forward(cpu(), training, direct, input, weight, bias,
                                                            output, strides, padding, padding);
    const dnnl::convolution_backward_data::primitive_desc data(cpu(), direct, input, weight, output, strides,
                                                               padding, padding, forward);
    const dnnl::convolution_backward_weights::primitive_desc weights(
        cpu(), direct, input, weight, bias, output, strides, padding, padding, forward);
#else
    const dnnl::convolution_forward::primitive_desc forward(
        {training, direct, input, weight, bias, output, strides, padding, padding}, cpu());
    const dnnl::convolution_backward_data::primitive_desc data(
        {direct, input, weight, output, strides, padding, padding}, cpu(), forward);
    const dnnl::convolution_backward_weights::primitive_desc weights(
        {direct, input, weight, bias, output, strides, padding, padding}, cpu(), forward);
#endif
    name_ = std::string(data.impl_info_str()) + " and " + weights.impl_info_str();
    data_ = dnnl::convolution_backward_data(data);
    weights_ = dnnl::convolution_backward_weights(weights);
    user_input_ = user(shape.inputDims(), tensors.input);
    user_output_ = user(shape.outputDims(), tensors.grad_output);
    user_grad_input_ = user(shape.inputDims(), tensors.grad_input);
    user_grad_weight_ = user(shape.weightDims(), tensors.grad_weight);
    input_ = inLayout(user_input_, weights.src_desc());
    data_output_ = inLayout(user_output_, data.diff_dst_desc());
    weights_output_ = weights.diff_dst_desc() == data.diff_dst_desc()
                          ? data_output_
                          : inLayout(user_output_, weights.diff_dst_desc());
    grad_input_ = inLayout(user_grad_input_, data.diff_src_desc());
    grad_weight_ = inLayout(user_grad_weight_, weights.diff_weights_desc());
    grad_bias_ = memory(bias, cpu(), tensors.grad_bias);
    memory user_weight = user(shape.weightDims(), tensors.weight);
    weight_ = inLayout(user_weight, data.weights_desc());
    reorder(stream_, user_weight, weight_);
    stream_.wait();
}

void OneDnnBackwardPeer::run() {
    reorder(stream_, user_output_, data_output_);
    data_.execute(
        stream_,
        {{DNNL_ARG_DIFF_DST, data_output_}, {DNNL_ARG_WEIGHTS, weight_}, {DNNL_ARG_DIFF_SRC, grad_input_}});
    reorder(stream_, grad_input_, user_grad_input_);
    if (weights_output_.get() != data_output_.get()) reorder(stream_, user_output_, weights_output_);
    reorder(stream_, user_input_, input_);
    weights_.execute(stream_, {{DNNL_ARG_SRC, input_},
                               {DNNL_ARG_DIFF_DST, weights_output_},
                               {DNNL_ARG_DIFF_WEIGHTS, grad_weight_},
                               {DNNL_ARG_DIFF_BIAS, grad_bias_}});
    reorder(stream_, grad_weight_, user_grad_weight_);
    stream_.wait();
}
