package s3

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/valyala/fasthttp"
	vgw "github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3err"

	"hearth/core/fault"
	"hearth/storage/index"
)

// backend answers the gateway's questions from the list of files and the hosts.
// The gateway reads requests into buffers that it uses again: every string that
// is kept is cloned first.
type backend struct {
	vgw.BackendUnsupported
	c      Config
	ctx    context.Context // ends with the door; the gateway's own end with a request's buffers
	quotas *quotas
	// rereads has room for one: what is read to be stored again holds a reader's
	// buffer until a writer has one, so several could wait for each other for ever.
	rereads chan struct{}
}

var _ vgw.Backend = (*backend)(nil)

// String names the backend in the gateway's own messages.
func (*backend) String() string { return "hearth" }

// str is what a field of the gateway holds, for good.
func str[S ~string](p *S) string {
	if p == nil {
		return ""
	}
	return strings.Clone(string(*p))
}

func ptr[T any](v T) *T { return &v }

// opt is nil where there is nothing to say.
func opt[T comparable](v T) *T {
	var none T
	if v == none {
		return nil
	}
	return &v
}

// ref names an object by fields of the gateway.
func ref(bucket, key, version *string) index.Ref {
	return index.Ref{Bucket: str(bucket), Key: str(key), Version: str(version)}
}

// asked is a word of the request's query that the gateway doesn't pass on.
func asked(ctx context.Context, name string) string {
	if r, ok := ctx.(*fasthttp.RequestCtx); ok {
		return string(r.QueryArgs().Peek(name))
	}
	return ""
}

// header is a header of the request that the gateway doesn't pass on.
func header(ctx context.Context, name string) string {
	if r, ok := ctx.(*fasthttp.RequestCtx); ok {
		return string(r.Request.Header.Peek(name))
	}
	return ""
}

// fail is an error as the gateway tells it. What it can't tell is logged.
func (b *backend) fail(err error, at index.Ref) error {
	if err == nil {
		return nil
	}
	var told s3err.S3Error
	if errors.As(err, &told) {
		return told
	}
	var part *index.PartError
	if errors.As(err, &part) {
		return s3err.GetInvalidPartErr("", int32(part.Number), "")
	}
	code := fault.CodeOf(err)
	switch code {
	case fault.NotFound:
		return b.missing(at)
	case fault.Exists:
		return s3err.GetPreconditionFailedErr(s3err.ConditionIfMatch)
	case fault.Locked:
		return s3err.GetAPIError(s3err.ErrObjectLocked)
	case fault.BadName:
		return b.badName(err, at)
	case fault.TooLarge, fault.BadRequest:
		return s3err.APIError{Code: "InvalidArgument", Description: err.Error(), HTTPStatusCode: http.StatusBadRequest}
	case fault.NoFunds, fault.LeaseLow, fault.MandateRefused, fault.PriceTooHigh:
		b.c.Log.Warn("S3 request without money", "name", at, "err", err)
		return s3err.APIError{Code: "InsufficientFunds", Description: err.Error(), HTTPStatusCode: http.StatusPaymentRequired}
	case fault.NoHosts, fault.NotEnoughHosts, fault.NotEnoughShards, fault.HostUnreachable, fault.LedgerDown, fault.Busy, fault.DiskFull, fault.Interrupted:
		b.c.Log.Warn("S3 request can't be served at present", "name", at, "err", err)
		return s3err.APIError{Code: "ServiceUnavailable", Description: err.Error(), HTTPStatusCode: http.StatusServiceUnavailable}
	}
	b.c.Log.Error("S3 request failed", "name", at, "err", err)
	return s3err.APIError{Code: "InternalError", Description: string(code) + ": " + err.Error(), HTTPStatusCode: http.StatusInternalServerError}
}

// missing says which part of a name there isn't.
func (b *backend) missing(at index.Ref) error {
	if found, err := b.c.Index.HasBucket(b.ctx, at.Bucket); err != nil || !found {
		return s3err.GetBucketErr(s3err.ErrNoSuchBucket, at.Bucket)
	}
	if at.Version != "" {
		return s3err.GetNoSuchVersionErr(at.Key, at.Version)
	}
	return s3err.GetAPIError(s3err.ErrNoSuchKey)
}

func (b *backend) badName(err error, at index.Ref) error {
	switch {
	case index.CheckBucket(at.Bucket) != nil:
		return s3err.GetBucketErr(s3err.ErrInvalidBucketName, at.Bucket)
	case len(at.Key) > index.MaxKey:
		return s3err.GetKeyTooLongErr(int64(len(at.Key)), index.MaxKey)
	case at.Version != "" && index.CheckKey(at.Key) == nil:
		return s3err.GetInvalidArgumentErr(s3err.InvalidArgVersionId, at.Version)
	}
	return s3err.APIError{Code: "InvalidArgument", Description: err.Error(), HTTPStatusCode: http.StatusBadRequest}
}
