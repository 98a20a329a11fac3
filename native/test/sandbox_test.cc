#include "core/sandbox.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <thread>

#include "check.h"
#include "reservation.h"

using namespace ringcube;
using check::Probe;
using check::Reservation;

namespace {

constexpr size_t kLength = size_t{4} << 20;

// proc(5), /proc/pid/maps: what V8's memory, another window, a library, the heap and a named mapping look
// like.
constexpr std::string_view kMaps =
    "1000-3000 r-xp 00000000 fd:00 1234                       /usr/lib/libc.so.6\n"
    "3000-8000 rw-p 00000000 00:00 0 \n"
    "8000-9000 rw-p 00000000 00:00 0                          [anon:v8]\n"
    "9000-a000 rw-s 00001000 00:01 77                         /memfd:ringcube-region (deleted)\n"
    "a000-b000 rw-p 00000000 00:00 0                          [heap]\n"
    "b000-c000 ---p 00000000 00:00 0 \n"
    "c000-d000 rw-p 00003000 fd:00 1234                       /usr/lib/libc.so.6\n"
    "10000-20000 ---p 00000000 00:00 0 \n"
    "20000-21000 rw-p 00000000 00:00 0";

bool is(AddressRange range, MappingKind kind) {
  std::string error;
  const bool ok = verify_mapping(kMaps, range, kind, error);
  CHECK_EQ(ok, error.empty());
  CHECK(error.find('\n') == std::string::npos);
  return ok;
}

// What is there, in whole: the content of a page seen another way.
bool all_zero(const std::byte* from, size_t length) {
  for (size_t i = 0; i < length; ++i)
    if (from[i] != std::byte{0}) return false;
  return true;
}

bool is_anonymous(const std::byte* at, size_t length, MappingKind kind) {
  std::string maps(1 << 20, 0);
  const int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  size_t had = 0;
  for (ssize_t got = 1; got > 0; had += static_cast<size_t>(got)) {
    got = read(fd, maps.data() + had, maps.size() - had);
    if (got < 0) break;
  }
  close(fd);
  std::string error;
  const auto start = reinterpret_cast<uintptr_t>(at);
  return verify_mapping(std::string_view(maps.data(), had), {start, start + length}, kind, error);
}

}  // namespace

TEST(a_range_is_memory_if_anonymous_writable_mappings_cover_it) {
  CHECK(is({0x3000, 0x4000}, MappingKind::kMemory));
  CHECK(is({0x3000, 0x8000}, MappingKind::kMemory));
  CHECK(is({0x5000, 0x6000}, MappingKind::kMemory));
  CHECK(is({0x7000, 0x9000}, MappingKind::kMemory));  // two, one of them named by whoever made it
  CHECK(is({0x20000, 0x21000}, MappingKind::kMemory));
  CHECK(is({0xb000, 0xc000}, MappingKind::kReservation));
  CHECK(is({0x10000, 0x20000}, MappingKind::kReservation));
}

TEST(a_range_is_refused_if_a_byte_of_it_is_anything_else) {
  for (const AddressRange range :
       {AddressRange{0x2000, 0x4000}, AddressRange{0x8000, 0xa000}, AddressRange{0x9000, 0xa000},
        AddressRange{0xa000, 0xb000}, AddressRange{0xb000, 0xc000}, AddressRange{0xc000, 0xd000},
        AddressRange{0x20000, 0x22000}, AddressRange{0x0, 0x1000}})
    CHECK(!is(range, MappingKind::kMemory));
  for (const AddressRange range : {AddressRange{0x3000, 0x4000}, AddressRange{0xb000, 0xd000},
                                   AddressRange{0xf000, 0x11000}, AddressRange{0x1f000, 0x21000}})
    CHECK(!is(range, MappingKind::kReservation));
}

