#include "core/engine.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "check.h"
#include "fixture.h"
#include "mock_driver.h"

using namespace ringcube;
using mock::Bytes;
using mock::clock_of;
using mock::coalescing;
using mock::Driver;
using mock::kBaseFeatures;
using mock::kEvent;
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
using mock::sleep_us;
using mock::soon;
using mock::Used;
using mock::WireEnd;

namespace {

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

// Asks that interrupts for received frames be held for so long, of an engine with a thread; false if no
// answer comes.
bool hold_received(Driver& driver, uint32_t usecs) {
  const uint64_t at = driver.alloc(64);
  Bytes request = {std::byte{kCtrlNotfCoal}, std::byte{kCtrlNotfCoalRxSet}};
  for (const std::byte b : coalescing(100, usecs)) request.push_back(b);
  std::memcpy(driver.at(at), request.data(), request.size());
  const mock::Buffer chain[] = {{at, static_cast<uint32_t>(request.size()), false}, {at + 32, 1, true}};
  driver.ring(2).add(chain);
  driver.publish(2);
  return soon([&] { return driver.ring(2).pending(); });
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
    REQUIRE(hold_received(e, 1000));
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
  REQUIRE(hold_received(db, 2000));
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
    return sent && soon([&] { return db.receive(kRx, r); });  // which the other card tells of by itself
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

CHECK_MAIN()
