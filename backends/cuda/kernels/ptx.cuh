// What kernels ask of the machine beyond C++, each under a name. The tests put an implementation on the CPU
// in this one's place.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

namespace pconv::cuda {

// 16-bit numbers in memory.
struct F16 {
    uint16_t bits;
};
struct Bf16 {
    uint16_t bits;
};

}  // namespace pconv::cuda

#if defined(PCONV_CUDA_SHIM)
#include "ptx_on_cpu.h"
#else

namespace pconv::cuda {

constexpr uint32_t kAllLanes = 0xFFFFFFFFU;

// The block's dynamic shared memory, which is all it has.
template <typename T>
__device__ __forceinline__ T& sharedStorage() {
    extern __shared__ __align__(128) unsigned char pconv_shared_memory[];
    return *reinterpret_cast<T*>(pconv_shared_memory);
}

__device__ __forceinline__ void syncThreads() {
    __syncthreads();
}

struct BlockIndex {
    int x, y, z;
};
// Read anew each time: what is made of it is made again, and not kept in registers all the while.
__device__ __forceinline__ BlockIndex blockIndex() {
    BlockIndex index;
    asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(index.x));
    asm volatile("mov.u32 %0, %%ctaid.y;" : "=r"(index.y));
    asm volatile("mov.u32 %0, %%ctaid.z;" : "=r"(index.z));
    return index;
}

// A barrier that tells every thread whether any of them votes for it.
__device__ __forceinline__ bool syncThreadsOr(bool vote) {
    return __syncthreads_or(vote ? 1 : 0) != 0;
}

__device__ __forceinline__ void syncWarp() {
    __syncwarp();
}

// The value of the lane whose index differs in the bits of `lanes`.
template <typename T>
__device__ __forceinline__ T shuffleXor(T value, int lanes) {
    return __shfl_xor_sync(kAllLanes, value, lanes);
}

__device__ __forceinline__ uint32_t ballot(bool vote) {
    return __ballot_sync(kAllLanes, vote);
}

// The bits that any lane has.
__device__ __forceinline__ uint32_t reduceOr(uint32_t bits) {
    return __reduce_or_sync(kAllLanes, bits);
}

__device__ __forceinline__ void atomicSetBits(uint32_t* word, uint32_t bits) {
    atomicOr(word, bits);
}

// So that the compiler does not make the value again where it is used.
__device__ __forceinline__ void keepInRegister(unsigned& value) {
    asm volatile("" : "+r"(value));
}

__device__ __forceinline__ uint32_t sharedAddress(const void* pointer) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// Plain accesses to shared memory, whose alignment and conflicts of banks the tests watch.
__device__ __forceinline__ void storeShared(float* to, float value) {
    *to = value;
}
__device__ __forceinline__ void storeShared(float* to, float2 values) {
    *reinterpret_cast<float2*>(to) = values;
}
__device__ __forceinline__ float4 loadShared4(const float* from) {
    return *reinterpret_cast<const float4*>(from);
}

// 16 aligned bytes to global memory at once.
template <typename V>
__device__ __forceinline__ void storeVector(void* to, const V& vector) {
    static_assert(sizeof(V) == 16 && alignof(V) == 16);
    *static_cast<V*>(to) = vector;
}

// Starts a copy of 16 bytes into shared memory, or, unless `valid`, of zeros: then the source is not read,
// and may be any aligned address.
__device__ __forceinline__ void copyAsync16(void* shared, const void* global, bool valid) {
    const uint32_t bytes = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(sharedAddress(shared)), "l"(global),
                 "r"(bytes)
                 : "memory");
}

__device__ __forceinline__ void commitCopies() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}

// Returns when at most `groups_left` of this thread's groups of copies are unfinished.
template <int groups_left>
__device__ __forceinline__ void waitCopies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(groups_left) : "memory");
}

// Four matrices of 8 rows of 16 bytes; lane 8 i + j gives row j of matrix i.
__device__ __forceinline__ void loadMatrices(uint32_t (&m)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
                 : "r"(sharedAddress(row))
                 : "memory");
}

// The same, each matrix of 8 x 8 16-bit elements transposed.
__device__ __forceinline__ void loadMatricesTransposed(uint32_t (&m)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
                 : "r"(sharedAddress(row))
                 : "memory");
}

// The bits of a float rounded to TF32, ties away from zero.
__device__ __forceinline__ uint32_t roundToTf32(uint32_t bits) {
    uint32_t rounded;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(__uint_as_float(bits)));
    return rounded;
}

// c += a b. a: m16 x k (k = 8 for f32 as TF32, else 16), b: k x n8.
template <typename T>
__device__ __forceinline__ void multiplyAccumulate(float (&c)[4], const uint32_t (&a)[4],
                                                   const uint32_t (&b)[2]);

template <>
__device__ __forceinline__ void multiplyAccumulate<float>(float (&c)[4], const uint32_t (&a)[4],
                                                          const uint32_t (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

template <>
__device__ __forceinline__ void multiplyAccumulate<F16>(float (&c)[4], const uint32_t (&a)[4],
                                                        const uint32_t (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

template <>
__device__ __forceinline__ void multiplyAccumulate<Bf16>(float (&c)[4], const uint32_t (&a)[4],
                                                         const uint32_t (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ uint32_t floatBits(float value) {
    return __float_as_uint(value);
}
__device__ __forceinline__ float floatFromBits(uint32_t bits) {
    return __uint_as_float(bits);
}

// Each rounded by itself: the compiler joins no product with a sum.
__device__ __forceinline__ float sumRounded(float a, float b) {
    return __fadd_rn(a, b);
}
__device__ __forceinline__ float productRounded(float a, float b) {
    return __fmul_rn(a, b);
}
// a b + c, rounded once.
__device__ __forceinline__ float multiplyAdd(float a, float b, float c) {
    return __fmaf_rn(a, b, c);
}

__device__ __forceinline__ float toFloat(float value) {
    return value;
}
__device__ __forceinline__ float toFloat(F16 value) {
    float result;
    asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(value.bits));
    return result;
}
__device__ __forceinline__ float toFloat(Bf16 value) {
    return __uint_as_float(static_cast<uint32_t>(value.bits) << 16);
}

__device__ __forceinline__ void setFloat(float& to, float value) {
    to = value;
}
__device__ __forceinline__ void setFloat(F16& to, float value) {
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(to.bits) : "f"(value));
}
__device__ __forceinline__ void setFloat(Bf16& to, float value) {
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(to.bits) : "f"(value));
}

}  // namespace pconv::cuda

#endif
