package markettest

import (
	"crypto/ed25519"
	"maps"

	"google.golang.org/protobuf/proto"

	"hearth/chain"
	"hearth/chain/pb/marketv1"
	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/mandate"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/statement"
)

func (l *Ledger) transact(s chain.Signer, msgs []proto.Message) error {
	if l.down {
		return fault.New(fault.LedgerDown, "send: the ledger is down")
	}
	if algorithm, key := s.PublicKey(); algorithm == "ed25519" {
		l.keys[s.Address()] = [32]byte(key)
	}
	purses, leases, mandates, paid := maps.Clone(l.purses), maps.Clone(l.leases), maps.Clone(l.mandates), maps.Clone(l.paid)
	next, commons, news := l.next, l.commons, l.news
	for _, m := range msgs {
		if err := l.carryOut(s.Address(), m); err != nil {
			l.purses, l.leases, l.mandates, l.paid = purses, leases, mandates, paid
			l.next, l.commons, l.news = next, commons, news
			return err
		}
	}
	l.txs++
	return nil
}

func (l *Ledger) carryOut(signer string, m proto.Message) error {
	switch m := m.(type) {
	case *marketv1.MsgOpenLeases:
		if m.Signer == signer {
			return l.openLeases(m)
		}
	case *marketv1.MsgPostStatements:
		if m.Signer == signer {
			return l.post(m)
		}
	case *marketv1.MsgSettle:
		if m.Signer == signer {
			return l.settle(m)
		}
	case *marketv1.MsgClose:
		if m.Signer == signer {
			return l.close(m)
		}
	}
	return fault.New(fault.TxRefused, "message %T of %s", m, signer)
}

// by finds the mandate under which signer acts for client; nil: it is the client.
func (l *Ledger) by(signer, client string) (*mandate.Mandate, error) {
	if signer == client {
		return nil, nil
	}
	m, ok := l.mandates[mandateKey{client, l.keys[signer]}]
	if !ok {
		return nil, fault.New(fault.MandateRefused, "mandate of %s: the key of %s has none", client, signer)
	}
	return &m, nil
}

func (l *Ledger) openLeases(m *marketv1.MsgOpenLeases) error {
	if n := len(m.Open) + len(m.Fund); n == 0 || n > l.rules.MaxOpen {
		return fault.New(fault.TooLarge, "open leases: %d of them", n)
	}
	by, err := l.by(m.Signer, m.Client)
	if err != nil {
		return err
	}
	may := func(op mandate.Op) error {
		if by == nil {
			return nil
		}
		return by.May(op, l.now())
	}
	var spent money.Amount
	for _, o := range m.Open {
		q := coreQuote(o.Quote)
		h, ok := l.hosts[q.Host]
		switch {
		case !ok:
			return fault.New(fault.NotFound, "host %s: none such", q.Host)
		case h.LeavingAt != 0 || h.Roles&(1<<(q.Kind-1)) == 0:
			return fault.New(fault.HostRefused, "host %s: it doesn't offer %s", q.Host, q.Kind)
		}
		if err := may(mandate.Open); err != nil {
			return err
		}
		if by != nil {
			if err := by.Buys(q.Kind, q.Prices); err != nil {
				return err
			}
		}
		if err := q.Check(ChainID, h.PublicKey(), l.now(), l.rules.MaxQuote); err != nil {
			return err
		}
		if err := l.rules.CheckOpen(money.Amount(o.Amount), o.Until, l.now()); err != nil {
			return err
		}
		for _, x := range l.leases {
			if x.Client == m.Client && x.Host == q.Host && x.Kind == q.Kind && x.State != lease.Closed {
				return fault.New(fault.Exists, "open lease: lease %d is there already", x.ID)
			}
		}
		l.next++
		l.put(lease.New(l.next, m.Client, q.Quote, o.Until, money.Amount(o.Amount), l.now()))
		spent += money.Amount(o.Amount)
	}
	for _, f := range m.Fund {
		x, err := l.lease(f.Lease)
		if err == nil && x.Client != m.Client {
			err = fault.New(fault.Unauthorized, "fund lease %d: it isn't of %s", f.Lease, m.Client)
		}
		if err == nil && f.Quote != nil {
			if err = may(mandate.Renew); err == nil {
				x, err = l.renew(by, x, coreQuote(f.Quote), f.Until)
			}
		}
		if err == nil && (f.Amount > 0 || f.Quote == nil) {
			if err = may(mandate.Fund); err == nil {
				x, err = x.Fund(money.Amount(f.Amount), l.both(), l.rules)
			}
		}
		if err != nil {
			return err
		}
		l.put(x)
		spent += money.Amount(f.Amount)
	}
	if spent > l.purses[m.Client] {
		return fault.New(fault.NoFunds, "purse of %s: %d uember are free, %d are needed", m.Client, l.purses[m.Client], spent)
	}
	l.purses[m.Client] -= spent
	if by == nil {
		return nil
	}
	after, err := by.Spend(spent, l.now(), l.rules.MandateWindow)
	l.mandates[mandateKey{m.Client, by.Key}] = after
	return err
}

