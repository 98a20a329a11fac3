// The pages of a region inside an agent's linear memory, and the guard page that stops the agent. The memory
// is a reservation of the JavaScript engine's: for a WebAssembly.Memory of at most 4 GiB, V8 reserves 8 GiB
// and makes accessible what the memory's length covers, so that a 32-bit index with a 32-bit offset can't
// leave it. In it we put, over what V8 has there, ranges of a region's memfd (the window) and one readable
// page at an index that no memory of ours reaches (the guard):
//
//   base      at           length of the memory      0xFFFF0000            8 GiB
//   │ V8's    │ window, RW │ V8's │ V8's, inaccessible │ guard, R │ V8's, inaccessible │
//
// V8 documents none of this. So the kernel's list of mappings is read before each change, and what is not as
// drawn is refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "core/region.h"

namespace ringcube {

struct AddressRange {
  uintptr_t start;
  uintptr_t end;  // the first address behind
};

enum class MappingKind : uint8_t {
  kMemory,       // anonymous, private, readable and writable
  kReservation,  // anonymous, private, inaccessible
};

// Whether `maps`, the text of /proc/PID/maps (proc(5)), has mappings of that kind over the whole of the
// range. If not, `error` says what is there instead.
bool verify_mapping(std::string_view maps, AddressRange range, MappingKind kind, std::string& error);

size_t page_bytes();

// One thread calls everything but stop(), which any thread may call at any time, also after close().
class Sandbox {
 public:
  static constexpr size_t kGuardAt = 0xFFFF0000;

  // What an instrumented agent meets at its next loop head or function entry: a page that it may not read, or
  // a word there that isn't 0.
  enum class Stop : uint8_t { kGuard, kEpoch };

  // `base`: of the memory, which must stay where it is until close().
  explicit Sandbox(std::byte* base) : base_(reinterpret_cast<uintptr_t>(base)) {}
  ~Sandbox() { close(); }
  Sandbox(const Sandbox&) = delete;
  Sandbox& operator=(const Sandbox&) = delete;

  // Lays `length` bytes of the region, from `offset` on, into the memory at `at`, readable and writable. All
  // three are whole pages; `memory_bytes` is what the memory holds now.
  bool map(const Region& region, size_t at, size_t offset, size_t length, size_t memory_bytes,
           std::string& error);
  // The other way: zeros of the memory's own. Takes just what map() was given.
  bool unmap(size_t at, size_t length, std::string& error);
  // For whole pages within what one map() laid there.
  bool protect(size_t at, size_t length, bool accessible, std::string& error);

  // Lays the guard page; once there, it stays until close().
  bool guard(size_t memory_bytes, std::string& error);
  bool guarded();
  void stop(Stop how);
  void resume(Stop how);

  // Gives V8 back what it had.
  void close();

 private:
  struct Window {
    size_t at;
    size_t length;
  };

  const uintptr_t base_;
  std::vector<Window> windows_;
  std::mutex mutex_;  // the guard: stop() comes from the watchdog's thread
  bool guarded_ = false;
  int32_t* epoch_ = nullptr;  // the guard page's first word, in a view that we may write
};

}  // namespace ringcube
