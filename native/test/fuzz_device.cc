// Two cards on a wire, and drivers that do anything: any bytes are a sequence of operations. Whatever they
// are, the device touches nothing outside its mappings, comes to an end, and accounts for every frame. Build
// with clang++ -fsanitize=fuzzer,address,undefined; seeds in corpus/device.
//
//   a driver's region   [ canary | window: what the card's queues may see, in part or whole | canary ]
//
// Under AddressSanitizer the canaries are poisoned too, so that even a stray read is found.
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "core/engine.h"
#include "core/link.h"
#include "core/nic.h"
#include "mock_driver.h"
#include "packets.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#define POISON(at, n) ASAN_POISON_MEMORY_REGION(at, n)
#define UNPOISON(at, n) ASAN_UNPOISON_MEMORY_REGION(at, n)
#endif
#endif
#ifndef POISON
#define POISON(at, n) static_cast<void>(0)
#define UNPOISON(at, n) static_cast<void>(0)
#endif

#define ASSERT(condition)                                                           \
  do {                                                                              \
    if (!(condition)) {                                                             \
      std::fprintf(stderr, "%s:%d: %s is false\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                 \
    }                                                                               \
  } while (false)

// The device's coverage is what guides the fuzzer; counting our own would only slow it.
#if defined(__clang__)
#pragma clang attribute push(__attribute__((no_sanitize("coverage"))), apply_to = function)
#endif

using namespace ringcube;

namespace {

constexpr size_t kCanary = 4096;
constexpr size_t kWindow = 16384;
constexpr std::byte kCanaryByte{0xc5};
constexpr uint64_t kIova = 0x1'0000'0000 - kWindow / 2;  // so that addresses cross 32 bits
constexpr int kMaxOperations = 64;

class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), left_(size) {}
  bool empty() const { return left_ == 0; }
  uint8_t u8() {
    if (left_ == 0) return 0;
    --left_;
    return *data_++;
  }
  uint16_t u16() {
    const uint8_t low = u8();
    return static_cast<uint16_t>(low | u8() << 8);
  }
  uint32_t u32() {
    const uint32_t low = u16();
    return low | static_cast<uint32_t>(u16()) << 16;
  }

 private:
  const uint8_t* data_;
  size_t left_;
};

// A queue as its driver believes it to be.
struct Queue {
  uint64_t desc = kIova;
  uint64_t avail = kIova;
  uint64_t used = kIova;
  uint16_t size = 8;
  uint16_t added = 0;
  uint16_t next_desc = 0;
};

struct Host {
  std::shared_ptr<Nic> nic;
  std::shared_ptr<Region> region;
  std::vector<Queue> queues;
  std::vector<Flow> rules;
  std::vector<std::pair<int, uint64_t>> mapped;
  bool may_need_reset = false;

  std::byte* window() const { return region->data() + kCanary; }
  void put(uint64_t addr, const void* bytes, size_t n) const {
    const uint64_t at = addr - kIova;
    if (at < kWindow && n <= kWindow - at) std::memcpy(window() + at, bytes, n);
  }
  template <typename T>
  void put(uint64_t addr, T value) const {
    put(addr, &value, sizeof value);
  }
};

struct World {
  std::shared_ptr<Engine> engine = mock::make_engine();
  std::array<Host, 2> hosts;
  std::shared_ptr<Link> link;

  World() {
    for (Host& h : hosts) {
      const bool first = &h == hosts.data();
      h.nic = mock::make_nic(*engine, {.queue_pairs = static_cast<uint16_t>(first ? 2 : 1),
                                       .queue_size_max = 64,
                                       .mtu = static_cast<uint16_t>(first ? 1500 : 1000)});
      std::string error;
      h.region = Region::create(kCanary + kWindow + kCanary, error);
      ASSERT(h.region != nullptr);
      std::memset(h.region->data(), static_cast<int>(kCanaryByte), h.region->size());
      POISON(h.region->data(), kCanary);
      POISON(h.region->data() + kCanary + kWindow, kCanary);
    }
  }
};

uint64_t any_address(Input& in) {
  const uint8_t kind = in.u8();
  switch (kind % 8) {
    case 0:
      return kIova + kWindow - in.u8();
    case 1:
      return kIova - in.u8() + 4;
    case 2:
      return static_cast<uint64_t>(in.u32()) << 32 | in.u32();
    case 3:
      return ~uint64_t{0} - in.u8();
    default:
      return kIova + in.u16() % kWindow;
  }
}

uint32_t any_length(Input& in) {
  const uint8_t kind = in.u8();
  switch (kind % 8) {
    case 0:
      return in.u32();
    case 1:
      return static_cast<uint32_t>(kWindow + 2 - in.u8() % 4);
    case 2:
      return 0xffffffffU - in.u8();
    case 3:
      return static_cast<uint32_t>(16 * (in.u8() % 80));
    case 4:
      return in.u16();
    default:
      return in.u8();
  }
}

VirtqDesc any_descriptor(Input& in, const Queue& q) {
  const uint64_t addr = any_address(in);
  const uint32_t len = any_length(in);
  const uint8_t flags = in.u8();
  const uint8_t next = in.u8();
  return {.addr = addr,
          .len = len,
          .flags = static_cast<uint16_t>(flags < 0xf0 ? flags & 7 : flags << 8),
          .next = static_cast<uint16_t>(next < 0xf0 ? next % q.size : next)};
}

// Where a driver would put things: rings first, then buffers, all in the window.
constexpr uint64_t kBuffers = kIova + 8192;

class Run {
 public:
  Run(World& world, Input& in) : w_(world), in_(in) {
    for (Host& h : w_.hosts) {
      std::memset(h.window(), 0, kWindow);
      h.queues.assign(h.nic->queues(), {});
      h.may_need_reset = false;
      map(h, Nic::kEveryQueue, 0, kWindow, Access::kBoth);
    }
    plug(in.u8());
  }

  ~Run() {
    finish();
    for (Host& h : w_.hosts) {
      h.nic->reset();
      for (const auto& [queue, at] : h.mapped) h.nic->unmap(queue, kIova + at);
      h.mapped.clear();
      for (const Flow& f : h.rules) h.nic->unsteer(f);
      h.rules.clear();
      eventfd_t ignored = 0;
      eventfd_read(h.nic->interrupt_fd(), &ignored);
    }
  }

  void operate() {
    const uint8_t op = in_.u8();
    Host& h = w_.hosts[op >> 7];
    const auto index = static_cast<uint16_t>((op >> 5 & 3) % h.nic->queues());
    switch (op & 31) {
      case 0:
        return start(h);
      case 1:
        return write_register(h);
      case 2:
        return set_up_queue(h, any_queue(h));
      case 3: {
        Queue& q = h.queues[index];
        return h.put(q.desc + uint64_t{16} * (in_.u8() % q.size), any_descriptor(in_, q));
      }
      case 4:
        return show(h, index, static_cast<int8_t>(in_.u8()));
      case 5:
        return post(h, static_cast<uint16_t>(index & ~1));
      case 6:
        return transmit(h, static_cast<uint16_t>(index | 1));
      case 7:
        return h.nic->kick(any_queue(h));
      case 8:
        w_.engine->step(w_.engine->now() + in_.u8());
        return;
      case 9:
        w_.engine->step(w_.engine->now() + TimeNs{in_.u16()} * 1000);
        return;
      case 10:
        return deliver(h);
      case 11:
        h.nic->write(kRegQueueSel, any_queue(h));
        return h.nic->write(kRegQueueReset, 1);
      case 12:
        if (in_.u8() < 64) h.nic->write(kRegStatus, 0);
        return;
      case 13:
        return control(h);
      case 14:
        return change_mapping(h);
      case 15:
        return steer(h);
      case 16:
        return indirect(h, index);
      case 17: {
        const auto at = kIova + (in_.u16() % kWindow & ~1U);
        return h.put(at, in_.u16());
      }
      case 18:
        h.nic->poll(w_.engine->now(), 1U + in_.u8() % 8);
        return;
      case 19:
        h.nic->arm();
        return;
      case 20:
        unplug();
        if (const uint8_t kind = in_.u8(); kind < 0xe0) plug(kind);
        return;
      case 21:
        h.may_need_reset = true;
        return h.nic->need_reset();
      case 22: {  // used_event and avail.flags
        Queue& q = h.queues[index];
        h.put(q.avail + kAvailFlags, static_cast<uint16_t>(in_.u8() & 1));
        return h.put(q.avail + kAvailRing + uint64_t{2} * q.size,
                     static_cast<uint16_t>(q.added + in_.u8() - 128));
      }
      case 23:  // a ring of one descriptor, over and over
        for (uint16_t i = 0; i < h.queues[index].size; ++i) offer(h, index, h.queues[index].next_desc);
        return show(h, index, 0);
      default:
        h.nic->read(in_.u8() * 4U);
        return check(h);
    }
  }

  void finish() {
    unplug();
    for (Host& h : w_.hosts) check(h);
    for (Host& h : w_.hosts) {
      UNPOISON(h.region->data(), h.region->size());
      static const std::vector<std::byte> kWhole(kCanary, kCanaryByte);
      const auto intact = [](const std::byte* p) { return std::memcmp(p, kWhole.data(), kCanary) == 0; };
      ASSERT(intact(h.region->data()) && intact(h.region->data() + kCanary + kWindow));
      POISON(h.region->data(), kCanary);
      POISON(h.region->data() + kCanary + kWindow, kCanary);
    }
  }

 private:
  uint16_t any_queue(const Host& h) { return static_cast<uint16_t>(in_.u8() % h.nic->queues()); }

  static void map(Host& h, int queue, uint64_t at, uint64_t length, Access access) {
    if (h.nic->map(queue, {kIova + at, length, h.window() + at, access, h.region}))
      h.mapped.emplace_back(queue, at);
  }

  void plug(uint8_t kind) {
    // Wires of every sort: the bits of `kind`.
    const auto on = [kind](int bit) { return (kind >> bit & 1) != 0; };
    const WireOptions wire = {.rate_bps = on(0) ? 1e9 : 0,
                              .burst_bytes = on(0) && on(1) ? 3000U : 0U,
                              .delay_ns = on(1) ? 500 : 0,
                              .jitter_ns = on(2) ? 300 : 0,
                              .loss = on(3) ? 0.2 : 0,
                              .duplicate = on(4) ? 0.2 : 0,
                              .corrupt = on(5) ? 0.2 : 0,
                              .reorder = on(3) && on(4) ? 0.2 : 0,
                              .reorder_ns = 700,
                              .queue_frames = 6,
                              .pause = on(6)};
    w_.link = mock::make_link(*w_.engine, w_.hosts[0].nic, w_.hosts[1].nic, wire, kind);
  }
  void unplug() {
    if (w_.link == nullptr) return;
    w_.link->unplug();
    for (const int side : {0, 1}) {
      const WireCounters& c = w_.link->counters(side);
      ASSERT(c.offered + c.duplicated == c.delivered + c.lost + c.queue_full + c.refused);
    }
    w_.engine->remove(*w_.link);
    w_.link.reset();
  }

  // A driver's handshake, as far as the input says, with queues where it says.
  void start(Host& h) {
    static constexpr uint32_t kBits[] = {kFeatureMrgRxbuf,  kFeatureIndirectDesc, kFeatureEventIdx,
                                         kFeatureInOrder,   kFeatureCsum,         kFeatureGuestCsum,
                                         kFeatureRingReset, kFeatureCtrlVq};
    const uint8_t some = in_.u8();
    const uint8_t how = in_.u8();
    uint64_t features = feature(kFeatureVersion1);
    for (int i = 0; i < 8; ++i)
      if ((some >> i & 1) != 0) features |= feature(kBits[i]);
    if ((features & feature(kFeatureCtrlVq)) != 0 && (how & 1) != 0)
      features |= feature(kFeatureCtrlRx) | feature(kFeatureCtrlRxExtra) | feature(kFeatureMq) |
                  feature(kFeatureCtrlMacAddr) | feature(kFeatureNotfCoal) |
                  feature(kFeatureCtrlGuestOffloads);
    if ((how & 2) != 0) features |= feature(kFeatureMtu);
    h.nic->write(kRegStatus, 0);
    h.nic->write(kRegStatus, kStatusAcknowledge | kStatusDriver);
    for (const uint32_t half : {0U, 1U}) {
      h.nic->write(kRegDriverFeaturesSel, half);
      h.nic->write(kRegDriverFeatures, static_cast<uint32_t>(features >> (32 * half)));
    }
    h.nic->write(kRegStatus, kStatusFeaturesOk);
    ASSERT((h.nic->read(kRegStatus) & kStatusFeaturesOk) != 0);
    for (uint16_t i = 0; i < h.nic->queues(); ++i)
      lay_out(h, i, static_cast<uint16_t>(2U << (how >> 2 & 3)), 0);
    if (how < 0xf0) h.nic->write(kRegStatus, kStatusDriverOk);
    h.may_need_reset = false;
  }

  void lay_out(Host& h, uint16_t index, uint16_t size, uint64_t off) {
    Queue& q = h.queues[index];
    const uint64_t base = kIova + off + uint64_t{1536} * index;
    q = {.desc = base, .avail = base + 1024, .used = base + 1024 + 136, .size = size};
    const uint64_t avail = q.avail & ~uint64_t{1};
    h.put(avail, uint32_t{0});
    h.put(q.used & ~uint64_t{3}, uint32_t{0});
    ready(h, index);
  }

  void ready(Host& h, uint16_t index) {
    const Queue& q = h.queues[index];
    const auto write64 = [&](uint32_t low, uint64_t value) {
      h.nic->write(low, static_cast<uint32_t>(value));
      h.nic->write(low + 4, static_cast<uint32_t>(value >> 32));
    };
    h.nic->write(kRegQueueSel, index);
    h.nic->write(kRegQueueSize, q.size);
    write64(kRegQueueDescLow, q.desc);
    write64(kRegQueueDriverLow, q.avail);
    write64(kRegQueueDeviceLow, q.used);
    h.nic->write(kRegQueueReady, 1);
  }

  // A queue anywhere: half of the time nearly right.
  void set_up_queue(Host& h, uint16_t index) {
    const uint8_t how = in_.u8();
    h.nic->write(kRegQueueSel, index);
    h.nic->write((how & 1) != 0 ? kRegQueueReset : kRegQueueReady, how & 1);
    if (how < 128)
      return lay_out(h, index, static_cast<uint16_t>(2U << (how >> 1 & 7)), uint64_t{16} * (how >> 4));
    const auto size = static_cast<uint16_t>(how < 240 ? 1U << (how >> 1 & 7) : in_.u16());
    h.queues[index] = {
        .desc = any_address(in_), .avail = any_address(in_), .used = any_address(in_), .size = size};
    if (h.queues[index].size == 0) h.queues[index].size = 1;
    ready(h, index);
  }

  void write_register(Host& h) {
    const uint8_t reg = in_.u8();
    uint32_t value = in_.u8();
    if (value >= 0xf0) value = in_.u32();
    const auto at = static_cast<uint32_t>(reg < 0x48 ? reg * 4 : reg * 0x01010101U);
    h.nic->write(at, value);
    h.nic->read(at);
  }

  void offer(Host& h, uint16_t index, uint16_t head) {
    Queue& q = h.queues[index];
    h.put(q.avail + kAvailRing + uint64_t{2} * (q.added % q.size), head);
    ++q.added;
  }
  void show(Host& h, uint16_t index, int by) {
    Queue& q = h.queues[index];
    h.put(q.avail + kAvailIdx, static_cast<uint16_t>(q.added + (by > -8 && by < 8 ? 0 : by)));
  }
  uint16_t add(Host& h, uint16_t index, const VirtqDesc& d) {
    Queue& q = h.queues[index];
    const uint16_t at = q.next_desc;
    h.put(q.desc + uint64_t{16} * at, d);
    q.next_desc = static_cast<uint16_t>((at + 1) % q.size);
    return at;
  }
  uint64_t buffer() {
    buffer_ = (buffer_ + 1664) % 8000;
    return kBuffers + buffer_ % 6000;
  }

  // A place for a buffer: free memory, or at an edge of the window and now and then just over it.
  uint64_t place(uint32_t len, bool edge) {
    if (!edge) return buffer();
    const uint8_t how = in_.u8();
    const uint64_t off = how >> 2 & 1;
    return (how & 3) == 0 ? kIova - off : kIova + kWindow - len + off;
  }

  // `n` right receive buffers.
  void post(Host& h, uint16_t index) {
    const uint8_t how = in_.u8();
    for (int n = 1 + (how & 3); n > 0; --n) {
      const uint32_t len = (how & 4) != 0 ? 1600U : 1U + in_.u8();
      const uint16_t head = add(h, index, {place(len, (how & 16) != 0), len, kDescWrite, 0});
      if ((how & 8) != 0) {  // in two pieces
        const uint16_t second = add(h, index, {place(len, (how & 32) != 0), len, kDescWrite, 0});
        h.put(h.queues[index].desc + uint64_t{16} * head,
              VirtqDesc{buffer(), 1U + how / 16, kDescWrite | kDescNext, second});
      }
      offer(h, index, head);
    }
    show(h, index, 0);
    if ((how & 0x80) != 0) h.nic->kick(index);
  }

  const mock::Bytes& packet(uint8_t kind) {
    static const auto* const kPackets = [] {
      auto* out = new std::vector<mock::Bytes>();
      for (uint8_t k = 0; k < 16; ++k) {
        mock::Packet p;
        p.family = (k & 1) != 0 ? 6 : 4;
        p.protocol = (k & 2) != 0 ? 6 : 17;
        p.l4 = (k & 4) != 0 ? mock::L4::kPartial : mock::L4::kWhole;
        p.payload = (k & 8) != 0 ? 700 : 3;
        out->push_back(p.build());
      }
      out->push_back(mock::make_frame(1, 14));
      out->push_back(mock::make_frame(1, 60, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}));
      out->push_back(mock::make_frame(1, 60, {1, 2, 3, 4, 5, 6}));
      out->push_back(mock::make_frame(1, 1518));
      return out;
    }();
    return (*kPackets)[kind % kPackets->size()];
  }

  void transmit(Host& h, uint16_t index) {
    if (index >= h.nic->queues()) return;
    const uint8_t how = in_.u8();
    const mock::Bytes& frame = packet(in_.u8());
    VirtioNetHdr header = {};
    if ((how & 1) != 0) {
      header.flags = kHdrNeedsCsum;
      header.csum_start = static_cast<uint16_t>((how & 2) != 0 ? in_.u8() : 34);
      header.csum_offset = static_cast<uint16_t>((how & 2) != 0 ? in_.u8() : 6);
    }
    if ((how & 4) != 0) header.gso_type = in_.u8() & 3;
    const auto total = static_cast<uint32_t>(sizeof header + frame.size());
    const uint64_t at = place(total, (how & 16) != 0);
    h.put(at, header);
    h.put(at + sizeof header, frame.data(), frame.size());
    const uint32_t cut = (how & 8) != 0 ? 1U + in_.u8() % (total - 1) : total;
    const uint16_t head = add(h, index, {at, cut, 0, 0});
    if (cut < total) {
      const uint16_t second = add(h, index, {at + cut, total - cut, 0, 0});
      h.put(h.queues[index].desc + uint64_t{16} * head, VirtqDesc{at, cut, kDescNext, second});
    }
    offer(h, index, head);
    show(h, index, 0);
    if ((how & 0x80) != 0) h.nic->kick(index);
  }

  void indirect(Host& h, uint16_t index) {
    Queue& q = h.queues[index];
    const uint8_t how = in_.u8();
    const uint64_t table = how < 16 ? q.desc : kBuffers + 7000 + how % 16;
    const uint32_t entries = 1 + (how & 7);
    for (uint32_t i = 0; i < entries; ++i) {
      VirtqDesc d = any_descriptor(in_, q);
      if ((how & 8) != 0) d = {kBuffers + uint64_t{32} * i, 16, d.flags, static_cast<uint16_t>(i + 1)};
      h.put(table + uint64_t{16} * i, d);
    }
    const uint32_t len = how >= 0xf0 ? any_length(in_) : 16 * entries;
    offer(h, index, add(h, index, {table, len, kDescIndirect, 0}));
    show(h, index, 0);
  }

  void deliver(Host& h) {
    const uint8_t how = in_.u8();
    const mock::Bytes& frame = packet(in_.u8());
    uint32_t length = static_cast<uint32_t>(frame.size());
    if ((how & 1) != 0) length = std::min<uint32_t>(1U + in_.u8(), length);
    // At the very end of an allocation, so that a read over its end is found.
    const auto copy = std::make_unique<std::byte[]>(length);
    std::memcpy(copy.get(), frame.data(), length);
    const uint32_t a = (how & 2) != 0 ? 1 + in_.u8() % length : length;
    const uint32_t b = a < length ? 1 + in_.u8() % (length - a) : 0;
    const Slice slices[] = {{copy.get(), a}, {copy.get() + a, b}, {copy.get() + a + b, length - a - b}};
    const uint32_t count = a == length ? 1 : a + b == length ? 2 : 3;
    const Frame whole = {
        .slices = slices, .count = count, .length = length, .checksum_valid = (how & 4) != 0};
    h.nic->deliver(whole, w_.engine->now(), (how & 8) != 0);
    if ((how & 16) == 0) h.nic->flush(w_.engine->now());
  }

  void control(Host& h) {
    const uint16_t index = (in_.u8() & 1) != 0 ? 2 : static_cast<uint16_t>(h.nic->queues() - 1);
    static constexpr uint8_t kBytes[] = {1, 6, 2, 0, 2, 8, 8, 0};  // what each class takes
    const uint8_t command_class = in_.u8() % 8;
    const uint8_t command = in_.u8() % 8;
    const uint8_t how = in_.u8();
    const uint8_t bytes = how < 0xc0 ? kBytes[command_class] : how % 40;
    const uint64_t at = kBuffers + 6000;
    h.put(at, command_class);
    h.put(at + 1, command);
    for (uint64_t i = 0; i < bytes; ++i) h.put(at + 2 + i, how < 0x80 && i > 0 ? uint8_t{0} : in_.u8());
    const uint16_t head = add(h, index, {at, 2U + bytes, 0, 0});
    const uint16_t ack = add(h, index, {at + 64, 1, kDescWrite, 0});
    h.put(h.queues[index].desc + uint64_t{16} * head, VirtqDesc{at, 2U + bytes, kDescNext, ack});
    offer(h, index, head);
    show(h, index, 0);
    h.nic->kick(index);
  }

  void change_mapping(Host& h) {
    const uint8_t how = in_.u8();
    const int queue = how < 32 ? Nic::kEveryQueue : any_queue(h);
    const uint64_t at = uint64_t{256} * (in_.u8() % 65);
    if ((how & 1) != 0) {
      h.nic->unmap(queue, kIova + at);
      return;
    }
    const uint64_t length = std::min<uint64_t>(uint64_t{256} * (1 + in_.u8() % 64), kWindow - at);
    map(h, queue, at, length, static_cast<Access>(1 + (how >> 1) % 3));
  }

  void steer(Host& h) {
    const uint8_t how = in_.u8();
    mock::Packet p;
    p.family = (how & 1) != 0 ? 6 : 4;
    p.protocol = (how & 2) != 0 ? 6 : 17;
    p.source_port = static_cast<uint16_t>(1000 + (how >> 6));
    const Flow rule = (how & 4) != 0 ? p.any_source() : p.flow();
    if ((how & 8) != 0) {
      h.nic->unsteer(rule);
    } else if (h.nic->steer(rule, static_cast<uint16_t>(how >> 4 & 3))) {
      h.rules.push_back(rule);
    }
  }

  void check(Host& h) {
    const uint8_t status = static_cast<uint8_t>(h.nic->read(kRegStatus));
    if ((status & kStatusNeedsReset) != 0 && !h.may_need_reset) {  // only a broken control queue earns it
      uint64_t broken = 0;
      for (uint16_t i = 2; i < h.nic->queues(); i = static_cast<uint16_t>(i + 2))
        broken += h.nic->counters(i).faults;
      ASSERT(broken > 0);
    }
    for (uint16_t i = 0; i < h.nic->queues(); ++i) {
      h.nic->write(kRegQueueSel, i);
      const bool ready = h.nic->read(kRegQueueReady) == 1;
      ASSERT(!ready || h.nic->fault(i) == Fault::kNone);
      ASSERT(!ready || (status & kStatusFeaturesOk) != 0);
    }
  }

  World& w_;
  Input& in_;
  uint64_t buffer_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static auto* const world = new World();  // for all runs: a card costs system calls
  Input in(data, size);
  Run run(*world, in);
  for (int i = 0; i < kMaxOperations && !in.empty(); ++i) run.operate();
  return 0;
}

#if defined(__clang__)
#pragma clang attribute pop
#endif
