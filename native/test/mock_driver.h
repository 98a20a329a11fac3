// A virtio-net driver for tests and fuzzing: the driver's side of split virtqueues, the handshake through the
// registers, and the other end of the wire. It keeps the standard's rules (virtio 1.2 §2.7, §3.1.1, §5.1.6);
// a test that wants them broken writes to desc(), avail_entry(), avail_idx() and the rest, which are public
// for that.
#pragma once

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/engine.h"
#include "core/layout.h"
#include "core/link.h"
#include "core/nic.h"
#include "core/region.h"

namespace ringcube::mock {

using Bytes = std::vector<std::byte>;

// A mock that cannot go on has nothing to report to: it stops the program.
inline void must(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "mock driver: %s\n", what);
  std::abort();
}

// A buffer as a descriptor names it.
struct Buffer {
  uint64_t addr = 0;
  uint32_t len = 0;
  bool writes = false;  // the device writes it
};

// How a chain lies in the descriptor table (§2.7.5.3.2 allows all three).
enum class Shape : uint8_t {
  kDirect,
  kIndirect,
  kTail,  // the first half direct, the rest in an indirect table that the last direct descriptor leads to
};

// A chain that came back.
struct Used {
  uint16_t head = 0;
  uint32_t len = 0;
  uint64_t token = 0;
  std::vector<Buffer> buffers;
};

class Ring {
 public:
  static constexpr uint32_t kTableEntries = 32;  // of each head's indirect table

  static constexpr size_t bytes(uint32_t size) {
    return up(desc_bytes(size)) + up(avail_bytes(size)) + up(used_bytes(size)) +
           desc_bytes(kTableEntries) * size;
  }

  Ring() = default;
  // Lies at `at` (16-aligned), an address of which memory holds the byte 0 at `iova`. With a seed, free
  // descriptors are taken in a random order; with IN_ORDER in the ring's (§2.7.5.2).
  Ring(std::byte* memory, uint64_t iova, uint64_t at, uint16_t size, uint64_t features, uint64_t seed = 0)
      : memory_(memory),
        iova_(iova),
        size_(size),
        desc_(at),
        avail_(desc_ + up(desc_bytes(size))),
        used_(avail_ + up(avail_bytes(size))),
        tables_(used_ + up(used_bytes(size))),
        event_idx_((features & feature(kFeatureEventIdx)) != 0),
        in_order_((features & feature(kFeatureInOrder)) != 0),
        seed_(seed) {
    clear();
  }

  // All as at first: what a driver does before it enables or re-enables the queue.
  void clear() {
    std::memset(at(desc_), 0, bytes(size_) - desc_bytes(kTableEntries) * size_);
    chains_.assign(size_, {});
    outstanding_.clear();
    free_.clear();
    for (uint16_t i = 0; i < size_; ++i) free_.push_back(i);
    if (seed_ != 0 && !in_order_) {
      SplitMix random(seed_);
      for (size_t i = free_.size(); i > 1; --i) std::swap(free_[i - 1], free_[random.below(i)]);
    }
    added_ = asked_ = taken_ = 0;
    in_batch_ = false;
  }

  uint16_t size() const { return size_; }
  uint64_t desc_addr() const { return desc_; }
  uint64_t avail_addr() const { return avail_; }
  uint64_t used_addr() const { return used_; }
  uint64_t table_addr(uint16_t head) const { return tables_ + desc_bytes(kTableEntries) * head; }
  size_t room() const { return free_.size(); }
  size_t outstanding() const { return outstanding_.size(); }
  std::byte* at(uint64_t addr) const { return memory_ + (addr - iova_); }

