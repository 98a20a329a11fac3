#include "core/virtqueue.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "mock_driver.h"

using namespace ringcube;
using mock::Buffer;
using mock::Ring;
using mock::Shape;

namespace {

constexpr uint64_t kIova = 0x10'0000;  // so that an address is not an offset by chance
constexpr size_t kBytes = size_t{1} << 20;

// A queue and its driver's side over a region of their own.
struct Queue {
  std::shared_ptr<Region> region;
  DmaDomain domain;
  Ring ring;
  Virtqueue device;
  uint64_t features;
  uint64_t data = kIova + kBytes / 2;  // buffers lie in the upper half

  explicit Queue(uint16_t size = 8, uint64_t f = feature(kFeatureIndirectDesc), uint64_t seed = 1)
      : features(f | mock::kBaseFeatures) {
    std::string error;
    region = Region::create(kBytes, error);
    mock::must(region != nullptr, error.c_str());
    mock::must(domain.map({kIova, kBytes, region->data(), Access::kBoth, region}), "map");
    ring = Ring(region->data(), kIova, kIova, size, features, seed);
    mock::must(enable(), "enable");
  }
  bool enable() {
    return device.enable(domain, ring.size(), ring.desc_addr(), ring.avail_addr(), ring.used_addr(),
                         features);
  }
  // A chain of `readable` then `writable` buffers, each of other lengths.
  std::vector<Buffer> buffers(uint32_t readable, uint32_t writable) const {
    std::vector<Buffer> out;
    uint64_t at = data;
    for (uint32_t i = 0; i < readable + writable; ++i) {
      out.push_back({at, 1 + 7 * i, i >= readable});
      at += 64;
    }
    return out;
  }
  // Offers one chain whose head descriptor the test then spoils.
  uint16_t offer(uint32_t readable = 1, uint32_t writable = 0, Shape shape = Shape::kDirect) {
    const int head = ring.add(buffers(readable, writable), 0, shape);
    mock::must(head >= 0, "no room");
    return static_cast<uint16_t>(head);
  }
  // What the device says of what was offered.
  Fault pop_fault() {
    ring.publish();
    Chain chain;
    if (device.pop(chain) || device.live()) return Fault::kNone;
    return device.fault();
  }
};

// The §2.7.7.2 rule, index by index: is `event` among those that the index left behind?
bool passed(uint16_t event, uint16_t before, uint16_t now) {
  for (uint16_t i = before; i != now; ++i)
    if (i == event) return true;
  return false;
}

}  // namespace

// --- enabling, §2.7 ----------------------------------------------------------------------------------------

TEST(enable_wants_each_ring_aligned_s2_7) {
  Queue q;
  const auto faults = [&](uint64_t desc, uint64_t avail, uint64_t used) {
    const bool ok = q.device.enable(q.domain, 8, kIova + desc, kIova + avail, kIova + used, q.features);
    CHECK_EQ(ok, q.device.live());
    return ok ? Fault::kNone : q.device.fault();
  };
  CHECK_EQ(faults(0, 256, 512), Fault::kNone);
  for (const uint64_t off : {1, 2, 4, 8}) CHECK_EQ(faults(off, 256, 512), Fault::kRingAddress);
  CHECK_EQ(faults(0, 257, 512), Fault::kRingAddress);
  CHECK_EQ(faults(0, 258, 512), Fault::kNone);
  for (const uint64_t off : {1, 2}) CHECK_EQ(faults(0, 256, 512 + off), Fault::kRingAddress);
  CHECK_EQ(faults(16, 258, 516), Fault::kNone);
}

TEST(enable_wants_each_ring_whole_within_the_domain) {
  Queue q;
  const uint64_t end = kIova + kBytes;
  const auto enable = [&](uint64_t desc, uint64_t avail, uint64_t used) {
    return q.device.enable(q.domain, 8, desc, avail, used, q.features);
  };
  // Each as late as it fits, then one step of its alignment later.
  CHECK(enable(end - 128, kIova, kIova + 512));
  CHECK(!enable(end - 112, kIova, kIova + 512));
  CHECK(enable(kIova, end - 22, kIova + 512));
  CHECK(!enable(kIova, end - 20, kIova + 512));
  CHECK(enable(kIova, kIova + 512, end - 72));
  CHECK(!enable(kIova, kIova + 512, end - 68));
  CHECK(!enable(kIova - 16, kIova + 512, kIova + 1024));
  CHECK(!enable(0, 0, 0));
  CHECK(!enable(~uint64_t{15}, kIova, kIova + 512));
  CHECK_EQ(q.device.fault(), Fault::kRingAddress);
  CHECK(!q.device.live());
}

