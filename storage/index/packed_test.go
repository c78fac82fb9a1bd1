package index

import (
	"testing"

	"hearth/core/fault"
)

// packed brings a slab to hosts and moves there what the list says.
func pack(t *testing.T, x *Index, slab byte, moves []Move, drafts []Draft) ([]Drafted, PlacedSlab) {
	t.Helper()
	id := x.BeginRepair()
	s := newSlab(slab, 4)
	if err := x.Intend(t.Context(), id, shards(s)); err != nil {
		t.Fatal(err)
	}
	for i := range moves {
		moves[i].To = []Extent{{s.ID, 0, moves[i].Kept.Length}}
	}
	for i := range drafts {
		drafts[i].Manifest.Extents = []Extent{{s.ID, 0, 10}}
	}
	out, err := x.Pack(t.Context(), id, []PlacedSlab{s}, moves, drafts)
	if err != nil {
		t.Fatal(err)
	}
	return out, s
}

func journaled(t *testing.T, x *Index) []Kept {
	t.Helper()
	list, err := x.Journaled(t.Context(), 100, 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestOtherDevicesLearnOfAnObjectWhenItIsPacked(t *testing.T) {
	x := newIndex(t)
	told := func() (versions, attrs int) {
		err := x.view(t.Context(), func(tx *tx) error {
			return tx.each(`SELECT body FROM changes`, nil, func(scan func(...any) error) error {
				var b []byte
				if err := scan(&b); err != nil {
					return err
				}
				c, err := decodeChange(b)
				switch c.(type) {
				case *versionChange:
					versions++
				case *attrsChange:
					attrs++
				}
				return err
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		return versions, attrs
	}
	k := Kept{1, 16, 10}
	ref := Ref{Bucket: "town", Key: "a"}
	if _, err := x.Commit(t.Context(), 0, Draft{Ref: ref, ETag: "e", Manifest: Manifest{Journal: k}}); err != nil {
		t.Fatal(err)
	}
	if v, _ := told(); v != 0 {
		t.Fatal("told while nobody else can read it")
	}
	s, err := x.Summary(t.Context(), ref)
	if err != nil || !s.Kept || s.Size != 10 {
		t.Fatalf("%+v, %v", s, err)
	}
	if _, err := x.SetAttrs(t.Context(), ref, func(a *Attrs) error { a.Hold = true; return nil }); err != nil {
		t.Fatal(err)
	}
	pack(t, x, 1, []Move{{Kept: k}}, nil)
	if v, a := told(); v != 1 || a == 0 {
		t.Errorf("told of %d versions and %d attributes", v, a)
	}
	f, err := x.Get(t.Context(), ref)
	if err != nil || f.Manifest.Journal != (Kept{}) || len(f.Manifest.Extents) != 1 || !f.Hold || f.Version != s.Version {
		t.Errorf("%+v, %v", f, err)
	}
	if list := journaled(t, x); len(list) != 0 {
		t.Errorf("still in the journal: %v", list)
	}
}

func TestAllThatNameARecordMoveAndNobodyElse(t *testing.T) {
	x := newIndex(t)
	a, b := Kept{1, 16, 10}, Kept{1, 50, 10}
	for key, k := range map[string]Kept{"a": a, "b": b, "gone": {2, 16, 10}} {
		if _, err := x.Commit(t.Context(), 0, Draft{Ref: Ref{Bucket: "town", Key: key}, ETag: "e", Manifest: Manifest{Journal: k}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := x.Copy(t.Context(), Ref{Bucket: "town", Key: "a"}, Ref{Bucket: "town", Key: "copy"}, Condition{}); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Remove(t.Context(), Ref{Bucket: "town", Key: "gone"}, RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	if use, err := x.JournalUse(t.Context()); err != nil || len(use) != 1 || !use[1] {
		t.Errorf("segments in use: %v, %v", use, err)
	}
	if list := journaled(t, x); len(list) != 2 || list[0] != a || list[1] != b {
		t.Fatalf("in the journal: %v", list)
	}
	drafts := []Draft{
		{Ref: Ref{Bucket: "town", Key: "new"}, ETag: "n"},
		{Ref: Ref{Bucket: "town", Key: "b"}, ETag: "n", If: Condition{Absent: true}},
	}
	out, s := pack(t, x, 1, []Move{{Kept: a}, {Kept: Kept{2, 16, 10}}}, drafts)
	if out[0].Err != nil || fault.CodeOf(out[1].Err) != fault.Exists {
		t.Errorf("%+v", out)
	}
	for key, want := range map[string]Manifest{
		"a": {Extents: []Extent{{s.ID, 0, 10}}}, "copy": {Extents: []Extent{{s.ID, 0, 10}}},
		"new": {Extents: []Extent{{s.ID, 0, 10}}}, "b": {Journal: b},
	} {
		f, err := x.Get(t.Context(), Ref{Bucket: "town", Key: key})
		if err != nil || f.Manifest.Journal != want.Journal || len(f.Manifest.Extents) != len(want.Extents) {
			t.Errorf("%s: %+v, %v", key, f.Manifest, err)
		}
	}
	for _, key := range []string{"a", "copy", "new"} {
		if list, err := x.Removals(t.Context(), 1<<40, 100); err != nil || len(list) != 0 {
			t.Fatalf("before %s goes: %v, %v", key, list, err)
		}
		if _, err := x.Remove(t.Context(), Ref{Bucket: "town", Key: key}, RemoveOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := x.Removals(t.Context(), 1<<40, 100); err != nil || len(list) != 4 {
		t.Errorf("when nobody is left: %v, %v", list, err)
	}
}

func TestASlabInWhichNothingIsListedIsRemoved(t *testing.T) {
	x := newIndex(t)
	pack(t, x, 1, []Move{{Kept: Kept{1, 16, 10}}}, nil)
	if list, err := x.Removals(t.Context(), 1<<40, 100); err != nil || len(list) != 4 {
		t.Errorf("%v, %v", list, err)
	}
	if w, err := x.Work(t.Context()); err != nil || w.Uploads != 0 {
		t.Errorf("%+v, %v", w, err)
	}
}