  // --- raw -------------------------------------------------------------------------------------------------
  VirtqDesc& desc(size_t i) const { return reinterpret_cast<VirtqDesc*>(at(desc_))[i]; }
  VirtqDesc& table(uint16_t head, size_t i) const {
    return reinterpret_cast<VirtqDesc*>(at(table_addr(head)))[i];
  }
  uint16_t& avail_entry(size_t i) const { return *half(avail_ + kAvailRing + 2 * (i & (size_ - 1U))); }
  std::atomic_ref<uint16_t> avail_flags() const { return word(avail_ + kAvailFlags); }
  std::atomic_ref<uint16_t> avail_idx() const { return word(avail_ + kAvailIdx); }
  std::atomic_ref<uint16_t> used_event() const { return word(avail_ + kAvailRing + size_t{2} * size_); }
  VirtqUsedElem& used_entry(size_t i) const {
    return reinterpret_cast<VirtqUsedElem*>(at(used_ + kUsedRing))[i & (size_ - 1U)];
  }
  std::atomic_ref<uint16_t> used_flags() const { return word(used_ + kUsedFlags); }
  std::atomic_ref<uint16_t> used_idx() const { return word(used_ + kUsedIdx); }
  std::atomic_ref<uint16_t> avail_event() const { return word(used_ + kUsedRing + size_t{8} * size_); }
  uint16_t taken() const { return taken_; }
  uint16_t added() const { return added_; }
  uint16_t shown() const { return asked_; }  // of those added, by publish()
  // Makes every index look as after `at` chains: to test what happens where they wrap. Of a clear ring only.
  void start_at(uint16_t at) { added_ = asked_ = taken_ = at; }

  // --- the driver ------------------------------------------------------------------------------------------
  // Offers a chain; its head, or -1 without room. Seen by the device after publish().
  int add(std::span<const Buffer> buffers, uint64_t token = 0, Shape shape = Shape::kDirect) {
    const auto n = static_cast<uint32_t>(buffers.size());
    const uint32_t direct = shape == Shape::kDirect ? n : shape == Shape::kIndirect ? 0 : n / 2;
    const uint32_t slots = direct == n ? n : direct + 1;
    must(n > 0 && n - direct <= kTableEntries, "a chain that the mock cannot lay down");
    if (free_.size() < slots) return -1;
    const uint16_t head = free_.front();
    Chain& chain = chains_[head];
    chain.slots.assign(free_.begin(), free_.begin() + slots);
    free_.erase(free_.begin(), free_.begin() + slots);
    chain.buffers.assign(buffers.begin(), buffers.end());
    chain.token = token;
    chain.busy = true;
    const auto put = [](VirtqDesc& d, const Buffer& b, bool more, uint16_t next) {
      d = {.addr = b.addr,
           .len = b.len,
           .flags = static_cast<uint16_t>((b.writes ? kDescWrite : 0) | (more ? kDescNext : 0)),
           .next = next};
    };
    for (uint32_t i = 0; i < slots; ++i) {
      const bool last = i + 1 == slots;
      if (i < direct)
        put(desc(chain.slots[i]), buffers[i], !last, last ? uint16_t{0} : chain.slots[i + 1]);
      else
        desc(chain.slots[i]) = {.addr = table_addr(head),
                                .len = static_cast<uint32_t>(desc_bytes(n - direct)),
                                .flags = kDescIndirect,
                                .next = 0};
    }
    for (uint32_t i = direct; i < n; ++i)
      put(table(head, i - direct), buffers[i], i + 1 < n,
          static_cast<uint16_t>(i + 1 < n ? i - direct + 1 : 0));
    avail_entry(added_) = head;
    ++added_;
    outstanding_.push_back(head);
    return head;
  }

  // Shows the device all that was added. True if it asked for a doorbell (§2.7.10.1).
  bool publish() {
    const uint16_t before = asked_;
    asked_ = added_;
    avail_idx().store(added_);
    if (!event_idx_) return (used_flags().load() & kUsedNoNotify) == 0;
    const uint16_t event = avail_event().load();
    return static_cast<uint16_t>(added_ - event - 1) < static_cast<uint16_t>(added_ - before);
  }

  bool pending() const { return used_idx().load() != taken_; }

