//go:build linux && (amd64 || arm64)

package keeper

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/control"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/runsc/specutils"

	"hearth/compute/sandbox/wire"
	"hearth/core/fault"
)

// When the process has ended but one of its children holds its output open, more of it
// is waited for so long, and no more is taken than a pipe may hold (pipe(7)).
const (
	lastWords = 500 * time.Millisecond
	lastBytes = 64 << 10
)

// An execution is one further process in the instance.
type execution struct {
	k   *keeper
	c   net.Conn
	pid int32
	in  *os.File // our end; the terminal when there is one
	tty bool
	end chan struct{} // closed when the process has ended

	writes sync.Mutex // one frame at a time
}

// exec answers, and makes of c the standard files of a process. The reply is
// this function's unless it returns an error.
func (k *keeper) exec(c net.Conn, e *wire.Exec) error {
	if e == nil || len(e.Args) == 0 || e.Args[0] == "" || e.Dir != "" && !filepath.IsAbs(e.Dir) {
		return fault.New(fault.BadRequest, "exec in %s: no program is named, or its folder isn't absolute", k.launch.ID)
	}
	args, err := k.execArgs(e)
	if err != nil {
		return fault.New(fault.BadRequest, "exec in %s: %w", k.launch.ID, err)
	}
	ends, theirs, err := k.files(e)
	if err != nil {
		return fault.New(fault.SandboxFailed, "exec in %s: %w", k.launch.ID, err)
	}
	defer closeAll(ends)
	args.FilePayload = control.NewFilePayload(map[int]*os.File{0: theirs[0], 1: theirs[1], 2: theirs[2]}, nil)
	if phase := k.now().Phase; phase != wire.Running {
		closeAll(theirs)
		return fault.New(fault.BadRequest, "exec %q in %s: it is %s", e.Args[0], k.launch.ID, phase)
	}
	pid, err := k.sandbox.Execute(k.bundle.conf, args)
	closeAll(theirs)
	if err != nil && strings.HasSuffix(err.Error(), linuxerr.EAGAIN.Error()) {
		return fault.New(fault.AtLimit, "exec %q in %s: it has as many processes and threads as it may, %d", e.Args[0], k.launch.ID, k.launch.Spec.Pids)
	}
	if err != nil {
		return fault.New(fault.BadRequest, "exec %q in %s: %w", e.Args[0], k.launch.ID, err)
	}
	x := &execution{k: k, c: c, pid: pid, in: ends[0], tty: e.TTY, end: make(chan struct{})}
	s := k.now()
	if err := wire.WriteMessage(c, wire.Reply{State: &s}); err != nil {
		x.kill()
		return nil // nobody is there to be told
	}
	x.run(ends)
	return nil
}

func (k *keeper) execArgs(e *wire.Exec) (*control.ExecArgs, error) {
	p := k.bundle.spec.Process
	uid, gid, groups := p.User.UID, p.User.GID, p.User.AdditionalGids
	if e.UID != nil && *e.UID != uid {
		uid, groups = *e.UID, nil
	}
	if e.GID != nil {
		gid = *e.GID
	}
	caps, err := specutils.Capabilities(false, capabilities(k.launch.Spec.Caps, uid))
	if err != nil {
		return nil, err
	}
	args := &control.ExecArgs{
		Argv: e.Args, Envv: append(append([]string(nil), p.Env...), e.Env...), WorkingDirectory: p.Cwd,
		KUID: auth.KUID(uid), KGID: auth.KGID(gid), Capabilities: caps, NoNewPrivileges: true,
		StdioIsPty: e.TTY, SupportTTYs: true, ContainerID: name,
	}
	if e.Dir != "" {
		args.WorkingDirectory = e.Dir
	}
	if e.TTY {
		args.Envv = append(args.Envv, "TERM=xterm-256color")
	}
	for _, g := range groups {
		args.ExtraKGIDs = append(args.ExtraKGIDs, auth.KGID(g))
	}
	return args, nil
}

// files are our ends and the process's: three pipes, or one terminal.
func (k *keeper) files(e *wire.Exec) (ours, theirs []*os.File, err error) {
	if e.TTY {
		ptmx, tty, err := terminal(e.Rows, e.Cols)
		if err != nil {
			return nil, nil, err
		}
		return []*os.File{ptmx}, []*os.File{tty, tty, tty}, nil
	}
	for i := range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(ours)
			closeAll(theirs)
			return nil, nil, err
		}
		if i == 0 {
			r, w = w, r
		}
		ours, theirs = append(ours, r), append(theirs, w)
	}
	return ours, theirs, nil
}

