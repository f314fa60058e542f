// All elements of a tensor of five dimensions, in order.
#pragma once

#include <array>
#include <cstdint>

namespace pconv::test {

template <typename F>
void forEachElement(const std::array<int64_t, 5>& dims, const F& f) {
    std::array<int64_t, 5> o{};
    for (o[0] = 0; o[0] < dims[0]; ++o[0])
        for (o[1] = 0; o[1] < dims[1]; ++o[1])
            for (o[2] = 0; o[2] < dims[2]; ++o[2])
                for (o[3] = 0; o[3] < dims[3]; ++o[3])
                    for (o[4] = 0; o[4] < dims[4]; ++o[4]) f(o);
}

}  // namespace pconv::test
