// A load generator and sink for UDP forwarders on 127.0.0.1: what drives the kernel-socket baselines.
#ifndef RINGCUBE_BENCH_UDP_LOAD_H_
#define RINGCUBE_BENCH_UDP_LOAD_H_

#include <pthread.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace ringcube {

struct UdpLoadOptions {
  uint16_t to_port = 0;
  uint32_t payload_bytes = 22;    // 1..65507; 22 make a 64-byte frame with Ethernet, IPv4 and UDP headers
  uint32_t batch = 64;            // datagrams per sendmmsg and recvmmsg, 1..1024
  uint32_t to_host = 0x7f000001;  // in host order
  // Datagrams on their way at most, 1..1048576, or 0: as fast as it can, and nothing is waited for. 128 of up
  // to 1,500 bytes fit the receive buffer that the system's default limit (net.core.rmem_max = 212992)
  // allows; what doesn't fit there is lost.
  uint32_t window = 128;
  int cpu = -1;  // the thread's CPU, -1: any
  // Sends up to 64 datagrams as one (UDP_SEGMENT) and takes trains back (UDP_GRO). A receiver without UDP_GRO
  // gets single datagrams all the same: only the load becomes cheaper.
  bool segmentation = false;
  // Datagrams a second, or 0. Else `limit` datagrams are sent at equal intervals, whatever comes back: no
  // window, batch or segmentation. Each carries the time when it was due, so payload_bytes is 8 at least. The
  // thread polls.
  double rate = 0;
  uint32_t limit = 1;  // with `rate`, 1..2^24
};

// Sends datagrams from a thread of its own and counts those that come back, at most `window` on their way at
// a time. When 2 ms pass and nothing comes back, the window counts as lost and the next one is sent (then
// after 4, 8, … 64 ms, while still nothing comes back): neither loss nor a stalled forwarder ever stops it.
class UdpLoad {
 public:
  // Starts sending at once. Null and one line in `error` if an option is out of range or the system refuses.
  static std::unique_ptr<UdpLoad> start(const UdpLoadOptions& options, std::string& error);
  ~UdpLoad();
  UdpLoad(const UdpLoad&) = delete;
  UdpLoad& operator=(const UdpLoad&) = delete;

  uint16_t port() const { return port_; }
  // Datagrams, since the start; to be read from any thread.
  uint64_t sent() const { return sent_.load(std::memory_order_relaxed); }
  uint64_t returned() const { return returned_.load(std::memory_order_relaxed); }

  // Ends the thread, within a few milliseconds. The counts stay.
  void stop();
  // Once stopped: of what came back, in order, ns from when it was due.
  const std::vector<double>& latencies() const { return latencies_; }

 private:
  explicit UdpLoad(const UdpLoadOptions& options);
  bool open(std::string& error);
  void run();
  void run_at_rate();
  uint32_t send(uint32_t datagrams);
  uint32_t receive(int flags);

  const UdpLoadOptions options_;
  int fd_ = -1;
  uint16_t port_ = 0;
  bool running_ = false;
  pthread_t thread_{};

  uint32_t segments_;           // datagrams in one message at most
  std::vector<std::byte> out_;  // what every message sends
  std::vector<std::byte> in_;   // only the first bytes of what returns: the sink has no use for the rest
  std::vector<std::byte> control_;
  std::vector<iovec> out_iov_, in_iov_;
  std::vector<mmsghdr> out_messages_, in_messages_;
  std::vector<double> latencies_;

  alignas(64) std::atomic<uint64_t> sent_{0};
  std::atomic<uint64_t> returned_{0};
  alignas(64) std::atomic<bool> stop_{false};
};

}  // namespace ringcube

#endif  // RINGCUBE_BENCH_UDP_LOAD_H_
