#include "conformance/execution.h"

#include "core/half.h"

namespace pconv::test {

namespace {

// Around inputs, another: where it is read into the arithmetic the output holds it, written.
constexpr uint32_t kInputPoison = 0x7FC0BEEF;
// Around planes of U8: what is not read cannot count as valid.
constexpr uint8_t kPlanePoison = 0xA5;
// Not a number in both 16-bit types, that no conversion makes: the same two uses.
constexpr uint16_t kHalfInputPoison = 0x7FEE;
constexpr uint16_t kHalfPoison = 0x7FDE;

bool isHalf(PconvDataType type) {
    return type == PCONV_DATA_TYPE_F16 || type == PCONV_DATA_TYPE_BF16;
}

std::vector<uint32_t> bitsOf(const std::vector<float>& values) {
    std::vector<uint32_t> bits(values.size());
    std::memcpy(bits.data(), values.data(), 4 * values.size());
    return bits;
}

// Any number but 0 stands for 1.
uint8_t planeByte(float value, size_t i) {
    return value != 0 ? static_cast<uint8_t>(1 + i * 37 % 255) : uint8_t{0};
}

}  // namespace

Execution::Execution(const Row& row, const Problem& problem, const Placement& placement)
    : device_(sharedDevice(row.device_index)),
      problem_(problem),
      desc_(describe(problem)),
      implementation_(row.name),
      random_(placement.spread) {
    desc_.implementation = implementation_.c_str();
    desc_.input_layout = placement.input_layout;
    desc_.output_layout = placement.output_layout;
    const size_t last = problem.size.size() + 1;
    const auto unit = [&](PconvLayout layout) {
        return layout == PCONV_LAYOUT_CONTIGUOUS ? last : size_t{1};
    };
    const uint32_t spread = placement.spread;
    input_ = place(inputDims(problem), unit(placement.input_layout), problem.data_type, spread);
    output_ = place(outputDims(problem), unit(placement.output_layout), problem.data_type, spread);
    weight_ = place(weightDims(problem), last, problem.data_type, 0);
    if (problem.has_bias) bias_ = place({problem.out_channels}, 0, problem.data_type, 0);
    const PconvDataType plane_type =
        problem.mask_type == PCONV_MASK_TYPE_BINARY ? PCONV_DATA_TYPE_U8 : PCONV_DATA_TYPE_F32;
    if (!problem.grad_output.empty()) {
        grad_output_ = place(outputDims(problem), unit(placement.output_layout), problem.data_type, spread);
        grad_input_ = place(inputDims(problem), unit(placement.input_layout), problem.data_type, spread);
        grad_weight_ = place(weightDims(problem), last, problem.data_type, 0);
        if (problem.has_bias) grad_bias_ = place({problem.out_channels}, 0, problem.data_type, 0);
        writeFloats(grad_output_, problem.grad_output);
    }
    for (const Segment& segment : problem.segments) {
        planes_.push_back(place(planeDims(problem, segment), last, plane_type, spread));
        segments_.push_back({planes_.back().tensor, segment.multiplicity});
    }
    mask_.polarity = problem.polarity;
    mask_.segment_count = static_cast<int32_t>(segments_.size());
    mask_.segments = segments_.data();

    writeInput(problem.input);
    writeWeights(problem.weight, problem.bias);
    writeMask(problem.segments);
    check(pconvCreateMaskUpdate(device_, &desc_, mask(), update_.out()));
    check(pconvCreatePartialConv(device_, &desc_, conv_.out()));
    const char* chosen = nullptr;
    check(pconvGetPartialConvImplementation(conv_.get(), &chosen));
    if (row.name != chosen) throw std::runtime_error("the row made is " + std::string(chosen));
}

Execution::Placed Execution::place(const std::vector<int64_t>& dims, size_t unit, PconvDataType type,
                                   uint32_t spread) {
    Placed placed;
    placed.view = spread == 0 ? denseView(dims, unit) : spreadView(dims, unit, random_);
    placed.buffer = makeBuffer(device_, static_cast<size_t>(placed.view.total) * elementSize(type));
    placed.tensor = placed.view.tensor(placed.buffer.get(), type);
    return placed;
}

void Execution::writeFloats(const Placed& placed, const std::vector<float>& values) {
    if (static_cast<int64_t>(values.size()) != placed.view.count())
        throw std::runtime_error("a problem's tensor has the wrong number of elements");
    const PconvDataType type = placed.tensor.data_type;
    if (isHalf(type)) {
        std::vector<uint16_t> memory(static_cast<size_t>(placed.view.total), kHalfInputPoison);
        for (size_t i = 0; i < values.size(); ++i)
            memory[static_cast<size_t>(placed.view.at(static_cast<int64_t>(i)))] =
                type == PCONV_DATA_TYPE_F16 ? f16FromFloat(values[i]) : bf16FromFloat(values[i]);
        check(pconvWriteBuffer(placed.buffer.get(), 0, memory.data(), 2 * memory.size()));
        return;
    }
    std::vector<uint32_t> memory(static_cast<size_t>(placed.view.total), kInputPoison);
    const std::vector<uint32_t> bits = bitsOf(values);
    for (size_t i = 0; i < bits.size(); ++i)
        memory[static_cast<size_t>(placed.view.at(static_cast<int64_t>(i)))] = bits[i];
    check(pconvWriteBuffer(placed.buffer.get(), 0, memory.data(), 4 * memory.size()));
}

void Execution::writeInput(const std::vector<float>& values) {
    writeFloats(input_, values);
}

void Execution::writeWeights(const std::vector<float>& weight, const std::vector<float>& bias) {
    writeFloats(weight_, weight);
    if (problem_.has_bias) writeFloats(bias_, bias);
}

void Execution::writeMask(const std::vector<Segment>& segments) {
    for (size_t s = 0; s < segments.size(); ++s) {
        const Placed& placed = planes_[s];
        if (problem_.mask_type != PCONV_MASK_TYPE_BINARY) {
            writeFloats(placed, segments[s].values);
            continue;
        }
        std::vector<uint8_t> memory(static_cast<size_t>(placed.view.total), kPlanePoison);
        for (size_t i = 0; i < segments[s].values.size(); ++i)
            memory[static_cast<size_t>(placed.view.at(static_cast<int64_t>(i)))] =
                planeByte(segments[s].values[i], i);
        check(pconvWriteBuffer(placed.buffer.get(), 0, memory.data(), memory.size()));
    }
}

void Execution::setWeights() {
    check(pconvSetPartialConvWeights(conv_.get(), &weight_.tensor,
                                     problem_.has_bias ? &bias_.tensor : nullptr));
    if (problem_.isMaskedConv() && mask() != nullptr)
        check(pconvSetMaskUpdateWeights(update_.get(), &weight_.tensor));
}

void Execution::computeMask() {
    check(pconvComputeMaskUpdate(update_.get(), mask()));
}

void Execution::poison(const Placed& placed) {
    if (isHalf(placed.tensor.data_type)) {
        const std::vector<uint16_t> memory(static_cast<size_t>(placed.view.total), kHalfPoison);
        check(pconvWriteBuffer(placed.buffer.get(), 0, memory.data(), 2 * memory.size()));
        return;
    }
    const std::vector<uint32_t> memory(static_cast<size_t>(placed.view.total), kPoison);
    check(pconvWriteBuffer(placed.buffer.get(), 0, memory.data(), 4 * memory.size()));
}

void Execution::poisonOutput() {
    poison(output_);
}

void Execution::backward() {
    for (const Placed* placed : {&grad_input_, &grad_weight_, &grad_bias_})
        if (isThere(*placed)) poison(*placed);
    backwardInto(false);
}

void Execution::accumulateBackward() {
    backwardInto(true);
}

void Execution::backwardInto(bool accumulate) {
    PconvGradients gradients = pconvDefaultGradients();
    gradients.accumulate = accumulate ? 1 : 0;
    gradients.grad_input = &grad_input_.tensor;
    gradients.grad_weight = &grad_weight_.tensor;
    gradients.grad_bias = isThere(grad_bias_) ? &grad_bias_.tensor : nullptr;
    check(pconvBackwardPartialConv(conv_.get(), update_.get(), &input_.tensor, &grad_output_.tensor,
                                   &gradients));
}

void Execution::forwardWith(PconvMaskUpdate update) {
    check(pconvForwardPartialConv(conv_.get(), update, &input_.tensor, &output_.tensor));
}

template <typename T>
std::vector<float> Execution::readView(const PconvTensor& tensor) const {
    if (tensor.buffer == nullptr) return {};
    size_t count = 1;
    for (int32_t d = 0; d < tensor.rank; ++d) count *= static_cast<size_t>(tensor.dims[d]);
    const std::vector<T> values = readBuffer<T>(tensor.buffer, count, tensor.offset);
    return std::vector<float>(values.begin(), values.end());
}

std::vector<float> Execution::readPlaced(const Placed& placed, const char* name, std::string& damages) const {
    const auto total = static_cast<size_t>(placed.view.total);
    std::vector<float> memory;
    std::vector<uint32_t> bits;
    if (isHalf(placed.tensor.data_type)) {
        const bool f16 = placed.tensor.data_type == PCONV_DATA_TYPE_F16;
        for (const uint16_t half : readBuffer<uint16_t>(placed.buffer.get(), total)) {
            memory.push_back(f16 ? floatFromF16(half) : floatFromBf16(half));
            bits.push_back(half == kHalfPoison ? kPoison : half);
        }
    } else {
        memory = readBuffer<float>(placed.buffer.get(), total);
        bits = bitsOf(memory);
    }
    const std::string text = damage(placed.view, bits);
    if (!text.empty()) damages += std::string(damages.empty() ? "" : "; ") + name + ": " + text;
    std::vector<float> values;
    for (int64_t i = 0; i < placed.view.count(); ++i)
        values.push_back(memory[static_cast<size_t>(placed.view.at(i))]);
    return values;
}

Results Execution::read() const {
    Results results;
    results.output = readPlaced(output_, "output", results.damage);
    if (isThere(grad_input_)) {
        results.grad_input = readPlaced(grad_input_, "grad_input", results.damage);
        results.grad_weight = readPlaced(grad_weight_, "grad_weight", results.damage);
    }
    if (isThere(grad_bias_)) results.grad_bias = readPlaced(grad_bias_, "grad_bias", results.damage);
    PconvTensor sum{};
    PconvTensor updated{};
    PconvTensor ratio{};
    check(pconvGetMaskUpdateTensors(update_.get(), &sum, &updated, &ratio));
    results.window_sum = readView<float>(sum);
    results.ratio = readView<float>(ratio);
    results.updated_mask =
        updated.data_type == PCONV_DATA_TYPE_U8 ? readView<uint8_t>(updated) : readView<float>(updated);
    results.mask_dims.assign(updated.dims, updated.dims + updated.rank);
    return results;
}

Results run(const Row& row, const Problem& problem, const Placement& placement) {
    Execution execution(row, problem, placement);
    execution.setWeights();
    execution.computeMask();
    execution.poisonOutput();
    execution.forward();
    if (!problem.grad_output.empty()) execution.backward();
    return execution.read();
}

bool supports(const Row& row, const Problem& problem, std::string& reason) {
    const PconvPartialConvDesc desc = describe(problem);
    int32_t count = 0;
    check(pconvGetImplementationCount(sharedDevice(row.device_index), &count));
    for (int32_t i = 0; i < count; ++i) {
        PconvImplementationInfo info = pconvDefaultImplementationInfo();
        check(pconvGetImplementationInfo(sharedDevice(row.device_index), i, &desc, &info));
        if (row.name != info.name) continue;
        reason = info.reason;
        return info.supported != 0;
    }
    reason = "there is no such row";
    return false;
}

}  // namespace pconv::test
