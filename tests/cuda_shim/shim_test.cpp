// The execution shim itself: correct kernels give what the machine would, and kernels with a planted fault
// are caught in at least one order of threads.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "cuda/kernels/launch.cuh"
#include "cuda/kernels/ptx.cuh"

namespace pconv::cuda {
namespace {

using cuda_shim::Fault;
using cuda_shim::Order;

constexpr Order kOrders[] = {Order::forward, Order::reverse, Order::shuffled};

// Whether some order of threads ends in a fault or in another answer than `expected`.
template <typename Run>
bool caught(const std::vector<float>& expected, const Run& run) {
    for (const Order order : kOrders) {
        cuda_shim::setOrder(order);
        std::vector<float> out(expected.size(), -1);
        try {
            run(out.data());
        } catch (const Fault&) {
            return true;
        }
        if (out != expected) return true;
    }
    return false;
}

template <typename Run>
std::string faultOf(const Run& run) {
    cuda_shim::setOrder(Order::forward);
    try {
        run();
    } catch (const Fault& fault) {
        return fault.what();
    }
    return "";
}

struct Floats {
    float values[64];
};

struct Lines {
    alignas(16) float values[32 * 4 * 2];
};

// Every thread takes its neighbour's number, twice through the same memory.
template <bool first_barrier, bool second_barrier>
__global__ void neighbours(float* out) {
    auto& shared = sharedStorage<Floats>();
    const unsigned t = threadIdx.x;
    float value = static_cast<float>(t);
    for (int round = 0; round < 2; ++round) {
        shared.values[t] = value;
        if (first_barrier) syncThreads();
        value = shared.values[(t + 1) % 64] + 10;
        if (second_barrier) syncThreads();
    }
    out[t] = value;
}

std::vector<float> neighboursExpected() {
    std::vector<float> expected;
    for (int t = 0; t < 64; ++t) expected.push_back(static_cast<float>((t + 2) % 64 + 20));
    return expected;
}

template <bool first_barrier, bool second_barrier>
bool neighboursCaught() {
    return caught(neighboursExpected(), [](float* out) {
        launch(neighbours<first_barrier, second_barrier>, dim3(1), 64, sizeof(Floats), nullptr, out);
    });
}

TEST(Shim, BarriersOrderSharedMemory) {
    EXPECT_FALSE((neighboursCaught<true, true>()));
}

TEST(Shim, AMissingBarrierIsCaught) {
    EXPECT_TRUE((neighboursCaught<false, true>()));  // reads what is not yet written
    EXPECT_TRUE((neighboursCaught<true, false>()));  // overwrites what is still to be read
    EXPECT_TRUE((neighboursCaught<false, false>()));
}

// Votes one after the other: for one by the last thread, for none, and by the first.
template <bool every_vote>
__global__ void votes(float* out) {
    const unsigned t = threadIdx.x;
    const bool last = syncThreadsOr(t == 63);
    const bool none = every_vote ? syncThreadsOr(false) : last;
    const bool first = syncThreadsOr(t == 0);
    out[t] = static_cast<float>((last ? 1 : 0) + (none ? 2 : 0) + (first ? 4 : 0));
}

TEST(Shim, VotesAreOfTheWholeBlockAndOfOneBarrier) {
    const auto run = [](auto kernel) {
        return caught(std::vector<float>(64, 5),
                      [&](float* out) { launch(kernel, dim3(1), 64, 0, nullptr, out); });
    };
    EXPECT_FALSE(run(votes<true>));
    EXPECT_TRUE(run(votes<false>));
}

// Lanes write words `pitch` apart, and read quadruples.
__global__ void strides(int pitch) {
    auto& shared = sharedStorage<Lines>();
    const int t = static_cast<int>(threadIdx.x);
    storeShared(shared.values + t * pitch, 1.0F);
    syncWarp();
    loadShared4(shared.values + t * 4 * pitch);
}

TEST(Shim, ConflictsOfBanksAreCounted) {
    std::vector<cuda_shim::SharedCost> costs;
    cuda_shim::recordSharedCost(&costs);
    launch(strides, dim3(2), 32, sizeof(Lines), nullptr, 1);
    launch(strides, dim3(1), 32, sizeof(Lines), nullptr, 2);
    launch(strides, dim3(1), 32, sizeof(Lines), nullptr, 0);
    cuda_shim::recordSharedCost(nullptr);
    ASSERT_EQ(costs.size(), 3U);
    EXPECT_EQ(costs[0].least, 2U * (1 + 4));
    EXPECT_EQ(costs[0].cycles, costs[0].least);
    EXPECT_EQ(costs[1].least, 1U + 4);
    EXPECT_EQ(costs[1].cycles, 2U + 4 * 2);
    EXPECT_EQ(costs[2].cycles, 1U + 4) << "lanes that read one word share it";
}

__global__ void productsOfBlocks() {
    float sums[4] = {};
    const uint32_t a[4] = {};
    const uint32_t b[2] = {};
    for (unsigned i = 0; i <= blockIdx.x; ++i) multiplyAccumulate<F16>(sums, a, b);
}

TEST(Shim, ProductsAreCountedByLaunch) {
    std::vector<uint64_t> products;
    cuda_shim::recordProducts(&products);
    launch(productsOfBlocks, dim3(3), 64, 0, nullptr);
    launch(productsOfBlocks, dim3(1), 32, 0, nullptr);
    cuda_shim::recordProducts(nullptr);
    launch(productsOfBlocks, dim3(1), 32, 0, nullptr);
    EXPECT_EQ(products, (std::vector<uint64_t>{12, 1}));
}

enum class Wait { none, too_few, enough };

// Two groups of copies of 16 bytes a thread; the first is read, by its own thread or by the neighbour.
template <Wait wait, bool barrier, bool neighbour>
__global__ void copies(const float* in, float* out) {
    struct Storage {
        float values[2][32][4];
    };
    auto& shared = sharedStorage<Storage>();
    const unsigned t = threadIdx.x;
    copyAsync16(shared.values[0][t], in + t * 4, true);
    commitCopies();
    copyAsync16(shared.values[1][t], in + t * 4, false);
    commitCopies();
    if (wait == Wait::enough) waitCopies<1>();
    if (wait == Wait::too_few) waitCopies<2>();
    if (barrier) syncThreads();
    out[t] = shared.values[0][neighbour ? (t + 1) % 32 : t][1];
    waitCopies<0>();
    syncThreads();
    out[t] += shared.values[1][(t + 5) % 32][3];
}

template <Wait wait, bool barrier, bool neighbour>
bool copiesCaught() {
    std::vector<float> in(128);
    for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<float>(i);
    std::vector<float> expected;
    for (int t = 0; t < 32; ++t)
        expected.push_back(static_cast<float>((neighbour ? (t + 1) % 32 : t) * 4 + 1));
    return caught(expected, [&](float* out) {
        launch(copies<wait, barrier, neighbour>, dim3(1), 32, 1024, nullptr, in.data(), out);
    });
}

TEST(Shim, CopiesArriveByTheirWait) {
    EXPECT_FALSE((copiesCaught<Wait::enough, false, false>()));
    EXPECT_FALSE((copiesCaught<Wait::enough, true, true>()));
}

TEST(Shim, AnEarlyReadOfACopyIsCaught) {
    EXPECT_TRUE((copiesCaught<Wait::none, false, false>()));
    EXPECT_TRUE((copiesCaught<Wait::none, true, true>()));
    EXPECT_TRUE((copiesCaught<Wait::too_few, true, false>()));
    EXPECT_TRUE((copiesCaught<Wait::enough, false, true>()));  // waited for, but not by the reader's barrier
}

__global__ void leavesCopies(const float* in) {
    copyAsync16(&sharedStorage<Floats>().values[threadIdx.x * 4], in, true);
    commitCopies();
}

__global__ void misalignedCopy(const float* in) {
    copyAsync16(&sharedStorage<Floats>().values[1], in, true);
    waitCopies<0>();
}

TEST(Shim, CopiesThatBreakTheRulesAreCaught) {
    alignas(16) float in[4] = {};
    EXPECT_NE(
        faultOf([&] { launch(leavesCopies, dim3(1), 1, sizeof(Floats), nullptr, in); }).find("never waited"),
        std::string::npos);
    EXPECT_NE(
        faultOf([&] { launch(misalignedCopy, dim3(1), 1, sizeof(Floats), nullptr, in); }).find("aligned"),
        std::string::npos);
}

__global__ void writesBeyond(int index) {
    auto* values = sharedStorage<Floats>().values;
    values[static_cast<int>(threadIdx.x) + index] = 1;
}

TEST(Shim, WritesOutsideSharedMemoryAreCaught) {
    const auto at = [](int index) {
        return faultOf([&] { launch(writesBeyond, dim3(2), 32, sizeof(Floats), nullptr, index); });
    };
    EXPECT_EQ(at(32), "");
    EXPECT_NE(at(33).find("outside"), std::string::npos);
    EXPECT_NE(at(-1).find("outside"), std::string::npos);
    EXPECT_NE(faultOf([] { launch(writesBeyond, dim3(1), 1, 8, nullptr, 0); }).find("outside"),
              std::string::npos);
}

__global__ void dividedBarrier() {
    if (threadIdx.x < 32)
        syncThreads();
    else
        cuda_shim::barrier(1, 0);
}

__global__ void endedBarrier() {
    if (threadIdx.x < 32) syncThreads();
}

__global__ void dividedWarp(float* out) {
    if (threadIdx.x % 2 == 0) out[0] = shuffleXor(1.0F, 1);
}

__global__ void differentOperations(float* out) {
    if (threadIdx.x % 2 == 0)
        out[0] = shuffleXor(1.0F, 1);
    else
        out[1] = ballot(true) != 0 ? 1.0F : 0.0F;
}

TEST(Shim, ThreadsThatNeverMeetAreCaught) {
    float out[2];
    EXPECT_NE(faultOf([] { launch(dividedBarrier, dim3(1), 64, 0, nullptr); }).find("barrier"),
              std::string::npos);
    EXPECT_EQ(faultOf([] { launch(endedBarrier, dim3(1), 64, 0, nullptr); }), "");
    EXPECT_NE(faultOf([&] { launch(dividedWarp, dim3(1), 32, 0, nullptr, out); }), "");
    EXPECT_NE(faultOf([&] { launch(differentOperations, dim3(1), 32, 0, nullptr, out); }).find("meet"),
              std::string::npos);
}

TEST(Shim, LaunchesBeyondTheMachineAreCaught) {
    EXPECT_NE(faultOf([] { launch(endedBarrier, dim3(0), 32, 0, nullptr); }), "");
    EXPECT_NE(faultOf([] { launch(endedBarrier, dim3(1, 65536), 32, 0, nullptr); }), "");
    EXPECT_NE(faultOf([] { launch(endedBarrier, dim3(1), 1025, 0, nullptr); }), "");
    EXPECT_NE(faultOf([] { launch(endedBarrier, dim3(1), 32, 100 * 1024, nullptr); }), "");
}

// One 16 x 8 product by fragments read from shared memory, by ldmatrix or number by number. `swap` plants a
// fault: two registers of the first fragment changed places.
template <typename T, bool by_ldmatrix, bool swap>
__global__ void product(const T* a, const T* b, float* out) {
    constexpr int depth = sizeof(T) == 4 ? 8 : 16;
    struct Storage {
        alignas(16) T a[16][depth];  // rows of 32 bytes
        alignas(16) T b[8][depth];   // b transposed
    };
    auto& shared = sharedStorage<Storage>();
    const int lane = static_cast<int>(threadIdx.x);
    for (int i = lane; i < 16 * depth; i += 32) shared.a[i / depth][i % depth] = a[i];
    for (int i = lane; i < 8 * depth; i += 32) shared.b[i % 8][i / 8] = b[i];
    syncWarp();
    uint32_t fa[4];
    uint32_t fb[2];
    const int word = depth / 8;  // elements in a register
    const auto at = [](const T* element) {
        uint32_t bits;
        std::memcpy(&bits, element, sizeof bits);
        return bits;
    };
    if constexpr (by_ldmatrix) {
        loadMatrices(fa, &shared.a[lane % 16][lane / 16 * 4 * word]);
        uint32_t both[4];
        loadMatrices(both, &shared.b[lane % 8][lane / 8 % 2 * 4 * word]);
        fb[0] = both[0];
        fb[1] = both[1];
    } else {
        for (int r = 0; r < 4; ++r)
            fa[r] = at(&shared.a[lane / 4 + r % 2 * 8][(lane % 4 + r / 2 * 4) * word]);
        for (int r = 0; r < 2; ++r) fb[r] = at(&shared.b[lane / 4][(lane % 4 + r * 4) * word]);
    }
    if (swap) std::swap(fa[1], fa[2]);
    float c[4] = {1, 1, 1, 1};
    multiplyAccumulate<T>(c, fa, fb);
    for (int r = 0; r < 4; ++r) out[(lane / 4 + r / 2 * 8) * 8 + lane % 4 * 2 + r % 2] = c[r];
}

template <typename T>
class Product : public testing::Test {
  protected:
    static constexpr int kDepth = sizeof(T) == 4 ? 8 : 16;
    template <bool by_ldmatrix, bool swap>
    static bool isCaught() {
        std::vector<T> a(16 * kDepth);
        std::vector<T> b(8 * kDepth);
        for (size_t i = 0; i < a.size(); ++i) setFloat(a[i], static_cast<float>(i * 7 % 11) - 5);
        for (size_t i = 0; i < b.size(); ++i) setFloat(b[i], static_cast<float>(i * 5 % 13) - 6);
        std::vector<float> expected(16 * 8);
        for (size_t row = 0; row < 16; ++row)
            for (size_t column = 0; column < 8; ++column) {
                float& sum = expected[row * 8 + column] = 1;
                for (size_t k = 0; k < kDepth; ++k)
                    sum += toFloat(a[row * kDepth + k]) * toFloat(b[k * 8 + column]);
            }
        return caught(expected, [&](float* out) {
            launch(product<T, by_ldmatrix, swap>, dim3(1), 32, 1024, nullptr, a.data(), b.data(), out);
        });
    }
};

using ProductTypes = testing::Types<float, F16, Bf16>;
TYPED_TEST_SUITE(Product, ProductTypes);

TYPED_TEST(Product, IsThatOfTheMatrices) {
    EXPECT_FALSE((TestFixture::template isCaught<false, false>()));
    EXPECT_FALSE((TestFixture::template isCaught<true, false>()));
}

TYPED_TEST(Product, ASwappedFragmentIndexIsCaught) {
    EXPECT_TRUE((TestFixture::template isCaught<false, true>()));
    EXPECT_TRUE((TestFixture::template isCaught<true, true>()));
}

// ldmatrix.trans: register i of a lane holds rows 2 (lane % 4), + 1 of column lane / 4 of matrix i.
__global__ void transposes(float* out) {
    struct Storage {
        alignas(16) uint16_t rows[32][8];
    };
    auto& shared = sharedStorage<Storage>();
    const int lane = static_cast<int>(threadIdx.x);
    for (int i = 0; i < 8; ++i) shared.rows[lane][i] = static_cast<uint16_t>(lane * 8 + i);
    syncWarp();
    uint32_t m[4];
    loadMatricesTransposed(m, shared.rows[lane]);
    for (int i = 0; i < 4; ++i) {
        out[(lane * 4 + i) * 2] = static_cast<float>(m[i] & 0xFFFFU);
        out[(lane * 4 + i) * 2 + 1] = static_cast<float>(m[i] >> 16);
    }
}

// What the papers found by the same sums: an addend loses what lies below the sum's last place and the extra
// ones.
TEST(Shim, TensorCoresTruncateWhatTheyAlign) {
    using on_cpu::addProducts;
    using on_cpu::kAmpere;
    using on_cpu::kHopper;
    const auto sum = [](const on_cpu::TensorCore& core, float first, float product, int count, auto type) {
        float a[32] = {};
        float b[32] = {};
        std::fill_n(a, count, product);
        std::fill_n(b, count, 1.0F);
        return addProducts<decltype(type)>(core, first, a, b, 32);
    };
    constexpr float kLast = 0x1p-23F;  // 1's last place
    // Two halves of a last place are one where there is an extra place; rounded to nearest, one would be
    // enough.
    EXPECT_EQ(sum(kAmpere, 1, kLast / 2, 1, F16{}), 1.0F);
    EXPECT_EQ(sum(kAmpere, 1, kLast / 2, 2, F16{}), 1 + kLast);
    EXPECT_EQ(sum(kAmpere, -1, -kLast / 2, 1, F16{}), -1.0F) << "toward 0 as well";
    // Quarters are lost on the one and are not on the other.
    EXPECT_EQ(sum(kAmpere, 1, kLast / 4, 8, F16{}), 1.0F);
    EXPECT_EQ(sum(kHopper, 1, kLast / 4, 8, F16{}), 1 + 2 * kLast);
    // Blocks: of one half each block of 8 (of TF32 4) keeps its own, of another sum it is truncated once
    // more.
    EXPECT_EQ(sum(kAmpere, 1, kLast / 2, 9, F16{}), 1 + 4 * kLast);
    EXPECT_EQ(sum(kAmpere, 1, kLast / 2, 5, float{}), 1 + 2 * kLast);
    EXPECT_EQ(sum(kHopper, 1, kLast / 4, 17, Bf16{}), 1 + 4 * kLast);
    EXPECT_TRUE(std::isnan(sum(kAmpere, 1, std::nanf(""), 3, F16{})));
    EXPECT_TRUE(std::isinf(sum(kAmpere, 1, std::numeric_limits<float>::infinity(), 3, F16{})));
}

// mma is by that model.
__global__ void truncatedSums(float* out) {
    const bool first = threadIdx.x % 4 == 0;  // of the lanes that share a row or a column
    const uint32_t a[4] = {first ? 0x0C00U : 0, first ? 0x0C00U : 0, 0, 0};  // 2^-12
    const uint32_t b[2] = {first ? 0x0E00U : 0, 0};                          // 3 * 2^-13
    float sums[4] = {1, 1, -1, -1};
    multiplyAccumulate<F16>(sums, a, b);
    out[threadIdx.x] = sums[0];
    out[32 + threadIdx.x] = sums[2];
}

TEST(Shim, ProductsAreTruncated) {
    std::vector<float> out(64);
    launch(truncatedSums, dim3(1), 32, 0, nullptr, out.data());
    for (int lane = 0; lane < 32; ++lane) {
        EXPECT_EQ(out[static_cast<size_t>(lane)], 1.0F);
        EXPECT_EQ(out[static_cast<size_t>(32 + lane)], -1.0F + 0x1p-24F);  // 3 * 2^-25 loses its last place
    }
}

TEST(Shim, MatricesAreTransposed) {
    std::vector<float> out(256);
    launch(transposes, dim3(1), 32, 512, nullptr, out.data());
    for (int lane = 0; lane < 32; ++lane)
        for (int i = 0; i < 4; ++i)
            for (int half = 0; half < 2; ++half)
                EXPECT_EQ(out[static_cast<size_t>((lane * 4 + i) * 2 + half)],
                          static_cast<float>((i * 8 + lane % 4 * 2 + half) * 8 + lane / 4));
}

TEST(Shim, Tf32RoundsTiesAwayFromZero) {
    const auto rounded = [](float value) { return floatOf(roundToTf32(bitsOf(value))); };
    const float unit = std::ldexp(1.0F, -10);
    EXPECT_EQ(rounded(1 + unit / 2), 1 + unit);
    EXPECT_EQ(rounded(-1 - unit / 2), -1 - unit);
    EXPECT_EQ(rounded(1 + unit / 2 - std::ldexp(1.0F, -23)), 1.0F);
    EXPECT_EQ(rounded(3 * unit), 3 * unit);
    EXPECT_TRUE(std::isnan(rounded(std::nanf(""))));
}

}  // namespace
}  // namespace pconv::cuda
