// TCP and UDP packets for tests, and the Internet checksum byte by byte, as RFC 1071 §1 defines it: slow, and
// with nothing in common with the device's own.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "core/checksum.h"
#include "mock_driver.h"

namespace ringcube::mock {

class Rfc1071 {
 public:
  Rfc1071& byte(uint8_t b) {
    sum_ += (count_++ % 2 == 0) ? static_cast<uint64_t>(b) << 8 : b;
    return *this;
  }
  Rfc1071& bytes(const std::byte* p, size_t n) {
    for (size_t i = 0; i < n; ++i) byte(static_cast<uint8_t>(p[i]));
    return *this;
  }
  uint16_t sum() const {
    uint64_t s = sum_;
    while (s > 0xffff) s = (s & 0xffff) + (s >> 16);
    return static_cast<uint16_t>(s);
  }
  uint16_t checksum() const { return static_cast<uint16_t>(~sum()); }

 private:
  uint64_t sum_ = 0;
  size_t count_ = 0;
};

inline void put16(Bytes& f, size_t at, uint16_t v) {
  f[at] = static_cast<std::byte>(v >> 8);
  f[at + 1] = static_cast<std::byte>(v);
}
inline uint16_t get16(std::span<const std::byte> f, size_t at) {
  return static_cast<uint16_t>(static_cast<uint16_t>(f[at]) << 8 | static_cast<uint16_t>(f[at + 1]));
}

enum class L4 : uint8_t { kWhole, kPartial, kNoChecksum };  // kPartial: as for VIRTIO_NET_HDR_F_NEEDS_CSUM

struct Packet {
  uint8_t family = 4;
  uint8_t protocol = 17;
  std::array<uint8_t, 16> source = {10, 0, 0, 1};
  std::array<uint8_t, 16> destination = {10, 0, 0, 2};
  uint16_t source_port = 1000;
  uint16_t destination_port = 2000;
  uint32_t payload = 32;
  uint8_t options = 0;     // IPv4: 32-bit words
  uint16_t fragment = 0;   // IPv4: flags and offset
  bool extension = false;  // IPv6: a hop-by-hop header
  uint32_t padding = 0;    // bytes behind the packet
  L4 l4 = L4::kWhole;
  uint64_t seed = 1;

  size_t address_bytes() const { return family == 4 ? 4 : 16; }
  size_t start() const { return 14 + (family == 4 ? 20 + 4U * options : 40 + (extension ? 8U : 0U)); }
  size_t header() const { return protocol == 6 ? 20 : 8; }
  size_t checksum_offset() const { return protocol == 6 ? 16 : 6; }
  size_t l4_bytes() const { return header() + payload; }

  Bytes build() const {
    Bytes f = make_frame(seed, static_cast<uint32_t>(start() + l4_bytes() + padding));
    const auto l4_len = static_cast<uint16_t>(l4_bytes());
    size_t addresses = 0;
    if (family == 4) {
      put16(f, 12, 0x0800);
      f[14] = static_cast<std::byte>(0x45 + options);
      f[15] = std::byte{0};
      put16(f, 16, static_cast<uint16_t>(20 + 4 * options + l4_len));
      put16(f, 20, fragment);
      f[23] = std::byte{protocol};
      put16(f, 24, 0);
      addresses = 26;
    } else {
      put16(f, 12, 0x86dd);
      f[14] = std::byte{0x60};
      put16(f, 18, static_cast<uint16_t>(l4_len + (extension ? 8 : 0)));
      f[20] = extension ? std::byte{0} : std::byte{protocol};
      addresses = 22;
      if (extension) {
        f[54] = std::byte{protocol};
        f[55] = std::byte{0};
      }
    }
    std::memcpy(&f[addresses], source.data(), address_bytes());
    std::memcpy(&f[addresses + address_bytes()], destination.data(), address_bytes());
    if (family == 4) put16(f, 24, Rfc1071().bytes(&f[14], 20 + 4U * options).checksum());
    put16(f, start(), source_port);
    put16(f, start() + 2, destination_port);
    if (protocol == 17) put16(f, start() + 4, l4_len);
    if (padding > 0) std::memset(&f[start() + l4_len], 0, padding);
    const size_t field = start() + checksum_offset();
    Rfc1071 sum;
    sum.bytes(&f[addresses], 2 * address_bytes()).byte(0).byte(protocol);
    sum.byte(static_cast<uint8_t>(l4_len >> 8)).byte(static_cast<uint8_t>(l4_len));
    put16(f, field, 0);
    if (l4 == L4::kPartial) {
      put16(f, field, sum.sum());
    } else if (l4 == L4::kWhole) {
      const uint16_t c = sum.bytes(&f[start()], l4_len).checksum();
      put16(f, field, protocol == 17 && c == 0 ? 0xffff : c);
    }
    return f;
  }

  Flow flow() const {
    Flow out;
    out.family = family;
    out.protocol = protocol;
    const auto be = [](uint16_t v) { return static_cast<uint16_t>(v << 8 | v >> 8); };
    out.source_port = be(source_port);
    out.destination_port = be(destination_port);
    std::memcpy(out.source, source.data(), address_bytes());
    std::memcpy(out.destination, destination.data(), address_bytes());
    return out;
  }
  // The rule for whoever sends there.
  Flow any_source() const {
    Flow out = flow();
    out.source_port = 0;
    std::memset(out.source, 0, sizeof out.source);
    return out;
  }
};

}  // namespace ringcube::mock
