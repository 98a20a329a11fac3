#include "core/engine.h"

#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

namespace ringcube {

namespace {

constexpr uint32_t kBudget = 64;          // frames a turn for each: fair, yet a batch
constexpr TimeNs kFdIntervalNs = 20'000;  // how often a busy engine looks at descriptors
constexpr TimeNs kSleepSlackNs = 60'000;  // a sleep may end this late: wake before and spin the rest

TimeNs clock_ns(clockid_t id) {
  timespec t = {};
  clock_gettime(id, &t);
  return TimeNs{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

}  // namespace

std::shared_ptr<Engine> Engine::create(const EngineOptions& options, std::string& error) {
  std::shared_ptr<Engine> engine(new Engine(options));
  if (options.stepped) return engine;
  engine->epoll_ = epoll_create1(EPOLL_CLOEXEC);
  engine->wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  epoll_event event = {.events = EPOLLIN, .data = {.fd = engine->wake_fd_}};
  if (engine->epoll_ < 0 || engine->wake_fd_ < 0 ||
      epoll_ctl(engine->epoll_, EPOLL_CTL_ADD, engine->wake_fd_, &event) != 0) {
    error = std::string("starting the engine: ") + std::strerror(errno);
    return nullptr;
  }
  engine->epoch_offset_ = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC);
  engine->thread_ = std::thread([self = engine.get()] { self->run(); });
  pthread_setname_np(engine->thread_.native_handle(), "ringcube-dma");
  if (options.cpu >= 0) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(options.cpu, &set);
    if (pthread_setaffinity_np(engine->thread_.native_handle(), sizeof set, &set) != 0) {
      error = "engine: cpu " + std::to_string(options.cpu) + " is not one that this process may use";
      return nullptr;
    }
  }
  return engine;
}

Engine::~Engine() {
  stop_.store(true);
  if (wake_fd_ >= 0) eventfd_write(wake_fd_, 1);
  if (thread_.joinable()) thread_.join();
  for (const auto& p : all_) p->engine_ = nullptr;  // some outlive us
  if (wake_fd_ >= 0) close(wake_fd_);
  if (epoll_ >= 0) close(epoll_);
}

TimeNs Engine::now() const { return options_.stepped ? step_now_ : clock_ns(CLOCK_MONOTONIC); }

void Engine::add(std::shared_ptr<Pollable> pollable) {
  std::atomic_ref(pollable->engine_).store(this);
  pollable->kicked_.store(false);
  all_.push_back(std::move(pollable));
  activate(*all_.back());
}

void Engine::remove(Pollable& pollable) {
  // So that no list holds it any more, nor will: its doorbell may ring on another thread even now.
  while (pollable.kicked_.exchange(true)) take_kicks();
  std::atomic_ref(pollable.engine_).store(nullptr);
  std::erase(active_, &pollable);
  pollable.active_ = false;
  std::erase_if(all_, [&](const auto& held) { return held.get() == &pollable; });
}

void Engine::activate(Pollable& pollable) {
  if (pollable.active_) return;
  pollable.active_ = true;
  pollable.busy_at_ = now();
  active_.push_back(&pollable);
}

void Pollable::activate() {
  if (engine_ != nullptr)
    engine_->activate(*this);  // without: removed, perhaps, but still plugged into a link
}

bool Engine::watch(int fd, FdWatcher& watcher, Trigger trigger) {
  const uint32_t edge = trigger == Trigger::kEdge ? EPOLLET : 0;
  epoll_event event = {.events = EPOLLIN | edge, .data = {.fd = fd}};
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) return false;
  watches_.push_back({fd, &watcher});
  return true;
}

void Engine::unwatch(int fd) {
  epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
  std::erase_if(watches_, [fd](const Watch& w) { return w.fd == fd; });
}

void Engine::kick(Pollable& pollable) {
  if (pollable.kicked_.exchange(true)) return;
  Pollable* head = kicks_.load();
  do pollable.next_kicked_ = head;
  while (!kicks_.compare_exchange_weak(head, &pollable));
  wake();
}

void Engine::wake() {
  // Pairs with run(): it says that it sleeps, then looks for kicks; we kick, then look whether it sleeps.
  if (!options_.stepped && sleeping_.load()) eventfd_write(wake_fd_, 1);
}

void Engine::take_kicks() {
  if (kicks_.load() == nullptr) return;
  Pollable* p = kicks_.exchange(nullptr);
  while (p != nullptr) {
    Pollable* const next = p->next_kicked_;
    p->kicked_.store(false);
    activate(*p);
    p->wake_neighbours();
    p = next;
  }
}

