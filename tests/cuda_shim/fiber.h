// Fibers: threads of control that hand over to each other. One system thread runs all of them.
#pragma once

#include <cstddef>
#include <vector>

namespace pconv::cuda_shim {

struct FiberContext;

// A pool of stacks and the contexts on them, reused from block to block.
class FiberPool {
  public:
    FiberPool();
    FiberPool(const FiberPool&) = delete;
    FiberPool& operator=(const FiberPool&) = delete;
    ~FiberPool();

    // Prepares fibers 0 ... count - 1 to start with entry(index). What they were doing is forgotten.
    void prepare(size_t count, void (*entry)(size_t));
    // Called by the system thread: runs the fiber until it yields.
    void resume(size_t index);
    // Called by the running fiber; `ended`: it will not be resumed.
    void yield(bool ended = false);

  private:
    std::vector<FiberContext*> fibers_;
    FiberContext* main_;
    FiberContext* running_ = nullptr;
};

}  // namespace pconv::cuda_shim
