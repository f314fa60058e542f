// Streams, captures, graphs and events of the CUDA runtime on the CPU. A stream does at once what is
// enqueued, or, where streams run late, in its order when someone waits; work on a stream under capture is
// kept and runs at each launch of its graph. What a capture forbids fails as CUDA's does, and ends the
// capture.
#include <cuda_runtime_api.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "stand_in.h"

using pconv::cuda_stand_in::refused;
using pconv::cuda_stand_in::Work;

struct CUgraph_st {
    std::vector<Work> nodes;
};
struct CUgraphExec_st {
    std::vector<Work> nodes;
};
struct CUstream_st {
    bool blocking = true;  // towards the legacy stream
    cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
    bool invalidated = false;
    std::unique_ptr<CUgraph_st> capture;
    int device = 0;
    std::deque<Work> pending;
};
struct CUevent_st {
    CUstream_st* stream = nullptr;  // in which it was recorded last
    bool timed = true;
    bool recorded = false;
    bool captured = false;
    std::chrono::steady_clock::time_point time;
};

namespace {

struct Streams {
    std::mutex mutex;
    std::set<CUstream_st*> streams;
    std::set<CUgraph_st*> graphs;
    std::set<CUgraphExec_st*> executables;
    std::string failing;                // the name of a call
    std::map<int, CUstream_st> legacy;  // by device
    std::mutex working;                 // held while a stream does what it had left for later
};

Streams& all() {
    // Never destroyed: devices may be closed while the process ends.
    static Streams& only = *new Streams;
    return only;
}

using Lock = std::lock_guard<std::mutex>;

bool failsLocked(const char* call) {
    if (all().failing != call) return false;
    all().failing.clear();
    refused(cudaErrorUnknown);
    return true;
}

// The stream itself, of the current device where it is the legacy one.
CUstream_st& streamOf(CUstream_st* stream) {
    if (stream != nullptr && stream != cudaStreamLegacy) return *stream;
    const int device = pconv::cuda_stand_in::currentDevice();
    CUstream_st& legacy = all().legacy[device];
    legacy.device = device;
    return legacy;
}

bool isLegacy(const CUstream_st* stream) {
    return stream == nullptr || stream == cudaStreamLegacy;
}

bool isKnown(CUstream_st* stream) {
    return isLegacy(stream) || all().streams.count(stream) != 0;
}

cudaError_t invalidate(CUstream_st& stream, cudaError_t status) {
    stream.invalidated = true;
    return refused(status);
}

// Work on the legacy stream would have to wait for every blocking stream, which one that is being captured
// cannot be waited for.
cudaError_t refusalOfLegacy() {
    for (CUstream_st* other : all().streams)
        if (other->capture != nullptr && other->blocking)
            return invalidate(*other, cudaErrorStreamCaptureImplicit);
    return cudaSuccess;
}

// For calls that wait for a stream or ask how far it is.
cudaError_t refusalOfWait(CUstream_st* stream) {
    if (!isKnown(stream)) return refused(cudaErrorInvalidResourceHandle);
    if (isLegacy(stream)) return refusalOfLegacy();
    return stream->capture != nullptr ? invalidate(*stream, cudaErrorStreamCaptureUnsupported) : cudaSuccess;
}

// Does what a stream has still to do; the last status that was none of success.
int finishOne(CUstream_st& stream) {
    const Lock working(all().working);
    int status = 0;
    while (true) {
        Work work;
        {
            const Lock lock(all().mutex);
            if (stream.pending.empty()) return status;
            work = std::move(stream.pending.front());
            stream.pending.pop_front();
        }
        if (const int one = work(); one != 0) status = one;
    }
}

}  // namespace

