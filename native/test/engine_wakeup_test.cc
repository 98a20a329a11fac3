// Drivers on threads of their own, which sleep when there is nothing to do, and the engine: no wake-up is
// lost.
#include <atomic>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <thread>
#include <utility>

#include "check.h"
#include "core/engine.h"
#include "fixture.h"
#include "mock_driver.h"
#include "packets.h"

using namespace ringcube;
using mock::Bytes;
using mock::Driver;
using mock::kBaseFeatures;
using mock::kEvent;
using mock::kHeader;
using mock::kIdleLoad;
using mock::kPatienceMs;
using mock::kRx;
using mock::kTx;
using mock::load_while_idle;
using mock::make_engine;
using mock::make_frame;
using mock::make_link;
using mock::make_nic;
using mock::Received;
using mock::Ring;
using mock::sleep_us;
using mock::soon;
using mock::Used;

namespace {

// A driver on a thread of its own: slots for frames, buffers always offered, doorbells only when asked for,
// and sleep on the interrupt when there is nothing to do.
class Peer {
 public:
  static constexpr uint32_t kSlotBytes = 1024;
  static constexpr uint32_t kSlots = 64;

  Peer(const std::shared_ptr<Engine>& engine, std::shared_ptr<Nic> nic, std::atomic<bool>& failed,
       uint64_t seed)
      : driver(engine, std::move(nic), size_t{1} << 20),
        tx_(driver.alloc(size_t{kSlotBytes} * kSlots)),
        rx_(driver.alloc(size_t{kSlotBytes} * kSlots)),
        failed_(failed),
        seed_(seed) {}

  bool start(uint64_t features, uint16_t size) {
    free_tx_.clear();
    for (uint64_t i = 0; i < kSlots; ++i) free_tx_.push_back(i);
    mergeable_ = (features & feature(kFeatureMrgRxbuf)) != 0;
    size_ = size;
    if (!driver.start(features, size)) return false;
    free_rx_.clear();
    for (uint64_t i = 0; i < kSlots; ++i) free_rx_.push_back(i);
    return true;
  }
  // Offers `n` buffers, or all there is room for. A small one holds no whole frame.
  void refill(size_t n = SIZE_MAX, uint32_t small = 0) {
    Ring& ring = driver.ring(kRx);
    for (; n > 0 && ring.room() > 0 && !free_rx_.empty(); --n) {
      const uint64_t slot = free_rx_.front();
      free_rx_.pop_front();
      const uint32_t bytes = small != 0 ? small : mergeable_ ? 200 : kSlotBytes;
      ring.add(mock::cut(rx_ + kSlotBytes * slot, {bytes}, true), slot);
    }
    driver.publish(kRx);
  }
  void forget_rx() {
    free_rx_.clear();
    for (uint64_t i = 0; i < kSlots; ++i) free_rx_.push_back(i);
  }
  // Not shown to the device before publish_tx(). False without room.
  bool send(uint64_t id, uint32_t length) {
    if (free_tx_.empty() || driver.ring(kTx).room() == 0) return false;
    const uint64_t slot = free_tx_.front();
    std::byte* at = driver.at(tx_ + kSlotBytes * slot);
    std::memset(at, 0, kHeader);
    fill(at + kHeader, id, length);
    driver.ring(kTx).add(mock::cut(tx_ + kSlotBytes * slot, {kHeader + length}, false), slot);
    free_tx_.pop_front();
    unshown_ = true;
    return true;
  }
  void publish_tx() {
    if (unshown_) driver.publish(kTx);
    unshown_ = false;
  }
  size_t reap() {
    size_t n = 0;
    Used used;
    while (driver.ring(kTx).reap(used)) {
      free_tx_.push_back(used.token);
      ++n;
    }
    return n;
  }
  // The next frame's number and length; false if there is none, or it is not whole.
  bool receive(uint64_t& id, uint32_t& length) {
    if (!driver.receive(kRx, r_)) return false;
    for (const uint64_t slot : r_.tokens) free_rx_.push_back(slot);
    length = static_cast<uint32_t>(r_.frame.size());
    std::memcpy(&id, &r_.frame[14], 8);
    Bytes want(length);
    fill(want.data(), id, length);
    if (r_.frame != want) fail("a frame came damaged");
    return true;
  }
  // Until the next interrupt for what came, or with `tx` also for what went.
  void sleep(bool rx, bool tx, int patience_ms = kPatienceMs) {
    bool quiet = true;
    if (rx) quiet = driver.ring(kRx).enable_interrupts() && quiet;
    if (tx) quiet = driver.ring(kTx).enable_interrupts() && quiet;
    if (quiet) {
      ++sleeps;
      if (!driver.wait_interrupt(patience_ms) && patience_ms == kPatienceMs) fail("a wake-up was lost");
    }
    driver.take_interrupt(0);
    driver.ring(kRx).disable_interrupts();
    driver.ring(kTx).disable_interrupts();
  }
  void fail(const char* what) {
    if (failed_.exchange(true)) return;
    CHECK(false);
    std::fprintf(stderr, "seed %llu: %s\n", static_cast<unsigned long long>(seed_), what);
  }
  size_t outstanding() { return driver.ring(kTx).outstanding(); }

