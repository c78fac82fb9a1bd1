package steward

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"hearth/core/fault"
	"hearth/core/mandate"
	"hearth/core/proof"
	"hearth/core/quote"
	"hearth/market/markettest"
	"hearth/p2p"
	"hearth/steward/wire"
	"hearth/storage/index"
)

// forge has a steward put bytes at a host of its liking, under its mandate, by the
// rules that host and ledger know. It gives the act it would tell of.
func forge(t *testing.T, b *butler, s Slab, shard int, host string, body []byte, root proof.Hash) (Act, error) {
	t.Helper()
	m, err := b.mandate(t.Context(), "owner")
	if err != nil {
		t.Fatal(err)
	}
	j := &job{s: b.Steward, account: "owner", mandate: m}
	b.Steward.stop("owner")
	if err := j.open(m); err != nil {
		t.Fatal(err)
	}
	defer j.close()
	offers, err := j.market.Offers(t.Context(), quote.Storage, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range offers {
		if o.Host.Address != host {
			continue
		}
		if o.Err != nil {
			return Act{}, o.Err
		}
		s.Roots = append([]proof.Hash(nil), s.Roots...)
		s.Roots[shard] = root
		if _, err := j.put(t.Context(), s, shard, o, body); err != nil {
			return Act{}, err
		}
		acts := b.acts("owner")
		return acts[len(acts)-1], nil
	}
	return Act{}, fmt.Errorf("%s offers nothing", host)
}

// whole reads a shard from where it lies.
func whole(t *testing.T, o *owner, s Slab, shard int) []byte {
	t.Helper()
	pair, err := o.market.Lease(t.Context(), s.At[shard].Lease)
	if err != nil {
		t.Fatal(err)
	}
	m := o.w.hosts[pair.Host()]
	e := make([]byte, 0, s.ShardSize)
	for off := int64(0); off < s.ShardSize; off += proof.LeafSize {
		data, _, _, err := m.store.Range(s.Roots[shard], off, proof.LeafSize, func(int64) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		e = append(e, data...)
	}
	return e
}

// Whatever a steward does within what hosts and ledger allow, its client takes over
// nothing that breaks the rules, and has it removed.
func TestAttacksOfAStewardHaveNoEffect(t *testing.T) {
	free := func(w *world, s Slab, kind string) string {
		used := map[string]bool{}
		for _, p := range s.At {
			used[p.Host] = true
		}
		for name := range w.hosts {
			if !used[name] && name[:len(kind)] == kind {
				return name
			}
		}
		return ""
	}
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, w *world, b *butler, s Slab) (Act, error)
	}{
		{"a garbage shard", func(t *testing.T, w *world, b *butler, s Slab) (Act, error) {
			body := bytes.Repeat([]byte{7}, int(s.ShardSize))
			root, _ := proof.Build(body)
			return forge(t, b, s, 1, free(w, s, "host"), body, root)
		}},
		{"garbage under the right root", func(t *testing.T, w *world, b *butler, s Slab) (Act, error) {
			body := bytes.Repeat([]byte{7}, int(s.ShardSize))
			root, _ := proof.Build(body)
			a, err := forge(t, b, s, 1, free(w, s, "host"), body, root)
			a.Root = s.Roots[1]
			return a, err
		}},
		{"a host of its own", func(t *testing.T, w *world, b *butler, s Slab) (Act, error) {
			return forge(t, b, s, 1, free(w, s, "puppet"), whole(t, w.owner, s, 1), s.Roots[1])
		}},
		{"a host that holds another shard of the slab", func(t *testing.T, w *world, b *butler, s Slab) (Act, error) {
			return forge(t, b, s, 1, s.At[2].Host, whole(t, w.owner, s, 1), s.Roots[1])
		}},
		{"a host that is dearer than its client pays by now", func(t *testing.T, w *world, b *butler, s Slab) (Act, error) {
			w.host("dear", "", dear)
			l := w.limits()
			l.Ceiling = dear
			if _, err := w.owner.patron.Hire(t.Context(), "steward", l); err != nil {
				return Act{}, err
			}
			return forge(t, b, s, 1, "dear", whole(t, w.owner, s, 1), s.Roots[1])
		}},
		{"nothing at all", func(t *testing.T, w *world, b *butler, s Slab) (Act, error) {
			a := Act{Seq: 1, Slab: s.ID, Shard: 1, Old: s.At[1], New: s.At[1], Root: s.Roots[1], Size: s.ShardSize, Sure: true}
			a.New = index.Place{Host: free(w, s, "host"), Lease: 99}
			return a, nil
		}},
		{"a lease of somebody else", func(t *testing.T, w *world, b *butler, s Slab) (Act, error) {
			other := w.newOwner("other")
			offers, err := other.market.Offers(t.Context(), quote.Storage, true)
			if err != nil {
				return Act{}, err
			}
			pairs, err := other.market.Open(t.Context(), offers[len(offers)-1:], 1000)
			if err != nil {
				return Act{}, err
			}
			return Act{
				Seq: 1, Slab: s.ID, Shard: 1, Old: s.At[1], New: index.Place{Host: pairs[0].Host(), Lease: pairs[0].Lease()},
				Root: s.Roots[1], Size: s.ShardSize, Sure: true,
			}, nil
		}},
		{"a shard that it isn't sure of", func(t *testing.T, w *world, b *butler, s Slab) (Act, error) {
			a, err := forge(t, b, s, 1, free(w, s, "host"), whole(t, w.owner, s, 1), s.Roots[1])
			a.Sure = false
			return a, err
		}},
		{"from a place where it doesn't lie", func(t *testing.T, w *world, b *butler, s Slab) (Act, error) {
			a, err := forge(t, b, s, 1, free(w, s, "host"), whole(t, w.owner, s, 1), s.Roots[1])
			a.Old = s.At[2]
			return a, err
		}},
		{"a good shard where it lies, under another's name", func(t *testing.T, w *world, b *butler, s Slab) (Act, error) {
			return Act{Seq: 1, Slab: s.ID, Shard: 1, Old: s.At[1], New: s.At[2], Root: s.Roots[2], Size: s.ShardSize, Sure: true}, nil
		}},
		{"a good shard of a slab that nobody knows", func(t *testing.T, w *world, b *butler, s Slab) (Act, error) {
			return Act{Seq: 1, Slab: index.SlabID{9}, New: s.At[2], Root: s.Roots[2], Size: s.ShardSize}, nil
		}},
		{"the last of those that the draw gives", func(t *testing.T, w *world, b *butler, s Slab) (Act, error) {
			offers, err := w.owner.market.Offers(t.Context(), quote.Storage, true)
			if err != nil {
				return Act{}, err
			}
			avoid := own(offers, "steward", "")
			avoid[s.At[1].Host] = true
			last := ""
			for {
				c, err := chooseOne(s, offers, avoid)
				if err != nil {
					break
				}
				last, avoid[c] = c, true
			}
			return forge(t, b, s, 1, last, whole(t, w.owner, s, 1), s.Roots[1])
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, 10)
			b := content(100_000)
			w.owner.put(b)
			st := w.steward("steward")
			w.host("puppet", "steward", prices)
			w.hire(st)
			s := w.owner.slab()
			a, err := tt.do(t, w, st, s)
			if err != nil {
				t.Fatal(err)
			}
			p := w.owner.patron
			if err := p.settle(t.Context(), w.judge(), p.hired["steward"], a); err != nil {
				t.Fatal(err)
			}
			if h := *p.hired["steward"]; h.Refused != 1 || h.Taken != 0 {
				t.Errorf("%+v", h)
			}
			for i, at := range w.owner.slab().At {
				if at != s.At[i] {
					t.Errorf("shard %d lies at %v now", i, at)
				}
			}
			if tt.name == "garbage under the right root" {
				return // what it really left has a root that nobody knows: it is paid for, up to the cap
			}
			w.owner.files.Work(t.Context())
			for i := range s.At {
				whole(t, w.owner, s, i) // every host has what it had
			}
			if m := w.hosts[a.New.Host]; m != nil && a.New.Host != s.At[2].Host && m.store.Stats().Stored-m.store.Stats().Pending > 0 {
				soon(t, "remove what it left", func() error {
					w.owner.files.Work(t.Context())
					if n := m.market.Statement(a.New.Lease).Units[0]; n > 0 {
						return fmt.Errorf("%d bytes are paid for at %s", n, m.name)
					}
					return nil
				})
			}
			w.owner.reads(b)
		})
	}
}