TEST(enable_wants_a_used_ring_that_the_device_may_write) {
  Queue q;
  DmaDomain domain;
  REQUIRE(domain.map({0, 4096, q.region->data(), Access::kRead, q.region}));
  REQUIRE(domain.map({8192, 4096, q.region->data() + 4096, Access::kBoth, q.region}));
  REQUIRE(domain.map({16384, 4096, q.region->data() + 8192, Access::kWrite, q.region}));
  CHECK(q.device.enable(domain, 8, 0, 256, 8192, q.features));
  CHECK(!q.device.enable(domain, 8, 0, 256, 512, q.features));
  CHECK(!q.device.enable(domain, 8, 16384, 256, 8192, q.features));  // nor may it be write-only
  CHECK(!q.device.enable(domain, 8, 0, 16384, 8192, q.features));
}

TEST(enable_again_starts_from_the_beginning_s2_6_1) {
  Queue q;
  for (int i = 0; i < 5; ++i) q.offer();
  q.ring.publish();
  Chain chain;
  for (int i = 0; i < 3; ++i) {
    REQUIRE(q.device.pop(chain));
    q.device.push(chain.head, 0);
  }
  q.device.publish();
  q.device.disable();
  CHECK(!q.device.live());
  q.ring.clear();
  REQUIRE(q.enable());
  CHECK(!q.device.pop(chain));
  const uint16_t head = q.offer();
  q.ring.publish();
  REQUIRE(q.device.pop(chain));
  CHECK_EQ(chain.head, head);
  q.device.push(chain.head, 0);
  q.device.publish();
  CHECK_EQ(q.ring.used_idx().load(), 1);
}

// --- chains ------------------------------------------------------------------------------------------------

// §2.7.4.1: no layout is to be assumed. §2.7.5.3.2: direct descriptors, then at most one indirect table.
TEST(chains_of_every_shape_are_walked_s2_7_5_3_2) {
  for (const Shape shape : {Shape::kDirect, Shape::kIndirect, Shape::kTail})
    for (uint32_t n = 1; n <= 8; ++n)
      for (uint32_t readable = 0; readable <= n; ++readable) {
        Queue q(8, feature(kFeatureIndirectDesc), n);
        const std::vector<Buffer> want = q.buffers(readable, n - readable);
        const uint16_t head = q.offer(readable, n - readable, shape);
        q.ring.publish();
        Chain chain;
        REQUIRE(q.device.pop(chain));
        CHECK_EQ(chain.head, head);
        CHECK_EQ(chain.readable, readable);
        CHECK_EQ(chain.writable, n - readable);
        uint32_t bytes[2] = {};
        for (uint32_t i = 0; i < n; ++i) {
          CHECK(chain.slices[i].data == q.ring.at(want[i].addr));
          CHECK_EQ(chain.slices[i].length, want[i].len);
          bytes[want[i].writes ? 1 : 0] += want[i].len;
        }
        CHECK_EQ(chain.readable_bytes, bytes[0]);
        CHECK_EQ(chain.writable_bytes, bytes[1]);
        CHECK(!q.device.pop(chain));
        CHECK(q.device.live());
      }
}

TEST(a_chain_may_be_as_long_as_the_queue_and_no_longer_s2_7_5_3_1) {
  for (const Shape shape : {Shape::kDirect, Shape::kIndirect, Shape::kTail}) {
    Queue q(16);
    q.offer(10, 6, shape);
    CHECK_EQ(q.pop_fault(), Fault::kNone);
    if (shape == Shape::kDirect) continue;
    Queue r(16);
    r.offer(11, 6, shape);
    CHECK_EQ(r.pop_fault(), shape == Shape::kIndirect ? Fault::kIndirect : Fault::kChainTooLong);
  }
}