  // Takes back one chain. `fault` says what was wrong with what the device gave.
  bool reap(Used& out) {
    if (!pending()) return false;
    uint16_t head = 0;
    uint32_t len = 0;
    if (in_order_) {
      // §2.7.9: one entry, at the place of the first of the batch, may stand for all up to the chain that it
      // names.
      if (!in_batch_) {
        batch_ = used_entry(taken_);
        in_batch_ = true;
      }
      must(!outstanding_.empty(), "a used entry for nothing");
      head = outstanding_.front();
      len = head == batch_.id ? batch_.len : writable(chains_[head]);
      if (head == batch_.id) in_batch_ = false;
    } else {
      const VirtqUsedElem e = used_entry(taken_);
      must(e.id < size_ && chains_[e.id].busy, "a used entry for a chain that was not offered");
      head = static_cast<uint16_t>(e.id);
      len = e.len;
    }
    ++taken_;
    Chain& chain = chains_[head];
    chain.busy = false;
    out.head = head;
    out.len = len;
    out.token = chain.token;
    out.buffers.swap(chain.buffers);
    free_.insert(free_.end(), chain.slots.begin(), chain.slots.end());
    // Only IN_ORDER promises an order; this device keeps it always, and the mock holds it to that.
    must(outstanding_.front() == head, "chains came back out of order");
    outstanding_.pop_front();
    return true;
  }

  // Asks for an interrupt at the next used chain (§2.7.7.1). False if one waits already.
  bool enable_interrupts() {
    if (event_idx_)
      used_event().store(taken_);
    else
      avail_flags().store(0);
    return !pending();
  }
  void disable_interrupts() {
    if (event_idx_)
      used_event().store(static_cast<uint16_t>(taken_ - 1));  // as far away as can be
    else
      avail_flags().store(kAvailNoInterrupt);
  }

 private:
  struct Chain {
    std::vector<uint16_t> slots;
    std::vector<Buffer> buffers;
    uint64_t token = 0;
    bool busy = false;
  };
  static constexpr size_t up(size_t n) { return (n + 15) & ~size_t{15}; }
  static uint32_t writable(const Chain& chain) {
    uint32_t n = 0;
    for (const Buffer& b : chain.buffers) n += b.writes ? b.len : 0;
    return n;
  }
  uint16_t* half(uint64_t addr) const { return reinterpret_cast<uint16_t*>(at(addr)); }
  std::atomic_ref<uint16_t> word(uint64_t addr) const { return std::atomic_ref<uint16_t>(*half(addr)); }

  std::byte* memory_ = nullptr;
  uint64_t iova_ = 0;
  uint16_t size_ = 0;
  uint64_t desc_ = 0;
  uint64_t avail_ = 0;
  uint64_t used_ = 0;
  uint64_t tables_ = 0;
  bool event_idx_ = false;
  bool in_order_ = false;
  uint64_t seed_ = 0;
  std::vector<Chain> chains_;
  std::deque<uint16_t> free_;
  std::deque<uint16_t> outstanding_;
  uint16_t added_ = 0;
  uint16_t asked_ = 0;
  uint16_t taken_ = 0;
  VirtqUsedElem batch_ = {};
  bool in_batch_ = false;
};

// The buffer [addr, addr + sum of lengths) cut into pieces.
inline std::vector<Buffer> cut(uint64_t addr, std::span<const uint32_t> lengths, bool writes) {
  std::vector<Buffer> out;
  for (const uint32_t n : lengths) {
    out.push_back({addr, n, writes});
    addr += n;
  }
  return out;
}
inline std::vector<Buffer> cut(uint64_t addr, std::initializer_list<uint32_t> lengths, bool writes) {
  return cut(addr, std::span<const uint32_t>(lengths.begin(), lengths.size()), writes);
}
// `total` bytes in at most `most` random pieces.
inline std::vector<uint32_t> random_lengths(SplitMix& random, uint32_t total, uint32_t most) {
  std::vector<uint32_t> out;
  while (total > 0) {
    uint32_t n = total;
    if (out.size() + 1 < most && total > 1) n = 1 + static_cast<uint32_t>(random.below(total));
    if (n > 16 && random.chance(0.3)) n = 1 + static_cast<uint32_t>(random.below(16));  // cuts within headers
    if (out.size() + 1 == most) n = total;
    out.push_back(n);
    total -= n;
  }
  return out;
}

