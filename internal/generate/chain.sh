#!/bin/sh
# Writes chain/pb/*: the ledger's messages as plain Go, for programs that don't
# link the Cosmos SDK. It reads the same .proto files as ledger.sh; M options put
# the code elsewhere. It needs protoc on the PATH and no network.
set -eu
cd "$(dirname "$0")/../.."

want='libprotoc 3.21.12' # named in the generated files' headers
have=$(protoc --version)
if [ "$have" != "$want" ]; then
	echo "chain.sh: protoc: have $have, want $want" >&2
	exit 1
fi

bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
go build -o "$bin/protoc-gen-go" google.golang.org/protobuf/cmd/protoc-gen-go

dir() { go list -m -f '{{.Dir}}' "$1"; }
sdk=$(dir github.com/cosmos/cosmos-sdk)         # its .proto files only
map='Mamino/amino.proto=cosmossdk.io/api/amino'
map="$map,Mcosmos/msg/v1/msg.proto=cosmossdk.io/api/cosmos/msg/v1"
for module in hosts market pointers proofs; do
	proto=hearth/$module/v1/$module.proto
	mkdir -p "chain/pb/${module}v1"
	protoc --plugin="$bin/protoc-gen-go" \
		-I ledger/proto -I "$sdk/proto" \
		-I "$(dir github.com/cosmos/cosmos-proto)/proto" \
		-I "$(dir github.com/cosmos/gogoproto)" \
		--go_out=. --go_opt="module=hearth,M$proto=hearth/chain/pb/${module}v1;${module}v1,$map" \
		"$proto"
done
