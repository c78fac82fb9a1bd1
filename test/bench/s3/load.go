package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"hearth/api"
	"hearth/node/cloud"
	"hearth/test/bench/proc"
)

// A server is one of those compared.
type server struct {
	name   string
	bucket string
	*minio.Client
	creds *credentials.Credentials
	pids  []int // its processes on this machine
}

// spent is what the server's processes have used so far, in CPU seconds.
func (s *server) spent() (all float64) {
	for _, pid := range s.pids {
		all += proc.CPU(pid)
	}
	return all
}

func connect(name, at, key, secret string) (*server, error) {
	u, err := url.Parse(at)
	if err != nil {
		return nil, err
	}
	creds := credentials.NewStaticV4(key, secret, "")
	c, err := minio.New(u.Host, &minio.Options{Creds: creds, Secure: u.Scheme == "https", Region: "us-east-1"})
	return &server{name: name, bucket: "bench-" + strings.ToLower(rand.Text()[:10]), Client: c, creds: creds}, err
}

type bench struct {
	options
	servers []*server
	cloud   *cloud.Cloud
}

// A load is one kind of request.
type load struct {
	name string
	size int // of the object, 0: none moves
	do   func(ctx context.Context, s *server, n int64) error
}

// A figure is what one load came to at one server.
type figure struct {
	rate  float64 // requests a second
	p50   time.Duration
	spent float64 // CPU seconds of the server
	other float64 // cores that the rest of the machine kept busy
	n     int
}

const sets = 64 // objects of each size that are read