inline void gather(const Ring& ring, std::span<const Buffer> buffers, uint32_t n, Bytes& out) {
  for (const Buffer& b : buffers) {
    const uint32_t part = b.len < n ? b.len : n;
    const std::byte* from = ring.at(b.addr);
    out.insert(out.end(), from, from + part);
    n -= part;
  }
  must(n == 0, "a used length beyond its chain");
}

// A frame that a driver received, and what the header said.
struct Received {
  VirtioNetHdr header = {};
  Bytes frame;
  std::vector<uint64_t> tokens;  // of its buffers
};

inline constexpr uint64_t kBaseFeatures = feature(kFeatureVersion1);

class Driver {
 public:
  // A driver with a region of its own, which the NIC's queues see at `iova`.
  Driver(std::shared_ptr<Engine> engine, std::shared_ptr<Nic> nic, size_t bytes = size_t{16} << 20,
         uint64_t iova = 0)
      : engine_(std::move(engine)), nic_(std::move(nic)), iova_(iova), next_(iova) {
    std::string error;
    region_ = Region::create(bytes, error);
    must(region_ != nullptr, error.c_str());
    const Engine::Guard guard(*engine_);
    must(nic_->map(Nic::kEveryQueue, {iova, region_->size(), region_->data(), Access::kBoth, region_}),
         "map");
  }

  Nic& nic() { return *nic_; }
  const std::shared_ptr<Region>& region() const { return region_; }
  std::byte* at(uint64_t addr) const { return region_->data() + (addr - iova_); }
  uint64_t alloc(size_t bytes, size_t align = 16) {
    next_ = (next_ + align - 1) / align * align;
    const uint64_t at = next_;
    next_ += bytes;
    must(next_ - iova_ <= region_->size(), "the mock driver's region is full");
    return at;
  }

  // --- registers (§4.2.2) ----------------------------------------------------------------------------------
  uint32_t read(uint32_t offset) {
    const Engine::Guard guard(*engine_);
    return nic_->read(offset);
  }
  void write(uint32_t offset, uint32_t value) {
    const Engine::Guard guard(*engine_);
    nic_->write(offset, value);
  }
  uint8_t status() { return static_cast<uint8_t>(read(kRegStatus)); }
  void add_status(uint8_t bits) { write(kRegStatus, status() | bits); }
  uint64_t device_features() {
    write(kRegDeviceFeaturesSel, 0);
    const uint64_t low = read(kRegDeviceFeatures);
    write(kRegDeviceFeaturesSel, 1);
    return low | uint64_t{read(kRegDeviceFeatures)} << 32;
  }
  void select(uint16_t queue) { write(kRegQueueSel, queue); }

