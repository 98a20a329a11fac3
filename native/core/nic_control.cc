// The control queue, §5.1.6.5.
#include <algorithm>
#include <cstring>

#include "core/nic.h"

namespace ringcube {

namespace {

constexpr uint32_t kMaxRequest = 4096;
constexpr size_t kMaxMacs = 64;

uint16_t le16(const std::byte* p) {
  uint16_t v = 0;
  std::memcpy(&v, p, 2);
  return v;
}
uint32_t le32(const std::byte* p) {
  uint32_t v = 0;
  std::memcpy(&v, p, 4);
  return v;
}
uint64_t le64(const std::byte* p) {
  uint64_t v = 0;
  std::memcpy(&v, p, 8);
  return v;
}

using MacTable = std::vector<std::array<uint8_t, 6>>;

// {le32 entries; u8 macs[entries][6]}; how many bytes it took, or 0.
uint32_t read_table(const std::byte* data, uint32_t bytes, MacTable& table) {
  if (bytes < 4) return 0;
  const uint32_t entries = le32(data);
  if (entries > kMaxMacs || bytes - 4 < entries * 6) return 0;
  table.resize(entries);
  for (uint32_t i = 0; i < entries; ++i) std::memcpy(table[i].data(), data + 4 + size_t{6} * i, 6);
  return 4 + entries * 6;
}

}  // namespace

uint32_t Nic::control() {
  Queue& q = *queues_[control_queue_];
  if (!has(kFeatureCtrlVq) || !q.ring.live()) return 0;
  if (q.ring.notifications_enabled()) q.ring.disable_notifications();
  uint32_t done = 0;
  Chain chain;
  while (done < 16 && q.ring.pop(chain)) {
    if (chain.readable_bytes < 2 || chain.writable_bytes < 1) {
      q.ring.stop(Fault::kWrongQueue);
      break;
    }
    uint8_t ack = kCtrlErr;
    if (chain.readable_bytes <= kMaxRequest) {
      const Frame request = {.slices = chain.slices, .count = chain.readable, .length = chain.readable_bytes};
      request.copy(0, scratch_.data(), chain.readable_bytes);
      ack = command(scratch_.data(), chain.readable_bytes);
    }
    *chain.slices[chain.readable].data = std::byte{ack};
    q.ring.push(chain.head, 1);
    ++q.counters.frames;
    ++done;
  }
  if (!q.ring.live())
    report_fault(control_queue_);
  else if (done > 0)
    publish(control_queue_, done, 0);
  return done;
}

uint8_t Nic::command(const std::byte* request, uint32_t bytes) {
  const auto command_class = static_cast<uint8_t>(request[0]);
  const auto command = static_cast<uint8_t>(request[1]);
  const std::byte* data = request + 2;
  bytes -= 2;
  switch (command_class) {
    case kCtrlRx:
      return command_rx(command, data, bytes);
    case kCtrlMac:
      return command_mac(command, data, bytes);
    case kCtrlMq: {
      if (!has(kFeatureMq) || command != kCtrlMqVqPairsSet || bytes != 2) return kCtrlErr;
      const uint16_t pairs = le16(data);
      if (pairs == 0 || pairs > options_.queue_pairs) return kCtrlErr;
      active_pairs_ = pairs;
      release_all();
      return kCtrlOk;
    }
    case kCtrlGuestOffloads: {
      if (!has(kFeatureCtrlGuestOffloads) || command != kCtrlGuestOffloadsSet || bytes != 8) return kCtrlErr;
      const uint64_t offloads = le64(data);
      if ((offloads & ~feature(kFeatureGuestCsum)) != 0 || (offloads & ~driver_features_) != 0)
        return kCtrlErr;
      guest_csum_ = offloads != 0;
      return kCtrlOk;
    }
    case kCtrlNotfCoal:
      return command_coalescing(command, data, bytes);
    default:
      return kCtrlErr;
  }
}

uint8_t Nic::command_rx(uint8_t command, const std::byte* data, uint32_t bytes) {
  bool* const switches[] = {&filter_.promisc, &filter_.allmulti, &filter_.alluni,
                            &filter_.nomulti, &filter_.nouni,    &filter_.nobcast};
  if (!has(kFeatureCtrlRx) || command > kCtrlRxNobcast || bytes != 1) return kCtrlErr;
  if (command >= kCtrlRxAlluni && !has(kFeatureCtrlRxExtra)) return kCtrlErr;
  *switches[command] = data[0] != std::byte{0};
  release_all();
  return kCtrlOk;
}

uint8_t Nic::command_mac(uint8_t command, const std::byte* data, uint32_t bytes) {
  if (command == kCtrlMacAddrSet) {
    if (!has(kFeatureCtrlMacAddr) || bytes != 6 || (data[0] & std::byte{1}) != std::byte{0}) return kCtrlErr;
    std::memcpy(config_.mac, data, 6);
    ++config_generation_;
    release_all();
    return kCtrlOk;
  }
  if (command != kCtrlMacTableSet || !has(kFeatureCtrlRx)) return kCtrlErr;
  MacTable unicast;
  MacTable multicast;
  const uint32_t first = read_table(data, bytes, unicast);
  const uint32_t second = first == 0 ? 0 : read_table(data + first, bytes - first, multicast);
  if (second == 0 || first + second != bytes) return kCtrlErr;
  filter_.unicast = std::move(unicast);
  filter_.multicast = std::move(multicast);
  release_all();
  return kCtrlOk;
}

uint8_t Nic::command_coalescing(uint8_t command, const std::byte* data, uint32_t bytes) {
  if (!has(kFeatureNotfCoal) || command > kCtrlNotfCoalRxSet || bytes != sizeof(VirtioNetCtrlCoal))
    return kCtrlErr;
  coalescing_[command == kCtrlNotfCoalRxSet ? 0 : 1] = {.max_packets = le32(data),
                                                        .max_usecs = le32(data + 4)};
  // What is held back was held by the old ones: it goes now (virtio 1.3 §5.1.6.5.9.4).
  for (auto& q : queues_)
    if (q->interrupt_due != kNever) q->interrupt_due = interrupts_due_ = 0;
  return kCtrlOk;
}

}  // namespace ringcube
