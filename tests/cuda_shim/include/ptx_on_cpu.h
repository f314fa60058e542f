// ptx.cuh on the CPU: the same names; what a warp does together happens when all its lanes have come.
// Fragments are laid out as the PTX ISA says (mma.m16n8k8 .tf32, mma.m16n8k16 .f16 and .bf16, ldmatrix).
#pragma once

#include <cmath>
#include <cstring>

#include "../../../src/core/half.h"
#include "../cuda_shim.h"
#include "tensor_core_on_cpu.h"

namespace pconv::cuda {

template <typename T>
T& sharedStorage() {
    cuda_shim::checkShared(cuda_shim::sharedMemory(), sizeof(T), alignof(T));
    return *reinterpret_cast<T*>(cuda_shim::sharedMemory());
}

inline void syncThreads() {
    cuda_shim::barrier(0, 0);
}

struct BlockIndex {
    int x, y, z;
};
inline BlockIndex blockIndex() {
    const cuda_shim::Index& block = cuda_shim::current().block;
    return {static_cast<int>(block.x), static_cast<int>(block.y), static_cast<int>(block.z)};
}

inline bool syncThreadsOr(bool vote) {
    return cuda_shim::barrierOr(vote);
}

inline void syncWarp() {
    cuda_shim::meetWarp("a warp's barrier", nullptr, nullptr);
}

template <typename T>
T shuffleXor(T value, int lanes) {
    struct Lane {
        T value, result;
        int lanes;
    } lane{value, T{}, lanes};
    cuda_shim::meetWarp("a shuffle", &lane, [](void* const* all) {
        for (int i = 0; i < 32; ++i) {
            auto* to = static_cast<Lane*>(all[i]);
            to->result = static_cast<Lane*>(all[(i ^ to->lanes) & 31])->value;
        }
    });
    return lane.result;
}

inline uint32_t ballot(bool vote) {
    struct Lane {
        bool vote;
        uint32_t result;
    } lane{vote, 0};
    cuda_shim::meetWarp("a ballot", &lane, [](void* const* all) {
        uint32_t votes = 0;
        for (int i = 0; i < 32; ++i) votes |= static_cast<uint32_t>(static_cast<Lane*>(all[i])->vote) << i;
        for (int i = 0; i < 32; ++i) static_cast<Lane*>(all[i])->result = votes;
    });
    return lane.result;
}

inline uint32_t reduceOr(uint32_t bits) {
    struct Lane {
        uint32_t bits, result;
    } lane{bits, 0};
    cuda_shim::meetWarp("a reduction", &lane, [](void* const* all) {
        uint32_t any = 0;
        for (int i = 0; i < 32; ++i) any |= static_cast<Lane*>(all[i])->bits;
        for (int i = 0; i < 32; ++i) static_cast<Lane*>(all[i])->result = any;
    });
    return lane.result;
}

inline void atomicSetBits(uint32_t* word, uint32_t bits) {
    *word |= bits;
}

inline void keepInRegister(unsigned& /*value*/) {}

inline void storeShared(float* to, float value) {
    cuda_shim::accessShared(to, sizeof value);
    *to = value;
}
inline void storeShared(float* to, float2 values) {
    cuda_shim::accessShared(to, sizeof values);
    *reinterpret_cast<float2*>(to) = values;
}
inline float4 loadShared4(const float* from) {
    cuda_shim::accessShared(from, sizeof(float4));
    return *reinterpret_cast<const float4*>(from);
}

template <typename V>
void storeVector(void* to, const V& vector) {
    static_assert(sizeof(V) == 16);
    cuda_shim::countVector(to);
    *static_cast<V*>(to) = vector;
}

inline void copyAsync16(void* shared, const void* global, bool valid) {
    cuda_shim::copyAsync(shared, global, 16, valid ? 16 : 0);
}

inline void commitCopies() {
    cuda_shim::commitCopies();
}

template <int groups_left>
void waitCopies() {
    cuda_shim::waitCopies(groups_left);
}

namespace on_cpu {

struct MatrixLane {
    const void* row;
    uint32_t* result;
};

inline void loadMatrices(uint32_t (&m)[4], const void* row, const char* name, void (*combine)(void* const*)) {
    cuda_shim::checkShared(row, 16, 16);
    MatrixLane lane{row, m};
    cuda_shim::meetWarp(name, &lane, combine);
}

inline uint16_t element(void* const* lanes, int matrix, int row, int column) {
    const void* at = static_cast<const MatrixLane*>(lanes[8 * matrix + row])->row;
    uint16_t value;
    std::memcpy(&value, static_cast<const char*>(at) + 2 * column, sizeof value);
    return value;
}

inline uint32_t pair(uint16_t low, uint16_t high) {
    return static_cast<uint32_t>(low) | static_cast<uint32_t>(high) << 16;
}

struct MultiplyLane {
    float* c;
    const uint32_t* a;
    const uint32_t* b;
};

// The hardware drops the bits that TF32 does not have.
inline float tf32(uint32_t bits) {
    return floatOf(bits & 0xFFFFE000U);
}

// a16(lane's registers, row half, k) and so on, by type.
template <typename T>
void multiply(void* const* lanes) {
    cuda_shim::countProduct();
    constexpr bool wide = sizeof(T) == 4;
    constexpr int depth = wide ? 8 : 16;
    float a[16][depth];
    float b[8][depth];
    for (int lane = 0; lane < 32; ++lane) {
        const auto* of = static_cast<const MultiplyLane*>(lanes[lane]);
        const int group = lane / 4;
        const int in_group = lane % 4;
        const auto half = [](uint32_t word, int which) {
            const auto bits = static_cast<uint16_t>(word >> (16 * which));
            if constexpr (std::is_same_v<T, F16>)
                return floatFromF16(bits);
            else
                return floatFromBf16(bits);
        };
        for (int r = 0; r < 4; ++r) {
            const int row = group + r % 2 * 8;
            if constexpr (wide) {
                a[row][in_group + r / 2 * 4] = tf32(of->a[r]);
            } else {
                for (int i = 0; i < 2; ++i) a[row][in_group * 2 + i + r / 2 * 8] = half(of->a[r], i);
            }
        }
        for (int r = 0; r < 2; ++r) {
            if constexpr (wide) {
                b[group][in_group + r * 4] = tf32(of->b[r]);
            } else {
                for (int i = 0; i < 2; ++i) b[group][in_group * 2 + i + r * 8] = half(of->b[r], i);
            }
        }
    }
    for (int lane = 0; lane < 32; ++lane) {
        float* c = static_cast<const MultiplyLane*>(lanes[lane])->c;
        for (int r = 0; r < 4; ++r) {
            const int row = lane / 4 + r / 2 * 8;
            const int column = lane % 4 * 2 + r % 2;
            c[r] = addProducts<T>(tensorCore(), c[r], a[row], b[column], depth);
        }
    }
}

}  // namespace on_cpu

inline void loadMatrices(uint32_t (&m)[4], const void* row) {
    on_cpu::loadMatrices(m, row, "ldmatrix", [](void* const* lanes) {
        for (int lane = 0; lane < 32; ++lane)
            for (int i = 0; i < 4; ++i)
                static_cast<on_cpu::MatrixLane*>(lanes[lane])->result[i] =
                    on_cpu::pair(on_cpu::element(lanes, i, lane / 4, lane % 4 * 2),
                                 on_cpu::element(lanes, i, lane / 4, lane % 4 * 2 + 1));
    });
}

inline void loadMatricesTransposed(uint32_t (&m)[4], const void* row) {
    on_cpu::loadMatrices(m, row, "ldmatrix.trans", [](void* const* lanes) {
        for (int lane = 0; lane < 32; ++lane)
            for (int i = 0; i < 4; ++i)
                static_cast<on_cpu::MatrixLane*>(lanes[lane])->result[i] =
                    on_cpu::pair(on_cpu::element(lanes, i, lane % 4 * 2, lane / 4),
                                 on_cpu::element(lanes, i, lane % 4 * 2 + 1, lane / 4));
    });
}

inline uint32_t roundToTf32(uint32_t bits) {
    if ((bits & 0x7F800000U) == 0x7F800000U) return bits;  // infinities and NaN stay
    return (bits + 0x1000U) & 0xFFFFE000U;
}

template <typename T>
void multiplyAccumulate(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    on_cpu::MultiplyLane lane{c, a, b};
    cuda_shim::meetWarp("mma", &lane, &on_cpu::multiply<T>);
}

inline uint32_t floatBits(float value) {
    return bitsOf(value);
}
inline float floatFromBits(uint32_t bits) {
    return floatOf(bits);
}

inline float sumRounded(float a, float b) {
    return a + b;
}
inline float productRounded(float a, float b) {
    return a * b;
}
inline float multiplyAdd(float a, float b, float c) {
    return std::fma(a, b, c);
}

inline float toFloat(float value) {
    return value;
}
inline float toFloat(F16 value) {
    return floatFromF16(value.bits);
}
inline float toFloat(Bf16 value) {
    return floatFromBf16(value.bits);
}
inline void setFloat(float& to, float value) {
    to = value;
}
inline void setFloat(F16& to, float value) {
    to.bits = f16FromFloat(value);
}
inline void setFloat(Bf16& to, float value) {
    to.bits = bf16FromFloat(value);
}

}  // namespace pconv::cuda
