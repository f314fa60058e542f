// Runs a problem on a row through the C API, with guard bands around the output and a poisoned output.
#pragma once

#include <random>

#include "conformance/problem.h"
#include "conformance/view.h"
#include "support/devices.h"
#include "support/handles.h"

namespace pconv::test {

struct Placement {
    PconvLayout input_layout = PCONV_LAYOUT_CONTIGUOUS;
    PconvLayout output_layout = PCONV_LAYOUT_CONTIGUOUS;
    uint32_t spread = 0;  // 0: dense; else the seed of gaps, offsets and orders of dimensions
};

struct Results {
    std::vector<float> output;                              // [N, Cout, O...]
    std::vector<float> grad_input, grad_weight, grad_bias;  // empty without a backward pass
    std::vector<float> window_sum, updated_mask, ratio;     // [mask batch, mask groups, O...]
    std::vector<int64_t> mask_dims;
    std::string damage;  // what was written outside the output or left unwritten in it; "" where nothing
};

// The handles and memory of one problem on one row, to be run in steps.
class Execution {
  public:
    Execution(const Row& row, const Problem& problem, const Placement& placement = {});

    // Writes other numbers of the same shapes into the same memory.
    void writeInput(const std::vector<float>& values);
    void writeWeights(const std::vector<float>& weight, const std::vector<float>& bias);
    void writeMask(const std::vector<Segment>& segments);

    void setWeights();
    void computeMask();
    void poisonOutput();
    void forward() { forwardWith(update_.get()); }
    void backward();
    // Once more, added to what the gradients hold.
    void accumulateBackward();
    void forwardWith(PconvMaskUpdate update);
    Results read() const;

    PconvMaskUpdate update() const { return update_.get(); }
    const PconvPartialConvDesc& desc() const { return desc_; }

  private:
    struct Placed {
        View view;
        OwnedBuffer buffer;
        PconvTensor tensor{};
    };
    Placed place(const std::vector<int64_t>& dims, size_t unit, PconvDataType type, uint32_t spread);
    void writeFloats(const Placed& placed, const std::vector<float>& values);
    const PconvMask* mask() const { return mask_.segment_count > 0 ? &mask_ : nullptr; }
    static bool isThere(const Placed& placed) { return placed.buffer.get() != nullptr; }
    void poison(const Placed& placed);
    void backwardInto(bool accumulate);
    // The elements of a tensor that was poison before; what is wrong with its memory is added to `damages`.
    std::vector<float> readPlaced(const Placed& placed, const char* name, std::string& damages) const;
    template <typename T>
    std::vector<float> readView(const PconvTensor& tensor) const;

    PconvDevice device_;
    Problem problem_;
    PconvPartialConvDesc desc_;
    std::string implementation_;
    std::mt19937 random_;
    Placed input_, weight_, bias_, output_;
    Placed grad_output_, grad_input_, grad_weight_, grad_bias_;
    std::vector<Placed> planes_;
    std::vector<PconvMaskSegment> segments_;
    PconvMask mask_ = pconvDefaultMask();
    OwnedMaskUpdate update_;
    OwnedPartialConv conv_;
};

// All of it once.
Results run(const Row& row, const Problem& problem, const Placement& placement = {});

// Whether the row takes the problem; where not, `reason` has what it says.
bool supports(const Row& row, const Problem& problem, std::string& reason);

}  // namespace pconv::test
