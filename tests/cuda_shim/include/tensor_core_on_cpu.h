// What tensor cores add, in the bits that they keep. NVIDIA says nothing of it; it was measured by Fasi et
// al. (2021, "Numerical behavior of NVIDIA tensor cores"), Li et al. (2024, "FTTN") and Khattak and Mikaitis
// (2025, "Accurate models of NVIDIA tensor cores"): an mma takes its depth in blocks, one after the other.
// The products of a block, exact, and the sum so far are aligned to the largest exponent among them, and each
// drops what lies below the last of 24 places and a few extra ones; their sum then drops what lies below
// f32's last place. A product has the sum of its factors' exponents, whether or not it carries.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <type_traits>

#include "../../../src/core/half.h"

namespace pconv::cuda {
struct F16;
}

namespace pconv::cuda::on_cpu {

struct TensorCore {
    int block_16, block_tf32;  // products that are added at once, of 16-bit numbers and of TF32
    int extra_places;
};

// A100 and the RTX 30 series: what loses most of all chips that the library runs on (V100 and T4 have no
// extra place).
inline constexpr TensorCore kAmpere{8, 4, 1};
inline constexpr TensorCore kHopper{16, 8, 2};

// The worst, unless the environment names the other.
inline const TensorCore& tensorCore() {
    static const char* const name = std::getenv("PCONV_FAKE_TENSOR_CORE");
    static const bool hopper = name != nullptr && std::strcmp(name, "hopper") == 0;
    return hopper ? kHopper : kAmpere;
}

// Of numbers below `least`, which have no leading one, it is `least`.
inline int exponentOf(float value, int least) {
    return std::max(static_cast<int>(bitsOf(value) >> 23 & 0xFFU) - 127, least);
}

inline double powerOfTwo(int exponent) {
    const uint64_t bits = static_cast<uint64_t>(exponent + 1023) << 52;
    double power;
    std::memcpy(&power, &bits, sizeof power);
    return power;
}

inline float towardZero(double value) {
    const auto nearest = static_cast<float>(value);
    return std::fabs(static_cast<double>(nearest)) > std::fabs(value) ? std::nextafter(nearest, 0.0F)
                                                                      : nearest;
}

// sum + a[0] b[0] + ... of one block.
inline float addBlock(float sum, const float* a, const float* b, int count, int least, int extra_places) {
    auto plain = static_cast<double>(sum);
    int exponent = exponentOf(sum, -126);
    for (int k = 0; k < count; ++k) {
        plain += static_cast<double>(a[k]) * static_cast<double>(b[k]);
        exponent = std::max(exponent, exponentOf(a[k], least) + exponentOf(b[k], least));
    }
    if (!std::isfinite(plain)) return static_cast<float>(plain);
    const int places = 23 + extra_places - exponent;
    const double scale = powerOfTwo(places);
    auto kept = static_cast<int64_t>(static_cast<double>(sum) * scale);
    for (int k = 0; k < count; ++k)
        kept += static_cast<int64_t>(static_cast<double>(a[k]) * static_cast<double>(b[k]) * scale);
    return towardZero(static_cast<double>(kept) * powerOfTwo(-places));
}

// sum + a[0] b[0] + ... + a[depth - 1] b[depth - 1], whole blocks of factors of type T.
template <typename T>
float addProducts(const TensorCore& core, float sum, const float* a, const float* b, int depth) {
    const int block = sizeof(T) == 4 ? core.block_tf32 : core.block_16;
    for (int k = 0; k < depth; k += block)
        sum = addBlock(sum, a + k, b + k, block, std::is_same_v<T, F16> ? -14 : -126, core.extra_places);
    return sum;
}

}  // namespace pconv::cuda::on_cpu
