#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <sstream>

#include "core/half.h"
#include "cuda_shim.h"
#include "kernel_case.h"

namespace pconv::cuda {

namespace {

constexpr size_t kGuard = 256;           // bytes around everything a kernel is given
constexpr unsigned char kPoison = 0xFF;  // NaN in every floating type

// A block of device memory, all poison.
class Memory {
  public:
    explicit Memory(size_t bytes) : bytes_(bytes), storage_(bytes + 3 * kGuard, kPoison) {
        const auto at = reinterpret_cast<uintptr_t>(storage_.data()) + kGuard;
        data_ = storage_.data() + kGuard + (kGuard - at % kGuard) % kGuard;
    }
    unsigned char* data() { return data_; }
    size_t size() const { return bytes_; }
    void expectGuards(const char* what) const {
        const auto poison = [](unsigned char byte) { return byte == kPoison; };
        if (!std::all_of(storage_.data(),
                         static_cast<const unsigned char*>(storage_.data()) + (data_ - storage_.data()),
                         poison) ||
            !std::all_of(static_cast<const unsigned char*>(data_) + bytes_, storage_.data() + storage_.size(),
                         poison))
            throw std::runtime_error(std::string("a kernel wrote outside ") + what);
    }

  private:
    size_t bytes_;
    std::vector<unsigned char> storage_;
    unsigned char* data_;
};

float loadElement(const unsigned char* at, DataType type) {
    if (type == DataType::u8) return static_cast<float>(*at);
    if (type == DataType::f32) {
        float value;
        std::memcpy(&value, at, sizeof value);
        return value;
    }
    uint16_t bits;
    std::memcpy(&bits, at, sizeof bits);
    return type == DataType::f16 ? floatFromF16(bits) : floatFromBf16(bits);
}

void storeElement(unsigned char* at, DataType type, float value) {
    if (type == DataType::f32) {
        std::memcpy(at, &value, sizeof value);
        return;
    }
    if (type == DataType::u8) {
        *at = value != 0 ? 1 : 0;
        return;
    }
    const uint16_t bits = type == DataType::f16 ? f16FromFloat(value) : bf16FromFloat(value);
    std::memcpy(at, &bits, sizeof bits);
}

// A tensor [N, C, D, H, W] in memory of its own, with gaps.
struct Tensor {
    Tensor(int batch, int channels, const int (&size)[3], DataType of_type, bool channels_last, int gap)
        : type(of_type), dims{batch, channels, size[0], size[1], size[2]} {
        const int order_contiguous[5] = {4, 3, 2, 1, 0};
        const int order_last[5] = {1, 4, 3, 2, 0};
        int64_t stride = 1;
        for (int i = 0; i < 5; ++i) {
            const int d = (channels_last ? order_last : order_contiguous)[i];
            strides[d] = stride;
            // Gaps of 16 bytes leave channels-last tensors as they can be read in place.
            stride = stride * dims[d] + (i < 4 ? gap : 0);
        }
        // As the core hands tensors over: a dimension of one element is never stepped over.
        for (int d = 0; d < 5; ++d)
            if (dims[d] == 1) strides[d] = 1;
        memory = std::make_unique<Memory>(static_cast<size_t>(stride) * sizeOf(type));
    }
    View view() const {
        return {memory->data(), {strides[0], strides[1], strides[2], strides[3], strides[4]}};
    }
    int64_t offset(size_t i) const {
        auto rest = static_cast<int64_t>(i);
        int64_t at = 0;
        for (int d = 4; d >= 0; --d) {
            at += rest % dims[d] * strides[d];
            rest /= dims[d];
        }
        return at * static_cast<int64_t>(sizeOf(type));
    }
    size_t count() const {
        return static_cast<size_t>(dims[0]) * static_cast<size_t>(dims[1]) *
               static_cast<size_t>(dims[2] * dims[3] * dims[4]);
    }
    void write(const std::vector<float>& values) {
        for (size_t i = 0; i < values.size(); ++i) storeElement(memory->data() + offset(i), type, values[i]);
    }
    // Gaps must still be poison.
    std::vector<float> read(const char* what) const {
        memory->expectGuards(what);
        std::vector<float> values(count());
        std::vector<bool> used(memory->size(), false);
        for (size_t i = 0; i < values.size(); ++i) {
            values[i] = loadElement(memory->data() + offset(i), type);
            for (size_t b = 0; b < sizeOf(type); ++b) used[static_cast<size_t>(offset(i)) + b] = true;
        }
        for (size_t i = 0; i < used.size(); ++i)
            if (!used[i] && memory->data()[i] != kPoison)
                throw std::runtime_error(std::string("a kernel wrote between the elements of ") + what);
        return values;
    }

