package seal

import (
	"context"
	"runtime"
	"sync/atomic"

	"hearth/core/erasure"
	"hearth/core/fault"
)

// Pool lends out a fixed number of buffers of one class. Their memory lies
// outside the garbage collector's: else it would let as much rubbish pile up as
// the buffers are large.
type Pool struct {
	class erasure.Class
	free  chan *Buffer // nil: not made yet
	used  atomic.Bool  // since the last Rest
}

// NewPool makes a pool of at most count buffers; each is made when first needed.
func NewPool(c erasure.Class, count int) (*Pool, error) {
	if err := c.Validate(); err != nil {
		return nil, fault.New(fault.CodeOf(err), "make slab pool: %w", err)
	}
	if count < 1 {
		return nil, fault.New(fault.BadRequest, "make slab pool: %d buffers", count)
	}
	p := &Pool{class: c, free: make(chan *Buffer, count)}
	for range count {
		p.free <- nil
	}
	return p, nil
}

// Get waits for a buffer. Its content is that of an earlier slab, or zeros. Who
// has it keeps it while its bytes are in use, and then puts it back.
func (p *Pool) Get(ctx context.Context) (*Buffer, error) {
	select {
	case b := <-p.free:
		p.used.Store(true)
		if b != nil {
			return b, nil
		}
		b, err := p.make()
		if err != nil {
			p.free <- nil
			return nil, err
		}
		return b, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
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
func (p *Pool) Put(b *Buffer) { p.free <- b }

// Rest gives the memory of waiting buffers back to the system, if none was lent
// since it was called last.
func (p *Pool) Rest() {
	if p.used.Swap(false) {
		return
	}
	var waiting []*Buffer
	for more := true; more; {
		select {
		case b := <-p.free:
			if b != nil && b.mapped {
				vacate(b.mem)
			}
			waiting = append(waiting, b)
		default:
			more = false
		}
	}
	for _, b := range waiting {
		p.free <- b
	}
}
