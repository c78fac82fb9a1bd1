package market

import (
	"context"
	"crypto/ed25519"
	"time"

	"hearth/core/fault"
	"hearth/core/grant"
	"hearth/core/mandate"
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
	stop := context.AfterFunc(ctx, func() { s.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for ctx.Err() == nil {
		var req wire.Request
		s.SetReadDeadline(time.Now().Add(idleStream))
		if ctx.Err() != nil {
			return
		}
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
		return h.answerRefund(ctx, peer, ask.Refund)
	}
	return h.refuse(fault.New(fault.BadFrame, "unknown request"))
}

func (h *Host) refuse(err error) *wire.Response {
	code, reason, own := fault.Told(err)
	if own {
		h.c.Log.Error("request fails", "err", err)
	}
	return &wire.Response{Code: string(code), Reason: reason}
}

func (h *Host) answerQuote(q *wire.GetQuote) *wire.Response {
	if q.GetKind() > 255 {
		return h.refuse(fault.New(fault.BadFrame, "unknown kind %d", q.GetKind()))
	}
	signed, free, err := h.Quote(quote.Kind(q.GetKind()))
	if err != nil {
		return h.refuse(err)
	}
	answer := &wire.QuoteAnswer{Quote: signed.Encode(), Free: free}
	if signed.Kind == quote.Compute {
		answer.Machine = h.c.Machine()
	}
	return &wire.Response{Answer: &wire.Response_Quote{Quote: answer}}
}

// granted is a request with a grant for the peer that sends it.
type granted interface {
	GetLease() uint64
	GetUntil() int64
	GetKey() []byte
	GetSig() []byte
}

// admit finds the lease of a request and checks that its client lets the peer do op.
func (h *Host) admit(ctx context.Context, peer ed25519.PublicKey, q granted, op mandate.Op) (*bargain, error) {
	g := grant.Grant{Lease: q.GetLease(), Peer: [32]byte(peer), Until: q.GetUntil()}
	if err := grant.Verify(h.c.Ledger.ChainID(), g, q.GetKey(), q.GetSig(), h.now()); err != nil {
		return nil, err
	}
	b, err := h.bargain(ctx, q.GetLease())
	if err != nil {
		return nil, err
	}
	return b, h.allowed(ctx, b.terms().Client, q.GetKey(), op)
}

// answerState tells the newest statement to who holds a grant of the client's.
func (h *Host) answerState(ctx context.Context, peer ed25519.PublicKey, q *wire.GetState) *wire.Response {
	b, err := h.admit(ctx, peer, q, mandate.Sign)
	if err != nil {
		return h.refuse(err)
	}
	rec, held := b.metered()
	res := &wire.StateAnswer{InBytes: rec.In, OutBytes: rec.Out, Rent: uint64(rec.Rent), Gas: rec.Gas, Held: held}
	if rec.Newest.Seq > 0 {
		res.Statement = rec.Newest.Encode()
	}
	return &wire.Response{Answer: &wire.Response_State{State: res}}
}

func (h *Host) answerPropose(ctx context.Context, q *wire.Propose) *wire.Response {
	s, err := statement.Decode(q.GetStatement())
	if err != nil {
		return h.refuse(err)
	}
	s, err = h.Accept(ctx, s)
	res := &wire.Response{}
	if err != nil {
		res = h.refuse(err)
		if fault.CodeOf(err) != fault.Stale {
			return res
		}
	}
	res.Answer = &wire.Response_Accepted{Accepted: &wire.Accepted{Statement: s.Encode()}}
	return res
}

// answerRefund consents to an immediate end of a lease under which nothing is
// stored. What was used stays the host's, what was only paid ahead goes back. The
// consent is durable: else a client could spend on, and end the lease with it later.
func (h *Host) answerRefund(ctx context.Context, peer ed25519.PublicKey, q *wire.Refund) *wire.Response {
	b, err := h.admit(ctx, peer, q, mandate.Close)
	if err != nil {
		return h.refuse(err)
	}
	b.turn.Lock()
	defer b.turn.Unlock()
	if err := h.refresh(ctx, b); err != nil {
		return h.refuse(err)
	}
	total, err := h.consent(b)
	if err != nil {
		return h.refuse(err)
	}
	sig := ed25519.Sign(h.c.Key, statement.RefundDigest(h.c.Ledger.ChainID(), q.GetLease(), total))
	return &wire.Response{Answer: &wire.Response_Refund{Refund: &wire.RefundAnswer{Sig: sig, Total: uint64(total)}}}
}
