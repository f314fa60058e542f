#include "vulkan/plan.h"

#include <algorithm>

#include "vulkan/split.h"
#include "vulkan/window.h"

namespace pconv::vulkan {

namespace {

// Copies are kept below this where rows can be cut.
constexpr int64_t kScratchWish = int64_t{64} << 20;

using Box = std::array<Range, 5>;

class Planner {
  public:
    Planner(const PartialConvDesc& desc, const std::array<int64_t, 5>& input_strides,
            const std::array<int64_t, 5>& output_strides, const PlanKernel& kernel, const PlanMask& mask,
            const PlanLimits& limits)
        : desc_(desc),
          input_strides_(input_strides),
          output_strides_(output_strides),
          kernel_(kernel),
          mask_(mask),
          limits_(limits),
          element_(static_cast<int64_t>(sizeOf(desc.data_type))),
          unit_rows_(ceilDiv(desc.window.output[1], kernel.unit_h)) {}

    Plan run() {
        split({0, desc_.batch, 0, kernel_.blocks_a_group * desc_.groups, 0,
               desc_.window.output[0] * unit_rows_});
        return std::move(plan_);
    }

  private:
    struct Piece {
        int64_t n0, n1, b0, b1, q0, q1;
    };
    struct Fit {
        bool input, output, weights, ratio, mask, work, groups_x, groups_y, groups_z;
        bool all() const {
            return input && output && weights && ratio && mask && work && groups_x && groups_y && groups_z;
        }
    };

    Span span(const Box& box, const std::array<int64_t, 5>& strides, int64_t element) const {
        Span bytes{0, element};
        for (size_t i = 0; i < 5; ++i) {
            bytes.begin += box[i].begin * strides[i] * element;
            bytes.end += (box[i].end - 1) * strides[i] * element;
        }
        return bytes;
    }

    Range outputDepth(const Piece& p) const { return {p.q0 / unit_rows_, (p.q1 - 1) / unit_rows_ + 1}; }
    Range outputRows(const Piece& p) const {
        const int64_t rows = desc_.window.output[1];
        if (outputDepth(p).size() > 1) return {0, rows};
        return {p.q0 % unit_rows_ * kernel_.unit_h,
                std::min(((p.q1 - 1) % unit_rows_ + 1) * kernel_.unit_h, rows)};
    }
    // With those beyond the last, whose windows the kernel reads as far as they lie in the input.
    Range unitRows(const Piece& p) const {
        const Range rows = outputRows(p);
        return {rows.begin, ceilDiv(rows.end, kernel_.unit_h) * kernel_.unit_h};
    }
    Range groups(const Piece& p) const {
        return {p.b0 / kernel_.blocks_a_group, (p.b1 - 1) / kernel_.blocks_a_group + 1};
    }
    // Input positions along dimension d that the windows of some outputs reach; never empty.
    Range reach(const Range& outputs, size_t d) const {
        const Window& w = desc_.window;
        const int64_t first = outputs.begin * w.stride[d] - w.padding[d];
        const int64_t last =
            (outputs.end - 1) * w.stride[d] - w.padding[d] + (w.kernel[d] - 1) * w.dilation[d];
        const int64_t begin = std::clamp<int64_t>(first, 0, w.input[d] - 1);
        return {begin, std::clamp<int64_t>(last + 1, begin + 1, w.input[d])};
    }

    Box inputBox(const Piece& p) const {
        const int64_t group_in = desc_.in_channels / desc_.groups;
        const Range g = groups(p);
        return {Range{p.n0, p.n1}, Range{g.begin * group_in, g.end * group_in}, reach(outputDepth(p), 0),
                reach(unitRows(p), 1), Range{0, desc_.window.input[2]}};
    }
    int64_t blockChannel(int64_t block, bool end) const {
        const int64_t group_out = desc_.out_channels / desc_.groups;
        const int64_t in_group = (block % kernel_.blocks_a_group + (end ? 1 : 0)) * kernel_.block_channels;
        return block / kernel_.blocks_a_group * group_out + std::min(in_group, group_out);
    }
    Box outputBox(const Piece& p) const {
        return {Range{p.n0, p.n1}, Range{blockChannel(p.b0, false), blockChannel(p.b1 - 1, true)},
                outputDepth(p), outputRows(p), Range{0, desc_.window.output[2]}};
    }
    Range maskImages(const Piece& p) const { return mask_.batch == 1 ? Range{0, 1} : Range{p.n0, p.n1}; }

