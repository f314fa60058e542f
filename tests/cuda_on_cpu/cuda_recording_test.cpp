// Recordings on CUDA: that the runtime's stand-in captures as CUDA does, and what the backend makes of it on
// adopted streams and where calls fail.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include "core/registry.h"
#include "recording_chain.h"
#include "stand_in.h"

namespace pconv::test {

namespace {

// ---- The stand-in itself ----

class CudaCapture : public testing::Test {
  protected:
    void SetUp() override {
        ASSERT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), cudaSuccess);
        ASSERT_EQ(cudaStreamCreate(&blocking_), cudaSuccess);
        ASSERT_EQ(cudaMalloc(&data_, sizeof(int)), cudaSuccess);
        *counter() = 0;
    }
    void TearDown() override {
        EXPECT_EQ(cudaFree(data_), cudaSuccess);
        EXPECT_EQ(cudaStreamDestroy(stream_), cudaSuccess);
        EXPECT_EQ(cudaStreamDestroy(blocking_), cudaSuccess);
        cudaGetLastError();
    }
    int* counter() { return static_cast<int*>(data_); }
    int count(cudaStream_t stream) {
        return cuda_stand_in::enqueue(stream, [this] {
            ++*counter();
            return 0;
        });
    }

    cudaStream_t stream_ = nullptr;
    cudaStream_t blocking_ = nullptr;
    void* data_ = nullptr;
};

TEST_F(CudaCapture, WorkRunsAtEachLaunchAndNotBefore) {
    ASSERT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed), cudaSuccess);
    EXPECT_EQ(count(stream_), cudaSuccess);
    EXPECT_EQ(count(stream_), cudaSuccess);
    EXPECT_EQ(count(blocking_), cudaSuccess);
    EXPECT_EQ(*counter(), 1) << "what another stream does is not captured";
    cudaGraph_t graph = nullptr;
    ASSERT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
    cudaGraphExec_t executable = nullptr;
    ASSERT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
    EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
    EXPECT_EQ(*counter(), 1);
    EXPECT_EQ(cudaGraphLaunch(executable, blocking_), cudaSuccess);
    EXPECT_EQ(*counter(), 3);
    EXPECT_EQ(cudaGraphLaunch(executable, nullptr), cudaSuccess);
    EXPECT_EQ(*counter(), 5);
    EXPECT_EQ(cudaGraphExecDestroy(executable), cudaSuccess);
    EXPECT_EQ(cudaGraphLaunch(executable, blocking_), cudaErrorInvalidValue);
    EXPECT_EQ(count(stream_), cudaSuccess);
    EXPECT_EQ(*counter(), 6);
}

TEST_F(CudaCapture, WhatItForbidsFailsAndEndsIt) {
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeRelaxed),
              cudaErrorStreamCaptureUnsupported);
    EXPECT_EQ(cudaStreamEndCapture(stream_, &graph), cudaErrorIllegalState);
    const auto forbidden = [&](cudaStream_t stream, cudaStreamCaptureMode mode, auto call) {
        EXPECT_EQ(cudaStreamBeginCapture(stream, mode), cudaSuccess);
        const cudaError_t status = call();
        EXPECT_EQ(count(stream), status == cudaSuccess ? cudaSuccess : cudaErrorStreamCaptureInvalidated);
        EXPECT_EQ(cudaStreamEndCapture(stream, &graph),
                  status == cudaSuccess ? cudaSuccess : cudaErrorStreamCaptureInvalidated);
        if (status == cudaSuccess) cudaGraphDestroy(graph);
        return status;
    };
    const auto allocate = [] {
        void* memory = nullptr;
        const cudaError_t status = cudaMalloc(&memory, 16);
        if (status == cudaSuccess) cudaFree(memory);
        return status;
    };
    EXPECT_EQ(
        forbidden(stream_, cudaStreamCaptureModeRelaxed, [&] { return cudaStreamSynchronize(stream_); }),
        cudaErrorStreamCaptureUnsupported);
    EXPECT_EQ(forbidden(stream_, cudaStreamCaptureModeThreadLocal, allocate),
              cudaErrorStreamCaptureUnsupported);
    EXPECT_EQ(forbidden(stream_, cudaStreamCaptureModeRelaxed, allocate), cudaSuccess);
    EXPECT_EQ(forbidden(stream_, cudaStreamCaptureModeRelaxed, [&] { return cudaFreeAsync(data_, stream_); }),
              cudaErrorNotSupported);
    EXPECT_EQ(forbidden(blocking_, cudaStreamCaptureModeRelaxed,
                        [&] { return static_cast<cudaError_t>(count(nullptr)); }),
              cudaErrorStreamCaptureImplicit);
    EXPECT_EQ(forbidden(stream_, cudaStreamCaptureModeRelaxed,
                        [&] { return static_cast<cudaError_t>(count(nullptr)); }),
              cudaSuccess);
    cudaEvent_t event = nullptr;
    ASSERT_EQ(cudaEventCreate(&event), cudaSuccess);
    ASSERT_EQ(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed), cudaSuccess);
    EXPECT_EQ(cudaEventRecord(event, stream_), cudaSuccess);
    EXPECT_EQ(cudaEventSynchronize(event), cudaErrorCapturedEvent);
    ASSERT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
    cudaGraphDestroy(graph);
    cudaEventDestroy(event);
}

