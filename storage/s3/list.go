package s3

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/s3response"

	"hearth/core/capability"
	"hearth/storage/index"
)

// An encoder writes keys in an answer: as they are, or percent-encoded where the
// client wants that for characters that XML has no room for.
type encoder struct{ kind types.EncodingType }

func encoding(ctx context.Context) encoder {
	if strings.EqualFold(asked(ctx, "encoding-type"), "url") {
		return encoder{types.EncodingTypeUrl}
	}
	return encoder{}
}

func (e encoder) key(s string) string {
	if e.kind == "" {
		return s
	}
	var out strings.Builder
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-_.~/*", c) >= 0:
			out.WriteByte(c)
		default:
			fmt.Fprintf(&out, "%%%02X", c)
		}
	}
	return out.String()
}

// ptr is nil for what the request didn't say.
func (e encoder) ptr(s *string) *string {
	if s == nil {
		return nil
	}
	return ptr(e.key(str(s)))
}

func (e encoder) prefixes(list []string) []types.CommonPrefix {
	var out []types.CommonPrefix
	for _, p := range list {
		out = append(out, types.CommonPrefix{Prefix: ptr(e.key(p))})
	}
	return out
}

// page lists a part of a bucket. At most 0 is allowed and gives nothing.
func (b *backend) page(ctx context.Context, bucket string, l index.Listing, most *int32) (index.Page, error) {
	if err := b.may(ctx, capability.List, bucket, l.Prefix); err != nil {
		return index.Page{}, err
	}
	if most != nil {
		if l.Limit = int(*most); l.Limit == 0 {
			_, err := b.bucket(bucket)
			return index.Page{}, err
		}
	}
	p, err := b.c.Index.List(b.ctx, bucket, l)
	return p, b.fail(err, index.Ref{Bucket: bucket})
}

func (b *backend) contents(list []index.Object, e encoder, owner bool) []s3response.Object {
	var out []s3response.Object
	for _, o := range list {
		s, kind := sumOf(o.Extra)
		one := s3response.Object{
			Key: ptr(e.key(o.Key)), ETag: ptr(etag(o)), Size: ptr(o.Size), LastModified: changed(o), StorageClass: types.ObjectStorageClassStandard, ChecksumType: kind,
		}
		if s.algo != "" {
			one.ChecksumAlgorithm = []types.ChecksumAlgorithm{s.algo}
		}
		if owner {
			one.Owner = b.account()
		}
		out = append(out, one)
	}
	return out
}

func (b *backend) account() *types.Owner {
	return &types.Owner{ID: ptr(b.c.Owner), DisplayName: ptr(b.c.Owner)}
}

// ListObjects is the first form of a listing.
func (b *backend) ListObjects(ctx context.Context, in *s3.ListObjectsInput) (s3response.ListObjectsResult, error) {
	bucket, e := str(in.Bucket), encoding(ctx)
	l := index.Listing{Prefix: str(in.Prefix), Delimiter: str(in.Delimiter), After: str(in.Marker)}
	p, err := b.page(ctx, bucket, l, in.MaxKeys)
	if err != nil {
		return s3response.ListObjectsResult{}, err
	}
	out := s3response.ListObjectsResult{
		Name: &bucket, Prefix: e.ptr(in.Prefix), Delimiter: e.ptr(in.Delimiter), Marker: e.ptr(in.Marker), MaxKeys: in.MaxKeys, EncodingType: e.kind,
		Contents: b.contents(p.Objects, e, true), CommonPrefixes: e.prefixes(p.Prefixes), IsTruncated: ptr(p.Next != ""),
	}
	if p.Next != "" {
		out.NextMarker = ptr(e.key(p.Next))
	}
	return out, nil
}

// ListObjectsV2 is the second. A token is a key: it stays good whatever is
// removed meanwhile.
func (b *backend) ListObjectsV2(ctx context.Context, in *s3.ListObjectsV2Input) (s3response.ListObjectsV2Result, error) {
	bucket, e := str(in.Bucket), encoding(ctx)
	l := index.Listing{Prefix: str(in.Prefix), Delimiter: str(in.Delimiter), After: str(in.ContinuationToken)}
	if l.After == "" {
		l.After = str(in.StartAfter)
	}
	p, err := b.page(ctx, bucket, l, in.MaxKeys)
	if err != nil {
		return s3response.ListObjectsV2Result{}, err
	}
	out := s3response.ListObjectsV2Result{
		Name: &bucket, Prefix: e.ptr(in.Prefix), Delimiter: e.ptr(in.Delimiter), StartAfter: e.ptr(in.StartAfter), MaxKeys: in.MaxKeys, EncodingType: e.kind,
		ContinuationToken: in.ContinuationToken, KeyCount: ptr(int32(len(p.Objects) + len(p.Prefixes))),
		Contents: b.contents(p.Objects, e, in.FetchOwner != nil && *in.FetchOwner), CommonPrefixes: e.prefixes(p.Prefixes), IsTruncated: ptr(p.Next != ""),
	}
	if p.Next != "" {
		out.NextContinuationToken = ptr(p.Next)
	}
	return out, nil
}

// ListObjectVersions lists every version, with the markers.
func (b *backend) ListObjectVersions(ctx context.Context, in *s3.ListObjectVersionsInput) (s3response.ListVersionsResult, error) {
	bucket, e := str(in.Bucket), encoding(ctx)
	var out s3response.ListVersionsResult
	l := index.VersionListing{Prefix: str(in.Prefix), Delimiter: str(in.Delimiter), AfterKey: str(in.KeyMarker), AfterVersion: str(in.VersionIdMarker)}
	if err := b.may(ctx, capability.List, bucket, l.Prefix); err != nil {
		return out, err
	}
	out = s3response.ListVersionsResult{
		Name: &bucket, Prefix: e.ptr(in.Prefix), Delimiter: e.ptr(in.Delimiter), KeyMarker: e.ptr(in.KeyMarker), VersionIdMarker: in.VersionIdMarker,
		MaxKeys: in.MaxKeys, EncodingType: e.kind, IsTruncated: ptr(false),
	}
	if in.MaxKeys != nil {
		if l.Limit = int(*in.MaxKeys); l.Limit == 0 {
			_, err := b.bucket(bucket)
			return out, err
		}
	}
	p, err := b.c.Index.ListVersions(b.ctx, bucket, l)
	if err != nil {
		return out, b.fail(err, index.Ref{Bucket: bucket})
	}
	for _, o := range p.Versions {
		if o.Marker {
			out.DeleteMarkers = append(out.DeleteMarkers, types.DeleteMarkerEntry{
				Key: ptr(e.key(o.Key)), VersionId: ptr(o.VersionID), IsLatest: ptr(o.Latest), LastModified: changed(o), Owner: b.account(),
			})
			continue
		}
		s, kind := sumOf(o.Extra)
		v := s3response.ObjectVersion{
			Key: ptr(e.key(o.Key)), VersionId: ptr(o.VersionID), IsLatest: ptr(o.Latest), LastModified: changed(o), ETag: ptr(etag(o)), Size: ptr(o.Size),
			StorageClass: types.ObjectVersionStorageClassStandard, Owner: b.account(), ChecksumType: kind,
		}
		if s.algo != "" {
			v.ChecksumAlgorithm = []types.ChecksumAlgorithm{s.algo}
		}
		out.Versions = append(out.Versions, v)
	}
	out.CommonPrefixes = e.prefixes(p.Prefixes)
	if p.NextKey != "" {
		out.IsTruncated, out.NextKeyMarker, out.NextVersionIdMarker = ptr(true), ptr(e.key(p.NextKey)), opt(p.NextVersion)
	}
	return out, nil
}
