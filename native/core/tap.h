// A backend that is an Ethernet interface of the Linux kernel: what the kernel sends there goes over the
// link, and what comes over the link the kernel receives (TAP, Documentation/networking/tuntap.rst). The
// interface has a carrier while the wire is plugged in.
//
// Needs an engine with a thread: the kernel has no virtual time.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/engine.h"
#include "core/wire.h"

namespace ringcube {

struct TapOptions {
  std::string name;   // made for as long as we hold it, unless it exists
  std::string netns;  // the file of its network namespace, as /run/netns/x; empty: this process's own
  uint32_t queues = 1;
  uint32_t mtu = 0;  // 0: as it is
  uint32_t send_buffer_bytes =
      0;  // what the kernel may hold of ours before it has no room; 0: as much as it likes
  std::optional<std::array<uint8_t, 6>> mac;
};

struct TapCounters {
  uint64_t from_kernel = 0;
  uint64_t to_kernel = 0;
  uint64_t checksums_completed = 0;  // that the kernel left to its card
  uint64_t refused = 0;              // from the kernel, dropped by the receiver, which counts why
  uint64_t unreadable = 0;           // a header that we did not ask for, or no frame where one was promised
  uint64_t drop_no_buffer = 0;       // the kernel had none
  uint64_t drop_no_carrier = 0;      // the interface is down or gone, or no wire is plugged in
  uint64_t drop_too_long = 0;
  uint64_t drop_other = 0;  // the kernel did not take it for a frame
};

// Descriptors of an interface's queues. The interface, if it was made for them, goes with the last.
struct TapQueues {
  TapQueues() = default;
  TapQueues(const TapQueues&) = delete;
  TapQueues& operator=(const TapQueues&) = delete;
  ~TapQueues();

  std::vector<int> fds;
};

class TapDevice final : public Endpoint, public FdWatcher {
 public:
  static constexpr uint32_t kMaxQueues = 16;

  static std::shared_ptr<TapDevice> create(const TapOptions& options, std::string& error);

  // Once the engine has it, and before the engine lets it go, under its guard. The kernel takes milliseconds
  // to remove an interface: let what stop() returns go outside.
  bool start();
  [[nodiscard]] std::unique_ptr<TapQueues> stop();
  const TapCounters& counters() const { return counters_; }

  Delivery deliver(const Frame& frame, TimeNs now, bool may_wait) override;
  void flush(TimeNs) override {}
  void carrier(bool up) override;
  uint32_t poll(TimeNs now, uint32_t budget) override;
  TimeNs next_due() const override { return retry_at_; }
  void readable(int fd) override;

 private:
  explicit TapDevice(std::unique_ptr<TapQueues> queues);
  int queue_for(const Frame& frame) const;
  bool read_next();
  bool finish(size_t bytes);
  bool pass_on(TimeNs now);

  std::unique_ptr<TapQueues> queues_;  // none once stopped
  uint32_t ready_ = 0;                 // a bit for each queue that may have frames
  uint32_t next_ = 0;                  // whose turn it is to be read
  std::vector<std::byte> read_;        // virtio_net_hdr and a frame
  uint32_t held_ = 0;                  // bytes of the frame in read_ that is still to be passed on
  bool held_valid_ = false;
  std::vector<std::byte> gathered_;
  TimeNs retry_at_ = kNever;  // when a sender may ask again for room in the kernel
  TapCounters counters_;
};

}  // namespace ringcube
