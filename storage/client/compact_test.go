package client

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"hearth/storage/index"
)

// holed is a client with one slab of n objects of size bytes, of which those for
// which gone says so are removed.
func holed(t *testing.T, f *fleet, n, size int, gone func(i int) bool) *Client {
	t.Helper()
	c := packing(t, f, filepath.Join(t.TempDir(), "index.db"), vfs.NewMem(), nil)
	for i := range n {
		put(t, c, named(i), random(size+i))
	}
	flush(t, c)
	for i := range n {
		if gone(i) {
			if _, err := c.Remove(t.Context(), named(i), index.RemoveOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	return c
}

func compact(t *testing.T, c *Client) int {
	t.Helper()
	n, err := c.Compact(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestSlabsOfHolesAreRewrittenAndOthersAreNot(t *testing.T) {
	f := newFleet(t, 6, gib)
	c := holed(t, f, 100, 20_000, func(i int) bool { return i%10 < 3 }) // 30 % and no more
	before := f.stored()
	if n := compact(t, c); n != 0 || f.stored() != before {
		t.Fatalf("%d slabs were rewritten", n)
	}
	for i := range 100 {
		if i%10 == 3 {
			if _, err := c.Remove(t.Context(), named(i), index.RemoveOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	// A copy shares what it copies, and a large object nothing.
	if _, err := c.Index().Copy(t.Context(), named(5), ref, index.Condition{}); err != nil {
		t.Fatal(err)
	}
	large := index.Ref{Bucket: "town", Key: "large"}
	put(t, c, large, random(2*Small))
	if n := compact(t, c); n != 1 {
		t.Fatalf("%d slabs were rewritten", n)
	}
	until(t, c) // removes the old one
	live := int64(2 * Small)
	for i := range 100 {
		if i%10 > 3 {
			wantContent(t, c, named(i), random(20_000+i))
			live += int64(20_000 + i)
		}
	}
	wantContent(t, c, ref, random(20_005))
	wantContent(t, c, large, random(2*Small))
	if most := uint64(live * 2 * 101 / 100); f.stored() > most {
		t.Errorf("hosts hold %d bytes for %d", f.stored(), live)
	}
	if n := compact(t, c); n != 0 {
		t.Errorf("%d slabs were rewritten again", n)
	}
}

func TestManySlabsOfHolesBecomeOne(t *testing.T) {
	f := newFleet(t, 6, gib)
	c := packing(t, f, filepath.Join(t.TempDir(), "index.db"), vfs.NewMem(), nil)
	var left []index.Ref
	for i := range 40 {
		put(t, c, named(i), random(10_000+i))
		if i%10 == 9 {
			flush(t, c)
		}
	}
	for i := range 40 {
		if i%2 == 0 {
			if _, err := c.Remove(t.Context(), named(i), index.RemoveOptions{}); err != nil {
				t.Fatal(err)
			}
			continue
		}
		left = append(left, named(i))
	}
	if n := compact(t, c); n != 4 {
		t.Errorf("%d slabs were emptied", n)
	}
	until(t, c)
	if n := len(slabsOf(t, c, left...)); n != 1 {
		t.Errorf("%d slabs", n)
	}
	for i := range 40 {
		if i%2 == 1 {
			wantContent(t, c, named(i), random(10_000+i))
		}
	}
}

func TestCompactingWhatCantBeReadChangesNothing(t *testing.T) {
	f := newFleet(t, 6, gib)
	c := holed(t, f, 20, 10_000, func(i int) bool { return i%2 == 0 })
	for _, m := range f.machines[:4] {
		m.dead.Store(true)
	}
	if _, err := c.Compact(t.Context()); err == nil {
		t.Fatal("compacted without hosts")
	}
	for _, m := range f.machines {
		m.dead.Store(false)
	}
	f.pass(time.Hour)
	until(t, c)
	for i := range 20 {
		if i%2 == 1 {
			wantContent(t, c, named(i), random(10_000+i))
		}
	}
}

// A read that began before goes on afterwards: of an object that is still the
// same version nobody notices that its bytes have moved.
func TestAReadGoesOnWhileItsBytesMove(t *testing.T) {
	f := newFleet(t, 6, gib)
	c := holed(t, f, 20, 300_000, func(i int) bool { return i%2 == 0 })
	var got bytes.Buffer
	_, err := c.Get(t.Context(), named(1), &got, GetOptions{Begin: func(index.Object) error {
		if compact(t, c) != 1 {
			t.Error("nothing was compacted")
		}
		until(t, c) // the old slab is gone from its hosts
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), random(300_001)) {
		t.Error("other bytes were read")
	}
}
