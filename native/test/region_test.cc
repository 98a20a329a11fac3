#include "core/region.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "check.h"

using namespace ringcube;

namespace {

// A memfd of so many bytes with these seals.
int make_fd(off_t bytes, int seals) {
  const int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0 || ftruncate(fd, bytes) != 0 || fcntl(fd, F_ADD_SEALS, seals) != 0) return -1;
  return fd;
}

}  // namespace

TEST(a_region_is_whole_pages_of_zeros_that_can_not_shrink) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  for (const size_t bytes : {size_t{1}, page, page + 1}) {
    std::string error;
    const auto region = Region::create(bytes, error);
    REQUIRE(region != nullptr);
    CHECK_EQ(region->size(), (bytes + page - 1) / page * page);
    for (size_t i = 0; i < region->size(); ++i) REQUIRE(region->data()[i] == std::byte{0});
    CHECK(ftruncate(region->fd(), 0) != 0);
    CHECK(ftruncate(region->fd(), 1 << 20) != 0);
    CHECK((fcntl(region->fd(), F_GET_SEALS) & (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) ==
          (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL));
  }
}

TEST(a_region_has_from_one_byte_to_4_gib) {
  for (const size_t bytes : {size_t{0}, (size_t{1} << 32) + 1, ~size_t{0}}) {
    std::string error;
    CHECK(Region::create(bytes, error) == nullptr);
    CHECK(!error.empty());
  }
}

TEST(attached_regions_are_the_same_pages_and_live_on_their_own) {
  std::string error;
  auto region = Region::create(8192, error);
  REQUIRE(region != nullptr);
  auto other = Region::attach(dup(region->fd()), error);
  REQUIRE(other != nullptr);
  CHECK_EQ(other->size(), region->size());
  CHECK(other->data() != region->data());
  region->data()[5000] = std::byte{42};
  CHECK_EQ(other->data()[5000], std::byte{42});
  region.reset();
  CHECK_EQ(other->data()[5000], std::byte{42});
}

TEST(what_its_owner_could_shrink_is_refused_and_closed) {
  const auto refused = [](int fd) {
    std::string error;
    const bool ok = Region::attach(fd, error) == nullptr && !error.empty();
    return ok && (fd < 0 || fcntl(fd, F_GETFD) < 0);
  };
  CHECK(refused(make_fd(4096, F_SEAL_GROW)));
  CHECK(refused(make_fd(0, F_SEAL_SHRINK)));
  CHECK(refused(make_fd((off_t{1} << 32) + 4096, F_SEAL_SHRINK)));
  CHECK(refused(-1));
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  CHECK(refused(ends[0]));
  close(ends[1]);
  std::string error;
  CHECK(Region::attach(make_fd(4096, F_SEAL_SHRINK), error) != nullptr);
}

CHECK_MAIN()
