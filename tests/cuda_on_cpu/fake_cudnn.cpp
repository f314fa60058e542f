// cuDNN's backend API on the CPU, as far as cuda:cudnn uses it: descriptors keep what they are told, the
// heuristics propose engines with different numerical notes, and a plan computes its graph in f32: with
// tensor cores where the notes say so, as the model of them adds, else one fused multiply-add after another.
// An engine that must not be taken gives NaN.
#include <cudnn_graph.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "../cuda_shim/include/tensor_core_on_cpu.h"
#include "core/half.h"
#include "stand_in.h"

struct cudnnContext {
    cudaStream_t stream = nullptr;
};

namespace {

struct Data {
    cudnnBackendDescriptorType_t type{};
    std::map<int, std::vector<unsigned char>> plain;
    std::map<int, std::vector<std::shared_ptr<Data>>> others;
    int64_t engine = -1;
    bool finalized = false;

    template <typename T>
    std::vector<T> values(int name) const {
        std::vector<T> result;
        const auto found = plain.find(name);
        if (found == plain.end() || found->second.empty()) return result;
        result.resize(found->second.size() / sizeof(T));
        std::memcpy(result.data(), found->second.data(), found->second.size());
        return result;
    }
    template <typename T>
    T value(int name, T otherwise) const {
        const std::vector<T> all = values<T>(name);
        return all.empty() ? otherwise : all[0];
    }
    std::shared_ptr<Data> other(int name) const {
        const auto found = others.find(name);
        return found == others.end() || found->second.empty() ? nullptr : found->second[0];
    }
};

struct Descriptor {
    std::shared_ptr<Data> data;
};

Descriptor& descriptor(cudnnBackendDescriptor_t handle) {
    return *static_cast<Descriptor*>(handle);
}

std::string& lastWords() {
    static std::string& words = *new std::string;  // never destroyed, as devices may be closed at the end
    return words;
}

cudnnStatus_t refuse(cudnnStatus_t status, const std::string& words) {
    lastWords() = words;
    return status;
}

size_t sizeOfType(cudnnBackendAttributeType_t type) {
    switch (type) {
        case CUDNN_TYPE_CHAR:
        case CUDNN_TYPE_BOOLEAN:
            return 1;
        case CUDNN_TYPE_FLOAT:
        case CUDNN_TYPE_INT32:
            return 4;
        case CUDNN_TYPE_INT64:
        case CUDNN_TYPE_DOUBLE:
        case CUDNN_TYPE_VOID_PTR:
        case CUDNN_TYPE_HANDLE:
            return 8;
        default:
            return 4;  // enumerations
    }
}

// ---- Engines ----

enum Engine : int64_t { kNondeterministic = 0, kTensorCore = 1, kPlain = 2 };

std::vector<cudnnBackendNumericalNote_t> notesOf(int64_t engine) {
    if (engine == kNondeterministic)
        return {CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC, CUDNN_NUMERICAL_NOTE_TENSOR_CORE};
    if (engine == kTensorCore) return {CUDNN_NUMERICAL_NOTE_TENSOR_CORE};
    return {};
}

// ---- Computing a graph ----

using Dims = std::vector<int64_t>;

struct Tensor {
    Dims dims, strides;
    int64_t id = 0;
    cudnnDataType_t type = CUDNN_DATA_FLOAT;
    bool is_virtual = false;

    explicit Tensor(const Data& data)
        : dims(data.values<int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS)),
          strides(data.values<int64_t>(CUDNN_ATTR_TENSOR_STRIDES)),
          id(data.value<int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID, 0)),
          type(data.value(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_DATA_FLOAT)),
          is_virtual(data.value<unsigned char>(CUDNN_ATTR_TENSOR_IS_VIRTUAL, 0) != 0) {}

    int64_t offset(const Dims& index) const {
        int64_t at = 0;
        for (size_t d = 0; d < dims.size(); ++d) at += (dims[d] == 1 ? 0 : index[d]) * strides[d];
        return at;
    }
};

void forEach(const Dims& dims, const std::function<void(const Dims&)>& body) {
    Dims index(dims.size(), 0);
    while (true) {
        body(index);
        size_t d = dims.size();
        while (d-- > 0) {
            if (++index[d] < dims[d]) break;
            index[d] = 0;
            if (d == 0) return;
        }
    }
}

class Execution {
  public:
    Execution(const Data& pack, int64_t engine) : engine_(engine) {
        const auto ids = pack.values<int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
        const auto pointers = pack.values<void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
        for (size_t i = 0; i < ids.size(); ++i) pointers_[ids[i]] = pointers[i];
    }

