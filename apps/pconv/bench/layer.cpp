#include "bench/operands.h"

namespace pconv::app {
namespace {

/// Weight and bias, or their gradients.
struct Parameters {
    Parameters(const BenchDevice& bench, const SeedRow& row)
        : weight(bench.randomTensor(row.weightDimsOf(0), 1)) {
        if (row.steps[0].bias) bias.emplace(bench.randomTensor({row.steps[0].out_channels}, 2));
    }
    Tensor weight;
    std::optional<Tensor> bias;
};

/// A convolution with its weights, and a mask update for each set: a changed mask is another set's.
class LayerCalls {
  public:
    LayerCalls(const BenchDevice& bench, const PconvPartialConvDesc& desc, const SeedRow& row,
               const std::vector<OperandSet>& sets)
        : bench_(bench), desc_(desc), sets_(sets), conv_(bench.device(), desc) {
        {
            const Parameters parameters(bench, row);
            if (parameters.bias)
                conv_.setWeights(parameters.weight.view(), parameters.bias->view());
            else
                conv_.setWeights(parameters.weight.view());
            bench.device().wait();
        }
        if (bench.settings().backward) gradients_.emplace(bench, row);
    }
    std::string implementation() const { return conv_.implementation(); }
    void computeMask(std::size_t set) {
        while (updates_.size() <= set) makeUpdate();
        if (desc_.mask_type != PCONV_MASK_TYPE_NONE) updates_[set].compute(Mask(sets_[set].planes->view()));
    }
    void run(std::size_t set) {
        while (updates_.size() <= set) makeUpdate();
        const OperandSet& on = sets_[set];
        conv_.forward(updates_[set], on.input_view, on.output_view);
        if (gradients_)
            conv_.backward(updates_[set], on.input_view, on.grad_output_view, &on.grad_input_view,
                           &gradients_->weight.view(),
                           gradients_->bias ? &gradients_->bias->view() : nullptr);
    }

  private:
    void makeUpdate() {
        if (desc_.mask_type == PCONV_MASK_TYPE_NONE)
            updates_.emplace_back(bench_.device(), desc_);
        else
            updates_.emplace_back(bench_.device(), desc_, Mask(sets_[updates_.size()].planes->view()));
    }
    const BenchDevice& bench_;
    PconvPartialConvDesc desc_;
    const std::vector<OperandSet>& sets_;
    PartialConv conv_;
    std::vector<MaskUpdate> updates_;
    std::optional<Parameters> gradients_;
};

int64_t setBytes(const BenchDevice& bench, const Footprint& footprint) {
    const int64_t forward = footprint.input_bytes + footprint.output_bytes;
    return forward * (bench.settings().backward ? 2 : 1) + footprint.mask_bytes;
}

void measure(BenchDevice& bench, RowResult& result) {
    const SeedRow& row = result.row;
    Footprint& footprint = result.footprint;
    if (bench.settings().backward) {
        footprint.input_bytes *= 2;  // with the gradients
        footprint.output_bytes *= 2;
        footprint.weight_bytes *= 2;
        footprint.operations *= 3;
    }
    result.sets = bench.setsFor(setBytes(bench, footprintOf(bench, row)), footprint.weight_bytes);
    PartialConvDesc desc = row.convOf(0);
    bench.apply(desc);
    if (row.mask == "none") desc.mask_type = PCONV_MASK_TYPE_NONE;

    const int64_t before = bench.memory().now();
    std::vector<OperandSet> sets;
    sets.reserve(result.sets);
    sets.emplace_back(bench, row, 1);
    LayerCalls partial(bench, desc, row, sets);
    result.implementation = partial.implementation();
    partial.computeMask(0);
    bench.device().wait();
    bench.memory().restart();
    partial.run(0);
    bench.device().wait();
    footprint.peak_bytes = bench.memory().peak() - before;

    while (sets.size() < result.sets)
        sets.emplace_back(bench, row, static_cast<std::uint32_t>(sets.size() + 1));
    const auto plain = plainContender(
        result, [&] { return std::make_unique<LayerCalls>(bench, plainDesc(desc), row, sets); });
    std::vector<Contender> contenders;
    contenders.push_back({[&](std::size_t set) {
                              partial.computeMask(set);
                              partial.run(set);
                          },
                          {}});
    contenders.push_back({[&](std::size_t set) { partial.run(set); }, {}});
    if (plain != nullptr) {
        result.plain_implementation = plain->implementation();
        contenders.push_back({[&](std::size_t set) { plain->run(set); }, {}});
    }
    result.sets = timeInTurn(bench.device(), contenders, result.sets, bench.settings().budget);
    result.each_mask = contenders[0].timing;
    result.reused = contenders[1].timing;
    if (plain != nullptr) result.plain = contenders[2].timing;
}

}  // namespace

Footprint footprintOf(const BenchDevice& bench, const SeedRow& row) {
    const auto size = static_cast<int64_t>(sizeOf(bench.settings().data_type));
    Footprint footprint;
    footprint.input_bytes = elementCount(row.inputDims()) * size;
    footprint.output_bytes = elementCount(row.outputDims()) * size;
    for (std::size_t i = 0; i < row.steps.size(); ++i) {
        if (row.steps[i].upsample) continue;
        const int64_t bias = row.steps[i].bias ? row.steps[i].out_channels : 0;
        footprint.weight_bytes += (elementCount(row.weightDimsOf(i)) + bias) * size;
    }
    for (std::size_t i = 0; i < row.steps.size(); ++i) {
        const int64_t from = i > 0 ? elementCount(row.inputDimsOf(i)) : 0;
        const int64_t to = i + 1 < row.steps.size() ? elementCount(row.inputDimsOf(i + 1)) : 0;
        footprint.between_bytes = std::max(footprint.between_bytes, (from + to) * size);
    }
    if (row.mask != "none") footprint.mask_bytes = elementCount(seedMaskDims(row));
    footprint.operations = row.operations();
    return footprint;
}

std::optional<Tensor> maskPlanes(const BenchDevice& bench, const SeedRow& row, std::uint32_t seed) {
    if (row.mask == "none") return std::nullopt;
    return Tensor(bench.device(), seedMaskDims(row), seedMask(row, seed));
}

RowResult measureLayer(BenchDevice& bench, const SeedRow& row) {
    return resultOf(bench, row, measure);
}

Timing measurePlain(BenchDevice& bench, const SeedRow& row) {
    const Footprint footprint = footprintOf(bench, row);
    const std::size_t count = bench.setsFor(setBytes(bench, footprint), footprint.weight_bytes);
    PartialConvDesc desc = row.convOf(0);
    bench.apply(desc);
    std::vector<OperandSet> sets;
    sets.reserve(count);
    while (sets.size() < count) sets.emplace_back(bench, row, static_cast<std::uint32_t>(sets.size() + 1));
    LayerCalls plain(bench, plainDesc(desc), row, sets);
    std::vector<Contender> contenders(1);
    contenders[0].call = [&](std::size_t set) { plain.run(set); };
    timeInTurn(bench.device(), contenders, count, bench.settings().budget);
    return contenders[0].timing;
}

}  // namespace pconv::app
