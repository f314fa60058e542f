#include "interruption.h"

#include <atomic>
#include <cstring>
#include <iterator>

#include "platform.h"

namespace pconv::app {
namespace {

char temporary[4096];
std::atomic<bool> has_temporary{false};
char privates[4][1024];
std::atomic<std::size_t> private_count{0};
std::atomic<bool> has_bar{false};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<std::size_t>::is_always_lock_free);

}  // namespace

void clearUp(const Cleaner& cleaner) {
    if (has_temporary.load()) cleaner.remove_file(temporary);
    for (std::size_t i = 0; i < private_count.load(); ++i)
        if (!cleaner.remove_file(privates[i])) cleaner.remove_folder(privates[i]);
    if (has_bar.load()) cleaner.say("\r\x1b[K");
    cleaner.say("pconv: interrupted\n");
}

void watchTemporary(const char* path) {
    has_temporary.store(false);
    if (path == nullptr || std::strlen(path) >= sizeof temporary) return;
    std::memcpy(temporary, path, std::strlen(path) + 1);
    has_temporary.store(true);
}

void watchPrivate(const std::vector<std::string>& paths) {
    private_count.store(0);
    std::size_t count = 0;
    for (const std::string& path : paths) {
        if (count == std::size(privates) || path.size() >= sizeof privates[0]) break;
        std::memcpy(privates[count++], path.c_str(), path.size() + 1);
    }
    private_count.store(count);
}

void noteProgressBar(bool shown) {
    has_bar.store(shown);
}

}  // namespace pconv::app