// §2.7.5.3.2: the write-only flag of a descriptor that refers to a table is to be ignored.
TEST(the_write_flag_of_an_indirect_descriptor_is_ignored_s2_7_5_3_2) {
  Queue q;
  const uint16_t head = q.offer(2, 0, Shape::kIndirect);
  q.ring.desc(head).flags |= kDescWrite;
  q.ring.publish();
  Chain chain;
  REQUIRE(q.device.pop(chain));
  CHECK_EQ(chain.readable, 2);
  CHECK_EQ(chain.writable, 0);
}

TEST(an_indirect_table_may_be_in_any_order) {
  Queue q;
  const uint16_t head = q.offer(4, 0, Shape::kIndirect);
  const std::vector<Buffer> b = q.buffers(4, 0);
  const uint16_t order[] = {0, 3, 1, 2};
  for (uint16_t i = 0; i < 4; ++i)
    q.ring.table(head, order[i]) = {b[i].addr, b[i].len, static_cast<uint16_t>(i < 3 ? kDescNext : 0),
                                    i < 3 ? order[i + 1] : uint16_t{0}};
  q.ring.publish();
  Chain chain;
  REQUIRE(q.device.pop(chain));
  for (uint16_t i = 0; i < 4; ++i) CHECK(chain.slices[i].data == q.ring.at(b[i].addr));
}

// §2.7.5.3 asks for no alignment of a table.
TEST(an_indirect_table_may_lie_anywhere_s2_7_5_3) {
  for (uint64_t off = 0; off < 16; ++off) {
    Queue q;
    const uint16_t head = q.offer(3, 0, Shape::kIndirect);
    const uint64_t to = q.data + 32768 + off;
    std::memcpy(q.ring.at(to), &q.ring.table(head, 0), 48);
    q.ring.desc(head).addr = to;
    q.ring.publish();
    Chain chain;
    REQUIRE(q.device.pop(chain));
    CHECK_EQ(chain.readable, 3);
    CHECK_EQ(chain.readable_bytes, 1 + 8 + 15);
  }
}

// §2.7.5.1: "A device MUST NOT write to any descriptor table entry", nor to the driver's area.
TEST(the_device_writes_only_the_used_ring_and_writable_buffers_s2_7_5_1) {
  Queue q(8, feature(kFeatureIndirectDesc) | feature(kFeatureEventIdx));
  const size_t ours = q.ring.used_addr() - q.ring.desc_addr();
  SplitMix random(7);
  for (int round = 0; round < 2000; ++round) {
    while (q.ring.room() > 3 && random.chance(0.8))
      q.ring.add(q.buffers(1, 2), 0, random.chance(0.5) ? Shape::kTail : Shape::kDirect);
    q.ring.publish();
    std::vector<std::byte> before(ours);
    std::memcpy(before.data(), q.ring.at(q.ring.desc_addr()), ours);
    Chain chain;
    while (random.chance(0.8) && q.device.pop(chain)) q.device.push(chain.head, 0);
    q.device.publish();
    if (random.chance(0.5)) q.device.enable_notifications();
    if (random.chance(0.5)) q.device.disable_notifications();
    REQUIRE(q.device.live());
    REQUIRE(std::memcmp(before.data(), q.ring.at(q.ring.desc_addr()), ours) == 0);
    mock::Used used;
    while (q.ring.reap(used)) {
    }
  }
}

// --- faults ------------------------------------------------------------------------------------------------

TEST(avail_idx_may_be_a_queue_ahead_and_no_more_s2_7_6_1) {
  for (const uint16_t start : {0, 5, 65530}) {
    for (const int ahead : {0, 1, 8, 9, 100, 32768, 65535}) {
      Queue q(8);
      Chain chain;
      for (uint16_t i = 0; i != start; ++i) {
        q.ring.avail_entry(i) = 0;
        q.ring.desc(0) = {q.data, 4, 0, 0};
        q.ring.avail_idx().store(static_cast<uint16_t>(i + 1));
        REQUIRE(q.device.pop(chain));
        q.device.push(chain.head, 0);
        q.device.publish();
      }
      for (uint16_t i = 0; i < 8; ++i) q.ring.avail_entry(i) = 0;
      q.ring.desc(0) = {q.data, 4, 0, 0};
      q.ring.avail_idx().store(static_cast<uint16_t>(start + ahead));
      const bool fits = ahead <= 8;
      CHECK_EQ(q.device.pop(chain), fits && ahead > 0);
      CHECK_EQ(q.device.live(), fits);
      if (!fits) CHECK_EQ(q.device.fault(), Fault::kAvailIndex);
    }
  }
}

