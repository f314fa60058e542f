// Recordings beneath the seam, on every row of every device: what is submitted again and again gives the bits
// of direct calls.
#include <gtest/gtest.h>

#include <stdexcept>

#include "core/registry.h"
#include "recording_chain.h"

namespace pconv::test {

namespace {

// A backend's first device; the processor holds it until its end, as drivers do not unload cleanly.
class Recordings : public testing::TestWithParam<const char*> {
  protected:
    void SetUp() override {
        const std::string name = GetParam();
        const BackendEntry& backend = probeBackend(name);
        if (backend.devices.empty()) GTEST_SKIP() << "no " << GetParam() << " device: " << backend.reason;
        device_ = backend.module->open(0, host_);
        for (const Implementation* row : device_->implementations()) {
            std::string reason;
            if (row->supports(*device_, Chain::firstDesc(), reason) &&
                row->supports(*device_, Chain::secondDesc(), reason))
                rows_.push_back(row);
        }
        ASSERT_FALSE(rows_.empty());
    }

    std::vector<std::vector<uint8_t>> direct(Chain& chain, unsigned count) {
        std::vector<std::vector<uint8_t>> results;
        for (unsigned i = 0; i < count; ++i) {
            chain.writeInput(i);
            chain.enqueue();
            results.push_back(chain.results());
        }
        return results;
    }

    OpenHost host_;
    std::unique_ptr<Device> device_;
    std::vector<const Implementation*> rows_;
};

TEST_P(Recordings, GiveTheBitsOfDirectCallsOnInputThatChanges) {
    for (const Implementation* row : rows_) {
        Chain chain(*device_, *row, 1);
        const auto expected = direct(chain, 3);
        EXPECT_NE(expected[0], expected[1]);
        chain.poisonResults();
        const std::vector<uint8_t> poisoned = chain.results();
        const auto recording = device_->record([&] { chain.enqueue(); });
        EXPECT_TRUE(chain.results() == poisoned) << "work ran while it was recorded: " << row->name();
        for (unsigned i = 0; i < 3; ++i) {
            chain.poisonResults();
            chain.writeInput(i);
            recording->submit();
            EXPECT_TRUE(chain.results() == expected[i]) << row->name() << ", input " << i;
        }
    }
}

// All of it in one queue, and nobody waits in between.
TEST_P(Recordings, KeepTheOrderAmongDirectCalls) {
    for (const Implementation* row : rows_) {
        Chain chain(*device_, *row, 1);
        Chain other(*device_, *row, 2);
        const auto expected = direct(chain, 8);
        other.writeInput(100);
        other.enqueue();
        const std::vector<uint8_t> expected_other = other.results();
        const auto recording = device_->record([&] { chain.enqueue(); });
        const std::array<int64_t, 5> dims{2, 8, 1, 12, 10};
        std::vector<TensorRef> copies;
        for (unsigned i = 0; i < 8; ++i) {
            chain.writeInput(i);
            if (i % 3 == 1) chain.enqueue();
            if (i % 3 == 1) other.enqueue();
            if (i % 3 != 1) recording->submit();
            if (i % 3 == 2) chain.enqueueTurned();
            TensorRef copy = chain.upsampled();
            copy.buffer = device_->allocate(copy.buffer->size());
            device_->convert(chain.upsampled(), copy, dims);
            copies.push_back(copy);
            chain.poisonResults();
        }
        for (unsigned i = 0; i < 8; ++i) {
            std::vector<uint8_t> bytes(copies[i].buffer->size());
            device_->read(*copies[i].buffer, 0, bytes.data(), bytes.size());
            EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), expected[i].begin()))
                << row->name() << " " << i;
        }
        EXPECT_TRUE(other.results() == expected_other);
    }
}

TEST_P(Recordings, AlternateAndAreSubmittedWhileTheyAreInFlight) {
    for (const Implementation* row : rows_) {
        Chain one(*device_, *row, 1);
        Chain two(*device_, *row, 2);
        const auto expected_one = direct(one, 1)[0];
        const auto expected_two = direct(two, 1)[0];
        EXPECT_NE(expected_one, expected_two);
        const auto first = device_->record([&] { one.enqueue(); });
        const auto second = device_->record([&] {
            two.enqueue();
            two.enqueue();
        });
        one.poisonResults();
        two.poisonResults();
        for (int i = 0; i < 20; ++i) {
            first->submit();
            first->submit();
            second->submit();
        }
        EXPECT_TRUE(one.results() == expected_one) << row->name();
        EXPECT_TRUE(two.results() == expected_two) << row->name();
    }
}

