package remote

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"hearth/core/fault"
	"hearth/storage/wire"
)

func TestHostsAreLeftAloneLongerEachTime(t *testing.T) {
	now := time.Unix(1000, 0)
	b := NewBook(func() time.Time { return now })
	fails := func(code fault.Code) { b.Failed("a", fault.New(code, "x")) }
	away := func() (d time.Duration) {
		start := now
		defer func() { now = start }()
		for {
			if _, avoid := b.Avoid("a"); !avoid {
				return now.Sub(start)
			}
			now = now.Add(time.Second)
		}
	}
	fails(fault.HostUnreachable)
	first := away()
	fails(fault.HostUnreachable) // one of several requests that were under way
	if d := away(); d != first {
		t.Errorf("failures together count as %v, one as %v", d, first)
	}
	now = now.Add(first)
	fails(fault.HostUnreachable)
	if d := away(); d <= first {
		t.Errorf("after the second failure %v, after the first %v", d, first)
	}
	b.Worked("a", time.Second, 1<<20)
	if d := away(); d != 0 {
		t.Errorf("it works again, and is left alone for %v", d)
	}
	fails(fault.HostFull)
	b.Worked("a", time.Second, 1<<20) // a read
	if class, avoid := b.Avoid("a"); !avoid || class != Full {
		t.Error("a host that can be read from has room again")
	}
	if !b.Quick("a", time.Second) {
		t.Error("a full host isn't read from")
	}
	b.Failed("b", context.Canceled)
	b.Failed("c", fault.New(fault.Busy, "x"))
	if got := b.Avoided(); len(got) != 1 || !got["a"] {
		t.Errorf("avoided: %v", got)
	}
	hosts := []string{"slow", "a", "c", "quick", "new"}
	b.Worked("slow", 10*time.Second, 1<<20)
	b.Worked("quick", time.Second/10, 1<<20)
	Sort(b, hosts, func(s string) string { return s })
	if hosts[0] != "new" || hosts[1] != "quick" || hosts[4] != "c" {
		t.Errorf("order %v", hosts)
	}
}

// A full disk of this machine's is no host's fault; a host's own is.
func TestOurFullDiskIsHeldAgainstNobody(t *testing.T) {
	b := NewBook(nil)
	ours := fmt.Errorf("put shard at a: %w", fault.New(fault.DiskFull, "write bargains: %w", &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}))
	b.Failed("a", ours)
	b.Failed("b", refusal(&wire.Response{Code: string(fault.DiskFull), Reason: "no space left on device"}))
	if got := Classify(ours); got != Own {
		t.Errorf("class %s", got)
	}
	if avoided := b.Avoided(); avoided["a"] || !avoided["b"] {
		t.Errorf("avoided: %v", avoided)
	}
}
