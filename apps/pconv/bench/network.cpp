#include "bench/network.h"

#include "bench/operands.h"

namespace pconv::app {
namespace {

// A network keeps 16 recorded passes: one of either kind for each set.
constexpr std::size_t kMostSets = 8;

/// Gives every convolution of the row its weight and bias, which need not outlive the call.
template <typename SetWeights>
void setAllWeights(const BenchDevice& bench, const SeedRow& row, const SetWeights& set_weights) {
    for (std::size_t i = 0; i < row.steps.size(); ++i) {
        if (row.steps[i].upsample) continue;
        const auto seed = static_cast<std::uint32_t>(2 * i + 1);
        const Tensor weight = bench.randomTensor(row.weightDimsOf(i), seed);
        std::optional<Tensor> bias;
        if (row.steps[i].bias) bias.emplace(bench.randomTensor({row.steps[i].out_channels}, seed + 1));
        set_weights(i, weight.view(), bias ? &bias->view() : nullptr);
        bench.device().wait();
    }
}

Network makeNetwork(const BenchDevice& bench, const SeedRow& row, bool plain) {
    std::vector<PconvLayer> layers;
    for (std::size_t i = 0; i < row.steps.size(); ++i) {
        const SeedStep& step = row.steps[i];
        PconvLayer layer = pconvDefaultLayer(row.spatialDims());
        if (step.upsample) {
            layer.type = PCONV_LAYER_TYPE_UPSAMPLE;
            for (std::size_t d = 0; d < row.size.size(); ++d) layer.factor[d] = step.factor[d];
        } else {
            layer.conv = row.convOf(i);
            if (!bench.settings().implementation.empty())
                layer.conv.implementation = bench.settings().implementation.c_str();
            if (plain) layer.conv = plainDesc(layer.conv);
        }
        layers.push_back(layer);
    }
    PconvNetworkDesc desc = pconvDefaultNetworkDesc(row.spatialDims());
    desc.batch = row.batch;
    desc.channels = row.channels;
    for (std::size_t d = 0; d < row.size.size(); ++d) desc.size[d] = row.size[d];
    desc.data_type = bench.settings().data_type;
    desc.layout = bench.settings().layout;
    desc.math = bench.settings().math;
    desc.mask_type = plain || row.mask == "none" ? PCONV_MASK_TYPE_NONE : PCONV_MASK_TYPE_BINARY;
    desc.mask_batch = row.batch;
    desc.layer_count = static_cast<int32_t>(layers.size());
    desc.layers = layers.data();
    Network network(bench.device(), desc);
    setAllWeights(bench, row, [&](std::size_t layer, const PconvTensor& weight, const PconvTensor* bias) {
        network.setWeights(static_cast<int32_t>(layer), weight, bias);
    });
    return network;
}

/// The convolutions of a row, each called by itself, with tensors of their own between them.
class LayerByLayer {
  public:
    LayerByLayer(const BenchDevice& bench, const SeedRow& row, const Tensor& planes) {
        convs_.reserve(row.steps.size());
        PconvTensor plane = planes.view();
        for (std::size_t i = 0; i < row.steps.size(); ++i) {
            PartialConvDesc desc = row.convOf(i);
            bench.apply(desc);
            desc.input_is_masked = i > 0 ? 1 : 0;
            convs_.emplace_back(bench.device(), desc);
            updates_.emplace_back(bench.device(), desc, Mask(plane));
            plane = updates_.back().updatedMask();
            if (i + 1 < row.steps.size()) between_.push_back(bench.tensor(row.inputDimsOf(i + 1)));
        }
        for (const Tensor& tensor : between_) views_.push_back(bench.inLayout(tensor));
        setAllWeights(bench, row, [&](std::size_t layer, const PconvTensor& weight, const PconvTensor* bias) {
            if (bias != nullptr)
                convs_[layer].setWeights(weight, *bias);
            else
                convs_[layer].setWeights(weight);
        });
    }
    void run(const OperandSet& set) {
        for (std::size_t i = 0; i < convs_.size(); ++i) {
            updates_[i].compute(Mask(i == 0 ? set.planes->view() : updates_[i - 1].updatedMask()));
            convs_[i].forward(updates_[i], i == 0 ? set.input_view : views_[i - 1],
                              i + 1 == convs_.size() ? set.output_view : views_[i]);
        }
    }

  private:
    std::vector<PartialConv> convs_;
    std::vector<MaskUpdate> updates_;
    std::vector<Tensor> between_;
    std::vector<PconvTensor> views_;
};

/// The rows that serve, each once.
std::string implementationsOf(const Network& network, const SeedRow& row) {
    std::string names;
    for (std::size_t i = 0; i < row.steps.size(); ++i) {
        if (row.steps[i].upsample) continue;
        const std::string name = network.implementation(static_cast<int32_t>(i));
        if (names.find(name) == std::string::npos) names += (names.empty() ? "" : "+") + name;
    }
    return names;
}

void measure(BenchDevice& bench, RowResult& result) {
    const SeedRow& row = result.row;
    Footprint& footprint = result.footprint;
    if (bench.settings().backward) throw Error(PCONV_ERROR_UNSUPPORTED, "networks have no backward pass");
    result.sets = std::min(
        kMostSets, bench.setsFor(footprint.input_bytes + footprint.output_bytes + footprint.mask_bytes,
                                 footprint.weight_bytes));
    const int64_t before = bench.memory().now();
    std::vector<OperandSet> sets;
    sets.reserve(result.sets);
    sets.emplace_back(bench, row, 1);
    const Network network = makeNetwork(bench, row, false);
    result.implementation = implementationsOf(network, row);
    const auto changed = [&](std::size_t set) {
        network.forward(sets[set].input_view, sets[set].planes->view(), sets[set].output_view);
    };
    bench.memory().restart();
    changed(0);
    bench.device().wait();
    footprint.peak_bytes = bench.memory().peak() - before;

    while (sets.size() < result.sets)
        sets.emplace_back(bench, row, static_cast<std::uint32_t>(sets.size() + 1));
    std::vector<Contender> contenders;
    contenders.push_back({changed, {}});
    contenders.push_back(
        {[&](std::size_t set) { network.forward(sets[set].input_view, sets[set].output_view); }, {}});
    const auto plain = plainContender(result, [&] {
        auto made = std::make_unique<Network>(makeNetwork(bench, row, true));
        result.plain_implementation = implementationsOf(*made, row);
        return made;
    });
    std::optional<std::size_t> plain_at;
    if (plain != nullptr) {
        plain_at = contenders.size();
        contenders.push_back(
            {[&](std::size_t set) { plain->forward(sets[set].input_view, sets[set].output_view); }, {}});
    }
    std::optional<LayerByLayer> layers;
    if (!row.hasUpsampling()) {
        layers.emplace(bench, row, *sets[0].planes);
        contenders.push_back({[&](std::size_t set) { layers->run(sets[set]); }, {}});
    }
    result.sets = timeInTurn(bench.device(), contenders, result.sets, bench.settings().budget);
    result.each_mask = contenders[0].timing;
    result.reused = contenders[1].timing;
    if (plain_at) result.plain = contenders[*plain_at].timing;
    if (layers) result.layer_by_layer = contenders.back().timing;
}

}  // namespace

RowResult measureNetwork(BenchDevice& bench, const SeedRow& row) {
    return resultOf(bench, row, measure);
}

}  // namespace pconv::app
