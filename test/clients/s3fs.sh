#!/usr/bin/env bash
# s3fs: a bucket as a folder: copies, appends, renames, listings, removal.
set -euo pipefail
cd "$WORK"
b=s3fs-$RANDOM$RANDOM
at=${AWS_ENDPOINT_URL#*://}
printf '[default]\naccess_key = %s\nsecret_key = %s\nhost_base = %s\nhost_bucket = %s\nuse_https = False\n' "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" "$at" "$at" >cfg
s3cmd -q -c cfg mb "s3://$b"
printf '%s:%s' "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" >passwd
chmod 600 passwd
mkdir mnt cache
up() { s3fs "$b" mnt -o url="$AWS_ENDPOINT_URL" -o use_path_request_style -o passwd_file=passwd -o endpoint="$AWS_REGION" -o use_cache="$PWD/cache"; }
down() { sync mnt; fusermount -u mnt; }
trap 'fusermount -u mnt 2>/dev/null || true' EXIT
up
head -c 30000000 /dev/urandom >big
mkdir mnt/dir
cp big mnt/dir/big
cmp big mnt/dir/big
echo one >mnt/text; echo two >>mnt/text
mv mnt/text mnt/dir/renamed
for i in $(seq 5); do echo "$i" >"mnt/dir/f $i"; done
down
rm -rf cache/*
up
cmp big mnt/dir/big
[ "$(cat mnt/dir/renamed)" = $'one\ntwo' ]
[ "$(ls mnt/dir | wc -l)" = 7 ]
rm -r mnt/dir
[ -z "$(ls mnt)" ]
down
s3cmd -q -c cfg rb "s3://$b"
