package index

import (
	"bufio"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A town is a model of an index and of the hosts behind it: what each holds and
// is paid for, by (host, lease, root).
type town struct {
	t       *rapid.T
	x       *Index
	path    string
	objects map[string][]SlabID
	slabs   map[SlabID]PlacedSlab
	hosts   map[Shard]bool
	serial  byte
	clock   int64
}

func (m *town) check(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *town) open() {
	x, err := Open(Config{Path: m.path, lax: true, Now: func() time.Time { return time.Unix(m.clock, 0) }})
	m.check(err)
	m.x = x
}

func (m *town) key() string { return rapid.SampledFrom([]string{"a", "b", "c"}).Draw(m.t, "key") }

// slab makes a slab that lies with hosts, which have signed for it.
func (m *town) slab(upload int64) PlacedSlab {
	m.serial++
	s := newSlab(m.serial, rapid.IntRange(2, 4).Draw(m.t, "placed"))
	m.check(m.x.Intend(m.t.Context(), upload, shards(s)))
	for _, sh := range shards(s) {
		m.hosts[sh] = true
	}
	return s
}

// Random histories, with processes that die anywhere. At the end of each, every
// object reads as it was put, and the hosts hold what objects need or what is to
// be removed, and nothing else.
func TestHistories(t *testing.T) {
	dir := t.TempDir()
	run := 0
	rapid.Check(t, func(r *rapid.T) {
		if run++; raced && run%5 != 0 {
			return
		}
		m := &town{
			t: r, path: filepath.Join(dir, fmt.Sprintf("%d.db", run)), clock: 1000,
			objects: map[string][]SlabID{}, slabs: map[SlabID]PlacedSlab{}, hosts: map[Shard]bool{},
		}
		m.open()
		defer func() { m.x.Close() }()
		ctx := r.Context()
		m.check(m.x.MakeBucket(ctx, "town"))
		r.Repeat(map[string]func(*rapid.T){
			"put": func(*rapid.T) {
				key := m.key()
				id, err := m.x.Begin(ctx, Ref{Bucket: "town", Key: key})
				m.check(err)
				var slabs []PlacedSlab
				for range rapid.IntRange(0, 2).Draw(m.t, "slabs") {
					slabs = append(slabs, m.slab(id))
				}
				switch rapid.IntRange(0, 3).Draw(m.t, "end") {
				case 0:
					m.check(m.x.Abort(ctx, id))
					return
				case 1:
					return // the process dies with it, sooner or later
				}
				_, err = m.x.Commit(ctx, id, draft(Ref{Bucket: "town", Key: key}, slabs...))
				m.check(err)
				m.objects[key] = nil
				for _, s := range slabs {
					m.objects[key] = append(m.objects[key], s.ID)
					m.slabs[s.ID] = s
				}
			},
			"remove": func(*rapid.T) {
				key := m.key()
				_, err := m.x.Remove(ctx, Ref{Bucket: "town", Key: key}, RemoveOptions{})
				if _, there := m.objects[key]; there != (err == nil) {
					m.t.Fatalf("remove %s: %v", key, err)
				}
				delete(m.objects, key)
			},
			"copy": func(*rapid.T) {
				from, to := m.key(), m.key()
				_, err := m.x.Copy(ctx, Ref{Bucket: "town", Key: from}, Ref{Bucket: "town", Key: to}, Condition{})
				list, there := m.objects[from]
				if there != (err == nil) {
					m.t.Fatalf("copy %s: %v", from, err)
				}
				if there {
					m.objects[to] = list
				}
			},
			"lose": func(*rapid.T) {
				ids := slices.SortedFunc(maps.Keys(m.slabs), func(a, b SlabID) int { return strings.Compare(a.String(), b.String()) })
				for _, id := range ids {
					if err := m.x.Lose(ctx, id, []int{0}); err == nil {
						s := m.slabs[id]
						s.At = slices.Clone(s.At)
						s.At[0] = Place{}
						m.slabs[id] = s
						return
					}
				}
			},
			"repair": func(*rapid.T) {
				list, err := m.x.Pending(ctx, m.clock, 1)
				m.check(err)
				for _, p := range list {
					id := m.x.BeginRepair()
					s := m.slabs[p.Slab]
					s.At = slices.Clone(s.At)
					i := p.Shards[0]
					m.serial++
					s.At[i] = Place{fmt.Sprintf("hearth1new%d", m.serial), uint64(m.serial)}
					sh := Shard{s.At[i], s.Roots[i], s.ShardSize}
					m.check(m.x.Intend(ctx, id, []Shard{sh}))
					m.hosts[sh] = true
					m.check(m.x.Repaired(ctx, id, p.Slab, map[int]Place{i: s.At[i]}))
					m.slabs[p.Slab] = s
				}
			},
			"clear": func(*rapid.T) {
				list, err := m.x.Removals(ctx, m.clock, 3)
				m.check(err)
				var gone []Shard
				for _, rm := range list {
					gone = append(gone, rm.Shard)
					delete(m.hosts, rm.Shard)
				}
				m.check(m.x.Removed(ctx, gone))
			},
			"restart": func(*rapid.T) {
				m.check(m.x.Close())
				m.clock++
				m.open()
				_, err := m.x.Reclaim(ctx)
				m.check(err)
			},
			"": func(*rapid.T) { m.laws() },
		})
	})
}

// laws compares the index with the model.
func (m *town) laws() {
	ctx := m.t.Context()
	needed := map[Shard]bool{}
	page, err := m.x.List(ctx, "town", Listing{})
	m.check(err)
	var keys []string
	for _, o := range page.Objects {
		keys = append(keys, o.Key)
		f, err := m.x.Get(ctx, o.Ref)
		m.check(err)
		if !slices.Equal(f.Manifest.Slabs(), m.objects[o.Key]) {
			m.t.Fatalf("%s: slabs %v, want %v", o.Key, f.Manifest.Slabs(), m.objects[o.Key])
		}
		for id, s := range f.Slabs {
			if fmt.Sprint(*s) != fmt.Sprint(m.slabs[id]) {
				m.t.Fatalf("%s: slab %+v, want %+v", o.Key, *s, m.slabs[id])
			}
			for _, sh := range shards(*s) {
				needed[sh] = true
			}
		}
	}
	if want := slices.Sorted(maps.Keys(m.objects)); !slices.Equal(keys, want) {
		m.t.Fatalf("listed %v, want %v", keys, want)
	}
	removals, err := m.x.Removals(ctx, m.clock, 10000)
	m.check(err)
	todo := map[Shard]bool{}
	for _, r := range removals {
		todo[r.Shard] = true
		if needed[r.Shard] {
			m.t.Fatalf("to be removed and needed: %v", r)
		}
	}
	w, err := m.x.Work(ctx)
	m.check(err)
	for sh := range m.hosts {
		if !needed[sh] && !todo[sh] && w.Uploads == 0 {
			m.t.Fatalf("forgotten at its host: %v", sh)
		}
	}
	for sh := range needed {
		if !m.hosts[sh] {
			m.t.Fatalf("needed, and not there: %v", sh)
		}
	}
}

// A process that is killed while it writes has everything that it acknowledged
// when it comes back.
func TestKilledProcessLosesNothingAcknowledged(t *testing.T) {
	if path := os.Getenv("HEARTH_INDEX_TO_FILL"); path != "" {
		fill(t, path)
		return
	}
	path := filepath.Join(t.TempDir(), "index.db")
	acked := map[string]bool{}
	r := rand.New(rand.NewPCG(7, 8))
	for round := range 4 {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestKilledProcess")
		cmd.Env = append(os.Environ(), "HEARTH_INDEX_TO_FILL="+path, fmt.Sprintf("HEARTH_ROUND=%d", round))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 20 + r.IntN(200); n > 0 && lines.Scan(); n-- {
			if key, ok := strings.CutPrefix(lines.Text(), "put "); ok {
				acked[key] = true
			}
		}
		cmd.Process.Kill()
		for lines.Scan() { // what it had said before it died counts
			if key, ok := strings.CutPrefix(lines.Text(), "put "); ok && strings.HasSuffix(key, ".") {
				acked[key] = true
			}
		}
		cmd.Wait()
		x := open(t, path)
		for key := range acked {
			if _, err := x.Get(t.Context(), Ref{Bucket: "town", Key: key}); err != nil {
				t.Errorf("round %d: %v", round, err)
			}
		}
		x.Close()
	}
	if len(acked) < 80 {
		t.Errorf("only %d puts were acknowledged", len(acked))
	}
}

// fill puts objects until somebody kills it.
func fill(t *testing.T, path string) {
	x := open(t, path)
	_ = x.MakeBucket(t.Context(), "town") // there since the first round
	for i := 0; ; i++ {
		key := fmt.Sprintf("%s-%d.", os.Getenv("HEARTH_ROUND"), i)
		d := draft(Ref{Bucket: "town", Key: key}, newSlab(byte(i), 4))
		d.Slabs[0].ID = SlabID([]byte(fmt.Sprintf("%16s", key)))
		d.Manifest.Extents[0].Slab = d.Slabs[0].ID
		put(t, x, d)
		fmt.Println("put " + key)
	}
}
