#!/bin/sh
# Writes the Go code of the peer protocols beside their .proto files. It needs
# protoc on the PATH; the plugin is built from the version go.mod pins, so the
# result is the same on every machine and needs no network.
set -eu
cd "$(dirname "$0")/../.."

want='libprotoc 3.21.12' # named in the generated files' headers
have=$(protoc --version)
if [ "$have" != "$want" ]; then
	echo "wire.sh: protoc: have $have, want $want" >&2
	exit 1
fi

bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
go build -o "$bin/protoc-gen-go" google.golang.org/protobuf/cmd/protoc-gen-go

for proto in storage/wire/storage.proto market/wire/market.proto steward/wire/steward.proto compute/wire/compute.proto compute/wire/instance.proto; do
	protoc --plugin="$bin/protoc-gen-go" --proto_path=. \
		--go_out=. --go_opt=module=hearth "$proto"
done
