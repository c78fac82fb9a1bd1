package s3

import (
	"context"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	vgw "github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"

	"hearth/core/capability"
	"hearth/core/fault"
	"hearth/storage/client"
	"hearth/storage/index"
)

// wordUpload is the upload that an object came from: to complete it twice is as good.
const wordUpload = "upload"

// CreateMultipartUpload begins an upload in parts.
func (b *backend) CreateMultipartUpload(ctx context.Context, in s3response.CreateMultipartUploadInput) (out s3response.InitiateMultipartUploadResult, err error) {
	at := ref(in.Bucket, in.Key, nil)
	if err := b.may(ctx, capability.Write, at.Bucket, at.Key); err != nil {
		return out, err
	}
	if _, err := b.bucket(at.Bucket); err != nil {
		return out, err
	}
	attrs, err := b.attrs(at, in.Tagging, in.ObjectLockMode, in.ObjectLockRetainUntilDate, in.ObjectLockLegalHoldStatus)
	if err != nil {
		return out, err
	}
	extra := headers{in.Metadata, in.ContentEncoding, in.ContentDisposition, in.ContentLanguage, in.CacheControl, in.Expires, in.WebsiteRedirectLocation}.extra()
	if s := given(in.ChecksumAlgorithm, [len(algorithms)]*string{}); s.algo != "" {
		kind := types.ChecksumType(str(&in.ChecksumType))
		if kind == "" {
			kind = types.ChecksumTypeComposite
			if s.algo == types.ChecksumAlgorithmCrc64nvme {
				kind = types.ChecksumTypeFullObject
			}
		}
		extra[wordSum] = s.word(kind)
	}
	id, err := b.c.Index.NewUpload(b.ctx, at, index.UploadHead{Type: str(in.ContentType), Extra: extra, Attrs: attrs})
	return s3response.InitiateMultipartUploadResult{Bucket: at.Bucket, Key: at.Key, UploadId: id}, b.fail(err, at)
}

// upload finds an upload in parts.
func (b *backend) upload(at index.Ref, id string) (index.Upload, error) {
	u, err := b.c.Index.UploadOf(b.ctx, at, id)
	return u, b.lost(err, at, id)
}

// lost is the error of an upload that isn't there.
func (b *backend) lost(err error, at index.Ref, id string) error {
	if fault.CodeOf(err) == fault.NotFound {
		if _, err := b.bucket(at.Bucket); err != nil {
			return err
		}
		return s3err.GetNoSuchUploadErr(id)
	}
	return b.fail(err, at)
}

// UploadPart stores a part.
func (b *backend) UploadPart(ctx context.Context, in *s3.UploadPartInput) (*s3.UploadPartOutput, error) {
	at, id := ref(in.Bucket, in.Key, nil), str(in.UploadId)
	if err := b.may(ctx, capability.Write, at.Bucket, at.Key); err != nil {
		return nil, err
	}
	u, err := b.upload(at, id)
	if err != nil {
		return nil, err
	}
	c := given(in.ChecksumAlgorithm, [...]*string{
		in.ChecksumCRC32, in.ChecksumCRC32C, in.ChecksumCRC64NVME, in.ChecksumSHA1, in.ChecksumSHA256,
		in.ChecksumSHA512, in.ChecksumMD5, in.ChecksumXXHASH64, in.ChecksumXXHASH3, in.ChecksumXXHASH128,
	})
	want, _ := sumOf(u.Extra)
	if c.algo == "" {
		c.algo = want.algo
	}
	var size int64
	if in.ContentLength != nil {
		size = *in.ContentLength
	}
	body, err := newIntake(in.Body, size, c)
	if err != nil {
		return nil, err
	}
	if want.algo != "" && body.algo != want.algo {
		return nil, s3err.GetChecksumTypeMismatchErr(want.algo, body.algo)
	}
	body.conn, body.count = connOf(ctx), b.c.Metrics.In
	s, tag, err := b.putPart(ctx, at, id, int(*in.PartNumber), body, size)
	if err != nil {
		return nil, err
	}
	return &s3.UploadPartOutput{
		ETag: &tag, ChecksumCRC32: s.of(types.ChecksumAlgorithmCrc32), ChecksumCRC32C: s.of(types.ChecksumAlgorithmCrc32c),
		ChecksumCRC64NVME: s.of(types.ChecksumAlgorithmCrc64nvme), ChecksumSHA1: s.of(types.ChecksumAlgorithmSha1), ChecksumSHA256: s.of(types.ChecksumAlgorithmSha256),
		ChecksumSHA512: s.of(types.ChecksumAlgorithmSha512), ChecksumMD5: s.of(types.ChecksumAlgorithmMd5), ChecksumXXHASH64: s.of(types.ChecksumAlgorithmXxhash64),
		ChecksumXXHASH3: s.of(types.ChecksumAlgorithmXxhash3), ChecksumXXHASH128: s.of(types.ChecksumAlgorithmXxhash128),
	}, nil
}

