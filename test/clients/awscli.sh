#!/usr/bin/env bash
# aws-cli: buckets, small and multipart objects, ranges, paging, sync, copies,
# versions, presigned links. Needs the AWS_ variables and an empty folder $WORK.
set -euo pipefail
cd "$WORK"
b=awscli-$RANDOM$RANDOM
head -c 40000000 /dev/urandom >big
head -c 100 /dev/urandom >small
: >empty
mkdir -p tree/deep back
for i in $(seq 12); do head -c $((i * 3000)) /dev/urandom >"tree/deep/file $i"; done
printf 'ümlaut' >'tree/ü +&=.txt'
refused() { if "$@" >out 2>&1; then echo "not refused: $*" >&2; exit 1; fi; }
api() { aws --endpoint-url "$AWS_ENDPOINT_URL" s3api "$@"; }
s3() { aws --endpoint-url "$AWS_ENDPOINT_URL" s3 "$@" >said; }

s3 mb "s3://$b"
for f in small empty big; do s3 cp "$f" "s3://$b/a/$f"; s3 cp "s3://$b/a/$f" "back/$f"; cmp "$f" "back/$f"; done
api get-object --bucket "$b" --key a/big --range bytes=9999999-10000999 part >/dev/null
dd if=big of=want bs=1001 count=1 iflag=skip_bytes skip=9999999 status=none
cmp part want

s3 sync tree "s3://$b/tree"
[ "$(api list-objects-v2 --bucket "$b" --prefix tree/ --page-size 5 --query 'length(Contents)')" = 13 ]
[ "$(api list-objects-v2 --bucket "$b" --delimiter / --query 'length(CommonPrefixes)')" = 2 ]
s3 sync "s3://$b/tree" back/tree
diff -r tree back/tree
s3 sync tree "s3://$b/tree"
[ ! -s said ] # nothing was left to do

s3 cp "s3://$b/a/big" "s3://$b/copied/big"
s3 mv "s3://$b/a/small" "s3://$b/copied/small"
s3 cp "s3://$b/copied/big" back/copied && cmp big back/copied
refused api head-object --bucket "$b" --key a/small
refused env AWS_SECRET_ACCESS_KEY=wrong aws --endpoint-url "$AWS_ENDPOINT_URL" s3 ls "s3://$b"

api put-object --bucket "$b" --key summed --body small --checksum-algorithm SHA256 >/dev/null
refused api put-object --bucket "$b" --key wrong --body small --checksum-sha256 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
refused api put-object --bucket "$b" --key wrong --body small --content-md5 AAAAAAAAAAAAAAAAAAAAAA==
refused api head-object --bucket "$b" --key wrong

api put-bucket-versioning --bucket "$b" --versioning-configuration Status=Enabled
s3 cp empty "s3://$b/copied/small"
old=$(api list-object-versions --bucket "$b" --prefix copied/small --query 'Versions[?IsLatest==`false`].VersionId' --output text)
api get-object --bucket "$b" --key copied/small --version-id "$old" back/old >/dev/null
cmp small back/old
s3 rm "s3://$b/copied/small"
[ "$(api list-object-versions --bucket "$b" --prefix copied/small --query 'length(DeleteMarkers)')" = 1 ]
api put-bucket-versioning --bucket "$b" --versioning-configuration Status=Suspended

s3 rm --recursive "s3://$b"
api list-object-versions --bucket "$b" --query '{Quiet: `true`, Objects: [Versions, DeleteMarkers][][].{Key: Key, VersionId: VersionId}}' >all
api delete-objects --bucket "$b" --delete file://all >/dev/null
s3 rb "s3://$b"
refused api head-bucket --bucket "$b"