    cudnnStatus_t run(const Data& operation) {
        switch (operation.type) {
            case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR:
                return convolve(operation, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                                CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                                CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                                CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, 'y');
            case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR:
                return convolve(operation, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, 'x');
            case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR:
                return convolve(operation, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                                CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, 'w');
            case CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR:
                return pointwise(operation);
            default:
                return refuse(CUDNN_STATUS_NOT_SUPPORTED, "no such operation here");
        }
    }

  private:
    void* memory(const Tensor& tensor) {
        const auto found = pointers_.find(tensor.id);
        if (found == pointers_.end() || reinterpret_cast<uintptr_t>(found->second) % 16 != 0) return nullptr;
        return found->second;
    }

    bool load(const Tensor& tensor, std::vector<float>& values) {
        if (tensor.is_virtual) {
            values = virtual_[tensor.id];
            return true;
        }
        const void* from = memory(tensor);
        if (from == nullptr) return false;
        values.clear();
        forEach(tensor.dims, [&](const Dims& index) {
            const int64_t at = tensor.offset(index);
            float value = 0;
            if (tensor.type == CUDNN_DATA_FLOAT)
                value = static_cast<const float*>(from)[at];
            else if (tensor.type == CUDNN_DATA_HALF)
                value = pconv::floatFromF16(static_cast<const uint16_t*>(from)[at]);
            else
                value = pconv::floatFromBf16(static_cast<const uint16_t*>(from)[at]);
            values.push_back(value);
        });
        return true;
    }

    bool store(const Tensor& tensor, const std::vector<float>& values) {
        if (tensor.is_virtual) {
            virtual_[tensor.id] = values;
            return true;
        }
        void* to = memory(tensor);
        if (to == nullptr) return false;
        size_t i = 0;
        forEach(tensor.dims, [&](const Dims& index) {
            const int64_t at = tensor.offset(index);
            const float value = values[i++];
            if (tensor.type == CUDNN_DATA_FLOAT)
                static_cast<float*>(to)[at] = value;
            else if (tensor.type == CUDNN_DATA_HALF)
                static_cast<uint16_t*>(to)[at] = pconv::f16FromFloat(value);
            else
                static_cast<uint16_t*>(to)[at] = pconv::bf16FromFloat(value);
        });
        return true;
    }

    // As a tensor core takes it: ten bits after the point, ties away from zero.
    void round(const Tensor& tensor, std::vector<float>& values) const {
        if (engine_ == kNondeterministic)
            std::fill(values.begin(), values.end(), std::numeric_limits<float>::quiet_NaN());
        if (engine_ != kTensorCore || tensor.type != CUDNN_DATA_FLOAT) return;
        for (float& value : values) {
            const uint32_t bits = pconv::bitsOf(value);
            value = pconv::floatOf((bits + 0x1000U) & ~0x1FFFU);
        }
    }

    // A sum of products in the order in which they come.
    struct Sum {
        float value = 0;
        int waiting = 0;  // products of a tensor core's block
        std::array<float, 16> a{}, b{};
    };

    void add(Sum& sum, cudnnDataType_t type, float a, float b) const {
        if (engine_ != kTensorCore) {
            sum.value = std::fma(a, b, sum.value);
            return;
        }
        const auto at = static_cast<size_t>(sum.waiting);
        sum.a[at] = a;
        sum.b[at] = b;
        const auto& core = pconv::cuda::on_cpu::tensorCore();
        if (++sum.waiting == (type == CUDNN_DATA_FLOAT ? core.block_tf32 : core.block_16)) finish(sum, type);
    }

    static float finish(Sum& sum, cudnnDataType_t type) {
        if (sum.waiting > 0)
            sum.value = pconv::cuda::on_cpu::addBlock(sum.value, sum.a.data(), sum.b.data(), sum.waiting,
                                                      type == CUDNN_DATA_HALF ? -14 : -126,
                                                      pconv::cuda::on_cpu::tensorCore().extra_places);
        sum.waiting = 0;
        return sum.value;
    }

    static size_t indexIn(const Dims& dims, const Dims& at) {
        int64_t index = 0;
        for (size_t d = 0; d < dims.size(); ++d) index = index * dims[d] + at[d];
        return static_cast<size_t>(index);
    }

