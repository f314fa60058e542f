// Environment variables, set for as long as a test needs them.
#pragma once

#include <cstdlib>
#include <string>
#include <utility>

namespace pconv::test {

class ScopedEnvironment {
  public:
    ScopedEnvironment(std::string name, const std::string& value) : name_(std::move(name)) {
        const char* before = std::getenv(name_.c_str());
        was_set_ = before != nullptr;
        if (was_set_) before_ = before;
        set(value.c_str());
    }
    ScopedEnvironment(const ScopedEnvironment&) = delete;
    ScopedEnvironment& operator=(const ScopedEnvironment&) = delete;
    ~ScopedEnvironment() { set(was_set_ ? before_.c_str() : nullptr); }

  private:
    void set(const char* value) {
#if defined(_WIN32)
        _putenv_s(name_.c_str(), value != nullptr ? value : "");
#else
        if (value != nullptr)
            setenv(name_.c_str(), value, 1);
        else
            unsetenv(name_.c_str());
#endif
    }

    std::string name_;
    std::string before_;
    bool was_set_ = false;
};

}  // namespace pconv::test
