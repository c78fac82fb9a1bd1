#!/usr/bin/env bash
# Installs what the tests and generators need beside Go and git, when it is
# missing: a bare Debian with root comes out ready, a ready machine is left alone.
set -euo pipefail

missing=()
need() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || missing+=("$2"); }
need protoc protobuf-compiler
[ -e /usr/include/google/protobuf/descriptor.proto ] || missing+=(libprotobuf-dev) # what protoc's users import
need ip iproute2
need nft nftables
need cc gcc
need curl curl
need busybox busybox-static
need skopeo skopeo
need ssh openssh-client
need dpkg-query dpkg

[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "setup: please install: ${missing[*]}" >&2
  exit 1
fi
echo "setup: installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq >&2
apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
