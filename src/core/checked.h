// Small checks that every entry of the C boundary uses.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>
#include <type_traits>

#include "error.h"

namespace pconv {

// Sizes beyond this are refused: every product of two coordinates still fits 64 bits, and a coordinate 32.
inline constexpr int64_t kMaxSize = INT32_MAX;

[[noreturn]] inline void invalid(const std::string& line) {
    fail(PCONV_ERROR_INVALID_ARGUMENT, line);
}

template <typename T>
T& notNull(T* pointer, const char* name) {
    if (pointer == nullptr) invalid(std::string(name) + " is null");
    return *pointer;
}

// a * b of two non-negative numbers, or a fault naming `what`.
inline int64_t checkedProduct(int64_t a, int64_t b, const char* what) {
    if (b != 0 && a > INT64_MAX / b) invalid(std::string(what) + " has more elements than 64 bits can count");
    return a * b;
}

// The number in an enumeration that a caller has filled: reading it as its own type is undefined where it is
// none of the enumerators.
template <typename Enum>
int64_t enumNumber(const Enum& value) {
    std::underlying_type_t<Enum> number{};
    std::memcpy(&number, &value, sizeof number);
    return static_cast<int64_t>(number);
}

// Copies a struct of the caller's version over the defaults of this one: shorter ones leave what they lack as
// it is, longer ones may hold only zeros where this library knows nothing.
template <typename T>
T copyVersioned(const T* source, T result, const char* name) {
    const size_t size = notNull(source, name).struct_size;
    if (size < sizeof(size_t) || size > 4096)
        invalid(std::string(name) + "->struct_size is " + std::to_string(size) +
                "; start from the pconvDefault... function");
    const auto* bytes = reinterpret_cast<const unsigned char*>(source);
    for (size_t i = sizeof(T); i < size; ++i)
        if (bytes[i] != 0)
            invalid(std::string(name) + " sets a field that this version of the library does not have");
    std::memcpy(static_cast<void*>(&result), source, std::min(size, sizeof(T)));
    return result;
}

// The reverse, for results: fills as much as the caller's version has.
template <typename T>
void storeVersioned(const T& value, T* destination, const char* name) {
    const size_t size = notNull(destination, name).struct_size;
    if (size < sizeof(size_t) || size > 4096)
        invalid(std::string(name) + "->struct_size is " + std::to_string(size) +
                "; start from the pconvDefault... function");
    std::memcpy(static_cast<void*>(destination), &value, std::min(size, sizeof(T)));
    destination->struct_size = size;
}

template <size_t N>
void copyText(char (&destination)[N], const std::string& text) {
    const size_t length = std::min(N - 1, text.size());
    std::memcpy(destination, text.data(), length);
    std::memset(destination + length, 0, N - length);
}

}  // namespace pconv
