#include "core/replay.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

#include "core/engine.h"
#include "core/link.h"
#include "core/pcapng.h"

namespace ringcube {

namespace {

constexpr uint32_t kStampBytes = 8;
constexpr uint32_t kMinStamped = 14 + 20 + 8 + kStampBytes;
constexpr uint64_t kMaxFileBytes = uint64_t{1} << 30;

}  // namespace

std::shared_ptr<Replay> Replay::create(std::vector<std::byte> bytes, std::vector<uint32_t> lengths,
                                       std::vector<TimeNs> times_ns, const ReplayOptions& options,
                                       std::string& error) {
  std::shared_ptr<Replay> replay(new Replay());
  uint64_t offset = 0;
  for (const uint32_t length : lengths) {
    if (length < 14 || length > kMaxFrame)
      error =
          "a frame of " + std::to_string(length) + " bytes: must be from 14 to " + std::to_string(kMaxFrame);
    else if (options.stamp != ReplayOptions::Stamp::kNone && length < kMinStamped)
      error = "a frame of " + std::to_string(length) + " bytes is too short for a stamp: at least " +
              std::to_string(kMinStamped);
    replay->offsets_.push_back(offset);
    offset += length;
  }
  if (offset != bytes.size() || times_ns.size() != lengths.size())
    error = "frames: lengths and times must have one entry for each frame, and lengths add up to the bytes";
  if (options.timing == ReplayOptions::Timing::kRate && !(options.frames_per_second > 0))
    error = "framesPerSecond must be above 0";
  if (!(options.speed > 0)) error = "speed must be above 0";
  if (options.limit > 0 && lengths.empty()) error = "a limit needs frames to send";
  if (!error.empty()) return nullptr;
  const TimeNs first = times_ns.empty() ? 0 : times_ns.front();
  for (TimeNs& t : times_ns) t -= first;
  replay->options_ = options;
  replay->limit_ = options.limit > 0 ? options.limit : lengths.size();
  replay->bytes_ = std::move(bytes);
  replay->lengths_ = std::move(lengths);
  replay->times_ = std::move(times_ns);
  replay->latencies_.reserve(options.latencies);
  return replay;
}

std::shared_ptr<Replay> Replay::open(const std::string& path, const ReplayOptions& options, uint32_t& cut,
                                     std::string& error) {
  if (std::error_code ignored; std::filesystem::is_directory(path, ignored)) {
    error = path + ": " + std::strerror(EISDIR);
    return nullptr;
  }
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  if (!in) {
    error = path + ": " + std::strerror(errno);
    return nullptr;
  }
  const auto size = static_cast<uint64_t>(in.tellg());
  if (size > kMaxFileBytes) {
    error = path + ": over 1 GiB; cut it with: editcap -c FRAMES IN OUT";
    return nullptr;
  }
  std::vector<std::byte> file(size);
  in.seekg(0);
  in.read(reinterpret_cast<char*>(file.data()), static_cast<std::streamsize>(size));
  Capture capture;
  if (!in || !parse_pcapng(file, capture, error)) {
    error = path + ": " + (error.empty() ? "could not be read" : error);
    return nullptr;
  }
  // Several interfaces may be written out of order; a wire is not.
  std::stable_sort(capture.frames.begin(), capture.frames.end(),
                   [](const auto& a, const auto& b) { return a.time_ns < b.time_ns; });
  std::vector<std::byte> bytes;
  std::vector<uint32_t> lengths;
  std::vector<TimeNs> times;
  cut = capture.cut;
  for (const CapturedFrame& f : capture.frames) {
    if (f.length < 14 || f.length > kMaxFrame) {
      ++cut;
      continue;
    }
    const auto begin = file.begin() + static_cast<std::ptrdiff_t>(f.offset);
    bytes.insert(bytes.end(), begin, begin + f.length);
    lengths.push_back(f.length);
    times.push_back(f.time_ns);
  }
  if (lengths.empty()) {
    error = path + ": holds no frame that could be sent";
    return nullptr;
  }
  auto replay = create(std::move(bytes), std::move(lengths), std::move(times), options, error);
  if (replay == nullptr) error = path + ": " + error;
  return replay;
}

void Replay::start() {
  if (running_ || lengths_.empty()) return;
  running_ = true;
  started_ = engine_->now();
  engine_->activate(*this);
}

TimeNs Replay::due(uint64_t index) const {
  switch (options_.timing) {
    case ReplayOptions::Timing::kFastest:
      return started_;
    case ReplayOptions::Timing::kRate:
      return started_ + std::llround(static_cast<double>(index) * 1e9 / options_.frames_per_second);
    case ReplayOptions::Timing::kOriginal:
      break;
  }
  // A round after the first begins where the last frame's successor would be, one mean gap later.
  const auto n = static_cast<TimeNs>(times_.size());
  const TimeNs round = times_.back() + times_.back() / std::max<TimeNs>(n - 1, 1);
  const TimeNs rounds_done = static_cast<TimeNs>(index) / n;
  const auto at = static_cast<double>(rounds_done * round + times_[at_]);
  return started_ + std::llround(at / options_.speed);
}

uint32_t Replay::poll(TimeNs now, uint32_t budget) {
  if (!running_ || link_ == nullptr) return 0;
  blocked_ = false;
  uint32_t moved = 0;
  for (; moved < budget && !done(); ++moved) {
    const TimeNs at = due(sent_ + refused_);
    if (at > now) break;
    const Slice whole = {bytes_.data() + offsets_[at_], lengths_[at_]};
    if (options_.stamp != ReplayOptions::Stamp::kNone) {
      const TimeNs stamp = options_.stamp == ReplayOptions::Stamp::kDue ? at : engine_->now();
      std::memcpy(whole.data + whole.length - kStampBytes, &stamp, kStampBytes);
    }
    const Delivery outcome = link_->send(side_, {.slices = &whole, .count = 1, .length = whole.length}, now);
    if (outcome == Delivery::kBusy) {
      blocked_ = true;
      break;
    }
    ++(outcome == Delivery::kTaken ? sent_ : refused_);
    if (++at_ == lengths_.size()) at_ = 0;
  }
  if (moved > 0) link_->flush(side_, now);
  return moved;
}

TimeNs Replay::next_due() const {
  if (!running_ || blocked_ || link_ == nullptr || done()) return kNever;
  return due(sent_ + refused_);
}

Delivery Replay::deliver(const Frame& frame, TimeNs /*now*/, bool /*may_wait*/) {
  frame.copy(0, wire_.data(), frame.length);  // as a card reads what it sends
  ++returned_;
  returned_bytes_ += frame.length;
  if (options_.stamp != ReplayOptions::Stamp::kNone && frame.length >= kMinStamped) {
    TimeNs at = 0;
    std::memcpy(&at, wire_.data() + frame.length - kStampBytes, kStampBytes);
    // The time of the turn is too coarse: it stood still for all of this batch.
    if (latencies_.size() < latencies_.capacity())
      latencies_.push_back(static_cast<double>(engine_->now() - at));
    else
      ++latencies_lost_;
  }
  return Delivery::kTaken;
}

}  // namespace ringcube
