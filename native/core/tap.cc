#include "core/tap.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <thread>

#include "core/checksum.h"
#include "core/layout.h"
#include "core/link.h"
#include "core/steering.h"

namespace ringcube {

namespace {

constexpr const char* kDevice = "/dev/net/tun";
constexpr uint32_t kHeadBytes = 64;   // enough for what parse_flow looks at
constexpr uint32_t kMaxSlices = 16;   // of a frame that is written as it lies
constexpr TimeNs kRetryNs = 100'000;  // the kernel does not say when it has buffers again
// A frame that is too long must be seen to be.
constexpr size_t kReadBytes = sizeof(VirtioNetHdr) + kMaxFrame + 2;

struct Descriptor {
  explicit Descriptor(int opened) : fd(opened) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
  const int fd;
};

ifreq request_for(const std::string& name) {
  ifreq request = {};
  std::memcpy(request.ifr_name, name.data(), std::min<size_t>(name.size(), IFNAMSIZ - 1));
  return request;
}

bool enter(const std::string& netns, std::string& error) {
  const Descriptor file(open(netns.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.fd >= 0 && setns(file.fd, CLONE_NEWNET) == 0) return true;
  const int reason = errno;
  error = "network namespace " + netns + ": ";
  if (reason == ENOENT)
    error += "there is none; make one with: ip netns add NAME";
  else if (reason == EPERM)
    error += "entering it needs CAP_SYS_ADMIN";
  else if (reason == EINVAL)
    error += "that file is not a network namespace";
  else
    error += std::strerror(reason);
  return false;
}

std::string why_not_opened(int reason) {
  std::string line = std::string(kDevice) + ": " + std::strerror(reason);
  if (reason == ENOENT || reason == ENODEV)
    line += "; load its driver with: modprobe tun (a container must be given the device, as by --device " +
            std::string(kDevice) + ")";
  return line;
}

std::string why_not_attached(const TapOptions& options, int reason) {
  const bool multi = options.queues > 1;
  const std::string tap = "TAP " + options.name + ": ";
  if (reason == EPERM)
    return tap + "needs CAP_NET_ADMIN, or a TAP made beforehand with: ip tuntap add dev " + options.name +
           " mode tap user $USER vnet_hdr" + (multi ? " multi_queue" : "");
  if (reason == EBUSY)
    return tap + "somebody holds it; choose another name, or find who: grep -lw " + options.name +
           " /proc/[0-9]*/fdinfo/*";
  if (reason == EINVAL)
    return tap + "an interface of that name exists that is no TAP " + (multi ? "with" : "without") +
           " multi_queue; choose another name, or delete it with: ip link delete " + options.name;
  return tap + std::strerror(reason);
}

bool open_queues(const TapOptions& options, TapQueues& queues, std::string& error) {
  for (uint32_t i = 0; i < options.queues; ++i) {
    const int fd = open(kDevice, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
      error = why_not_opened(errno);
      return false;
    }
    queues.fds.push_back(fd);
    ifreq request = request_for(options.name);
    request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    if (options.queues > 1) request.ifr_flags |= IFF_MULTI_QUEUE;
    if (ioctl(fd, TUNSETIFF, &request) != 0) {
      error = why_not_attached(options, errno);
      return false;
    }
  }
  const int fd = queues.fds.front();
  const int header_bytes = sizeof(VirtioNetHdr);
  if (ioctl(fd, TUNSETVNETHDRSZ, &header_bytes) != 0) {
    error = "TAP " + options.name + ": its header can't be that of virtio 1: " + std::strerror(errno);
    return false;
  }
  // The kernel may leave checksums to us. Segmentation (TUN_F_TSO4, TUN_F_TSO6, TUN_F_USO4, …) would go here.
  if (ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM) != 0) ioctl(fd, TUNSETOFFLOAD, 0);
  const int send_buffer_bytes = static_cast<int>(options.send_buffer_bytes);
  if (send_buffer_bytes > 0 && ioctl(fd, TUNSETSNDBUF, &send_buffer_bytes) != 0) {
    error = "TAP " + options.name + ": setting its send buffer: " + std::strerror(errno);
    return false;
  }
  const int down = 0;
  ioctl(fd, TUNSETCARRIER, &down);  // until a wire is plugged in; kernels before 5.0 always have a carrier
  return true;
}

bool set_address(int any_socket, const TapOptions& options, std::string& error) {
  ifreq request = request_for(options.name);
  const auto refused = [&](const char* what, const std::string& command) {
    error = "TAP " + options.name + ": setting its " + what + ": " + std::strerror(errno);
    if (errno == EPERM)
      error += "; where the TAP was made, do: ip link set dev " + options.name + " " + command;
    return false;
  };
  if (options.mtu > 0 &&
      (ioctl(any_socket, SIOCGIFMTU, &request) != 0 || request.ifr_mtu != static_cast<int>(options.mtu))) {
    request.ifr_mtu = static_cast<int>(options.mtu);
    if (ioctl(any_socket, SIOCSIFMTU, &request) != 0)
      return refused("MTU", "mtu " + std::to_string(options.mtu));
  }
  if (options.mac.has_value()) {
    request.ifr_hwaddr = {.sa_family = ARPHRD_ETHER, .sa_data = {}};
    std::memcpy(request.ifr_hwaddr.sa_data, options.mac->data(), options.mac->size());
    if (ioctl(any_socket, SIOCSIFHWADDR, &request) != 0) return refused("MAC address", "address MAC");
  }
  // One that was made for us may be for another to bring up.
  if (ioctl(any_socket, SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_UP) == 0) {
    request.ifr_flags |= IFF_UP;
    if (ioctl(any_socket, SIOCSIFFLAGS, &request) != 0 && errno != EPERM) return refused("state", "up");
  }
  return true;
}

bool set_up(const TapOptions& options, TapQueues& queues, std::string& error) {
  if (!open_queues(options, queues, error)) return false;
  const Descriptor any(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  return set_address(any.fd, options, error);
}

}  // namespace

TapQueues::~TapQueues() {
  for (const int fd : fds) close(fd);
}

TapDevice::TapDevice(std::unique_ptr<TapQueues> queues)
    : queues_(std::move(queues)), read_(kReadBytes), gathered_(kMaxFrame) {}

std::shared_ptr<TapDevice> TapDevice::create(const TapOptions& options, std::string& error) {
  auto queues = std::make_unique<TapQueues>();
  bool made = false;
  if (options.netns.empty()) {
    made = set_up(options, *queues, error);
  } else {
    // A thread that ends with it: ours stay in the namespace where they are.
    std::thread([&] { made = enter(options.netns, error) && set_up(options, *queues, error); }).join();
  }
  return made ? std::shared_ptr<TapDevice>(new TapDevice(std::move(queues))) : nullptr;
}

bool TapDevice::start() {
  return std::all_of(queues_->fds.begin(), queues_->fds.end(),
                     [this](int fd) { return engine_->watch(fd, *this, Engine::Trigger::kEdge); });
}

std::unique_ptr<TapQueues> TapDevice::stop() {
  for (const int fd : queues_->fds) engine_->unwatch(fd);
  ready_ = 0;
  held_ = 0;
  retry_at_ = kNever;
  auto queues = std::move(queues_);
  wake_neighbours();  // who waited for room learns that there is none
  return queues;
}

void TapDevice::carrier(bool up) {
  if (queues_ == nullptr) return;
  const int carrier = up ? 1 : 0;
  ioctl(queues_->fds.front(), TUNSETCARRIER, &carrier);
  activate();  // what the kernel sent to a wire that is gone now must not wait for the next one
}

// --- from the kernel ---

void TapDevice::readable(int fd) {
  const auto& fds = queues_->fds;
  ready_ |= 1U << (std::find(fds.begin(), fds.end(), fd) - fds.begin());
  activate();
}

uint32_t TapDevice::poll(TimeNs now, uint32_t budget) {
  if (now >= retry_at_) {
    retry_at_ = kNever;
    wake_neighbours();
  }
  uint32_t moved = 0;
  for (; moved < budget; ++moved) {
    if (held_ == 0 && !read_next()) break;
    if (held_ > 0 && !pass_on(now)) break;
  }
  if (moved > 0 && link_ != nullptr) link_->flush(side_, now);
  return moved;
}

// From the queues that may have frames, in turn. False if none has.
bool TapDevice::read_next() {
  while (ready_ != 0) {
    const uint32_t later = ready_ & (~0U << next_);
    const auto queue = static_cast<uint32_t>(std::countr_zero(later != 0 ? later : ready_));
    next_ = queue + 1;
    const ssize_t n = read(queues_->fds[queue], read_.data(), read_.size());
    if (n >= 0) {
      if (!finish(static_cast<size_t>(n))) ++counters_.unreadable;
      return true;
    }
    ready_ &= ~(1U << queue);
    if (errno != EAGAIN) ++counters_.unreadable;  // the interface was deleted
  }
  return false;
}

// Does what a card does before a frame goes out. False if it is none that can go out.
bool TapDevice::finish(size_t bytes) {
  VirtioNetHdr header;
  if (bytes < sizeof header + 14) return false;
  std::memcpy(&header, read_.data(), sizeof header);
  if (header.gso_type != kHdrGsoNone) return false;
  const size_t length = bytes - sizeof header;
  if (length > kMaxFrame) {
    ++counters_.drop_too_long;
    return true;
  }
  std::byte* const frame = read_.data() + sizeof header;
  held_valid_ = (header.flags & kHdrDataValid) != 0;
  if ((header.flags & kHdrNeedsCsum) != 0) {
    held_valid_ = is_partial_l4(frame, length, header.csum_start, header.csum_offset);
    if (!complete_checksum(frame, length, header.csum_start, header.csum_offset)) return false;
    ++counters_.checksums_completed;
  }
  held_ = static_cast<uint32_t>(length);
  return true;
}

// False if the wire has no room: the frame stays until there is some.
bool TapDevice::pass_on(TimeNs now) {
  if (link_ == nullptr) {
    ++counters_.drop_no_carrier;
  } else {
    const Slice whole = {read_.data() + sizeof(VirtioNetHdr), held_};
    const Delivery outcome = link_->send(
        side_, {.slices = &whole, .count = 1, .length = held_, .checksum_valid = held_valid_}, now);
    if (outcome == Delivery::kBusy) return false;
    ++(outcome == Delivery::kTaken ? counters_.from_kernel : counters_.refused);
  }
  held_ = 0;
  return true;
}

// --- to the kernel ---

// All of a flow goes the same way, so it keeps its order; the kernel answers a flow on the queue it came on.
int TapDevice::queue_for(const Frame& frame) const {
  const auto& fds = queues_->fds;
  if (fds.size() == 1) return fds.front();
  std::byte head[kHeadBytes] = {};
  frame.copy(0, head, std::min(frame.length, kHeadBytes));
  Flow flow;
  return parse_flow(head, frame.length, flow) ? fds[flow_hash(flow) % fds.size()] : fds.front();
}

Delivery TapDevice::deliver(const Frame& frame, TimeNs now, bool may_wait) {
  if (queues_ == nullptr) {
    ++counters_.drop_no_carrier;
    return Delivery::kDropped;
  }
  VirtioNetHdr header = {};
  if (frame.checksum_valid) header.flags = kHdrDataValid;
  iovec parts[1 + kMaxSlices];
  parts[0] = {.iov_base = &header, .iov_len = sizeof header};
  uint32_t count = 1;
  if (frame.count > kMaxSlices) {
    frame.copy(0, gathered_.data(), frame.length);
    parts[count++] = {.iov_base = gathered_.data(), .iov_len = frame.length};
  } else {
    for (uint32_t left = frame.length; left > 0; ++count) {
      const Slice& slice = frame.slices[count - 1];
      parts[count] = {.iov_base = slice.data, .iov_len = std::min(slice.length, left)};
      left -= std::min(slice.length, left);
    }
  }
  if (writev(queue_for(frame), parts, static_cast<int>(count)) >= 0) {
    ++counters_.to_kernel;
    return Delivery::kTaken;
  }
  switch (errno) {
    case EAGAIN:
    case ENOBUFS:
    case ENOMEM:
      if (may_wait) {
        if (retry_at_ == kNever) retry_at_ = now + kRetryNs;
        activate();  // so that the engine hears of retry_at_
        return Delivery::kBusy;
      }
      ++counters_.drop_no_buffer;
      break;
    case EIO:
    case EBADFD:
      ++counters_.drop_no_carrier;
      break;
    case EMSGSIZE:
      ++counters_.drop_too_long;
      break;
    default:
      ++counters_.drop_other;
  }
  return Delivery::kDropped;
}

}  // namespace ringcube
