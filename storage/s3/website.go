package s3

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// DefaultWebsite is the domain below which buckets show their websites.
const DefaultWebsite = "web.localhost"

// site is the bucket whose website a request is for.
func (d *Door) site(ctx fiber.Ctx) (bucket string, ok bool) {
	host := ctx.Host()
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	bucket, ok = strings.CutSuffix(strings.ToLower(host), "."+d.c.Website)
	return strings.Clone(bucket), ok && bucket != ""
}

// show serves a page of a bucket's website to anybody: only objects that the
// bucket's policy gives to everybody are shown.
func (d *Door) show(ctx fiber.Ctx, bucket string) error {
	if m := ctx.Method(); m != http.MethodGet && m != http.MethodHead {
		return page(ctx, s3err.GetMethodNotAllowedErr(m, s3err.ResourceTypeObject, []string{http.MethodGet, http.MethodHead}))
	}
	key, err := url.PathUnescape(strings.TrimPrefix(string(ctx.Request().URI().PathOriginal()), "/"))
	if err != nil {
		return page(ctx, s3err.GetAPIError(s3err.ErrInvalidURI))
	}
	doc, err := d.back.GetBucketWebsite(ctx.RequestCtx(), bucket)
	if err != nil {
		return page(ctx, err)
	}
	site, err := s3response.ParseWebsiteConfigOutput(doc)
	if err != nil {
		return page(ctx, s3err.GetAPIError(s3err.ErrInternalError))
	}
	if all := site.RedirectAllRequestsTo; all != nil {
		return redirect(ctx, http.StatusMovedPermanently, all.Protocol, all.HostName, key)
	}
	if r := site.MatchPrefetchRoutingRule(key); r != nil {
		return routed(ctx, r, key)
	}
	at := key
	if site.IndexDocument != nil && (key == "" || strings.HasSuffix(key, "/")) {
		at += site.IndexDocument.Suffix
	}
	err = d.serve(ctx, bucket, at, http.StatusOK)
	if err == nil {
		return nil
	}
	if site.IndexDocument != nil && key != "" && !strings.HasSuffix(key, "/") {
		// Not for what isn't shown: that it is there is nobody's business.
		index := key + "/" + site.IndexDocument.Suffix
		e := auth.VerifyPublicAccess(ctx, d.back, auth.GetObjectAction, auth.PermissionRead, bucket, index)
		if e == nil {
			_, e = d.back.HeadObject(ctx.RequestCtx(), &s3.HeadObjectInput{Bucket: &bucket, Key: &index})
		}
		if e == nil {
			return redirect(ctx, http.StatusFound, "", "", key+"/")
		}
	}
	var told s3err.S3Error
	if !errors.As(err, &told) {
		return page(ctx, err)
	}
	if r := site.MatchPostErrorRoutingRule(key, told.StatusCode()); r != nil {
		return routed(ctx, r, key)
	}
	if site.ErrorDocument != nil && told.StatusCode() != http.StatusNotModified {
		if d.serve(ctx, bucket, site.ErrorDocument.Key, told.StatusCode()) == nil {
			return nil
		}
	}
	return page(ctx, err)
}

// serve gives one object, or says why not and has written nothing.
func (d *Door) serve(ctx fiber.Ctx, bucket, key string, status int) error {
	if key == "" {
		return s3err.GetAPIError(s3err.ErrNoSuchKey)
	}
	if err := auth.VerifyPublicAccess(ctx, d.back, auth.GetObjectAction, auth.PermissionRead, bucket, key); err != nil {
		return err
	}
	in := &s3.GetObjectInput{Bucket: &bucket, Key: &key}
	if status == http.StatusOK {
		when := utils.ParsePreconditionHeaders(ctx)
		in.IfMatch, in.IfNoneMatch, in.IfModifiedSince, in.IfUnmodifiedSince = when.IfMatch, when.IfNoneMatch, when.IfModSince, when.IfUnmodeSince
		in.Range = ptr(ctx.Get("Range"))
	}
	o, err := d.back.GetObject(ctx.RequestCtx(), in)
	if err != nil {
		return err
	}
	if to := str(o.WebsiteRedirectLocation); to != "" {
		_ = o.Body.Close() // it was only to be read
		ctx.Set("Location", to)
		ctx.Status(http.StatusMovedPermanently)
		return nil
	}
	for name, v := range map[string]*string{
		"ETag": o.ETag, "Content-Type": o.ContentType, "Content-Encoding": o.ContentEncoding, "Content-Language": o.ContentLanguage,
		"Content-Disposition": o.ContentDisposition, "Cache-Control": o.CacheControl, "Expires": o.ExpiresString, "Content-Range": o.ContentRange, "Accept-Ranges": o.AcceptRanges,
	} {
		if v != nil && *v != "" {
			ctx.Set(name, *v)
		}
	}
	ctx.Set("Last-Modified", o.LastModified.UTC().Format(http.TimeFormat))
	if o.ContentRange != nil && status == http.StatusOK {
		status = http.StatusPartialContent
	}
	ctx.Status(status)
	if ctx.Method() == http.MethodHead {
		_ = o.Body.Close() // nobody wants it
		ctx.Response().SkipBody = true
		ctx.Response().Header.SetContentLength(int(*o.ContentLength))
		return nil
	}
	utils.StreamResponseBody(ctx, o.Body, int(*o.ContentLength))
	return nil
}

// routed answers with the redirect of a rule.
func routed(ctx fiber.Ctx, r *s3response.RoutingRule, key string) error {
	to, code := r.Redirect, http.StatusMovedPermanently
	switch {
	case to.ReplaceKeyWith != "":
		key = to.ReplaceKeyWith
	case to.ReplaceKeyPrefixWith != "" && r.Condition != nil:
		key = to.ReplaceKeyPrefixWith + strings.TrimPrefix(key, r.Condition.KeyPrefixEquals)
	}
	if n, err := strconv.Atoi(to.HttpRedirectCode); err == nil {
		code = n
	}
	return redirect(ctx, code, to.Protocol, to.HostName, key)
}

func redirect(ctx fiber.Ctx, code int, protocol, host, key string) error {
	if protocol == "" {
		protocol = ctx.Scheme()
	}
	if host == "" {
		host = ctx.Host()
	}
	to := url.URL{Scheme: protocol, Host: host, Path: "/" + key, RawQuery: string(ctx.Request().URI().QueryString())}
	ctx.Set("Location", to.String())
	ctx.Status(code)
	return nil
}

// page is an error as a person sees it.
func page(ctx fiber.Ctx, err error) error {
	var told s3err.S3Error
	if !errors.As(err, &told) {
		told = s3err.GetAPIError(s3err.ErrInternalError)
	}
	request, host := utils.EnsureRequestIDs(ctx)
	ctx.Status(told.StatusCode())
	if told.StatusCode() == http.StatusNotModified {
		return nil
	}
	ctx.Response().Header.SetContentType(fiber.MIMETextHTMLCharsetUTF8)
	return ctx.Send(told.HTMLBody(request, host))
}
