package bargain_test

import (
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/mandate"
	"hearth/core/money"
	"hearth/core/quote"

	"pgregory.net/rapid"
)

// widest is the widest cap that any mandate here ever has.
const widest = 600_000

func (w *world) someClient(t *rapid.T) *client {
	return w.clients[rapid.IntRange(0, 1).Draw(t, "client")]
}

// A client puts money into its purse, or takes out what is free.
func (w *world) purse(t *rapid.T) {
	c, amount := w.someClient(t), someMoney.Draw(t, "amount")
	move, free := w.ledger.deposit, w.ledger.wallets[c.account]
	if rapid.Bool().Draw(t, "out") {
		move, free = w.ledger.withdraw, w.ledger.purses[c.account]
	}
	if err := move(c.account, amount); (err == nil) != (amount <= free) {
		t.Fatalf("%d of %d: %v", amount, free, err)
	}
}

// price is a host's quote, good for an hour.
func (w *world) price(h *host, kind quote.Kind, unit uint64) quote.Signed {
	return quote.Signed{Quote: quote.Quote{
		ChainID: net, Host: h.account, Kind: kind, ValidUntil: w.ledger.now + hour,
		Prices: quote.Prices{Unit: [quote.Dims]uint64{unit}},
	}}
}

func (w *world) openWith(t *rapid.T, c *client, h *host, n int, kind quote.Kind, amount money.Amount, unit uint64) {
	q := w.price(h, kind, unit)
	id, err := w.ledger.open(holder{c.account, c.devices[n].key.public}, q, amount, w.ledger.now+30*day)
	if unit > ceiling.Unit[0] {
		refused(t, "a price above the ceiling", err, fault.PriceTooHigh, fault.MandateRefused)
	}
	if err != nil {
		return
	}
	p := &pair{id: id, client: c, host: h}
	p.sells.mem.newest.Statement = w.zero(p)
	p.sells.disk = p.sells.mem
	w.pairs = append(w.pairs, p)
}

// A device opens a lease.
func (w *world) open(t *rapid.T) {
	if len(w.pairs) < 6 {
		kind := rapid.SampledFrom([]quote.Kind{quote.Storage, quote.Relay, quote.Compute}).Draw(t, "kind")
		w.openWith(t, w.someClient(t), w.hosts[rapid.IntRange(0, 1).Draw(t, "host")], rapid.IntRange(0, steward).Draw(t, "device"),
			kind, someMoney.Draw(t, "amount"), somePrice.Draw(t, "price"))
	}
}

// A device puts more into a lease.
func (w *world) fund(t *rapid.T) {
	p, n := w.somePair(t), rapid.IntRange(0, steward).Draw(t, "device")
	err := w.ledger.fund(holder{p.client.account, p.client.devices[n].key.public}, p.id, someMoney.Draw(t, "amount"))
	if n == steward {
		refused(t, "a steward that funds", err, fault.MandateRefused)
	}
}

// A lease gets a new quote's prices. What was signed before is not touched.
func (w *world) prices(t *rapid.T) {
	p := w.somePair(t)
	before := p.lease(w)
	if before.ID == 0 {
		return
	}
	q := w.price(p.host, before.Kind, somePrice.Draw(t, "price"))
	if w.ledger.reprice(holder{p.client.account, p.client.devices[0].key.public}, p.id, q, w.ledger.now+30*day) != nil {
		return
	}
	after := p.lease(w)
	if before.Earned(w.ledger.clock(p.host.account)) != after.Earned(w.ledger.clock(p.host.account)) {
		t.Fatalf("lease %d: a quote alone changed what is earned", p.id)
	}
	for i := range p.signed {
		s := &p.signed[i]
		switch rate := after.PricesAt(s.AsOf).Rate(s.Units); {
		case s.AsOf >= w.ledger.now: // signed by a clock that is ahead
			s.rate = max(s.rate, rate)
		case s.AsOf >= before.AsOf && rate > s.rate:
			t.Fatalf("lease %d: statement %d got dearer after it was signed", p.id, s.Seq)
		}
	}
}

// A quote that has run out, or is another network's or host's, opens nothing.
func (w *world) staleQuote(t *rapid.T) {
	h := w.hosts[0]
	q := w.price(h, quote.Storage, unitPrices[1]).Quote
	want, key := fault.BadSignature, hostKeys[1]
	switch rapid.IntRange(0, 3).Draw(t, "fault") {
	case 0:
		q.ValidUntil, want, key = w.ledger.now-1, fault.QuoteExpired, h.key
	case 1:
		q.ValidUntil, want, key = w.ledger.now+rules.MaxQuote+1, fault.BadRequest, h.key
	case 2:
		q.ChainID, want, key = "hearth-00000000000000000000", fault.WrongNetwork, h.key
	}
	refused(t, "a quote", q.Sign(key.private).Check(net, h.key.public[:], w.ledger.now, rules.MaxQuote), want)
}

