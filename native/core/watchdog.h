// Stops agents that run for longer than they may. A thread of its own looks at a page of memory in which
// those who run agents say, without a call, when an agent runs:
//
//   enter   state = an odd number, another one each time; then, if `parked` isn't 0, wake()
//   leave   state: that number -> the next even one, by compare-and-exchange. If it fails, we have claimed
//   the slot:
//           rearm()
//
// and where one number stands for longer than the slot's budget, claims the slot by compare-and-exchange and
// stops the agent (Sandbox::stop). Whoever of the two comes first wins, so an agent that has left is never
// stopped. The budget is of the CPU time of the agent's thread from when the number was first seen, up to a
// tick late: an agent has never less than its budget, however busy the machine, and at most a tick and this
// thread's own wake-up more.
#pragma once

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/sandbox.h"

namespace ringcube {

// The page, in 32-bit words: a header, then the slots, a cache line each. Twin: src/nic/sandbox.ts.
namespace watchdog_layout {

inline constexpr uint32_t kLineWords = 16;
inline constexpr uint32_t kSlots = 1024;  // the first is the header

// Header.
inline constexpr uint32_t kParked = 0;  // 1: the thread sleeps (or was never started) until wake()
inline constexpr uint32_t kFired = 1;   // agents stopped
inline constexpr uint32_t kTicks = 2;   // looks at the slots
inline constexpr uint32_t kParks = 3;   // times that it went to sleep

// Slot.
inline constexpr uint32_t kState = 0;
inline constexpr uint32_t kBudgetUs = 1;  // may change at any time
inline constexpr uint32_t kStopped = 2;   // how often
inline constexpr uint32_t kDueNs =
    4;  // of the last stop, two words each, CLOCK_MONOTONIC: when the budget ended,
inline constexpr uint32_t kStoppedNs = 6;  // and when the agent was stopped

inline constexpr int32_t kClaimed = 1 << 30;  // in `state`, which counts below it
}  // namespace watchdog_layout

class Watchdog {
 public:
  static std::shared_ptr<Watchdog> create(std::string& error);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  int32_t* control() const { return control_; }
  static constexpr size_t control_bytes() {
    return size_t{watchdog_layout::kSlots} * watchdog_layout::kLineWords * sizeof(int32_t);
  }

  // A slot from 1 on, for this agent, which the calling thread runs, until remove(); 0 if there is none left,
  // or no guard page.
  uint32_t add(std::shared_ptr<Sandbox> sandbox, Sandbox::Stop how, uint32_t budget_us, std::string& error);
  void remove(uint32_t slot);
  // Lets an agent that was stopped run again. No harm if it wasn't.
  void rearm(uint32_t slot);
  // Starts the thread at first, and sees to it that it outranks the thread that calls: an agent of real-time
  // priority would otherwise keep it from running.
  bool wake(std::string& error);
  // Ends the thread: nothing is stopped any more.
  void close();

 private:
  using TimeNs = int64_t;
  struct Slot {
    std::shared_ptr<Sandbox> sandbox;
    Sandbox::Stop how = Sandbox::Stop::kGuard;
    clockid_t clock = CLOCK_MONOTONIC;  // of the CPU time of the thread that runs it
    int32_t seen = 0;                   // the state at the last look, and since when it is that
    TimeNs since_ns = 0;
    TimeNs cpu_ns = 0;  // of `clock`, at `since_ns`; if it runs
  };

  explicit Watchdog(int32_t* control) : control_(control), slots_(watchdog_layout::kSlots) {}
  int32_t& word(uint32_t slot, uint32_t index) const {
    return control_[slot * watchdog_layout::kLineWords + index];
  }
  bool start(std::string& error);
  void outrank();
  void run();
  TimeNs look(TimeNs now);
  TimeNs watch(uint32_t number, Slot& slot, TimeNs budget, TimeNs now);
  bool any_running() const;
  void fire(uint32_t number, Slot& slot, TimeNs due);
  void park(std::unique_lock<std::mutex>& lock);

  int32_t* const control_;
  std::mutex mutex_;  // over all below; the words of `control_` are atomic
  std::condition_variable wake_;
  std::vector<Slot> slots_;
  uint32_t end_ = 1;  // behind the last slot in use
  pthread_t thread_ = {};
  bool started_ = false;
  bool ending_ = false;
  int priority_ = 0;  // what was asked for
};

}  // namespace ringcube
