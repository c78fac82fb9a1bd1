package node

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hearth/compute/registry"
)

// diary is a log that is read while it is written.
type diary struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (p *diary) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.Write(b)
}

func (p *diary) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.String()
}

func TestTheDoorForImagesOpensWhenItsAddressIsFree(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	said := &diary{}
	n := &Node{log: slog.New(slog.NewTextHandler(said, nil))}
	n.settings.Images.Listen = taken.Addr().String()
	r, err := registry.New(registry.Config{Objects: imageObjects{}, Dir: filepath.Join(t.TempDir(), "uploads")})
	if err != nil {
		t.Fatal(err)
	}
	d := &imageDoor{n: n, images: r, password: strings.Repeat("x", 16), pause: time.Millisecond}
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); d.run(ctx) }()
	wait := func(what string, f func() bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !f(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %s", what, said)
			}
		}
	}
	var tries int
	wait("it isn't said that the address is taken", func() bool {
		state, err := imageRole{d}.Door(ctx)
		if err == nil && state.Problem != "" && !state.Open {
			tries++
		}
		return tries > 20
	})
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	wait("it isn't opened", func() bool {
		state, err := imageRole{d}.Door(ctx)
		return err == nil && state.Open && state.Problem == "" && state.Address == taken.Addr().String()
	})
	end()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("it didn't end")
	}
	if log := said.String(); strings.Count(log, "not open") != 1 || strings.Count(log, "door for images open") != 1 {
		t.Errorf("it says %s", log)
	}
}
