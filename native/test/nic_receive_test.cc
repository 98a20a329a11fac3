// Receiving (core/nic_receive.cc), and what becomes of frames that find no buffer.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "check.h"
#include "core/nic.h"
#include "fixture.h"
#include "mock_driver.h"
#include "packets.h"

using namespace ringcube;
using mock::Bench;
using mock::Bytes;
using mock::cut;
using mock::Driver;
using mock::dropped;
using mock::kBaseFeatures;
using mock::kControl;
using mock::kHeader;
using mock::L4;
using mock::le;
using mock::make_frame;
using mock::Packet;
using mock::post_full;
using mock::Received;
using mock::received;
using mock::Ring;
using mock::set_pairs;
using mock::Shape;
using mock::Used;

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
      REQUIRE(p.b.start(kAllFeatures, 32, 2));
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

CHECK_MAIN()
