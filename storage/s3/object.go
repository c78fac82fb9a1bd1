package s3

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	vgw "github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"

	"hearth/core/capability"
	"hearth/core/fault"
	"hearth/storage/index"
)

// find is the version that a request asks for. A marker's own version comes with
// ErrMethodNotAllowed, as S3 has it.
func (b *backend) find(at index.Ref) (index.Object, error) {
	o, err := b.c.Index.Head(b.ctx, at)
	var marker *index.MarkerError
	switch {
	case errors.As(err, &marker) && at.Version != "":
		return marker.Object, s3err.GetMethodNotAllowedErr("GET", s3err.ResourceTypeObject, []string{"DELETE"})
	case errors.As(err, &marker):
		return marker.Object, s3err.GetAPIError(s3err.ErrNoSuchKey)
	}
	return o, b.fail(err, at)
}

// A part of an object: the bytes that a request wants of it.
type stretch struct {
	off, n int64
	of     *string // the Content-Range; nil: it is the whole
	parts  *int32  // how many parts there are, where one was asked for
}

// stretchOf reads Range and partNumber.
func stretchOf(o index.Object, want *string, part *int32) (s stretch, err error) {
	if part != nil {
		return partOf(o, int(*part))
	}
	off, n, some, err := vgw.ParseObjectRange(o.Size, str(want))
	if err != nil {
		return s, err
	}
	s = stretch{off: off, n: n}
	if some {
		s.of = ptr(fmt.Sprintf("bytes %d-%d/%d", off, off+n-1, o.Size))
	}
	return s, nil
}

func partOf(o index.Object, number int) (s stretch, err error) {
	sizes := partsOf(o)
	if sizes == nil {
		if number != 1 {
			return s, s3err.GetInvalidPartNumberRangeErr(1, int32(number))
		}
		s = stretch{n: o.Size}
	} else {
		if number > len(sizes) {
			return s, s3err.GetInvalidPartNumberRangeErr(int32(len(sizes)), int32(number))
		}
		for _, n := range sizes[:number-1] {
			s.off += n
		}
		s.n, s.parts = sizes[number-1], ptr(int32(len(sizes)))
	}
	if s.n > 0 {
		s.of = ptr(fmt.Sprintf("bytes %d-%d/%d", s.off, s.off+s.n-1, o.Size))
	}
	return s, nil
}

// GetObject gives an object, or a stretch of it, while it comes from the hosts.
func (b *backend) GetObject(ctx context.Context, in *s3.GetObjectInput) (*s3.GetObjectOutput, error) {
	at := ref(in.Bucket, in.Key, in.VersionId)
	if err := b.may(ctx, capability.Read, at.Bucket, at.Key); err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		o, s, err := b.look(at, vgw.PreConditions{
			IfMatch: in.IfMatch, IfNoneMatch: in.IfNoneMatch, IfModSince: in.IfModifiedSince, IfUnmodeSince: in.IfUnmodifiedSince,
		}, in.Range, in.PartNumber)
		if err != nil && o.Marker {
			return &s3.GetObjectOutput{DeleteMarker: ptr(true), LastModified: changed(o), VersionId: ptr(o.VersionID)}, err
		}
		if err != nil {
			return nil, err
		}
		body, err := b.open(o, s)
		if fault.CodeOf(err) == fault.NotFound && at.Version == "" && try < 3 {
			continue // it was replaced in between
		}
		if err != nil {
			return nil, b.fail(err, at)
		}
		if f, ok := body.(*flow); ok {
			f.conn, f.sent, f.of = connOf(ctx), b.c.Metrics.Out, visitOf(ctx)
			if f.of != nil {
				f.of.Streams()
			}
		} else {
			body = counted{body, b.c.Metrics.Out}
		}
		out := got(o, s, at.Version, in.ChecksumMode)
		out.Body = body
		return out, nil
	}
}

// look finds the version and the stretch of it that a read asks for, if its
// conditions hold.
func (b *backend) look(at index.Ref, when vgw.PreConditions, want *string, part *int32) (o index.Object, s stretch, err error) {
	if o, err = b.find(at); err != nil {
		return o, s, err
	}
	if err = vgw.EvaluatePreconditions(etag(o), *changed(o), when); err != nil {
		return o, s, err
	}
	s, err = stretchOf(o, want, part)
	return o, s, err
}

// got is all that is said of an object but its contents.
func got(o index.Object, s stretch, version string, mode types.ChecksumMode) *s3.GetObjectOutput {
	out := &s3.GetObjectOutput{
		AcceptRanges: ptr("bytes"), ContentLength: ptr(s.n), ContentRange: s.of, PartsCount: s.parts, ETag: ptr(etag(o)), LastModified: changed(o),
		ContentType: opt(o.Type), ContentEncoding: opt(o.Extra[wordEncoding]), ContentDisposition: opt(o.Extra[wordDispose]),
		ContentLanguage: opt(o.Extra[wordLanguage]), CacheControl: opt(o.Extra[wordCache]), ExpiresString: opt(o.Extra[wordExpires]),
		WebsiteRedirectLocation: opt(o.Extra[wordRedirect]), Metadata: user(o), VersionId: shown(o, version),
		ObjectLockMode: types.ObjectLockMode(o.RetainMode),
	}
	if out.ContentType == nil {
		out.ContentType = ptr("binary/octet-stream")
	}
	if len(o.Tags) > 0 {
		out.TagCount = ptr(int32(len(o.Tags)))
	}
	if o.RetainMode != "" {
		out.ObjectLockRetainUntilDate = unix(o.RetainUntil)
	}
	if o.Hold {
		out.ObjectLockLegalHoldStatus = types.ObjectLockLegalHoldStatusOn
	}
	if mode != types.ChecksumModeEnabled || s.n != o.Size {
		return out
	}
	c, kind := sumOf(o.Extra)
	out.ChecksumType = kind
	out.ChecksumCRC32, out.ChecksumCRC32C = c.of(types.ChecksumAlgorithmCrc32), c.of(types.ChecksumAlgorithmCrc32c)
	out.ChecksumCRC64NVME, out.ChecksumSHA1 = c.of(types.ChecksumAlgorithmCrc64nvme), c.of(types.ChecksumAlgorithmSha1)
	out.ChecksumSHA256, out.ChecksumSHA512 = c.of(types.ChecksumAlgorithmSha256), c.of(types.ChecksumAlgorithmSha512)
	out.ChecksumMD5, out.ChecksumXXHASH64 = c.of(types.ChecksumAlgorithmMd5), c.of(types.ChecksumAlgorithmXxhash64)
	out.ChecksumXXHASH3, out.ChecksumXXHASH128 = c.of(types.ChecksumAlgorithmXxhash3), c.of(types.ChecksumAlgorithmXxhash128)
	return out
}

