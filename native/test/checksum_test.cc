#include "core/checksum.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "check.h"
#include "core/steering.h"
#include "mock_driver.h"
#include "packets.h"

using namespace ringcube;
using mock::Bytes;
using mock::L4;
using mock::Packet;
using mock::Rfc1071;

namespace {

uint16_t swapped(uint16_t v) { return static_cast<uint16_t>(v << 8 | v >> 8); }

Bytes random_bytes(SplitMix& random, size_t n) {
  Bytes out(n);
  for (std::byte& b : out) b = static_cast<std::byte>(random.next());
  return out;
}

// Every packet that has a checksum of its own.
std::vector<Packet> packets() {
  std::vector<Packet> out;
  for (const uint8_t family : {uint8_t{4}, uint8_t{6}})
    for (const uint8_t protocol : {uint8_t{6}, uint8_t{17}})
      for (const uint32_t payload : {0U, 1U, 2U, 3U, 64U, 1001U, 1440U})
        for (const uint8_t options : {uint8_t{0}, uint8_t{3}, uint8_t{10}}) {
          if (family == 6 && options != 0) continue;
          Packet p;
          p.family = family;
          p.protocol = protocol;
          p.payload = payload;
          p.options = options;
          p.seed = out.size() + 1;
          for (size_t i = 0; i < 16; ++i) p.source[i] = static_cast<uint8_t>(i * 37 + out.size());
          for (size_t i = 0; i < 16; ++i) p.destination[i] = static_cast<uint8_t>(i * 101 + 7);
          out.push_back(p);
        }
  return out;
}

}  // namespace

// --- RFC 1071 ----------------------------------------------------------------------------------------------

TEST(checksum_agrees_with_rfc_1071_byte_by_byte) {
  SplitMix random(1);
  for (size_t n = 0; n < 300; ++n) {
    Bytes data = random_bytes(random, n + 8);
    for (size_t align = 0; align < 8; ++align)
      REQUIRE(checksum_fold(checksum_add(0, &data[align], n)) ==
              swapped(Rfc1071().bytes(&data[align], n).checksum()));
  }
}

