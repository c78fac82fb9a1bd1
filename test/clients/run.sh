#!/usr/bin/env bash
# Drives the S3 door with the clients people use, each by a script of its own,
# and prints a table. Without AWS_ENDPOINT_URL it starts a local network with a
# door. ONLY="rclone restic" picks some.
set -euo pipefail
cd "$(dirname "$0")"
here=$PWD
root=$(cd ../.. && pwd)
tools=${CLIENTS_DIR:-$root/bin/clients}
./install.sh "$tools"

work=$(mktemp -d)
dev=
finish() {
  [ -z "$dev" ] || { kill "$dev" 2>/dev/null || true; wait "$dev" 2>/dev/null || true; }
  rm -rf "$work" "$tools/trixie/w"
}
trap finish EXIT

unset AWS_CA_BUNDLE REQUESTS_CA_BUNDLE CURL_CA_BUNDLE AWS_PROFILE
if [ -z "${AWS_ENDPOINT_URL:-}" ]; then
  "$root/bin/hearth" dev --dir "$work/dev" --hosts "${HOSTS:-8}" >"$work/dev.log" 2>&1 &
  dev=$!
  for _ in $(seq 300); do
    "$root/bin/hearth" --dir "$work/dev/client" s3 env >"$work/env" 2>/dev/null && break
    kill -0 "$dev" 2>/dev/null || { cat "$work/dev.log" >&2; exit 1; }
    sleep 0.2
  done
  . "$work/env"
fi
export AWS_DEFAULT_REGION=$AWS_REGION AWS_EC2_METADATA_DISABLED=true HOME=$work PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH

# newer runs a command in the second Debian.
newer() {
  rm -rf "$tools/trixie/w"
  mkdir "$tools/trixie/w"
  cp awscli.sh boto.py "$tools/trixie/"
  WORK=/w HOME=/w chroot "$tools/trixie" "$@"
}
first() { head -n 1 | grep -oE '[0-9]+(\.[0-9]+)+' | head -n 1; }
debian() { dpkg-query -W -f '${Version}' "$1" | sed -E 's/^[0-9]+://; s/[-+].*//'; }

bad=0
ran=0
# client NAME VERSION COMMAND... runs one in an empty folder and adds its row.
client() {
  local name=$1 version=$2 from=$SECONDS log=$work/$1.log
  shift 2
  [ -z "${ONLY:-}" ] || [[ " $ONLY " == *" $name "* ]] || return 0
  ran=$((ran + 1))
  export WORK=$work/$name
  mkdir -p "$WORK"
  if "$@" >"$log" 2>&1; then
    printf '%-14s %-10s ok     %4d s\n' "$name" "$version" $((SECONDS - from))
  else
    printf '%-14s %-10s FAILED %4d s\n' "$name" "$version" $((SECONDS - from))
    tail -n 15 "$log" | sed 's/^/    /'
    bad=$((bad + 1))
  fi
  rm -rf "$WORK"
}

client aws-cli "$(debian awscli)" timeout 300 bash -x awscli.sh
client aws-cli-2.23 "$(chroot "$tools/trixie" aws --version | first)" newer timeout 300 bash -x /awscli.sh
client boto3 "$(debian python3-boto3)" timeout 300 /usr/bin/python3 boto.py
client boto3-1.37 "$(chroot "$tools/trixie" python3 -c 'import boto3; print(boto3.__version__)')" newer timeout 300 python3 /boto.py
client s3cmd "$(debian s3cmd)" timeout 300 bash -x s3cmd.sh
client rclone "$(debian rclone)" timeout 300 bash -x rclone.sh
client restic "$(debian restic)" timeout 300 bash -x restic.sh
client duplicity "$(debian duplicity)" timeout 300 bash -x duplicity.sh
client s3fs "$(debian s3fs)" timeout 300 bash -x s3fs.sh
client mariadb "$(debian mariadb-plugin-s3)" timeout 300 bash -x mariadb.sh
client registry "$(debian docker-registry)" timeout 300 bash -x registry.sh
client sdk-js "$(sed -n 's/.*client-s3": "\(.*\)",/\1/p' package.json)" timeout 300 node "$tools/js/js.mjs"
client minio-go "$(cd "$root" && go list -m -f '{{.Version}}' github.com/minio/minio-go/v7)" go -C "$root" run ./test/clients/miniogo
[ "$ran" -gt 0 ] || { echo "clients: none is called $ONLY" >&2; exit 1; }
[ "$bad" = 0 ] || { echo "$bad of $ran clients failed" >&2; exit 1; }
