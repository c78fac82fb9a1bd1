package index

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hearth/core/fault"
)

// A fleet is some devices with one list of files. Each has read every other's log
// up to some point.
type fleet struct {
	t     *rapid.T
	x     []*Index
	logs  [][]Change // all that each has ever logged
	read  [][]int    // read[a][b]: so much of b's log is merged at a
	clock int64

	serial byte
	made   map[Ref]Object // every version and marker ever made
	gone   map[Ref]bool   // those that somebody removed for good
}

func newFleet(t *rapid.T, dir string, n int) *fleet {
	f := &fleet{t: t, clock: 1e6, made: map[Ref]Object{}, gone: map[Ref]bool{}}
	for i := range n {
		x, err := Open(Config{
			Path: fmt.Sprintf("%s%d.db", dir, i), Device: uint64(i+1) << 62, Grace: time.Hour, Readers: 1, lax: true,
			Now: func() time.Time { return time.UnixMicro(f.clock * int64(1+i)) },
		}) // their clocks disagree
		f.check(err)
		f.x, f.logs, f.read = append(f.x, x), append(f.logs, nil), append(f.read, make([]int, n))
	}
	return f
}

func (f *fleet) close() {
	for _, x := range f.x {
		x.Close()
	}
}

func (f *fleet) check(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// pull has a read what b has logged, at most n changes.
func (f *fleet) pull(a, b, n int) {
	if a == b {
		return
	}
	last := int64(0)
	if k := len(f.logs[b]); k > 0 {
		last = f.logs[b][k-1].Seq
	}
	list, err := f.x[b].Changes(f.t.Context(), last, 1<<30)
	f.check(err)
	f.logs[b] = append(f.logs[b], list...)
	from := f.read[a][b]
	to := min(len(f.logs[b]), from+n)
	var bodies [][]byte
	for _, c := range f.logs[b][from:to] {
		bodies = append(bodies, c.Body)
	}
	f.check(f.x[a].Apply(f.t.Context(), f.x[b].c.Device, bodies))
	f.read[a][b] = to
}

// show is all of an object; its String is that of its name.
func show(o Object) string {
	return fmt.Sprintln(o.Key, o.Version, o.Device, o.VersionID, o.Null, o.Marker, o.Latest, o.Size, o.Created, o.ETag, o.Type, o.Extra, o.Attrs)
}

// state is all that devices must agree on.
func state(ctx context.Context, t interface{ Fatal(...any) }, x *Index) string {
	var b strings.Builder
	buckets, err := x.Buckets(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, bucket := range buckets {
		fmt.Fprintln(&b, bucket.Name, bucket.Versioning)
		docs, err := x.BucketDocs(ctx, bucket.Name)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range slices.Sorted(maps.Keys(docs)) {
			fmt.Fprintf(&b, " %s %q\n", name, docs[name])
		}
		p, err := x.ListVersions(ctx, bucket.Name, VersionListing{})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range p.Versions {
			fmt.Fprint(&b, show(o))
			if f, err := x.Get(ctx, o.At()); err == nil {
				fmt.Fprintf(&b, " %+v", f.Manifest)
				for _, id := range f.Manifest.Slabs() {
					fmt.Fprintf(&b, " %v", f.Slabs[id].At)
				}
			} else if !o.Marker {
				fmt.Fprintf(&b, " %v", err)
			}
			fmt.Fprintln(&b)
		}
		l, err := x.List(ctx, bucket.Name, Listing{})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range l.Objects {
			fmt.Fprintln(&b, " newest", o.Key, o.VersionID)
		}
	}
	return b.String()
}

func (f *fleet) device() int {
	return rapid.IntRange(0, len(f.x)-1).Draw(f.t, "device")
}

func (f *fleet) name() Ref {
	return Ref{Bucket: rapid.SampledFrom([]string{"plain", "kept"}).Draw(f.t, "bucket"), Key: rapid.SampledFrom([]string{"a", "b"}).Draw(f.t, "key")}
}

// one picks a version that a device knows.
func (f *fleet) one(x *Index) (Object, bool) {
	r := f.name()
	p, err := x.ListVersions(f.t.Context(), r.Bucket, VersionListing{})
	if fault.CodeOf(err) == fault.NotFound || err == nil && len(p.Versions) == 0 {
		return Object{}, false
	}
	f.check(err)
	return rapid.SampledFrom(p.Versions).Draw(f.t, "version"), true
}

func (f *fleet) actions() map[string]func(*rapid.T) {
	ctx := f.t.Context()
	return map[string]func(*rapid.T){
		"make": func(*rapid.T) {
			x, r := f.x[f.device()], f.name()
			if err := x.MakeBucket(ctx, r.Bucket); err != nil && fault.CodeOf(err) != fault.Exists {
				f.t.Fatal(err)
			} else if err == nil && r.Bucket == "kept" {
				f.check(x.SetVersioning(ctx, r.Bucket, Enabled))
			}
		},
		"unmake": func(*rapid.T) {
			err := f.x[f.device()].RemoveBucket(ctx, f.name().Bucket)
			if code := fault.CodeOf(err); err != nil && code != fault.NotFound && code != fault.Exists {
				f.t.Fatal(err)
			}
		},
		"suspend": func(*rapid.T) {
			v := rapid.SampledFrom([]Versioning{Suspended, Enabled}).Draw(f.t, "versioning")
			if err := f.x[f.device()].SetVersioning(ctx, "kept", v); err != nil && fault.CodeOf(err) != fault.NotFound {
				f.t.Fatal(err)
			}
		},
		"doc": func(*rapid.T) {
			f.serial++
			var doc []byte
			if rapid.Bool().Draw(f.t, "some") {
				doc = []byte{f.serial}
			}
			if err := f.x[f.device()].SetBucketDoc(ctx, f.name().Bucket, "policy", doc); err != nil && fault.CodeOf(err) != fault.NotFound {
				f.t.Fatal(err)
			}
		},
		"put": func(*rapid.T) {
			x, r := f.x[f.device()], f.name()
			if found, err := x.HasBucket(ctx, r.Bucket); err != nil || !found {
				f.check(err)
				return
			}
			f.serial++
			s := newSlab(f.serial, 4)
			f.note(tryPut(ctx, x, draft(r, s)))
		},
		"copy": func(*rapid.T) {
			x := f.x[f.device()]
			from, ok := f.one(x)
			if to := f.name(); ok && !from.Marker {
				f.note(x.Copy(ctx, from.At(), to, Condition{}))
			}
		},
		"remove": func(*rapid.T) {
			x, r := f.x[f.device()], f.name()
			got, err := x.Remove(ctx, r, RemoveOptions{})
			switch {
			case fault.CodeOf(err) == fault.NotFound:
			case err != nil:
				f.t.Fatal(err)
			case got.MarkerMade:
				var marker *MarkerError
				if _, err := x.Head(ctx, Ref{r.Bucket, r.Key, got.VersionID}); !errors.As(err, &marker) {
					f.t.Fatal("no marker:", err)
				}
				f.note(marker.Object, nil)
			default:
				f.gone[got.Object.At()] = true
			}
		},
		"destroy": func(*rapid.T) {
			x := f.x[f.device()]
			if o, ok := f.one(x); ok {
				_, err := x.Remove(ctx, o.At(), RemoveOptions{})
				f.check(err)
				f.gone[o.At()] = true
			}
		},
		"tag": func(*rapid.T) {
			x := f.x[f.device()]
			if o, ok := f.one(x); ok && !o.Marker {
				f.serial++
				_, err := x.SetAttrs(ctx, o.At(), func(a *Attrs) error {
					a.Tags = map[string]string{"n": fmt.Sprint(f.serial)}
					return nil
				})
				f.check(err)
			}
		},
		"repair": func(*rapid.T) {
			x := f.x[f.device()]
			slabs, err := x.SlabsAfter(ctx, SlabID{}, 100)
			f.check(err)
			if len(slabs) == 0 {
				return
			}
			s := rapid.SampledFrom(slabs).Draw(f.t, "slab")
			i := rapid.IntRange(0, 3).Draw(f.t, "shard")
			f.check(x.Lose(ctx, s.ID, []int{i}))
			if rapid.Bool().Draw(f.t, "found") {
				f.serial++
				f.check(x.Repaired(ctx, x.BeginRepair(), s.ID, map[int]Place{i: {fmt.Sprintf("hearth1new%d", f.serial), 1}}))
			}
		},
		"time": func(*rapid.T) { f.clock += 1000 },
		"pull": func(*rapid.T) {
			f.pull(f.device(), f.device(), rapid.IntRange(1, 6).Draw(f.t, "changes"))
		},
	}
}

func (f *fleet) note(o Object, err error) {
	f.t.Helper()
	if fault.CodeOf(err) == fault.NotFound {
		return // no bucket here, or a slab of which nothing but its name is known yet
	}
	f.check(err)
	f.made[o.At()] = o
}

// expected is what must be there once everybody knows everything: what was made
// and isn't removed; of a key's null versions only the newest.
func (f *fleet) expected() []string {
	newest := map[Ref]Ref{}
	for at, o := range f.made {
		if name := o.Ref; o.Null && newest[name].Version < at.Version {
			newest[name] = at
		}
	}
	var out []string
	for at, o := range f.made {
		if !f.gone[at] && (!o.Null || newest[o.Ref] == at) {
			out = append(out, fmt.Sprint(at, o.Marker))
		}
	}
	slices.Sort(out)
	return out
}

func (f *fleet) there(x *Index) []string {
	var out []string
	for _, bucket := range []string{"plain", "kept"} {
		p, err := x.ListVersions(f.t.Context(), bucket, VersionListing{})
		if fault.CodeOf(err) == fault.NotFound {
			continue
		}
		f.check(err)
		for _, o := range p.Versions {
			out = append(out, fmt.Sprint(o.At(), o.Marker))
		}
	}
	slices.Sort(out)
	return out
}

// Devices that have read one another's logs, in whatever order and pieces, list
// the same. What one has put and nobody has removed or put anew is there; what was
// removed stays away.
func TestDevicesConverge(t *testing.T) {
	dir := t.TempDir()
	run := 0
	rapid.Check(t, func(r *rapid.T) {
		if run++; raced && run%5 != 0 {
			return
		}
		sub := fmt.Sprint(dir, "/", run, "-")
		f := newFleet(r, sub, rapid.IntRange(2, 3).Draw(r, "devices"))
		defer f.close()
		r.Repeat(f.actions())
		order := rand.New(rand.NewPCG(uint64(run), 1))
		for range 2 {
			for _, a := range order.Perm(len(f.x)) {
				for _, b := range order.Perm(len(f.x)) {
					f.pull(a, b, 1<<30)
				}
			}
		}
		for i, x := range f.x {
			if got, want := f.there(x), f.expected(); !slices.Equal(got, want) {
				r.Fatalf("device %d has\n%q\nwant\n%q", i, got, want)
			}
			if got, want := state(r.Context(), r, x), state(r.Context(), r, f.x[0]); got != want {
				r.Fatalf("device %d has\n%s\ndevice 0\n%s", i, got, want)
			}
		}
		// A snapshot of one, and what it has logged since, is the index.
		var b bytes.Buffer
		upTo, err := f.x[0].Snapshot(r.Context(), &b)
		f.check(err)
		y, err := Open(Config{Path: sub + "new.db", Device: 9, Readers: 1, lax: true})
		f.check(err)
		defer y.Close()
		f.check(y.ApplySnapshot(r.Context(), bytes.NewReader(b.Bytes())))
		f.check(y.ApplySnapshot(r.Context(), bytes.NewReader(b.Bytes())))
		if list, err := f.x[0].Changes(r.Context(), upTo, 1); err != nil || len(list) > 0 {
			r.Fatalf("changes behind the newest: %v, %v", list, err)
		}
		if got, want := state(r.Context(), r, y), state(r.Context(), r, f.x[0]); got != want {
			r.Fatalf("restored\n%s\nwant\n%s", got, want)
		}
	})
}
