package gate_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"hearth/core/fault"
	"hearth/core/grant"
	"hearth/core/quote"
	"hearth/market/gate"
)

const (
	chainID = "hearth-00000000000000000000"
	now     = int64(1_900_000_000)
)

func key(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(append(make([]byte, ed25519.SeedSize-1), n))
}

func public(n byte) ed25519.PublicKey { return key(n).Public().(ed25519.PublicKey) }

// Who is who.
const (
	client = iota + 1
	peer
	stranger
)

// town is a Meter and a Leases in memory: lease 7 is of compute, lease 8 of storage.
type town struct {
	mu      sync.Mutex
	paid    uint64
	used    uint64
	asked   int
	covered chan struct{}
	deaf    bool // the ledger doesn't answer
}

func (m *town) Take(_, in, out uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked++
	if m.used+in+out > m.paid {
		return fault.New(fault.Unpaid, "%d used, %d paid", m.used, m.paid)
	}
	m.used += in + out
	return nil
}

func (m *town) Covered(uint64) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.covered
}

func (m *town) pay(n uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.paid += n
	close(m.covered)
	m.covered = make(chan struct{})
}

func (m *town) Allowed(ctx context.Context, kind quote.Kind, lease uint64, k ed25519.PublicKey) error {
	if m.deaf {
		<-ctx.Done()
		return fault.New(fault.LedgerDown, "the ledger: %w", ctx.Err())
	}
	kinds := map[uint64]quote.Kind{7: quote.Compute, 8: quote.Storage}
	if of, ok := kinds[lease]; lease < 100 && (!ok || of != kind) {
		return fault.New(fault.NoLease, "lease %d isn't known", lease)
	}
	if !public(client).Equal(k) {
		return fault.New(fault.MandateRefused, "not the client's key")
	}
	return nil
}

// door is a gate, and the clock it goes by.
type door struct {
	*gate.Gate
	town  *town
	clock int64
}

func newDoor() *door {
	d := &door{town: &town{covered: make(chan struct{})}, clock: now}
	d.Gate = gate.New(gate.Config{
		Kind: quote.Compute, ChainID: chainID, Leases: d.town, Meter: d.town, Patience: 500 * time.Millisecond, Pause: 30 * time.Second,
		PerPeer: 2, Total: 3, Now: func() int64 { return d.clock },
	})
	return d
}

// slip is a grant as it comes over the wire.
type slip struct {
	lease     uint64
	peer      []byte
	until     int64
	key, sign ed25519.PrivateKey
	chain     string
}

func good() slip { return slip{7, public(peer), now + 3600, key(client), key(client), chainID} }

func (s slip) show(p *gate.Pass) error {
	g := grant.Grant{Lease: s.lease, Peer: [32]byte(public(peer)), Until: s.until}
	return p.Show(s.lease, s.peer, s.until, s.key.Public().(ed25519.PublicKey), g.Sign(s.chain, s.sign))
}

func want(t *testing.T, what string, err error, code fault.Code) {
	t.Helper()
	if fault.CodeOf(err) != code {
		t.Errorf("%s: %v, not %q", what, err, code)
	}
}

func TestAGrantLetsItsPeerActOnItsLease(t *testing.T) {
	d := newDoor()
	p := d.Pass(public(peer))
	want(t, "nothing was shown", p.Admit(t.Context(), 7), fault.Unauthorized)
	want(t, "a good grant", good().show(p), "")
	want(t, "its lease", p.Admit(t.Context(), 7), "")
	want(t, "another lease", p.Admit(t.Context(), 9), fault.Unauthorized)
	if !p.Key(7).Equal(public(client)) || p.Key(9) != nil {
		t.Errorf("keys %x and %x", p.Key(7), p.Key(9))
	}
	want(t, "another stream of the same peer", d.Pass(public(peer)).Admit(t.Context(), 7), fault.Unauthorized)
}

func TestAGrantThatIsNotThePeersOwnIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *slip)
		code   fault.Code
	}{
		"another peer's":              {func(s *slip) { s.peer = public(stranger) }, fault.Unauthorized},
		"nobody's":                    {func(s *slip) { s.peer = nil }, fault.Unauthorized},
		"a peer and more":             {func(s *slip) { s.peer = append(public(peer), 0) }, fault.Unauthorized},
		"ended":                       {func(s *slip) { s.until = now - 1 }, fault.Unauthorized},
		"for ever":                    {func(s *slip) { s.until = now + 1<<40 }, fault.Unauthorized},
		"from before there was time":  {func(s *slip) { s.until = -1 << 63 }, fault.Unauthorized},
		"signed by another than said": {func(s *slip) { s.sign = key(stranger) }, fault.BadSignature},
		"of another network":          {func(s *slip) { s.chain = "other" }, fault.BadSignature},
	} {
		p := newDoor().Pass(public(peer))
		s := good()
		c.change(&s)
		want(t, name, s.show(p), c.code)
		want(t, name+", asked all the same", p.Admit(t.Context(), 7), fault.Unauthorized)
	}
	// What is signed holds for what it says only.
	p := newDoor().Pass(public(peer))
	sig := grant.Grant{Lease: 7, Peer: [32]byte(public(peer)), Until: now + 60}.Sign(chainID, key(client))
	want(t, "a longer time", p.Show(7, public(peer), now+61, public(client), sig), fault.BadSignature)
	want(t, "another lease", p.Show(9, public(peer), now+60, public(client), sig), fault.BadSignature)
	want(t, "half a key", p.Show(7, public(peer), now+60, public(client)[:16], sig), fault.BadSignature)
	want(t, "half a signature", p.Show(7, public(peer), now+60, public(client), sig[:32]), fault.BadSignature)
	want(t, "no signature", p.Show(7, public(peer), now+60, nil, nil), fault.BadSignature)
}

