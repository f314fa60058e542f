#include "cuda_shim.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "fiber.h"

namespace pconv::cuda_shim {

Current current_thread;

namespace {

constexpr unsigned char kPoison = 0xFF;  // NaN in every floating type
constexpr unsigned char kFence = 0xA5;
constexpr size_t kFenceBytes = 4096;
constexpr size_t kSharedAlignment = 128;
constexpr unsigned kWarp = 32;
constexpr int kBarriers = 16;

struct Copy {
    unsigned char* shared;
    const void* global;
    unsigned bytes, source_bytes;
};

struct Access {
    uint32_t offset, bytes;
};

enum class Waits { no, at_barrier, at_warp, ended };

struct Thread {
    Waits waits = Waits::no;
    int barrier = 0;
    uint64_t votes = 0;
    std::vector<std::vector<Copy>> groups;  // committed, the oldest first
    std::vector<Copy> open;
    std::vector<Access> accesses;  // while their cost is recorded
};

struct Warp {
    const char* operation = nullptr;  // that lanes wait at; null: none do
    unsigned arrived = 0;
    bool complete = false;  // has 32 lanes, none of which has ended
    std::array<void*, kWarp> lanes{};
};

struct Barrier {
    unsigned arrived = 0;
    unsigned expected = 0;  // 0: all that have not ended
};

struct Machine {
    FiberPool fibers;
    std::vector<Thread> threads;
    std::vector<Warp> warps;
    std::array<Barrier, kBarriers> barriers;
    size_t running = 0;
    size_t alive = 0;
    std::string fault;
    std::vector<unsigned char> memory;  // fence, shared memory, fence
    size_t shared_bytes = 0;
    void (*thread_main)(void*) = [](void* /*none*/) {};
    void* argument = nullptr;
    Order order = Order::forward;
    std::mt19937 random{1};
    uint64_t blocks = 0;
    std::array<uint64_t, 2> voted{};  // the last vote that a thread was for, of the even and the odd ones
    std::vector<uint64_t>* products = nullptr;
    std::vector<std::string>* launches = nullptr;
    std::vector<SharedCost>* shared_cost = nullptr;
    std::vector<uint64_t>* vectors = nullptr;
};

Machine& machine() {
    static Machine one;
    return one;
}

Thread& self() {
    return machine().threads[machine().running];
}

std::string where(size_t thread) {
    const Index& b = current_thread.block;
    return "block (" + std::to_string(b.x) + ", " + std::to_string(b.y) + ", " + std::to_string(b.z) +
           "), thread " + std::to_string(thread);
}

void releaseBarriers() {
    Machine& m = machine();
    for (int id = 0; id < kBarriers; ++id) {
        Barrier& barrier = m.barriers[static_cast<size_t>(id)];
        const size_t expected = barrier.expected == 0 ? m.alive : barrier.expected;
        if (barrier.arrived == 0 || barrier.arrived < expected) continue;
        barrier = {};
        for (Thread& thread : m.threads)
            if (thread.waits == Waits::at_barrier && thread.barrier == id) thread.waits = Waits::no;
    }
}

void land(const std::vector<Copy>& copies) {
    for (const Copy& copy : copies) {
        if (copy.source_bytes > 0) std::memcpy(copy.shared, copy.global, copy.source_bytes);
        std::memset(copy.shared + copy.source_bytes, 0, copy.bytes - copy.source_bytes);
    }
}

void endThread(size_t index) {
    Machine& m = machine();
    Thread& thread = m.threads[index];
    const auto empty = [](const std::vector<Copy>& group) { return group.empty(); };
    if (!empty(thread.open) || !std::all_of(thread.groups.begin(), thread.groups.end(), empty))
        fault("ended with asynchronous copies that were never waited for");
    Warp& warp = m.warps[index / kWarp];
    if (warp.operation != nullptr) fault(std::string("ended while other lanes wait at ") + warp.operation);
    warp.complete = false;
    thread.waits = Waits::ended;
    --m.alive;
    releaseBarriers();
}

void threadEntry(size_t index) {
    Machine& m = machine();
    try {
        m.thread_main(m.argument);
        endThread(index);
    } catch (const Fault& of_thread) {
        m.fault = of_thread.what();
    }
    m.fibers.yield(true);
}

void setThread(size_t index) {
    machine().running = index;
    current_thread.thread = {static_cast<unsigned>(index), 0, 0};
}

std::string deadlock() {
    const Machine& m = machine();
    for (size_t i = 0; i < m.threads.size(); ++i) {
        const Thread& thread = m.threads[i];
        if (thread.waits == Waits::at_barrier)
            return where(i) + " waits at barrier " + std::to_string(thread.barrier) +
                   " that others never reach";
        if (thread.waits == Waits::at_warp)
            return where(i) + " waits at " + m.warps[i / kWarp].operation + " that other lanes never reach";
    }
    return "no thread can run";
}

// The words of each bank that one of a warp's accesses asks for: lanes that meet in a word share it, those
// that meet in a bank wait for each other. Accesses of 8 and 16 bytes are made for a half and for a quarter
// of the lanes at a time.
void addCost(SharedCost& cost, size_t first_thread, size_t index) {
    constexpr unsigned kBanks = 32;
    const Machine& m = machine();
    for (unsigned lane = 0; lane < kWarp;) {
        std::array<std::vector<uint32_t>, kBanks> words;
        unsigned together = kWarp;
        bool any = false;
        for (unsigned i = 0; i < together && lane < kWarp; ++i, ++lane) {
            if (first_thread + lane >= m.threads.size()) continue;
            const std::vector<Access>& accesses = m.threads[first_thread + lane].accesses;
            if (index >= accesses.size()) continue;
            const Access& access = accesses[index];
            together = kWarp * 4 / access.bytes;
            any = true;
            for (uint32_t word = access.offset / 4; word < (access.offset + access.bytes) / 4; ++word) {
                std::vector<uint32_t>& of_bank = words[word % kBanks];
                if (std::find(of_bank.begin(), of_bank.end(), word) == of_bank.end()) of_bank.push_back(word);
            }
        }
        if (!any) continue;
        size_t most = 0;
        for (const auto& of_bank : words) most = std::max(most, of_bank.size());
        cost.cycles += most;
        ++cost.least;
    }
}

void addCosts(SharedCost& cost) {
    const Machine& m = machine();
    for (size_t first = 0; first < m.threads.size(); first += kWarp) {
        size_t accesses = 0;
        for (size_t i = first; i < std::min(first + kWarp, m.threads.size()); ++i)
            accesses = std::max(accesses, m.threads[i].accesses.size());
        for (size_t i = 0; i < accesses; ++i) addCost(cost, first, i);
    }
}

void runBlock(size_t count) {
    Machine& m = machine();
    m.threads.resize(count);
    for (Thread& thread : m.threads) {
        thread.waits = Waits::no;
        thread.votes = 0;
        thread.groups.clear();
        thread.open.clear();
        thread.accesses.clear();
    }
    m.barriers = {};
    m.voted = {};
    m.warps.assign((count + kWarp - 1) / kWarp, {});
    for (size_t i = 0; i < count / kWarp; ++i) m.warps[i].complete = true;
    m.alive = count;
    std::fill(m.memory.begin(), m.memory.end(), kFence);
    std::memset(sharedMemory(), kPoison, m.shared_bytes);
    m.fibers.prepare(count, &threadEntry);
    std::vector<size_t> turn(count);
    std::iota(turn.begin(), turn.end(), size_t{0});
    if (m.order == Order::reverse) std::reverse(turn.begin(), turn.end());
    while (m.alive > 0 && m.fault.empty()) {
        if (m.order == Order::shuffled) std::shuffle(turn.begin(), turn.end(), m.random);
        bool progress = false;
        for (const size_t i : turn) {
            if (m.threads[i].waits != Waits::no) continue;
            progress = true;
            setThread(i);
            m.fibers.resume(i);
            if (!m.fault.empty()) break;
        }
        if (!progress) m.fault = deadlock();
    }
    ++m.blocks;
    if (m.shared_cost != nullptr) addCosts(m.shared_cost->back());
    const auto fenced = [](unsigned char byte) { return byte == kFence; };
    const auto shared = m.memory.begin() + (sharedMemory() - m.memory.data());
    if (m.fault.empty() &&
        (!std::all_of(m.memory.begin(), shared, fenced) ||
         !std::all_of(shared + static_cast<ptrdiff_t>(m.shared_bytes), m.memory.end(), fenced)))
        m.fault = where(0) + " or another wrote outside the block's " + std::to_string(m.shared_bytes) +
                  " bytes of shared memory";
}

}  // namespace

void setOrder(Order order, uint32_t seed) {
    machine().order = order;
    machine().random.seed(seed);
}

void recordProducts(std::vector<uint64_t>* to) {
    machine().products = to;
}

void recordSharedCost(std::vector<SharedCost>* to) {
    machine().shared_cost = to;
}

void recordVectors(std::vector<uint64_t>* to) {
    machine().vectors = to;
}

void recordLaunches(std::vector<std::string>* to) {
    machine().launches = to;
}

void noteLaunch(const char* call) {
    if (machine().launches == nullptr) return;
    const std::string text = call;
    machine().launches->push_back(text.substr(0, text.find_first_of("<,")));
}

void countProduct() {
    if (machine().products != nullptr) ++machine().products->back();
}

void countVector(const void* to) {
    if (reinterpret_cast<uintptr_t>(to) % 16 != 0) fault("a vector of 16 bytes is not aligned");
    if (machine().vectors != nullptr) ++machine().vectors->back();
}

uint64_t blocksRun() {
    return machine().blocks;
}

void run(Index grid, unsigned threads, size_t shared_bytes, void (*thread_main)(void*), void* argument) {
    Machine& m = machine();
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7FFFFFFFU || grid.y > 65535 || grid.z > 65535)
        throw Fault("a launch has a grid of (" + std::to_string(grid.x) + ", " + std::to_string(grid.y) +
                    ", " + std::to_string(grid.z) + ") blocks");
    if (threads == 0 || threads > 1024)
        throw Fault("a launch has " + std::to_string(threads) + " threads a block");
    if (shared_bytes > kMaxSharedBytes)
        throw Fault("a launch wants " + std::to_string(shared_bytes) + " bytes of shared memory, at most " +
                    std::to_string(kMaxSharedBytes) + " can be had");
    m.fault.clear();
    m.thread_main = thread_main;
    m.argument = argument;
    m.shared_bytes = shared_bytes;
    m.memory.assign(2 * kFenceBytes + shared_bytes + kSharedAlignment, kFence);
    current_thread.block_size = {threads, 1, 1};
    current_thread.grid_size = grid;
    if (m.products != nullptr) m.products->push_back(0);
    if (m.shared_cost != nullptr) m.shared_cost->push_back({});
    if (m.vectors != nullptr) m.vectors->push_back(0);
    for (unsigned z = 0; z < grid.z; ++z)
        for (unsigned y = 0; y < grid.y; ++y)
            for (unsigned x = 0; x < grid.x; ++x) {
                current_thread.block = {x, y, z};
                runBlock(threads);
                if (!m.fault.empty()) throw Fault(m.fault);
            }
}

