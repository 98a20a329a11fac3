// From the wire to the driver's buffers.
#include <algorithm>
#include <cstring>

#include "core/checksum.h"
#include "core/link.h"
#include "core/nic.h"

namespace ringcube {

namespace {

constexpr uint32_t kHeadBytes = 64;  // enough for addresses, and for the flow of what a rule can match

// Scatters a frame over buffers, from where the last call stopped.
class Scatter {
 public:
  explicit Scatter(const Frame& frame) : slice_(frame.slices), left_(frame.length) {}
  uint32_t left() const { return left_; }
  // Fills [to, to + room) as far as the frame goes; returns the bytes written.
  uint32_t fill(std::byte* to, uint32_t room) {
    const uint32_t total = std::min(room, left_);
    for (uint32_t n = total; n > 0;) {
      const uint32_t part = std::min(n, slice_->length - at_);
      std::memcpy(to, slice_->data + at_, part);
      to += part;
      n -= part;
      at_ += part;
      if (at_ == slice_->length) ++slice_, at_ = 0;
    }
    left_ -= total;
    return total;
  }

 private:
  const Slice* slice_;
  uint32_t at_ = 0;
  uint32_t left_;
};

}  // namespace

bool Nic::accepts(const uint8_t* destination) const {
  if (!has(kFeatureCtrlRx) || filter_.promisc) return true;
  const auto among = [destination](const auto& table) {
    return std::any_of(table.begin(), table.end(), [destination](const auto& mac) {
      return std::memcmp(mac.data(), destination, 6) == 0;
    });
  };
  if ((destination[0] & 1) == 0) {
    if (filter_.nouni) return false;
    return filter_.alluni || std::memcmp(destination, config_.mac, 6) == 0 || among(filter_.unicast);
  }
  static constexpr uint8_t kBroadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  if (std::memcmp(destination, kBroadcast, 6) == 0) return !filter_.nobcast;
  return !filter_.nomulti && (filter_.allmulti || among(filter_.multicast));
}

uint16_t Nic::receive_queue(const Frame& frame, const std::byte* head, uint32_t head_bytes) {
  Flow flow;
  if (steering_.empty() || head_bytes < std::min(frame.length, kHeadBytes) ||
      !parse_flow(head, frame.length, flow))
    return 0;
  const uint16_t* pair = steering_.lookup(flow);
  if (pair == nullptr) return 0;
  ++counters_.steered;
  return static_cast<uint16_t>(*pair * 2);
}

Delivery Nic::deliver(const Frame& frame, TimeNs now, bool may_wait) {
  if (!running() || frame.length < 14) {
    ++counters_.drop_not_ready;
    return Delivery::kDropped;
  }
  std::byte gathered[kHeadBytes];
  const std::byte* head = frame.slices->data;
  const uint32_t head_bytes = std::min(frame.length, kHeadBytes);
  if (frame.slices->length < head_bytes) {
    frame.copy(0, gathered, head_bytes);
    head = gathered;
  }
  if (!accepts(reinterpret_cast<const uint8_t*>(head))) {
    ++counters_.drop_filtered;
    return Delivery::kDropped;
  }
  const uint16_t index = receive_queue(frame, head, head_bytes);
  Queue& q = *queues_[index];
  if (!q.ring.live() || index / 2 >= active_pairs_) {
    ++counters_.drop_not_ready;
    return Delivery::kDropped;
  }
  if (has(kFeatureMtu) && frame.length > max_frame()) {  // §5.1.4.1
    ++q.counters.drop_too_long;
    return Delivery::kDropped;
  }
  uint8_t flags = 0;
  if (guest_csum_) {
    bool valid = frame.checksum_valid;
    if (!valid) {
      const std::byte* whole = frame.slices->data;
      if (frame.count > 1) {
        frame.copy(0, scratch_.data(), frame.length);
        whole = scratch_.data();
      }
      valid = verify_l4(whole, frame.length) == L4Checksum::kGood;
    }
    if (valid) flags = kHdrDataValid;
  }
  const Delivery outcome = fill(index, frame, flags, may_wait);
  if (outcome == Delivery::kTaken) {
    ++q.counters.frames;
    q.counters.bytes += frame.length;
    if (q.fresh++ == 0) dirty_.push_back(index);
    if (monitor_ != nullptr) monitor_->frame(true, frame, now);
  }
  return outcome;
}

// One chain, or with mergeable buffers as many as the frame needs (§5.1.6.4).
Delivery Nic::fill(uint16_t index, const Frame& frame, uint8_t flags, bool may_wait) {
  Queue& q = *queues_[index];
  if (q.ring.notifications_enabled() && !q.starved) q.ring.disable_notifications();
  const VirtioNetHdr header = {.flags = flags,
                               .gso_type = 0,
                               .hdr_len = 0,
                               .gso_size = 0,
                               .csum_start = 0,
                               .csum_offset = 0,
                               .num_buffers = 1};
  Scatter rest(frame);
  Chain chain;
  std::byte* num_buffers[2] = {};
  uint16_t buffers = 0;
  do {
    if (!q.ring.pop(chain)) {
      if (!q.ring.live()) {
        report_fault(index);
        return Delivery::kDropped;
      }
      q.ring.rewind(buffers, buffers);
      if (buffers == q.ring.size()) {  // all the buffers there can be do not hold it
        ++q.counters.drop_too_long;
        return Delivery::kDropped;
      }
      if (may_wait) {
        q.starved = starving_ = true;
        q.starved_at = q.ring.offered_known();
        activate();  // to ask the driver for a doorbell, when all is quiet
        return Delivery::kBusy;
      }
      ++q.counters.drop_no_buffer;
      return Delivery::kDropped;
    }
    ++buffers;
    if (chain.readable > 0) {
      q.ring.stop(Fault::kWrongQueue);
      report_fault(index);
      return Delivery::kDropped;
    }
    const uint32_t needed = buffers == 1 ? sizeof header + rest.left() : rest.left();
    if (chain.writable_bytes < needed && (!has(kFeatureMrgRxbuf) || chain.writable_bytes < sizeof header)) {
      q.ring.rewind(buffers, static_cast<uint16_t>(buffers - 1));
      ++q.counters.drop_too_long;
      return Delivery::kDropped;
    }
    if (buffers == 1 && chain.writable == 1 && frame.count == 1 && chain.writable_bytes >= needed)
        [[likely]] {
      std::memcpy(chain.slices->data, &header, sizeof header);
      std::memcpy(chain.slices->data + sizeof header, frame.slices->data, frame.length);
      q.ring.push(chain.head, needed);
      q.counters.dma_bytes += needed;
      return Delivery::kTaken;
    }
    uint32_t written = 0;
    for (uint16_t i = 0; i < chain.writable && (rest.left() > 0 || written < sizeof header); ++i) {
      Slice s = chain.slices[i];
      if (buffers == 1 && written < sizeof header) {
        const uint32_t part = std::min<uint32_t>(s.length, sizeof header - written);
        std::memcpy(s.data, reinterpret_cast<const std::byte*>(&header) + written, part);
        for (uint32_t b = 0; b < 2; ++b) {
          const uint32_t at = offsetof(VirtioNetHdr, num_buffers) + b;
          if (at >= written && at < written + part) num_buffers[b] = s.data + (at - written);
        }
        written += part;
        s = {s.data + part, s.length - part};
      }
      written += rest.fill(s.data, s.length);
    }
    q.ring.push(chain.head, written);
    q.counters.dma_bytes += written;
  } while (rest.left() > 0);
  if (buffers > 1) {
    *num_buffers[0] = static_cast<std::byte>(buffers);
    *num_buffers[1] = static_cast<std::byte>(buffers >> 8);
  }
  return Delivery::kTaken;
}

void Nic::flush(TimeNs now) {
  for (const uint16_t index : dirty_) {
    Queue& q = *queues_[index];
    if (q.ring.live()) publish(index, q.fresh, now);
    q.fresh = 0;
  }
  dirty_.clear();
}

void Nic::feed_starved() {
  starving_ = false;
  for (uint16_t i = 0; i < queues(); i = static_cast<uint16_t>(i + 2)) {
    Queue& q = *queues_[i];
    if (!q.starved) continue;
    const bool fed = q.ring.offered() != q.starved_at;
    if (!q.ring.live())
      report_fault(i);
    else if (fed)
      release(q);
    else
      starving_ = true;
  }
}

}  // namespace ringcube
