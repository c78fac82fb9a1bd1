package sandbox

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hearth/core/fault"
)

// What a self-test is called, and the folder of its files.
const (
	selftest      = "selftest-"
	selftestFiles = ".selftest-"
)

// sweep removes what self-tests that were cut off have left.
func (e *Engine) sweep(ctx context.Context) error {
	entries, err := os.ReadDir(e.c.Folder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		switch name := entry.Name(); {
		case strings.HasPrefix(name, selftest):
			err = e.Remove(ctx, name)
		case strings.HasPrefix(name, selftestFiles):
			err = os.RemoveAll(filepath.Join(e.c.Folder, name))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// try runs hearth-sandbox itself in a container with nothing else in it.
func (e *Engine) try(ctx context.Context) (s State, err error) {
	id, spec, done, err := e.testSpec()
	if err != nil {
		return State{}, err
	}
	defer func() { err = errors.Join(err, done(ctx)) }()
	if err := e.Start(ctx, id, spec); err != nil {
		return State{}, err
	}
	wait, cancel := context.WithTimeoutCause(ctx, startWithin, fault.New(fault.SandboxFailed, "a container that should print a line hasn't ended in %s", startWithin))
	defer cancel()
	s, err = e.Wait(wait, id)
	if wait.Err() != nil {
		err = context.Cause(wait)
	}
	if err == nil && (s.Exit != 0 || s.Reason != Exited) {
		said, _ := e.said(ctx, id)
		err = fmt.Errorf("a container that should print a line ended with %d (%s): %.200q", s.Exit, s.Reason, said)
	}
	return s, err
}

// testSpec is a container with nothing in it but hearth-sandbox, which is asked for a
// self-test. done removes it.
func (e *Engine) testSpec(args ...string) (id string, s Spec, done func(context.Context) error, err error) {
	id = selftest + strings.ToLower(rand.Text()[:8])
	root, err := os.MkdirTemp(e.c.Folder, selftestFiles)
	if err != nil {
		return "", Spec{}, nil, err
	}
	if err := os.Chmod(root, 0o755); err != nil {
		return "", Spec{}, nil, errors.Join(err, os.RemoveAll(root))
	}
	s = Spec{
		Rootfs: root, Args: append([]string{"/hearth-sandbox", "selftest"}, args...), Memory: testMemory,
		Mounts: []Mount{{Source: e.c.Program, Target: "/hearth-sandbox", ReadOnly: true}},
	}
	return id, s, func(ctx context.Context) error {
		return errors.Join(e.Remove(context.WithoutCancel(ctx), id), os.RemoveAll(root))
	}, nil
}

func (e *Engine) said(ctx context.Context, id string) ([]byte, error) {
	r, err := e.Logs(ctx, id, LogOptions{})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, 1<<10))
}

// proveCheckpoint suspends a container of the engine's own and has it go on, before the
// first that somebody needs again. Opening the engine would take twice as long with it;
// what was found is remembered as long as the engine.
func (e *Engine) proveCheckpoint(ctx context.Context) error {
	e.proving.Lock()
	defer e.proving.Unlock()
	if e.caps.checkpoint.Load() {
		return nil
	}
	begin := time.Now()
	if err := e.tryCheckpoint(ctx); err != nil {
		return fault.New(fault.NoContainers, "try whether instances can be suspended here: %w", err)
	}
	e.caps.checkpoint.Store(true)
	e.c.Log.Info("instances can be suspended", "tried", time.Since(begin).Round(time.Millisecond))
	return nil
}

// tryCheckpoint runs hearth-sandbox in a container that says something when it is told
// to end, and tells it so in its second life.
func (e *Engine) tryCheckpoint(ctx context.Context) (err error) {
	id, spec, done, err := e.testSpec("held")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done(ctx)) }()
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	if err := e.Start(ctx, id, spec); err != nil {
		return err
	}
	folder, err := e.folder(id)
	if err != nil {
		return err
	}
	if err := e.hears(ctx, id, "held"); err != nil {
		return err
	}
	key := make([]byte, 32)
	if _, err := e.checkpoint(ctx, folder, key); err != nil {
		return err
	}
	if err := e.Restore(ctx, id, spec, key); err != nil {
		return err
	}
	s, err := e.Stop(ctx, id, startWithin)
	if err != nil {
		return err
	}
	said, err := e.said(ctx, id)
	if err == nil && (s.Exit != 0 || !strings.HasSuffix(string(said), "a program runs here\n")) {
		err = fmt.Errorf("a container that should print a line after it was suspended ended with %d (%s): %.200q", s.Exit, s.Reason, said)
	}
	return err
}

// hears waits until an instance has written something.
func (e *Engine) hears(ctx context.Context, id, what string) error {
	r, err := e.Logs(ctx, id, LogOptions{Follow: true})
	if err != nil {
		return err
	}
	defer r.Close()
	var all []byte
	b := make([]byte, 1<<10)
	for !strings.Contains(string(all), what) && len(all) < len(b) {
		n, err := r.Read(b)
		all = append(all, b[:n]...)
		if err != nil {
			return fmt.Errorf("a container that should print %q has printed %.200q: %w", what, all, err)
		}
	}
	return nil
}
