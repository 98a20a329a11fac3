#include "core/link.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <memory>
#include <vector>

#include "check.h"
#include "mock_driver.h"

using namespace ringcube;
using mock::Bytes;
using mock::make_frame;
using mock::WireEnd;

namespace {

constexpr uint32_t kOverhead = 24;  // IEEE 802.3: preamble 8, FCS 4, gap 12

// Two ends that keep what they get, and time that stands still.
struct Wire {
  std::shared_ptr<Engine> engine = mock::make_engine();
  std::shared_ptr<WireEnd> a = std::make_shared<WireEnd>();
  std::shared_ptr<WireEnd> b = std::make_shared<WireEnd>();
  std::shared_ptr<Link> link;

  explicit Wire(const WireOptions& options = {}, uint64_t seed = 1) {
    engine->add(a);
    engine->add(b);
    link = mock::make_link(*engine, a, b, options, seed);
  }
  Delivery send(const Bytes& frame, bool checksum_valid = false) {
    return a->send(frame, engine->now(), checksum_valid);
  }
  TimeNs step(TimeNs by) { return engine->step(engine->now() + by); }
  const WireCounters& counters() const { return link->counters(0); }
};

// Everything that was sent is somewhere, and once.
bool adds_up(const WireCounters& c, uint64_t held = 0) {
  return c.offered + c.duplicated == c.delivered + c.lost + c.queue_full + c.refused + held;
}

// Within five standard deviations of a binomial: fails by chance once in two million.
bool plausible(uint64_t got, uint64_t n, double p) {
  const double mean = static_cast<double>(n) * p;
  return std::abs(static_cast<double>(got) - mean) <= 5 * std::sqrt(mean * (1 - p)) + 1;
}

uint32_t bits_changed(const Bytes& x, const Bytes& y) {
  if (x.size() != y.size()) return 1'000'000;
  uint32_t n = 0;
  for (size_t i = 0; i < x.size(); ++i)
    n += static_cast<uint32_t>(std::popcount(static_cast<uint8_t>(x[i] ^ y[i])));
  return n;
}

}  // namespace

// --- the plain wire ----------------------------------------------------------------------------------------

TEST(a_plain_wire_hands_over_in_place_at_once_both_ways) {
  Wire w;
  for (uint32_t i = 0; i < 100; ++i) {
    CHECK_EQ(w.send(make_frame(i, 60 + i)), Delivery::kTaken);
    CHECK_EQ(w.b->send(make_frame(1000 + i, 70), 0), Delivery::kTaken);
  }
  REQUIRE(w.b->got.size() == 100);
  REQUIRE(w.a->got.size() == 100);
  for (uint32_t i = 0; i < 100; ++i) {
    CHECK(w.b->got[i].bytes == make_frame(i, 60 + i));
    CHECK(w.a->got[i].bytes == make_frame(1000 + i, 70));
  }
  CHECK_EQ(w.counters().held_frames, 0);
  CHECK_EQ(w.counters().delivered, 100);
  CHECK_EQ(w.link->counters(1).delivered, 100);
  CHECK(adds_up(w.counters()));
}

TEST(frames_in_pieces_arrive_whole_held_or_not) {
  for (const TimeNs delay : {TimeNs{0}, TimeNs{10}}) {
    Wire w({.delay_ns = delay});
    SplitMix random(1);
    for (uint64_t i = 0; i < 300; ++i) {
      Bytes frame = make_frame(i, 14 + static_cast<uint32_t>(random.below(300)));
      std::vector<Slice> slices;
      uint32_t at = 0;
      for (const uint32_t n : mock::random_lengths(random, static_cast<uint32_t>(frame.size()), 8)) {
        slices.push_back({&frame[at], n});
        at += n;
      }
      w.a->send_slices(slices, w.engine->now());
    }
    w.step(10);
    SplitMix again(1);
    REQUIRE(w.b->got.size() == 300);
    for (uint64_t i = 0; i < 300; ++i) {
      const Bytes want = make_frame(i, 14 + static_cast<uint32_t>(again.below(300)));
      mock::random_lengths(again, static_cast<uint32_t>(want.size()), 8);
      CHECK(w.b->got[i].bytes == want);
    }
  }
}

// --- time --------------------------------------------------------------------------------------------------

