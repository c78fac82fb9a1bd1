package cloud

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"hearth/api"
	"hearth/core/fault"
)

// A Process is one program of the cloud.
type Process struct {
	Name string // ledger, client, host 0, ...
	Dir  string

	argv []string
	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when the present run has ended
}

// Start runs the program; its output goes to log beside its data.
func (p *Process) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	log, err := os.OpenFile(filepath.Join(p.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	defer log.Close()
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = apart()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	done := make(chan struct{})
	p.cmd, p.done = cmd, done
	go func() {
		_ = cmd.Wait() // how it ended stands in its log
		close(done)
	}()
	return nil
}

// PID is the program's process id, 0 when it doesn't run.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil || p.ended() {
		return 0
	}
	return p.cmd.Process.Pid
}

// ended says whether the present run is over. The caller holds mu.
func (p *Process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Done is closed when the present run has ended; nil before the first.
func (p *Process) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

// Kill ends the program at once, as a power cut would.
func (p *Process) Kill() { p.signal(syscall.SIGKILL, time.Minute) }

// Stop asks the program to end and insists after a while.
func (p *Process) Stop(patience time.Duration) {
	if !p.signal(syscall.SIGTERM, patience) {
		p.Kill()
	}
}

// signal sends s and says whether the program ended in time.
func (p *Process) signal(s syscall.Signal, patience time.Duration) bool {
	p.mu.Lock()
	cmd, done := p.cmd, p.done
	p.mu.Unlock()
	if cmd == nil {
		return true
	}
	_ = cmd.Process.Signal(s) // it may have ended already
	select {
	case <-done:
		return true
	case <-time.After(patience):
		return false
	}
}

// lastWords is the end of the program's log.
func (p *Process) lastWords() string {
	b, err := os.ReadFile(filepath.Join(p.Dir, "log"))
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

// Ready waits until the node answers that it is ready.
func (p *Process) Ready(ctx context.Context) error {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", api.Socket(p.Dir))
		},
	}}
	for {
		res, err := client.Get("http://node/readyz")
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(res.Status)
		}
		select {
		case <-p.Done():
			return fault.New(fault.Internal, "start %s: it ended:\n%s", p.Name, p.lastWords())
		case <-ctx.Done():
			return fault.New(fault.Internal, "start %s: not ready: %w:\n%s", p.Name, err, p.lastWords())
		case <-time.After(50 * time.Millisecond):
		}
	}
}
