// cuDNN on one device and stream: its handle, and plans by graph, from the disk where they are kept.
#pragma once

#include <list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cuda/cudnn/plan.h"
#include "cuda/cudnn/plan_cache.h"
#include "cuda/device/memory.h"

namespace pconv::cuda {

// A graph's tensors by their ids.
using CudnnTensors = std::vector<std::pair<int64_t, void*>>;

class CudnnContext {
  public:
    CudnnContext(const DeviceInfo& device, Host& host, std::shared_ptr<Stream> stream);
    CudnnContext(const CudnnContext&) = delete;
    CudnnContext& operator=(const CudnnContext&) = delete;
    ~CudnnContext();

    // The plan in use or kept on disk for the graph, else the best one that can be built, which is then kept:
    // the first of cuDNN's own order, or the fastest of the first few where the environment variable
    // PCONV_CUDNN_TIMING is
    // 1. Throws where cuDNN has none.
    // A refusal is remembered, so that asking again costs nothing; of plans, the last few dozen.
    std::shared_ptr<const CudnnPlan> plan(const CudnnConv& conv);
    // Enqueues.
    void execute(const CudnnPlan& plan, const CudnnTensors& tensors, void* workspace);

  private:
    std::unique_ptr<CudnnPlan> findPlan(const CudnnConv& conv);
    std::vector<std::unique_ptr<CudnnPlan>> build(const CudnnConv& conv, size_t most) const;
    double milliseconds(const CudnnConv& conv, const CudnnPlan& plan);

    Host& host_;
    std::shared_ptr<Stream> stream_;
    cudnnHandle_t handle_ = nullptr;
    cudaStream_t handles_stream_ = nullptr;
    std::unique_ptr<CudnnTarget> target_;
    CudnnPlanCache cache_;
    struct Answer {
        std::string key;
        std::shared_ptr<const CudnnPlan> plan;  // null: refused
        std::string reason;
    };
    std::list<Answer> answers_;  // the latest first
};

// What a kept plan depends on besides its graph, as one line.
std::string cudnnEnvironment(const DeviceInfo& device);

}  // namespace pconv::cuda
