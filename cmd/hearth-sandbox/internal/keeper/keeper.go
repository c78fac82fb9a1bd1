//go:build linux && (amd64 || arm64)

// Package keeper runs one instance. It is a process of its own, in a session of
// its own, so that instance and log go on when the node ends: it makes the
// namespaces, drives gVisor's runsc, writes the log and the state into the
// instance's folder, and answers on a socket there.
package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/runsc/container"
	"gvisor.dev/gvisor/runsc/sandbox"

	"hearth/cmd/hearth-sandbox/internal/uplink"
	"hearth/compute/sandbox/logfile"
	"hearth/compute/sandbox/wire"
	"hearth/compute/throttle"
	"hearth/core/fault"
	"hearth/internal/durable"
)

// The process of a keeper belongs to one keeper: what follows holds state of
// the process itself, as its standard files.

const (
	drainWithin = 5 * time.Second  // for the end of the output when its writers are gone
	saveTries   = 600              // of writing how it ended, a second apart
	lastGrace   = 10 * time.Second // for an instance whose keeper is told to end, as when the machine goes down
)

type keeper struct {
	folder  string // absolute
	private string // in it, in memory only
	runsc   *os.File
	root    bool
	launch  wire.Launch
	cgroup  cgroup
	net     *uplink.Uplink
	bundle  *bundle
	held    *held // what it goes on from; nil: it begins
	log     *slog.Logger

	container *container.Container // who asks goes by what follows: this one forgets it at the end
	sandbox   *sandbox.Sandbox
	process   *os.Process   // the sandbox's, held: its number may be another's one day
	logged    chan struct{} // closed when all of its output is in the log
	ended     chan struct{} // closed when state says how it ended

	holding sync.Mutex // one change between running and paused at a time; never with mu

	calls sync.Mutex // of the container that change it: its own lock keeps out only other processes
	down  bool       // it is being taken down; guarded by calls

	mu     sync.Mutex // never held while the sandbox is asked: it may not answer
	state  wire.State
	ending string // why it is being ended; the first reason counts

	requests sync.WaitGroup
}

// name is the instance's in its sandbox.
const name = "instance"

// Run starts the instance that a Launch on in describes, says on ready whether
// that worked, and returns when the instance has ended and its state is written.
func Run(folder string, in io.Reader, ready io.WriteCloser, log *slog.Logger) error {
	// The kernel ends the sandbox when the thread that started it ends.
	runtime.LockOSThread()
	k := &keeper{folder: folder, root: inInitialUserNamespace(), log: log, logged: make(chan struct{}), ended: make(chan struct{})}
	// Whoever started it may be gone before it says that it runs.
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
	serve, err := k.start(in)
	s := k.now()
	reply := wire.Reply{State: &s}
	if err != nil {
		reply = wire.Reply{Code: string(fault.CodeOf(err)), Error: err.Error()}
	}
	if werr := errors.Join(wire.WriteMessage(ready, reply), ready.Close()); werr != nil {
		log.Warn("nobody waits for the start", "err", werr)
	}
	if err != nil {
		k.clean()
		return err
	}
	defer serve.Close()
	told := make(chan os.Signal, 1)
	signal.Notify(told, unix.SIGTERM)
	go func() {
		<-told
		k.stop(lastGrace)
	}()
	return k.attend()
}

