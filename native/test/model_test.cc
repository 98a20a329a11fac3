// The whole card against a std::deque: whatever driver and device do in whatever order, each frame arrives
// exactly once, in order, with its bytes, and neither a doorbell nor an interrupt is lost. A failure prints
// the seed that repeats it.
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <vector>

#include "check.h"
#include "fixture.h"
#include "mock_driver.h"

using namespace ringcube;
using mock::Bytes;
using mock::Driver;
using mock::kHeader;
using mock::kRx;
using mock::kTx;
using mock::make_frame;
using mock::Received;
using mock::Ring;
using mock::Shape;
using mock::Used;

namespace {

constexpr uint32_t kSlotBytes = 2048;
constexpr uint32_t kSlots = 64;

// Memory for frames or buffers, in equal slots.
struct Slots {
  uint64_t base = 0;
  std::vector<uint64_t> free;

  explicit Slots(Driver& driver) : base(driver.alloc(size_t{kSlotBytes} * kSlots)) {
    for (uint64_t i = 0; i < kSlots; ++i) free.push_back(i);
  }
  uint64_t addr(uint64_t slot) const { return base + kSlotBytes * slot; }
  uint64_t take(SplitMix& random) {
    std::swap(free[random.below(free.size())], free.back());
    const uint64_t slot = free.back();
    free.pop_back();
    return slot;
  }
};

struct Host {
  std::shared_ptr<Nic> nic;
  Driver driver;
  Slots tx;
  Slots rx;
  std::deque<Bytes> expected;  // what this one is to receive
  uint32_t max_pieces[2] = {};
  uint32_t max_frame = 0;  // that this one can take
  bool armed[2] = {};      // it asked for an interrupt of the queue, and none has come since
  bool asleep = false;     // the device has armed and waits for a doorbell
  uint64_t interrupts = 0;

  Host(const std::shared_ptr<Engine>& engine, std::shared_ptr<Nic> n)
      : nic(std::move(n)), driver(engine, nic), tx(driver), rx(driver) {}
};

class World {
 public:
  World(uint64_t seed, bool doorbells) : random_(seed), doorbells_(doorbells), seed_(seed) {
    engine_ = mock::make_engine();
    // With doorbells, the test itself is the engine that sleeps; then nothing else may have to wake it: a
    // wire without waiting, and a receiver that always has room.
    WireOptions wire = {.queue_frames = static_cast<uint32_t>(1 + random_.below(40)), .pause = !doorbells};
    if (!doorbells && random_.chance(0.5)) wire.delay_ns = static_cast<TimeNs>(random_.below(3000));
    if (!doorbells && random_.chance(0.3)) wire.rate_bps = 1e9;
    for (auto& host : hosts_) host = std::make_unique<Host>(engine_, mock::make_nic(*engine_));
    link_ = mock::make_link(*engine_, hosts_[0]->nic, hosts_[1]->nic, wire, seed);
    for (auto& host : hosts_) start(*host);
  }

  bool run(int operations) {
    for (int i = 0; i < operations && ok_; ++i) {
      Host& host = *hosts_[random_.below(2)];
      operate(host);
      for (auto& h : hosts_) check(*h);
    }
    drain();
    return ok_;
  }

  uint64_t frames() const { return frames_; }
  uint64_t interrupts() const { return hosts_[0]->interrupts + hosts_[1]->interrupts; }

 private:
  void start(Host& h) {
    uint64_t features = mock::kBaseFeatures;
    for (const uint32_t bit : {kFeatureEventIdx, kFeatureIndirectDesc, kFeatureInOrder, kFeatureMrgRxbuf})
      if (random_.chance(0.5)) features |= feature(bit);
    must(h.driver.negotiate(features), "negotiation");
    for (const uint16_t q : {kRx, kTx}) {
      const auto size = static_cast<uint16_t>(2U << random_.below(doorbells_ ? 5 : 6));
      must(h.driver.enable_queue(q, size, 1 + random_.below(1000)), "a queue");
      h.max_pieces[q] = static_cast<uint32_t>(1 + random_.below(std::min<uint64_t>(size, 8)));
    }
    h.driver.ready();
    // Whatever shapes the chains get, all that fit must hold the longest frame.
    h.max_frame = static_cast<uint32_t>(60 + random_.below(1400));
    if (random_.chance(0.5)) {
      h.armed[kRx] = h.driver.ring(kRx).enable_interrupts();
      h.armed[kTx] = h.driver.ring(kTx).enable_interrupts();
    }
  }
  Host& other(const Host& h) { return h.nic == hosts_[0]->nic ? *hosts_[1] : *hosts_[0]; }

