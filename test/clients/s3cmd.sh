#!/usr/bin/env bash
# s3cmd: put, multipart, get, sync, info, ls, del.
set -euo pipefail
cd "$WORK"
b=s3cmd-$RANDOM$RANDOM
at=${AWS_ENDPOINT_URL#*://}
tls=True; [ "${AWS_ENDPOINT_URL%%://*}" = http ] && tls=False
printf '[default]\naccess_key = %s\nsecret_key = %s\nhost_base = %s\nhost_bucket = %s\nuse_https = %s\nbucket_location = %s\n' \
  "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" "$at" "$at" "$tls" "$AWS_REGION" >cfg
c() { s3cmd -q -c cfg "$@"; }
head -c 40000000 /dev/urandom >big
mkdir -p tree back
for i in $(seq 10); do head -c $((i * 2000)) /dev/urandom >"tree/f $i"; done

c mb "s3://$b"
c --multipart-chunk-size-mb=8 put big "s3://$b/dir/big"
c get "s3://$b/dir/big" back/big
cmp big back/big
c sync tree/ "s3://$b/tree/"
c sync "s3://$b/tree/" back/
for i in $(seq 10); do cmp "tree/f $i" "back/f $i"; done
[ "$(s3cmd -c cfg ls "s3://$b/tree/" | wc -l)" = 10 ]
s3cmd -c cfg info "s3://$b/dir/big" >info
grep -q 'File size: *40000000' info
c cp "s3://$b/dir/big" "s3://$b/dir/copy"
c del "s3://$b/dir/big"
if c info "s3://$b/dir/big" 2>/dev/null; then exit 1; fi
c del --recursive --force "s3://$b"
c rb "s3://$b"
