// Faults and recovery, virtio 1.2 §2.6.1 and §2.1.2.
#include <atomic>
#include <functional>
#include <utility>
#include <vector>

#include "check.h"
#include "core/nic.h"
#include "fixture.h"
#include "mock_driver.h"

using namespace ringcube;
using mock::Bench;
using mock::Buffer;
using mock::cut;
using mock::Driver;
using mock::kBaseFeatures;
using mock::kControl;
using mock::kHeader;
using mock::kRingReset;
using mock::make_frame;
using mock::post_full;
using mock::received;
using mock::Ring;
using mock::set_pairs;
using mock::Used;

namespace {

struct Break {
  Fault fault;
  bool transmit;
  std::function<void(Ring&, uint16_t head)> spoil;
};

std::vector<Break> breaks() {
  std::vector<Break> out;
  for (const bool transmit : {false, true}) {
    const auto add = [&](Fault fault, std::function<void(Ring&, uint16_t)> spoil) {
      out.push_back({fault, transmit, std::move(spoil)});
    };
    add(Fault::kAvailIndex,
        [](Ring& r, uint16_t) { r.avail_idx().store(static_cast<uint16_t>(r.taken() - 1)); });
    add(Fault::kAvailIndex,
        [](Ring& r, uint16_t) { r.avail_idx().store(static_cast<uint16_t>(r.taken() + 9)); });
    add(Fault::kHeadRange, [](Ring& r, uint16_t) { r.avail_entry(r.taken()) = 8; });
    add(Fault::kNextRange, [](Ring& r, uint16_t h) { r.desc(h).flags |= kDescNext, r.desc(h).next = 8; });
    add(Fault::kChainTooLong, [](Ring& r, uint16_t h) { r.desc(h).flags |= kDescNext, r.desc(h).next = h; });
    add(Fault::kOutsideDomain, [](Ring& r, uint16_t h) { r.desc(h).addr = uint64_t{1} << 33; });
    add(Fault::kIndirect, [](Ring& r, uint16_t h) { r.desc(h).flags = kDescIndirect | kDescNext; });
    add(Fault::kEmptyBuffer, [](Ring& r, uint16_t h) { r.desc(h).len = 0; });
    add(Fault::kDirection, [](Ring& r, uint16_t h) {
      const auto other = static_cast<uint16_t>((h + 1) % 8);
      r.desc(other) = {r.desc(h).addr, 4, 0, 0};
      r.desc(h).flags = kDescWrite | kDescNext;
      r.desc(h).next = other;
    });
    add(Fault::kWrongQueue, [](Ring& r, uint16_t h) { r.desc(h).flags ^= kDescWrite; });
  }
  return out;
}

}  // namespace

TEST(a_broken_queue_stops_alone_is_told_and_recovers_by_ring_reset_s2_6_1) {
  for (const Break& what : breaks()) {
    Bench b({.queue_pairs = 2});
    Driver& d = b.driver;
    REQUIRE(d.start(kRingReset | kControl | feature(kFeatureMq) | feature(kFeatureIndirectDesc), 8, 2));
    REQUIRE(set_pairs(d, 2) == kCtrlOk);
    const auto index = static_cast<uint16_t>(what.transmit ? 1 : 0);
    const uint64_t at = d.alloc(256);
    const auto offer = [&](const std::function<void(Ring&, uint16_t)>& spoil) {
      Ring& r = d.ring(index);
      const int head =
          what.transmit ? d.add_frame(1, at, make_frame(1, 60)) : r.add(cut(at, {kHeader + 60U}, true));
      REQUIRE(head >= 0);
      r.publish();
      if (spoil) spoil(r, static_cast<uint16_t>(head));
      d.kick(index);
    };
    const auto use = [&] {
      if (!what.transmit) b.wire->send(make_frame(1, 60), b.engine->now());
      b.step();
    };
    // It works, breaks, and stays broken.
    offer(nullptr);
    use();
    Used used;
    REQUIRE(d.ring(index).reap(used));
    d.take_interrupt(kVectorConfig);
    const uint64_t sent = b.wire->got.size();
    offer(what.spoil);
    use();
    CHECK_EQ(b.nic->fault(index), what.fault);
    CHECK_EQ(b.nic->counters(index).faults, 1);
    CHECK(d.take_interrupt(kVectorConfig));
    CHECK_EQ(std::atomic_ref(d.page().broken_queues).load(), 1);
    d.select(index);
    CHECK_EQ(d.read(kRegQueueReady), 0);
    CHECK_EQ(d.status() & kStatusNeedsReset, 0);
    use();
    CHECK_EQ(b.nic->counters(index).faults, 1);
    CHECK_EQ(b.wire->got.size(), sent);
    CHECK(!d.ring(index).pending());
    // The others go on.
    const uint64_t other = d.alloc(256);
    d.add_frame(3, other, make_frame(7, 60));
    d.publish(3);
    b.step();
    CHECK_EQ(b.wire->got.size(), sent + 1);
    // §2.6.1: reset and enabled anew, it starts from the beginning.
    d.reset_queue(index);
    d.ring(index).clear();
    REQUIRE(d.enable_queue(index, 8));
    CHECK_EQ(b.nic->fault(index), Fault::kNone);
    for (int i = 0; i < 20; ++i) {
      offer(nullptr);
      use();
      REQUIRE(d.ring(index).reap(used));
    }
    CHECK_EQ(b.wire->got.size(), sent + 1 + (what.transmit ? 20 : 0));
  }
}

