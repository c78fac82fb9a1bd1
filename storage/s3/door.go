// Package s3 is the door of storage that every S3 tool knows: a gateway speaks the
// protocol, and this package answers it from the list of files and the hosts. It
// keeps no bytes: what is put streams to the hosts while it is hashed, and what is
// read streams back. It refuses whoever shows no key or leaves its caveats, what
// isn't what it was said to be, and answers NotImplemented to what it doesn't do.
package s3

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/versity/versitygw/s3api"
	"github.com/versity/versitygw/s3api/middlewares"

	"hearth/core/fault"
	"hearth/storage/client"
	"hearth/storage/index"
)

// Files moves bytes; storage/client is one.
type Files interface {
	Put(ctx context.Context, ref index.Ref, src io.Reader, o client.PutOptions) (client.Result, error)
	PutPart(ctx context.Context, ref index.Ref, upload string, number int, src io.Reader, o client.PutOptions) (index.Part, error)
	Get(ctx context.Context, ref index.Ref, w io.Writer, o client.GetOptions) (index.Object, error)
	Remove(ctx context.Context, ref index.Ref, o index.RemoveOptions) (index.Removed, error)
}

// Index is the list of files; storage/index is one.
type Index interface {
	Buckets(ctx context.Context) ([]index.Bucket, error)
	Bucket(ctx context.Context, name string) (index.Bucket, error)
	HasBucket(ctx context.Context, name string) (bool, error)
	MakeBucket(ctx context.Context, name string) error
	RemoveBucket(ctx context.Context, name string) error
	SetVersioning(ctx context.Context, name string, v index.Versioning) error
	BucketDocs(ctx context.Context, bucket string) (map[string][]byte, error)
	SetBucketDoc(ctx context.Context, bucket, name string, doc []byte) error

	Head(ctx context.Context, ref index.Ref) (index.Object, error)
	CopyAs(ctx context.Context, from, to index.Ref, c index.Condition, change func(*index.Draft) error) (index.Object, error)
	SetAttrs(ctx context.Context, ref index.Ref, change func(*index.Attrs) error) (index.Object, error)
	List(ctx context.Context, bucket string, l index.Listing) (index.Page, error)
	ListVersions(ctx context.Context, bucket string, l index.VersionListing) (index.VersionPage, error)

	NewUpload(ctx context.Context, ref index.Ref, h index.UploadHead) (string, error)
	UploadOf(ctx context.Context, ref index.Ref, id string) (index.Upload, error)
	Uploads(ctx context.Context, bucket, prefix, afterKey, afterID, delimiter string, limit int) (index.UploadPage, error)
	Parts(ctx context.Context, ref index.Ref, id string, after, limit int) ([]index.Part, error)
	CompleteUpload(ctx context.Context, ref index.Ref, id string, parts []index.PartRef, d index.Draft) (index.Object, error)
	AbortUpload(ctx context.Context, ref index.Ref, id string) error
}

// A Config is what a Door needs. A zero field takes its stated default.
type Config struct {
	Files Files  // required
	Index Index  // required
	Keys  *Keys  // required
	Owner string // required: the account that all buckets belong to

	Listen string // required: host:port
	Region string // default us-east-1
	Domain string // of names like BUCKET.s3.localhost; default s3.localhost

	Website string // domain of websites, like BUCKET.web.localhost; default web.localhost
	Cert    string // file of a certificate, with Key; without them the door speaks plain HTTP
	Key     string

	Metrics *Metrics // default: figures that nobody sees

	Now func() time.Time // default time.Now
	Log *slog.Logger     // default: discard
}

// Defaults of a door.
const (
	DefaultRegion = "us-east-1" // what clients sign for when nobody told them
	DefaultDomain = "s3.localhost"

	maxConnections = 4096
	maxRequests    = 512 // beyond these, SlowDown
)

// A Door answers S3 requests.
type Door struct {
	c       Config
	back    *backend
	users   *iam
	gateway *s3api.S3ApiServer
	end     context.CancelFunc
	ready   chan struct{}
}

// New makes a door, which listens from Serve on.
func New(c Config) (*Door, error) {
	if c.Files == nil || c.Index == nil || c.Keys == nil || c.Owner == "" || c.Listen == "" {
		return nil, errors.New("s3 door: Files, Index, Keys, Owner and Listen are needed")
	}
	if c.Region == "" {
		c.Region = DefaultRegion
	}
	if c.Domain == "" {
		c.Domain = DefaultDomain
	}
	if c.Website == "" {
		c.Website = DefaultWebsite
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	d := &Door{c: c, ready: make(chan struct{})}
	ctx, end := context.WithCancel(context.Background())
	d.end = end
	d.back = &backend{c: c, ctx: ctx, quotas: newQuotas(c.Index, c.Now), rereads: make(chan struct{}, 1)}
	d.users = &iam{keys: c.Keys, owner: c.Owner, now: c.Now}
	var err error
	d.gateway, err = s3api.New(d.back, nobody(c.Owner), c.Region, d.users, nil, nil, nil, gatewayFigures{c.Metrics},
		s3api.WithQuiet(), s3api.WithKeepAlive(), s3api.WithDisableACL(), s3api.WithHostStyle(c.Domain),
		s3api.WithConcurrencyLimiter(maxConnections, maxRequests), s3api.WithMpMaxParts(index.MaxParts), s3api.WithMiddleware("/", d.front),
		s3api.WithOnListen(func() { close(d.ready) }))
	if err != nil {
		end()
		return nil, fmt.Errorf("s3 door: %w", err)
	}
	if c.Cert != "" {
		if err := secure(&d.gateway.CertStorage, c.Cert, c.Key); err != nil {
			end()
			return nil, fault.New(fault.BadConfig, "s3 door: certificate %s: %w", c.Cert, err)
		}
	}
	return d, nil
}

// nobody is the gateway's root user, whose secret nobody knows: what it may do is
// done by `hearth s3 keys`.
func nobody(owner string) middlewares.RootUserConfig {
	return middlewares.RootUserConfig{Access: owner, Secret: rand.Text() + rand.Text()}
}

// secure has the gateway use a certificate. Its type has no name outside.
func secure[S any, P interface {
	*S
	SetCertificate(cert, key string) error
}](into *P, cert, key string) error {
	p := P(new(S))
	*into = p
	return p.SetCertificate(cert, key)
}

// Ready is closed when the door answers.
func (d *Door) Ready() <-chan struct{} { return d.ready }

// Serve answers until ctx ends.
func (d *Door) Serve(ctx context.Context) error {
	defer d.end()
	failed := make(chan error, 1)
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() { d.tend(d.back.ctx) })
	go func() { failed <- d.gateway.ServeMultiPort([]string{d.c.Listen}) }()
	select {
	case err := <-failed:
		d.end()
		return fault.New(fault.AddressTaken, "s3 door: listen on %s: %w", d.c.Listen, err)
	case <-ctx.Done():
	}
	d.end()
	if err := d.gateway.ShutDown(); err != nil {
		d.c.Log.Debug("S3 door closed with requests open", "err", err)
	}
	if err := <-failed; err != nil {
		d.c.Log.Debug("S3 door ended", "err", err)
	}
	return nil
}

// Region is what clients sign for.
func (d *Door) Region() string { return d.c.Region }

// Domain is that of buckets' host names.
func (d *Door) Domain() string { return d.c.Domain }

// Website is the domain of buckets' websites.
func (d *Door) Website() string { return d.c.Website }