func (b *backend) putPart(ctx context.Context, at index.Ref, id string, number int, body *intake, size int64) (sum, string, error) {
	room, err := b.reserve(ctx, size)
	if err != nil {
		return sum{}, "", err
	}
	extra := make(map[string]string)
	p, err := b.c.Files.PutPart(b.ctx, at, id, number, body, client.PutOptions{
		Size: size, Extra: extra,
		ETag: func() string {
			if s := body.sum(); s.algo != "" {
				extra[wordSum] = s.word(types.ChecksumTypeFullObject)
			}
			return body.etag()
		},
	})
	room.settle(err == nil, body.read)
	if err != nil {
		return sum{}, "", b.lost(err, at, id)
	}
	s, _ := sumOf(p.Extra)
	return s, `"` + p.ETag + `"`, nil
}

// UploadPartCopy stores a stretch of another object as a part.
func (b *backend) UploadPartCopy(ctx context.Context, in *s3.UploadPartCopyInput) (out s3response.CopyPartResult, err error) {
	at, id := ref(in.Bucket, in.Key, nil), str(in.UploadId)
	if err := b.may(ctx, capability.Write, at.Bucket, at.Key); err != nil {
		return out, err
	}
	u, err := b.upload(at, id)
	if err != nil {
		return out, err
	}
	from, asked, err := b.source(ctx, in.CopySource, vgw.PreConditions{
		IfMatch: in.CopySourceIfMatch, IfNoneMatch: in.CopySourceIfNoneMatch, IfModSince: in.CopySourceIfModifiedSince, IfUnmodeSince: in.CopySourceIfUnmodifiedSince,
	})
	if err != nil {
		return out, err
	}
	off, n, err := vgw.ParseCopySourceRange(from.Size, str(in.CopySourceRange))
	if err != nil {
		return out, err
	}
	want, _ := sumOf(u.Extra)
	body, err := b.reread(b.ctx, from, stretch{off: off, n: min(n, from.Size-off)}, sum{algo: want.algo})
	if err != nil {
		return out, b.fail(err, from.Ref)
	}
	defer body.close()
	s, tag, err := b.putPart(ctx, at, id, int(*in.PartNumber), body.intake, body.left)
	if err != nil {
		return out, err
	}
	return s3response.CopyPartResult{
		ETag: &tag, LastModified: b.c.Now().UTC(), CopySourceVersionId: str(shown(from, asked)),
		ChecksumCRC32: s.of(types.ChecksumAlgorithmCrc32), ChecksumCRC32C: s.of(types.ChecksumAlgorithmCrc32c),
		ChecksumCRC64NVME: s.of(types.ChecksumAlgorithmCrc64nvme), ChecksumSHA1: s.of(types.ChecksumAlgorithmSha1), ChecksumSHA256: s.of(types.ChecksumAlgorithmSha256),
	}, nil
}

// AbortMultipartUpload gives an upload up.
func (b *backend) AbortMultipartUpload(ctx context.Context, in *s3.AbortMultipartUploadInput) error {
	at, id := ref(in.Bucket, in.Key, nil), str(in.UploadId)
	if err := b.may(ctx, capability.Delete, at.Bucket, at.Key); err != nil {
		return err
	}
	u, err := b.upload(at, id)
	if err != nil {
		return err
	}
	if in.IfMatchInitiatedTime != nil && in.IfMatchInitiatedTime.Unix() != u.Created {
		return s3err.GetPreconditionFailedErr(s3err.ConditionIfMatchInitiatedTime)
	}
	return b.lost(b.c.Index.AbortUpload(b.ctx, at, id), at, id)
}

