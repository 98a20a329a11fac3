// Sending (core/nic_transmit.cc), virtio 1.2 §5.1.6.2.
#include <algorithm>
#include <cstring>

#include "check.h"
#include "core/nic.h"
#include "fixture.h"
#include "mock_driver.h"
#include "packets.h"

using namespace ringcube;
using mock::Bench;
using mock::Bytes;
using mock::cut;
using mock::kBaseFeatures;
using mock::kControl;
using mock::kHeader;
using mock::L4;
using mock::make_frame;
using mock::Packet;
using mock::set_pairs;
using mock::Shape;
using mock::Used;

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

namespace {

// The header of a frame whose checksum is the card's to complete.
VirtioNetHdr left_open(size_t start, size_t offset) {
  VirtioNetHdr header = {};
  header.flags = kHdrNeedsCsum;
  header.csum_start = static_cast<uint16_t>(start);
  header.csum_offset = static_cast<uint16_t>(offset);
  return header;
}

Bytes completed(const Bytes& frame, size_t start, size_t offset) {
  Bytes whole = frame;
  const uint16_t c = mock::Rfc1071().bytes(&frame[start], frame.size() - start).checksum();
  mock::put16(whole, start + offset, c == 0 ? 0xffff : c);  // RFC 768
  return whole;
}

}  // namespace

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
      b.driver.add_frame(1, at, frame, mock::random_lengths(random, 79, 5), Shape::kDirect,
                         left_open(start, offset));
      b.driver.publish(1);
      b.step();
      Used used;
      REQUIRE(b.driver.ring(1).reap(used));
      if (start + offset + 2 > 67) {
        REQUIRE(b.tx().drop_bad_header == ++bad);
        continue;
      }
      REQUIRE(b.wire->got.size() == ++good);
      REQUIRE(b.wire->got.back().bytes == completed(frame, start, offset));
      // The driver's own buffer is the driver's (§2.7.5.1: no writing to what is to be read).
      REQUIRE(std::equal(frame.begin(), frame.end(), b.driver.at(at + kHeader)));
    }
}

// Of a long frame only the head is copied, wherever the descriptors cut it, and even between a field's two
// bytes.
TEST(checksums_of_long_frames_are_completed_over_their_pieces_s5_1_6_2_2) {
  Bench b;
  REQUIRE(b.driver.start(kBaseFeatures | feature(kFeatureCsum), 64));
  const uint64_t at = b.driver.alloc(4096);
  SplitMix random(6);
  size_t good = 0;
  for (int round = 0; round < 4000; ++round) {
    const auto length = static_cast<uint32_t>(500 + random.below(1015));
    const Bytes frame = make_frame(static_cast<uint8_t>(round), length);
    // Where headers are, or anywhere.
    const auto start = static_cast<uint32_t>(random.below(round % 2 == 0 ? 80 : length - 20));
    const auto offset = static_cast<uint32_t>(random.below(19));
    const uint32_t bytes = length + kHeader;
    const auto cuts = round % 3 == 0
                          ? std::vector<uint32_t>{static_cast<uint32_t>(kHeader + 14 + random.below(290))}
                          : mock::random_lengths(random, bytes, 1 + random.below(9));
    b.driver.add_frame(1, at, frame, cuts, Shape::kDirect, left_open(start, offset));
    b.driver.publish(1);
    b.step();
    Used used;
    REQUIRE(b.driver.ring(1).reap(used));
    REQUIRE(b.wire->got.size() == ++good);
    REQUIRE(b.wire->got.back().bytes == completed(frame, start, offset));
    REQUIRE(std::equal(frame.begin(), frame.end(), b.driver.at(at + kHeader)));
  }
}

// A device that completes what a driver left open does not vouch for what the driver put there.
TEST(only_a_right_partial_checksum_is_known_to_be_good_behind_the_wire) {
  Bench b;
  REQUIRE(b.driver.start(kBaseFeatures | feature(kFeatureCsum), 64));
  const uint64_t at = b.driver.alloc(2048);
  const auto known = [&](const Bytes& frame, size_t start, size_t offset) {
    b.driver.add_frame(1, at, frame, {}, Shape::kDirect, left_open(start, offset));
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

CHECK_MAIN()
