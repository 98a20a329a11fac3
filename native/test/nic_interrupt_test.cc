// When a card interrupts its driver, and when it waits with that.
#include <sys/eventfd.h>

#include <utility>

#include "check.h"
#include "core/nic.h"
#include "fixture.h"
#include "mock_driver.h"

using namespace ringcube;
using mock::Bench;
using mock::Bytes;
using mock::coalescing;
using mock::kBaseFeatures;
using mock::kControl;
using mock::make_frame;
using mock::post_full;
using mock::received;
using mock::Ring;
using mock::set_pairs;
using mock::Used;

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
  REQUIRE(b.driver.start(kAllFeatures, 8, 40));
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

CHECK_MAIN()
