// A wire between two endpoints, and what a wire does to frames: rate, delay, jitter, loss, duplication,
// corruption, reordering. Seeded: the same seed and the same frames give the same fate.
//
// A direction without rate, delay, jitter or reordering hands frames over in place: one DMA from the sender's
// memory to the receiver's. One that must hold a frame holds a copy, as a wire does not keep its sender's
// buffers; the copies are counted (`held_frames`, `held_bytes`).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/wire.h"

namespace ringcube {

// xoshiro-free and small: splitmix64 (Steele, Lea, Flood 2014), good enough for fates.
class SplitMix {
 public:
  explicit SplitMix(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  bool chance(double p) { return p > 0 && unit() < p; }
  uint64_t below(uint64_t n) {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(next()) * n) >> 64);
  }

 private:
  uint64_t state_;
};

// One direction. Rates are of the wire: a frame takes its bytes + 24 (preamble, FCS, gap; IEEE 802.3 §3,
// §4.4.2).
struct WireOptions {
  double rate_bps = 0;  // 0: infinite
  uint32_t burst_bytes = 0;
  TimeNs delay_ns = 0;
  TimeNs jitter_ns = 0;  // uniform in ±jitter; keeps order
  double loss = 0;
  double duplicate = 0;
  double corrupt = 0;  // one bit of the frame flipped
  double reorder = 0;  // held back by reorder_ns more, so that later frames overtake it
  TimeNs reorder_ns = 0;
  uint32_t queue_frames = 1000;  // held at once
  bool pause =
      false;  // a receiver or queue without room makes the sender wait (as 802.3 annex 31B) instead of a drop
};

struct WireCounters {
  uint64_t offered = 0;
  uint64_t delivered = 0;
  uint64_t lost = 0;
  uint64_t duplicated = 0;
  uint64_t corrupted = 0;
  uint64_t reordered = 0;
  uint64_t queue_full = 0;
  uint64_t refused = 0;  // the receiver dropped it, and says there why
  uint64_t held_frames = 0;
  uint64_t held_bytes = 0;
};

class Link final : public Pollable {
 public:
  Link(std::shared_ptr<Endpoint> a, std::shared_ptr<Endpoint> b, const WireOptions& a_to_b,
       const WireOptions& b_to_a, uint64_t seed);
  ~Link() override;
  // Unplugs both ends; frames on the wire are lost.
  void unplug();

  Delivery send(int side, const Frame& frame, TimeNs now);
  void flush(int side, TimeNs now) { ends_[1 - side]->flush(now); }

  uint32_t poll(TimeNs now, uint32_t budget) override;
  bool arm() override { return true; }
  TimeNs next_due() const override;
  void wake(const Endpoint* except);
  const WireCounters& counters(int side) const { return wires_[side].counters; }

 private:
  struct Held {
    TimeNs due;
    uint64_t order;
    std::vector<std::byte> bytes;
    bool checksum_valid;
  };
  struct Wire {
    Wire(const WireOptions& o, uint64_t seed);
    WireOptions options;
    SplitMix random;
    bool holds;
    bool plain;  // nothing but a hand-over
    bool blocked = false;
    TimeNs free_at = 0;  // when the wire will have sent what it was given (GCRA's theoretical arrival time)
    TimeNs last_due = 0;
    uint64_t order = 0;
    std::vector<std::unique_ptr<Held>> heap;  // by due, then order
    std::vector<std::unique_ptr<Held>> spare;
    WireCounters counters;
  };
  Delivery hand_over(int side, const Frame& frame, TimeNs now);
  Delivery fate(int side, const Frame& frame, TimeNs now);
  void hold(Wire& wire, const Frame& frame, TimeNs now, bool corrupt);

  std::shared_ptr<Endpoint> ends_[2];
  Wire wires_[2];
  std::vector<std::byte> scratch_;
};

}  // namespace ringcube