    Span ratioSpan(const Piece& p) const {
        const Dims3& o = desc_.window.output;
        const Range g = mask_.ratio_groups == 1              ? Range{0, 1}
                        : mask_.ratio_groups == desc_.groups ? groups(p)
                                                             : outputBox(p)[1];
        return span({maskImages(p), g, outputDepth(p), outputRows(p), Range{0, o[2]}},
                    {mask_.ratio_groups * volume(o), volume(o), o[1] * o[2], o[2], 1}, sizeof(float));
    }
    // In words; the packed planes of an image lie one after another.
    Span maskSpan(const Piece& p) const {
        if (mask_.planes == 0) return {};
        const Dims3& in = desc_.window.input;
        const Range z = reach(outputDepth(p), 0);
        const int64_t row = mask_.row_bytes / 4;
        return span({maskImages(p), Range{0, mask_.planes}, z,
                     z.size() > 1 ? Range{0, in[1]} : reach(unitRows(p), 1), Range{0, row}},
                    {mask_.planes * in[0] * in[1] * row, in[0] * in[1] * row, in[1] * row, row, 1}, 4);
    }
    Span weightSpan(const Piece& p) const { return {p.b0 * kernel_.block_bytes, p.b1 * kernel_.block_bytes}; }

    uint64_t work(const Piece& p) const {
        const uint64_t depth =
            static_cast<uint64_t>(desc_.in_channels / desc_.groups * volume(desc_.window.kernel));
        const auto outputs = static_cast<uint64_t>((p.q1 - p.q0) * kernel_.unit_h * desc_.window.output[2]);
        return depth * outputs *
               static_cast<uint64_t>((p.n1 - p.n0) * (p.b1 - p.b0) * kernel_.block_channels);
    }

    bool binds(const Span& bytes) const { return bytes.size() + limits_.alignment <= limits_.max_range; }

    // Whether cutting along rows cannot bring one image and group, or one block, into range.
    bool inputDetours(const Piece& p) const {
        const Piece least{p.n0, p.n0 + 1, p.b0, p.b0 + 1, p.q0, p.q0 + 1};
        return input_strides_[4] == 1 && !binds(span(inputBox(least), input_strides_, element_));
    }
    bool outputDetours(const Piece& p) const {
        const Piece least{p.n0, p.n0 + 1, p.b0, p.b0 + 1, p.q0, p.q0 + 1};
        return output_strides_[4] == 1 && !binds(span(outputBox(least), output_strides_, element_));
    }
    bool bindsCopy(const Piece& p, const Box& box) const {
        const int64_t bytes = box[1].size() * box[2].size() * box[3].size() * box[4].size() * element_;
        return p.n1 - p.n0 == 1 && binds({0, bytes}) && (bytes <= kScratchWish || p.q1 - p.q0 == 1);
    }

    Fit check(const Piece& p) const {
        const int64_t images = p.n1 - p.n0;
        const int64_t units = (p.q1 - p.q0) * kernel_.units_a_row * (kernel_.merges_images ? images : 1);
        Fit fit{};
        fit.input = inputDetours(p) ? groups(p).size() == 1 && bindsCopy(p, inputBox(p))
                                    : binds(span(inputBox(p), input_strides_, element_));
        fit.output = outputDetours(p) ? bindsCopy(p, outputBox(p))
                                      : binds(span(outputBox(p), output_strides_, element_));
        fit.weights = binds(weightSpan(p));
        fit.ratio = binds(ratioSpan(p));
        fit.mask = binds(maskSpan(p));
        fit.work = work(p) <= limits_.max_work;
        fit.groups_x = ceilDiv(units, kernel_.units_a_workgroup) <= limits_.max_groups[0];
        fit.groups_y = p.b1 - p.b0 <= limits_.max_groups[1];
        fit.groups_z = (kernel_.merges_images ? kernel_.parts : images) <= limits_.max_groups[2];
        return fit;
    }