void fault(const std::string& what) {
    throw Fault(where(machine().running) + ": " + what);
}

unsigned char* sharedMemory() {
    unsigned char* memory = machine().memory.data();
    const auto misaligned = reinterpret_cast<uintptr_t>(memory) % kSharedAlignment;
    return memory + kFenceBytes + (kSharedAlignment - misaligned) % kSharedAlignment;
}

uint32_t sharedOffset(const void* pointer) {
    return static_cast<uint32_t>(static_cast<const unsigned char*>(pointer) - sharedMemory());
}

void checkShared(const void* pointer, size_t bytes, size_t alignment) {
    const auto at = reinterpret_cast<uintptr_t>(pointer);
    const auto begin = reinterpret_cast<uintptr_t>(sharedMemory());
    if (at < begin || at + bytes > begin + machine().shared_bytes)
        fault("an operation on " + std::to_string(bytes) + " bytes lies outside shared memory");
    if ((at - begin) % alignment != 0)
        fault("an address in shared memory is not aligned to " + std::to_string(alignment) + " bytes");
}

void accessShared(const void* pointer, unsigned bytes) {
    checkShared(pointer, bytes, bytes);
    if (machine().shared_cost != nullptr) self().accesses.push_back({sharedOffset(pointer), bytes});
}

void barrier(int id, unsigned count) {
    Machine& m = machine();
    if (id < 0 || id >= kBarriers) fault("barrier " + std::to_string(id) + " does not exist");
    Barrier& barrier = m.barriers[static_cast<size_t>(id)];
    if (barrier.arrived > 0 && barrier.expected != count)
        fault("threads disagree on how many a barrier joins");
    barrier.expected = count;
    ++barrier.arrived;
    Thread& thread = self();
    thread.waits = Waits::at_barrier;
    thread.barrier = id;
    releaseBarriers();
    m.fibers.yield();  // also the last to arrive: it must not always be the first to go on
}

