// The kernel-socket baseline in C: returns UDP datagrams to their sender by recvmmsg and sendmmsg.
#ifndef RINGCUBE_BENCH_UDP_FORWARD_H_
#define RINGCUBE_BENCH_UDP_FORWARD_H_

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace ringcube {

struct UdpForwarded {
  uint64_t frames = 0;       // datagrams
  uint64_t nanoseconds = 0;  // from the end of the first batch, which does not count, to the end of the last
  uint64_t batches = 0;      // frames / batches: what a pair of system calls carried
};

// Sends every payload back from the buffer that it was received into: no copies but the kernel's.
//
// The socket is connected to the sender heard first, which saves a route lookup per datagram (about 8 %),
// and takes no others while that one sends; when it is silent for 20 ms anyone may be next.
class UdpForwarder {
 public:
  // Binds a port of `host` (in host order; loopback, or 0 within a namespace of one's own).
  // max_payload: 1..65507 bytes, batch: datagrams per system call, 1..1024. `segmentation` takes and returns
  // trains of up to 64 datagrams in one piece (UDP_GRO, UDP_SEGMENT), if the sender sends such ones. Null and
  // one line in `error` when an option is out of range or the system refuses. Without `answers` it only
  // counts what comes. With `touches` it reads and sums every byte of each payload first, as a forwarder
  // would that looks at what it forwards.
  static std::unique_ptr<UdpForwarder> open(uint32_t max_payload, uint32_t batch, bool segmentation,
                                            bool answers, uint32_t host, bool touches, std::string& error);
  ~UdpForwarder();
  UdpForwarder(const UdpForwarder&) = delete;
  UdpForwarder& operator=(const UdpForwarder&) = delete;

  uint16_t port() const { return port_; }

  // Forwards in the caller's thread until at least `frames` are done (a batch is never cut) or timeout_ns
  // have passed (out.frames < frames then: not an error). Polls for 50 µs when there is nothing, then sleeps.
  // May be called again, from one thread at a time.
  bool run(uint64_t frames, int64_t timeout_ns, UdpForwarded& out, std::string& error);

 private:
  UdpForwarder(uint32_t max_payload, uint32_t batch, bool segmentation, bool answers, uint32_t host,
               bool touches);
  bool bind_port(std::string& error);
  bool connect_to(const sockaddr_in& peer, std::string& error);
  bool disconnect(std::string& error);
  void name_senders(bool wanted);
  int receive(int flags);
  void touch(uint32_t messages);
  bool prepare(uint32_t messages, uint64_t& frames, std::string& error);
  bool send(uint32_t messages, int64_t deadline, std::string& error);

  const uint32_t max_payload_;
  const uint32_t batch_;
  const bool segmentation_;
  const bool answers_;
  const uint32_t host_;
  const bool touches_;
  volatile uint64_t sum_ = 0;  // of all bytes so far: volatile, so that it is computed
  uint32_t messages_;          // per system call; a message is a train of datagrams with `segmentation`
  uint32_t buffer_bytes_;      // of one message
  int fd_ = -1;
  uint16_t port_ = 0;
  bool connected_ = false;

  std::vector<std::byte> buffers_;
  std::vector<std::byte> control_;
  std::vector<sockaddr_in> senders_;
  std::vector<iovec> iov_;
  std::vector<mmsghdr> headers_;
};

}  // namespace ringcube

#endif  // RINGCUBE_BENCH_UDP_FORWARD_H_