TEST(heads_and_nexts_out_of_range_stop_the_queue) {
  for (const uint16_t bad : {8, 9, 255, 65535}) {
    Queue q(8);
    q.offer();
    q.ring.avail_entry(0) = bad;
    CHECK_EQ(q.pop_fault(), Fault::kHeadRange);
    Queue r(8);
    r.ring.desc(r.offer(2)).next = bad;
    CHECK_EQ(r.pop_fault(), Fault::kNextRange);
    Queue s(8);  // a table's own size counts, not the queue's
    s.ring.table(s.offer(2, 0, Shape::kIndirect), 0).next = bad;
    CHECK_EQ(s.pop_fault(), Fault::kNextRange);
  }
  Queue s(8);
  s.ring.table(s.offer(2, 0, Shape::kIndirect), 0).next = 2;
  CHECK_EQ(s.pop_fault(), Fault::kNextRange);
}

TEST(loops_end_s2_7_5_3_1) {
  Queue self(8);
  const uint16_t head = self.offer(2);
  self.ring.desc(head).next = head;
  CHECK_EQ(self.pop_fault(), Fault::kChainTooLong);

  Queue far(8);
  const uint16_t first = far.offer(3);
  const uint16_t second = far.ring.desc(first).next;
  VirtqDesc& last = far.ring.desc(far.ring.desc(second).next);
  last.flags |= kDescNext;
  last.next = second;
  CHECK_EQ(far.pop_fault(), Fault::kChainTooLong);

  Queue table(8);
  const uint16_t t = table.offer(3, 0, Shape::kIndirect);
  table.ring.table(t, 2).flags |= kDescNext;
  table.ring.table(t, 2).next = 1;
  CHECK_EQ(table.pop_fault(), Fault::kChainTooLong);
}

// A table inside a table is one level too deep wherever the inner one lies, the queue's own table included:
// that one leads back to the descriptor that named it.
TEST(nested_indirect_tables_stop_the_queue_s2_7_5_3_1) {
  Queue q(8);
  const uint16_t head = q.offer(2, 0, Shape::kIndirect);
  q.ring.table(head, 0) = {q.ring.table_addr(head), 32, kDescIndirect, 0};
  CHECK_EQ(q.pop_fault(), Fault::kIndirect);

  Queue self(8, feature(kFeatureIndirectDesc), 0);
  REQUIRE(self.offer() == 0);
  self.ring.desc(0) = {self.ring.desc_addr(), 128, kDescIndirect, 0};
  CHECK_EQ(self.pop_fault(), Fault::kIndirect);

  Queue own(8, feature(kFeatureIndirectDesc), 0);  // the queue's table used as a table is odd, but flat
  REQUIRE(own.offer() == 0);
  own.ring.desc(1) = own.ring.desc(0);
  own.ring.desc(2) = {own.ring.desc_addr() + 16, 16, kDescIndirect, 0};
  own.ring.avail_entry(0) = 2;
  CHECK_EQ(own.pop_fault(), Fault::kNone);
}

TEST(indirect_tables_of_a_wrong_form_stop_the_queue_s2_7_5_3_1) {
  Queue off(8, 0);
  off.offer(2, 0, Shape::kIndirect);
  CHECK_EQ(off.pop_fault(), Fault::kIndirect);  // not negotiated
  for (const uint32_t len : {0U, 1U, 15U, 17U, 31U, 144U, 160U, 0xffffffffU, 0xfffffff0U}) {
    Queue q(8);
    q.ring.desc(q.offer(2, 0, Shape::kIndirect)).len = len;
    CHECK_EQ(q.pop_fault(), Fault::kIndirect);
  }
  Queue next(8);
  const uint16_t head = next.offer(2, 0, Shape::kIndirect);
  next.ring.desc(head).flags |= kDescNext;
  CHECK_EQ(next.pop_fault(), Fault::kIndirect);
  for (const uint64_t at :
       {kIova - 16, kIova + kBytes - 16, kIova + kBytes, uint64_t{0}, ~uint64_t{0} - 15}) {
    Queue q(8);
    q.ring.desc(q.offer(2, 0, Shape::kIndirect)).addr = at;
    CHECK_EQ(q.pop_fault(), Fault::kOutsideDomain);
  }
}

