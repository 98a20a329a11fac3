#include "core/pcapng.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>

#include "check.h"

using namespace ringcube;
using namespace std::string_literals;

namespace {

constexpr bool kBig = true;
constexpr bool kLittle = false;

// A string of bytes in one byte order, written down as the draft draws it.
struct Bytes {
  bool big = kLittle;
  std::string text{};

  Bytes& number(uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) {
      const int shift = 8 * (big ? bytes - 1 - i : i);
      text += static_cast<char>(shift < 64 ? value >> shift : 0);
    }
    return *this;
  }
  Bytes& u16(uint64_t value) { return number(value, 2); }
  Bytes& u32(uint64_t value) { return number(value, 4); }
  Bytes& u64(uint64_t value) { return number(value, 8); }
  Bytes& data(const std::string& value) {
    text += value;
    text.resize((text.size() + 3) & ~size_t{3});
    return *this;
  }
  Bytes& option(uint16_t code, const std::string& value) { return u16(code).u16(value.size()).data(value); }
  Bytes& block(uint32_t type, const std::string& body) {
    const uint64_t length = body.size() + 12;
    return u32(type).u32(length).data(body).u32(length);
  }

  Bytes like() const { return {big, ""}; }
  Bytes& shb(uint16_t major = 1, uint16_t minor = 0) {
    return block(0x0a0d0d0a, like().u32(0x1a2b3c4d).u16(major).u16(minor).u64(~uint64_t{0}).text);
  }
  Bytes& idb(const std::string& options = "", uint32_t snap = 0, uint16_t link = 1) {
    return block(1, like().u16(link).u16(0).u32(snap).text + options);
  }
  Bytes& epb(uint32_t interface, uint64_t ticks, const std::string& frame, uint32_t original = 0,
             const std::string& options = "") {
    Bytes body = like();
    body.u32(interface).u32(ticks >> 32).u32(ticks & 0xffffffff).u32(frame.size());
    body.u32(original != 0 ? original : frame.size()).data(frame).data(options);
    return block(6, body.text);
  }
  Bytes& spb(const std::string& frame, uint32_t original) {
    return block(3, like().u32(original).data(frame).text);
  }
};

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

struct Parsed {
  bool ok;
  Capture capture;
  std::string error;
};

Parsed parse(const std::string& file) {
  Parsed parsed;
  parsed.ok = parse_pcapng(bytes_of(file), parsed.capture, parsed.error);
  return parsed;
}

void check_error(const std::string& file, const std::string& error) {
  const Parsed parsed = parse(file);
  CHECK(!parsed.ok);
  CHECK_EQ(parsed.error, error);
  CHECK(parsed.capture.frames.empty());
}

std::string frame_of(const std::string& file, const CapturedFrame& frame) {
  return file.substr(frame.offset, frame.length);
}

// The only packet's time under these interface options, in either byte order.
int64_t time_of(bool big, uint64_t ticks, const std::string& options) {
  const Parsed parsed = parse(Bytes{big}.shb().idb(options).epb(0, ticks, "frame").text);
  if (!CHECK_EQ(parsed.error, "") || !CHECK_EQ(parsed.capture.frames.size(), 1)) return -1;
  return parsed.capture.frames[0].time_ns;
}

std::string tsresol(bool big, uint8_t value) {
  return Bytes{big}.option(9, std::string(1, static_cast<char>(value))).text;
}

std::string tsoffset(bool big, int64_t seconds) {
  return Bytes{big}.option(14, Bytes{big}.u64(static_cast<uint64_t>(seconds)).text).text;
}

// A path that is removed again.
struct TemporaryFile {
  std::string path;
  TemporaryFile() {
    const char* directory = getenv("TMPDIR");
    path = (directory != nullptr ? directory : "/tmp") + "/pcapng_test.XXXXXX"s;
    close(mkstemp(path.data()));
  }
  ~TemporaryFile() { unlink(path.c_str()); }
  std::string read() const {
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
};

using Direction = PcapngWriter::Direction;

bool write_one(PcapngWriter& writer, uint32_t interface, int64_t time_ns, const std::string& frame,
               Direction direction = Direction::kUnknown) {
  const std::array slices{bytes_of(frame)};
  return writer.write(interface, time_ns, direction, slices);
}

}  // namespace