// HeadObject is GetObject without the contents.
func (b *backend) HeadObject(ctx context.Context, in *s3.HeadObjectInput) (*s3.HeadObjectOutput, error) {
	at := ref(in.Bucket, in.Key, in.VersionId)
	if err := b.may(ctx, capability.Read, at.Bucket, at.Key); err != nil {
		return nil, err
	}
	o, s, err := b.look(at, vgw.PreConditions{
		IfMatch: in.IfMatch, IfNoneMatch: in.IfNoneMatch, IfModSince: in.IfModifiedSince, IfUnmodeSince: in.IfUnmodifiedSince,
	}, in.Range, in.PartNumber)
	if err != nil && o.Marker {
		return &s3.HeadObjectOutput{DeleteMarker: ptr(true), LastModified: changed(o), VersionId: ptr(o.VersionID)}, err
	}
	if err != nil {
		return nil, err
	}
	g := got(o, s, at.Version, in.ChecksumMode)
	return &s3.HeadObjectOutput{
		AcceptRanges: g.AcceptRanges, ContentLength: g.ContentLength, ContentRange: g.ContentRange, PartsCount: g.PartsCount, ETag: g.ETag,
		LastModified: g.LastModified, ContentType: g.ContentType, ContentEncoding: g.ContentEncoding, ContentDisposition: g.ContentDisposition,
		ContentLanguage: g.ContentLanguage, CacheControl: g.CacheControl, ExpiresString: g.ExpiresString, Metadata: g.Metadata, VersionId: g.VersionId,
		WebsiteRedirectLocation: g.WebsiteRedirectLocation, ObjectLockMode: g.ObjectLockMode, ObjectLockRetainUntilDate: g.ObjectLockRetainUntilDate,
		ObjectLockLegalHoldStatus: g.ObjectLockLegalHoldStatus, TagCount: g.TagCount, ChecksumType: g.ChecksumType,
		ChecksumCRC32: g.ChecksumCRC32, ChecksumCRC32C: g.ChecksumCRC32C, ChecksumCRC64NVME: g.ChecksumCRC64NVME, ChecksumSHA1: g.ChecksumSHA1,
		ChecksumSHA256: g.ChecksumSHA256, ChecksumSHA512: g.ChecksumSHA512, ChecksumMD5: g.ChecksumMD5, ChecksumXXHASH64: g.ChecksumXXHASH64,
		ChecksumXXHASH3: g.ChecksumXXHASH3, ChecksumXXHASH128: g.ChecksumXXHASH128,
	}, nil
}

// GetObjectAttributes says in one answer what is known of an object.
func (b *backend) GetObjectAttributes(ctx context.Context, in *s3.GetObjectAttributesInput) (out s3response.GetObjectAttributesResponse, err error) {
	at := ref(in.Bucket, in.Key, in.VersionId)
	if err := b.may(ctx, capability.Read, at.Bucket, at.Key); err != nil {
		return out, err
	}
	o, err := b.find(at)
	if err != nil {
		if o.Marker {
			out.DeleteMarker, out.VersionId = ptr(true), ptr(o.VersionID)
			err = s3err.GetAPIError(s3err.ErrNoSuchKey)
		}
		return out, err
	}
	g := got(o, stretch{n: o.Size}, at.Version, types.ChecksumModeEnabled)
	out = s3response.GetObjectAttributesResponse{
		ETag: vgw.TrimEtag(g.ETag), ObjectSize: ptr(o.Size), StorageClass: types.StorageClassStandard, LastModified: g.LastModified, VersionId: g.VersionId,
		Checksum: &types.Checksum{
			ChecksumType: g.ChecksumType, ChecksumCRC32: g.ChecksumCRC32, ChecksumCRC32C: g.ChecksumCRC32C, ChecksumCRC64NVME: g.ChecksumCRC64NVME,
			ChecksumSHA1: g.ChecksumSHA1, ChecksumSHA256: g.ChecksumSHA256, ChecksumSHA512: g.ChecksumSHA512, ChecksumMD5: g.ChecksumMD5,
			ChecksumXXHASH64: g.ChecksumXXHASH64, ChecksumXXHASH3: g.ChecksumXXHASH3, ChecksumXXHASH128: g.ChecksumXXHASH128,
		},
	}
	if sizes := partsOf(o); sizes != nil {
		out.ObjectParts = listed(sizes, in.PartNumberMarker, in.MaxParts)
	}
	return out, nil
}