namespace pconv::cuda_stand_in {

int enqueue(CUstream_st* stream, Work work) {
    {
        const Lock lock(all().mutex);
        if (!isKnown(stream)) return refused(cudaErrorInvalidResourceHandle);
        if (isLegacy(stream)) {
            const cudaError_t refusal = refusalOfLegacy();
            if (refusal != cudaSuccess) return refusal;
        } else {
            if (stream->device != currentDevice()) return refused(cudaErrorInvalidResourceHandle);
            if (stream->capture != nullptr) {
                if (stream->invalidated) return refused(cudaErrorStreamCaptureInvalidated);
                stream->capture->nodes.push_back(std::move(work));
                return cudaSuccess;
            }
        }
        if (runsLate()) {
            streamOf(stream).pending.push_back(std::move(work));
            return cudaSuccess;
        }
    }
    return work();
}

bool runsLate() {
    static const bool late = [] {
        const char* text = std::getenv("PCONV_FAKE_LATE");
        return text != nullptr && std::string(text) == "1";
    }();
    return late;
}

void finish(CUstream_st* stream) {
    CUstream_st* of = nullptr;
    {
        const Lock lock(all().mutex);
        of = &streamOf(stream);
    }
    if (const int status = finishOne(*of); status != 0) remember(status);
}

void finishAll() {
    if (!runsLate()) return;
    std::vector<CUstream_st*> streams;
    {
        const Lock lock(all().mutex);
        streams.assign(all().streams.begin(), all().streams.end());
        for (auto& legacy : all().legacy) streams.push_back(&legacy.second);
    }
    for (CUstream_st* stream : streams) finishOne(*stream);
}

void expectIdle(const char* what) {
    if (!runsLate()) return;
    const Lock lock(all().mutex);
    bool busy = false;
    for (const CUstream_st* stream : all().streams) busy = busy || !stream->pending.empty();
    for (const auto& legacy : all().legacy) busy = busy || !legacy.second.pending.empty();
    if (!busy) return;
    std::fprintf(stderr, "%s while a stream has work to do\n", what);
    std::abort();
}

bool failsNow(const char* call) {
    const Lock lock(all().mutex);
    return failsLocked(call);
}

int refusalOfUnsafeCall() {
    const Lock lock(all().mutex);
    for (CUstream_st* stream : all().streams)
        if (stream->capture != nullptr && stream->mode != cudaStreamCaptureModeRelaxed)
            return invalidate(*stream, cudaErrorStreamCaptureUnsupported);
    return cudaSuccess;
}

int refusalOfMemory(CUstream_st* stream) {
    const Lock lock(all().mutex);
    if (!isKnown(stream)) return refused(cudaErrorInvalidResourceHandle);
    return !isLegacy(stream) && stream->capture != nullptr ? invalidate(*stream, cudaErrorNotSupported)
                                                           : cudaSuccess;
}

void failNext(const char* call) {
    const Lock lock(all().mutex);
    all().failing = call;
}

void endCaptures() {
    const Lock lock(all().mutex);
    for (CUstream_st* stream : all().streams)
        if (stream->capture != nullptr) invalidate(*stream, cudaErrorStreamCaptureUnsupported);
}

size_t liveObjects() {
    const Lock lock(all().mutex);
    return all().streams.size() + all().graphs.size() + all().executables.size();
}

}  // namespace pconv::cuda_stand_in

extern "C" {

// ---- Streams ----

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
    const Lock lock(all().mutex);
    *stream = new CUstream_st;
    (*stream)->blocking = (flags & cudaStreamNonBlocking) == 0;
    (*stream)->device = pconv::cuda_stand_in::currentDevice();
    all().streams.insert(*stream);
    return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) {
    return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    {
        const Lock lock(all().mutex);
        if (all().streams.count(stream) == 0) return refused(cudaErrorInvalidResourceHandle);
    }
    finishOne(*stream);
    const Lock lock(all().mutex);
    all().streams.erase(stream);
    delete stream;
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    CUstream_st* of = nullptr;
    {
        const Lock lock(all().mutex);
        if (const cudaError_t refusal = refusalOfWait(stream); refusal != cudaSuccess) return refusal;
        if (!isLegacy(stream) && stream->device != pconv::cuda_stand_in::currentDevice())
            return refused(cudaErrorInvalidResourceHandle);
        of = &streamOf(stream);
    }
    const int status = finishOne(*of);
    return status == 0 ? cudaSuccess : refused(static_cast<cudaError_t>(status));
}
cudaError_t cudaStreamGetDevice(cudaStream_t stream, int* device) {
    const Lock lock(all().mutex);
    if (!isKnown(stream)) return refused(cudaErrorInvalidResourceHandle);
    *device = streamOf(stream).device;
    return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
    const Lock lock(all().mutex);
    if (!isKnown(stream)) return refused(cudaErrorInvalidResourceHandle);
    *status = !isLegacy(stream) && stream->capture != nullptr ? cudaStreamCaptureStatusActive
                                                              : cudaStreamCaptureStatusNone;
    return isLegacy(stream) ? refusalOfLegacy() : cudaSuccess;
}