TEST(every_packet_block_in_both_byte_orders) {
  for (const bool big : {kLittle, kBig}) {
    Bytes file{big};
    file.shb().idb().idb();
    file.epb(1, 0x0001000200030004, "enhanced", 0, file.like().option(2, "flag").u32(0).text);
    file.spb("simple", 6);
    file.block(2, file.like().u16(0).u16(7).u32(0).u32(5).u32(8).u32(8).data("obsolete").text);
    file.block(4, file.like().u32(0).text);                         // name resolution: skipped
    file.block(0xbad, file.like().u32(32473).data("custom").text);  // §4.8
    file.block(0x80000001, "");                                     // local use
    const Parsed parsed = parse(file.text);
    CHECK_EQ(parsed.error, "");
    REQUIRE(parsed.ok);
    CHECK_EQ(parsed.capture.interfaces, 2);
    CHECK_EQ(parsed.capture.cut, 0);
    const auto& frames = parsed.capture.frames;
    REQUIRE(CHECK_EQ(frames.size(), 3));
    CHECK_EQ(frame_of(file.text, frames[0]), "enhanced");
    CHECK_EQ(frames[0].interface, 1);
    CHECK_EQ(frames[0].time_ns, 0x0001000200030004 * 1000);  // microseconds, §4.2
    CHECK_EQ(frame_of(file.text, frames[1]), "simple");
    CHECK_EQ(frames[1].interface, 0);
    CHECK_EQ(frames[1].time_ns, frames[0].time_ns);
    CHECK_EQ(frame_of(file.text, frames[2]), "obsolete");
    CHECK_EQ(frames[2].time_ns, 5000);
  }
}

TEST(sections_of_different_byte_order_number_their_own_interfaces) {
  const std::string file = Bytes{kLittle}.shb().idb().idb().epb(1, 1, "first").text +
                           Bytes{kBig}.shb(1, 2).idb().epb(0, 2, "second").text;
  const Parsed parsed = parse(file);
  REQUIRE(CHECK_EQ(parsed.error, ""));
  CHECK_EQ(parsed.capture.interfaces, 3);
  REQUIRE(CHECK_EQ(parsed.capture.frames.size(), 2));
  CHECK_EQ(parsed.capture.frames[0].interface, 1);
  CHECK_EQ(parsed.capture.frames[1].interface, 2);
  CHECK_EQ(frame_of(file, parsed.capture.frames[1]), "second");
  check_error(Bytes{}.shb().idb().shb().epb(0, 1, "x").text,
              "packet at byte 76 is of interface 0, but its section has described 0 before it");
}

TEST(a_section_of_another_version_is_skipped_but_not_alone) {  // §3.4
  Bytes file;
  file.shb(1, 1).block(1, "????").block(6, "????").shb().idb().epb(0, 1, "read");
  const Parsed parsed = parse(file.text);
  CHECK_EQ(parsed.error, "");
  CHECK_EQ(parsed.capture.frames.size(), 1);
  check_error(Bytes{}.shb(2, 0).idb().text,
              "no section of this file has version 1.0 or 1.2, the only ones there are");
}

