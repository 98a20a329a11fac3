#include "core/engine.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "mock_driver.h"
#include "packets.h"

using namespace ringcube;
using mock::Bytes;
using mock::Driver;
using mock::kBaseFeatures;
using mock::make_engine;
using mock::make_frame;
using mock::make_link;
using mock::make_nic;
using mock::Received;
using mock::Ring;
using mock::Used;
using mock::WireEnd;

namespace {

constexpr uint16_t kRx = 0;
constexpr uint16_t kTx = 1;
constexpr uint32_t kHeader = sizeof(VirtioNetHdr);
constexpr uint64_t kEvent = kBaseFeatures | feature(kFeatureEventIdx);
constexpr int kPatienceMs = 15'000;  // a wake-up that takes longer is lost

TimeNs clock_of(clockid_t id) {
  timespec t = {};
  clock_gettime(id, &t);
  return TimeNs{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}
void sleep_us(int64_t us) { std::this_thread::sleep_for(std::chrono::microseconds(us)); }

// Which part of a processor this process used while the caller slept.
double load_while_idle(int64_t ms) {
  const TimeNs cpu = clock_of(CLOCK_PROCESS_CPUTIME_ID);
  const TimeNs wall = clock_of(CLOCK_MONOTONIC);
  sleep_us(ms * 1000);
  return static_cast<double>(clock_of(CLOCK_PROCESS_CPUTIME_ID) - cpu) /
         static_cast<double>(clock_of(CLOCK_MONOTONIC) - wall);
}
// A spinning thread uses all of one; a sleeping one next to nothing, whatever else the machine does.
constexpr double kIdleLoad = 0.3;

// A polled thing that the test looks into.
struct Probe final : Pollable {
  std::atomic<int> polls{0};
  std::atomic<int> work{0};
  std::atomic<int> arms{0};
  std::atomic<TimeNs> due{kNever};
  std::vector<TimeNs> at;  // stepped only: when work was done
  bool record = false;
  uint32_t poll(TimeNs now, uint32_t) override {
    ++polls;
    if (due.load() <= now) {
      due = kNever;
      if (record) at.push_back(now);
      return 1;
    }
    if (work.load() == 0) return 0;
    --work;
    return 1;
  }
  bool arm() override {
    ++arms;
    return work.load() == 0;
  }
  TimeNs next_due() const override { return due.load(); }
};

// Waits until `condition` is true; false if it takes too long.
bool soon(const std::function<bool()>& condition) {
  const TimeNs end = clock_of(CLOCK_MONOTONIC) + TimeNs{kPatienceMs} * 1'000'000;
  while (!condition()) {
    if (clock_of(CLOCK_MONOTONIC) > end) return false;
    sleep_us(100);
  }
  return true;
}

}  // namespace

// --- stepped -----------------------------------------------------------------------------------------------

TEST(step_goes_from_one_due_time_to_the_next) {
  const auto engine = make_engine();
  const auto a = std::make_shared<Probe>();
  const auto b = std::make_shared<Probe>();
  engine->add(a);
  engine->add(b);
  a->record = b->record = true;
  a->due = 300;
  b->due = 700;
  CHECK_EQ(engine->step(100), 300);
  CHECK_EQ(engine->now(), 100);
  CHECK_EQ(engine->step(299), 300);
  CHECK_EQ(engine->step(300), 700);
  CHECK_EQ(engine->step(1000), kNever);
  CHECK_EQ(engine->now(), 1000);
  CHECK(a->at == std::vector<TimeNs>{300});
  CHECK(b->at == std::vector<TimeNs>{700});
  CHECK_EQ(engine->step(500), kNever);
  CHECK_EQ(engine->now(), 1000);  // never back
  CHECK_EQ(engine->step(kNever), kNever);
}

TEST(step_moves_all_that_can_move_before_time_does) {
  const auto engine = make_engine();
  const auto a = std::make_shared<Probe>();
  engine->add(a);
  a->work = 1000;
  engine->step(0);
  CHECK_EQ(a->work.load(), 0);
  a->work = 1;
  engine->kick(*a);
  engine->step(0);
  CHECK_EQ(a->work.load(), 0);
}

// A thing that is due and does not move is stuck for another reason; the others' time comes all the same.
TEST(step_is_not_held_up_by_one_that_stays_due) {
  struct Stuck final : Pollable {
    uint32_t poll(TimeNs, uint32_t) override { return 0; }
    TimeNs next_due() const override { return 100; }
  };
  const auto engine = make_engine();
  const auto stuck = std::make_shared<Stuck>();
  const auto probe = std::make_shared<Probe>();
  engine->add(stuck);
  engine->add(probe);
  probe->record = true;
  probe->due = 500;
  CHECK_EQ(engine->step(100), 500);
  engine->step(1000);
  CHECK(probe->at == std::vector<TimeNs>{500});
}

TEST(a_stepped_engine_has_no_thread_and_sleeps_never) {
  const auto engine = make_engine();
  CHECK(engine->stepped());
  CHECK_EQ(engine->epoch_offset(), 0);
  CHECK_EQ(engine->now(), 0);
  CHECK_EQ(engine->sleeps(), 0);
  const auto threaded = make_engine(false);
  CHECK(!threaded->stepped());
  CHECK(threaded->epoch_offset() > 0);
}

TEST(the_same_seed_gives_the_same_run_of_two_cards_byte_for_byte) {
  const auto run = [](uint64_t seed) {
    const auto engine = make_engine();
    const auto a = make_nic(*engine);
    const auto b = make_nic(*engine);
    const auto link = make_link(
        *engine, a, b, {.rate_bps = 1e9, .delay_ns = 5000, .jitter_ns = 3000, .loss = 0.1, .duplicate = 0.1},
        seed);
    Driver da(engine, a);
    Driver db(engine, b);
    mock::must(da.start(kBaseFeatures, 64) && db.start(kBaseFeatures, 64), "start");
    const uint64_t at = da.alloc(65536);
    std::vector<std::pair<TimeNs, Bytes>> log;
    SplitMix random(seed);
    for (uint64_t i = 0; i < 500; ++i) {
      if (db.ring(kRx).room() > 0) db.post(kRx, {1600});
      db.publish(kRx);
      da.add_frame(kTx, at + i % 32 * 2048, make_frame(i, 60 + static_cast<uint32_t>(random.below(900))));
      da.publish(kTx);
      engine->step(engine->now() + static_cast<TimeNs>(random.below(20'000)));
      Used used;
      while (da.ring(kTx).reap(used)) {
      }
      Received r;
      while (db.receive(kRx, r)) log.emplace_back(engine->now(), r.frame);
    }
    return log;
  };
  const auto first = run(3);
  CHECK(first.size() > 300);
  CHECK(first == run(3));
  CHECK(first != run(4));
}

// --- the thread --------------------------------------------------------------------------------------------

TEST(a_processor_that_is_not_there_is_refused) {
  std::string error;
  CHECK(Engine::create({.cpu = 1'000'000}, error) == nullptr);
  CHECK(error.find("1000000") != std::string::npos);
}

TEST(a_doorbell_wakes_a_sleeping_engine) {
  const auto engine = make_engine(false, 1000);
  const auto probe = std::make_shared<Probe>();
  {
    const Engine::Guard guard(*engine);
    engine->add(probe);
  }
  for (int i = 0; i < 200; ++i) {
    REQUIRE(soon([&] { return probe->work.load() == 0; }));
    if (i % 3 == 0) sleep_us(300);  // else on its way to sleep
    probe->work = 3;
    engine->kick(*probe);
  }
  REQUIRE(soon([&] { return probe->work.load() == 0; }));
  CHECK(engine->sleeps() > 10);
}

TEST(an_activation_under_the_guard_wakes_a_sleeping_engine) {
  const auto engine = make_engine(false, 0);
  const auto probe = std::make_shared<Probe>();
  {
    const Engine::Guard guard(*engine);
    engine->add(probe);
  }
  const TimeNs end = clock_of(CLOCK_MONOTONIC) + TimeNs{kPatienceMs} * 1'000'000;
  for (int i = 0; i < 10'000; ++i) {
    {
      const Engine::Guard guard(*engine);
      probe->work = 1;
      engine->activate(*probe);
    }
    while (probe->work.load() != 0) {
      REQUIRE(clock_of(CLOCK_MONOTONIC) < end);
      std::this_thread::yield();
    }
    for (int k = i % 64; k > 0; --k) clock_of(CLOCK_MONOTONIC);  // meets it at every step of its way to sleep
  }
}

TEST(a_due_time_wakes_a_sleeping_engine) {
  const auto engine = make_engine(false, 1000);
  const auto probe = std::make_shared<Probe>();
  {
    const Engine::Guard guard(*engine);
    engine->add(probe);
  }
  for (const TimeNs in : {TimeNs{20'000}, TimeNs{2'000'000}, TimeNs{30'000'000}}) {
    const TimeNs due = engine->now() + in;
    {
      const Engine::Guard guard(*engine);
      probe->due = due;
      engine->activate(*probe);
    }
    const uint64_t sleeps = engine->sleeps();
    REQUIRE(soon([&] { return probe->due.load() == kNever; }));
    CHECK(engine->now() >= due);
    if (in > 10'000'000) CHECK(engine->sleeps() > sleeps);  // it did not spin all that time
  }
  // Of two the first, and then the other.
  const auto late = std::make_shared<Probe>();
  {
    const Engine::Guard guard(*engine);
    engine->add(late);
    probe->due = engine->now() + 10'000'000;
    late->due = engine->now() + 20'000'000;
    engine->activate(*probe);
    engine->activate(*late);
  }
  REQUIRE(soon([&] { return probe->due.load() == kNever; }));
  REQUIRE(soon([&] { return late->due.load() == kNever; }));
}

TEST(an_engine_with_256_idle_cards_sleeps) {
  const auto engine = make_engine(false);
  std::vector<std::shared_ptr<Nic>> nics;
  std::vector<std::shared_ptr<Link>> links;
  std::vector<std::unique_ptr<Driver>> drivers;
  for (int i = 0; i < 256; ++i) {
    nics.push_back(make_nic(*engine));
    drivers.push_back(std::make_unique<Driver>(engine, nics.back(), 65536));
    if (i % 2 == 1) links.push_back(make_link(*engine, nics[nics.size() - 2], nics.back()));
  }
  for (auto& d : drivers) REQUIRE(d->start(kBaseFeatures | feature(kFeatureEventIdx), 16));
  sleep_us(50'000);
  const uint64_t before = engine->sleeps();
  CHECK(before > 0);
  CHECK(load_while_idle(300) < kIdleLoad);
  CHECK(engine->sleeps() < before + 20);  // one long sleep, not many short ones
  // Each of them still wakes it, and is served.
  for (auto& d : drivers) {
    const uint64_t at = d->alloc(128);
    d->add_frame(kTx, at, make_frame(1, 60));
    CHECK(d->publish(kTx));
    REQUIRE(soon([&] { return d->ring(kTx).pending(); }));
  }
  sleep_us(20'000);
  CHECK(engine->sleeps() > before);
}

TEST(an_engine_sleeps_whatever_a_driver_left_behind) {
  const auto engine = make_engine(false);
  const auto nic = make_nic(*engine, {.queue_pairs = 2});
  const auto peer = make_nic(*engine);
  const auto link = make_link(*engine, nic, peer);
  Driver d(engine, nic);
  // Chains on a queue of a pair that is not active.
  REQUIRE(d.start(kBaseFeatures | feature(kFeatureCtrlVq) | feature(kFeatureMq), 8, 2));
  d.add_frame(3, d.alloc(128), make_frame(1, 60));
  d.publish(3);
  d.kick(3);
  sleep_us(5000);
  CHECK(load_while_idle(150) < kIdleLoad);
  // A broken queue.
  d.ring(1).avail_idx().store(1000);
  d.kick(1);
  REQUIRE(soon([&] {
    const Engine::Guard guard(*engine);
    return nic->fault(1) == Fault::kAvailIndex;
  }));
  sleep_us(5000);
  CHECK(load_while_idle(150) < kIdleLoad);
  // A held interrupt of a device that was reset, or needs to be.
  Driver e(engine, peer);
  for (const bool broken : {false, true}) {
    REQUIRE(e.start(kBaseFeatures | feature(kFeatureCtrlVq) | feature(kFeatureNotfCoal), 8));
    const uint64_t at = e.alloc(64);
    const uint8_t request[] = {kCtrlNotfCoal, kCtrlNotfCoalRxSet, 100, 0, 0, 0, 0xe8, 3, 0, 0};  // 1 ms
    std::memcpy(e.at(at), request, sizeof request);
    const mock::Buffer chain[] = {{at, sizeof request, false}, {at + 32, 1, true}};
    e.ring(2).add(chain);
    e.publish(2);
    REQUIRE(soon([&] { return e.ring(2).pending(); }));
    e.post(kRx, {1600});
    e.publish(kRx);
    {
      const Engine::Guard guard(*engine);
      Bytes frame = make_frame(1, 60);
      const Slice slice = {frame.data(), 60};
      CHECK_EQ(peer->deliver({.slices = &slice, .count = 1, .length = 60}, engine->now(), false),
               Delivery::kTaken);
      peer->flush(engine->now());
      if (broken)
        peer->need_reset();
      else
        peer->reset();
    }
    sleep_us(5000);
    CHECK(load_while_idle(150) < kIdleLoad);
  }
}

// A card that only receives falls idle while its neighbour is busy; an interrupt held back then has a time to
// keep.
TEST(a_held_interrupt_comes_though_its_card_is_idle_s5_1_6_5_9) {
  const auto engine = make_engine(false, 2'000'000);
  const auto a = make_nic(*engine);
  const auto b = make_nic(*engine);
  const auto link = make_link(*engine, a, b);
  Driver da(engine, a);
  Driver db(engine, b);
  REQUIRE(da.start(kEvent, 8));
  REQUIRE(db.start(kBaseFeatures | feature(kFeatureCtrlVq) | feature(kFeatureNotfCoal), 32));
  const uint64_t at = db.alloc(64);
  const uint8_t request[] = {kCtrlNotfCoal, kCtrlNotfCoalRxSet, 100, 0, 0, 0, 0xd0, 7, 0, 0};  // 2 ms
  std::memcpy(db.at(at), request, sizeof request);
  const mock::Buffer chain[] = {{at, sizeof request, false}, {at + 32, 1, true}};
  db.ring(2).add(chain);
  db.publish(2);
  REQUIRE(soon([&] { return db.ring(2).pending(); }));
  db.take_interrupt(kVectorConfig);
  const uint64_t frame = da.alloc(128);
  const auto send = [&] {
    da.add_frame(kTx, frame, make_frame(1, 60));
    da.publish(kTx);
    const bool sent = soon([&] { return da.ring(kTx).pending(); });
    Used used;
    while (da.ring(kTx).reap(used)) {
    }
    Received r;
    return sent && db.receive(kRx, r);
  };
  for (int i = 0; i < 5; ++i) {
    while (db.ring(kRx).room() > 0) db.post(kRx, {1600});
    db.ring(kRx).publish();  // without a doorbell: that would make it busy
    db.ring(kRx).disable_interrupts();
    for (int k = 0; k < 20; ++k) {
      REQUIRE(send());
      sleep_us(300);
    }
    db.take_interrupt(0);
    REQUIRE(db.ring(kRx).enable_interrupts());
    REQUIRE(send());
    REQUIRE(db.wait_interrupt(kPatienceMs));
    CHECK(db.take_interrupt(0));
  }
}

TEST(frames_on_a_slow_wire_arrive_though_all_sleep) {
  const auto engine = make_engine(false, 1000);
  const auto a = make_nic(*engine);
  const auto b = std::make_shared<WireEnd>();
  {
    const Engine::Guard guard(*engine);
    engine->add(b);
  }
  const auto link = make_link(*engine, a, b, {.delay_ns = 5'000'000});
  Driver d(engine, a);
  REQUIRE(d.start(kBaseFeatures, 8));
  d.add_frame(kTx, d.alloc(128), make_frame(1, 60));
  d.publish(kTx);
  const auto got = [&] {
    const Engine::Guard guard(*engine);
    return b->got.size();
  };
  REQUIRE(soon([&] { return got() == 1; }));
}

TEST(watched_descriptors_are_served_busy_or_asleep) {
  struct Watcher final : FdWatcher {
    std::atomic<int> calls{0};
    void readable(int fd) override {
      eventfd_t value = 0;
      eventfd_read(fd, &value);
      ++calls;
    }
  };
  const auto engine = make_engine(false, 1000);
  Watcher watcher;
  const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  {
    const Engine::Guard guard(*engine);
    REQUIRE(engine->watch(fd, watcher));
    CHECK(!engine->watch(fd, watcher));
  }
  for (int i = 1; i <= 50; ++i) {
    if (i % 2 == 0) sleep_us(500);
    eventfd_write(fd, 1);
    REQUIRE(soon([&] { return watcher.calls == i; }));
  }
  {
    const Engine::Guard guard(*engine);
    engine->unwatch(fd);
  }
  eventfd_write(fd, 1);
  sleep_us(2000);
  CHECK_EQ(watcher.calls.load(), 50);
  close(fd);
}

TEST(a_guard_gets_in_though_the_engine_is_busy) {
  const auto engine = make_engine(false);
  struct Busy final : Pollable {
    uint32_t poll(TimeNs, uint32_t) override { return 1; }
  };
  {
    const Engine::Guard guard(*engine);
    engine->add(std::make_shared<Busy>());
  }
  const TimeNs start = clock_of(CLOCK_MONOTONIC);
  for (int i = 0; i < 2000; ++i) const Engine::Guard guard(*engine);
  CHECK(clock_of(CLOCK_MONOTONIC) - start < TimeNs{kPatienceMs} * 1'000'000);
}

// --- lives that end out of order ---------------------------------------------------------------------------

TEST(a_doorbell_after_removal_does_nothing) {
  for (const bool stepped : {true, false}) {
    const auto engine = make_engine(stepped);
    auto nic = make_nic(*engine);
    {
      const Engine::Guard guard(*engine);
      engine->remove(*nic);
    }
    nic->kick(0);
    nic->write(kRegQueueNotify, 1);
    nic->write(kRegStatus, 0);
    nic.reset();
    const Engine::Guard guard(*engine);
    if (stepped) engine->step(1);
    // And it may be added again.
    const auto probe = std::make_shared<Probe>();
    engine->add(probe);
    engine->remove(*probe);
    engine->kick(*probe);
    engine->add(probe);
    probe->work = 1;
    engine->kick(*probe);
    if (stepped) {
      engine->step(2);
      CHECK_EQ(probe->work.load(), 0);
    }
  }
}

TEST(a_card_may_be_removed_before_its_link) {
  for (const bool stepped : {true, false}) {
    const auto engine = make_engine(stepped, 50'000'000);  // polled to the last
    auto a = make_nic(*engine);
    auto b = make_nic(*engine);
    auto link = make_link(*engine, a, b, {.pause = true});
    {
      Driver da(engine, a);
      REQUIRE(da.start(kBaseFeatures, 8));
      da.add_frame(kTx, da.alloc(128), make_frame(1, 60));
      da.publish(kTx);
      const Engine::Guard guard(*engine);
      b->reset();
      engine->remove(*b);
    }
    for (int i = 0; i < 3; ++i) {
      a->kick(1);  // wakes the neighbours, the removed one too
      if (stepped)
        engine->step(engine->now() + 1);
      else
        sleep_us(300);
    }
    {
      const Engine::Guard guard(*engine);
      link->unplug();
      engine->remove(*link);
    }
    link.reset();
    b.reset();  // nobody must hold it now
    a->kick(1);
    if (stepped)
      engine->step(engine->now() + 1);
    else
      sleep_us(300);
  }
}

TEST(cards_and_links_may_outlive_their_engine) {
  for (const bool stepped : {true, false}) {
    auto engine = make_engine(stepped);
    const auto a = make_nic(*engine);
    const auto b = std::make_shared<WireEnd>();
    {
      const Engine::Guard guard(*engine);
      engine->add(b);
    }
    auto link = make_link(*engine, a, b, {.delay_ns = 100, .pause = true});
    engine.reset();
    a->kick(1);
    a->write(kRegStatus, 0);
    b->send(make_frame(1, 60), 0);
    b->make_room();
    link.reset();
    CHECK(a->link() == nullptr);
  }
}

// --- two drivers that sleep, and the engine ----------------------------------------------------------------

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
