// The card: a virtio-net device (virtio 1.2 §5.1). Queue 2i receives and queue 2i+1 transmits for pair i; the
// control queue is the last.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/dma.h"
#include "core/layout.h"
#include "core/steering.h"
#include "core/virtqueue.h"
#include "core/wire.h"

namespace ringcube {

inline constexpr uint64_t kAllFeatures =
    feature(kFeatureCsum) | feature(kFeatureGuestCsum) | feature(kFeatureCtrlGuestOffloads) |
    feature(kFeatureMtu) | feature(kFeatureMac) | feature(kFeatureMrgRxbuf) | feature(kFeatureStatus) |
    feature(kFeatureCtrlVq) | feature(kFeatureCtrlRx) | feature(kFeatureCtrlRxExtra) | feature(kFeatureMq) |
    feature(kFeatureCtrlMacAddr) | feature(kFeatureIndirectDesc) | feature(kFeatureEventIdx) |
    feature(kFeatureVersion1) | feature(kFeatureInOrder) | feature(kFeatureRingReset) |
    feature(kFeatureNotfCoal);

struct NicOptions {
  std::array<uint8_t, 6> mac = {0x02, 0, 0, 0, 0, 1};
  uint16_t queue_pairs = 1;
  uint16_t queue_size_max = 1024;
  uint16_t mtu = 1500;
  uint64_t features = kAllFeatures;
};

struct QueueCounters {
  uint64_t frames = 0;
  uint64_t bytes = 0;
  uint64_t dma_bytes = 0;  // moved between the card and this queue's buffers, virtio_net_hdr included
  uint64_t kicks = 0;      // doorbells rung
  uint64_t interrupts = 0;
  uint64_t interrupts_suppressed = 0;
  uint64_t drop_no_buffer = 0;
  uint64_t drop_too_long = 0;
  uint64_t drop_bad_header = 0;
  uint64_t drop_no_carrier = 0;
  uint64_t faults = 0;
};

struct NicCounters {
  uint64_t drop_filtered = 0;   // not for this MAC address
  uint64_t drop_not_ready = 0;  // before DRIVER_OK, or the queue it was steered to is off
  uint64_t steered = 0;
};

class Nic final : public Endpoint {
 public:
  static std::shared_ptr<Nic> create(const NicOptions& options, std::string& error);
  ~Nic() override;

  // The driver's registers, §4.2.2. Unknown ones read 0 and ignore writes.
  uint32_t read(uint32_t offset) const;
  void write(uint32_t offset, uint32_t value);
  // A doorbell; any thread.
  void kick(uint16_t queue);

  // The host's side.
  static constexpr int kEveryQueue = -1;
  bool map(int queue, const Mapping& mapping);
  bool unmap(int queue, uint64_t iova);
  bool steer(const Flow& rule, uint16_t pair);
  bool unsteer(const Flow& rule);
  void set_monitor(Monitor* monitor) { monitor_ = monitor; }
  void reset();
  // Stops the whole device until the driver resets it (§2.1.2).
  void need_reset();

  uint16_t queues() const { return static_cast<uint16_t>(queues_.size()); }
  QueueCounters counters(uint16_t queue) const;
  Fault fault(uint16_t queue) const { return queues_[queue]->ring.fault(); }
  const NicCounters& nic_counters() const { return counters_; }
  const NicOptions& options() const { return options_; }
  int interrupt_fd() const { return interrupt_fd_; }
  const std::shared_ptr<Region>& interrupt_page() const { return page_region_; }

  // Endpoint and Pollable.
  Delivery deliver(const Frame& frame, TimeNs now, bool may_wait) override;
  void flush(TimeNs now) override;
  void carrier(bool up) override;
  uint32_t poll(TimeNs now, uint32_t budget) override;
  bool arm() override;
  TimeNs next_due() const override;

