#!/usr/bin/env bash
# restic: two backups, check of all data, restore, forget and prune.
set -euo pipefail
cd "$WORK"
export AWS_DEFAULT_REGION=$AWS_REGION RESTIC_PASSWORD=secret RESTIC_CACHE_DIR=$PWD/cache
export RESTIC_REPOSITORY=s3:$AWS_ENDPOINT_URL/restic-$RANDOM$RANDOM
mkdir tree
for i in $(seq 40); do head -c $((i * 50000)) /dev/urandom >"tree/$i"; done
restic -q init
restic -q backup tree
printf more >>tree/3; rm tree/4
restic -q backup tree
restic -q check --read-data
restic -q restore latest --target back
diff -r tree back/tree
restic -q forget --keep-last 1 --prune
restic -q check
[ "$(restic snapshots --json | tr ',' '\n' | grep -c '"time"')" = 1 ]