    DataType type;
    int64_t dims[5];
    int64_t strides[5] = {};
    std::unique_ptr<Memory> memory;
};

std::vector<float> readAll(Memory& memory, DataType type, const char* what) {
    memory.expectGuards(what);
    std::vector<float> values(memory.size() / sizeOf(type));
    for (size_t i = 0; i < values.size(); ++i)
        values[i] = loadElement(memory.data() + i * sizeOf(type), type);
    return values;
}

void require(cudaError_t status) {
    if (status != cudaSuccess) throw std::runtime_error("a launch failed");
}

class Runner {
  public:
    Runner(const KernelCase& c, Algorithm algorithm, const std::vector<float>& previous)
        : c_(c), s_(c.shape), igemm_(algorithm == Algorithm::igemm), previous_(previous) {
        const int channel_vector[3] = {1, 1, 1};
        input_ = tensor(s_.in_channels, s_.input, c.type, c.input_channels_last);
        output_ = tensor(s_.out_channels, s_.output, c.type, c.output_channels_last);
        grad_output_ = tensor(s_.out_channels, s_.output, c.type, !c.output_channels_last);
        grad_input_ = tensor(s_.in_channels, s_.input, c.type, !c.input_channels_last);
        weight_ = std::make_unique<Tensor>(s_.out_channels, c.groupIn(), s_.kernel, c.type, false, 0);
        bias_ = std::make_unique<Tensor>(1, s_.out_channels, channel_vector, c.type, false, 0);
        grad_weight_ = std::make_unique<Tensor>(s_.out_channels, c.groupIn(), s_.kernel, c.type, false, 0);
        grad_bias_ = std::make_unique<Tensor>(1, s_.out_channels, channel_vector, c.type, false, 0);
        input_->write(c.input);
        grad_output_->write(c.grad_output);
        weight_->write(c.weight);
        if (c.has_bias) bias_->write(c.bias);
    }

    Results run() {
        makeMask();
        forward();
        backward();
        expectUntouched();
        return std::move(results_);
    }

  private:
    std::unique_ptr<Tensor> tensor(int channels, const int (&size)[3], DataType type,
                                   bool channels_last) const {
        return std::make_unique<Tensor>(s_.batch, channels, size, type, channels_last, c_.gap);
    }

    void makeMask() {
        const bool fractional = c_.mask_type == MaskType::fractional;
        for (const CaseSegment& segment : c_.segments) {
            planes_.push_back(std::make_unique<Tensor>(c_.mask_batch, segment.planes, s_.input,
                                                       fractional ? DataType::f32 : DataType::u8, false,
                                                       c_.gap));
            planes_.back()->write(segment.values);
            const View view = planes_.back()->view();
            MaskSegment of{};
            of.data = view.data;
            std::copy(view.strides, view.strides + 5, of.strides);
            of.planes = segment.planes;
            of.multiplicity = segment.multiplicity;
            segments_.push_back(of);
        }
        MaskProblem p{};
        p.shape = s_;
        p.type = c_.mask_type;
        p.normalization = c_.normalization;
        p.eps = c_.eps;
        p.multi_channel = c_.multi_channel;
        p.group_window = c_.group_window;
        p.batch = c_.mask_batch;
        p.hole_is_one = c_.hole_is_one;
        p.segment_count = static_cast<int>(segments_.size());
        p.segments = segments_.data();
        const MaskMemory memory = maskMemory(p);
        const auto allocate = [](size_t bytes) { return std::make_unique<Memory>(bytes); };
        sums_ = allocate(memory.sums);
        packed_ = allocate(memory.packed);
        table_ = allocate(memory.plane_of_channel);
        flags_ = allocate(memory.tile_flags);
        const auto results = static_cast<size_t>(c_.mask_batch * c_.maskGroups() * volume(s_.output));
        const bool bytes = c_.maskedConvolution() ? c_.mask_type == MaskType::none : !fractional;
        window_sum_ = allocate(results * 4);
        ratio_ = allocate(results * 4);
        updated_ = allocate(results * (bytes ? 1 : 4));
        const auto orNull = [](Memory& m) -> void* { return m.size() > 0 ? m.data() : nullptr; };
        p.sums = orNull(*sums_);
        p.packed = orNull(*packed_);
        p.plane_of_channel = static_cast<int*>(orNull(*table_));
        p.tile_flags = static_cast<uint32_t*>(orNull(*flags_));
        p.updated = updated_->data();
        problem_.results.updated = p.updated;
        problem_.results.updated_type = bytes ? MaskType::binary : MaskType::fractional;
        problem_.results.batch = c_.mask_batch;
        problem_.results.groups = c_.maskGroups();
        if (c_.maskedConvolution()) {
            magnitude_ = allocate(sizeof(float) * static_cast<size_t>(s_.out_channels * c_.groupIn()));
            auto* magnitude = reinterpret_cast<float*>(magnitude_->data());
            require(launchWeightMagnitude(s_, c_.type, weight_->memory->data(), magnitude, nullptr));
            require(launchMaskedConvMask(p, magnitude, nullptr));
        } else {
            p.window_sum = reinterpret_cast<float*>(window_sum_->data());
            p.ratio = reinterpret_cast<float*>(ratio_->data());
            require(launchMaskUpdate(p, nullptr));
            problem_.results.ratio = p.ratio;
            problem_.results.tile_flags = p.tile_flags;
            results_.window_sum = readAll(*window_sum_, DataType::f32, "the window sum");
            results_.ratio = readAll(*ratio_, DataType::f32, "the ratio");
        }
        results_.updated = readAll(*updated_, bytes ? DataType::u8 : DataType::f32, "the updated mask");
        problem_.shape = s_;
        problem_.type = c_.type;
        problem_.mask = {p.packed,           c_.mask_type,       c_.mask_batch,
                         memory.plane_count, p.plane_of_channel, memory.channels_per_plane_chunk};
        problem_.input_is_masked = c_.input_is_masked;
        problem_.has_bias = c_.has_bias;
        problem_.masked_convolution = c_.maskedConvolution();
        problem_.activation = c_.activation;
        problem_.negative_slope = c_.negative_slope;
    }

