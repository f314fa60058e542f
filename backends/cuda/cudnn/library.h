// cuDNN, opened when it is first asked for: the module loads on machines without it.
#pragma once

#include <cudnn_graph.h>

#include <string>

namespace pconv::cuda {

// The functions of cuDNN's backend API that are used here.
struct CudnnFunctions {
    decltype(&cudnnGetVersion) getVersion;
    decltype(&cudnnGetErrorString) getErrorString;
    decltype(&cudnnGetLastErrorString) getLastErrorString;
    decltype(&cudnnCreate) create;
    decltype(&cudnnDestroy) destroy;
    decltype(&cudnnSetStream) setStream;
    decltype(&cudnnBackendCreateDescriptor) createDescriptor;
    decltype(&cudnnBackendDestroyDescriptor) destroyDescriptor;
    decltype(&cudnnBackendFinalize) finalize;
    decltype(&cudnnBackendSetAttribute) setAttribute;
    decltype(&cudnnBackendGetAttribute) getAttribute;
    decltype(&cudnnBackendExecute) execute;
};

// Null where it cannot be opened or is too old; `reason` then says why.
const CudnnFunctions* findCudnn(std::string& reason);

// For code that is only reached where findCudnn found it.
const CudnnFunctions& cudnn();

std::string cudnnVersion();  // "9.19.0"

// "CUDNN_STATUS_NOT_SUPPORTED: the library's own last words".
std::string cudnnText(cudnnStatus_t status);
void check(cudnnStatus_t status, const char* what);

}  // namespace pconv::cuda