TEST(a_refusal_says_what_lies_there) {
  std::string error;
  CHECK(!verify_mapping(kMaps, {0x8000, 0xa000}, MappingKind::kMemory, error));
  CHECK_EQ(error,
           "V8 laid its memory out otherwise: at 0x9000, where anonymous memory (rw-p) should be, lies "
           "9000-a000 rw-s 00001000 00:01 77                         /memfd:ringcube-region (deleted)");
  error.clear();
  CHECK(!verify_mapping(kMaps, {0xf000, 0x11000}, MappingKind::kReservation, error));
  CHECK_EQ(error, "V8 laid its memory out otherwise: nothing is mapped at 0xf000");
}

TEST(a_list_of_another_form_is_refused) {
  for (const std::string_view maps :
       {"", "\n", "nonsense\n", "3000\n", "3000-\n", "3000-8000\n", "3000-8000 rw\n", "3000-8000 rw-p\n",
        "-8000 rw-p 0 00:00 0\n", "3000-8000 rw-p 0\n", "3000-8000 rw-p 0 00:00\n",
        "3000-8000 rw-p 0 00:00 5\n"}) {
    std::string error;
    CHECK(!verify_mapping(maps, {0x3000, 0x4000}, MappingKind::kMemory, error));
    CHECK(!error.empty());
  }
}

TEST(a_window_is_the_regions_own_pages_until_it_is_unmapped) {
  const Reservation memory(kLength);
  REQUIRE(memory.base() != nullptr);
  std::string error;
  const auto region = Region::create(8 * page_bytes(), error);
  Sandbox sandbox(memory.base());
  const size_t at = 16 * page_bytes();
  const size_t length = 4 * page_bytes();
  memory.base()[at] = std::byte{1};
  REQUIRE(sandbox.map(*region, at, 2 * page_bytes(), length, kLength, error));
  region->data()[2 * page_bytes() + 5] = std::byte{42};
  CHECK_EQ(memory.base()[at + 5], std::byte{42});
  memory.base()[at + length - 1] = std::byte{43};
  CHECK_EQ(region->data()[6 * page_bytes() - 1], std::byte{43});
  memory.base()[at + length] = std::byte{44};
  CHECK_EQ(region->data()[6 * page_bytes()], std::byte{0});
  CHECK(memory.grow(2 * kLength));  // as V8 does: from the start
  CHECK_EQ(memory.base()[at + 5], std::byte{42});

  CHECK(!sandbox.unmap(at, length - page_bytes(), error));
  error.clear();
  CHECK(sandbox.unmap(at, length, error));
  CHECK(all_zero(memory.base() + at, length));
  CHECK_EQ(region->data()[2 * page_bytes() + 5], std::byte{42});
  CHECK(!sandbox.unmap(at, length, error));
  error.clear();
  CHECK(sandbox.map(*region, at, 0, length, kLength, error));
}

TEST(a_window_of_other_than_whole_pages_within_both_is_refused) {
  const Reservation memory(kLength);
  REQUIRE(memory.base() != nullptr);
  std::string error;
  const size_t page = page_bytes();
  const auto region = Region::create(4 * page, error);
  Sandbox sandbox(memory.base());
  const auto refused = [&](size_t at, size_t offset, size_t length, const char* why) {
    std::string said;
    return !sandbox.map(*region, at, offset, length, kLength, said) && said.find(why) != std::string::npos;
  };
  CHECK(refused(1, 0, page, "whole pages"));
  CHECK(refused(0, 8, page, "whole pages"));
  CHECK(refused(0, 0, page - 1, "whole pages"));
  CHECK(refused(0, 0, 0, "whole pages"));
  CHECK(refused(kLength, 0, page, "outside the memory"));
  CHECK(refused(kLength - page, 0, 2 * page, "outside the memory"));
  CHECK(refused(~page + 1, 0, page, "outside the memory"));
  CHECK(refused(0, 0, ~page + 1, "outside the memory"));
  CHECK(refused(0, page, 4 * page, "outside the region"));
  CHECK(refused(0, ~page + 1, page, "outside the region"));
  CHECK(sandbox.map(*region, 0, 0, 4 * page, kLength, error));
  CHECK(refused(0, 0, page, "V8 laid its memory out otherwise"));  // a window lies there
  CHECK(refused(3 * page, 0, 2 * page, "V8 laid its memory out otherwise"));
}

