package client

import (
	"bytes"
	"testing"

	"hearth/core/fault"
	"hearth/storage/index"
)

func TestWhatIsKnownOfAFile(t *testing.T) {
	f := newFleet(t, 6, 64<<20)
	x := newClient(t, f)
	ref := index.Ref{Bucket: "town", Key: "file"}
	if _, err := x.Put(t.Context(), ref, bytes.NewReader(make([]byte, 2<<20)), PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Put(t.Context(), index.Ref{Bucket: "town", Key: "tiny"}, bytes.NewReader([]byte("tiny")), PutOptions{}); err != nil {
		t.Fatal(err)
	}
	check := func(name string, want Soundness, held, missing, silent int) {
		t.Helper()
		list, _, err := x.CheckAll(t.Context(), "town", index.VersionListing{}, 3)
		if err != nil || len(list) != 2 {
			t.Fatalf("%s: %d findings, %v", name, len(list), err)
		}
		got := list[0]
		if got.Key != "file" || got.State != want || got.Held != held || got.Missing != missing || got.Silent != silent || got.Need != 3 {
			t.Errorf("%s: %+v, want %s", name, got, want)
		}
		if list[1].State != Healthy || list[1].Slabs != 0 {
			t.Errorf("%s: what lies in the list itself: %+v", name, list[1])
		}
	}
	dead := func(n int, yes bool) {
		for _, m := range f.machines[:n] {
			m.dead.Store(yes)
		}
	}
	check("all hosts answer", Healthy, 6, 0, 0)
	dead(2, true)
	check("two are silent", Degraded, 4, 0, 2)
	dead(4, true)
	check("too many are silent to say", Unknown, 2, 0, 4)
	dead(4, false)
	for _, m := range f.machines[:4] {
		m.gone.Store(true)
		x.forget(m.lease)
	}
	check("four have closed their leases", Lost, 2, 4, 0)
}

func TestAHiddenBucketKeepsItsOwnAtHosts(t *testing.T) {
	f := newFleet(t, 6, 64<<20)
	x := newClient(t, f)
	h := x.Hidden(".log")
	small, large := []byte("small"), bytes.Repeat([]byte("large"), 1<<20)
	for name, b := range map[string][]byte{"a": small, "b": large} {
		slabs, err := h.Keep(t.Context(), name, bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if len(slabs) == 0 || slabs[0].Placed() != 6 {
			t.Errorf("%s: %d slabs", name, len(slabs))
		}
		var got bytes.Buffer
		other := f.client(t, t.TempDir()+"/index.db", nil) // one that has never heard of it
		if err := other.Hidden(".log").Read(t.Context(), slabs, &got); err != nil || !bytes.Equal(got.Bytes(), b) {
			t.Errorf("%s: %d bytes, %v", name, got.Len(), err)
		}
		if now, err := h.Placed(t.Context(), slabs[0].ID); err != nil || now.At[0] != slabs[0].At[0] {
			t.Errorf("%s: %v", name, err)
		}
	}
	if names, err := h.Names(t.Context()); err != nil || len(names) != 2 {
		t.Errorf("%v, %v", names, err)
	}
	if list, err := x.Index().Buckets(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("a hidden bucket shows: %v, %v", list, err)
	}
	for _, name := range []string{"a", "b"} {
		if err := h.Drop(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	x.Work(t.Context())
	if n := f.stored(); n != 0 {
		t.Errorf("%d bytes are left at hosts", n)
	}
	if _, err := h.Keep(t.Context(), "nothing", bytes.NewReader(nil)); fault.CodeOf(err) != fault.BadRequest {
		t.Errorf("nothing was kept: %v", err)
	}
}
