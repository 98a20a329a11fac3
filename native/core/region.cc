#include "core/region.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

namespace ringcube {

namespace {
constexpr size_t kMaxBytes = size_t{1} << 32;
}

std::shared_ptr<Region> Region::create(size_t bytes, std::string& error) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  if (bytes == 0 || bytes > kMaxBytes) {
    error = "region size must be from 1 byte to 4 GiB";
    return nullptr;
  }
  const size_t size = (bytes + page - 1) / page * page;
  const int fd = memfd_create("ringcube-region", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) {
    error = std::string("memfd_create: ") + std::strerror(errno);
    return nullptr;
  }
  if (ftruncate(fd, static_cast<off_t>(size)) != 0 ||
      fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    error = std::string("sizing a region: ") + std::strerror(errno);
    close(fd);
    return nullptr;
  }
  return map(fd, size, error);
}

std::shared_ptr<Region> Region::attach(int fd, std::string& error) {
  struct stat info = {};
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || fstat(fd, &info) != 0 || info.st_size <= 0 ||
      static_cast<size_t>(info.st_size) > kMaxBytes) {
    error = "not a region: a memfd of at most 4 GiB sealed against shrinking is needed";
    close(fd);
    return nullptr;
  }
  return map(fd, static_cast<size_t>(info.st_size), error);
}

std::shared_ptr<Region> Region::map(int fd, size_t size, std::string& error) {
  void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (data == MAP_FAILED) {
    error = std::string("mapping a region: ") + std::strerror(errno);
    close(fd);
    return nullptr;
  }
  return std::shared_ptr<Region>(new Region(fd, static_cast<std::byte*>(data), size));
}

Region::~Region() {
  munmap(data_, size_);
  close(fd_);
}

}  // namespace ringcube
