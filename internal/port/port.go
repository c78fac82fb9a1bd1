// Package port finds TCP ports of this machine for programs that listen at them later. It
// keeps none: whoever is told of one may find it taken.
package port

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// What Free gives lies below the ports that systems give to outgoing connections and to
// whoever asks for any: nobody else gets one by chance while its program doesn't run.
const (
	low   = 12_000
	high  = 32_000
	tries = 100
)

// Free is a port of the loopback address, 127.0.0.1, at which nobody listens.
func Free() (port int, err error) {
	for range tries {
		port = low + rand.IntN(high-low)
		if err = Check("127.0.0.1:" + strconv.Itoa(port)); err == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("find a free port: %w", err)
}

// Check says why an address can't be listened at; nil where it can.
func Check(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return l.Close()
}
