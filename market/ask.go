package market

import (
	"context"
	"time"

	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/statement"
	"hearth/market/wire"
	"hearth/p2p"
)

// call sends one request over s and reads the answer. A refusal keeps the
// host's code.
func call(ctx context.Context, s p2p.Stream, req *wire.Request) (*wire.Response, error) {
	until := time.Now().Add(60 * time.Second) // no answer in a minute is a refusal
	if d, ok := ctx.Deadline(); ok && d.Before(until) {
		until = d
	}
	s.SetDeadline(until)
	stop := context.AfterFunc(ctx, func() { s.SetDeadline(time.Now()) })
	defer stop()
	if err := p2p.WriteFrame(s, req); err != nil {
		return nil, fault.New(fault.HostUnreachable, "ask host: %w", err)
	}
	var res wire.Response
	if err := p2p.ReadFrame(s, &res, maxFrame); err != nil {
		return nil, fault.New(fault.HostUnreachable, "ask host: %w", err)
	}
	if res.Code != "" {
		code := fault.Code(res.Code)
		if _, known := fault.Lookup(code); !known {
			code = fault.HostRefused
		}
		return &res, fault.New(code, "host: %.300s", res.Reason)
	}
	return &res, nil
}

// askQuote asks a host for its price.
func askQuote(ctx context.Context, d Dialer, peer p2p.Peer, kind quote.Kind) (quote.Signed, uint64, error) {
	s, err := d.Open(ctx, peer, Protocol)
	if err != nil {
		return quote.Signed{}, 0, err
	}
	defer s.Close()
	res, err := call(ctx, s, &wire.Request{Ask: &wire.Request_Quote{Quote: &wire.GetQuote{Kind: uint32(kind)}}})
	if err != nil {
		return quote.Signed{}, 0, err
	}
	q, err := quote.Decode(res.GetQuote().GetQuote())
	return q, res.GetQuote().GetFree(), err
}

// talk sends a request over the pair's stream, and once more over a new one if
// the old one had gone. The caller has the turn.
func (p *Pair) talk(ctx context.Context, req *wire.Request) (*wire.Response, error) {
	for {
		s, fresh := p.stream, false
		if s == nil {
			var err error
			if s, err = p.c.c.Dialer.Open(ctx, p.Peer(), Protocol); err != nil {
				return nil, err
			}
			p.stream, fresh = s, true
		}
		res, err := call(ctx, s, req)
		if res == nil && err != nil {
			s.Close()
			p.stream = nil
			if !fresh && ctx.Err() == nil {
				continue
			}
		}
		return res, err
	}
}

func (p *Pair) askState(ctx context.Context) (statement.Signed, *wire.StateAnswer, error) {
	g, key, sig := p.Grant()
	req := &wire.Request{Ask: &wire.Request_State{State: &wire.GetState{Lease: g.Lease, Until: g.Until, Key: key, Sig: sig}}}
	res, err := p.talk(ctx, req)
	if err != nil {
		return statement.Signed{}, nil, err
	}
	st := res.GetState()
	if st == nil {
		return statement.Signed{}, nil, fault.New(fault.BadFrame, "host: an answer to something else")
	}
	if len(st.Statement) == 0 {
		return statement.Signed{}, st, nil
	}
	s, err := statement.Decode(st.Statement)
	return s, st, err
}

func (p *Pair) send(ctx context.Context, s statement.Signed) (statement.Signed, error) {
	res, err := p.talk(ctx, &wire.Request{Ask: &wire.Request_Propose{Propose: &wire.Propose{Statement: s.Encode()}}})
	if err != nil {
		return statement.Signed{}, err
	}
	got, err := statement.Decode(res.GetAccepted().GetStatement())
	if err != nil {
		return statement.Signed{}, err
	}
	if got.Statement != s.Statement {
		return statement.Signed{}, fault.New(fault.BadStatement, "host: it accepted another statement than was sent")
	}
	return got, nil
}

// Refund ends a lease under which nothing is stored, at once and with the
// host's consent; without it the lease is closed the slow way.
func (p *Pair) Refund(ctx context.Context) error {
	if err := p.lock(ctx); err != nil {
		return err
	}
	defer p.unlock()
	id := p.Lease()
	res, err := p.talk(ctx, &wire.Request{Ask: &wire.Request_Refund{Refund: &wire.Refund{Lease: id}}})
	var sig []byte
	var total money.Amount
	if err == nil {
		sig, total = res.GetRefund().GetSig(), money.Amount(res.GetRefund().GetTotal())
		p.mu.Lock()
		signed := p.rec.Newest.Total
		p.mu.Unlock()
		if total > signed {
			sig, total = nil, 0
		}
	}
	return p.c.closeLease(ctx, id, sig, total)
}