TEST(rate_is_exact_of_the_wire_ieee_802_3) {
  for (const double rate : {1e9, 10e9, 100e6, 2.5e9, 12'345'678.0}) {
    Wire w({.rate_bps = rate});
    SplitMix random(2);
    std::vector<TimeNs> want;
    TimeNs free_at = 0;
    for (uint64_t i = 0; i < 200; ++i) {
      const auto n = static_cast<uint32_t>(60 + random.below(1455));
      free_at = std::max(free_at, w.engine->now()) + std::llround((n + kOverhead) * 8e9 / rate);
      want.push_back(free_at);
      REQUIRE(w.send(make_frame(i, n)) == Delivery::kTaken);
      if (i % 20 == 19) w.step(static_cast<TimeNs>(random.below(200'000)));
    }
    w.step(60'000'000'000);
    REQUIRE(w.b->got.size() == 200);
    for (size_t i = 0; i < 200; ++i) CHECK_EQ(w.b->got[i].at, want[i]);
    CHECK_EQ(w.counters().held_frames, 200);
  }
}

TEST(a_gigabit_carries_81274_full_frames_a_second) {
  Wire w({.rate_bps = 1e9, .queue_frames = 100'000});
  const Bytes frame = make_frame(1, 1514);
  for (int i = 0; i < 90'000; ++i) w.send(frame);
  w.step(1'000'000'000);
  CHECK_EQ(w.b->got.size(), 81'274);  // 10^9 / (8 × 1538)
}

TEST(delay_is_exact_and_adds_to_the_rate) {
  Wire w({.rate_bps = 1e9, .delay_ns = 12'345});
  for (int i = 0; i < 10; ++i) w.send(make_frame(1, 101));
  w.step(1'000'000);
  REQUIRE(w.b->got.size() == 10);
  for (int i = 0; i < 10; ++i) CHECK_EQ(w.b->got[static_cast<size_t>(i)].at, (i + 1) * 1000 + 12'345);
  Wire only({.delay_ns = 777});
  only.step(100);
  only.send(make_frame(1, 60));
  CHECK_EQ(only.step(0), 877);
  CHECK_EQ(only.b->got.size(), 0);
  CHECK_EQ(only.step(776), 877);
  CHECK_EQ(only.b->got.size(), 0);
  CHECK_EQ(only.step(1), kNever);
  REQUIRE(only.b->got.size() == 1);
  CHECK_EQ(only.b->got[0].at, 877);
}

TEST(burst_bytes_pass_at_once_then_the_rate_holds_i_371) {
  // 125 bytes on the wire a frame: a microsecond at 1 Gbit/s. A burst of 500 bytes lets four pass.
  Wire w({.rate_bps = 1e9, .burst_bytes = 500});
  const Bytes frame = make_frame(1, 101);
  for (int i = 0; i < 8; ++i) w.send(frame);
  w.step(100'000);
  const TimeNs want[] = {0, 0, 0, 0, 1000, 2000, 3000, 4000};
  REQUIRE(w.b->got.size() == 8);
  for (size_t i = 0; i < 8; ++i) CHECK_EQ(w.b->got[i].at, want[i]);
  // After quiet the burst is there again, and never more of it.
  for (int i = 0; i < 5; ++i) w.send(frame);
  w.step(100'000);
  REQUIRE(w.b->got.size() == 13);
  for (size_t i = 8; i < 12; ++i) CHECK_EQ(w.b->got[i].at, 100'000);
  CHECK_EQ(w.b->got[12].at, 101'000);
}

TEST(jitter_stays_in_its_bounds_and_keeps_order) {
  Wire w({.delay_ns = 10'000, .jitter_ns = 3000, .queue_frames = 10'000});
  std::vector<TimeNs> sent;
  for (uint64_t i = 0; i < 5000; ++i) {
    sent.push_back(w.engine->now());
    w.send(make_frame(i, 60));
    w.step(1000);
  }
  w.step(100'000);
  REQUIRE(w.b->got.size() == 5000);
  TimeNs least = kNever;
  TimeNs most = 0;
  for (size_t i = 0; i < 5000; ++i) {
    CHECK(w.b->got[i].bytes == make_frame(i, 60));
    const TimeNs took = w.b->got[i].at - sent[i];
    least = std::min(least, took);
    most = std::max(most, took);
  }
  CHECK(least >= 7000);
  CHECK(least < 7100);
  CHECK(most <= 13'000);
  CHECK(most > 12'900);
}

TEST(jitter_beyond_the_delay_does_not_go_back_in_time) {
  Wire w({.delay_ns = 10, .jitter_ns = 1000});
  for (uint64_t i = 0; i < 200; ++i) {
    w.send(make_frame(i, 60));
    const TimeNs sent = w.engine->now();
    w.step(5000);
    REQUIRE(w.b->got.size() == i + 1);
    CHECK(w.b->got[i].at >= sent);
    CHECK(w.b->got[i].at <= sent + 1010);
  }
}

TEST(reordered_frames_come_later_by_so_much_and_the_others_keep_order) {
  Wire w({.delay_ns = 1000, .reorder = 0.2, .reorder_ns = 2500, .queue_frames = 100'000});
  constexpr uint64_t kFrames = 20'000;
  for (uint64_t i = 0; i < kFrames; ++i) {
    w.send(make_frame(i, 60));
    w.step(1000);
  }
  w.step(10'000);
  REQUIRE(w.b->got.size() == kFrames);
  uint64_t late = 0;
  std::vector<bool> seen(kFrames);
  TimeNs last = 0;
  for (const auto& got : w.b->got) {
    CHECK(got.at >= last);
    last = got.at;
    // Which one it is, by when it came and, of two at one time, by its bytes.
    const auto i = static_cast<uint64_t>((got.at - 1000) / 1000);
    if ((got.at - 1000) % 1000 == 0 && i < kFrames && got.bytes == make_frame(i, 60)) {
      seen[i] = true;
      continue;
    }
    const auto j = static_cast<uint64_t>((got.at - 3500) / 1000);
    REQUIRE(j < kFrames && got.bytes == make_frame(j, 60));
    seen[j] = true;
    ++late;
  }
  CHECK(std::all_of(seen.begin(), seen.end(), [](bool s) { return s; }));
  CHECK_EQ(late, w.counters().reordered);
  CHECK(plausible(late, kFrames, 0.2));
}

// --- fates -------------------------------------------------------------------------------------------------

TEST(loss_duplication_and_corruption_come_as_often_as_asked) {
  constexpr uint64_t kFrames = 20'000;
  for (const TimeNs delay : {TimeNs{0}, TimeNs{100}})
    for (const double p : {0.0, 0.01, 0.3, 1.0}) {
      Wire lost({.delay_ns = delay, .loss = p, .queue_frames = 1'000'000});
      Wire twice({.delay_ns = delay, .duplicate = p, .queue_frames = 1'000'000});
      Wire wrong({.delay_ns = delay, .corrupt = p, .queue_frames = 1'000'000});
      const Bytes frame = make_frame(1, 64);
      for (uint64_t i = 0; i < kFrames; ++i) {
        CHECK_EQ(lost.send(frame), Delivery::kTaken);  // the sender can't tell
        CHECK_EQ(twice.send(frame), Delivery::kTaken);
        CHECK_EQ(wrong.send(frame), Delivery::kTaken);
      }
      for (Wire* w : {&lost, &twice, &wrong}) {
        w->step(100);
        CHECK(adds_up(w->counters()));
        CHECK_EQ(w->counters().delivered, w->b->got.size());
        CHECK_EQ(w->counters().offered, kFrames);
      }
      CHECK_EQ(lost.b->got.size(), kFrames - lost.counters().lost);
      CHECK(plausible(lost.counters().lost, kFrames, p));
      CHECK_EQ(twice.b->got.size(), kFrames + twice.counters().duplicated);
      CHECK(plausible(twice.counters().duplicated, kFrames, p));
      CHECK_EQ(wrong.b->got.size(), kFrames);
      uint64_t changed = 0;
      std::vector<uint32_t> where(64);
      for (const auto& got : wrong.b->got) {
        const uint32_t bits = bits_changed(got.bytes, frame);
        CHECK(bits <= 1);
        changed += bits;
        for (size_t i = 0; i < 64; ++i) where[i] += got.bytes[i] != frame[i] ? 1 : 0;
      }
      CHECK_EQ(changed, wrong.counters().corrupted);
      CHECK(plausible(changed, kFrames, p));
      for (size_t i = 0; i < 64; ++i) CHECK(plausible(where[i], kFrames, p / 64));
    }
}

TEST(a_sender_s_own_buffer_is_never_corrupted) {
  Wire w({.corrupt = 1});
  const Bytes sent = make_frame(1, 64);
  for (int i = 0; i < 100; ++i) w.send(sent);
  CHECK(sent == make_frame(1, 64));
}

TEST(a_corrupted_frame_is_no_longer_known_to_be_good) {
  for (const TimeNs delay : {TimeNs{0}, TimeNs{100}}) {
    Wire good({.delay_ns = delay});
    Wire bad({.delay_ns = delay, .corrupt = 1});
    for (Wire* w : {&good, &bad}) {
      w->send(make_frame(1, 64), true);
      w->send(make_frame(2, 64), false);
      w->step(100);
      REQUIRE(w->b->got.size() == 2);
      CHECK_EQ(w->b->got[0].checksum_valid, w == &good);
      CHECK(!w->b->got[1].checksum_valid);
    }
  }
}

TEST(the_same_seed_gives_the_same_run_byte_for_byte) {
  const WireOptions options = {.rate_bps = 1e9,
                               .burst_bytes = 3000,
                               .delay_ns = 5000,
                               .jitter_ns = 4000,
                               .loss = 0.05,
                               .duplicate = 0.05,
                               .corrupt = 0.05,
                               .reorder = 0.05,
                               .reorder_ns = 9000,
                               .queue_frames = 50};
  const auto run = [&](uint64_t seed) {
    Wire w(options, seed);
    SplitMix load(99);
    for (uint64_t i = 0; i < 5000; ++i) {
      w.send(make_frame(i, 60 + static_cast<uint32_t>(load.below(1000))));
      if (load.chance(0.3)) w.b->send(make_frame(i, 60), w.engine->now());
      w.step(static_cast<TimeNs>(load.below(9000)));
    }
    w.step(10'000'000);
    CHECK(adds_up(w.counters()));
    CHECK(w.counters().lost > 0);
    CHECK(w.counters().duplicated > 0);
    CHECK(w.counters().corrupted > 0);
    CHECK(w.counters().reordered > 0);
    return std::pair(w.b->got, w.a->got);
  };
  const auto same = [](const std::vector<WireEnd::Got>& x, const std::vector<WireEnd::Got>& y) {
    return std::equal(x.begin(), x.end(), y.begin(), y.end(),
                      [](const auto& p, const auto& q) { return p.bytes == q.bytes && p.at == q.at; });
  };
  const auto first = run(7);
  const auto again = run(7);
  const auto other = run(8);
  CHECK(same(first.first, again.first));
  CHECK(same(first.second, again.second));
  CHECK(!same(first.first, other.first));
}

TEST(the_two_directions_have_fates_of_their_own) {
  Wire w({.loss = 0.5});
  std::vector<bool> to_b;
  std::vector<bool> to_a;
  for (uint64_t i = 0; i < 64; ++i) {
    const size_t b = w.b->got.size();
    const size_t a = w.a->got.size();
    w.send(make_frame(i, 60));
    w.b->send(make_frame(i, 60), 0);
    to_b.push_back(w.b->got.size() > b);
    to_a.push_back(w.a->got.size() > a);
  }
  CHECK(to_a != to_b);
}

// --- room --------------------------------------------------------------------------------------------------

TEST(a_full_queue_drops_and_counts) {
  Wire w({.delay_ns = 1000, .queue_frames = 7});
  for (uint64_t i = 0; i < 10; ++i)
    CHECK_EQ(w.send(make_frame(i, 60)), i < 7 ? Delivery::kTaken : Delivery::kDropped);
  CHECK_EQ(w.counters().queue_full, 3);
  CHECK(adds_up(w.counters(), 7));
  w.step(1000);
  CHECK_EQ(w.b->got.size(), 7);
  CHECK_EQ(w.send(make_frame(1, 60)), Delivery::kTaken);
  CHECK(adds_up(w.counters(), 1));
}

TEST(a_duplicate_takes_no_room_that_is_not_there) {
  Wire w({.delay_ns = 1000, .duplicate = 1, .queue_frames = 5});
  for (uint64_t i = 0; i < 5; ++i) w.send(make_frame(i, 60));
  w.step(1000);
  CHECK_EQ(w.b->got.size(), 5);
  CHECK(adds_up(w.counters()));
}

TEST(with_pause_a_full_queue_makes_the_sender_wait_802_3_annex_31b) {
  Wire w({.delay_ns = 1000, .queue_frames = 7, .pause = true});
  for (uint64_t i = 0; i < 10; ++i)
    CHECK_EQ(w.send(make_frame(i, 60)), i < 7 ? Delivery::kTaken : Delivery::kBusy);
  CHECK_EQ(w.counters().queue_full, 0);
  CHECK_EQ(w.counters().offered, 7);  // one that waits is offered again
  w.step(1000);
  CHECK_EQ(w.send(make_frame(7, 60)), Delivery::kTaken);
}

TEST(without_pause_a_receiver_without_room_drops_with_pause_it_waits) {
  for (const TimeNs delay : {TimeNs{0}, TimeNs{1000}}) {
    Wire drop({.delay_ns = delay});
    drop.b->room = false;
    for (uint64_t i = 0; i < 5; ++i) drop.send(make_frame(i, 60));
    drop.step(2000);
    CHECK_EQ(drop.counters().refused, 5);
    CHECK(adds_up(drop.counters()));

    Wire wait({.delay_ns = delay, .queue_frames = 5, .pause = true});
    wait.b->room = false;
    uint64_t sent = 0;
    while (wait.send(make_frame(sent, 60)) == Delivery::kTaken) ++sent;
    CHECK_EQ(sent, delay == 0 ? 0 : 5);
    CHECK_EQ(wait.step(50'000), kNever);  // waiting is not for time to end
    CHECK_EQ(wait.counters().delivered, 0);
    wait.b->make_room();
    wait.step(0);
    while (sent < 8 && wait.send(make_frame(sent, 60)) == Delivery::kTaken) ++sent;
    wait.step(50'000);
    REQUIRE(wait.b->got.size() == sent);
    for (uint64_t i = 0; i < sent; ++i) CHECK(wait.b->got[i].bytes == make_frame(i, 60));
    CHECK_EQ(wait.counters().refused, 0);
    CHECK(adds_up(wait.counters()));
  }
}

TEST(a_frame_that_had_to_wait_meets_its_fate_once) {
  const WireOptions options = {.loss = 0.3, .duplicate = 0.3, .corrupt = 0.3, .pause = true};
  const auto run = [&](bool waits) {
    Wire w(options, 5);
    SplitMix random(6);
    for (uint64_t i = 0; i < 500; ++i) {
      const Bytes frame = make_frame(i, 60);
      // A lost one never comes so far as to wait.
      Delivery outcome = Delivery::kBusy;
      w.b->room = false;
      for (uint64_t tries = waits ? random.below(4) : 0; tries > 0 && outcome == Delivery::kBusy; --tries)
        outcome = w.send(frame);
      w.b->room = true;
      if (outcome == Delivery::kBusy) outcome = w.send(frame);
      CHECK_EQ(outcome, Delivery::kTaken);
    }
    CHECK(adds_up(w.counters()));
    CHECK_EQ(w.counters().offered, 500);
    std::vector<Bytes> got;
    for (auto& g : w.b->got) got.push_back(g.bytes);
    return got;
  };
  CHECK(run(true) == run(false));
}

TEST(counters_add_up_whatever_happens) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SplitMix random(seed);
    const auto maybe = [&](double p) { return random.chance(0.5) ? p : 0; };
    Wire w({.rate_bps = maybe(1e8),
            .delay_ns = static_cast<TimeNs>(maybe(3000)),
            .jitter_ns = static_cast<TimeNs>(maybe(2000)),
            .loss = maybe(0.2),
            .duplicate = maybe(0.2),
            .corrupt = maybe(0.2),
            .reorder = maybe(0.2),
            .reorder_ns = 5000,
            .queue_frames = static_cast<uint32_t>(1 + random.below(30)),
            .pause = random.chance(0.5)},
           seed);
    uint64_t taken = 0;
    for (uint64_t i = 0; i < 300; ++i) {
      if (random.chance(0.1)) w.b->room = false;
      if (random.chance(0.3)) w.b->make_room();
      taken += w.send(make_frame(i, 60)) != Delivery::kBusy ? 1 : 0;
      if (random.chance(0.5)) w.step(static_cast<TimeNs>(random.below(20'000)));
    }
    const bool unplug = random.chance(0.5);
    if (unplug) {
      w.link->unplug();
    } else {
      w.b->make_room();
      w.step(100'000'000);
    }
    const WireCounters& c = w.counters();
    if (!CHECK(adds_up(c)) || !CHECK_EQ(c.offered, taken) || !CHECK_EQ(c.delivered, w.b->got.size())) {
      std::fprintf(stderr, "seed %d\n", static_cast<int>(seed));
      return;
    }
  }
}

// --- plugging ----------------------------------------------------------------------------------------------

TEST(an_unplugged_wire_loses_what_it_holds_and_the_ends_may_be_plugged_again) {
  Wire w({.delay_ns = 1000});
  for (uint64_t i = 0; i < 5; ++i) w.send(make_frame(i, 60));
  w.link->unplug();
  CHECK(w.a->link() == nullptr);
  CHECK(w.b->link() == nullptr);
  CHECK_EQ(w.counters().lost, 5);
  w.step(2000);
  CHECK_EQ(w.b->got.size(), 0);
  w.engine->remove(*w.link);
  const auto again = mock::make_link(*w.engine, w.b, w.a);  // the other way round
  w.link->unplug();                                         // has nothing to say any more
  CHECK(w.a->link() == again.get());
  w.send(make_frame(9, 60));
  CHECK_EQ(w.b->got.size(), 1);
  CHECK_EQ(again->counters(1).delivered, 1);
}

CHECK_MAIN()
