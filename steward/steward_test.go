package steward

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"hearth/core/fault"
)

func TestAStewardRestoresWhatIsLostWhileItsOwnerIsAway(t *testing.T) {
	w := newWorld(t, 9)
	b := content(300_000)
	w.owner.put(b)
	st := w.steward("steward")
	w.hire(st)
	before := w.owner.slab()
	w.hosts[before.At[0].Host].die()
	w.hosts[before.At[3].Host].die()
	soon(t, "restore two shards", func() error {
		n := 0
		for _, a := range st.acts("owner") {
			if a.Sure {
				n++
			}
		}
		if n < 2 {
			return fmt.Errorf("%d acts", n)
		}
		return nil
	})
	// A restart forgets nothing of it.
	st.stop()
	st.start()
	if acts := st.acts("owner"); len(acts) != 2 {
		t.Fatalf("%d acts after a restart", len(acts))
	}
	w.owner.patron.Tend(t.Context())
	h := w.owner.patron.List()[0]
	if h.Taken != 2 || h.Refused != 0 || h.Trouble != "" {
		t.Fatalf("%+v", h)
	}
	after := w.owner.slab()
	for i, p := range after.At {
		if moved := i == 0 || i == 3; moved == (p == before.At[i]) || p.Host == "steward" {
			t.Errorf("shard %d lies at %v, it lay at %v", i, p, before.At[i])
		}
	}
	// The new shards are whole: the others may go.
	w.hosts[before.At[1].Host].die()
	w.hosts[before.At[2].Host].die()
	w.owner.reads(b)
	w.owner.patron.Tend(t.Context())
	if acts := st.acts("owner"); len(acts) != 0 && acts[0].Seq <= 2 {
		t.Errorf("it still tells of act %d", acts[0].Seq)
	}
}

func TestAStewardNeverPutsAnythingAtItsOwnHosts(t *testing.T) {
	w := newWorld(t, 5)
	b := content(100_000)
	w.owner.put(b)
	st := w.steward("steward")
	for i := range 4 {
		w.host(fmt.Sprintf("puppet%d", i), "steward", prices)
	}
	w.hire(st)
	s := w.owner.slab()
	w.hosts[s.At[0].Host].die()
	w.hosts[s.At[1].Host].die()
	soon(t, "use the one host that is left", func() error {
		if n := len(st.acts("owner")); n != 1 {
			return fmt.Errorf("%d acts", n)
		}
		return nil
	})
	for _, a := range st.acts("owner") {
		if w.hosts[a.New.Host].name[0] != 'h' {
			t.Errorf("it used %s", a.New.Host)
		}
	}
}

func TestAStewardStopsAtItsCapAndAtItsEnd(t *testing.T) {
	w := newWorld(t, 9)
	b := content(100_000)
	w.owner.put(b)
	st := w.steward("steward")
	w.hire(st)
	tight := w.limits()
	tight.Cap = 1
	if _, err := w.owner.patron.Hire(t.Context(), "steward", tight); err != nil {
		t.Fatal(err)
	}
	s := w.owner.slab()
	w.hosts[s.At[0].Host].die()
	soon(t, "try and fail", func() error {
		if n := st.count("owner"); n.Failed == 0 {
			return fmt.Errorf("%+v", n)
		}
		return nil
	})
	key := [32]byte(st.c.Spending.Public())
	m, err := w.Mandate(t.Context(), "owner", key)
	if err != nil || m.Used > m.Cap {
		t.Errorf("%d of %d are spent, %v", m.Used, m.Cap, err)
	}
	if n := len(st.acts("owner")); n > 0 {
		t.Errorf("%d acts", n)
	}
	// With room it goes on; dismissed it can do nothing, though it tries.
	if _, err := w.owner.patron.Hire(t.Context(), "steward", w.limits()); err != nil {
		t.Fatal(err)
	}
	soon(t, "go on", func() error {
		if len(st.acts("owner")) == 0 {
			return errors.New("nothing yet")
		}
		return nil
	})
	st.stop() // what it keeps is what it knows: no word of a dismissal reaches it
	if err := w.owner.patron.Dismiss(t.Context(), "steward"); err != nil {
		t.Fatal(err)
	}
	st.start()
	w.hosts[s.At[1].Host].die()
	m.Until = 1 << 60 // it doesn't care what the ledger says
	st.Steward.stop("owner")
	j := st.job(m)
	_, err = j.Remake(t.Context(), s.ID, []int{1}, nil)
	wantCode(t, err, fault.NotEnoughShards) // no host lets it read
	h, err := j.at(t.Context(), s.At[2])
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, h.Put(t.Context(), s.Roots[1], make([]byte, s.ShardSize)), fault.MandateRefused)
	w.owner.reads(b)
}

