// Execution plans of cuDNN graphs: engines proposed by its heuristics, those that may be used, and their disk
// form.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cuda/cudnn/conv_graph.h"

namespace pconv::cuda {

// One engine with its settings, not yet built: building is what takes seconds.
struct CudnnCandidate {
    CudnnDescriptor engine, config;
    int64_t index = 0;
    std::vector<cudnnBackendNumericalNote_t> notes;
};

// The engines that may compute `conv` on the device, best first by cuDNN's own heuristics. None that is not
// deterministic, that reduces in less than f32, and for exact math none that transforms or rounds inputs.
std::vector<CudnnCandidate> listCandidates(const CudnnConv& conv, const CudnnGraph& graph,
                                           const CudnnTarget& target);

class CudnnPlan {
  public:
    explicit CudnnPlan(CudnnDescriptor descriptor);
    // For what the plan was made of: cuDNN does not say that it keeps a copy.
    void keepAlive(std::shared_ptr<const void> object) { kept_.push_back(std::move(object)); }
    const CudnnDescriptor& descriptor() const { return descriptor_; }
    size_t workspaceBytes() const { return workspace_; }
    std::string json() const;

  private:
    std::vector<std::shared_ptr<const void>> kept_;
    CudnnDescriptor descriptor_;
    size_t workspace_ = 0;
};

// Null where cuDNN declines the candidate after all; `reason` has its words.
std::unique_ptr<CudnnPlan> buildPlan(const CudnnCandidate& candidate, const CudnnTarget& target,
                                     cudnnStatus_t& status, std::string& reason);
// Null where the text is no plan of this library.
std::unique_ptr<CudnnPlan> readPlan(const std::string& json, const CudnnTarget& target);

}  // namespace pconv::cuda