    void split(const Piece& p) {
        const Fit fit = check(p);
        const bool many_blocks = p.b1 - p.b0 > 1;
        const bool many_groups = groups(p).size() > 1;
        const bool output_by_channels = output_strides_[1] > output_strides_[4];
        // What is more work than wanted in one dispatch but cannot be cut is emitted too.
        if (fit.all()) {  // NOLINT(bugprone-branch-clone)
            emit(p);
        } else if (p.n1 - p.n0 > 1) {
            const int64_t middle = (p.n0 + p.n1) / 2;
            split({p.n0, middle, p.b0, p.b1, p.q0, p.q1});
            split({middle, p.n1, p.b0, p.b1, p.q0, p.q1});
        } else if (many_blocks && (!fit.weights || !fit.groups_y || (!fit.input && many_groups) ||
                                   (!fit.output && output_by_channels) || p.q1 - p.q0 == 1)) {
            int64_t middle = (p.b0 + p.b1) / 2;
            const int64_t boundary = middle / kernel_.blocks_a_group * kernel_.blocks_a_group;
            if (boundary > p.b0) middle = boundary;
            split({p.n0, p.n1, p.b0, middle, p.q0, p.q1});
            split({p.n0, p.n1, middle, p.b1, p.q0, p.q1});
        } else if (p.q1 - p.q0 > 1) {
            // Between planes first: a box of rows of several planes must hold no others.
            int64_t middle = (p.q0 + p.q1) / 2;
            const int64_t boundary = middle / unit_rows_ * unit_rows_;
            if (boundary > p.q0) middle = boundary;
            split({p.n0, p.n1, p.b0, p.b1, p.q0, middle});
            split({p.n0, p.n1, p.b0, p.b1, middle, p.q1});
        } else if (fit.input && fit.output && fit.weights && fit.ratio && fit.mask && fit.groups_x) {
            emit(p);
        } else {
            fail(PCONV_ERROR_UNSUPPORTED, std::string("one row of ") +
                                              (!fit.input     ? "the input"
                                               : !fit.output  ? "the output"
                                               : !fit.weights ? "the weights"
                                               : !fit.ratio   ? "the ratio"
                                               : !fit.mask    ? "the mask"
                                                              : "outputs") +
                                              " is more than this device can bind at once, " +
                                              std::to_string(limits_.max_range) + " bytes");
        }
    }

    void emit(const Piece& p) {
        Chunk chunk;
        chunk.n0 = p.n0;
        chunk.n1 = p.n1;
        chunk.b0 = p.b0;
        chunk.b1 = p.b1;
        chunk.q0 = p.q0;
        chunk.q1 = p.q1;
        chunk.input = span(inputBox(p), input_strides_, element_);
        chunk.output = span(outputBox(p), output_strides_, element_);
        chunk.weights = weightSpan(p);
        chunk.ratio = ratioSpan(p);
        chunk.mask = maskSpan(p);
        chunk.work = work(p);
        if (inputDetours(p))
            detour(inputBox(p), input_strides_, chunk.input_detour, chunk.input, plan_.input_scratch);
        if (outputDetours(p))
            detour(outputBox(p), output_strides_, chunk.output_detour, chunk.output, plan_.output_scratch);
        plan_.chunks.push_back(std::move(chunk));
    }

    // Rows of every channel and plane, one after another; in such tensors rows themselves are contiguous.
    void detour(const Box& box, const std::array<int64_t, 5>& strides, Detour& detour, Span& bytes,
                int64_t& scratch) const {
        const int64_t rows = box[3].size();
        const int64_t width = box[4].size();
        detour.used = true;
        detour.strides = {0, box[2].size() * rows * width, rows * width, width, 1};
        for (size_t i = 1; i < 4; ++i) detour.origin -= box[i].begin * detour.strides[i];
        const bool whole = strides[3] == width;
        int64_t to = 0;
        for (int64_t c = box[1].begin; c < box[1].end; ++c)
            for (int64_t z = box[2].begin; z < box[2].end; ++z)
                for (int64_t y = box[3].begin; y < box[3].end; y += whole ? rows : 1) {
                    const int64_t from =
                        box[0].begin * strides[0] + c * strides[1] + z * strides[2] + y * strides[3];
                    const int64_t size = (whole ? rows : 1) * width * element_;
                    detour.regions.push_back({from * element_, to, size});
                    to += size;
                }
        bytes = {0, to};
        scratch = std::max(scratch, to);
    }

    const PartialConvDesc& desc_;
    std::array<int64_t, 5> input_strides_;
    std::array<int64_t, 5> output_strides_;
    PlanKernel kernel_;
    PlanMask mask_;
    PlanLimits limits_;
    int64_t element_;
    int64_t unit_rows_;
    Plan plan_;
};

}  // namespace

Plan planPartialConv(const PartialConvDesc& desc, const std::array<int64_t, 5>& input_strides,
                     const std::array<int64_t, 5>& output_strides, const PlanKernel& kernel,
                     const PlanMask& mask, const PlanLimits& limits) {
    return Planner(desc, input_strides, output_strides, kernel, mask, limits).run();
}

}  // namespace pconv::vulkan
