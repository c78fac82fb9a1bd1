package market

import (
	"context"
	"crypto/ed25519"
	"time"

	"hearth/core/fault"
	"hearth/core/grant"
	"hearth/core/quote"
	"hearth/core/statement"
	"hearth/market/wire"
	"hearth/p2p"
)

const (
	idleStream = 2 * time.Minute
	answerTime = 30 * time.Second
)

// Serve answers one stream of the market's protocol until it ends.
func (h *Host) Serve(ctx context.Context, s p2p.Stream) {
	for {
		var req wire.Request
		s.SetReadDeadline(time.Now().Add(idleStream))
		if err := p2p.ReadFrame(s, &req, maxFrame); err != nil {
			return
		}
		asked, cancel := context.WithTimeout(ctx, answerTime)
		res := h.answer(asked, s.Remote(), &req)
		cancel()
		s.SetWriteDeadline(time.Now().Add(answerTime))
		if err := p2p.WriteFrame(s, res); err != nil {
			return
		}
	}
}

func (h *Host) answer(ctx context.Context, peer ed25519.PublicKey, req *wire.Request) *wire.Response {
	switch ask := req.Ask.(type) {
	case *wire.Request_Quote:
		return h.answerQuote(ask.Quote)
	case *wire.Request_State:
		return h.answerState(ctx, peer, ask.State)
	case *wire.Request_Propose:
		return h.answerPropose(ctx, ask.Propose)
	case *wire.Request_Refund:
		return h.answerRefund(ctx, ask.Refund)
	}
	return refuse(fault.New(fault.BadFrame, "unknown request"))
}

func refuse(err error) *wire.Response {
	return &wire.Response{Code: string(fault.CodeOf(err)), Reason: err.Error()}
}

func (h *Host) answerQuote(q *wire.GetQuote) *wire.Response {
	if q.Kind > 255 {
		return refuse(fault.New(fault.BadFrame, "unknown kind %d", q.Kind))
	}
	signed, free, err := h.Quote(quote.Kind(q.Kind))
	if err != nil {
		return refuse(err)
	}
	return &wire.Response{Answer: &wire.Response_Quote{Quote: &wire.QuoteAnswer{Quote: signed.Encode(), Free: free}}}
}

// answerState tells the newest statement to who holds a grant of the client's.
func (h *Host) answerState(ctx context.Context, peer ed25519.PublicKey, q *wire.GetState) *wire.Response {
	g := grant.Grant{Lease: q.Lease, Peer: [32]byte(peer), Until: q.Until}
	if err := grant.Verify(h.c.Ledger.ChainID(), g, q.Key, q.Sig, time.Now().Unix()); err != nil {
		return refuse(err)
	}
	if err := h.Allowed(ctx, q.Lease, q.Key); err != nil {
		return refuse(err)
	}
	b, err := h.bargain(ctx, q.Lease)
	if err != nil {
		return refuse(err)
	}
	b.count.Lock()
	defer b.count.Unlock()
	res := &wire.StateAnswer{InBytes: b.rec.In, OutBytes: b.rec.Out, Rent: uint64(b.rec.Rent)}
	if b.rec.Newest.Seq > 0 {
		res.Statement = b.rec.Newest.Encode()
	}
	return &wire.Response{Answer: &wire.Response_State{State: res}}
}

func (h *Host) answerPropose(ctx context.Context, q *wire.Propose) *wire.Response {
	s, err := statement.Decode(q.Statement)
	if err != nil {
		return refuse(err)
	}
	s, err = h.Accept(ctx, s)
	res := &wire.Response{}
	if err != nil {
		res = refuse(err)
		if fault.CodeOf(err) != fault.Stale {
			return res
		}
	}
	res.Answer = &wire.Response_Accepted{Accepted: &wire.Accepted{Statement: s.Encode()}}
	return res
}

// answerRefund consents to an immediate end of a lease under which nothing is
// stored: what was signed for so far stays the host's.
func (h *Host) answerRefund(ctx context.Context, q *wire.Refund) *wire.Response {
	b, err := h.bargain(ctx, q.Lease)
	if err != nil {
		return refuse(err)
	}
	b.count.Lock()
	defer b.count.Unlock()
	if b.rec.Newest.Units != (quote.Units{}) {
		return refuse(fault.New(fault.StillLeased, "refund lease %d: it still holds data", q.Lease))
	}
	owed := b.rec.Rent + b.lease.PricesAt(b.rec.Newest.AsOf).Traffic(b.rec.In, b.rec.Out)
	total := max(min(owed, b.rec.Newest.Total), b.lease.Total)
	sig := ed25519.Sign(h.c.Key, statement.RefundDigest(h.c.Ledger.ChainID(), q.Lease, total))
	return &wire.Response{Answer: &wire.Response_Refund{Refund: &wire.RefundAnswer{Sig: sig, Total: uint64(total)}}}
}
