// Package sandbox runs containers: strangers' programs, each in a gVisor
// sandbox with a file system, a network and limits of its own.
//
// Every instance has a folder below the engine's, and a keeper: a process of the
// program hearth-sandbox that the engine starts and that outlives it. An engine
// holds nothing of an instance but its folder's name, so that a new one, after
// the node was restarted or killed, finds all instances as they are.
//
// An instance whose keeper lives but doesn't answer is Unreachable, and left
// alone. Nothing that the engine doesn't know is ever removed.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"hearth/compute/sandbox/logfile"
	"hearth/compute/sandbox/wire"
	"hearth/core/fault"
)

// A Spec is what an instance is to be. Its zero fields stand for what they say.
type Spec = wire.Spec

// A Mount shows a folder or file of the host inside an instance.
type Mount = wire.Mount

// A State is what is known of an instance.
type State = wire.State

// Usage is what an instance has used.
type Usage = wire.Usage

// An Exec is a further process in an instance.
type Exec = wire.Exec

// Egress says what an instance may reach.
type Egress = wire.Egress

// LogOptions say which part of a log is read.
type LogOptions = logfile.Options

// What an instance may reach.
const (
	EgressNone  = wire.EgressNone
	EgressAllow = wire.EgressAllow
	EgressOpen  = wire.EgressOpen
)

// Phases of an instance, and why it has ended.
const (
	Running     = wire.Running
	Paused      = wire.Paused
	Ended       = wire.Ended
	Unreachable = wire.Unreachable

	Exited      = wire.Exited
	Killed      = wire.Killed
	Stopped     = wire.Stopped
	OutOfMemory = wire.OutOfMemory
	TooMany     = wire.TooMany
	Lost        = wire.Lost

	Checkpointed = wire.Checkpointed // Restore goes on with it
)

// How long a keeper is waited for.
const (
	startWithin  = 60 * time.Second // a cold cache and a busy machine
	goOnWithin   = 10 * time.Minute // memory and files are read, twice
	goOnMiB      = 100 * time.Millisecond
	answerWithin = 15 * time.Second
	dialWithin   = 20 * time.Second
	stopWithin   = 60 * time.Second // beside its grace: the sandbox is taken down
	reapWithin   = 20 * time.Second // of a keeper that has told the end
	diesWithin   = 2 * time.Second  // of one that doesn't answer
	testMemory   = 128 << 20
)

// A Config is what an Engine needs.
type Config struct {
	Program string       // required: the path of hearth-sandbox
	Folder  string       // required: where instances have their folders; made when missing
	Group   string       // control group that all instances' are below; default hearth
	Log     *slog.Logger // default: discard
}

// Caps are what this machine lets an engine do.
type Caps struct {
	Root   bool   // sandboxes are other users than the node
	Cgroup string // "v1", "v2", or "" when limits are kept by watching

	// Checkpoint: one was suspended here and went on. It isn't tried before the first is.
	Checkpoint bool
}

// An Engine runs containers. It is safe for concurrent use.
type Engine struct {
	c       Config
	caps    caps
	proving sync.Mutex     // one at a time tries whether instances can be suspended
	keepers sync.WaitGroup // children to be reaped while this process lives
}

type caps struct {
	root       bool
	cgroup     string
	checkpoint atomic.Bool
}

