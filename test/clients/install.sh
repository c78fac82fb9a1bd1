#!/usr/bin/env bash
# Installs the S3 clients that run.sh drives: Debian's packages, a second Debian
# with a newer aws-cli and boto3 in a folder, and the JavaScript SDK from npm.
# $1: the folder for what isn't a package of this machine.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
into=$1
mkdir -p "$into"

missing=()
need() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || missing+=("${@:2}"); }
need /usr/bin/aws awscli
need s3cmd s3cmd
need rclone rclone
need restic restic
need duplicity duplicity
need s3fs s3fs
need fusermount fuse
need docker-registry docker-registry
need mariadbd mariadb-server
need mariadb-install-db mariadb-server
need debootstrap debootstrap
need curl curl
[ -e /usr/lib/mysql/plugin/ha_s3.so ] || missing+=(mariadb-plugin-s3)
/usr/bin/python3 -c 'import boto3' 2>/dev/null || missing+=(python3-boto3)
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "clients: please install: ${missing[*]}" >&2
    exit 1
  fi
  echo "clients: installing ${missing[*]}" >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >&2
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
fi

# Debian 13's aws-cli (2.23) and boto3 (1.37) send CRC trailers unless told not to.
if ! chroot "$into/trixie" aws --version >/dev/null 2>&1; then
  echo "clients: a second Debian in $into/trixie" >&2
  rm -rf "$into/trixie"
  debootstrap --variant=minbase --include=awscli,python3-boto3,python3-cffi-backend,ca-certificates \
    trixie "$into/trixie" http://deb.debian.org/debian >"$into/trixie.log" 2>&1 || { tail -n 5 "$into/trixie.log" >&2; exit 1; }
fi

mkdir -p "$into/js"
cp "$here/package.json" "$here/package-lock.json" "$here/js.mjs" "$into/js/"
(cd "$into/js" && npm ci --silent --no-audit --no-fund >npm.log 2>&1) || { tail -n 5 "$into/js/npm.log" >&2; exit 1; }
