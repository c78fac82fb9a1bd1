package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"hearth/core/fault"
	"hearth/internal/durable"
)

// How often a host's outcomes are checked, after BOINC's adaptive replication: at
// first all of them, then the rarer the more have proved right in a row.
const (
	trustAfter = 10   // right outcomes until which every one is checked
	leastCheck = 0.05 // of the outcomes of a host, however long it has been right
	selfCheck  = 0.01 // of all calls are run on this machine too
)

// A Liar is a host that has signed a wrong outcome. It is hired no more.
type Liar struct {
	Host     string    `json:"host"`
	At       time.Time `json:"at"`
	Function string    `json:"function"`
	Call     string    `json:"call"`   // digest, hex
	Signed   string    `json:"signed"` // what it has signed
	Right    string    `json:"right"`  // what came out on this machine
}

// trust is what this machine knows of hosts from checks of its own.
type trust struct {
	file string

	mu    sync.Mutex
	right map[string]int // in a row, since the start
	liars map[string]Liar
}

func openTrust(dir string) (*trust, error) {
	t := &trust{file: filepath.Join(dir, "liars.json"), right: map[string]int{}, liars: map[string]Liar{}}
	b, err := os.ReadFile(t.file)
	if errors.Is(err, os.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read liars: %w", err)
	}
	if err := json.Unmarshal(b, &t.liars); err != nil {
		return nil, fault.New(fault.DamagedFile, "read %s: %w", t.file, err)
	}
	return t, nil
}

// sample says whether an outcome of the host is to be checked on others.
func (t *trust) sample(host string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.right[host]
	return n < trustAfter || rand.Float64() < max(leastCheck, trustAfter/float64(n))
}

func (t *trust) wasRight(host string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.right[host]++
}

// lied remembers a liar for good.
func (t *trust) lied(l Liar) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.right, l.Host)
	if _, known := t.liars[l.Host]; known {
		return nil
	}
	t.liars[l.Host] = l
	b, err := json.MarshalIndent(t.liars, "", "  ")
	if err != nil {
		return fmt.Errorf("remember a liar: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(t.file), 0o700); err != nil {
		return fmt.Errorf("remember a liar: %w", err)
	}
	return durable.Write(t.file, b, 0o600)
}

func (t *trust) list() []Liar {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]Liar, 0, len(t.liars))
	for _, l := range t.liars {
		out = append(out, l)
	}
	return out
}

func (t *trust) hosts() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]string, 0, len(t.liars))
	for h := range t.liars {
		out = append(out, h)
	}
	return out
}