  // §3.1.1 steps 1 to 6. False if the device does not take the features.
  bool negotiate(uint64_t features) {
    features_ = features;
    write(kRegStatus, 0);
    add_status(kStatusAcknowledge);
    add_status(kStatusDriver);
    write(kRegDriverFeaturesSel, 0);
    write(kRegDriverFeatures, static_cast<uint32_t>(features));
    write(kRegDriverFeaturesSel, 1);
    write(kRegDriverFeatures, static_cast<uint32_t>(features >> 32));
    add_status(kStatusFeaturesOk);
    return (status() & kStatusFeaturesOk) != 0;
  }
  // Memory for a queue, the first time; then it is laid out anew and enabled.
  bool enable_queue(uint16_t index, uint16_t size, uint64_t seed = 0) {
    auto found = rings_.find(index);
    if (found == rings_.end() || found->second.size() != size) {
      const uint64_t at = alloc(Ring::bytes(size));
      found = rings_.insert_or_assign(index, Ring(region_->data(), iova_, at, size, features_, seed)).first;
    } else {
      found->second = Ring(region_->data(), iova_, found->second.desc_addr(), size, features_, seed);
    }
    const Ring& ring = found->second;
    select(index);
    write(kRegQueueSize, size);
    write64(kRegQueueDescLow, ring.desc_addr());
    write64(kRegQueueDriverLow, ring.avail_addr());
    write64(kRegQueueDeviceLow, ring.used_addr());
    write(kRegQueueReady, 1);
    return read(kRegQueueReady) == 1;
  }
  void write64(uint32_t low_register, uint64_t value) {
    write(low_register, static_cast<uint32_t>(value));
    write(low_register + 4, static_cast<uint32_t>(value >> 32));
  }
  void ready() { add_status(kStatusDriverOk); }
  uint16_t control_index() const {
    return (features_ & feature(kFeatureMq)) != 0 ? static_cast<uint16_t>(nic_->queues() - 1) : uint16_t{2};
  }
  // The whole of §3.1.1 for `pairs` queue pairs, and the control queue if it is negotiated.
  bool start(uint64_t features, uint16_t size, uint16_t pairs = 1, uint64_t seed = 0) {
    if (!negotiate(features)) return false;
    for (uint16_t i = 0; i < 2 * pairs; ++i)
      if (!enable_queue(i, size, seed == 0 ? 0 : seed + i)) return false;
    if ((features & feature(kFeatureCtrlVq)) != 0 && !enable_queue(control_index(), size)) return false;
    ready();
    return true;
  }
  // §2.6.1
  void reset_queue(uint16_t index) {
    select(index);
    write(kRegQueueReset, 1);
  }

  Ring& ring(uint16_t index) { return rings_.at(index); }
  bool has(uint32_t bit) const { return (features_ & feature(bit)) != 0; }

  // --- frames ----------------------------------------------------------------------------------------------
  void kick(uint16_t index) { nic_->kick(index); }
  // Publishes, and rings if the device asks.
  bool publish(uint16_t index) {
    const bool wanted = ring(index).publish();
    if (wanted) kick(index);
    return wanted;
  }
  void fill(uint64_t addr, const VirtioNetHdr& header, std::span<const std::byte> frame) {
    std::memcpy(at(addr), &header, sizeof header);
    std::memcpy(at(addr) + sizeof header, frame.data(), frame.size());
  }
  // Puts header and frame at `addr` and offers them in pieces of these lengths (the last takes what is left).
  int add_frame(uint16_t index, uint64_t addr, std::span<const std::byte> frame,
                const std::vector<uint32_t>& lengths = {}, Shape shape = Shape::kDirect,
                const VirtioNetHdr& header = {}, uint64_t token = 0) {
    fill(addr, header, frame);
    uint32_t left = static_cast<uint32_t>(sizeof header + frame.size());
    std::vector<uint32_t> pieces;
    for (const uint32_t n : lengths) {
      if (n >= left) break;
      pieces.push_back(n);
      left -= n;
    }
    pieces.push_back(left);
    return ring(index).add(cut(addr, pieces, false), token, shape);
  }
  // Offers a buffer for receiving, new memory, in pieces of these lengths.
  uint64_t post(uint16_t index, const std::vector<uint32_t>& lengths, Shape shape = Shape::kDirect) {
    size_t total = 0;
    for (const uint32_t n : lengths) total += n;
    const uint64_t addr = alloc(total);
    must(ring(index).add(cut(addr, lengths, true), addr, shape) >= 0, "no room for a receive buffer");
    return addr;
  }
  // Reaps one frame, over as many buffers as it has. False if there is none.
  bool receive(uint16_t index, Received& out) {
    Ring& r = ring(index);
    Used used;
    if (!r.reap(used)) return false;
    Bytes bytes;
    gather(r, used.buffers, used.len, bytes);
    must(bytes.size() >= sizeof(VirtioNetHdr), "a received chain without its header");
    std::memcpy(&out.header, bytes.data(), sizeof(VirtioNetHdr));
    bytes.erase(bytes.begin(), bytes.begin() + sizeof(VirtioNetHdr));
    out.tokens = {used.token};
    for (uint16_t i = 1; i < out.header.num_buffers; ++i) {
      must(r.reap(used), "num_buffers tells of a buffer that is not used yet");  // §5.1.6.4.1
      gather(r, used.buffers, used.len, bytes);
      out.tokens.push_back(used.token);
    }
    out.frame = std::move(bytes);
    return true;
  }

