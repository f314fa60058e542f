#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <system_error>

namespace pconv::platform {

/// The number of the open descriptor of this process that a path names, such as 1 for /dev/stdout, 3 for
/// /proc/self/fd/3 and 63 for what a shell makes of >(...); -1 where it names a file.
int descriptorOf(const std::filesystem::path& path);

/// A stream of its own on an open descriptor, so that it reads or writes where the descriptor stands: null
/// with `error` set where the descriptor is closed or open the other way. Closing it leaves the descriptor
/// open.
std::FILE* openDescriptor(int descriptor, bool for_writing, std::error_code& error);

std::FILE* openForReading(const std::filesystem::path& path, std::error_code& error);

/// Opens what is there for writing without changing it; null with `error` set where that fails.
std::FILE* openForUpdate(const std::filesystem::path& path, std::error_code& error);

/// How many names a file has, and whether both paths name one file.
std::uint64_t linkCount(const std::filesystem::path& path);
bool isSameFile(const std::filesystem::path& a, const std::filesystem::path& b);

/// Makes a new file as `old` is: its owner, its permissions but for set-user-ID and set-group-ID, its access
/// control list and extended attributes. False where this process may not.
bool takeAfter(std::FILE* file, const std::filesystem::path& old);

/// Takes set-user-ID and set-group-ID from a file that is written to.
void dropSetId(std::FILE* file);

/// Sets aside room for `size` bytes without changing what is there, and cuts a file off after `size` bytes.
bool reserve(std::FILE* file, std::uint64_t size, std::error_code& error);
bool cutOff(std::FILE* file, std::uint64_t size, std::error_code& error);

/// Whether a stream ends on a terminal.
bool isTerminal(std::FILE* file);

}  // namespace pconv::platform