TEST(buffers_at_every_edge_of_the_domain_work_and_over_it_stop_the_queue) {
  const uint64_t end = kIova + kBytes;
  struct Case {
    uint64_t addr;
    uint32_t len;
    bool inside;
  };
  const Case cases[] = {{kIova, 1, true},
                        {kIova, kBytes, true},
                        {end - 1, 1, true},
                        {end - 64, 64, true},
                        {kIova, kBytes + 1, false},
                        {kIova - 1, 1, false},
                        {kIova - 1, 2, false},
                        {kIova - 64, 64, false},
                        {end - 1, 2, false},
                        {end, 1, false},
                        {end - 64, 65, false},
                        {0, 1, false},
                        {0, 0xffffffff, false},
                        {kIova, 0xffffffff, false},
                        {~uint64_t{0}, 1, false},
                        {~uint64_t{0}, 0xffffffff, false},
                        {~uint64_t{0} - 0xffff, 0x20000, false}};
  for (const Case& c : cases)
    for (const uint16_t flags : {uint16_t{0}, kDescWrite})
      for (const bool indirect : {false, true}) {
        Queue q(8);
        const uint16_t head = q.offer(1, 0, indirect ? Shape::kIndirect : Shape::kDirect);
        (indirect ? q.ring.table(head, 0) : q.ring.desc(head)) = {c.addr, c.len, flags, 0};
        CHECK_EQ(q.pop_fault(), c.inside ? Fault::kNone : Fault::kOutsideDomain);
      }
}

TEST(a_mapping_permits_what_it_says) {
  Queue q(8);
  DmaDomain& d = q.domain;
  std::string error;
  const auto other = Region::create(8192, error);
  REQUIRE(d.map({0x1000, 4096, other->data(), Access::kRead, other}));
  REQUIRE(d.map({0x2000, 4096, other->data() + 4096, Access::kWrite, other}));
  struct Case {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    Fault want;
  };
  for (const Case& c :
       {Case{0x1000, 64, 0, Fault::kNone}, Case{0x1000, 64, kDescWrite, Fault::kOutsideDomain},
        Case{0x2000, 64, kDescWrite, Fault::kNone}, Case{0x2000, 64, 0, Fault::kOutsideDomain},
        // Two mappings side by side are two: a buffer lies within one.
        Case{0x1ffc, 8, 0, Fault::kOutsideDomain}, Case{0x1fff, 1, 0, Fault::kNone}}) {
    q.ring.clear();
    REQUIRE(q.enable());
    q.ring.desc(q.offer()) = {c.addr, c.len, c.flags, 0};
    CHECK_EQ(q.pop_fault(), c.want);
  }
}

TEST(chains_of_a_wrong_form_stop_the_queue) {
  Queue empty(8);
  empty.ring.desc(empty.offer(2)).len = 0;
  CHECK_EQ(empty.pop_fault(), Fault::kEmptyBuffer);

  Queue direction(8);  // §2.7.4.2: what the device writes comes last
  const uint16_t head = direction.offer(2);
  direction.ring.desc(head).flags |= kDescWrite;
  CHECK_EQ(direction.pop_fault(), Fault::kDirection);
}

TEST(chains_of_4_gib_stop_the_queue_s2_7_5_2) {
  // One descriptor can't name so much here, but many that name the same bytes can.
  for (const uint16_t flags : {uint16_t{0}, kDescWrite}) {
    Queue q(8192);
    for (uint16_t i = 0; i < 8192; ++i)
      q.ring.desc(i) = {kIova, kBytes, static_cast<uint16_t>(flags | (i < 8191 ? kDescNext : 0)),
                        static_cast<uint16_t>((i + 1) % 8192)};
    q.ring.avail_entry(0) = 0;
    q.ring.avail_idx().store(1);
    Chain chain;
    CHECK(!q.device.pop(chain));
    CHECK_EQ(q.device.fault(), Fault::kTotalLength);
  }
}

