package host

import (
	"crypto/ed25519"
	"testing"
	"time"

	"hearth/core/fault"
	"hearth/core/grant"
	"hearth/core/proof"
	"hearth/core/share"
	"hearth/p2p"
	"hearth/storage/wire"
)

// shared is a host with a shard under lease 1, and a stream of somebody with
// lease 2.
func shared(t *testing.T, c Config) (d *door, root proof.Hash, reader func() p2p.Stream) {
	t.Helper()
	d = newDoor(t, c, ServerConfig{})
	d.till.pay(100 << 20)
	data, root := shard(1, 5000)
	if err := send(d.stream(), root, data); err != nil {
		t.Fatal(err)
	}
	k := key(t)
	d.till.reader = k.Public().(ed25519.PublicKey)
	return d, root, func() p2p.Stream {
		g := grant.Grant{Lease: 2, Peer: [32]byte(d.nodes[1].Key()), Until: d.host.now() + 3600}
		s := d.knock()
		r := &wire.Request{Lease: 2, Grant: &wire.Grant{Lease: 2, Peer: g.Peer[:], Until: g.Until, Key: d.till.reader, Sig: g.Sign(chainID, k)}}
		if _, err := ask(s, r); err != nil {
			t.Fatal(err)
		}
		return s
	}
}

func (d *door) ticket(k ed25519.PrivateKey, serial byte, until int64) *wire.Ticket {
	t := share.Ticket{Owner: "hearth1owner", Serial: share.Serial{serial}, Until: until}
	return &wire.Ticket{
		Owner: t.Owner, Serial: t.Serial[:], Until: t.Until, Contents: t.Contents[:], Key: k.Public().(ed25519.PublicKey), Sig: t.Sign(chainID, k),
	}
}

// reads asks for a shard on lease 2, both ways.
func reads(t *testing.T, s p2p.Stream, root proof.Hash, shown *wire.Ticket) error {
	t.Helper()
	r := rangeReq(root, 0, 1024)
	r.Lease, r.Ticket = 2, shown
	if _, err := ask(s, r); err != nil {
		g := getReq(root, 0, 1)
		g.Lease, g.Ticket = 2, shown
		if _, e := ask(s, g); fault.CodeOf(e) != fault.CodeOf(err) {
			t.Errorf("a range is refused as %v, blocks as %v", err, e)
		}
		return err
	}
	_, err := s.Read(make([]byte, 1024))
	return err
}

func TestWhoReadsOnAnotherLeaseNeedsATicketOfTheOwner(t *testing.T) {
	d, root, reader := shared(t, Config{})
	soon := time.Now().Unix() + 60
	changed := d.ticket(d.owner, 1, soon)
	changed.Until++
	for name, c := range map[string]struct {
		shown *wire.Ticket
		root  proof.Hash
		code  fault.Code
	}{
		"none":                      {nil, root, fault.NotFound},
		"the owner's":               {d.ticket(d.owner, 1, soon), root, ""},
		"somebody else's":           {d.ticket(key(t), 1, soon), root, fault.Unauthorized},
		"of another shard":          {d.ticket(d.owner, 1, soon), proof.Hash{9}, fault.NotFound},
		"one that has ended":        {d.ticket(d.owner, 1, time.Now().Unix()-2), root, fault.Unauthorized},
		"for ever":                  {d.ticket(d.owner, 1, 1<<40), root, fault.Unauthorized},
		"changed":                   {changed, root, fault.BadSignature},
		"without a serial":          {&wire.Ticket{Owner: "x"}, root, fault.BadFrame},
		"with the contents missing": {&wire.Ticket{Serial: make([]byte, 16)}, root, fault.BadFrame},
	} {
		want(t, name, reads(t, reader(), c.root, c.shown), c.code)
	}
	// Once a stream is enough, and the owner needs none.
	s := reader()
	want(t, "shown", reads(t, s, root, d.ticket(d.owner, 1, soon)), "")
	want(t, "shown before", reads(t, s, root, nil), "")
	if _, err := fetch(d.stream(), root, 5000, 0, 0); err != nil {
		t.Error("the owner:", err)
	}
}

func TestATicketEndsInTheMiddleOfAStream(t *testing.T) {
	now := newClock()
	now.set(time.Now())
	d, root, reader := shared(t, Config{Now: now.now})
	s := reader()
	want(t, "before", reads(t, s, root, d.ticket(d.owner, 1, now.now().Unix()+60)), "")
	now.pass(2 * time.Minute)
	want(t, "after", reads(t, s, root, nil), fault.Unauthorized)
}

func TestARevokedTicketIsRefused(t *testing.T) {
	now := newClock()
	now.set(time.Now())
	d, root, reader := shared(t, Config{Now: now.now})
	until := now.now().Unix() + 3600
	one, other := d.ticket(d.owner, 1, until), d.ticket(d.owner, 2, until)
	s := reader()
	want(t, "before", reads(t, s, root, one), "")
	revoke := &wire.Request{Lease: 1, Ask: &wire.Request_Revoke{Revoke: &wire.Revoke{Serial: one.Serial, Until: until}}}
	d.till.keeps.Store(true)
	_, err := ask(d.stream(), revoke)
	want(t, "by a key that may not remove", err, fault.MandateRefused)
	d.till.keeps.Store(false)
	foreign := &wire.Request{Lease: 2, Ask: revoke.Ask}
	_, err = ask(reader(), foreign)
	want(t, "by somebody else, on their own lease", err, "") // without effect on what others hold
	want(t, "not revoked", reads(t, s, root, nil), "")
	if _, err := ask(d.stream(), revoke); err != nil {
		t.Fatal(err)
	}
	want(t, "on the stream where it was shown", reads(t, s, root, nil), fault.Unauthorized)
	want(t, "shown again", reads(t, reader(), root, one), fault.Unauthorized)
	want(t, "another ticket", reads(t, reader(), root, other), "")
	if on, err := d.host.revoked(1, share.Serial{1}); err != nil || !on {
		t.Errorf("kept: %v, %v", on, err)
	}
	// What has ended needs no room: the next revocation clears it.
	now.pass(2 * time.Hour)
	if err := d.host.Revoke(1, share.Serial{3}, now.now().Unix()+60); err != nil {
		t.Fatal(err)
	}
	if on, err := d.host.revoked(1, share.Serial{1}); err != nil || on {
		t.Errorf("still kept: %v, %v", on, err)
	}
}
