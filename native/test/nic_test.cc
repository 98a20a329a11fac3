#include "core/nic.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "mock_driver.h"
#include "packets.h"

using namespace ringcube;
using mock::Bench;
using mock::Buffer;
using mock::Bytes;
using mock::cut;
using mock::Driver;
using mock::kBaseFeatures;
using mock::L4;
using mock::make_frame;
using mock::Packet;
using mock::Received;
using mock::Ring;
using mock::Shape;
using mock::Used;

namespace {

constexpr uint64_t kRingReset = kBaseFeatures | feature(kFeatureRingReset);
constexpr uint64_t kControl = kBaseFeatures | feature(kFeatureCtrlVq);
constexpr uint32_t kHeader = sizeof(VirtioNetHdr);
constexpr uint32_t kFrameMax = 1518;
constexpr uint64_t kEverything = kAllFeatures;

// What a full receive buffer takes, and a queue with `n` of them.
void post_full(Driver& driver, uint16_t index, int n) {
  for (int i = 0; i < n; ++i) driver.post(index, {kHeader + kFrameMax});
  driver.publish(index);
}

std::vector<Bytes> received(Driver& driver, uint16_t index) {
  std::vector<Bytes> out;
  Received r;
  while (driver.receive(index, r)) out.push_back(r.frame);
  return out;
}

void le(Bytes& out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<std::byte>(value >> (8 * i)));
}
Bytes coalescing(uint32_t packets, uint32_t usecs) {
  Bytes out;
  le(out, packets, 4);
  le(out, usecs, 4);
  return out;
}
int set_pairs(Driver& driver, uint16_t pairs) {
  Bytes data;
  le(data, pairs, 2);
  return driver.command(kCtrlMq, kCtrlMqVqPairsSet, data);
}

uint64_t dropped(const Nic& nic) {
  uint64_t n = nic.nic_counters().drop_filtered + nic.nic_counters().drop_not_ready;
  for (uint16_t i = 0; i + 1 < nic.queues(); i = static_cast<uint16_t>(i + 2)) {
    const QueueCounters c = nic.counters(i);
    n += c.drop_no_buffer + c.drop_too_long + c.faults;
  }
  return n;
}

}  // namespace

// --- what a NIC may be -------------------------------------------------------------------------------------

