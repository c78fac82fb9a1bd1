package p2p

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"
)

// serve accepts on every listener until they close.
func (b *bulk) serve() {
	for _, l := range b.listeners {
		b.node.start(func() { b.accept(l) })
	}
}

// accept takes connections from l. A shortage of descriptors passes: it waits
// a moment instead of giving up.
func (b *bulk) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			b.node.log.Warn("accept bulk connection", "err", err)
			select {
			case <-b.node.ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		from := addrSubnet(c.RemoteAddr())
		if !b.admit(c, from) {
			b.node.metrics.refuse("bulk connection")
			c.Close()
			continue
		}
		if !b.node.start(func() { b.host(c, from) }) {
			c.Close()
			b.dismiss(c, from)
		}
	}
}

func addrSubnet(a net.Addr) string {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return ""
	}
	return subnet(ap.Addr()).String()
}

// admit counts c against the limits of connections.
func (b *bulk) admit(c net.Conn, subnet string) bool {
	l := b.node.cfg.Limits
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || len(b.raw) >= l.BulkConns || !b.subnet.take(subnet, l.BulkConnsPerIP) {
		return false
	}
	b.raw[c] = struct{}{}
	return true
}

func (b *bulk) dismiss(c net.Conn, subnet string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.raw, c)
	b.subnet.put(subnet)
}

// host serves a connection: handshake, then one stream after another.
func (b *bulk) host(raw net.Conn, subnet string) {
	defer b.dismiss(raw, subnet)
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(handshakeTime))
	config, key := b.config("")
	d, err := b.secure(b.node.ctx, tls.Server(raw, config), key)
	if err != nil {
		b.node.metrics.refuse("handshake")
		b.node.log.Debug("refuse bulk connection", "from", raw.RemoteAddr(), "err", err)
		return
	}
	defer b.drop(d)
	who := string(d.key)
	b.mu.Lock()
	room := b.peer.take(who, b.node.cfg.Limits.BulkConnsPerPeer)
	b.mu.Unlock()
	if room {
		defer func() {
			b.mu.Lock()
			b.peer.put(who)
			b.mu.Unlock()
		}()
	}
	for b.hostStream(d, room) {
		d.renew()
		d.SetDeadline(time.Now().Add(idleAccepted))
	}
}

// hostStream serves d's next stream and reports whether another may follow.
func (b *bulk) hostStream(d *direct, room bool) bool {
	stop := context.AfterFunc(b.node.ctx, d.hangUp) // between streams there is nothing to finish
	protocol, err := d.asked()
	if !stop() || err != nil {
		return false
	}
	handle := b.node.handler(protocol)
	switch {
	case !room:
		b.node.metrics.refuse("bulk connection")
		_ = d.answer(answerBusy)
		return false
	case handle == nil:
		b.node.metrics.refuse("protocol")
		_ = d.answer(answerUnknown)
		return false
	}
	if err := d.answer(answerYes); err != nil {
		return false
	}
	d.SetDeadline(time.Time{})
	left := make(chan bool, 1)
	d.back = func(d *direct, good bool) {
		if !good {
			d.hangUp()
		}
		left <- good
	}
	m := b.node.metrics.paths[pathBulk]
	s := newStream(d, d.key, d.ip, m, m.in)
	ctx, cancel := context.WithCancel(b.node.ctx)
	handle(ctx, s)
	cancel()
	s.Close()
	return <-left
}
