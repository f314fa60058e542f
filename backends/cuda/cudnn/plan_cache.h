// Plans kept on disk from run to run, one small file each: what takes seconds to build is read in
// milliseconds.
#pragma once

#include <string>

namespace pconv::cuda {

class CudnnPlanCache {
  public:
    // `environment` names all that makes a plan stale: device, driver, cuDNN. No folder: nothing is kept.
    CudnnPlanCache(std::string folder, std::string environment)
        : folder_(std::move(folder)), environment_(std::move(environment)) {}

    // The plan kept for `key`; "" where there is none, or it is stale or damaged.
    std::string read(const std::string& key) const;
    // Failing to write is no error: the next run builds the plan again.
    void write(const std::string& key, const std::string& plan) const;
    std::string pathOf(const std::string& key) const;

  private:
    std::string folder_, environment_;
};

}  // namespace pconv::cuda
