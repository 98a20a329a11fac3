// Steering: an exact flow to a receive queue. Set from the host's side; an extension of ours, as virtio 1.2
// has none. A rule names all of a flow, or leaves out its source (port 0 and no address: whoever sends
// there).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "core/checksum.h"

namespace ringcube {

inline uint64_t flow_hash(const Flow& flow) {
  uint64_t words[sizeof(Flow) / 8];
  std::memcpy(words, &flow, sizeof flow);
  uint64_t h = 0;
  for (const uint64_t w : words) h = (h ^ w) * 0x9e3779b97f4a7c15, h ^= h >> 32;
  return h;
}

class Steering {
 public:
  static constexpr size_t kMaxRules = 4096;

  bool empty() const { return count_ == 0; }
  // False if the table is full. A rule set again moves to the new queue.
  bool set(const Flow& rule, uint16_t queue) {
    is_known_ = false;
    if (slots_.empty()) slots_.resize(kMaxRules * 2);
    if (Slot* slot = find(rule)) {
      slot->queue = queue;
      return true;
    }
    if (count_ == kMaxRules) return false;
    size_t at = hash(rule);
    while (slots_[at].used) at = next(at);
    slots_[at] = {rule, queue, true};
    ++count_;
    return true;
  }
  bool remove(const Flow& rule) {
    is_known_ = false;
    Slot* const slot = find(rule);
    if (slot == nullptr) return false;
    // Linear probing without tombstones: what follows may have to move up.
    size_t hole = static_cast<size_t>(slot - slots_.data());
    for (size_t at = next(hole); slots_[at].used; at = next(at)) {
      const size_t home = hash(slots_[at].rule);
      const size_t mask = slots_.size() - 1;
      if (((at - home) & mask) >= ((at - hole) & mask)) {
        slots_[hole] = slots_[at];
        hole = at;
      }
    }
    slots_[hole].used = false;
    --count_;
    return true;
  }
  // The queue for this flow: by the whole of it, then by its destination alone. Frames of a flow come in
  // runs, so the last answer is kept.
  const uint16_t* lookup(const Flow& flow) {
    if (is_known_ && std::memcmp(&known_, &flow, sizeof flow) == 0) return known_queue_;
    known_ = flow;
    known_queue_ = find_queue(flow);
    is_known_ = true;
    return known_queue_;
  }

 private:
  struct Slot {
    Flow rule;
    uint16_t queue = 0;
    bool used = false;
  };
  const uint16_t* find_queue(const Flow& flow) const {
    if (const Slot* exact = find(flow)) return &exact->queue;
    Flow to = flow;
    to.source_port = 0;
    std::memset(to.source, 0, sizeof to.source);
    const Slot* any = find(to);
    return any == nullptr ? nullptr : &any->queue;
  }
  size_t next(size_t at) const { return (at + 1) & (slots_.size() - 1); }
  size_t hash(const Flow& flow) const { return flow_hash(flow) & (slots_.size() - 1); }
  const Slot* find(const Flow& flow) const {
    if (slots_.empty()) return nullptr;
    for (size_t at = hash(flow); slots_[at].used; at = next(at))
      if (std::memcmp(&slots_[at].rule, &flow, sizeof flow) == 0) return &slots_[at];
    return nullptr;
  }
  Slot* find(const Flow& flow) { return const_cast<Slot*>(static_cast<const Steering*>(this)->find(flow)); }

  std::vector<Slot> slots_;
  size_t count_ = 0;
  Flow known_;
  const uint16_t* known_queue_ = nullptr;
  bool is_known_ = false;
};

}  // namespace ringcube