    cudnnStatus_t convolve(const Data& operation, int setting_name, int x_name, int w_name, int y_name,
                           char result) {
        const Data& setting = *operation.other(setting_name);
        const Tensor x(*operation.other(x_name));
        const Tensor w(*operation.other(w_name));
        const Tensor y(*operation.other(y_name));
        const auto padding = setting.values<int64_t>(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS);
        const auto behind = setting.values<int64_t>(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS);
        const auto stride = setting.values<int64_t>(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES);
        const auto dilation = setting.values<int64_t>(CUDNN_ATTR_CONVOLUTION_DILATIONS);
        for (size_t d = 0; d + 2 < x.dims.size(); ++d) {
            const int64_t padded = x.dims[2 + d] + padding[d] + behind[d];
            const int64_t extent = dilation[d] * (w.dims[2 + d] - 1) + 1;
            if (padded < extent || (padded - extent) / stride[d] + 1 != y.dims[2 + d])
                return refuse(CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH, "the output has not the size it should");
        }
        std::vector<float> xs;
        std::vector<float> ws;
        std::vector<float> ys;
        const auto count = [](const Dims& dims) {
            int64_t product = 1;
            for (const int64_t d : dims) product *= d;
            return static_cast<size_t>(product);
        };
        xs.assign(count(x.dims), 0);
        ws.assign(count(w.dims), 0);
        ys.assign(count(y.dims), 0);
        if ((result != 'x' && !load(x, xs)) || (result != 'w' && !load(w, ws)) ||
            (result != 'y' && !load(y, ys)))
            return refuse(CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER, "a tensor is missing or not aligned");
        if (result != 'x') round(x, xs);
        if (result != 'w') round(w, ws);
        if (result != 'y') round(y, ys);
        const cudnnDataType_t type = result == 'x' ? y.type : x.type;  // of the factors
        std::vector<float>& results = result == 'x' ? xs : result == 'w' ? ws : ys;
        std::vector<Sum> sums(results.size());
        const int64_t in_of_group = w.dims[1];
        const int64_t groups = x.dims[1] / in_of_group;
        const int64_t out_of_group = w.dims[0] / groups;
        const size_t spatial = x.dims.size() - 2;
        forEach(y.dims, [&](const Dims& at) {
            const size_t yi = indexIn(y.dims, at);
            const int64_t group = at[1] / out_of_group;
            Dims taps(w.dims.begin() + 2, w.dims.end());
            forEach(taps, [&](const Dims& tap) {
                Dims from(x.dims.size());
                from[0] = at[0];
                for (size_t d = 0; d < spatial; ++d) {
                    from[2 + d] = at[2 + d] * stride[d] - padding[d] + tap[d] * dilation[d];
                    if (from[2 + d] < 0 || from[2 + d] >= x.dims[2 + d]) return;
                }
                for (int64_t c = 0; c < in_of_group; ++c) {
                    from[1] = group * in_of_group + c;
                    Dims weight{at[1], c};
                    weight.insert(weight.end(), tap.begin(), tap.end());
                    const size_t xi = indexIn(x.dims, from);
                    const size_t wi = indexIn(w.dims, weight);
                    if (result == 'y') add(sums[yi], type, xs[xi], ws[wi]);
                    if (result == 'x') add(sums[xi], type, ys[yi], ws[wi]);
                    if (result == 'w') add(sums[wi], type, xs[xi], ys[yi]);
                }
            });
        });
        for (size_t i = 0; i < results.size(); ++i) results[i] = finish(sums[i], type);
        const bool stored = result == 'y' ? store(y, ys) : result == 'x' ? store(x, xs) : store(w, ws);
        return stored ? CUDNN_STATUS_SUCCESS
                      : refuse(CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER, "a result is missing");
    }

