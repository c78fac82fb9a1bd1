package image_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"hearth/compute/image"
	"hearth/core/fault"
)

func TestFilesWithoutBytesTakeRoom(t *testing.T) {
	s := &shelf{}
	empty := func(name string) digest.Digest {
		return s.image(t, layer(t, e{name: name + "1"}, e{name + "2", dir, "", 0o755}, e{name + "3", sym, "x", 0}, e{name: name + "4/5/6/7"})).Digest
	}
	x := open(t, image.Config{Most: 90_000})
	i, release := get(t, x, empty("a"), s)
	release()
	if i.Size < 10*4096 {
		t.Errorf("seven entries and three of its own count as %d bytes", i.Size)
	}
	for _, name := range []string{"b", "c"} {
		_, release := get(t, x, empty(name), s)
		release()
	}
	if _, err := os.Stat(i.Rootfs); err == nil {
		t.Error("the longest unused of three stays where there is room for two")
	}
	many := make([]e, 30)
	for i := range many {
		many[i] = e{name: fmt.Sprint(i)}
	}
	if _, _, err := x.Get(t.Context(), s.image(t, layer(t, many...)).Digest, s); fault.CodeOf(err) != fault.TooLarge {
		t.Errorf("more entries than there is ever room for: %v", err)
	}
}

func TestImagesInUseAndOnTheirWayHaveOneBound(t *testing.T) {
	s, dir := &shelf{}, filepath.Join(t.TempDir(), "images")
	x := open(t, image.Config{Dir: dir, Most: 1 << 20})
	big := func(name string) packed { return layer(t, e{name: name, to: strings.Repeat(name, 600<<10)}) }
	a, b := s.image(t, big("a")).Digest, s.image(t, big("b")).Digest
	zipped := s.image(t, gzipped(t, archive(t, e{name: "z", to: strings.Repeat("z", 600<<10)}))).Digest
	full := func(when string) {
		t.Helper()
		before := s.reads.Load()
		if _, _, err := x.Get(t.Context(), b, s); fault.CodeOf(err) != fault.HostFull || s.reads.Load() != before+2 { // manifest and config
			t.Errorf("%s: %v, %d parts were read", when, err, s.reads.Load()-before)
		}
		if _, _, err := x.Get(t.Context(), zipped, s); fault.CodeOf(err) != fault.HostFull { // seen only when it is there
			t.Errorf("%s: %v", when, err)
		}
		if left, err := os.ReadDir(filepath.Join(dir, "work")); err != nil || len(left) > 1 {
			t.Errorf("%s it leaves %v, %v", when, left, err)
		}
	}
	_, ra := get(t, x, a, s)
	full("while another is used")
	ra()
	_, rb := get(t, x, b, s) // the other is away
	rb()

	last := layer(t, e{name: "last"})
	held := &shelf{all: s.all, hold: make(chan struct{}), only: last.body}
	c := s.image(t, big("c"), last).Digest
	done := make(chan error, 1)
	go func() {
		_, release, err := x.Get(t.Context(), c, held)
		if err == nil {
			release()
		}
		done <- err
	}()
	soon(t, func() bool { return held.reads.Load() == 4 })
	full("while another is on its way")
	close(held.hold)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	_, rb = get(t, x, b, s)
	rb()

	if _, _, err := x.Get(t.Context(), s.image(t, sparse(t)).Digest, s); fault.CodeOf(err) != fault.TooLarge {
		t.Errorf("a file of 1 GiB of holes: %v", err)
	}
	_, rb = get(t, x, b, s)
	rb()
}

func TestSomeOfTheDiskStaysFree(t *testing.T) {
	s := &shelf{}
	d := s.image(t, layer(t, e{name: "a", to: "1"})).Digest
	dir := filepath.Join(t.TempDir(), "images")
	_, release := get(t, open(t, image.Config{Dir: dir}), d, s)
	release()
	x := open(t, image.Config{Dir: dir, Spare: 1 << 60})
	if _, _, err := x.Get(t.Context(), s.image(t, layer(t, e{name: "b", to: "1"})).Digest, s); fault.CodeOf(err) != fault.HostFull {
		t.Error(err)
	}
	before := s.reads.Load()
	if _, _, err := x.Get(t.Context(), d, s); fault.CodeOf(err) != fault.HostFull || s.reads.Load() == before {
		t.Errorf("an image that nobody uses was kept on a full disk: %v", err)
	}
}
