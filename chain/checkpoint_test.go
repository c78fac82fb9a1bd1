package chain

import (
	"strings"
	"testing"
	"time"

	"hearth/core/fault"
)

// What one node shows, another that slept too long begins from.
func TestACheckpointGoesFromNodeToNode(t *testing.T) {
	l := newLedger(t, 2, time.Now().Add(-40*24*time.Hour).UTC())
	l.step = 24 * time.Hour
	l.grow(38)
	a, b := l.serve(), l.serve()
	newest := l.blocks[len(l.blocks)-1]
	awake, err := tryDial(l, Config{Checkpoint: &Checkpoint{newest.Height, newest.Hash()}}, a, b)
	if err != nil {
		t.Fatal(err)
	}
	shown, err := awake.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = tryDial(l, Config{}, a, b)
	if fault.CodeOf(err) != fault.TrustExpired || !strings.Contains(err.Error(), "--trust HEIGHT:HASH") {
		t.Errorf("without one: %v", err)
	}
	read, err := ParseCheckpoint(shown.String())
	if err != nil {
		t.Fatal(err)
	}
	asleep, err := tryDial(l, Config{Checkpoint: read}, a, b)
	if err != nil {
		t.Fatal(err)
	}
	if h, _, err := asleep.Now(t.Context()); err != nil || h != newest.Height {
		t.Errorf("block %d, %v", h, err)
	}
}

func TestCheckpointsThatAreNone(t *testing.T) {
	if p, err := ParseCheckpoint(""); p != nil || err != nil {
		t.Error(p, err)
	}
	for _, text := range []string{"7", "7:", ":ab", "0:" + strings.Repeat("ab", 32), "-1:" + strings.Repeat("ab", 32), "7:" + strings.Repeat("ab", 31), "7:" + strings.Repeat("zz", 32)} {
		if _, err := ParseCheckpoint(text); fault.CodeOf(err) != fault.BadRequest {
			t.Errorf("%s: %v", text, err)
		}
	}
}
