package market

import (
	"context"
	"crypto/ed25519"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/mandate"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/statement"
)

// count holds a host's count against what was asked for here. The host's may run
// ahead by what other devices use; what they don't sign for themselves is at most a
// window or two.
type count struct {
	known bool
	most  quote.Use // what was taken over of the host's count, and asked for since
}

const (
	mostUnasked    = 2 * lastWindow
	mostUnaskedGas = 2 * lastGas
)

// believes says whether the host's count is likely, and goes on from what follows
// from it here if another device has signed meanwhile, or if it isn't: then it was
// noticed.
func (c *count) believes(host, here quote.Use, ours bool) bool {
	most := c.most.Plus(quote.Use{In: mostUnasked, Gas: mostUnaskedGas})
	likely := host.Bytes() <= most.Bytes() && host.Gas <= most.Gas
	if !c.known || !ours {
		likely = true
	} else if likely {
		return true
	}
	*c = count{known: true, most: here}
	return likely
}

// Resync asks the host for the newest statement and its count, after something
// broke off.
func (p *Pair) Resync(ctx context.Context) error {
	if err := p.lock(ctx); err != nil {
		return err
	}
	defer p.unlock()
	p.unsync()
	return p.sync(ctx)
}

// sync learns what the host goes by, unless that is known. The caller has the turn.
func (p *Pair) sync(ctx context.Context) error {
	p.mu.Lock()
	landed := p.blurry && p.flying == (quote.Use{}) // an exact count can be had
	done, rec, base := p.synced && !landed, p.rec, p.base
	p.mu.Unlock()
	if done {
		return nil
	}
	newest, st, err := p.askState(ctx)
	if err != nil {
		return err
	}
	if newest.Seq == 0 {
		newest = statement.Signed{Statement: statement.Statement{ChainID: p.c.c.Ledger.ChainID(), Lease: p.Lease()}}
	} else if err := p.ours(ctx, newest); err != nil {
		return err
	}
	// What a host has signed, or said to have accepted, it can't take back.
	for _, s := range []statement.Statement{rec.Agreed.Statement, base} {
		if newest.Seq < s.Seq || newest.Seq == s.Seq && s.Seq > 0 && newest.Statement != s {
			return fault.New(fault.BadStatement, "lease %d: the host shows statement %d, it has accepted another number %d", p.Lease(), newest.Seq, s.Seq)
		}
	}
	if len(newest.HostSig) > 0 {
		if err := newest.CheckHost(p.hostKey()); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	// The host's count is believed as far as it was signed for: it can claim no
	// more than it could have kept anyway, and not much of that again and again.
	rent, prices := money.Amount(st.Rent), p.lease.PricesAt(newest.AsOf)
	ended := quote.Use{In: st.InBytes, Out: st.OutBytes, Gas: st.Gas}
	host := ended.Plus(quote.Use{Gas: st.Held})
	if money.AddCap(rent, prices.Owed(host)) > newest.Total {
		return fault.New(fault.HostRefused, "lease %d: the host counts more than was signed", p.lease.ID)
	}
	ours := !p.c.c.Others && (newest.Seq == 0 || p.c.key().Equal(ed25519.PublicKey(newest.ClientKey)))
	// What is on its way may not be in the host's count yet. To leave it out would
	// let other requests use up what these have paid for. Calls under way there are
	// mostly those of this device; some it may have given up.
	way := p.flying
	way.Gas = max(way.Gas, st.Held)
	here := ended.Plus(way)
	if !p.count.believes(host, here, ours) {
		return fault.New(fault.HostRefused, "lease %d: the host counts traffic or gas that nobody asked for", p.lease.ID)
	}
	mine := newest.Seq == 0 || p.c.key().Equal(ed25519.PublicKey(newest.ClientKey))
	own := p.left(newest.Total, mine)
	if newest.Seq >= p.rec.Newest.Seq {
		p.rec.Newest = newest
	}
	if len(newest.HostSig) > 0 {
		p.rec.Agreed = newest
	}
	p.rec.Rent, p.rec.Use = rent, here
	p.blurry = way != (quote.Use{})
	p.base, p.synced = newest.Statement, true
	// Who signs next adds to what the others have paid ahead for themselves. Where
	// they come and go under one key, what they have left is for whoever comes next.
	if !p.c.c.Others && (p.others > 0 || !mine) {
		p.others = 0
		p.others = money.SubFloor(money.SubFloor(p.base.Total, p.needs(quote.Use{})), own)
	}
	return nil
}

// left is what this device has paid for and not used, when the host goes by a
// total that is signed by it (mine) or by another. After a start it is what was
// left when it signed last. The caller holds mu.
func (p *Pair) left(total money.Amount, mine bool) money.Amount {
	had := p.base.Total
	if p.base.Seq == 0 {
		had = p.rec.Newest.Total
	}
	own := money.SubFloor(had, p.needs(quote.Use{}))
	if mine {
		own = money.AddCap(own, money.SubFloor(total, had))
	}
	return own
}

// ours checks that a statement was signed by a key of this account.
func (p *Pair) ours(ctx context.Context, s statement.Signed) error {
	if s.Lease != p.Lease() {
		return fault.New(fault.BadStatement, "lease %d: the host sent a statement of lease %d", p.Lease(), s.Lease)
	}
	if err := s.CheckClient(p.c.c.Ledger.ChainID()); err != nil {
		return err
	}
	if p.c.key().Equal(ed25519.PublicKey(s.ClientKey)) {
		return nil
	}
	m, err := p.c.c.Ledger.Mandate(ctx, p.c.c.Account, [32]byte(s.ClientKey))
	switch code := fault.CodeOf(err); {
	case code == fault.NotFound || code == fault.MandateRefused || err == nil && m.Ops&mandate.Sign == 0:
		// What the ledger has taken was signed while the key might: so a new device
		// takes over leases of one whose mandate is forgotten.
		if l, err := p.refresh(ctx); err != nil || recorded(l, s.Statement) {
			return err
		}
		return fault.New(fault.BadSignature, "lease %d: the newest statement is signed by a key that may not sign", p.Lease())
	case err != nil:
		return err
	}
	return nil
}

// recorded says whether a statement is the newest that the ledger has.
func recorded(l lease.Lease, s statement.Statement) bool {
	return s.Seq > 0 && l.ID == s.Lease && l.Seq == s.Seq && l.Total == s.Total && l.Units == s.Units && l.Root == s.Root &&
		l.AsOf == s.AsOf && l.RunsUntil == s.RunsUntil
}