    cudnnStatus_t pointwise(const Data& operation) {
        const Data& setting = *operation.other(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
        const auto mode = setting.value(CUDNN_ATTR_POINTWISE_MODE, CUDNN_POINTWISE_IDENTITY);
        const auto slope =
            static_cast<float>(setting.value<double>(CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP_SLOPE, 0));
        const Tensor x(*operation.other(CUDNN_ATTR_OPERATION_POINTWISE_XDESC));
        const Tensor y(*operation.other(CUDNN_ATTR_OPERATION_POINTWISE_YDESC));
        std::vector<float> xs;
        if (!load(x, xs)) return refuse(CUDNN_STATUS_BAD_PARAM, "an operand is missing");
        const auto b_data = operation.other(CUDNN_ATTR_OPERATION_POINTWISE_BDESC);
        std::vector<float> bs;
        Dims b_dims;
        if (b_data != nullptr) {
            const Tensor b(*b_data);
            b_dims = b.dims;
            if (!load(b, bs))
                return refuse(CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER, "an operand is missing");
        }
        size_t i = 0;
        forEach(x.dims, [&](const Dims& at) {
            float other = 0;
            if (b_data != nullptr) {
                Dims where = at;
                for (size_t d = 0; d < where.size(); ++d)
                    if (b_dims[d] == 1) where[d] = 0;
                other = bs[indexIn(b_dims, where)];
            }
            float& value = xs[i++];
            if (mode == CUDNN_POINTWISE_MUL) value *= other;
            if (mode == CUDNN_POINTWISE_ADD) value += other;
            if (mode == CUDNN_POINTWISE_RELU_FWD) value = value < 0 ? slope * value : value;
            if (mode == CUDNN_POINTWISE_GELU_FWD) {
                const auto wide = static_cast<double>(value);
                value = static_cast<float>(wide * (1 + std::erf(wide / std::sqrt(2.0))) / 2);
            }
        });
        return store(y, xs) ? CUDNN_STATUS_SUCCESS
                            : refuse(CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER, "a result is missing");
    }

    int64_t engine_;
    std::map<int64_t, void*> pointers_;
    std::map<int64_t, std::vector<float>> virtual_;
};

// What plans were written as text. The text names one of this process: a plan kept on disk by another one is
// refused, as an address alone would name whatever lies there now.
std::string nameOf(const Data& plan) {
    static const unsigned process = std::random_device()();
    return "{\"process\":" + std::to_string(process) +
           ",\"plan\":" + std::to_string(reinterpret_cast<uintptr_t>(&plan)) + "}";
}

std::map<std::string, std::shared_ptr<Data>>& writtenPlans() {
    static auto& plans = *new std::map<std::string, std::shared_ptr<Data>>;
    return plans;
}

std::shared_ptr<Data> engineConfig(const std::shared_ptr<Data>& graph, int64_t engine) {
    auto of = std::make_shared<Data>();
    of->type = CUDNN_BACKEND_ENGINE_DESCRIPTOR;
    of->engine = engine;
    of->others[CUDNN_ATTR_ENGINE_OPERATION_GRAPH] = {graph};
    auto config = std::make_shared<Data>();
    config->type = CUDNN_BACKEND_ENGINECFG_DESCRIPTOR;
    config->others[CUDNN_ATTR_ENGINECFG_ENGINE] = {of};
    return config;
}

// The plain engine, which is all that f32 has for exact math, fuses nothing.
std::vector<std::shared_ptr<Data>> propose(const Data& heuristic) {
    const auto graph = heuristic.other(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
    if (heuristic.value(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_HEUR_MODE_A) != CUDNN_HEUR_MODE_A) return {};
    std::vector<std::shared_ptr<Data>> configs{engineConfig(graph, kNondeterministic),
                                               engineConfig(graph, kTensorCore)};
    if (graph->others.at(CUDNN_ATTR_OPERATIONGRAPH_OPS).size() == 1)
        configs.push_back(engineConfig(graph, kPlain));
    return configs;
}

}  // namespace

extern "C" {

size_t cudnnGetVersion() {
    return CUDNN_VERSION;
}
const char* cudnnGetErrorString(cudnnStatus_t status) {
    return status == CUDNN_STATUS_SUCCESS ? "CUDNN_STATUS_SUCCESS" : "CUDNN_STATUS_OF_THE_STAND_IN";
}
void cudnnGetLastErrorString(char* message, size_t size) {
    std::strncpy(message, lastWords().c_str(), size - 1);
}
cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
    if (pconv::cuda_stand_in::failsNow("cudnnCreate"))
        return refuse(CUDNN_STATUS_INTERNAL_ERROR, "cudnnCreate was told to fail");
    *handle = new cudnnContext;
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
    delete handle;
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
    handle->stream = stream;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
                                           cudnnBackendDescriptor_t* handle) {
    auto* created = new Descriptor{std::make_shared<Data>()};
    created->data->type = type;
    *handle = created;
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t handle) {
    delete static_cast<Descriptor*>(handle);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t handle, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count, const void* values) {
    Data& data = *descriptor(handle).data;
    if (data.finalized) return refuse(CUDNN_STATUS_BAD_PARAM, "the descriptor is finalized");
    if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR) {
        auto& others = data.others[name];
        others.clear();
        for (int64_t i = 0; i < count; ++i) {
            const auto& other = descriptor(static_cast<const cudnnBackendDescriptor_t*>(values)[i]).data;
            if (!other->finalized && other->type != CUDNN_BACKEND_ENGINECFG_DESCRIPTOR)
                return refuse(CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED, "an attribute is not finalized");
            others.push_back(other);
        }
        return CUDNN_STATUS_SUCCESS;
    }
    const auto* bytes = static_cast<const unsigned char*>(values);
    data.plain[name].assign(bytes, bytes + static_cast<size_t>(count) * sizeOfType(type));
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t handle) {
    Descriptor& own = descriptor(handle);
    if (own.data->type == CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR && pconv::cuda_stand_in::failsNow("graph"))
        return refuse(CUDNN_STATUS_EXECUTION_FAILED, "the graph was told to fail");
    if (own.data->type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) {
        if (own.data->plain.count(CUDNN_ATTR_EXECUTION_PLAN_HANDLE) == 0)
            return refuse(CUDNN_STATUS_BAD_PARAM, "a plan without a handle");
        const auto text = own.data->values<char>(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION);
        if (!text.empty()) {
            const auto found = writtenPlans().find(std::string(text.begin(), text.end()));
            if (found == writtenPlans().end()) return refuse(CUDNN_STATUS_BAD_PARAM, "that is no plan");
            own.data = found->second;
            return CUDNN_STATUS_SUCCESS;
        }
        if (own.data->other(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG) == nullptr)
            return refuse(CUDNN_STATUS_BAD_PARAM, "a plan without an engine");
    }
    own.data->finalized = true;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const handle,
                                       cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t /*type*/,
                                       int64_t requested, int64_t* count, void* values) {
    const Descriptor& own = descriptor(handle);
    const Data& data = *own.data;
    const auto give = [&](const void* from, size_t size, size_t available) {
        *count = static_cast<int64_t>(available);
        if (values != nullptr && available > 0)
            std::memcpy(values, from, size * std::min(available, static_cast<size_t>(requested)));
        return CUDNN_STATUS_SUCCESS;
    };
    if (name == CUDNN_ATTR_ENGINEHEUR_RESULTS) {
        const auto configs = propose(data);
        *count = static_cast<int64_t>(configs.size());
        for (size_t i = 0; values != nullptr && i < std::min(configs.size(), static_cast<size_t>(requested));
             ++i)
            descriptor(static_cast<cudnnBackendDescriptor_t*>(values)[i]).data = configs[i];
        return CUDNN_STATUS_SUCCESS;
    }
    if (name == CUDNN_ATTR_ENGINECFG_ENGINE) {
        *count = 1;
        descriptor(*static_cast<cudnnBackendDescriptor_t*>(values)).data = data.other(name);
        return CUDNN_STATUS_SUCCESS;
    }
    if (name == CUDNN_ATTR_ENGINE_GLOBAL_INDEX) return give(&data.engine, sizeof data.engine, 1);
    if (name == CUDNN_ATTR_ENGINE_NUMERICAL_NOTE) {
        const auto notes = notesOf(data.engine);
        return give(notes.data(), sizeof(cudnnBackendNumericalNote_t), notes.size());
    }
    if (name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE) {
        const int64_t size = 4096;
        return give(&size, sizeof size, 1);
    }
    if (name == CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION) {
        if (pconv::cuda_stand_in::failsNow("plan to JSON"))
            return refuse(CUDNN_STATUS_NOT_SUPPORTED, "this plan cannot be written");
        const std::string text = nameOf(data);
        writtenPlans()[text] = own.data;
        return give(text.c_str(), 1, text.size() + 1);
    }
    return refuse(CUDNN_STATUS_NOT_SUPPORTED, "no such attribute here");
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                                  cudnnBackendDescriptor_t pack) {
    const std::shared_ptr<const Data> data = descriptor(plan).data;
    const std::shared_ptr<const Data> tensors = descriptor(pack).data;
    if (tensors->value<void*>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, nullptr) == nullptr)
        return refuse(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "there is no workspace");
    return static_cast<cudnnStatus_t>(pconv::cuda_stand_in::enqueue(handle->stream, [data, tensors] {
        const auto engine =
            data->other(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG)->other(CUDNN_ATTR_ENGINECFG_ENGINE);
        Execution execution(*tensors, engine->engine);
        for (const auto& operation :
             engine->other(CUDNN_ATTR_ENGINE_OPERATION_GRAPH)->others.at(CUDNN_ATTR_OPERATIONGRAPH_OPS)) {
            const cudnnStatus_t status = execution.run(*operation);
            if (status != CUDNN_STATUS_SUCCESS) return status;
        }
        return CUDNN_STATUS_SUCCESS;
    }));
}

}  // extern "C"
