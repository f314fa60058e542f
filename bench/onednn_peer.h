// oneDNN's own plain convolution with bias of tensors in NCHW: weights packed beforehand, its reorders of the
// input and the output included.
#pragma once

#include <dnnl.hpp>
#include <string>
#include <vector>

#include "conv_shape.h"

class OneDnnPeer {
  public:
    // Every algorithm oneDNN has for the shape but its reference loops, in the layouts it prefers and in
    // channels-last.
    static std::vector<OneDnnPeer> all(const ConvShape& shape, float* input, const float* weight,
                                       const float* bias, float* output);
    // The one oneDNN takes by itself.
    static OneDnnPeer preferred(const ConvShape& shape, float* input, const float* weight, const float* bias,
                                float* output);

    void run();
    const std::string& name() const { return name_; }
    bool winograd() const { return winograd_; }

  private:
    using Description = dnnl::convolution_forward::primitive_desc;
    OneDnnPeer(const ConvShape& shape, const Description& description, const std::string& name, bool winograd,
               float* input, const float* weight, const float* bias, float* output);
    template <typename Visit>
    static void forEachImplementation(const ConvShape& shape, bool winograd, bool channels_last,
                                      const Visit& visit);

    std::string name_;
    bool winograd_;
    dnnl::stream stream_;
    dnnl::convolution_forward convolution_;
    dnnl::reorder load_, store_;
    dnnl::memory user_input_, user_output_, input_, output_, weight_, bias_;
};
