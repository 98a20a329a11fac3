// What meets on a wire: frames, the endpoints that send and take them, and what the engine polls.
//
//     Endpoint (NIC, replay, recorder, …) ──send──▶ Link ──deliver──▶ Endpoint
//
// A frame is borrowed: its slices are valid until the call returns.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include "core/virtqueue.h"

namespace ringcube {

using TimeNs = int64_t;  // of the engine's clock: monotonic, or virtual in stepped mode
inline constexpr TimeNs kNever = std::numeric_limits<TimeNs>::max();
inline constexpr uint32_t kMaxFrame = 65536;

struct Frame {
  const Slice* slices;
  uint32_t count;
  uint32_t length;
  bool checksum_valid = false;  // a device computed the checksum and nothing has touched the frame since

  // Copies bytes [from, from + n) out; the caller has checked that they are there.
  void copy(uint32_t from, void* to, uint32_t n) const {
    auto* out = static_cast<std::byte*>(to);
    for (const Slice* s = slices; n > 0; ++s) {
      if (from >= s->length) {
        from -= s->length;
        continue;
      }
      const uint32_t part = s->length - from < n ? s->length - from : n;
      std::memcpy(out, s->data + from, part);
      out += part;
      n -= part;
      from = 0;
    }
  }
};

enum class Delivery : uint8_t {
  kTaken,
  kDropped,  // and counted by whoever dropped it
  kBusy,     // no room now; the sender keeps the frame (only where waiting was allowed)
};

class Engine;

// What the engine polls in turn. All calls come under the engine's lock.
class Pollable {
 public:
  Pollable() = default;
  virtual ~Pollable() = default;
  Pollable(const Pollable&) = delete;
  Pollable& operator=(const Pollable&) = delete;

  // Moves at most `budget` frames; returns how many.
  virtual uint32_t poll(TimeNs now, uint32_t budget) = 0;
  // Before it leaves the polling set: ask for doorbells. False if work already waits.
  virtual bool arm() { return true; }
  // When it wants to be polled again without a doorbell.
  virtual TimeNs next_due() const { return kNever; }
  // A doorbell rang for it: whoever waits for it to make room should be polled too.
  virtual void wake_neighbours() {}
  // Into the engine's polling set, if it has an engine.
  void activate();

 protected:
  Engine* engine_ = nullptr;

 private:
  friend class Engine;
  bool active_ = false;
  TimeNs busy_at_ = 0;
  std::atomic<bool> kicked_{false};
  Pollable* next_kicked_ = nullptr;
};

class Link;

class Endpoint : public Pollable {
 public:
  // A frame from the wire. With `may_wait`, lack of room is kBusy and not a drop.
  virtual Delivery deliver(const Frame& frame, TimeNs now, bool may_wait) = 0;
  // The end of a batch of deliveries.
  virtual void flush(TimeNs now) = 0;
  // The wire was plugged in or out.
  virtual void carrier(bool up) { (void)up; }
  void wake_neighbours() override;

  Link* link() const { return link_; }

 protected:
  Link* link_ = nullptr;
  int side_ = 0;

 private:
  friend class Link;
};

// Sees every frame that an endpoint sends or takes.
class Monitor {
 public:
  virtual ~Monitor() = default;
  virtual void frame(bool inbound, const Frame& frame, TimeNs now) = 0;
};

}  // namespace ringcube
