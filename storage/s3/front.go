package s3

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"

	"hearth/internal/tally"
)

// Bounds of a request's body that is read as a whole.
const (
	maxDocument = 4 << 20
	maxForm     = 64 << 20 // a browser's, with its file: the gateway has it in memory
)

// Headers of encryption, as clients send them.
const (
	headerSSE    = "X-Amz-Server-Side-Encryption"
	headerSSEC   = "X-Amz-Server-Side-Encryption-Customer-Algorithm"
	headerFrom   = "X-Amz-Copy-Source-Server-Side-Encryption-Customer-Algorithm"
	sseAlgorithm = "AES256"
)

// front sees every request before the gateway does, and its answer after: it
// shows websites, speaks of encryption, and has those settings of buckets that
// the gateway knows no backend for. By then the gateway has checked who asks.
func (d *Door) front(ctx fiber.Ctx) error {
	v := d.c.Metrics.enter(ctx)
	defer v.Leave()
	err := d.handle(ctx, v)
	drain(ctx, err == nil && ctx.Response().StatusCode()/100 == 2)
	var told *fiber.Error
	switch {
	case err == nil:
		v.Answered(ctx.Response().StatusCode())
	case errors.As(err, &told):
		v.Answered(told.Code)
	}
	return err
}

func (d *Door) handle(ctx fiber.Ctx, v *tally.Visit) error {
	if bucket, ok := d.site(ctx); ok {
		v.Is(opWebsite)
		return d.show(ctx, bucket)
	}
	if err := d.admit(ctx); err != nil {
		return answer(ctx, err)
	}
	if err := ctx.Next(); err != nil {
		return err
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(ctx.Path(), "/"), "/")
	status := ctx.Response().StatusCode()
	switch {
	case status/100 == 2 && key != "" && (len(ctx.Response().Header.Peek("ETag")) > 0 || ctx.Get(headerSSE) != ""):
		ctx.Response().Header.Set("x-amz-server-side-encryption", sseAlgorithm)
	case status == http.StatusNotImplemented && bucket != "" && key == "":
		args := ctx.Request().URI().QueryArgs()
		switch {
		case args.Has("lifecycle"):
			return d.setting(ctx, bucket, lifecycleSetting)
		case args.Has("encryption"):
			return d.setting(ctx, bucket, encryptionSetting)
		}
	}
	return nil
}

const (
	// maxTail is what may follow the last byte of an upload: the end of its chunks, with
	// signatures and checksums.
	maxTail = 64 << 10
	// refusedFor is how long a refused upload may take to end.
	refusedFor = time.Second
)

// drain reads what follows the bytes of an upload: whoever stores them needs nothing
// behind the last one, and what stays would be taken for the connection's next
// request. Where there is more, or a refused one goes on, the connection ends.
func drain(ctx fiber.Ctx, well bool) {
	rest := ctx.Request().BodyStream()
	if rest == nil {
		return
	}
	most := patience
	if !well {
		if ctx.Request().Header.ContentLength() >= 0 {
			return // how much belongs to it is known
		}
		if most = refusedFor; ctx.Get("Expect") != "" { // its client waits to be told
			ctx.Response().SetConnectionClose()
			return
		}
	}
	conn := ctx.RequestCtx().Conn()
	_ = conn.SetReadDeadline(time.Now().Add(most)) // a read will tell
	n, err := io.CopyN(io.Discard, rest, maxTail+1)
	_ = conn.SetReadDeadline(time.Time{})
	if n > maxTail || err != nil && !errors.Is(err, io.EOF) {
		ctx.Response().SetConnectionClose()
	}
}

// admit refuses encryption with keys that the door doesn't have, and documents
// that are too long to be read at once, or don't say how long they are.
func (d *Door) admit(ctx fiber.Ctx) error {
	for _, h := range []string{headerSSEC, headerFrom} {
		if ctx.Get(h) != "" {
			return s3err.GetNotImplementedErr(h, "")
		}
	}
	if sse := ctx.Get(headerSSE); sse != "" && sse != sseAlgorithm {
		return s3err.GetNotImplementedErr(headerSSE, "")
	}
	most := int64(maxDocument)
	switch d.body(ctx) {
	case streamed:
		return nil
	case form:
		most = maxForm
	}
	const chunked = -1
	switch n := int64(ctx.Request().Header.ContentLength()); {
	case n == chunked:
		return s3err.GetAPIError(s3err.ErrMissingContentLength)
	case n > most && most == maxForm:
		return s3err.GetEntityTooLargeErr(n, most)
	case n > most:
		return s3err.GetMaxMessageLengthExceeded(most)
	}
	return nil
}

// How a request's body is read.
type reading int

const (
	whole reading = iota
	streamed
	form // as a whole too
)

