#include "core/sandbox.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <tuple>

namespace ringcube {

namespace {

// What V8 reserves for a memory whose bounds it leaves to the MMU: any 32-bit index plus any 32-bit offset.
constexpr size_t kReservedBytes = size_t{8} << 30;

constexpr std::string_view kOtherwise = "V8 laid its memory out otherwise: ";

struct Mapping {
  AddressRange range;
  std::string_view permissions;
  bool anonymous;
};

// One line: `start-end permissions offset device inode path`. V8 or the C library may have named anonymous
// memory.
bool parse(std::string_view line, Mapping& out) {
  const char* const begin = line.data();
  const char* const end = begin + line.size();
  const auto start = std::from_chars(begin, end, out.range.start, 16);
  if (start.ec != std::errc() || start.ptr == end || *start.ptr != '-') return false;
  const auto stop = std::from_chars(start.ptr + 1, end, out.range.end, 16);
  if (stop.ec != std::errc() || end - stop.ptr < 5 || *stop.ptr != ' ') return false;
  out.permissions = std::string_view(stop.ptr + 1, 4);
  std::string_view rest(stop.ptr + 5, static_cast<size_t>(end - stop.ptr) - 5);
  std::string_view inode;
  for (int field = 0; field < 3; ++field) {
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    const size_t length = std::min(rest.find(' '), rest.size());
    inode = rest.substr(0, length);
    rest.remove_prefix(length);
  }
  rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
  out.anonymous = inode == "0" && (rest.empty() || rest.starts_with("[anon:"));
  return true;
}

std::string hex(uintptr_t value) {
  char digits[2 * sizeof value];
  const auto written = std::to_chars(digits, digits + sizeof digits, value, 16);
  return "0x" + std::string(digits, written.ptr);
}

// The kernel writes the list piece by piece, each consistent by itself: what stays as it is is always in it.
bool read_maps(std::string& out, std::string& error) {
  const int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  ssize_t got = fd < 0 ? -1 : 1;
  while (got > 0) {
    const size_t had = out.size();
    out.resize(had + 65536);
    do got = read(fd, out.data() + had, out.size() - had);
    while (got < 0 && errno == EINTR);
    out.resize(had + static_cast<size_t>(std::max<ssize_t>(got, 0)));
  }
  if (got < 0) error = std::string("/proc/self/maps: ") + std::strerror(errno);
  if (fd >= 0) close(fd);
  return got == 0;
}

bool whole_pages(size_t a, size_t b, size_t c) { return ((a | b | c) & (page_bytes() - 1)) == 0; }

std::string bytes(size_t at, size_t length) {
  return "[" + std::to_string(at) + ", " + std::to_string(at) + " + " + std::to_string(length) + ")";
}

}  // namespace

size_t page_bytes() {
  static const auto bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

bool verify_mapping(std::string_view maps, AddressRange range, MappingKind kind, std::string& error) {
  const std::string_view wanted = kind == MappingKind::kMemory ? "rw-p" : "---p";
  uintptr_t covered = range.start;
  while (!maps.empty() && covered < range.end) {
    const size_t length = std::min(maps.find('\n'), maps.size());
    const std::string_view line = maps.substr(0, length);
    maps.remove_prefix(std::min(length + 1, maps.size()));
    Mapping mapping = {};
    if (!parse(line, mapping)) {
      error = "/proc/self/maps has a line of another form: " + std::string(line);
      return false;
    }
    if (mapping.range.end <= covered || mapping.range.start >= range.end) continue;
    if (mapping.range.start > covered) break;
    if (mapping.permissions != wanted || !mapping.anonymous) {
      error = std::string(kOtherwise) + "at " + hex(covered) + ", where anonymous memory (" +
              std::string(wanted) + ") should be, lies " + std::string(line);
      return false;
    }
    covered = mapping.range.end;
  }
  if (covered >= range.end) return true;
  error = std::string(kOtherwise) + "nothing is mapped at " + hex(covered);
  return false;
}

namespace {

// Whether the kernel says so of this process.
bool check(AddressRange range, MappingKind kind, std::string& error) {
  std::string maps;
  return read_maps(maps, error) && verify_mapping(maps, range, kind, error);
}

void* pointer(uintptr_t address) {
  return reinterpret_cast<void*>(address);  // NOLINT(performance-no-int-to-ptr)
}

// Over what was checked before.
bool lay(uintptr_t start, size_t length, int protection, int fd, size_t offset) {
  return mmap(pointer(start), length, protection, MAP_FIXED | MAP_SHARED, fd, static_cast<off_t>(offset)) !=
         MAP_FAILED;
}

// Fresh pages over our own, as V8 makes its.
bool put_back(uintptr_t start, size_t length, int protection) {
  return mmap(pointer(start), length, protection, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
              0) != MAP_FAILED;
}

}  // namespace

bool Sandbox::map(const Region& region, size_t at, size_t offset, size_t length, size_t memory_bytes,
                  std::string& error) {
  const auto within = [&](size_t from, size_t all) { return from <= all && length <= all - from; };
  const auto refuse = [&](const std::string& why) {
    error = "window " + bytes(at, length) + why;
    return false;
  };
  if (length == 0 || !whole_pages(at, offset, length))
    return refuse(" from " + std::to_string(offset) + " of a region: must be whole pages of " +
                  std::to_string(page_bytes()) + " bytes");
  if (!within(at, memory_bytes))
    return refuse(" lies outside the memory's " + std::to_string(memory_bytes) + " bytes");
  if (!within(offset, region.size()))
    return refuse(" from " + std::to_string(offset) + " lies outside the region's " +
                  std::to_string(region.size()) + " bytes");
  if (!check({base_ + at, base_ + at + length}, MappingKind::kMemory, error)) return false;
  if (!lay(base_ + at, length, PROT_READ | PROT_WRITE, region.fd(), offset)) {
    error = std::string("mapping a window: ") + std::strerror(errno);
    return false;
  }
  windows_.push_back({at, length});
  return true;
}

bool Sandbox::unmap(size_t at, size_t length, std::string& error) {
  const auto found = std::find_if(windows_.begin(), windows_.end(),
                                  [&](const Window& w) { return w.at == at && w.length == length; });
  if (found == windows_.end()) {
    error = "no window was mapped at " + bytes(at, length);
    return false;
  }
  if (!put_back(base_ + at, length, PROT_READ | PROT_WRITE)) {
    error = std::string("unmapping a window: ") + std::strerror(errno);
    return false;
  }
  windows_.erase(found);
  return true;
}

bool Sandbox::protect(size_t at, size_t length, bool accessible, std::string& error) {
  const bool ours = length > 0 && whole_pages(at, length, 0) &&
                    std::any_of(windows_.begin(), windows_.end(), [&](const Window& w) {
                      return at >= w.at && at - w.at <= w.length && length <= w.length - (at - w.at);
                    });
  if (!ours) {
    error = "pages at " + bytes(at, length) + " are not those of a window";
    return false;
  }
  if (mprotect(pointer(base_ + at), length, accessible ? PROT_READ | PROT_WRITE : PROT_NONE) == 0)
    return true;
  error = std::string("protecting a window: ") + std::strerror(errno);
  return false;
}

bool Sandbox::guard(size_t memory_bytes, std::string& error) {
  if (guarded()) return true;
  if (memory_bytes > kGuardAt) {
    error = "the memory reaches the guard page: its maximum must be below 65535 pages";
    return false;
  }
  // Not the page alone: what else than V8's reservation is so long, and begins where the memory ends?
  if (!check({base_ + memory_bytes, base_ + kReservedBytes}, MappingKind::kReservation, error)) return false;
  const size_t length = page_bytes();
  const int fd = memfd_create("ringcube-guard", MFD_CLOEXEC);
  void* const view = fd >= 0 && ftruncate(fd, static_cast<off_t>(length)) == 0
                         ? mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                         : MAP_FAILED;
  const bool laid = view != MAP_FAILED && lay(base_ + kGuardAt, length, PROT_READ, fd, 0);
  if (!laid) {
    error = std::string("making a guard page: ") + std::strerror(errno);
    if (view != MAP_FAILED) munmap(view, length);
  }
  if (fd >= 0) ::close(fd);
  if (!laid) return false;
  const std::lock_guard lock(mutex_);
  epoch_ = static_cast<int32_t*>(view);
  guarded_ = true;
  return true;
}

bool Sandbox::guarded() {
  const std::lock_guard lock(mutex_);
  return guarded_;
}

void Sandbox::stop(Stop how) {
  const std::lock_guard lock(mutex_);
  if (!guarded_) return;
  if (how == Stop::kEpoch)
    std::atomic_ref(*epoch_).store(1);
  else
    mprotect(pointer(base_ + kGuardAt), page_bytes(), PROT_NONE);
}

void Sandbox::resume(Stop how) {
  const std::lock_guard lock(mutex_);
  if (!guarded_) return;
  if (how == Stop::kEpoch)
    std::atomic_ref(*epoch_).store(0);
  else
    mprotect(pointer(base_ + kGuardAt), page_bytes(), PROT_READ);
}

// What fails here fails for want of memory for one more mapping. Ours then stay, and go with V8's
// reservation.
void Sandbox::close() {
  for (const Window& w : windows_) std::ignore = put_back(base_ + w.at, w.length, PROT_READ | PROT_WRITE);
  windows_.clear();
  const std::lock_guard lock(mutex_);
  if (!guarded_) return;
  guarded_ = false;
  std::ignore = put_back(base_ + kGuardAt, page_bytes(), PROT_NONE);
  munmap(epoch_, page_bytes());
}

}  // namespace ringcube
