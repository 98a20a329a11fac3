// From the driver's buffers to the wire.
#include <algorithm>
#include <cstring>

#include "core/checksum.h"
#include "core/link.h"
#include "core/nic.h"

namespace ringcube {

namespace {

// Of a frame whose checksum the card completes, the head is copied into the card's own memory, and what is
// behind it stays where it lies.
struct Parted {
  uint32_t head;
  uint32_t count;   // of parts, the head among them
  uint64_t behind;  // sum of what is not in the head
};
constexpr uint32_t kMaxParts = 4;
// A shorter frame is copied sooner than taken apart.
constexpr uint32_t kWorthParts = 512;
// Headers that end with the first descriptor, as a driver lays them that gathers; else so much as holds all
// but long ones.
constexpr uint32_t kGatheredHead = 256;
constexpr uint32_t kUsualHead = 128;

// Sets parts[1] on; the head is all of it if it is cut too often.
Parted take_apart(const Frame& frame, uint16_t start, uint16_t offset, Slice (&parts)[kMaxParts]) {
  // What is_partial_l4 looks at: an IPv4 header, or all up to the field.
  const uint32_t needed = std::max<uint32_t>(34, uint32_t{start} + offset + 2);
  uint32_t head = frame.slices->length;
  if (head < needed || head > kGatheredHead) head = kUsualHead;
  if (head < needed) return {frame.length, 1, 0};
  Parted parted = {head, 1, 0};
  uint32_t at = 0;
  for (const Slice* slice = frame.slices; slice < frame.slices + frame.count; at += (slice++)->length) {
    if (at + slice->length <= head) continue;
    if (parted.count == kMaxParts) return {frame.length, 1, 0};
    const uint32_t skip = at < head ? head - at : 0;
    const Slice part = {slice->data + skip, slice->length - skip};
    parted.behind = checksum_add_at(parted.behind, at + skip - start, part.data, part.length);
    parts[parted.count++] = part;
  }
  return parted;
}

}  // namespace

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
  Slice parts[kMaxParts];
  if (needs_checksum) {
    const uint16_t start = header.csum_start;
    const uint16_t offset = header.csum_offset;
    const Parted part = length < kWorthParts ? Parted{length, 1, 0} : take_apart(frame, start, offset, parts);
    frame.copy(0, scratch_.data(), part.head);
    const bool valid = is_partial_l4(scratch_.data(), length, start, offset);
    if (!complete_checksum(scratch_.data(), part.head, start, offset, part.behind)) {
      ++q.counters.drop_bad_header;
      return Delivery::kDropped;
    }
    parts[0] = {scratch_.data(), part.head};
    frame = {.slices = parts, .count = part.count, .length = length, .checksum_valid = valid};
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
