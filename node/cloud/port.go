package cloud

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports that are kept in a file lie below those that systems give to outgoing
// connections: nobody else gets one by chance while its program doesn't run.
const (
	lowPort  = 12_000
	highPort = 32_000
	tries    = 100
)

func freePort() (port int, err error) {
	for range tries {
		port = lowPort + rand.IntN(highPort-lowPort)
		if err = free("127.0.0.1:" + strconv.Itoa(port)); err == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("find a free port: %w", err)
}

// free says whether an address can be listened at.
func free(at string) error {
	l, err := net.Listen("tcp", at)
	if err != nil {
		return err
	}
	return l.Close()
}

// freeDoor is the usual place of a door, or another where that is taken.
func freeDoor(usual string) string {
	if free(usual) == nil {
		return usual
	}
	port, err := freePort()
	if err != nil {
		return ""
	}
	return "127.0.0.1:" + strconv.Itoa(port)
}