// The account's own key gives, changes or ends a mandate.
func (w *world) mandates(t *rapid.T) {
	c, n := w.someClient(t), rapid.IntRange(0, steward).Draw(t, "key")
	h := holder{c.account, c.devices[n].key.public}
	switch rapid.IntRange(0, 3).Draw(t, "what") {
	case 0:
		_ = w.ledger.revoke(h)
	case 1: // the right to sign is dropped, which takes nothing from a host
		m := w.mandate(c, n, mandate.All, 300_000, 60*day)
		m.Ops = mandate.Open
		_ = w.ledger.grant(m)
	default:
		limit := rapid.SampledFrom([]uint64{0, 20_000, 300_000, widest}).Draw(t, "cap")
		w.must(t, w.ledger.grant(w.mandate(c, n, mandate.All, money.Amount(limit), anyTime.Draw(t, "lasts"))))
	}
}

// Anyone settles any leases, in any order. Again at once nothing more is paid.
func (w *world) settle(t *rapid.T) {
	for range rapid.IntRange(1, 3).Draw(t, "how many") {
		p := w.somePair(t)
		if p.lease(w).ID == 0 {
			continue
		}
		w.must(t, w.ledger.settle(p.id))
		paid := p.lease(w).Out
		if w.must(t, w.ledger.settle(p.id)); p.lease(w).Out != paid && p.lease(w).Funded() > paid {
			w.notOverdrawn(t, p)
		}
	}
}

// notOverdrawn: a second settlement may only pay more where more was signed than
// the lease held, and a refill came in between.
func (w *world) notOverdrawn(t *rapid.T, p *pair) {
	l := p.lease(w)
	if l.Total+l.Accrued(w.ledger.clock(l.Host)) < l.Out {
		t.Fatalf("lease %d: settling twice paid more", p.id)
	}
}

// A lease ends, now and then: by its client, by its host, or by both.
func (w *world) end(t *rapid.T) {
	p := w.somePair(t)
	by := lease.ByClient
	switch rapid.IntRange(0, 5).Draw(t, "by") {
	case 0:
	case 1:
		by = lease.ByHost
	case 2:
		w.agreedEnd(t, p)
		return
	default:
		return
	}
	if l := p.lease(w); l.ID != 0 {
		if after, err := l.Close(by, w.ledger.clock(l.Host), rules); err == nil {
			w.ledger.leases[p.id] = after
			w.ledger.stopped[p.id] = by == lease.ByClient
		}
	}
}

// Both agree that a lease ends now: the host consents to what it was promised,
// rent up to now included, and everything else goes back at once.
func (w *world) agreedEnd(t *rapid.T, p *pair) {
	l, s := p.lease(w), p.sells.mem.newest
	if l.ID == 0 || l.State == lease.Closed || s.Seq == 0 {
		return
	}
	total := s.Total + s.Rent(l.SignedPrices(s.AsOf), w.ledger.now)
	after, f, err := l.CloseAgreed(total, w.ledger.clock(l.Host))
	if err == nil && w.ledger.frozen(l.Host) && l.Kind == quote.Storage && l.Rate > 0 {
		refused(t, "an end between draw and answer", w.ledger.move(after, f), fault.Frozen)
		return
	}
	if err != nil {
		if !p.cheated {
			t.Fatalf("lease %d: an honest host's consent is refused: %v", p.id, err)
		}
		return
	}
	p.agreed = total + l.Accrued(w.ledger.clock(l.Host))
	w.must(t, w.ledger.move(after, f))
	if held := p.lease(w).Held(); held != 0 || p.lease(w).Out < min(total, l.Funded()) {
		t.Fatalf("lease %d: ended with %d in it and %d paid of %d", p.id, held, p.lease(w).Out, total)
	}
}

// A lease whose time has come is paid out. An honest host posts before.
func (w *world) finish(t *rapid.T) {
	p := w.somePair(t)
	l := p.lease(w)
	if l.State != lease.Closing || w.ledger.now < l.EndsAt {
		if l.ID != 0 {
			refused(t, "finish before the end", w.ledger.finish(p.id), fault.BadRequest)
		}
		return
	}
	_ = w.hostPosts(p)
	l = p.lease(w)
	if l.Kind == quote.Storage && l.Rate > 0 && w.ledger.frozen(l.Host) {
		refused(t, "an end between draw and answer", w.ledger.finish(p.id), fault.Frozen)
		return
	}
	due := l.Earned(w.ledger.clock(l.Host))
	w.must(t, w.ledger.finish(p.id))
	if l = p.lease(w); l.Out != due || l.Held() != 0 || l.State != lease.Closed {
		t.Fatalf("lease %d: paid %d of %d, %d are left, it is %s", p.id, l.Out, due, l.Held(), l.State)
	}
}

// A closed lease is forgotten after a while.
func (w *world) prune(t *rapid.T) {
	p := w.somePair(t)
	if l := p.lease(w); l.Prunable(w.ledger.now, rules) {
		w.ledger.pruned += l.Commission
		w.ledger.leases[p.id] = lease.Lease{}
	}
}