    // Weights in the order of one pass.
    std::unique_ptr<Memory> packWeights(bool backward) {
        auto packed = std::make_unique<Memory>(igemm_ ? igemmWeightBytes(s_, c_.type, backward)
                                                      : directWeightBytes(s_, backward));
        const void* weight = weight_->memory->data();
        require(igemm_ ? launchIgemmWeights(s_, c_.type, weight, packed->data(), backward, nullptr)
                       : launchDirectWeights(s_, c_.type, weight, packed->data(), backward, nullptr));
        packed->expectGuards("the packed weights");
        return packed;
    }

    void forward() {
        const auto packed = packWeights(false);
        const void* bias = c_.has_bias ? bias_->memory->data() : nullptr;
        if (igemm_) {
            Memory workspace(igemmForwardWorkspaceBytes(s_, c_.type));
            require(launchIgemmForward(problem_, input_->view(), packed->data(), bias, output_->view(),
                                       workspace.data(), nullptr));
            workspace.expectGuards("the workspace");
        } else {
            require(launchDirectForward(problem_, input_->view(), packed->data(), bias, output_->view(),
                                        nullptr));
        }
        results_.output = output_->read("the output");
    }

    // Where u is 0 the gradient of the output must not be read.
    void poisonGradOutput() {
        std::vector<float> values = c_.grad_output;
        const int positions = volume(s_.output);
        const int in_group = s_.out_channels / c_.maskGroups();
        for (size_t i = 0; i < values.size(); ++i) {
            const auto position = static_cast<int>(i) % positions;
            const auto channel = static_cast<int>(i) / positions % s_.out_channels;
            const int n = c_.mask_batch == 1 ? 0 : static_cast<int>(i) / positions / s_.out_channels;
            const int at = (n * c_.maskGroups() + channel / in_group) * positions + position;
            if (results_.updated[static_cast<size_t>(at)] == 0) values[i] = std::nanf("");
        }
        grad_output_->write(values);
    }

    void backward() {
        poisonGradOutput();
        const auto packed = packWeights(true);
        if (c_.accumulate)
            for (Tensor* tensor : {grad_input_.get(), grad_weight_.get(), grad_bias_.get()}) {
                std::vector<float> values(tensor->count());
                for (size_t i = 0; i < values.size(); ++i) values[i] = previous_[i % previous_.size()];
                tensor->write(values);
            }
        const View gradient = grad_input_->view();
        GradientOutputs gradients{&gradient, grad_weight_->memory->data(), grad_bias_->memory->data(),
                                  c_.accumulate};
        if (igemm_) {
            Memory workspace(igemmBackwardWorkspaceBytes(s_, c_.type));
            require(launchIgemmBackward(problem_, input_->view(), grad_output_->view(), packed->data(),
                                        gradients, workspace.data(), nullptr));
            workspace.expectGuards("the workspace");
        } else {
            Memory workspace(directBackwardWorkspaceBytes(s_));
            require(launchDirectBackward(problem_, input_->view(), grad_output_->view(), packed->data(),
                                         gradients, workspace.data(), nullptr));
            workspace.expectGuards("the workspace");
        }
        results_.grad_input = grad_input_->read("the input's gradient");
        results_.grad_weight = grad_weight_->read("the weight's gradient");
        results_.grad_bias = grad_bias_->read("the bias's gradient");
    }

