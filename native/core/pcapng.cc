#include "core/pcapng.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <limits>

#include "core/pcapng_blocks.h"

namespace ringcube {
namespace {

constexpr int64_t kNsPerS = 1'000'000'000;

__extension__ using Int128 = __int128;  // holds any stamp in nanoseconds: 2^64 ticks of 1 s are below 2^94 ns

[[gnu::format(printf, 1, 2)]] std::string line(const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return text;
}

// What people take for a pcapng file, by its first bytes.
struct Foreign {
  std::string_view start;
  const char* what;
};

using namespace std::string_view_literals;
constexpr const char* kOldPcap = "the older pcap format; convert it with: editcap -F pcapng IN OUT";
constexpr const char* kTextMode =
    "a pcapng file changed by a transfer in text mode; transfer it in binary mode";
constexpr Foreign kForeign[] = {
    {"\xd4\xc3\xb2\xa1"sv, kOldPcap},  // microseconds
    {"\xa1\xb2\xc3\xd4"sv, kOldPcap},
    {"\x4d\x3c\xb2\xa1"sv, kOldPcap},  // nanoseconds
    {"\xa1\xb2\x3c\x4d"sv, kOldPcap},
    {"\x34\xcd\xb2\xa1"sv, kOldPcap},  // with Kuznetzov's longer packet header
    {"\xa1\xb2\xcd\x34"sv, kOldPcap},
    {"snoop\0"sv, "the snoop format; convert it with: editcap -F pcapng IN OUT"},
    {"\x1f\x8b"sv, "gzip; unpack it with: gzip -d FILE"},
    {"\x28\xb5\x2f\xfd"sv, "zstd; unpack it with: zstd -d FILE"},
    {"\xfd\x37zXZ"sv, "xz; unpack it with: xz -d FILE"},
    {"\x04\x22\x4d\x18"sv, "lz4; unpack it with: lz4 -d FILE"},
    {"\x0a\x0d\x0a"sv, kTextMode},  // §10.1, 0x0A0D0AXX and the like
    {"\x0d\x0d\x0a"sv, kTextMode},
    {"\x0d\x0a\x0d"sv, kTextMode},
};

struct Interface {
  uint32_t snap_length = 0;
  // nanoseconds = (ticks * multiplier >> shift) / divisor + offset
  uint64_t multiplier = 1000;  // without if_tsresol, a tick is a microsecond (§4.2)
  uint64_t divisor = 1;
  uint8_t shift = 0;
  int64_t offset_s = 0;

  void set_resolution(uint8_t tsresol) {  // §4.2: 10^-n or, with the highest bit, 2^-n seconds
    uint8_t n = tsresol & 0x7f;
    multiplier = kNsPerS;
    divisor = 1;
    shift = 0;
    if (tsresol & 0x80) {
      shift = n;
      return;
    }
    for (; n > 0 && multiplier > 1; n--) multiplier /= 10;
    if (n > 19) {  // 2^64 ticks of 10^-29 s are less than a nanosecond
      multiplier = 0;
      return;
    }
    for (; n > 0; n--) divisor *= 10;
  }

  bool time(uint64_t ticks, int64_t& time_ns) const {
    Int128 time = Int128{ticks} * multiplier >> shift;
    if (divisor != 1) time /= divisor;
    time += Int128{offset_s} * kNsPerS;
    time_ns = static_cast<int64_t>(time);
    return time_ns == time;
  }
};

class Parser {
 public:
  Parser(std::span<const std::byte> file, Capture& out, std::string& error)
      : file_(file), out_(out), error_(error) {}

  bool run() {
    if (!starts_well()) return false;
    for (uint64_t at = 0, length; at < file_.size(); at += length) {
      if (!block_bounds(at, length) || !block(at, length)) return false;
    }
    if (!read_any_) return fail("no section of this file has version 1.0 or 1.2, the only ones there are");
    return true;
  }

 private:
  bool fail(std::string error) {
    error_ = std::move(error);
    return false;
  }

  // Fields lie on 4 bytes of the file but not always of memory, and 64-bit ones not even of the file
  // (§3.6.2). Whoever loads has checked that the field is inside.
  template <typename T>
  T raw(uint64_t at) const {
    T value;
    std::memcpy(&value, file_.data() + at, sizeof value);
    return value;
  }
  uint8_t u8(uint64_t at) const { return raw<uint8_t>(at); }
  uint16_t u16(uint64_t at) const {
    return swapped_ ? __builtin_bswap16(raw<uint16_t>(at)) : raw<uint16_t>(at);
  }
  uint32_t u32(uint64_t at) const {
    return swapped_ ? __builtin_bswap32(raw<uint32_t>(at)) : raw<uint32_t>(at);
  }
  uint64_t u64(uint64_t at) const {
    return swapped_ ? __builtin_bswap64(raw<uint64_t>(at)) : raw<uint64_t>(at);
  }

