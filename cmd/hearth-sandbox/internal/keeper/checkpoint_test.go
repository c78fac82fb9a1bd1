//go:build linux && (amd64 || arm64)

package keeper

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"hearth/core/fault"
)

func TestACheckpointIsBounded(t *testing.T) {
	var out bytes.Buffer
	b := &bounded{&out, 10}
	for _, n := range []int{4, 6, 0} {
		if got, err := b.Write(make([]byte, n)); got != n || err != nil {
			t.Fatal(got, err)
		}
	}
	if n, err := b.Write([]byte{1}); n != 0 || err == nil || out.Len() != 10 {
		t.Fatal(n, err, out.Len())
	}
}

func TestWhyACheckpointCannotBe(t *testing.T) {
	for want, err := range map[fault.Code]error{
		fault.DiskFull:      fmt.Errorf("write: %w", &os.PathError{Op: "write", Err: unix.ENOSPC}),
		fault.BadCheckpoint: fmt.Errorf("start: %w", fault.New(fault.BadCheckpoint, "it is another's")),
		fault.SandboxFailed: errors.New("connection reset"),
	} {
		if got := codeOf(err); got != want {
			t.Errorf("%v is %s, not %s", err, got, want)
		}
	}
}

func TestANoteFitsOneInstanceAndOneVersion(t *testing.T) {
	mine := note{ID: "a", Sandbox: version()}
	for name, n := range map[string]note{"another's": {ID: "b", Sandbox: version()}, "an older one's": {ID: "a", Sandbox: "v0.0.0-1"}} {
		if n.fits("a") == nil {
			t.Errorf("%s fits", name)
		}
	}
	if err := mine.fits("a"); err != nil {
		t.Error(err)
	}
}