// ---- The backend on it ----

class CudaRecordings : public testing::Test {
  protected:
    void SetUp() override {
        ASSERT_NE(backend().module, nullptr) << backend().reason;
        before_ = cuda_stand_in::liveObjects();
    }
    static const BackendEntry& backend() { return probeBackend("cuda"); }
    static const Implementation& row(Device& device, size_t index) {
        return *device.implementations().at(index);
    }

    OpenHost host_;
    size_t before_ = 0;
};

// The host's stream may be the legacy default stream, which cannot be captured, and its own work comes in
// between.
TEST_F(CudaRecordings, WorkOnAdoptedStreams) {
    cudaStream_t blocking = nullptr;
    ASSERT_EQ(cudaStreamCreate(&blocking), cudaSuccess);
    for (cudaStream_t stream : {cudaStream_t{nullptr}, blocking})
        for (const size_t index : {0, 1, 2}) {
            NativeDevice native;
            native.cuda_stream = stream;
            const auto device = backend().module->adopt(native, host_);
            Chain chain(*device, row(*device, index), 1);
            chain.writeInput(3);
            chain.enqueue();
            const std::vector<uint8_t> expected = chain.results();
            const auto recording = device->record([&] { chain.enqueue(); });
            void* result = nullptr;
            const TensorRef upsampled = chain.upsampled();
            const size_t bytes = upsampled.buffer->size();
            ASSERT_EQ(cudaMalloc(&result, bytes), cudaSuccess);
            const auto copy = device->importNative(reinterpret_cast<uintptr_t>(result), 0, bytes);
            TensorRef copied = upsampled;
            copied.buffer = copy;
            for (int round = 0; round < 3; ++round) {
                chain.poisonResults();
                recording->submit();
                device->convert(upsampled, copied, {2, 8, 1, 12, 10});
                std::vector<uint8_t> host(bytes);
                ASSERT_EQ(cudaMemcpyAsync(host.data(), result, bytes, cudaMemcpyDefault, stream),
                          cudaSuccess);
                ASSERT_EQ(cudaMemsetAsync(result, 0xFF, bytes, stream), cudaSuccess);
                ASSERT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
                EXPECT_TRUE(std::equal(host.begin(), host.end(), expected.begin())) << index;
                EXPECT_TRUE(chain.results() == expected) << index;
            }
            EXPECT_EQ(cudaFree(result), cudaSuccess);
        }
    EXPECT_EQ(cudaStreamDestroy(blocking), cudaSuccess);
    EXPECT_EQ(cuda_stand_in::liveObjects(), before_);
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST_F(CudaRecordings, NameTheCallThatFailedAndLeaveNothing) {
    const auto device = backend().module->open(0, host_);
    Chain chain(*device, row(*device, 2), 1);
    chain.writeInput(3);
    chain.enqueue();
    const std::vector<uint8_t> expected = chain.results();
    device->record([&] { chain.enqueue(); });
    const size_t live = cuda_stand_in::liveObjects();
    const auto faultOf = [&](const std::function<void()>& call) {
        try {
            device
                ->record([&] {
                    chain.enqueue();
                    call();
                })
                ->submit();
        } catch (const Error& error) {
            return std::string(error.what());
        }
        return std::string("nothing failed");
    };
    const std::pair<const char*, const char*> calls[] = {
        {"cudaStreamBeginCapture", "recording work: cudaErrorUnknown"},
        {"cudaGraphInstantiate", "making a graph of the recording: cudaErrorUnknown"},
        {"cudaGraphUpload", "uploading a recording: cudaErrorUnknown"},
        {"cudaGraphLaunch", "submitting a recording: cudaErrorUnknown"}};
    for (const auto& [call, words] : calls) {
        cuda_stand_in::failNext(call);
        EXPECT_EQ(faultOf([] {}).find(words), 0U) << call;
        EXPECT_EQ(cuda_stand_in::liveObjects(), live) << call;
    }
    EXPECT_EQ(faultOf([] {
                  cuda_stand_in::endCaptures();
              }).find("recording work: cudaErrorStreamCaptureInvalidated"),
              0U);
    EXPECT_EQ(faultOf([] { fail(PCONV_ERROR_INTERNAL, "of the caller"); }), "of the caller");
    EXPECT_EQ(cuda_stand_in::liveObjects(), live);
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);
    chain.poisonResults();
    chain.enqueue();
    EXPECT_TRUE(chain.results() == expected);
    chain.poisonResults();
    device->record([&] { chain.enqueue(); })->submit();
    EXPECT_TRUE(chain.results() == expected);
}

}  // namespace

}  // namespace pconv::test
