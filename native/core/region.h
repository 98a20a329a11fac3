// A region: one sealed memfd, mapped. Queues and frame pools live in it; whoever holds the descriptor maps
// the same pages for itself.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

namespace ringcube {

class Region {
 public:
  // `bytes` is rounded up to whole pages. At most 4 GiB, so that an offset fits 32 bits on the driver's side.
  static std::shared_ptr<Region> create(size_t bytes, std::string& error);
  // Takes ownership of `fd`. Refuses what its owner could still shrink: a later access would be a SIGBUS
  // here.
  static std::shared_ptr<Region> attach(int fd, std::string& error);
  ~Region();
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  int fd() const { return fd_; }

 private:
  Region(int fd, std::byte* data, size_t size) : fd_(fd), data_(data), size_(size) {}
  static std::shared_ptr<Region> map(int fd, size_t size, std::string& error);

  int fd_;
  std::byte* data_;
  size_t size_;
};

}  // namespace ringcube
