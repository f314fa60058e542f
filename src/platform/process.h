// The process as the system sees it: what it was forked from, and how many processors it may use.
#pragma once

#include <cstdint>
#include <string>

namespace pconv::platform {

// How often this process and those it comes from were forked since the first call; 0 where there is no fork.
// What differs from a number kept earlier was made in another process, and its threads are not here.
uint64_t forkCount() noexcept;

// Processors that the process may run on, and no more than its quota of time fills; at least 1.
int usableProcessors();

// The processors that Linux's control groups leave a process, from the text of its /proc/self/cgroup and the
// folder where they are mounted: the smallest quota of its group and those above, rounded up; 0 without one.
int quotaOfControlGroups(const std::string& groups, const std::string& mounted);

}  // namespace pconv::platform
