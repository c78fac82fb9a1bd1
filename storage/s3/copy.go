package s3

import (
	"context"
	"errors"
	"io"
	"maps"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	vgw "github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"

	"hearth/core/capability"
	"hearth/storage/client"
	"hearth/storage/index"
)

// source finds what is to be copied.
func (b *backend) source(ctx context.Context, from *string, when vgw.PreConditions) (o index.Object, asked string, err error) {
	bucket, key, version, err := vgw.ParseCopySource(str(from))
	if err != nil {
		return o, "", err
	}
	at := named(bucket, key, version)
	if err := b.may(ctx, capability.Read, at.Bucket, at.Key); err != nil {
		return o, "", err
	}
	if o, err = b.find(at); err != nil {
		if o.Marker && at.Version != "" {
			err = s3err.GetAPIError(s3err.ErrInvalidRequest)
		}
		return o, "", err
	}
	err = vgw.EvaluatePreconditions(etag(o), *changed(o), when)
	if errors.Is(err, s3err.GetAPIError(s3err.ErrNotModified)) {
		err = s3err.GetPreconditionFailedErr(s3err.ConditionIfNoneMatch)
	}
	return o, at.Version, err
}

// CopyObject lists an object once more, without moving a byte: both share their
// slabs. Only where another checksum is wanted its bytes are read.
func (b *backend) CopyObject(ctx context.Context, in s3response.CopyObjectInput) (out s3response.CopyObjectOutput, err error) {
	to := ref(in.Bucket, in.Key, nil)
	if err := b.may(ctx, capability.Write, to.Bucket, to.Key); err != nil {
		return out, err
	}
	from, asked, err := b.source(ctx, in.CopySource, vgw.PreConditions{
		IfMatch: in.CopySourceIfMatch, IfNoneMatch: in.CopySourceIfNoneMatch, IfModSince: in.CopySourceIfModifiedSince, IfUnmodeSince: in.CopySourceIfUnmodifiedSince,
	})
	if err != nil {
		return out, err
	}
	replace := in.MetadataDirective == types.MetadataDirectiveReplace
	if from.Ref == to && from.Latest && !replace && str(in.WebsiteRedirectLocation) == "" && in.TaggingDirective != types.TaggingDirectiveReplace {
		return out, s3err.GetAPIError(s3err.ErrInvalidCopyDest)
	}
	tagging := in.Tagging
	if in.TaggingDirective != types.TaggingDirectiveReplace {
		tagging = nil
	}
	attrs, err := b.attrs(to, tagging, in.ObjectLockMode, in.ObjectLockRetainUntilDate, in.ObjectLockLegalHoldStatus)
	if err != nil {
		return out, err
	}
	if in.TaggingDirective != types.TaggingDirectiveReplace {
		attrs.Tags = from.Tags
	}
	room, err := b.reserve(ctx, from.Size)
	if err != nil {
		return out, err
	}
	typ, extra := from.Type, maps.Clone(from.Extra)
	delete(extra, wordRedirect)
	if replace {
		typ, extra = str(in.ContentType), headers{in.Metadata, in.ContentEncoding, in.ContentDisposition, in.ContentLanguage, in.CacheControl, in.Expires, nil}.extra()
		for _, k := range []string{wordDoor, wordSum, wordParts} {
			delete(extra, k)
			if v, ok := from.Extra[k]; ok {
				extra[k] = v
			}
		}
	}
	if r := str(in.WebsiteRedirectLocation); r != "" {
		if extra == nil {
			extra = make(map[string]string)
		}
		extra[wordRedirect] = r
	}
	var made index.Object
	had, _ := sumOf(from.Extra)
	if algo := types.ChecksumAlgorithm(strings.ToUpper(str(&in.ChecksumAlgorithm))); algo != "" && algo != had.algo {
		made, err = b.recopy(from, to, algo, client.PutOptions{Size: from.Size, Type: typ, Extra: extra, Attrs: attrs})
	} else {
		made, err = b.c.Index.CopyAs(b.ctx, from.At(), to, index.Condition{}, func(d *index.Draft) error {
			d.Type, d.Extra, d.Attrs = typ, extra, attrs
			return nil
		})
	}
	room.settle(err == nil, from.Size)
	if err != nil {
		return out, b.fail(err, to)
	}
	s, kind := sumOf(made.Extra)
	return s3response.CopyObjectOutput{
		VersionId: shown(made, ""), CopySourceVersionId: shown(from, asked),
		CopyObjectResult: &s3response.CopyObjectResult{
			ETag: ptr(etag(made)), LastModified: changed(made), ChecksumType: kind,
			ChecksumCRC32: s.of(types.ChecksumAlgorithmCrc32), ChecksumCRC32C: s.of(types.ChecksumAlgorithmCrc32c),
			ChecksumCRC64NVME: s.of(types.ChecksumAlgorithmCrc64nvme), ChecksumSHA1: s.of(types.ChecksumAlgorithmSha1),
			ChecksumSHA256: s.of(types.ChecksumAlgorithmSha256),
		},
	}, nil
}

// recopy reads an object and stores it anew, under another checksum.
func (b *backend) recopy(from index.Object, to index.Ref, algo types.ChecksumAlgorithm, o client.PutOptions) (index.Object, error) {
	body, err := b.reread(b.ctx, from, stretch{n: from.Size}, sum{algo: algo})
	if err != nil {
		return index.Object{}, err
	}
	defer body.close()
	extra := maps.Clone(o.Extra)
	if extra == nil {
		extra = make(map[string]string)
	}
	delete(extra, wordParts)
	extra[wordDoor] = "1"
	o.Extra = extra
	o.ETag = func() string {
		extra[wordSum] = body.sum().word(types.ChecksumTypeFullObject)
		return body.etag()
	}
	res, err := b.c.Files.Put(b.ctx, to, body, o)
	return res.Object, err
}

// A rereading is what is read of one object to be stored in another. One is
// open at a time; close lets the next one begin.
type rereading struct {
	*intake
	from io.Closer
	next <-chan struct{}
}

func (r *rereading) close() {
	_ = r.from.Close() // it was only read
	<-r.next
}

func (b *backend) reread(ctx context.Context, o index.Object, s stretch, c sum) (_ *rereading, err error) {
	select {
	case b.rereads <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() {
		if err != nil {
			<-b.rereads
		}
	}()
	from, err := b.open(o, s)
	if err != nil {
		return nil, err
	}
	in, err := newIntake(from, s.n, c)
	if err != nil {
		_ = from.Close() // it was only read
		return nil, err
	}
	return &rereading{in, from, b.rereads}, nil
}