  Driver driver;
  uint64_t sleeps = 0;

 private:
  static void fill(std::byte* at, uint64_t id, uint32_t length) {
    std::memset(at, static_cast<int>(id * 7 + length), length);
    std::memset(at, 2, 12);
    std::memcpy(at + 14, &id, 8);
  }

  uint64_t tx_;
  uint64_t rx_;
  std::deque<uint64_t> free_tx_;
  std::deque<uint64_t> free_rx_;
  std::atomic<bool>& failed_;
  uint64_t seed_;
  uint16_t size_ = 0;
  bool mergeable_ = false;
  bool unshown_ = false;
  Received r_;
};

struct EchoOptions {
  uint64_t features;
  uint16_t size;
  TimeNs spin_ns;
  uint64_t frames;
  uint64_t window;  // in flight at most; 1: ping-pong
  TimeNs delay_ns = 0;
};

// Every frame goes to the other card and comes back. True if all did, in order.
bool echo(Engine& engine, const std::shared_ptr<Engine>& shared, const EchoOptions& o, uint64_t seed) {
  const auto nic_a = make_nic(engine);
  const auto nic_b = make_nic(engine);
  const auto link =
      make_link(engine, nic_a, nic_b, {.delay_ns = o.delay_ns, .queue_frames = 16, .pause = true}, seed);
  std::atomic<bool> failed{false};
  Peer a(shared, nic_a, failed, seed);
  Peer b(shared, nic_b, failed, seed);
  if (!CHECK(a.start(o.features, o.size)) || !CHECK(b.start(o.features, o.size))) return false;
  std::thread near([&] {
    SplitMix random(seed);
    uint64_t sent = 0;
    uint64_t got = 0;
    std::deque<uint32_t> lengths;
    a.refill();
    while (got < o.frames && !failed) {
      bool moved = false;
      const uint64_t window = 1 + random.below(o.window);
      bool room = true;
      while (sent < o.frames && sent - got < window) {
        const auto length = static_cast<uint32_t>(60 + random.below(500));
        room = a.send(sent, length);
        if (!room) break;
        lengths.push_back(length);
        ++sent;
        moved = true;
      }
      a.publish_tx();
      moved = a.reap() > 0 || moved;
      uint64_t id = 0;
      uint32_t length = 0;
      while (a.receive(id, length)) {
        if (id != got || length != lengths.front()) a.fail("frames came back out of order");
        lengths.pop_front();
        ++got;
        moved = true;
      }
      a.refill();
      if (!moved && got < o.frames) a.sleep(true, !room);
    }
  });
  std::thread far([&] {
    uint64_t echoed = 0;
    std::deque<std::pair<uint64_t, uint32_t>> back;
    b.refill();
    while ((echoed < o.frames || b.outstanding() > 0) && !failed) {
      bool moved = false;
      uint64_t id = 0;
      uint32_t length = 0;
      while (b.receive(id, length)) {
        back.emplace_back(id, length);
        moved = true;
      }
      b.refill();
      while (!back.empty() && b.send(back.front().first, back.front().second)) {
        back.pop_front();
        ++echoed;
        moved = true;
      }
      b.publish_tx();
      moved = b.reap() > 0 || moved;
      if (!moved) b.sleep(true, !back.empty() || echoed == o.frames);
    }
  });
  near.join();
  far.join();
  const Engine::Guard guard(engine);
  bool ok = !failed;
  for (const int side : {0, 1}) {
    const WireCounters& c = link->counters(side);
    ok = CHECK_EQ(c.delivered, o.frames) && CHECK_EQ(c.refused, 0) && ok;
  }
  if (!ok) std::fprintf(stderr, "seed %llu\n", static_cast<unsigned long long>(seed));
  link->unplug();
  engine.remove(*link);
  engine.remove(*nic_a);
  engine.remove(*nic_b);
  return ok;
}

}  // namespace