    void expectUntouched() {
        sums_->expectGuards("the channel sums");
        packed_->expectGuards("the packed mask");
        table_->expectGuards("the table of planes");
        flags_->expectGuards("the tile flags");
        for (const auto& tensor : planes_) tensor->read("the mask");
        input_->read("the input");
        grad_output_->read("the output's gradient");
    }

    const KernelCase& c_;
    const ConvShape& s_;
    bool igemm_;
    const std::vector<float>& previous_;
    std::unique_ptr<Tensor> input_, output_, grad_output_, grad_input_, weight_, bias_, grad_weight_,
        grad_bias_;
    std::vector<std::unique_ptr<Tensor>> planes_;
    std::vector<MaskSegment> segments_;
    std::unique_ptr<Memory> sums_, packed_, table_, flags_, window_sum_, ratio_, updated_, magnitude_;
    ConvProblem problem_{};
    Results results_;
};

// The worst element of a tensor, as a part of its bound.
void compareOne(const char* what, const Expected& expected, const std::vector<float>& got, double& worst,
                std::string& message) {
    if (got.size() != expected.values.size()) {
        message = std::string(what) + " has " + std::to_string(got.size()) + " elements";
        worst = INFINITY;
        return;
    }
    for (size_t i = 0; i < got.size(); ++i) {
        const double error = std::fabs(static_cast<double>(got[i]) - expected.values[i]);
        if (error <= expected.bounds[i]) continue;
        const double part = std::isnan(error) ? INFINITY : error / (expected.bounds[i] + 1e-300);
        if (part <= worst) continue;
        worst = part;
        std::ostringstream text;
        text << what << " " << i << " of " << got.size() << " is " << got[i] << ", expected "
             << expected.values[i] << " within " << expected.bounds[i];
        message = text.str();
    }
}

bool equalBits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() &&
           (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

bool equalBits(const Results& a, const Results& b) {
    return equalBits(a.window_sum, b.window_sum) && equalBits(a.updated, b.updated) &&
           equalBits(a.ratio, b.ratio) && equalBits(a.output, b.output) &&
           equalBits(a.grad_input, b.grad_input) && equalBits(a.grad_weight, b.grad_weight) &&
           equalBits(a.grad_bias, b.grad_bias);
}

// Products see inputs rounded to TF32; dc rounded to the type where it is 16 bits wide.
double inputUnit(const KernelCase& c, Algorithm algorithm) {
    if (algorithm == Algorithm::direct) return 0;
    return c.type == DataType::bf16 ? 0x1p-8 : 0x1p-11;
}

}  // namespace

Results run(const KernelCase& c, Algorithm algorithm, const std::vector<float>& previous) {
    return Runner(c, algorithm, previous).run();
}

std::string compare(const Answers& answers, const Results& results) {
    double worst = 1;
    std::string message;
    compareOne("window sum", answers.window_sum, results.window_sum, worst, message);
    compareOne("updated mask", answers.updated, results.updated, worst, message);
    compareOne("ratio", answers.ratio, results.ratio, worst, message);
    compareOne("output", answers.output, results.output, worst, message);
    compareOne("input gradient", answers.grad_input, results.grad_input, worst, message);
    compareOne("weight gradient", answers.grad_weight, results.grad_weight, worst, message);
    compareOne("bias gradient", answers.grad_bias, results.grad_bias, worst, message);
    return message;
}

std::string check(const KernelCase& c, int& ran) {
    std::vector<float> previous;
    for (int i = 0; i < 7; ++i) previous.push_back(rounded(0.37F * static_cast<float>(i) - 1, c.type));
    for (const Algorithm algorithm : {Algorithm::direct, Algorithm::igemm}) {
        const bool igemm = algorithm == Algorithm::igemm;
        if (igemm && igemmDeclines(c.shape, c.type, c.fast_math) != nullptr) continue;
        ++ran;
        const std::string name = std::string(igemm ? "igemm" : "direct") + ", " + c.text() + ": ";
        try {
            cuda_shim::setOrder(cuda_shim::Order::forward);
            const Results first = run(c, algorithm, previous);
            cuda_shim::setOrder(cuda_shim::Order::shuffled, 7);
            if (!equalBits(first, run(c, algorithm, previous)))
                return name + "another order of threads gives other bits";
            const std::string message = compare(solve(c, inputUnit(c, algorithm), previous), first);
            if (!message.empty()) return name + message;
        } catch (const std::runtime_error& error) {
            return name + error.what();
        }
    }
    return "";
}

}  // namespace pconv::cuda
