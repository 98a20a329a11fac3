#include "core/virtqueue.h"

namespace ringcube {

namespace {

// §2.7.7.2: has the index passed `event` on its way from `before` to `now`?
bool need_event(uint16_t event, uint16_t now, uint16_t before) {
  return static_cast<uint16_t>(now - event - 1) < static_cast<uint16_t>(now - before);
}

}  // namespace

const char* fault_name(Fault fault) {
  static constexpr const char* kNames[kFaults] = {"none",      "ringAddress",  "availIndex",    "headRange",
                                                  "nextRange", "chainTooLong", "outsideDomain", "direction",
                                                  "indirect",  "emptyBuffer",  "totalLength",   "wrongQueue"};
  return kNames[static_cast<size_t>(fault)];
}

bool Virtqueue::enable(const DmaDomain& domain, uint16_t size, uint64_t desc, uint64_t avail, uint64_t used,
                       uint64_t features) {
  std::byte* const desc_at = domain.translate(desc, desc_bytes(size), Access::kRead);
  std::byte* const avail_at = domain.translate(avail, avail_bytes(size), Access::kRead);
  std::byte* const used_at = domain.translate(used, used_bytes(size), Access::kBoth);
  const auto misaligned = [](const std::byte* at, uintptr_t by) {
    return at == nullptr || reinterpret_cast<uintptr_t>(at) % by != 0;
  };
  if (misaligned(desc_at, 16) || misaligned(avail_at, 2) || misaligned(used_at, 4)) {  // §2.7
    stop(Fault::kRingAddress);
    return false;
  }
  avail_ = avail_at;
  used_base_ = used_at;
  used_ring_ = reinterpret_cast<VirtqUsedElem*>(used_at + kUsedRing);
  domain_ = &domain;
  size_ = size;
  mask_ = static_cast<uint16_t>(size - 1);
  slices_.resize(size);
  next_avail_ = avail_idx_ = used_ = published_ = signalled_ = 0;
  reads_ = false;
  event_idx_ = (features & feature(kFeatureEventIdx)) != 0;
  indirect_ = (features & feature(kFeatureIndirectDesc)) != 0;
  in_order_ = (features & feature(kFeatureInOrder)) != 0;
  notifications_ = true;
  fault_ = Fault::kNone;
  desc_ = reinterpret_cast<const VirtqDesc*>(desc_at);
  return true;
}

bool Virtqueue::fetch_avail() {
  // §2.7.13.3.1: entries and descriptors were written before the index; a sequentially consistent load of the
  // index orders our reads of them after it.
  const uint16_t idx = word(avail_, kAvailIdx).load(std::memory_order_seq_cst);
  if (static_cast<uint16_t>(idx - next_avail_) > size_) {
    stop(Fault::kAvailIndex);
    return false;
  }
  avail_idx_ = idx;
  return idx != next_avail_;
}

bool Virtqueue::append(Chain& chain, uint64_t addr, uint32_t len, uint16_t flags) {
  const bool writes = (flags & kDescWrite) != 0;
  if (len == 0) return stop(Fault::kEmptyBuffer), false;
  if (!writes && chain.writable > 0) return stop(Fault::kDirection), false;
  std::byte* const data = domain_->translate(addr, len, writes ? Access::kWrite : Access::kRead);
  if (data == nullptr) return stop(Fault::kOutsideDomain), false;
  uint32_t& total = writes ? chain.writable_bytes : chain.readable_bytes;
  if (total + len < len) return stop(Fault::kTotalLength), false;
  total += len;
  slices_[chain.readable + chain.writable] = {data, len};
  ++(writes ? chain.writable : chain.readable);
  return true;
}

// The driver's core has just had these lines; fetching them ahead hides their way here. A hint only: nothing
// that is read here is used for anything else.
void Virtqueue::prefetch_ahead() const {
  constexpr uint16_t kAhead = 4;
  const auto at = static_cast<uint16_t>(next_avail_ + kAhead);
  if (static_cast<int16_t>(avail_idx_ - at) <= 0) return;
  const auto* ring = reinterpret_cast<const volatile uint16_t*>(avail_ + kAvailRing);
  const volatile VirtqDesc& d = desc_[ring[at & mask_] & mask_];
  const std::byte* data = domain_->translate(d.addr, 128, Access::kRead);
  if (data == nullptr) return;
  if ((d.flags & kDescWrite) != 0) {
    __builtin_prefetch(data, 1);
    __builtin_prefetch(data + 64, 1);
  } else {
    __builtin_prefetch(data, 0);
    __builtin_prefetch(data + 64, 0);
  }
}

bool Virtqueue::walk(Chain& chain) {
  const auto& ring =
      *reinterpret_cast<const uint16_t*>(avail_ + kAvailRing + size_t{2} * (next_avail_ & mask_));
  const uint16_t head = *const_cast<const volatile uint16_t*>(&ring);
  if (head >= size_) return stop(Fault::kHeadRange), false;
  chain = {.head = head, .slices = slices_.data()};

  // Each descriptor is copied before it is looked at: the driver may change it under our eyes. Packed, as
  // §2.7.5.3 asks for no alignment of an indirect table.
  struct [[gnu::packed]] Packed {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
  };
  static_assert(sizeof(Packed) == sizeof(VirtqDesc));
  const auto* table = reinterpret_cast<const volatile Packed*>(desc_);
  const auto read = [&table](uint16_t index) {
    const volatile Packed& d = table[index];
    return VirtqDesc{d.addr, d.len, d.flags, d.next};
  };
  uint32_t table_size = size_;
  bool nested = false;
  VirtqDesc d = read(head);
  prefetch_ahead();
  if ((d.flags & (kDescNext | kDescIndirect)) == 0) [[likely]] {  // most chains are one buffer
    if (!append(chain, d.addr, d.len, d.flags)) return false;
    ++next_avail_;
    return true;
  }
  while (true) {
    if ((d.flags & kDescIndirect) != 0) {
      // §2.7.5.3.1: at the end of the chain, one level deep, never longer than the queue.
      const uint32_t entries = d.len / sizeof(VirtqDesc);
      if (!indirect_ || nested || (d.flags & kDescNext) != 0 || entries == 0 || entries > size_ ||
          d.len % sizeof(VirtqDesc) != 0)
        return stop(Fault::kIndirect), false;
      const std::byte* at = domain_->translate(d.addr, d.len, Access::kRead);
      if (at == nullptr) return stop(Fault::kOutsideDomain), false;
      table = reinterpret_cast<const volatile Packed*>(at);
      table_size = entries;
      nested = true;
      d = read(0);
      continue;
    }
    if (chain.readable + chain.writable == size_) return stop(Fault::kChainTooLong), false;
    if (!append(chain, d.addr, d.len, d.flags)) return false;
    if ((d.flags & kDescNext) == 0) break;
    if (d.next >= table_size) return stop(Fault::kNextRange), false;
    d = read(d.next);
  }
  ++next_avail_;
  return true;
}

bool Virtqueue::publish() {
  if (published_ == used_) return false;
  if (reads_) {
    used_ring_[published_ & mask_] = {last_read_, 0};
    reads_ = false;
  }
  published_ = used_;
  // §2.7.8.2: the entries first, then the index. §2.7.7.2 and §2.7.10.1: the index first, then the look at
  // what the driver asks for. One sequentially consistent store and load give both orders.
  word(used_base_, kUsedIdx).store(used_, std::memory_order_seq_cst);
  if (!event_idx_)
    return (word(avail_, kAvailFlags).load(std::memory_order_seq_cst) & kAvailNoInterrupt) == 0;
  const uint16_t event = word(avail_, kAvailRing + size_t{2} * size_).load(std::memory_order_seq_cst);
  const uint16_t before = signalled_;
  signalled_ = used_;
  return need_event(event, used_, before);
}

bool Virtqueue::enable_notifications(bool beyond_known) {
  const uint16_t known = avail_idx_;
  notifications_ = true;
  if (event_idx_)
    word(used_base_, kUsedRing + size_t{8} * size_).store(known, std::memory_order_seq_cst);
  else
    word(used_base_, kUsedFlags).store(0, std::memory_order_seq_cst);
  // §2.7.10.1: the wish first, then one more look, or a chain added in between would wait for ever.
  if (!fetch_avail()) return live();
  if (beyond_known && avail_idx_ == known) return true;
  disable_notifications();
  return false;
}

void Virtqueue::disable_notifications() {
  notifications_ = false;
  // With EVENT_IDX the stale avail_event does it: at most one needless doorbell in 65,536 chains.
  if (!event_idx_) word(used_base_, kUsedFlags).store(kUsedNoNotify, std::memory_order_seq_cst);
}

}  // namespace ringcube
