// The DMA engine: one thread that polls the NICs, links and backends of a process, or, stepped, none at all.
//
//   active ──nothing to do for spin_ns, arm()──▶ idle ──doorbell or its time──▶ active
//
// Only the active are polled, so an idle NIC costs nothing. With nothing active the thread sleeps in epoll
// until a doorbell or the next due time.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/wire.h"

namespace ringcube {

// Something with a file descriptor that the engine watches: the doorbell or the socket of another process, a
// queue of a TAP.
class FdWatcher {
 public:
  virtual ~FdWatcher() = default;
  virtual void readable(int fd) = 0;
};

struct EngineOptions {
  bool stepped = false;
  TimeNs spin_ns = 50'000;
  int cpu = -1;  // pin the thread there
};

class Engine {
 public:
  static std::shared_ptr<Engine> create(const EngineOptions& options, std::string& error);
  ~Engine();

  // Everything that touches devices from outside the engine's thread holds this.
  class [[nodiscard]] Guard {
   public:
    explicit Guard(Engine& engine) : engine_(engine) {
      engine_.waiting_.fetch_add(1);
      engine_.mutex_.lock();
      engine_.waiting_.fetch_sub(1);
    }
    ~Guard() {
      engine_.mutex_.unlock();
      engine_.wake();
    }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    Engine& engine_;
  };

  // Under the guard.
  void add(std::shared_ptr<Pollable> pollable);
  void remove(Pollable& pollable);
  void activate(Pollable& pollable);
  // kEdge tells of what has come once, and not again for as long as it is left there: so one that can't take
  // it now does not keep the thread from sleep, and one that can must read until nothing is left.
  enum class Trigger : uint8_t { kLevel, kEdge };
  bool watch(int fd, FdWatcher& watcher, Trigger trigger = Trigger::kLevel);
  void unwatch(int fd);

  // Any thread, no lock: a doorbell.
  void kick(Pollable& pollable);

  // Stepped mode: moves whatever can move until virtual time `until`, event by event. Returns the next due
  // time.
  TimeNs step(TimeNs until);

  bool stepped() const { return options_.stepped; }
  TimeNs now() const;
  // What to add to now() for nanoseconds since the epoch; 0 in stepped mode.
  TimeNs epoch_offset() const { return epoch_offset_; }
  uint64_t sleeps() const { return sleeps_.load(std::memory_order_relaxed); }
  std::mutex& mutex() { return mutex_; }

 private:
  explicit Engine(const EngineOptions& options) : options_(options) {}
  void run();
  uint32_t turn(TimeNs now);
  void take_kicks();
  void wake();
  void poll_fds(int timeout_ms, TimeNs timeout_ns);
  TimeNs earliest_due() const;

  const EngineOptions options_;
  std::mutex mutex_;
  std::atomic<int> waiting_{0};
  std::atomic<bool> stop_{false};
  std::atomic<bool> sleeping_{false};
  std::atomic<Pollable*> kicks_{nullptr};
  std::atomic<uint64_t> sleeps_{0};
  std::vector<std::shared_ptr<Pollable>> all_;
  std::vector<Pollable*> active_;
  TimeNs timer_ = kNever;  // the earliest due time of those that are idle
  TimeNs step_now_ = 0;
  TimeNs fds_polled_at_ = 0;
  TimeNs epoch_offset_ = 0;
  struct Watch {
    int fd;
    FdWatcher* watcher;
  };
  std::vector<Watch> watches_;
  int epoll_ = -1;
  int wake_fd_ = -1;
  std::thread thread_;
};

}  // namespace ringcube