TimeNs Engine::earliest_due() const {
  // What was due by now has had its turn; if it is still there, time alone does not move it.
  TimeNs due = kNever;
  for (const auto& p : all_)
    if (const TimeNs at = p->next_due(); at > step_now_) due = std::min(due, at);
  return due;
}

uint32_t Engine::turn(TimeNs now) {
  take_kicks();
  if (now >= timer_) {
    timer_ = kNever;
    for (const auto& p : all_) {
      const TimeNs due = p->next_due();
      if (due == kNever || p->active_) continue;
      if (due - kSleepSlackNs <= now)
        activate(*p);
      else
        timer_ = std::min(timer_, due - kSleepSlackNs);
    }
  }
  uint32_t moved = 0;
  for (size_t i = 0; i < active_.size();) {
    Pollable& p = *active_[i];
    const uint32_t n = p.poll(now, kBudget);
    moved += n;
    if (n > 0) {
      p.busy_at_ = now;
    } else if (now - p.busy_at_ > options_.spin_ns && p.next_due() - kSleepSlackNs > now && p.arm()) {
      p.active_ = false;
      const TimeNs due = p.next_due();
      if (due != kNever) timer_ = std::min(timer_, due - kSleepSlackNs);
      active_[i] = active_.back();
      active_.pop_back();
      continue;
    }
    ++i;
  }
  return moved;
}

void Engine::poll_fds(int timeout_ms, TimeNs timeout_ns) {
  epoll_event events[16];
  int n = 0;
  if (timeout_ms == 0 || timeout_ns == kNever) {
    n = epoll_wait(epoll_, events, 16, timeout_ms);
  } else {
    const timespec wait = {.tv_sec = timeout_ns / 1'000'000'000, .tv_nsec = timeout_ns % 1'000'000'000};
    n = epoll_pwait2(epoll_, events, 16, &wait, nullptr);
    // Kernels before 5.11 lack it: a millisecond is then the grain.
    if (n < 0 && errno == ENOSYS)
      n = epoll_wait(epoll_, events, 16, static_cast<int>(timeout_ns / 1'000'000));
  }
  if (n <= 0) return;
  const std::lock_guard lock(mutex_);
  for (int i = 0; i < n; ++i) {
    const int fd = events[i].data.fd;
    if (fd == wake_fd_) {
      eventfd_t ignored = 0;
      eventfd_read(wake_fd_, &ignored);
      continue;
    }
    const auto found =
        std::find_if(watches_.begin(), watches_.end(), [fd](const Watch& w) { return w.fd == fd; });
    if (found != watches_.end()) found->watcher->readable(fd);
  }
}

void Engine::run() {
  while (!stop_.load(std::memory_order_relaxed)) {
    TimeNs now = clock_ns(CLOCK_MONOTONIC);
    bool idle = false;
    bool watching = false;
    {
      const std::lock_guard lock(mutex_);
      turn(now);
      idle = active_.empty();
      watching = !watches_.empty();
    }
    // A mutex is not fair: let those in that wait, or a spinning engine would starve them.
    while (waiting_.load() > 0 && !stop_.load()) std::this_thread::yield();
    if (watching && now - fds_polled_at_ > kFdIntervalNs) {
      poll_fds(0, 0);
      fds_polled_at_ = now;
    }
    if (!idle) continue;
    TimeNs timer = kNever;
    {
      // Guards that came in between may have activated something.
      const std::lock_guard lock(mutex_);
      if (!active_.empty()) continue;
      timer = timer_;
      sleeping_.store(true);
    }
    if (kicks_.load() == nullptr && !stop_.load() && waiting_.load() == 0) {
      now = clock_ns(CLOCK_MONOTONIC);
      if (timer > now) {
        sleeps_.fetch_add(1, std::memory_order_relaxed);
        poll_fds(-1, timer == kNever ? kNever : timer - now);
      }
    }
    sleeping_.store(false);
  }
}

TimeNs Engine::step(TimeNs until) {
  while (true) {
    for (uint32_t moved = 1; moved > 0;) {
      take_kicks();
      moved = 0;
      for (const auto& p : all_) moved += p->poll(step_now_, kBudget);
    }
    const TimeNs due = earliest_due();
    if (due > until || due == kNever) {
      step_now_ = std::max(step_now_, until);
      return due;
    }
    step_now_ = due;
  }
}

}  // namespace ringcube
