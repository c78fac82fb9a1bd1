package port

import (
	"net"
	"strconv"
	"testing"
)

func TestAFreePortCanBeListenedAtAndATakenOneIsNone(t *testing.T) {
	n, err := Free()
	if err != nil || n < low || n >= high {
		t.Fatal(n, err)
	}
	address := "127.0.0.1:" + strconv.Itoa(n)
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if Check(address) == nil {
		t.Error("a port at which somebody listens is called free")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Check(address); err != nil {
		t.Error(err)
	}
}