func TestAClientThatWasForgottenIsServedAgain(t *testing.T) {
	w := newWorld(t, 9)
	w.owner.put(content(100_000))
	st := w.steward("steward")
	w.hire(st)
	m, err := w.Mandate(t.Context(), "owner", [32]byte(st.c.Spending.Public()))
	if err != nil {
		t.Fatal(err)
	}
	m.Until = time.Now().Add(-2 * forgetAfter).Unix()
	w.Grant(m)
	soon(t, "forget the client", func() error {
		st.mu.Lock()
		defer st.mu.Unlock()
		if n := len(st.workers); n > 0 {
			return fmt.Errorf("%d clients are worked for", n)
		}
		return nil
	})
	w.hire(st)
	w.hosts[w.owner.slab().At[0].Host].die()
	soon(t, "work again", func() error {
		if len(st.acts("owner")) == 0 {
			return errors.New("nothing yet")
		}
		return nil
	})
}

func TestStewardsAreListedWhileOneDoesntAnswer(t *testing.T) {
	w := newWorld(t, 2)
	w.hire(w.steward("steward"))
	p := w.owner.patron
	p.mu.Lock() // it is being spoken with
	defer p.mu.Unlock()
	listed := make(chan []Hired, 1)
	go func() { listed <- p.List() }()
	select {
	case l := <-listed:
		if len(l) != 1 || l[0].Host != "steward" || l[0].Heard == 0 {
			t.Errorf("%+v", l)
		}
	case <-time.After(time.Minute):
		t.Error("the list waits for the steward")
	}
}

// A shard that its client has just replaced isn't where the steward knows it to be.
// A client that is there gets the time to say so before anything is read and paid for.
func TestALossWaitsForTheClientsWord(t *testing.T) {
	w := newWorld(t, 5)
	w.owner.put(content(100_000))
	var ahead atomic.Int64
	st := w.steward("steward", func(c *Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		c.Rules.Patience = time.Hour
	})
	w.hire(st)
	s := w.owner.slab()
	j := &job{s: st.Steward, account: "owner", lost: map[loss]time.Time{}}
	lost := func(shard int) { j.Lost(t.Context(), s.ID, shard, s.At[shard], errors.New("there is no such shard")) }
	lost(1)
	lost(1)
	if got := j.due(); len(got) != 0 {
		t.Errorf("at once: %v", got)
	}
	ahead.Store(int64(time.Hour))
	if got := j.due(); len(got) != 1 || got[0] != (loss{s.ID, 1, s.At[1]}) {
		t.Errorf("after a while: %v", got)
	}
	if got := j.due(); len(got) != 0 {
		t.Errorf("once more: %v", got)
	}
	lost(2) // the client hasn't been heard for as long: nobody else tells
	if got := j.due(); len(got) != 1 {
		t.Errorf("without the client: %v", got)
	}
}

// A client that has just told something is there, and not for ever.
func TestAClientIsPresentWhileItIsHeard(t *testing.T) {
	w := newWorld(t, 4)
	w.owner.put(content(100_000))
	var ahead atomic.Int64
	st := w.steward("steward", func(c *Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		c.Rules.Patience = time.Hour
	})
	if st.present("owner") {
		t.Error("nobody has hired it")
	}
	w.hire(st)
	if !st.present("owner") {
		t.Error("it was hired just now")
	}
	ahead.Store(int64(st.c.Rules.Patience))
	if st.present("owner") {
		t.Error("it heard nothing for long")
	}
}

// Where no host could take a shard, the slab isn't read for it.
func TestNothingIsReadForAShardThatNobodyTakes(t *testing.T) {
	w := newWorld(t, 4) // as many as there are shards
	w.owner.put(content(100_000))
	st := w.steward("steward")
	w.hire(st)
	s := w.owner.slab()
	st.Steward.stop("owner")
	m, err := st.mandate(t.Context(), "owner")
	if err != nil {
		t.Fatal(err)
	}
	j := st.job(m)
	for _, h := range w.hosts {
		h.die() // who reads gets another error
	}
	_, err = j.Remake(t.Context(), s.ID, nil, []int{0})
	wantCode(t, err, fault.NotEnoughHosts)
}
