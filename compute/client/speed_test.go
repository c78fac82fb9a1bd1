package client

import (
	"crypto/sha256"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"hearth/compute/wire"
	"hearth/core/call"
	"hearth/core/machine"
)

// A call's time is the host's, less the road there; the first call, which compiles, and
// small ones say nothing.
func TestEveryCallTellsHowFastItsHostComputes(t *testing.T) {
	for _, tt := range []struct {
		name  string
		gas   uint64
		calls int
		input int
		want  uint64 // gas a second; 0: not known
	}{
		{"several calls", 1_000_000_000, 6, 0, 2_000_000_000},
		{"one fewer than are enough", 1_000_000_000, 5, 0, 0},
		{"calls that are too small", timedGas - 1, 10, 0, 0},
		{"calls with much input", 1_000_000_000, 10, timedInput + 1, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newTown(t, 1)
			x := w.client()
			h := w.hosts[0]
			h.twist = func(o *call.Outcome) { o.Gas = tt.gas }
			took := 30 * time.Second // to compile
			h.during = func() { time.Sleep(took) }
			h.instead = func(net.Conn, *wire.Request) bool { time.Sleep(200 * time.Millisecond); return false } // the road
			for range tt.calls {
				if _, err := x.Invoke(t.Context(), "f", Wish{Input: make([]byte, tt.input)}); err != nil {
					t.Fatal(err)
				}
				took = 500 * time.Millisecond
			}
			f := machine.Program(sha256.Sum256(module(1)))
			if got := x.Speeds()[h.Host()][f]; got != tt.want {
				t.Errorf("%s: %d gas a second, want %d", tt.name, got, tt.want)
			}
		})
	}
}

func TestAHostThatHasRestedCompilesAgainAndThatIsNotHeldAgainstIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, 1)
		x := w.client()
		h := w.hosts[0]
		h.twist = func(o *call.Outcome) { o.Gas = 1_000_000_000 }
		h.during = func() { time.Sleep(time.Second) }
		for range 20 {
			if _, err := x.Invoke(t.Context(), "f", Wish{Input: []byte("x")}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(warmFor)
		}
		if got := x.Speeds(); len(got) != 0 {
			t.Errorf("%v", got)
		}
	})
}

func TestSpeedsAreRememberedForAWhile(t *testing.T) {
	dir, now := t.TempDir(), time.Unix(1_800_000_000, 0)
	open := func() *Client {
		s, err := openSpeeds(dir)
		if err != nil {
			t.Fatal(err)
		}
		return &Client{c: Config{Now: func() time.Time { return now }}, speeds: s}
	}
	x := open()
	a, b := [32]byte{1}, [32]byte{2}
	for i, rate := range []uint64{9, 1, 5, 100, 4, 6} {
		now = now.Add(speedSave)
		for _, m := range [][32]byte{a, b} {
			if err := x.speeds.took("host", m, rate*(1+uint64(m[0]-1)*9), time.Second, now); err != nil {
				t.Fatal(i, err)
			}
		}
	}
	now = now.Add(speedSave)
	if err := x.speeds.took("other", a, 7, time.Second, now); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		got := x.Speeds()
		if len(got) != 1 || got["host"][a] != 6 || got["host"][b] != 60 {
			t.Errorf("%v", got)
		}
		x = open()
	}
	now = now.Add(speedLasts + time.Second)
	if got := x.Speeds(); len(got) != 0 {
		t.Errorf("a week later: %v", got)
	}
	for _, text := range []string{"{", "null", `{"host":{"zz":{"rates":[1]},"":null}}`, `[]`} {
		if err := os.WriteFile(filepath.Join(dir, "speeds.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		x = open()
		if got := x.Speeds(); len(got) != 0 || len(x.speeds.hosts) != 0 {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestNotMoreSpeedsAreRememberedThanAreOfUse(t *testing.T) {
	s, err := openSpeeds(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	s.saved = now.Add(time.Hour) // the disk isn't meant
	for i := range speedHosts + 10 {
		now = now.Add(time.Millisecond)
		if err := s.took(fmt.Sprint(i), [32]byte{1}, 1, time.Second, now); err != nil {
			t.Fatal(err)
		}
	}
	for i := range byte(20) {
		for range newest + 5 {
			now = now.Add(time.Millisecond)
			if err := s.took("same", [32]byte{i}, 1, time.Second, now); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(s.hosts) != speedHosts || len(s.hosts["same"]) != speedsEach || s.hosts["0"] != nil {
		t.Errorf("%d hosts, %d programs", len(s.hosts), len(s.hosts["same"]))
	}
	for id, p := range s.hosts["same"] {
		if len(p.Rates) != newest {
			t.Errorf("%s: %d calls", id, len(p.Rates))
		}
	}
}
