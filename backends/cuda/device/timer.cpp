#include "cuda/device/timer.h"

namespace pconv::cuda {

EventPair::EventPair() {
    check(cudaEventCreate(&begin_), "cudaEventCreate");
    const cudaError_t status = cudaEventCreate(&end_);
    if (status == cudaSuccess) return;
    cudaEventDestroy(begin_);
    check(status, "cudaEventCreate");
}

// Events on their way are released when they have come.
EventPair::~EventPair() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
}

void EventPair::begin(cudaStream_t stream) {
    check(cudaEventRecord(begin_, stream), "cudaEventRecord");
}

void EventPair::end(cudaStream_t stream) {
    check(cudaEventRecord(end_, stream), "cudaEventRecord");
}

double EventPair::seconds() const {
    check(cudaEventSynchronize(end_), "waiting for the end of what is timed");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, begin_, end_), "cudaEventElapsedTime");
    return static_cast<double>(milliseconds) * 1e-3;
}

CudaTimer::CudaTimer(std::shared_ptr<Stream> stream) : stream_(std::move(stream)) {
    const CurrentDevice current(stream_->device());
    events_ = std::make_unique<EventPair>();
}

void CudaTimer::start() {
    stream_->refuseInCapture("a timer's mark");
    const CurrentDevice current(stream_->device());
    events_->begin(stream_->queue());
}

void CudaTimer::stop() {
    stream_->refuseInCapture("a timer's mark");
    const CurrentDevice current(stream_->device());
    events_->end(stream_->queue());
}

double CudaTimer::seconds() {
    const CurrentDevice current(stream_->device());
    return events_->seconds();
}

}  // namespace pconv::cuda
