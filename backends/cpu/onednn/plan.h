// How a convolution is cut into boxes of output that one thread does at a time in cache: mask and transpose
// the input under the box, convolve, finish into the output.
#pragma once

#include <cstdint>
#include <vector>

#include "backend.h"

namespace pconv::cpu {

// A range of outputs in one dimension and the inputs under it.
struct Span {
    int64_t output_begin, output_size;
    int64_t input_begin, input_size;
    int64_t padding_begin, padding_end;

    // Whether one primitive serves both.
    bool sameForm(const Span& other) const {
        return output_size == other.output_size && input_size == other.input_size &&
               padding_begin == other.padding_begin && padding_end == other.padding_end;
    }
};

// The outputs [begin, begin + size) of dimension `d`, and the inputs their windows reach.
Span spanOf(const Window& w, size_t d, int64_t begin, int64_t size);

// Whether rows are to be split, since the scratch memory of a box of one would be large.
bool hasLongRows(const PartialConvDesc& desc, const std::array<Span, 3>& live);

struct Box {
    int64_t batch_begin, batch_size;
    std::array<Span, 3> spans;
    int64_t channel_begin = 0, channel_size = 0;  // of the output

    bool sameForm(const Box& other) const {
        return batch_size == other.batch_size && channel_size == other.channel_size &&
               spans[0].sameForm(other.spans[0]) && spans[1].sameForm(other.spans[1]) &&
               spans[2].sameForm(other.spans[2]);
    }
    int64_t inputPixels() const { return spans[0].input_size * spans[1].input_size * spans[2].input_size; }
    int64_t outputPixels() const {
        return spans[0].output_size * spans[1].output_size * spans[2].output_size;
    }
};

// Outputs in one dimension per box, the batch and the output's channels.
struct Cut {
    int64_t batch;
    Dims3 size;
    int64_t channels;
};

struct Plan {
    // Outputs outside have windows wholly in the padding: always holes.
    std::array<Span, 3> live;
    bool any_live = false;
    std::vector<Box> boxes;
    // How boxes are cut into cells, of which those that are no hole are convolved alone, or several in a row;
    // where that can pay.
    Cut cell{};
    double box_cost = 0;           // an estimate, of a box of the most outputs
    std::vector<double> run_cost;  // of a row of 2^k cells; none where there are no cells
    bool hasCells() const { return !run_cost.empty(); }
};

// What the cost of a box depends on besides its shape.
struct Work {
    int threads;
    int64_t weight_bytes;
    // Boxes may have some of the output's channels, in multiples of this; 0: they have all.
    int64_t channel_grain = 0;
    bool own_inputs = false;   // of each such part, as groups have
    int64_t convolutions = 1;  // that are done one after another for a box
};

Plan makePlan(const PartialConvDesc& desc, const Work& work);

// The rows of cells of a box of the plan.
std::vector<Box> bandsOf(const Window& window, const Box& box, const Cut& cell);
inline int64_t cellsIn(const Box& band, const Cut& cell) {
    return (band.spans[2].output_size + cell.size[2] - 1) / cell.size[2];
}
// `count` cells of a band from `first` on.
Box cellsOf(const Window& window, const Box& band, const Cut& cell, int64_t first, int64_t count);

}  // namespace pconv::cpu