TEST(create_says_what_is_wrong) {
  const auto error_of = [](const std::function<void(NicOptions&)>& change) {
    NicOptions options;
    change(options);
    std::string error;
    const auto nic = Nic::create(options, error);
    CHECK_EQ(nic == nullptr, !error.empty());
    return error;
  };
  CHECK_EQ(error_of([](NicOptions&) {}), "");
  CHECK(error_of([](NicOptions& o) { o.queue_pairs = 0; }).starts_with("queuePairs"));
  CHECK(error_of([](NicOptions& o) { o.queue_pairs = 128; }).starts_with("queuePairs"));
  CHECK_EQ(error_of([](NicOptions& o) { o.queue_pairs = 127; }), "");
  for (const uint16_t size : {0, 1, 3, 1000, 32769, 65535})
    CHECK(error_of([&](NicOptions& o) { o.queue_size_max = size; }).starts_with("queueSizeMax"));
  CHECK_EQ(error_of([](NicOptions& o) { o.queue_size_max = 32768; }), "");
  CHECK_EQ(error_of([](NicOptions& o) { o.queue_size_max = 2; }), "");
  CHECK(error_of([](NicOptions& o) { o.mtu = 67; }).starts_with("mtu"));
  CHECK(error_of([](NicOptions& o) { o.mtu = 65'001; }).starts_with("mtu"));
  CHECK(error_of([](NicOptions& o) { o.mac[0] = 3; }).starts_with("mac"));
  CHECK(error_of([](NicOptions& o) { o.features = 0; }).starts_with("features"));
  CHECK(error_of([](NicOptions& o) { o.features |= feature(34); }).starts_with("features"));
}

// --- registers, §4.2.2 -------------------------------------------------------------------------------------

TEST(registers_tell_what_the_device_is_s4_2_2) {
  Bench b;
  CHECK_EQ(b.driver.read(kRegMagicValue), 0x74726976);
  CHECK_EQ(b.driver.read(kRegVersion), 2);
  CHECK_EQ(b.driver.read(kRegDeviceId), 1);
  CHECK_EQ(b.driver.read(kRegVendorId), kVendorId);
  CHECK_EQ(b.driver.device_features(), kAllFeatures);
  for (const uint32_t sel : {2U, 3U, 0xffffffffU}) {
    b.driver.write(kRegDeviceFeaturesSel, sel);
    CHECK_EQ(b.driver.read(kRegDeviceFeatures), 0);
  }
  for (uint32_t at = 0; at < 0x100; ++at) {
    const bool known = at <= 0x10 && at % 4 == 0;
    if (!known && at != kRegQueueSizeMax && at != kRegQueueSize && at != kRegConfigGeneration)
      CHECK_EQ(b.driver.read(at), 0);
  }
  for (const uint32_t at : {kRegMagicValue, kRegVersion, kRegDeviceId, kRegDeviceFeatures, kRegQueueSizeMax,
                            kRegConfig, 0x3cU, 0xffcU, 0xffffffffU})
    b.driver.write(at, 0xffffffff);
  CHECK_EQ(b.driver.read(kRegMagicValue), kMagicValue);
  CHECK_EQ(b.driver.read(kRegConfig), 2);
}

TEST(configuration_space_is_what_was_asked_for_s5_1_4) {
  Bench b({.mac = {0x02, 1, 2, 3, 4, 5}, .queue_pairs = 9, .mtu = 1400});
  Driver& d = b.driver;
  CHECK_EQ(d.read(kRegConfig), 0x03020102);
  CHECK_EQ(d.read(kRegConfig + 4), 0x00010504);  // and the link is up
  CHECK_EQ(d.read(kRegConfig + 8), 1400U << 16 | 9);
  for (const uint32_t at : {9U, 10U, 11U, 12U, 13U, 100U, 0xfffffe00U}) CHECK_EQ(d.read(kRegConfig + at), 0);
}

TEST(a_change_of_the_link_changes_status_and_generation_and_interrupts_s5_1_4_s2_5) {
  Bench b;
  REQUIRE(b.driver.start(kBaseFeatures | feature(kFeatureStatus), 8));
  b.driver.take_interrupt(kVectorConfig);
  const uint32_t before = b.driver.read(kRegConfigGeneration);
  b.link->unplug();
  CHECK_EQ(b.driver.read(kRegConfig + 4) >> 16, 0);
  CHECK(b.driver.read(kRegConfigGeneration) != before);
  CHECK(b.driver.take_interrupt(kVectorConfig));
  b.engine->remove(*b.link);
  const auto again = mock::make_link(*b.engine, b.nic, b.wire);
  CHECK_EQ(b.driver.read(kRegConfig + 4) >> 16, kNetLinkUp);
  CHECK(b.driver.take_interrupt(kVectorConfig));
  CHECK(!b.driver.take_interrupt(kVectorConfig));
}

// --- the handshake, §3.1.1 and §2.1 ------------------------------------------------------------------------

TEST(features_are_refused_without_version_1_or_if_never_offered_s2_2) {
  Bench b({.features = kAllFeatures & ~feature(kFeatureMrgRxbuf)});
  CHECK(b.driver.negotiate(kBaseFeatures));
  CHECK(b.driver.negotiate(kAllFeatures & ~feature(kFeatureMrgRxbuf)));
  CHECK(!b.driver.negotiate(0));
  CHECK(!b.driver.negotiate(feature(kFeatureCsum)));
  for (uint32_t bit = 0; bit < 64; ++bit) {
    const uint64_t features = kControl | feature(kFeatureCtrlRx) | feature(bit);
    CHECK_EQ(b.driver.negotiate(features), (features & ~b.nic->options().features) == 0);
  }
}

TEST(features_that_need_others_are_refused_alone_s5_1_3_1) {
  Bench b;
  for (const uint32_t bit : {kFeatureCtrlRx, kFeatureMq, kFeatureCtrlMacAddr, kFeatureNotfCoal,
                             kFeatureCtrlGuestOffloads, kFeatureCtrlRxExtra})
    CHECK(!b.driver.negotiate(kBaseFeatures | feature(bit)));
  for (const uint32_t bit :
       {kFeatureCtrlRx, kFeatureMq, kFeatureCtrlMacAddr, kFeatureNotfCoal, kFeatureCtrlGuestOffloads})
    CHECK(b.driver.negotiate(kControl | feature(bit)));
  CHECK(!b.driver.negotiate(kControl | feature(kFeatureCtrlRxExtra)));
  CHECK(b.driver.negotiate(kControl | feature(kFeatureCtrlRxExtra) | feature(kFeatureCtrlRx)));
}

TEST(a_driver_may_try_again_with_fewer_features_s3_1_1) {
  Bench b;
  CHECK(!b.driver.negotiate(kBaseFeatures | feature(34)));
  CHECK_EQ(b.driver.status(), kStatusAcknowledge | kStatusDriver);
  b.driver.write(kRegDriverFeaturesSel, 1);
  b.driver.write(kRegDriverFeatures, static_cast<uint32_t>(kBaseFeatures >> 32));
  b.driver.add_status(kStatusFeaturesOk);
  CHECK((b.driver.status() & kStatusFeaturesOk) != 0);
}

TEST(features_stand_after_features_ok_s3_1_1) {
  Bench b;
  REQUIRE(b.driver.negotiate(kBaseFeatures));
  b.driver.write(kRegDriverFeaturesSel, 0);
  b.driver.write(kRegDriverFeatures, static_cast<uint32_t>(feature(kFeatureMrgRxbuf)));
  REQUIRE(b.driver.enable_queue(0, 8));
  REQUIRE(b.driver.enable_queue(1, 8));
  b.driver.ready();
  // Had MRG_RXBUF come through, these two would take the frame together.
  b.driver.post(0, {100});
  b.driver.post(0, {100});
  b.driver.publish(0);
  b.wire->send(make_frame(1, 150), 0);
  CHECK_EQ(b.rx().drop_too_long, 1);
}

TEST(status_bits_are_only_added_and_needs_reset_is_the_device_s_own_s2_1) {
  Bench b;
  REQUIRE(b.driver.start(kBaseFeatures, 8));
  const uint8_t all = kStatusAcknowledge | kStatusDriver | kStatusFeaturesOk | kStatusDriverOk;
  CHECK_EQ(b.driver.status(), all);
  b.driver.write(kRegStatus, kStatusAcknowledge);
  CHECK_EQ(b.driver.status(), all);
  b.driver.write(kRegStatus, kStatusNeedsReset);
  CHECK_EQ(b.driver.status(), all);
  b.driver.write(kRegStatus, kStatusFailed);
  CHECK_EQ(b.driver.status(), all | kStatusFailed);
  b.driver.write(kRegStatus, 0);
  CHECK_EQ(b.driver.status(), 0);
}

TEST(driver_ok_and_queues_wait_for_features_ok_s3_1_1) {
  Bench b;
  b.driver.write(kRegStatus, kStatusAcknowledge | kStatusDriver | kStatusDriverOk);
  CHECK_EQ(b.driver.status(), kStatusAcknowledge | kStatusDriver);
  CHECK(!b.driver.enable_queue(0, 8));
  REQUIRE(b.driver.negotiate(kBaseFeatures));
  CHECK(b.driver.enable_queue(0, 8));
  // Refused features take DRIVER_OK with them.
  b.driver.write(kRegStatus, 0);
  b.driver.write(kRegStatus, 0x0f);
  CHECK_EQ(b.driver.status(), 3);
}

TEST(nothing_is_consumed_or_interrupts_before_driver_ok_s2_1_2) {
  Bench b;
  REQUIRE(b.driver.negotiate(kBaseFeatures));
  REQUIRE(b.driver.enable_queue(0, 8));
  REQUIRE(b.driver.enable_queue(1, 8));
  post_full(b.driver, 0, 2);
  const Bytes frame = make_frame(1, 60);
  b.driver.add_frame(1, b.driver.alloc(100), frame);
  b.driver.ring(1).publish();
  b.driver.kick(1);
  b.step();
  b.wire->send(frame, 0);
  CHECK_EQ(b.wire->got.size(), 0);
  CHECK(!b.driver.ring(0).pending());
  CHECK(!b.driver.wait_interrupt(0));
  CHECK_EQ(b.nic->nic_counters().drop_not_ready, 1);
  b.driver.ready();
  b.step();
  b.wire->send(frame, 0);
  CHECK_EQ(b.wire->got.size(), 1);
  CHECK_EQ(received(b.driver, 0).size(), 1);
}

TEST(queue_registers_belong_to_the_selected_queue_s4_2_2) {
  Bench b({.queue_pairs = 2, .queue_size_max = 64});
  Driver& d = b.driver;
  REQUIRE(d.negotiate(kEverything));
  for (uint16_t i = 0; i < 5; ++i) {
    d.select(i);
    CHECK_EQ(d.read(kRegQueueSizeMax), 64);
    CHECK_EQ(d.read(kRegQueueSize), 64);
    CHECK_EQ(d.read(kRegQueueReady), 0);
  }
  for (const uint16_t none : {uint16_t{5}, uint16_t{0xffff}}) {
    d.select(none);
    CHECK_EQ(d.read(kRegQueueSizeMax), 0);
    CHECK_EQ(d.read(kRegQueueSize), 0);
    d.write(kRegQueueReady, 1);
    CHECK_EQ(d.read(kRegQueueReady), 0);
    d.write(kRegQueueReset, 1);
  }
  d.write(kRegQueueSel, 0x10001);  // not queue 1
  CHECK_EQ(d.read(kRegQueueSizeMax), 0);
  d.select(2);
  d.write(kRegQueueSize, 8);
  CHECK_EQ(d.read(kRegQueueSize), 8);
  d.select(3);
  CHECK_EQ(d.read(kRegQueueSize), 64);
}

TEST(a_ready_queue_s_registers_stand_s4_2_2_2) {
  Bench b;
  REQUIRE(b.driver.start(kBaseFeatures, 8));
  b.driver.select(1);
  b.driver.write(kRegQueueSize, 16);
  b.driver.write64(kRegQueueDescLow, 0x1234'0000'0000);
  b.driver.write64(kRegQueueDriverLow, 1);
  b.driver.write64(kRegQueueDeviceLow, 2);
  b.driver.write(kRegQueueReady, 1);
  CHECK_EQ(b.driver.read(kRegQueueSize), 8);
  b.driver.add_frame(1, b.driver.alloc(100), make_frame(1, 60));
  b.driver.publish(1);
  b.step();
  CHECK_EQ(b.wire->got.size(), 1);
}

TEST(a_queue_that_can_not_be_is_not_enabled_s2_7) {
  Bench b({.queue_size_max = 64});
  Driver& d = b.driver;
  REQUIRE(d.negotiate(kBaseFeatures));
  const uint64_t at = d.alloc(4096, 4096);
  const auto enable = [&](uint32_t size, uint64_t desc, uint64_t avail, uint64_t used) {
    d.select(0);
    d.write(kRegQueueReady, 0);
    d.write(kRegQueueSize, size);
    d.write64(kRegQueueDescLow, desc);
    d.write64(kRegQueueDriverLow, avail);
    d.write64(kRegQueueDeviceLow, used);
    d.write(kRegQueueReady, 1);
    const bool ready = d.read(kRegQueueReady) == 1;
    CHECK_EQ(ready, b.nic->fault(0) == Fault::kNone);
    return ready;
  };
  CHECK(enable(64, at, at + 1024, at + 2048));
  for (const uint32_t size : {0U, 1U, 3U, 63U, 65U, 128U, 32768U, 65536U, 65538U, 0xffffffffU})
    CHECK(!enable(size, at, at + 1024, at + 2048));
  CHECK(enable(2, at, at + 1024, at + 2048));
  CHECK(!enable(64, at + 8, at + 1024, at + 2048));
  CHECK(!enable(64, at, at + 1025, at + 2048));
  CHECK(!enable(64, at, at + 1024, at + 2050));
  CHECK(!enable(64, uint64_t{1} << 40, at + 1024, at + 2048));
  CHECK(!enable(64, at, uint64_t{1} << 40, at + 2048));
  CHECK(!enable(64, at, at + 1024, uint64_t{1} << 40));
  CHECK(!enable(64, b.driver.region()->size() - 512, at + 1024, at + 2048));
  CHECK_EQ(b.nic->fault(0), Fault::kRingAddress);
}

TEST(a_reset_forgets_all_but_what_the_host_set_s2_4) {
  Bench b({.queue_pairs = 2});
  Driver& d = b.driver;
  REQUIRE(d.start(kEverything, 8, 2));
  CHECK_EQ(d.command(kCtrlMac, kCtrlMacAddrSet, {2, 9, 9, 9, 9, 9}), kCtrlOk);
  CHECK_EQ(d.command(kCtrlRx, kCtrlRxNouni, {1}), kCtrlOk);
  CHECK_EQ(d.command(kCtrlNotfCoal, kCtrlNotfCoalRxSet, coalescing(100, 100)), kCtrlOk);
  CHECK_EQ(set_pairs(d, 2), kCtrlOk);
  Packet p;
  REQUIRE(b.nic->steer(p.flow(), 1));
  d.write(kRegStatus, 0);
  CHECK_EQ(d.status(), 0);
  for (uint16_t i = 0; i < 5; ++i) {
    d.select(i);
    CHECK_EQ(d.read(kRegQueueReady), 0);
    CHECK_EQ(d.read(kRegQueueSize), 1024);
  }
  REQUIRE(d.start(kEverything, 8, 2));
  CHECK_EQ(d.read(kRegConfig), 2);  // the MAC address of the options
  post_full(d, 0, 4);
  post_full(d, 2, 4);
  b.wire->send(make_frame(1, 60), 0);
  CHECK(d.take_interrupt(0));  // not held back
  CHECK_EQ(received(d, 0).size(), 1);
  b.wire->send(p.build(), 0);
  CHECK_EQ(b.nic->nic_counters().steered, 1);  // the rule stands, but pair 1 is not active any more
  CHECK_EQ(b.nic->nic_counters().drop_not_ready, 1);
}

// --- receiving, §5.1.6.3 and §5.1.6.4 ----------------------------------------------------------------------

TEST(the_header_may_be_split_at_every_byte_in_receiving_s2_7_4_1) {
  for (const uint64_t features : {kBaseFeatures, kBaseFeatures | feature(kFeatureMrgRxbuf)})
    for (uint32_t first = 1; first <= 20; ++first)
      for (uint32_t second = 1; second <= 13; ++second) {
        Bench b;
        REQUIRE(b.driver.start(features, 8));
        const uint64_t addr = b.driver.post(0, {first, second, 200});
        b.driver.publish(0);
        std::memset(b.driver.at(addr), 0xee, first + second + 200);
        const Bytes frame = make_frame(first, 64);
        b.wire->send(frame, 0);
        Used used;
        REQUIRE(b.driver.ring(0).reap(used));
        CHECK_EQ(used.len, kHeader + 64);
        VirtioNetHdr header;
        std::memcpy(&header, b.driver.at(addr), kHeader);
        const VirtioNetHdr want = {.flags = 0,
                                   .gso_type = 0,
                                   .hdr_len = 0,
                                   .gso_size = 0,
                                   .csum_start = 0,
                                   .csum_offset = 0,
                                   .num_buffers = 1};
        CHECK(std::memcmp(&header, &want, kHeader) == 0);
        CHECK(std::equal(frame.begin(), frame.end(), b.driver.at(addr + kHeader)));
        CHECK_EQ(*b.driver.at(addr + kHeader + 64), std::byte{0xee});  // not a byte more
      }
}

TEST(a_header_of_twelve_descriptors_of_one_byte) {
  for (const Shape shape : {Shape::kDirect, Shape::kIndirect, Shape::kTail}) {
    Bench b;
    REQUIRE(b.driver.start(kBaseFeatures | feature(kFeatureIndirectDesc), 32));
    std::vector<uint32_t> pieces(12, 1);
    for (int i = 0; i < 10; ++i) pieces.push_back(7);
    b.driver.post(0, pieces, shape);
    b.driver.publish(0);
    b.wire->send(make_frame(5, 70), 0);
    Received r;
    REQUIRE(b.driver.receive(0, r));
    CHECK(r.frame == make_frame(5, 70));
    CHECK_EQ(b.rx().dma_bytes, kHeader + 70);
  }
}

TEST(frames_fit_exactly_or_not_at_all_without_mergeable_buffers_s5_1_6_3_1) {
  Bench b;
  REQUIRE(b.driver.start(kBaseFeatures, 8));
  b.driver.post(0, {kHeader + 100});
  b.driver.post(0, {kHeader + 100});
  b.driver.publish(0);
  b.wire->send(make_frame(1, 101), 0);
  CHECK_EQ(b.rx().drop_too_long, 1);
  CHECK(!b.driver.ring(0).pending());
  b.wire->send(make_frame(2, 100), 0);  // the buffer is still there
  b.wire->send(make_frame(3, 99), 0);
  const std::vector<Bytes> got = received(b.driver, 0);
  REQUIRE(got.size() == 2);
  CHECK(got[0] == make_frame(2, 100));
  CHECK(got[1] == make_frame(3, 99));
}

// §5.1.6.4.1: num_buffers says how many; all but the last are filled; all are shown at once (the mock sees to
// that).
TEST(mergeable_buffers_of_every_size_s5_1_6_4_1) {
  SplitMix random(1);
  for (const uint64_t more : {uint64_t{0}, feature(kFeatureInOrder), feature(kFeatureEventIdx)})
    for (uint32_t size = 12; size <= 80; ++size) {
      Bench b;
      REQUIRE(b.driver.start(kBaseFeatures | feature(kFeatureMrgRxbuf) | feature(kFeatureIndirectDesc) | more,
                             256));
      for (const uint32_t length :
           {14U, 60U, size - 12 + 13, 2 * size - 12, 2 * size - 11, 3 * size - 12, 333U}) {
        if (length < 14) continue;
        const uint32_t want = (kHeader + length + size - 1) / size;
        for (uint32_t i = 0; i < want; ++i)
          b.driver.post(0, mock::random_lengths(random, size, 4),
                        random.chance(0.5) ? Shape::kDirect : Shape::kTail);
        b.driver.publish(0);
        b.wire->send(make_frame(length, length), 0);
        Received r;
        REQUIRE(b.driver.receive(0, r));
        CHECK_EQ(r.header.num_buffers, want);
        CHECK_EQ(r.tokens.size(), want);
        CHECK(r.frame == make_frame(length, length));
        CHECK_EQ(b.driver.ring(0).outstanding(), 0);
      }
      CHECK_EQ(b.rx().drop_no_buffer + b.rx().drop_too_long, 0);
    }
}

TEST(the_buffers_before_the_last_are_filled_completely_s5_1_6_4_1) {
  Bench b;
  REQUIRE(b.driver.start(kBaseFeatures | feature(kFeatureMrgRxbuf), 8));
  for (const uint32_t n : {50U, 40U, 64U, 200U}) b.driver.post(0, {n});
  b.driver.publish(0);
  b.wire->send(make_frame(1, 150), 0);
  const uint32_t want[] = {50, 40, 64, 8};
  for (const uint32_t len : want) {
    Used used;
    REQUIRE(b.driver.ring(0).reap(used));
    CHECK_EQ(used.len, len);
  }
}

TEST(a_frame_of_256_buffers_and_more_counts_them_in_both_bytes) {
  Bench b({.mtu = 9000});
  REQUIRE(b.driver.start(kBaseFeatures | feature(kFeatureMrgRxbuf), 1024));
  b.driver.post(0, {11, 1});  // num_buffers itself over two descriptors
  for (int i = 1; i < 700; ++i) b.driver.post(0, {12});
  b.driver.publish(0);
  b.wire->send(make_frame(1, 12 * 699), 0);
  Received r;
  REQUIRE(b.driver.receive(0, r));
  CHECK_EQ(r.header.num_buffers, 700);
  CHECK(r.frame == make_frame(1, 12 * 699));
}

TEST(running_out_of_buffers_gives_back_those_taken) {
  for (const uint64_t more : {uint64_t{0}, feature(kFeatureInOrder), feature(kFeatureEventIdx)}) {
    Bench b;
    REQUIRE(b.driver.start(kBaseFeatures | feature(kFeatureMrgRxbuf) | more, 8));
    uint64_t lost = 0;
    SplitMix random(3);
    std::vector<uint64_t> posted;  // in order
    size_t taken = 0;
    for (uint64_t i = 0; i < 3000; ++i) {
      Ring& ring = b.driver.ring(0);
      if (random.chance(0.7) && ring.room() > 0) {
        const uint64_t addr = (i % 32) * 64 + 65536;
        REQUIRE(ring.add(cut(addr, {64U}, true), i) >= 0);
        posted.push_back(i);
        b.driver.publish(0);
      }
      const auto length = static_cast<uint32_t>(14 + random.below(300));
      const uint32_t needs = (kHeader + length + 63) / 64;
      const size_t there = posted.size() - taken;
      b.wire->send(make_frame(i, length), 0);
      Received r;
      const bool got = b.driver.receive(0, r);
      REQUIRE(got == (needs <= there));
      if (!got) {
        ++lost;
        continue;
      }
      REQUIRE(r.frame == make_frame(i, length));
      // Exactly the next ones, none skipped, none twice.
      for (const uint64_t token : r.tokens) REQUIRE(token == posted[taken++]);
    }
    CHECK(lost > 100);
    CHECK_EQ(b.rx().drop_no_buffer, lost);
    CHECK_EQ(b.rx().drop_too_long, 0);
  }
}

TEST(a_frame_beyond_all_the_buffers_of_a_queue_is_too_long_and_leaves_them) {
  for (const bool pause : {false, true}) {
    Bench b({}, {.pause = pause});
    REQUIRE(b.driver.start(kBaseFeatures | feature(kFeatureMrgRxbuf), 4));
    for (int i = 0; i < 4; ++i) b.driver.post(0, {64});
    b.driver.publish(0);
    CHECK_EQ(b.wire->send(make_frame(1, 4 * 64 - 11), 0), Delivery::kDropped);
    CHECK_EQ(b.rx().drop_too_long, 1);
    CHECK_EQ(b.wire->send(make_frame(2, 4 * 64 - 12), 0), Delivery::kTaken);
    Received r;
    REQUIRE(b.driver.receive(0, r));
    CHECK(r.frame == make_frame(2, 4 * 64 - 12));
  }
}

TEST(a_mergeable_buffer_too_small_for_a_header_takes_no_long_frame) {
  Bench b;
  REQUIRE(b.driver.start(kBaseFeatures | feature(kFeatureMrgRxbuf), 4));
  b.driver.post(0, {64});
  b.driver.post(0, {11});
  b.driver.post(0, {64});
  b.driver.publish(0);
  b.wire->send(make_frame(1, 100), 0);
  CHECK_EQ(b.rx().drop_too_long, 1);
  b.wire->send(make_frame(2, 52), 0);
  Received r;
  REQUIRE(b.driver.receive(0, r));
  CHECK_EQ(r.header.num_buffers, 1);
}

TEST(received_frames_keep_to_the_mtu_if_it_was_negotiated_s5_1_4_1) {
  for (const bool negotiated : {false, true}) {
    Bench b({.mtu = 100});
    REQUIRE(b.driver.start(kBaseFeatures | (negotiated ? feature(kFeatureMtu) : 0), 8));
    post_full(b.driver, 0, 4);
    b.wire->send(make_frame(1, 118), 0);  // Ethernet with a VLAN tag
    b.wire->send(make_frame(2, 119), 0);
    CHECK_EQ(received(b.driver, 0).size(), negotiated ? 1 : 2);
    CHECK_EQ(b.rx().drop_too_long, negotiated ? 1 : 0);
  }
}

TEST(frames_too_short_for_ethernet_are_dropped) {
  Bench b;
  REQUIRE(b.driver.start(kBaseFeatures, 8));
  post_full(b.driver, 0, 4);
  for (uint32_t n = 1; n < 14; ++n) b.wire->send(make_frame(1, n), 0);
  CHECK_EQ(received(b.driver, 0).size(), 0);
  CHECK_EQ(dropped(*b.nic), 13);
  b.wire->send(make_frame(1, 14), 0);
  CHECK_EQ(received(b.driver, 0).size(), 1);
}

TEST(data_valid_is_set_for_what_was_verified_and_only_with_guest_csum_s5_1_6_4_1) {
  for (const bool guest_csum : {false, true}) {
    Bench b;
    REQUIRE(b.driver.start(
        kControl | feature(kFeatureCtrlGuestOffloads) | (guest_csum ? feature(kFeatureGuestCsum) : 0), 64));
    post_full(b.driver, 0, 40);
    const auto flags = [&](const Bytes& frame, bool known = false, bool pieces = false) {
      if (pieces) {
        Bytes copy = frame;
        const Slice s[] = {
            {copy.data(), 5}, {&copy[5], 30}, {&copy[35], static_cast<uint32_t>(copy.size() - 35)}};
        b.wire->send_slices(s, 0, known);
      } else {
        b.wire->send(frame, 0, known);
      }
      Received r;
      return b.driver.receive(0, r) ? r.header.flags : 0xff;
    };
    const int valid = guest_csum ? kHdrDataValid : 0;
    Packet p;
    const Bytes good = p.build();
    Bytes bad = good;
    bad.back() ^= std::byte{1};
    CHECK_EQ(flags(good), valid);
    CHECK_EQ(flags(good, false, true), valid);
    CHECK_EQ(flags(bad), 0);
    CHECK_EQ(flags(bad, false, true), 0);
    CHECK_EQ(flags(bad, true), valid);  // its device computed it: the field may not be complete
    p.family = 6;
    p.protocol = 6;
    CHECK_EQ(flags(p.build()), valid);
    p = {};
    p.l4 = L4::kNoChecksum;
    CHECK_EQ(flags(p.build()), 0);
    CHECK_EQ(flags(make_frame(1, 60)), 0);
    // §5.1.6.5.8: off and on again at run time.
    Bytes offloads;
    le(offloads, 0, 8);
    CHECK_EQ(b.driver.command(kCtrlGuestOffloads, kCtrlGuestOffloadsSet, offloads), kCtrlOk);
    CHECK_EQ(flags(good), 0);
    offloads.clear();
    le(offloads, feature(kFeatureGuestCsum), 8);
    CHECK_EQ(b.driver.command(kCtrlGuestOffloads, kCtrlGuestOffloadsSet, offloads),
             guest_csum ? kCtrlOk : kCtrlErr);
    CHECK_EQ(flags(good), valid);
  }
}

// --- sending, §5.1.6.2 -------------------------------------------------------------------------------------

TEST(the_header_may_be_split_at_every_byte_in_sending_s2_7_4_1) {
  for (uint32_t first = 1; first <= 30; ++first)
    for (uint32_t second = 1; second <= 15; ++second)
      for (const Shape shape : {Shape::kDirect, Shape::kIndirect, Shape::kTail}) {
        Bench b;
        REQUIRE(b.driver.start(kBaseFeatures | feature(kFeatureIndirectDesc), 8));
        const Bytes frame = make_frame(uint64_t{first} * second, 64);
        b.driver.add_frame(1, b.driver.alloc(100), frame, {first, second}, shape);
        b.driver.publish(1);
        b.step();
        REQUIRE(b.wire->got.size() == 1);
        CHECK(b.wire->got[0].bytes == frame);
        Used used;
        REQUIRE(b.driver.ring(1).reap(used));
        CHECK_EQ(used.len, 0);
        CHECK_EQ(b.tx().dma_bytes, kHeader + 64);
      }
}

TEST(many_frames_go_out_in_order_in_one_interrupt_a_batch) {
  for (const uint64_t more : {uint64_t{0}, feature(kFeatureInOrder), feature(kFeatureEventIdx)}) {
    Bench b;
    REQUIRE(b.driver.start(kBaseFeatures | more, 512));
    const uint64_t at = b.driver.alloc(512 * 256);
    for (uint64_t i = 0; i < 200; ++i)
      b.driver.add_frame(1, at + i * 256, make_frame(i, 60 + static_cast<uint32_t>(i % 100)), {},
                         Shape::kDirect, {}, i);
    b.driver.publish(1);
    b.step();
    REQUIRE(b.wire->got.size() == 200);
    for (uint64_t i = 0; i < 200; ++i)
      CHECK(b.wire->got[i].bytes == make_frame(i, 60 + static_cast<uint32_t>(i % 100)));
    Used used;
    for (uint64_t i = 0; i < 200; ++i) {
      REQUIRE(b.driver.ring(1).reap(used));
      CHECK_EQ(used.token, i);
    }
    CHECK_EQ(b.tx().frames, 200);
    CHECK(b.tx().interrupts + b.tx().interrupts_suppressed <= 4);
    CHECK(b.wire->flushes <= 4);
  }
}

TEST(what_is_no_frame_is_dropped_counted_and_given_back) {
  Bench b({.mtu = 100});
  REQUIRE(b.driver.start(kBaseFeatures, 32));
  const uint64_t at = b.driver.alloc(4096);
  const auto send = [&](uint32_t bytes, VirtioNetHdr header = {}) {
    std::memset(b.driver.at(at), 0, 1024);
    std::memcpy(b.driver.at(at), &header, sizeof header);
    REQUIRE(b.driver.ring(1).add(cut(at, {bytes}, false)) >= 0);
    b.driver.publish(1);
    b.step();
    Used used;
    CHECK(b.driver.ring(1).reap(used));
  };
  uint64_t bad = 0;
  for (const uint32_t bytes : {1U, 11U, 12U, 13U, 25U}) {
    send(bytes);
    CHECK_EQ(b.tx().drop_bad_header, ++bad);
  }
  send(26);
  CHECK_EQ(b.wire->got.size(), 1);
  send(12 + 118);
  CHECK_EQ(b.wire->got.size(), 2);
  send(12 + 119);
  CHECK_EQ(b.tx().drop_too_long, 1);
  for (const uint8_t gso : {uint8_t{1}, uint8_t{3}, uint8_t{4}, uint8_t{0x80}}) {
    VirtioNetHdr header = {};
    header.gso_type = gso;
    send(100, header);
    CHECK_EQ(b.tx().drop_bad_header, ++bad);
  }
  VirtioNetHdr header = {};
  header.flags = kHdrNeedsCsum;  // not negotiated
  send(100, header);
  CHECK_EQ(b.tx().drop_bad_header, ++bad);
  CHECK_EQ(b.wire->got.size(), 2);
  CHECK_EQ(b.tx().frames, 2);
  b.link->unplug();
  send(100);
  CHECK_EQ(b.tx().drop_no_carrier, 1);
  CHECK_EQ(b.tx().faults, 0);
}

TEST(checksums_left_open_are_completed_at_every_offset_s5_1_6_2_2) {
  Bench b;
  REQUIRE(b.driver.start(kBaseFeatures | feature(kFeatureCsum), 64));
  const uint64_t at = b.driver.alloc(256);
  uint64_t bad = 0;
  size_t good = 0;
  SplitMix random(4);
  const Bytes frame = make_frame(1, 67);
  for (uint32_t start = 0; start <= 70; ++start)
    for (const uint32_t offset : {0U, 1U, 6U, 16U, 50U, 65U, 66U, 0xffffU}) {
      VirtioNetHdr header = {};
      header.flags = kHdrNeedsCsum;
      header.csum_start = static_cast<uint16_t>(start);
      header.csum_offset = static_cast<uint16_t>(offset);
      b.driver.add_frame(1, at, frame, mock::random_lengths(random, 79, 5), Shape::kDirect, header);
      b.driver.publish(1);
      b.step();
      Used used;
      REQUIRE(b.driver.ring(1).reap(used));
      if (start + offset + 2 > 67) {
        REQUIRE(b.tx().drop_bad_header == ++bad);
        continue;
      }
      Bytes want = frame;
      uint16_t c = mock::Rfc1071().bytes(&frame[start], 67 - start).checksum();
      if (c == 0) c = 0xffff;
      mock::put16(want, start + offset, c);
      REQUIRE(b.wire->got.size() == ++good);
      REQUIRE(b.wire->got.back().bytes == want);
      // The driver's own buffer is the driver's (§2.7.5.1: no writing to what is to be read).
      REQUIRE(std::equal(frame.begin(), frame.end(), b.driver.at(at + kHeader)));
    }
}

// A device that completes what a driver left open does not vouch for what the driver put there.
TEST(only_a_right_partial_checksum_is_known_to_be_good_behind_the_wire) {
  Bench b;
  REQUIRE(b.driver.start(kBaseFeatures | feature(kFeatureCsum), 64));
  const uint64_t at = b.driver.alloc(2048);
  const auto known = [&](const Bytes& frame, size_t start, size_t offset) {
    VirtioNetHdr header = {};
    header.flags = kHdrNeedsCsum;
    header.csum_start = static_cast<uint16_t>(start);
    header.csum_offset = static_cast<uint16_t>(offset);
    b.driver.add_frame(1, at, frame, {}, Shape::kDirect, header);
    b.driver.publish(1);
    b.step();
    Used used;
    CHECK(b.driver.ring(1).reap(used));
    const auto& got = b.wire->got.back();
    const bool good = verify_l4(got.bytes.data(), got.bytes.size()) == L4Checksum::kGood;
    CHECK(good || !got.checksum_valid);
    return got.checksum_valid;
  };
  for (const uint8_t protocol : {uint8_t{6}, uint8_t{17}})
    for (const uint8_t family : {uint8_t{4}, uint8_t{6}}) {
      Packet p;
      p.family = family;
      p.protocol = protocol;
      p.l4 = L4::kPartial;
      const Bytes frame = p.build();
      const size_t field = p.start() + p.checksum_offset();
      CHECK(known(frame, p.start(), p.checksum_offset()));
      CHECK(!known(frame, p.start(), 0));
      CHECK(!known(frame, 0, 0));
      Bytes wrong = frame;
      wrong[field] ^= std::byte{1};
      CHECK(!known(wrong, p.start(), p.checksum_offset()));
    }
  CHECK(!known(make_frame(1, 60), 14, 6));
}

// --- interrupts, §2.7.7 ------------------------------------------------------------------------------------

TEST(interrupts_come_unless_suppressed_with_and_without_event_idx_s2_7_7) {
  for (const uint64_t more : {uint64_t{0}, feature(kFeatureEventIdx)}) {
    Bench b;
    REQUIRE(b.driver.start(kBaseFeatures | more, 64));
    Ring& rx = b.driver.ring(0);
    post_full(b.driver, 0, 32);
    uint64_t interrupts = 0;
    uint64_t suppressed = 0;
    for (const bool wanted : {true, false, true, true, false, false, true}) {
      if (wanted)
        CHECK(rx.enable_interrupts());
      else
        rx.disable_interrupts();
      b.wire->send(make_frame(1, 60), 0);
      CHECK_EQ(b.driver.take_interrupt(0), wanted);
      ++(wanted ? interrupts : suppressed);
      CHECK_EQ(received(b.driver, 0).size(), 1);
      // With EVENT_IDX one wish is one interrupt.
      if (more != 0 && wanted) {
        rx.used_event().store(static_cast<uint16_t>(rx.taken() - 1));
        b.wire->send(make_frame(1, 60), 0);
        CHECK(!b.driver.take_interrupt(0));
        ++suppressed;
        received(b.driver, 0);
      }
    }
    CHECK_EQ(b.rx().interrupts, interrupts);
    CHECK_EQ(b.rx().interrupts_suppressed, suppressed);
  }
}

TEST(asking_for_an_interrupt_tells_of_what_came_before_s2_7_7) {
  for (const uint64_t more : {uint64_t{0}, feature(kFeatureEventIdx)}) {
    Bench b;
    REQUIRE(b.driver.start(kBaseFeatures | more, 64));
    post_full(b.driver, 0, 8);
    b.driver.ring(0).disable_interrupts();
    b.wire->send(make_frame(1, 60), 0);
    CHECK(!b.driver.take_interrupt(0));
    CHECK(!b.driver.ring(0).enable_interrupts());
  }
}

TEST(every_pair_has_its_vector_and_the_rest_share_the_last) {
  Bench b({.queue_pairs = 40});
  REQUIRE(b.driver.start(kEverything, 8, 40));
  REQUIRE(set_pairs(b.driver, 40) == kCtrlOk);
  CHECK(b.driver.take_interrupt(kVectorConfig));
  for (uint16_t pair = 0; pair < 40; ++pair) {
    const uint64_t at = b.driver.alloc(256);
    b.driver.add_frame(static_cast<uint16_t>(2 * pair + 1), at, make_frame(pair, 60));
    b.driver.publish(static_cast<uint16_t>(2 * pair + 1));
    b.step();
    for (uint32_t v = 0; v < kVectors; ++v) CHECK_EQ(b.driver.take_interrupt(v), v == pair);
    CHECK_EQ(b.wire->got.size(), pair + 1U);
  }
}

TEST(one_write_to_the_eventfd_serves_until_it_is_taken) {
  Bench b;
  REQUIRE(b.driver.start(kBaseFeatures, 64));
  post_full(b.driver, 0, 16);
  for (int i = 0; i < 5; ++i) b.wire->send(make_frame(1, 60), 0);
  eventfd_t count = 0;
  CHECK_EQ(eventfd_read(b.nic->interrupt_fd(), &count), 0);
  CHECK_EQ(count, 1);
  CHECK(b.driver.take_interrupt(0));
  CHECK(!b.driver.wait_interrupt(0));
  b.wire->send(make_frame(1, 60), 0);
  CHECK(b.driver.wait_interrupt(0));
}

// --- interrupt coalescing, virtio 1.3 §5.1.6.5.9 -----------------------------------------------------------

TEST(interrupts_are_held_until_max_usecs_after_the_first_frame_s5_1_6_5_9) {
  Bench b;
  REQUIRE(b.driver.start(kControl | feature(kFeatureNotfCoal), 64));
  REQUIRE(b.driver.command(kCtrlNotfCoal, kCtrlNotfCoalRxSet, coalescing(1000, 50)) == kCtrlOk);
  post_full(b.driver, 0, 32);
  b.step(1'000'000);
  b.driver.take_interrupt(0);
  for (int round = 0; round < 3; ++round) {
    const TimeNs start = b.engine->now();
    b.wire->send(make_frame(1, 60), start);
    CHECK_EQ(b.step(20'000), start + 50'000);
    b.wire->send(make_frame(2, 60), b.engine->now());  // does not put it off
    CHECK_EQ(received(b.driver, 0).size(), 2);         // frames are there at once; only the interrupt waits
    CHECK_EQ(b.step(29'999), start + 50'000);
    CHECK(!b.driver.take_interrupt(0));
    b.step(1);
    CHECK(b.driver.take_interrupt(0));
    CHECK_EQ(b.step(1'000'000), kNever);
    CHECK(!b.driver.take_interrupt(0));
    CHECK_EQ(b.rx().interrupts, round + 1U);
  }
}

TEST(interrupts_are_held_until_max_packets_frames_s5_1_6_5_9) {
  Bench b;
  REQUIRE(b.driver.start(kControl | feature(kFeatureNotfCoal), 64));
  REQUIRE(b.driver.command(kCtrlNotfCoal, kCtrlNotfCoalRxSet, coalescing(8, 1'000'000)) == kCtrlOk);
  post_full(b.driver, 0, 64);
  // One at a time, then all in one batch, then in batches of three: frames count, not batches.
  for (const int batch : {1, 8, 3}) {
    int sent = 0;
    while (sent < 8) {
      CHECK(!b.driver.take_interrupt(0));
      for (int i = 0; i < batch; ++i, ++sent) b.wire->send(make_frame(1, 60), 0, false, false);
      b.wire->link()->flush(1, 0);
    }
    CHECK(b.driver.take_interrupt(0));
    b.step();
    CHECK(!b.driver.take_interrupt(0));
    received(b.driver, 0);
    post_full(b.driver, 0, static_cast<int>(b.driver.ring(0).room()));
  }
  CHECK_EQ(b.rx().interrupts, 3);
}

TEST(coalescing_of_sent_frames_is_apart_from_received_s5_1_6_5_9) {
  Bench b;
  REQUIRE(b.driver.start(kControl | feature(kFeatureNotfCoal), 64));
  REQUIRE(b.driver.command(kCtrlNotfCoal, kCtrlNotfCoalTxSet, coalescing(10, 30)) == kCtrlOk);
  post_full(b.driver, 0, 8);
  b.wire->send(make_frame(1, 60), 0);
  CHECK(b.driver.take_interrupt(0));
  const uint64_t at = b.driver.alloc(20 * 128);
  const auto send = [&](int n) {
    for (int i = 0; i < n; ++i) b.driver.add_frame(1, at + 128 * static_cast<uint64_t>(i), make_frame(1, 60));
    b.driver.publish(1);
    b.step();
    Used used;
    while (b.driver.ring(1).reap(used)) {
    }
  };
  send(9);
  CHECK(!b.driver.take_interrupt(0));
  send(1);
  CHECK(b.driver.take_interrupt(0));
  send(1);
  CHECK(!b.driver.take_interrupt(0));
  b.step(30'000);
  CHECK(b.driver.take_interrupt(0));
  send(20);
  CHECK(b.driver.take_interrupt(0));
}

TEST(nothing_is_held_with_max_usecs_or_max_packets_0_s5_1_6_5_9_1) {
  for (const auto& [packets, usecs] :
       {std::pair{0U, 0U}, std::pair{100U, 0U}, std::pair{0U, 100U}, std::pair{1U, 100U}}) {
    Bench b;
    REQUIRE(b.driver.start(kControl | feature(kFeatureNotfCoal), 64));
    REQUIRE(b.driver.command(kCtrlNotfCoal, kCtrlNotfCoalRxSet, coalescing(packets, usecs)) == kCtrlOk);
    post_full(b.driver, 0, 8);
    b.wire->send(make_frame(1, 60), 0);
    CHECK(b.driver.take_interrupt(0));
  }
}

TEST(suppressed_interrupts_are_not_held_and_held_ones_come_though_suppressed_after) {
  Bench b;
  REQUIRE(b.driver.start(kControl | feature(kFeatureNotfCoal) | feature(kFeatureEventIdx), 64));
  REQUIRE(b.driver.command(kCtrlNotfCoal, kCtrlNotfCoalRxSet, coalescing(100, 50)) == kCtrlOk);
  post_full(b.driver, 0, 32);
  b.driver.ring(0).disable_interrupts();
  b.wire->send(make_frame(1, 60), b.engine->now());
  CHECK_EQ(b.step(100'000), kNever);
  CHECK(!b.driver.take_interrupt(0));
  received(b.driver, 0);
  b.driver.ring(0).enable_interrupts();
  b.wire->send(make_frame(1, 60), b.engine->now());
  b.wire->send(make_frame(1, 60), b.engine->now());  // past used_event: held with the first
  b.step(50'000);
  CHECK(b.driver.take_interrupt(0));
}

TEST(what_is_held_goes_when_the_parameters_change_s5_1_6_5_9_4) {
  Bench b;
  REQUIRE(b.driver.start(kControl | feature(kFeatureNotfCoal), 64));
  REQUIRE(b.driver.command(kCtrlNotfCoal, kCtrlNotfCoalRxSet, coalescing(15, 1'000'000)) == kCtrlOk);
  post_full(b.driver, 0, 32);
  b.step(1000);
  for (int i = 0; i < 10; ++i) b.wire->send(make_frame(1, 60), b.engine->now());
  CHECK(!b.driver.take_interrupt(0));
  REQUIRE(b.driver.command(kCtrlNotfCoal, kCtrlNotfCoalRxSet, coalescing(8, 1'000'000)) == kCtrlOk);
  CHECK(b.driver.take_interrupt(0));
  CHECK_EQ(b.step(10'000'000'000), kNever);
}

TEST(a_reset_drops_held_interrupts_and_time_goes_on_s2_4) {
  for (const bool broken : {false, true}) {
    Bench b({}, {.delay_ns = 500'000});
    REQUIRE(b.driver.start(kControl | feature(kFeatureNotfCoal) | feature(kFeatureRingReset), 64));
    REQUIRE(b.driver.command(kCtrlNotfCoal, kCtrlNotfCoalRxSet, coalescing(1000, 50)) == kCtrlOk);
    post_full(b.driver, 0, 8);
    b.nic->deliver({.slices = nullptr, .count = 0, .length = 0}, 0, false);
    Bytes frame = make_frame(1, 60);
    const Slice slice = {frame.data(), 60};
    b.nic->deliver({.slices = &slice, .count = 1, .length = 60}, b.engine->now(), false);
    b.nic->flush(b.engine->now());
    if (broken)
      b.nic->need_reset();
    else
      b.driver.write(kRegStatus, 0);
    b.driver.take_interrupt(0);
    // A due time that nobody waits for any more must not stand in the way of others.
    b.wire->send(make_frame(2, 60), b.engine->now());
    const TimeNs start = b.engine->now();
    CHECK_EQ(b.step(100'000), start + 500'000);
    CHECK(!b.driver.take_interrupt(0));
    b.step(300'000);
    b.wire->send(make_frame(3, 60), b.engine->now());
    CHECK_EQ(b.step(200'000), start + 900'000);
    CHECK_EQ(b.nic->nic_counters().drop_not_ready, 2);
  }
}

// --- faults and recovery, §2.6.1 ---------------------------------------------------------------------------

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

// --- the control queue, §5.1.6.5 ---------------------------------------------------------------------------

TEST(control_commands_good_and_bad_s5_1_6_5) {
  Bench b({.queue_pairs = 3});
  Driver& d = b.driver;
  REQUIRE(d.start(kEverything, 64, 3));
  const auto bytes = [](std::initializer_list<uint8_t> data) {
    Bytes out;
    for (const uint8_t x : data) out.push_back(std::byte{x});
    return out;
  };
  const auto table = [](uint32_t unicast, uint32_t multicast, int cut_off = 0) {
    Bytes out;
    le(out, unicast, 4);
    out.resize(out.size() + size_t{6} * unicast);
    le(out, multicast, 4);
    out.resize(out.size() + size_t{6} * multicast);
    out.resize(out.size() - static_cast<size_t>(cut_off));
    return out;
  };
  struct Case {
    uint8_t command_class;
    uint8_t command;
    Bytes data;
    int ack;
  };
  std::vector<Case> cases;
  for (uint8_t c = 0; c <= 5; ++c) {
    cases.push_back({kCtrlRx, c, bytes({1}), kCtrlOk});
    cases.push_back({kCtrlRx, c, bytes({0}), kCtrlOk});
    cases.push_back({kCtrlRx, c, bytes({}), kCtrlErr});
    cases.push_back({kCtrlRx, c, bytes({0, 0}), kCtrlErr});
  }
  cases.push_back({kCtrlRx, 6, bytes({0}), kCtrlErr});
  cases.push_back({kCtrlRx, 255, bytes({0}), kCtrlErr});
  for (const auto& [u, m] : {std::pair{0U, 0U}, std::pair{1U, 0U}, std::pair{0U, 1U}, std::pair{64U, 64U}}) {
    cases.push_back({kCtrlMac, kCtrlMacTableSet, table(u, m), kCtrlOk});
    for (const int cut_off : {1, 3, 4, 5})
      cases.push_back({kCtrlMac, kCtrlMacTableSet, table(u, m, cut_off), kCtrlErr});
    Bytes longer = table(u, m);
    longer.push_back(std::byte{0});
    cases.push_back({kCtrlMac, kCtrlMacTableSet, longer, kCtrlErr});
  }
  cases.push_back({kCtrlMac, kCtrlMacTableSet, table(65, 0), kCtrlErr});
  cases.push_back({kCtrlMac, kCtrlMacTableSet, table(0, 65), kCtrlErr});
  cases.push_back({kCtrlMac, kCtrlMacTableSet, bytes({0, 0, 0, 0}), kCtrlErr});  // one table only
  cases.push_back({kCtrlMac, kCtrlMacTableSet, bytes({0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}), kCtrlErr});
  cases.push_back({kCtrlMac, kCtrlMacTableSet, bytes({0xab, 0xaa, 0xaa, 0x2a, 0, 0, 0, 0, 0, 0}), kCtrlErr});
  cases.push_back({kCtrlMac, kCtrlMacTableSet, bytes({}), kCtrlErr});
  cases.push_back({kCtrlMac, kCtrlMacAddrSet, bytes({2, 0, 0, 0, 0, 7}), kCtrlOk});
  cases.push_back({kCtrlMac, kCtrlMacAddrSet, bytes({1, 0, 0, 0, 0, 7}), kCtrlErr});
  cases.push_back({kCtrlMac, kCtrlMacAddrSet, bytes({2, 0, 0, 0, 0}), kCtrlErr});
  cases.push_back({kCtrlMac, kCtrlMacAddrSet, bytes({2, 0, 0, 0, 0, 0, 0}), kCtrlErr});
  cases.push_back({kCtrlMac, 2, bytes({2, 0, 0, 0, 0, 7}), kCtrlErr});
  cases.push_back({kCtrlMq, kCtrlMqVqPairsSet, bytes({1, 0}), kCtrlOk});
  cases.push_back({kCtrlMq, kCtrlMqVqPairsSet, bytes({3, 0}), kCtrlOk});
  cases.push_back({kCtrlMq, kCtrlMqVqPairsSet, bytes({0, 0}), kCtrlErr});
  cases.push_back({kCtrlMq, kCtrlMqVqPairsSet, bytes({4, 0}), kCtrlErr});
  cases.push_back({kCtrlMq, kCtrlMqVqPairsSet, bytes({1, 1}), kCtrlErr});
  cases.push_back({kCtrlMq, kCtrlMqVqPairsSet, bytes({1}), kCtrlErr});
  cases.push_back({kCtrlMq, kCtrlMqVqPairsSet, bytes({1, 0, 0}), kCtrlErr});
  cases.push_back({kCtrlMq, 1, bytes({1, 0}), kCtrlErr});
  cases.push_back({kCtrlGuestOffloads, 0, bytes({0, 0, 0, 0, 0, 0, 0, 0}), kCtrlOk});
  cases.push_back({kCtrlGuestOffloads, 0, bytes({2, 0, 0, 0, 0, 0, 0, 0}), kCtrlOk});
  cases.push_back({kCtrlGuestOffloads, 0, bytes({1, 0, 0, 0, 0, 0, 0, 0}), kCtrlErr});
  cases.push_back({kCtrlGuestOffloads, 0, bytes({2, 0, 0, 0, 0, 0, 0, 1}), kCtrlErr});
  cases.push_back({kCtrlGuestOffloads, 0, bytes({2, 0, 0, 0, 0, 0, 0}), kCtrlErr});
  cases.push_back({kCtrlGuestOffloads, 1, bytes({2, 0, 0, 0, 0, 0, 0, 0}), kCtrlErr});
  for (uint8_t c = 0; c <= 1; ++c) {
    cases.push_back({kCtrlNotfCoal, c, coalescing(0xffffffff, 0xffffffff), kCtrlOk});
    cases.push_back({kCtrlNotfCoal, c, coalescing(0, 0), kCtrlOk});
    cases.push_back({kCtrlNotfCoal, c, bytes({0, 0, 0, 0, 0, 0, 0}), kCtrlErr});
  }
  cases.push_back({kCtrlNotfCoal, 2, coalescing(1, 1), kCtrlErr});
  cases.push_back({2, 0, bytes({0, 0}), kCtrlErr});  // VLAN: not offered
  cases.push_back({3, 0, bytes({}), kCtrlErr});
  cases.push_back({255, 255, bytes({}), kCtrlErr});
  cases.push_back({kCtrlRx, 0, Bytes(4094), kCtrlErr});
  cases.push_back({kCtrlRx, 0, Bytes(4095), kCtrlErr});  // longer than any command
  cases.push_back({kCtrlRx, 0, Bytes(7000), kCtrlErr});
  for (size_t i = 0; i < cases.size(); ++i) {
    const Case& c = cases[i];
    if (!CHECK_EQ(d.command(c.command_class, c.command, c.data), c.ack))
      std::fprintf(stderr, "case %d\n", static_cast<int>(i));
  }
  CHECK_EQ(d.status() & kStatusNeedsReset, 0);
  CHECK_EQ(b.nic->counters(6).frames, cases.size());
}

TEST(a_bad_command_changes_nothing) {
  Bench b;
  REQUIRE(b.driver.start(kEverything, 64));
  post_full(b.driver, 0, 32);
  const std::array<uint8_t, 6> listed = {2, 5, 5, 5, 5, 5};
  Bytes table;
  le(table, 1, 4);
  for (const uint8_t x : listed) table.push_back(std::byte{x});
  le(table, 0, 4);
  REQUIRE(b.driver.command(kCtrlMac, kCtrlMacTableSet, table) == kCtrlOk);
  table.pop_back();
  CHECK_EQ(b.driver.command(kCtrlMac, kCtrlMacTableSet, table), kCtrlErr);
  CHECK_EQ(b.driver.command(kCtrlMac, kCtrlMacAddrSet, {3, 0, 0, 0, 0, 1}), kCtrlErr);
  CHECK_EQ(b.driver.command(kCtrlRx, kCtrlRxPromisc, {1, 1}), kCtrlErr);
  b.wire->send(make_frame(1, 60, listed), 0);
  b.wire->send(make_frame(2, 60), 0);
  b.wire->send(make_frame(3, 60, {2, 6, 6, 6, 6, 6}), 0);
  CHECK_EQ(received(b.driver, 0).size(), 2);
}

TEST(commands_need_their_features_s5_1_6_5) {
  Bench b({.queue_pairs = 2});
  REQUIRE(b.driver.start(kControl, 64));
  Driver& d = b.driver;
  CHECK_EQ(d.command(kCtrlRx, kCtrlRxPromisc, {1}), kCtrlErr);
  CHECK_EQ(d.command(kCtrlMac, kCtrlMacTableSet, {0, 0, 0, 0, 0, 0, 0, 0}), kCtrlErr);
  CHECK_EQ(d.command(kCtrlMac, kCtrlMacAddrSet, {2, 0, 0, 0, 0, 7}), kCtrlErr);
  CHECK_EQ(d.command(kCtrlMq, kCtrlMqVqPairsSet, {1, 0}), kCtrlErr);
  CHECK_EQ(d.command(kCtrlGuestOffloads, 0, {0, 0, 0, 0, 0, 0, 0, 0}), kCtrlErr);
  CHECK_EQ(d.command(kCtrlNotfCoal, kCtrlNotfCoalTxSet, coalescing(1, 1)), kCtrlErr);
  REQUIRE(d.start(kControl | feature(kFeatureCtrlRx), 64));
  CHECK_EQ(d.command(kCtrlRx, kCtrlRxAllmulti, {1}), kCtrlOk);
  CHECK_EQ(d.command(kCtrlRx, kCtrlRxAlluni, {1}), kCtrlErr);  // RX_EXTRA
  CHECK_EQ(d.command(kCtrlRx, kCtrlRxNobcast, {1}), kCtrlErr);
}

TEST(without_mq_the_control_queue_is_the_third_s5_1_2) {
  Bench b({.queue_pairs = 4});
  REQUIRE(b.driver.start(kControl | feature(kFeatureCtrlRx), 8));
  CHECK_EQ(b.driver.control_index(), 2);
  CHECK_EQ(b.driver.command(kCtrlRx, kCtrlRxPromisc, {1}), kCtrlOk);
  REQUIRE(b.driver.start(kControl | feature(kFeatureCtrlRx) | feature(kFeatureMq), 8, 4));
  CHECK_EQ(b.driver.control_index(), 8);
  CHECK_EQ(b.driver.command(kCtrlRx, kCtrlRxPromisc, {1}), kCtrlOk);
}

TEST(a_command_may_be_cut_anywhere_s2_7_4_1) {
  Bench b;
  Driver& d = b.driver;
  REQUIRE(d.start(kControl | feature(kFeatureCtrlMacAddr), 16));
  const uint64_t at = d.alloc(64);
  for (uint8_t i = 1; i < 8; ++i)
    for (uint8_t j = i; j < 8; ++j) {
      const uint8_t request[] = {kCtrlMac, kCtrlMacAddrSet, 2, i, j, 3, 4, 5};
      std::memcpy(d.at(at), request, 8);
      std::vector<uint32_t> pieces = {i};
      if (j > i) pieces.push_back(static_cast<uint32_t>(j - i));
      pieces.push_back(8U - j);
      std::vector<Buffer> chain = cut(at, pieces, false);
      chain.push_back({at + 16, 1, true});
      chain.push_back({at + 32, 7, true});  // more room than the ack needs
      *d.at(at + 16) = std::byte{9};
      REQUIRE(d.ring(2).add(chain) >= 0);
      d.publish(2);
      b.step();
      Used used;
      REQUIRE(d.ring(2).reap(used));
      CHECK_EQ(used.len, 1);
      CHECK_EQ(*d.at(at + 16), std::byte{kCtrlOk});
      CHECK_EQ(d.read(kRegConfig),
               0x03000002U | static_cast<uint32_t>(i) << 8 | static_cast<uint32_t>(j) << 16);
    }
}

TEST(the_mac_filter_lets_through_what_the_standard_says_s5_1_6_5_1) {
  const std::array<uint8_t, 6> own = {2, 0, 0, 0, 0, 1};
  const std::array<uint8_t, 6> listed = {2, 5, 5, 5, 5, 5};
  const std::array<uint8_t, 6> other = {2, 6, 6, 6, 6, 6};
  const std::array<uint8_t, 6> group = {0x33, 0x33, 0, 0, 0, 1};
  const std::array<uint8_t, 6> other_group = {1, 0, 0x5e, 0, 0, 1};
  const std::array<uint8_t, 6> all = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  // Every combination of the six switches, against the words of §5.1.6.5.1.
  for (uint32_t on = 0; on < 64; ++on) {
    Bench b;
    REQUIRE(b.driver.start(kEverything, 64));
    post_full(b.driver, 0, 16);
    Bytes table;
    le(table, 1, 4);
    for (const uint8_t x : listed) table.push_back(std::byte{x});
    le(table, 1, 4);
    for (const uint8_t x : group) table.push_back(std::byte{x});
    REQUIRE(b.driver.command(kCtrlMac, kCtrlMacTableSet, table) == kCtrlOk);
    for (uint8_t c = 0; c < 6; ++c)
      REQUIRE(b.driver.command(kCtrlRx, c, {static_cast<uint8_t>(on >> c & 1)}) == kCtrlOk);
    const auto set = [on](uint8_t c) { return (on >> c & 1) != 0; };
    const bool promisc = set(kCtrlRxPromisc);
    const auto passes = [&](const std::array<uint8_t, 6>& to) {
      b.wire->send(make_frame(1, 60, to), 0);
      return received(b.driver, 0).size() == 1;
    };
    CHECK_EQ(passes(own), promisc || !set(kCtrlRxNouni));
    CHECK_EQ(passes(listed), promisc || !set(kCtrlRxNouni));
    CHECK_EQ(passes(other), promisc || (set(kCtrlRxAlluni) && !set(kCtrlRxNouni)));
    CHECK_EQ(passes(group), promisc || !set(kCtrlRxNomulti));
    CHECK_EQ(passes(other_group), promisc || (set(kCtrlRxAllmulti) && !set(kCtrlRxNomulti)));
    CHECK_EQ(passes(all), promisc || !set(kCtrlRxNobcast));
    CHECK_EQ(b.nic->nic_counters().drop_filtered + b.rx().frames, 6);
  }
}

TEST(without_ctrl_rx_everything_is_let_through) {
  Bench b;
  REQUIRE(b.driver.start(kBaseFeatures, 8));
  post_full(b.driver, 0, 4);
  b.wire->send(make_frame(1, 60, {2, 6, 6, 6, 6, 6}), 0);
  b.wire->send(make_frame(1, 60, {1, 6, 6, 6, 6, 6}), 0);
  CHECK_EQ(received(b.driver, 0).size(), 2);
}

TEST(a_new_address_is_in_the_configuration_and_in_the_filter_s5_1_6_5_2_1) {
  Bench b;
  REQUIRE(b.driver.start(kEverything, 8));
  post_full(b.driver, 0, 4);
  const uint32_t generation = b.driver.read(kRegConfigGeneration);
  REQUIRE(b.driver.command(kCtrlMac, kCtrlMacAddrSet, {2, 7, 7, 7, 7, 7}) == kCtrlOk);
  CHECK_EQ(b.driver.read(kRegConfig), 0x07070702);
  CHECK(b.driver.read(kRegConfigGeneration) != generation);
  b.wire->send(make_frame(1, 60), 0);
  b.wire->send(make_frame(2, 60, {2, 7, 7, 7, 7, 7}), 0);
  const std::vector<Bytes> got = received(b.driver, 0);
  REQUIRE(got.size() == 1);
  CHECK(got[0] == make_frame(2, 60, {2, 7, 7, 7, 7, 7}));
}

// --- steering ----------------------------------------------------------------------------------------------

TEST(steered_flows_go_to_their_queue_and_all_else_to_the_first) {
  Bench b({.queue_pairs = 4});
  REQUIRE(b.driver.start(kControl | feature(kFeatureMq), 32, 4));
  REQUIRE(set_pairs(b.driver, 4) == kCtrlOk);
  for (uint16_t q = 0; q < 8; q = static_cast<uint16_t>(q + 2)) post_full(b.driver, q, 32);
  const auto queue_of = [&](const Bytes& frame, bool pieces = false) {
    if (pieces) {  // cut within the addresses
      Bytes copy = frame;
      const Slice s[] = {
          {copy.data(), 20}, {&copy[20], 9}, {&copy[29], static_cast<uint32_t>(copy.size() - 29)}};
      b.wire->send_slices(s, 0);
    } else {
      b.wire->send(frame, 0);
    }
    int at = -1;
    for (uint16_t q = 0; q < 8; q = static_cast<uint16_t>(q + 2))
      for (const Bytes& got : received(b.driver, q)) {
        CHECK(at < 0);
        CHECK(got == frame);
        at = q / 2;
      }
    return at;
  };
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}})
    for (const uint8_t protocol : {uint8_t{6}, uint8_t{17}}) {
      Packet p;
      p.family = family;
      p.protocol = protocol;
      p.payload = 0;
      CHECK_EQ(queue_of(p.build()), 0);
      REQUIRE(b.nic->steer(p.flow(), 2));
      REQUIRE(b.nic->steer(p.any_source(), 1));
      CHECK_EQ(queue_of(p.build()), 2);
      CHECK_EQ(queue_of(p.build(), true), 2);
      Packet stranger = p;
      stranger.source[3] ^= 1;
      CHECK_EQ(queue_of(stranger.build()), 1);
      stranger = p;
      stranger.source_port ^= 1;
      CHECK_EQ(queue_of(stranger.build()), 1);
      stranger = p;
      stranger.destination_port ^= 1;
      CHECK_EQ(queue_of(stranger.build()), 0);
      stranger = p;
      stranger.destination[3] ^= 1;
      CHECK_EQ(queue_of(stranger.build()), 0);
      Packet odd = p;
      odd.options = 1;
      odd.extension = true;
      CHECK_EQ(queue_of(odd.build()), 0);
      if (family == 4) {
        odd = p;
        odd.fragment = 0x2000;
        CHECK_EQ(queue_of(odd.build()), 0);
      }
      REQUIRE(b.nic->unsteer(p.flow()));
      CHECK_EQ(queue_of(p.build()), 1);
      REQUIRE(b.nic->unsteer(p.any_source()));
      CHECK_EQ(queue_of(p.build()), 0);
      CHECK(!b.nic->unsteer(p.flow()));
    }
  CHECK(!b.nic->steer(Packet().flow(), 4));
  CHECK_EQ(b.nic->nic_counters().steered, 4 * 5);
}

TEST(a_flow_steered_to_a_queue_that_is_off_is_dropped_and_counted) {
  Bench b({.queue_pairs = 2});
  REQUIRE(b.driver.start(kRingReset | kControl | feature(kFeatureMq), 8, 2));
  Packet p;
  REQUIRE(b.nic->steer(p.flow(), 1));
  post_full(b.driver, 2, 4);
  b.wire->send(p.build(), 0);  // one pair is active until the driver says otherwise (§5.1.6.5.5)
  CHECK_EQ(b.nic->nic_counters().drop_not_ready, 1);
  REQUIRE(set_pairs(b.driver, 2) == kCtrlOk);
  b.wire->send(p.build(), 0);
  CHECK_EQ(received(b.driver, 2).size(), 1);
  b.driver.reset_queue(2);
  b.wire->send(p.build(), 0);
  CHECK_EQ(b.nic->nic_counters().drop_not_ready, 2);
}

TEST(queues_of_pairs_that_are_not_active_do_not_send_s5_1_6_5_5) {
  Bench b({.queue_pairs = 2});
  REQUIRE(b.driver.start(kControl | feature(kFeatureMq), 8, 2));
  b.driver.add_frame(3, b.driver.alloc(128), make_frame(1, 60));
  b.driver.publish(3);
  b.driver.kick(3);
  b.step();
  CHECK_EQ(b.wire->got.size(), 0);
  CHECK(b.nic->arm());  // nor do they keep the engine awake
  REQUIRE(set_pairs(b.driver, 2) == kCtrlOk);
  b.step();
  CHECK_EQ(b.wire->got.size(), 1);
}

TEST(chains_on_a_control_queue_that_was_not_negotiated_keep_nobody_awake) {
  Bench b;
  REQUIRE(b.driver.start(kBaseFeatures, 8));
  REQUIRE(b.driver.enable_queue(2, 8));
  const uint64_t at = b.driver.alloc(64);
  const Buffer chain[] = {{at, 3, false}, {at + 8, 1, true}};
  b.driver.ring(2).add(chain);
  b.driver.ring(2).publish();
  b.driver.kick(2);
  b.step();
  CHECK(b.nic->arm());
  CHECK(!b.driver.ring(2).pending());
}

// --- counters ----------------------------------------------------------------------------------------------

TEST(every_frame_is_delivered_or_dropped_for_one_counted_reason) {
  uint64_t all_got = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SplitMix random(seed);
    Bench b({.queue_pairs = 2, .mtu = 500}, {.duplicate = 0.1, .corrupt = 0.05}, size_t{16} << 20, 0, seed);
    Driver& d = b.driver;
    REQUIRE(d.start(kEverything & ~(random.chance(0.5) ? feature(kFeatureMrgRxbuf) : 0), 16, 2));
    REQUIRE(set_pairs(d, 2) == kCtrlOk);
    Packet p;
    b.nic->steer(p.flow(), 1);
    uint64_t got = 0;
    uint64_t bytes = 0;
    for (uint64_t i = 0; i < 600; ++i) {
      const auto q = static_cast<uint16_t>(2 * random.below(2));
      if (random.chance(0.5) && d.ring(q).room() > 2) {
        const uint64_t at = 0x80000 + (i % 16 + uint64_t{16} * q) * 1024;
        auto lengths = mock::random_lengths(random, static_cast<uint32_t>(1 + random.below(600)), 3);
        d.ring(q).add(cut(at, lengths, true));
        d.publish(q);
      }
      if (random.chance(0.02)) {
        d.reset_queue(q);
        d.enable_queue(q, 16);
      }
      if (random.chance(0.01)) d.command(kCtrlRx, kCtrlRxNouni, {static_cast<uint8_t>(random.below(2))});
      const auto length = static_cast<uint32_t>(1 + random.below(600));
      b.wire->send(random.chance(0.3) ? p.build() : make_frame(i, length), b.engine->now());
      for (uint16_t k = 0; k < 4; k = static_cast<uint16_t>(k + 2)) {
        Received r;
        while (d.receive(k, r)) ++got, bytes += r.frame.size();
      }
    }
    const WireCounters& w = b.link->counters(1);
    const bool ok = CHECK_EQ(w.offered, 600) && CHECK_EQ(w.offered + w.duplicated, w.delivered + w.refused) &&
                    CHECK_EQ(w.delivered, b.rx(0).frames + b.rx(1).frames) && CHECK_EQ(w.delivered, got) &&
                    CHECK_EQ(bytes, b.rx(0).bytes + b.rx(1).bytes) && CHECK_EQ(w.refused, dropped(*b.nic));
    all_got += got;
    if (!ok) {
      std::fprintf(stderr, "seed %d\n", static_cast<int>(seed));
      return;
    }
  }
  CHECK(all_got > 1000);
}

TEST(doorbells_are_counted_where_they_ring) {
  Bench b;
  REQUIRE(b.driver.start(kBaseFeatures, 8));
  for (int i = 0; i < 3; ++i) b.driver.kick(1);
  b.driver.kick(0);
  b.driver.kick(3);  // no such queue
  b.driver.kick(0xffff);
  b.driver.write(kRegQueueNotify, 1);
  b.step();
  CHECK_EQ(b.tx().kicks, 4);
  CHECK_EQ(b.rx().kicks, 1);
}

// --- room: pause and drop ----------------------------------------------------------------------------------

namespace {

// Two cards on one wire. Frames go from `a` to `b`.
struct Pair {
  std::shared_ptr<Engine> engine = mock::make_engine();
  std::shared_ptr<Nic> nic_a;
  std::shared_ptr<Nic> nic_b;
  std::shared_ptr<Link> link;
  Driver a;
  Driver b;
  uint64_t at;

  explicit Pair(const WireOptions& wire, const NicOptions& options = {})
      : nic_a(mock::make_nic(*engine, options)),
        nic_b(mock::make_nic(*engine, options)),
        link(mock::make_link(*engine, nic_a, nic_b, wire)),
        a(engine, nic_a),
        b(engine, nic_b),
        at(a.alloc(65536)) {}
  void send(uint64_t n, uint32_t length = 60) {
    for (uint64_t i = 0; i < n; ++i) a.add_frame(1, at + 1024 * i, make_frame(i, length));
    a.publish(1);
    step();
  }
  void step(TimeNs by = 0) { engine->step(engine->now() + by); }
  uint64_t sent() {
    uint64_t n = 0;
    Used used;
    while (a.ring(1).reap(used)) ++n;
    return n;
  }
};

}  // namespace

TEST(without_buffers_frames_are_dropped_or_with_pause_wait_802_3_annex_31b) {
  for (const TimeNs delay : {TimeNs{0}, TimeNs{100}})
    for (const bool pause : {false, true}) {
      Pair p({.delay_ns = delay, .queue_frames = 4, .pause = pause});
      REQUIRE(p.a.start(kBaseFeatures, 32));
      REQUIRE(p.b.start(kBaseFeatures, 32));
      post_full(p.b, 0, 3);
      p.send(16);
      p.step(1000);
      CHECK_EQ(received(p.b, 0).size(), 3);
      const uint64_t sent = p.sent();
      if (pause) {
        CHECK_EQ(sent, delay == 0 ? 3 : 7);  // and four on the wire
        for (int i = 0; i < 13; ++i) {
          post_full(p.b, 0, 1);
          p.step(1000);
          REQUIRE(received(p.b, 0).size() == 1);
        }
        CHECK_EQ(sent + p.sent(), 16);
        CHECK_EQ(p.nic_b->counters(0).drop_no_buffer, 0);
      } else {
        CHECK_EQ(sent, 16);
        CHECK_EQ(p.nic_b->counters(0).drop_no_buffer + p.link->counters(0).queue_full, 13);
      }
    }
}

// A sender that waits must not wait for buffers that nobody will bring.
TEST(a_waiting_sender_goes_on_when_what_it_waits_for_is_gone) {
  enum class How : uint8_t {
    kRingReset,
    kUnmap,
    kReset,
    kNeedsReset,
    kUnplug,
    kFault,
    kMac,
    kPairs,
    kUnsteer,
    kEnd
  };
  for (int how = 0; how < static_cast<int>(How::kEnd); ++how)
    for (const TimeNs delay : {TimeNs{0}, TimeNs{100}}) {
      Pair p({.delay_ns = delay, .pause = true}, {.queue_pairs = 2});
      REQUIRE(p.a.start(kBaseFeatures, 32));
      REQUIRE(p.b.start(kEverything, 32, 2));
      REQUIRE(set_pairs(p.b, 2) == kCtrlOk);
      Packet steered;
      const Bytes frame = steered.build();
      REQUIRE(p.nic_b->steer(steered.flow(), 1));
      post_full(p.b, 0, 1);
      const auto which = static_cast<How>(how);
      p.a.add_frame(1, p.at, frame);
      p.a.publish(1);
      p.step(1000);
      CHECK_EQ(p.link->counters(0).delivered + p.link->counters(0).refused, 0);
      switch (which) {
        case How::kRingReset:
          p.b.reset_queue(2);
          break;
        case How::kUnmap:
          p.nic_b->unmap(2, 0);
          break;
        case How::kReset:
          p.b.write(kRegStatus, 0);
          break;
        case How::kNeedsReset:
          p.nic_b->need_reset();
          break;
        case How::kUnplug:
          p.link->unplug();
          break;
        case How::kFault:
          p.b.ring(2).avail_idx().store(1000);
          p.b.kick(2);
          break;
        case How::kMac:
          REQUIRE(p.b.command(kCtrlRx, kCtrlRxNouni, {1}) == kCtrlOk);
          break;
        case How::kPairs:
          REQUIRE(set_pairs(p.b, 1) == kCtrlOk);
          break;
        case How::kUnsteer:
          REQUIRE(p.nic_b->unsteer(steered.flow()));
          break;
        case How::kEnd:
          break;
      }
      p.step(1000);
      const WireCounters& c = p.link->counters(0);
      const uint64_t out = c.delivered + c.refused + c.lost + p.nic_a->counters(1).drop_no_carrier;
      if (!CHECK_EQ(out, 1) || !CHECK_EQ(c.delivered, which == How::kUnsteer ? 1 : 0) ||
          !CHECK_EQ(p.sent(), 1) || !CHECK_EQ(p.nic_b->counters(2).faults, which == How::kFault ? 1 : 0))
        std::fprintf(stderr, "how %d\n", how);
    }
}

// --- DMA domains -------------------------------------------------------------------------------------------

TEST(a_mapping_that_may_only_be_read_takes_no_frame) {
  Bench b;
  std::string error;
  const auto region = Region::create(4096, error);
  REQUIRE(b.nic->map(0, {uint64_t{1} << 32, 4096, region->data(), Access::kRead, region}));
  REQUIRE(b.nic->map(1, {uint64_t{1} << 32, 4096, region->data(), Access::kRead, region}));
  REQUIRE(b.driver.start(kBaseFeatures, 8));
  const Bytes frame = make_frame(1, 60);
  std::memset(region->data(), 0, 4096);
  std::memcpy(region->data() + kHeader, frame.data(), 60);
  b.driver.ring(1).add(cut(uint64_t{1} << 32, {kHeader + 60U}, false));
  b.driver.publish(1);
  b.driver.ring(0).add(cut(uint64_t{1} << 32, {kHeader + 60U}, true));
  b.driver.publish(0);
  b.step();
  CHECK_EQ(b.wire->got.size(), 1);
  b.wire->send(make_frame(2, 60), 0);
  CHECK_EQ(b.nic->fault(0), Fault::kOutsideDomain);
  CHECK(std::equal(frame.begin(), frame.end(), region->data() + kHeader));
}

TEST(each_queue_has_a_domain_of_its_own) {
  Bench b;
  std::string error;
  const auto region = Region::create(4096, error);
  REQUIRE(b.nic->map(1, {uint64_t{1} << 32, 4096, region->data(), Access::kBoth, region}));
  CHECK(!b.nic->map(1, {uint64_t{1} << 32, 4096, region->data(), Access::kBoth, region}));
  CHECK(!b.nic->map(3, {0, 4096, region->data(), Access::kBoth, region}));
  CHECK(!b.nic->map(-2, {0, 4096, region->data(), Access::kBoth, region}));
  REQUIRE(b.driver.start(kBaseFeatures, 8));
  b.driver.ring(0).add(cut(uint64_t{1} << 32, {kHeader + 60U}, true));
  b.driver.publish(0);
  b.wire->send(make_frame(1, 60), 0);
  CHECK_EQ(b.nic->fault(0), Fault::kOutsideDomain);
}

TEST(a_mapping_for_every_queue_is_for_all_or_none) {
  Bench b;
  std::string error;
  const auto region = Region::create(4096, error);
  const Mapping mapping = {uint64_t{1} << 32, 4096, region->data(), Access::kBoth, region};
  REQUIRE(b.nic->map(2, mapping));
  CHECK(!b.nic->map(Nic::kEveryQueue, mapping));
  REQUIRE(b.nic->unmap(2, mapping.iova));
  CHECK(b.nic->map(Nic::kEveryQueue, mapping));  // so nothing was left of it on the others
  CHECK(b.nic->unmap(Nic::kEveryQueue, mapping.iova));
  CHECK(!b.nic->unmap(Nic::kEveryQueue, mapping.iova));
  for (uint16_t q = 0; q < 3; ++q) CHECK(b.nic->map(q, mapping));
}

TEST(unmapping_stops_the_queue_before_the_pages_go) {
  Bench b;
  std::string error;
  auto region = Region::create(4096, error);
  const std::weak_ptr<Region> watch = region;
  REQUIRE(b.nic->map(0, {uint64_t{1} << 32, 4096, region->data(), Access::kBoth, region}));
  region.reset();
  CHECK(!watch.expired());  // the mapping holds it
  REQUIRE(b.driver.start(kRingReset, 8));
  b.driver.ring(0).add(cut(uint64_t{1} << 32, {kHeader + 60U}, true));
  b.driver.publish(0);
  // Delivered but not shown yet: then the pages go.
  Bytes frame = make_frame(1, 60);
  const Slice slice = {frame.data(), 60};
  CHECK_EQ(b.nic->deliver({.slices = &slice, .count = 1, .length = 60}, 0, false), Delivery::kTaken);
  REQUIRE(b.nic->unmap(0, uint64_t{1} << 32));
  CHECK(watch.expired());
  b.nic->flush(0);
  CHECK(!b.driver.ring(0).pending());
  b.driver.select(0);
  CHECK_EQ(b.driver.read(kRegQueueReady), 0);
  b.wire->send(make_frame(1, 60), 0);
  CHECK_EQ(b.nic->nic_counters().drop_not_ready, 1);
}

TEST(a_reset_between_delivery_and_flush_loses_no_later_frame) {
  Bench b;
  REQUIRE(b.driver.start(kBaseFeatures, 8));
  post_full(b.driver, 0, 4);
  Bytes frame = make_frame(1, 60);
  const Slice slice = {frame.data(), 60};
  b.nic->deliver({.slices = &slice, .count = 1, .length = 60}, 0, false);
  b.driver.write(kRegStatus, 0);
  b.nic->flush(0);
  REQUIRE(b.driver.start(kBaseFeatures, 8));
  post_full(b.driver, 0, 4);
  b.wire->send(frame, 0);
  CHECK_EQ(received(b.driver, 0).size(), 1);
}

// --- taps --------------------------------------------------------------------------------------------------

TEST(a_monitor_sees_what_was_sent_and_taken_and_no_more) {
  struct Seen final : Monitor {
    std::vector<std::pair<bool, Bytes>> frames;
    void frame(bool inbound, const Frame& frame, TimeNs) override {
      Bytes bytes(frame.length);
      frame.copy(0, bytes.data(), frame.length);
      frames.emplace_back(inbound, std::move(bytes));
    }
  };
  Bench b;
  Seen seen;
  b.nic->set_monitor(&seen);
  REQUIRE(b.driver.start(kBaseFeatures, 8));
  b.wire->send(make_frame(1, 60), 0);  // no buffer
  post_full(b.driver, 0, 1);
  b.wire->send(make_frame(2, 60), 0);
  b.driver.add_frame(1, b.driver.alloc(128), make_frame(3, 70), {5, 20});
  b.driver.publish(1);
  b.step();
  b.nic->set_monitor(nullptr);
  b.driver.add_frame(1, b.driver.alloc(128), make_frame(4, 70));
  b.driver.publish(1);
  b.step();
  REQUIRE(seen.frames.size() == 2);
  CHECK(seen.frames[0] == std::pair(true, make_frame(2, 60)));
  CHECK(seen.frames[1] == std::pair(false, make_frame(3, 70)));
}

CHECK_MAIN()