  bool fail(const char* what) {
    if (ok_) std::fprintf(stderr, "seed %llu: %s\n", static_cast<unsigned long long>(seed_), what);
    ok_ = false;
    return false;
  }
  void must(bool ok, const char* what) {
    if (!ok) fail(what);
  }

  Shape shape(const Host& h) {
    if (!h.driver.has(kFeatureIndirectDesc)) return Shape::kDirect;
    return static_cast<Shape>(random_.below(3));
  }

  void publish(Host& h, uint16_t queue) {
    const bool wanted = h.driver.ring(queue).publish();
    if (!doorbells_) {
      if (wanted) h.driver.kick(queue);
      return;
    }
    if (wanted) h.asleep = false;
    if (queue == kTx && h.asleep &&
        h.driver.ring(kTx).added() != last_added_tx_[h.nic == hosts_[0]->nic ? 0 : 1])
      fail("a sleeping device did not ask for a doorbell");
    if (queue == kTx) last_added_tx_[h.nic == hosts_[0]->nic ? 0 : 1] = h.driver.ring(kTx).added();
  }

  void transmit(Host& h) {
    Host& to = other(h);
    if (h.tx.free.empty()) return;
    const Ring& rx = to.driver.ring(kRx);
    if (doorbells_ && static_cast<uint16_t>(rx.shown() - rx.taken()) <= to.expected.size())
      return;  // it would be dropped
    const auto length =
        static_cast<uint32_t>(14 + random_.below((random_.chance(0.5) ? 60 : to.max_frame) - 13));
    const Bytes frame = make_frame(seed_ * 1'000'003 + frames_, length);
    const uint64_t slot = h.tx.take(random_);
    const auto lengths = mock::random_lengths(random_, length + kHeader, h.max_pieces[kTx]);
    if (h.driver.add_frame(kTx, h.tx.addr(slot), frame, lengths, shape(h), {}, slot) < 0) {
      h.tx.free.push_back(slot);
      return;
    }
    to.expected.push_back(frame);
    ++frames_;
  }

  void post(Host& h) {
    if (h.rx.free.empty()) return;
    Ring& ring = h.driver.ring(kRx);
    uint32_t bytes = kHeader + h.max_frame;
    if (h.driver.has(kFeatureMrgRxbuf) && !doorbells_) {
      const uint32_t chains = std::min(ring.size() / h.max_pieces[kRx], kSlots);
      const uint32_t least = std::max((bytes + chains - 1) / chains, kHeader);
      bytes = least + static_cast<uint32_t>(random_.below(bytes - least + 1));
    }
    const uint64_t slot = h.rx.take(random_);
    std::memset(h.driver.at(h.rx.addr(slot)), 0xcd, kSlotBytes);
    const auto lengths = mock::random_lengths(random_, bytes, h.max_pieces[kRx]);
    if (ring.add(mock::cut(h.rx.addr(slot), lengths, true), slot, shape(h)) < 0) h.rx.free.push_back(slot);
  }

  void receive(Host& h) {
    Received r;
    if (!h.driver.receive(kRx, r)) return;
    for (const uint64_t slot : r.tokens) h.rx.free.push_back(slot);
    if (h.expected.empty()) {
      fail("a frame that nobody sent");
      return;
    }
    if (r.frame != h.expected.front()) fail("another frame than the next");
    h.expected.pop_front();
  }

  void reap(Host& h) {
    Used used;
    if (!h.driver.ring(kTx).reap(used)) return;
    if (used.len != 0) fail("bytes written to a sent chain");
    h.tx.free.push_back(used.token);
  }

  void device(Host& h) {
    if (h.asleep) return;
    const TimeNs now = engine_->now();
    const auto budget = static_cast<uint32_t>(1 + random_.below(20));
    if (h.nic->poll(now, budget) == 0 && doorbells_ && random_.chance(0.7)) h.asleep = h.nic->arm();
  }

