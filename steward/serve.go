package steward

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"time"

	"hearth/core/fault"
	"hearth/core/mandate"
	"hearth/p2p"
	"hearth/steward/wire"
)

const (
	idle      = time.Minute      // between two requests of a stream
	pause     = 30 * time.Second // for an answer to be taken, and the ledger to be asked
	atOnce    = 64               // requests
	mostSlabs = 4096             // of one update
	mostActs  = 1024             // of one report
	// maxFrame bounds a request; an update is cut to fit.
	maxFrame = 1 << 20
)

// Serve serves one stream until the peer ends it or breaks the rules. The caller
// closes the stream.
func (s *Steward) Serve(ctx context.Context, st p2p.Stream) {
	stop := context.AfterFunc(ctx, func() { st.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	for ctx.Err() == nil {
		st.SetReadDeadline(time.Now().Add(idle))
		var q wire.Request
		err := p2p.ReadFrame(st, &q, maxFrame)
		var res *wire.Response
		switch code := fault.CodeOf(err); {
		case err == nil:
			res = s.answer(ctx, st.Remote(), &q)
		case code == fault.BadFrame || code == fault.TooLarge:
			res = s.refuse(err)
		default:
			if !errors.Is(err, io.EOF) {
				s.c.Log.Debug("steward stream ends", "ip", st.RemoteIP(), "err", err)
			}
			return
		}
		st.SetWriteDeadline(time.Now().Add(pause))
		if werr := p2p.WriteFrame(st, res); werr != nil || err != nil {
			return
		}
	}
}

// enter counts a request, unless there are too many or the end has come.
func (s *Steward) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run == nil || s.asked >= atOnce {
		return false
	}
	s.asked++
	s.requests.Add(1)
	return true
}

func (s *Steward) leave() {
	s.mu.Lock()
	s.asked--
	s.mu.Unlock()
	s.requests.Done()
}

func (s *Steward) refuse(err error) *wire.Response {
	code, reason, own := fault.Told(err)
	if own {
		s.c.Log.Error("request fails", "err", err)
	}
	return &wire.Response{Code: string(code), Reason: reason}
}

// answer carries out one request.
func (s *Steward) answer(ctx context.Context, peer ed25519.PublicKey, q *wire.Request) *wire.Response {
	if _, ok := q.Ask.(*wire.Request_Terms); ok {
		return &wire.Response{Answer: &wire.Response_Terms{Terms: &wire.TermsAnswer{Key: s.c.Spending.Public(), Account: s.c.Account}}}
	}
	if !s.enter() {
		return s.refuse(fault.New(fault.Busy, "the steward is at its limit of requests, or stopping"))
	}
	defer s.leave()
	ctx, cancel := context.WithTimeout(ctx, pause)
	defer cancel()
	account, err := s.admit(ctx, peer, q.Slip)
	if err != nil {
		return s.refuse(err)
	}
	res, err := s.do(ctx, account, q)
	if err != nil {
		if code := fault.CodeOf(err); code == fault.Internal || code == fault.DiskFull || code == fault.DamagedFile {
			s.c.Log.Error("request fails", "client", account, "err", err)
		}
		return s.refuse(err)
	}
	s.heard(account)
	return res
}

// heard notes that a client is there.
func (s *Steward) heard(account string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.workers[account]; w != nil {
		w.heard = s.c.Now()
	}
}

// present says whether a client was heard lately: then it looks after its data
// itself, and tells what it has changed.
func (s *Steward) present(account string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.workers[account]
	return w != nil && s.c.Now().Sub(w.heard) < s.c.Rules.Patience
}

// admit checks for whom the peer speaks: with a key that may remove what is
// stored, so that one steward can't command another.
func (s *Steward) admit(ctx context.Context, peer ed25519.PublicKey, p *wire.Slip) (string, error) {
	if p == nil || len(p.Key) != ed25519.PublicKeySize || len(p.Account) > maxName || p.Account == "" {
		return "", fault.New(fault.Unauthorized, "the request doesn't say for whom")
	}
	now := s.c.Now().Unix()
	slip := Slip{
		ChainID: s.c.Ledger.ChainID(), Account: p.Account, Steward: [32]byte(s.c.Net.Key()), Peer: [32]byte(peer), Until: p.Until,
	}
	if err := slip.Verify(p.Key, p.Sig, now); err != nil {
		return "", err
	}
	m, err := s.c.Ledger.Mandate(ctx, p.Account, [32]byte(p.Key))
	if fault.CodeOf(err) == fault.NotFound {
		return "", fault.New(fault.MandateRefused, "%w", err)
	}
	if err != nil {
		return "", err
	}
	return p.Account, m.May(mandate.Sign|mandate.Remove, now)
}

func (s *Steward) do(ctx context.Context, account string, q *wire.Request) (*wire.Response, error) {
	switch ask := q.Ask.(type) {
	case *wire.Request_Hire:
		return s.hire(ctx, account)
	case *wire.Request_Update:
		return s.update(account, ask.Update)
	case *wire.Request_Report:
		return s.report(account, ask.Report)
	case *wire.Request_Dismiss:
		s.stop(account)
		return &wire.Response{}, s.store.dismiss(account)
	}
	return nil, fault.New(fault.BadRequest, "the request isn't known")
}

func (s *Steward) hire(ctx context.Context, account string) (*wire.Response, error) {
	if _, err := s.mandate(ctx, account); err != nil {
		return nil, err
	}
	_, found, err := s.store.contract(account)
	if err != nil {
		return nil, err
	}
	if !found {
		list, err := s.store.contracts()
		if err != nil {
			return nil, err
		}
		if len(list) >= s.c.Clients {
			return nil, fault.New(fault.Busy, "this steward has %d clients already", len(list))
		}
	}
	c, err := s.store.hire(account, s.c.Now().Unix())
	if err != nil {
		return nil, err
	}
	s.start(account)
	return state(c), nil
}

func state(c contract) *wire.Response {
	return &wire.Response{Answer: &wire.Response_State{State: &wire.State{Known: c.known}}}
}

func (s *Steward) update(account string, u *wire.Update) (*wire.Response, error) {
	if len(u.GetSlabs()) > mostSlabs {
		return nil, fault.New(fault.TooLarge, "%d slabs, at most %d are allowed", len(u.Slabs), mostSlabs)
	}
	slabs := make([]Slab, len(u.GetSlabs()))
	for i, b := range u.GetSlabs() {
		var err error
		if slabs[i], err = DecodeSlab(b); err != nil {
			return nil, err
		}
	}
	c, err := s.store.update(account, u.GetFrom(), u.GetTo(), slabs, s.c.Slabs)
	if fault.CodeOf(err) == fault.Stale {
		return state(c), nil // it says where to go on
	}
	if err != nil {
		return nil, err
	}
	return state(c), nil
}

func (s *Steward) report(account string, q *wire.Report) (*wire.Response, error) {
	if _, found, err := s.store.contract(account); err != nil || !found {
		return nil, or(err, notHired(account))
	}
	acts, more, err := s.store.report(account, q.GetAfter(), mostActs)
	if err != nil {
		return nil, err
	}
	n := s.count(account)
	out := &wire.ReportAnswer{More: more, Slabs: uint64(n.Slabs), Audits: uint64(n.Audits)}
	for _, a := range acts {
		out.Acts = append(out.Acts, a.Encode())
	}
	return &wire.Response{Answer: &wire.Response_Report{Report: out}}, nil
}
