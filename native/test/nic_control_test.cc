// The control queue (core/nic_control.cc), virtio 1.2 §5.1.6.5.
#include <cstdio>
#include <cstring>
#include <utility>
#include <vector>

#include "check.h"
#include "core/nic.h"
#include "fixture.h"
#include "mock_driver.h"

using namespace ringcube;
using mock::Bench;
using mock::Buffer;
using mock::Bytes;
using mock::coalescing;
using mock::cut;
using mock::Driver;
using mock::kBaseFeatures;
using mock::kControl;
using mock::le;
using mock::make_frame;
using mock::post_full;
using mock::received;
using mock::Used;

TEST(control_commands_good_and_bad_s5_1_6_5) {
  Bench b({.queue_pairs = 3});
  Driver& d = b.driver;
  REQUIRE(d.start(kAllFeatures, 64, 3));
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
  REQUIRE(b.driver.start(kAllFeatures, 64));
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
    REQUIRE(b.driver.start(kAllFeatures, 64));
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
  REQUIRE(b.driver.start(kAllFeatures, 8));
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

CHECK_MAIN()
