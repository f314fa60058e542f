#include "cuda/cudnn/plan_cache.h"

#include "platform/cache_file.h"

namespace pconv::cuda {

std::string CudnnPlanCache::pathOf(const std::string& key) const {
    if (folder_.empty()) return {};
    return folder_ + "/cudnn-" + platform::hexChecksum(key) + ".plan";
}

// The file's content: environment and key, so that neither a stale plan nor a colliding name is taken for it.
std::string CudnnPlanCache::read(const std::string& key) const {
    const std::string path = pathOf(key);
    if (path.empty()) return {};
    const std::string head = environment_ + "\n" + key + "\n";
    const std::string content = platform::readCacheFile(path);
    return content.compare(0, head.size(), head) == 0 ? content.substr(head.size()) : std::string();
}

void CudnnPlanCache::write(const std::string& key, const std::string& plan) const {
    const std::string path = pathOf(key);
    if (!path.empty()) platform::writeCacheFile(path, environment_ + "\n" + key + "\n" + plan);
}

}  // namespace pconv::cuda
