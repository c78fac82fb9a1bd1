#!/usr/bin/env bash
# Docker's registry on S3: an image pushed in chunks, pulled by tag and digest,
# also from a second registry on the same bucket.
set -euo pipefail
cd "$WORK"
b=registry-$RANDOM$RANDOM
at=${AWS_ENDPOINT_URL#*://}
printf '[default]\naccess_key = %s\nsecret_key = %s\nhost_base = %s\nhost_bucket = %s\nuse_https = False\n' "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" "$at" "$at" >cfg
s3cmd -q -c cfg mb "s3://$b"
pid=
stop() { [ -z "$pid" ] || { kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; }; pid=; }
trap stop EXIT
serve() {
  port=$((20000 + RANDOM % 10000))
  cat >"$1.yml" <<E
version: 0.1
log: {level: warn}
storage:
  s3: {region: $AWS_REGION, regionendpoint: "$AWS_ENDPOINT_URL", bucket: $b, rootdirectory: /r, accesskey: $AWS_ACCESS_KEY_ID, secretkey: $AWS_SECRET_ACCESS_KEY, secure: false, v4auth: true, chunksize: 5242880}
  delete: {enabled: true}
  redirect: {disable: true}
http: {addr: 127.0.0.1:$port, secret: x}
E
  chmod 600 "$1.yml"
  docker-registry serve "$1.yml" >"$1.log" 2>&1 &
  pid=$!
  for _ in $(seq 100); do curl -sf "http://127.0.0.1:$port/v2/" >/dev/null && return; sleep 0.1; done
  tail "$1.log" >&2
  return 1
}
digest() { echo "sha256:$(sha256sum <"$1" | cut -d' ' -f1)"; }
push() {
  local url
  url=$(curl -sf -X POST -D - -o /dev/null "http://127.0.0.1:$port/v2/img/blobs/uploads/" | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
  split -b 12000000 "$1" part.
  for p in part.*; do
    url=$(curl -sf -X PATCH -D - -o /dev/null -H 'Content-Type: application/octet-stream' --data-binary "@$p" "$url" | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
  done
  rm part.*
  curl -sf -X PUT -H 'Content-Length: 0' "$url&digest=$(digest "$1")" >/dev/null
}
head -c 30000000 /dev/urandom >layer
printf '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["%s"]}}' "$(digest layer)" >config
type=application/vnd.docker.distribution.manifest.v2+json
printf '{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"application/vnd.docker.container.image.v1+json","size":%d,"digest":"%s"},"layers":[{"mediaType":"application/vnd.docker.image.rootfs.diff.tar","size":%d,"digest":"%s"}]}' \
  "$type" "$(stat -c %s config)" "$(digest config)" "$(stat -c %s layer)" "$(digest layer)" >manifest
serve one
push layer
push config
curl -sf -X PUT -H "Content-Type: $type" --data-binary @manifest "http://127.0.0.1:$port/v2/img/manifests/v1" >/dev/null
stop
serve two
curl -sf -H "Accept: $type" "http://127.0.0.1:$port/v2/img/manifests/v1" | cmp - manifest
for f in layer config; do curl -sf "http://127.0.0.1:$port/v2/img/blobs/$(digest "$f")" | cmp - "$f"; done
curl -sf "http://127.0.0.1:$port/v2/img/tags/list" | grep -q '"v1"'
curl -sf -X DELETE "http://127.0.0.1:$port/v2/img/manifests/$(digest manifest)"
stop
s3cmd -q -c cfg rb --recursive --force "s3://$b"
