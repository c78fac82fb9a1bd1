package weather

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"hearth/api"
	"hearth/chain"
	"hearth/core/fault"
	"hearth/core/grant"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/statement"
	"hearth/market"
	"hearth/market/wire"
	"hearth/node"
	"hearth/p2p"
	"hearth/sdk"
	"hearth/storage/host"
	storage "hearth/storage/wire"
	"hearth/wallet"
)

// hostile is a client in this process that knows its node's keys, and talks to a
// host past everything that would hold it back.
type hostile struct {
	t     *testing.T
	chain string
	keys  *wallet.Keys
	net   *p2p.Node
	peer  p2p.Peer
	lease uint64
}

// turn has the client's own key speak to one of the cloud's hosts.
func turn(t *testing.T, w *world, i int) *hostile {
	t.Helper()
	h := &hostile{t: t, chain: w.Network.ChainID, keys: keysOf(t, w.Client.Dir), peer: w.peer(t, i)}
	var err error
	if h.net, err = p2p.New(p2p.Config{Key: fresh(t), Network: h.chain}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.net.Close() })
	for l, err := range w.api.Leases(within(t, patient)) {
		if err != nil {
			t.Fatal(err)
		}
		if l.Host == w.account(t, i) && (l.State == "open" || l.State == "low") {
			h.lease = l.ID
		}
	}
	if h.lease == 0 {
		t.Fatalf("the client has no lease with host %d", i)
	}
	return h
}

