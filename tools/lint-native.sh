#!/usr/bin/env bash
# Checks format and soundness of the C++ under native/. --help says more.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case ${1-} in
  '' | --fix) ;;
  -h | --help)
    cat <<END
usage: tools/lint-native.sh [--fix]

clang-format (.clang-format) over every file, then clang-tidy (.clang-tidy) over every source but the tests, warnings as errors.
--fix lets clang-format write what it wants, and stops there. Needs both in version 19, as other versions disagree; on Debian:
  apt-get install clang-format-19 clang-tidy-19 cmake g++
What is missing is skipped by name, but for CI=true, where that fails.
END
    exit 0 ;;
  *)
    echo "lint-native: unknown argument '$1' (try --help)" >&2
    exit 2 ;;
esac

mapfile -t files < <(find native -name '*.cc' -o -name '*.h' | sort)
mapfile -t sources < <(find native -name '*.cc' | sort)
status=0

missing() {
  echo "lint-native: skipped: $1 is missing (apt-get install $2)" >&2
  [[ ${CI:-false} != true ]] || status=1
}

if ! command -v clang-format-19 >/dev/null; then
  missing clang-format-19 clang-format-19
elif [[ ${1-} == --fix ]]; then
  clang-format-19 -i "${files[@]}"
  exit
elif ! clang-format-19 --dry-run -Werror "${files[@]}"; then
  echo 'lint-native: tools/lint-native.sh --fix formats' >&2
  status=1
fi

if ! command -v clang-tidy-19 >/dev/null; then
  missing clang-tidy-19 clang-tidy-19
elif ! command -v cmake >/dev/null; then
  missing cmake cmake
else
  # Only configures: clang-tidy wants the commands, not the objects.
  mkdir -p build-cmake
  node_inc=$(node -p "require('path').join(require('fs').realpathSync(process.execPath), '../../include/node')")
  if ! node_modules/.bin/cmake-js configure -D -O build-cmake/lint --CDRINGCUBE_ADDON=ON --CDRINGCUBE_NODE_INC="$node_inc" >build-cmake/lint.log 2>&1; then
    cat build-cmake/lint.log >&2
    exit 1
  fi
  # The tests expand to many paths, which take clang-tidy minutes each; sanitizers look at what they run.
  printf '%s\0' "${sources[@]}" | grep -zv '^native/test/' | xargs -0 -n 1 -P "$(nproc)" clang-tidy-19 -p build-cmake/lint --quiet 2> >(grep -vE '^[0-9]+ warnings? (generated|treated as error)' >&2) || status=1
fi
exit $status