  // --- interrupts ------------------------------------------------------------------------------------------
  InterruptPage& page() { return *reinterpret_cast<InterruptPage*>(nic_->interrupt_page()->data()); }
  // Takes what is pending, as src/nic does: first `signalled`, then the bits.
  bool take_interrupt(uint32_t vector) {
    eventfd_t ignored = 0;
    eventfd_read(nic_->interrupt_fd(), &ignored);
    std::atomic_ref<uint32_t>(page().signalled).store(0);
    for (uint32_t i = 0; i < kVectors / 32; ++i)
      taken_[i] |= std::atomic_ref<uint32_t>(page().pending[i]).exchange(0);
    const uint32_t bit = uint32_t{1} << (vector % 32);
    const bool was = (taken_[vector / 32] & bit) != 0;
    taken_[vector / 32] &= ~bit;
    return was;
  }
  // Sleeps for the next. False if none comes in time.
  bool wait_interrupt(int timeout_ms) {
    pollfd p = {.fd = nic_->interrupt_fd(), .events = POLLIN, .revents = 0};
    return poll(&p, 1, timeout_ms) == 1;
  }

  // --- control queue
  // ------------------------------------------------------------------------------------------------- One
  // command, in stepped mode; the ack, or -1 if none came.
  int command(uint8_t command_class, uint8_t code, std::span<const std::byte> data) {
    if (control_ == 0) control_ = alloc(8192);
    const auto n = static_cast<uint32_t>(2 + data.size());
    must(n < 8000, "a command that does not fit");
    *at(control_) = std::byte{command_class};
    *at(control_ + 1) = std::byte{code};
    if (!data.empty()) std::memcpy(at(control_ + 2), data.data(), data.size());
    *at(control_ + n) = std::byte{0x55};
    const Buffer buffers[] = {{control_, n, false}, {control_ + n, 1, true}};
    Ring& r = ring(control_index());
    must(r.add(buffers) >= 0, "a full control queue");
    publish(control_index());
    engine_->step(engine_->now());
    Used used;
    if (!r.reap(used)) return -1;
    return used.len == 1 ? static_cast<int>(*at(control_ + n)) : -2;
  }
  int command(uint8_t command_class, uint8_t code, std::initializer_list<uint8_t> data) {
    Bytes bytes;
    for (const uint8_t b : data) bytes.push_back(std::byte{b});
    return command(command_class, code, bytes);
  }

 private:
  std::shared_ptr<Engine> engine_;
  std::shared_ptr<Nic> nic_;
  std::shared_ptr<Region> region_;
  uint64_t iova_;
  uint64_t next_;
  uint64_t features_ = 0;
  uint64_t control_ = 0;
  uint32_t taken_[kVectors / 32] = {};
  std::map<uint16_t, Ring> rings_;
};

// The other end of a wire: keeps what it gets, sends what it is told to.
class WireEnd final : public Endpoint {
 public:
  struct Got {
    Bytes bytes;
    TimeNs at;
    bool checksum_valid;
  };
  std::vector<Got> got;
  bool room = true;  // without it, it makes senders wait, or drops
  uint32_t flushes = 0;
  uint64_t busy = 0;

  Delivery deliver(const Frame& frame, TimeNs now, bool may_wait) override {
    if (!room) {
      ++busy;
      return may_wait ? Delivery::kBusy : Delivery::kDropped;
    }
    Bytes bytes(frame.length);
    frame.copy(0, bytes.data(), frame.length);
    got.push_back({std::move(bytes), now, frame.checksum_valid});
    return Delivery::kTaken;
  }
  void flush(TimeNs) override { ++flushes; }
  uint32_t poll(TimeNs, uint32_t) override { return 0; }

