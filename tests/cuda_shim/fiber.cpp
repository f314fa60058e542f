#include "fiber.h"

#include <pthread.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstdint>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace pconv::cuda_shim {

struct FiberContext {
    void* stack = nullptr;  // null: the system thread's
    size_t stack_size = 0;
    void* stack_pointer = nullptr;
    ucontext_t context{};
    void* fake_stack = nullptr;  // the sanitizer's
    void (*entry)(size_t) = nullptr;
    size_t index = 0;
};

namespace {

constexpr size_t kStackSize = size_t{256} << 10;  // touched only as deep as a kernel goes

// Where the handover that started a fiber came from: the sanitizer wants to be told on the new stack.
FiberContext* starting = nullptr;

[[noreturn]] void enter() {
    FiberContext* fiber = starting;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
    fiber->entry(fiber->index);
    __builtin_trap();  // the entry ends by yielding
}

}  // namespace

#if defined(__x86_64__) && defined(__linux__)
// swapcontext saves the signal mask by a system call; this saves what the ABI asks for alone.
extern "C" void pconvShimSwitch(void** save, void* target);
asm(R"(
.text
.globl pconvShimSwitch
.hidden pconvShimSwitch
.type pconvShimSwitch, @function
pconvShimSwitch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size pconvShimSwitch, .-pconvShimSwitch
)");

namespace {

void prepareContext(FiberContext& fiber) {
    auto* top = reinterpret_cast<void**>(static_cast<char*>(fiber.stack) + fiber.stack_size);
    *--top = nullptr;  // the return address of enter, which never returns; keeps the stack aligned
    *--top = reinterpret_cast<void*>(&enter);
    for (int i = 0; i < 6; ++i) *--top = nullptr;
    fiber.stack_pointer = top;
}

void switchContext(FiberContext& from, FiberContext& to) {
    pconvShimSwitch(&from.stack_pointer, to.stack_pointer);
}

}  // namespace
#else
namespace {

void prepareContext(FiberContext& fiber) {
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack;
    fiber.context.uc_stack.ss_size = fiber.stack_size;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, &enter, 0);
}

void switchContext(FiberContext& from, FiberContext& to) {
    swapcontext(&from.context, &to.context);
}

}  // namespace
#endif

namespace {

void handOver(FiberContext& from, FiberContext& to, [[maybe_unused]] bool from_ended) {
    starting = &to;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(from_ended ? nullptr : &from.fake_stack, to.stack, to.stack_size);
    switchContext(from, to);
    __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#else
    switchContext(from, to);
#endif
}

}  // namespace

FiberPool::FiberPool() : main_(new FiberContext) {
#if defined(__SANITIZE_ADDRESS__)
    // The bounds of the system thread's stack, which the sanitizer asks for at every return to it.
    pthread_attr_t attributes;
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstack(&attributes, &main_->stack, &main_->stack_size);
    pthread_attr_destroy(&attributes);
#endif
}

FiberPool::~FiberPool() {
    for (FiberContext* fiber : fibers_) {
        munmap(fiber->stack, fiber->stack_size);
        delete fiber;
    }
    delete main_;
}

void FiberPool::prepare(size_t count, void (*entry)(size_t)) {
    while (fibers_.size() < count) {
        void* stack = mmap(nullptr, kStackSize, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (stack == MAP_FAILED) throw std::bad_alloc();
        mprotect(stack, static_cast<size_t>(getpagesize()), PROT_NONE);
        fibers_.push_back(new FiberContext);
        fibers_.back()->stack = stack;
        fibers_.back()->stack_size = kStackSize;
    }
    for (size_t i = 0; i < count; ++i) {
        FiberContext& fiber = *fibers_[i];
        fiber.entry = entry;
        fiber.index = i;
#if defined(__SANITIZE_ADDRESS__)
        __asan_unpoison_memory_region(fiber.stack, fiber.stack_size);
        fiber.fake_stack = nullptr;
#endif
        prepareContext(fiber);
    }
}

void FiberPool::resume(size_t index) {
    running_ = fibers_[index];
    handOver(*main_, *running_, false);
    running_ = nullptr;
}

void FiberPool::yield(bool ended) {
    handOver(*running_, *main_, ended);
}

}  // namespace pconv::cuda_shim