// start does everything until the instance runs.
func (k *keeper) start(in io.Reader) (net.Listener, error) {
	// What a keeper is told never reaches a disk, not even when it crashes.
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return nil, fmt.Errorf("forbid core files: %w", err)
	}
	if err := wire.ReadMessage(in, &k.launch); err != nil {
		return nil, fault.New(fault.BadRequest, "read what to start: %w", err)
	}
	if err := k.lock(); err != nil {
		return nil, err
	}
	if err := k.tidy(); err != nil {
		return nil, err
	}
	if r := k.launch.Restore; r != nil {
		if err := k.openCheckpoint(r.Key); err != nil {
			return nil, fault.New(fault.CodeOf(err), "go on with %s from its checkpoint: %w", k.launch.ID, err)
		}
		defer k.held.file.Close()
	}
	policy, err := check(&k.launch.Spec)
	if err != nil {
		return nil, fault.New(fault.BadRequest, "start %s: %w", k.launch.ID, err)
	}
	if err := k.prepare(); err != nil {
		return nil, fault.New(fault.NoContainers, "start %s: %w", k.launch.ID, err)
	}
	if k.net, err = uplink.New(uplink.Config{Policy: policy, Rate: k.launch.Spec.Rate, Give: k.held != nil, Log: k.log}); err != nil {
		return nil, fault.New(fault.NoContainers, "start %s: %w", k.launch.ID, err)
	}
	if k.bundle, err = k.write(k.net); err != nil {
		return nil, fmt.Errorf("start %s: %w", k.launch.ID, err)
	}
	if err := k.boot(); err != nil {
		if why := unloadable(err); why != "" {
			return nil, fault.New(fault.BadRequest, "start %s: %s", k.launch.ID, why)
		}
		return nil, fault.New(codeOf(err), "start %s: %w", k.launch.ID, err)
	}
	k.state = wire.State{
		ID: k.launch.ID, Phase: wire.Running, Keeper: os.Getpid(), Started: time.Now().UTC(), Cgroup: k.cgroup.version,
		Restored: k.held != nil,
	}
	if err := k.save(k.state); err != nil {
		return nil, err
	}
	if err := k.spend(); err != nil {
		return nil, err
	}
	drop(k.log)
	debug.FreeOSMemory() // what starting took isn't needed again
	return k.listen()
}

// lock takes the folder for as long as this process lives.
func (k *keeper) lock() error {
	fd, err := unix.Open(filepath.Join(k.folder, wire.LockFile), unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	// A lock of the open file, which others can see without taking it.
	if err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		return fault.New(fault.AlreadyRunning, "start %s: another keeper has it: %w", k.launch.ID, err)
	}
	return nil // the descriptor stays open until the process ends
}

// first is the oom_score_adj of a keeper and all it starts, at least: they go before
// the node when the machine's memory is used up (proc_pid_oom_score_adj(5)).
const first = 500

// goFirst makes it so. It is inherited: to set it for what runs already takes rights
// over it, which it has given away by then.
func goFirst() error {
	const path = "/proc/self/oom_score_adj"
	now, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if n, err := strconv.Atoi(strings.TrimSpace(string(now))); err == nil && n >= first {
		return nil
	}
	return os.WriteFile(path, []byte(strconv.Itoa(first)), 0)
}

