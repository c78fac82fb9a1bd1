package image_test

import (
	"context"
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
	if n := s.reads.Load(); n != 3 && n != 6 { // 6: all others came after the first had given up
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
	x := open(t, image.Config{Most: 250, Now: func() time.Time { now = now.Add(time.Minute); return now }})
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