// ---- Captures and graphs ----

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
    const Lock lock(all().mutex);
    if (failsLocked("cudaStreamBeginCapture")) return cudaErrorUnknown;
    if (!isKnown(stream)) return refused(cudaErrorInvalidResourceHandle);
    if (isLegacy(stream)) return refused(cudaErrorStreamCaptureUnsupported);
    if (stream->capture != nullptr) return refused(cudaErrorIllegalState);
    stream->capture = std::make_unique<CUgraph_st>();
    stream->mode = mode;
    stream->invalidated = false;
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
    const Lock lock(all().mutex);
    *graph = nullptr;
    if (isLegacy(stream) || !isKnown(stream) || stream->capture == nullptr)
        return refused(cudaErrorIllegalState);
    const std::unique_ptr<CUgraph_st> capture = std::move(stream->capture);
    if (stream->invalidated) return refused(cudaErrorStreamCaptureInvalidated);
    *graph = new CUgraph_st(*capture);
    all().graphs.insert(*graph);
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    const Lock lock(all().mutex);
    if (all().graphs.erase(graph) == 0) return refused(cudaErrorInvalidValue);
    delete graph;
    return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long flags) {
    const Lock lock(all().mutex);
    if (failsLocked("cudaGraphInstantiate")) return cudaErrorUnknown;
    if (flags != 0 || all().graphs.count(graph) == 0) return refused(cudaErrorInvalidValue);
    *executable = new CUgraphExec_st{graph->nodes};
    all().executables.insert(*executable);
    return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t executable, cudaStream_t stream) {
    const Lock lock(all().mutex);
    if (failsLocked("cudaGraphUpload")) return cudaErrorUnknown;
    if (all().executables.count(executable) == 0) return refused(cudaErrorInvalidValue);
    return refusalOfWait(stream);
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
    std::vector<Work> nodes;
    {
        const Lock lock(all().mutex);
        if (failsLocked("cudaGraphLaunch")) return cudaErrorUnknown;
        if (all().executables.count(executable) == 0) return refused(cudaErrorInvalidValue);
        nodes = executable->nodes;
    }
    // Within another capture they become nodes of that one.
    for (const Work& node : nodes)
        if (const int status = pconv::cuda_stand_in::enqueue(stream, node); status != 0)
            return refused(cudaErrorLaunchFailure);
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
    const Lock lock(all().mutex);
    if (all().executables.erase(executable) == 0) return refused(cudaErrorInvalidValue);
    delete executable;
    return cudaSuccess;
}

// ---- Events ----

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
    *event = new CUevent_st;
    (*event)->timed = (flags & cudaEventDisableTiming) == 0;
    return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) {
    return cudaEventCreateWithFlags(event, cudaEventDefault);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
    delete event;
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    {
        const Lock lock(all().mutex);
        if (!isKnown(stream)) return refused(cudaErrorInvalidResourceHandle);
        event->captured = !isLegacy(stream) && stream->capture != nullptr;
        event->recorded = !event->captured;
        event->stream = &streamOf(stream);
        if (event->captured) return cudaSuccess;
    }
    return static_cast<cudaError_t>(pconv::cuda_stand_in::enqueue(stream, [event] {
        event->time = std::chrono::steady_clock::now();
        return 0;
    }));
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    if (event->captured) return refused(cudaErrorCapturedEvent);
    if (!event->recorded) return refused(cudaErrorInvalidValue);
    if (pconv::cuda_stand_in::runsLate()) finishOne(*event->stream);
    return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
    if (!begin->recorded || !end->recorded || !begin->timed || !end->timed)
        return refused(cudaErrorInvalidResourceHandle);
    *milliseconds = std::chrono::duration<float, std::milli>(end->time - begin->time).count();
    return cudaSuccess;
}

}  // extern "C"