// prepare makes what an instance needs outside its sandbox.
func (k *keeper) prepare() error {
	if err := goFirst(); err != nil {
		return fmt.Errorf("go before the node when memory is used up: %w", err)
	}
	if k.root {
		k.cgroup = findCgroup(throttle.Mount, k.launch.Group, k.launch.ID)
	}
	if k.cgroup.version == "" {
		if err := pin(k.launch.Spec.CPU); err != nil {
			return fmt.Errorf("pin to CPUs: %w", err)
		}
	}
	k.private = filepath.Join(k.folder, wire.Private)
	for _, dir := range []string{k.private, filepath.Join(k.folder, wire.Disk)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	err := mountPrivate(k.private)
	if err != nil && !k.root {
		err = fmt.Errorf("%w (does AppArmor forbid it? see kernel.apparmor_restrict_unprivileged_userns)", err)
	}
	return err
}

// boot starts runsc, whose standard files are taken from this process's variables.
func (k *keeper) boot() error {
	in, nothing, err := os.Pipe()
	if err != nil {
		return err
	}
	nothing.Close() // the instance's standard input has ended
	out, end, err := os.Pipe()
	if err != nil {
		return err
	}
	logs, err := logfile.Append(filepath.Join(k.folder, wire.LogFolder))
	if err != nil {
		return err
	}
	stdin, stdout, stderr := os.Stdin, os.Stdout, os.Stderr
	os.Stdin, os.Stdout, os.Stderr = in, end, end
	k.container, err = container.New(k.bundle.conf, container.Args{
		ID: name, Spec: k.bundle.spec, BundleDir: k.bundle.dir, Attached: true,
	})
	os.Stdin, os.Stdout, os.Stderr = stdin, stdout, stderr
	in.Close()
	end.Close()
	if err == nil {
		k.sandbox = k.container.Sandbox
		k.process, err = hold(k.container.SandboxPid())
	}
	if err == nil && k.held != nil {
		err = k.restore()
	} else if err == nil {
		err = k.container.Start(k.bundle.conf)
	}
	if err != nil {
		out.Close()
		return errors.Join(err, logs.Close())
	}
	go k.pump(logs, out)
	return nil
}

// unloadable is what is wrong with the program that is to run, if that is why the sandbox
// didn't start: it tells its errors as text.
func unloadable(err error) string {
	for _, says := range []string{"error finding executable ", "creating process: failed to load "} {
		if _, why, found := strings.Cut(err.Error(), says); found {
			return strings.TrimPrefix(says, "creating process: ") + why
		}
	}
	return ""
}

// pump writes what the instance writes. It never stops reading, whatever
// becomes of the disk: a log may lack something, an instance never waits for it.
func (k *keeper) pump(logs *logfile.Writer, out *os.File) {
	b := make([]byte, 64<<10)
	broken := false
	for {
		n, err := out.Read(b)
		if n > 0 {
			if _, err := logs.Write(b[:n]); err != nil && !broken {
				broken = true
				k.log.Error("the log lacks something", "err", err)
			} else if err == nil {
				broken = false
			}
		}
		if err != nil {
			break
		}
	}
	if err := logs.Close(); err != nil {
		k.log.Error("close the log", "err", err)
	}
	close(k.logged)
}

// attend waits for the end.
func (k *keeper) attend() error {
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { k.watch(done) })
	ws, werr := k.container.Wait()
	close(done)
	watching.Wait()
	if k.cgroup.version != "" && k.cgroup.kills() > 0 {
		k.note(wire.OutOfMemory)
	}
	k.clean()
	select {
	case <-k.logged:
	case <-time.After(drainWithin):
		k.log.Warn("somebody holds the instance's output open")
	}
	k.mu.Lock()
	s := k.state
	s.Phase, s.Ended, s.Reason = wire.Ended, time.Now().UTC(), k.ending
	switch {
	case werr != nil:
		s.Exit = 255
		k.log.Error("wait for the instance", "err", werr)
	case ws.Signaled():
		s.Exit = 128 + int(ws.Signal())
	default:
		s.Exit = ws.ExitStatus()
	}
	switch {
	case s.Reason != "":
	case werr != nil:
		s.Reason = wire.Lost
	case ws.Signaled():
		s.Reason = wire.Killed
	default:
		s.Reason = wire.Exited
	}
	k.state = s
	k.mu.Unlock()
	close(k.ended)
	err := k.saveEnd(s)
	k.answered()
	return err
}

// saveEnd writes how the instance ended. Without it, it would be taken for lost and
// run again: a full disk is waited for.
func (k *keeper) saveEnd(s wire.State) (err error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for range saveTries {
		if err = k.save(s); err == nil {
			return nil
		}
		k.log.Error("write how the instance ended", "err", err)
		<-tick.C
	}
	return err
}

// clean takes down what is left of the instance.
func (k *keeper) clean() {
	if k.container != nil {
		k.calls.Lock()
		k.down = true
		err := k.container.Destroy()
		k.calls.Unlock()
		if err != nil {
			k.log.Warn("take down the sandbox", "err", err)
		}
		k.cgroup.leave()
	}
	if k.net != nil {
		if err := k.net.Close(); err != nil {
			k.log.Warn("take down the network", "err", err)
		}
	}
}

// note keeps the first reason for which the instance ends.
func (k *keeper) note(reason string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ending == "" {
		k.ending = reason
	}
}

// hold takes hold of a process that runs: its number alone may mean another one, or
// every one, once it has ended (kill(2)).
func hold(pid int) (*os.Process, error) {
	if pid <= 0 {
		return nil, errors.New("the sandbox has ended")
	}
	return os.FindProcess(pid)
}

// end ends the instance at once.
func (k *keeper) end(reason string) {
	k.note(reason)
	if err := k.process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		k.log.Error("end the sandbox", "reason", reason, "err", err)
	}
}

func (k *keeper) save(s wire.State) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return durable.Write(filepath.Join(k.folder, wire.StateFile), append(text, '\n'), 0o600)
}

// inInitialUserNamespace says whether uid 0 here is the machine's.
func inInitialUserNamespace() bool {
	text, err := os.ReadFile("/proc/self/uid_map")
	if err != nil || os.Geteuid() != 0 {
		return false
	}
	var inside, outside, length uint64
	_, err = fmt.Sscan(string(text), &inside, &outside, &length)
	return err == nil && inside == 0 && outside == 0
}
