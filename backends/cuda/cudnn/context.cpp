#include "cuda/cudnn/context.h"

#include <algorithm>
#include <cstdlib>

#include "cuda/device/timer.h"
#include "platform/cache_file.h"

namespace pconv::cuda {

namespace {

constexpr size_t kMaxWorkspace = size_t{512} << 20;
constexpr size_t kTimedPlans = 4;
constexpr size_t kAnswers = 64;  // a network's graphs; a plan holds compiled code
constexpr int kTimedRuns = 10;

bool timingAsked() {
    const char* text = std::getenv("PCONV_CUDNN_TIMING");
    return text != nullptr && std::string(text) == "1";
}

// Zeros, for as long as candidates are timed.
std::unique_ptr<OwnedCudaBuffer> makeScratch(const std::shared_ptr<Stream>& stream, Host& host,
                                             size_t bytes) {
    auto scratch = std::make_unique<OwnedCudaBuffer>(stream, host, std::max<size_t>(bytes, 1));
    check(cudaMemsetAsync(scratch->data(), 0, bytes, stream->queue()), "clearing device memory");
    return scratch;
}

}  // namespace

std::string cudnnEnvironment(const DeviceInfo& device) {
    std::string uuid;
    for (const uint8_t byte : device.uuid) uuid += std::to_string(byte) + ".";
    return device.name + " " + uuid + " " + device.driver + " cuDNN " + cudnnVersion() + " pconv " +
           PCONV_BUILD_VERSION;
}

CudnnContext::CudnnContext(const DeviceInfo& device, Host& host, std::shared_ptr<Stream> stream)
    : host_(host),
      stream_(std::move(stream)),
      handles_stream_(stream_->queue()),
      cache_(platform::cacheFolder(), cudnnEnvironment(device)) {
    check(cuda::cudnn().create(&handle_), "cudnnCreate");
    try {
        check(cuda::cudnn().setStream(handle_, handles_stream_), "cudnnSetStream");
        target_ = std::make_unique<CudnnTarget>(handle_);
    } catch (...) {
        cuda::cudnn().destroy(handle_);
        throw;
    }
}

CudnnContext::~CudnnContext() {
    cuda::cudnn().destroy(handle_);
}

std::shared_ptr<const CudnnPlan> CudnnContext::plan(const CudnnConv& conv) {
    const std::string key = conv.key();
    const auto found = std::find_if(answers_.begin(), answers_.end(),
                                    [&](const Answer& answer) { return answer.key == key; });
    if (found != answers_.end()) {
        answers_.splice(answers_.begin(), answers_, found);
    } else {
        Answer answer{key, nullptr, ""};
        try {
            answer.plan = findPlan(conv);
        } catch (const Error& error) {
            if (error.status() != PCONV_ERROR_UNSUPPORTED) throw;
            answer.reason = error.what();
        }
        answers_.push_front(std::move(answer));
        if (answers_.size() > kAnswers) answers_.pop_back();
    }
    const Answer& answer = answers_.front();
    if (answer.plan == nullptr) fail(PCONV_ERROR_UNSUPPORTED, answer.reason);
    return answer.plan;
}

std::unique_ptr<CudnnPlan> CudnnContext::findPlan(const CudnnConv& conv) {
    const std::string key = conv.key();
    const std::string kept = cache_.read(key);
    if (!kept.empty())
        if (auto plan = readPlan(kept, *target_)) return plan;
    auto plans = build(conv, timingAsked() ? kTimedPlans : 1);
    size_t best = 0;
    if (plans.size() > 1) {
        std::vector<double> times;
        for (const auto& plan : plans) times.push_back(milliseconds(conv, *plan));
        best = static_cast<size_t>(std::min_element(times.begin(), times.end()) - times.begin());
        if (host_.verbosity() >= 2)
            for (size_t i = 0; i < plans.size(); ++i)
                host_.message("cuDNN plan " + std::to_string(i) + (i == best ? " (chosen): " : ": ") +
                              std::to_string(times[i]) + " ms for " + key);
    }
    std::string text;
    try {
        text = plans[best]->json();
    } catch (const Error&) {
        // An engine that cannot be written down serves this process all the same.
    }
    if (!text.empty()) cache_.write(key, text);
    return std::move(plans[best]);
}

std::vector<std::unique_ptr<CudnnPlan>> CudnnContext::build(const CudnnConv& conv, size_t most) const {
    const auto graph = std::make_shared<const CudnnGraph>(conv, *target_);
    const auto candidates =
        std::make_shared<std::vector<CudnnCandidate>>(listCandidates(conv, *graph, *target_));
    std::vector<std::unique_ptr<CudnnPlan>> plans;
    std::string reason = "its heuristics propose no engine";
    for (const CudnnCandidate& candidate : *candidates) {
        cudnnStatus_t status{};
        auto plan = buildPlan(candidate, *target_, status, reason);
        if (plan == nullptr) continue;
        if (plan->workspaceBytes() > kMaxWorkspace) {
            reason = "its workspace is larger than " + std::to_string(kMaxWorkspace >> 20) + " MiB";
            continue;
        }
        plan->keepAlive(graph);
        plan->keepAlive(candidates);
        plans.push_back(std::move(plan));
        if (plans.size() == most) break;
    }
    if (plans.empty()) fail(PCONV_ERROR_UNSUPPORTED, "cuDNN has no plan for " + conv.key() + ": " + reason);
    return plans;
}

void CudnnContext::execute(const CudnnPlan& plan, const CudnnTensors& tensors, void* workspace) {
    if (handles_stream_ != stream_->handle()) {
        check(cuda::cudnn().setStream(handle_, stream_->handle()), "cudnnSetStream");
        handles_stream_ = stream_->handle();
    }
    std::vector<int64_t> ids;
    std::vector<void*> pointers;
    for (const auto& [id, data] : tensors) {
        ids.push_back(id);
        pointers.push_back(data);
    }
    CudnnDescriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids)
        .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, pointers.data(), pointers.size())
        .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, workspace)
        .finalize("naming the tensors");
    check(cuda::cudnn().execute(handle_, plan.descriptor().handle(), pack.handle()), "running a plan");
}

double CudnnContext::milliseconds(const CudnnConv& conv, const CudnnPlan& plan) {
    std::vector<std::unique_ptr<OwnedCudaBuffer>> memory;
    CudnnTensors tensors;
    for (const auto& [id, bytes] : conv.tensorBytes()) {
        memory.push_back(makeScratch(stream_, host_, bytes));
        tensors.emplace_back(id, memory.back()->data());
    }
    const auto workspace = makeScratch(stream_, host_, plan.workspaceBytes());
    EventPair events;
    for (int i = 0; i <= kTimedRuns; ++i) {
        if (i == 1) events.begin(stream_->queue());
        execute(plan, tensors, workspace->data());
    }
    events.end(stream_->queue());
    return events.seconds() * 1e3 / kTimedRuns;
}

}  // namespace pconv::cuda