TEST(tsresol_and_tsoffset) {  // §4.2
  for (const bool big : {kLittle, kBig}) {
    CHECK_EQ(time_of(big, 7, ""), 7000);
    CHECK_EQ(time_of(big, 7, tsresol(big, 0)), 7'000'000'000);
    CHECK_EQ(time_of(big, 7, tsresol(big, 3)), 7'000'000);
    CHECK_EQ(time_of(big, 7, tsresol(big, 9)), 7);
    CHECK_EQ(time_of(big, 7'999, tsresol(big, 12)), 7);
    CHECK_EQ(time_of(big, ~uint64_t{0}, tsresol(big, 28)), 1);
    CHECK_EQ(time_of(big, ~uint64_t{0}, tsresol(big, 29)), 0);
    CHECK_EQ(time_of(big, ~uint64_t{0}, tsresol(big, 127)), 0);
    CHECK_EQ(time_of(big, 7, tsresol(big, 0x80)), 7'000'000'000);
    CHECK_EQ(time_of(big, 512, tsresol(big, 0x80 + 10)), 500'000'000);
    CHECK_EQ(time_of(big, 5, tsresol(big, 0x80 + 1)), 2'500'000'000);
    CHECK_EQ(time_of(big, ~uint64_t{0}, tsresol(big, 0x80 + 64)), 999'999'999);
    CHECK_EQ(time_of(big, ~uint64_t{0}, tsresol(big, 0xff)), 0);
    CHECK_EQ(time_of(big, 7, tsoffset(big, 1234)), 1'234'000'007'000);
    CHECK_EQ(time_of(big, 7, tsoffset(big, -1) + tsresol(big, 9)), -999'999'993);
    const int64_t edge = INT64_MAX / 1'000'000'000;  // seconds
    CHECK_EQ(time_of(big, INT64_MAX % 1'000'000'000, tsoffset(big, edge) + tsresol(big, 9)), INT64_MAX);
    CHECK_EQ(time_of(big, INT64_MAX, tsresol(big, 9)), INT64_MAX);
    // No option list has to be terminated, and what follows a terminator is not read (§3.5).
    CHECK_EQ(time_of(big, 7, Bytes{big}.option(2, "eth0").u32(0).text + tsresol(big, 9)), 7000);
  }
}

TEST(a_time_out_of_range_is_an_error) {
  const auto file = [](uint64_t ticks, const std::string& options) {
    return Bytes{}.shb().idb(options).epb(0, ticks, "x").text;
  };
  const auto error = [](int at) {
    return "packet at byte " + std::to_string(at) +
           " is stamped outside the years 1677 to 2262, which 64 bits of nanoseconds hold: its time, or "
           "if_tsresol or if_tsoffset of its interface 0, is wrong";
  };
  check_error(file(uint64_t{1} << 63, tsresol(kLittle, 9)), error(56));
  check_error(file(~uint64_t{0}, ""), error(48));
  check_error(file(~uint64_t{0}, tsresol(kLittle, 0)), error(56));
  check_error(file(0, tsoffset(kLittle, INT64_MAX)), error(60));
  check_error(file(0, tsoffset(kLittle, INT64_MIN)), error(60));
  check_error(file(~uint64_t{0}, tsresol(kLittle, 0) + tsoffset(kLittle, INT64_MAX)), error(68));
}

TEST(a_cut_frame_is_counted_and_not_returned) {
  Bytes file;
  file.shb().idb("", 4).epb(0, 1, "fram", 5).epb(0, 1, "shrt").spb("fram", 5).spb("abc", 3);
  file.epb(0, 1, "original length too small", 1);  // §4.3 lets us take the captured one
  const Parsed parsed = parse(file.text);
  CHECK_EQ(parsed.error, "");
  CHECK_EQ(parsed.capture.cut, 2);
  REQUIRE(CHECK_EQ(parsed.capture.frames.size(), 3));
  CHECK_EQ(frame_of(file.text, parsed.capture.frames[0]), "shrt");
  CHECK_EQ(frame_of(file.text, parsed.capture.frames[1]), "abc");
  CHECK_EQ(parsed.capture.frames[2].length, 25);
}

TEST(foreign_formats_are_named) {
  const std::string is = "not a pcapng file: starts with ";
  const std::string pcap = ", which is the older pcap format; convert it with: editcap -F pcapng IN OUT";
  check_error("", "the file is empty: a pcapng file starts with 0a0d0d0a");
  check_error("\xd4\xc3\xb2\xa1\x02\x00"s, is + "d4c3b2a1" + pcap);
  check_error("\xa1\xb2\x3c\x4d"s, is + "a1b23c4d" + pcap);
  check_error("\x1f\x8b\x08\x00"s, is + "1f8b0800, which is gzip; unpack it with: gzip -d FILE");
  check_error("\x28\xb5\x2f\xfd"s, is + "28b52ffd, which is zstd; unpack it with: zstd -d FILE");
  check_error("\x0a\x0d\x0a\x1c"s, is +
                                       "0a0d0a1c, which is a pcapng file changed by a transfer in text mode; "
                                       "transfer it in binary mode");
  check_error("text", is + "74657874, where 0a0d0d0a is right");
  check_error("x", is + "78, where 0a0d0d0a is right");
}

TEST(a_damaged_block_is_named_by_its_byte) {
  const auto shb = [] { return Bytes{}.shb(); };
  check_error(shb().block(9, "\0\0\0\0"s).text.substr(0, 40),
              "block at byte 28 says it is 16 bytes long but the file ends at byte 40: truncated");
  check_error(shb().text + "left",
              "block at byte 28: the file ends at byte 32, before the 12 bytes that a block has at least: "
              "truncated");
  check_error(shb().u32(9).u32(900).u32(900).text,
              "block at byte 28 says it is 900 bytes long but the file ends at byte 40: truncated");
  for (const uint32_t length : {0u, 8u, 13u, kPcapngMaxBlockBytes + 4, 0xfffffffcu}) {
    check_error(shb().u32(9).u32(length).u32(length).text,
                "block at byte 28 says it is " + std::to_string(length) +
                    " bytes long: a multiple of 4 from 12 to 16777216 is right");
  }
  check_error(shb().u32(9).u32(12).u32(16).text,
              "block at byte 28 says it is 12 bytes long, but at its end (byte 36) it says 16: damaged");
  check_error(Bytes{}.block(0x0a0d0d0a, "\x1a\x2b\x3c\x4e"s).text,
              "section header at byte 0: byte-order magic 1a2b3c4e, where 1a2b3c4d or 4d3c2b1a is right");
  check_error(Bytes{}.block(0x0a0d0d0a, "\x4d\x3c\x2b\x1a"s).text,
              "block at byte 0, of type 0xa0d0d0a, is 16 bytes long: at least 28 is right");
  check_error(shb().block(1, "\1\0\0\0"s).text,
              "block at byte 28, of type 0x1, is 16 bytes long: at least 20 is right");
  check_error(shb().idb().block(6, std::string(16, '\0')).text,
              "block at byte 48, of type 0x6, is 28 bytes long: at least 32 is right");
  check_error(shb().idb().block(2, "").text,
              "block at byte 48, of type 0x2, is 12 bytes long: at least 32 is right");
  check_error(shb().idb().block(3, "").text,
              "block at byte 48, of type 0x3, is 12 bytes long: at least 16 is right");
}

TEST(a_damaged_interface_or_packet_is_named) {
  const auto shb = [] { return Bytes{}.shb(); };
  check_error(shb().idb("", 0, 113).text,
              "interface 0, described at byte 28, has link type 113: Ethernet (1) is right; capture on an "
              "Ethernet interface, not on \"any\"");
  check_error(shb().idb(Bytes{}.u16(2).u16(5).data("name").text).text,
              "option 2 at byte 44 says it is 5 bytes long but its block's options end at byte 52: damaged");
  check_error(
      shb().idb(Bytes{}.u16(2).u16(0xffff).text).text,
      "option 2 at byte 44 says it is 65535 bytes long but its block's options end at byte 48: damaged");
  check_error(shb().idb(Bytes{}.option(9, "").text).text,
              "option if_tsresol at byte 44 is 0 bytes long: 1 is right");
  check_error(shb().idb(Bytes{}.option(14, "1234").text).text,
              "option if_tsoffset at byte 44 is 4 bytes long: 8 is right");
  check_error(shb().idb().epb(1, 0, "x").text,
              "packet at byte 48 is of interface 1, but its section has described 1 before it");
  check_error(shb().spb("x", 1).text,
              "packet at byte 28 is of interface 0, but its section has described 0 before it");
  check_error(shb().idb().spb("1234", 5).text,
              "packet at byte 48 says it has 5 bytes but its block has room for 4: damaged");
  for (const uint32_t captured : {5u, 0xfffffffdu, 0xffffffffu}) {
    Bytes body;
    body.u32(0).u64(0).u32(captured).u32(captured).data("1234");
    check_error(shb().idb().block(6, body.text).text, "packet at byte 48 says it has " +
                                                          std::to_string(captured) +
                                                          " bytes but its block has room for 4: damaged");
  }
}

TEST(interfaces_are_limited) {
  Bytes file;
  file.shb();
  for (uint32_t i = 0; i < kPcapngMaxInterfaces; i++) file.idb();
  CHECK_EQ(parse(file.text).capture.interfaces, kPcapngMaxInterfaces);
  const std::string at = std::to_string(file.text.size());
  check_error(file.idb().text, "block at byte " + at + ": more than 65536 interfaces");
}

TEST(truncated_at_every_byte) {
  for (const bool big : {kLittle, kBig}) {
    Bytes file{big};
    std::vector<size_t> ends;  // where a file of whole blocks may end
    const auto end = [&](Bytes& bytes) { ends.push_back(bytes.text.size()); };
    end(file.shb());
    end(file.idb(tsresol(big, 9) + tsoffset(big, 5)));
    end(file.epb(0, 1, "enhanced"));
    end(file.spb("simple", 6));
    end(file.block(99, "skipped."));
    for (size_t bytes = 0; bytes < file.text.size(); bytes++) {
      const bool whole = std::find(ends.begin(), ends.end(), bytes) != ends.end();
      // An exact copy, so that AddressSanitizer sees a byte read past the end.
      const std::vector<char> part(file.text.begin(), file.text.begin() + static_cast<std::ptrdiff_t>(bytes));
      Capture capture;
      std::string error;
      CHECK_EQ(parse_pcapng(std::as_bytes(std::span(part)), capture, error), whole);
      CHECK_EQ(error.empty(), whole);
      CHECK_EQ(error.find('\n'), std::string::npos);
    }
  }
}

TEST(misaligned_memory_is_read) {
  const std::string file = Bytes{}.shb().idb().epb(0, 42, "frame").text;
  for (size_t shift = 0; shift < 8; shift++) {
    const std::string moved = std::string(shift, 'x') + file;
    Capture capture;
    std::string error;
    CHECK(parse_pcapng(bytes_of(moved).subspan(shift), capture, error));
    REQUIRE(CHECK_EQ(capture.frames.size(), 1));
    CHECK_EQ(capture.frames[0].time_ns, 42000);
  }
}

TEST(what_is_written_is_read_back) {
  const TemporaryFile file;
  std::string error;
  auto writer = PcapngWriter::create(file.path, error);
  REQUIRE(CHECK_EQ(error, ""));
  CHECK_EQ(writer->add_interface("nic0"), 0);
  CHECK_EQ(writer->add_interface("nic1", 60), 1);
  constexpr int64_t kNow = 1'700'000'000'123'456'789;
  std::string expected;
  std::string frame;
  for (uint32_t i = 0; i < 3000; i++) {  // more than the buffer holds
    frame.assign(i, static_cast<char>('a' + i % 26));
    CHECK(write_one(*writer, 0, kNow + i, frame, static_cast<Direction>(i % 3)));
    expected += frame;
  }
  CHECK(write_one(*writer, 1, -5, std::string(60, 'x')));
  CHECK(write_one(*writer, 1, 5, std::string(61, 'y')));  // cut
  CHECK(!write_one(*writer, 2, 5, "no such interface"));
  const std::string all = "headerbody";
  const auto body = bytes_of(all);
  const std::array gather{body.first(4), std::span<const std::byte>(), body.subspan(4, 2), body.last(4)};
  CHECK(writer->write(0, kNow, Direction::kInbound, gather));
  CHECK(writer->write(0, kNow, Direction::kUnknown, {}));
  CHECK(writer->flush());
  CHECK(!writer->failed());
  CHECK_EQ(writer->written(), 3004);
  CHECK_EQ(writer->lost(), 1);

  const std::string text = file.read();
  const Parsed parsed = parse(text);
  REQUIRE(CHECK_EQ(parsed.error, ""));
  CHECK_EQ(parsed.capture.interfaces, 2);
  CHECK_EQ(parsed.capture.cut, 1);
  const auto& frames = parsed.capture.frames;
  REQUIRE(CHECK_EQ(frames.size(), 3003));
  std::string got;
  for (uint32_t i = 0; i < 3000; i++) {
    got += frame_of(text, frames[i]);
    CHECK_EQ(frames[i].time_ns, kNow + i);
    CHECK_EQ(frames[i].interface, 0);
  }
  CHECK(got == expected);
  CHECK_EQ(frames[3000].time_ns, 0);
  CHECK_EQ(frames[3000].interface, 1);
  CHECK_EQ(frame_of(text, frames[3001]), "headerbody");
  CHECK_EQ(frames[3002].length, 0);
  const uint64_t written = writer->written();
  writer.reset();
  CHECK_EQ(file.read().size(), text.size());
  CHECK_EQ(written, 3004);
}

TEST(the_written_blocks_are_the_drafts) {
  const TemporaryFile file;
  std::string error;
  auto writer = PcapngWriter::create(file.path, error);
  REQUIRE(CHECK_EQ(error, ""));
  writer->add_interface("nic0", 1514);
  write_one(*writer, 0, 0x123456789a, "outbound!", Direction::kOutbound);
  write_one(*writer, 0, 1, "four");
  writer.reset();
  Bytes expected{std::endian::native == std::endian::big};
  const Bytes like = expected.like();
  const auto opt = [&](uint16_t code, const std::string& value) {
    return like.like().option(code, value).text;
  };
  const std::string end(4, '\0');
  Bytes header = like.like();
  header.u32(0x1a2b3c4d).u16(1).u16(0).u64(~uint64_t{0});
  expected.block(0x0a0d0d0a, header.text + opt(4, "ringcube") + end);
  expected.idb(opt(2, "nic0") + opt(9, "\x09") + end, 1514);
  expected.epb(0, 0x123456789a, "outbound!", 0, opt(2, like.like().u32(2).text) + end);
  expected.epb(0, 1, "four");
  CHECK(file.read() == expected.text);
}

TEST(a_giant_frame_is_cut_and_a_long_name_too) {
  const TemporaryFile file;
  std::string error;
  auto writer = PcapngWriter::create(file.path, error);
  REQUIRE(CHECK_EQ(error, ""));
  std::string umlauts = "x";
  for (int i = 0; i < 200; i++) umlauts += "\xc3\xbc";
  writer->add_interface(umlauts);
  CHECK(write_one(*writer, 0, 1, std::string(kPcapngMaxFrameBytes, 'x')));
  CHECK(write_one(*writer, 0, 1, std::string(2 << 20, 'x')));
  writer.reset();
  const std::string text = file.read();
  CHECK(text.find(umlauts.substr(0, 255) + '\0') != std::string::npos);
  const Parsed parsed = parse(text);
  CHECK_EQ(parsed.error, "");
  CHECK_EQ(parsed.capture.frames.size(), 1);
  CHECK_EQ(parsed.capture.cut, 1);
}

TEST(a_path_that_cannot_be_written_is_named) {
  std::string error;
  CHECK(PcapngWriter::create("/nowhere/out.pcapng", error) == nullptr);
  CHECK_EQ(error, "cannot create /nowhere/out.pcapng: No such file or directory");
  CHECK(PcapngWriter::create("/dev/full", error) == nullptr);
  CHECK_EQ(error, "cannot write /dev/full: No space left on device");
}

TEST(a_full_disk_loses_frames_but_not_the_file) {
  const TemporaryFile file;
  std::string error;
  auto writer = PcapngWriter::create(file.path, error);
  REQUIRE(CHECK_EQ(error, ""));
  CHECK_EQ(writer->add_interface("nic0"), 0);
  CHECK(write_one(*writer, 0, 1, std::string(1000, 'x')));
  CHECK(write_one(*writer, 0, 2, std::string(1000, 'x')));
  CHECK(writer->flush());

  const auto handler = signal(SIGXFSZ, SIG_IGN);
  rlimit before;
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{file.read().size() + 1500, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  CHECK(write_one(*writer, 0, 3, std::string(1000, 'x')));  // buffered
  CHECK(write_one(*writer, 0, 4, std::string(1000, 'x')));
  CHECK_EQ(writer->written(), 4);
  CHECK(!writer->flush());  // 1,500 bytes fit: a frame and a half
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, handler);

  CHECK(writer->failed());
  CHECK(!write_one(*writer, 0, 5, "later"));
  CHECK(!writer->flush());
  CHECK_EQ(writer->add_interface("nic1"), 1);
  CHECK(!write_one(*writer, 1, 6, "later"));
  CHECK_EQ(writer->written(), 2);
  CHECK_EQ(writer->lost(), 4);
  writer.reset();
  const Parsed parsed = parse(file.read());
  CHECK_EQ(parsed.error, "");
  CHECK_EQ(parsed.capture.frames.size(), 2);
}

TEST(interfaces_of_a_writer_are_limited) {
  const TemporaryFile file;
  std::string error;
  auto writer = PcapngWriter::create(file.path, error);
  REQUIRE(CHECK_EQ(error, ""));
  for (uint32_t i = 0; i < kPcapngMaxInterfaces; i++) writer->add_interface("");
  CHECK_EQ(writer->add_interface("one too many"), kPcapngNoInterface);
  CHECK(!write_one(*writer, kPcapngNoInterface, 0, "x"));
  writer.reset();
  CHECK_EQ(parse(file.read()).capture.interfaces, kPcapngMaxInterfaces);
}

CHECK_MAIN()
