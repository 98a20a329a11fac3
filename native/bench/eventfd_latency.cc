#include "bench/eventfd_latency.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>

#include "bench/system.h"

namespace ringcube {
namespace {

cpu_set_t only(int cpu) {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(cpu, &cpus);
  return cpus;
}

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

class Wakeup {
 public:
  explicit Wakeup(const WakeupOptions& options) : options_(options) {}
  ~Wakeup();
  Wakeup(const Wakeup&) = delete;
  Wakeup& operator=(const Wakeup&) = delete;

  bool start(std::string& error);
  bool sleep_and_wake(std::span<double> out_ns, std::string& error);

 private:
  void write_rounds();

  const WakeupOptions& options_;
  int event_fd_ = -1;
  int epoll_fd_ = -1;
  int64_t deadline_ = 0;
  bool running_ = false;
  pthread_t writer_{};
  cpu_set_t former_cpus_{};
  bool moved_ = false;
  alignas(64) std::atomic<uint32_t> ready_{0};  // rounds that the sleeper has begun
  std::atomic<bool> stop_{false};
  alignas(64) std::atomic<int64_t> written_at_{0};
};

Wakeup::~Wakeup() {
  stop_.store(true, std::memory_order_relaxed);
  if (running_) pthread_join(writer_, nullptr);
  if (moved_) pthread_setaffinity_np(pthread_self(), sizeof former_cpus_, &former_cpus_);
  if (epoll_fd_ >= 0) close(epoll_fd_);
  if (event_fd_ >= 0) close(event_fd_);
}

bool Wakeup::start(std::string& error) {
  const int64_t now = now_ns();
  deadline_ = options_.timeout_ns > INT64_MAX - now ? INT64_MAX : now + options_.timeout_ns;
  event_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (event_fd_ < 0) {
    error = system_error("eventfd wake-up", "eventfd", errno);
    return false;
  }
  epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  epoll_event wanted{};
  wanted.events = EPOLLIN;
  if (epoll_fd_ < 0 || epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, event_fd_, &wanted) != 0) {
    error = system_error("eventfd wake-up", "epoll", errno);
    return false;
  }
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  if (options_.writer_cpu >= 0) {
    const cpu_set_t cpus = only(options_.writer_cpu);
    pthread_attr_setaffinity_np(&attributes, sizeof cpus, &cpus);
  }
  int failed = pthread_create(
      &writer_, &attributes,
      [](void* self) -> void* {
        sigset_t all;  // the process's signals are for its own threads
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, nullptr);
        static_cast<Wakeup*>(self)->write_rounds();
        return nullptr;
      },
      this);
  pthread_attr_destroy(&attributes);
  if (failed != 0) {
    const int cpu = options_.writer_cpu;
    error =
        system_error("eventfd wake-up", cpu < 0 ? "thread" : "thread on CPU " + std::to_string(cpu), failed);
    return false;
  }
  running_ = true;
  if (options_.sleeper_cpu >= 0) {
    const cpu_set_t cpus = only(options_.sleeper_cpu);
    failed = pthread_getaffinity_np(pthread_self(), sizeof former_cpus_, &former_cpus_);
    if (failed == 0) failed = pthread_setaffinity_np(pthread_self(), sizeof cpus, &cpus);
    if (failed != 0) {
      error = system_error("eventfd wake-up", "calling thread on CPU " + std::to_string(options_.sleeper_cpu),
                           failed);
      return false;
    }
    moved_ = true;
  }
  return true;
}

void Wakeup::write_rounds() {
  const uint64_t one = 1;
  for (uint32_t round = 1; round <= options_.rounds; round++) {
    while (ready_.load(std::memory_order_acquire) < round) {
      if (stop_.load(std::memory_order_relaxed)) return;
      relax();
    }
    const int64_t ready_at = now_ns();
    int64_t now = ready_at;
    while (now - ready_at < options_.pause_ns) {
      if (stop_.load(std::memory_order_relaxed)) return;
      relax();
      now = now_ns();
    }
    written_at_.store(now_ns(), std::memory_order_release);
    // Can't fail: the counter is read before the next round. If it did, the sleeper would run into its
    // deadline.
    [[maybe_unused]] const ssize_t size = write(event_fd_, &one, sizeof one);
  }
}

bool Wakeup::sleep_and_wake(std::span<double> out_ns, std::string& error) {
  for (uint32_t round = 1; round <= options_.rounds; round++) {
    ready_.store(round, std::memory_order_release);
    epoll_event event;
    uint64_t count = 0;
    // The loop is for an epoll_wait that a signal interrupts.
    for (;;) {
      const int64_t left_ms = (deadline_ - now_ns() + 999'999) / 1'000'000;
      if (left_ms <= 0) {
        error = "eventfd wake-up: timeout_ns passed in round " + std::to_string(round) + " of " +
                std::to_string(options_.rounds);
        return false;
      }
      const int events =
          epoll_wait(epoll_fd_, &event, 1, static_cast<int>(std::min<int64_t>(left_ms, INT_MAX)));
      if (events > 0 && read(event_fd_, &count, sizeof count) == sizeof count) break;
      if (events < 0 && errno != EINTR) {
        error = system_error("eventfd wake-up", "epoll_wait", errno);
        return false;
      }
    }
    const int64_t woken_at = now_ns();
    out_ns[round - 1] = static_cast<double>(woken_at - written_at_.load(std::memory_order_acquire));
  }
  return true;
}

}  // namespace

bool eventfd_wakeup(const WakeupOptions& options, std::span<double> out_ns, std::string& error) {
  const int writer = options.writer_cpu;
  const int sleeper = options.sleeper_cpu;
  const auto is_cpu = [](int cpu) { return cpu >= -1 && cpu < CPU_SETSIZE; };
  if (out_ns.size() < options.rounds) {
    error = "eventfd wake-up: room for " + std::to_string(out_ns.size()) + " results, not for the " +
            std::to_string(options.rounds) + " rounds";
  } else if (options.pause_ns < 0 || options.timeout_ns <= 0) {
    error = "eventfd wake-up: pause_ns is " + std::to_string(options.pause_ns) + " and timeout_ns " +
            std::to_string(options.timeout_ns) + ", not at least 0 and 1";
  } else if (!is_cpu(writer) || !is_cpu(sleeper) || (writer == sleeper && writer >= 0)) {
    error = "eventfd wake-up: CPUs " + std::to_string(writer) + " and " + std::to_string(sleeper) +
            ", not two different ones or -1";
  } else {
    Wakeup wakeup(options);
    return wakeup.start(error) && wakeup.sleep_and_wake(out_ns, error);
  }
  return false;
}

}  // namespace ringcube
