package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"hearth/core/fault"
	"hearth/internal/terminal"
)

// A command closes the door that it opened, and only that.
func TestADoorIsClosedByWhoOpenedIt(t *testing.T) {
	busy := fault.New(fault.Busy, "close door: it is busy")
	for name, c := range map[string]struct {
		opened     bool
		hint       string
		shut, want error
		said       string
	}{
		"opened":                       {true, "", nil, nil, "Ctrl-C closes the door.\n"},
		"opened, with a hint":          {true, "100% of it is `new`.", nil, nil, "100% of it is `new`. Ctrl-C closes the door.\n"},
		"open before":                  {false, "", nil, nil, "It was open already, by the settings, and stays open.\n"},
		"open before, with a hint":     {false, "It is old.", nil, nil, "It was open already, by the settings, and stays open. It is old.\n"},
		"opened, its node is gone":     {true, "", fault.New(fault.NotRunning, "no node"), nil, "Ctrl-C closes the door.\n"},
		"opened, and it doesn't close": {true, "", busy, busy, "Ctrl-C closes the door.\n"},
	} {
		out, err := os.Create(filepath.Join(t.TempDir(), "said"))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		term, err := terminal.New(terminal.Config{In: os.Stdin, Out: out, Err: out})
		if err != nil {
			t.Fatal(err)
		}
		ctx, end := context.WithCancel(t.Context())
		end()
		shuts := 0
		err = (&App{Term: term}).keepOpen(ctx, c.opened, c.hint, func(ctx context.Context) error {
			if shuts++; ctx.Err() != nil {
				t.Errorf("%s: no time to close it: %v", name, ctx.Err())
			}
			return c.shut
		})
		said, e := os.ReadFile(out.Name())
		if e != nil {
			t.Fatal(e)
		}
		if !errors.Is(err, c.want) || shuts != map[bool]int{true: 1}[c.opened] || string(said) != c.said {
			t.Errorf("%s: closed %d times, %v, said %q", name, shuts, err, said)
		}
	}
}
