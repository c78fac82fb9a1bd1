#!/usr/bin/env bash
# Runs every fuzz target of the tree for FUZZTIME seconds (default 5), two on
# each of two cores at a time. A package is compiled once for all its targets.
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t targets < <(grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sed -E 's#^\./(.*)/[^/]*:func (.*)#\1 \2#' | sort)
count=${#targets[@]}
[ "$count" -gt 0 ] || { echo "fuzz: no targets"; exit 0; }

seconds=${FUZZTIME:-5}
seconds=${seconds%s}
echo "fuzz: $count targets, ${seconds}s each"

root=$PWD
cache=$root/bin/fuzz
mkdir -p "$cache"

# one runs a target of a compiled package and says how it went.
one() {
  local dir=$1 name=$2 file=${1//\//_}
  local log=$cache/$file.$name.log
  if ! (cd "$root/$dir" && "$cache/$file.test" -test.run='^$' -test.fuzz="^$name\$" -test.fuzztime="${seconds}s" \
    -test.fuzzcachedir="$cache/corpus" -test.parallel=1 -test.timeout=10m) >"$log" 2>&1; then
    # Go's engine may take the end of its time for a failure; a real one leaves its input.
    if grep -qx '    context deadline exceeded' "$log" && ! grep -q 'Failing input' "$log"; then
      echo "ok  $dir $name"
      return
    fi
    cat "$log"
    echo "fuzz: $dir $name failed; the input that did it is in $dir/testdata/fuzz/$name" >&2
    return 1
  fi
  echo "ok  $dir $name"
}
export -f one
export root cache seconds

for dir in $(printf '%s\n' "${targets[@]}" | cut -d' ' -f1 | uniq); do
  go test -c -fuzz=Fuzz -o "$cache/${dir//\//_}.test" "./$dir"
done
printf '%s\n' "${targets[@]}" | xargs -P 4 -L 1 bash -c 'one "$@"' one