TEST_P(Recordings, MayGoWhileTheirWorkRuns) {
    for (const Implementation* row : rows_) {
        const size_t before = host_.used;
        {
            auto chain = std::make_unique<Chain>(*device_, *row, 1);
            const std::vector<uint8_t> expected = direct(*chain, 1)[0];
            chain->poisonResults();
            auto recording = device_->record([&] { chain->enqueue(); });
            for (int i = 0; i < 5; ++i) recording->submit();
            recording.reset();
            const TensorRef result = chain->upsampled();
            chain.reset();
            std::vector<uint8_t> bytes(result.buffer->size());
            device_->read(*result.buffer, 0, bytes.data(), bytes.size());
            EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), expected.begin())) << row->name();
        }
        device_->wait();
        EXPECT_EQ(host_.used, before) << row->name();
    }
}

TEST_P(Recordings, OfNothingDoNothing) {
    const auto recording = device_->record([] {});
    recording->submit();
    recording->submit();
    device_->wait();
}

// An error of `enqueue`, whenever the device calls it.
TEST_P(Recordings, ThatFailLeaveTheDeviceUsable) {
    for (const Implementation* row : rows_) {
        Chain chain(*device_, *row, 1);
        const std::vector<uint8_t> expected = direct(chain, 1)[0];
        device_->wait();
        const size_t before = host_.used;
        chain.poisonResults();
        for (int i = 0; i < 3; ++i)
            EXPECT_THROW(device_
                             ->record([&] {
                                 chain.enqueue();
                                 throw std::runtime_error("no");
                             })
                             ->submit(),
                         std::runtime_error);
        device_->wait();
        EXPECT_EQ(host_.used, before);
        chain.poisonResults();
        chain.enqueue();
        EXPECT_TRUE(chain.results() == expected) << row->name();
        chain.poisonResults();
        device_->record([&] { chain.enqueue(); })->submit();
        EXPECT_TRUE(chain.results() == expected) << row->name();
    }
}

// Where work is recorded at once, what cannot be is refused, and nothing is left behind.
TEST_P(Recordings, RefuseWhatNeedsTheHost) {
    bool at_once = false;
    device_->record([&] { at_once = true; });
    if (!at_once) GTEST_SKIP() << "this device runs the calls at each submission";
    Chain chain(*device_, *rows_.front(), 1);
    const std::vector<uint8_t> expected = direct(chain, 1)[0];
    const auto recording = device_->record([&] { chain.enqueue(); });
    const auto refused = [&](const std::function<void()>& call) {
        try {
            device_->record([&] {
                chain.enqueue();
                call();
            });
        } catch (const Error& error) {
            return std::string(error.what());
        }
        return std::string("nothing was refused");
    };
    EXPECT_EQ(refused([&] { chain.writeInput(1); }), "writing a buffer cannot be recorded");
    EXPECT_EQ(refused([&] { chain.results(); }), "reading a buffer cannot be recorded");
    EXPECT_EQ(refused([&] { device_->wait(); }), "waiting cannot be recorded");
    EXPECT_EQ(refused([&] { recording->submit(); }), "a recording within another cannot be recorded");
    EXPECT_EQ(refused([&] { device_->record([] {}); }), "a recording within another cannot be recorded");
    if (const auto timer = device_->makeTimer(); timer != nullptr) {
        EXPECT_EQ(refused([&] { timer->start(); }), "a timer's mark cannot be recorded");
    }
    chain.poisonResults();
    recording->submit();
    EXPECT_TRUE(chain.results() == expected);
}

INSTANTIATE_TEST_SUITE_P(Backends, Recordings, testing::Values("cpu", "vulkan", "cuda"),
                         [](const auto& tested) { return std::string(tested.param); });

}  // namespace

}  // namespace pconv::test
