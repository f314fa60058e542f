// oneDNN's own gradients of a plain convolution, of input, weight and bias, of tensors in NCHW: weights
// packed beforehand, its reorders of the others included.
#pragma once

#include <dnnl.hpp>
#include <string>

#include "conv_shape.h"

class OneDnnBackwardPeer {
  public:
    struct Tensors {
        float *input, *weight, *grad_output, *grad_input, *grad_weight, *grad_bias;
    };
    // In the layouts that oneDNN prefers.
    OneDnnBackwardPeer(const ConvShape& shape, const Tensors& tensors);

    void run();
    // The implementations of both gradients.
    const std::string& name() const { return name_; }

  private:
    std::string name_;
    dnnl::stream stream_;
    dnnl::convolution_backward_data data_;
    dnnl::convolution_backward_weights weights_;
    dnnl::memory user_input_, user_output_, user_grad_input_, user_grad_weight_;
    dnnl::memory input_, data_output_, weights_output_, grad_input_, grad_weight_, grad_bias_, weight_;
};
