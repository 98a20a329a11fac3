// The device's side of a split virtqueue (virtio 1.2 §2.7).
//
//          driver writes                        device writes
//   desc  [addr len flags next] × size
//   avail [flags idx | head head … | used_event]
//                                        used  [flags idx | {id len} {id len} … | avail_event]
//
//   next_avail_ ──▶ avail.idx   chains offered, not yet taken
//   published_  ──▶ used_       chains given back, not yet shown: publish() stores used.idx once a batch
//
// Nothing the driver wrote is trusted: each descriptor is read once, into locals, and goes through the DMA
// domain. The first wrong one stops the queue.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/dma.h"
#include "core/layout.h"

namespace ringcube {

struct Slice {
  std::byte* data;
  uint32_t length;
};

// A descriptor chain: first what the device reads, then what it writes (§2.7.4.2). Valid until the next
// pop().
struct Chain {
  uint16_t head = 0;
  uint16_t readable = 0;
  uint16_t writable = 0;
  uint32_t readable_bytes = 0;
  uint32_t writable_bytes = 0;
  Slice* slices = nullptr;  // `readable` of them, then `writable`
};

// Why a queue stopped.
enum class Fault : uint8_t {
  kNone,
  kRingAddress,    // a ring lies outside the domain, or is misaligned
  kAvailIndex,     // avail.idx ran backwards or more than a queue ahead
  kHeadRange,      // a head at or above the queue size
  kNextRange,      // a next at or above the table's size
  kChainTooLong,   // longer than the queue (§2.7.5.3.1), so also any loop
  kOutsideDomain,  // a buffer that the domain does not hold with that permission
  kDirection,      // device-readable after device-writable
  kIndirect,       // not negotiated, nested, chained by NEXT, or a table of a wrong size
  kEmptyBuffer,    // a descriptor of no bytes
  kTotalLength,    // over 2^32 - 1 bytes
  kWrongQueue,     // what a receive queue may not read, or a transmit queue not write
};
inline constexpr size_t kFaults = 12;
const char* fault_name(Fault fault);

class Virtqueue {
 public:
  // Starts the queue at these I/O virtual addresses; false and a fault if they can't be used.
  bool enable(const DmaDomain& domain, uint16_t size, uint64_t desc, uint64_t avail, uint64_t used,
              uint64_t features);
  void disable() { desc_ = nullptr; }
  bool live() const { return desc_ != nullptr; }
  uint16_t size() const { return size_; }
  Fault fault() const { return fault_; }

  // Takes the next chain. False if there is none, or the queue broke (then live() is false).
  bool pop(Chain& chain) {
    if (next_avail_ == avail_idx_ && !fetch_avail()) return false;
    return walk(chain);
  }
  // How far the driver has offered chains by now (modulo 2^16), as far as is known without and with a look.
  uint16_t offered_known() const { return avail_idx_; }
  uint16_t offered() {
    fetch_avail();
    return avail_idx_;
  }
  // Gives a chain back, with the bytes that were written to it.
  void push(uint16_t head, uint32_t written) {
    used_ring_[used_ & mask_] = {head, written};
    ++used_;
  }
  // Gives back a chain that was only read. With IN_ORDER one entry stands for the whole batch (§2.7.9).
  void push_read(uint16_t head) {
    if (in_order_)
      last_read_ = head, ++used_, reads_ = true;
    else
      push(head, 0);
  }
  // Takes back the last `count` pops, and the pushes that belong to them.
  void rewind(uint16_t count, uint16_t pushed) {
    next_avail_ = static_cast<uint16_t>(next_avail_ - count);
    used_ = static_cast<uint16_t>(used_ - pushed);
  }
  // Shows the driver all that was given back. True if it asked to be interrupted for it (§2.7.7, §2.7.10).
  bool publish();
  bool unpublished() const { return published_ != used_; }

  // Asks the driver for a doorbell at its next chain. False, and asks for none, if chains already wait: any,
  // or with `beyond_known` such as we have not seen yet, because those that we have do not do.
  bool enable_notifications(bool beyond_known = false);
  void disable_notifications();
  bool notifications_enabled() const { return notifications_; }

  // Stops the queue for a fault found above this layer.
  void stop(Fault fault) {
    fault_ = fault;
    desc_ = nullptr;
  }

 private:
  bool fetch_avail();
  bool walk(Chain& chain);
  void prefetch_ahead() const;
  bool append(Chain& chain, uint64_t addr, uint32_t len, uint16_t flags);
  std::atomic_ref<uint16_t> word(std::byte* base, size_t offset) const {
    return std::atomic_ref<uint16_t>(*reinterpret_cast<uint16_t*>(base + offset));
  }

  const VirtqDesc* desc_ = nullptr;
  std::byte* avail_ = nullptr;
  std::byte* used_base_ = nullptr;
  VirtqUsedElem* used_ring_ = nullptr;
  const DmaDomain* domain_ = nullptr;
  std::vector<Slice> slices_;
  uint16_t size_ = 0;
  uint16_t mask_ = 0;
  uint16_t next_avail_ = 0;
  uint16_t avail_idx_ = 0;
  uint16_t used_ = 0;
  uint16_t published_ = 0;
  uint16_t signalled_ = 0;
  uint16_t last_read_ = 0;
  bool reads_ = false;
  bool event_idx_ = false;
  bool indirect_ = false;
  bool in_order_ = false;
  bool notifications_ = true;
  Fault fault_ = Fault::kNone;
};

}  // namespace ringcube
