// What the baselines share: the clock, errors in one line, and UDP on addresses of this machine.
#ifndef RINGCUBE_BENCH_SYSTEM_H_
#define RINGCUBE_BENCH_SYSTEM_H_

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <time.h>

#include <cstdint>
#include <string>
#include <system_error>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103  // linux/udp.h, since 4.18
#endif
#ifndef UDP_GRO
#define UDP_GRO 104  // since 5.0
#endif

namespace ringcube {

inline constexpr uint32_t kMaxUdpPayload = 65507;  // 65535 - IPv4 and UDP headers
inline constexpr uint32_t kMaxUdpBatch = 1024;     // UIO_MAXIOV
inline constexpr uint32_t kMaxUdpSegments = 64;    // UDP_MAX_SEGMENTS of every kernel that has UDP_SEGMENT
inline constexpr int kSocketBuffer = 4 << 20;      // the system takes what net.core.{r,w}mem_max allow

inline int64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1'000'000'000ll + t.tv_nsec;
}

inline std::string system_error(const std::string& who, const std::string& what, int number) {
  return who + ": " + what + ": " + std::generic_category().message(number);
}

inline sockaddr_in udp_address(uint32_t host, uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(host);
  address.sin_port = htons(port);
  return address;
}

}  // namespace ringcube

#endif  // RINGCUBE_BENCH_SYSTEM_H_