TEST(frames_before_the_bad_chain_are_sent_and_none_after) {
  Bench b;
  REQUIRE(b.driver.start(kRingReset, 16));
  const uint64_t at = b.driver.alloc(16 * 128);
  for (uint64_t i = 0; i < 8; ++i) {
    const int head = b.driver.add_frame(1, at + 128 * i, make_frame(i, 60));
    if (i == 5) b.driver.ring(1).desc(static_cast<size_t>(head)).len = 0;
  }
  b.driver.publish(1);
  b.step();
  CHECK_EQ(b.wire->got.size(), 5);
  CHECK_EQ(b.tx().frames, 5);
}

TEST(ring_reset_needs_its_feature_s2_6_1) {
  Bench b;
  REQUIRE(b.driver.start(kBaseFeatures, 8));
  b.driver.reset_queue(0);
  CHECK_EQ(b.driver.read(kRegQueueReady), 1);
  Bench c;
  REQUIRE(c.driver.start(kRingReset, 8));
  c.driver.select(0);
  c.driver.write(kRegQueueReset, 0);
  CHECK_EQ(c.driver.read(kRegQueueReady), 1);
  c.driver.write(kRegQueueReset, 1);
  CHECK_EQ(c.driver.read(kRegQueueReset), 0);  // done
  CHECK_EQ(c.driver.read(kRegQueueReady), 0);
}

TEST(a_reset_queue_is_neither_served_nor_notified_s2_6_1_1) {
  Bench b;
  REQUIRE(b.driver.start(kRingReset, 8));
  post_full(b.driver, 0, 4);
  b.driver.add_frame(1, b.driver.alloc(128), make_frame(1, 60));
  b.driver.ring(1).publish();
  b.driver.reset_queue(0);
  b.driver.reset_queue(1);
  b.driver.kick(1);
  b.step();
  b.wire->send(make_frame(1, 60), 0);
  CHECK_EQ(b.wire->got.size(), 0);
  CHECK(!b.driver.ring(0).pending());
  CHECK(!b.driver.wait_interrupt(0));
  CHECK_EQ(b.nic->nic_counters().drop_not_ready, 1);
}

TEST(a_broken_control_queue_needs_a_reset_of_the_device_s2_1_2) {
  for (int how = 0; how < 4; ++how) {
    Bench b;
    Driver& d = b.driver;
    REQUIRE(d.start(kRingReset | kControl | feature(kFeatureCtrlRx), 8));
    post_full(d, 0, 4);
    Ring& c = d.ring(2);
    const uint64_t at = d.alloc(64);
    const Buffer whole[] = {{at, 3, false}, {at + 8, 1, true}};
    int head = c.add(whole);
    if (how == 0) c.desc(static_cast<size_t>(head)).len = 1;    // no command
    if (how == 1) c.desc(static_cast<size_t>(head)).flags = 0;  // no place for the ack
    if (how == 2) c.desc(static_cast<size_t>(head)).addr = ~uint64_t{0};
    if (how == 3) c.avail_entry(0) = 9;
    c.publish();
    const uint32_t generation = d.read(kRegConfigGeneration);
    d.kick(2);
    d.add_frame(1, d.alloc(128), make_frame(1, 60));
    d.publish(1);
    b.step();
    CHECK((d.status() & kStatusNeedsReset) != 0);
    CHECK(d.take_interrupt(kVectorConfig));
    CHECK(d.read(kRegConfigGeneration) != generation);
    // The device stands still, whatever the driver writes but 0.
    b.wire->send(make_frame(1, 60), 0);
    d.reset_queue(2);
    d.add_status(kStatusDriverOk);
    b.step();
    CHECK_EQ(received(d, 0).size(), 0);
    CHECK_EQ(b.wire->got.size(), 0);
    REQUIRE(d.start(kControl | feature(kFeatureCtrlRx), 8));
    CHECK_EQ(d.status() & kStatusNeedsReset, 0);
    CHECK_EQ(d.command(kCtrlRx, kCtrlRxPromisc, {1}), kCtrlOk);
  }
}

CHECK_MAIN()