TEST(a_stopped_queue_says_why_and_starts_again) {
  Queue q(8);
  q.ring.desc(q.offer()).len = 0;
  CHECK_EQ(q.pop_fault(), Fault::kEmptyBuffer);
  CHECK_EQ(std::string(fault_name(q.device.fault())), "emptyBuffer");
  q.ring.clear();
  REQUIRE(q.enable());
  CHECK_EQ(q.device.fault(), Fault::kNone);
  q.offer();
  CHECK_EQ(q.pop_fault(), Fault::kNone);
  CHECK_EQ(std::string(fault_name(Fault::kWrongQueue)), "wrongQueue");
  CHECK_EQ(std::string(fault_name(Fault::kNone)), "none");
}

// --- used ring and interrupts ------------------------------------------------------------------------------

TEST(nothing_is_seen_as_used_before_it_is_published_s2_7_8_2) {
  Queue q(8);
  for (int i = 0; i < 3; ++i) q.offer(0, 1);
  q.ring.publish();
  Chain chain;
  for (uint32_t i = 0; i < 3; ++i) {
    REQUIRE(q.device.pop(chain));
    q.device.push(chain.head, 100 + i);
    CHECK(q.device.unpublished());
    CHECK_EQ(q.ring.used_idx().load(), 0);
  }
  CHECK(q.device.publish());
  CHECK(!q.device.unpublished());
  CHECK_EQ(q.ring.used_idx().load(), 3);
  for (uint32_t i = 0; i < 3; ++i) {
    mock::Used used;
    REQUIRE(q.ring.reap(used));
    CHECK_EQ(used.len, 100 + i);
  }
  CHECK(!q.device.publish());  // nothing new, so nobody to call
}

TEST(rewind_takes_back_what_was_popped_and_pushed) {
  Queue q(8);
  std::vector<uint16_t> heads;
  for (int i = 0; i < 4; ++i) heads.push_back(q.offer(0, 1));
  q.ring.publish();
  Chain chain;
  REQUIRE(q.device.pop(chain));
  q.device.push(chain.head, 1);
  for (int i = 0; i < 2; ++i) {
    REQUIRE(q.device.pop(chain));
    q.device.push(chain.head, 99);
  }
  REQUIRE(q.device.pop(chain));
  q.device.rewind(3, 2);
  for (int i = 1; i < 4; ++i) {
    REQUIRE(q.device.pop(chain));
    CHECK_EQ(chain.head, heads[static_cast<size_t>(i)]);
    q.device.push(chain.head, 2);
  }
  q.device.publish();
  CHECK_EQ(q.ring.used_idx().load(), 4);
  for (size_t i = 0; i < 4; ++i) CHECK_EQ(q.ring.used_entry(i).id, heads[i]);
}