func (w *world) judge() *Judge {
	w.t.Helper()
	o := w.owner
	offers, err := o.market.Offers(w.t.Context(), quote.Storage, true)
	if err != nil {
		w.t.Fatal(err)
	}
	return &Judge{Account: o.name, Steward: "steward", Ceiling: ceiling, Local: true, Offers: offers, Lease: w.Lease, Read: o.files.Read}
}

// What isn't within the mandate isn't even done.
func TestWhatHostsAndLedgerRefuseAStewardAtOnce(t *testing.T) {
	w := newWorld(t, 6)
	w.owner.put(content(100_000))
	st := w.steward("steward")
	w.host("dear", "", dear)
	w.hire(st)
	s := w.owner.slab()
	if _, err := forge(t, st, s, 1, "dear", whole(t, w.owner, s, 1), s.Roots[1]); fault.CodeOf(err) != fault.PriceTooHigh {
		t.Errorf("a host above the ceiling: %v", err)
	}
	m, err := st.mandate(t.Context(), "owner")
	if err != nil {
		t.Fatal(err)
	}
	j := st.job(m)
	h, err := j.at(t.Context(), s.At[0])
	if err != nil {
		t.Fatal(err)
	}
	remove := func() ([]proof.Hash, error) { return []proof.Hash{s.Roots[0]}, nil }
	wantCode(t, h.Change(t.Context(), nil, remove), fault.MandateRefused)
	pair, err := j.market.Lease(t.Context(), s.At[0].Lease)
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, pair.Cover(t.Context(), 0, proof.EmptyRoot()), fault.MandateRefused)
	wantCode(t, pair.Refund(t.Context()), fault.MandateRefused)
	// With the mask and k shards it has no plaintext: core's key isn't in the log.
	for _, b := range [][]byte{s.Encode()} {
		if full, err := w.owner.index.Slab(t.Context(), s.ID); err != nil || bytes.Contains(b, full.Key[:]) {
			t.Errorf("the log holds the slab's key, %v", err)
		}
	}
}

