// The Internet checksum (RFC 1071) and where a frame keeps it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ringcube {

// One's complement sum of `n` bytes, in memory order, added to `sum`; fold with checksum_fold.
uint64_t checksum_add(uint64_t sum, const std::byte* data, size_t n);
// As checksum_add, of bytes that lie `at` behind those that the sum began with: behind an odd number of them
// each counts in the other half of a word (RFC 1071 §2 (B)).
uint64_t checksum_add_at(uint64_t sum, size_t at, const std::byte* data, size_t n);
// The 16-bit checksum, in memory order.
uint16_t checksum_fold(uint64_t sum);

// virtio 1.2 §5.1.6.2: the field already holds the pseudo-header's sum; the device adds [start, end) and
// stores the complement. `behind` is the sum of what belongs to it and lies elsewhere, added at length -
// start. False if start or offset lie outside the frame.
bool complete_checksum(std::byte* frame, size_t length, uint16_t start, uint16_t offset, uint64_t behind = 0);

// Before it is completed: does the field at start + offset belong to the frame's own TCP or UDP checksum, and
// hold the sum of the right pseudo-header? Then what complete_checksum stores is good; else that is for the
// receiver to find out.
bool is_partial_l4(const std::byte* frame, size_t length, uint16_t start, uint16_t offset);

enum class L4Checksum : uint8_t { kNone, kGood, kBad };  // none: no TCP or UDP, a fragment, or cut short
L4Checksum verify_l4(const std::byte* frame, size_t length);

// An exact flow, as it stands in a frame (network byte order), or what a steering rule matches.
struct Flow {
  uint8_t family = 0;  // 4 or 6
  uint8_t protocol = 0;
  uint16_t source_port = 0;
  uint16_t destination_port = 0;
  uint16_t unused = 0;
  uint8_t source[16] = {};
  uint8_t destination[16] = {};
};
static_assert(sizeof(Flow) == 40);

// False for what no rule matches: not TCP or UDP directly over IPv4 without options or IPv6 without extension
// headers, fragments, or cut short.
bool parse_flow(const std::byte* frame, size_t length, Flow& flow);

}  // namespace ringcube
