//go:build linux && (amd64 || arm64)

package uplink

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const portDNS = 53

// reach asks the policy about an address.
func (u *Uplink) reach(to netip.AddrPort) bool {
	own, err := u.own.addresses(time.Now())
	if err == nil {
		err = u.c.Policy.Reach(to, u.named.holds(to.Addr(), time.Now()), own)
	}
	if err != nil {
		u.c.Log.Debug("closed", "why", err)
	}
	return err == nil
}

// takeTCP answers a connection the instance opens. The forwarder gives it a
// goroutine of its own.
func (u *Uplink) takeTCP(r *tcp.ForwarderRequest) {
	to := target(r.ID())
	select {
	case u.tcp <- struct{}{}:
		defer func() { <-u.tcp }()
	default:
		r.Complete(true)
		return
	}
	names := to == netip.AddrPortFrom(Gateway, portDNS) && u.c.Policy.Names()
	if !names && !u.reach(to) {
		r.Complete(true)
		return
	}
	var outside net.Conn
	if !names {
		ctx, cancel := context.WithTimeout(u.ctx, dialWithin)
		var err error
		outside, err = new(net.Dialer).DialContext(ctx, "tcp", to.String())
		cancel()
		if err != nil {
			r.Complete(true)
			return
		}
	}
	var wq waiter.Queue
	ep, err := r.CreateEndpoint(&wq)
	r.Complete(err != nil)
	if err != nil {
		if outside != nil {
			outside.Close()
		}
		return
	}
	ep.SocketOptions().SetKeepAlive(true)
	inside := gonet.NewTCPConn(&wq, ep)
	if names {
		u.answerStream(inside)
		return
	}
	u.Join(inside, outside)
}

// takeUDP answers the first packet of a flow.
func (u *Uplink) takeUDP(r *udp.ForwarderRequest) bool {
	to := target(r.ID())
	names := to == netip.AddrPortFrom(Gateway, portDNS) && u.c.Policy.Names()
	if !names && !u.reach(to) {
		return false // port unreachable
	}
	places := u.udp
	if names {
		places = u.asking
	}
	select {
	case places <- struct{}{}:
	default:
		return true // dropped, as networks do
	}
	var wq waiter.Queue
	ep, err := r.CreateEndpoint(&wq)
	if err != nil {
		<-places
		return true
	}
	inside := gonet.NewUDPConn(&wq, ep)
	go func() {
		defer func() { <-places }()
		defer inside.Close()
		if names {
			u.answerPackets(inside)
			return
		}
		outside, err := new(net.Dialer).DialContext(u.ctx, "udp", to.String())
		if err != nil {
			return
		}
		u.joinPackets(inside, outside)
	}()
	return true
}

// joinPackets passes packets on until none has come for a while.
func (u *Uplink) joinPackets(inside, outside net.Conn) {
	stop := context.AfterFunc(u.ctx, func() { inside.Close(); outside.Close() })
	defer stop()
	idle := time.AfterFunc(udpIdle, func() { inside.Close(); outside.Close() })
	defer idle.Stop()
	pass := func(to io.Writer, from io.Reader, in bool) {
		defer inside.Close()
		defer outside.Close()
		b := make([]byte, 64<<10)
		for {
			n, err := from.Read(b)
			if err != nil {
				return
			}
			idle.Reset(udpIdle)
			l, count := u.out, &u.sent
			if in {
				l, count = u.in, &u.received
			}
			count.Add(uint64(n))
			if !l.AllowN(time.Now(), n) {
				continue // dropped: whoever uses UDP slows down by that
			}
			if _, err := to.Write(b[:n]); err != nil && u.ctx.Err() != nil {
				return
			}
		}
	}
	var both sync.WaitGroup
	both.Go(func() { pass(inside, outside, true) })
	pass(outside, inside, false)
	both.Wait()
}

func target(id stack.TransportEndpointID) netip.AddrPort {
	return netip.AddrPortFrom(address(id.LocalAddress), id.LocalPort)
}

func address(a tcpip.Address) netip.Addr {
	addr, _ := netip.AddrFromSlice(a.AsSlice())
	return addr.Unmap()
}

// An owner knows the host's own addresses, which may change while it runs.
type owner struct {
	mu    sync.Mutex
	until time.Time
	all   []netip.Addr
}

// addresses are the host's, as of a moment ago. Where they can't be known nothing
// may be reached: it may be the host itself.
func (o *owner) addresses(now time.Time) ([]netip.Addr, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now.Before(o.until) {
		return o.all, nil
	}
	found, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("learn this machine's addresses: %w", err)
	}
	o.all, o.until = nil, now.Add(5*time.Second)
	for _, a := range found {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			o.all = append(o.all, p.Addr().Unmap())
		}
	}
	return o.all, nil
}