TEST(indices_wrap_at_65536_s2_7_6) {
  for (const uint64_t f : {uint64_t{0}, feature(kFeatureEventIdx), feature(kFeatureInOrder)}) {
    Queue q(4, f);
    mock::Used used;
    uint64_t next = 0;
    for (uint64_t i = 0; i < 150'000; ++i) {
      REQUIRE(q.ring.add(q.buffers(1, 0), i) >= 0);
      q.ring.publish();
      Chain chain;
      REQUIRE(q.device.pop(chain));
      q.device.push_read(chain.head);
      if (i % 3 != 2) continue;
      q.device.publish();
      while (q.ring.reap(used)) REQUIRE(used.token == next++);
    }
    CHECK_EQ(next, 150'000);
  }
}

TEST(without_event_idx_the_flag_decides_s2_7_7_2) {
  Queue q(8, 0);
  Chain chain;
  for (const bool wanted : {true, false, true}) {
    if (wanted)
      q.ring.enable_interrupts();
    else
      q.ring.disable_interrupts();
    q.ring.used_event().store(static_cast<uint16_t>(q.ring.used_idx().load() + 5));  // to be ignored
    q.offer();
    q.ring.publish();
    REQUIRE(q.device.pop(chain));
    q.device.push(chain.head, 0);
    CHECK_EQ(q.device.publish(), wanted);
  }
}

TEST(with_event_idx_used_event_decides_s2_7_7_2) {
  SplitMix random(3);
  Queue q(64, feature(kFeatureEventIdx));
  Chain chain;
  mock::Used used;
  for (int i = 0; i < 30'000; ++i) {
    const auto n = static_cast<uint32_t>(1 + random.below(64));
    for (uint32_t k = 0; k < n; ++k) q.offer();
    q.ring.publish();
    const uint16_t before = q.ring.used_idx().load();
    // Near where it matters, or anywhere.
    const auto event =
        static_cast<uint16_t>(random.chance(0.7) ? before + random.below(80) - 8 : random.below(65536));
    q.ring.used_event().store(event);
    q.ring.avail_flags().store(random.chance(0.5) ? kAvailNoInterrupt : 0);  // to be ignored
    for (uint32_t k = 0; k < n; ++k) {
      REQUIRE(q.device.pop(chain));
      q.device.push(chain.head, 0);
    }
    REQUIRE(q.device.publish() == passed(event, before, static_cast<uint16_t>(before + n)));
    while (q.ring.reap(used)) {
    }
  }
}

TEST(in_order_one_entry_at_the_place_of_the_first_stands_for_a_batch_s2_7_9) {
  Queue q(8, feature(kFeatureInOrder));
  Chain chain;
  mock::Used used;
  uint64_t token = 0;
  uint64_t next = 0;
  SplitMix random(5);
  for (int round = 0; round < 1000; ++round) {
    const auto n = static_cast<uint16_t>(1 + random.below(8));
    const uint16_t at = q.ring.used_idx().load();
    for (uint16_t i = 0; i < n; ++i) REQUIRE(q.ring.add(q.buffers(1, 0), token++) >= 0);
    q.ring.publish();
    for (uint16_t i = 0; i < 8; ++i) q.ring.used_entry(i) = {0xdead, 0xdead};
    uint16_t last = 0;
    for (uint16_t i = 0; i < n; ++i) {
      REQUIRE(q.device.pop(chain));
      last = chain.head;
      q.device.push_read(chain.head);
    }
    q.device.publish();
    CHECK_EQ(q.ring.used_idx().load(), static_cast<uint16_t>(at + n));
    CHECK_EQ(q.ring.used_entry(at).id, last);
    for (uint16_t i = 1; i < n; ++i)
      CHECK_EQ(q.ring.used_entry(static_cast<size_t>(at + i)).id, 0xdead);  // skipped, not written
    while (q.ring.reap(used)) REQUIRE(used.token == next++);
    CHECK_EQ(next, token);
  }
}

// --- doorbells, §2.7.10 ------------------------------------------------------------------------------------

TEST(without_event_idx_the_device_asks_for_doorbells_by_its_flag_s2_7_10_2) {
  Queue q(8, 0);
  Chain chain;
  q.device.disable_notifications();
  CHECK_EQ(q.ring.used_flags().load(), kUsedNoNotify);
  q.offer();
  CHECK(!q.ring.publish());
  REQUIRE(q.device.pop(chain));
  q.device.push(chain.head, 0);
  CHECK(q.device.enable_notifications());
  CHECK_EQ(q.ring.used_flags().load(), 0);
  CHECK(q.device.notifications_enabled());
  q.offer();
  CHECK(q.ring.publish());
  // It must not fall asleep over a chain that came first.
  CHECK(!q.device.enable_notifications());
  CHECK(!q.device.notifications_enabled());
  CHECK_EQ(q.ring.used_flags().load(), kUsedNoNotify);
}

TEST(with_event_idx_the_device_asks_by_avail_event_and_its_flags_stay_0_s2_7_10_2) {
  Queue q(8, feature(kFeatureEventIdx));
  Chain chain;
  mock::Used used;
  for (int i = 0; i < 70'000; ++i) {
    REQUIRE(q.device.enable_notifications());
    REQUIRE(q.ring.avail_event().load() == q.ring.added());
    q.offer();
    REQUIRE(q.ring.publish());
    q.offer();
    REQUIRE(!q.ring.publish());  // once asked is once rung
    REQUIRE(!q.device.enable_notifications());
    for (int k = 0; k < 2; ++k) {
      REQUIRE(q.device.pop(chain));
      q.device.push(chain.head, 0);
    }
    q.device.publish();
    while (q.ring.reap(used)) {
    }
    REQUIRE(q.ring.used_flags().load() == 0);
  }
}

// A receiver whose frame needs more chains than there are: those do not count, only what comes beyond them.
TEST(the_device_may_ask_for_doorbells_beyond_the_chains_it_has_seen) {
  for (const uint64_t f : {uint64_t{0}, feature(kFeatureEventIdx)}) {
    Queue q(8, f);
    q.offer();
    q.offer();
    q.ring.publish();
    Chain chain;
    REQUIRE(q.device.pop(chain));
    q.device.rewind(1, 0);
    CHECK_EQ(q.device.offered_known(), 2);
    CHECK(!q.device.enable_notifications());
    CHECK(q.device.enable_notifications(true));
    q.offer();
    CHECK(q.ring.publish());  // so it rings for the third
    CHECK_EQ(q.device.offered_known(), 2);
    CHECK_EQ(q.device.offered(), 3);
    q.offer();
    q.ring.publish();
    CHECK(!q.device.enable_notifications(true));  // and does not sleep over the fourth
    CHECK(q.device.enable_notifications(true));
    for (int i = 0; i < 4; ++i) REQUIRE(q.device.pop(chain));
    CHECK(q.device.enable_notifications());
  }
}

TEST(asking_for_doorbells_sees_a_broken_avail_index) {
  Queue q(8, feature(kFeatureEventIdx));
  q.ring.avail_idx().store(100);
  CHECK(!q.device.enable_notifications());
  CHECK(!q.device.live());
  CHECK_EQ(q.device.fault(), Fault::kAvailIndex);
}

// --- the DMA domain ----------------------------------------------------------------------------------------

TEST(a_domain_refuses_what_is_empty_or_wraps_or_overlaps_and_a_seventeenth) {
  DmaDomain d;
  static std::byte memory[16];
  const auto map = [&](uint64_t iova, uint64_t length) {
    return d.map({iova, length, memory, Access::kBoth, nullptr});
  };
  CHECK(!map(0, 0));
  CHECK(!map(~uint64_t{0}, 2));
  CHECK(!map(~uint64_t{0} - 4095, 4096));  // ends at 2^64
  CHECK(map(0x1000, 0x1000));
  CHECK(!map(0x1000, 0x1000));
  CHECK(!map(0, 0x1001));
  CHECK(!map(0x1fff, 1));
  CHECK(!map(0, 0x10000));
  CHECK(!map(0x1800, 0x10));
  CHECK(map(0, 0x1000));
  CHECK(map(0x2000, 1));
  for (uint64_t i = 3; i < DmaDomain::kMaxMappings; ++i) CHECK(map(0x10000 * i, 16));
  CHECK(!map(0x1000'0000, 16));
  CHECK(!d.unmap(0x3000));
  CHECK(d.unmap(0x2000));
  CHECK(!d.unmap(0x2000));
  CHECK(map(0x1000'0000, 16));
  d.clear();
  CHECK(d.translate(0x1000, 1, Access::kRead) == nullptr);
}

TEST(translation_agrees_with_a_table_of_every_byte) {
  static std::byte memory[4096];
  SplitMix random(11);
  for (int round = 0; round < 200; ++round) {
    DmaDomain d;
    // What each of 256 addresses is: by byte, who owns it.
    int owner[256];
    Access access[DmaDomain::kMaxMappings];
    uint64_t start[DmaDomain::kMaxMappings];
    std::fill(std::begin(owner), std::end(owner), -1);
    int mappings = 0;
    while (mappings < 8) {
      const uint64_t at = random.below(256);
      const uint64_t n = 1 + random.below(std::min<uint64_t>(40, 256 - at));
      const bool free = std::all_of(owner + at, owner + at + n, [](int o) { return o < 0; });
      const auto a = static_cast<Access>(1 + random.below(3));
      CHECK_EQ(d.map({at, n, memory + size_t{256} * static_cast<size_t>(mappings), a, nullptr}), free);
      if (!free) {
        if (random.chance(0.2)) break;
        continue;
      }
      std::fill(owner + at, owner + at + n, mappings);
      access[mappings] = a;
      start[mappings++] = at;
    }
    for (int i = 0; i < 2000; ++i) {
      const uint64_t at = random.below(256);
      const uint64_t n = 1 + random.below(50);
      const auto a = static_cast<Access>(1 + random.below(3));
      std::byte* want = nullptr;
      const int o = owner[at];
      if (o >= 0 && at + n <= 256 && std::all_of(owner + at, owner + at + n, [o](int x) { return x == o; }) &&
          (static_cast<int>(access[o]) & static_cast<int>(a)) == static_cast<int>(a))
        want = memory + size_t{256} * static_cast<size_t>(o) + (at - start[o]);
      REQUIRE(d.translate(at, n, a) == want);
    }
  }
}

CHECK_MAIN()
