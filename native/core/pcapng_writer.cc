#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include "core/pcapng.h"
#include "core/pcapng_blocks.h"

namespace ringcube {

namespace {

constexpr size_t kBufferBytes = 1 << 20;
constexpr size_t kMaxNameBytes = 255;
constexpr std::string_view kUserAppl = "ringcube";
constexpr uint8_t kNanoseconds = 9;   // if_tsresol
constexpr uint32_t kFlagsBytes = 12;  // an epb_flags option and the end of options

// What a block takes at most fits an empty buffer.
static_assert(kEnhancedPacketBytes + padded(kPcapngMaxFrameBytes) + kFlagsBytes <= kBufferBytes);

}  // namespace

std::unique_ptr<PcapngWriter> PcapngWriter::create(const std::string& path, std::string& error) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) {
    error = "cannot create " + path + ": " + std::strerror(errno);
    return nullptr;
  }
  std::unique_ptr<PcapngWriter> writer(new PcapngWriter(fd));
  const uint32_t bytes = kSectionHeaderBytes + 4 + padded(kUserAppl.size()) + 4;
  writer->put32(kSectionHeader);
  writer->put32(bytes);
  writer->put32(kByteOrderMagic);
  writer->put16(1);           // major version
  writer->put16(0);           // minor
  writer->put32(0xffffffff);  // section length: not given (§4.1)
  writer->put32(0xffffffff);
  writer->put16(kShbUserAppl);
  writer->put16(kUserAppl.size());
  writer->put(kUserAppl.data(), kUserAppl.size());
  writer->pad();
  writer->put32(kEndOfOptions);
  writer->put32(bytes);
  if (!writer->flush()) {  // a full disk shows here, not an hour later
    error = "cannot write " + path + ": " + std::strerror(errno);
    return nullptr;
  }
  return writer;
}

PcapngWriter::PcapngWriter(int fd) : fd_(fd), buffer_(kBufferBytes) {}

PcapngWriter::~PcapngWriter() {
  flush();
  ::close(fd_);
}

uint32_t PcapngWriter::add_interface(std::string_view name, uint32_t snap_length) {
  if (snap_lengths_.size() == kPcapngMaxInterfaces) return kPcapngNoInterface;
  const uint32_t interface = static_cast<uint32_t>(snap_lengths_.size());
  snap_lengths_.push_back(snap_length);
  if (name.size() > kMaxNameBytes) {  // §3.6.3: what is written is UTF-8, so no character is halved
    size_t bytes = kMaxNameBytes;
    while (bytes > 0 && (static_cast<uint8_t>(name[bytes]) & 0xc0) == 0x80) bytes--;
    name = name.substr(0, bytes);
  }
  const uint32_t name_bytes = 4 + static_cast<uint32_t>(padded(name.size()));
  const uint32_t bytes = kInterfaceDescriptionBytes + name_bytes + 8 + 4;
  if (!reserve(bytes)) return interface;  // failed(): its frames will be counted as lost
  put32(kInterfaceDescription);
  put32(bytes);
  put16(kLinkTypeEthernet);
  put16(0);
  put32(snap_length);
  put16(kIfName);
  put16(static_cast<uint16_t>(name.size()));
  put(name.data(), name.size());
  pad();
  put16(kIfTsresol);
  put16(1);
  put(&kNanoseconds, 1);
  pad();
  put32(kEndOfOptions);
  put32(bytes);
  return interface;
}

bool PcapngWriter::write(uint32_t interface, int64_t time_ns, Direction direction,
                         std::span<const std::span<const std::byte>> slices) {
  if (interface >= snap_lengths_.size()) {
    lost_++;
    return false;
  }
  uint64_t original = 0;
  for (const auto& slice : slices) original += slice.size();
  original = std::min<uint64_t>(original, std::numeric_limits<uint32_t>::max());
  uint32_t captured = static_cast<uint32_t>(std::min<uint64_t>(original, kPcapngMaxFrameBytes));
  if (snap_lengths_[interface] != 0) captured = std::min(captured, snap_lengths_[interface]);

  const bool flags = direction != Direction::kUnknown;
  const uint32_t bytes =
      kEnhancedPacketBytes + static_cast<uint32_t>(padded(captured)) + (flags ? kFlagsBytes : 0);
  if (!reserve(bytes)) {
    lost_++;
    return false;
  }
  const uint64_t ticks = time_ns < 0 ? 0 : static_cast<uint64_t>(time_ns);
  put32(kEnhancedPacket);
  put32(bytes);
  put32(interface);
  put32(static_cast<uint32_t>(ticks >> 32));
  put32(static_cast<uint32_t>(ticks));
  put32(captured);
  put32(static_cast<uint32_t>(original));
  size_t left = captured;
  for (const auto& slice : slices) {
    const size_t part = std::min(left, slice.size());
    put(slice.data(), part);
    left -= part;
  }
  pad();
  if (flags) {
    put16(kEpbFlags);
    put16(4);
    put32(static_cast<uint32_t>(direction));
    put32(kEndOfOptions);
  }
  put32(bytes);
  written_++;
  buffered_frames_++;
  return true;
}

bool PcapngWriter::flush() {
  if (failed_) return false;
  size_t done = 0;
  while (done < used_) {
    const ssize_t wrote = ::write(fd_, buffer_.data() + done, used_ - done);
    if (wrote > 0) {
      done += static_cast<size_t>(wrote);
    } else if (wrote == 0 || errno != EINTR) {
      const int why = errno;
      failed_ = true;
      // Take the broken block away again; a pipe cannot, and its reader sees a truncated file.
      if (::ftruncate(fd_, static_cast<off_t>(file_bytes_)) != 0) {
      }
      written_ -= buffered_frames_;
      lost_ += buffered_frames_;
      buffered_frames_ = 0;
      used_ = 0;
      errno = why;
      return false;
    }
  }
  file_bytes_ += used_;
  used_ = 0;
  buffered_frames_ = 0;
  return true;
}

// True if a block of `bytes` can be put into the buffer now.
bool PcapngWriter::reserve(size_t bytes) {
  if (failed_) return false;
  return buffer_.size() - used_ >= bytes || flush();
}

void PcapngWriter::put(const void* data, size_t bytes) {
  if (bytes == 0) return;  // an empty slice may have no address
  std::memcpy(buffer_.data() + used_, data, bytes);
  used_ += bytes;
}

// Fills up with zeros to 32 bits (§3.6.2).
void PcapngWriter::pad() {
  constexpr uint32_t kZero = 0;
  put(&kZero, padded(used_) - used_);
}

}  // namespace ringcube
