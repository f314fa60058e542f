#include "cpu/scratch.h"

#include <utility>

#include "cpu/device.h"

namespace pconv::cpu {

void SharedScratch::enter(size_t bytes) {
    if (!buffer_ || buffer_->size() < bytes) buffer_ = device_.allocate(bytes);
    ++users_;
}

void SharedScratch::leave() noexcept {
    if (--users_ == 0) buffer_.reset();
}

Scratch::Scratch(CpuDevice& device, size_t bytes) {
    device.scratch()->enter(bytes);
    shared_ = device.scratch();
}

Scratch& Scratch::operator=(Scratch&& other) noexcept {
    std::swap(shared_, other.shared_);
    return *this;
}

Scratch::~Scratch() {
    if (shared_) shared_->leave();
}

}  // namespace pconv::cpu
