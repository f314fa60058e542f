// Runs CUDA kernels on the CPU, thread by thread: blocks in turn, the threads of a block as fibers that meet
// at barriers and at the operations of a warp. What the hardware leaves undefined is made visible: shared
// memory is poisoned when a block starts and fenced, the target of an asynchronous copy is poisoned until its
// wait, and the order in which threads run is the test's to choose.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace pconv::cuda_shim {

// A kernel broke a rule; the message says which, and the block and thread.
class Fault : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

struct Index {
    unsigned x = 0, y = 0, z = 0;
};

struct Current {
    Index thread, block, block_size, grid_size;
};
extern Current current_thread;
inline const Current& current() {
    return current_thread;
}

enum class Order { forward, reverse, shuffled };
// How the threads of a block that can run take turns from now on.
void setOrder(Order order, uint32_t seed = 1);

inline constexpr size_t kMaxSharedBytes = 99 * 1024;

// Runs one launch to its end. `thread_main(argument)` is the kernel's body. Throws Fault.
void run(Index grid, unsigned threads, size_t shared_bytes, void (*thread_main)(void*), void* argument);

// How many blocks have run, ever: lets a test see that a kernel was launched at all.
uint64_t blocksRun();

// From now on each launch appends how many products of a warp (mma) it ran; null: none is kept. Lets a test
// see what a kernel leaves out.
void recordProducts(std::vector<uint64_t>* to);

// What plain accesses to shared memory cost: cycles, of which a warp's access of 4 bytes a lane takes one, of
// 8 two, of 16 four, and more where lanes meet in a bank.
struct SharedCost {
    uint64_t cycles = 0, least = 0;
};
// From now on each launch appends its own; null: none is kept. The k-th access of each lane of a warp is one
// access of the warp.
void recordSharedCost(std::vector<SharedCost>* to);

// From now on each launch appends how many vectors of 16 bytes it stored (storeVector); null: none is kept.
void recordVectors(std::vector<uint64_t>* to);

// From now on each launch appends the kernel's name, without template arguments; null: none is kept.
void recordLaunches(std::vector<std::string>* to);
// `call` is the text of the arguments of launch(), which begins with the kernel.
void noteLaunch(const char* call);

// ---- Called by running threads ----

// Ends the launch with a Fault, which passes through the thread's frames.
[[noreturn]] void fault(const std::string& what);

unsigned char* sharedMemory();
// Faults unless the range lies in shared memory and is aligned to `alignment`.
void checkShared(const void* pointer, size_t bytes, size_t alignment);
uint32_t sharedOffset(const void* pointer);
// A plain access of 4, 8 or 16 bytes to shared memory: as checkShared, and counted for recordSharedCost.
void accessShared(const void* pointer, unsigned bytes);

// All threads of the block that have not ended (count 0), or `count` threads, meet.
void barrier(int id, unsigned count);
// The block's barrier; whether any of its threads votes for it.
bool barrierOr(bool vote);

// The 32 lanes of a warp meet at `operation`; the last to come runs combine(lanes), where lanes[i] is what
// lane i passed.
void meetWarp(const char* operation, void* lane_data, void (*combine)(void* const* lanes));

void countProduct();
// Faults unless the 16 bytes are aligned.
void countVector(const void* to);

// Asynchronous copies of the current thread.
void copyAsync(void* shared, const void* global, unsigned bytes, unsigned source_bytes);
void commitCopies();
void waitCopies(unsigned groups_left);

}  // namespace pconv::cuda_shim
