#include "cuda/cudnn/library.h"

#include <array>

#include "error.h"
#include "platform/dynamic_library.h"

namespace pconv::cuda {

namespace {

constexpr size_t kOldestVersion = 90800;  // the first that describes a device without a handle

#if defined(_WIN32)
constexpr char kLibraryName[] = "cudnn64_9.dll";
#else
constexpr char kLibraryName[] = "libcudnn.so.9";
#endif

std::string versionText(size_t version) {
    return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
           std::to_string(version % 100);
}

template <typename Function>
bool load(const platform::DynamicLibrary& library, const char* name, Function& function,
          std::string& reason) {
    function = reinterpret_cast<Function>(library.symbol(name));
    if (function == nullptr) reason = std::string(kLibraryName) + " has no function " + name;
    return function != nullptr;
}

struct Loaded {
    CudnnFunctions functions{};
    std::string reason;
    bool usable = false;

    Loaded() {
        platform::DynamicLibrary library;
        std::string why;
        if (!library.open(kLibraryName, why)) {
            reason = "cuDNN could not be loaded: " + why;
            return;
        }
        CudnnFunctions& f = functions;
        usable = load(library, "cudnnGetVersion", f.getVersion, reason) &&
                 load(library, "cudnnGetErrorString", f.getErrorString, reason) &&
                 load(library, "cudnnGetLastErrorString", f.getLastErrorString, reason) &&
                 load(library, "cudnnCreate", f.create, reason) &&
                 load(library, "cudnnDestroy", f.destroy, reason) &&
                 load(library, "cudnnSetStream", f.setStream, reason) &&
                 load(library, "cudnnBackendCreateDescriptor", f.createDescriptor, reason) &&
                 load(library, "cudnnBackendDestroyDescriptor", f.destroyDescriptor, reason) &&
                 load(library, "cudnnBackendFinalize", f.finalize, reason) &&
                 load(library, "cudnnBackendSetAttribute", f.setAttribute, reason) &&
                 load(library, "cudnnBackendGetAttribute", f.getAttribute, reason) &&
                 load(library, "cudnnBackendExecute", f.execute, reason);
        if (usable && f.getVersion() < kOldestVersion) {
            reason = "cuDNN is " + versionText(f.getVersion()) + "; expected " + versionText(kOldestVersion) +
                     " or later";
            usable = false;
        }
        // Its own threads and static objects may outlive this module's.
        if (usable) library.keepLoaded();
    }
};

const Loaded& loaded() {
    // Never destroyed: devices may be closed while the process ends.
    static const Loaded& library = *new Loaded;
    return library;
}

}  // namespace

const CudnnFunctions* findCudnn(std::string& reason) {
    if (loaded().usable) return &loaded().functions;
    reason = loaded().reason;
    return nullptr;
}

const CudnnFunctions& cudnn() {
    std::string reason;
    const CudnnFunctions* functions = findCudnn(reason);
    if (functions == nullptr) fail(PCONV_ERROR_UNSUPPORTED, reason);
    return *functions;
}

std::string cudnnVersion() {
    return versionText(cudnn().getVersion());
}

std::string cudnnText(cudnnStatus_t status) {
    std::array<char, 512> words{};
    cudnn().getLastErrorString(words.data(), words.size());
    std::string text = cudnn().getErrorString(status);
    if (words[0] != '\0') text += std::string(": ") + words.data();
    return text;
}

void check(cudnnStatus_t status, const char* what) {
    if (status == CUDNN_STATUS_SUCCESS) return;
    const bool memory = status == CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED ||
                        status == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED;
    const bool unsupported = CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_NOT_SUPPORTED;
    fail(memory        ? PCONV_ERROR_OUT_OF_MEMORY
         : unsupported ? PCONV_ERROR_UNSUPPORTED
                       : PCONV_ERROR_DEVICE,
         std::string("cuDNN, ") + what + ": " + cudnnText(status));
}

}  // namespace pconv::cuda
