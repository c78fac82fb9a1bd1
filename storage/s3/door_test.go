package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	aws3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"hearth/core/capability"
	"hearth/internal/port"
	"hearth/storage/client"
	"hearth/storage/index"
)

const owner = "hearth1owner"

// A stand is a door over a town, and its owner's client.
type stand struct {
	t     testing.TB
	town  *town
	files *client.Client
	keys  *Keys
	addr  string
	key   Key
	aws   *aws3.Client
}

func stood(t testing.TB) *stand { return standing(t, func(*Config) {}) }

func standing(t testing.TB, change func(*Config)) *stand {
	t.Helper()
	s := &stand{t: t, town: newTown(t, 6)}
	s.files = s.town.client(t)
	var err error
	if s.keys, err = OpenKeys(filepath.Join(t.TempDir(), "keys.json"), [32]byte{1}, time.Now); err != nil {
		t.Fatal(err)
	}
	n, err := port.Free()
	if err != nil {
		t.Fatal(err)
	}
	s.addr = fmt.Sprintf("127.0.0.1:%d", n)
	c := Config{Files: s.files, Index: s.files.Index(), Keys: s.keys, Owner: owner, Listen: s.addr}
	change(&c)
	d, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Serve(ctx) }()
	select {
	case <-d.Ready():
	case err := <-done:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	s.key, s.aws = s.with()
	return s
}

// with is a client with a key that is narrowed by the caveats.
func (s *stand) with(caveats ...capability.Caveat) (Key, *aws3.Client) {
	s.t.Helper()
	key, secret, err := s.keys.Add("", caveats...)
	if err != nil {
		s.t.Fatal(err)
	}
	return key, s.client(key.Access, secret.Word(), "")
}

func (s *stand) client(access, secret, token string, change ...func(*aws3.Options)) *aws3.Client {
	return aws3.New(aws3.Options{
		Region: DefaultRegion, BaseEndpoint: aws.String("http://" + s.addr), UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(access, secret, token), RetryMaxAttempts: 1,
	}, change...)
}

// codeOf is what S3 calls an error; empty when there is none.
func codeOf(err error) string {
	var e smithy.APIError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.ErrorCode()
	}
	return err.Error()
}

func (s *stand) want(code string, err error, what string) {
	s.t.Helper()
	if got := codeOf(err); got != code {
		s.t.Errorf("%s: %q, want %q (%v)", what, got, code, err)
	}
}

func (s *stand) bucket(name string) *string {
	s.t.Helper()
	_, err := s.aws.CreateBucket(s.t.Context(), &aws3.CreateBucketInput{Bucket: &name})
	s.want("", err, "make bucket "+name)
	return &name
}

func (s *stand) put(bucket, key, body string) *aws3.PutObjectOutput {
	s.t.Helper()
	out, err := s.aws.PutObject(s.t.Context(), &aws3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(body)})
	s.want("", err, "put "+key)
	return out
}

func (s *stand) get(bucket, key string) string {
	s.t.Helper()
	out, err := s.aws.GetObject(s.t.Context(), &aws3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		s.t.Errorf("get %s: %v", key, err)
		return ""
	}
	return s.all(out.Body)
}

func (s *stand) all(r io.ReadCloser) string {
	s.t.Helper()
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		s.t.Error(err)
	}
	return string(b)
}

// empty fails when something is listed under the prefix.
func (s *stand) empty(bucket, prefix string) {
	s.t.Helper()
	p, err := s.files.Index().List(s.t.Context(), bucket, index.Listing{Prefix: prefix})
	if err != nil || len(p.Objects) > 0 {
		s.t.Errorf("listed in %s below %q: %v, %v", bucket, prefix, p.Objects, err)
	}
}

// noise is bytes that repeat nowhere nearby.
func noise(n int) []byte {
	out := make([]byte, n)
	x := uint64(n) + 88172645463325252
	for i := range out {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		out[i] = byte(x)
	}
	return out
}

func TestWhatIsPutIsThere(t *testing.T) {
	s := stood(t)
	s.bucket("town")
	for _, tt := range []struct {
		key  string
		size int
	}{
		{"empty", 0},
		{"inline", 100},
		{"edge", 4096},
		{"small", 70_000},
		{"large", 3 << 20},
		{"a/b c/ü+&?#%25.txt", 10},
		{"trailing/", 0},
		{"double//slash", 3},
	} {
		body := noise(tt.size)
		out, err := s.aws.PutObject(t.Context(), &aws3.PutObjectInput{
			Bucket: aws.String("town"), Key: &tt.key, Body: bytes.NewReader(body), ContentType: aws.String("text/x-test"), Metadata: map[string]string{"who": "me"},
		})
		s.want("", err, "put "+tt.key)
		got, err := s.aws.GetObject(t.Context(), &aws3.GetObjectInput{Bucket: aws.String("town"), Key: &tt.key})
		if err != nil {
			t.Errorf("get %s: %v", tt.key, err)
			continue
		}
		if s.all(got.Body) != string(body) || *got.ContentType != "text/x-test" || got.Metadata["who"] != "me" || *got.ETag != *out.ETag {
			t.Errorf("%s: it came back otherwise: %+v", tt.key, got)
		}
		head, err := s.aws.HeadObject(t.Context(), &aws3.HeadObjectInput{Bucket: aws.String("town"), Key: &tt.key})
		if err != nil || *head.ContentLength != int64(tt.size) || *head.ETag != *out.ETag {
			t.Errorf("head %s: %+v, %v", tt.key, head, err)
		}
	}
}
