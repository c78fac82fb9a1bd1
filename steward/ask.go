package steward

import (
	"context"
	"crypto/ed25519"
	"errors"
	"time"

	"hearth/core/fault"
	"hearth/p2p"
	"hearth/steward/wire"
)

// A ClientConfig is what a Client needs.
type ClientConfig struct {
	ChainID string
	Account string
	Key     ed25519.PrivateKey // a device's spending key, with the right to remove
	Net     Net
	Now     func() time.Time // default time.Now
}

// A Client speaks to stewards for an account.
type Client struct{ c ClientConfig }

// NewClient returns a Client, or says which part of c is missing.
func NewClient(c ClientConfig) (*Client, error) {
	if c.ChainID == "" || c.Account == "" || len(c.Key) != ed25519.PrivateKeySize || c.Net == nil {
		return nil, errors.New("steward's client: ChainID, Account, Key and Net are needed")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Client{c}, nil
}

// Terms are what a steward says of itself.
type Terms struct {
	Key     [32]byte // it acts with this one
	Account string
}

// Terms asks a steward for its key.
func (c *Client) Terms(ctx context.Context, peer p2p.Peer) (t Terms, err error) {
	res, err := c.ask(ctx, peer, &wire.Request{Ask: &wire.Request_Terms{Terms: &wire.Terms{}}}, false)
	if err != nil {
		return t, err
	}
	a := res.GetTerms()
	if len(a.GetKey()) != len(t.Key) || a.Account == "" || len(a.Account) > maxName {
		return t, fault.New(fault.BadFrame, "steward: it doesn't say who it is")
	}
	return Terms{[32]byte(a.Key), a.Account}, nil
}

// Hire has a steward begin or go on. It says up to which change it knows where
// shards lie.
func (c *Client) Hire(ctx context.Context, peer p2p.Peer) (known int64, err error) {
	res, err := c.ask(ctx, peer, &wire.Request{Ask: &wire.Request_Hire{Hire: &wire.Hire{}}}, true)
	return res.GetState().GetKnown(), err
}

// Update tells of slabs as they are after change number to; from is the number
// told before. Where the steward knows another one, it says which.
func (c *Client) Update(ctx context.Context, peer p2p.Peer, from, to int64, slabs []Slab) (known int64, err error) {
	for {
		u := &wire.Update{From: from, To: from}
		size := 0
		for len(slabs) > 0 && len(u.Slabs) < mostSlabs {
			b := slabs[0].Encode()
			if size += len(b) + 8; size > maxFrame*3/4 {
				break
			}
			u.Slabs, slabs = append(u.Slabs, b), slabs[1:]
		}
		if len(slabs) == 0 {
			u.To = to
		}
		res, err := c.ask(ctx, peer, &wire.Request{Ask: &wire.Request_Update{Update: u}}, true)
		if err != nil {
			return 0, err
		}
		if known = res.GetState().GetKnown(); known != u.To || len(slabs) == 0 {
			return known, nil
		}
	}
}

// A Report is what a steward says that it did.
type Report struct {
	Acts   []Act
	More   bool
	Slabs  uint64 // that it looks after
	Audits uint64 // since it was started
}

// Report asks for the acts after a number; those before it are settled.
func (c *Client) Report(ctx context.Context, peer p2p.Peer, after uint64) (Report, error) {
	res, err := c.ask(ctx, peer, &wire.Request{Ask: &wire.Request_Report{Report: &wire.Report{After: after}}}, true)
	if err != nil {
		return Report{}, err
	}
	a := res.GetReport()
	if len(a.GetActs()) > mostActs {
		return Report{}, fault.New(fault.TooLarge, "steward: a report of %d acts", len(a.Acts))
	}
	r := Report{More: a.GetMore(), Slabs: a.GetSlabs(), Audits: a.GetAudits()}
	for _, b := range a.GetActs() {
		act, err := DecodeAct(b)
		if err != nil {
			return Report{}, err
		}
		if act.Seq <= after {
			return Report{}, fault.New(fault.BadFrame, "steward: act %d in a report of those after %d", act.Seq, after)
		}
		after = act.Seq
		r.Acts = append(r.Acts, act)
	}
	return r, nil
}

// Dismiss has a steward forget the account. That it can't act any more is by the
// ledger: the mandate is revoked first.
func (c *Client) Dismiss(ctx context.Context, peer p2p.Peer) error {
	_, err := c.ask(ctx, peer, &wire.Request{Ask: &wire.Request_Dismiss{Dismiss: &wire.Dismiss{}}}, true)
	return err
}

func (c *Client) ask(ctx context.Context, peer p2p.Peer, q *wire.Request, named bool) (*wire.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if named {
		slip := Slip{
			ChainID: c.c.ChainID, Account: c.c.Account, Steward: [32]byte(peer.Key), Peer: [32]byte(c.c.Net.Key()),
			Until: c.c.Now().Unix() + SlipTime/2,
		}
		q.Slip = &wire.Slip{Account: slip.Account, Until: slip.Until, Key: c.c.Key.Public().(ed25519.PublicKey), Sig: slip.Sign(c.c.Key)}
	}
	s, err := c.c.Net.Open(ctx, peer, Protocol)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var res wire.Response
	if err := p2p.Exchange(ctx, s, q, &res, maxFrame); err != nil {
		return nil, err
	}
	if res.Code != "" {
		code := fault.Code(res.Code)
		if _, known := fault.Lookup(code); !known || code == fault.Internal {
			code = fault.HostRefused
		}
		return nil, fault.New(code, "steward: %.300q", res.Reason)
	}
	return &res, nil
}
