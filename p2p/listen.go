package p2p

import (
	"errors"
	"net"
	"slices"
	"strings"
	"syscall"

	ma "github.com/multiformats/go-multiaddr"

	"hearth/core/fault"
)

// listensAt refuses to go on where another program has one of the wanted
// addresses: libp2p is content with any of them. One that this machine can't have
// at all, as of IPv6 where there is none, is passed over.
func listensAt(have []ma.Multiaddr, wanted []string) error {
	for _, want := range wanted {
		w, err := ma.NewMultiaddr(want)
		if err != nil {
			return fault.New(fault.BadRequest, "listen on %s: %w", want, err)
		}
		want = w.String() // as the others are spelled
		if slices.ContainsFunc(have, func(a ma.Multiaddr) bool { return fills(want, a.String()) }) {
			continue
		}
		if err := inUse(want); err != nil {
			return fault.New(fault.AddressTaken, "listen on %s: %w", want, err)
		}
	}
	return nil
}

// fills says whether an address is the one wanted, of which port 0 is any.
func fills(want, have string) bool {
	w, h := strings.Split(want, "/"), strings.Split(have, "/")
	if len(w) != len(h) {
		return false
	}
	for i := range w {
		anyPort := w[i] == "0" && (w[i-1] == "tcp" || w[i-1] == "udp")
		if w[i] != h[i] && !anyPort {
			return false
		}
	}
	return true
}

// inUse tries to listen on an address itself; nil: another program isn't why that fails.
func inUse(addr string) error {
	part := strings.Split(addr, "/") // "", ip4, ADDRESS, tcp, PORT, ...
	if len(part) < 5 {
		return nil
	}
	at := net.JoinHostPort(part[2], part[4])
	var l interface{ Close() error }
	var err error
	switch part[3] {
	case "tcp":
		l, err = net.Listen("tcp", at)
	case "udp":
		l, err = net.ListenPacket("udp", at)
	default:
		return nil
	}
	if err == nil {
		return l.Close()
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return err
	}
	return nil
}
