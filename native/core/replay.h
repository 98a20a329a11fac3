// A backend that sends recorded or made frames over a link, at their own times, at a rate or as fast as the
// receiver takes them; and counts what comes back. Without frames it is a sink.
//
// With a stamp, each frame carries in its last 8 bytes the time at which it was due to be sent, and a frame
// that comes back gives a latency from that time: a late send counts as latency, so nothing is omitted
// (coordinated omission).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/wire.h"

namespace ringcube {

struct ReplayOptions {
  enum class Timing : uint8_t { kOriginal, kFastest, kRate };
  Timing timing = Timing::kOriginal;
  double speed = 1;              // kOriginal: 2 plays twice as fast
  double frames_per_second = 0;  // kRate
  uint64_t limit = 0;            // frames to send, from the start again as often as needed; 0: each once
  // kDue: for latencies that omit nothing; kSent: for those that leave out how late the sender was.
  enum class Stamp : uint8_t { kNone, kDue, kSent };
  Stamp stamp = Stamp::kNone;
  uint32_t latencies = 0;  // how many to keep
};

class Replay final : public Endpoint {
 public:
  // Frames end to end in `bytes`; `lengths` and `times_ns` (not before the one ahead) have one entry for
  // each.
  static std::shared_ptr<Replay> create(std::vector<std::byte> bytes, std::vector<uint32_t> lengths,
                                        std::vector<TimeNs> times_ns, const ReplayOptions& options,
                                        std::string& error);
  // All frames of a pcapng file. `cut` counts those that a snap length cut short: they can't be sent.
  static std::shared_ptr<Replay> open(const std::string& path, const ReplayOptions& options, uint32_t& cut,
                                      std::string& error);

  void start();
  void stop() { running_ = false; }
  bool done() const { return sent_ + refused_ == limit_; }
  size_t frames() const { return lengths_.size(); }
  uint64_t sent() const { return sent_; }
  uint64_t refused() const { return refused_; }
  uint64_t returned() const { return returned_; }
  uint64_t returned_bytes() const { return returned_bytes_; }
  // In the order of their return, in ns; as many as were asked for.
  std::span<const double> latencies() const { return latencies_; }
  uint64_t latencies_lost() const { return latencies_lost_; }

  Delivery deliver(const Frame& frame, TimeNs now, bool may_wait) override;
  void flush(TimeNs) override {}
  uint32_t poll(TimeNs now, uint32_t budget) override;
  TimeNs next_due() const override;

 private:
  Replay() : wire_(kMaxFrame) {}
  TimeNs due(uint64_t index) const;

  ReplayOptions options_;
  std::vector<std::byte> bytes_;
  std::vector<uint32_t> lengths_;
  std::vector<uint64_t> offsets_;
  std::vector<TimeNs> times_;  // from the first frame
  std::vector<std::byte> wire_;
  std::vector<double> latencies_;
  uint64_t latencies_lost_ = 0;
  uint64_t limit_ = 0;
  uint64_t sent_ = 0;
  uint64_t refused_ = 0;
  uint64_t returned_ = 0;
  uint64_t returned_bytes_ = 0;
  size_t at_ = 0;
  TimeNs started_ = 0;
  bool running_ = false;
  bool blocked_ = false;
};

}  // namespace ringcube
