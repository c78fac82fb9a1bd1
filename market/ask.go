package market

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"slices"
	"time"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/statement"
	"hearth/market/wire"
	"hearth/p2p"
)

// noAnswer is when silence is a refusal.
const noAnswer = time.Minute

// call sends one request over s and reads the answer. A refusal keeps the host's
// code, and comes with the answer; without one s is of no more use.
func call(ctx context.Context, s p2p.Stream, req *wire.Request) (*wire.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, noAnswer)
	defer cancel()
	var res wire.Response
	if err := p2p.Exchange(ctx, s, req, &res, maxFrame); err != nil {
		return nil, err
	}
	if res.Code != "" {
		code := fault.Code(res.Code)
		if _, known := fault.Lookup(code); !known {
			code = fault.HostRefused
		}
		return &res, fault.New(code, "host: %.300q", res.Reason)
	}
	return &res, nil
}

// askQuote asks a host for its price. What it says beside the quote isn't checked yet.
func askQuote(ctx context.Context, d Dialer, peer p2p.Peer, kind quote.Kind) (quote.Signed, *wire.QuoteAnswer, error) {
	s, err := d.Open(ctx, peer, Protocol)
	if err != nil {
		return quote.Signed{}, nil, err
	}
	defer s.Close()
	res, err := call(ctx, s, &wire.Request{Ask: &wire.Request_Quote{Quote: &wire.GetQuote{Kind: uint32(kind)}}})
	if err != nil {
		return quote.Signed{}, nil, err
	}
	q, err := quote.Decode(res.GetQuote().GetQuote())
	return q, res.GetQuote(), err
}

// talk sends a request over the pair's stream, and once more over a new one if
// the old one had gone: a host that has taken a request already answers the same.
// The caller has the turn.
func (p *Pair) talk(ctx context.Context, req *wire.Request) (*wire.Response, error) {
	for {
		s, fresh, err := p.open(ctx)
		if err != nil {
			return nil, err
		}
		res, err := call(ctx, s, req)
		if res != nil {
			return res, err
		}
		s.Close()
		p.mu.Lock()
		if p.stream == s {
			p.stream = nil
		}
		p.mu.Unlock()
		if fresh || ctx.Err() != nil {
			return nil, err
		}
	}
}

// open gives the pair's stream, or a new one.
func (p *Pair) open(ctx context.Context) (s p2p.Stream, fresh bool, err error) {
	p.mu.Lock()
	s, over := p.stream, p.over
	p.mu.Unlock()
	if over != nil {
		return nil, false, over
	}
	if s != nil {
		return s, false, nil
	}
	s, err = p.c.c.Dialer.Open(ctx, p.Peer(), Protocol)
	if fault.CodeOf(err) == fault.HostUnreachable && p.relocate(ctx) {
		s, err = p.c.c.Dialer.Open(ctx, p.Peer(), Protocol)
	}
	if err != nil {
		return nil, true, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over != nil {
		s.Close()
		return nil, true, p.over
	}
	p.stream = s
	return s, true, nil
}

// relocate looks up where the host is now, and says whether that is elsewhere.
func (p *Pair) relocate(ctx context.Context) bool {
	p.mu.Lock()
	old, recent := p.peer, time.Since(p.moved) < time.Minute
	if !recent {
		p.moved = time.Now()
	}
	p.mu.Unlock()
	if recent || ctx.Err() != nil {
		return false
	}
	h, err := p.c.c.Ledger.Host(ctx, p.Host())
	if err != nil {
		return false
	}
	peer, err := p.c.peer(ctx, h)
	if err != nil || bytes.Equal(peer.Key, old.Key) && slices.Equal(peer.Addrs, old.Addrs) {
		return false
	}
	p.meet(peer)
	return true
}

func (p *Pair) meet(peer p2p.Peer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.peer = peer
}

// hangUp ends the open exchange, and all later ones with err.
func (p *Pair) hangUp(err error) {
	p.mu.Lock()
	s := p.stream
	p.stream, p.over = nil, err
	p.mu.Unlock()
	if s != nil {
		s.Close()
	}
}

// usable says why the pair can't be used any more.
func (p *Pair) usable() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.over
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

// send proposes a statement. refused says that the host certainly didn't take it.
func (p *Pair) send(ctx context.Context, s statement.Signed) (got statement.Signed, refused bool, err error) {
	res, err := p.talk(ctx, &wire.Request{Ask: &wire.Request_Propose{Propose: &wire.Propose{Statement: s.Encode()}}})
	if err != nil {
		return got, res != nil && fault.CodeOf(err) != fault.DiskFull && fault.CodeOf(err) != fault.Internal, err
	}
	if got, err = statement.Decode(res.GetAccepted().GetStatement()); err != nil {
		return got, false, err
	}
	if got.Statement != s.Statement {
		return got, false, fault.New(fault.BadStatement, "host: it accepted another statement than was sent")
	}
	return got, false, nil
}

// Refund ends a lease under which nothing is stored, at once and with the host's
// consent; without it the lease is closed the slow way. The pair is of no more use.
func (p *Pair) Refund(ctx context.Context) error {
	if err := p.lock(ctx); err != nil {
		return err
	}
	defer p.unlock()
	l, err := p.refresh(ctx)
	if err != nil {
		return err
	}
	total, sig, err := p.consent(ctx, l)
	if err == nil {
		if err = p.c.closeLease(ctx, l.ID, sig, total); err == nil {
			p.c.forget(l.ID)
			return nil
		}
		if code := fault.CodeOf(err); code != fault.BadStatement && code != fault.BadSignature && code != fault.TxRefused {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	p.c.c.Log.Info("lease is closed without the host", "lease", l.ID, "err", err)
	if err := p.c.closeLease(ctx, l.ID, nil, 0); err != nil {
		return err
	}
	_, err = p.refresh(ctx) // nothing is signed from here on
	return err
}

// consent asks the host to agree to the lease's end, and checks what it says.
func (p *Pair) consent(ctx context.Context, l lease.Lease) (money.Amount, []byte, error) {
	g, key, gsig := p.Grant()
	res, err := p.talk(ctx, &wire.Request{Ask: &wire.Request_Refund{Refund: &wire.Refund{Lease: g.Lease, Until: g.Until, Key: key, Sig: gsig}}})
	if err != nil {
		return 0, nil, err
	}
	total, sig := money.Amount(res.GetRefund().GetTotal()), res.GetRefund().GetSig()
	p.mu.Lock()
	signed := max(p.rec.Newest.Total, p.base.Total, l.Total)
	p.mu.Unlock()
	switch host := p.hostKey(); {
	case total > signed || total < l.Total:
		return 0, nil, fault.New(fault.BadStatement, "refund lease %d: the host wants %d, %d are signed, %d posted", l.ID, total, signed, l.Total)
	case len(host) != ed25519.PublicKeySize || !ed25519.Verify(host, statement.RefundDigest(p.c.c.Ledger.ChainID(), l.ID, total), sig):
		return 0, nil, fault.New(fault.BadSignature, "refund lease %d: the signature isn't the host's", l.ID)
	}
	return total, sig, nil
}

var errClientClosed = errors.New("talk to host: the node is stopping")
