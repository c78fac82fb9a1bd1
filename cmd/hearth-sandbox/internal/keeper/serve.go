//go:build linux && (amd64 || arm64)

package keeper

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hearth/compute/sandbox/wire"
	"hearth/core/fault"
)

// Limits of those who ask: they are all the node of this user.
const (
	maxRequests  = 256
	maxStreams   = 192 // of them that last: an instance can always be asked and stopped
	askWithin    = 10 * time.Second
	answerWithin = 2 * time.Second // of requests under way when the instance has ended
	maxGrace     = 10 * time.Minute
)

// listen opens the socket in the folder. Its whole path may be longer than a
// socket's name may be.
func (k *keeper) listen() (net.Listener, error) {
	dir, err := os.Open(k.folder)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	if err := os.Remove(filepath.Join(k.folder, wire.Socket)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	old := unix.Umask(0o177)
	l, err := net.Listen("unix", fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), wire.Socket))
	unix.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("listen in %s: %w", k.folder, err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // the name it knows is gone
	go k.accept(l)
	return l, nil
}

func (k *keeper) accept(l net.Listener) {
	room, streams := make(chan struct{}, maxRequests), make(chan struct{}, maxStreams)
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			k.log.Warn("accept", "err", err)
			time.Sleep(100 * time.Millisecond) // out of descriptors, most likely
			continue
		}
		select {
		case room <- struct{}{}:
		default:
			c.Close()
			continue
		}
		k.requests.Go(func() {
			defer func() { <-room }()
			defer c.Close()
			k.serve(c, streams)
		})
	}
}

// answered waits until those who wait for the end have heard of it.
func (k *keeper) answered() {
	all := make(chan struct{})
	go func() { k.requests.Wait(); close(all) }()
	select {
	case <-all:
	case <-time.After(answerWithin):
	}
}

// serve answers one request. Those that may last have a place in streams.
func (k *keeper) serve(c net.Conn, streams chan struct{}) {
	c.SetDeadline(time.Now().Add(askWithin))
	var r wire.Request
	if err := wire.ReadMessage(c, &r); err != nil {
		k.log.Debug("read a request", "err", err)
		return
	}
	c.SetDeadline(time.Time{})
	var err error
	reply := wire.Reply{}
	if r.Op == wire.OpExec || r.Op == wire.OpDial || r.Op == wire.OpWait || r.Op == wire.OpCheckpoint {
		select {
		case streams <- struct{}{}:
			defer func() { <-streams }()
		default:
			err = fault.New(fault.Busy, "%s %s: %d such requests are under way", r.Op, k.launch.ID, maxStreams)
		}
	}
	switch {
	case err != nil:
	case r.Op == wire.OpExec:
		err = k.exec(c, r.Exec)
		if err == nil {
			return
		}
	case r.Op == wire.OpDial:
		err = k.dial(c, r.Port)
		if err == nil {
			return
		}
	case r.Op == wire.OpStats:
		u := k.usage()
		reply.Usage = &u
	case r.Op == wire.OpState:
	case r.Op == wire.OpWait:
		<-k.ended
	case r.Op == wire.OpStop:
		k.stop(min(max(r.Grace, 0), maxGrace))
	case r.Op == wire.OpPause:
		err = k.pause()
	case r.Op == wire.OpCheckpoint:
		err = k.checkpointFor(c, r.Key)
	case r.Op == wire.OpResume:
		err = k.resume()
	default:
		err = fault.New(fault.BadRequest, "request %q: unknown to this keeper", r.Op)
	}
	if err != nil {
		reply = wire.Reply{Code: string(fault.CodeOf(err)), Error: err.Error()}
	}
	s := k.now()
	reply.State = &s
	c.SetDeadline(time.Now().Add(askWithin))
	if err := wire.WriteMessage(c, reply); err != nil {
		k.log.Debug("answer a request", "op", r.Op, "err", err)
	}
}

// checkpointFor writes a checkpoint as long as who asked for it is there.
func (k *keeper) checkpointFor(c net.Conn, key []byte) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer clear(key)
	go func() {
		_, _ = c.Read(make([]byte, 1)) // nothing comes but its end
		cancel()
	}()
	return k.checkpoint(ctx, key)
}

