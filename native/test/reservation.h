// An address range as V8 reserves it for a WebAssembly.Memory, and whether its pages can be read: for the
// tests of the sandbox and the watchdog.
#pragma once

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>

namespace ringcube::check {

class Reservation {
 public:
  static constexpr size_t kBytes = size_t{8} << 30;

  // Accessible up to `length`, from where on nothing is; with `bytes` below kBytes, what does without the
  // MMU.
  explicit Reservation(size_t length, size_t bytes = kBytes) : bytes_(bytes) {
    void* const base = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return;
    base_ = static_cast<std::byte*>(base);
    grow(length);
  }
  ~Reservation() {
    if (base_ != nullptr) munmap(base_, bytes_);
  }
  Reservation(const Reservation&) = delete;
  Reservation& operator=(const Reservation&) = delete;

  bool grow(size_t length) const { return mprotect(base_, length, PROT_READ | PROT_WRITE) == 0; }
  std::byte* base() const { return base_; }

 private:
  size_t bytes_;
  std::byte* base_ = nullptr;
};

// Asks the kernel, by having it read a word from there and write one: no signal, and nothing for a sanitizer.
class Probe {
 public:
  Probe() {
    if (pipe(ends_) != 0) ends_[0] = ends_[1] = -1;
  }
  ~Probe() {
    close(ends_[0]);
    close(ends_[1]);
  }
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

  bool readable(const std::byte* at, int* word = nullptr) const {
    int got = 0;
    if (syscall(SYS_write, ends_[1], at, sizeof got) != sizeof got) return false;
    if (syscall(SYS_read, ends_[0], &got, sizeof got) != sizeof got) return false;
    if (word != nullptr) *word = got;
    return true;
  }
  bool writable(std::byte* at) const {
    char former[sizeof(int)] = {};
    if (syscall(SYS_write, ends_[1], former, sizeof former) != sizeof former) return false;
    const bool ok = syscall(SYS_read, ends_[0], at, sizeof former) == sizeof former;
    if (!ok) syscall(SYS_read, ends_[0], former, sizeof former);
    return ok;
  }

 private:
  int ends_[2] = {-1, -1};
};

}  // namespace ringcube::check
