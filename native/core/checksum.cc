#include "core/checksum.h"

#include <cstring>

namespace ringcube {

namespace {

constexpr size_t kEthernet = 14;
constexpr size_t kIpv4 = 20;
constexpr size_t kIpv6 = 40;
constexpr uint8_t kTcp = 6;
constexpr uint8_t kUdp = 17;

uint8_t byte_at(const std::byte* p, size_t at) { return static_cast<uint8_t>(p[at]); }
uint16_t be16(const std::byte* p, size_t at) {
  return static_cast<uint16_t>(byte_at(p, at) << 8 | byte_at(p, at + 1));
}

// Where the transport segment lies, for a whole packet without options or extension headers.
struct Segment {
  uint8_t family;
  uint8_t protocol;
  size_t addresses;
  size_t address_bytes;
  size_t start;
  size_t length;
};

bool find_segment(const std::byte* f, size_t length, bool options, Segment& s) {
  if (length < kEthernet + kIpv4) return false;
  const uint16_t type = be16(f, 12);
  if (type == 0x0800) {
    const size_t header = size_t{4} * (byte_at(f, 14) & 15);
    const size_t total = be16(f, 16);
    if (byte_at(f, 14) >> 4 != 4 || header < kIpv4 || (!options && header != kIpv4)) return false;
    if ((be16(f, 20) & 0x3fff) != 0) return false;  // a fragment
    if (total < header || kEthernet + total > length) return false;
    s = {4, byte_at(f, 23), 26, 8, kEthernet + header, total - header};
  } else if (type == 0x86dd) {
    if (length < kEthernet + kIpv6 || byte_at(f, 14) >> 4 != 6) return false;
    const size_t payload = be16(f, 18);
    if (kEthernet + kIpv6 + payload > length) return false;
    s = {6, byte_at(f, 20), 22, 32, kEthernet + kIpv6, payload};
  } else {
    return false;
  }
  return (s.protocol == kTcp && s.length >= 20) || (s.protocol == kUdp && s.length >= 8);
}

// The sum of the pseudo-header (RFC 768, RFC 9293 §3.1, RFC 8200 §8.1), in memory order.
uint64_t pseudo_header(const std::byte* f, const Segment& s) {
  const uint64_t sum = checksum_add(0, f + s.addresses, s.address_bytes);
  return sum + (static_cast<uint64_t>(s.protocol) << 8) +
         static_cast<uint64_t>((s.length & 0xff) << 8 | (s.length >> 8 & 0xff));
}

}  // namespace

uint64_t checksum_add(uint64_t sum, const std::byte* data, size_t n) {
  // 32 bits at a time into 64: no carry is lost below 2^32 words (RFC 1071 §2 (C), parallel summation).
  while (n >= 4) {
    uint32_t word = 0;
    std::memcpy(&word, data, 4);
    sum += word;
    data += 4;
    n -= 4;
  }
  if (n >= 2) {
    uint16_t word = 0;
    std::memcpy(&word, data, 2);
    sum += word;
    data += 2;
    n -= 2;
  }
  if (n == 1) sum += byte_at(data, 0);
  return sum;
}

uint64_t checksum_add_at(uint64_t sum, size_t at, const std::byte* data, size_t n) {
  if (at % 2 == 0) return checksum_add(sum, data, n);
  const auto odd = static_cast<uint16_t>(~checksum_fold(checksum_add(0, data, n)));
  return sum + static_cast<uint16_t>(odd << 8 | odd >> 8);
}

uint16_t checksum_fold(uint64_t sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

bool complete_checksum(std::byte* frame, size_t length, uint16_t start, uint16_t offset, uint64_t behind) {
  const size_t field = size_t{start} + offset;
  if (start > length || field + 2 > length) return false;
  uint16_t sum = checksum_fold(checksum_add(behind, frame + start, length - start));
  if (sum == 0) sum = 0xffff;  // RFC 768: zero means none
  std::memcpy(frame + field, &sum, 2);
  return true;
}

bool is_partial_l4(const std::byte* f, size_t length, uint16_t start, uint16_t offset) {
  Segment s = {};
  if (!find_segment(f, length, true, s) || s.start != start || s.start + s.length != length) return false;
  if (offset != (s.protocol == kTcp ? 16 : 6)) return false;
  if (s.protocol == kUdp && be16(f, s.start + 4) != s.length) return false;
  uint16_t field = 0;
  std::memcpy(&field, f + start + offset, 2);
  return checksum_fold(pseudo_header(f, s)) == static_cast<uint16_t>(~field);
}

L4Checksum verify_l4(const std::byte* f, size_t length) {
  Segment s = {};
  if (!find_segment(f, length, true, s)) return L4Checksum::kNone;
  if (s.protocol == kUdp) {
    if (be16(f, s.start + 4) != s.length) return L4Checksum::kBad;
    if (be16(f, s.start + 6) == 0)
      return s.family == 4 ? L4Checksum::kNone : L4Checksum::kBad;  // RFC 8200 §8.1
  }
  return checksum_fold(checksum_add(pseudo_header(f, s), f + s.start, s.length)) == 0 ? L4Checksum::kGood
                                                                                      : L4Checksum::kBad;
}

bool parse_flow(const std::byte* f, size_t length, Flow& flow) {
  Segment s = {};
  if (!find_segment(f, length, false, s)) return false;
  flow = {.family = s.family, .protocol = s.protocol};
  std::memcpy(&flow.source_port, f + s.start, 2);
  std::memcpy(&flow.destination_port, f + s.start + 2, 2);
  const size_t half = s.address_bytes / 2;
  std::memcpy(flow.source, f + s.addresses, half);
  std::memcpy(flow.destination, f + s.addresses + half, half);
  return true;
}

}  // namespace ringcube