TEST(a_window_goes_over_no_ones_mapping_but_v8s) {
  const Reservation memory(kLength);
  REQUIRE(memory.base() != nullptr);
  std::string error;
  const auto region = Region::create(page_bytes(), error);
  Sandbox sandbox(memory.base());
  // Past what is accessible, whatever the caller believes of the memory's length.
  CHECK(!sandbox.map(*region, kLength, 0, page_bytes(), 2 * kLength, error));
  CHECK(error.find("otherwise") != std::string::npos);
  mprotect(memory.base(), page_bytes(), PROT_READ);
  error.clear();
  CHECK(!sandbox.map(*region, 0, 0, page_bytes(), kLength, error));
  munmap(memory.base() + 2 * page_bytes(), page_bytes());
  error.clear();
  CHECK(!sandbox.map(*region, 2 * page_bytes(), 0, page_bytes(), kLength, error));
  CHECK(error.find("nothing is mapped") != std::string::npos);
}

TEST(protection_is_of_whole_pages_within_one_window) {
  const Reservation memory(kLength);
  REQUIRE(memory.base() != nullptr);
  const Probe probe;
  std::string error;
  const size_t page = page_bytes();
  const auto region = Region::create(4 * page, error);
  Sandbox sandbox(memory.base());
  REQUIRE(sandbox.map(*region, page, 0, 4 * page, kLength, error));
  CHECK(sandbox.protect(2 * page, 2 * page, false, error));
  CHECK(probe.writable(memory.base() + page));
  CHECK(!probe.readable(memory.base() + 2 * page));
  CHECK(!probe.readable(memory.base() + 3 * page));
  CHECK(probe.writable(memory.base() + 4 * page));
  CHECK(probe.writable(region->data() + page));  // the card's view of it stays
  CHECK(sandbox.protect(page, 4 * page, true, error));
  CHECK(probe.writable(memory.base() + 2 * page));
  for (const auto& [at, length] : {std::pair<size_t, size_t>{0, page},
                                   {page, 5 * page},
                                   {5 * page, page},
                                   {page + 1, page},
                                   {page, page - 1},
                                   {page, 0},
                                   {~page + 1, 2 * page}}) {
    error.clear();
    CHECK(!sandbox.protect(at, length, false, error));
    CHECK(!error.empty());
  }
}

TEST(the_guard_page_is_readable_until_it_stops_and_holds_the_epoch) {
  const Reservation memory(kLength);
  REQUIRE(memory.base() != nullptr);
  const Probe probe;
  std::string error;
  Sandbox sandbox(memory.base());
  std::byte* const guard = memory.base() + Sandbox::kGuardAt;
  sandbox.stop(Sandbox::Stop::kGuard);  // there is none: no harm
  sandbox.resume(Sandbox::Stop::kGuard);
  CHECK(!probe.readable(guard));
  CHECK(!sandbox.guarded());
  REQUIRE(sandbox.guard(kLength, error));
  CHECK(sandbox.guarded());
  CHECK(sandbox.guard(kLength, error));  // again is the same
  int word = -1;
  CHECK(probe.readable(guard, &word));
  CHECK_EQ(word, 0);
  CHECK(!probe.writable(guard));
  CHECK(!probe.readable(guard - page_bytes()));
  CHECK(!probe.readable(guard + page_bytes()));
  for (int i = 0; i < 3; ++i) {
    sandbox.stop(Sandbox::Stop::kGuard);
    CHECK(!probe.readable(guard));
    sandbox.resume(Sandbox::Stop::kGuard);
    CHECK(probe.readable(guard, &word));
    CHECK_EQ(word, 0);
    sandbox.stop(Sandbox::Stop::kEpoch);
    CHECK(probe.readable(guard, &word));
    CHECK_EQ(word, 1);
    sandbox.resume(Sandbox::Stop::kEpoch);
    CHECK(probe.readable(guard, &word));
    CHECK_EQ(word, 0);
  }
  CHECK(memory.grow(2 * kLength));
  CHECK(probe.readable(guard));
}

