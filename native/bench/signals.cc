#include "bench/signals.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <utility>

#include "bench/system.h"

namespace ringcube {
namespace {

constexpr uint32_t kWarmUp = 200;  // also until this process has its own copies of the pages that it writes
constexpr timespec kPatience = {.tv_sec = 10, .tv_nsec = 0};

int bench_signal() { return SIGRTMIN + 5; }  // the first ones are often somebody's

sigset_t only_ours() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, bench_signal());
  return set;
}

// One clock reading a round: a round ends where the next begins.
template <typename Round>
bool measure(std::span<double> out_ns, const Round& round) {
  for (uint32_t i = 0; i < kWarmUp; ++i)
    if (!round()) return false;
  int64_t before = now_ns();
  for (double& ns : out_ns) {
    if (!round()) return false;
    const int64_t now = now_ns();
    ns = static_cast<double>(now - before);
    before = now;
  }
  return true;
}

// A fork of this process for the time of a measurement. This process has threads, so the child may only do
// what a signal handler may (fork(2)): all that is called in it is a system call. It dies with the thread
// that made it.
class Peer {
 public:
  ~Peer() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  Peer() = default;
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  // `body(parent process, parent thread)` runs in the child, until it is killed or returns.
  template <typename Body>
  bool start(int cpu, const Body& body) {
    const pid_t parent = getpid();
    const pid_t thread = gettid();
    pid_ = fork();
    if (pid_ != 0) return pid_ > 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent) {  // else it is too late for that signal
      if (cpu >= 0) {
        cpu_set_t cpus;
        CPU_ZERO(&cpus);
        CPU_SET(cpu, &cpus);
        sched_setaffinity(0, sizeof cpus, &cpus);
      }
      body(parent, thread);
    }
    _exit(0);
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = 0;
};

bool is_cpu(int cpu, const char* who, std::string& error) {
  if (cpu >= -1 && cpu < CPU_SETSIZE) return true;
  error = std::string(who) + ": CPU " + std::to_string(cpu) + " is none";
  return false;
}

std::atomic<uint32_t> handled{0};

}  // namespace

bool signal_self(std::span<double> out_ns, std::string& error) {
  struct sigaction ours = {};
  struct sigaction former = {};
  ours.sa_handler = [](int) { handled.fetch_add(1, std::memory_order_relaxed); };
  const sigset_t set = only_ours();
  sigset_t former_mask;
  if (sigaction(bench_signal(), &ours, &former) != 0) {
    error = system_error("signal to itself", "sigaction", errno);
    return false;
  }
  pthread_sigmask(SIG_UNBLOCK, &set, &former_mask);
  const bool all = measure(out_ns, [] {
    const uint32_t before = handled.load(std::memory_order_relaxed);
    return raise(bench_signal()) == 0 && handled.load(std::memory_order_relaxed) != before;
  });
  pthread_sigmask(SIG_SETMASK, &former_mask, nullptr);
  sigaction(bench_signal(), &former, nullptr);
  if (!all) error = "signal to itself: its handler did not run";
  return all;
}

bool signal_peer(std::span<double> out_ns, int cpu, std::string& error) {
  if (!is_cpu(cpu, "signal to a process", error)) return false;
  const sigset_t set = only_ours();
  sigset_t former_mask;
  // Before the fork: what is blocked waits until it is taken, in both.
  pthread_sigmask(SIG_BLOCK, &set, &former_mask);
  bool all = false;
  {
    Peer peer;
    const bool started = peer.start(cpu, [&set](pid_t parent, pid_t thread) {
      siginfo_t info;
      // To that very thread: the others have not blocked it, and it would end the process.
      while (sigwaitinfo(&set, &info) > 0 && syscall(SYS_tgkill, parent, thread, bench_signal()) == 0) {
      }
    });
    siginfo_t info;
    all = started && measure(out_ns, [&] {
            return kill(peer.pid(), bench_signal()) == 0 && sigtimedwait(&set, &info, &kPatience) > 0;
          });
    if (!all) error = system_error("signal to a process", started ? "no answer" : "fork", errno);
  }
  // What may have come too late must not be delivered.
  const timespec now = {};
  while (sigtimedwait(&set, nullptr, &now) > 0) {
  }
  pthread_sigmask(SIG_SETMASK, &former_mask, nullptr);
  return all;
}

bool pipe_peer(std::span<double> out_ns, int cpu, std::string& error) {
  if (!is_cpu(cpu, "pipe to a process", error)) return false;
  int there[2] = {-1, -1};
  int back[2] = {-1, -1};
  const auto close_both = [](int(&ends)[2]) {
    for (int& end : ends) {
      if (end >= 0) close(end);
      end = -1;
    }
  };
  bool all = pipe2(there, O_CLOEXEC) == 0 && pipe2(back, O_CLOEXEC) == 0;
  if (all) {
    Peer peer;
    all = peer.start(cpu, [&](pid_t, pid_t) {
      char byte = 0;
      while (read(there[0], &byte, 1) == 1 && write(back[1], &byte, 1) == 1) {
      }
    });
    // The child's ends are the child's alone: if it ends, reading ends too.
    close(std::exchange(there[0], -1));
    close(std::exchange(back[1], -1));
    char byte = 0;
    all = all &&
          measure(out_ns, [&] { return write(there[1], &byte, 1) == 1 && read(back[0], &byte, 1) == 1; });
  }
  if (!all) error = system_error("pipe to a process", "no answer", errno);
  close_both(there);
  close_both(back);
  return all;
}

bool protection_flip(std::span<double> out_ns, uint32_t pages, std::string& error) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t length = pages * page;
  const int fd = memfd_create("ringcube-flip", MFD_CLOEXEC);
  void* const memory = fd >= 0 && ftruncate(fd, static_cast<off_t>(length)) == 0
                           ? mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                           : MAP_FAILED;
  bool all = memory != MAP_FAILED;
  if (all) {
    for (size_t at = 0; at < length; at += page) static_cast<volatile char*>(memory)[at] = 1;
    all = measure(out_ns, [&] {
      return mprotect(memory, length, PROT_NONE) == 0 &&
             mprotect(memory, length, PROT_READ | PROT_WRITE) == 0;
    });
  }
  if (!all) error = system_error("protection flip", std::to_string(pages) + " pages", errno);
  if (memory != MAP_FAILED) munmap(memory, length);
  if (fd >= 0) close(fd);
  return all;
}

}  // namespace ringcube
