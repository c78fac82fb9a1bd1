package s3

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/auth"
	vgw "github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"

	"hearth/core/capability"
	"hearth/core/fault"
	"hearth/storage/index"
)

// ListBuckets lists the buckets that the request's key reaches.
func (b *backend) ListBuckets(ctx context.Context, in s3response.ListBucketsInput) (s3response.ListAllMyBucketsResult, error) {
	out := s3response.ListAllMyBucketsResult{Owner: s3response.CanonicalUser{ID: b.c.Owner, DisplayName: b.c.Owner}, Prefix: strings.Clone(in.Prefix)}
	if err := b.may(ctx, capability.List, "", ""); err != nil {
		return out, err
	}
	list, err := b.c.Index.Buckets(b.ctx)
	if err != nil {
		return out, b.fail(err, index.Ref{})
	}
	c, _, err := b.holder(ctx)
	if err != nil {
		return out, err
	}
	only := c.Limits().Bucket
	for _, k := range list {
		switch {
		case only != "" && k.Name != only, !strings.HasPrefix(k.Name, in.Prefix), k.Name <= in.ContinuationToken:
			continue
		case in.MaxBuckets > 0 && len(out.Buckets.Bucket) == int(in.MaxBuckets):
			out.ContinuationToken = out.Buckets.Bucket[len(out.Buckets.Bucket)-1].Name
			return out, nil
		}
		out.Buckets.Bucket = append(out.Buckets.Bucket, s3response.ListAllMyBucketsEntry{Name: k.Name, CreationDate: time.Unix(k.Created, 0).UTC()})
	}
	return out, nil
}

// bucket finds a bucket; hidden ones aren't there.
func (b *backend) bucket(name string) (index.Bucket, error) {
	if index.CheckBucket(name) != nil {
		return index.Bucket{}, s3err.GetBucketErr(s3err.ErrNoSuchBucket, name)
	}
	k, err := b.c.Index.Bucket(b.ctx, name)
	return k, b.fail(err, index.Ref{Bucket: name})
}

// HeadBucket says whether there is a bucket.
func (b *backend) HeadBucket(_ context.Context, in *s3.HeadBucketInput) (*s3.HeadBucketOutput, error) {
	_, err := b.bucket(str(in.Bucket))
	return &s3.HeadBucketOutput{}, err
}

// CreateBucket makes a bucket. Its access list is always the same: it is the
// node's, and policies say who else may.
func (b *backend) CreateBucket(ctx context.Context, in *s3.CreateBucketInput, _ []byte) error {
	name := str(in.Bucket)
	if err := b.may(ctx, capability.Manage, name, ""); err != nil {
		return err
	}
	tags := map[string]string(nil)
	if in.CreateBucketConfiguration != nil {
		var err error
		if tags, err = vgw.ParseCreateBucketTags(in.CreateBucketConfiguration.Tags); err != nil {
			return err
		}
	}
	switch err := b.c.Index.MakeBucket(b.ctx, name); {
	case fault.CodeOf(err) == fault.Exists:
		return s3err.GetBucketErr(s3err.ErrBucketAlreadyOwnedByYou, name)
	case err != nil:
		return b.fail(err, index.Ref{Bucket: name})
	}
	if len(tags) > 0 {
		if err := b.PutBucketTagging(ctx, name, cloned(tags)); err != nil {
			return err
		}
	}
	if in.ObjectLockEnabledForBucket == nil || !*in.ObjectLockEnabledForBucket {
		return nil
	}
	if err := b.c.Index.SetVersioning(b.ctx, name, index.Enabled); err != nil {
		return b.fail(err, index.Ref{Bucket: name})
	}
	doc, err := json.Marshal(auth.BucketLockConfig{Enabled: true})
	if err != nil {
		return b.fail(err, index.Ref{Bucket: name})
	}
	return b.setDoc(name, docLock, doc)
}

// DeleteBucket removes an empty bucket.
func (b *backend) DeleteBucket(ctx context.Context, bucket string) error {
	bucket = strings.Clone(bucket)
	if err := b.may(ctx, capability.Manage, bucket, ""); err != nil {
		return err
	}
	err := b.c.Index.RemoveBucket(b.ctx, bucket)
	if fault.CodeOf(err) == fault.Exists {
		return s3err.GetBucketErr(s3err.ErrBucketNotEmpty, bucket)
	}
	return b.fail(err, index.Ref{Bucket: bucket})
}

// PutBucketVersioning turns versions on, or stops adding any.
func (b *backend) PutBucketVersioning(ctx context.Context, bucket string, status types.BucketVersioningStatus) error {
	bucket = strings.Clone(bucket)
	if err := b.may(ctx, capability.Manage, bucket, ""); err != nil {
		return err
	}
	v := index.Enabled
	if status == types.BucketVersioningStatusSuspended {
		v = index.Suspended
		if _, err := b.GetObjectLockConfiguration(ctx, bucket); err == nil {
			return s3err.GetAPIError(s3err.ErrSuspendedVersioningNotAllowed)
		}
	}
	return b.fail(b.c.Index.SetVersioning(b.ctx, bucket, v), index.Ref{Bucket: bucket})
}

// GetBucketVersioning says whether a bucket keeps versions.
func (b *backend) GetBucketVersioning(_ context.Context, bucket string) (s3response.GetBucketVersioningOutput, error) {
	k, err := b.bucket(bucket)
	if err != nil {
		return s3response.GetBucketVersioningOutput{}, err
	}
	switch k.Versioning {
	case index.Enabled:
		return s3response.GetBucketVersioningOutput{Status: ptr(types.BucketVersioningStatusEnabled)}, nil
	case index.Suspended:
		return s3response.GetBucketVersioningOutput{Status: ptr(types.BucketVersioningStatusSuspended)}, nil
	}
	return s3response.GetBucketVersioningOutput{}, nil
}

// GetBucketAcl gives every bucket to the node's account alone.
//
//lint:ignore ST1003 the name is the gateway's
func (b *backend) GetBucketAcl(_ context.Context, in *s3.GetBucketAclInput) ([]byte, error) {
	if _, err := b.bucket(str(in.Bucket)); err != nil {
		return nil, err
	}
	return json.Marshal(auth.ACL{Owner: b.c.Owner})
}

// PutBucketAcl is refused: access lists are off, as they are in new buckets of S3.
//
//lint:ignore ST1003 the name is the gateway's
func (b *backend) PutBucketAcl(context.Context, string, []byte) error {
	return s3err.GetAPIError(s3err.ErrAclNotSupported)
}

// GetBucketOwnershipControls says that all objects are the bucket owner's.
func (b *backend) GetBucketOwnershipControls(_ context.Context, bucket string) (types.ObjectOwnership, error) {
	_, err := b.bucket(bucket)
	return types.ObjectOwnershipBucketOwnerEnforced, err
}

// PutBucketOwnershipControls takes what holds anyway.
func (b *backend) PutBucketOwnershipControls(_ context.Context, bucket string, o types.ObjectOwnership) error {
	if _, err := b.bucket(bucket); err != nil {
		return err
	}
	if o != types.ObjectOwnershipBucketOwnerEnforced {
		return s3err.GetAPIError(s3err.ErrNotImplemented)
	}
	return nil
}
