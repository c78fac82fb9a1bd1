package index

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"hearth/core/erasure"
	"hearth/core/fault"
	"hearth/core/proof"
	"hearth/storage/seal"
)

func open(t testing.TB, path string) *Index {
	t.Helper()
	x, err := Open(Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return x
}

func newIndex(t testing.TB) *Index {
	t.Helper()
	x := open(t, filepath.Join(t.TempDir(), "index.db"))
	if err := x.MakeBucket(t.Context(), "town"); err != nil {
		t.Fatal(err)
	}
	return x
}

// newSlab is a slab of 2 of 4 with its first n shards placed.
func newSlab(seed byte, placed int) PlacedSlab {
	s := PlacedSlab{At: make([]Place, 4)}
	s.ID = SlabID{seed, 1}
	s.Slab.Slab = seal.Slab{
		Size: 1000, ShardSize: 512, Class: erasure.Class{K: 2, N: 4},
		Key: [32]byte{seed, 2}, MaskKey: [32]byte{seed, 3}, Roots: make([]proof.Hash, 4),
	}
	for i := range s.Roots {
		s.Roots[i] = proof.Hash{seed, 4, byte(i)}
		if i < placed {
			s.At[i] = Place{fmt.Sprintf("hearth1host%d", i), uint64(100 + i)}
		}
	}
	return s
}

func shards(s PlacedSlab) (out []Shard) {
	for i, p := range s.At {
		if p != (Place{}) {
			out = append(out, Shard{p, s.Roots[i], s.ShardSize})
		}
	}
	return out
}

func draft(ref Ref, slabs ...PlacedSlab) Draft {
	d := Draft{Ref: ref, ETag: "e", Slabs: slabs}
	for _, s := range slabs {
		d.Manifest.Extents = append(d.Manifest.Extents, Extent{s.ID, 0, s.Size})
	}
	return d
}

// put goes the whole way of an upload.
func put(t testing.TB, x *Index, d Draft) Object {
	t.Helper()
	o, err := tryPut(t.Context(), x, d)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func tryPut(ctx context.Context, x *Index, d Draft) (Object, error) {
	id, err := x.Begin(ctx, d.Ref)
	if err != nil {
		return Object{}, err
	}
	for _, s := range d.Slabs {
		if err := x.Intend(ctx, id, shards(s)); err != nil {
			return Object{}, err
		}
	}
	return x.Commit(ctx, id, d)
}

func work(t testing.TB, x *Index) Work {
	t.Helper()
	w, err := x.Work(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func wantCode(t testing.TB, err error, code fault.Code) {
	t.Helper()
	if fault.CodeOf(err) != code {
		t.Fatalf("code %q, want %q: %v", fault.CodeOf(err), code, err)
	}
}

var ref = Ref{Bucket: "town", Key: "a/b"}

func TestWhatIsPutIsFoundAgain(t *testing.T) {
	x := newIndex(t)
	s := newSlab(1, 3)
	d := draft(ref, s)
	d.Type, d.Extra = "text/plain", map[string]string{"b": "2", "a": "1"}
	o := put(t, x, d)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	x = open(t, x.c.Path)
	f, err := x.Get(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(f.Object, o) || o.Size != 1000 || o.Extra["a"] != "1" {
		t.Errorf("object %+v, put %+v", f.Object, o)
	}
	if !reflect.DeepEqual(*f.Slabs[s.ID], s) || f.Slabs[s.ID].Placed() != 3 {
		t.Errorf("slab %+v, put %+v", f.Slabs[s.ID], s)
	}
	if w := work(t, x); w != (Work{Pending: 1}) {
		t.Errorf("left to do: %+v", w)
	}
}

func TestAPartNeedsItsSlabsOnly(t *testing.T) {
	x, ref := newIndex(t), Ref{Bucket: "town", Key: "parts"}
	all := []PlacedSlab{newSlab(1, 4), newSlab(2, 3), newSlab(3, 4)} // of 1000 bytes each
	put(t, x, draft(ref, all...))
	for _, c := range []struct {
		off, length int64
		slabs       []int
	}{
		{0, 3000, []int{0, 1, 2}},
		{0, 1, []int{0}},
		{999, 1, []int{0}},
		{999, 2, []int{0, 1}},
		{1000, 1000, []int{1}},
		{500, 2000, []int{0, 1, 2}},
		{2999, 1 << 40, []int{2}},
		{3000, 1, nil},
		{0, 0, nil},
	} {
		f, err := x.GetRange(t.Context(), ref, c.off, c.length)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range all {
			if _, got := f.Slabs[s.ID]; got != slices.Contains(c.slabs, i) {
				t.Errorf("%d bytes from %d: slab %d: %v", c.length, c.off, i, got)
			}
		}
	}
}

func TestASummaryAgreesWithTheFile(t *testing.T) {
	x := newIndex(t)
	for i, d := range []Draft{
		draft(Ref{Bucket: "town", Key: "whole"}, newSlab(1, 4), newSlab(2, 4)),
		draft(Ref{Bucket: "town", Key: "pending"}, newSlab(3, 3), newSlab(4, 2)),
		{Ref: Ref{Bucket: "town", Key: "tiny"}, ETag: "e", Manifest: Manifest{Inline: []byte("x")}},
	} {
		put(t, x, d)
		f, err := x.Get(t.Context(), d.Ref)
		if err != nil {
			t.Fatal(err)
		}
		s, err := x.Summary(t.Context(), d.Ref)
		if err != nil {
			t.Fatal(err)
		}
		want := Summary{Object: f.Object}
		for _, slab := range f.Slabs {
			want.Class = slab.Class
			want.Pending += slab.Class.N - slab.Placed()
		}
		if !reflect.DeepEqual(s, want) {
			t.Errorf("%d: %+v, want %+v", i, s, want)
		}
	}
	_, err := x.Summary(t.Context(), Ref{Bucket: "town", Key: "nothing"})
	wantCode(t, err, fault.NotFound)
}

func TestReplacedAndRemovedObjectsLeaveRemovals(t *testing.T) {
	x := newIndex(t)
	first := newSlab(1, 4)
	a := put(t, x, draft(ref, first))
	b := put(t, x, draft(ref, newSlab(2, 4)))
	if b.Version <= a.Version {
		t.Error("the version doesn't grow")
	}
	got, err := x.Removals(t.Context(), time.Now().Unix(), 10)
	if err != nil {
		t.Fatal(err)
	}
	var gone []Shard
	for _, r := range got {
		gone = append(gone, r.Shard)
	}
	if !reflect.DeepEqual(gone, shards(first)) {
		t.Errorf("to remove: %v", gone)
	}
	if err := x.Removed(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Remove(t.Context(), ref, RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	if w := work(t, x); w != (Work{Removals: 4}) {
		t.Errorf("left to do: %+v", w)
	}
	_, err = x.Get(t.Context(), ref)
	wantCode(t, err, fault.NotFound)
	_, err = x.Remove(t.Context(), ref, RemoveOptions{})
	wantCode(t, err, fault.NotFound)
}

func TestSharedSlabsStayUntilTheLastUserIsGone(t *testing.T) {
	x := newIndex(t)
	put(t, x, draft(ref, newSlab(1, 4)))
	other := Ref{Bucket: "town", Key: "copy"}
	if _, err := x.Copy(t.Context(), ref, other, Condition{}); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Copy(t.Context(), other, other, Condition{}); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Remove(t.Context(), ref, RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	if w := work(t, x); w.Removals != 0 {
		t.Errorf("%d removals while a copy is left", w.Removals)
	}
	if f, err := x.Get(t.Context(), other); err != nil || len(f.Slabs) != 1 {
		t.Errorf("copy: %v", err)
	}
	if _, err := x.Remove(t.Context(), other, RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	if w := work(t, x); w.Removals != 4 {
		t.Errorf("%d removals after the last is gone", w.Removals)
	}
}

func TestUnfinishedUploadsAreReclaimed(t *testing.T) {
	x := newIndex(t)
	id, err := x.Begin(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Intend(t.Context(), id, shards(newSlab(1, 4))); err != nil {
		t.Fatal(err)
	}
	x.Close()
	x = open(t, x.c.Path)
	if n, err := x.Reclaim(t.Context()); n != 1 || err != nil {
		t.Fatalf("reclaimed %d: %v", n, err)
	}
	if w := work(t, x); w != (Work{Removals: 4}) {
		t.Errorf("left to do: %+v", w)
	}
	_, err = x.Commit(t.Context(), id, draft(ref, newSlab(1, 4)))
	wantCode(t, err, fault.NotFound)
	// Who wants the very same shards again withdraws the removal.
	put(t, x, draft(ref, newSlab(1, 4)))
	if w := work(t, x); w != (Work{}) {
		t.Errorf("left to do: %+v", w)
	}
	if still, err := x.StillToRemove(t.Context(), shards(newSlab(1, 4))); len(still) > 0 || err != nil {
		t.Errorf("still to remove: %v, %v", still, err)
	}
}

func TestPlacesNotUsedInTheEndAreRemoved(t *testing.T) {
	x := newIndex(t)
	id, err := x.Begin(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	s := newSlab(1, 4)
	if err := x.Intend(t.Context(), id, shards(s)); err != nil {
		t.Fatal(err)
	}
	s.At[2] = Place{}
	if _, err := x.Commit(t.Context(), id, draft(ref, s)); err != nil {
		t.Fatal(err)
	}
	if w := work(t, x); w != (Work{Pending: 1, Removals: 1}) {
		t.Errorf("left to do: %+v", w)
	}
}

func TestRepairFillsWhatIsMissing(t *testing.T) {
	x := newIndex(t)
	s := newSlab(1, 2)
	put(t, x, draft(ref, s))
	missing, err := x.Pending(t.Context(), time.Now().Unix(), 5)
	if err != nil || len(missing) != 1 || !slices.Equal(missing[0].Shards, []int{2, 3}) {
		t.Fatalf("pending %v: %v", missing, err)
	}
	if err := x.PostponePending(t.Context(), s.ID, time.Now().Unix()+100); err != nil {
		t.Fatal(err)
	}
	if m, _ := x.Pending(t.Context(), time.Now().Unix(), 5); len(m) != 0 {
		t.Errorf("postponed, and due: %v", m)
	}
	if m, _ := x.Pending(t.Context(), time.Now().Unix()+100, 5); len(m) != 1 || m[0].Tries != 1 {
		t.Errorf("postponed: %v", m)
	}
	repair := func(at map[int]Place) {
		t.Helper()
		id := x.BeginRepair()
		for i, p := range at {
			if err := x.Intend(t.Context(), id, []Shard{{p, s.Roots[i], s.ShardSize}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := x.Repaired(t.Context(), id, s.ID, at); err != nil {
			t.Fatal(err)
		}
	}
	repair(map[int]Place{2: {"hearth1new", 7}, 3: {"hearth1newer", 8}})
	if w := work(t, x); w != (Work{}) {
		t.Errorf("left to do: %+v", w)
	}
	if err := x.Lose(t.Context(), s.ID, []int{0}); err != nil {
		t.Fatal(err)
	}
	if w := work(t, x); w != (Work{Pending: 1, Removals: 1}) {
		t.Errorf("left to do: %+v", w)
	}
	// A slab that was removed while it was being repaired leaves nothing.
	if _, err := x.Remove(t.Context(), ref, RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	repair(map[int]Place{0: {"hearth1late", 9}})
	if w := work(t, x); w != (Work{Removals: 5}) {
		t.Errorf("left to do: %+v", w)
	}
}

func TestConditions(t *testing.T) {
	x := newIndex(t)
	d := Draft{Ref: ref, ETag: "one", Manifest: Manifest{Inline: []byte("x")}, If: Condition{Absent: true}}
	if _, err := x.Commit(t.Context(), 0, d); err != nil {
		t.Fatal(err)
	}
	_, err := x.Commit(t.Context(), 0, d)
	wantCode(t, err, fault.Exists)
	d.If = Condition{ETag: "two"}
	_, err = x.Commit(t.Context(), 0, d)
	wantCode(t, err, fault.Exists)
	d.If = Condition{ETag: "one"}
	if _, err = x.Commit(t.Context(), 0, d); err != nil {
		t.Fatal(err)
	}
	old, err := x.Head(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = x.Commit(t.Context(), 0, d); err != nil { // the same once more is another version
		t.Fatal(err)
	}
	_, err = x.Remove(t.Context(), ref, RemoveOptions{If: Condition{Version: old.At().Version}})
	wantCode(t, err, fault.Exists)
	f, err := x.Get(t.Context(), ref)
	if err != nil || !bytes.Equal(f.Manifest.Inline, []byte("x")) {
		t.Errorf("inline: %q, %v", f.Manifest.Inline, err)
	}
	if _, err = x.Remove(t.Context(), ref, RemoveOptions{If: Condition{Version: f.At().Version}}); err != nil {
		t.Error(err)
	}
}

func TestBuckets(t *testing.T) {
	x := newIndex(t)
	ctx := t.Context()
	wantCode(t, x.MakeBucket(ctx, "town"), fault.Exists)
	wantCode(t, x.MakeBucket(ctx, "To"), fault.BadName)
	wantCode(t, x.RemoveBucket(ctx, "none"), fault.NotFound)
	_, err := tryPut(ctx, x, draft(Ref{Bucket: "none", Key: "a"}, newSlab(1, 4)))
	wantCode(t, err, fault.NotFound)
	_, err = x.List(ctx, "none", Listing{})
	wantCode(t, err, fault.NotFound)
	put(t, x, draft(ref, newSlab(1, 4)))
	wantCode(t, x.RemoveBucket(ctx, "town"), fault.Exists)
	if _, err := x.Remove(ctx, ref, RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := x.RemoveBucket(ctx, "town"); err != nil {
		t.Fatal(err)
	}
	if b, err := x.Buckets(ctx); len(b) != 0 || err != nil {
		t.Errorf("buckets %v, %v", b, err)
	}
}

func TestOnlyOneOpensAFile(t *testing.T) {
	x := newIndex(t)
	_, err := Open(Config{Path: x.c.Path})
	wantCode(t, err, fault.AlreadyRunning)
}

func TestUnknownVersionIsRefused(t *testing.T) {
	x := newIndex(t)
	err := x.w.do(t.Context(), func(t *tx) error {
		if err := t.exec(`UPDATE meta SET value = 3 WHERE name = 'schema'`); err != nil {
			return err
		}
		return t.exec(`PRAGMA user_version = 3`)
	})
	if err != nil {
		t.Fatal(err)
	}
	x.Close()
	before, _ := os.ReadFile(x.c.Path)
	_, err = Open(Config{Path: x.c.Path})
	wantCode(t, err, fault.UnknownFormat)
	if after, _ := os.ReadFile(x.c.Path); !bytes.Equal(before, after) {
		t.Error("the file was changed")
	}
}
