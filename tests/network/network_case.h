// A network problem on a device: made, given its weights, run.
#pragma once

#include "network/network_oracle.h"
#include "support/handles.h"

namespace pconv::test {

using OwnedNetwork = Owned<PconvNetwork, pconvReleaseNetwork>;

class NetworkCase {
  public:
    NetworkCase(PconvDevice device, const NetworkProblem& problem, bool resizable = false);
    PconvNetwork get() const { return network_.get(); }
    // To the size and batch of a problem that outlives this and is otherwise the same; false where it is
    // refused.
    bool resize(const NetworkProblem& problem);
    // Runs one pass on the tensors of set `set`; without `mask` the mask of the pass before stays.
    PconvStatus forward(size_t set = 0, bool mask = true);
    void writeInput(size_t set, const std::vector<float>& values);
    void writeMask(size_t set, const std::vector<float>& values);
    // [N, C, S...] contiguous.
    std::vector<float> output(size_t set = 0) const;
    std::vector<Segment> outputMask() const;

  private:
    struct Set {
        OwnedBuffer input, mask, output;
        PconvTensor input_view{}, mask_view{}, output_view{};
    };
    Set& set(size_t index);
    void setWeights();

    PconvDevice device_;
    const NetworkProblem* problem_;
    OwnedNetwork network_;
    std::vector<int64_t> output_dims_;
    std::vector<Set> sets_;
};

// As the network's description; `layers` and what they point to are filled.
PconvNetworkDesc describe(const NetworkProblem& problem, std::vector<PconvLayer>& layers,
                          std::vector<std::vector<int32_t>>& more_inputs);

}  // namespace pconv::test
