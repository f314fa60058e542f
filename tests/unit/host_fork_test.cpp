// Host programs that fork, as prefork servers and Python's multiprocessing do, and hosts that may start few
// threads.
#include <pconv/inpaint.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <functional>
#include <pconv/pconv.hpp>
#include <string>
#include <thread>

#include "support/api.h"

namespace pconv::test {
namespace {

// A layer that keeps several threads busy, forward and backward.
class Layer {
  public:
    explicit Layer(const pconv::Device& device)
        : desc_(training()),
          input_(device, {1, 32, 64, 64}, ramp(32 * 64 * 64)),
          mask_(device, {1, 1, 64, 64}, holes()),
          weight_(device, {32, 32, 3, 3}, ramp(32 * 32 * 9)),
          bias_(device, {32}, ramp(32)),
          output_(device, {1, 32, 64, 64}),
          grad_weight_(device, {32, 32, 3, 3}),
          update_(device, desc_, pconv::Mask(mask_.view())),
          conv_(device, desc_) {
        conv_.setWeights(weight_.view(), bias_.view());
    }

    std::vector<float> run() const {
        update_.compute(pconv::Mask(mask_.view()));
        conv_.forward(update_, input_.view(), output_.view());
        const PconvTensor gradient = grad_weight_.view();
        conv_.backward(update_, input_.view(), output_.view(), nullptr, &gradient, nullptr);
        std::vector<float> all = output_.read<float>();
        const std::vector<float> gradients = grad_weight_.read<float>();
        all.insert(all.end(), gradients.begin(), gradients.end());
        return all;
    }

  private:
    static PconvPartialConvDesc training() {
        PconvPartialConvDesc desc = pconv::PartialConvDesc::same(1, 32, 32, {64, 64}, 3);
        desc.training = 1;
        return desc;
    }
    static std::vector<float> ramp(size_t count) {
        std::vector<float> values(count);
        for (size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i % 23) * 0.125F - 1.25F;
        return values;
    }
    static std::vector<uint8_t> holes() {
        std::vector<uint8_t> mask(64 * 64);
        for (size_t i = 0; i < mask.size(); ++i) mask[i] = i % 7 == 0 ? 0 : 1;
        return mask;
    }

