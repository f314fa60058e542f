// What cuDNN plans for: a device of this machine, by a handle, or one that only a property file describes.
#pragma once

#include <string>

#include "cuda/cudnn/descriptor.h"

namespace pconv::cuda {

class CudnnTarget {
  public:
    explicit CudnnTarget(cudnnHandle_t handle) : handle_(handle) {}
    // `json` as CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION has it. Graphs are planned up to code generation;
    // what needs the driver fails.
    explicit CudnnTarget(const std::string& json) : properties_(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR) {
        properties_.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, json.c_str(), json.size())
            .finalize("describing the device");
    }

    void setOnGraph(CudnnDescriptor& graph) const {
        if (handle_ != nullptr) graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, handle_);
    }
    void setOnHeuristic(CudnnDescriptor& heuristic) const {
        if (handle_ == nullptr) heuristic.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, properties_);
    }
    void setOnPlan(CudnnDescriptor& plan) const {
        if (handle_ != nullptr)
            plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, handle_);
        else
            plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, properties_);
    }

  private:
    cudnnHandle_t handle_ = nullptr;
    CudnnDescriptor properties_;
};

}  // namespace pconv::cuda
