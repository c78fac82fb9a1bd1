package cli

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"encoding/xml"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/smithy-go/encoding/httpbinding"
	"github.com/spf13/cobra"

	"hearth/api"
	"hearth/core/fault"
	"hearth/core/share"
	"hearth/internal/size"
	"hearth/internal/terminal"
	"hearth/sdk"
)

// A writeShare is a link for writing that was given out.
type writeShare struct {
	Name  string    `json:"name"`
	Quota int64     `json:"quota"`
	Until time.Time `json:"until"`
	Key   string    `json:"key"`
	Link  string    `json:"link"`
}

// shareWrite gives out a link with which somebody may put objects under a prefix at
// this node's S3 door: a key that may do that and nothing else.
func (a *App) shareWrite(c *cobra.Command, name sdk.Name, until time.Time, quota, endpoint string) error {
	if name.Key == "" {
		return fault.New(fault.BadName, "share --write hearth://%s/: give a prefix, like hearth://%s/inbox/", name.Bucket, name.Bucket)
	}
	most, err := size.Parse(quota)
	if err != nil {
		return err
	}
	if most == 0 {
		return fault.New(fault.BadRequest, "share --write: a quota of nothing")
	}
	return Ask(a, c, func(ctx context.Context, n *sdk.Client) (writeShare, error) {
		door, err := n.S3(ctx)
		if err != nil {
			return writeShare{}, err
		}
		if !door.Open {
			return writeShare{}, fault.New(fault.BadRequest, "share --write: the S3 door is closed: writers come in there; `hearth s3 serve` or the setting [S3] listen opens it")
		}
		if _, err := n.MakeBucket(ctx, name.Bucket); err != nil {
			return writeShare{}, err
		}
		l := share.Write{Endpoint: door.Endpoint, Region: door.Region, Bucket: name.Bucket, Prefix: name.Key}
		if endpoint != "" {
			l.Endpoint = endpoint
		} else if l.Certificate, err = certificate(door.Certificate); err != nil {
			return writeShare{}, err
		}
		var b [4]byte
		rand.Read(b[:]) // never fails
		key, err := n.AddS3Key(ctx, api.S3KeyWish{
			Name: "write-" + hex.EncodeToString(b[:]), Bucket: name.Bucket, Prefix: name.Key, WriteOnly: true, Expires: until, Quota: int64(most),
		})
		if err != nil {
			return writeShare{}, err
		}
		l.Access, l.Secret = key.Access, key.Secret
		return writeShare{Name: name.Bucket + "/" + name.Key, Quota: int64(most), Until: until, Key: key.Name, Link: l.String()}, nil
	}, func(s writeShare) *terminal.Rows {
		return terminal.Card().Add("Open for writing", sdkName(s.Name)).Add("Quota", terminal.Size(s.Quota)).Add("Until", terminal.When(s.Until)).
			Add("Ends by", "hearth s3 keys rm "+s.Key).Add("Link", s.Link)
	})
}

// certificate reads the one that the door has signed itself, if it has.
func certificate(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, FileFault("share", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fault.New(fault.BadConfig, "read %s: it is no certificate", path)
	}
	return block.Bytes, nil
}

// putLink puts files at somebody's door, with no node of one's own.
func (a *App) putLink(ctx context.Context, files []string, link string) error {
	l, err := share.ParseWrite(link)
	if err != nil {
		return err
	}
	web, err := clientOf(l)
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := putAt(ctx, web, l, file); err != nil {
			return err
		}
		a.Term.Say("%s is at hearth://%s/%s", file, l.Bucket, l.Prefix+filepath.Base(file))
	}
	return nil
}

// doorPatience is how long a door may take to answer once it has a file whole: it
// keeps it safe with hosts first.
const doorPatience = 5 * time.Minute

// clientOf trusts the certificate that the link names, and goes nowhere else.
func clientOf(l share.Write) (*http.Client, error) {
	web := http.DefaultTransport.(*http.Transport).Clone()
	web.ResponseHeaderTimeout = doorPatience
	if len(l.Certificate) > 0 {
		cert, err := x509.ParseCertificate(l.Certificate)
		if err != nil {
			return nil, fault.New(fault.BadRequest, "link: its certificate: %w", err)
		}
		roots := x509.NewCertPool()
		roots.AddCert(cert)
		web.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: web, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}

func putAt(ctx context.Context, web *http.Client, l share.Write, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return FileFault("put", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return FileFault("put", err)
	}
	if !info.Mode().IsRegular() {
		return fault.New(fault.BadRequest, "put %s: with a link only files can be put", file)
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return FileFault("put", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return FileFault("put", err)
	}
	r, err := signed(ctx, l, l.Prefix+filepath.Base(file), hex.EncodeToString(sum.Sum(nil)), f, info.Size())
	if err != nil {
		return err
	}
	answer, err := web.Do(r)
	if err != nil {
		return fault.New(fault.HostUnreachable, "put %s: the door of the link: %w", file, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusOK {
		return nil
	}
	var told struct{ Code, Message string }
	if err := xml.NewDecoder(io.LimitReader(answer.Body, 64<<10)).Decode(&told); err != nil {
		told.Code = answer.Status
	}
	if told.Code == "QuotaExceeded" {
		return fault.New(fault.TooLarge, "put %s: the link's quota: %q", file, told.Message)
	}
	return fault.New(fault.Unauthorized, "put %s: the door of the link refuses it: %q: %q", file, told.Code, told.Message)
}

// signed is the request that puts an object, whose contents are signed too.
func signed(ctx context.Context, l share.Write, key, sum string, body io.Reader, size int64) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, l.Endpoint, body)
	if err != nil {
		return nil, fault.New(fault.BadRequest, "link: its door: %w", err)
	}
	r.URL.Path = "/" + l.Bucket + "/" + key
	r.URL.RawPath = httpbinding.EscapePath(r.URL.Path, false)
	r.ContentLength = size
	if size == 0 {
		r.Body = http.NoBody
	}
	r.Header.Set("X-Amz-Content-Sha256", sum)
	by := aws.Credentials{AccessKeyID: l.Access, SecretAccessKey: l.Secret}
	err = v4.NewSigner().SignHTTP(ctx, by, r, sum, "s3", l.Region, time.Now(), func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err != nil {
		return nil, fault.New(fault.BadRequest, "link: its key: %w", err)
	}
	return r, nil
}