// renew takes a new quote for a lease.
func (l *Ledger) renew(by *mandate.Mandate, x lease.Lease, q quote.Signed, until int64) (lease.Lease, error) {
	if q.Host != x.Host || q.Kind != x.Kind {
		return x, fault.New(fault.BadRequest, "renew lease %d: the quote is of another host or kind", x.ID)
	}
	if by != nil {
		if err := by.Buys(q.Kind, q.Prices); err != nil {
			return x, err
		}
	}
	if err := q.Check(ChainID, l.hosts[q.Host].PublicKey(), l.now(), l.rules.MaxQuote); err != nil {
		return x, err
	}
	if err := l.rules.CheckOpen(l.rules.MinDeposit, until, l.now()); err != nil {
		return x, err
	}
	return x.Reprice(q.Prices, until, l.now())
}

func (l *Ledger) post(m *marketv1.MsgPostStatements) error {
	if n := len(m.Statements); n == 0 || n > l.rules.MaxPost {
		return fault.New(fault.TooLarge, "post statements: %d of them", n)
	}
	for _, p := range m.Statements { // what is stale or broken is skipped
		s := coreStatement(p)
		x, err := l.lease(s.Lease)
		if err != nil || s.CheckClient(ChainID) != nil {
			continue
		}
		by, ok := l.mandates[mandateKey{x.Client, [32]byte(s.ClientKey)}]
		if !ok || by.Posts(l.now(), l.rules.CloseTime) != nil || by.Covers(x.Units, s.Units) != nil || s.CheckHost(l.hosts[x.Host].PublicKey()) != nil {
			continue
		}
		if x, err = x.Post(s.Statement, l.both(), l.rules); err == nil {
			x.Key = [32]byte(s.ClientKey)
			l.put(x)
		}
	}
	return nil
}

func (l *Ledger) settle(m *marketv1.MsgSettle) error {
	if n := len(m.Leases); n == 0 || n > l.rules.MaxSettle {
		return fault.New(fault.TooLarge, "settle: %d leases", n)
	}
	for _, id := range m.Leases {
		x, err := l.lease(id)
		if err != nil {
			continue
		}
		free := money.Amount(0)
		k := mandateKey{x.Client, x.Key}
		by, ok := l.mandates[k]
		if ok && by.May(mandate.Sign, l.now()) == nil {
			free = min(l.purses[x.Client], by.Left(l.now(), l.rules.MandateWindow))
		}
		after, flow := x.Settle(l.both(), free, l.rules)
		if flow.FromPurse > 0 {
			if by, err = by.Spend(flow.FromPurse, l.now(), l.rules.MandateWindow); err != nil {
				return err
			}
			l.mandates[k] = by
		}
		l.move(after, flow)
		if after != x {
			l.put(after)
		}
	}
	return nil
}

func (l *Ledger) close(m *marketv1.MsgClose) error {
	x, err := l.lease(m.Lease)
	if err != nil {
		return err
	}
	side := lease.ByHost
	if m.Signer != x.Host {
		side = lease.ByClient
		by, err := l.by(m.Signer, x.Client)
		if err == nil && by != nil {
			err = by.May(mandate.Close, l.now())
		}
		if err != nil {
			return err
		}
	}
	var flow lease.Flow
	if len(m.HostSig) == 0 {
		x, err = x.Close(side, l.both(), l.rules)
	} else if !ed25519.Verify(l.hosts[x.Host].PublicKey(), statement.RefundDigest(ChainID, m.Lease, money.Amount(m.Total)), m.HostSig) {
		err = fault.New(fault.BadSignature, "close lease %d: the signature isn't the host's", m.Lease)
	} else {
		x, flow, err = x.CloseAgreed(money.Amount(m.Total), l.both())
	}
	if err != nil {
		return err
	}
	l.move(x, flow)
	l.put(x)
	return nil
}

func (l *Ledger) move(x lease.Lease, f lease.Flow) {
	l.purses[x.Client] += f.ToPurse - f.FromPurse
	l.paid[x.Host] += f.ToHost
	l.commons += f.Commission
}

func coreQuote(q *marketv1.Quote) quote.Signed {
	out := quote.Signed{Sig: q.GetSig(), Quote: quote.Quote{ChainID: ChainID, Host: q.GetHost(), Kind: quote.Kind(q.GetKind()), ValidUntil: q.GetValidUntil()}}
	out.Prices = quote.Prices{In: q.GetPrices().GetIn(), Out: q.GetPrices().GetOut(), Gas: q.GetPrices().GetGas()}
	copy(out.Prices.Unit[:], q.GetPrices().GetUnit())
	return out
}

func coreStatement(s *marketv1.Statement) statement.Signed {
	out := statement.Signed{ClientKey: s.ClientKey, ClientSig: s.ClientSig, HostSig: s.HostSig}
	out.ChainID, out.Lease, out.Seq, out.Total, out.AsOf, out.RunsUntil = ChainID, s.Lease, s.Seq, money.Amount(s.Total), s.AsOf, s.RunsUntil
	copy(out.Units[:], s.Units)
	copy(out.Root[:], s.Root)
	return out
}

// Signer is an account that signs nothing: the ledger in memory takes its word.
type Signer struct {
	Name string
	Key  ed25519.PublicKey // nil: an account with another kind of key
}

func (s Signer) Address() string { return s.Name }

func (s Signer) PublicKey() (string, []byte) {
	if s.Key == nil {
		return "secp256k1", make([]byte, 33)
	}
	return "ed25519", s.Key
}

func (s Signer) Sign([]byte) ([]byte, error) { return make([]byte, 64), nil }
