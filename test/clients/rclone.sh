#!/usr/bin/env bash
# rclone: sync, check with the data read back, a second sync with nothing to do,
# server-side moves, deletion.
set -euo pipefail
cd "$WORK"
b=rclone-$RANDOM$RANDOM
printf '[h]\ntype = s3\nprovider = Other\nenv_auth = true\nendpoint = %s\nregion = %s\nforce_path_style = true\n' "$AWS_ENDPOINT_URL" "$AWS_REGION" >cfg
r() { rclone -q --config cfg "$@"; }
mkdir -p tree/a/b tree/c
for i in $(seq 60); do head -c $((i * 997)) /dev/urandom >"tree/a/b/file $i"; done
head -c 25000000 /dev/urandom >tree/c/big
: >tree/c/empty
printf x >'tree/c/ünïcode & signs +.txt'

r mkdir "h:$b"
r sync --s3-upload-cutoff 10M --s3-chunk-size 5M tree "h:$b/tree"
r check tree "h:$b/tree"
r check --download tree "h:$b/tree"
[ -z "$(rclone --config cfg --stats-one-line sync -v tree "h:$b/tree" 2>&1 | grep Copied)" ]
rm "tree/a/b/file 7"; printf changed >"tree/a/b/file 8"
r sync tree "h:$b/tree"
r check --download tree "h:$b/tree"
r moveto "h:$b/tree/c/big" "h:$b/moved"
r cat "h:$b/moved" | cmp - tree/c/big
[ "$(r lsf -R --files-only "h:$b" | wc -l)" = 62 ]
r purge "h:$b"
