#include "platform/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "platform/process.h"

namespace pconv::test {
namespace {

TEST(ThreadPool, CallsEachIndexOnce) {
    for (const int threads : {1, 2, 7}) {
        ThreadPool pool(threads);
        for (const int64_t count : {0, 1, 2, 3, 100, 5000}) {
            std::vector<std::atomic<int>> calls(static_cast<size_t>(count));
            pool.run(count, [&](int thread, int64_t i) {
                EXPECT_GE(thread, 0);
                EXPECT_LT(thread, threads);
                ++calls[static_cast<size_t>(i)];
            });
            for (const auto& call : calls) EXPECT_EQ(call, 1);
        }
    }
}

TEST(ThreadPool, NoTwoCallsAtATimeHaveTheSameThread) {
    ThreadPool pool(6);
    for (const int most : {1, 3, 6})
        for (int repeat = 0; repeat < 200; ++repeat) {
            std::vector<std::atomic<int>> inside(6);
            pool.run(
                40,
                [&](int thread, int64_t) {
                    EXPECT_LT(thread, most);
                    EXPECT_EQ(inside[static_cast<size_t>(thread)]++, 0);
                    std::this_thread::yield();
                    --inside[static_cast<size_t>(thread)];
                },
                most);
        }
}

TEST(ThreadPool, StartsThreadsAsTheyAreNeeded) {
    ThreadPool pool(5);
    EXPECT_EQ(pool.started(), 1);
    pool.run(1, [](int, int64_t) {});
    EXPECT_EQ(pool.started(), 1);
    pool.run(3, [](int, int64_t) {});
    EXPECT_EQ(pool.started(), 3);
    pool.run(100, [](int, int64_t) {});
    EXPECT_EQ(pool.started(), 5);
}

TEST(ThreadPool, WorkIsSharedAndSleepersWake) {
    ThreadPool pool(2);
    for (int round = 0; round < 5; ++round) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));  // the other sleeps by now
        std::atomic<int> arrived{0};
        // Both must come, or neither leaves.
        pool.run(2, [&](int, int64_t) {
            ++arrived;
            while (arrived < 2) std::this_thread::yield();
        });
        EXPECT_EQ(arrived, 2);
    }
}

TEST(ThreadPool, GivesTheFirstExceptionWhenAllHaveEnded) {
    ThreadPool pool(4);
    for (int repeat = 0; repeat < 50; ++repeat) {
        std::atomic<int> calls{0};
        EXPECT_THROW(pool.run(20,
                              [&](int, int64_t i) {
                                  ++calls;
                                  if (i == 3) throw std::runtime_error("the fourth");
                              }),
                     std::runtime_error);
        EXPECT_EQ(calls, 20);
    }
    pool.run(4, [](int, int64_t) {});
}

// A host with threads of its own, of which as many come as `answers` says.
struct HostTeam {
    int answers = 0;
    std::atomic<int> asked{0};
    static void call(void* user, int32_t threads, void (*work)(void*), void* context) {
        auto& team = *static_cast<HostTeam*>(user);
        team.asked = threads;
        std::vector<std::thread> started;
        for (int i = 0; i < team.answers; ++i) started.emplace_back([=] { work(context); });
        for (std::thread& thread : started) thread.join();
    }
};

TEST(ThreadPool, OfTheHostWhoeverComes) {
    // Nobody, too few, as asked, and more than were asked for.
    for (const int answers : {0, 1, 3, 8}) {
        HostTeam team;
        team.answers = answers;
        ThreadPool pool(3, HostTeam::call, &team);
        for (int repeat = 0; repeat < 20; ++repeat) {
            std::vector<std::atomic<int>> calls(50);
            std::vector<std::atomic<int>> inside(3);
            pool.run(50, [&](int thread, int64_t i) {
                ASSERT_LT(thread, 3);
                EXPECT_EQ(inside[static_cast<size_t>(thread)]++, 0);
                ++calls[static_cast<size_t>(i)];
                --inside[static_cast<size_t>(thread)];
            });
            for (const auto& call : calls) EXPECT_EQ(call, 1);
            EXPECT_EQ(team.asked, 3);
        }
        EXPECT_THROW(pool.run(20,
                              [](int, int64_t i) {
                                  if (i == 7) throw std::runtime_error("the eighth");
                              }),
                     std::runtime_error);
        EXPECT_EQ(pool.started(), 1);
    }
}

TEST(ThreadPool, IdleThreadsTakeNoTime) {
    ThreadPool pool(4);
    pool.run(100, [](int, int64_t) {});
    const std::clock_t before = std::clock();  // of the whole process
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    const double spent = static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
    EXPECT_LT(spent, 0.03);
}

TEST(ThreadPool, CallsInQuickSuccession) {
    ThreadPool pool(3);
    std::atomic<int64_t> sum{0};
    for (int repeat = 0; repeat < 20000; ++repeat) pool.run(3, [&](int, int64_t i) { sum += i; });
    EXPECT_EQ(sum, 60000);
}

class ControlGroups : public testing::Test {
  protected:
    void SetUp() override {
        folder_ = std::filesystem::path(testing::TempDir()) / "pconv_control_groups";
        std::filesystem::remove_all(folder_);
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }
    void write(const std::string& file, const std::string& text) const {
        std::filesystem::create_directories((folder_ / file).parent_path());
        std::ofstream(folder_ / file) << text;
    }
    int quota(const std::string& groups) const {
        return platform::quotaOfControlGroups(groups, folder_.string());
    }
    std::filesystem::path folder_;
};

TEST_F(ControlGroups, OfVersion2) {
    write("a/b/cpu.max", "150000 100000\n");
    write("a/cpu.max", "max 100000\n");
    EXPECT_EQ(quota("0::/a/b\n"), 2);
    write("a/cpu.max", "100000 100000\n");
    EXPECT_EQ(quota("0::/a/b\n"), 1) << "the group above has less";
    EXPECT_EQ(quota("0::/other\n"), 0);
    write("cpu.max", "20000 100000\n");
    EXPECT_EQ(quota("0::/\n"), 1) << "part of a processor is one";
}

TEST_F(ControlGroups, OfVersion1) {
    write("cpu/a/cpu.cfs_quota_us", "350000\n");
    write("cpu/a/cpu.cfs_period_us", "100000\n");
    EXPECT_EQ(quota("5:memory:/a\n4:cpu,cpuacct:/a\n"), 4);
    write("cpu/a/cpu.cfs_quota_us", "-1\n");
    EXPECT_EQ(quota("4:cpu,cpuacct:/a\n"), 0);
    EXPECT_EQ(quota("4:cpuset:/a\n"), 0);
    EXPECT_EQ(quota("nonsense\n::\n"), 0);
}

TEST(Processors, AreAtLeastOne) {
    EXPECT_GE(platform::usableProcessors(), 1);
}

}  // namespace
}  // namespace pconv::test
