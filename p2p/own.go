package p2p

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"net"

	"hearth/core/fault"
)

// OpenOwn opens a stream to one of this node's own handlers, which can't tell it
// from a peer's. Open doesn't: who asks the network for hosts shouldn't find itself.
func (n *Node) OpenOwn(protocol string) (Stream, error) {
	handle := n.handler(protocol)
	if handle == nil {
		return nil, fault.New(fault.HostRefused, "open %s to this node: not served here", protocol)
	}
	here, there := net.Pipe()
	served := n.start(func() {
		ctx, cancel := context.WithCancel(n.ctx)
		defer cancel()
		defer there.Close()
		handle(ctx, &own{there, n.Key()})
	})
	if !served {
		return nil, fmt.Errorf("open %s to this node: %w", protocol, net.ErrClosed)
	}
	return &own{here, n.Key()}, nil
}

// own is one end of a stream within a node. It goes by its address: streams are
// compared.
type own struct {
	net.Conn
	key ed25519.PublicKey
}

func (o *own) Remote() ed25519.PublicKey { return o.key }
func (*own) RemoteIP() string            { return "" }
