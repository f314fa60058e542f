#include "cpu/onednn/upsampled_conv.h"

#include <algorithm>

#include "cpu/element.h"
#include "cpu/onednn/partial_conv.h"
#include "cpu/parallel.h"
#include "cpu/passes/mask_planes.h"
#include "cpu/passes/passes.h"

namespace pconv::cpu {

namespace {

// With fewer elements a channel, reading the weights takes the time, of which there are more.
constexpr int64_t kLeastSmallPixels = 128;
constexpr int64_t kMostPhases = 16;
// Phases of so few channels together fill no more than one vector: they are convolved as one, in a window
// that holds all of theirs.
constexpr int64_t kChannelsOfAVector = 16;
constexpr double kMostOfTheWork = 0.8;

int64_t floorDivide(int64_t a, int64_t b) {
    return a >= 0 ? a / b : -((-a + b - 1) / b);
}

// Elements of the small tensor, counted from an output's own, on which taps of the window fall at a phase.
struct Reach {
    int64_t first, last;
};

Reach reachOf(const PartialConvDesc& desc, size_t d, int64_t phase) {
    const int64_t factor = desc.upsampled.factor[d];
    const int64_t first = phase - desc.window.padding[d];
    return {floorDivide(first, factor), floorDivide(first + desc.window.kernel[d] - 1, factor)};
}

std::vector<Dims3> allPhases(const Dims3& factor) {
    std::vector<Dims3> phases;
    forEachPosition(factor, [&](const Dims3& phase) { phases.push_back(phase); });
    return phases;
}

// The window over the small tensor that holds those of all `phases`.
Window smallWindow(const PartialConvDesc& desc, const std::vector<Dims3>& phases, const Dims3& small,
                   Dims3& first) {
    Window window;
    window.input = window.output = small;
    for (size_t d = 0; d < 3; ++d) {
        int64_t last = first[d] = 0;
        for (size_t i = 0; i < phases.size(); ++i) {
            const Reach reach = reachOf(desc, d, phases[i][d]);
            first[d] = i == 0 ? reach.first : std::min(first[d], reach.first);
            last = i == 0 ? reach.last : std::max(last, reach.last);
        }
        window.kernel[d] = last - first[d] + 1;
        window.padding[d] = -first[d];
    }
    return window;
}

bool merges(const PartialConvDesc& desc) {
    return volume(desc.upsampled.factor) * desc.out_channels <= kChannelsOfAVector;
}

int64_t index(const Dims3& at, const Dims3& size) {
    return (at[0] * size[1] + at[1]) * size[2] + at[2];
}

}  // namespace

bool upsamplingPays(const PartialConvDesc& desc) {
    const Window& w = desc.window;
    const Dims3& factor = desc.upsampled.factor;
    const int64_t phases = volume(factor);
    if (phases == 1 || phases > kMostPhases || desc.groups > 1) return false;
    if (desc.batch * volume(w.input) < phases * kLeastSmallPixels) return false;
    double work = 1;
    for (size_t d = 0; d < 3; ++d) {
        const bool centred = w.output[d] == w.input[d] && w.stride[d] == 1 && w.dilation[d] == 1;
        if (!centred || w.padding[d] >= w.kernel[d]) return false;
        int64_t taps = 0;
        for (int64_t phase = 0; phase < factor[d]; ++phase) {
            const Reach reach = reachOf(desc, d, phase);
            taps += reach.last - reach.first + 1;
        }
        work *= static_cast<double>(taps) / static_cast<double>(factor[d] * w.kernel[d]);
    }
    return work <= kMostOfTheWork;
}

OneDnnUpsampledConv::OneDnnUpsampledConv(CpuDevice& device, const PartialConvDesc& desc)
    : device_(device),
      desc_(desc),
      engine_(dnnl::engine::kind::cpu, 0),
      staging_(device, desc.data_type, std::max(desc.in_channels, desc.out_channels)) {
    for (size_t d = 0; d < 3; ++d) small_[d] = desc.window.input[d] / desc.upsampled.factor[d];
    const OneThread one;
    makeParts();
    cutIntoBoxes();
    for (Part& part : parts_) choosePrimitives(part);
    if (desc.has_bias || desc.maskedConvolution()) bias_.resize(static_cast<size_t>(desc.out_channels));
    reserveScratch();
    makeArguments();
}

void OneDnnUpsampledConv::makeParts() {
    if (desc_.in_channels > desc_.upsampled.channels) addRest();
    const std::vector<Dims3> phases = allPhases(desc_.upsampled.factor);
    if (merges(desc_)) return addPhases(phases);
    for (const Dims3& phase : phases) addPhases({phase});
}

void OneDnnUpsampledConv::addRest() {
    Part part{};
    part.first = desc_.upsampled.first == 0 ? desc_.upsampled.channels : 0;
    part.channels = desc_.in_channels - desc_.upsampled.channels;
    part.window = desc_.window;
    parts_.push_back(std::move(part));
}

void OneDnnUpsampledConv::addPhases(const std::vector<Dims3>& phases) {
    Part part{};
    part.phases = phases;
    part.first = desc_.upsampled.first;
    part.channels = desc_.upsampled.channels;
    Dims3 first{};
    part.window = smallWindow(desc_, phases, small_, first);
    const auto taps = static_cast<size_t>(volume(part.window.kernel));
    for (const Dims3& phase : phases) {
        const size_t begin = part.sources.size();
        part.sources.resize(begin + taps);
        forEachPosition(desc_.window.kernel, [&](const Dims3& tap) {
            Dims3 at{};
            for (size_t d = 0; d < 3; ++d)
                at[d] = floorDivide(phase[d] - desc_.window.padding[d] + tap[d], desc_.upsampled.factor[d]) -
                        first[d];
            part.sources[begin + static_cast<size_t>(index(at, part.window.kernel))].push_back(
                index(tap, desc_.window.kernel));
        });
    }
    parts_.push_back(std::move(part));
}

// By the costs of one convolution of the small tensor that loads and stores as much.
void OneDnnUpsampledConv::cutIntoBoxes() {
    const int64_t phases = volume(desc_.upsampled.factor);
    const bool has_rest = parts_[0].ofRest();
    PartialConvDesc like = desc_;
    like.upsampled = {};
    like.mask_type = MaskType::none;
    Dims3 first{};
    like.window = smallWindow(desc_, allPhases(desc_.upsampled.factor), small_, first);
    like.in_channels *= merges(desc_) ? 1 : phases;
    like.out_channels *= phases * (has_rest ? 2 : 1);
    Work work{};
    work.threads = device_.threads();
    work.convolutions = static_cast<int64_t>(parts_.size());
    for (const Part& part : parts_) work.weight_bytes += static_cast<int64_t>(weightBytes(part));
    for (const Box& like_box : makePlan(like, work).boxes) {
        const auto boxIn = [&](const Window& window, bool in_output) {
            Box box{};
            box.batch_begin = like_box.batch_begin;
            box.batch_size = like_box.batch_size;
            box.channel_size = desc_.out_channels;
            for (size_t d = 0; d < 3; ++d) {
                const int64_t factor = in_output ? desc_.upsampled.factor[d] : 1;
                box.spans[d] = spanOf(window, d, like_box.spans[d].output_begin * factor,
                                      like_box.spans[d].output_size * factor);
            }
            return box;
        };
        boxes_.push_back(boxIn(desc_.window, true));
        for (Part& part : parts_) part.boxes.push_back(boxIn(part.window, part.ofRest()));
    }
}

PlainConv OneDnnUpsampledConv::plainConv(const Part& part, const Box& box) const {
    return {box.batch_size, part.channels, desc_.out_channels * part.sets(), 1, box.spans, part.window};
}

void OneDnnUpsampledConv::choosePrimitives(Part& part) {
    const Box& largest =
        *std::max_element(part.boxes.begin(), part.boxes.end(), [](const Box& a, const Box& b) {
            return a.batch_size * a.outputPixels() < b.batch_size * b.outputPixels();
        });
    auto chosen = choosePrimitive(engine_, plainConv(part, largest));
    if (!chosen) fail(PCONV_ERROR_UNSUPPORTED, "oneDNN has no convolution of this shape");
    if (&part == &parts_[0]) {
        const bool last = desc_.output_layout == Layout::channels_last;
        const ScratchLayout of_tensor = last ? ScratchLayout::channels_last : ScratchLayout::planar;
        sum_layout_ = part.sets() == 1 ? chosen->output : of_tensor;
    }
    if (part.sets() == 1 && chosen->output != sum_layout_) {
        auto like_sum = choosePrimitive(engine_, plainConv(part, largest), chosen->input, sum_layout_);
        if (like_sum && like_sum->kernel == Kernel::vectors) chosen = like_sum;
    }
    part.input = chosen->input;
    part.output = chosen->output;
    part.user = plainConv(part, largest).userWeights();
    for (const Box& box : part.boxes) {
        const auto same = std::find_if(part.forms.begin(), part.forms.end(), [&](const Form& form) {
            return form.batch == box.batch_size && form.spans[0].sameForm(box.spans[0]) &&
                   form.spans[1].sameForm(box.spans[1]) && form.spans[2].sameForm(box.spans[2]);
        });
        part.form_of_box.push_back(static_cast<size_t>(same - part.forms.begin()));
        if (same == part.forms.end()) addForm(part, box);
    }
}

void OneDnnUpsampledConv::addForm(Part& part, const Box& box) {
    auto primitive = choosePrimitive(engine_, plainConv(part, box), part.input, part.output);
    if (!primitive) fail(PCONV_ERROR_UNSUPPORTED, "oneDNN has no convolution of this shape");
    const dnnl::memory::desc packed = primitive->desc.weights_desc();
    const auto same = std::find_if(part.packings.begin(), part.packings.end(),
                                   [&](const Packing& packing) { return packing.desc == packed; });
    const auto packing = static_cast<size_t>(same - part.packings.begin());
    if (same == part.packings.end())
        part.packings.push_back(
            {packed, Reorder(engine_, part.user, packed), device_.allocate(packed.get_size())});
    part.forms.push_back(
        {box.spans, box.batch_size, *primitive, dnnl::convolution_forward(primitive->desc), packing, {}});
}

size_t OneDnnUpsampledConv::weightBytes(const Part& part) const {
    return static_cast<size_t>(desc_.out_channels * part.sets() * part.channels *
                               volume(part.window.kernel)) *
           sizeof(float);
}

void OneDnnUpsampledConv::reserveScratch() {
    size_t weights = 0;
    for (const Part& part : parts_) {
        weights = std::max(weights, weightBytes(part));
        for (const Form& form : part.forms) {
            const auto& desc = form.primitive.desc;
            sizes_.input = std::max(sizes_.input, alignedSize(desc.src_desc().get_size()));
            size_t& output = part.ofRest() ? sizes_.sum : sizes_.partial;
            output = std::max(output, alignedSize(desc.dst_desc().get_size() + kReadSlack));
            sizes_.scratchpad = std::max(sizes_.scratchpad, alignedSize(desc.scratchpad_desc().get_size()));
        }
    }
    const int64_t block = blockOf(sum_layout_, desc_.out_channels);
    const int64_t padded = (desc_.out_channels + block - 1) / block * block;
    for (const Box& box : boxes_) {
        const auto floats = static_cast<size_t>(box.batch_size * padded * box.outputPixels());
        sizes_.sum = std::max(sizes_.sum, alignedSize(floats * sizeof(float) + kReadSlack));
    }
    const size_t threads = std::min(boxes_.size(), static_cast<size_t>(device_.threads()));
    scratch_ = Scratch(device_, std::max(sizes_.all() * threads, weights));
    planes_.assign(threads, std::vector<const void*>(static_cast<size_t>(desc_.in_channels)));
}

void OneDnnUpsampledConv::makeArguments() {
    for (size_t thread = 0; thread < planes_.size(); ++thread) {
        streams_.emplace_back(engine_);
        for (Part& part : parts_)
            for (Form& form : part.forms) {
                const auto& desc = form.primitive.desc;
                Arguments arguments{dnnl::memory(desc.src_desc(), engine_, nullptr),
                                    dnnl::memory(desc.dst_desc(), engine_, nullptr),
                                    dnnl::memory(desc.scratchpad_desc(), engine_, nullptr),
                                    {}};
                const Packing& packing = part.packings[form.packing];
                arguments.all = {
                    {DNNL_ARG_SRC, arguments.input},
                    {DNNL_ARG_DST, arguments.output},
                    {DNNL_ARG_WEIGHTS, dnnl::memory(packing.desc, engine_, packing.buffer->hostPointer())},
                    {DNNL_ARG_SCRATCHPAD, arguments.scratchpad}};
                form.arguments.push_back(std::move(arguments));
            }
    }
}

OneDnnUpsampledConv::Worker OneDnnUpsampledConv::workerOf(int thread) {
    const auto number = static_cast<size_t>(thread);
    char* input = scratch_.begin() + number * sizes_.all();
    char* partial = input + sizes_.input;
    char* sum = partial + sizes_.partial;
    return {number,
            reinterpret_cast<float*>(input),
            reinterpret_cast<float*>(partial),
            reinterpret_cast<float*>(sum),
            sum + sizes_.sum,
            planes_[number].data()};
}

// The weights as the part has them, before they are packed. Sums are rounded once.
void OneDnnUpsampledConv::writeWeights(const Part& part, const TensorRef& weight, float* to) const {
    const int64_t whole = volume(desc_.window.kernel);
    const int64_t taps = volume(part.window.kernel);
    const int64_t channels = desc_.out_channels;
    parallelFor(device_.threads(), channels * part.sets(), [&](int /*thread*/, int64_t row) {
        float* at = to + row * part.channels * taps;
        const int64_t from = (row % channels * desc_.in_channels + part.first) * whole;
        for (int64_t c = 0; c < part.channels; ++c)
            for (int64_t tap = 0; tap < taps; ++tap) {
                if (part.ofRest()) {
                    *at++ = static_cast<float>(load(weight, from + c * whole + tap));
                    continue;
                }
                double sum = 0;
                for (const int64_t source : part.sources[static_cast<size_t>(row / channels * taps + tap)])
                    sum += load(weight, from + c * whole + source);
                *at++ = static_cast<float>(sum);
            }
    });
}

void OneDnnUpsampledConv::setWeights(const TensorRef& weight, const TensorRef* bias) {
    loadAll(bias, bias_);
    auto* written = reinterpret_cast<float*>(scratch_.begin());
    for (const Part& part : parts_) {
        writeWeights(part, weight, written);
        const dnnl::memory from(part.user, engine_, written);
        for (const Packing& packing : part.packings)
            packing.reorder.run(engine_, from,
                                dnnl::memory(packing.desc, engine_, packing.buffer->hostPointer()));
    }
}

void OneDnnUpsampledConv::forward(const MaskUpdate& /*update*/, const TensorRef& /*input*/,
                                  const TensorRef& /*output*/) {
    fail(PCONV_ERROR_INTERNAL, "a convolution of upsampled channels was given them written out");
}

void OneDnnUpsampledConv::run(Part& part, size_t box, const Worker& worker, float* output) {
    Form& form = part.forms[part.form_of_box[box]];
    Arguments& arguments = form.arguments[worker.number];
    const auto point = [](dnnl::memory& at, void* to) {
        if (at.get_data_handle() != to) at.set_data_handle(to);
    };
    try {
        point(arguments.input, worker.input);
        point(arguments.output, output);
        point(arguments.scratchpad, worker.scratchpad);
        form.convolution.execute(streams_[worker.number], arguments.all);
        streams_[worker.number].wait();
    } catch (const dnnl::error& error) {
        failFrom(error);
    }
}

// Puts what one phase gives to its places in the sum.
void OneDnnUpsampledConv::addPhase(const Part& part, size_t set, size_t box_index, const Worker& worker,
                                   bool adds) const {
    const Box& from = part.boxes[box_index];
    const Box& to = boxes_[box_index];
    const Dims3& factor = desc_.upsampled.factor;
    const Dims3& phase = part.phases[set];
    const int64_t from_channels = desc_.out_channels * part.sets();
    const int64_t from_block = blockOf(part.output, from_channels);
    const int64_t to_block = blockOf(sum_layout_, desc_.out_channels);
    const int64_t from_padded = (from_channels + from_block - 1) / from_block * from_block;
    const int64_t to_padded = (desc_.out_channels + to_block - 1) / to_block * to_block;
    const bool alike = from_block == to_block && part.sets() == 1;
    SpreadRun run{};
    run.from_step = from_block;
    run.to_step = to_block * factor[2];
    run.width = alike ? to_block : 1;
    run.pixels = from.spans[2].output_size;
    run.add = adds;
    for (int64_t n = 0; n < from.batch_size; ++n)
        for (int64_t c = 0; c < desc_.out_channels; c += run.width) {
            const int64_t set_channel = static_cast<int64_t>(set) * desc_.out_channels + c;
            const float* source = worker.partial + n * from_padded * from.outputPixels() +
                                  set_channel / from_block * from_block * from.outputPixels() +
                                  set_channel % from_block;
            float* sum = worker.sum + n * to_padded * to.outputPixels() +
                         c / to_block * to_block * to.outputPixels() + c % to_block;
            for (int64_t d = 0; d < from.spans[0].output_size; ++d)
                for (int64_t h = 0; h < from.spans[1].output_size; ++h) {
                    run.from = source + (d * from.spans[1].output_size + h) * run.pixels * from_block;
                    const int64_t row =
                        (d * factor[0] + phase[0]) * to.spans[1].output_size + h * factor[1] + phase[1];
                    run.to = sum + (row * to.spans[2].output_size + phase[2]) * to_block;
                    passes().spread(run);
                }
        }
}

void OneDnnUpsampledConv::forwardUpsampled(const MaskUpdate& any_update, const TensorRef& small,
                                           const TensorRef& rest, const TensorRef& output) {
    const auto& update = static_cast<const CpuMaskUpdate&>(any_update);
    const MaskType mask = desc_.maskInput() ? desc_.mask_type : MaskType::none;
    const bool one_plane = hasOnePlane(desc_, update.form());
    parallelFor(device_.threads(), static_cast<int64_t>(boxes_.size()), [&](int thread, int64_t i) {
        const auto b = static_cast<size_t>(i);
        if (allHoles(desc_, update, boxes_[b])) return zeroBox(output, boxes_[b]);
        const Worker worker = workerOf(thread);
        const OneThread one;
        for (Part& part : parts_) {
            const bool of_rest = part.ofRest();
            loadBox({of_rest ? rest : small, 0, part.channels, part.first, update,
                     of_rest ? mask : MaskType::none, one_plane, part.input},
                    part.boxes[b], worker.input, worker.planes, staging_, thread);
            run(part, b, worker, of_rest ? worker.sum : worker.partial);
            for (size_t set = 0; set < part.phases.size(); ++set)
                addPhase(part, set, b, worker, parts_[0].ofRest());
        }
        storeBox({output, 0, desc_.out_channels, desc_, update, bias_, sum_layout_}, boxes_[b], worker.sum,
                 staging_, thread);
    });
}

}  // namespace pconv::cpu
