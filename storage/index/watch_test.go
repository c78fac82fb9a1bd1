package index

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"hearth/core/fault"
)

// devices are two of one account whose clocks the test moves.
func devices(t *testing.T, now *int64) (a, b *Index) {
	t.Helper()
	a, b = newIndex(t), newIndex(t)
	b.c.Device = 1
	for _, x := range []*Index{a, b} {
		x.c.Now = func() time.Time { return time.Unix(*now, 0) }
		x.SetGrace(10 * time.Minute)
	}
	exchange(t, a, b)
	return a, b
}

func removals(t *testing.T, x *Index, now int64) int {
	t.Helper()
	list, err := x.Removals(t.Context(), now, 100)
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestASlabThatAnotherDeviceCopiedMeanwhileStays(t *testing.T) {
	now := time.Now().Unix()
	a, b := devices(t, &now)
	put(t, a, draft(ref, newSlab(1, 4)))
	exchange(t, a, b)
	copied := Ref{Bucket: "town", Key: "copy"}
	if _, err := b.Copy(t.Context(), ref, copied, Condition{}); err != nil {
		t.Fatal(err)
	}
	remove(t, a, ref)
	if n := removals(t, a, now+599); n != 0 {
		t.Errorf("%d shards to be removed at once", n)
	}
	exchange(t, a, b)
	for _, x := range []*Index{a, b} {
		if n := removals(t, x, now+1e6); n != 0 {
			t.Errorf("%d shards of what is used to be removed", n)
		}
		if f, err := x.Get(t.Context(), copied); err != nil || len(f.Slabs) != 1 {
			t.Errorf("the copy: %v", err)
		}
	}
	// When the copy is gone too, one device removes the shards, and the other forgets them.
	remove(t, b, copied)
	exchange(t, a, b)
	if n := removals(t, b, now+601); n != 4 {
		t.Errorf("%d shards to be removed by who removed the object", n)
	}
	exchange(t, a, b)
	if n := removals(t, a, now+1e6); n != 0 {
		t.Errorf("%d shards to be removed by the other device", n)
	}
}

// Should the device that removed an object vanish, the one that made the slab
// removes the shards.
func TestShardsOfAVanishedDevicesRemovalsGo(t *testing.T) {
	now := time.Now().Unix()
	a, b := devices(t, &now)
	put(t, a, draft(ref, newSlab(1, 4)))
	exchange(t, a, b)
	remove(t, b, ref)
	exchange(t, a, b)
	if n := removals(t, a, now+600+makerWaits-1); n != 0 {
		t.Errorf("%d shards too early", n)
	}
	if n := removals(t, a, now+600+makerWaits); n != 4 {
		t.Errorf("%d shards", n)
	}
}

func TestOfTwoPlacesForAShardOneIsFreed(t *testing.T) {
	now := time.Now().Unix()
	a, b := devices(t, &now)
	s := newSlab(1, 3)
	put(t, a, draft(ref, s))
	exchange(t, a, b)
	for i, x := range []*Index{a, b} {
		if err := x.Repaired(t.Context(), x.BeginRepair(), s.ID, map[int]Place{3: {fmt.Sprint("hearth1new", i), uint64(i + 1)}}); err != nil {
			t.Fatal(err)
		}
	}
	exchange(t, a, b)
	for _, x := range []*Index{a, b} {
		if s, err := x.Slab(t.Context(), s.ID); err != nil || s.At[3] != (Place{"hearth1new1", 2}) {
			t.Errorf("at %v, %v", s.At, err)
		}
		if w := work(t, x); w.Pending != 0 {
			t.Errorf("left to do: %+v", w)
		}
	}
	if a, b := removals(t, a, now+1e6), removals(t, b, now+1e6); a != 1 || b != 0 {
		t.Errorf("%d and %d shards to be removed", a, b)
	}
}

func TestWatchersHearOfEveryChange(t *testing.T) {
	x := newIndex(t)
	s := newSlab(1, 3)
	put(t, x, draft(ref, s))
	put(t, x, draft(Ref{Bucket: "town", Key: "other"}, newSlab(2, 4)))
	seq := int64(0)
	next := func(want ...SlabID) (last Watched) {
		t.Helper()
		list, err := x.PlacementsSince(t.Context(), seq, 10)
		if err != nil {
			t.Fatal(err)
		}
		var got []SlabID
		for _, w := range list {
			if w.Seq <= seq {
				t.Errorf("number %d behind %d", w.Seq, seq)
			}
			got, last, seq = append(got, w.ID), w, w.Seq
		}
		if !slices.Equal(got, want) {
			t.Errorf("heard of %v, want %v", got, want)
		}
		return last
	}
	next(s.ID, SlabID{2, 1})
	next()
	if err := x.Repaired(t.Context(), x.BeginRepair(), s.ID, map[int]Place{3: {"hearth1new", 7}}); err != nil {
		t.Fatal(err)
	}
	if w := next(s.ID); w.At[3] != (Place{"hearth1new", 7}) || w.MaskKey != s.MaskKey || w.ShardSize != 512 || len(w.Roots) != 4 {
		t.Errorf("%+v", w)
	}
	if err := x.Lose(t.Context(), s.ID, []int{0}); err != nil {
		t.Fatal(err)
	}
	next(s.ID)
	if list, err := x.SlabsAfter(t.Context(), s.ID, 10); err != nil || len(list) != 1 || list[0].ID != (SlabID{2, 1}) {
		t.Errorf("slabs %v, %v", list, err)
	}
	remove(t, x, ref)
	if w := next(s.ID); !w.Gone {
		t.Errorf("%+v", w)
	}
	x.Close()
	x = open(t, x.c.Path)
	next()
	put(t, x, draft(ref, newSlab(3, 4)))
	next(SlabID{3, 1})
}

func TestOccupancyCountsEachByteOnce(t *testing.T) {
	x := newIndex(t)
	s, full := newSlab(1, 4), newSlab(2, 4)
	put(t, x, draft(Ref{Bucket: "town", Key: "all"}, s, full))
	for i, e := range [][2]int64{{0, 100}, {50, 100}, {900, 100}} {
		d := Draft{Ref: Ref{Bucket: "town", Key: fmt.Sprint(i)}, Manifest: Manifest{Extents: []Extent{{s.ID, e[0], e[1]}}}}
		if _, err := x.Commit(t.Context(), 0, d); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := x.Occupancy(t.Context(), 10); err != nil || len(list) != 0 {
		t.Errorf("of full ones: %v, %v", list, err)
	}
	if _, err := x.Copy(t.Context(), Ref{Bucket: "town", Key: "2"}, Ref{Bucket: "town", Key: "all"}, Condition{}); err != nil {
		t.Fatal(err)
	}
	list, err := x.Occupancy(t.Context(), 10)
	if err != nil || len(list) != 1 || list[0] != (Occupied{s.ID, 1000, 250, 4}) {
		t.Errorf("%+v, %v", list, err)
	}
	users, err := x.UsersOf(t.Context(), s.ID)
	if err != nil || len(users) != 4 {
		t.Errorf("%v, %v", users, err)
	}
}

func TestOldRemovalsAreForgotten(t *testing.T) {
	now := time.Now().Unix()
	a, b := devices(t, &now)
	put(t, a, draft(ref, newSlab(1, 4)))
	remove(t, a, ref)
	removals(t, a, now+600)
	exchange(t, a, b)
	count := func(x *Index) (n int) {
		t.Helper()
		if err := x.view(t.Context(), func(t *tx) error {
			_, err := t.row(`SELECT (SELECT count(*) FROM tombs) + (SELECT count(*) FROM gone)`, nil, &n)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if a, b := count(a), count(b); a != 2 || b != 2 {
		t.Errorf("%d and %d removals are remembered", a, b)
	}
	now += 91 * 24 * 3600
	for _, x := range []*Index{a, b} {
		removals(t, x, now)
		if n := count(x); n != 0 {
			t.Errorf("%d removals are remembered for good", n)
		}
	}
	_, err := b.Head(t.Context(), ref)
	wantCode(t, err, fault.NotFound)
}

func TestWhatIsWantedWhereItLiesIsNotDiscarded(t *testing.T) {
	now := time.Now().Unix()
	a, b := devices(t, &now)
	slab := newSlab(1, 4)
	put(t, a, draft(ref, slab))
	held := Shard{slab.At[2], slab.Roots[2], slab.ShardSize}
	intended := Shard{slab.At[1], slab.Roots[3], slab.ShardSize}
	work := a.BeginRepair()
	if err := a.Intend(t.Context(), work, []Shard{intended}); err != nil {
		t.Fatal(err)
	}
	stray := Shard{slab.At[1], slab.Roots[2], slab.ShardSize}
	for _, tt := range []struct {
		name string
		x    *Index
		s    Shard
		want bool
	}{
		{"a shard in its place", a, held, false},
		{"one that is brought", a, intended, false},
		{"one in the place of another", a, stray, true},
		{"one of which a device hasn't heard yet", b, held, true},
	} {
		if got, err := tt.x.Discard(t.Context(), tt.s); err != nil || got != tt.want {
			t.Errorf("%s: discarded %v, %v", tt.name, got, err)
		}
	}
	if n := removals(t, b, now+599); n != 0 {
		t.Errorf("%d shards to be removed at once", n)
	}
	exchange(t, a, b)
	if n := removals(t, b, now+601); n != 0 {
		t.Errorf("%d shards of what another device has put to be removed", n)
	}
	if n := removals(t, a, now+601); n != 1 {
		t.Errorf("%d strays to be removed", n)
	}
}
