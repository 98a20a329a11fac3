// The forwarder that the benches measure, in C++ over the same rings as the TypeScript one
// (bench/path/forwarders.ts): take a batch, swap the MAC addresses, decrement TTL, update the checksum (RFC
// 1624), give the same buffers back to the wire. It is the ceiling: the same loads, stores and
// checks, compiled ahead of time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/layout.h"

namespace ringcube {

// One queue pair that a driver has set up and not yet used, and the buffers to use it with.
struct RingForwardSetup {
  std::byte* base;  // of the region
  uint32_t rx_desc, rx_avail, rx_used;
  uint32_t tx_desc, tx_avail, tx_used;
  uint32_t size;     // of both queues
  uint32_t buffers;  // offset of the first virtio_net_hdr
  uint32_t buffer_stride;
  uint32_t buffer_bytes;  // from the header on
  uint32_t buffer_count;
};

class RingForward {
 public:
  explicit RingForward(const RingForwardSetup& setup);
  // Posts receive buffers as far as the ring takes them.
  void refill();
  // One turn: reclaim, refill, take at most `batch`, work, send. Returns the frames sent. `kick` is set where
  // the device asked for a doorbell: bit 0 for the receive queue, bit 1 for transmit.
  uint32_t turn(uint32_t batch, uint32_t& kick);

 private:
  struct Ring {
    VirtqDesc* desc;
    uint16_t* avail;
    std::byte* used_base;
    VirtqUsedElem* used;
    uint16_t* avail_event;
    uint16_t next = 0;             // chains offered
    uint16_t published = 0;        // of which the device knows
    uint16_t seen = 0;             // used entries taken
    std::vector<uint32_t> buffer;  // of each descriptor, in order
  };
  Ring ring(uint32_t desc, uint32_t avail, uint32_t used) const;
  bool publish(Ring& r) const;

  RingForwardSetup setup_;
  uint16_t mask_;
  Ring rx_;
  Ring tx_;
  std::vector<uint32_t> pool_;
};

}  // namespace ringcube
