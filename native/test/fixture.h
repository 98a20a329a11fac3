// What the tests of cards, engines and the drivers between them share, beside the mock driver.
#pragma once

#include <chrono>
#include <cstdint>
#include <ctime>
#include <functional>
#include <thread>
#include <vector>

#include "mock_driver.h"

namespace ringcube::mock {

inline constexpr uint64_t kRingReset = kBaseFeatures | feature(kFeatureRingReset);
inline constexpr uint64_t kControl = kBaseFeatures | feature(kFeatureCtrlVq);
inline constexpr uint64_t kEvent = kBaseFeatures | feature(kFeatureEventIdx);
inline constexpr uint32_t kHeader = sizeof(VirtioNetHdr);
inline constexpr uint32_t kFrameMax = 1518;
inline constexpr uint16_t kRx = 0;  // the queues of the first pair
inline constexpr uint16_t kTx = 1;

// --- a driver at its queues --------------------------------------------------------------------------------

// What a full receive buffer takes, and a queue with `n` of them.
inline void post_full(Driver& driver, uint16_t index, int n) {
  for (int i = 0; i < n; ++i) driver.post(index, {kHeader + kFrameMax});
  driver.publish(index);
}

inline std::vector<Bytes> received(Driver& driver, uint16_t index) {
  std::vector<Bytes> out;
  Received r;
  while (driver.receive(index, r)) out.push_back(r.frame);
  return out;
}

inline void le(Bytes& out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<std::byte>(value >> (8 * i)));
}
inline Bytes coalescing(uint32_t packets, uint32_t usecs) {
  Bytes out;
  le(out, packets, 4);
  le(out, usecs, 4);
  return out;
}
inline int set_pairs(Driver& driver, uint16_t pairs) {
  Bytes data;
  le(data, pairs, 2);
  return driver.command(kCtrlMq, kCtrlMqVqPairsSet, data);
}

inline uint64_t dropped(const Nic& nic) {
  uint64_t n = nic.nic_counters().drop_filtered + nic.nic_counters().drop_not_ready;
  for (uint16_t i = 0; i + 1 < nic.queues(); i = static_cast<uint16_t>(i + 2)) {
    const QueueCounters c = nic.counters(i);
    n += c.drop_no_buffer + c.drop_too_long + c.faults;
  }
  return n;
}

// --- real time ---------------------------------------------------------------------------------------------

inline constexpr int kPatienceMs = 15'000;  // a wake-up that takes longer is lost

inline TimeNs clock_of(clockid_t id) {
  timespec t = {};
  clock_gettime(id, &t);
  return TimeNs{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}
inline void sleep_us(int64_t us) { std::this_thread::sleep_for(std::chrono::microseconds(us)); }

// Waits until `condition` is true; false if it takes too long.
inline bool soon(const std::function<bool()>& condition) {
  const TimeNs end = clock_of(CLOCK_MONOTONIC) + TimeNs{kPatienceMs} * 1'000'000;
  while (!condition()) {
    if (clock_of(CLOCK_MONOTONIC) > end) return false;
    sleep_us(100);
  }
  return true;
}

// Which part of a processor this process used while the caller slept.
inline double load_while_idle(int64_t ms) {
  const TimeNs cpu = clock_of(CLOCK_PROCESS_CPUTIME_ID);
  const TimeNs wall = clock_of(CLOCK_MONOTONIC);
  sleep_us(ms * 1000);
  return static_cast<double>(clock_of(CLOCK_PROCESS_CPUTIME_ID) - cpu) /
         static_cast<double>(clock_of(CLOCK_MONOTONIC) - wall);
}
// A spinning thread uses all of one; a sleeping one next to nothing, whatever else the machine does.
inline constexpr double kIdleLoad = 0.3;

}  // namespace ringcube::mock
