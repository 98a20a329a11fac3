#include "bench/signals.h"

#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include "check.h"

using namespace ringcube;

namespace {

bool plausible(const std::vector<double>& ns) {
  return std::all_of(ns.begin(), ns.end(), [](double each) { return each > 0 && each < 10e9; });
}

bool has_no_child() { return waitpid(-1, nullptr, WNOHANG) < 0 && errno == ECHILD; }

}  // namespace

TEST(each_baseline_fills_in_its_rounds_and_leaves_no_child_and_no_signal) {
  sigset_t before;
  sigset_t after;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  std::vector<double> ns(300);
  std::string error;
  CHECK(signal_self(ns, error) && plausible(ns));
  std::fill(ns.begin(), ns.end(), 0);
  CHECK(signal_peer(ns, -1, error) && plausible(ns));
  CHECK(has_no_child());
  std::fill(ns.begin(), ns.end(), 0);
  CHECK(signal_peer(ns, 0, error) && plausible(ns));
  CHECK(has_no_child());
  std::fill(ns.begin(), ns.end(), 0);
  CHECK(pipe_peer(ns, -1, error) && plausible(ns));
  CHECK(has_no_child());
  std::fill(ns.begin(), ns.end(), 0);
  CHECK(protection_flip(ns, 16, error) && plausible(ns));
  CHECK(error.empty());
  pthread_sigmask(SIG_SETMASK, nullptr, &after);
  for (int signal = 1; signal <= SIGRTMAX; ++signal)
    CHECK_EQ(sigismember(&before, signal), sigismember(&after, signal));
  sigset_t pending;
  sigpending(&pending);
  CHECK(sigisemptyset(&pending) != 0);
}

TEST(what_no_system_has_is_refused) {
  std::vector<double> ns(1);
  for (const int cpu : {-2, 1 << 20}) {
    std::string error;
    CHECK(!signal_peer(ns, cpu, error));
    CHECK_EQ(error, "signal to a process: CPU " + std::to_string(cpu) + " is none");
    CHECK(!pipe_peer(ns, cpu, error));
    CHECK_EQ(error, "pipe to a process: CPU " + std::to_string(cpu) + " is none");
  }
  std::string error;
  CHECK(!protection_flip(ns, 0, error));
  CHECK(error.find("0 pages") != std::string::npos);
}

CHECK_MAIN()
