// What the stand-ins for CUDA's libraries, and the shim under the kernels, know of each other.
#pragma once

#include <cstddef>
#include <functional>

struct CUctx_st;
struct CUstream_st;

namespace pconv::cuda_stand_in {

// Work of a stream, which answers a cudaError_t or, in cuDNN's, a cudnnStatus_t.
using Work = std::function<int()>;

// Runs the work, or keeps it where the stream is being captured; answers as cudaError_t.
int enqueue(CUstream_st* stream, Work work);

// For calls that are not a stream's and that a capture may forbid: 0, or the cudaError_t to answer.
int refusalOfUnsafeCall();
// For memory in stream order, which the backend must not ask of a stream that is being captured.
int refusalOfMemory(CUstream_st* stream);

// ---- Devices ----

// That of the calling thread; makes its primary context where the thread has none of another.
int currentDevice();
// Whether a device has a primary context by now.
bool hasContext(int device);
void forgetContexts();
// A context that is not the primary one, and how many the calling thread has pushed.
CUctx_st* newContext(int device);
size_t contextDepth();

// ---- Late streams ----

// Whether streams do their work no sooner than someone waits for it: PCONV_FAKE_LATE is 1.
bool runsLate();
// Does what a stream, or every stream, has still to do.
void finish(CUstream_st* stream);
void finishAll();
// Ends the process, saying what was done, where a stream has still something to do.
void expectIdle(const char* what);

// Remembers a status for cudaGetLastError, and returns it.
int remember(int status);
template <typename Status>
Status refused(Status status) {
    remember(status);
    return status;
}

// The next call of this name fails, of the runtime with cudaErrorUnknown.
void failNext(const char* call);
bool failsNow(const char* call);
// What a call that a capture forbids does to it.
void endCaptures();
// Graphs and streams that have not been destroyed.
size_t liveObjects();

}  // namespace pconv::cuda_stand_in
