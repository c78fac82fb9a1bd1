"""boto3: uploads with its default checksums, transfers, paging, conditions,
tags, presigned links, deletion of many. Needs the AWS_ variables."""

import io
import os
import random
import urllib.request

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

s3 = boto3.client(
    "s3",
    endpoint_url=os.environ["AWS_ENDPOINT_URL"],
    config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
)
bucket = f"boto3-{random.randrange(1 << 40)}"


def refused(code, call, **kw):
    try:
        call(Bucket=bucket, **kw)
    except ClientError as e:
        got = e.response["Error"]["Code"]
        assert got in code, f"{got} instead of {code}"
    else:
        raise AssertionError(f"not refused: {kw}")


s3.create_bucket(Bucket=bucket)
for size in (0, 1, 5000, 300_000):
    body = os.urandom(size)
    s3.put_object(Bucket=bucket, Key=f"put/{size}", Body=body, ContentType="text/x-a", Metadata={"who": "me"})
    got = s3.get_object(Bucket=bucket, Key=f"put/{size}")
    assert got["Body"].read() == body and got["ContentType"] == "text/x-a" and got["Metadata"] == {"who": "me"}

big = os.urandom(20 << 20)
config = TransferConfig(multipart_threshold=8 << 20, multipart_chunksize=6 << 20)
s3.upload_fileobj(io.BytesIO(big), bucket, "big", Config=config)
sink = io.BytesIO()
s3.download_fileobj(bucket, "big", sink, Config=config)
assert sink.getvalue() == big
assert s3.head_object(Bucket=bucket, Key="big")["ETag"].endswith('-4"')
assert s3.get_object(Bucket=bucket, Key="big", Range="bytes=-10")["Body"].read() == big[-10:]

s3.put_object(Bucket=bucket, Key="once", Body=b"1", **({} if boto3.__version__ < "1.35" else {"IfNoneMatch": "*"}))
if boto3.__version__ >= "1.35":
    refused(("PreconditionFailed",), s3.put_object, Key="once", Body=b"2", IfNoneMatch="*")
refused(("PreconditionFailed", "412"), s3.get_object, Key="once", IfMatch='"no"')
refused(("304", "NotModified"), s3.get_object, Key="once", IfNoneMatch=s3.head_object(Bucket=bucket, Key="once")["ETag"])
refused(("NoSuchKey", "404"), s3.get_object, Key="none")

s3.put_object_tagging(Bucket=bucket, Key="once", Tagging={"TagSet": [{"Key": "a", "Value": "b c"}]})
assert s3.get_object_tagging(Bucket=bucket, Key="once")["TagSet"] == [{"Key": "a", "Value": "b c"}]

url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "once"}, ExpiresIn=60)
assert urllib.request.urlopen(url, timeout=30).read() == b"1"

for i in range(25):
    s3.put_object(Bucket=bucket, Key=f"many/{i:02d}/x", Body=b"")
pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="many/", Delimiter="/", PaginationConfig={"PageSize": 7})
assert [p["Prefix"] for page in pages for p in page["CommonPrefixes"]] == [f"many/{i:02d}/" for i in range(25)]

s3.copy_object(Bucket=bucket, Key="again", CopySource={"Bucket": bucket, "Key": "once"})
keys = [o["Key"] for page in s3.get_paginator("list_objects").paginate(Bucket=bucket, PaginationConfig={"PageSize": 10}) for o in page["Contents"]]
assert len(keys) == 4 + 1 + 1 + 25 + 1
gone = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": k} for k in keys]})
assert len(gone["Deleted"]) == len(keys)
s3.delete_bucket(Bucket=bucket)
