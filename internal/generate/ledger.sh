#!/bin/sh
# Generates the ledger's protobuf code (ledger/*/types/*.pb.go), offline.
# Needs protoc (Debian: protobuf-compiler) and a filled Go module cache.
set -eu
cd "$(dirname "$0")/../.."

want='libprotoc 3.21.12' # as for chain/pb, so that both read the same .proto alike
have=$(protoc --version)
if [ "$have" != "$want" ]; then
	echo "ledger.sh: protoc: have $have, want $want" >&2
	exit 1
fi

bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
GOBIN=$bin go install github.com/cosmos/gogoproto/protoc-gen-gocosmos@v1.7.2
dir() { go list -m -f '{{.Dir}}' "$1"; }
for module in hosts market pointers proofs; do
  PATH=$bin:$PATH protoc \
    -I ledger/proto \
    -I "$(dir github.com/cosmos/cosmos-sdk)/proto" \
    -I "$(dir github.com/cosmos/cosmos-proto)/proto" \
    -I "$(dir github.com/cosmos/gogoproto)" \
    --gocosmos_out=plugins=grpc,Mgoogle/protobuf/any.proto=github.com/cosmos/gogoproto/types/any:"$bin" \
    hearth/$module/v1/$module.proto
  mkdir -p ledger/$module/types
  cp "$bin"/hearth/ledger/$module/types/*.go ledger/$module/types/
done
