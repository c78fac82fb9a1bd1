package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"hearth/api"
	"hearth/sdk"
)

const bucket = "bench"

// A part is something done some times and measured each time.
type part struct {
	name string
	do   func(ctx context.Context, round int) error
}

// randomFile writes size random bytes and gives their hash.
func randomFile(name string, size int64) (sum [32]byte, err error) {
	f, err := os.Create(name)
	if err != nil {
		return sum, err
	}
	h := sha256.New()
	_, err = io.CopyN(io.MultiWriter(f, h), rand.Reader, size)
	return [32]byte(h.Sum(nil)), errors.Join(err, f.Close())
}

func (b *bench) key(round int) string { return "file" + strconv.Itoa(round) }

// put stores the file under a name of its own.
func (b *bench) put(ctx context.Context, round int) error {
	f, err := os.Open(b.file)
	if err != nil {
		return err
	}
	defer f.Close()
	o, err := b.client.Put(ctx, bucket, b.key(round), f, b.size, sdk.PutOptions{})
	if err == nil && o.Pending > 0 {
		err = fmt.Errorf("%d shards are pending", o.Pending)
	}
	return err
}

// get reads the file back; the comparison isn't part of what is measured, so it
// is made in every first round only.
func (b *bench) get(ctx context.Context, round int) error {
	d, err := b.client.Get(ctx, bucket, b.key(round), sdk.GetOptions{})
	if err != nil {
		return err
	}
	defer d.Close()
	if round > 0 {
		n, err := io.CopyBuffer(onlyWriter{io.Discard}, d, make([]byte, 1<<20))
		if err == nil && n != b.size {
			err = fmt.Errorf("%d of %d bytes came", n, b.size)
		}
		return err
	}
	h := sha256.New()
	if _, err := io.Copy(h, d); err != nil {
		return err
	}
	return b.compare(h.Sum(nil))
}

// onlyWriter hides io.ReaderFrom, whose buffer is small.
type onlyWriter struct{ io.Writer }

func (b *bench) compare(sum []byte) error {
	if !bytes.Equal(sum, b.sum[:]) {
		return errors.New("what came back isn't what was stored")
	}
	return nil
}

func (b *bench) commandPut(ctx context.Context, round int) error {
	return b.hearthCommand(ctx, "put", b.file, "hearth://"+bucket+"/command"+strconv.Itoa(round))
}

func (b *bench) commandGet(ctx context.Context, round int) error {
	target := filepath.Join(b.dir, "back")
	defer os.Remove(target)
	if err := b.hearthCommand(ctx, "get", "hearth://"+bucket+"/command"+strconv.Itoa(round), target); err != nil || round > 0 {
		return err
	}
	f, err := os.Open(target)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	return b.compare(h.Sum(nil))
}

func (b *bench) hearthCommand(ctx context.Context, args ...string) error {
	c := exec.CommandContext(ctx, b.hearth, append([]string{"--dir", b.cloud.Client.Dir}, args...)...)
	var errs bytes.Buffer
	c.Stderr = &errs
	if err := c.Run(); err != nil {
		return fmt.Errorf("hearth %s: %w: %s", args[0], err, errs.String())
	}
	return nil
}

// small reads ranges of 64 KiB at random places.
func (b *bench) small(ctx context.Context) error {
	return b.often(ctx, "64 KiB ranges, SDK", b.readSome)
}

// often has do done again and again, one after the other and eight at once. do says
// how long each of n took.
func (b *bench) often(ctx context.Context, what string, do func(ctx context.Context, n int) ([]time.Duration, error)) error {
	for _, atOnce := range []int{1, 8} {
		times := make([][]time.Duration, atOnce)
		errs := make([]error, atOnce)
		before := b.look()
		var wg sync.WaitGroup
		for i := range atOnce {
			wg.Go(func() { times[i], errs[i] = do(ctx, b.ranges/atOnce) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		u := b.look().since(before)
		all := slices.Concat(times...)
		slices.Sort(all)
		at := func(q float64) float64 { return all[int(q*float64(len(all)-1))].Seconds() * 1000 }
		say("%s, %d at once: p50 %.2f ms, p99 %.2f ms, %.0f a second; CPU ms each: client %.2f, hosts %.2f; others %.1f cores",
			what, atOnce, at(0.5), at(0.99), float64(len(all))/u.wall.Seconds(), u.client*1000/float64(len(all)), u.hosts*1000/float64(len(all)), u.others)
	}
	return nil
}

func (b *bench) readSome(ctx context.Context, n int) ([]time.Duration, error) {
	const span = 64 << 10
	buf := make([]byte, span)
	times := make([]time.Duration, 0, n)
	for range n {
		off := mathrand.Int64N(b.size/span) * span
		began := time.Now()
		d, err := b.client.Get(ctx, bucket, b.key(0), sdk.GetOptions{Range: &api.Range{Offset: off, Length: span}})
		if err != nil {
			return nil, err
		}
		_, err = io.ReadFull(d, buf)
		if err = errors.Join(err, d.Close()); err != nil {
			return nil, err
		}
		times = append(times, time.Since(began))
	}
	return times, b.checkRange(ctx)
}

// checkRange compares one range with the file.
func (b *bench) checkRange(ctx context.Context) error {
	f, err := os.Open(b.file)
	if err != nil {
		return err
	}
	defer f.Close()
	want, got := make([]byte, 1000), make([]byte, 1000)
	off := mathrand.Int64N(b.size - int64(len(want)))
	if _, err := f.ReadAt(want, off); err != nil {
		return err
	}
	d, err := b.client.Get(ctx, bucket, b.key(0), sdk.GetOptions{Range: &api.Range{Offset: off, Length: int64(len(want))}})
	if err != nil {
		return err
	}
	_, err = io.ReadFull(d, got)
	if err = errors.Join(err, d.Close()); err == nil && !bytes.Equal(want, got) {
		err = errors.New("a range that came back isn't what was stored")
	}
	return err
}
