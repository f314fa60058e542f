#include "cuda/device/recording.h"

namespace pconv::cuda {

CudaRecording::CudaRecording(std::shared_ptr<Stream> stream, const std::function<void()>& enqueue)
    : stream_(std::move(stream)) {
    const CurrentDevice current(stream_->device());
    stream_->beginCapture();
    cudaGraph_t captured = nullptr;
    try {
        enqueue();
        captured = stream_->endCapture();
    } catch (...) {
        stream_->cancelCapture();
        throw;
    }
    const cudaError_t status = cudaGraphInstantiate(&graph_, captured, 0);
    cudaGraphDestroy(captured);
    check(status, "making a graph of the recording");
    const cudaError_t uploaded = cudaGraphUpload(graph_, stream_->queue());
    if (uploaded == cudaSuccess) return;
    cudaGraphExecDestroy(graph_);
    check(uploaded, "uploading a recording");
}

CudaRecording::~CudaRecording() {
    if (const CurrentDevice current(stream_->device(), std::nothrow); current.made())
        cudaGraphExecDestroy(graph_);
}

void CudaRecording::submit() {
    stream_->refuseInCapture("a recording within another");
    const CurrentDevice current(stream_->device());
    check(cudaGraphLaunch(graph_, stream_->queue()), "submitting a recording");
}

}  // namespace pconv::cuda