TEST(no_guard_page_where_nothing_was_reserved_for_it) {
  std::string error;
  {
    // As V8 does without its trap handler: it checks bounds, and reserves what the memory may grow to.
    const Reservation memory(kLength, 4 * kLength);
    REQUIRE(memory.base() != nullptr);
    Sandbox sandbox(memory.base());
    CHECK(!sandbox.guard(kLength, error));
    CHECK(error.find("V8 laid its memory out otherwise") != std::string::npos);
    CHECK(!sandbox.guarded());
  }
  const Reservation memory(kLength);
  REQUIRE(memory.base() != nullptr);
  Sandbox sandbox(memory.base());
  error.clear();
  CHECK(!sandbox.guard(Sandbox::kGuardAt + 65536, error));
  CHECK(error.find("below 65535 pages") != std::string::npos);
  mprotect(memory.base() + (size_t{5} << 30), page_bytes(), PROT_READ);  // someone's, in the midst
  error.clear();
  CHECK(!sandbox.guard(kLength, error));
}

TEST(closing_gives_v8_back_what_it_had) {
  const Reservation memory(kLength);
  REQUIRE(memory.base() != nullptr);
  const Probe probe;
  std::string error;
  const auto region = Region::create(8 * page_bytes(), error);
  std::byte* const guard = memory.base() + Sandbox::kGuardAt;
  for (int i = 0; i < 3; ++i) {
    Sandbox sandbox(memory.base());
    REQUIRE(sandbox.guard(kLength, error));
    REQUIRE(sandbox.map(*region, 0, 0, 4 * page_bytes(), kLength, error));
    REQUIRE(sandbox.map(*region, 8 * page_bytes(), 4 * page_bytes(), 4 * page_bytes(), kLength, error));
    CHECK(sandbox.protect(0, 4 * page_bytes(), false, error));
    std::memset(region->data(), 7, region->size());
    sandbox.stop(Sandbox::Stop::kGuard);
    if (i == 0) sandbox.close();  // else its end does
    if (i == 1) sandbox.resume(Sandbox::Stop::kGuard);
    if (i > 0) continue;
    sandbox.close();
    sandbox.stop(Sandbox::Stop::kGuard);
    sandbox.stop(Sandbox::Stop::kEpoch);
    CHECK(!sandbox.guarded());
    CHECK(!sandbox.protect(0, page_bytes(), true, error));
  }
  CHECK(is_anonymous(memory.base(), kLength, MappingKind::kMemory));
  CHECK(is_anonymous(memory.base() + kLength, Reservation::kBytes - kLength, MappingKind::kReservation));
  CHECK(all_zero(memory.base(), 16 * page_bytes()));
  CHECK(!probe.readable(guard));
}

TEST(a_stop_may_come_from_any_thread_while_the_sandbox_closes) {
  const Probe probe;
  for (int i = 0; i < 50; ++i) {
    const Reservation memory(kLength);
    REQUIRE(memory.base() != nullptr);
    std::string error;
    auto sandbox = std::make_shared<Sandbox>(memory.base());
    REQUIRE(sandbox->guard(kLength, error));
    std::thread other([sandbox] {
      for (int k = 0; k < 100; ++k)
        sandbox->stop((k & 1) != 0 ? Sandbox::Stop::kGuard : Sandbox::Stop::kEpoch);
    });
    sandbox->close();
    CHECK(!probe.readable(memory.base() + Sandbox::kGuardAt));
    other.join();
  }
}

CHECK_MAIN()
