package s3

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	vgw "github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"

	"hearth/core/capability"
	"hearth/core/fault"
	"hearth/storage/index"
)

// DeleteObject removes an object, or hides it behind a marker, or removes one
// version for good. That there is none is as good.
func (b *backend) DeleteObject(ctx context.Context, in *s3.DeleteObjectInput) (*s3.DeleteObjectOutput, error) {
	at := ref(in.Bucket, in.Key, in.VersionId)
	if err := b.may(ctx, capability.Delete, at.Bucket, at.Key); err != nil {
		return nil, err
	}
	o := index.RemoveOptions{Bypass: strings.EqualFold(header(ctx, "X-Amz-Bypass-Governance-Retention"), "true")}
	if in.IfMatch != nil || in.IfMatchLastModifiedTime != nil || in.IfMatchSize != nil {
		had, err := b.find(at)
		if err != nil {
			return nil, err
		}
		when := vgw.ObjectDeletePreconditions{IfMatch: in.IfMatch, IfMatchLastModTime: in.IfMatchLastModifiedTime, IfMatchSize: in.IfMatchSize}
		if str(in.IfMatch) == "*" {
			when.IfMatch = nil
		}
		if err := vgw.EvaluateObjectDeletePreconditions(etag(had), *changed(had), had.Size, when); err != nil {
			return nil, err
		}
		o.If.ETag = had.ETag
	}
	gone, err := b.c.Files.Remove(b.ctx, at, o)
	if fault.CodeOf(err) == fault.NotFound {
		told := b.fail(err, at)
		if !errors.Is(told, s3err.GetBucketErr(s3err.ErrNoSuchBucket, at.Bucket)) {
			return &s3.DeleteObjectOutput{VersionId: opt(at.Version)}, nil
		}
		return nil, told
	}
	if err != nil {
		return nil, b.fail(err, at)
	}
	switch {
	case gone.MarkerMade:
		return &s3.DeleteObjectOutput{DeleteMarker: ptr(true), VersionId: opt(gone.VersionID)}, nil
	case at.Version != "":
		return &s3.DeleteObjectOutput{DeleteMarker: opt(gone.Marker), VersionId: opt(at.Version)}, nil
	}
	return &s3.DeleteObjectOutput{}, nil
}

// DeleteObjects removes many, each on its own.
func (b *backend) DeleteObjects(ctx context.Context, in *s3.DeleteObjectsInput) (out s3response.DeleteResult, err error) {
	if in.Delete == nil {
		return out, nil
	}
	for _, o := range in.Delete.Objects {
		key, version := str(o.Key), str(o.VersionId)
		res, err := b.DeleteObject(ctx, &s3.DeleteObjectInput{
			Bucket: in.Bucket, Key: &key, VersionId: &version, IfMatch: o.ETag, IfMatchLastModifiedTime: o.LastModifiedTime, IfMatchSize: o.Size,
		})
		if err != nil {
			told := s3err.GetAPIError(s3err.ErrInternalError)
			var e s3err.S3Error
			if errors.As(err, &e) {
				told = e.BaseError()
			}
			out.Error = append(out.Error, types.Error{Key: &key, VersionId: opt(version), Code: &told.Code, Message: &told.Description})
			continue
		}
		d := types.DeletedObject{Key: &key, DeleteMarker: res.DeleteMarker, VersionId: opt(version)}
		if res.DeleteMarker != nil && *res.DeleteMarker {
			d.DeleteMarkerVersionId = res.VersionId
		}
		out.Deleted = append(out.Deleted, d)
	}
	return out, nil
}
