#include "core/nic.h"

#include <cstdio>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "check.h"
#include "fixture.h"
#include "mock_driver.h"
#include "packets.h"

using namespace ringcube;
using mock::Bench;
using mock::Bytes;
using mock::coalescing;
using mock::cut;
using mock::Driver;
using mock::dropped;
using mock::kBaseFeatures;
using mock::kControl;
using mock::make_frame;
using mock::Packet;
using mock::post_full;
using mock::Received;
using mock::received;
using mock::set_pairs;

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
  REQUIRE(d.negotiate(kAllFeatures));
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
  REQUIRE(d.start(kAllFeatures, 8, 2));
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
  REQUIRE(d.start(kAllFeatures, 8, 2));
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

// --- counters ----------------------------------------------------------------------------------------------

TEST(every_frame_is_delivered_or_dropped_for_one_counted_reason) {
  uint64_t all_got = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SplitMix random(seed);
    Bench b({.queue_pairs = 2, .mtu = 500}, {.duplicate = 0.1, .corrupt = 0.05}, size_t{16} << 20, 0, seed);
    Driver& d = b.driver;
    REQUIRE(d.start(kAllFeatures & ~(random.chance(0.5) ? feature(kFeatureMrgRxbuf) : 0), 16, 2));
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