// Open returns an engine once it has run a container; else it says why this
// machine can't (fault.NoContainers).
func Open(ctx context.Context, c Config) (*Engine, error) {
	if c.Program == "" || c.Folder == "" {
		return nil, errors.New("open the container engine: program and folder are required")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	var err error
	if c.Folder, err = filepath.Abs(c.Folder); err == nil {
		c.Program, err = filepath.Abs(c.Program)
	}
	if err == nil {
		err = os.MkdirAll(c.Folder, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("open the container engine: %w", err)
	}
	if strings.ContainsAny(c.Folder, ",:") {
		return nil, fault.New(fault.BadConfig, "open the container engine: folder %s: gVisor takes no comma and no colon", c.Folder)
	}
	if _, err := os.Stat(c.Program); err != nil {
		return nil, fault.New(fault.ProgramMissing, "open the container engine: %w", err)
	}
	e := &Engine{c: c, caps: caps{root: os.Geteuid() == 0}}
	if err := e.sweep(ctx); err != nil {
		return nil, fmt.Errorf("open the container engine: %w", err)
	}
	s, err := e.try(ctx)
	if err != nil {
		return nil, fault.New(fault.NoContainers, "open the container engine: %w", err)
	}
	e.caps.cgroup = s.Cgroup
	c.Log.Info("containers can run", "root", e.caps.root, "cgroup", e.caps.cgroup)
	return e, nil
}

// Caps are what was found when the engine was opened, and since.
func (e *Engine) Caps() Caps {
	return Caps{Root: e.caps.root, Cgroup: e.caps.cgroup, Checkpoint: e.caps.checkpoint.Load()}
}

// EndAll ends all that runs in an engine's folder. It is for who runs a whole network
// on one machine and leaves nothing behind.
func EndAll(ctx context.Context, folder string, grace time.Duration) error {
	if _, err := os.Stat(folder); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	e := &Engine{c: Config{Folder: folder, Log: slog.New(slog.DiscardHandler)}}
	all, err := e.List(ctx)
	if err != nil {
		return err
	}
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, s := range all {
		if s.Phase != Ended {
			wg.Go(func() { _, errs[i] = e.Stop(ctx, s.ID, grace) })
		}
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Close leaves all instances running.
func (e *Engine) Close() error { return nil }

var ids = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// folder is where an instance is.
func (e *Engine) folder(id string) (string, error) {
	if !ids.MatchString(id) {
		return "", fault.New(fault.BadRequest, "instance %.80q: an id has up to 63 of a-z, 0-9 and -", id)
	}
	return filepath.Join(e.c.Folder, id), nil
}

// Start starts an instance, and returns when its program has been started. An
// instance that has ended is started again under its id: what it wrote to its
// files is gone, as is what was kept of it when it was suspended; its log goes on.
// Its secrets and environment are handed over in memory and never reach a disk.
func (e *Engine) Start(ctx context.Context, id string, s Spec) error {
	folder, err := e.folder(id)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("start %s: %w", id, err)
	}
	if held(folder) {
		return fault.New(fault.AlreadyRunning, "start %s: it is running", id)
	}
	return e.launch(ctx, folder, wire.Launch{ID: id, Spec: s})
}

// State is what is known of an instance.
func (e *Engine) State(ctx context.Context, id string) (State, error) {
	folder, err := e.folder(id)
	if err != nil {
		return State{}, err
	}
	return e.look(ctx, folder)
}

// List is the state of all instances in the engine's folder, also of those that
// another engine has started.
func (e *Engine) List(ctx context.Context) ([]State, error) {
	entries, err := os.ReadDir(e.c.Folder)
	if err != nil {
		return nil, fmt.Errorf("list instances: %w", err)
	}
	var all []State
	for _, entry := range entries {
		if !entry.IsDir() || !ids.MatchString(entry.Name()) {
			continue
		}
		s, err := e.look(ctx, filepath.Join(e.c.Folder, entry.Name()))
		if fault.CodeOf(err) == fault.NotFound {
			continue // it never started
		}
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// look asks the keeper, or reads what it left.
func (e *Engine) look(ctx context.Context, folder string) (State, error) {
	for range 2 { // it may end between two looks
		if held(folder) {
			r, err := ask(ctx, folder, wire.Request{Op: wire.OpState})
			if err == nil {
				return *r.State, nil
			}
			if ctx.Err() != nil {
				return State{}, ctx.Err()
			}
			if held(folder) {
				s, serr := saved(folder)
				s.ID, s.Phase, s.Reason = filepath.Base(folder), Unreachable, ""
				level := slog.LevelWarn
				if fault.CodeOf(serr) == fault.NotFound {
					level = slog.LevelDebug // it is being started
				}
				e.c.Log.Log(ctx, level, "an instance's keeper doesn't answer", "id", s.ID, "err", errors.Join(err, serr))
				return s, nil
			}
			continue
		}
		s, err := saved(folder)
		if err != nil {
			return s, err
		}
		if s.Phase != Ended && !held(folder) {
			s.Phase, s.Reason, s.Exit = Ended, Lost, 255
			if suspended(folder) {
				s.Reason = Checkpointed
			}
		} else if s.Reason == Checkpointed && !suspended(folder) { // giving it up was cut off
			s.Reason = Stopped
		}
		return s, nil
	}
	return saved(folder)
}

// Wait returns when an instance has ended.
func (e *Engine) Wait(ctx context.Context, id string) (State, error) {
	return e.until(ctx, id, wire.Request{Op: wire.OpWait}, 0)
}

// Stop asks an instance's first process to end, ends it after grace, and
// returns its last state. One that has ended is left as it is, but what is kept of a
// suspended one is given up.
func (e *Engine) Stop(ctx context.Context, id string, grace time.Duration) (State, error) {
	if folder, err := e.folder(id); err == nil && !held(folder) && suspended(folder) {
		return e.giveUp(ctx, folder)
	}
	return e.until(ctx, id, wire.Request{Op: wire.OpStop, Grace: grace}, max(grace, 0)+stopWithin)
}

// until makes a request that is answered when the instance has ended. Where within
// isn't 0 it has that long.
func (e *Engine) until(ctx context.Context, id string, r wire.Request, within time.Duration) (State, error) {
	folder, err := e.folder(id)
	if err != nil {
		return State{}, err
	}
	if held(folder) {
		c, reply, err := open(ctx, folder, r, within)
		if err == nil {
			c.Close()
			if reply.State != nil {
				return *reply.State, gone(ctx, folder, reapWithin)
			}
		}
		if ctx.Err() != nil {
			return State{}, ctx.Err()
		}
		if gone(ctx, folder, diesWithin) != nil {
			return State{}, fault.New(fault.SandboxFailed, "%s %s: its keeper doesn't answer: %w", r.Op, id, err)
		}
	}
	return e.look(ctx, folder)
}

// gone waits until a keeper that is about to end has ended.
func gone(ctx context.Context, folder string, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for held(folder) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// Remove stops an instance and removes its folder with its log. It is no error
// when there is none; one whose keeper doesn't answer is left alone.
func (e *Engine) Remove(ctx context.Context, id string) error {
	folder, err := e.folder(id)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(folder); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if held(folder) {
		if _, err := e.Stop(ctx, id, 0); err != nil && fault.CodeOf(err) != fault.NotFound {
			return fmt.Errorf("remove %s: %w", id, err)
		}
		if held(folder) {
			return fault.New(fault.SandboxFailed, "remove %s: its keeper lives on", id)
		}
	}
	if err := os.RemoveAll(folder); err != nil {
		return fmt.Errorf("remove %s: %w", id, err)
	}
	return nil
}

// Stats is what an instance has used since its start.
func (e *Engine) Stats(ctx context.Context, id string) (Usage, error) {
	r, err := e.request(ctx, id, wire.Request{Op: wire.OpStats})
	if err != nil {
		return Usage{}, err
	}
	return *r.Usage, nil
}

// Pause holds an instance: it keeps its memory and computes nothing.
func (e *Engine) Pause(ctx context.Context, id string) error {
	_, err := e.request(ctx, id, wire.Request{Op: wire.OpPause})
	return err
}

// Resume lets it go on.
func (e *Engine) Resume(ctx context.Context, id string) error {
	_, err := e.request(ctx, id, wire.Request{Op: wire.OpResume})
	return err
}

// Logs reads what an instance has written to standard output and error, from
// what is kept of it: at least the last 8 MiB, at most 16. With Follow it ends
// when the instance has ended, or ctx. The reader is a *logfile.Reader, whose
// Offset says where to go on.
func (e *Engine) Logs(ctx context.Context, id string, o LogOptions) (*logfile.Reader, error) {
	folder, err := e.folder(id)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(folder); err != nil {
		return nil, fault.New(fault.NotFound, "read the log of %s: %w", id, err)
	}
	r, err := logfile.Open(ctx, filepath.Join(folder, wire.LogFolder), o, func() bool { return held(folder) })
	if err != nil {
		return nil, fmt.Errorf("read the log of %s: %w", id, err)
	}
	return r, nil
}
