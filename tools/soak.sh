#!/usr/bin/env bash
# Fuzzes for a long time, by executions instead of seconds, and runs many seeds of the overlay's scenarios. --help says more.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

declare -A executions=([fuzz_device]=10000000)
others=1000000
scenarios=1000

case ${1-} in
  -h | --help)
    cat <<END
usage: tools/soak.sh [TARGET...]

Runs each fuzz target of native/test and the scenarios of the overlay (or each TARGET; the scenarios are \`overlay').

Fuzz targets run under AddressSanitizer and UndefinedBehaviorSanitizer, for
${executions[fuzz_device]} executions of fuzz_device and $others of any other. Starts from native/test/corpus/ and from what
earlier runs have learnt in build-cmake/corpus/. SEED=N starts libFuzzer from that seed. A failing input stays in
build-cmake/artifacts/; build-cmake/address/bin/TARGET FILE runs it again.

The overlay runs $scenarios scenarios, seeds 1 to $scenarios (test/sim/soak.test.ts); a failing one prints the command that repeats it.
END
    exit 0 ;;
  -*)
    echo "soak: unknown option '$1' (try --help)" >&2
    exit 2 ;;
esac

targets=("$@")
if [[ $# == 0 ]]; then
  for source in native/test/fuzz_*.cc; do
    [[ -e $source ]] && targets+=("$(basename "$source" .cc)")
  done
  targets+=(overlay)
fi
for target in "${targets[@]}"; do
  [[ $target == overlay || -e native/test/$target.cc ]] || { echo "soak: TARGET: got '$target', must be a fuzz target of native/test, or overlay" >&2; exit 2; }
done
[[ ${SEED-0} =~ ^[0-9]+$ ]] || { echo "soak: SEED: got '$SEED', must be a whole number" >&2; exit 2; }

echo '== building'
[[ ${targets[*]} == overlay ]] || tools/test-native.sh --build-fuzz
[[ " ${targets[*]} " != *' overlay '* ]] || npx tsc -b

passed=0 failed=0
for target in "${targets[@]}"; do
  if [[ $target == overlay ]]; then
    echo "== overlay, $scenarios scenarios"
    if SOAK_SEEDS=$scenarios node dist/test/sim/soak.test.js | grep -vE '^ *(ok|1\.\.|TAP|$)'; [[ ${PIPESTATUS[0]} == 0 ]]; then
      passed=$((passed + 1))
    else
      echo 'FAILED: overlay'
      failed=$((failed + 1))
    fi
    continue
  fi
  runs=${executions[$target]-$others}
  seed=${SEED-$((RANDOM * 32768 + RANDOM))}
  echo "== $target, $runs executions, seed $seed"
  started=$SECONDS
  learnt=build-cmake/corpus/$target seeds=native/test/corpus/${target#fuzz_} log=build-cmake/$target-soak.log
  mkdir -p "$learnt" build-cmake/artifacts
  corpora=("$learnt")
  [[ -d $seeds ]] && corpora+=("$seeds")
  if build-cmake/address/bin/"$target" -runs="$runs" -seed="$seed" -timeout=20 -print_final_stats=1 \
    -artifact_prefix="build-cmake/artifacts/$target-" "${corpora[@]}" >"$log" 2>&1; then
    grep -E '^(Done|stat::)' "$log" | sed 's/^/  /'
    passed=$((passed + 1))
  else
    tail -n 60 "$log"
    echo "FAILED: $target after $((SECONDS - started)) s; its input is in build-cmake/artifacts/"
    failed=$((failed + 1))
  fi
done

echo "$passed passed, $failed failed"
[[ $failed == 0 && $passed != 0 ]]
