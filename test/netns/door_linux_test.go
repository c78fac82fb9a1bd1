package netns

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"hearth/api"
)

// aged is the bucket that keeps every version, written through the S3 door.
const aged = "aged"

// A version is one of an object's, as the S3 door lists it; sum is of its bytes
// and empty for a delete marker.
type version struct {
	key, id, etag  string
	size           int64
	latest, marker bool
	modified       time.Time
	sum            [32]byte
}

// door opens the machine's S3 door at its address and gives a client of it.
func (m *machine) door() *minio.Client {
	m.w.Helper()
	ctx, cancel := context.WithTimeout(m.w.Context(), patient)
	defer cancel()
	at, err := m.client().OpenS3(ctx, api.S3Listen{Listen: m.addr + ":9478", TLS: true})
	if err != nil {
		m.w.Fatal(err)
	}
	key, err := m.client().S3Secret(ctx, "")
	if err != nil {
		m.w.Fatal(err)
	}
	pem, err := os.ReadFile(at.Certificate)
	if err != nil {
		m.w.Fatal(err)
	}
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM(pem) {
		m.w.Fatalf("%s holds no certificate", at.Certificate)
	}
	u, err := url.Parse(at.Endpoint)
	if err != nil {
		m.w.Fatal(err)
	}
	web := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}}
	m.w.Cleanup(web.CloseIdleConnections)
	c, err := minio.New(u.Host, &minio.Options{
		Creds: credentials.NewStaticV4(key.Access, key.Secret, ""), Secure: true, Region: at.Region, Transport: web,
	})
	if err != nil {
		m.w.Fatal(err)
	}
	return c
}

// ages writes many versions through a door: of every size, some replaced, some
// deleted and some written again after that. It says how many versions there are.
func (m *machine) ages(c *minio.Client, keys int) (n int) {
	m.w.Helper()
	ctx := m.w.Context()
	if err := c.MakeBucket(ctx, aged, minio.MakeBucketOptions{}); err != nil {
		m.w.Fatal(err)
	}
	if err := c.EnableVersioning(ctx, aged); err != nil {
		m.w.Fatal(err)
	}
	sizes := []int{0, 1, 4095, 4096, 20_000, 300_000, 6 << 20}
	put := func(ctx context.Context, key string, i, size int) error {
		body := io.LimitReader(rand.NewChaCha8([32]byte{1, byte(i), byte(size)}), int64(size))
		_, err := c.PutObject(ctx, aged, key, body, int64(size), minio.PutObjectOptions{PartSize: 5 << 20, ContentType: "text/x-" + key})
		return err
	}
	m.each(keys, func(ctx context.Context, i int) error {
		key := fmt.Sprintf("plain/%d", i)
		if i < len(spelled) {
			key = spelled[i]
		}
		var errs []error
		for round := range 1 + i%3 {
			errs = append(errs, put(ctx, key, i, sizes[(i+round)%len(sizes)]))
		}
		if i%4 == 0 {
			errs = append(errs, c.RemoveObject(ctx, aged, key, minio.RemoveObjectOptions{}))
		}
		if i%8 == 0 {
			errs = append(errs, put(ctx, key, i, 77))
		}
		return errors.Join(errs...)
	})
	for i := range keys {
		n += 1 + i%3
		if i%4 == 0 {
			n++
		}
		if i%8 == 0 {
			n++
		}
	}
	return n
}

// spelled are odd names that an S3 client can say.
var spelled = []string{"a b", "a+b&c=d", "a%20b", "ä/ö/ü", "日本語.txt", "emoji 🔥", "trailing/", "quote\"'", "*?[x]", "-rf"}

// aged lists all versions at a door and reads each of them.
func (m *machine) aged(c *minio.Client) []version {
	m.w.Helper()
	ctx, cancel := context.WithTimeout(m.w.Context(), 5*time.Minute)
	defer cancel()
	var all []version
	for o := range c.ListObjects(ctx, aged, minio.ListObjectsOptions{WithVersions: true, Recursive: true}) {
		if o.Err != nil {
			m.w.Fatal(o.Err)
		}
		all = append(all, version{
			key: o.Key, id: o.VersionID, etag: o.ETag, size: o.Size, latest: o.IsLatest, marker: o.IsDeleteMarker, modified: o.LastModified,
		})
	}
	m.each(len(all), func(ctx context.Context, i int) error {
		v := &all[i]
		if v.marker {
			return nil
		}
		o, err := c.GetObject(ctx, aged, v.key, minio.GetObjectOptions{VersionID: v.id})
		if err != nil {
			return err
		}
		defer o.Close()
		sum := sha256.New()
		if n, err := io.Copy(sum, o); err != nil || n != v.size {
			return fmt.Errorf("version %s of %q: %d bytes of %d: %w", v.id, v.key, n, v.size, err)
		}
		v.sum = [32]byte(sum.Sum(nil))
		return nil
	})
	return all
}

// same says where two lists of versions differ.
func same(t *testing.T, got, want []version) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d versions, %d were stored", len(got), len(want))
	}
	for i, v := range got[:min(len(got), len(want))] {
		if v != want[i] {
			t.Errorf("version %d is\n%+v, it was\n%+v", i, v, want[i])
		}
	}
	if !slices.ContainsFunc(want, func(v version) bool { return v.marker }) {
		t.Error("no delete marker was among them")
	}
}
