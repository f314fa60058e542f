// The C API for tests: what is expected of a call that fails.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "support/handles.h"

namespace pconv::test {

inline ::testing::AssertionResult isFault(PconvStatus status, PconvStatus expected, const std::string& part) {
    const std::string line = pconvGetLastError();
    if (status != expected)
        return ::testing::AssertionFailure()
               << "status is " << pconvGetStatusName(status) << " (" << line << "), expected "
               << pconvGetStatusName(expected) << " with '" << part << "'";
    if (line.find(part) == std::string::npos)
        return ::testing::AssertionFailure()
               << "the message is '" << line << "', expected '" << part << "' in it";
    if (line.find('\n') != std::string::npos)
        return ::testing::AssertionFailure() << "the message is more than one line: '" << line << "'";
    return ::testing::AssertionSuccess();
}

// A status and the words that its message must have in it.
#define EXPECT_FAULT(call, expected, part) EXPECT_TRUE(::pconv::test::isFault((call), (expected), (part)))
#define EXPECT_INVALID(call, part) EXPECT_FAULT(call, PCONV_ERROR_INVALID_ARGUMENT, part)

}  // namespace pconv::test