    PconvPartialConvDesc desc_;
    pconv::Tensor input_, mask_, weight_, bias_, output_, grad_weight_;
    pconv::MaskUpdate update_;
    pconv::PartialConv conv_;
};

pconv::Device cpuWithThreads(int32_t threads) {
    PconvDeviceOptions options = pconvDefaultDeviceOptions();
    options.threads = threads;
    return pconv::Device("cpu", &options);
}

std::vector<uint8_t> inpainted(PconvDevice device) {
    std::vector<uint8_t> pixels(96 * 96 * 3);
    std::vector<uint8_t> holes(96 * 96);
    for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i / 3 % 96 * 2);
    for (size_t i = 0; i < holes.size(); ++i) holes[i] = i % 96 > 30 && i % 96 < 40 ? 1 : 0;
    PconvImage image = pconvDefaultImage();
    image.pixels = pixels.data();
    image.width = image.height = 96;
    check(pconvInpaint(device, &image, holes.data(), nullptr));
    return pixels;
}

// The exit code of a child that runs `body`; 200 where an exception left it, and -signal where it was ended,
// as it is after ten minutes.
int inChild(const std::function<int()>& body) {
    const pid_t child = fork();
    if (child == 0) {
        alarm(600);
        int code = 200;
        try {
            code = body();
        } catch (const std::exception& error) {
            std::fprintf(stderr, "in the child: %s\n", error.what());
        }
        _exit(code);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) return 201;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

size_t threadsOfThisProcess() {
    size_t count = 0;
    for ([[maybe_unused]] const auto& task : std::filesystem::directory_iterator("/proc/self/task")) ++count;
    return count;
}

TEST(Fork, ADeviceInUseWorksInTheChildEveryTime) {
    const pconv::Device device = cpuWithThreads(4);
    const Layer layer(device);
    const std::vector<float> expected = layer.run();
    const std::vector<uint8_t> picture = inpainted(device.get());
    ASSERT_GT(threadsOfThisProcess(), 1U) << "the device works with the caller alone: nothing is shown here";
    for (int i = 0; i < 100; ++i) {
        const int code = inChild([&] {
            if (layer.run() != expected) return 1;
            const pconv::Device fresh = cpuWithThreads(4);
            const Layer other(fresh);
            if (other.run() != expected) return 2;
            if (i % 10 == 0 && inpainted(i % 20 == 0 ? device.get() : fresh.get()) != picture) return 3;
            return threadsOfThisProcess() > 1 ? 0 : 4;
        });
        ASSERT_EQ(code, 0) << "fork " << i;
        ASSERT_EQ(layer.run(), expected) << "of the parent after fork " << i;
    }
}

TEST(Fork, TheChildMayReleaseWhatTheParentMade) {
    auto device = std::make_unique<pconv::Device>(cpuWithThreads(4));
    auto layer = std::make_unique<Layer>(*device);
    const std::vector<float> expected = layer->run();
    EXPECT_EQ(inChild([&] {
                  layer.reset();
                  device.reset();
                  return 0;
              }),
              0);
    EXPECT_EQ(layer->run(), expected);
}

TEST(Fork, AChildOfAChildWorksToo) {
    const pconv::Device device = cpuWithThreads(4);
    const Layer layer(device);
    const std::vector<float> expected = layer.run();
    EXPECT_EQ(inChild([&] {
                  if (layer.run() != expected) return 1;
                  return inChild([&] { return layer.run() == expected ? 0 : 2; });
              }),
              0);
}

// In the middle of a call of another thread the device's state is anything: the child is told, at once.
TEST(Fork, WhileAnotherThreadUsesTheDeviceTheChildIsToldOrItWorks) {
    const pconv::Device device = cpuWithThreads(2);
    const Layer layer(device);
    const std::vector<float> expected = layer.run();
    std::atomic<bool> stop{false};
    std::thread user([&] {
        while (!stop) static_cast<void>(layer.run());
    });
    int told = 0;
    for (int i = 0; i < 20; ++i) {
        const int code = inChild([&] {
            try {
                return layer.run() == expected ? 0 : 1;
            } catch (const pconv::Error& error) {
                return error.status() == PCONV_ERROR_DEVICE ? 50 : 2;
            }
        });
        EXPECT_TRUE(code == 0 || code == 50) << code;
        told += code == 50 ? 1 : 0;
    }
    stop = true;
    user.join();
    EXPECT_GT(told, 0) << "no fork met a call";
}

// A device whose driver does not survive a fork says so; nothing hangs, not even its release.
TEST(Fork, GpuDevicesSayThatTheyDoNotSurviveIt) {
    OwnedDevice gpu;
    for (const char* backend : {"vulkan", "cuda"}) {
        if (pconvCreateDevice(backend, nullptr, gpu.out()) != PCONV_SUCCESS) continue;
        OwnedBuffer buffer;
        check(pconvCreateBuffer(gpu.get(), 64, buffer.out()));
        EXPECT_EQ(
            inChild([&] {
                float value = 0;
                if (!isFault(pconvWriteBuffer(buffer.get(), 0, &value, sizeof value), PCONV_ERROR_DEVICE,
                             "forked"))
                    return 1;
                OwnedDevice fresh;
                if (!isFault(pconvCreateDevice(backend, nullptr, fresh.out()), PCONV_ERROR_DEVICE, "forked"))
                    return 2;
                buffer.reset();
                gpu.reset();
                check(pconvCreateDevice("cpu", nullptr, fresh.out()));
                return 0;
            }),
            0)
            << backend;
        const float value = 1;
        EXPECT_EQ(pconvWriteBuffer(buffer.get(), 0, &value, sizeof value), PCONV_SUCCESS) << "of the parent";
        buffer.reset();
        gpu.reset();
    }
}

// A user who may have so many processes, threads counted; root is not held to it.
bool limitProcesses(rlim_t most) {
    constexpr uid_t kNobody = 65534;
    if (geteuid() == 0 && (setgid(kNobody) != 0 || setuid(kNobody) != 0)) return false;
    const rlimit limit{most, most};
    return setrlimit(RLIMIT_NPROC, &limit) == 0;
}

TEST(ThreadLimit, WithoutAnyFurtherThreadTheCallerDoesTheWork) {
    const pconv::Device device = cpuWithThreads(8);
    std::vector<float> expected;
    {
        const Layer layer(device);
        expected = layer.run();
    }
    const int code = inChild([&] {
        const pconv::Device fresh = cpuWithThreads(8);  // its module is loaded while files can be read
        if (!limitProcesses(1)) return 100;
        const Layer layer(fresh);
        if (layer.run() != expected) return 1;
        return threadsOfThisProcess() == 1 ? 0 : 2;
    });
    if (code == 100) GTEST_SKIP() << "this process may not limit its processes";
    EXPECT_EQ(code, 0);
}

TEST(ThreadLimit, AHostOf64ThreadsUnderALimitOf20Survives) {
    const pconv::Device device = cpuWithThreads(64);
    std::vector<float> expected;
    {
        const Layer layer(device);
        expected = layer.run();
    }
    const int code = inChild([&] {
        if (!limitProcesses(20)) return 100;
        std::atomic<int> wrong{0};
        std::vector<std::thread> threads;
        int refused = 0;
        for (int i = 0; i < 64; ++i) try {
                threads.emplace_back([&] {
                    try {
                        const pconv::Device own = cpuWithThreads(64);
                        const Layer layer(own);
                        for (int repeat = 0; repeat < 3; ++repeat)
                            if (layer.run() != expected) ++wrong;
                    } catch (const std::exception&) {
                        ++wrong;
                    }
                });
            } catch (const std::system_error&) {
                ++refused;
            }
        for (std::thread& thread : threads) thread.join();
        if (refused == 0) return 3;
        return wrong == 0 ? 0 : 1;
    });
    if (code == 100) GTEST_SKIP() << "this process may not limit its processes";
    if (code == 3) GTEST_SKIP() << "the limit holds nobody here";
    EXPECT_EQ(code, 0);
}

}  // namespace
}  // namespace pconv::test
