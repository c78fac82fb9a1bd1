package client

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	"hearth/core/fault"
	"hearth/storage/host"
	"hearth/storage/index"
	"hearth/storage/remote"
	"hearth/storage/repair"
)

// only gives the slab of the one object, as it lies now.
func only(t testing.TB, c *Client) *index.PlacedSlab {
	t.Helper()
	f, err := c.c.Index.Get(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range f.Slabs {
		return s
	}
	t.Fatal("it has no slab")
	return nil
}

func TestShardsMoveAwayAndTheirOldPlacesAreFreed(t *testing.T) {
	f := newFleet(t, 9, gib)
	c := newClient(t, f)
	b := random(9 << 20)
	put(t, c, ref, b)
	before := only(t, c)
	lost, left := before.At[1], before.At[4]
	f.machines[lost.Lease-1].dead.Store(true)
	n, err := c.Remake(t.Context(), before.ID, []int{1}, []int{4})
	if err != nil || n != 2*before.ShardSize {
		t.Fatalf("%d bytes, %v", n, err)
	}
	after := only(t, c)
	for i, p := range after.At {
		if moved := i == 1 || i == 4; moved == (p == before.At[i]) {
			t.Errorf("shard %d lies at %s, it lay at %s", i, p.Host, before.At[i].Host)
		}
	}
	wantContent(t, c, ref, b)
	c.Work(t.Context())
	if m := f.machines[left.Lease-1]; m.units != 0 {
		t.Errorf("%s still holds %d bytes", m.name, m.units)
	}
	f.machines[lost.Lease-1].dead.Store(false)
	f.pass(time.Hour)
	until(t, c)
	if m := f.machines[lost.Lease-1]; m.units != 0 {
		t.Errorf("%s came back and still holds %d bytes", m.name, m.units)
	}
}

func TestNoPlaceIsGivenUpBeforeThereIsAnother(t *testing.T) {
	f := newFleet(t, 6, gib)
	c := newClient(t, f)
	b := random(9 << 20)
	put(t, c, ref, b)
	before := only(t, c)
	f.machines[before.At[2].Lease-1].dead.Store(true)
	if _, err := c.Remake(t.Context(), before.ID, []int{2}, nil); fault.CodeOf(err) != fault.NotEnoughHosts {
		t.Errorf("without another host: %v", err)
	}
	if after := only(t, c); !slices.Equal(after.At, before.At) {
		t.Error("its shards were given up")
	}
	until(t, c)
	wantContent(t, c, ref, b)
}

// A host that answers every question but the one for its bytes is no better than
// a dead one, whatever it says.
func TestAHostThatProvesAndDoesntServeIsLeft(t *testing.T) {
	f := newFleet(t, 8, gib)
	c := newClient(t, f)
	b := random(9 << 20)
	put(t, c, ref, b)
	s := only(t, c)
	bad := f.machines[s.At[0].Lease-1]
	bad.stingy.Store(true)
	bad.hurry()
	err := c.Read(t.Context(), s.At[0], s.Roots[0], s.ShardSize, 0)
	if repair.AnswerOf(err) != repair.Refused {
		t.Fatalf("a host that always says it isn't paid is %s: %v", repair.AnswerOf(err), err)
	}
	if held, err := c.host(&bargain{bad, f}); err != nil {
		t.Fatal(err)
	} else if has, err := held.Stat(t.Context(), s.Roots[:1]); err != nil || !has[0] {
		t.Errorf("it proves that it holds it: %v, %v", has, err)
	}
	w := watch(t, f, c)
	for range 10 {
		f.pass(10 * time.Minute)
		if _, err := w.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if after := only(t, c); after.At[0].Host == bad.name {
		t.Errorf("the shard still lies there, %+v", w.Count())
	}
	wantContent(t, c, ref, b)
	// It isn't hired again while there are others, though nobody remembers a failure.
	c.book = remote.NewBook(f.now)
	bad.stingy.Store(false)
	put(t, c, ref, b)
	for _, p := range only(t, c).At {
		if p.Host == bad.name {
			t.Error("it was hired again")
		}
	}
	// Where six are needed and only five others are left, it is better than none.
	others := slices.DeleteFunc(slices.Clone(f.machines), func(m *machine) bool { return m == bad })
	others[5].gone.Store(true)
	others[6].gone.Store(true)
	put(t, c, ref, b)
	if !slices.ContainsFunc(only(t, c).At, func(p index.Place) bool { return p.Host == bad.name }) {
		t.Error("it wasn't hired though nobody else is there")
	}
}

func TestEveryWayInWhichAHostFailsIsJudged(t *testing.T) {
	f := newFleet(t, 6, gib)
	c := newClient(t, f)
	put(t, c, ref, random(9<<20))
	s := only(t, c)
	read := func() repair.Answer {
		return repair.AnswerOf(c.Read(t.Context(), s.At[0], s.Roots[0], s.ShardSize, 4096))
	}
	m := f.machines[s.At[0].Lease-1]
	m.hurry()
	for _, tt := range []struct {
		name string
		do   func(on bool)
		want repair.Answer
	}{
		{"well", func(bool) {}, repair.Served},
		{"garbage", m.garbage.Store, repair.Lost},
		{"no money of ours", m.broke.Store, repair.Nothing},
		{"refusing", m.stingy.Store, repair.Refused},
		{"dead", m.dead.Store, repair.Silent},
		{"well again", func(bool) {}, repair.Served},
	} {
		tt.do(true)
		c.forget(m.lease)
		if got := read(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
		tt.do(false)
		c.forget(m.lease)
	}
}

// hurry has a machine wait for payments only for a moment.
func (m *machine) hurry() {
	srv, err := host.NewServer(host.ServerConfig{Host: m.store, Meter: m, Leases: m, ChainID: chainID, Patience: 50 * time.Millisecond})
	if err != nil {
		m.t.Fatal(err)
	}
	m.srv = srv
}

// watch is a watcher over a client's slabs, with the fleet's clock.
func watch(t testing.TB, f *fleet, c *Client) *repair.Watcher {
	t.Helper()
	w, err := repair.New(repair.Config{List: files{c}, Hand: known{c, f}, Now: f.now, Rules: repair.Rules{
		Patience: time.Hour, GiveUp: 2 * time.Hour, Contacts: 3, Refusals: 3, Shun: 24 * time.Hour, Audit: 14 * 24 * time.Hour, Backoff: time.Hour, MostDelay: 24 * time.Hour,
	}})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// known is a client as a watcher's hand, to whom every lease is open.
type known struct {
	*Client
	f *fleet
}

func (k known) Leases(context.Context) (map[index.Place]repair.Lease, error) {
	out := map[index.Place]repair.Lease{}
	for _, m := range k.f.machines {
		out[index.Place{Host: m.name, Lease: m.lease}] = repair.Lease{Known: true, Closed: m.gone.Load()}
	}
	return out, nil
}

// files is what a client stores, as a watcher's list: the slabs of one object.
type files struct{ c *Client }

func (l files) SlabsAfter(ctx context.Context, after index.SlabID, _ int) ([]index.PlacedSlab, error) {
	f, err := l.c.c.Index.Get(ctx, ref)
	if err != nil {
		return nil, err
	}
	var out []index.PlacedSlab
	for _, s := range f.Slabs {
		if bytes.Compare(s.ID[:], after[:]) > 0 {
			out = append(out, *s)
		}
	}
	slices.SortFunc(out, func(a, b index.PlacedSlab) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return out, nil
}
