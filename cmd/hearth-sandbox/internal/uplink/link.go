//go:build linux && (amd64 || arm64)

package uplink

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A link is a namespace with two ends of a wire in it: eth0, which the sandbox
// takes over, and one that this process alone listens on.
type link struct {
	ns       *os.File
	fd       int // of the socket on our end
	hardware net.HardwareAddr

	given  *os.File // the socket on the inner end, or nil
	theirs net.HardwareAddr
}

const (
	inside = Device
	ours   = "uplink"
)

// newLink makes the namespace on a thread that dies afterwards. Its inner end has an
// address that a sandbox takes over, or with give a socket for one that is given it.
func newLink(give bool) (*link, error) {
	type made struct {
		l   *link
		err error
	}
	done := make(chan made)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread stays in the namespace
		l, err := makeLink(give)
		done <- made{l, err}
	}()
	m := <-done
	return m.l, m.err
}

func makeLink(give bool) (l *link, err error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	l = &link{fd: -1}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
			l = nil
		}
	}()
	if l.ns, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return l, err
	}
	// An end with an address of IPv6 would talk to itself; it isn't needed for anything.
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = inside, mtu
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: ours}); err != nil {
		return l, fmt.Errorf("add a link: %w", err)
	}
	for _, name := range []string{"lo", ours, inside} {
		if err := up(name); err != nil {
			return l, fmt.Errorf("set up %s: %w", name, err)
		}
	}
	eth, err := netlink.LinkByName(inside)
	if err != nil {
		return l, err
	}
	if give {
		err = l.open(eth.Attrs())
	} else {
		err = address4(eth)
	}
	if err != nil {
		return l, err
	}
	end, err := netlink.LinkByName(ours)
	if err != nil {
		return l, err
	}
	l.hardware = end.Attrs().HardwareAddr
	return l, l.listen(end.Attrs().Index)
}

// address4 gives the inner end what a sandbox reads off it and takes over.
func address4(eth netlink.Link) error {
	net24 := &net.IPNet{IP: Instance.AsSlice(), Mask: net.CIDRMask(24, 32)}
	if err := netlink.AddrAdd(eth, &netlink.Addr{IPNet: net24}); err != nil {
		return fmt.Errorf("set the address: %w", err)
	}
	if err := netlink.RouteAdd(&netlink.Route{LinkIndex: eth.Attrs().Index, Gw: Gateway.AsSlice()}); err != nil {
		return fmt.Errorf("set the route: %w", err)
	}
	return nil
}

// open opens the socket on the inner end.
func (l *link) open(eth *netlink.LinkAttrs) error {
	fd, err := packets()
	if err != nil {
		return err
	}
	l.given, l.theirs = os.NewFile(uintptr(fd), inside), eth.HardwareAddr
	return bind(fd, eth.Index)
}

func up(name string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(l)
}

// listen opens the socket on our end; the namespace it was opened in is its own for good.
func (l *link) listen(index int) (err error) {
	if l.fd, err = packets(); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(l.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
		return fmt.Errorf("set the packet socket: %w", err)
	}
	return bind(l.fd, index)
}

// packets is a socket in this thread's namespace that hears nothing yet.
func packets() (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("open a packet socket: %w", err)
	}
	const room = 4 << 20
	for _, o := range [][2]int{{unix.SO_RCVBUF, unix.SO_RCVBUFFORCE}, {unix.SO_SNDBUF, unix.SO_SNDBUFFORCE}} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, o[1], room) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, o[0], room)
		}
	}
	return fd, nil
}

func bind(fd, index int) error {
	const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index}); err != nil {
		return fmt.Errorf("bind the packet socket: %w", err)
	}
	return nil
}

func (l *link) close() error {
	var err error
	if l.fd >= 0 {
		err = unix.Close(l.fd)
		l.fd = -1
	}
	if l.given != nil {
		err = errors.Join(err, l.given.Close())
		l.given = nil
	}
	if l.ns != nil {
		err = errors.Join(err, l.ns.Close())
		l.ns = nil
	}
	return err
}
