#include "bench/udp_forward.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "bench/system.h"

namespace ringcube {
namespace {

constexpr uint32_t kTrainBytes = 65536;
constexpr uint32_t kLine = 64;
constexpr size_t kControlBytes = CMSG_SPACE(sizeof(int));
constexpr int64_t kSpinNs = 50'000;
constexpr int64_t kSleepUs = 1'000;
constexpr int64_t kSilenceNs = 20'000'000;
constexpr uint32_t kBatchesPerClock = 64;

bool failed(const char* what, std::string& error) {
  error = system_error("udp forwarder", what, errno);
  return false;
}

// A datagram that we returned found nobody, an interruption, a full buffer or nothing there: try again.
bool transient(int number) {
  return number == EAGAIN || number == EWOULDBLOCK || number == EINTR || number == ECONNREFUSED ||
         number == ENOBUFS;
}

}  // namespace

std::unique_ptr<UdpForwarder> UdpForwarder::open(uint32_t max_payload, uint32_t batch, bool segmentation,
                                                 bool answers, uint32_t host, bool touches,
                                                 std::string& error) {
  const auto within = [&error](const char* name, uint32_t value, uint32_t max) {
    if (value >= 1 && value <= max) return true;
    error = std::string("udp forwarder: ") + name + " is " + std::to_string(value) + ", not 1.." +
            std::to_string(max);
    return false;
  };
  if (!within("max_payload", max_payload, kMaxUdpPayload) || !within("batch", batch, kMaxUdpBatch))
    return nullptr;

  std::unique_ptr<UdpForwarder> self(
      new UdpForwarder(max_payload, batch, segmentation, answers, host, touches));
  self->fd_ = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (self->fd_ < 0) {
    failed("socket", error);
    return nullptr;
  }
  const int fd = self->fd_;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &kSocketBuffer, sizeof kSocketBuffer);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &kSocketBuffer, sizeof kSocketBuffer);
  const timeval sleep{0, kSleepUs};
  if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &sleep, sizeof sleep) != 0 ||
      setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &sleep, sizeof sleep) != 0) {
    failed("SO_RCVTIMEO, SO_SNDTIMEO", error);
    return nullptr;
  }
  const int on = 1;
  if (segmentation && setsockopt(fd, SOL_UDP, UDP_GRO, &on, sizeof on) != 0) {
    failed("UDP_GRO", error);
    return nullptr;
  }
  if (!self->bind_port(error)) return nullptr;
  return self;
}

UdpForwarder::UdpForwarder(uint32_t max_payload, uint32_t batch, bool segmentation, bool answers,
                           uint32_t host, bool touches)
    : max_payload_(max_payload),
      batch_(batch),
      segmentation_(segmentation),
      answers_(answers),
      host_(host),
      touches_(touches) {
  messages_ = segmentation_ ? (batch_ + kMaxUdpSegments - 1) / kMaxUdpSegments : batch_;
  buffer_bytes_ = segmentation_ ? kTrainBytes : max_payload_;
  const size_t stride = (size_t{buffer_bytes_} + kLine - 1) / kLine * kLine;
  buffers_.resize(stride * messages_ + kLine);
  void* first = buffers_.data();
  size_t space = buffers_.size();
  std::align(kLine, stride * messages_, first, space);
  if (segmentation_) control_.resize(kControlBytes * messages_);
  senders_.resize(messages_);
  iov_.resize(messages_);
  headers_.resize(messages_);
  for (uint32_t i = 0; i < messages_; i++) {
    iov_[i] = {static_cast<std::byte*>(first) + stride * i, buffer_bytes_};
    headers_[i].msg_hdr.msg_iov = &iov_[i];
    headers_[i].msg_hdr.msg_iovlen = 1;
  }
  name_senders(true);
}

UdpForwarder::~UdpForwarder() {
  if (fd_ >= 0) close(fd_);
}

bool UdpForwarder::bind_port(std::string& error) {
  sockaddr_in address = udp_address(host_, port_);
  socklen_t length = sizeof address;
  if (bind(fd_, reinterpret_cast<sockaddr*>(&address), length) != 0) return failed("bind", error);
  if (getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &length) != 0)
    return failed("getsockname", error);
  port_ = ntohs(address.sin_port);
  return true;
}

bool UdpForwarder::connect_to(const sockaddr_in& peer, std::string& error) {
  if (connect(fd_, reinterpret_cast<const sockaddr*>(&peer), sizeof peer) != 0)
    return failed("connect", error);
  connected_ = true;
  name_senders(false);
  return true;
}

bool UdpForwarder::disconnect(std::string& error) {
  sockaddr nobody{};
  nobody.sa_family = AF_UNSPEC;
  if (connect(fd_, &nobody, sizeof nobody) != 0) return failed("disconnect", error);
  connected_ = false;
  name_senders(true);
  // A port that the kernel chose is given up with the peer: ask for the same one.
  sockaddr_in address{};
  socklen_t length = sizeof address;
  if (getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &length) != 0)
    return failed("getsockname", error);
  return address.sin_port != 0 || bind_port(error);
}

