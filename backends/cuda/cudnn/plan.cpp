#include "cuda/cudnn/plan.h"

#include <algorithm>

namespace pconv::cuda {

namespace {

constexpr size_t kMaxProposals = 64;  // of one heuristic

bool allowed(const CudnnConv& conv, const std::vector<cudnnBackendNumericalNote_t>& notes) {
    const bool f32 = conv.data_type == DataType::f32;
    return std::none_of(notes.begin(), notes.end(), [&](cudnnBackendNumericalNote_t note) {
        switch (note) {
            case CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC:
            case CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION:
            case CUDNN_NUMERICAL_NOTE_FFT:
            case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6:
            case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13:
                return true;
            case CUDNN_NUMERICAL_NOTE_WINOGRAD:
            case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4:
                return conv.exact || !f32;
            // Tensor cores take f16 and bf16 as they are; of f32 they keep the ten bits of TF32.
            case CUDNN_NUMERICAL_NOTE_TENSOR_CORE:
                return conv.exact && f32;
            case CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS:
                return conv.exact || !f32;
            default:
                return false;
        }
    });
}

std::vector<CudnnDescriptor> propose(const CudnnGraph& graph, const CudnnTarget& target,
                                     cudnnBackendHeurMode_t mode) {
    CudnnDescriptor heuristic(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    heuristic.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph.descriptor())
        .set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, mode);
    target.setOnHeuristic(heuristic);
    if (heuristic.tryFinalize() != CUDNN_STATUS_SUCCESS) return {};
    int64_t count = 0;
    check(cudnn().getAttribute(heuristic.handle(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                               CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count, nullptr),
          "asking its heuristics");
    std::vector<CudnnDescriptor> configs;
    std::vector<cudnnBackendDescriptor_t> handles;
    for (size_t i = 0; i < std::min(kMaxProposals, static_cast<size_t>(count)); ++i)
        handles.push_back(configs.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR).handle());
    check(
        cudnn().getAttribute(heuristic.handle(), CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                             static_cast<int64_t>(handles.size()), &count, handles.data()),
        "asking its heuristics");
    configs.resize(std::min(configs.size(), static_cast<size_t>(count)));
    return configs;
}

}  // namespace

std::vector<CudnnCandidate> listCandidates(const CudnnConv& conv, const CudnnGraph& graph,
                                           const CudnnTarget& target) {
    std::vector<CudnnCandidate> candidates;
    for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK})
        for (CudnnDescriptor& config : propose(graph, target, mode)) {
            CudnnDescriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
            cudnnBackendDescriptor_t handle = engine.handle();
            int64_t count = 0;
            check(cudnn().getAttribute(config.handle(), CUDNN_ATTR_ENGINECFG_ENGINE,
                                       CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &handle),
                  "reading an engine");
            CudnnCandidate candidate;
            candidate.index = engine.number(CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
            candidate.notes = engine.get<cudnnBackendNumericalNote_t>(
                CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, CUDNN_NUMERICAL_NOTE_TYPE_COUNT);
            candidate.engine = std::move(engine);
            candidate.config = std::move(config);
            if (allowed(conv, candidate.notes)) candidates.push_back(std::move(candidate));
        }
    return candidates;
}

CudnnPlan::CudnnPlan(CudnnDescriptor descriptor) : descriptor_(std::move(descriptor)) {
    workspace_ = static_cast<size_t>(descriptor_.number(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE));
}

std::string CudnnPlan::json() const {
    return descriptor_.text(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION);
}

std::unique_ptr<CudnnPlan> buildPlan(const CudnnCandidate& candidate, const CudnnTarget& target,
                                     cudnnStatus_t& status, std::string& reason) {
    CudnnDescriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    target.setOnPlan(plan);
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, candidate.config);
    status = plan.tryFinalize();
    if (status == CUDNN_STATUS_SUCCESS) return std::make_unique<CudnnPlan>(std::move(plan));
    reason = cudnnText(status);
    return nullptr;
}

std::unique_ptr<CudnnPlan> readPlan(const std::string& json, const CudnnTarget& target) {
    CudnnDescriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    target.setOnPlan(plan);
    if (cudnn().setAttribute(plan.handle(), CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                             static_cast<int64_t>(json.size()), json.c_str()) != CUDNN_STATUS_SUCCESS ||
        plan.tryFinalize() != CUDNN_STATUS_SUCCESS)
        return nullptr;
    return std::make_unique<CudnnPlan>(std::move(plan));
}

}  // namespace pconv::cuda
