//go:build linux && (amd64 || arm64)

package uplink

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"hearth/compute/sandbox/egress"
)

// Answers about names.
const (
	answerWithin = 10 * time.Second
	askWithin    = 2 * time.Second // another question of the same UDP flow
	ttl          = 60              // seconds, whatever the name's own
	maxLeases    = 4096
	maxAnswers   = 16
)

// leases are the addresses that names which may be resolved stand for. They
// stay open well past what the instance was told, for programs that keep them.
type leases struct {
	mu    sync.Mutex
	until map[netip.Addr]time.Time
}

const leaseFor = 10 * time.Minute

func (l *leases) add(addrs []netip.Addr, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.until == nil {
		l.until = map[netip.Addr]time.Time{}
	}
	if len(l.until) >= maxLeases {
		for a, t := range l.until {
			if t.Before(now) || len(l.until) >= maxLeases {
				delete(l.until, a)
			}
		}
	}
	for _, a := range addrs {
		l.until[a] = now.Add(leaseFor)
	}
}

func (l *leases) holds(a netip.Addr, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Before(l.until[a])
}

// answerPackets answers the questions of one UDP flow.
func (u *Uplink) answerPackets(c net.Conn) {
	b := make([]byte, 4<<10)
	for {
		c.SetReadDeadline(time.Now().Add(askWithin))
		n, err := c.Read(b)
		if err != nil {
			return
		}
		u.sent.Add(uint64(n))
		if !u.out.AllowN(time.Now(), n) {
			continue // dropped, as any packet
		}
		a := u.answer(b[:n])
		if a == nil {
			continue
		}
		u.received.Add(uint64(len(a)))
		if _, err := c.Write(a); err != nil {
			return
		}
	}
}

// answerStream answers the questions of a TCP connection.
func (u *Uplink) answerStream(c net.Conn) {
	defer c.Close()
	var size [2]byte
	b := make([]byte, 4<<10)
	for {
		c.SetDeadline(time.Now().Add(2 * answerWithin))
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint16(size[:]))
		if n > len(b) {
			return
		}
		if _, err := io.ReadFull(c, b[:n]); err != nil {
			return
		}
		u.sent.Add(uint64(n))
		a := u.answer(b[:n])
		if a == nil || u.out.WaitN(u.ctx, n) != nil {
			return
		}
		u.received.Add(uint64(len(a)))
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...)); err != nil {
			return
		}
	}
}

// answer answers one question about a name's IPv4 addresses; nil when what came
// is no question. Other kinds of records exist as far as the instance can tell,
// and are empty.
func (u *Uplink) answer(question []byte) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(question)
	if err != nil || h.Response || h.OpCode != 0 {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return nil
	}
	code, addrs := u.resolve(q)
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{
		ID: h.ID, Response: true, RecursionDesired: h.RecursionDesired, RecursionAvailable: true, RCode: code,
	})
	b.EnableCompression()
	err = errors.Join(b.StartQuestions(), b.Question(q), b.StartAnswers())
	for _, a := range addrs {
		err = errors.Join(err, b.AResource(dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: ttl}, dnsmessage.AResource{A: a.As4()}))
	}
	reply, ferr := b.Finish()
	if errors.Join(err, ferr) != nil {
		return nil
	}
	return reply
}

func (u *Uplink) resolve(q dnsmessage.Question) (dnsmessage.RCode, []netip.Addr) {
	name := q.Name.String()
	if q.Class != dnsmessage.ClassINET || !u.c.Policy.Name(name) {
		return dnsmessage.RCodeRefused, nil
	}
	ctx, cancel := context.WithTimeout(u.ctx, answerWithin)
	defer cancel()
	found, err := u.c.Resolver.LookupNetIP(ctx, "ip4", name)
	var no *net.DNSError
	switch {
	case errors.As(err, &no) && no.IsNotFound:
		return dnsmessage.RCodeNameError, nil
	case err != nil:
		return dnsmessage.RCodeServerFailure, nil
	}
	var open []netip.Addr
	for _, a := range found {
		if a = a.Unmap(); egress.Public(a) && len(open) < maxAnswers {
			open = append(open, a)
		}
	}
	switch {
	case len(open) == 0: // a name of somebody's house doesn't exist here
		return dnsmessage.RCodeNameError, nil
	case q.Type != dnsmessage.TypeA:
		return dnsmessage.RCodeSuccess, nil
	}
	u.named.add(open, time.Now())
	return dnsmessage.RCodeSuccess, open
}
