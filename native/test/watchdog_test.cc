#include "core/watchdog.h"

#include <dirent.h>
#include <sched.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <thread>

#include "check.h"
#include "reservation.h"

using namespace ringcube;
using namespace ringcube::watchdog_layout;
using check::Probe;
using check::Reservation;
using namespace std::chrono_literals;

namespace {

constexpr size_t kLength = 65536;
constexpr auto kPatience = 20s;

// An agent's memory, and what the JavaScript side does around a call (src/nic/sandbox.ts).
class Agent {
 public:
  Agent(Watchdog& watchdog, Sandbox::Stop how, uint32_t budget_us)
      : watchdog_(watchdog),
        how_(how),
        memory_(kLength),
        sandbox_(std::make_shared<Sandbox>(memory_.base())) {
    std::string error;
    CHECK(sandbox_->guard(kLength, error));
    slot_ = watchdog.add(sandbox_, how, budget_us, error);
    CHECK(slot_ != 0);
  }
  ~Agent() {
    watchdog_.remove(slot_);
    sandbox_->close();
  }
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  void enter() {
    auto state = word(kState);
    state.store(((state.load() + 1) | 1) & (kClaimed - 1));
    if (std::atomic_ref(watchdog_.control()[kParked]).load() == 0) return;
    std::string error;
    CHECK(watchdog_.wake(error));
  }
  bool leave() {
    auto state = word(kState);
    int32_t expected = state.load() & (kClaimed - 1);
    if (state.compare_exchange_strong(expected, (expected + 1) & (kClaimed - 1))) return false;
    watchdog_.rearm(slot_);
    return true;
  }
  // What an instrumented agent meets at each loop head.
  bool is_stopped() const {
    int epoch = 0;
    const bool readable = probe_.readable(memory_.base() + Sandbox::kGuardAt, &epoch);
    return how_ == Sandbox::Stop::kGuard ? !readable : epoch != 0;
  }
  // Runs until it is stopped; false if it never is.
  bool runs_away() const {
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (!is_stopped())
      if (std::chrono::steady_clock::now() > end) return false;
    return true;
  }
  std::atomic_ref<int32_t> word(uint32_t index) const {
    return std::atomic_ref(watchdog_.control()[slot_ * kLineWords + index]);
  }
  int64_t ns(uint32_t index) const {
    return (int64_t{word(index + 1).load()} << 32) | static_cast<uint32_t>(word(index).load());
  }
  uint32_t slot() const { return slot_; }

