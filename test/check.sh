#!/usr/bin/env bash
# Everything a machine can say about the source without running the tests.
# Each step prints its name; the first that fails ends the run.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=bin/tools

step() { echo "check: $*" >&2; }
# own lists the Go files we wrote ourselves.
own() { git ls-files -co --exclude-standard '*.go' | grep -vE '\.pb\.go$|\.gw\.go$' | while read -r f; do [ -f "$f" ] && echo "$f"; done; }

step format
unformatted=$(own | xargs "$tools/gofumpt" -l)
[ -z "$unformatted" ] || { echo "not formatted (make fmt):"; echo "$unformatted"; exit 1; }

step 'go.mod is tidy'
go mod tidy -diff

step 'go vet'
go vet ./...

step staticcheck
"$tools/staticcheck" -checks 'all,-ST1000,-QF*' ./...

step golangci-lint
"$tools/golangci-lint" run ./...

step 'what is generated is up to date'
before=$(git status --porcelain | sha256sum; git diff | sha256sum)
make --no-print-directory generate >/dev/null
after=$(git status --porcelain | sha256sum; git diff | sha256sum)
if [ "$before" != "$after" ]; then
  git status --short
  git diff --stat
  echo "make generate changed the tree: commit what it wrote" >&2
  exit 1
fi

step 'hearth and hearth-node never link the Cosmos SDK or gVisor, and no C; hearth-sandbox has no C'
for program in bin/hearth bin/hearth-node; do
  if go version -m "$program" | grep -E 'github.com/cosmos/cosmos-sdk|gvisor.dev/gvisor|CGO_ENABLED=1'; then
    exit 1
  fi
done
if [ -e bin/hearth-sandbox ] && go version -m bin/hearth-sandbox | grep CGO_ENABLED=1; then
  exit 1
fi

step fuzz
test/fuzz.sh
