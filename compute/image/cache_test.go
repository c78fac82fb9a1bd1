package image_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"hearth/compute/image"
	"hearth/core/fault"
)

func TestThoseWhoAskTogetherShareTheWork(t *testing.T) {
	s := &shelf{hold: make(chan struct{})}
	d := s.image(t, layer(t, e{name: "a", to: "1"})).Digest
	x := open(t, image.Config{})
	var wg sync.WaitGroup
	asked := make(chan struct{}, 8)
	quitter, quit := context.WithCancel(t.Context())
	wg.Go(func() {
		asked <- struct{}{}
		if _, _, err := x.Get(quitter, d, s); fault.CodeOf(err) != fault.Interrupted {
			t.Errorf("who gave up got %v", err)
		}
	})
	<-asked
	soon(t, func() bool { return s.reads.Load() == 3 }) // manifest, config and layer
	for range 7 {
		wg.Go(func() {
			asked <- struct{}{}
			i, release, err := x.Get(t.Context(), d, s)
			if err != nil {
				t.Error(err)
				return
			}
			if tree(t, i.Rootfs)["a"] != "1" {
				t.Error("it isn't whole")
			}
			release()
		})
	}
	for range 7 {
		<-asked
	}
	quit()
	close(s.hold)
	wg.Wait()
	if n := s.reads.Load(); n != 6 { // another has begun anew with its own source, once for all
		t.Errorf("%d parts were read", n)
	}
}

func soon(t *testing.T, is func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it doesn't come to pass")
		}
	}
}

func TestTheWorkEndsWhenAllHaveGivenUp(t *testing.T) {
	s := &shelf{hold: make(chan struct{})}
	d := s.image(t, layer(t, e{name: "a", to: "1"})).Digest
	dir := filepath.Join(t.TempDir(), "images")
	x := open(t, image.Config{Dir: dir})
	ctx, quit := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, _, err := x.Get(ctx, d, s)
		done <- err
	}()
	soon(t, func() bool { return s.reads.Load() == 3 })
	quit()
	if err := <-done; fault.CodeOf(err) != fault.Interrupted {
		t.Error(err)
	}
	soon(t, func() bool {
		left, err := os.ReadDir(filepath.Join(dir, "work"))
		return err == nil && len(left) == 0
	})
	close(s.hold)
	_, release := get(t, x, d, s)
	release()
	slow := open(t, image.Config{Patience: time.Millisecond})
	if _, _, err := slow.Get(t.Context(), d, &shelf{all: s.all, hold: make(chan struct{})}); fault.CodeOf(err) != fault.Deadline {
		t.Errorf("past its time: %v", err)
	}
}

