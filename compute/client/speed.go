package client

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"hearth/core/fault"
	"hearth/core/machine"
	"hearth/internal/durable"
)

// Every call tells how fast its host computes, and no host can tell which one is looked
// at: all are. What counts is the time from the request to the outcome, less the road.
const (
	// timedGas is what a call has used at least: with less, starting it is most of it.
	timedGas = 100_000_000
	// timedInput is what it was given at most: more is still on its way when all is sent.
	timedInput = 64 << 10
	// warmFor is how long a module is taken to be compiled after it has run.
	warmFor = time.Minute
	// enough is how many calls make a speed, and newest how many are remembered.
	enough, newest = 5, 16
	// speedLasts is how long a speed is believed that isn't measured again.
	speedLasts = 7 * 24 * time.Hour
	speedHosts = 1024 // are remembered, the last ones
	speedsEach = 8    // programs of each
	speedSave  = time.Minute
)

// A pace is how fast a program ran at a host, call by call.
type pace struct {
	Rates []uint64  `json:"rates"` // gas a second, the oldest first
	At    time.Time `json:"at"`    // of the newest
}

// speeds are what this machine has measured of hosts.
type speeds struct {
	file string

	mu    sync.Mutex
	hosts map[string]map[string]*pace // by the program's digest, hex
	saved time.Time
}

// openSpeeds reads what was measured before. A file that can't be read is no loss.
func openSpeeds(dir string) (*speeds, error) {
	s := &speeds{file: filepath.Join(dir, "speeds.json"), hosts: map[string]map[string]*pace{}}
	b, err := os.ReadFile(s.file)
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read speeds: %w", err)
	}
	if err := json.Unmarshal(b, &s.hosts); err != nil || s.hosts == nil {
		s.hosts = map[string]map[string]*pace{}
	}
	for host, programs := range s.hosts {
		for id, p := range programs {
			if _, err := program(id); err != nil || p == nil || len(p.Rates) > newest {
				delete(programs, id)
			}
		}
		if len(programs) == 0 {
			delete(s.hosts, host)
		}
	}
	return s, nil
}

func program(id string) (p machine.Program, err error) {
	b, err := hex.DecodeString(id)
	if err != nil || len(b) != len(p) {
		return p, fault.New(fault.DamagedFile, "%.80q isn't a digest", id)
	}
	return machine.Program(b), nil
}

// took remembers a call.
func (s *speeds) took(host string, module [32]byte, gas uint64, took time.Duration, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	programs := s.hosts[host]
	if programs == nil {
		programs = map[string]*pace{}
		s.hosts[host] = programs
	}
	id := hex.EncodeToString(module[:])
	p := programs[id]
	if p == nil {
		p = &pace{}
		programs[id] = p
	}
	p.Rates = append(p.Rates, uint64(float64(gas)/took.Seconds()))
	p.Rates = slices.Delete(p.Rates, 0, max(0, len(p.Rates)-newest))
	p.At = now
	newest := func(programs map[string]*pace) (at time.Time) {
		for _, p := range programs {
			if p.At.After(at) {
				at = p.At
			}
		}
		return at
	}
	leave(programs, speedsEach, func(p *pace) time.Time { return p.At })
	leave(s.hosts, speedHosts, newest)
	if now.Sub(s.saved) < speedSave {
		return nil
	}
	s.saved = now
	b, err := json.Marshal(s.hosts)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(s.file), 0o700); err != nil {
		return fmt.Errorf("remember speeds: %w", err)
	}
	return durable.Write(s.file, b, 0o600)
}

// leave forgets the one that was measured longest ago where there are too many.
func leave[T any](of map[string]T, most int, at func(T) time.Time) {
	if len(of) <= most {
		return
	}
	oldest, first := "", time.Time{}
	for name, x := range of {
		if oldest == "" || at(x).Before(first) {
			oldest, first = name, at(x)
		}
	}
	delete(of, oldest)
}

// Speeds are what was measured of hosts, in gas a second, by host and program: the
// median of the last calls, where there were enough of them lately.
func (x *Client) Speeds() map[string]map[machine.Program]uint64 {
	s, now := x.speeds, x.c.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]map[machine.Program]uint64{}
	for host, programs := range s.hosts {
		for id, p := range programs {
			digest, err := program(id)
			if err != nil || len(p.Rates) < enough || now.Sub(p.At) > speedLasts {
				continue
			}
			if out[host] == nil {
				out[host] = map[machine.Program]uint64{}
			}
			rates := slices.Sorted(slices.Values(p.Rates))
			out[host][digest] = rates[len(rates)/2]
		}
	}
	return out
}

// A tempo is what it takes to time a worker's host.
type tempo struct {
	mu   sync.Mutex
	away time.Duration          // the shortest round trip seen; 0: none was
	warm map[[32]byte]time.Time // modules that have run there, and when
}

// trip takes the time of a question that takes its host no time.
func (t *tempo) trip(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.away == 0 || d < t.away {
		t.away = max(d, 1)
	}
}

// ran says how long a call has kept its host busy, if that can be told.
func (t *tempo) ran(module [32]byte, d time.Duration, now time.Time) (took time.Duration, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	last, warm := t.warm[module]
	if t.warm == nil || len(t.warm) > 64 {
		t.warm = map[[32]byte]time.Time{}
	}
	t.warm[module] = now
	took = d - t.away
	return took, warm && now.Sub(last) < warmFor && t.away > 0 && took > 0
}

// timed takes the time of a call that a host has run.
func (w *worker) timed(module [32]byte, gas uint64, input int, d time.Duration) {
	now := w.x.c.Now()
	took, ok := w.tempo.ran(module, d, now)
	if !ok || gas < timedGas || input > timedInput {
		return
	}
	if err := w.x.speeds.took(w.pair.Host(), module, gas, took, now); err != nil {
		w.x.c.Log.Warn("a host's speed isn't remembered", "host", w.pair.Host(), "err", err)
	}
}
