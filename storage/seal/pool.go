package seal

import (
	"context"
	"runtime"
	"sync"

	"hearth/core/erasure"
	"hearth/core/fault"
)

// Pool lends out a fixed number of buffers of one class. Their memory lies
// outside the garbage collector's: else it would let as much rubbish pile up as
// the buffers are large.
type Pool struct {
	class erasure.Class
	free  chan struct{} // one for each buffer that is not lent

	mu      sync.Mutex
	waiting []*resting // those made and not lent; what came back last goes first
}

// A resting buffer waits to be lent.
type resting struct {
	*Buffer
	since int // how many times Rest was called
}

// NewPool makes a pool of at most count buffers; each is made when first needed.
func NewPool(c erasure.Class, count int) (*Pool, error) {
	if err := c.Validate(); err != nil {
		return nil, fault.New(fault.CodeOf(err), "make slab pool: %w", err)
	}
	if count < 1 {
		return nil, fault.New(fault.BadRequest, "make slab pool: %d buffers", count)
	}
	p := &Pool{class: c, free: make(chan struct{}, count)}
	for range count {
		p.free <- struct{}{}
	}
	return p, nil
}

// Get waits for a buffer. Its content is that of an earlier slab, or zeros. Who
// has it keeps it while its bytes are in use, and then puts it back.
func (p *Pool) Get(ctx context.Context) (*Buffer, error) {
	select {
	case <-p.free:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if b := p.newest(); b != nil {
		return b, nil
	}
	b, err := p.make()
	if err != nil {
		p.free <- struct{}{}
		return nil, err
	}
	return b, nil
}

// newest takes the buffer that came back last; nil where none waits.
func (p *Pool) newest() *Buffer {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.waiting)
	if n == 0 {
		return nil
	}
	b := p.waiting[n-1].Buffer
	p.waiting[n-1] = nil
	p.waiting = p.waiting[:n-1]
	return b
}

func (p *Pool) make() (*Buffer, error) {
	var mapped []byte
	b, err := newBuffer(p.class, func(n int64) []byte {
		if mapped = pages(n); mapped != nil {
			return mapped
		}
		return make([]byte, n)
	})
	if err == nil && mapped != nil {
		b.mapped = true
		runtime.AddCleanup(b, unmap, mapped)
	}
	return b, err
}

// Put gives a buffer back that Get has lent.
func (p *Pool) Put(b *Buffer) {
	p.mu.Lock()
	p.waiting = append(p.waiting, &resting{Buffer: b})
	p.mu.Unlock()
	p.free <- struct{}{}
}

// Rest gives the memory of those buffers back to the system that have waited since
// it was called last. Few are in use at quiet times, so the others rest.
func (p *Pool) Rest() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.waiting {
		if b.since++; b.since == 2 && b.mapped {
			vacate(b.mem)
		}
	}
}
