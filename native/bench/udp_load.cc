#include "bench/udp_load.h"

#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "bench/system.h"

namespace ringcube {
namespace {

constexpr uint32_t kMaxWindow = 1u << 20;
constexpr uint32_t kKeptBytes = 64;
constexpr uint32_t kStampBytes = sizeof(int64_t);
constexpr double kMaxRate = 1e7;
constexpr uint32_t kMaxLimit = 1u << 24;
constexpr int64_t kLossNs = 2'000'000;
constexpr int64_t kMaxLossNs = 64'000'000;
constexpr int64_t kSpinNs = 100'000;  // waits this long by polling, then asleep
constexpr int64_t kSleepUs = 1'000;

}  // namespace

std::unique_ptr<UdpLoad> UdpLoad::start(const UdpLoadOptions& options, std::string& error) {
  const auto within = [&error](const char* name, uint32_t value, uint32_t max) {
    if (value >= 1 && value <= max) return true;
    error =
        std::string("udp load: ") + name + " is " + std::to_string(value) + ", not 1.." + std::to_string(max);
    return false;
  };
  if (!within("to_port", options.to_port, 65535) ||
      !within("payload_bytes", options.payload_bytes, kMaxUdpPayload) ||
      !within("batch", options.batch, kMaxUdpBatch) ||
      (options.window > 0 && !within("window", options.window, kMaxWindow))) {
    return nullptr;
  }
  if (!(options.rate >= 0 && options.rate <= kMaxRate)) {
    error = "udp load: rate is " + std::to_string(options.rate) + ", not 0..1e7";
    return nullptr;
  }
  if (options.rate > 0 && (options.payload_bytes < kStampBytes || options.segmentation)) {
    error = "udp load: a rate takes payloads of 8 bytes at least, without segmentation";
    return nullptr;
  }
  if (options.rate > 0 && !within("limit", options.limit, kMaxLimit)) return nullptr;
  if (options.cpu < -1 || options.cpu >= CPU_SETSIZE) {
    error =
        "udp load: cpu is " + std::to_string(options.cpu) + ", not -1.." + std::to_string(CPU_SETSIZE - 1);
    return nullptr;
  }
  std::unique_ptr<UdpLoad> load(new UdpLoad(options));
  if (!load->open(error)) return nullptr;

  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  if (options.cpu >= 0) {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(options.cpu, &cpus);
    pthread_attr_setaffinity_np(&attributes, sizeof cpus, &cpus);
  }
  const int failed = pthread_create(
      &load->thread_, &attributes,
      [](void* self) -> void* {
        sigset_t all;  // the process's signals are for its own threads
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, nullptr);
        auto* load = static_cast<UdpLoad*>(self);
        if (load->options_.rate > 0) {
          load->run_at_rate();
        } else {
          load->run();
        }
        return nullptr;
      },
      load.get());
  pthread_attr_destroy(&attributes);
  if (failed != 0) {
    error = system_error("udp load",
                         options.cpu < 0 ? "thread" : "thread on CPU " + std::to_string(options.cpu), failed);
    return nullptr;
  }
  load->running_ = true;
  return load;
}

UdpLoad::UdpLoad(const UdpLoadOptions& options) : options_(options) {
  const uint32_t payload = options.payload_bytes;
  const uint32_t batch = options.batch;
  segments_ = options.segmentation ? std::clamp(kMaxUdpPayload / payload, 1u, kMaxUdpSegments) : 1;
  out_.assign(static_cast<size_t>(payload) * segments_, std::byte{0x55});
  in_.resize(static_cast<size_t>(kKeptBytes) * batch);
  out_iov_.resize(batch);
  in_iov_.resize(batch);
  out_messages_.resize(batch);
  in_messages_.resize(batch);
  if (options.rate > 0) latencies_.reserve(options.limit);
  if (options.segmentation) {
    control_.resize(CMSG_SPACE(sizeof(uint16_t)));
    auto* header = reinterpret_cast<cmsghdr*>(control_.data());
    header->cmsg_level = SOL_UDP;
    header->cmsg_type = UDP_SEGMENT;
    header->cmsg_len = CMSG_LEN(sizeof(uint16_t));
    const auto size = static_cast<uint16_t>(payload);
    std::memcpy(CMSG_DATA(header), &size, sizeof size);
  }
  for (uint32_t i = 0; i < batch; i++) {
    out_iov_[i] = {out_.data(), payload};
    out_messages_[i].msg_hdr.msg_iov = &out_iov_[i];
    out_messages_[i].msg_hdr.msg_iovlen = 1;
    out_messages_[i].msg_hdr.msg_control = control_.empty() ? nullptr : control_.data();
    out_messages_[i].msg_hdr.msg_controllen = control_.size();
    in_iov_[i] = {&in_[static_cast<size_t>(i) * kKeptBytes], kKeptBytes};
    in_messages_[i].msg_hdr.msg_iov = &in_iov_[i];
    in_messages_[i].msg_hdr.msg_iovlen = 1;
  }
}

UdpLoad::~UdpLoad() {
  stop();
  if (fd_ >= 0) close(fd_);
}

