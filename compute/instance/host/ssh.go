package host

import (
	"context"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"io"
	"math"
	"net"
	"sync"
	"time"

	"github.com/gliderlabs/ssh"
	gossh "golang.org/x/crypto/ssh"

	"hearth/compute/sandbox"
	"hearth/compute/wire"
	"hearth/core/fault"
	"hearth/core/instance"
)

// sshLabel derives the key that the host shows as an SSH server from its identity: no
// signature of one is ever one of the other.
const sshLabel = "hearth/1/ssh"

func sshKey(identity ed25519.PrivateKey) (ed25519.PrivateKey, error) {
	seed, err := hkdf.Key(sha256.New, identity.Seed(), nil, sshLabel, ed25519.SeedSize)
	if err != nil {
		return nil, fmt.Errorf("derive the key for ssh: %w", err)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// ssh speaks SSH with the client about one instance. Who comes this far has shown a
// grant: nothing more is asked of him, and whatever name he gives he is the instance's
// own user.
func (v *visit) ssh(lease uint64, ask *wire.Ssh) error {
	id, err := idOf(ask.GetId())
	if err != nil {
		return err
	}
	if _, err := v.book.find(lease, id); err != nil {
		return err
	}
	signer, err := gossh.NewSignerFromKey(v.sshKey)
	if err != nil {
		return fmt.Errorf("open ssh: %w", err)
	}
	server := &ssh.Server{
		Version: "hearth", HostSigners: []ssh.Signer{signer},
		ChannelHandlers: map[string]ssh.ChannelHandler{"session": v.sessions(id)}, // and nothing that forwards
	}
	reader, in := io.Pipe()
	return v.carry(lease, in, nil, func(ctx context.Context, l *line) (int, error) {
		c := &pipes{Reader: reader, Writer: writer{l, out}, end: func() { reader.Close() }}
		stop := context.AfterFunc(ctx, c.end)
		defer stop()
		server.HandleConn(c) // returns when the connection has ended
		return 0, nil
	})
}

// maxSessions is how many sessions one stream has at a time, with the programs that
// outlive theirs.
const maxSessions = 16

// sessions opens sessions as they are asked for, so many and no more.
func (v *visit) sessions(id instance.ID) ssh.ChannelHandler {
	open := make(chan struct{}, maxSessions)
	return func(_ *ssh.Server, conn *gossh.ServerConn, asked gossh.NewChannel, ctx ssh.Context) {
		select {
		case open <- struct{}{}:
		default:
			_ = asked.Reject(gossh.ResourceShortage, fmt.Sprintf("at most %d sessions are open at once", maxSessions)) // a client that is gone needs no answer
			return
		}
		defer func() { <-open }()
		sizes := make(chan sandbox.Size, 1)
		var runs sync.WaitGroup
		defer runs.Wait()
		one := &ssh.Server{
			SessionRequestCallback: func(_ ssh.Session, kind string) bool {
				if kind == "subsystem" {
					return false
				}
				runs.Add(1)
				return true
			},
			Handler: func(s ssh.Session) {
				defer runs.Done()
				v.session(s, id, sizes)
			},
		}
		ssh.DefaultSessionHandler(one, conn, requested{asked, sizes}, ctx)
	}
}

// requested is a channel of which only so much reaches the server as it can bear: it
// keeps variables and signals in memory for a program, and waits for a program that
// isn't there to take sizes.
type requested struct {
	gossh.NewChannel
	sizes chan sandbox.Size
}

func (r requested) Accept() (gossh.Channel, <-chan *gossh.Request, error) {
	c, all, err := r.NewChannel.Accept()
	if err != nil {
		return nil, nil, err
	}
	some := make(chan *gossh.Request)
	go func() {
		defer close(some)
		words, count := 0, 0
		for q := range all {
			ok := false
			switch q.Type {
			case "env":
				words, count = words+len(q.Payload), count+1
				if words <= instance.MaxWords && count <= instance.MaxCount {
					some <- q
					continue
				}
			case "window-change":
				ok = resize(q.Payload, r.sizes)
			case "signal": // none reaches a program
			default:
				some <- q
				continue
			}
			if q.WantReply {
				_ = q.Reply(ok, nil) // a client that is gone needs no answer
			}
		}
	}()
	return c, some, nil
}

// resize hands on how large a terminal is; the newest counts.
func resize(payload []byte, to chan sandbox.Size) bool {
	var w struct{ Cols, Rows, Width, Height uint32 }
	if gossh.Unmarshal(payload, &w) != nil || w.Cols == 0 || w.Rows == 0 {
		return false
	}
	next := sandbox.Size{Rows: uint16(min(w.Rows, math.MaxUint16)), Cols: uint16(min(w.Cols, math.MaxUint16))}
	select {
	case to <- next:
	case <-to:
		to <- next
	}
	return true
}

// session runs what a client of SSH asks for: a command, or a shell.
func (v *visit) session(s ssh.Session, id instance.ID, sizes chan sandbox.Size) {
	x := sandbox.Exec{Args: []string{"/bin/sh", "-l"}}
	if command := s.RawCommand(); command != "" {
		x.Args = []string{"/bin/sh", "-c", command}
	}
	env := s.Environ()
	terminal, _, is := s.Pty()
	if is {
		x.TTY, x.Rows, x.Cols = true, uint16(terminal.Window.Height), uint16(terminal.Window.Width)
		env = append(env, "TERM="+terminal.Term)
	}
	words := instance.Spec{Args: x.Args, Env: env, CPU: 1, Memory: instance.MinMemory, Disk: instance.MinDisk, Pids: 1}
	if err := words.Check(); err != nil {
		_, _ = fmt.Fprintln(s.Stderr(), err) // a client that is gone needs no answer
		_ = s.Exit(usageExit)
		return
	}
	x.Env = words.Env
	var in io.Reader = s
	if is {
		in = &typed{s}
	}
	status, err := v.c.Engine.Exec(s.Context(), nameOf(id), x, sandbox.Streams{In: in, Out: s, Err: s.Stderr(), Resize: sizes})
	if err != nil {
		_, reason, own := fault.Told(err)
		if own {
			v.c.Log.Error("ssh to an instance fails", "instance", nameOf(id), "err", err)
		}
		_, _ = fmt.Fprintln(s.Stderr(), reason)
		status = failedExit
	}
	_ = s.Exit(status)
}

// Statuses of a session that didn't get as far as a program.
const (
	usageExit  = 2
	failedExit = 255
)

// typed is what is typed on a terminal, which stays open when nothing more is.
type typed struct{ s ssh.Session }

func (t *typed) Read(b []byte) (int, error) {
	n, err := t.s.Read(b)
	if n == 0 && err != nil {
		<-t.s.Context().Done()
	}
	return n, err
}

// pipes make a connection of two streams. Their deadlines are kept by who carries them.
type pipes struct {
	io.Reader
	io.Writer
	end func()
}

func (p *pipes) Close() error { p.end(); return nil }

func (*pipes) LocalAddr() net.Addr              { return place{} }
func (*pipes) RemoteAddr() net.Addr             { return place{} }
func (*pipes) SetDeadline(time.Time) error      { return nil }
func (*pipes) SetReadDeadline(time.Time) error  { return nil }
func (*pipes) SetWriteDeadline(time.Time) error { return nil }

// place is where a stream comes from: a peer, whom no address of SSH's can name.
type place struct{}

func (place) Network() string { return "hearth" }
func (place) String() string  { return "peer:0" }
