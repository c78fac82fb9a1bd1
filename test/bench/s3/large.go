package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
)

// large fills a bucket of the door with small objects, lists it page by page, and
// has another machine restore it.
func (b *bench) large(ctx context.Context) error {
	s := b.servers[0]
	bucket := s.bucket + "-large"
	if err := s.MakeBucket(ctx, bucket, minio.MakeBucketOptions{}); err != nil {
		return err
	}
	began := time.Now()
	if err := b.fill(ctx, s, bucket); err != nil {
		return fmt.Errorf("fill bucket: %w", err)
	}
	say("\n%d objects of 100 B put in %.1f s (%.0f/s)", b.objects, time.Since(began).Seconds(), float64(b.objects)/time.Since(began).Seconds())
	s.quiet(ctx)
	end := b.profiled(ctx, "LIST 1000", true)
	err := b.pages(s, bucket)
	if end(); err != nil {
		return err
	}
	b.memory("these objects and their listing")
	return b.restore(ctx)
}

// pages lists a bucket whole, several times.
func (b *bench) pages(s *server, bucket string) error {
	var came arrival
	c, err := minio.New(s.EndpointURL().Host, &minio.Options{Creds: s.creds, Secure: s.EndpointURL().Scheme == "https", Region: "us-east-1", Transport: &came})
	if err != nil {
		return err
	}
	core := minio.Core{Client: c}
	var took []time.Duration
	for range 3 {
		listed, after := 0, ""
		for more := true; more; {
			from := time.Now()
			page, err := core.ListObjectsV2(bucket, "", after, "", "", 1000)
			if err != nil {
				return err
			}
			took = append(took, time.Since(from))
			listed, more = listed+len(page.Contents), page.IsTruncated
			if more {
				after = page.Contents[len(page.Contents)-1].Key
			}
		}
		if listed != b.objects {
			return fmt.Errorf("listed %d of %d objects: %w", listed, b.objects, errOther)
		}
	}
	for _, f := range []struct {
		what string
		took []time.Duration
	}{{"to the last byte", came.took}, {"with the client's reading of it", took}} {
		slices.Sort(f.took)
		say("list of it: %d pages, p50 %.1f ms, p99 %.1f ms %s", len(f.took), float64(f.took[len(f.took)/2])/1e6, float64(f.took[len(f.took)*99/100])/1e6, f.what)
	}
	return nil
}

// arrival times answers from the request to the last byte of the body.
type arrival struct{ took []time.Duration }

func (a *arrival) RoundTrip(r *http.Request) (*http.Response, error) {
	from := time.Now()
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(res.Body)
	a.took = append(a.took, time.Since(from))
	res.Body.Close()
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, err
}

func (b *bench) fill(ctx context.Context, s *server, bucket string) error {
	body := strings.Repeat("x", 100)
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, 4*b.workers)
	for i := range errs {
		wg.Go(func() {
			for n := next.Add(1); n <= int64(b.objects) && errs[i] == nil; n = next.Add(1) {
				_, errs[i] = s.PutObject(ctx, bucket, fmt.Sprintf("dir%02d/object-%07d", n%97, n), strings.NewReader(body), int64(len(body)), minio.PutObjectOptions{})
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
