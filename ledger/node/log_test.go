package node

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"hearth/core/fault"
)

func TestAskingTooEarlyIsNoError(t *testing.T) {
	var out bytes.Buffer
	l := cometLog{slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})), new(atomic.Bool)}
	l.With("module", "rpc").Error("failed to LoadFinalizeBlockResponse", "err", "could not find results for height #7")
	l.Error("consensus failure")
	early, bad, _ := strings.Cut(out.String(), "\n")
	if !strings.Contains(early, "level=DEBUG") || !strings.Contains(bad, "level=ERROR") {
		t.Errorf("%s\n%s", early, bad)
	}
}

func TestAnAddressThatIsTakenHasACode(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = net.Listen("tcp", l.Addr().String())
	if got := fault.CodeOf(taken(fmt.Errorf("start: %w", err))); got != fault.AddressTaken {
		t.Errorf("%v: %s", err, got)
	}
	if got := fault.CodeOf(taken(errors.New("else"))); got == fault.AddressTaken {
		t.Error("everything is an address that is taken")
	}
}
