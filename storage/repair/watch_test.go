package repair

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"hearth/core/erasure"
	"hearth/core/fault"
	"hearth/core/proof"
	"hearth/storage/index"
	"hearth/storage/seal"
)

// A town is hosts that may be told how to behave, and slabs on them.
type town struct {
	t     testing.TB
	now   time.Time
	class erasure.Class

	mu     sync.Mutex
	slabs  []index.PlacedSlab
	host   map[string]error // how it answers
	damage map[proof.Hash]bool
	leases map[string]Lease
	spare  int // the next new host
	broken bool
	reads  map[proof.Hash]int
	order  []index.SlabID // of repairs
	listed int
	shun   map[string]bool
}

func newTown(t testing.TB, c erasure.Class, slabs, hosts int) *town {
	w := &town{t: t, now: noon, class: c, host: map[string]error{}, damage: map[proof.Hash]bool{}, leases: map[string]Lease{}, spare: hosts, reads: map[proof.Hash]int{}}
	for i := range slabs {
		s := index.PlacedSlab{Slab: index.Slab{Slab: seal.Slab{Class: c, Size: 4096 * int64(c.K), ShardSize: 4096, Roots: make([]proof.Hash, c.N)}}, At: make([]index.Place, c.N)}
		binary.BigEndian.PutUint64(s.ID[:], uint64(i+1))
		for j := range c.N {
			binary.BigEndian.PutUint64(s.Roots[j][:], uint64(i+1)<<16|uint64(j))
			s.At[j] = w.place((i + j) % hosts)
		}
		w.slabs = append(w.slabs, s)
	}
	return w
}

func (w *town) place(i int) index.Place {
	return index.Place{Host: fmt.Sprintf("host%03d", i), Lease: uint64(i + 1)}
}

func (w *town) SlabsAfter(_ context.Context, after index.SlabID, limit int) ([]index.PlacedSlab, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i, found := slices.BinarySearchFunc(w.slabs, after, func(s index.PlacedSlab, id index.SlabID) int { return bytes.Compare(s.ID[:], id[:]) })
	if found {
		i++
	}
	out := slices.Clone(w.slabs[i:min(len(w.slabs), i+limit)])
	for i := range out {
		out[i].At = slices.Clone(out[i].At)
	}
	w.listed += len(out)
	return out, nil
}

func (w *town) Leases(context.Context) (map[index.Place]Lease, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[index.Place]Lease{}
	for i := range w.spare {
		p := w.place(i)
		l := w.leases[p.Host]
		l.Known = true
		out[p] = l
	}
	return out, nil
}

