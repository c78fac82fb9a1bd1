// Package badnet is a TCP proxy for tests that makes a network bad on purpose:
// slow, late, silent, or cut in the middle. It knows nothing of what passes.
package badnet

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A Proxy passes connections on to one address, both ways. Its methods may be
// called at any time and apply to the connections there are as well as to new ones.
type Proxy struct {
	target   string
	listener net.Listener

	delay atomic.Int64 // nanoseconds that each piece is held back
	rate  atomic.Int64 // bytes a second, each way of each connection; 0: no limit
	after atomic.Int64 // bytes until all is cut; 0: never
	calm  chan struct{}

	mu      sync.Mutex
	silent  chan struct{} // closed when pieces may pass
	refuse  bool
	conns   map[net.Conn]struct{}
	closed  bool
	running sync.WaitGroup
}

// New starts a proxy to target ("host:port") on a loopback port.
func New(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		target: target, listener: l,
		calm: make(chan struct{}), silent: make(chan struct{}), conns: make(map[net.Conn]struct{}),
	}
	close(p.silent)
	p.running.Add(1)
	go p.accept()
	return p, nil
}

// Addr is where the proxy listens ("127.0.0.1:port").
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Port is the port the proxy listens on.
func (p *Proxy) Port() int { return p.listener.Addr().(*net.TCPAddr).Port }

// Delay holds every piece back for d, each way.
func (p *Proxy) Delay(d time.Duration) { p.delay.Store(int64(d)) }

// Rate slows each connection to so many bytes a second each way; 0 is no limit.
func (p *Proxy) Rate(bytes int64) { p.rate.Store(bytes) }

// CutAfter cuts every connection once so many more bytes have passed in all;
// 0 takes it back. New connections pass again.
func (p *Proxy) CutAfter(bytes int64) { p.after.Store(bytes) }

// Silence lets nothing pass while on, without closing anything: connections are
// taken, and wait.
func (p *Proxy) Silence(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	passing := isClosed(p.silent)
	switch {
	case on && passing:
		p.silent = make(chan struct{})
	case !on && !passing:
		close(p.silent)
	}
}

// Refuse closes new connections at once while on.
func (p *Proxy) Refuse(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = on
}

// Cut closes all connections there are.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

// Conns is how many connections pass, each counted once.
func (p *Proxy) Conns() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns) / 2
}

// Close ends the proxy and everything through it.
func (p *Proxy) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	close(p.calm)
	p.mu.Unlock()
	err := p.listener.Close()
	p.Cut()
	p.running.Wait()
	return err
}

func (p *Proxy) accept() {
	defer p.running.Done()
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Add(1)
		go func() {
			defer p.running.Done()
			p.pass(c)
		}()
	}
}

// pass connects in to the target and copies both ways.
func (p *Proxy) pass(in net.Conn) {
	defer in.Close()
	p.mu.Lock()
	refuse := p.refuse
	p.mu.Unlock()
	if refuse {
		return
	}
	out, err := net.DialTimeout("tcp", p.target, 5*time.Second)
	if err != nil {
		return
	}
	defer out.Close()
	if !p.add(in, out) {
		return
	}
	defer p.remove(in, out)
	var both sync.WaitGroup
	both.Go(func() { p.copy(out, in) })
	both.Go(func() { p.copy(in, out) })
	both.Wait()
}

func (p *Proxy) add(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	for _, c := range conns {
		p.conns[c] = struct{}{}
	}
	return true
}

func (p *Proxy) remove(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.conns, c)
	}
}

// A piece is what one read gave, and when it may leave.
type piece struct {
	data []byte
	due  time.Time
}

// copy passes pieces from src to dst. A reader runs ahead of the writer, so that
// a delay doesn't lower the rate. At src's end dst is told, the other way goes on.
func (p *Proxy) copy(dst, src net.Conn) {
	pieces := make(chan piece, 256)
	go func() {
		defer close(pieces)
		for {
			buf := make([]byte, 16<<10)
			n, err := src.Read(buf)
			if n > 0 {
				pieces <- piece{buf[:n], time.Now().Add(time.Duration(p.delay.Load()))}
			}
			if err != nil {
				return
			}
		}
	}()
	for piece := range pieces {
		if !p.write(dst, piece) {
			dst.Close()
			src.Close()
			for range pieces {
			}
			return
		}
	}
	if t, ok := dst.(*net.TCPConn); ok {
		_ = t.CloseWrite() // it may be closed
	}
}

// write passes one piece when it is due; false ends the connection.
func (p *Proxy) write(dst net.Conn, piece piece) bool {
	if !p.sleep(time.Until(piece.due)) {
		return false
	}
	p.mu.Lock()
	silent := p.silent
	p.mu.Unlock()
	select {
	case <-silent:
	case <-p.calm:
		return false
	}
	if left := p.after.Load(); left > 0 {
		if p.after.Add(-int64(len(piece.data))) <= 0 {
			p.after.Store(0)
			p.Cut()
			return false
		}
	}
	if _, err := dst.Write(piece.data); err != nil {
		return false
	}
	if r := p.rate.Load(); r > 0 {
		return p.sleep(time.Duration(float64(len(piece.data)) / float64(r) * float64(time.Second)))
	}
	return true
}

// sleep waits for d, and reports false when the proxy closes meanwhile.
func (p *Proxy) sleep(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-p.calm:
		return false
	}
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
