package s3

import (
	"context"
	"encoding/json"
	"maps"
	"strings"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3err"

	"hearth/core/fault"
	"hearth/storage/index"
)

// The documents that a bucket has beside its objects.
const (
	docPolicy    = "policy"
	docCORS      = "cors"
	docWebsite   = "website"
	docTagging   = "tagging"
	docLock      = "lock"
	docLifecycle = "lifecycle"
)

// doc reads a document of a bucket; none is the error where there is none.
func (b *backend) doc(bucket, name string, none error) ([]byte, error) {
	if index.CheckBucket(bucket) != nil {
		return nil, s3err.GetBucketErr(s3err.ErrNoSuchBucket, strings.Clone(bucket))
	}
	docs, err := b.c.Index.BucketDocs(b.ctx, bucket)
	if err != nil {
		return nil, b.fail(err, index.Ref{Bucket: strings.Clone(bucket)})
	}
	if body, ok := docs[name]; ok {
		return body, nil
	}
	return nil, none
}

// setDoc writes a document; nil removes it.
func (b *backend) setDoc(bucket, name string, body []byte) error {
	bucket = strings.Clone(bucket)
	err := b.c.Index.SetBucketDoc(b.ctx, bucket, name, append([]byte(nil), body...))
	if fault.CodeOf(err) == fault.TooLarge {
		return s3err.GetMaxMessageLengthExceeded(index.MaxDoc)
	}
	return b.fail(err, index.Ref{Bucket: bucket})
}

func (b *backend) dropDoc(bucket, name string) error {
	bucket = strings.Clone(bucket)
	return b.fail(b.c.Index.SetBucketDoc(b.ctx, bucket, name, nil), index.Ref{Bucket: bucket})
}

// The gateway has checked these documents and who may change them.

func (b *backend) PutBucketPolicy(_ context.Context, bucket string, policy []byte) error {
	if len(policy) == 0 {
		return b.dropDoc(bucket, docPolicy)
	}
	return b.setDoc(bucket, docPolicy, policy)
}

func (b *backend) GetBucketPolicy(_ context.Context, bucket string) ([]byte, error) {
	return b.doc(bucket, docPolicy, s3err.GetBucketErr(s3err.ErrNoSuchBucketPolicy, strings.Clone(bucket)))
}

func (b *backend) DeleteBucketPolicy(_ context.Context, bucket string) error {
	return b.dropDoc(bucket, docPolicy)
}

func (b *backend) PutBucketCors(_ context.Context, bucket string, cors []byte) error {
	return b.setDoc(bucket, docCORS, cors)
}

func (b *backend) GetBucketCors(_ context.Context, bucket string) ([]byte, error) {
	return b.doc(bucket, docCORS, s3err.GetAPIError(s3err.ErrNoSuchCORSConfiguration))
}

func (b *backend) DeleteBucketCors(_ context.Context, bucket string) error {
	return b.dropDoc(bucket, docCORS)
}

func (b *backend) PutBucketWebsite(_ context.Context, bucket string, website []byte) error {
	return b.setDoc(bucket, docWebsite, website)
}

func (b *backend) GetBucketWebsite(_ context.Context, bucket string) ([]byte, error) {
	return b.doc(bucket, docWebsite, s3err.GetBucketErr(s3err.ErrNoSuchWebsiteConfiguration, strings.Clone(bucket)))
}

func (b *backend) DeleteBucketWebsite(_ context.Context, bucket string) error {
	return b.dropDoc(bucket, docWebsite)
}

func (b *backend) GetBucketTagging(_ context.Context, bucket string) (map[string]string, error) {
	body, err := b.doc(bucket, docTagging, s3err.GetBucketErr(s3err.ErrBucketTaggingNotFound, strings.Clone(bucket)))
	if err != nil {
		return nil, err
	}
	var tags map[string]string
	return tags, b.fail(json.Unmarshal(body, &tags), index.Ref{Bucket: bucket})
}

func (b *backend) PutBucketTagging(_ context.Context, bucket string, tags map[string]string) error {
	body, err := json.Marshal(tags)
	if err != nil {
		return b.fail(err, index.Ref{Bucket: bucket})
	}
	return b.setDoc(bucket, docTagging, body)
}

func (b *backend) DeleteBucketTagging(_ context.Context, bucket string) error {
	return b.dropDoc(bucket, docTagging)
}

// PutObjectLockConfiguration turns locks on where versions are kept. A default
// retention goes to each new object, so the moment of the configuration, from
// which the gateway would count, is left out.
func (b *backend) PutObjectLockConfiguration(_ context.Context, bucket string, config []byte) error {
	k, err := b.bucket(bucket)
	if err != nil {
		return err
	}
	if k.Versioning != index.Enabled {
		return s3err.APIError{Code: "InvalidBucketState", Description: "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration", HTTPStatusCode: 409}
	}
	var l auth.BucketLockConfig
	if err := json.Unmarshal(config, &l); err != nil {
		return b.fail(err, index.Ref{Bucket: bucket})
	}
	l.CreatedAt = nil
	if config, err = json.Marshal(l); err != nil {
		return b.fail(err, index.Ref{Bucket: bucket})
	}
	return b.setDoc(bucket, docLock, config)
}

func (b *backend) GetObjectLockConfiguration(_ context.Context, bucket string) ([]byte, error) {
	return b.doc(bucket, docLock, s3err.GetAPIError(s3err.ErrObjectLockConfigurationNotFound))
}

// cloned is a map of the gateway's, for good.
func cloned(m map[string]string) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range maps.All(m) {
		out[strings.Clone(k)] = strings.Clone(v)
	}
	return out
}