 private:
  struct Queue {
    Virtqueue ring;
    DmaDomain domain;
    uint16_t size = 0;
    uint64_t desc = 0;
    uint64_t avail = 0;
    uint64_t used = 0;
    uint32_t fresh = 0;       // frames delivered since the last flush
    bool blocked = false;     // the wire has no room for what it would send
    bool starved = false;     // a sender waits for its buffers, of which there were too few when the driver
    uint16_t starved_at = 0;  // had offered so many
    uint32_t coalesced = 0;   // frames since the last interrupt, while one is held back
    TimeNs interrupt_due = kNever;
    QueueCounters counters;
    std::atomic<uint64_t> kicks{0};  // rung by other threads
  };
  struct Coalescing {
    uint32_t max_packets = 0;
    uint32_t max_usecs = 0;
  };
  struct MacFilter {
    bool promisc = false;
    bool allmulti = false;
    bool alluni = false;
    bool nomulti = false;
    bool nouni = false;
    bool nobcast = false;
    std::vector<std::array<uint8_t, 6>> unicast;
    std::vector<std::array<uint8_t, 6>> multicast;
  };

  Nic(const NicOptions& options, int interrupt_fd, std::shared_ptr<Region> page);
  bool has(uint32_t bit) const { return (driver_features_ & feature(bit)) != 0; }
  bool running() const { return (status_ & (kStatusDriverOk | kStatusNeedsReset)) == kStatusDriverOk; }
  bool is_transmit(uint16_t queue) const { return queue % 2 == 1 && queue != control_queue_; }
  uint32_t max_frame() const { return options_.mtu + 18U; }  // Ethernet with a VLAN tag
  bool features_acceptable() const;
  void set_status(uint8_t status);
  void start_queue(uint16_t index);
  void stop_queue(Queue& q);
  void release(Queue& q);
  void release_all();
  void report_fault(uint16_t index);
  InterruptPage& page() const { return *reinterpret_cast<InterruptPage*>(page_region_->data()); }
  void raise(uint32_t vector);
  void publish(uint16_t index, uint32_t frames, TimeNs now);

  // nic_transmit.cc
  uint32_t transmit(uint16_t index, TimeNs now, uint32_t budget);
  Delivery transmit_one(Queue& q, const Chain& chain, TimeNs now);
  // nic_receive.cc
  bool accepts(const uint8_t* destination) const;
  uint16_t receive_queue(const Frame& frame, const std::byte* head, uint32_t head_bytes);
  Delivery fill(uint16_t index, const Frame& frame, uint8_t flags, bool may_wait);
  void feed_starved();
  // nic_control.cc
  uint32_t control();
  uint8_t command(const std::byte* request, uint32_t bytes);
  uint8_t command_rx(uint8_t command, const std::byte* data, uint32_t bytes);
  uint8_t command_mac(uint8_t command, const std::byte* data, uint32_t bytes);
  uint8_t command_coalescing(uint8_t command, const std::byte* data, uint32_t bytes);

  NicOptions options_;
  VirtioNetConfig config_ = {};
  uint32_t config_generation_ = 0;
  uint8_t status_ = 0;
  uint64_t driver_features_ = 0;
  uint32_t device_features_sel_ = 0;
  uint32_t driver_features_sel_ = 0;
  uint16_t queue_sel_ = 0;
  uint16_t control_queue_;
  uint16_t active_pairs_ = 1;
  bool guest_csum_ = false;
  bool starving_ = false;           // some receive queue has `starved` set
  TimeNs interrupts_due_ = kNever;  // the earliest of the queues' interrupt_due
  std::vector<std::unique_ptr<Queue>> queues_;
  std::vector<uint16_t> dirty_;
  Coalescing coalescing_[2];  // receive, transmit
  MacFilter filter_;
  Steering steering_;
  NicCounters counters_;
  Monitor* monitor_ = nullptr;
  std::vector<std::byte> scratch_;  // the card's own memory: for frames that it must finish or see whole
  std::vector<Slice> send_slices_;
  std::shared_ptr<Region> page_region_;
  int interrupt_fd_;
};

}  // namespace ringcube