 private:
  Watchdog& watchdog_;
  Sandbox::Stop how_;
  Reservation memory_;
  std::shared_ptr<Sandbox> sandbox_;
  Probe probe_;
  uint32_t slot_ = 0;
};

std::shared_ptr<Watchdog> made() {
  std::string error;
  auto watchdog = Watchdog::create(error);
  CHECK(watchdog != nullptr);
  return watchdog;
}

int32_t header(const Watchdog& watchdog, uint32_t index) {
  return std::atomic_ref(watchdog.control()[index]).load();
}

bool becomes(const Watchdog& watchdog, uint32_t index, int32_t value) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (header(watchdog, index) != value) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

int64_t now_ns() {
  timespec t = {};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

// By its name, which it has from the start; -1 if there is none.
pid_t watchdog_thread() {
  DIR* const tasks = opendir("/proc/self/task");
  pid_t found = -1;
  while (const dirent* const task = tasks == nullptr ? nullptr : readdir(tasks)) {
    const std::string path = std::string("/proc/self/task/") + task->d_name + "/comm";
    std::FILE* const file = std::fopen(path.c_str(), "r");
    char name[16] = {};
    if (file != nullptr && std::fgets(name, sizeof name, file) != nullptr &&
        std::string(name).starts_with("ringcube-watch"))
      found = std::atoi(task->d_name);
    if (file != nullptr) std::fclose(file);
  }
  if (tasks != nullptr) closedir(tasks);
  return found;
}

}  // namespace

TEST(an_agent_that_runs_away_is_stopped_after_its_budget_again_and_again) {
  for (const auto how : {Sandbox::Stop::kGuard, Sandbox::Stop::kEpoch}) {
    const auto watchdog = made();
    Agent agent(*watchdog, how, 300);
    for (int i = 1; i <= 100; ++i) {
      const int64_t began = now_ns();
      agent.enter();
      REQUIRE(agent.runs_away());
      const int64_t stopped = now_ns();
      REQUIRE(agent.leave());
      REQUIRE(!agent.is_stopped());
      CHECK(agent.ns(kDueNs) >= began + 300'000);
      CHECK(agent.ns(kStoppedNs) >= agent.ns(kDueNs));
      CHECK(agent.ns(kStoppedNs) <= stopped + 1'000'000'000);  // written behind the stop
      CHECK_EQ(agent.word(kStopped).load(), i);
      CHECK_EQ(header(*watchdog, kFired), i);
      CHECK_EQ(agent.word(kState).load(), 2 * i);
    }
  }
}

TEST(an_agent_that_leaves_in_time_is_never_stopped) {
  const auto watchdog = made();
  Agent agent(*watchdog, Sandbox::Stop::kGuard, 10'000'000);
  for (int i = 0; i < 100'000; ++i) {
    agent.enter();
    if (agent.leave()) REQUIRE(false);
  }
  CHECK_EQ(header(*watchdog, kFired), 0);
  CHECK(!agent.is_stopped());
}

TEST(stops_and_leaves_at_the_same_time_have_one_winner) {
  const auto watchdog = made();
  Agent agent(*watchdog, Sandbox::Stop::kGuard, 60);
  int stopped = 0;
  for (int i = 0; i < 3000; ++i) {
    agent.enter();
    const int64_t end = now_ns() + 40'000 + (i % 64) * 4000;
    while (now_ns() < end) {
    }
    if (agent.leave()) ++stopped;
    REQUIRE(!agent.is_stopped());
    REQUIRE((agent.word(kState).load() & 1) == 0);
  }
  CHECK_EQ(header(*watchdog, kFired), stopped);
  CHECK_EQ(agent.word(kStopped).load(), stopped);
  CHECK(stopped > 0);
}

TEST(an_idle_watchdog_sleeps_and_whoever_enters_then_wakes_it) {
  const auto watchdog = made();
  CHECK_EQ(header(*watchdog, kParked), 1);  // not even started
  CHECK_EQ(header(*watchdog, kTicks), 0);
  Agent agent(*watchdog, Sandbox::Stop::kEpoch, 200);
  for (int i = 1; i <= 20; ++i) {
    agent.enter();
    REQUIRE(agent.runs_away());
    CHECK(agent.leave());
    REQUIRE(becomes(*watchdog, kParks, i));
    const int32_t ticks = header(*watchdog, kTicks);
    std::this_thread::sleep_for(2ms);
    CHECK_EQ(header(*watchdog, kTicks), ticks);
    CHECK_EQ(header(*watchdog, kParked), 1);
  }
}

// The two stores and two loads of park() and enter(): were one of them weaker, an agent would now and then
// run with nobody watching.
TEST(no_agent_enters_unseen_while_the_watchdog_goes_to_sleep) {
  const auto watchdog = made();
  Agent agent(*watchdog, Sandbox::Stop::kEpoch, 100);
  for (int i = 0; i < 150; ++i) {
    const int64_t end = now_ns() + 4'900'000 + i * 3000;  // it parks 5 ms after the last agent
    while (now_ns() < end) {
    }
    agent.enter();
    REQUIRE(agent.runs_away());
    REQUIRE(agent.leave());
  }
  CHECK_EQ(header(*watchdog, kFired), 150);
}

TEST(a_budget_may_change_while_the_agent_runs) {
  const auto watchdog = made();
  Agent agent(*watchdog, Sandbox::Stop::kGuard, 1'000'000'000);
  agent.enter();
  std::this_thread::sleep_for(20ms);
  CHECK(!agent.is_stopped());
  agent.word(kBudgetUs).store(100);
  CHECK(agent.runs_away());
  CHECK(agent.leave());
}

TEST(a_budget_is_of_the_agents_own_cpu_time) {
  const auto watchdog = made();
  Agent agent(*watchdog, Sandbox::Stop::kGuard, 5000);
  agent.enter();
  std::this_thread::sleep_for(50ms);
  CHECK(!agent.is_stopped());
  CHECK(agent.runs_away());
  CHECK(agent.leave());
}

TEST(agents_on_many_threads_are_stopped_each_for_itself) {
  const auto watchdog = made();
  std::thread threads[4];
  for (int t = 0; t < 4; ++t)
    threads[t] = std::thread([&watchdog, t] {
      const auto how = (t & 1) != 0 ? Sandbox::Stop::kGuard : Sandbox::Stop::kEpoch;
      for (int round = 0; round < 5; ++round) {
        Agent agent(*watchdog, how, 200 + 100 * static_cast<uint32_t>(t));
        for (int i = 0; i < 10; ++i) {
          agent.enter();
          if (t == 3) {
            agent.word(kBudgetUs).store(1'000'000'000);
            CHECK(!agent.leave() || agent.word(kStopped).load() > 0);
          } else {
            CHECK(agent.runs_away());
            CHECK(agent.leave());
          }
        }
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(header(*watchdog, kFired) >= 150);
}

TEST(there_are_1023_slots_and_they_are_used_again) {
  const auto watchdog = made();
  const Reservation memory(kLength);
  std::string error;
  const auto sandbox = std::make_shared<Sandbox>(memory.base());
  CHECK_EQ(watchdog->add(sandbox, Sandbox::Stop::kGuard, 100, error), 0U);
  CHECK(error.find("no guard page") != std::string::npos);
  REQUIRE(sandbox->guard(kLength, error));
  error.clear();
  for (uint32_t i = 1; i < kSlots; ++i)
    REQUIRE(watchdog->add(sandbox, Sandbox::Stop::kGuard, 100, error) == i);
  CHECK_EQ(watchdog->add(sandbox, Sandbox::Stop::kGuard, 100, error), 0U);
  CHECK_EQ(error, "the watchdog has no slot left of its 1023");
  error.clear();
  watchdog->remove(700);
  watchdog->remove(5);
  watchdog->remove(5);
  watchdog->remove(0);
  watchdog->remove(kSlots);
  watchdog->rearm(0);
  watchdog->rearm(5);
  watchdog->rearm(kSlots);
  CHECK_EQ(watchdog->add(sandbox, Sandbox::Stop::kGuard, 100, error), 5U);
  CHECK_EQ(watchdog->add(sandbox, Sandbox::Stop::kGuard, 100, error), 700U);
}

TEST(a_removed_agent_that_was_stopped_runs_again) {
  const auto watchdog = made();
  const Reservation memory(kLength);
  const Probe probe;
  std::string error;
  const auto sandbox = std::make_shared<Sandbox>(memory.base());
  REQUIRE(sandbox->guard(kLength, error));
  for (int i = 0; i < 5; ++i) {
    const uint32_t slot = watchdog->add(sandbox, Sandbox::Stop::kGuard, 100, error);
    REQUIRE(slot == 1);
    const std::atomic_ref state(watchdog->control()[kLineWords + kState]);
    CHECK_EQ(state.load(), 0);
    state.store(1);
    REQUIRE(watchdog->wake(error));
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (probe.readable(memory.base() + Sandbox::kGuardAt)) REQUIRE(std::chrono::steady_clock::now() < end);
    watchdog->remove(slot);
    CHECK(probe.readable(memory.base() + Sandbox::kGuardAt));
  }
}

TEST(sandboxes_and_watchdogs_end_in_any_order) {
  for (int i = 0; i < 20; ++i) {
    std::string error;
    auto watchdog = made();
    auto memory = std::make_unique<Reservation>(kLength);
    auto sandbox = std::make_shared<Sandbox>(memory->base());
    REQUIRE(sandbox->guard(kLength, error));
    const uint32_t slot = watchdog->add(sandbox, Sandbox::Stop::kGuard, 50, error);
    std::atomic_ref(watchdog->control()[slot * kLineWords + kState]).store(1);
    if (i % 5 != 0) CHECK(watchdog->wake(error));  // else it was never started
    std::this_thread::sleep_for(std::chrono::microseconds(40 * (i % 7)));
    if (i % 2 == 0) {
      // The memory goes while the watchdog may be about to stop its agent.
      sandbox->close();
      sandbox.reset();
      memory.reset();
      std::this_thread::sleep_for(200us);
      watchdog.reset();
    } else {
      watchdog->close();
      watchdog->close();
      CHECK(watchdog->wake(error));  // nobody is there: no harm
      CHECK_EQ(watchdog->add(sandbox, Sandbox::Stop::kGuard, 50, error), 0U);
      CHECK_EQ(error, "the watchdog was closed");
      watchdog->rearm(slot);
      sandbox->close();
      watchdog.reset();
    }
  }
}

// A thread of real-time priority that spins, as an agent may, on the only CPU that the watchdog has.
TEST(an_agent_of_real_time_priority_is_stopped_too) {
  const auto watchdog = made();
  bool allowed = true;
  std::thread thread([&] {
    const sched_param param = {.sched_priority = 10};
    allowed = pthread_setschedparam(pthread_self(), SCHED_FIFO, &param) == 0;
    if (!allowed) return;
    std::string error;
    CHECK(watchdog->wake(error));
    const pid_t thread_id = watchdog_thread();
    CHECK(thread_id > 0);
    cpu_set_t here;
    CPU_ZERO(&here);
    CPU_SET(sched_getcpu(), &here);
    CHECK(sched_setaffinity(0, sizeof here, &here) == 0);
    CHECK(sched_setaffinity(thread_id, sizeof here, &here) == 0);
    sched_param given = {};
    CHECK(sched_getparam(thread_id, &given) == 0);
    CHECK_EQ(given.sched_priority, 11);
    Agent agent(*watchdog, Sandbox::Stop::kGuard, 300);
    for (int i = 0; i < 5; ++i) {
      agent.enter();
      CHECK(agent.runs_away());
      CHECK(agent.leave());
    }
  });
  thread.join();
  if (!allowed) std::printf("# SCHED_FIFO is not allowed here: skipped\n");
  CHECK_EQ(header(*watchdog, kFired), allowed ? 5 : 0);
}

CHECK_MAIN()