// 200,000 frames in all, each there and back.
TEST(no_wake_up_is_lost_in_ping_pong_and_bursts) {
  const uint64_t all = kEvent | feature(kFeatureInOrder) | feature(kFeatureMrgRxbuf);
  const EchoOptions runs[] = {
      {.features = kEvent, .size = 64, .spin_ns = 1000, .frames = 5'000, .window = 1},
      {.features = kEvent, .size = 64, .spin_ns = 0, .frames = 2'000, .window = 1, .delay_ns = 20'000},
      {.features = kBaseFeatures, .size = 64, .spin_ns = 1000, .frames = 3'000, .window = 1},
      {.features = kEvent, .size = 4, .spin_ns = 1000, .frames = 20'000, .window = 60},
      {.features = all, .size = 16, .spin_ns = 5000, .frames = 30'000, .window = 60},
      {.features = kBaseFeatures, .size = 8, .spin_ns = 1000, .frames = 20'000, .window = 60},
      {.features = all, .size = 64, .spin_ns = 0, .frames = 50'000, .window = 200},
      {.features = kEvent, .size = 64, .spin_ns = 50'000, .frames = 70'000, .window = 200},
  };
  uint64_t seed = 1;
  for (const EchoOptions& o : runs) {
    const auto engine = make_engine(false, o.spin_ns);
    REQUIRE(echo(*engine, engine, o, seed++));
  }
}

TEST(other_cards_come_and_go_while_two_work) {
  const auto engine = make_engine(false, 2000);
  std::atomic<bool> stop{false};
  // The host: makes cards, links and rules, and takes them away, all under the guard; its doorbells are not.
  std::thread host([&] {
    SplitMix random(5);
    while (!stop) {
      std::shared_ptr<Nic> a = make_nic(*engine, {.queue_pairs = 2});
      std::shared_ptr<Nic> b = make_nic(*engine);
      std::shared_ptr<Link> link = make_link(*engine, a, b, {.delay_ns = 1000});
      {
        Driver d(engine, a, 65536);
        CHECK(d.start(kEvent, 8));
        for (int i = 0; i < 5; ++i) {
          d.add_frame(kTx, d.alloc(128), make_frame(1, 60));
          d.publish(kTx);
          mock::Packet p;
          p.source_port = static_cast<uint16_t>(random.below(100));
          const Engine::Guard guard(*engine);
          CHECK(a->steer(p.flow(), 1));
          if (random.chance(0.5)) a->unsteer(p.flow());
        }
        const Engine::Guard guard(*engine);
        const bool card_first = random.chance(0.5);
        if (card_first) {
          a->reset();
          engine->remove(*a);
        }
        link->unplug();
        engine->remove(*link);
        if (!card_first) {
          a->reset();
          engine->remove(*a);
        }
        engine->remove(*b);
      }
      a->kick(1);
    }
  });
  // A card that is reset again and again under a driver that sends.
  std::thread resets([&] {
    std::atomic<bool> failed{false};
    const auto a = make_nic(*engine);
    const auto b = make_nic(*engine);
    const auto link = make_link(*engine, a, b);
    Peer sender(engine, a, failed, 9);
    Peer receiver(engine, b, failed, 9);
    SplitMix random(9);
    uint64_t sent = 0;
    while (!stop && !failed) {
      CHECK(sender.start(kEvent | feature(kFeatureRingReset), 16));
      CHECK(receiver.start(kEvent | feature(kFeatureRingReset), 16));
      receiver.refill();
      for (int round = 0; round < 20; ++round) {
        for (uint64_t n = random.below(12); n > 0; --n) sender.send(sent++, 60);
        sender.publish_tx();
        uint64_t id = 0;
        uint32_t length = 0;
        while (receiver.receive(id, length)) {
        }
        receiver.refill();
        sender.reap();
        if (random.chance(0.1)) {
          receiver.driver.reset_queue(kRx);
          receiver.forget_rx();
          CHECK(receiver.driver.enable_queue(kRx, 16));
        }
        if (random.chance(0.3)) sleep_us(static_cast<int64_t>(random.below(100)));
      }
    }
    const Engine::Guard guard(*engine);
    link->unplug();
    engine->remove(*link);
    engine->remove(*a);
    engine->remove(*b);
  });
  echo(*engine, engine, {.features = kEvent, .size = 16, .spin_ns = 0, .frames = 15'000, .window = 40}, 11);
  echo(*engine, engine, {.features = kEvent, .size = 16, .spin_ns = 0, .frames = 1'500, .window = 1}, 12);
  stop = true;
  host.join();
  resets.join();
}

// A sender whose frames wait for the receiver's buffers, and a receiver that offers few, or none, or too
// small ones, or is reset: nothing else wakes the sender, so each wait ends only if the card remembers who
// waits.
TEST(a_waiting_sender_is_never_forgotten_802_3_annex_31b) {
  for (const bool resets : {false, true})
    for (const bool mergeable : {false, true})
      for (const TimeNs delay : {TimeNs{0}, TimeNs{3000}}) {
        const uint64_t seed = 100 + (resets ? 4 : 0) + (mergeable ? 2 : 0) + (delay > 0 ? 1 : 0);
        const auto engine = make_engine(false, 1000);
        const auto nic_a = make_nic(*engine);
        const auto nic_b = make_nic(*engine);
        const auto link =
            make_link(*engine, nic_a, nic_b, {.delay_ns = delay, .queue_frames = 4, .pause = true}, seed);
        const uint64_t features =
            kEvent | feature(kFeatureRingReset) | (mergeable ? feature(kFeatureMrgRxbuf) : 0);
        std::atomic<bool> failed{false};
        std::atomic<bool> stop{false};
        std::atomic<bool> done{false};
        Peer a(engine, nic_a, failed, seed);
        Peer b(engine, nic_b, failed, seed);
        REQUIRE(a.start(features, 8));
        REQUIRE(b.start(features, 8));
        std::thread sender([&] {
          uint64_t sent = 0;
          while (!failed && !(stop && a.outstanding() == 0)) {
            bool moved = a.reap() > 0;
            while (!stop && a.send(sent, 150)) ++sent, moved = true;
            a.publish_tx();
            // Its own doorbells would wake everybody: it sleeps until some frame is gone.
            if (!moved) a.sleep(false, true);
          }
          done = true;
        });
        SplitMix random(seed);
        uint64_t id = 0;
        uint32_t length = 0;
        for (int round = 0; round < 400 && !failed; ++round) {
          if (random.chance(0.5)) sleep_us(static_cast<int64_t>(random.below(60)));  // let all fall asleep
          if (resets && random.chance(0.3)) {
            if (random.chance(0.5)) {
              b.driver.reset_queue(kRx);
              b.forget_rx();
              CHECK(b.driver.enable_queue(kRx, 8));
            } else {
              CHECK(b.start(features, 8));
            }
          }
          if (mergeable) {  // 162 bytes in buffers of 60: the first two do not do
            for (int i = 0; i < 3; ++i) {
              b.refill(1, 60);
              if (random.chance(0.5)) sleep_us(static_cast<int64_t>(random.below(40)));
            }
          } else {
            b.refill(1);
          }
          while (!failed && !b.receive(id, length)) b.sleep(true, false);
        }
        stop = true;
        while (!done && !failed) {
          b.refill();
          while (b.receive(id, length)) {
          }
          b.sleep(true, false, 1);
        }
        sender.join();
        REQUIRE(!failed);
        CHECK(a.sleeps > 0);
      }
}

// And when what it waits for is gone, it is told so without anybody's doorbell.
TEST(a_waiting_sender_goes_on_when_its_receiver_is_gone) {
  enum class How : uint8_t { kRingReset, kUnmap, kReset, kNeedsReset, kUnplug, kUnsteer, kEnd };
  for (int how = 0; how < static_cast<int>(How::kEnd); ++how)
    for (const TimeNs delay : {TimeNs{0}, TimeNs{3000}}) {
      const auto engine = make_engine(false, 1000);
      const auto nic_a = make_nic(*engine);
      const auto nic_b = make_nic(*engine, {.queue_pairs = 2});
      const auto link =
          make_link(*engine, nic_a, nic_b, {.delay_ns = delay, .queue_frames = 1, .pause = true});
      Driver a(engine, nic_a);
      Driver b(engine, nic_b);
      const uint64_t features = kEvent | feature(kFeatureRingReset);
      REQUIRE(a.start(features, 8));
      REQUIRE(b.start(features, 8));
      const mock::Packet packet;
      const Bytes frame = packet.build();
      a.add_frame(kTx, a.alloc(256), frame);
      a.add_frame(kTx, a.alloc(256), frame);
      a.publish(kTx);
      const auto sent = [&] { return a.ring(kTx).used_idx().load(); };
      sleep_us(3000);
      CHECK(sent() < 2);
      const auto which = static_cast<How>(how);
      if (which == How::kRingReset) b.reset_queue(kRx);
      if (which == How::kReset) b.write(kRegStatus, 0);
      if (which != How::kRingReset && which != How::kReset) {
        const Engine::Guard guard(*engine);
        if (which == How::kUnmap) nic_b->unmap(kRx, 0);
        if (which == How::kNeedsReset) nic_b->need_reset();
        if (which == How::kUnplug) link->unplug();
        if (which == How::kUnsteer)
          CHECK(nic_b->steer(packet.flow(), 1));  // to a pair that is not active: dropped
      }
      if (!CHECK(soon([&] { return sent() == 2; }))) std::fprintf(stderr, "how %d\n", how);
    }
}

// While a sender waits for buffers that do not come, nobody spins.
TEST(an_engine_sleeps_while_a_sender_waits) {
  for (const bool some : {false, true}) {
    const auto engine = make_engine(false);
    const auto nic_a = make_nic(*engine);
    const auto nic_b = make_nic(*engine);
    const auto link = make_link(*engine, nic_a, nic_b, {.pause = true});
    std::atomic<bool> failed{false};
    Peer a(engine, nic_a, failed, 1);
    Peer b(engine, nic_b, failed, 1);
    REQUIRE(a.start(kEvent, 8));
    REQUIRE(b.start(kEvent | feature(kFeatureMrgRxbuf), 8));
    if (some) b.refill(2, 60);  // too few for one frame
    REQUIRE(a.send(1, 150));
    a.publish_tx();
    sleep_us(5000);
    CHECK(load_while_idle(150) < kIdleLoad);
    CHECK_EQ(a.reap(), 0);
    b.refill(3, 60);
    REQUIRE(soon([&] { return b.driver.ring(kRx).pending(); }));
    REQUIRE(soon([&] { return a.reap() == 1; }));
  }
}

CHECK_MAIN()
