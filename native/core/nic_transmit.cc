// From the driver's buffers to the wire.
#include <cstring>

#include "core/checksum.h"
#include "core/link.h"
#include "core/nic.h"

namespace ringcube {

uint32_t Nic::transmit(uint16_t index, TimeNs now, uint32_t budget) {
  Queue& q = *queues_[index];
  if (!q.ring.live()) return 0;
  if (q.ring.notifications_enabled()) q.ring.disable_notifications();
  q.blocked = false;
  uint32_t sent = 0;
  Chain chain;
  while (sent < budget && q.ring.pop(chain)) {
    if (chain.writable > 0) {
      q.ring.stop(Fault::kWrongQueue);
      break;
    }
    if (transmit_one(q, chain, now) == Delivery::kBusy) {
      q.ring.rewind(1, 0);
      q.blocked = true;
      break;
    }
    q.ring.push_read(chain.head);
    ++sent;
  }
  if (!q.ring.live()) {
    report_fault(index);
    return sent;
  }
  if (sent > 0) publish(index, sent, now);
  return sent;
}

Delivery Nic::transmit_one(Queue& q, const Chain& chain, TimeNs now) {
  VirtioNetHdr header;
  if (chain.readable_bytes < sizeof header + 14) {
    ++q.counters.drop_bad_header;
    return Delivery::kDropped;
  }
  const uint32_t length = chain.readable_bytes - sizeof header;
  if (length > max_frame()) {
    ++q.counters.drop_too_long;
    return Delivery::kDropped;
  }
  const Frame whole = {.slices = chain.slices, .count = chain.readable, .length = chain.readable_bytes};
  whole.copy(0, &header, sizeof header);
  const bool needs_checksum = (header.flags & kHdrNeedsCsum) != 0;
  if (header.gso_type != kHdrGsoNone || (needs_checksum && !has(kFeatureCsum))) {
    ++q.counters.drop_bad_header;
    return Delivery::kDropped;
  }
  // The frame begins behind the header, wherever the descriptors cut it (§2.7.4: no layout is to be assumed).
  Slice* first = chain.slices;
  uint32_t skip = sizeof header;
  while (skip >= first->length) skip -= (first++)->length;
  Slice saved = *first;
  *first = {first->data + skip, first->length - skip};
  Frame frame = {.slices = first,
                 .count = chain.readable - static_cast<uint32_t>(first - chain.slices),
                 .length = length};
  Slice finished;
  if (needs_checksum) {
    frame.copy(0, scratch_.data(), length);
    const bool valid = is_partial_l4(scratch_.data(), length, header.csum_start, header.csum_offset);
    if (!complete_checksum(scratch_.data(), length, header.csum_start, header.csum_offset)) {
      ++q.counters.drop_bad_header;
      return Delivery::kDropped;
    }
    finished = {scratch_.data(), length};
    frame = {.slices = &finished, .count = 1, .length = length, .checksum_valid = valid};
  }
  if (link_ == nullptr) {
    ++q.counters.drop_no_carrier;
    return Delivery::kDropped;
  }
  const Delivery outcome = link_->send(side_, frame, now);
  if (outcome == Delivery::kBusy) {
    *first = saved;
    return outcome;
  }
  ++q.counters.frames;
  q.counters.bytes += length;
  q.counters.dma_bytes += chain.readable_bytes;
  if (monitor_ != nullptr) monitor_->frame(false, frame, now);
  return outcome;
}

}  // namespace ringcube