  Delivery send(std::span<const std::byte> bytes, TimeNs now, bool checksum_valid = false,
                bool then_flush = true) {
    const Slice slice = {const_cast<std::byte*>(bytes.data()), static_cast<uint32_t>(bytes.size())};
    return send_slices({&slice, 1}, now, checksum_valid, then_flush);
  }
  Delivery send_slices(std::span<const Slice> slices, TimeNs now, bool checksum_valid = false,
                       bool then_flush = true) {
    Frame frame = {.slices = slices.data(),
                   .count = static_cast<uint32_t>(slices.size()),
                   .length = 0,
                   .checksum_valid = checksum_valid};
    for (const Slice& s : slices) frame.length += s.length;
    const Delivery outcome = link_->send(side_, frame, now);
    if (then_flush) link_->flush(side_, now);
    return outcome;
  }
  void make_room() {
    room = true;
    wake_neighbours();
  }
};

// Bytes that tell where they belong, behind an Ethernet header to `to` (of an EtherType for experiments, RFC
// 9542).
inline Bytes make_frame(uint64_t id, uint32_t length, std::array<uint8_t, 6> to = {0x02, 0, 0, 0, 0, 1}) {
  Bytes frame(std::max<uint32_t>(length, 14));
  SplitMix random(id ^ 0x6672616d65);
  for (std::byte& b : frame) b = static_cast<std::byte>(random.next());
  std::memcpy(frame.data(), to.data(), 6);
  frame[6] = std::byte{0x02};
  frame[12] = std::byte{0x88};
  frame[13] = std::byte{0xb5};
  frame.resize(length);
  return frame;
}

inline std::shared_ptr<Engine> make_engine(bool stepped = true, TimeNs spin_ns = 50'000) {
  std::string error;
  auto engine = Engine::create({.stepped = stepped, .spin_ns = spin_ns}, error);
  must(engine != nullptr, error.c_str());
  return engine;
}
inline std::shared_ptr<Nic> make_nic(Engine& engine, const NicOptions& options = {}) {
  std::string error;
  auto nic = Nic::create(options, error);
  must(nic != nullptr, error.c_str());
  const Engine::Guard guard(engine);
  engine.add(nic);
  return nic;
}
inline std::shared_ptr<Link> make_link(Engine& engine, std::shared_ptr<Endpoint> a,
                                       std::shared_ptr<Endpoint> b, const WireOptions& wire = {},
                                       uint64_t seed = 1) {
  const Engine::Guard guard(engine);
  auto link = std::make_shared<Link>(std::move(a), std::move(b), wire, wire, seed);
  engine.add(link);
  return link;
}

// A NIC with its driver on one end of a wire, a WireEnd on the other, and time that stands still.
struct Bench {
  std::shared_ptr<Engine> engine = make_engine();
  std::shared_ptr<Nic> nic;
  std::shared_ptr<WireEnd> wire = std::make_shared<WireEnd>();
  std::shared_ptr<Link> link;
  Driver driver;

  explicit Bench(const NicOptions& options = {}, const WireOptions& wire_options = {},
                 size_t bytes = size_t{16} << 20, uint64_t iova = 0, uint64_t seed = 1)
      : nic(make_nic(*engine, options)), driver(engine, nic, bytes, iova) {
    const Engine::Guard guard(*engine);
    engine->add(wire);
    link = std::make_shared<Link>(nic, wire, wire_options, wire_options, seed);
    engine->add(link);
  }
  TimeNs step(TimeNs by = 0) { return engine->step(engine->now() + by); }
  QueueCounters rx(uint16_t pair = 0) const { return nic->counters(static_cast<uint16_t>(2 * pair)); }
  QueueCounters tx(uint16_t pair = 0) const { return nic->counters(static_cast<uint16_t>(2 * pair + 1)); }
};

}  // namespace ringcube::mock
