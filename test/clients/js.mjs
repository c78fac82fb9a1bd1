// The JavaScript SDK, version 3: default checksums, multipart, streams, paging,
// conditions, presigned links. Needs the AWS_ variables.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import {
  S3Client, CreateBucketCommand, PutObjectCommand, GetObjectCommand, HeadObjectCommand, CopyObjectCommand,
  DeleteObjectsCommand, DeleteBucketCommand, paginateListObjectsV2,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const s3 = new S3Client({ endpoint: process.env.AWS_ENDPOINT_URL, region: process.env.AWS_REGION, forcePathStyle: true });
const Bucket = `js-${randomBytes(6).toString("hex")}`;
const bytes = async (r) => Buffer.from(await r.Body.transformToByteArray());

await s3.send(new CreateBucketCommand({ Bucket }));
for (const size of [0, 1, 5000, 300000]) {
  const Body = randomBytes(size);
  await s3.send(new PutObjectCommand({ Bucket, Key: `put/${size} ü`, Body, Metadata: { a: "b" } }));
  const got = await s3.send(new GetObjectCommand({ Bucket, Key: `put/${size} ü`, ChecksumMode: "ENABLED" }));
  assert.deepEqual(await bytes(got), Body);
  assert.equal(got.Metadata.a, "b");
}

const big = randomBytes(17 << 20);
await new Upload({ client: s3, params: { Bucket, Key: "big", Body: big }, partSize: 5 << 20 }).done();
assert.deepEqual(await bytes(await s3.send(new GetObjectCommand({ Bucket, Key: "big" }))), big);
assert.deepEqual(await bytes(await s3.send(new GetObjectCommand({ Bucket, Key: "big", Range: "bytes=6000000-6000099" }))), big.subarray(6000000, 6000100));

await assert.rejects(s3.send(new PutObjectCommand({ Bucket, Key: "big", Body: "x", IfNoneMatch: "*" })), { name: "PreconditionFailed" });
await assert.rejects(s3.send(new GetObjectCommand({ Bucket, Key: "none" })), { name: "NoSuchKey" });
await s3.send(new CopyObjectCommand({ Bucket, Key: "copy", CopySource: `${Bucket}/big` }));
assert.equal((await s3.send(new HeadObjectCommand({ Bucket, Key: "copy" }))).ContentLength, big.length);

const put = await getSignedUrl(s3, new PutObjectCommand({ Bucket, Key: "signed" }), { expiresIn: 60 });
assert.equal((await fetch(put, { method: "PUT", body: "by link" })).status, 200);
const get = await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: "signed" }), { expiresIn: 60 });
assert.equal(await (await fetch(get)).text(), "by link");
assert.equal((await fetch(get.replace("signed?", "other?"))).status, 403);

const keys = [];
for await (const page of paginateListObjectsV2({ client: s3, pageSize: 3 }, { Bucket })) keys.push(...page.Contents.map((o) => o.Key));
assert.equal(keys.length, 7);
const gone = await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: keys.map((Key) => ({ Key })) } }));
assert.equal(gone.Deleted.length, 7);
await s3.send(new DeleteBucketCommand({ Bucket }));