  bool starts_well() {
    const std::string_view text(reinterpret_cast<const char*>(file_.data()), file_.size());
    if (text.empty()) return fail("the file is empty: a pcapng file starts with 0a0d0d0a");
    constexpr std::string_view kStart = "\x0a\x0d\x0d\x0a";
    const std::string_view start = text.substr(0, kStart.size());
    if (kStart.starts_with(start)) return true;  // if it is shorter, the first block says so

    std::string hex;
    for (char c : start) hex += line("%02x", static_cast<unsigned char>(c));
    for (const Foreign& foreign : kForeign) {
      if (text.starts_with(foreign.start)) {
        return fail(line("not a pcapng file: starts with %s, which is %s", hex.c_str(), foreign.what));
      }
    }
    return fail(line("not a pcapng file: starts with %s, where 0a0d0d0a is right", hex.c_str()));
  }

  // §3.1. Afterwards, `length` bytes from `at` lie in the file. A section header sets the byte order on the
  // way.
  bool block_bounds(uint64_t at, uint64_t& length) {
    const uint64_t end = file_.size();
    if (end - at < kBlockBytes) {
      return fail(
          line("block at byte %llu: the file ends at byte %llu, before the 12 bytes that a block has at "
               "least: truncated",
               ull(at), ull(end)));
    }
    if (raw<uint32_t>(at) == kSectionHeader) {
      const uint32_t magic = raw<uint32_t>(at + 8);
      if (magic != kByteOrderMagic && magic != kByteOrderSwapped) {
        return fail(
            line("section header at byte %llu: byte-order magic %02x%02x%02x%02x, where 1a2b3c4d or "
                 "4d3c2b1a is right",
                 ull(at), u8(at + 8), u8(at + 9), u8(at + 10), u8(at + 11)));
      }
      swapped_ = magic == kByteOrderSwapped;
    }
    length = u32(at + 4);
    if (length < kBlockBytes || length % 4 != 0 || length > kPcapngMaxBlockBytes) {
      return fail(
          line("block at byte %llu says it is %llu bytes long: a multiple of 4 from 12 to %u is right",
               ull(at), ull(length), kPcapngMaxBlockBytes));
    }
    if (length > end - at) {
      return fail(
          line("block at byte %llu says it is %llu bytes long but the file ends at byte %llu: truncated",
               ull(at), ull(length), ull(end)));
    }
    const uint64_t again = u32(at + length - 4);
    if (again != length) {
      return fail(
          line("block at byte %llu says it is %llu bytes long, but at its end (byte %llu) it says %llu: "
               "damaged",
               ull(at), ull(length), ull(at + length - 4), ull(again)));
    }
    return true;
  }

  bool block(uint64_t at, uint64_t length) {
    const uint32_t type = u32(at);
    if (type == kSectionHeader) return section_header(at, length);
    if (!readable_) return true;
    switch (type) {
      case kInterfaceDescription:
        return interface_description(at, length);
      case kEnhancedPacket:
        return at_least(kEnhancedPacketBytes, at, length) && packet(at, length, u32(at + 8));
      case kPacket:  // Appendix A: an Enhanced Packet Block but for a 16-bit interface and a drop count
        return at_least(kEnhancedPacketBytes, at, length) && packet(at, length, u16(at + 8));
      case kSimplePacket:
        return simple_packet(at, length);
      default:
        return true;
    }
  }

  bool at_least(uint32_t least, uint64_t at, uint64_t length) {
    if (length >= least) return true;
    return fail(line("block at byte %llu, of type %#x, is %llu bytes long: at least %u is right", ull(at),
                     u32(at), ull(length), least));
  }

  // §4.1. The section length is not used: it may be absent, and blocks are walked in any case.
  bool section_header(uint64_t at, uint64_t length) {
    if (!at_least(kSectionHeaderBytes, at, length)) return false;
    const uint16_t major = u16(at + 12);
    const uint16_t minor = u16(at + 14);
    // §3.4: a section of another version is to be skipped. §4.1: minor 2 has been written and is as 0.
    readable_ = major == 1 && (minor == 0 || minor == 2);
    read_any_ |= readable_;
    section_.clear();
    section_base_ = out_.interfaces;
    return true;
  }