  void operate(Host& h) {
    switch (random_.below(doorbells_ ? 11 : 13)) {
      case 0:
      case 1:
        for (uint64_t n = random_.below(5); n > 0; --n) transmit(h);
        break;
      case 2:
      case 3:
        for (uint64_t n = random_.below(8); n > 0; --n) post(h);
        break;
      case 4:
        publish(h, kTx);
        break;
      case 5:
        publish(h, kRx);
        break;
      case 6:
        for (uint64_t n = random_.below(10); n > 0; --n) receive(h);
        break;
      case 7:
        for (uint64_t n = random_.below(10); n > 0; --n) reap(h);
        break;
      case 8: {
        const auto q = static_cast<uint16_t>(random_.below(2));
        Ring& ring = h.driver.ring(q);
        if (random_.chance(0.3)) {
          ring.disable_interrupts();
          h.armed[q] = false;
        } else {
          h.armed[q] = ring.enable_interrupts();
        }
        break;
      }
      case 9:
      case 10:
        device(h);
        break;
      case 11:
        h.nic->arm();  // as an engine does before it sleeps, but then it does not
        break;
      default:
        engine_->step(engine_->now() + static_cast<TimeNs>(random_.below(2000)));
        break;
    }
  }

  // §2.7.7.1: who asked for an interrupt and has used chains has an interrupt.
  void check(Host& h) {
    if (h.nic->fault(kRx) != Fault::kNone || h.nic->fault(kTx) != Fault::kNone) fail("a queue broke");
    const bool due =
        (h.armed[kRx] && h.driver.ring(kRx).pending()) || (h.armed[kTx] && h.driver.ring(kTx).pending());
    if (!due) return;
    if (!h.driver.wait_interrupt(0)) {
      fail("an interrupt was lost");
      return;
    }
    if (!h.driver.take_interrupt(0)) fail("an interrupt without its bit");
    ++h.interrupts;
    for (const uint16_t q : {kRx, kTx}) {
      Ring& ring = h.driver.ring(q);
      if (random_.chance(0.5)) ring.disable_interrupts();
      h.armed[q] = !ring.pending() && ring.enable_interrupts();
    }
  }

  // All that was sent arrives in the end, and every chain comes back.
  void drain() {
    for (int i = 0; i < 3000 && ok_; ++i) {
      for (auto& h : hosts_) {
        while (h->driver.ring(kRx).room() >= h->max_pieces[kRx] && !h->rx.free.empty()) post(*h);
        publish(*h, kRx);
        publish(*h, kTx);
        if (!h->asleep) h->nic->poll(engine_->now(), 64);
      }
      if (!doorbells_) engine_->step(engine_->now() + 5000);
      for (auto& h : hosts_) {
        while (h->driver.ring(kRx).pending() && ok_) receive(*h);
        while (h->driver.ring(kTx).pending()) reap(*h);
        check(*h);
      }
      if (hosts_[0]->expected.empty() && hosts_[1]->expected.empty() &&
          hosts_[0]->driver.ring(kTx).outstanding() + hosts_[1]->driver.ring(kTx).outstanding() == 0)
        break;
    }
    for (auto& h : hosts_) {
      if (!h->expected.empty()) fail("a frame never came");
      if (h->driver.ring(kTx).outstanding() != 0) fail("a chain never came back");
      const QueueCounters rx = h->nic->counters(kRx);
      const QueueCounters tx = h->nic->counters(kTx);
      if (rx.drop_no_buffer + rx.drop_too_long + rx.faults + tx.drop_bad_header + tx.drop_too_long +
              tx.faults !=
          0)
        fail("a drop where none may be");
    }
    if (hosts_[0]->nic->counters(kRx).frames + hosts_[1]->nic->counters(kRx).frames != frames_)
      fail("counters are off");
  }

  SplitMix random_;
  bool doorbells_;
  uint64_t seed_;
  bool ok_ = true;
  uint64_t frames_ = 0;
  uint16_t last_added_tx_[2] = {};
  std::shared_ptr<Engine> engine_;
  std::unique_ptr<Host> hosts_[2];
  std::shared_ptr<Link> link_;
};

}  // namespace

TEST(every_frame_arrives_once_in_order_with_its_bytes_over_any_interleaving) {
  uint64_t frames = 0;
  uint64_t interrupts = 0;
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    World world(seed, false);
    REQUIRE(world.run(1500));
    frames += world.frames();
    interrupts += world.interrupts();
  }
  CHECK(frames > 40'000);
  CHECK(interrupts > 10'000);
}

TEST(a_device_that_sleeps_has_asked_for_the_doorbell_that_wakes_it_s2_7_10) {
  uint64_t frames = 0;
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    World world(seed, true);
    REQUIRE(world.run(1500));
    frames += world.frames();
  }
  CHECK(frames > 20'000);
}

CHECK_MAIN()
