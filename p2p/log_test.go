package p2p

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestErrorsOfLibp2pAreDebug(t *testing.T) {
	var out bytes.Buffer
	l := slog.New(quiet{slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})}).With("system", "fx")
	l.Error("start failed")
	l.Warn("something else")
	if s := out.String(); !strings.Contains(s, "level=DEBUG msg=\"start failed\" system=fx") || strings.Contains(s, "else") {
		t.Error(s)
	}
	out.Reset()
	l = slog.New(quiet{slog.NewTextHandler(&out, nil)})
	l.Error("start failed")
	if out.Len() > 0 {
		t.Error(out.String())
	}
}