bool barrierOr(bool vote) {
    Machine& m = machine();
    const uint64_t number = ++self().votes;
    uint64_t& voted = m.voted[number % 2];
    if (vote) voted = number;
    barrier(0, 0);
    return voted == number;
}

void meetWarp(const char* operation, void* lane_data, void (*combine)(void* const* lanes)) {
    Machine& m = machine();
    Warp& warp = m.warps[m.running / kWarp];
    if (!warp.complete) fault(std::string(operation) + " waits for a lane that has ended or never was");
    if (warp.operation == nullptr) warp.operation = operation;
    if (warp.operation != operation && std::strcmp(warp.operation, operation) != 0)
        fault(std::string("lanes of a warp meet at ") + operation + " and " + warp.operation);
    warp.lanes[m.running % kWarp] = lane_data;
    if (++warp.arrived < kWarp) {
        self().waits = Waits::at_warp;
        m.fibers.yield();
        return;
    }
    if (combine != nullptr) combine(warp.lanes.data());
    warp.operation = nullptr;
    warp.arrived = 0;
    const size_t first = m.running / kWarp * kWarp;
    for (size_t lane = first; lane < first + kWarp; ++lane) m.threads[lane].waits = Waits::no;
}

void copyAsync(void* shared, const void* global, unsigned bytes, unsigned source_bytes) {
    checkShared(shared, bytes, bytes);
    if (reinterpret_cast<uintptr_t>(global) % bytes != 0)
        fault("an asynchronous copy's source is not aligned");
    if (source_bytes > bytes) fault("an asynchronous copy's source is larger than its target");
    std::memset(shared, kPoison, bytes);
    self().open.push_back({static_cast<unsigned char*>(shared), global, bytes, source_bytes});
}

void commitCopies() {
    Thread& thread = self();
    thread.groups.push_back(std::move(thread.open));
    thread.open.clear();
}

void waitCopies(unsigned groups_left) {
    Thread& thread = self();
    while (thread.groups.size() > groups_left) {
        land(thread.groups.front());
        thread.groups.erase(thread.groups.begin());
    }
}

}  // namespace pconv::cuda_shim