void UdpForwarder::name_senders(bool wanted) {
  for (uint32_t i = 0; i < messages_; i++) {
    headers_[i].msg_hdr.msg_name = wanted ? &senders_[i] : nullptr;
    headers_[i].msg_hdr.msg_namelen = wanted ? sizeof senders_[i] : 0;
  }
}

bool UdpForwarder::run(uint64_t frames, int64_t timeout_ns, UdpForwarded& out, std::string& error) {
  out = {};
  const int64_t entered = now_ns();
  const int64_t deadline = timeout_ns > INT64_MAX - entered ? INT64_MAX : entered + timeout_ns;
  int64_t started = 0;
  int64_t idle_since = 0;  // 0: not idle
  int64_t silent_since = 0;
  bool asleep = false;
  while (out.frames < frames) {
    const int received = receive(asleep ? MSG_WAITFORONE : MSG_DONTWAIT);
    if (received <= 0) {
      if (received < 0 && !transient(errno)) return failed("recvmmsg", error);
      const int64_t now = now_ns();
      if (now >= deadline) break;
      if (idle_since == 0) idle_since = silent_since = now;
      asleep = now - idle_since > kSpinNs;
      if (connected_ && now - silent_since > kSilenceNs && !disconnect(error)) return false;
      continue;
    }
    idle_since = 0;
    asleep = false;
    const auto messages = static_cast<uint32_t>(received);
    uint64_t datagrams = 0;
    if (!prepare(messages, datagrams, error)) return false;
    if (touches_) touch(messages);
    if (answers_ && !send(messages, deadline, error)) return false;
    if (!connected_ && !connect_to(senders_[messages - 1], error)) return false;
    if (started == 0) {
      started = now_ns();
      continue;
    }
    out.frames += datagrams;
    out.batches++;
    if (out.batches % kBatchesPerClock == 0 && now_ns() >= deadline) break;
  }
  if (started != 0) out.nanoseconds = static_cast<uint64_t>(now_ns() - started);
  return true;
}

int UdpForwarder::receive(int flags) {
  for (uint32_t i = 0; i < messages_; i++) {
    iov_[i].iov_len = buffer_bytes_;
    if (!connected_) headers_[i].msg_hdr.msg_namelen = sizeof senders_[i];
    if (segmentation_) {
      headers_[i].msg_hdr.msg_control = &control_[kControlBytes * i];
      headers_[i].msg_hdr.msg_controllen = kControlBytes;
    }
  }
  return recvmmsg(fd_, headers_.data(), messages_, flags, nullptr);
}

// Turns what was received into what is to be sent: the lengths, and a train's segment size.
bool UdpForwarder::prepare(uint32_t messages, uint64_t& frames, std::string& error) {
  frames = messages;
  for (uint32_t i = 0; i < messages; i++) {
    msghdr& header = headers_[i].msg_hdr;
    uint32_t payload = headers_[i].msg_len;
    iov_[i].iov_len = payload;
    if (segmentation_) {
      cmsghdr* control = CMSG_FIRSTHDR(&header);
      int segment = 0;
      if (control != nullptr && control->cmsg_level == SOL_UDP && control->cmsg_type == UDP_GRO) {
        std::memcpy(&segment, CMSG_DATA(control), sizeof segment);
      }
      if (segment > 0 && static_cast<uint32_t>(segment) < payload) {
        const auto size = static_cast<uint16_t>(segment);
        frames += (payload + size - 1) / size - 1;
        payload = size;
        control->cmsg_type = UDP_SEGMENT;
        control->cmsg_len = CMSG_LEN(sizeof size);
        std::memcpy(CMSG_DATA(control), &size, sizeof size);
        header.msg_controllen = CMSG_SPACE(sizeof size);
      } else {
        header.msg_control = nullptr;
        header.msg_controllen = 0;
      }
    }
    if ((header.msg_flags & MSG_TRUNC) != 0 || payload > max_payload_) {
      error =
          "udp forwarder: a datagram is longer than max_payload, " + std::to_string(max_payload_) + " bytes";
      return false;
    }
  }
  return true;
}

void UdpForwarder::touch(uint32_t messages) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < messages; i++) {
    const auto* payload = static_cast<const uint8_t*>(iov_[i].iov_base);
    uint32_t bytes = 0;  // 65507 * 255 fit, and narrow lanes make wide vectors
    for (size_t k = 0; k < iov_[i].iov_len; k++) bytes += payload[k];
    sum += bytes;
  }
  sum_ = sum_ + sum;
}

bool UdpForwarder::send(uint32_t messages, int64_t deadline, std::string& error) {
  for (uint32_t done = 0; done < messages;) {
    const int accepted = sendmmsg(fd_, &headers_[done], messages - done, 0);
    if (accepted > 0) {
      done += static_cast<uint32_t>(accepted);
    } else if (!transient(errno)) {
      return failed("sendmmsg", error);
    } else if (now_ns() >= deadline) {
      break;
    }
  }
  return true;
}

}  // namespace ringcube