// ListParts lists what has come of an upload.
func (b *backend) ListParts(ctx context.Context, in *s3.ListPartsInput) (out s3response.ListPartsResult, err error) {
	at, id := ref(in.Bucket, in.Key, nil), str(in.UploadId)
	if err := b.may(ctx, capability.Write, at.Bucket, at.Key); err != nil {
		return out, err
	}
	u, err := b.upload(at, id)
	if err != nil {
		return out, err
	}
	after, _ := strconv.Atoi(str(in.PartNumberMarker)) // the gateway has checked it
	most := index.MaxList
	if in.MaxParts != nil {
		most = min(int(*in.MaxParts), index.MaxList)
	}
	owner := s3response.Owner{ID: b.c.Owner, DisplayName: b.c.Owner}
	want, kind := sumOf(u.Extra)
	out = s3response.ListPartsResult{
		Bucket: at.Bucket, Key: at.Key, UploadID: id, ChecksumAlgorithm: want.algo, ChecksumType: kind, Owner: owner, Initiator: s3response.Initiator(owner),
		StorageClass: types.StorageClassStandard, PartNumberMarker: after, MaxParts: most,
	}
	if most == 0 {
		return out, nil
	}
	parts, err := b.c.Index.Parts(b.ctx, at, id, after, most)
	if err != nil {
		return out, b.lost(err, at, id)
	}
	for _, p := range parts {
		s, _ := sumOf(p.Extra)
		out.Parts = append(out.Parts, s3response.Part{
			PartNumber: p.Number, ETag: `"` + p.ETag + `"`, Size: p.Size, LastModified: time.Unix(p.Created, 0).UTC(),
			ChecksumCRC32: s.of(types.ChecksumAlgorithmCrc32), ChecksumCRC32C: s.of(types.ChecksumAlgorithmCrc32c),
			ChecksumCRC64NVME: s.of(types.ChecksumAlgorithmCrc64nvme), ChecksumSHA1: s.of(types.ChecksumAlgorithmSha1), ChecksumSHA256: s.of(types.ChecksumAlgorithmSha256),
		})
	}
	if len(parts) == most {
		last := parts[most-1].Number
		more, err := b.c.Index.Parts(b.ctx, at, id, last, 1)
		if err != nil {
			return out, b.lost(err, at, id)
		}
		if len(more) > 0 {
			out.IsTruncated, out.NextPartNumberMarker = true, last
		}
	}
	return out, nil
}

// ListMultipartUploads lists the uploads in parts that are under way here.
func (b *backend) ListMultipartUploads(ctx context.Context, in *s3.ListMultipartUploadsInput) (out s3response.ListMultipartUploadsResult, err error) {
	bucket, prefix, delimiter, e := str(in.Bucket), str(in.Prefix), str(in.Delimiter), encoding(ctx)
	if err := b.may(ctx, capability.List, bucket, prefix); err != nil {
		return out, err
	}
	most := index.MaxList
	if in.MaxUploads != nil {
		most = min(int(*in.MaxUploads), index.MaxList)
	}
	out = s3response.ListMultipartUploadsResult{
		Bucket: bucket, Prefix: e.key(prefix), Delimiter: e.key(delimiter), KeyMarker: e.key(str(in.KeyMarker)), UploadIDMarker: str(in.UploadIdMarker),
		MaxUploads: most, EncodingType: string(e.kind),
	}
	if most == 0 {
		_, err := b.bucket(bucket)
		return out, err
	}
	p, err := b.c.Index.Uploads(b.ctx, bucket, prefix, str(in.KeyMarker), str(in.UploadIdMarker), delimiter, most)
	if err != nil {
		return out, b.fail(err, index.Ref{Bucket: bucket})
	}
	owner := s3response.Owner{ID: b.c.Owner, DisplayName: b.c.Owner}
	for _, u := range p.Uploads {
		want, kind := sumOf(u.Extra)
		out.Uploads = append(out.Uploads, s3response.Upload{
			Key: e.key(u.Key), UploadID: u.ID, Initiated: time.Unix(u.Created, 0).UTC(), Owner: owner, Initiator: s3response.Initiator(owner),
			StorageClass: types.StorageClassStandard, ChecksumAlgorithm: want.algo, ChecksumType: kind,
		})
	}
	for _, x := range p.Prefixes {
		out.CommonPrefixes = append(out.CommonPrefixes, s3response.CommonPrefix{Prefix: e.key(x)})
	}
	out.IsTruncated, out.NextKeyMarker, out.NextUploadIDMarker = p.NextKey != "", e.key(p.NextKey), p.NextID
	return out, nil
}

// listed is a page of an object's parts.
func listed(sizes []int64, marker *string, most *int32) *s3response.ObjectParts {
	after, _ := strconv.Atoi(str(marker)) // what isn't a number begins at the first
	n := len(sizes)
	if most != nil {
		n = int(*most)
	}
	out := &s3response.ObjectParts{PartNumberMarker: after, MaxParts: n}
	for i := max(after, 0); i < len(sizes) && len(out.Parts) < n; i++ {
		out.Parts = append(out.Parts, types.ObjectPart{PartNumber: ptr(int32(i + 1)), Size: ptr(sizes[i])})
		out.NextPartNumberMarker = i + 1
	}
	out.IsTruncated = out.NextPartNumberMarker < len(sizes) && len(out.Parts) == n
	return out
}
