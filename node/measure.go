package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"hearth/api"
	"hearth/chain"
	"hearth/compute/measure"
	"hearth/core/fault"
	"hearth/core/machine"
	"hearth/internal/durable"
)

const (
	// measureAgain is how old a host's figures get.
	measureAgain = 7 * 24 * time.Hour
	// measureLook is how often that is looked at, and figures that another has measured.
	measureLook = time.Hour
	sharedLook  = 5 * time.Second

	figuresVersion = 1
)

// figuresAt is where a host's figures lie: in its folder, or where its settings say.
func figuresAt(dir string, s HostSettings) string {
	if s.Figures == "" {
		return filepath.Join(dir, "data", "machine.json")
	}
	if filepath.IsAbs(s.Figures) {
		return s.Figures
	}
	return filepath.Join(dir, s.Figures)
}

// keptFigures is the file. Figures of another machine, or of another disk, say nothing
// about this one.
type keptFigures struct {
	Version int             `json:"version"`
	Place   string          `json:"place"`
	Figures machine.Figures `json:"figures"`
}

// place names this machine and the folder of a file.
func place(file string) string {
	id, _ := os.ReadFile("/etc/machine-id") // where there is none, the folder has to do
	at, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		at = file
	}
	sum := sha256.Sum256(append(id, at...))
	return hex.EncodeToString(sum[:16])
}

// readFigures gives what was measured here before; fault.NotFound where nothing was.
func readFigures(file string) (machine.Figures, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return machine.Figures{}, fault.New(fault.NotFound, "read %s: this machine wasn't measured yet", file)
	}
	if err != nil {
		return machine.Figures{}, fmt.Errorf("read figures: %w", err)
	}
	var k keptFigures
	if err := json.Unmarshal(b, &k); err != nil || k.Version != figuresVersion || k.Place != place(file) {
		return machine.Figures{}, fault.New(fault.NotFound, "read %s: this machine wasn't measured yet", file)
	}
	return k.Figures, nil
}

func keepFigures(file string, f machine.Figures) error {
	b, err := json.MarshalIndent(keptFigures{figuresVersion, place(file), f}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("keep figures: %w", err)
	}
	return durable.Write(file, append(b, '\n'), 0o600)
}

// KeepFigures writes down what was measured for the host of a folder.
func KeepFigures(dir string, f machine.Figures) error {
	s, err := LoadSettings(dir)
	if err != nil {
		return err
	}
	return keepFigures(figuresAt(dir, s.Host), f)
}

// MeasureHere measures this machine and the disk on which a folder's data lies, or will.
func MeasureHere(ctx context.Context, dir string) (machine.Figures, error) {
	worker, err := functionWorker()
	if err != nil {
		return machine.Figures{}, err
	}
	return measure.Run(ctx, measure.Config{Dir: filepath.Join(dir, "data"), Program: worker, Memory: installed()})
}

// MeasureShared measures once for all hosts of a cloud on this machine, into the file
// that their settings name, unless that was done lately.
func MeasureShared(ctx context.Context, file string) error {
	f, err := readFigures(file)
	if err == nil && time.Since(time.Unix(f.Measured, 0)) < measureAgain {
		return nil
	}
	if f, err = MeasureHere(ctx, filepath.Dir(file)); err != nil {
		return err
	}
	return keepFigures(file, f)
}

// Least is what a network asks of a host. dir is a node's folder of that network, or
// empty.
func Least(ctx context.Context, dir string, s Settings, trust string) (machine.Least, error) {
	t, err := s.check()
	if err != nil {
		return machine.Least{}, err
	}
	from, err := chain.ParseCheckpoint(trust)
	if err != nil {
		return machine.Least{}, err
	}
	if dir != "" {
		dir = filepath.Join(dir, "data", "ledger")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return machine.Least{}, fmt.Errorf("open the ledger's window: %w", err)
		}
	}
	ledger, err := chain.Dial(ctx, chain.Config{Network: t.network, Dir: dir, Checkpoint: from})
	if err != nil {
		return machine.Least{}, err
	}
	defer ledger.Close()
	rules, err := ledger.HostRules(ctx)
	return rules.Least, err
}

// A class is what a host tells of its machine.
type class struct {
	n      *Node
	file   string
	shared bool // others measure, for this one too: a cloud on one machine

	one sync.Mutex // one measurement at a time

	mu      sync.Mutex
	figures machine.Figures
	known   bool
	signed  []byte
	looked  time.Time
	trouble error // why it couldn't be measured
}

