package s3

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/auth"
	vgw "github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"

	"hearth/core/capability"
	"hearth/storage/client"
	"hearth/storage/index"
)

// PutObject stores an object while its body comes in. Nothing is listed unless
// all of it came, and was what it was said to be.
func (b *backend) PutObject(ctx context.Context, in s3response.PutObjectInput) (out s3response.PutObjectOutput, err error) {
	at := ref(in.Bucket, in.Key, nil)
	if err := b.may(ctx, capability.Write, at.Bucket, at.Key); err != nil {
		return out, err
	}
	attrs, err := b.attrs(at, in.Tagging, in.ObjectLockMode, in.ObjectLockRetainUntilDate, in.ObjectLockLegalHoldStatus)
	if err != nil {
		return out, err
	}
	when, err := b.condition(at, in.IfMatch, in.IfNoneMatch)
	if err != nil {
		return out, err
	}
	var size int64
	if in.ContentLength != nil {
		size = *in.ContentLength
	}
	body, err := newIntake(in.Body, size, given(in.ChecksumAlgorithm, [...]*string{
		in.ChecksumCRC32, in.ChecksumCRC32C, in.ChecksumCRC64NVME, in.ChecksumSHA1, in.ChecksumSHA256,
		in.ChecksumSHA512, in.ChecksumMD5, in.ChecksumXXHASH64, in.ChecksumXXHASH3, in.ChecksumXXHASH128,
	}))
	if err != nil {
		return out, err
	}
	body.conn, body.count = connOf(ctx), b.c.Metrics.In
	room, err := b.reserve(ctx, size)
	if err != nil {
		return out, err
	}
	extra := headers{in.Metadata, in.ContentEncoding, in.ContentDisposition, in.ContentLanguage, in.CacheControl, in.Expires, in.WebsiteRedirectLocation}.extra()
	res, err := b.c.Files.Put(b.ctx, at, body, client.PutOptions{
		Size: size, Type: str(in.ContentType), Extra: extra, Attrs: attrs, If: when,
		ETag: func() string {
			if s := body.sum(); s.algo != "" {
				extra[wordSum] = s.word(types.ChecksumTypeFullObject)
			}
			return body.etag()
		},
	})
	room.settle(err == nil, body.read)
	if err != nil {
		return out, b.refused(err, at, when)
	}
	s, kind := sumOf(res.Extra)
	return s3response.PutObjectOutput{
		ETag: etag(res.Object), VersionID: str(shown(res.Object, "")), Size: ptr(res.Size), ChecksumType: kind,
		ChecksumCRC32: s.of(types.ChecksumAlgorithmCrc32), ChecksumCRC32C: s.of(types.ChecksumAlgorithmCrc32c),
		ChecksumCRC64NVME: s.of(types.ChecksumAlgorithmCrc64nvme), ChecksumSHA1: s.of(types.ChecksumAlgorithmSha1),
		ChecksumSHA256: s.of(types.ChecksumAlgorithmSha256), ChecksumSHA512: s.of(types.ChecksumAlgorithmSha512),
		ChecksumMD5: s.of(types.ChecksumAlgorithmMd5), ChecksumXXHASH64: s.of(types.ChecksumAlgorithmXxhash64),
		ChecksumXXHASH3: s.of(types.ChecksumAlgorithmXxhash3), ChecksumXXHASH128: s.of(types.ChecksumAlgorithmXxhash128),
	}, nil
}

// algorithms are in the order in which the gateway's fields are given.
var algorithms = [...]types.ChecksumAlgorithm{
	types.ChecksumAlgorithmCrc32, types.ChecksumAlgorithmCrc32c, types.ChecksumAlgorithmCrc64nvme, types.ChecksumAlgorithmSha1, types.ChecksumAlgorithmSha256,
	types.ChecksumAlgorithmSha512, types.ChecksumAlgorithmMd5, types.ChecksumAlgorithmXxhash64, types.ChecksumAlgorithmXxhash3, types.ChecksumAlgorithmXxhash128,
}

// given is the checksum among a request's fields, or the algorithm alone.
func given(algo types.ChecksumAlgorithm, fields [len(algorithms)]*string) sum {
	for i, f := range fields {
		if s := str(f); s != "" {
			return sum{algorithms[i], s}
		}
	}
	return sum{algo: types.ChecksumAlgorithm(strings.ToUpper(strings.Clone(string(algo))))}
}

// attrs are what a new version of at begins with: its tags, and its locks or the
// bucket's usual ones.
func (b *backend) attrs(at index.Ref, tagging *string, mode types.ObjectLockMode, until *time.Time, hold types.ObjectLockLegalHoldStatus) (a index.Attrs, err error) {
	if t := str(tagging); t != "" {
		if a.Tags, err = vgw.ParseObjectTags(t); err != nil {
			return a, err
		}
	}
	a.Hold = hold == types.ObjectLockLegalHoldStatusOn
	if mode != "" && until != nil {
		a.RetainMode, a.RetainUntil = strings.Clone(string(mode)), until.Unix()
	}
	config, err := b.GetObjectLockConfiguration(b.ctx, at.Bucket)
	if errors.Is(err, s3err.GetAPIError(s3err.ErrObjectLockConfigurationNotFound)) {
		if a.Hold || a.RetainMode != "" {
			return a, s3err.GetAPIError(s3err.ErrMissingObjectLockConfiguration)
		}
		return a, nil
	}
	if err != nil || a.RetainMode != "" {
		return a, err
	}
	var l auth.BucketLockConfig
	if err := json.Unmarshal(config, &l); err != nil {
		return a, b.fail(err, at)
	}
	if d := l.DefaultRetention; d != nil {
		end := b.c.Now()
		switch {
		case d.Days != nil:
			end = end.AddDate(0, 0, int(*d.Days))
		case d.Years != nil:
			end = end.AddDate(int(*d.Years), 0, 0)
		}
		a.RetainMode, a.RetainUntil = string(d.Mode), end.Unix()
	}
	return a, nil
}

// condition is what must hold when a write is listed. What fails already isn't
// worth sending; the index looks again in the moment of listing.
func (b *backend) condition(at index.Ref, match, none *string) (c index.Condition, err error) {
	if match == nil && none == nil {
		return c, nil
	}
	o, err := b.c.Index.Head(b.ctx, at)
	exists := err == nil
	if err := b.fail(err, at); err != nil && !errors.Is(err, s3err.GetAPIError(s3err.ErrNoSuchKey)) {
		return c, err
	}
	if none == nil && exists && str(match) == "*" {
		return index.Condition{ETag: "*"}, nil
	}
	if err := vgw.EvaluateObjectPutPreconditions(etag(o), match, none, exists); err != nil {
		return c, err
	}
	if none != nil {
		return index.Condition{Absent: true}, nil
	}
	return index.Condition{ETag: rawETag(*match)}, nil
}

// refused tells of a put that failed; a condition that didn't hold is said to be
// the one that was asked for.
func (b *backend) refused(err error, at index.Ref, when index.Condition) error {
	told := b.fail(err, at)
	if when.Absent && errors.Is(told, s3err.GetPreconditionFailedErr(s3err.ConditionIfMatch)) {
		return s3err.GetPreconditionFailedErr(s3err.ConditionIfNoneMatch)
	}
	return told
}
