#include "core/host.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>

#include "error.h"

namespace pconv {

namespace {

class CallerHost final : public Host {
  public:
    explicit CallerHost(const PconvDeviceOptions& options) : options_(options) {
        if (options_.verbosity >= 0) return;
        const char* text = std::getenv("PCONV_VERBOSE");
        options_.verbosity = text != nullptr ? std::atoi(text) : 0;
    }

    void allocated(size_t bytes) override {
        const size_t before = used_.fetch_add(bytes);
        if (options_.memory_limit != 0 && before + bytes > options_.memory_limit) {
            used_.fetch_sub(bytes);
            fail(PCONV_ERROR_OUT_OF_MEMORY,
                 "an allocation of " + std::to_string(bytes) + " bytes exceeds the device's memory limit; " +
                     std::to_string(before) + " of " + std::to_string(options_.memory_limit) + " are in use");
        }
        if (options_.allocation_callback != nullptr)
            options_.allocation_callback(options_.user, static_cast<int64_t>(bytes));
    }

    void released(size_t bytes) noexcept override {
        used_.fetch_sub(bytes);
        if (options_.allocation_callback != nullptr)
            options_.allocation_callback(options_.user, -static_cast<int64_t>(bytes));
    }

    int verbosity() const override { return options_.verbosity; }
    int threads() const override { return options_.threads; }
    HostThreads hostThreads() const override { return {options_.threads_callback, options_.user}; }

    void message(const std::string& line) const override {
        if (options_.message_callback != nullptr)
            options_.message_callback(options_.user, line.c_str());
        else
            std::fprintf(stderr, "pconv: %s\n", line.c_str());
    }

  private:
    PconvDeviceOptions options_;
    std::atomic<size_t> used_{0};
};

}  // namespace

std::unique_ptr<Host> makeHost(const PconvDeviceOptions& options) {
    return std::make_unique<CallerHost>(options);
}

}  // namespace pconv