  bool interface_description(uint64_t at, uint64_t length) {  // §4.2
    if (!at_least(kInterfaceDescriptionBytes, at, length)) return false;
    if (out_.interfaces == kPcapngMaxInterfaces) {
      return fail(line("block at byte %llu: more than %u interfaces", ull(at), kPcapngMaxInterfaces));
    }
    const uint16_t link_type = u16(at + 8);
    if (link_type != kLinkTypeEthernet) {
      return fail(
          line("interface %zu, described at byte %llu, has link type %u: Ethernet (1) is right; capture "
               "on an Ethernet interface, not on \"any\"",
               section_.size(), ull(at), link_type));
    }
    Interface interface;
    interface.snap_length = u32(at + 12);
    if (!interface_options(at + 16, at + length - 4, interface)) return false;
    section_.push_back(interface);
    out_.interfaces++;
    return true;
  }

  bool interface_options(uint64_t at, uint64_t end, Interface& interface) {  // §3.5
    while (at < end) {  // both multiples of 4 from the block's start: there are 4 bytes
      const uint16_t code = u16(at);
      const uint16_t bytes = u16(at + 2);
      if (code == kEndOfOptions) break;
      if (padded(bytes) > end - at - 4) {
        return fail(
            line("option %u at byte %llu says it is %u bytes long but its block's options end at byte "
                 "%llu: damaged",
                 code, ull(at), bytes, ull(end)));
      }
      const uint16_t right = code == kIfTsresol ? 1 : code == kIfTsoffset ? 8 : bytes;
      if (bytes != right) {
        return fail(line("option %s at byte %llu is %u bytes long: %u is right",
                         code == kIfTsresol ? "if_tsresol" : "if_tsoffset", ull(at), bytes, right));
      }
      if (code == kIfTsresol) interface.set_resolution(u8(at + 4));
      if (code == kIfTsoffset) interface.offset_s = static_cast<int64_t>(u64(at + 4));
      at += 4 + padded(bytes);
    }
    return true;
  }

  bool packet(uint64_t at, uint64_t length, uint32_t interface) {  // §4.3
    if (!known(at, interface)) return false;
    const uint64_t ticks = uint64_t{u32(at + 12)} << 32 | u32(at + 16);
    int64_t time_ns;
    if (!section_[interface].time(ticks, time_ns)) {
      return fail(
          line("packet at byte %llu is stamped outside the years 1677 to 2262, which 64 bits of "
               "nanoseconds hold: its time, or if_tsresol or if_tsoffset of its interface %u, is wrong",
               ull(at), interface));
    }
    return frame(at, at + 28, length - kEnhancedPacketBytes, u32(at + 20), u32(at + 24), interface, time_ns);
  }

  bool simple_packet(uint64_t at, uint64_t length) {  // §4.4: of the first interface, without a time
    if (!at_least(kSimplePacketBytes, at, length) || !known(at, 0)) return false;
    const uint32_t original = u32(at + 8);
    const uint32_t snap = section_[0].snap_length;
    const uint32_t captured = snap == 0 ? original : std::min(snap, original);
    return frame(at, at + 12, length - kSimplePacketBytes, captured, original, 0, time_ns_);
  }

  bool known(uint64_t at, uint32_t interface) {
    if (interface < section_.size()) return true;
    return fail(line("packet at byte %llu is of interface %u, but its section has described %zu before it",
                     ull(at), interface, section_.size()));
  }

  bool frame(uint64_t at, uint64_t data, uint64_t space, uint32_t captured, uint32_t original,
             uint32_t interface, int64_t time_ns) {
    if (padded(captured) > space) {
      return fail(line("packet at byte %llu says it has %u bytes but its block has room for %llu: damaged",
                       ull(at), captured, ull(space)));
    }
    if (out_.frames.size() + out_.cut == kPcapngMaxFrames) {
      return fail(line("packet at byte %llu: more than %u packets", ull(at), kPcapngMaxFrames));
    }
    time_ns_ = time_ns;
    if (captured < original) {
      out_.cut++;
    } else {  // §4.3: an original length below the captured one may be taken as equal
      out_.frames.push_back({data, captured, section_base_ + interface, time_ns});
    }
    return true;
  }

  static unsigned long long ull(uint64_t value) { return value; }  // for %llu

  const std::span<const std::byte> file_;
  Capture& out_;
  std::string& error_;
  bool swapped_ = false;   // the section is in the other byte order
  bool readable_ = false;  // the section's version is one we know
  bool read_any_ = false;
  std::vector<Interface> section_;  // the interfaces of this section
  uint32_t section_base_ = 0;       // what the first of them is in the whole file
  int64_t time_ns_ = 0;             // of the last packet
};

}  // namespace

bool parse_pcapng(std::span<const std::byte> file, Capture& out, std::string& error) {
  out = {};
  if (Parser(file, out, error).run()) return true;
  out = {};
  return false;
}

}  // namespace ringcube
