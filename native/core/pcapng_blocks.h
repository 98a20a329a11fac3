// The numbers of the pcapng format that its reader and its writer share.
#pragma once

#include <cstdint>

namespace ringcube {

// §10.1
inline constexpr uint32_t kSectionHeader = 0x0a0d0d0a;  // a palindrome: the same in both byte orders
inline constexpr uint32_t kInterfaceDescription = 1;
inline constexpr uint32_t kPacket = 2;
inline constexpr uint32_t kSimplePacket = 3;
inline constexpr uint32_t kEnhancedPacket = 6;

inline constexpr uint32_t kByteOrderMagic = 0x1a2b3c4d;  // §4.1
inline constexpr uint32_t kByteOrderSwapped = 0x4d3c2b1a;
inline constexpr uint16_t kLinkTypeEthernet = 1;  // draft-ietf-opsawg-pcaplinktype

// Option codes: §3.5, §4.1, §4.2, §4.3
inline constexpr uint16_t kEndOfOptions = 0;
inline constexpr uint16_t kShbUserAppl = 4;
inline constexpr uint16_t kIfName = 2;
inline constexpr uint16_t kIfTsresol = 9;
inline constexpr uint16_t kIfTsoffset = 14;
inline constexpr uint16_t kEpbFlags = 2;

// Bytes of each block without its variable part, both total lengths included (figures 1, 9 to 12, 19).
inline constexpr uint32_t kBlockBytes = 12;
inline constexpr uint32_t kSectionHeaderBytes = 28;
inline constexpr uint32_t kInterfaceDescriptionBytes = 20;
inline constexpr uint32_t kSimplePacketBytes = 16;
inline constexpr uint32_t kEnhancedPacketBytes = 32;  // and the Packet Block's

constexpr uint64_t padded(uint64_t bytes) { return (bytes + 3) & ~uint64_t{3}; }

}  // namespace ringcube
