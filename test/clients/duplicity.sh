#!/usr/bin/env bash
# duplicity: a full and an incremental backup, verified and restored.
set -euo pipefail
cd "$WORK"
b=duplicity-$RANDOM$RANDOM
export AWS_DEFAULT_REGION=$AWS_REGION HOME=$PWD
to=boto3+s3://$b/backups
d() { duplicity --s3-endpoint-url "$AWS_ENDPOINT_URL" --no-encryption --archive-dir "$PWD/cache" --volsize 5 -v warning "$@"; }
s3cmd_cfg() { printf '[default]\naccess_key = %s\nsecret_key = %s\nhost_base = %s\nhost_bucket = %s\nuse_https = False\n' "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" "${AWS_ENDPOINT_URL#*://}" "${AWS_ENDPOINT_URL#*://}"; }
s3cmd_cfg >cfg
s3cmd -q -c cfg mb "s3://$b"
mkdir tree
for i in $(seq 12); do head -c 1000000 /dev/urandom >"tree/$i"; done
d full tree "$to" >/dev/null
printf more >>tree/5
d incremental tree "$to" >/dev/null
d verify --compare-data "$to" tree >/dev/null
d restore "$to" back >/dev/null
diff -r tree back
s3cmd -q -c cfg rb --recursive --force "s3://$b"