func TestAGrantIsWorthWhatItsSignersKeyMayDo(t *testing.T) {
	p := newDoor().Pass(public(peer))
	s := good()
	s.key, s.sign = key(stranger), key(stranger)
	want(t, "a stranger signs for himself", s.show(p), "")
	want(t, "and asks", p.Admit(t.Context(), 7), fault.MandateRefused)
	s = good()
	s.lease = 8
	want(t, "a lease of another kind", s.show(p), "")
	want(t, "is asked for", p.Admit(t.Context(), 8), fault.NoLease)
}

func TestAGrantEndsWhileItsStreamGoesOn(t *testing.T) {
	d := newDoor()
	p := d.Pass(public(peer))
	want(t, "a grant", good().show(p), "")
	d.clock += 3600
	want(t, "its last second", p.Admit(t.Context(), 7), "")
	d.clock++
	want(t, "after it", p.Admit(t.Context(), 7), fault.Unauthorized)
	s := good()
	s.until = d.clock + 60
	want(t, "a new one", s.show(p), "")
	want(t, "with it", p.Admit(t.Context(), 7), "")
}

func TestAStreamSpeaksForAFewLeases(t *testing.T) {
	p := newDoor().Pass(public(peer))
	s := good()
	for s.lease = 100; s.lease < 164; s.lease++ {
		want(t, "a lease", s.show(p), "")
	}
	want(t, "one too many", s.show(p), fault.TooLarge)
	s.lease = 100
	want(t, "one it speaks for", s.show(p), "")
	want(t, "is asked for", p.Admit(t.Context(), 163), "")
}

func TestALedgerThatIsSilentIsNotWaitedForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor()
		d.town.deaf = true
		p := d.Pass(public(peer))
		want(t, "a grant", good().show(p), "")
		began := time.Now()
		want(t, "nobody knows", p.Admit(t.Context(), 7), fault.LedgerDown)
		if took := time.Since(began); took != 30*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestRequestsAreLimitedForAPeerAndForAll(t *testing.T) {
	d := newDoor()
	enter := func(n byte) func() {
		t.Helper()
		leave, err := d.Enter(public(n))
		if err != nil {
			t.Fatal(err)
		}
		return leave
	}
	full := func(n byte) {
		t.Helper()
		_, err := d.Enter(public(n))
		want(t, "a request too many", err, fault.Busy)
	}
	first, second := enter(peer), enter(peer)
	full(peer)
	third := enter(stranger)
	full(stranger)
	full(client)
	first()
	enter(client)()
	first = enter(peer)
	full(peer)
	first()
	second()
	third()
	// All are counted out: there is room for as many again, of each.
	for range 3 {
		a, b := enter(peer), enter(peer)
		c := enter(stranger)
		full(client)
		a()
		b()
		c()
	}
}

func TestRequestsThatComeTogetherAreAllCountedOut(t *testing.T) {
	d := newDoor()
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for range 200 {
				leave, err := d.Enter(public(byte(i % 4)))
				if err == nil {
					leave()
				} else if fault.CodeOf(err) != fault.Busy {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, n := range []byte{1, 1, 2} {
		if _, err := d.Enter(public(n)); err != nil {
			t.Error(err)
		}
	}
}

func TestAPaymentMayComeAMomentLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor()
		time.AfterFunc(100*time.Millisecond, func() { d.town.pay(60) }) // not enough
		time.AfterFunc(400*time.Millisecond, func() { d.town.pay(60) })
		began := time.Now()
		want(t, "a late payment", d.Take(t.Context(), 7, 90, 10), "")
		if took := time.Since(began); took != 400*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		if d.town.used != 100 || d.town.asked != 3 {
			t.Errorf("%d counted, asked %d times", d.town.used, d.town.asked)
		}
		want(t, "what is paid already", d.Take(t.Context(), 7, 0, 20), "")
		if took := time.Since(began); took != 400*time.Millisecond {
			t.Error("it waited for a payment that was there")
		}
	})
}

func TestAPaymentThatNeverComesIsWaitedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor()
		began := time.Now()
		want(t, "no payment", d.Take(t.Context(), 7, 1, 0), fault.Unpaid)
		if took := time.Since(began); took != 500*time.Millisecond || d.town.used != 0 {
			t.Errorf("it took %v, %d counted", took, d.town.used)
		}
		// Payments that never are enough don't make it longer.
		stop := make(chan struct{})
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(90 * time.Millisecond):
					d.town.pay(1)
				}
			}
		}()
		began = time.Now()
		want(t, "a drip", d.Take(t.Context(), 7, 1000, 0), fault.Unpaid)
		if took := time.Since(began); took != 500*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		close(stop)
	})
}

func TestNobodyIsWaitedForOnceTheStreamEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := d.Take(ctx, 7, 1, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		broken := errors.New("the disk")
		err := d.Paid(t.Context(), 7, func() error { return broken })
		if !errors.Is(err, broken) {
			t.Errorf("what isn't a matter of money: %v", err)
		}
	})
}
