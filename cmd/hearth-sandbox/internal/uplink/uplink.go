//go:build linux && (amd64 || arm64)

// Package uplink is the network of one instance: a network namespace with one
// link, whose other end is a network stack in this process. That stack takes
// every connection the instance makes, asks the policy, and makes it again from
// here with an ordinary socket. No rule of a firewall, no address on the host,
// no right is needed but that over the namespace, so root and everybody else
// use the same code.
package uplink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/fdbased"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"hearth/compute/sandbox/egress"
)

// The addresses inside, the same in every instance: namespaces keep them apart.
var (
	Gateway  = netip.MustParseAddr("10.87.0.1")
	Instance = netip.MustParseAddr("10.87.0.2")
)

// Limits of one instance.
const (
	maxFlows   = 256       // connections and UDP flows at once, each
	maxWindow  = 256 << 10 // of a connection each way: what waits is memory of the host
	maxNames   = 64        // flows of questions about names, beside them
	maxOpening = 64        // connections that are being made
	burst      = 256 << 10
	dialWithin = 15 * time.Second
	udpIdle    = 60 * time.Second
	nic        = tcpip.NICID(1)
	mtu        = MTU
)

// The instance's end of the wire.
const (
	Device = "eth0"
	MTU    = 32 << 10 // both ends are here, and TCP ends here
)

// A Config is what an Uplink needs.
type Config struct {
	Policy   egress.Policy
	Rate     uint64        // bytes a second each way; 0: no limit
	Resolver *net.Resolver // default net.DefaultResolver
	Give     bool          // the sandbox is given its end (Given), and takes none over
	Log      *slog.Logger  // default: discard
}

// An Uplink is the network of one instance.
type Uplink struct {
	c      Config
	ctx    context.Context
	cancel context.CancelFunc
	stack  *stack.Stack
	link   *link
	in     *rate.Limiter // to the instance
	out    *rate.Limiter
	tcp    chan struct{}
	udp    chan struct{}
	asking chan struct{} // about names, by UDP
	named  leases
	own    owner

	received, sent atomic.Uint64 // as the instance sees it
}

// New makes the namespace and the stack.
func New(c Config) (*Uplink, error) {
	if c.Resolver == nil {
		c.Resolver = net.DefaultResolver
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	l, err := newLink(c.Give)
	if err != nil {
		return nil, fmt.Errorf("make a network namespace: %w", err)
	}
	u := &Uplink{
		c: c, link: l, in: limiter(c.Rate), out: limiter(c.Rate),
		tcp: make(chan struct{}, maxFlows), udp: make(chan struct{}, maxFlows), asking: make(chan struct{}, maxNames),
	}
	if u.stack, err = newStack(l); err != nil {
		return nil, errors.Join(fmt.Errorf("make a network stack: %w", err), l.close())
	}
	u.ctx, u.cancel = context.WithCancel(context.Background())
	u.stack.SetTransportProtocolHandler(tcp.ProtocolNumber, tcp.NewForwarder(u.stack, 0, maxOpening, u.takeTCP).HandlePacket)
	u.stack.SetTransportProtocolHandler(udp.ProtocolNumber, udp.NewForwarder(u.stack, u.takeUDP).HandlePacket)
	return u, nil
}

// Namespace is the instance's network namespace; the Uplink owns the file.
func (u *Uplink) Namespace() *os.File { return u.link.ns }

// Given is the instance's end of the wire, with its address; the Uplink owns the file.
// Without Config.Give there is none.
func (u *Uplink) Given() (*os.File, net.HardwareAddr) { return u.link.given, u.link.theirs }

// Counts are the bytes the instance has received and sent.
func (u *Uplink) Counts() (in, out uint64) { return u.received.Load(), u.sent.Load() }

// Close ends all connections.
func (u *Uplink) Close() error {
	u.cancel()
	u.stack.Close()
	return u.link.close()
}

// Dial connects to a TCP port inside.
func (u *Uplink) Dial(ctx context.Context, port uint16) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	to := tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFrom4(Instance.As4()), Port: port}
	return gonet.DialContextTCP(ctx, u.stack, to, ipv4.ProtocolNumber)
}

// Join copies between a connection to the instance and another until both
// directions have ended, and closes them.
func (u *Uplink) Join(inside, outside net.Conn) {
	stop := context.AfterFunc(u.ctx, func() { inside.Close(); outside.Close() })
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { u.copy(inside, outside, u.in, &u.received) })
	u.copy(outside, inside, u.out, &u.sent)
	both.Wait()
	inside.Close()
	outside.Close()
}

// copy copies one direction and passes its end on. A direction that fails ends both.
func (u *Uplink) copy(to, from net.Conn, l *rate.Limiter, count *atomic.Uint64) {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if n > 0 {
			count.Add(uint64(n))
			if l.WaitN(u.ctx, n) != nil {
				break
			}
			if _, err := to.Write(b[:n]); err != nil {
				break
			}
		}
		if err != nil {
			if c, ok := to.(interface{ CloseWrite() error }); ok && c.CloseWrite() == nil {
				return
			}
			break
		}
	}
	to.Close()
	from.Close()
}

func limiter(bytes uint64) *rate.Limiter {
	if bytes == 0 {
		return rate.NewLimiter(rate.Inf, 0)
	}
	return rate.NewLimiter(rate.Limit(bytes), burst)
}

// newStack is a stack that answers at every address of l.
func newStack(l *link) (*stack.Stack, error) {
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
	})
	ep, err := fdbased.New(&fdbased.Options{
		FDs: []int{l.fd}, MTU: mtu, EthernetHeader: true, Address: tcpip.LinkAddress(l.hardware),
		PacketDispatchMode: fdbased.RecvMMsg, RXChecksumOffload: true, ProcessorsPerChannel: 1,
	})
	if err != nil {
		return nil, err
	}
	sack := tcpip.TCPSACKEnabled(true)
	window := tcpip.TCPReceiveBufferSizeRangeOption{Min: 4 << 10, Default: maxWindow / 2, Max: maxWindow}
	room := tcpip.TCPSendBufferSizeRangeOption{Min: 4 << 10, Default: maxWindow / 2, Max: maxWindow}
	for _, set := range []func() tcpip.Error{
		func() tcpip.Error { return s.SetTransportProtocolOption(tcp.ProtocolNumber, &sack) },
		func() tcpip.Error { return s.SetTransportProtocolOption(tcp.ProtocolNumber, &window) },
		func() tcpip.Error { return s.SetTransportProtocolOption(tcp.ProtocolNumber, &room) },
		func() tcpip.Error { return s.CreateNIC(nic, ep) },
		func() tcpip.Error {
			return s.AddProtocolAddress(nic, tcpip.ProtocolAddress{
				Protocol:          ipv4.ProtocolNumber,
				AddressWithPrefix: tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4(Gateway.As4()), PrefixLen: 24},
			}, stack.AddressProperties{})
		},
		func() tcpip.Error { return s.SetPromiscuousMode(nic, true) },
		func() tcpip.Error { return s.SetSpoofing(nic, true) },
	} {
		if err := set(); err != nil {
			s.Close()
			return nil, errors.New(err.String())
		}
	}
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}})
	return s, nil
}
