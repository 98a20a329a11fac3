#include "core/watchdog.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>

namespace ringcube {

using namespace watchdog_layout;

namespace {

constexpr int64_t kShortestTickNs = 50'000;
constexpr int64_t kLongestTickNs = 250'000;
constexpr int64_t kTicksPerBudget = 4;
constexpr int64_t kParkAfterNs = 5'000'000;  // without any agent running
constexpr int64_t kNever = INT64_MAX;

int64_t clock_ns(clockid_t clock) {
  timespec t = {};
  clock_gettime(clock, &t);
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

bool runs(int32_t state) { return (state & 1) != 0 && (state & kClaimed) == 0; }

// Two words, low and high, as the other side reads them. Published by the state that is set behind.
void store_ns(int32_t* words, int64_t ns) {
  std::atomic_ref(words[0]).store(static_cast<int32_t>(ns), std::memory_order_relaxed);
  std::atomic_ref(words[1]).store(static_cast<int32_t>(ns >> 32), std::memory_order_relaxed);
}

void count(int32_t& word) { std::atomic_ref(word).fetch_add(1, std::memory_order_relaxed); }

}  // namespace

std::shared_ptr<Watchdog> Watchdog::create(std::string& error) {
  void* const control =
      mmap(nullptr, control_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (control == MAP_FAILED) {
    error = std::string("watchdog: ") + std::strerror(errno);
    return nullptr;
  }
  std::shared_ptr<Watchdog> watchdog(new Watchdog(static_cast<int32_t*>(control)));
  watchdog->word(0, kParked) = 1;
  return watchdog;
}

Watchdog::~Watchdog() {
  close();
  munmap(control_, control_bytes());
}

void Watchdog::close() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    std::atomic_ref(word(0, kParked)).store(0);  // nobody need call wake() for a thread that is no more
  }
  wake_.notify_one();
  if (started_) pthread_join(thread_, nullptr);
  started_ = false;
}

uint32_t Watchdog::add(std::shared_ptr<Sandbox> sandbox, Sandbox::Stop how, uint32_t budget_us,
                       std::string& error) {
  const std::lock_guard lock(mutex_);
  uint32_t number = 1;
  while (number < kSlots && slots_[number].sandbox != nullptr) ++number;
  if (ending_)
    error = "the watchdog was closed";
  else if (number == kSlots)
    error = "the watchdog has no slot left of its " + std::to_string(kSlots - 1);
  else if (!sandbox->guarded())
    error = "the sandbox has no guard page that a watchdog could stop its agent by";
  if (!error.empty()) return 0;
  clockid_t clock = CLOCK_MONOTONIC;
  pthread_getcpuclockid(pthread_self(), &clock);
  slots_[number] = {.sandbox = std::move(sandbox), .how = how, .clock = clock};
  for (uint32_t i = 0; i < kLineWords; ++i) std::atomic_ref(word(number, i)).store(0);
  std::atomic_ref(word(number, kBudgetUs)).store(static_cast<int32_t>(budget_us));
  end_ = std::max(end_, number + 1);
  return number;
}

void Watchdog::remove(uint32_t slot) {
  rearm(slot);
  const std::lock_guard lock(mutex_);
  if (slot == 0 || slot >= kSlots) return;
  slots_[slot].sandbox.reset();
  while (end_ > 1 && slots_[end_ - 1].sandbox == nullptr) --end_;
}

// A claimed slot is stopped under the same lock, so once we have it, either both happened or none.
void Watchdog::rearm(uint32_t slot) {
  const std::lock_guard lock(mutex_);
  if (slot == 0 || slot >= kSlots || slots_[slot].sandbox == nullptr) return;
  const std::atomic_ref state(word(slot, kState));
  const int32_t claimed = state.load();
  if ((claimed & kClaimed) == 0) return;
  slots_[slot].sandbox->resume(slots_[slot].how);
  state.store((claimed + 1) & (kClaimed - 1));
}

bool Watchdog::wake(std::string& error) {
  const std::lock_guard lock(mutex_);
  if (ending_) return true;
  if (!started_ && !start(error)) return false;
  outrank();
  // So that the budget of who calls counts from here, and not from when the thread has come up.
  look(clock_ns(CLOCK_MONOTONIC));
  std::atomic_ref(word(0, kParked)).store(0);
  wake_.notify_one();
  return true;
}

bool Watchdog::start(std::string& error) {
  cpu_set_t anywhere;  // an agent's thread may be pinned: we shall not wait behind it
  CPU_ZERO(&anywhere);
  for (int i = 0; i < CPU_SETSIZE; ++i) CPU_SET(i, &anywhere);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setaffinity_np(&attributes, sizeof anywhere, &anywhere);
  sigset_t all;  // the process's signals are for its own threads
  sigset_t former;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &former);
  const int failed = pthread_create(
      &thread_, &attributes,
      [](void* self) -> void* {
        static_cast<Watchdog*>(self)->run();
        return nullptr;
      },
      this);
  pthread_sigmask(SIG_SETMASK, &former, nullptr);
  pthread_attr_destroy(&attributes);
  if (failed != 0) {
    error = std::string("starting a watchdog: ") + std::strerror(failed);
    return false;
  }
  pthread_setname_np(thread_, "ringcube-watch");
  started_ = true;
  return true;
}

