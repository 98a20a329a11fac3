// pcapng files: what the replay backend reads and the record backend writes.
//
// Source: draft-ietf-opsawg-pcapng (§ below are its sections). A file is a row of blocks, each
//
//     type u32 | total length u32 | body, padded to 32 bits | total length u32        (§3.1)
//
// in sections that each start with a Section Header Block (SHB), which gives the section's byte order.
// Interface Description Blocks (IDB) number the interfaces of their section from 0; packets lie in Enhanced,
// Simple or (obsolete) Packet Blocks (EPB, SPB, PB). All else is skipped by its length.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ringcube {

inline constexpr uint32_t kPcapngMaxBlockBytes = 16u << 20;
inline constexpr uint32_t kPcapngMaxInterfaces = 65536;   // of all sections together
inline constexpr uint32_t kPcapngMaxFrames = 1u << 28;    // whole and cut together
inline constexpr uint32_t kPcapngMaxFrameBytes = 262144;  // what we write of a frame; Wireshark reads no more
inline constexpr uint32_t kPcapngNoInterface = 0xffffffff;  // what a writer with kPcapngMaxInterfaces answers

struct CapturedFrame {
  uint64_t offset;  // of the frame's first byte (Ethernet destination) in the file
  uint32_t length;
  uint32_t interface;  // counted through the whole file: the second section's first follows the first's last
  int64_t time_ns;     // since 1970-01-01 UTC. An SPB has no time (§4.4): that of the frame before it, or 0
};

struct Capture {
  std::vector<CapturedFrame> frames;  // in the order of the file, which need not be that of time
  uint32_t interfaces = 0;
  uint32_t cut = 0;  // frames that a snap length cut short: they are not in `frames`
};

// Reads a whole file that lies in memory. Anything wrong makes it false, with `out` empty and `error` one
// line: what, at which byte, and what would be right. A frame check sequence, if captured, is part of the
// frame.
bool parse_pcapng(std::span<const std::byte> file, Capture& out, std::string& error);

// Writes one section in the machine's byte order, with nanosecond stamps. Calls must not overlap. A call may
// block on the disk, about once per MiB.
class PcapngWriter {
 public:
  enum class Direction : uint8_t { kUnknown = 0, kInbound = 1, kOutbound = 2 };  // epb_flags bits 0-1, §4.3.1

  // An existing file is overwritten. Null with one line in `error` if that fails.
  static std::unique_ptr<PcapngWriter> create(const std::string& path, std::string& error);
  ~PcapngWriter();
  PcapngWriter(const PcapngWriter&) = delete;
  PcapngWriter& operator=(const PcapngWriter&) = delete;

  // The number to give to write(). `name` is UTF-8, of which 255 bytes are kept; `snap_length` 0 is no limit.
  // libpcap (so tcpdump, but not Wireshark) reads no file whose interfaces have different snap lengths.
  uint32_t add_interface(std::string_view name, uint32_t snap_length = 0);

  // The frame is the slices one after the other; they are the caller's again on return. A `time_ns` before
  // 1970 is written as 1970: stamps are unsigned (§4.3). False: the frame is lost, and counted.
  bool write(uint32_t interface, int64_t time_ns, Direction direction,
             std::span<const std::span<const std::byte>> slices);

  bool flush();

  // True once the disk has refused (it is not asked again). The file ends after the last block that was
  // written before: what is in it can be read.
  bool failed() const { return failed_; }
  uint64_t written() const { return written_; }  // frames accepted; all are in the file after a flush()
  uint64_t lost() const { return lost_; }

 private:
  explicit PcapngWriter(int fd);
  bool reserve(size_t bytes);
  void put(const void* data, size_t bytes);
  void put16(uint16_t value) { put(&value, sizeof value); }
  void put32(uint32_t value) { put(&value, sizeof value); }
  void pad();

  const int fd_;
  std::vector<std::byte> buffer_;  // whole blocks only, except inside a call
  size_t used_ = 0;
  uint64_t file_bytes_ = 0;       // on disk, whole blocks
  uint64_t buffered_frames_ = 0;  // of written_, those not yet on disk
  uint64_t written_ = 0;
  uint64_t lost_ = 0;
  std::vector<uint32_t> snap_lengths_;  // by interface
  bool failed_ = false;
};

}  // namespace ringcube