// newClass takes up what was measured before, or measures. Hosts of a local cloud don't:
// they share one machine.
func newClass(ctx context.Context, n *Node) *class {
	c := &class{n: n, file: figuresAt(n.dir, n.settings.Host), shared: n.settings.Local}
	if c.read() || c.shared {
		return c
	}
	if _, err := c.measure(ctx); err != nil {
		n.log.Warn("this machine can't be measured; clients are told nothing of it", "err", err)
	}
	return c
}

// read takes the file's figures, if there are some.
func (c *class) read() bool {
	f, err := readFigures(c.file)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looked = time.Now()
	if err != nil {
		return false
	}
	c.take(f)
	return true
}

// take is called with the lock held.
func (c *class) take(f machine.Figures) {
	c.figures, c.known, c.trouble = f, true, nil
	c.signed = machine.Class{ChainID: c.n.ledger.ChainID(), Host: c.n.address(), Figures: f}.Sign(c.n.keys.Node()).Encode()
}

// measure measures anew and keeps that.
func (c *class) measure(ctx context.Context) (machine.Figures, error) {
	c.one.Lock()
	defer c.one.Unlock()
	dir := c.n.dir
	if c.shared {
		dir = filepath.Dir(c.file)
	}
	f, err := MeasureHere(ctx, dir)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.trouble = err
		return f, err
	}
	c.take(f)
	return f, keepFigures(c.file, f)
}

// got is the figures, if there are some.
func (c *class) got() (machine.Figures, bool) {
	c.mu.Lock()
	look := c.shared && time.Since(c.looked) > sharedLook
	c.mu.Unlock()
	if look {
		c.read()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.figures, c.known
}

// bytes is what clients are told; nil: nothing is known, or nobody would believe it.
func (c *class) bytes() []byte {
	f, ok := c.got()
	if !ok || time.Now().Unix()-f.Measured > machine.Lasts {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.signed
}

// admits refuses a machine that has less than the network asks for.
func (c *class) admits(least machine.Least) error {
	if least == (machine.Least{}) {
		return nil
	}
	f, ok := c.got()
	if !ok {
		c.mu.Lock()
		defer c.mu.Unlock()
		return fmt.Errorf("this machine wasn't measured: %w", c.trouble)
	}
	if short := least.Short(f); len(short) > 0 {
		return fault.New(fault.MachineTooWeak, "%s", machine.Told(short))
	}
	return nil
}

// run measures again when the figures are old.
func (c *class) run(ctx context.Context) {
	if c.shared {
		return
	}
	for first := true; ; first = false {
		f, ok := c.got()
		if !ok && !first || ok && time.Since(time.Unix(f.Measured, 0)) > measureAgain {
			if _, err := c.measure(ctx); err != nil && ctx.Err() == nil {
				c.n.log.Warn("measure this machine again", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(measureLook):
		}
	}
}

// shown is the class for people; nil: nothing is known.
func (c *class) shown() *api.Class {
	f, ok := c.got()
	if !ok {
		return nil
	}
	return ShowClass(f)
}

// ShowClass is figures as the API shows them.
func ShowClass(f machine.Figures) *api.Class {
	out := &api.Class{
		Core: f.Core, All: f.All, Cores: f.Cores, Memory: f.Memory, Copy: f.Copy,
		DiskWrite: f.DiskWrite, DiskRead: f.DiskRead, DiskFree: f.DiskFree, GPUs: []api.GPU{}, Measured: time.Unix(f.Measured, 0).UTC(),
	}
	for _, g := range f.GPUs {
		out.GPUs = append(out.GPUs, api.GPU(g))
	}
	return out
}

// Measure measures this host's machine again, and says what it lacks.
func (r hostRole) Measure(ctx context.Context) (api.Measured, error) {
	f, err := r.s.class.measure(ctx)
	if err != nil {
		return api.Measured{}, err
	}
	out := api.Measured{Class: *ShowClass(f), Short: []api.Shortfall{}}
	rules, err := r.s.n.ledger.HostRules(ctx)
	for _, s := range rules.Least.Short(f) {
		out.Short = append(out.Short, api.Shortfall(s))
	}
	return out, err
}