// leftEvery is how often it is looked whether the other side of a stream is there.
const leftEvery = time.Second

// left calls f once the other side of c has closed all of it, which nobody is told
// who has no reason to read or to write. It returns then, or when done is closed.
func left(c net.Conn, done <-chan struct{}, f func()) {
	tick := time.NewTicker(leftEvery)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		if hungUp(c) {
			f()
			return
		}
	}
}

// hungUp says whether the other side of c neither sends nor reads any more (poll(2)).
func hungUp(c net.Conn) (gone bool) {
	raw, err := c.(syscall.Conn).SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			p := []unix.PollFd{{Fd: int32(fd)}}
			n, err := unix.Poll(p, 0)
			gone = err == nil && n > 0 && p[0].Revents&unix.POLLHUP != 0
		})
	}
	return gone || err != nil
}

func (k *keeper) now() wire.State {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state
}

// stop asks the instance to end, and ends it when it hasn't after grace, whether the
// sandbox answers or not.
func (k *keeper) stop(grace time.Duration) {
	if k.over() {
		return
	}
	k.note(wire.Stopped)
	if grace > 0 {
		go k.askToEnd()
		select {
		case <-k.ended:
			return
		case <-time.After(grace):
		}
	}
	k.end(wire.Stopped)
	<-k.ended
}

func (k *keeper) askToEnd() {
	if err := k.resume(); err != nil {
		k.log.Warn("resume what is to stop", "err", err)
	}
	if err := k.sandbox.SignalContainer(name, unix.SIGTERM, false); err != nil {
		k.log.Debug("ask the instance to end", "err", err)
	}
}

// over says whether the instance has ended.
func (k *keeper) over() bool {
	select {
	case <-k.ended:
		return true
	default:
		return false
	}
}

func (k *keeper) pause() error {
	k.holding.Lock()
	defer k.holding.Unlock()
	switch k.now().Phase {
	case wire.Paused:
		return nil
	case wire.Ended:
		return fault.New(fault.NotFound, "pause %s: it has ended", k.launch.ID)
	}
	if err := k.change(k.container.Pause); err != nil {
		return fault.New(fault.SandboxFailed, "pause %s: %w", k.launch.ID, err)
	}
	return k.enter(wire.Paused)
}

func (k *keeper) resume() error {
	k.holding.Lock()
	defer k.holding.Unlock()
	if k.now().Phase != wire.Paused {
		return nil
	}
	if err := k.change(k.container.Resume); err != nil {
		return fault.New(fault.SandboxFailed, "resume %s: %w", k.launch.ID, err)
	}
	return k.enter(wire.Running)
}

// change pauses the container or lets it go on, as long as it isn't taken down.
func (k *keeper) change(how func() error) error {
	k.calls.Lock()
	defer k.calls.Unlock()
	if k.down {
		return errors.New("its sandbox has ended")
	}
	return how()
}

// enter notes the phase of an instance that hasn't ended meanwhile.
func (k *keeper) enter(phase string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.state.Phase == wire.Ended {
		return nil
	}
	k.state.Phase = phase
	return k.save(k.state)
}

// dial answers, and makes of c a connection to a port inside. The reply is this
// function's unless it returns an error.
func (k *keeper) dial(c net.Conn, port uint16) error {
	if port == 0 {
		return fault.New(fault.BadRequest, "dial %s: port 0", k.launch.ID)
	}
	inside, err := k.net.Dial(context.Background(), port)
	if err != nil {
		return fault.New(fault.HostUnreachable, "dial %s: port %d: %w", k.launch.ID, port, err)
	}
	s := k.now()
	if err := wire.WriteMessage(c, wire.Reply{State: &s}); err != nil {
		inside.Close()
		return nil // nobody is there to be told
	}
	done := make(chan struct{})
	defer close(done)
	go left(c, done, func() { inside.Close() })
	k.net.Join(inside, c)
	return nil
}
