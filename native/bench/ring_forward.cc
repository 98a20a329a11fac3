#include "bench/ring_forward.h"

#include <algorithm>
#include <atomic>
#include <cstring>

namespace ringcube {

namespace {

std::atomic_ref<uint16_t> word(void* at) { return std::atomic_ref<uint16_t>(*static_cast<uint16_t*>(at)); }

void forward(std::byte* frame) {
  uint16_t a[3];
  uint16_t b[3];
  std::memcpy(a, frame, 6);
  std::memcpy(b, frame + 6, 6);
  std::memcpy(frame, b, 6);
  std::memcpy(frame + 6, a, 6);
  uint16_t type = 0;
  std::memcpy(&type, frame + 12, 2);
  if (type != 0x0008) return;  // IPv4, as it lies in memory
  uint16_t ttl = 0;            // with the protocol behind it
  std::memcpy(&ttl, frame + 22, 2);
  if ((ttl & 0xff) <= 1) return;
  const auto lower = static_cast<uint16_t>(ttl - 1);
  uint16_t check = 0;
  std::memcpy(&check, frame + 24, 2);
  // RFC 1624 (3): HC' = ~(~HC + ~m + m')
  uint32_t sum = (~check & 0xffffU) + (~ttl & 0xffffU) + lower;
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  check = static_cast<uint16_t>(~sum);
  std::memcpy(frame + 22, &lower, 2);
  std::memcpy(frame + 24, &check, 2);
}

}  // namespace

RingForward::Ring RingForward::ring(uint32_t desc, uint32_t avail, uint32_t used) const {
  std::byte* const used_at = setup_.base + used;
  return {.desc = reinterpret_cast<VirtqDesc*>(setup_.base + desc),
          .avail = reinterpret_cast<uint16_t*>(setup_.base + avail),
          .used_base = used_at,
          .used = reinterpret_cast<VirtqUsedElem*>(used_at + kUsedRing),
          .avail_event = reinterpret_cast<uint16_t*>(used_at + kUsedRing + size_t{8} * setup_.size),
          .buffer = std::vector<uint32_t>(setup_.size)};
}

RingForward::RingForward(const RingForwardSetup& setup)
    : setup_(setup),
      mask_(static_cast<uint16_t>(setup.size - 1)),
      rx_(ring(setup.rx_desc, setup.rx_avail, setup.rx_used)),
      tx_(ring(setup.tx_desc, setup.tx_avail, setup.tx_used)) {
  for (uint32_t i = setup.buffer_count; i > 0; --i)
    pool_.push_back(setup.buffers + (i - 1) * setup.buffer_stride);
}

bool RingForward::publish(Ring& r) const {
  const uint16_t before = r.published;
  if (before == r.next) return false;
  r.published = r.next;
  word(r.avail + 1).store(r.next, std::memory_order_seq_cst);
  const uint16_t event = word(r.avail_event).load(std::memory_order_seq_cst);
  return static_cast<uint16_t>(r.next - event - 1) < static_cast<uint16_t>(r.next - before);
}

void RingForward::refill() {
  while (!pool_.empty() && static_cast<uint16_t>(rx_.next - rx_.seen) <= mask_) {
    const uint16_t id = rx_.next & mask_;
    const uint32_t buffer = pool_.back();
    pool_.pop_back();
    rx_.buffer[id] = buffer;
    rx_.desc[id] = {buffer, setup_.buffer_bytes, kDescWrite, 0};
    rx_.avail[2 + id] = id;
    ++rx_.next;
  }
}

uint32_t RingForward::turn(uint32_t batch, uint32_t& kick) {
  const uint16_t tx_used = word(tx_.used_base + kUsedIdx).load(std::memory_order_seq_cst);
  while (tx_.seen != tx_used) pool_.push_back(tx_.buffer[tx_.seen++ & mask_]);  // IN_ORDER: ids need no look
  refill();
  kick = publish(rx_) ? 1 : 0;

  const uint16_t rx_used = word(rx_.used_base + kUsedIdx).load(std::memory_order_seq_cst);
  const uint32_t room = setup_.size - static_cast<uint16_t>(tx_.next - tx_.seen);
  const uint32_t n =
      std::min({static_cast<uint32_t>(static_cast<uint16_t>(rx_used - rx_.seen)), batch, room});
  const uint32_t most = setup_.buffer_bytes;
  uint32_t done = 0;
  for (; done < n; ++done) {
    // The device is not trusted here either: read once, and checked as the TypeScript driver does.
    const auto& entry = *const_cast<const volatile VirtqUsedElem*>(&rx_.used[rx_.seen & mask_]);
    const uint32_t used_id = entry.id;
    const uint32_t length = entry.len;
    if (used_id != (rx_.seen & mask_) || length < sizeof(VirtioNetHdr) || length > most) break;
    ++rx_.seen;
    const uint32_t buffer = rx_.buffer[used_id];
    std::byte* const header = setup_.base + buffer;
    std::memset(header, 0, sizeof(VirtioNetHdr));
    forward(header + sizeof(VirtioNetHdr));
    const uint16_t id = tx_.next & mask_;
    tx_.buffer[id] = buffer;
    tx_.desc[id] = {buffer, length, 0, 0};
    tx_.avail[2 + id] = id;
    ++tx_.next;
  }
  if (publish(tx_)) kick |= 2;
  return done;
}

}  // namespace ringcube
