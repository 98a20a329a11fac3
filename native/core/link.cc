#include "core/link.h"

#include <algorithm>
#include <cmath>

#include "core/engine.h"

namespace ringcube {

namespace {

constexpr uint32_t kWireOverhead = 24;

struct Later {
  bool operator()(const auto& a, const auto& b) const {
    return a->due != b->due ? a->due > b->due : a->order > b->order;
  }
};

}  // namespace

void Endpoint::wake_neighbours() {
  if (link_ != nullptr) link_->wake(this);
}

Link::Wire::Wire(const WireOptions& o, uint64_t seed)
    : options(o),
      random(seed),
      holds(o.rate_bps > 0 || o.delay_ns > 0 || o.jitter_ns > 0 || o.reorder > 0),
      plain(!holds && o.loss <= 0 && o.duplicate <= 0 && o.corrupt <= 0) {}

Link::Link(std::shared_ptr<Endpoint> a, std::shared_ptr<Endpoint> b, const WireOptions& a_to_b,
           const WireOptions& b_to_a, uint64_t seed)
    : ends_{std::move(a), std::move(b)},
      wires_{Wire(a_to_b, seed), Wire(b_to_a, seed ^ 0x5851f42d4c957f2d)},
      scratch_(kMaxFrame) {
  for (int side = 0; side < 2; ++side) {
    ends_[side]->link_ = this;
    ends_[side]->side_ = side;
    ends_[side]->carrier(true);
  }
}

Link::~Link() { unplug(); }

void Link::unplug() {
  for (auto& end : ends_) {
    if (end == nullptr || end->link_ != this) continue;
    end->link_ = nullptr;
    end->carrier(false);
  }
  for (Wire& wire : wires_) {
    wire.counters.lost += wire.heap.size();
    wire.heap.clear();
  }
}

void Link::wake(const Endpoint* except) {
  for (Wire& wire : wires_) wire.blocked = false;
  activate();
  for (const auto& end : ends_)
    if (end.get() != except) end->activate();
}

Delivery Link::hand_over(int side, const Frame& frame, TimeNs now) {
  Wire& wire = wires_[side];
  const Delivery outcome = ends_[1 - side]->deliver(frame, now, wire.options.pause);
  if (outcome == Delivery::kTaken)
    ++wire.counters.delivered;
  else if (outcome == Delivery::kDropped)
    ++wire.counters.refused;
  return outcome;
}

Delivery Link::send(int side, const Frame& frame, TimeNs now) {
  Wire& wire = wires_[side];
  const Delivery outcome = wire.plain ? hand_over(side, frame, now) : fate(side, frame, now);
  if (outcome != Delivery::kBusy) ++wire.counters.offered;
  return outcome;
}

Delivery Link::fate(int side, const Frame& frame, TimeNs now) {
  Wire& wire = wires_[side];
  const WireOptions& o = wire.options;
  if (wire.holds && wire.heap.size() >= o.queue_frames) {
    if (o.pause) return Delivery::kBusy;
    ++wire.counters.queue_full;
    return Delivery::kDropped;
  }
  const SplitMix before = wire.random;  // a frame that has to wait meets its fate once
  if (wire.random.chance(o.loss)) {
    ++wire.counters.lost;
    return Delivery::kTaken;  // the sender can't tell
  }
  const bool corrupt = wire.random.chance(o.corrupt);
  const bool duplicate = wire.random.chance(o.duplicate);
  if (wire.holds) {
    hold(wire, frame, now, corrupt);
    if (duplicate && wire.heap.size() < o.queue_frames) {
      hold(wire, frame, now, false);
      ++wire.counters.duplicated;
    }
    activate();
    return Delivery::kTaken;
  }
  Frame sent = frame;
  Slice whole = {scratch_.data(), frame.length};
  if (corrupt) {
    frame.copy(0, scratch_.data(), frame.length);
    const uint64_t bit = wire.random.below(uint64_t{frame.length} * 8);
    scratch_[bit / 8] ^= std::byte{1} << (bit % 8);
    sent = {.slices = &whole, .count = 1, .length = frame.length};
  }
  const Delivery outcome = hand_over(side, sent, now);
  if (outcome == Delivery::kBusy) {
    wire.random = before;
    return outcome;
  }
  if (corrupt) ++wire.counters.corrupted;
  if (duplicate && hand_over(side, sent, now) != Delivery::kBusy) ++wire.counters.duplicated;
  return outcome;
}

void Link::hold(Wire& wire, const Frame& frame, TimeNs now, bool corrupt) {
  const WireOptions& o = wire.options;
  TimeNs due = now;
  if (o.rate_bps > 0) {
    // A token bucket as a virtual scheduling algorithm (ITU-T I.371, GCRA).
    const auto span = [&](double bytes) {
      return static_cast<TimeNs>(std::llround(bytes * 8e9 / o.rate_bps));
    };
    wire.free_at = std::max(now, wire.free_at) + span(frame.length + kWireOverhead);
    due = std::max(now, wire.free_at - span(o.burst_bytes));
  }
  due += o.delay_ns;
  if (o.jitter_ns > 0) {
    const auto width = static_cast<uint64_t>(o.jitter_ns) * 2 + 1;
    due = std::max(now, due + static_cast<TimeNs>(wire.random.below(width)) - o.jitter_ns);
  }
  due = std::max(due, wire.last_due);
  if (wire.random.chance(o.reorder)) {
    due += o.reorder_ns;
    ++wire.counters.reordered;
  } else {
    wire.last_due = due;
  }
  std::unique_ptr<Held> held;
  if (wire.spare.empty()) {
    held = std::make_unique<Held>();
  } else {
    held = std::move(wire.spare.back());
    wire.spare.pop_back();
  }
  held->due = due;
  held->order = wire.order++;
  held->checksum_valid = frame.checksum_valid && !corrupt;
  held->bytes.resize(frame.length);
  frame.copy(0, held->bytes.data(), frame.length);
  if (corrupt) {
    const uint64_t bit = wire.random.below(uint64_t{frame.length} * 8);
    held->bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    ++wire.counters.corrupted;
  }
  ++wire.counters.held_frames;
  wire.counters.held_bytes += frame.length;
  wire.heap.push_back(std::move(held));
  std::push_heap(wire.heap.begin(), wire.heap.end(), Later());
}

uint32_t Link::poll(TimeNs now, uint32_t budget) {
  uint32_t moved = 0;
  for (int side = 0; side < 2; ++side) {
    Wire& wire = wires_[side];
    uint32_t sent = 0;
    while (sent < budget && !wire.heap.empty() && wire.heap.front()->due <= now) {
      Held& held = *wire.heap.front();
      const Slice whole = {held.bytes.data(), static_cast<uint32_t>(held.bytes.size())};
      const Frame frame = {
          .slices = &whole, .count = 1, .length = whole.length, .checksum_valid = held.checksum_valid};
      wire.blocked = hand_over(side, frame, now) == Delivery::kBusy;
      if (wire.blocked) break;
      std::pop_heap(wire.heap.begin(), wire.heap.end(), Later());
      wire.spare.push_back(std::move(wire.heap.back()));
      wire.heap.pop_back();
      ++sent;
    }
    if (sent > 0) {
      flush(side, now);
      ends_[side]->activate();  // it may have waited for room here
    }
    moved += sent;
  }
  return moved;
}

TimeNs Link::next_due() const {
  TimeNs due = kNever;
  for (const Wire& wire : wires_)
    if (!wire.heap.empty() && !wire.blocked) due = std::min(due, wire.heap.front()->due);
  return due;
}

}  // namespace ringcube
