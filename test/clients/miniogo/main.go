// Command miniogo drives an S3 server with MinIO's Go client: signed chunks,
// multipart streams, ranges, conditions, listings, presigned links and posts,
// removal of many. It reads the AWS_ variables and exits 0 when all of it held.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	if err := drive(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "miniogo:", err)
		cancel()
		os.Exit(1)
	}
}

func drive(ctx context.Context) error {
	at, err := url.Parse(os.Getenv("AWS_ENDPOINT_URL"))
	if err != nil {
		return err
	}
	c, err := minio.New(at.Host, &minio.Options{
		Creds:  credentials.NewStaticV4(os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), ""),
		Secure: at.Scheme == "https", Region: os.Getenv("AWS_REGION"),
	})
	if err != nil {
		return err
	}
	b := bucket{c, "minio-go-" + strings.ToLower(rand.Text()[:12])}
	if err := c.MakeBucket(ctx, b.name, minio.MakeBucketOptions{Region: os.Getenv("AWS_REGION")}); err != nil {
		return fmt.Errorf("make bucket: %w", err)
	}
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"objects", b.objects},
		{"multipart", b.multipart},
		{"conditions", b.conditions},
		{"links", b.links},
		{"list and remove", b.remove},
	} {
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return c.RemoveBucket(ctx, b.name)
}

// A bucket is what the steps work on.
type bucket struct {
	*minio.Client
	name string
}

var errWrong = errors.New("the answer is wrong")

func (b bucket) put(ctx context.Context, key string, body []byte, o minio.PutObjectOptions) error {
	_, err := b.PutObject(ctx, b.name, key, bytes.NewReader(body), int64(len(body)), o)
	return err
}

// same says whether key holds body.
func (b bucket) same(ctx context.Context, key string, body []byte, o minio.GetObjectOptions) error {
	r, err := b.GetObject(ctx, b.name, key, o)
	if err != nil {
		return err
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err == nil && !bytes.Equal(got, body) {
		err = fmt.Errorf("%s holds %d bytes, not the %d put: %w", key, len(got), len(body), errWrong)
	}
	return err
}

func (b bucket) objects(ctx context.Context) error {
	for _, size := range []int{0, 1, 4095, 70_000, 3 << 20} {
		body := noise(size)
		key := fmt.Sprintf("a/%d", size)
		if err := b.put(ctx, key, body, minio.PutObjectOptions{ContentType: "text/x", UserMetadata: map[string]string{"Who": "me"}}); err != nil {
			return err
		}
		if err := b.same(ctx, key, body, minio.GetObjectOptions{}); err != nil {
			return err
		}
		info, err := b.StatObject(ctx, b.name, key, minio.StatObjectOptions{})
		if err != nil {
			return err
		}
		if info.Size != int64(size) || info.ContentType != "text/x" || info.UserMetadata["Who"] != "me" {
			return fmt.Errorf("stat %s: %+v: %w", key, info, errWrong)
		}
	}
	return nil
}

func (b bucket) multipart(ctx context.Context) error {
	body := noise(18 << 20)
	for _, threads := range []uint{1, 3} {
		o := minio.PutObjectOptions{PartSize: 5 << 20, NumThreads: threads, ConcurrentStreamParts: threads > 1}
		if _, err := b.PutObject(ctx, b.name, "big", io.MultiReader(bytes.NewReader(body)), -1, o); err != nil {
			return err
		}
		if err := b.same(ctx, "big", body, minio.GetObjectOptions{}); err != nil {
			return err
		}
	}
	var part minio.GetObjectOptions
	if err := part.SetRange(6_000_000, 6_099_999); err != nil {
		return err
	}
	if err := b.same(ctx, "big", body[6_000_000:6_100_000], part); err != nil {
		return err
	}
	src := minio.CopySrcOptions{Bucket: b.name, Object: "big"}
	if _, err := b.ComposeObject(ctx, minio.CopyDestOptions{Bucket: b.name, Object: "twice"}, src, src); err != nil {
		return err
	}
	return b.same(ctx, "twice", append(bytes.Clone(body), body...), minio.GetObjectOptions{})
}

func (b bucket) conditions(ctx context.Context) error {
	var once minio.PutObjectOptions
	once.SetMatchETagExcept("*")
	if err := b.put(ctx, "once", []byte("1"), once); err != nil {
		return err
	}
	if err := b.put(ctx, "once", []byte("2"), once); minio.ToErrorResponse(err).StatusCode != http.StatusPreconditionFailed {
		return errors.Join(fmt.Errorf("second put where there must be none: %w", errWrong), err)
	}
	return b.same(ctx, "once", []byte("1"), minio.GetObjectOptions{})
}

func (b bucket) links(ctx context.Context) error {
	put, err := b.PresignedPutObject(ctx, b.name, "link", time.Minute)
	if err != nil {
		return err
	}
	if err := call(ctx, http.MethodPut, put.String(), "text/plain", strings.NewReader("by link"), http.StatusOK); err != nil {
		return err
	}
	get, err := b.PresignedGetObject(ctx, b.name, "link", time.Minute, nil)
	if err != nil {
		return err
	}
	if err := call(ctx, http.MethodGet, get.String(), "", nil, http.StatusOK); err != nil {
		return err
	}
	forged := strings.Replace(get.String(), "/link?", "/once?", 1)
	return call(ctx, http.MethodGet, forged, "", nil, http.StatusForbidden)
}

func call(ctx context.Context, method, at, media string, body io.Reader, want int) error {
	req, err := http.NewRequestWithContext(ctx, method, at, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", media)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != want {
		return fmt.Errorf("%s by link: %s, not %d: %w", method, resp.Status, want, errWrong)
	}
	return nil
}

func (b bucket) remove(ctx context.Context) error {
	var dirs, n int
	for o := range b.ListObjects(ctx, b.name, minio.ListObjectsOptions{MaxKeys: 3}) {
		if o.Err != nil {
			return o.Err
		}
		if strings.HasSuffix(o.Key, "/") {
			dirs++
		}
	}
	all := make(chan minio.ObjectInfo)
	listed := make(chan error, 1)
	go func() {
		defer close(all)
		for o := range b.ListObjects(ctx, b.name, minio.ListObjectsOptions{Recursive: true}) {
			if o.Err != nil {
				listed <- o.Err
				return
			}
			n++
			all <- o
		}
		listed <- nil
	}()
	for e := range b.RemoveObjects(ctx, b.name, all, minio.RemoveObjectsOptions{}) {
		return e.Err
	}
	if err := <-listed; err != nil {
		return err
	}
	if dirs != 1 || n != 9 {
		return fmt.Errorf("listed %d folders and %d objects, not 1 and 9: %w", dirs, n, errWrong)
	}
	return nil
}

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}