// Above the caller if that is of real-time priority, else still above all that is not: it must run on a
// machine that is busy, and does so for some microseconds a tick. Where neither is allowed, it is as its
// starter is.
void Watchdog::outrank() {
  sched_param own = {};
  const int policy = sched_getscheduler(0) & ~SCHED_RESET_ON_FORK;
  const bool real_time = policy == SCHED_FIFO || policy == SCHED_RR;
  if (real_time && sched_getparam(0, &own) != 0) return;
  const int wanted = std::min(own.sched_priority + 1, sched_get_priority_max(SCHED_FIFO));
  if (wanted <= priority_) return;  // asked for before
  priority_ = wanted;
  const sched_param param = {.sched_priority = wanted};
  pthread_setschedparam(thread_, SCHED_FIFO, &param);
}

void Watchdog::run() {
  prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
  std::unique_lock lock(mutex_);
  while (!ending_) {
    const TimeNs next = look(clock_ns(CLOCK_MONOTONIC));
    if (next == kNever)
      park(lock);
    else
      wake_.wait_until(lock, std::chrono::steady_clock::time_point(std::chrono::nanoseconds(next)));
  }
}

// A look at all slots: stops what is due, and says when to look again.
Watchdog::TimeNs Watchdog::look(TimeNs now) {
  count(word(0, kTicks));
  TimeNs next = kNever;
  TimeNs shortest = kNever;
  for (uint32_t i = 1; i < end_; ++i) {
    Slot& slot = slots_[i];
    if (slot.sandbox == nullptr) continue;
    const int32_t state = std::atomic_ref(word(i, kState)).load();
    if (state != slot.seen) {
      slot.seen = state;
      slot.since_ns = now;
      if (runs(state)) slot.cpu_ns = clock_ns(slot.clock);
    }
    const TimeNs budget = TimeNs{std::atomic_ref(word(i, kBudgetUs)).load()} * 1000;
    if (runs(state))
      next = std::min(next, watch(i, slot, budget, now));
    else if (now - slot.since_ns > kParkAfterNs)
      continue;
    shortest = std::min(shortest, budget);
  }
  if (shortest == kNever) return kNever;
  return std::min(next, now + std::clamp(shortest / kTicksPerBudget, kShortestTickNs, kLongestTickNs));
}

// One that runs: stops it if it is due, and says when it can be, which may be later for all that else the
// machine does. Its CPU time is a system call, so it is asked only when the time by the clock is up; and
// never at once again, or on a single CPU we would keep the agent from using up the rest.
Watchdog::TimeNs Watchdog::watch(uint32_t number, Slot& slot, TimeNs budget, TimeNs now) {
  const TimeNs earliest = slot.since_ns + budget;
  if (now < earliest) return earliest;
  const TimeNs over = clock_ns(slot.clock) - slot.cpu_ns - budget;
  if (over < 0) return clock_ns(CLOCK_MONOTONIC) + std::max(-over, kShortestTickNs);
  fire(number, slot, std::max(earliest, now - over));
  return kNever;
}

void Watchdog::fire(uint32_t number, Slot& slot, TimeNs due) {
  const std::atomic_ref state(word(number, kState));
  int32_t expected = slot.seen;
  if (!state.compare_exchange_strong(expected, slot.seen | kClaimed)) return;  // it has just left
  slot.sandbox->stop(slot.how);
  store_ns(&word(number, kDueNs), due);
  store_ns(&word(number, kStoppedNs), clock_ns(CLOCK_MONOTONIC));
  count(word(number, kStopped));
  count(word(0, kFired));
}

// Whoever enters stores its state and then loads `parked`; we store `parked` and then load the states; all
// four are sequentially consistent. So they have one order that all agree on, in which one of the two loads
// comes last, and sees the other side's store (Dekker): either we see the agent and stay up, or it sees that
// we are parked, and calls wake(), which waits for the lock that wake_.wait() gives back.
void Watchdog::park(std::unique_lock<std::mutex>& lock) {
  const std::atomic_ref parked(word(0, kParked));
  parked.store(1);
  if (!any_running() && !ending_) {
    count(word(0, kParks));
    wake_.wait(lock, [&] { return parked.load() == 0 || ending_; });
  }
  parked.store(0);
}

bool Watchdog::any_running() const {
  for (uint32_t i = 1; i < end_; ++i)
    if (slots_[i].sandbox != nullptr && runs(std::atomic_ref(word(i, kState)).load())) return true;
  return false;
}

}  // namespace ringcube
