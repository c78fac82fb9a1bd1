package index

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hearth/core/fault"
)

// tiny puts a small object and gives back its version.
func tiny(t testing.TB, x *Index, key, etag string) Object {
	t.Helper()
	o, err := x.Commit(t.Context(), 0, Draft{Ref: Ref{Bucket: "town", Key: key}, ETag: etag, Manifest: Manifest{Inline: []byte(etag)}})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func versioned(t testing.TB) *Index {
	t.Helper()
	x := newIndex(t)
	if err := x.SetVersioning(t.Context(), "town", Enabled); err != nil {
		t.Fatal(err)
	}
	return x
}

func remove(t testing.TB, x *Index, r Ref) Removed {
	t.Helper()
	got, err := x.Remove(t.Context(), r, RemoveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func etags(t testing.TB, x *Index) (out []string) {
	t.Helper()
	p, err := x.ListVersions(t.Context(), "town", VersionListing{})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range p.Versions {
		word := o.Key + o.ETag
		if o.Marker {
			word += "-"
		}
		if o.Null {
			word += "0"
		}
		if o.Latest {
			word += "*"
		}
		out = append(out, word)
	}
	return out
}

func TestVersionsPileUpAndMarkersHideThem(t *testing.T) {
	x, ref := newIndex(t), Ref{Bucket: "town", Key: "a"}
	tiny(t, x, "a", "0")
	if err := x.SetVersioning(t.Context(), "town", Enabled); err != nil {
		t.Fatal(err)
	}
	one, two := tiny(t, x, "a", "1"), tiny(t, x, "a", "2")
	if len(one.VersionID) != 26 || one.VersionID >= two.VersionID || !two.Latest {
		t.Errorf("versions %+v, %+v", one, two)
	}
	want := func(list ...string) {
		t.Helper()
		if got := etags(t, x); !slices.Equal(got, list) {
			t.Fatalf("there are %v, want %v", got, list)
		}
	}
	want("a2*", "a1", "a00")
	for version, etag := range map[string]string{"": "2", two.VersionID: "2", one.VersionID: "1", NullVersion: "0"} {
		f, err := x.Get(t.Context(), Ref{"town", "a", version})
		if err != nil || string(f.Manifest.Inline) != etag {
			t.Errorf("version %q: %q, %v", version, f.Manifest.Inline, err)
		}
	}
	got := remove(t, x, ref)
	if !got.MarkerMade || len(got.VersionID) != 26 || got.ETag != "2" {
		t.Errorf("removed %+v", got)
	}
	want("a-*", "a2", "a1", "a00")
	_, err := x.Head(t.Context(), ref)
	wantCode(t, err, fault.NotFound)
	var marker *MarkerError
	if !errors.As(err, &marker) || !marker.Object.Marker || !marker.Object.Latest || marker.Object.VersionID != got.VersionID {
		t.Errorf("head of what is removed: %v", err)
	}
	if p, err := x.List(t.Context(), "town", Listing{}); err != nil || len(p.Objects) != 0 {
		t.Errorf("listed behind a marker: %v, %v", p, err)
	}
	// Without the marker it is back.
	if got := remove(t, x, Ref{"town", "a", got.VersionID}); got.MarkerMade || !got.Object.Marker {
		t.Errorf("removed %+v", got)
	}
	want("a2*", "a1", "a00")
	remove(t, x, two.At())
	want("a1*", "a00")
	if p, err := x.List(t.Context(), "town", Listing{}); err != nil || len(p.Objects) != 1 || p.Objects[0].ETag != "1" {
		t.Errorf("listed %v, %v", p, err)
	}
	// Suspended: the null version is replaced, the others stay.
	if err := x.SetVersioning(t.Context(), "town", Suspended); err != nil {
		t.Fatal(err)
	}
	tiny(t, x, "a", "3")
	want("a30*", "a1")
	if got := remove(t, x, ref); !got.MarkerMade || got.VersionID != NullVersion {
		t.Errorf("removed %+v", got)
	}
	want("a-0*", "a1")
	wantCode(t, x.SetVersioning(t.Context(), "town", Off), fault.BadRequest)
	wantCode(t, x.RemoveBucket(t.Context(), "town"), fault.Exists)
	_, err = x.Remove(t.Context(), one.At(), RemoveOptions{If: Condition{ETag: "2"}})
	wantCode(t, err, fault.Exists)
}

func TestLockedVersionsStay(t *testing.T) {
	now := int64(1000)
	x := versioned(t)
	x.c.Now = func() time.Time { return time.Unix(now, 0) }
	tries := func(o Object, bypass bool, code fault.Code) {
		t.Helper()
		_, err := x.Remove(t.Context(), o.At(), RemoveOptions{Bypass: bypass})
		wantCode(t, err, code)
	}
	set := func(o Object, a Attrs, code fault.Code) {
		t.Helper()
		_, err := x.SetAttrs(t.Context(), o.At(), func(b *Attrs) error { *b = a; return nil })
		wantCode(t, err, code)
	}
	hold := tiny(t, x, "hold", "1")
	set(hold, Attrs{Hold: true, Tags: map[string]string{"a": "b"}}, "")
	tries(hold, true, fault.Locked)
	if got := remove(t, x, Ref{Bucket: "town", Key: "hold"}); !got.MarkerMade {
		t.Error("a marker over what is held")
	}
	set(hold, Attrs{}, "")
	tries(hold, false, "")
	gov := tiny(t, x, "gov", "1")
	set(gov, Attrs{RetainMode: Governance, RetainUntil: now + 10}, "")
	tries(gov, false, fault.Locked)
	set(gov, Attrs{RetainMode: Governance, RetainUntil: now + 5}, "")
	tries(gov, true, "")
	com := tiny(t, x, "com", "1")
	set(com, Attrs{RetainMode: Compliance, RetainUntil: now + 10}, "")
	set(com, Attrs{RetainMode: Compliance, RetainUntil: now + 9}, fault.Locked)
	set(com, Attrs{RetainMode: Governance, RetainUntil: now + 20}, fault.Locked)
	set(com, Attrs{RetainMode: Compliance, RetainUntil: now + 20}, "")
	tries(com, true, fault.Locked)
	now += 20
	tries(com, false, "")
	set(gov, Attrs{}, fault.NotFound)
	set(tiny(t, x, "bad", "1"), Attrs{RetainMode: "SOMETIMES", RetainUntil: 1}, fault.BadRequest)
}

// A Compliance retention isn't shortened by a device that hadn't heard of it.
func TestMergingShortensNoCompliance(t *testing.T) {
	a, b := versioned(t), newIndex(t)
	b.c.Device = 1
	until := time.Now().Unix() + 1000
	o := tiny(t, a, "x", "1")
	exchange(t, a, b)
	set := func(x *Index, until int64) {
		if _, err := x.SetAttrs(t.Context(), o.At(), func(a *Attrs) error {
			a.RetainMode, a.RetainUntil = Compliance, until
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	set(a, until+100)
	set(b, until) // later, and shorter
	exchange(t, a, b)
	for _, x := range []*Index{a, b} {
		if o, err := x.Head(t.Context(), o.At()); err != nil || o.RetainUntil != until+100 {
			t.Errorf("retained until %d, %v", o.RetainUntil-until, err)
		}
	}
}

// exchange has two devices read all of one another's log.
func exchange(t testing.TB, a, b *Index) {
	t.Helper()
	for _, p := range [][2]*Index{{a, b}, {b, a}} {
		list, err := p[0].Changes(t.Context(), 0, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		var bodies [][]byte
		for _, c := range list {
			bodies = append(bodies, c.Body)
		}
		if err := p[1].Apply(t.Context(), p[0].c.Device, bodies); err != nil {
			t.Fatal(err)
		}
	}
}

func showAll(list []Object) (out string) {
	for _, o := range list {
		out += show(o)
	}
	return out
}

// Pages of a listing of versions, one behind the other, are the listing.
func TestPagesOfVersionsAreTheWhole(t *testing.T) {
	x := versioned(t)
	r := rapid.StringMatching(`[ab]{0,2}/?[ab]`)
	for i := range 60 {
		key := r.Example(i % 23)
		if tiny(t, x, key, fmt.Sprint(i)); i%7 == 0 {
			remove(t, x, Ref{Bucket: "town", Key: key})
		}
	}
	rapid.Check(t, func(r *rapid.T) {
		l := VersionListing{
			Prefix:    rapid.SampledFrom([]string{"", "a", "ab/", "b"}).Draw(r, "prefix"),
			Delimiter: rapid.SampledFrom([]string{"", "/", "b"}).Draw(r, "delimiter"),
		}
		whole, err := x.ListVersions(t.Context(), "town", l)
		if err != nil || whole.NextKey != "" {
			r.Fatal(whole, err)
		}
		l.Limit = rapid.IntRange(1, 9).Draw(r, "limit")
		var got VersionPage
		for {
			p, err := x.ListVersions(t.Context(), "town", l)
			if err != nil || len(p.Versions)+len(p.Prefixes) > l.Limit {
				r.Fatal(p, err)
			}
			got.Versions, got.Prefixes = append(got.Versions, p.Versions...), append(got.Prefixes, p.Prefixes...)
			if p.NextKey == "" {
				break
			}
			l.AfterKey, l.AfterVersion = p.NextKey, p.NextVersion
		}
		if a, b := showAll(got.Versions)+fmt.Sprint(got.Prefixes), showAll(whole.Versions)+fmt.Sprint(whole.Prefixes); a != b {
			r.Fatalf("pages\n%s\nwhole\n%s", a, b)
		}
	})
	// The newest of each key, without markers, is what List lists.
	all, err := x.ListVersions(t.Context(), "town", VersionListing{})
	if err != nil {
		t.Fatal(err)
	}
	var newest []Object
	for i, o := range all.Versions {
		if first := i == 0 || all.Versions[i-1].Key != o.Key; first != o.Latest {
			t.Errorf("%s %s: latest %v", o.Key, o.VersionID, o.Latest)
		}
		if o.Latest && !o.Marker {
			newest = append(newest, o)
		}
	}
	p, err := x.List(t.Context(), "town", Listing{})
	if err != nil || showAll(p.Objects) != showAll(newest) {
		t.Errorf("listed %v, newest %v, %v", p.Objects, newest, err)
	}
}

func TestDocumentsOfABucket(t *testing.T) {
	x := newIndex(t)
	set := func(name string, doc []byte, code fault.Code) {
		t.Helper()
		wantCode(t, x.SetBucketDoc(t.Context(), "town", name, doc), code)
	}
	set("policy", []byte("p"), "")
	set("cors", []byte{}, "")
	set("Bad Name", []byte("p"), fault.BadName)
	set("acl", make([]byte, MaxDoc+1), fault.TooLarge)
	if docs, err := x.BucketDocs(t.Context(), "town"); err != nil || len(docs) != 2 || string(docs["policy"]) != "p" {
		t.Errorf("%v, %v", docs, err)
	}
	set("policy", nil, "")
	if docs, err := x.BucketDocs(t.Context(), "town"); err != nil || len(docs) != 1 {
		t.Errorf("after one was removed: %v, %v", docs, err)
	}
	_, err := x.BucketDocs(t.Context(), "none")
	wantCode(t, err, fault.NotFound)
	if err := x.RemoveBucket(t.Context(), "town"); err != nil {
		t.Fatal(err)
	}
	if err := x.MakeBucket(t.Context(), "town"); err != nil {
		t.Fatal(err)
	}
	if docs, err := x.BucketDocs(t.Context(), "town"); err != nil || len(docs) != 0 {
		t.Errorf("a new bucket has %v, %v", docs, err)
	}
}

func TestHiddenBucketsStayHere(t *testing.T) {
	x := newIndex(t)
	before, err := x.Changes(t.Context(), 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, x.MakeBucket(t.Context(), ".hearth"), fault.BadName)
	if err := x.MakeHidden(t.Context(), ".hearth"); err != nil {
		t.Fatal(err)
	}
	hidden := Ref{Bucket: ".hearth", Key: "log/1"}
	s := newSlab(1, 3)
	put(t, x, draft(hidden, s))
	if err := x.Repaired(t.Context(), x.BeginRepair(), s.ID, map[int]Place{3: {"hearth1new", 7}}); err != nil {
		t.Fatal(err)
	}
	if after, err := x.Changes(t.Context(), 0, 1<<20); err != nil || len(after) != len(before) {
		t.Errorf("told of %d changes, %v", len(after)-len(before), err)
	}
	if list, err := x.Buckets(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("buckets %v, %v", list, err)
	}
	if list, err := x.SlabsAfter(t.Context(), SlabID{}, 10); err != nil || len(list) != 1 || list[0].Placed() != 4 {
		t.Errorf("watched: %v, %v", list, err)
	}
	// Once something public uses the slab, others learn of it.
	if _, err := x.Copy(t.Context(), hidden, ref, Condition{}); err != nil {
		t.Fatal(err)
	}
	y := newIndex(t)
	exchange(t, x, y)
	if f, err := y.Get(t.Context(), ref); err != nil || f.Slabs[s.ID].Placed() != 4 {
		t.Errorf("the copy elsewhere: %v", err)
	}
	_, err = y.Get(t.Context(), hidden)
	wantCode(t, err, fault.NotFound)
}

func TestLinksAreTheAccountsAndComeBackFromItsLog(t *testing.T) {
	x := newIndex(t)
	if err := x.MakeHidden(t.Context(), Shares); err != nil {
		t.Fatal(err)
	}
	live, dead := Ref{Bucket: Shares, Key: "live/1"}, Ref{Bucket: Shares, Key: "revoked/2"}
	s := newSlab(1, 4)
	put(t, x, draft(live, s))
	put(t, x, draft(dead))
	put(t, x, draft(Ref{Bucket: Shares, Key: "live/2"}))
	if _, err := x.Remove(t.Context(), Ref{Bucket: Shares, Key: "live/2"}, RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	y, z := newIndex(t), newIndex(t)
	exchange(t, x, y)
	var whole bytes.Buffer
	if _, err := x.Snapshot(t.Context(), &whole); err != nil {
		t.Fatal(err)
	}
	if err := z.ApplySnapshot(t.Context(), &whole); err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]*Index{"by the log": y, "by a snapshot": z} {
		if f, err := at.Get(t.Context(), live); err != nil || f.Slabs[s.ID].Placed() != 4 {
			t.Errorf("%s: %v", name, err)
		}
		page, err := at.List(t.Context(), Shares, Listing{})
		if err != nil || len(page.Objects) != 2 || page.Objects[1].Key != dead.Key {
			t.Errorf("%s: %+v, %v", name, page.Objects, err)
		}
		if list, err := at.Buckets(t.Context()); err != nil || len(list) != 1 {
			t.Errorf("%s: buckets %v, %v", name, list, err)
		}
	}
}
