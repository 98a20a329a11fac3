// Any bytes as a pcapng file. Build with clang++ -fsanitize=fuzzer,address,undefined; seeds in corpus/pcapng.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>

#include "core/pcapng.h"

#define ASSERT(condition)                                                           \
  do {                                                                              \
    if (!(condition)) {                                                             \
      std::fprintf(stderr, "%s:%d: %s is false\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                 \
    }                                                                               \
  } while (false)

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ringcube::Capture capture;
  std::string error;
  const bool ok = ringcube::parse_pcapng(std::as_bytes(std::span(data, size)), capture, error);
  ASSERT(ok == error.empty());
  ASSERT(ok || (capture.frames.empty() && capture.cut == 0 && capture.interfaces == 0));
  for (const char c : error) ASSERT(c >= ' ' && c <= '~');  // one line that any terminal shows
  ASSERT(capture.interfaces <= ringcube::kPcapngMaxInterfaces);
  uint64_t end = 0;
  for (const ringcube::CapturedFrame& frame : capture.frames) {
    ASSERT(frame.offset >= end);  // in order, and never the same bytes twice
    ASSERT(frame.offset <= size && frame.length <= size - frame.offset);
    ASSERT(frame.interface < capture.interfaces);
    end = frame.offset + frame.length;
  }
  return 0;
}
