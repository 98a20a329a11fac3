// The test harness of native/test: one executable per file, each with TEST blocks and one CHECK_MAIN().
//
//   TEST(ring_wraps) { CHECK(ring.full()); CHECK_EQ(ring.size(), 4); }
//   CHECK_MAIN()
//
// Run with words as arguments, only the tests whose name contains one of them run.
// A check may be made on any thread, but its thread must end before the test does.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace ringcube::check {

struct Test {
  const char* name;
  void (*run)();
};

inline std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}

inline std::atomic<int> failures{0};  // of the test that runs now

struct Register {
  Register(const char* name, void (*run)()) { tests().push_back({name, run}); }
};

template <typename T>
inline constexpr bool kIsText =
    std::is_convertible_v<const T&, std::string_view> && !std::is_same_v<T, std::nullptr_t>;

template <typename T>
std::string show(const T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    return value ? "true" : "false";
  } else if constexpr (std::is_enum_v<T>) {
    return std::to_string(static_cast<std::underlying_type_t<T>>(value));
  } else if constexpr (std::is_arithmetic_v<T>) {
    return std::to_string(value);
  } else if constexpr (kIsText<T>) {
    return '"' + std::string(std::string_view(value)) + '"';
  } else {
    return "(a value that cannot be printed)";
  }
}

template <typename T>
inline constexpr bool kIsInteger =
    std::is_integral_v<T> && !std::is_same_v<T, bool> && !std::is_same_v<T, char> &&
    !std::is_same_v<T, wchar_t> && !std::is_same_v<T, char8_t> && !std::is_same_v<T, char16_t> &&
    !std::is_same_v<T, char32_t>;  // what std::cmp_equal takes

template <typename A, typename B>
bool equal(const A& a, const B& b) {
  if constexpr (kIsInteger<A> && kIsInteger<B>) {
    return std::cmp_equal(a, b);  // no sign-compare surprises: -1 is not 0xffffffff
  } else if constexpr (kIsText<A> && kIsText<B>) {
    return std::string_view(a) == std::string_view(b);
  } else {
    return a == b;
  }
}

inline bool report(bool ok, const char* file, int line, const std::string& what) {
  if (!ok) {
    failures.fetch_add(1, std::memory_order_relaxed);
    std::fprintf(stderr, "%s:%d: %s\n", file, line, what.c_str());
  }
  return ok;
}

template <typename A, typename B>
bool report_equal(const A& a, const B& b, const char* file, int line, const char* text) {
  if (equal(a, b)) return true;
  return report(false, file, line, std::string(text) + " is wrong: " + show(a) + " against " + show(b));
}

inline int run(int argc, char** argv) {
  int passed = 0, failed = 0;
  for (const Test& test : tests()) {
    bool wanted = argc < 2;
    for (int i = 1; i < argc; i++) wanted = wanted || std::strstr(test.name, argv[i]) != nullptr;
    if (!wanted) continue;
    failures = 0;
    test.run();
    (failures == 0 ? passed : failed)++;
    std::printf("%s %s\n", test.name, failures == 0 ? "ok" : "FAILED");
    std::fflush(stdout);
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed != 0 || passed == 0 ? 1 : 0;  // a word that matches no test is a mistake
}

}  // namespace ringcube::check

#define TEST(name)                                                               \
  static void test_##name();                                                     \
  static const ::ringcube::check::Register register_##name{#name, &test_##name}; \
  static void test_##name()

#define CHECK(condition) \
  ::ringcube::check::report(static_cast<bool>(condition), __FILE__, __LINE__, #condition " is false")

#define CHECK_EQ(a, b) ::ringcube::check::report_equal((a), (b), __FILE__, __LINE__, #a " == " #b)

// For what the rest of the test stands on: ends the test (a void function) if it is false.
#define REQUIRE(condition)         \
  do {                             \
    if (!CHECK(condition)) return; \
  } while (false)

#define CHECK_MAIN() \
  int main(int argc, char** argv) { return ::ringcube::check::run(argc, argv); }
