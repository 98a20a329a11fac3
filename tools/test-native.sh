#!/usr/bin/env bash
# Builds the Node-free core and runs its tests and fuzz targets under sanitizers. --help says more.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fuzz_seconds=${FUZZ_SECONDS:-10}
ci=${CI:-false}
jobs=$(nproc)

case ${1-} in
  '' | --build-fuzz) ;;
  -h | --help)
    cat <<END
usage: tools/test-native.sh [--build-fuzz]

Runs native/test under AddressSanitizer with UndefinedBehaviorSanitizer, then under ThreadSanitizer; then, under the
first, each fuzz target over native/test/corpus/<target>/ and on from there for FUZZ_SECONDS (default 10) each.
What a fuzz target finds stays in build-cmake/: artifacts/ (a failing input) and corpus/ (what it has learnt).
--build-fuzz only builds. Needs cmake and clang 19; on Debian:
  apt-get install cmake make clang-19 libclang-rt-19-dev
Without clang the tests run with g++ and the fuzz targets are skipped, but for CI=true, where that fails.
END
    exit 0 ;;
  *)
    echo "test-native: unknown argument '$1' (try --help)" >&2
    exit 2 ;;
esac
[[ $fuzz_seconds =~ ^[0-9]+$ ]] || { echo "test-native: FUZZ_SECONDS: got '$fuzz_seconds', must be whole seconds" >&2; exit 2; }
[[ -x node_modules/.bin/cmake-js ]] || { echo 'test-native: run npm ci first (cmake-js is missing)' >&2; exit 2; }
command -v cmake >/dev/null || { echo 'test-native: cmake is missing: apt-get install cmake' >&2; exit 2; }

passed=0 failed=0 skipped=0
failures=()

fail() {
  failed=$((failed + 1))
  failures+=("$1")
}

if command -v clang++-19 >/dev/null; then
  compiler=(--cxx clang++-19 --cc clang-19)
  fuzz=ON
elif [[ $ci == true ]]; then
  echo 'test-native: clang++-19 is missing: apt-get install clang-19 libclang-rt-19-dev' >&2
  exit 1
else
  compiler=(--cxx g++ --cc gcc)
  fuzz=OFF
fi

# build SANITIZER FUZZ: into build-cmake/SANITIZER. Quiet unless it fails.
build() {
  local out=build-cmake/$1 log=build-cmake/$1.log
  mkdir -p build-cmake
  if ! { node_modules/.bin/cmake-js configure -D -O "$out" "${compiler[@]}" --CDRINGCUBE_SANITIZE="$1" --CDRINGCUBE_FUZZ="$2" &&
    node_modules/.bin/cmake-js build -D -O "$out" -p "$jobs"; } >"$log" 2>&1; then
    cat "$log" >&2
    return 1
  fi
}

if [[ ${1-} == --build-fuzz ]]; then
  [[ $fuzz == ON ]] || { echo 'test-native: fuzz targets need clang++-19: apt-get install clang-19 libclang-rt-19-dev' >&2; exit 1; }
  build address ON
  exit
fi

# A report of a sanitizer ends the run, and says so apart from a failed check.
export ASAN_OPTIONS=abort_on_error=0:detect_stack_use_after_return=1:strict_string_checks=1
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1

# ctest_in SANITIZER FUZZ: builds and runs the tests, and adds ctest's own count.
ctest_in() {
  local log=build-cmake/$1-ctest.log total bad
  echo "== tests under the $1 sanitizer"
  if ! build "$1" "$2"; then
    fail "build ($1)"
    rm -rf "build-cmake/$1/bin" # what lies there is of an earlier build
    return
  fi
  ctest --test-dir "build-cmake/$1" --output-on-failure --no-tests=error -j "$jobs" 2>&1 | tee "$log" || true
  read -r bad total < <(sed -nE 's/^[0-9]+% tests passed, ([0-9]+) tests failed out of ([0-9]+)$/\1 \2/p' "$log") || true
  if [[ -z ${total-} ]]; then
    fail "ctest ($1): it found or ran no test"
    return
  fi
  passed=$((passed + total - bad))
  failed=$((failed + bad))
  [[ $bad == 0 ]] || failures+=("$bad of ctest ($1)")
}

ctest_in address "$fuzz"
ctest_in thread OFF

for source in native/test/fuzz_*.cc; do
  [[ -e $source ]] || break
  target=$(basename "$source" .cc)
  if [[ $fuzz == OFF ]]; then
    echo "== $target: skipped: clang++-19 is missing (apt-get install clang-19 libclang-rt-19-dev)"
    skipped=$((skipped + 1))
    continue
  fi
  echo "== $target, corpus and $fuzz_seconds s"
  if [[ ! -x build-cmake/address/bin/$target ]]; then
    fail "$target: not built"
    continue
  fi
  seeds=native/test/corpus/${target#fuzz_} learnt=build-cmake/corpus/$target log=build-cmake/$target.log
  mkdir -p "$learnt" build-cmake/artifacts
  corpora=("$learnt")
  [[ -d $seeds ]] && corpora+=("$seeds")
  fuzz_once() { build-cmake/address/bin/"$target" -artifact_prefix="build-cmake/artifacts/$target-" -timeout=20 "$@" "${corpora[@]}"; }
  # First what is known, one run each; then, with what time is given, what is not.
  if fuzz_once -runs=0 >"$log" 2>&1 &&
    { [[ $fuzz_seconds == 0 ]] || fuzz_once -max_total_time="$fuzz_seconds" -print_final_stats=1 >>"$log" 2>&1; }; then
    grep -E '^(Done|stat::number_of_executed_units|stat::average_exec_per_sec)' "$log" | sed 's/^/  /' || true
    passed=$((passed + 1))
  else
    tail -n 60 "$log"
    fail "$target (build-cmake/artifacts/)"
  fi
done

for line in "${failures[@]}"; do echo "FAILED: $line"; done
echo "$passed passed, $failed failed, $skipped skipped"
[[ $failed == 0 && $passed != 0 ]]