bool UdpLoad::open(std::string& error) {
  const auto failed = [&error](const std::string& what) {
    error = system_error("udp load", what, errno);
    return false;
  };
  fd_ = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd_ < 0) return failed("socket");
  setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &kSocketBuffer, sizeof kSocketBuffer);
  setsockopt(fd_, SOL_SOCKET, SO_SNDBUF, &kSocketBuffer, sizeof kSocketBuffer);
  const timeval sleep{0, kSleepUs};
  if (setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &sleep, sizeof sleep) != 0) return failed("SO_RCVTIMEO");
  const int on = 1;
  if (options_.segmentation && setsockopt(fd_, SOL_UDP, UDP_GRO, &on, sizeof on) != 0)
    return failed("UDP_GRO");
  sockaddr_in address = udp_address(INADDR_ANY, 0);
  socklen_t length = sizeof address;
  if (bind(fd_, reinterpret_cast<sockaddr*>(&address), length) != 0) return failed("bind");
  if (getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &length) != 0) return failed("getsockname");
  port_ = ntohs(address.sin_port);
  address = udp_address(options_.to_host, options_.to_port);
  if (connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return failed("connect to port " + std::to_string(options_.to_port));
  }
  return true;
}

void UdpLoad::stop() {
  if (!running_) return;
  stop_.store(true, std::memory_order_relaxed);
  pthread_join(thread_, nullptr);
  running_ = false;
}

void UdpLoad::run() {
  const uint32_t window = options_.window;
  const uint32_t full = std::min(options_.batch, window);
  uint32_t outstanding = 0;
  int64_t loss_ns = kLossNs;
  int64_t last = now_ns();  // when something came back, or was given up
  bool asleep = false;
  while (!stop_.load(std::memory_order_relaxed)) {
    if (window == 0) {
      send(options_.batch);
      continue;
    }
    uint32_t moved = 0;
    if (window - outstanding >=
        full) {  // whole batches only: a window that trickles makes small ones everywhere
      moved = send(full);
      outstanding += moved;
    }
    const uint32_t back = receive(asleep && moved == 0 ? MSG_WAITFORONE : MSG_DONTWAIT);
    if (back > 0) {
      outstanding -= std::min(outstanding, back);  // more when some were given up too early
      loss_ns = kLossNs;
      last = now_ns();
      asleep = false;
    } else if (moved == 0) {
      const int64_t waited = now_ns() - last;
      asleep = waited > kSpinNs;
      if (waited > loss_ns) {
        outstanding = 0;
        loss_ns = std::min(loss_ns * 2, kMaxLossNs);
        last += waited;
      }
    }
  }
}

void UdpLoad::run_at_rate() {
  const int64_t start = now_ns();
  for (uint64_t number = 0; !stop_.load(std::memory_order_relaxed);) {
    const int64_t due = start + static_cast<int64_t>(static_cast<double>(number) * 1e9 / options_.rate);
    if (number < options_.limit && now_ns() >= due) {
      std::memcpy(out_.data(), &due, kStampBytes);
      send(1);
      number++;
    }
    receive(MSG_DONTWAIT);
  }
}

// Errors (a full buffer, ECONNREFUSED from a forwarder that is not there) are losses: the window takes care
// of them.
uint32_t UdpLoad::send(uint32_t datagrams) {
  uint32_t messages = 0;
  if (segments_ == 1) {
    messages = datagrams;
  } else {
    for (uint32_t left = datagrams; left > 0; messages++) {
      const uint32_t count = std::min(left, segments_);
      out_iov_[messages].iov_len = static_cast<size_t>(count) * options_.payload_bytes;
      left -= count;
    }
  }
  const int accepted = sendmmsg(fd_, out_messages_.data(), messages, MSG_DONTWAIT);
  if (accepted <= 0) return 0;
  // All messages but the last are full.
  const auto all = static_cast<uint32_t>(accepted);
  const uint32_t count = all == messages ? datagrams : all * segments_;
  sent_.fetch_add(count, std::memory_order_relaxed);
  return count;
}

uint32_t UdpLoad::receive(int flags) {
  // MSG_TRUNC: msg_len is the datagram's length, not that of the part we keep.
  const int received = recvmmsg(fd_, in_messages_.data(), options_.batch, flags | MSG_TRUNC, nullptr);
  if (received <= 0) return 0;
  const auto messages = static_cast<uint32_t>(received);
  uint32_t count = messages;
  if (segments_ > 1) {
    count = 0;
    for (uint32_t i = 0; i < messages; i++) {
      count += (in_messages_[i].msg_len + options_.payload_bytes - 1) / options_.payload_bytes;
    }
  }
  if (options_.rate > 0) {
    const int64_t now = now_ns();
    for (uint32_t i = 0; i < messages && latencies_.size() < options_.limit; i++) {
      int64_t due = 0;
      std::memcpy(&due, &in_[static_cast<size_t>(i) * kKeptBytes], kStampBytes);
      latencies_.push_back(static_cast<double>(now - due));
    }
  }
  returned_.fetch_add(count, std::memory_order_relaxed);
  return count;
}

}  // namespace ringcube
