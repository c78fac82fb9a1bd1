package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hearth/compute/sandbox/wire"
	"hearth/core/fault"
)

// launch starts a keeper in a session of its own, and returns when the instance
// runs or doesn't.
func (e *Engine) launch(ctx context.Context, folder string, l wire.Launch) error {
	l.Group = e.c.Group
	within := startWithin
	if l.Restore != nil {
		within = goOnWithin
		if info, err := os.Stat(filepath.Join(folder, wire.Checkpoint)); err == nil {
			within += time.Duration(info.Size()>>20) * goOnMiB
		}
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	said, err := os.OpenFile(filepath.Join(folder, wire.KeeperLog), os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", l.ID, err)
	}
	defer said.Close()
	cmd := exec.Command(e.c.Program, "keep", folder)
	cmd.Args[0] = "hearth-sandbox" // its name decides what it does
	cmd.Dir, cmd.Env, cmd.Stderr = "/", keeperEnv(), said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: syscall.CLONE_NEWNS}
	if !e.caps.root {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("start %s: %w", l.ID, err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return errors.Join(fmt.Errorf("start %s: %w", l.ID, err), in.Close())
	}
	if err := cmd.Start(); err != nil {
		return fault.New(fault.NoContainers, "start %s: start its keeper%s: %w", l.ID, e.hint(err), err)
	}
	// A keeper that has ended is waited for, so that none stays behind as a shell of itself.
	ready := make(chan error, 1)
	e.keepers.Go(func() {
		s, answered, err := e.hand(in, out, l)
		if err == nil && l.Restore != nil && !s.Restored {
			// An older program knows of no checkpoint, and has begun anew.
			err = errors.Join(fault.New(fault.BadCheckpoint, "go on with %s: %s is too old for it", l.ID, e.c.Program), cmd.Process.Kill())
		}
		if err == nil {
			ready <- nil
		}
		if werr := cmd.Wait(); werr != nil {
			e.c.Log.Debug("a keeper has ended", "id", l.ID, "err", werr)
		}
		if !answered {
			err = fault.New(fault.NoContainers, "start %s: its keeper ended: %w%s", l.ID, err, lastWords(folder))
		}
		if err != nil {
			ready <- err // when nothing is left of it
		}
	})
	select {
	case err := <-ready:
		return err
	case <-ctx.Done():
		select {
		case err := <-ready: // at the same time
			return err
		default:
		}
		return errors.Join(fmt.Errorf("start %s: %w", l.ID, ctx.Err()), cmd.Process.Kill())
	}
}

// hand gives a keeper its instance, and says what it says to that, if it answers.
func (e *Engine) hand(in io.WriteCloser, out io.Reader, l wire.Launch) (s State, answered bool, err error) {
	err = wire.WriteMessage(in, l)
	err = errors.Join(err, in.Close())
	var r wire.Reply
	if rerr := wire.ReadMessage(out, &r); rerr != nil {
		return s, false, errors.Join(err, rerr)
	}
	if r.Error != "" {
		return s, true, fault.New(known(r.Code), "%s", r.Error)
	}
	if r.State != nil {
		s = *r.State
	}
	return s, true, nil
}

// lastWords are what a keeper wrote before it ended.
func lastWords(folder string) string {
	text, err := os.ReadFile(filepath.Join(folder, wire.KeeperLog))
	if err != nil || len(text) == 0 {
		return ""
	}
	return fmt.Sprintf(": %.300q", text)
}

// hint is what most likely keeps a process from namespaces of its own.
func (e *Engine) hint(err error) string {
	switch {
	case e.caps.root || !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EACCES):
		return ""
	default:
		return " (this kernel lets no ordinary user make namespaces: see user.max_user_namespaces, kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns)"
	}
}

// keeperEnv is what a keeper needs of the node's environment: how names are resolved.
func keeperEnv() []string {
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	for _, name := range []string{"LOCALDOMAIN", "RES_OPTIONS"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// held says whether a keeper lives in folder. It looks at the lock without taking it.
func held(folder string) bool {
	f, err := os.OpenFile(filepath.Join(folder, wire.LockFile), os.O_RDWR, 0)
	if err != nil {
		return false // there was never one
	}
	defer f.Close()
	l := unix.Flock_t{Type: unix.F_WRLCK}
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &l) == nil && l.Type != unix.F_UNLCK
}

// dial connects to the keeper. The path of its socket may be longer than a
// socket's name may be.
func dial(ctx context.Context, folder string) (net.Conn, error) {
	dir, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return new(net.Dialer).DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), wire.Socket))
}