func keysOf(t *testing.T, dir string) *wallet.Keys {
	t.Helper()
	id, err := node.OpenIdentity(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := wallet.Derive(id.Phrase, id.Device)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func fresh(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// peer is where a host answers, by its own word.
func (w *world) peer(t *testing.T, i int) p2p.Peer {
	t.Helper()
	c, err := sdk.New(sdk.Config{Socket: api.Socket(w.Hosts[i].Dir)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	n, err := c.Node(within(t, patient))
	if err != nil {
		t.Fatal(err)
	}
	key, err := hex.DecodeString(n.PeerKey)
	if err != nil {
		t.Fatal(err)
	}
	return p2p.Peer{Key: key, Addrs: n.Addresses}
}

// ask sends one request of the market's protocol.
func (h *hostile) ask(req *wire.Request) *wire.Response {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	s, err := h.net.Open(ctx, h.peer, market.Protocol)
	if err != nil {
		h.t.Fatal(err)
	}
	defer s.Close()
	var res wire.Response
	if err := p2p.Exchange(ctx, s, req, &res, 1<<16); err != nil {
		h.t.Fatal(err)
	}
	return &res
}

func (h *hostile) propose(s statement.Signed) fault.Code {
	h.t.Helper()
	return fault.Code(h.ask(&wire.Request{Ask: &wire.Request_Propose{Propose: &wire.Propose{Statement: s.Encode()}}}).GetCode())
}

func (h *hostile) state(key ed25519.PrivateKey) (*wire.StateAnswer, fault.Code) {
	h.t.Helper()
	g := grant.Grant{Lease: h.lease, Peer: [32]byte(h.net.Key()), Until: time.Now().Unix() + 600}
	ask := &wire.GetState{Lease: g.Lease, Until: g.Until, Key: key.Public().(ed25519.PublicKey), Sig: g.Sign(h.chain, key)}
	res := h.ask(&wire.Request{Ask: &wire.Request_State{State: ask}})
	return res.GetState(), fault.Code(res.GetCode())
}

func (h *hostile) newest() statement.Signed {
	h.t.Helper()
	st, code := h.state(h.keys.Spending().Key())
	if code != "" {
		h.t.Fatalf("ask for the newest statement: %s", code)
	}
	s, err := statement.Decode(st.GetStatement())
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// settled is the newest statement of a client that is gone, once the host has
// taken all that was under way.
func (h *hostile) settled() statement.Signed {
	h.t.Helper()
	was := h.newest()
	soon(h.t, patient, "take the client's last statements", func() error {
		time.Sleep(time.Second)
		now := h.newest()
		if now.Seq != was.Seq {
			was = now
			return errors.New("another one came")
		}
		return nil
	})
	return was
}

func TestAHostRefusesWhatAHostileClientSigns(t *testing.T) {
	t.Parallel()
	w := shared(t)
	b := content(30, 24*mib)
	w.put(t, "bargain", b)
	by, _ := w.shards(t, "bargain")
	i := 0
	for by[w.account(t, i)] == 0 {
		i++
	}
	h := turn(t, w, i)
	old := h.newest()
	w.put(t, "more", b) // so that old isn't the newest any more, whichever hosts it takes
	w.mustRead(t, "bargain", b)
	for try := 0; h.newest().Seq == old.Seq && try < 5; try++ {
		w.put(t, "more", b)
	}
	w.Client.Kill() // what it signs by itself would be newer than what is forged here
	was := h.settled()
	if was.Seq == old.Seq {
		t.Fatal("no new statement came")
	}
	l, err := w.ledger(t).Lease(within(t, patient), h.lease)
	if err != nil {
		t.Fatal(err)
	}
	own, stranger := h.keys.Spending().Key(), fresh(t)
	next := func(change func(*statement.Statement)) statement.Statement {
		s := was.Statement
		s.Seq++
		change(&s)
		return s
	}
	for _, tt := range []struct {
		name string
		s    statement.Signed
		want []fault.Code
	}{
		{"a signature with a bit flipped", flip(next(func(s *statement.Statement) { s.Total++ }).SignClient(own)), []fault.Code{fault.BadSignature}},
		{"a total altered after signing", after(next(func(*statement.Statement) {}).SignClient(own), func(s *statement.Signed) { s.Total++ }), []fault.Code{fault.BadSignature}},
		{"a key without a mandate", next(func(s *statement.Statement) { s.Total++ }).SignClient(stranger), []fault.Code{fault.MandateRefused}},
		{"the key of the account's own node", next(func(s *statement.Statement) { s.Total++ }).SignClient(h.keys.Node()), []fault.Code{fault.MandateRefused}},
		{"an old statement again", old, []fault.Code{fault.Stale}},
		{"another statement with the newest number", next(func(s *statement.Statement) { s.Seq--; s.Total++ }).SignClient(own), []fault.Code{fault.Stale}},
		{"more than the lease holds", next(func(s *statement.Statement) { s.Total = l.Funded() + 1 }).SignClient(own), []fault.Code{fault.NoFunds}},
		{"all the money there is", next(func(s *statement.Statement) { s.Total = ^money.Amount(0) }).SignClient(own), []fault.Code{fault.NoFunds}},
		{"a total that falls", next(func(s *statement.Statement) { s.Total-- }).SignClient(own), []fault.Code{fault.BadStatement}},
		{"run time taken back", next(func(s *statement.Statement) { s.RunsUntil-- }).SignClient(own), []fault.Code{fault.BadStatement}},
		{"run time of ten years", next(func(s *statement.Statement) { s.RunsUntil += 10 * 365 * 86400 }).SignClient(own), []fault.Code{fault.BadStatement}},
		{"a clock an hour ahead", next(func(s *statement.Statement) { s.AsOf = time.Now().Unix() + 3600; s.Total += 1000 }).SignClient(own), []fault.Code{fault.BadStatement}},
		{"data that was never put", next(func(s *statement.Statement) {
			s.AsOf, s.Total, s.RunsUntil = time.Now().Unix(), s.Total+1000, max(s.RunsUntil, time.Now().Unix()+7200)
			s.Root[0] ^= 1
		}).SignClient(own), []fault.Code{fault.Stale}},
		{"fewer bytes than are stored", next(func(s *statement.Statement) {
			s.AsOf, s.Total, s.RunsUntil = time.Now().Unix(), s.Total+1000, max(s.RunsUntil, time.Now().Unix()+7200)
			s.Units[0] /= 2
		}).SignClient(own), []fault.Code{fault.BadStatement}},
		{"another network's", next(func(s *statement.Statement) { s.ChainID = "hearth-00000000000000000000" }).SignClient(own), []fault.Code{fault.BadStatement, fault.WrongNetwork, fault.BadSignature}},
		{"a lease that isn't", next(func(s *statement.Statement) { s.Lease = 1 << 40 }).SignClient(own), []fault.Code{fault.NoLease}},
	} {
		got := h.propose(tt.s)
		ok := false
		for _, c := range tt.want {
			ok = ok || got == c
		}
		if !ok {
			t.Errorf("%s: %q, want %v", tt.name, got, tt.want)
		}
	}
	if _, code := h.state(stranger); code != fault.MandateRefused {
		t.Errorf("a stranger asks for the state: %q", code)
	}
	if now := h.newest(); now.Statement != was.Statement {
		t.Errorf("the newest statement was %+v and is %+v", was.Statement, now.Statement)
	}
	w.run(t, w.Client)
	w.mustRead(t, "bargain", b)
	w.put(t, "after", b)
	w.mustRead(t, "after", b)
}

func flip(s statement.Signed) statement.Signed {
	return after(s, func(s *statement.Signed) {
		s.ClientSig = append([]byte(nil), s.ClientSig...)
		s.ClientSig[10] ^= 1
	})
}

func after(s statement.Signed, change func(*statement.Signed)) statement.Signed {
	change(&s)
	return s
}

func TestAHostServesNobodyWithoutAGrant(t *testing.T) {
	t.Parallel()
	w := shared(t)
	b := content(31, 12*mib)
	w.put(t, "granted", b)
	health, err := w.api.Health(within(t, patient), bucket, "granted")
	if err != nil {
		t.Fatal(err)
	}
	shard := health.Slabs[0].Shards[0]
	root, err := hex.DecodeString(shard.Root)
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	for w.account(t, i) != shard.Host {
		i++
	}
	h := turn(t, w, i)
	stranger := fresh(t)
	until := time.Now().Unix() + 600
	mine := grant.Grant{Lease: h.lease, Peer: [32]byte(h.net.Key()), Until: until}
	others := grant.Grant{Lease: h.lease, Peer: [32]byte(stranger.Public().(ed25519.PublicKey)), Until: until}
	own := h.keys.Spending().Key()
	say := func(g grant.Grant, key ed25519.PrivateKey) *storage.Grant {
		return &storage.Grant{Lease: g.Lease, Peer: g.Peer[:], Until: g.Until, Key: key.Public().(ed25519.PublicKey), Sig: g.Sign(h.chain, key)}
	}
	past := mine
	past.Until = time.Now().Unix() - 600
	forever := mine
	forever.Until = time.Now().Unix() + 10*grant.MaxSeconds
	forged := say(mine, own)
	forged.Sig[3] ^= 1
	for _, tt := range []struct {
		name string
		g    *storage.Grant
		want fault.Code
	}{
		{"none", nil, fault.Unauthorized},
		{"another peer's", say(others, own), fault.Unauthorized},
		{"one that has ended", say(past, own), fault.Unauthorized},
		{"one without an end", say(forever, own), fault.Unauthorized},
		{"one of a key without a mandate", say(mine, stranger), fault.MandateRefused},
		{"a forged one", forged, fault.BadSignature},
	} {
		ctx := within(t, patient)
		s, err := h.net.OpenBulk(ctx, h.peer, host.Protocol)
		if err != nil {
			t.Fatal(err)
		}
		var res storage.Response
		ask := &storage.Request{Lease: h.lease, Grant: tt.g, Ask: &storage.Request_Get{Get: &storage.Get{Root: root, Count: 1}}}
		if err := p2p.Exchange(ctx, s, ask, &res, p2p.MaxFrame); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		} else if got := fault.Code(res.Code); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
		s.Close()
	}
	w.mustRead(t, "granted", b)
}

func TestTheLedgerOpensNoLeaseOnAnExpiredOrForgedPrice(t *testing.T) {
	t.Parallel()
	w := shared(t)
	w.put(t, "priced", content(32, mib))
	h := turn(t, w, func() int {
		by, _ := w.shards(t, "priced")
		i := 0
		for by[w.account(t, i)] == 0 {
			i++
		}
		return i
	}())
	ledger := w.ledger(t)
	ctx := within(t, patient)
	l, err := ledger.Lease(ctx, h.lease)
	if err != nil {
		t.Fatal(err)
	}
	var dir string
	for i, p := range w.Hosts {
		if w.account(t, i) == l.Host {
			dir = p.Dir
		}
	}
	price := quote.Quote{ChainID: h.chain, Host: l.Host, Kind: quote.Storage, Prices: l.Prices, ValidUntil: time.Now().Unix() + 1200}
	expired := price
	expired.ValidUntil = time.Now().Unix() - 600
	cheaper := price.Sign(keysOf(t, dir).Node())
	cheaper.Prices.Out /= 2
	w.Client.Kill() // by itself it gives back what its leases don't need
	payer := chain.PaidBy(h.keys.Spending(), h.keys.Account().Address())
	purse, err := ledger.Purse(ctx, h.keys.Account().Address())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		q    quote.Signed
		want fault.Code
	}{
		{"an expired price", expired.Sign(keysOf(t, dir).Node()), fault.QuoteExpired},
		{"a price altered after signing", cheaper, fault.BadSignature},
		{"a price that somebody else has signed", price.Sign(fresh(t)), fault.BadSignature},
	} {
		open := []chain.OpenLease{{Quote: tt.q, Amount: 20_000, Until: time.Now().Unix() + 86400}}
		_, err := ledger.Send(ctx, payer, chain.OpenLeases(payer.Address(), h.keys.Account().Address(), open, nil))
		wants(t, tt.name, err, tt.want)
	}
	if now, err := ledger.Purse(ctx, h.keys.Account().Address()); err != nil || now != purse {
		t.Errorf("the purse held %d and holds %d: %v", purse, now, err)
	}
}
