// One object of cuDNN's backend API: attributes are set, then it is finalized.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cuda/cudnn/library.h"

namespace pconv::cuda {

class CudnnDescriptor {
  public:
    CudnnDescriptor() = default;
    explicit CudnnDescriptor(cudnnBackendDescriptorType_t type) {
        check(cudnn().createDescriptor(type, &handle_), "creating a descriptor");
    }
    CudnnDescriptor(CudnnDescriptor&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    CudnnDescriptor& operator=(CudnnDescriptor&& other) noexcept {
        std::swap(handle_, other.handle_);
        return *this;
    }
    CudnnDescriptor(const CudnnDescriptor&) = delete;
    CudnnDescriptor& operator=(const CudnnDescriptor&) = delete;
    ~CudnnDescriptor() {
        if (handle_ != nullptr) cudnn().destroyDescriptor(handle_);
    }

    cudnnBackendDescriptor_t handle() const { return handle_; }

    template <typename T>
    CudnnDescriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, const T* values,
                         size_t count) {
        check(cudnn().setAttribute(handle_, name, type, static_cast<int64_t>(count), values),
              "setting an attribute");
        return *this;
    }
    template <typename T>
    CudnnDescriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, const T& value) {
        return set(name, type, &value, 1);
    }
    CudnnDescriptor& set(cudnnBackendAttributeName_t name, const std::vector<int64_t>& values) {
        return set(name, CUDNN_TYPE_INT64, values.data(), values.size());
    }
    CudnnDescriptor& set(cudnnBackendAttributeName_t name, const CudnnDescriptor& other) {
        return set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, other.handle_);
    }

    cudnnStatus_t tryFinalize() { return cudnn().finalize(handle_); }
    CudnnDescriptor& finalize(const char* what) {
        check(tryFinalize(), what);
        return *this;
    }

    // At most `most` values.
    template <typename T>
    std::vector<T> get(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                       size_t most) const {
        std::vector<T> values(most);
        int64_t count = 0;
        check(cudnn().getAttribute(handle_, name, type, static_cast<int64_t>(most), &count, values.data()),
              "reading an attribute");
        if (static_cast<size_t>(count) < most) values.resize(static_cast<size_t>(count));
        return values;
    }
    int64_t number(cudnnBackendAttributeName_t name) const {
        return get<int64_t>(name, CUDNN_TYPE_INT64, 1).at(0);
    }

    std::string text(cudnnBackendAttributeName_t name) const {
        int64_t count = 0;
        check(cudnn().getAttribute(handle_, name, CUDNN_TYPE_CHAR, 0, &count, nullptr),
              "reading an attribute");
        const auto characters = get<char>(name, CUDNN_TYPE_CHAR, static_cast<size_t>(count));
        std::string text(characters.begin(), characters.end());
        while (!text.empty() && text.back() == '\0') text.pop_back();
        return text;
    }

  private:
    cudnnBackendDescriptor_t handle_ = nullptr;
};

}  // namespace pconv::cuda
