package p2p

import (
	"net/netip"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/x/rate"
)

// Limits bound what peers can take of this machine. Whoever passes one is
// refused, the others go on. Memory is what libp2p reserves for receive windows;
// an idle connection costs about 50 KiB beside it.
type Limits struct {
	Conns          int   // libp2p connections in all; default 1024. Three quarters is the high mark, half the low one
	ConnsPerPeer   int   // default 8: two nodes that dial each other over TCP and QUIC need 4
	ConnsPerIP     int   // libp2p connections of one IPv4 address or IPv6 /56, loopback excepted; default 64
	Streams        int   // libp2p streams in all; default 8192
	StreamsPerPeer int   // default 256
	Memory         int64 // bytes in all; default 256 MiB
	MemoryPerPeer  int64 // default 32 MiB: two streams with a full window

	BulkConns        int // direct connections accepted; default 1024
	BulkConnsPerIP   int // of one IPv4 address or IPv6 /56; default 128
	BulkConnsPerPeer int // default 32
	BulkIdle         int // direct connections kept for another stream; default 128
	BulkIdlePerPeer  int // default 4
}

func (l *Limits) complete() {
	setDefault(&l.Conns, 1024)
	setDefault(&l.ConnsPerPeer, 8)
	setDefault(&l.ConnsPerIP, 64)
	setDefault(&l.Streams, 8192)
	setDefault(&l.StreamsPerPeer, 256)
	setDefault(&l.Memory, 256<<20)
	setDefault(&l.MemoryPerPeer, 32<<20)
	setDefault(&l.BulkConns, 1024)
	setDefault(&l.BulkConnsPerIP, 128)
	setDefault(&l.BulkConnsPerPeer, 32)
	setDefault(&l.BulkIdle, 128)
	setDefault(&l.BulkIdlePerPeer, 4)
}

// maxWindow is the largest receive window of a libp2p stream: 80 MB/s at 100 ms.
const maxWindow = 8 << 20

// A newcomer from one address may connect this often: enough for many nodes
// behind one NAT, too little to keep a core busy with handshakes.
const (
	connRate  = 4.0 // a second
	connBurst = 64
)

// newResources turns l into libp2p's resource manager. Nothing is left to its
// defaults, which depend on the machine's memory.
func newResources(l Limits, m *metrics) (network.ResourceManager, error) {
	of := func(conns, streams int, memory int64) rcmgr.ResourceLimits {
		c, s := rcmgr.LimitVal(conns), rcmgr.LimitVal(streams)
		return rcmgr.ResourceLimits{
			Conns: c, ConnsInbound: c, ConnsOutbound: c, FD: c,
			Streams: s, StreamsInbound: s, StreamsOutbound: s,
			Memory: rcmgr.LimitVal64(memory),
		}
	}
	limits := rcmgr.PartialLimitConfig{
		System:      of(l.Conns, l.Streams, l.Memory),
		Transient:   of(max(l.Conns/4, 1), max(l.Streams/4, 1), max(l.Memory/4, 1)), // not yet named: handshakes, negotiations
		PeerDefault: of(l.ConnsPerPeer, l.StreamsPerPeer, l.MemoryPerPeer),
		Conn:        of(1, l.StreamsPerPeer, l.MemoryPerPeer),
		Stream:      of(1, 1, l.MemoryPerPeer),
	}.Build(rcmgr.InfiniteLimits)
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits),
		rcmgr.WithMetricsDisabled(),
		rcmgr.WithMetrics(blocked{m}),
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: l.ConnsPerIP}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: l.ConnsPerIP}}),
		rcmgr.WithConnRateLimiters(&rate.Limiter{
			NetworkPrefixLimits: []rate.PrefixLimit{
				{Prefix: netip.MustParsePrefix("127.0.0.0/8")},
				{Prefix: netip.MustParsePrefix("::1/128")},
			},
			SubnetRateLimiter: rate.SubnetLimiter{
				IPv4SubnetLimits: []rate.SubnetLimit{{PrefixLength: 32, Limit: rate.Limit{RPS: connRate, Burst: connBurst}}},
				IPv6SubnetLimits: []rate.SubnetLimit{{PrefixLength: 56, Limit: rate.Limit{RPS: connRate, Burst: connBurst}}},
			},
		}))
}

// subnet is what counts as one address in the limits per IP.
func subnet(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 56
	}
	p, _ := a.Prefix(bits) // the zero Prefix for the zero Addr
	return p
}

// blocked counts the resource manager's refusals.
type blocked struct{ m *metrics }

func (b blocked) AllowConn(network.Direction, bool)      {}
func (b blocked) BlockConn(network.Direction, bool)      { b.m.refuse("connection") }
func (b blocked) AllowStream(peer.ID, network.Direction) {}
func (b blocked) BlockStream(peer.ID, network.Direction) { b.m.refuse("stream") }
func (b blocked) AllowPeer(peer.ID)                      {}
func (b blocked) BlockPeer(peer.ID)                      { b.m.refuse("connection") }
func (b blocked) AllowProtocol(protocol.ID)              {}
func (b blocked) BlockProtocol(protocol.ID)              { b.m.refuse("stream") }
func (b blocked) BlockProtocolPeer(protocol.ID, peer.ID) { b.m.refuse("stream") }
func (b blocked) AllowService(string)                    {}
func (b blocked) BlockService(string)                    { b.m.refuse("stream") }
func (b blocked) BlockServicePeer(string, peer.ID)       { b.m.refuse("stream") }
func (b blocked) AllowMemory(int)                        {}
func (b blocked) BlockMemory(int)                        { b.m.refuse("memory") }
