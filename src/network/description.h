// The caller's description of a network, copied so that it can be planned again for another size.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "pconv/network.h"

namespace pconv::network {

class Description {
  public:
    // Throws Error invalid_argument where a struct cannot be read. Channels of SCALE layers are not known
    // yet: their vectors are the caller's until readVectors.
    explicit Description(const PconvNetworkDesc* caller);
    Description(const Description&) = delete;
    Description& operator=(const Description&) = delete;

    const PconvNetworkDesc& desc() const { return desc_; }
    const std::vector<PconvLayer>& layers() const { return layers_; }
    // Copies a SCALE layer's vectors, once its channels are known.
    void readVectors(size_t layer, int64_t channels) const;
    // Its vectors are known to have so many elements, which is then checked.
    void expectVector(size_t layer, size_t size) const;
    void setShape(int64_t batch, const int64_t* size);

  private:
    const char* keep(const char* text);

    PconvNetworkDesc desc_;
    mutable std::vector<PconvLayer> layers_;  // pointing into what is kept here
    std::deque<std::string> texts_;
    std::deque<std::vector<int32_t>> inputs_;
    mutable std::deque<std::vector<float>> vectors_;
    mutable std::vector<bool> vectors_read_;
    mutable std::map<size_t, size_t> vector_sizes_;
};

}  // namespace pconv::network