func (w *town) Read(_ context.Context, at index.Place, root proof.Hash, size, off int64) error {
	if off < 0 || off >= size {
		w.t.Errorf("byte %d of %d is read", off, size)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reads[root]++
	if w.damage[root] {
		return fault.New(fault.DamagedShard, "damaged")
	}
	return w.host[at.Host]
}

func (w *town) Lost(_ context.Context, id index.SlabID, shard int, at index.Place, _ error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.slab(id)
	if s.At[shard] == at {
		s.At[shard] = index.Place{}
	}
}

func (w *town) Shun(hosts map[string]bool) { w.shun = hosts }

func (w *town) slab(id index.SlabID) *index.PlacedSlab {
	return &w.slabs[slices.IndexFunc(w.slabs, func(s index.PlacedSlab) bool { return s.ID == id })]
}

func (w *town) Remake(_ context.Context, id index.SlabID, made, moved []int) (int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.order = append(w.order, id)
	if w.broken {
		return 0, fault.New(fault.NotEnoughHosts, "none")
	}
	s := w.slab(id)
	left := 0
	for i, p := range s.At {
		if p != (index.Place{}) && w.host[p.Host] == nil && !w.damage[s.Roots[i]] && !slices.Contains(made, i) {
			left++
		}
	}
	if left < s.Class.K {
		w.t.Errorf("slab %s is made of %d shards", id, left)
	}
	for _, i := range append(slices.Clone(made), moved...) {
		s.At[i] = w.place(w.spare)
		w.spare++
	}
	return int64(len(made)+len(moved)) * s.ShardSize, nil
}

func (w *town) watcher(change func(*Config)) *Watcher {
	c := Config{List: w, Hand: w, Rules: rules, Now: func() time.Time { return w.now }}
	if change != nil {
		change(&c)
	}
	x, err := New(c)
	if err != nil {
		w.t.Fatal(err)
	}
	return x
}

// look lets time go by, a look every step.
func (w *town) look(x *Watcher, d, step time.Duration) {
	w.t.Helper()
	for ; d > 0; d -= step {
		w.now = w.now.Add(step)
		if _, err := x.Look(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
	}
}

// on counts the shards on hosts that behave so.
func (w *town) on(host string) (n int) {
	for _, s := range w.slabs {
		for _, p := range s.At {
			if p.Host == host {
				n++
			}
		}
	}
	return n
}

var (
	silent  = fault.New(fault.HostUnreachable, "silence")
	fourOf8 = erasure.Class{K: 4, N: 8}
)

func TestAHostThatDiesIsLeftAfterAWhileAndNotBefore(t *testing.T) {
	w := newTown(t, fourOf8, 20, 8)
	x := w.watcher(nil)
	w.look(x, time.Hour, 10*time.Minute)
	w.host["host002"] = silent
	w.look(x, 23*time.Hour, 10*time.Minute)
	if n := w.on("host002"); n != 20 {
		t.Errorf("%d of 20 shards are left there before it was given up", n)
	}
	w.look(x, 4*time.Hour, 10*time.Minute)
	if n := w.on("host002"); n != 0 {
		t.Errorf("%d shards still lie on a host that is gone", n)
	}
	if c := x.Count(); c.Remade != 20 || c.Failed != 0 {
		t.Errorf("%+v", c)
	}
}

func TestTheWorstSlabsComeFirst(t *testing.T) {
	w := newTown(t, fourOf8, 40, 40)
	x := w.watcher(func(c *Config) { c.Together = 1 })
	w.look(x, time.Hour, 10*time.Minute)
	// Slab i lies on hosts i to i+7: around host 20 more and more are missing.
	for i := 18; i < 22; i++ {
		w.host[w.place(i).Host] = silent
	}
	w.look(x, 2*time.Hour, 10*time.Minute)
	if len(w.order) == 0 {
		t.Fatal("nothing was repaired")
	}
	last := 0
	for _, id := range w.order {
		i := int(binary.BigEndian.Uint64(id[:])) - 1
		left := 8
		for h := 18; h < 22; h++ {
			if h >= i && h < i+8 {
				left--
			}
		}
		if left >= Enough(fourOf8) || left < last {
			t.Errorf("slab %d with %d shards left came after one with %d", i, left, last)
		}
		last = left
	}
}

func TestWhenNobodyAnswersItIsOurOwnFault(t *testing.T) {
	w := newTown(t, fourOf8, 5, 8)
	x := w.watcher(nil)
	w.look(x, time.Hour, 10*time.Minute)
	for i := range 8 {
		w.host[w.place(i).Host] = silent
	}
	w.look(x, 10*24*time.Hour, time.Hour)
	if c := x.Count(); len(w.order) > 0 || c.Standing[Away]+c.Standing[Gone] > 0 {
		t.Errorf("%d repairs, %+v", len(w.order), c)
	}
}

func TestADamagedShardIsFoundWithinTheTimeOfAnAudit(t *testing.T) {
	w := newTown(t, fourOf8, 50, 12)
	x := w.watcher(nil)
	w.look(x, time.Hour, time.Hour)
	w.mu.Lock()
	for _, s := range w.slabs {
		w.damage[s.Roots[3]] = true
	}
	clear(w.reads)
	w.mu.Unlock()
	w.look(x, rules.Audit, time.Hour)
	for _, s := range w.slabs {
		for j, root := range s.Roots {
			if w.reads[root] == 0 {
				t.Fatalf("shard %d of slab %s was never read in %s", j, s.ID, rules.Audit)
			}
		}
		if s.At[3] != (index.Place{}) {
			t.Errorf("a damaged shard of %s wasn't noticed", s.ID)
		}
	}
	if most := 50 * 8 * 3; int(x.Count().Audits) > most {
		t.Errorf("%d audits of 400 shards", x.Count().Audits)
	}
}

func TestAuditsGoOnWhereTheyWereAfterARestart(t *testing.T) {
	w := newTown(t, fourOf8, 50, 12)
	kept := filepath.Join(t.TempDir(), "audits.json")
	with := func(c *Config) { c.Kept = kept }
	w.look(w.watcher(with), rules.Audit, time.Hour) // to the end of a round
	clear(w.reads)
	for range int(rules.Audit / (12 * time.Hour)) { // it is never up for longer than half a day
		w.look(w.watcher(with), 12*time.Hour, time.Hour)
	}
	for _, s := range w.slabs {
		for j, root := range s.Roots {
			if w.reads[root] == 0 {
				t.Fatalf("shard %d of slab %s was never read", j, s.ID)
			}
		}
	}
}

func TestARepairThatFailsIsTriedLessAndLess(t *testing.T) {
	w := newTown(t, fourOf8, 1, 8)
	x := w.watcher(nil)
	w.look(x, time.Hour, 10*time.Minute)
	w.broken = true
	w.leases["host001"] = Lease{Closed: true}
	w.look(x, 3*24*time.Hour, 10*time.Minute)
	if n := len(w.order); n < 5 || n > 8 { // after 0, 1, 3, 7, 15, 31, 55 hours
		t.Errorf("%d tries in three days", n)
	}
	w.broken = false
	w.look(x, 25*time.Hour, 10*time.Minute)
	if n := w.on("host001"); n != 0 {
		t.Error("it was given up")
	}
}

func TestHostsThatGiveNoticeAreMovedAwayFrom(t *testing.T) {
	w := newTown(t, fourOf8, 30, 10)
	x := w.watcher(nil)
	w.leases["host003"] = Lease{Ending: true}
	w.look(x, time.Hour, 10*time.Minute)
	if n := w.on("host003"); n != 0 {
		t.Errorf("%d shards are left on a host that leaves", n)
	}
}

func BenchmarkLookAt100000Slabs(b *testing.B) {
	w := newTown(b, erasure.Class{K: 10, N: 20}, 100_000, 300)
	x := w.watcher(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := x.sweep(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// A host that answers everything but reads is left, and remembered: it holds nothing
// any more, so nobody asks it again, and it would be the first to be hired anew.
func TestAHostThatWasLeftIsntHiredAgain(t *testing.T) {
	w := newTown(t, fourOf8, 20, 10)
	path := filepath.Join(t.TempDir(), "left.json")
	with := func(c *Config) { c.Left = path }
	x := w.watcher(with)
	w.look(x, time.Hour, 10*time.Minute)
	if len(w.shun) > 0 {
		t.Fatalf("%v are shunned, and all serve", w.shun)
	}
	w.host["host003"] = context.Canceled // nothing more is heard of it than that it refuses
	x.hosts["host003"] = Host{Heard: true, Refusals: rules.Refusals, RefusedAt: w.now}
	w.host["host004"] = silent
	w.look(x, rules.GiveUp+rules.Patience, 10*time.Minute)
	if n := w.on("host003") + w.on("host004"); n != 0 {
		t.Fatalf("%d shards are left with them", n)
	}
	for range 2 { // and after a restart
		if len(w.shun) != 2 || !w.shun["host003"] || !w.shun["host004"] {
			t.Errorf("%v are shunned", w.shun)
		}
		w.shun = nil
		x = w.watcher(with)
		w.look(x, 10*time.Minute, 10*time.Minute)
	}
	w.look(x, rules.Shun, time.Hour)
	if len(w.shun) > 0 {
		t.Errorf("%v are shunned for ever", w.shun)
	}
}

func TestAListOfLeftHostsThatCantBeReadHoldsNothingUp(t *testing.T) {
	for _, text := range []string{"", "rubbish", `{"format":2,"hosts":{"host001":"2030-01-01T00:00:00Z"}}`} {
		w := newTown(t, fourOf8, 2, 8)
		path := filepath.Join(t.TempDir(), "left.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		w.look(w.watcher(func(c *Config) { c.Left = path }), time.Hour, 10*time.Minute)
		if len(w.shun) > 0 {
			t.Errorf("%q: %v are shunned", text, w.shun)
		}
	}
}