TEST(checksum_of_the_example_of_rfc_1071_s3) {
  const uint8_t example[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  const auto* data = reinterpret_cast<const std::byte*>(example);
  CHECK_EQ(checksum_fold(checksum_add(0, data, 8)), swapped(static_cast<uint16_t>(~0xddf2)));
}

TEST(checksum_carries_survive_long_runs_of_ones_rfc_1071_s2) {
  const Bytes ones(65536, std::byte{0xff});
  for (const size_t n : {size_t{65536}, size_t{65535}, size_t{65534}, size_t{3}, size_t{1}})
    CHECK_EQ(checksum_fold(checksum_add(0, ones.data(), n)),
             swapped(Rfc1071().bytes(ones.data(), n).checksum()));
  uint64_t sum = 0;
  Rfc1071 model;
  for (int i = 0; i < 100; ++i) {
    sum = checksum_add(sum, ones.data(), ones.size());
    model.bytes(ones.data(), ones.size());
  }
  CHECK_EQ(checksum_fold(sum), swapped(model.checksum()));
  CHECK_EQ(checksum_fold(~uint64_t{0}), 0);
  CHECK_EQ(checksum_fold(0), 0xffff);
}

TEST(checksum_of_pieces_is_that_of_the_whole_rfc_1071_s2) {
  SplitMix random(7);
  for (int round = 0; round < 2000; ++round) {
    const Bytes data = random_bytes(random, 200);
    uint64_t sum = 0;
    for (size_t at = 0; at < data.size();) {
      const size_t n = std::min<size_t>(data.size() - at, random.below(40));
      sum = checksum_add_at(sum, at, data.data() + at, n);
      at += n;
    }
    REQUIRE(checksum_fold(sum) == swapped(Rfc1071().bytes(data.data(), data.size()).checksum()));
  }
}

// --- completing what a driver left open, §5.1.6.2 ----------------------------------------------------------

TEST(completion_at_every_start_and_offset_agrees_with_the_model_s5_1_6_2) {
  SplitMix random(2);
  for (const size_t length : {size_t{14}, size_t{15}, size_t{60}, size_t{61}}) {
    const Bytes frame = random_bytes(random, length);
    for (uint32_t start = 0; start <= length + 2; ++start)
      for (uint32_t offset = 0; offset <= length + 2; ++offset) {
        Bytes got = frame;
        const bool ok = complete_checksum(got.data(), length, static_cast<uint16_t>(start),
                                          static_cast<uint16_t>(offset));
        REQUIRE(ok == (start + offset + 2 <= length));
        Bytes want = frame;
        if (ok) {
          uint16_t c = Rfc1071().bytes(&frame[start], length - start).checksum();
          if (c == 0) c = 0xffff;  // RFC 768
          mock::put16(want, start + offset, c);
        }
        REQUIRE(got == want);
      }
  }
  Bytes small(64);
  CHECK(!complete_checksum(small.data(), 64, 0xffff, 0xffff));
  CHECK(!complete_checksum(small.data(), 64, 0, 0xffff));
  CHECK(!complete_checksum(small.data(), 64, 0xffff, 0));
}

TEST(completion_never_stores_zero_rfc_768) {
  Bytes frame(20);  // of bytes that sum to 0xffff, so that the complement is 0
  frame[4] = std::byte{0xff};
  frame[5] = std::byte{0xff};
  REQUIRE(complete_checksum(frame.data(), 20, 4, 6));
  CHECK_EQ(mock::get16(frame, 10), 0xffff);
}

TEST(a_completed_packet_is_the_packet_with_its_checksum) {
  for (Packet p : packets()) {
    p.l4 = L4::kPartial;
    Bytes partial = p.build();
    p.l4 = L4::kWhole;
    const Bytes whole = p.build();
    const auto start = static_cast<uint16_t>(p.start());
    const auto offset = static_cast<uint16_t>(p.checksum_offset());
    CHECK(is_partial_l4(partial.data(), partial.size(), start, offset));
    REQUIRE(complete_checksum(partial.data(), partial.size(), start, offset));
    CHECK(partial == whole);
    CHECK_EQ(verify_l4(whole.data(), whole.size()), L4Checksum::kGood);
  }
}

// What is_partial_l4 agrees to, complete_checksum makes good: whatever bit of the packet or of the header is
// wrong.
TEST(a_partial_packet_is_told_from_anything_else) {
  SplitMix random(3);
  for (Packet p : packets()) {
    p.l4 = L4::kPartial;
    const Bytes partial = p.build();
    const auto start = static_cast<uint16_t>(p.start());
    const auto offset = static_cast<uint16_t>(p.checksum_offset());
    CHECK(!is_partial_l4(partial.data(), partial.size(), static_cast<uint16_t>(start + 1), offset));
    CHECK(!is_partial_l4(partial.data(), partial.size(), static_cast<uint16_t>(start - 1), offset));
    CHECK(!is_partial_l4(partial.data(), partial.size(), start, static_cast<uint16_t>(offset + 2)));
    CHECK(!is_partial_l4(partial.data(), partial.size(), 0, 0));
    CHECK(!is_partial_l4(partial.data(), partial.size() - 1, start, offset));
    for (int i = 0; i < 300; ++i) {
      Bytes f = partial;
      f[random.below(f.size())] ^= std::byte{1} << random.below(8);
      if (!is_partial_l4(f.data(), f.size(), start, offset)) continue;
      REQUIRE(complete_checksum(f.data(), f.size(), start, offset));
      REQUIRE(verify_l4(f.data(), f.size()) == L4Checksum::kGood);
    }
  }
  Packet padded;
  padded.l4 = L4::kPartial;
  padded.padding = 5;
  Bytes f = padded.build();
  f.back() = std::byte{1};  // the sum would take it in
  CHECK(!is_partial_l4(f.data(), f.size(), 34, 6));
}

// --- verifying what came, §5.1.6.4.1 -----------------------------------------------------------------------

TEST(a_good_packet_is_good_and_any_flipped_bit_that_counts_is_found) {
  for (const Packet& p : packets()) {
    const Bytes good = p.build();
    REQUIRE(verify_l4(good.data(), good.size()) == L4Checksum::kGood);
    // The payload, ports and addresses: nothing there changes what kind of packet it is.
    std::vector<size_t> places;
    const size_t addresses = p.family == 4 ? 26 : 22;
    for (size_t i = 0; i < 2 * p.address_bytes(); ++i) places.push_back(addresses + i);
    for (size_t i = 0; i < p.l4_bytes(); ++i)
      if (p.protocol == 6 || i < 4 || i >= 8) places.push_back(p.start() + i);
    for (const size_t at : places) {
      Bytes bad = good;
      bad[at] ^= std::byte{1} << (at % 8);
      REQUIRE(verify_l4(bad.data(), bad.size()) == L4Checksum::kBad);
    }
  }
}

TEST(verification_looks_only_at_whole_tcp_and_udp) {
  const auto verdict = [](const Bytes& f) { return verify_l4(f.data(), f.size()); };
  Packet p;
  for (uint16_t fragment : {0x2000, 0x0001, 0x1fff, 0x3fff}) {
    p.fragment = fragment;
    CHECK_EQ(verdict(p.build()), L4Checksum::kNone);
  }
  p.fragment = 0x4000;  // don't fragment
  CHECK_EQ(verdict(p.build()), L4Checksum::kGood);
  p = {};
  p.protocol = 1;
  CHECK_EQ(verdict(p.build()), L4Checksum::kNone);
  p = {};
  p.family = 6;
  p.extension = true;
  CHECK_EQ(verdict(p.build()), L4Checksum::kNone);
  p = {};
  p.padding = 18;
  CHECK_EQ(verdict(p.build()), L4Checksum::kGood);  // an Ethernet frame is padded to 60
  p = {};
  p.l4 = L4::kNoChecksum;
  CHECK_EQ(verdict(p.build()), L4Checksum::kNone);  // RFC 768: none was sent
  p.family = 6;
  CHECK_EQ(verdict(p.build()), L4Checksum::kBad);  // RFC 8200 §8.1: there must be one
  p = {};
  Bytes f = p.build();
  mock::put16(f, p.start() + 4, static_cast<uint16_t>(p.l4_bytes() - 1));  // UDP's own length
  CHECK_EQ(verdict(f), L4Checksum::kBad);
  CHECK_EQ(verdict(mock::make_frame(1, 60)), L4Checksum::kNone);
}

TEST(a_cut_packet_is_not_read_beyond_its_end) {
  for (const Packet& p : packets()) {
    const Bytes good = p.build();
    for (size_t n = 0; n < good.size(); n += n < 80 ? 1 : 97) {
      // A copy of its own, so that the sanitizer sees a read over the end.
      const auto cut = std::make_unique<std::byte[]>(n);
      std::copy_n(good.begin(), n, cut.get());
      Flow flow;
      REQUIRE(verify_l4(cut.get(), n) == L4Checksum::kNone);
      REQUIRE(!parse_flow(cut.get(), n, flow));
      REQUIRE(!is_partial_l4(cut.get(), n, 34, 6));
    }
  }
}

// --- flows -------------------------------------------------------------------------------------------------

TEST(a_flow_is_what_stands_in_the_frame) {
  for (const Packet& p : packets()) {
    const Bytes f = p.build();
    Flow got;
    CHECK_EQ(parse_flow(f.data(), f.size(), got), p.options == 0);
    if (p.options != 0) continue;
    const Flow want = p.flow();
    CHECK(std::memcmp(&got, &want, sizeof got) == 0);
  }
}

TEST(no_rule_matches_options_fragments_extension_headers_or_other_protocols) {
  Flow flow;
  const auto parses = [&](const Packet& p) {
    const Bytes f = p.build();
    return parse_flow(f.data(), f.size(), flow);
  };
  Packet p;
  CHECK(parses(p));
  p.options = 1;
  CHECK(!parses(p));
  p = {};
  for (uint16_t fragment : {0x2000, 0x0001, 0x2fff}) {
    p.fragment = fragment;
    CHECK(!parses(p));
  }
  p = {};
  p.family = 6;
  CHECK(parses(p));
  p.extension = true;
  CHECK(!parses(p));
  for (const uint8_t protocol : {uint8_t{1}, uint8_t{2}, uint8_t{47}, uint8_t{132}}) {
    p = {};
    p.protocol = protocol;
    CHECK(!parses(p));
  }
  Bytes f = Packet().build();
  f[14] = std::byte{0x55};  // not version 4
  CHECK(!parse_flow(f.data(), f.size(), flow));
  f[14] = std::byte{0x44};  // a header of 16 bytes
  CHECK(!parse_flow(f.data(), f.size(), flow));
  f = Packet().build();
  f[13] = std::byte{0x01};
  CHECK(!parse_flow(f.data(), f.size(), flow));
}

// --- steering ----------------------------------------------------------------------------------------------

TEST(a_rule_matches_its_flow_exactly_and_then_anybody_who_sends_there) {
  Steering steering;
  const Packet a;
  Packet b = a;
  b.source_port = 1001;
  Packet c = a;
  c.destination_port = 2001;
  Packet d = a;
  d.protocol = 6;
  CHECK(steering.empty());
  CHECK(steering.lookup(a.flow()) == nullptr);
  REQUIRE(steering.set(a.any_source(), 3));
  REQUIRE(steering.set(b.flow(), 5));
  CHECK(!steering.empty());
  CHECK_EQ(*steering.lookup(a.flow()), 3);
  CHECK_EQ(*steering.lookup(b.flow()), 5);
  CHECK(steering.lookup(c.flow()) == nullptr);
  CHECK(steering.lookup(d.flow()) == nullptr);
  REQUIRE(steering.set(b.flow(), 6));  // again: it moves
  CHECK_EQ(*steering.lookup(b.flow()), 6);
  REQUIRE(steering.remove(b.flow()));
  CHECK(!steering.remove(b.flow()));
  CHECK_EQ(*steering.lookup(b.flow()), 3);
  REQUIRE(steering.remove(a.any_source()));
  CHECK(steering.empty());
  CHECK(steering.lookup(a.flow()) == nullptr);
}

TEST(steering_agrees_with_a_map_over_random_changes) {
  // Few flows that come again and again, then a table so full that probes run long.
  for (const auto& [flows, operations] : {std::pair{40U, 60'000U}, std::pair{6000U, 60'000U}}) {
    for (uint64_t seed = 1; seed <= 3; ++seed) {
      SplitMix random(seed);
      Steering steering;
      std::map<std::array<uint8_t, sizeof(Flow)>, uint16_t> model;
      const auto key = [](const Flow& f) {
        std::array<uint8_t, sizeof(Flow)> k;
        std::memcpy(k.data(), &f, sizeof f);
        return k;
      };
      const auto flow_of = [](uint64_t i) {
        Packet p;
        p.family = i % 3 == 0 ? 6 : 4;
        p.source_port = static_cast<uint16_t>(1 + i % 7);
        p.destination_port = static_cast<uint16_t>(1 + i / 7);
        return i % 5 == 0 ? p.any_source() : p.flow();
      };
      const auto found = [&](const Flow& f) -> const uint16_t* {
        const auto exact = model.find(key(f));
        if (exact != model.end()) return &exact->second;
        Flow to = f;
        to.source_port = 0;
        std::memset(to.source, 0, sizeof to.source);
        const auto any = model.find(key(to));
        return any != model.end() ? &any->second : nullptr;
      };
      for (uint32_t i = 0; i < operations; ++i) {
        const Flow f = flow_of(random.below(flows));
        const double what = random.unit();
        if (what < 0.5) {
          const auto queue = static_cast<uint16_t>(random.below(64));
          const bool fits = model.contains(key(f)) || model.size() < Steering::kMaxRules;
          if (steering.set(f, queue) != fits) {
            CHECK(false);
            std::fprintf(stderr, "seed %d\n", static_cast<int>(seed));
            return;
          }
          if (fits) model[key(f)] = queue;
        } else if (what < 0.8) {
          REQUIRE(steering.remove(f) == (model.erase(key(f)) == 1));
        }
        REQUIRE(steering.empty() == model.empty());
        const Flow g = flow_of(random.below(flows));
        const uint16_t* got = steering.lookup(g);
        const uint16_t* want = found(g);
        REQUIRE((got == nullptr) == (want == nullptr));
        if (got != nullptr) REQUIRE(*got == *want);
      }
      for (uint64_t i = 0; i < flows; ++i)
        REQUIRE((steering.lookup(flow_of(i)) == nullptr) == (found(flow_of(i)) == nullptr));
    }
  }
}

TEST(a_full_table_refuses_and_takes_again_after_a_removal) {
  Steering steering;
  const auto flow = [](size_t i) {
    Packet p;
    p.source_port = static_cast<uint16_t>(i);
    return p.flow();
  };
  for (size_t i = 0; i < Steering::kMaxRules; ++i) REQUIRE(steering.set(flow(i), 1));
  CHECK(!steering.set(flow(Steering::kMaxRules), 1));
  CHECK(steering.set(flow(0), 2));
  CHECK(steering.remove(flow(7)));
  CHECK(steering.set(flow(Steering::kMaxRules), 1));
  CHECK(steering.lookup(flow(7)) == nullptr);
}

CHECK_MAIN()
