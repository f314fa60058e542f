#include "platform/process.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>

#if !defined(_WIN32)
#include <pthread.h>
#endif
#if defined(__linux__)
#include <sched.h>
#endif

namespace pconv::platform {

namespace {

std::string readText(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// A quota and its period, in microseconds, as whole processors; 0 where there is none.
int processorsOf(const std::string& quota, const std::string& period) {
    const double share = std::atof(quota.c_str());
    const double whole = std::atof(period.c_str());
    if (!(share > 0) || !(whole > 0)) return 0;
    return std::max(1, static_cast<int>(std::min(std::ceil(share / whole), 1e6)));
}

// The smallest quota of a group and those above it; `read` gives one folder's.
template <typename Read>
int smallestQuota(const std::string& folder, std::string group, const Read& read) {
    int smallest = 0;
    for (;;) {
        const int quota = read(folder + group);
        if (quota > 0 && (smallest == 0 || quota < smallest)) smallest = quota;
        const size_t slash = group.find_last_of('/');
        if (group.size() < 2 || slash == std::string::npos) return smallest;
        group.resize(slash);
    }
}

int quotaOfVersion2(const std::string& folder) {
    std::istringstream text(readText(folder + "/cpu.max"));
    std::string quota;
    std::string period;
    text >> quota >> period;  // "max 100000" or "150000 100000"
    return processorsOf(quota, period);
}

int quotaOfVersion1(const std::string& folder) {
    return processorsOf(readText(folder + "/cpu.cfs_quota_us"), readText(folder + "/cpu.cfs_period_us"));
}

}  // namespace

int quotaOfControlGroups(const std::string& groups, const std::string& mounted) {
    int smallest = 0;
    std::istringstream lines(groups);
    for (std::string line; std::getline(lines, line);) {  // "0::/group" or "4:cpu,cpuacct:/group"
        const size_t first = line.find(':');
        const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
        if (second == std::string::npos) continue;
        const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
        const std::string group = line.substr(second + 1);
        int quota = 0;
        if (controllers == ",,")
            quota = smallestQuota(mounted, group, quotaOfVersion2);
        else if (controllers.find(",cpu,") != std::string::npos)
            quota = smallestQuota(mounted + "/cpu", group, quotaOfVersion1);
        if (quota > 0 && (smallest == 0 || quota < smallest)) smallest = quota;
    }
    return smallest;
}

int usableProcessors() {
    int processors = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
#if defined(__linux__)
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) processors = std::max(1, CPU_COUNT(&allowed));
    const int quota = quotaOfControlGroups(readText("/proc/self/cgroup"), "/sys/fs/cgroup");
    if (quota > 0) processors = std::min(processors, quota);
#endif
    return processors;
}

#if defined(_WIN32)

uint64_t forkCount() noexcept {
    return 0;
}

#else

namespace {
std::atomic<uint64_t> forks{0};
}  // namespace

uint64_t forkCount() noexcept {
    static const bool watches = pthread_atfork(nullptr, nullptr, [] { ++forks; }) == 0;
    static_cast<void>(watches);
    return forks.load(std::memory_order_relaxed);
}

#endif

}  // namespace pconv::platform
