#include "core/nic.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/engine.h"
#include "core/link.h"

namespace ringcube {

std::shared_ptr<Nic> Nic::create(const NicOptions& options, std::string& error) {
  const uint16_t size = options.queue_size_max;
  if (options.queue_pairs == 0 || options.queue_pairs > kMaxQueuePairs)
    error = "queuePairs must be from 1 to " + std::to_string(kMaxQueuePairs);
  else if (size < 2 || size > kQueueSizeMax || (size & (size - 1)) != 0)
    error = "queueSizeMax must be a power of two from 2 to " + std::to_string(kQueueSizeMax);
  else if (options.mtu < 68 || options.mtu > 65'000)
    error = "mtu must be from 68 (RFC 791) to 65000";
  else if ((options.mac[0] & 1) != 0)
    error = "mac must be a unicast address: the lowest bit of its first byte is 0";
  else if ((options.features & feature(kFeatureVersion1)) == 0 || (options.features & ~kAllFeatures) != 0)
    error = "features must include VIRTIO_F_VERSION_1 and name only what this device has";
  if (!error.empty()) return nullptr;
  auto page = Region::create(sizeof(InterruptPage), error);
  if (page == nullptr) return nullptr;
  const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) {
    error = std::string("eventfd: ") + std::strerror(errno);
    return nullptr;
  }
  return std::shared_ptr<Nic>(new Nic(options, fd, std::move(page)));
}

Nic::Nic(const NicOptions& options, int interrupt_fd, std::shared_ptr<Region> page)
    : options_(options),
      control_queue_(static_cast<uint16_t>(options.queue_pairs * 2)),
      scratch_(kMaxFrame),
      page_region_(std::move(page)),
      interrupt_fd_(interrupt_fd) {
  for (int i = 0; i <= control_queue_; ++i) queues_.push_back(std::make_unique<Queue>());
  reset();
}

Nic::~Nic() { close(interrupt_fd_); }

QueueCounters Nic::counters(uint16_t queue) const {
  QueueCounters c = queues_[queue]->counters;
  c.kicks = queues_[queue]->kicks.load(std::memory_order_relaxed);
  return c;
}

void Nic::reset() {
  for (auto& q : queues_) {
    stop_queue(*q);
    q->size = options_.queue_size_max;
    q->desc = q->avail = q->used = 0;
    q->fresh = 0;
  }
  dirty_.clear();
  interrupts_due_ = kNever;
  status_ = 0;
  driver_features_ = 0;
  device_features_sel_ = driver_features_sel_ = 0;
  queue_sel_ = 0;
  active_pairs_ = 1;
  guest_csum_ = false;
  control_queue_ = static_cast<uint16_t>(queues_.size() - 1);
  coalescing_[0] = coalescing_[1] = {};
  filter_ = {};
  std::memcpy(config_.mac, options_.mac.data(), 6);
  config_.status = link_ != nullptr ? kNetLinkUp : 0;
  config_.max_virtqueue_pairs = options_.queue_pairs;
  config_.mtu = options_.mtu;
  ++config_generation_;
  for (uint32_t& word : page().pending) std::atomic_ref<uint32_t>(word).store(0);
}

void Nic::need_reset() {
  status_ |= kStatusNeedsReset;
  ++config_generation_;
  release_all();
  raise(kVectorConfig);
}

void Nic::carrier(bool up) {
  config_.status = up ? kNetLinkUp : 0;
  ++config_generation_;
  if (running()) raise(kVectorConfig);
  activate();  // what waited for the wire to have room need wait no longer
}

bool Nic::map(int queue, const Mapping& mapping) {
  if (queue != kEveryQueue)
    return queue >= 0 && queue < queues() && queues_[static_cast<size_t>(queue)]->domain.map(mapping);
  for (size_t i = 0; i < queues_.size(); ++i) {
    if (queues_[i]->domain.map(mapping)) continue;
    while (i-- > 0) queues_[i]->domain.unmap(mapping.iova);  // all or none
    return false;
  }
  return true;
}

bool Nic::unmap(int queue, uint64_t iova) {
  // A queue that could still hold addresses of what goes away is stopped first.
  bool found = false;
  for (size_t i = 0; i < queues_.size(); ++i) {
    if (queue != kEveryQueue && static_cast<size_t>(queue) != i) continue;
    if (!queues_[i]->domain.unmap(iova)) continue;
    stop_queue(*queues_[i]);
    found = true;
  }
  return found;
}

bool Nic::steer(const Flow& rule, uint16_t pair) {
  if (pair >= options_.queue_pairs || !steering_.set(rule, pair)) return false;
  release_all();
  return true;
}

bool Nic::unsteer(const Flow& rule) {
  if (!steering_.remove(rule)) return false;
  release_all();
  return true;
}

// --- registers ---------------------------------------------------------------------------------------------

uint32_t Nic::read(uint32_t offset) const {
  const Queue& q = *queues_[std::min<size_t>(queue_sel_, queues_.size() - 1)];
  const bool exists = queue_sel_ < queues_.size();
  switch (offset) {
    case kRegMagicValue:
      return kMagicValue;
    case kRegVersion:
      return 2;
    case kRegDeviceId:
      return kDeviceIdNet;
    case kRegVendorId:
      return kVendorId;
    case kRegDeviceFeatures:
      return device_features_sel_ > 1
                 ? 0
                 : static_cast<uint32_t>(options_.features >> (32 * device_features_sel_));
    case kRegQueueSizeMax:
      return exists ? options_.queue_size_max : 0;
    case kRegQueueSize:
      return exists ? q.size : 0;
    case kRegQueueReady:
      return exists && q.ring.live() ? 1 : 0;
    case kRegStatus:
      return status_;
    case kRegConfigGeneration:
      return config_generation_;
    default:
      break;
  }
  if (offset >= kRegConfig && offset - kRegConfig <= sizeof config_ - 4) {
    uint32_t value = 0;
    std::memcpy(&value, reinterpret_cast<const std::byte*>(&config_) + (offset - kRegConfig), 4);
    return value;
  }
  return 0;
}

void Nic::write(uint32_t offset, uint32_t value) {
  switch (offset) {
    case kRegDeviceFeaturesSel:
      device_features_sel_ = value;
      return;
    case kRegDriverFeaturesSel:
      driver_features_sel_ = value;
      return;
    case kRegDriverFeatures:
      // §3.1.1: not after FEATURES_OK.
      if (driver_features_sel_ > 1 || (status_ & kStatusFeaturesOk) != 0) return;
      driver_features_ &= ~(uint64_t{0xffffffff} << (32 * driver_features_sel_));
      driver_features_ |= uint64_t{value} << (32 * driver_features_sel_);
      return;
    case kRegQueueSel:
      queue_sel_ = static_cast<uint16_t>(std::min<uint32_t>(value, 0xffff));
      return;
    case kRegQueueNotify:
      kick(static_cast<uint16_t>(std::min<uint32_t>(value, 0xffff)));
      return;
    case kRegStatus:
      set_status(static_cast<uint8_t>(value));
      return;
    default:
      break;
  }
  if (queue_sel_ >= queues_.size()) return;
  Queue& q = *queues_[queue_sel_];
  const auto low = [value](uint64_t& a) { a = (a & ~uint64_t{0xffffffff}) | value; };
  const auto high = [value](uint64_t& a) { a = (a & 0xffffffff) | uint64_t{value} << 32; };
  switch (offset) {
    case kRegQueueReset:
      if (value == 1 && has(kFeatureRingReset)) stop_queue(q);
      return;
    case kRegQueueReady:
      if (value == 1)
        start_queue(queue_sel_);
      else
        stop_queue(q);
      return;
    default:
      break;
  }
  if (q.ring.live()) return;  // §4.2.2.2: a ready queue's addresses stand
  switch (offset) {
    case kRegQueueSize:
      q.size = static_cast<uint16_t>(std::min<uint32_t>(value, 0xffff));
      return;
    case kRegQueueDescLow:
      return low(q.desc);
    case kRegQueueDescHigh:
      return high(q.desc);
    case kRegQueueDriverLow:
      return low(q.avail);
    case kRegQueueDriverHigh:
      return high(q.avail);
    case kRegQueueDeviceLow:
      return low(q.used);
    case kRegQueueDeviceHigh:
      return high(q.used);
    default:
      return;
  }
}

bool Nic::features_acceptable() const {
  if ((driver_features_ & ~options_.features) != 0 || !has(kFeatureVersion1)) return false;
  // §5.1.3.1: what speaks over the control queue needs one.
  constexpr uint64_t kNeedControl = feature(kFeatureCtrlRx) | feature(kFeatureMq) |
                                    feature(kFeatureCtrlMacAddr) | feature(kFeatureNotfCoal) |
                                    feature(kFeatureCtrlGuestOffloads);
  if ((driver_features_ & kNeedControl) != 0 && !has(kFeatureCtrlVq)) return false;
  return !has(kFeatureCtrlRxExtra) || has(kFeatureCtrlRx);
}

void Nic::set_status(uint8_t status) {
  if (status == 0) return reset();
  // Only the driver's bits, and only added (§2.1.1); NEEDS_RESET is ours.
  uint8_t next = status_ | (status & static_cast<uint8_t>(~kStatusNeedsReset));
  if ((next & ~status_ & kStatusFeaturesOk) != 0) {
    if (!features_acceptable()) next &= static_cast<uint8_t>(~kStatusFeaturesOk);
    guest_csum_ = has(kFeatureGuestCsum);
    control_queue_ = has(kFeatureMq) ? static_cast<uint16_t>(queues_.size() - 1) : 2;
  }
  if ((next & kStatusFeaturesOk) == 0) next &= static_cast<uint8_t>(~kStatusDriverOk);
  status_ = next;
  if (running()) activate();
}

void Nic::start_queue(uint16_t index) {
  Queue& q = *queues_[index];
  if (q.ring.live() || (status_ & kStatusFeaturesOk) == 0) return;
  if (q.size < 2 || q.size > options_.queue_size_max || (q.size & (q.size - 1)) != 0) {
    q.ring.stop(Fault::kRingAddress);
    return;
  }
  q.ring.enable(q.domain, q.size, q.desc, q.avail, q.used, driver_features_);
  activate();
}

void Nic::stop_queue(Queue& q) {
  q.ring.disable();
  q.coalesced = 0;
  q.interrupt_due = kNever;
  release(q);
}

// A sender that waits for buffers here is to try again: they came, or the frame goes elsewhere now, or
// nowhere.
void Nic::release(Queue& q) {
  if (!q.starved) return;
  q.starved = false;
  Endpoint::wake_neighbours();
}

void Nic::release_all() {
  for (auto& q : queues_) release(*q);
}

void Nic::report_fault(uint16_t index) {
  Queue& q = *queues_[index];
  ++q.counters.faults;
  release(q);
  std::atomic_ref<uint32_t>(page().broken_queues).fetch_add(1);
  if (index == control_queue_)
    need_reset();
  else
    raise(kVectorConfig);
}

void Nic::kick(uint16_t queue) {
  Engine* const engine = std::atomic_ref(engine_).load();
  if (queue >= queues_.size() || engine == nullptr) return;
  queues_[queue]->kicks.fetch_add(1, std::memory_order_relaxed);
  engine->kick(*this);
}

// --- interrupts --------------------------------------------------------------------------------------------

void Nic::raise(uint32_t vector) {
  std::atomic_ref<uint32_t>(page().pending[vector / 32]).fetch_or(uint32_t{1} << (vector % 32));
  // The driver clears `signalled` before it takes the bits, so a bit set now is either taken or signalled
  // anew.
  if (std::atomic_ref<uint32_t>(page().signalled).exchange(1) == 0) eventfd_write(interrupt_fd_, 1);
}

void Nic::publish(uint16_t index, uint32_t frames, TimeNs now) {
  Queue& q = *queues_[index];
  if (!q.ring.publish() && q.interrupt_due == kNever) {
    ++q.counters.interrupts_suppressed;
    return;
  }
  // VIRTIO_NET_F_NOTF_COAL (virtio 1.3 §5.1.6.5.9.1): held back until max_packets, or max_usecs after the
  // first; with either of them 0, not at all.
  const Coalescing& c = coalescing_[is_transmit(index) ? 1 : 0];
  q.coalesced += frames;
  if (index != control_queue_ && c.max_usecs > 0 && q.coalesced < c.max_packets &&
      (q.interrupt_due == kNever || q.interrupt_due > now)) {
    if (q.interrupt_due == kNever) q.interrupt_due = now + TimeNs{c.max_usecs} * 1000;
    interrupts_due_ = std::min(interrupts_due_, q.interrupt_due);
    activate();  // a neighbour's delivery brings us here: the engine must learn of the new due time
    return;
  }
  q.interrupt_due = kNever;
  q.coalesced = 0;
  ++q.counters.interrupts;
  raise(index == control_queue_ ? kVectorConfig : index / 2U);
}

// --- polling -----------------------------------------------------------------------------------------------

uint32_t Nic::poll(TimeNs now, uint32_t budget) {
  if (!running()) return 0;
  uint32_t moved = control();
  if (!running()) return moved;
  for (uint16_t pair = 0; pair < active_pairs_; ++pair)
    moved += transmit(static_cast<uint16_t>(2 * pair + 1), now, budget);
  if (moved > 0 && link_ != nullptr) link_->flush(side_, now);
  if (starving_) feed_starved();
  if (interrupts_due_ <= now) {
    interrupts_due_ = kNever;
    for (uint16_t i = 0; i < queues(); ++i) {
      Queue& q = *queues_[i];
      if (q.interrupt_due <= now) {
        q.interrupt_due = kNever;
        q.coalesced = 0;
        ++q.counters.interrupts;
        raise(i / 2U);
      } else {
        interrupts_due_ = std::min(interrupts_due_, q.interrupt_due);
      }
    }
  }
  return moved;
}

bool Nic::arm() {
  if (!running()) return true;
  for (uint16_t i = 0; i < queues(); ++i) {
    Queue& q = *queues_[i];
    if (!q.ring.live()) continue;
    // Only what poll() looks at: chains anywhere else would keep us awake for ever.
    if (i == control_queue_ ? has(kFeatureCtrlVq) : is_transmit(i) && i / 2 < active_pairs_ && !q.blocked) {
      if (!q.ring.enable_notifications() && q.ring.live()) return false;
    } else if (q.starved && !q.ring.enable_notifications(true)) {
      release(q);
    }
    if (!q.ring.live()) report_fault(i);
  }
  return true;
}

TimeNs Nic::next_due() const { return running() ? interrupts_due_ : kNever; }

}  // namespace ringcube
