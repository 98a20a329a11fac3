#include "core/steering.h"

#include "check.h"
#include "fixture.h"
#include "mock_driver.h"
#include "packets.h"

using namespace ringcube;
using mock::Bench;
using mock::Bytes;
using mock::kControl;
using mock::kRingReset;
using mock::Packet;
using mock::post_full;
using mock::received;
using mock::set_pairs;

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

CHECK_MAIN()
