// cpu:onednn, the fast path. oneDNN convolves in a layout of its own, so the input is copied in any case: the
// mask goes into that copy, and ratio, bias, updated mask and activation into the copy out. Both stay in
// cache where each thread does one box of the output at a time. Here the boxes and their primitives are made.
#include "cpu/onednn/partial_conv.h"

#include <algorithm>

#include "cpu/direct/direct_conv.h"
#include "cpu/element.h"
#include "cpu/onednn/upsampled_conv.h"
#include "cpu/passes/half_rows.h"
#include "cpu/passes/mask_window.h"
#include "cpu/passes/masked_conv_mask.h"
#include "cpu/passes/passes.h"
#include "cpu/winograd/winograd_conv.h"

namespace pconv::cpu {

namespace {

// The widest block of channels that oneDNN has.
constexpr int64_t kChannelGrain = 16;
constexpr int64_t kManyChannels = 128;

}  // namespace

OneDnnPartialConv::OneDnnPartialConv(CpuDevice& device, const PartialConvDesc& desc)
    : device_(device), desc_(desc), engine_(dnnl::engine::kind::cpu, 0) {
    plan();
    if (plan_.any_live || desc.training)
        staging_ = Staging(device, desc.data_type, std::max(desc.in_channels, desc.out_channels));
    if (desc.training)
        backward_ =
            std::make_unique<OneDnnBackward>(device, desc, plan_.any_live ? &plan_.live : nullptr, staging_);
    const auto channels = static_cast<size_t>(desc.out_channels);
    if (desc.has_bias || desc.maskedConvolution()) bias_.resize(channels);
    if (desc.maskedConvolution() && desc.mask_type == MaskType::none) margin_.resize(channels);
    if (!plan_.any_live) return;
    makeWorkers();
    if (desc.data_type != DataType::f32)
        wide_weights_ = device.allocate(static_cast<size_t>(weightCount()) * sizeof(float));
}

PlainConv OneDnnPartialConv::plainConv(const Box& box) const {
    return {box.batch_size, inChannels(), outChannels(box), desc_.groups / separate_groups_,
            box.spans,      desc_.window};
}

// Whole vectors of channels, or whole groups where these are convolved one after another.
int64_t OneDnnPartialConv::channelGrain() const {
    if (separate_groups_ > 1) return desc_.out_channels / separate_groups_;
    return desc_.groups > 1 ? 0 : kChannelGrain;
}

// Its older kernels for AVX2, those that are no batches of matrix products, take up to twice as long with
// channels-last tensors of many channels, and with strides, as with blocks, copies included.
bool OneDnnPartialConv::keepsPaceChannelsLast(const Primitive& primitive) const {
    const std::string name = primitive.desc.impl_info_str();
    if (name.find("avx2") == std::string::npos || name.find("brg") != std::string::npos) return true;
    const Dims3& stride = desc_.window.stride;
    return inChannels() < kManyChannels && stride[0] * stride[1] * stride[2] == 1;
}

void OneDnnPartialConv::plan() {
    Work work{};
    work.threads = device_.threads();
    work.weight_bytes = weightCount() * static_cast<int64_t>(sizeof(float));
    work.channel_grain = channelGrain();
    plan_ = makePlan(desc_, work);
    if (!plan_.any_live) return;

    const OneThread one;
    std::optional<Primitive> chosen;
    const auto largest = [&] {
        return *std::max_element(plan_.boxes.begin(), plan_.boxes.end(), [](const Box& a, const Box& b) {
            return a.batch_size * a.outputPixels() < b.batch_size * b.outputPixels();
        });
    };
    if (desc_.input_layout == Layout::channels_last && desc_.output_layout == Layout::channels_last) {
        // A layout of the tensors' own needs no copies, which is worth more than oneDNN's preference.
        chosen = choosePrimitive(engine_, plainConv(largest()), ScratchLayout::channels_last,
                                 ScratchLayout::channels_last);
        if (chosen && !(chosen->kernel == Kernel::vectors && keepsPaceChannelsLast(*chosen))) chosen.reset();
    }
    if (!chosen) {
        chosen = choosePrimitive(engine_, plainConv(largest()));
        if (desc_.groups > 1 && !(chosen && chosen->kernel == Kernel::vectors)) {
            separate_groups_ = desc_.groups;
            auto single = choosePrimitive(engine_, plainConv(largest()));
            if (single && (!chosen || single->kernel > chosen->kernel)) {
                chosen = single;
                work.channel_grain = channelGrain();
                work.own_inputs = true;
                plan_ = makePlan(desc_, work);
            } else {
                separate_groups_ = 1;
            }
        }
    }
    if (!chosen) fail(PCONV_ERROR_UNSUPPORTED, "oneDNN has no convolution of this shape");
    input_layout_ = chosen->input;
    output_layout_ = chosen->output;
    for (const Box& box : plan_.boxes) {
        addForm(box);
        most_outputs_ = std::max(most_outputs_, box.batch_size * box.outputPixels());
    }
    if (plan_.hasCells()) addCellForms();
    allocatePackings();
}

size_t OneDnnPartialConv::formOf(const Box& box) const {
    const auto same =
        std::find_if(forms_.begin(), forms_.end(), [&](const Form& form) { return form.box.sameForm(box); });
    return static_cast<size_t>(same - forms_.begin());
}

void OneDnnPartialConv::addForm(const Box& box) {
    if (formOf(box) < forms_.size()) return;
    auto primitive = choosePrimitive(engine_, plainConv(box), input_layout_, output_layout_);
    if (!primitive) fail(PCONV_ERROR_UNSUPPORTED, "oneDNN has no convolution of this shape");
    const size_t weights = packingFor(box, *primitive);
    forms_.push_back({box, *primitive, dnnl::convolution_forward(primitive->desc), weights});
}

// Of every number of cells in a row that there may be, at every place.
void OneDnnPartialConv::addCellForms() {
    std::vector<Box> seen;
    for (const Box& box : plan_.boxes) {
        bands_.push_back(bandsOf(desc_.window, box, plan_.cell));
        for (const Box& band : bands_.back()) {
            if (std::any_of(seen.begin(), seen.end(), [&](const Box& b) { return b.sameForm(band); }))
                continue;
            seen.push_back(band);
            const int64_t cells = cellsIn(band, plan_.cell);
            for (size_t k = 0; k < plan_.run_cost.size(); ++k)
                for (int64_t first = 0; first + (int64_t{1} << k) <= cells; ++first)
                    addForm(cellsOf(desc_.window, band, plan_.cell, first, int64_t{1} << k));
        }
    }
}

size_t OneDnnPartialConv::mostTasks() const {
    size_t count = plan_.boxes.size();
    for (const auto& bands : bands_)
        for (const Box& band : bands) count += static_cast<size_t>(cellsIn(band, plan_.cell));
    return count;
}

size_t OneDnnPartialConv::packingFor(const Box& box, const Primitive& primitive) {
    const dnnl::memory::desc packed = primitive.desc.weights_desc();
    const int64_t size = outChannels(box);
    for (size_t i = 0; i < packings_.size(); ++i)
        if (packings_[i].desc == packed && packings_[i].size == size) return i;
    Packing packing;
    packing.user = plainConv(box).userWeights();
    packing.desc = packed;
    packing.reorder = Reorder(engine_, packing.user, packed);
    packing.first = separate_groups_ > 1 ? 0 : box.channel_begin;
    packing.size = size;
    packings_.push_back(packing);
    return packings_.size() - 1;
}

// A size that does not divide the channels has the last of them alone.
void OneDnnPartialConv::allocatePackings() {
    for (Packing& packing : packings_) {
        const size_t bytes = alignedSize(packing.desc.get_size());
        const int64_t parts = (desc_.out_channels - packing.first) / packing.size;
        packing.buffer = device_.allocate(bytes * static_cast<size_t>(parts));
        for (int64_t i = 0; i < parts; ++i)
            packing.weights.emplace_back(
                packing.desc, engine_,
                static_cast<char*>(packing.buffer->hostPointer()) + static_cast<size_t>(i) * bytes);
    }
}

ScratchSizes OneDnnPartialConv::scratchSizes() const {
    ScratchSizes sizes{};
    for (const Form& form : forms_) {
        const auto& desc = form.primitive.desc;
        sizes.input = std::max(sizes.input, desc.src_desc().get_size());
        sizes.output = std::max(sizes.output, desc.dst_desc().get_size());
        sizes.scratchpad = std::max(sizes.scratchpad, desc.scratchpad_desc().get_size());
    }
    return {alignedSize(sizes.input), alignedSize(sizes.output + kReadSlack), alignedSize(sizes.scratchpad)};
}

void OneDnnPartialConv::makeWorkers() {
    tasks_.reserve(mostTasks());
    const size_t count = std::min(mostTasks(), static_cast<size_t>(device_.threads()));
    const ScratchSizes sizes = scratchSizes();
    scratch_ = Scratch(device_, count * sizes.all());
    for (size_t i = 0; i < count; ++i) workers_.push_back(workerWith(sizes, i));
}

Worker OneDnnPartialConv::workerWith(const ScratchSizes& sizes, size_t number) const {
    Worker worker{};
    worker.thread = static_cast<int>(number);
    worker.offset = number * sizes.all();
    worker.sizes = sizes;
    worker.stream = dnnl::stream(engine_);
    worker.planes.resize(static_cast<size_t>(desc_.in_channels));
    for (const Form& form : forms_) {
        const auto& desc = form.primitive.desc;
        Worker::Arguments arguments;
        arguments.input = dnnl::memory(desc.src_desc(), engine_, nullptr);
        arguments.output = dnnl::memory(desc.dst_desc(), engine_, nullptr);
        arguments.all = {{DNNL_ARG_SRC, arguments.input},
                         {DNNL_ARG_DST, arguments.output},
                         {DNNL_ARG_WEIGHTS, packings_[form.weights].weights[0]},
                         {DNNL_ARG_SCRATCHPAD, dnnl::memory(desc.scratchpad_desc(), engine_, nullptr)}};
        worker.arguments.push_back(std::move(arguments));
    }
    return worker;
}

void OneDnnPartialConv::followScratch() {
    if (scratch_begin_ == scratch_.begin()) return;
    scratch_begin_ = scratch_.begin();
    for (Worker& worker : workers_) {
        char* at = scratch_begin_ + worker.offset;
        worker.input = reinterpret_cast<float*>(at);
        worker.output = reinterpret_cast<float*>(at + worker.sizes.input);
        for (Worker::Arguments& arguments : worker.arguments)
            arguments.all.at(DNNL_ARG_SCRATCHPAD)
                .set_data_handle(at + worker.sizes.input + worker.sizes.output);
    }
}

void OneDnnPartialConv::setBias(const TensorRef* bias) {
    loadAll(bias, bias_);
    for (size_t c = 0; c < margin_.size(); ++c)
        margin_[c] = static_cast<float>(activate(static_cast<double>(bias_[c]), desc_));
}

void OneDnnPartialConv::setWeights(const TensorRef& weight, const TensorRef* bias) {
    setBias(bias);
    if (!plan_.any_live) return;
    auto* weights = pointer<float>(weight);
    if (wide_weights_) {
        weights = static_cast<float*>(wide_weights_->hostPointer());
        widenRow(weight.data_type, weights, pointer<uint16_t>(weight), weightCount());
    }
    const int64_t of_channel = weightCount() / desc_.out_channels;
    for (const Packing& packing : packings_)
        parallelFor(device_.threads(), static_cast<int64_t>(packing.weights.size()),
                    [&](int /*thread*/, int64_t i) {
                        float* part = weights + (packing.first + i * packing.size) * of_channel;
                        packing.reorder.run(engine_, dnnl::memory(packing.user, engine_, part),
                                            packing.weights[static_cast<size_t>(i)]);
                    });
    if (backward_) backward_->setWeights(weights);
}

void OneDnnPartialConv::backward(const MaskUpdate& update, const TensorRef& input,
                                 const TensorRef& grad_output, const Gradients& gradients) {
    backward_->run(static_cast<const CpuMaskUpdate&>(update), input, grad_output, gradients);
}

namespace {

std::unique_ptr<PartialConv> makeOneDnnConv(CpuDevice& device, const PartialConvDesc& desc) {
    if (desc.upsampled.channels > 0) return std::make_unique<OneDnnUpsampledConv>(device, desc);
    return std::make_unique<OneDnnPartialConv>(device, desc);
}

std::unique_ptr<PartialConv> makeWinogradConv(CpuDevice& device, const PartialConvDesc& desc) {
    std::unique_ptr<PartialConv> direct;
    if (WinogradConv::mayBeSparse(desc)) direct = makeOneDnnConv(device, desc);
    return std::make_unique<WinogradConv>(device, desc, std::move(direct));
}

class OneDnn final : public Implementation {
  public:
    OneDnn() : Implementation("cpu:onednn") {}
    bool trains() const override { return true; }
    bool masksConvolutions() const override { return true; }
    bool supports(const Device& /*device*/, const PartialConvDesc& /*desc*/,
                  std::string& /*reason*/) const override {
        return true;
    }
    bool fusesUpsampling(const PartialConvDesc& desc) const override {
        return winogradPays(desc) || upsamplingPays(desc);
    }
    // Whether windows are too sparse for Winograd is told by it.
    bool leavesOutWindowSum(const PartialConvDesc& desc) const override {
        return !(winogradPays(desc) && WinogradConv::mayBeSparse(desc));
    }
    std::unique_ptr<MaskUpdate> makeMaskUpdate(Device& device, const PartialConvDesc& desc,
                                               const MaskForm& form,
                                               const MaskPlanes& results) const override {
        auto& cpu = static_cast<CpuDevice&>(device);
        if (desc.maskedConvolution()) return std::make_unique<MaskedConvMaskUpdate>(cpu, desc, form, results);
        return std::make_unique<WindowMaskUpdate>(cpu, desc, form, results);
    }
    std::unique_ptr<PartialConv> makePartialConv(Device& device, const PartialConvDesc& desc) const override {
        try {
            auto& cpu = static_cast<CpuDevice&>(device);
            if (directPays(desc, cpu.threads())) return std::make_unique<DirectConv>(cpu, desc);
            if (winogradPays(desc)) return makeWinogradConv(cpu, desc);
            return makeOneDnnConv(cpu, desc);
        } catch (const dnnl::error& error) {
            failFrom(error);
        }
    }
};

}  // namespace

const Implementation& cpuOnednn() {
    static const OneDnn row;
    return row;
}

}  // namespace pconv::cpu
