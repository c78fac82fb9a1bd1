package s3

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/s3err"

	"hearth/core/capability"
	"hearth/core/fault"
	"hearth/storage/index"
)

func unix(seconds int64) *time.Time { return ptr(time.Unix(seconds, 0).UTC()) }

// named is a ref of words that the gateway owns.
func named(bucket, object, version string) index.Ref {
	return index.Ref{Bucket: strings.Clone(bucket), Key: strings.Clone(object), Version: strings.Clone(version)}
}

// change changes what may change without a new version.
func (b *backend) change(ctx context.Context, at index.Ref, f func(*index.Attrs)) error {
	if err := b.may(ctx, capability.Write, at.Bucket, at.Key); err != nil {
		return err
	}
	if _, err := b.find(at); err != nil {
		return err
	}
	_, err := b.c.Index.SetAttrs(b.ctx, at, func(a *index.Attrs) error {
		f(a)
		return nil
	})
	if fault.CodeOf(err) == fault.Locked {
		return s3err.GetAPIError(s3err.ErrObjectLocked)
	}
	return b.fail(err, at)
}

// GetObjectTagging reads an object's tags.
func (b *backend) GetObjectTagging(ctx context.Context, bucket, object, version string) (map[string]string, error) {
	at := named(bucket, object, version)
	if err := b.may(ctx, capability.Read, at.Bucket, at.Key); err != nil {
		return nil, err
	}
	o, err := b.find(at)
	return o.Tags, err
}

// PutObjectTagging replaces them.
func (b *backend) PutObjectTagging(ctx context.Context, bucket, object, version string, tags map[string]string) error {
	tags = cloned(tags)
	return b.change(ctx, named(bucket, object, version), func(a *index.Attrs) { a.Tags = tags })
}

// DeleteObjectTagging removes them.
func (b *backend) DeleteObjectTagging(ctx context.Context, bucket, object, version string) error {
	return b.change(ctx, named(bucket, object, version), func(a *index.Attrs) { a.Tags = nil })
}

// lockable refuses locks where the bucket has none.
func (b *backend) lockable(bucket string) error {
	if _, err := b.GetObjectLockConfiguration(b.ctx, bucket); err != nil {
		if told := new(s3err.APIError); errors.As(err, told) {
			return s3err.GetAPIError(s3err.ErrMissingObjectLockConfiguration)
		}
		return err
	}
	return nil
}

type retention struct {
	Mode            types.ObjectLockRetentionMode
	RetainUntilDate time.Time
}

// PutObjectRetention keeps a version until a date. The gateway has checked who
// may shorten it.
func (b *backend) PutObjectRetention(ctx context.Context, bucket, object, version string, text []byte) error {
	var r retention
	if err := json.Unmarshal(text, &r); err != nil {
		return s3err.GetAPIError(s3err.ErrMalformedXML)
	}
	if err := b.lockable(bucket); err != nil {
		return err
	}
	return b.change(ctx, named(bucket, object, version), func(a *index.Attrs) {
		a.RetainMode, a.RetainUntil = string(r.Mode), r.RetainUntilDate.Unix()
	})
}

// GetObjectRetention says until when a version is kept.
func (b *backend) GetObjectRetention(_ context.Context, bucket, object, version string) ([]byte, error) {
	if err := b.lockable(bucket); err != nil {
		return nil, err
	}
	o, err := b.find(named(bucket, object, version))
	if err != nil {
		return nil, err
	}
	if o.RetainMode == "" {
		return nil, s3err.GetAPIError(s3err.ErrNoSuchObjectLockConfiguration)
	}
	return json.Marshal(retention{types.ObjectLockRetentionMode(o.RetainMode), time.Unix(o.RetainUntil, 0).UTC()})
}

// PutObjectLegalHold puts a version under a hold, or ends it.
func (b *backend) PutObjectLegalHold(ctx context.Context, bucket, object, version string, status bool) error {
	if err := b.lockable(bucket); err != nil {
		return err
	}
	return b.change(ctx, named(bucket, object, version), func(a *index.Attrs) { a.Hold = status })
}

// GetObjectLegalHold says whether a version is under a hold.
func (b *backend) GetObjectLegalHold(_ context.Context, bucket, object, version string) (*bool, error) {
	if err := b.lockable(bucket); err != nil {
		return nil, err
	}
	o, err := b.find(named(bucket, object, version))
	if err != nil {
		return nil, err
	}
	return ptr(o.Hold), nil
}