func TestWhatIsHalfDoneIsGoneAfterACrash(t *testing.T) {
	s := &shelf{}
	dir := filepath.Join(t.TempDir(), "images")
	d := s.image(t, layer(t, e{name: "a", to: "1"})).Digest
	x := open(t, image.Config{Dir: dir})
	i, release := get(t, x, d, s)
	release()
	half := filepath.Join(dir, "work", "123", "rootfs", "locked")
	if err := os.MkdirAll(half, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(half, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(half, 0o500); err != nil {
		t.Fatal(err)
	}
	before := s.reads.Load()
	x = open(t, image.Config{Dir: dir})
	if left, err := os.ReadDir(filepath.Join(dir, "work")); err != nil || len(left) != 0 {
		t.Errorf("%v, %v", left, err)
	}
	again, release := get(t, x, d, s)
	release()
	if again.Rootfs != i.Rootfs || again.Config.User != "7" || s.reads.Load() != before {
		t.Errorf("%+v", again)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(i.Rootfs), "image.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if again, release = get(t, x, d, s); tree(t, again.Rootfs)["a"] != "1" || s.reads.Load() == before {
		t.Errorf("what isn't noted well was believed: %+v", again)
	}
	release()
}

func TestTheLongestUnusedGoesFirstAndNothingThatIsUsed(t *testing.T) {
	s := &shelf{}
	now := time.Unix(1_800_000_000, 0)
	x := open(t, image.Config{Most: 42_000, Now: func() time.Time { now = now.Add(time.Minute); return now }})
	make100 := func(name string) digest.Digest {
		return s.image(t, layer(t, e{name: name, to: strings.Repeat(name, 100)})).Digest
	}
	a, b, c, d := make100("a"), make100("b"), make100("c"), make100("d")
	there := func(i image.Image) bool { _, err := os.Stat(i.Rootfs); return err == nil }
	ia, ra := get(t, x, a, s)
	ib, rb := get(t, x, b, s)
	rb()
	ic, rc := get(t, x, c, s)
	rc()
	soon(t, func() bool { return !there(ib) })
	if !there(ia) || !there(ic) {
		t.Error("one that is used, or was used later, has gone")
	}
	id, rd := get(t, x, d, s)
	soon(t, func() bool { return !there(ic) })
	if !there(ia) || !there(id) {
		t.Error("one that is used has gone")
	}
	ra()
	rd()
	ib, rb = get(t, x, b, s) // once more
	defer rb()
	soon(t, func() bool { return !there(ia) })
	if !there(ib) || !there(id) {
		t.Error("another than the longest unused has gone")
	}
}

func TestWhoAskedLastIsKnownAfterARestart(t *testing.T) {
	s, dir := &shelf{}, filepath.Join(t.TempDir(), "images")
	now := time.Now().Add(time.Hour)
	c := image.Config{Dir: dir, Now: func() time.Time { now = now.Add(time.Minute); return now }}
	a, b := s.image(t, layer(t, e{name: "a"})).Digest, s.image(t, layer(t, e{name: "b"})).Digest
	x := open(t, c)
	for _, d := range []digest.Digest{a, a, b} {
		_, release := get(t, x, d, s)
		release()
	}
	c.Most = 20_000 // one of them
	x = open(t, c)
	before := s.reads.Load()
	_, release := get(t, x, b, s)
	release()
	if s.reads.Load() != before {
		t.Error("the longest unused has stayed")
	}
}

func TestNobodyFailsByAnothersSource(t *testing.T) {
	for name, c := range map[string]struct {
		config image.Config
		bad    func(all *shelf) (from image.Source, reads func() int64, end func())
	}{
		"it breaks off": {image.Config{Wait: time.Hour}, func(all *shelf) (image.Source, func() int64, func()) {
			s := &shelf{all: all.all, hold: make(chan struct{})}
			return failing{s, errors.New("the network is gone")}, s.reads.Load, func() { close(s.hold) }
		}},
		"it says nothing": {image.Config{Wait: time.Millisecond}, func(all *shelf) (image.Source, func() int64, func()) {
			s := &shelf{all: all.all, hold: make(chan struct{})}
			return s, s.reads.Load, func() {}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := &shelf{}
			d := s.image(t, layer(t, e{name: "a", to: strings.Repeat("1", 10_000)})).Digest
			from, reads, end := c.bad(s)
			x := open(t, c.config)
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() {
				if _, _, err := x.Get(ctx, d, from); err == nil {
					t.Error("there is an image without a source")
				}
			})
			soon(t, func() bool { return reads() == 3 })
			for range 3 {
				wg.Go(func() {
					_, release, err := x.Get(t.Context(), d, s)
					if err != nil {
						t.Error(err)
						return
					}
					release()
				})
			}
			end()
			soon(t, func() bool {
				_, release, err := x.Get(t.Context(), d, s)
				if err == nil {
					release()
				}
				return err == nil
			})
			cancel()
			wg.Wait()
		})
	}
}

// own is a source with a state that only whoever is in Get may touch.
type own struct {
	*shelf
	state int
}

func (o *own) Blob(ctx context.Context, d digest.Digest) (io.ReadCloser, error) {
	o.state++
	r, err := o.shelf.Blob(ctx, d)
	o.state++
	return r, err
}

func TestASourceIsNotUsedWhenGetHasReturned(t *testing.T) {
	s := &shelf{hold: make(chan struct{})}
	d := s.image(t, layer(t, e{name: "a", to: "1"})).Digest
	x := open(t, image.Config{})
	for range 20 {
		from := &own{shelf: s}
		ctx, cancel := context.WithCancel(t.Context())
		before := s.reads.Load()
		go func() {
			for s.reads.Load() < before+3 && t.Context().Err() == nil {
				time.Sleep(time.Millisecond)
			}
			cancel()
		}()
		if _, _, err := x.Get(ctx, d, from); fault.CodeOf(err) != fault.Interrupted {
			t.Fatal(err)
		}
		if from.state++; from.state != 7 { // with -race this is a law of its own
			t.Fatalf("it was left in the middle: %d", from.state)
		}
	}
}
