#!/usr/bin/env bash
# Runs every fuzz target of the tree for FUZZTIME seconds (default 5), all
# together at most FUZZBUDGET seconds (default 240): with many targets each
# gets less, never under 2. A package is compiled once for all its targets.
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t targets < <(grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sed -E 's#^\./(.*)/[^/]*:func (.*)#\1 \2#' | sort)
count=${#targets[@]}
[ "$count" -gt 0 ] || { echo "fuzz: no targets"; exit 0; }

seconds=${FUZZTIME:-5}
seconds=${seconds%s}
budget=${FUZZBUDGET:-240}
[ $((seconds * count)) -le "$budget" ] || seconds=$((budget / count))
[ "$seconds" -ge 2 ] || seconds=2
echo "fuzz: $count targets, ${seconds}s each"

root=$PWD
cache=$root/bin/fuzz
mkdir -p "$cache"
last=
for line in "${targets[@]}"; do
  read -r dir name <<<"$line"
  binary=$cache/${dir//\//_}.test
  if [ "$dir" != "$last" ]; then
    go test -c -fuzz=Fuzz -o "$binary" "./$dir"
    last=$dir
  fi
  log=$cache/${dir//\//_}.$name.log
  if ! (cd "$dir" && "$binary" -test.run='^$' -test.fuzz="^$name\$" -test.fuzztime="${seconds}s" \
    -test.fuzzcachedir="$cache/corpus" -test.parallel=2 -test.timeout=10m) >"$log" 2>&1; then
    cat "$log"
    echo "fuzz: $dir $name failed; the input that did it is in $dir/testdata/fuzz/$name" >&2
    exit 1
  fi
  echo "ok  $dir $name"
done