// Only a key that may remove commands a steward: not another steward's, not a
// revoked device's, not a stranger's.
func TestWhoCommandsASteward(t *testing.T) {
	w := newWorld(t, 2)
	st := w.steward("steward")
	other := w.steward("other")
	w.hire(st)
	w.hire(other)
	peer := p2p.Peer{Key: st.node.Key(), Addrs: st.node.Addrs()}
	client := func(c ClientConfig) *Client {
		c.ChainID, c.Net = markettest.ChainID, w.owner.node
		x, err := NewClient(c)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	wantCode(t, client(ClientConfig{Account: "owner", Key: other.c.Spending.Key()}).Dismiss(t.Context(), peer), fault.MandateRefused)
	wantCode(t, client(ClientConfig{Account: "owner", Key: newKey(t)}).Dismiss(t.Context(), peer), fault.MandateRefused)
	old := w.newOwner("second")
	_, err := client(ClientConfig{Account: "second", Key: old.key.Key()}).Hire(t.Context(), peer)
	wantCode(t, err, fault.MandateRefused) // no mandate for the steward
	m, err := w.Mandate(t.Context(), "owner", [32]byte(w.owner.key.Public()))
	if err != nil {
		t.Fatal(err)
	}
	w.Revoke("owner", w.owner.key.Public())
	wantCode(t, client(ClientConfig{Account: "owner", Key: w.owner.key.Key()}).Dismiss(t.Context(), peer), fault.MandateRefused)
	_, err = client(ClientConfig{Account: "owner", Key: w.owner.key.Key()}).Report(t.Context(), peer, 0)
	wantCode(t, err, fault.MandateRefused)
	m.Until += 100
	w.Grant(m)
	if r := st.answer(context.Background(), w.owner.node.Key(), &wire.Request{Ask: &wire.Request_Dismiss{}}); r.Code != string(fault.Unauthorized) {
		t.Errorf("without a slip: %q", r.Code)
	}
	if err := client(ClientConfig{Account: "owner", Key: w.owner.key.Key()}).Dismiss(t.Context(), peer); err != nil {
		t.Error(err)
	}
}

// A revoked device can't spend, whatever it holds.
func TestARevokedDeviceSpendsNothing(t *testing.T) {
	w := newWorld(t, 5)
	w.owner.put(content(50_000))
	w.Revoke("owner", w.owner.key.Public())
	s := w.owner.slab()
	pair, err := w.owner.market.Lease(t.Context(), s.At[0].Lease)
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, pair.Pay(t.Context(), 64<<20, 0), fault.MandateRefused)
	wantCode(t, pair.Cover(t.Context(), 1<<20, [32]byte{1}), fault.MandateRefused)
	offers, err := w.owner.market.Offers(t.Context(), quote.Storage, true)
	if err != nil {
		t.Fatal(err)
	}
	w.host("late", "", prices)
	soon(t, "see the new host", func() error {
		offers, err = w.owner.market.Offers(t.Context(), quote.Storage, true)
		if err != nil || len(offers) < 6 {
			return fmt.Errorf("%d offers: %w", len(offers), err)
		}
		return nil
	})
	_, err = w.owner.market.Open(t.Context(), offers, 1<<20)
	wantCode(t, err, fault.MandateRefused)
	m, err := w.Mandate(t.Context(), "owner", [32]byte(w.owner.key.Public()))
	if err != nil || m.May(mandate.Sign, time.Now().Unix()) == nil {
		t.Errorf("%+v, %v", m, err)
	}
}