// terminal opens one whose end here knows deadlines.
func terminal(rows, cols uint16) (ptmx, tty *os.File, err error) {
	opened, tty, err := pty.Open()
	if err != nil {
		return nil, nil, err
	}
	defer opened.Close()
	// What has given its descriptor away blocks for good; its copy doesn't.
	fd, err := unix.FcntlInt(opened.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true)
		ptmx = os.NewFile(uintptr(fd), opened.Name())
	}
	if err == nil && rows > 0 && cols > 0 {
		err = setSize(ptmx, rows, cols)
	}
	if err != nil {
		closeAll([]*os.File{ptmx, tty})
		return nil, nil, err
	}
	return ptmx, tty, nil
}

// setSize tells a terminal its size.
func setSize(ptmx *os.File, rows, cols uint16) error {
	raw, err := ptmx.SyscallConn()
	if err != nil {
		return err
	}
	var told error
	err = raw.Control(func(fd uintptr) {
		told = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	})
	return errors.Join(err, told)
}

// run carries bytes until the process has ended.
func (x *execution) run(ends []*os.File) {
	gone := make(chan struct{})
	go x.take(gone)
	var outputs sync.WaitGroup
	if x.tty {
		outputs.Go(func() { x.give(ends[0], wire.FrameOut) })
	} else {
		outputs.Go(func() { x.give(ends[1], wire.FrameOut) })
		outputs.Go(func() { x.give(ends[2], wire.FrameErr) })
	}
	// Input that the process doesn't take keeps take from hearing that nobody is there.
	go left(x.c, x.end, x.kill)
	go func() {
		select {
		case <-gone: // nobody wants it any more
			x.kill()
		case <-x.end:
		}
	}()
	ws, err := x.k.sandbox.WaitPID(name, x.pid)
	close(x.end)
	exit := int32(255)
	switch {
	case err != nil:
		x.k.log.Debug("wait for a process", "err", err)
	case ws.Signaled():
		exit = 128 + int32(ws.Signal())
	default:
		exit = int32(ws.ExitStatus())
	}
	for _, f := range ends {
		x.hurry(f) // who waits for output waits no longer than that
	}
	outputs.Wait()
	x.send(wire.FrameExit, binary.BigEndian.AppendUint32(nil, uint32(exit)))
}

// give sends what the process writes. When nobody reads, the process waits. What it
// had written when it ended is sent, however slow the other side is.
func (x *execution) give(from *os.File, kind byte) {
	b := make([]byte, 32<<10)
	for left := lastBytes; left > 0; {
		ended := x.over()
		if ended {
			x.hurry(from)
		}
		n, err := from.Read(b)
		if n > 0 && !x.send(kind, b[:n]) {
			x.kill() // nobody is there who reads
			return
		}
		if err != nil {
			return
		}
		if ended {
			left -= n
		}
	}
}

func (x *execution) over() bool {
	select {
	case <-x.end:
		return true
	default:
		return false
	}
}

// hurry bounds how long more output is waited for.
func (x *execution) hurry(f *os.File) {
	if err := f.SetReadDeadline(time.Now().Add(lastWords)); err != nil && !errors.Is(err, os.ErrClosed) {
		x.k.log.Debug("hurry a process's output", "err", err)
	}
}

func (x *execution) send(kind byte, b []byte) bool {
	x.writes.Lock()
	defer x.writes.Unlock()
	return wire.WriteFrame(x.c, kind, b) == nil
}

// take carries out what the other side sends, and closes gone when it has gone.
func (x *execution) take(gone chan<- struct{}) {
	defer close(gone)
	input := make(chan []byte, 16)
	defer close(input)
	go x.feed(input)
	for {
		kind, body, err := wire.ReadFrame(x.c, nil, wire.MaxChunk)
		if err != nil {
			return
		}
		switch {
		case kind == wire.FrameIn && len(body) > 0:
			input <- body
		case kind == wire.FrameInEnd:
			input <- nil
		case kind == wire.FrameResize && len(body) == 4 && x.tty:
			x.resize(binary.BigEndian.Uint16(body), binary.BigEndian.Uint16(body[2:]))
		default:
			return
		}
	}
}

// feed writes the process's input; nil is its end.
func (x *execution) feed(input <-chan []byte) {
	dead := false
	for b := range input {
		switch {
		case dead:
		case b == nil && x.tty:
			b = []byte{4} // what a terminal's Ctrl-D sends
			fallthrough
		case b != nil:
			_, err := x.in.Write(b)
			dead = err != nil
		default:
			x.in.Close()
			dead = true
		}
	}
}

func (x *execution) resize(rows, cols uint16) {
	if err := setSize(x.in, rows, cols); err != nil {
		return
	}
	// The kernel tells the terminal's processes, and knows only the sandbox.
	if err := x.k.sandbox.SignalProcess(name, x.pid, unix.SIGWINCH, true); err != nil {
		x.k.log.Debug("tell of a terminal's size", "err", err)
	}
}

func (x *execution) kill() {
	if err := x.k.sandbox.SignalProcess(name, x.pid, unix.SIGKILL, false); err != nil {
		x.k.log.Debug("end a process nobody waits for", "err", err)
	}
}

// closeAll closes files, some of which may be closed already or never were.
func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