func (b *bench) loads(ctx context.Context) error {
	for _, s := range b.servers {
		if err := s.MakeBucket(ctx, s.bucket, minio.MakeBucketOptions{}); err != nil {
			return fmt.Errorf("make bucket at %s: %w", s.name, err)
		}
	}
	say("\n%-12s %-8s %10s %10s %10s %10s  %s", "", "", "req/s", "MB/s", "p50 ms", "CPU ms", "others  ratio")
	for _, size := range []int{4 << 10, 1 << 20, 64 << 20} {
		for _, l := range []load{put(size), get(size)} {
			if err := b.compare(ctx, l); err != nil {
				return err
			}
		}
	}
	for _, l := range []load{head(), list()} {
		if err := b.compare(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// compare does a load at every server in turn, round by round.
func (b *bench) compare(ctx context.Context, l load) error {
	all := map[*server][]figure{}
	for round := range b.rounds {
		for i, s := range b.servers {
			end := b.profiled(ctx, l.name, i == 0 && round == 0)
			f, err := b.press(ctx, s, l)
			end()
			if err != nil {
				return fmt.Errorf("%s at %s: %w", l.name, s.name, err)
			}
			all[s] = append(all[s], f)
		}
	}
	var mine figure
	for i, s := range b.servers {
		slices.SortFunc(all[s], func(a, b figure) int { return int(a.rate*1000) - int(b.rate*1000) })
		f := all[s][(len(all[s])-1)/2]
		ratio := ""
		if i == 0 {
			mine = f
		} else {
			ratio = fmt.Sprintf("%.2f of %s", mine.rate/f.rate, s.name)
		}
		say("%-12s %-8s %10.1f %10.1f %10.2f %10.2f %7.1f  %s", l.name, s.name, f.rate, f.rate*float64(l.size)/1e6, float64(f.p50)/1e6, 1000*f.spent/float64(f.n), f.other, ratio)
	}
	return nil
}

// press keeps all workers busy with a load for a while. What the server has put
// off until then is part of what it has spent.
func (b *bench) press(ctx context.Context, s *server, l load) (figure, error) {
	var (
		mu    sync.Mutex
		took  []time.Duration
		errs  []error
		wg    sync.WaitGroup
		count atomic.Int64
	)
	before, own, machine, began := s.spent(), proc.CPU(os.Getpid()), proc.Busy(), time.Now()
	for range b.workers {
		wg.Go(func() {
			for time.Since(began) < b.seconds && ctx.Err() == nil {
				from := time.Now()
				err := l.do(ctx, s, count.Add(1))
				mu.Lock()
				if err != nil {
					errs = append(errs, err)
				}
				took = append(took, time.Since(from))
				stop := len(errs) > 0
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	wg.Wait()
	wall := time.Since(began)
	slices.Sort(took)
	f := figure{rate: float64(len(took)) / wall.Seconds(), p50: took[len(took)/2], n: len(took)}
	f.other = max(0, (proc.Busy()-machine-(s.spent()-before)-(proc.CPU(os.Getpid())-own))/wall.Seconds())
	if err := errors.Join(append(errs, ctx.Err())...); err != nil {
		return f, err
	}
	f.spent = s.quiet(ctx) - before
	return f, ctx.Err()
}

// quiet waits until a server does nothing more for what was asked of it, for two
// minutes at most, and gives what it has spent: one load isn't slowed down by what
// another has left.
func (s *server) quiet(ctx context.Context) float64 {
	const idle = 0.25 // cores: twenty hosts follow the ledger with a tenth
	spent := s.spent()
	for range 120 {
		select {
		case <-ctx.Done():
			return spent
		case <-time.After(time.Second):
		}
		now := s.spent()
		if now-spent < idle {
			return now
		}
		spent = now
	}
	return spent
}

// profiled takes profiles of the door's node while a load runs and after it.
func (b *bench) profiled(ctx context.Context, name string, wanted bool) (end func()) {
	if b.profile == "" || !wanted {
		return func() {}
	}
	file := filepath.Join(b.profile, strings.ReplaceAll(name, " ", "-"))
	socket := api.Socket(b.cloud.Client.Dir)
	done := make(chan error, 1)
	go func() { done <- proc.Profile(ctx, socket, max(1, int(b.seconds.Seconds())), file+".cpu") }()
	return func() {
		if err := errors.Join(<-done, proc.Heap(ctx, socket, file+".heap")); err != nil {
			say("# no profile: %v", err)
		}
	}
}

// body is what an object of some size holds.
func body(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i*7 + i>>8 + i>>17)
	}
	return b
}

func key(size int, n int64) string { return fmt.Sprintf("%d/%04d", size, n%sets) }

func put(size int) load {
	data := body(size)
	return load{"PUT " + human(size), size, func(ctx context.Context, s *server, n int64) error {
		_, err := s.PutObject(ctx, s.bucket, key(size, n), bytes.NewReader(data), int64(size), minio.PutObjectOptions{DisableMultipart: true})
		return err
	}}
}

func get(size int) load {
	want := body(size)
	return load{"GET " + human(size), size, func(ctx context.Context, s *server, n int64) error {
		r, err := s.GetObject(ctx, s.bucket, key(size, n%min(sets, 8)+1), minio.GetObjectOptions{})
		if err != nil {
			return err
		}
		defer r.Close()
		return same(r, want)
	}}
}

var errOther = errors.New("it holds other bytes than were put")

// same reads r to its end beside what it should give.
func same(r io.Reader, want []byte) error {
	buf := make([]byte, 128<<10)
	for {
		n, err := r.Read(buf)
		if n > len(want) || !bytes.Equal(buf[:n], want[:n]) {
			return errOther
		}
		want = want[n:]
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if len(want) > 0 {
		return errOther
	}
	return nil
}

func head() load {
	return load{"HEAD", 0, func(ctx context.Context, s *server, n int64) error {
		_, err := s.StatObject(ctx, s.bucket, key(4<<10, n%8+1), minio.StatObjectOptions{})
		return err
	}}
}

func list() load {
	return load{"LIST", 0, func(ctx context.Context, s *server, _ int64) error {
		for o := range s.ListObjects(ctx, s.bucket, minio.ListObjectsOptions{Prefix: "4096/", Recursive: true}) {
			if o.Err != nil {
				return o.Err
			}
		}
		return nil
	}}
}

func human(size int) string {
	if size < 1<<20 {
		return fmt.Sprintf("%d KiB", size>>10)
	}
	return fmt.Sprintf("%d MiB", size>>20)
}
