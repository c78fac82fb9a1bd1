package client

import (
	"bytes"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"hearth/core/erasure"
	"hearth/core/fault"
	"hearth/core/proof"
	"hearth/storage/index"
)

var ref = index.Ref{Bucket: "town", Key: "a"}

const gib = 1 << 30

func random(n int) []byte {
	b := make([]byte, n)
	r := mrand.NewChaCha8([32]byte{byte(n)})
	r.Read(b)
	return b
}

func put(t testing.TB, c *Client, r index.Ref, b []byte) Result {
	t.Helper()
	res, err := c.Put(t.Context(), r, bytes.NewReader(b), PutOptions{Size: int64(len(b))})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func wantContent(t testing.TB, c *Client, r index.Ref, want []byte) {
	t.Helper()
	var got bytes.Buffer
	if _, err := c.Get(t.Context(), r, &got, GetOptions{}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Fatalf("got %d other bytes than the %d that were put", got.Len(), len(want))
	}
}

func wantCode(t testing.TB, err error, code fault.Code) {
	t.Helper()
	if fault.CodeOf(err) != code {
		t.Fatalf("code %q, want %q: %v", fault.CodeOf(err), code, err)
	}
}

func work(t testing.TB, c *Client) index.Work {
	t.Helper()
	w, err := c.c.Index.Work(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// until works until nothing is left to do.
func until(t testing.TB, c *Client) {
	t.Helper()
	c.Work(t.Context())
	if w := work(t, c); w != (index.Work{}) {
		t.Fatalf("left to do: %+v", w)
	}
}

func TestWhatIsPutComesBack(t *testing.T) {
	f := newFleet(t, 8, gib)
	c := newClient(t, f)
	sizes := []int{0, 1, 4095, 4096, 4097, 100_000, 3 << 20, 12<<20 + 1}
	if !raceEnabled {
		sizes = append(sizes, 12<<20-1, 12<<20, 30<<20+12345)
	}
	for i, size := range sizes {
		r := index.Ref{Bucket: "town", Key: fmt.Sprint(i)}
		b := random(size)
		var last Progress
		res, err := c.Put(t.Context(), r, bytes.NewReader(b), PutOptions{Type: "x/y", Progress: func(p Progress) { last = p }})
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		slabs := int(c.c.Class.Slabs(int64(size)))
		if size < index.MaxInline {
			slabs = 0
		}
		if res.Size != int64(size) || res.Pending != 0 || res.Slabs != slabs || last.Bytes != int64(size) && size > 0 || last.Shards != slabs*6 {
			t.Errorf("%d bytes: %+v, progress %+v", size, res, last)
		}
		wantContent(t, c, r, b)
	}
	for _, m := range f.machines {
		// What a spare was sent that wasn't needed goes by itself.
		if held, paid := m.store.Stats(), m.units; held.Stored-held.Pending != int64(paid) {
			t.Errorf("%s holds %d bytes, %d of them for a while, %d are paid for", m.name, held.Stored, held.Pending, paid)
		}
		if m.ahead > 8<<20 { // a shard of each slab in flight, which the host answers as a whole
			t.Errorf("%s was paid %d bytes ahead", m.name, m.ahead)
		}
	}
}

func TestAnyKHostsAreEnoughAndOneLessIsSaid(t *testing.T) {
	f := newFleet(t, 6, gib)
	c := newClient(t, f)
	b := random(15 << 20)
	put(t, c, ref, b)
	for _, i := range []int{0, 2, 5} {
		f.machines[i].dead.Store(true)
	}
	wantContent(t, c, ref, b)
	var part bytes.Buffer
	if _, err := c.Get(t.Context(), ref, &part, GetOptions{Offset: 5 << 20, Length: 1000}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(part.Bytes(), b[5<<20:][:1000]) {
		t.Error("a range isn't what was put")
	}
	f.machines[1].dead.Store(true)
	_, err := c.Get(t.Context(), ref, io.Discard, GetOptions{})
	wantCode(t, err, fault.NotEnoughShards)
	for _, i := range []int{0, 1, 2, 5} {
		if !strings.Contains(err.Error(), f.machines[i].name+": unreachable") {
			t.Errorf("%s isn't named in %v", f.machines[i].name, err)
		}
	}
	_, health, err := c.Health(t.Context(), ref)
	if err != nil || len(health) != 2 || health[0].Held != 2 || health[0].Need != 3 {
		t.Errorf("health %+v, %v", health, err)
	}
}

func TestGarbageIsNeverPassedOnAndIsMadeAnew(t *testing.T) {
	f := newFleet(t, 7, gib)
	c := newClient(t, f)
	b := random(9 << 20)
	put(t, c, ref, b)
	file, err := c.c.Index.Get(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	var at []*machine
	for _, s := range file.Slabs {
		for _, p := range s.At {
			at = append(at, f.machines[p.Lease-1])
		}
	}
	spare := f.machines[slices.IndexFunc(f.machines, func(m *machine) bool { return !slices.Contains(at, m) })]
	at[0].garbage.Store(true)
	at[1].garbage.Store(true)
	// A new process knows of no host how quick it is: it asks for data shards first.
	c = reopenWith(t, f, c, func(c *Config) { c.Stall = time.Hour })
	wantContent(t, c, ref, b)
	c.Work(t.Context())
	// Those that were found out hold nothing any more. There is one other host: it
	// has taken a shard.
	if spare.units == 0 || at[0].units > 0 && at[1].units > 0 {
		t.Errorf("lost shards were not made anew: %d at the spare, %d and %d where they were", spare.units, at[0].units, at[1].units)
	}
	wantContent(t, c, ref, b)
}

func TestLostShardsAreReplaced(t *testing.T) {
	f := newFleet(t, 8, gib)
	c := newClient(t, f)
	b := random(9 << 20)
	put(t, c, ref, b)
	// One lease ends, and one host forgets a shard.
	f.machines[2].gone.Store(true)
	if err := c.LeaseEnded(t.Context(), index.Place{Host: f.machines[2].name, Lease: f.machines[2].lease}); err != nil {
		t.Fatal(err)
	}
	if w := work(t, c); w.Pending != 1 {
		t.Errorf("left to do: %+v", w)
	}
	lose(t, c, f.machines[3].name)
	_, health, err := c.Health(t.Context(), ref)
	if err != nil || health[0].Held != 4 {
		t.Errorf("health %+v, %v", health, err)
	}
	c.Work(t.Context())
	c.Work(t.Context())
	_, health, err = c.Health(t.Context(), ref)
	if err != nil || health[0].Held != 6 {
		t.Errorf("health %+v, %v", health, err)
	}
	wantContent(t, c, ref, b)
}

// lose has a host forget its shards of the object behind the client's back.
func lose(t *testing.T, c *Client, host string) {
	t.Helper()
	file, err := c.c.Index.Get(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range file.Slabs {
		for i, p := range s.At {
			if p.Host != host {
				continue
			}
			h, err := c.at(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			if err := h.Change(t.Context(), nil, func() ([]proof.Hash, error) { return s.Roots[i : i+1], nil }); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A host that lost a shard doesn't get it again while others can take it.
func TestALostShardGoesToAnotherHost(t *testing.T) {
	f := newFleet(t, 7, gib)
	c := newClient(t, f)
	b := random(3 << 20)
	put(t, c, ref, b)
	lose(t, c, f.machines[0].name)
	if _, _, err := c.Health(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	c.Work(t.Context())
	_, health, err := c.Health(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range health {
		for _, sh := range s.Shards {
			if sh.Host == f.machines[0].name || sh.State != Held {
				t.Errorf("shard %d is %s at %s", sh.Shard, sh.State, sh.Host)
			}
		}
	}
}

// A host counts as unreachable only after an hour here: that put and get end at
// all shows that they don't wait for the slowest.
func TestSlowHostsAreReplacedBySpares(t *testing.T) {
	f := newFleet(t, 8, gib)
	c := f.client(t, filepath.Join(t.TempDir(), "index.db"), func(c *Config) {
		c.Pause, c.Patience, c.Slow = time.Hour, time.Hour, 300*time.Millisecond
	})
	f.machines[0].slow.Store(int64(time.Minute))
	f.machines[3].deaf.Store(true)
	b := random(6 << 20)
	if res := put(t, c, ref, b); res.Pending > 0 {
		t.Errorf("%d shards pending", res.Pending)
	}
	f.machines[1].slow.Store(int64(time.Minute))
	f.machines[2].deaf.Store(true)
	wantContent(t, c, ref, b)
	var part bytes.Buffer
	if _, err := c.Get(t.Context(), ref, &part, GetOptions{Offset: 10, Length: 5 << 20}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(part.Bytes(), b[10:][:5<<20]) {
		t.Error("a range isn't what was put")
	}
}

func TestFullHostsAreAvoided(t *testing.T) {
	f := newFleet(t, 6, gib)
	f.add(6, 8<<20)
	f.machines[0], f.machines[6] = f.machines[6], f.machines[0]
	f.machines[0].lease, f.machines[6].lease = 1, 7
	f.machines[0].store.Close()
	c := newClient(t, f)
	b := random(40 << 20)
	res := put(t, c, ref, b)
	if res.Pending > 0 {
		t.Errorf("%d shards pending", res.Pending)
	}
	wantContent(t, c, ref, b)
}

func TestRanges(t *testing.T) {
	f := newFleet(t, 6, gib)
	c := f.client(t, filepath.Join(t.TempDir(), "index.db"), func(c *Config) { c.Stall = time.Hour }) // it goes around nobody
	b := random(26<<20 + 777)
	put(t, c, ref, b)
	r := mrand.New(mrand.NewPCG(1, 2))
	for range 60 {
		off := r.Int64N(int64(len(b)))
		n := min(int64(1)<<r.IntN(25), int64(len(b))-off)
		var got bytes.Buffer
		if _, err := c.Get(t.Context(), ref, &got, GetOptions{Offset: off, Length: n}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), b[off:off+n]) {
			t.Fatalf("bytes %d+%d differ", off, n)
		}
	}
	_, err := c.Get(t.Context(), ref, io.Discard, GetOptions{Offset: int64(len(b)) + 1})
	wantCode(t, err, fault.BadRequest)
	// A small range costs little more than itself, at one host.
	sent := func() (n int64) {
		for _, m := range f.machines {
			n += m.asked.Load()
		}
		return n
	}
	before := sent()
	if _, err := c.Get(t.Context(), ref, io.Discard, GetOptions{Offset: 64 << 10, Length: 64 << 10}); err != nil {
		t.Fatal(err)
	}
	if n := sent() - before; n > 66<<10 {
		t.Errorf("%d bytes came for 64 KiB", n)
	}
}

// Around hosts that are gone a small range is made from the blocks beside it,
// not from whole slabs.
func TestARangeAroundDeadHostsCostsItsBlocksOnly(t *testing.T) {
	f := newFleet(t, 6, gib)
	c := newClient(t, f)
	b := random(12 << 20)
	put(t, c, ref, b)
	file, err := c.c.Index.Get(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	slab := file.Slabs[file.Manifest.Slabs()[0]]
	for _, m := range f.machines {
		if m.name == slab.At[0].Host || m.name == slab.At[1].Host {
			m.dead.Store(true)
		}
	}
	for _, one := range []struct{ off, length int64 }{
		{1 << 20, 64 << 10}, {100_000, 1 << 20}, {slab.ShardSize - 1, 2}, {2*slab.ShardSize - 100_000, 300_000}, {0, 3}, {slab.ShardSize, slab.ShardSize},
	} {
		before := int64(0)
		for _, m := range f.machines {
			before += m.asked.Load()
		}
		var got bytes.Buffer
		if _, err := c.Get(t.Context(), ref, &got, GetOptions{Offset: one.off, Length: one.length}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), b[one.off:one.off+one.length]) {
			t.Errorf("bytes %d+%d differ", one.off, one.length)
		}
		asked := -before
		for _, m := range f.machines {
			asked += m.asked.Load()
		}
		// Of each of two pieces at most a block more at either end, from each of six hosts.
		if most := 6 * (one.length + 4*proof.BlockSize); asked > most {
			t.Errorf("%d bytes were asked for %d, at most %d were expected", asked, one.length, most)
		}
	}
}

// However long the stream, no more than the slabs in flight are read ahead of
// what hosts hold.
func TestMemoryIsBounded(t *testing.T) {
	f := newFleet(t, 6, gib)
	c := f.client(t, filepath.Join(t.TempDir(), "index.db"), func(c *Config) { c.Class = erasure.Class{K: 1, N: 2} })
	length := int64(100 << 20)
	if raceEnabled {
		length = 40 << 20
	}
	var read, ahead atomic.Int64
	src := io.LimitReader(readerFunc(func(p []byte) (int, error) {
		read.Add(int64(len(p)))
		return len(p), nil
	}), length)
	_, err := c.Put(t.Context(), ref, src, PutOptions{Progress: func(p Progress) {
		ahead.Store(max(ahead.Load(), p.Bytes-p.Sent/2))
	}})
	if err != nil {
		t.Fatal(err)
	}
	if most := ahead.Load(); most > 3*4<<20 {
		t.Errorf("%d bytes were in memory", most)
	}
}

// A full slab of this class has 12 MiB.
func TestObjectsBelowFullGoIntoSlabsOfHalfTheSize(t *testing.T) {
	f := newFleet(t, 6, gib)
	c := f.client(t, filepath.Join(t.TempDir(), "index.db"), func(c *Config) { c.Full = 20 << 20 })
	for i, one := range []struct{ size, slabs int }{{6 << 20, 1}, {6<<20 + 1, 2}, {20<<20 - 1, 4}, {20 << 20, 2}} {
		r := index.Ref{Bucket: "town", Key: fmt.Sprint(i)}
		b := random(one.size)
		if res := put(t, c, r, b); res.Slabs != one.slabs {
			t.Errorf("%d bytes lie in %d slabs", one.size, res.Slabs)
		}
		wantContent(t, c, r, b)
	}
}

// Many puts at a time would else take a megabyte each.
func TestASmallBodyGetsTheRoomThatItsSizeSays(t *testing.T) {
	c := &Client{c: Config{Small: Small}}
	for _, one := range []struct{ said, size, most int }{
		{5000, 5000, 5001},
		{index.MaxInline, index.MaxInline, index.MaxInline + 1},
		{Small, Small, Small + 1},
		{gib, 5000, Small + 1},
		{0, 5000, Small + 1},
		{10, 5000, 16_000}, // what is said isn't believed
	} {
		b := random(one.size)
		got, whole, err := c.readSmall(bytes.Clone(b[:index.MaxInline]), bytes.NewReader(b[index.MaxInline:]), int64(one.said))
		if err != nil || !whole || !bytes.Equal(got, b) {
			t.Errorf("%d bytes, said to be %d: got %d, whole %v, %v", one.size, one.said, len(got), whole, err)
		}
		if cap(got) > one.most*9/8 { // the allocator's rounding
			t.Errorf("%d bytes, said to be %d, took room for %d", one.size, one.said, cap(got))
		}
	}
}
