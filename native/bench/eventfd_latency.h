// The wake-up baseline in C: how long from a write to an eventfd until a thread asleep in epoll_wait runs.
#ifndef RINGCUBE_BENCH_EVENTFD_LATENCY_H_
#define RINGCUBE_BENCH_EVENTFD_LATENCY_H_

#include <cstdint>
#include <span>
#include <string>

namespace ringcube {

struct WakeupOptions {
  uint32_t rounds = 1000;
  int64_t pause_ns = 100'000;           // from the sleeper's being ready to the write: it shall truly sleep
  int64_t timeout_ns = 10'000'000'000;  // of the whole
  // -1: any CPU. The kernel may then run both on one: the figure is that of a preemption (about 4 µs), not of
  // an idle CPU that wakes (15-40 µs in a virtual machine). Give both to know what is measured.
  int writer_cpu = -1;
  int sleeper_cpu = -1;  // the calling thread's, put back afterwards
};

// Each round, a second thread, which spins in between as a device's engine does, takes the time and writes an
// eventfd; the calling thread, asleep in epoll_wait as an event loop is, wakes, reads the eventfd and takes
// the time. out_ns[i] is the difference in round i, in nanoseconds. False and one line in `error` when an
// option is wrong, the system refuses or timeout_ns have passed.
bool eventfd_wakeup(const WakeupOptions& options, std::span<double> out_ns, std::string& error);

}  // namespace ringcube

#endif  // RINGCUBE_BENCH_EVENTFD_LATENCY_H_