// body says how the gateway will read a request's body.
func (d *Door) body(ctx fiber.Ctx) reading {
	args := ctx.Request().URI().QueryArgs()
	_, key := d.names(ctx)
	switch {
	case ctx.Method() == http.MethodPost && key == "" && !args.Has("delete") && strings.HasPrefix(ctx.Get("Content-Type"), fiber.MIMEMultipartForm):
		return form
	case ctx.Method() != http.MethodPut || key == "" || ctx.Get("X-Amz-Copy-Source") != "":
		return whole
	}
	for _, doc := range []string{"tagging", "retention", "legal-hold", "acl"} {
		if args.Has(doc) {
			return whole
		}
	}
	return streamed
}

// names are the bucket and the key of a request that the gateway hasn't read yet.
func (d *Door) names(ctx fiber.Ctx) (bucket, key string) {
	path := strings.TrimPrefix(ctx.Path(), "/")
	if bucket, _, ok := strings.Cut(ctx.Host(), "."+d.c.Domain); ok && bucket != "" {
		return bucket, path
	}
	bucket, key, _ = strings.Cut(path, "/")
	return bucket, key
}

// answer ends a request with an error.
func answer(ctx fiber.Ctx, err error) error {
	var told s3err.S3Error
	if !errors.As(err, &told) {
		told = s3err.GetAPIError(s3err.ErrInternalError)
	}
	request, host := utils.EnsureRequestIDs(ctx)
	ctx.Response().ResetBody()
	ctx.Response().Header.SetContentType(fiber.MIMEApplicationXML)
	return ctx.Status(told.StatusCode()).Send(told.XMLBody(request, host))
}

// A setting of a bucket, which is read and written as a document.
type setting struct {
	get, put auth.Action
	read     func(d *Door, bucket string) ([]byte, error)
	write    func(d *Door, bucket string, doc []byte) error // nil removes it
}

// setting answers a request for one. Only requests that the gateway let through
// come here.
func (d *Door) setting(ctx fiber.Ctx, bucket string, s setting) error {
	bucket = strings.Clone(bucket)
	action, permission := s.put, auth.PermissionWrite
	if ctx.Method() == http.MethodGet {
		action, permission = s.get, auth.PermissionRead
	}
	account, _ := utils.ContextKeyAccount.Get(ctx).(auth.Account)
	acl, _ := utils.ContextKeyParsedAcl.Get(ctx).(auth.ACL)
	var err error
	if utils.ContextKeyPublicBucket.IsSet(ctx) { // to do what the gateway took it for, which may be something else
		err = auth.VerifyPublicAccess(ctx, d.back, action, permission, bucket, "")
	} else {
		err = auth.VerifyAccess(ctx, d.back, auth.AccessOptions{
			Acl: acl, AclPermission: permission, Acc: account, Bucket: bucket, Actions: []auth.Action{action}, Iam: d.users, DisableACL: true,
		})
	}
	if err != nil {
		return answer(ctx, err)
	}
	ctx.Response().ResetBody()
	var doc []byte
	switch ctx.Method() {
	case http.MethodGet:
		if doc, err = s.read(d, bucket); err == nil {
			ctx.Response().Header.SetContentType(fiber.MIMEApplicationXML)
			return ctx.Status(http.StatusOK).Send(append([]byte(xml.Header), doc...))
		}
	case http.MethodPut:
		if doc, err = document(ctx); err == nil {
			err = s.write(d, bucket, doc)
		}
		if err == nil {
			return ctx.SendStatus(http.StatusOK)
		}
	case http.MethodDelete:
		if err = s.write(d, bucket, nil); err == nil {
			ctx.Status(http.StatusNoContent)
			return nil
		}
	}
	return answer(ctx, err)
}

// document is the request's body, with the sum that came with it.
func document(ctx fiber.Ctx) ([]byte, error) {
	doc := bytes.Clone(ctx.BodyRaw())
	if want := ctx.Get("Content-Md5"); want != "" {
		if got := md5.Sum(doc); base64.StdEncoding.EncodeToString(got[:]) != want {
			return nil, s3err.GetBadDigestErr(base64.StdEncoding.EncodeToString(got[:]), want)
		}
	}
	if len(doc) == 0 {
		return nil, s3err.GetAPIError(s3err.ErrMalformedXML)
	}
	return doc, nil
}

const encrypted = `<ServerSideEncryptionConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Rule>` +
	`<ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>`

// encryptionSetting is always the same: what leaves this machine is encrypted by it.
var encryptionSetting = setting{
	get: auth.GetEncryptionConfigurationAction, put: auth.PutEncryptionConfigurationAction,
	read: func(*Door, string) ([]byte, error) { return []byte(encrypted), nil },
	write: func(_ *Door, _ string, doc []byte) error {
		var c struct {
			Rule []struct {
				Default struct{ SSEAlgorithm string } `xml:"ApplyServerSideEncryptionByDefault"`
			}
		}
		if doc == nil {
			return nil
		}
		if err := xml.Unmarshal(doc, &c); err != nil {
			return s3err.GetAPIError(s3err.ErrMalformedXML)
		}
		for _, r := range c.Rule {
			if r.Default.SSEAlgorithm != sseAlgorithm {
				return s3err.GetNotImplementedErr(headerSSE, "")
			}
		}
		return nil
	},
}
